//! The worlds in which every rule is kept: each has two cores, two processors, one or two ids, and
//! a budget of what may go wrong. Every state of each is visited, and nothing may break.
//!
//! The first are small enough for every `cargo test`; with SOAK set the large ones follow, and
//! every scene says how many states it has and how long they took.

use std::collections::HashSet;

use crate::explore::{explore, tell};
use crate::scene::Scene;
use crate::state::Budget;

const STATES_MAX: usize = 60_000_000;

pub(crate) const NOTHING: Budget = Budget {
    requests: [0, 0],
    steps: 0,
    crashes: 0,
    losses: 0,
    delays: 0,
    refusals: 0,
    cuts: 0,
    silences: 0,
    deadlines: 0,
    questions: 0,
    registrations: 0,
    sweeps: 0,
    lags: 0,
    failovers: 0,
    jumps: 0,
};

/// One request for one id.
pub(crate) const ONE: Budget = Budget {
    requests: [1, 0],
    ..NOTHING
};

/// Two requests for one id.
pub(crate) const TWICE: Budget = Budget {
    requests: [2, 0],
    ..NOTHING
};

/// One request for each of two ids.
pub(crate) const BOTH: Budget = Budget {
    requests: [1, 1],
    ..NOTHING
};

const fn scene(name: &'static str, budget: Budget) -> Scene {
    Scene {
        name,
        budget,
        is_accepting: false,
        has_locks: false,
        has_lookups: false,
        broken: 0,
        only: 0,
    }
}

const fn accepting(name: &'static str, budget: Budget) -> Scene {
    Scene {
        is_accepting: true,
        ..scene(name, budget)
    }
}

const fn locking(name: &'static str, budget: Budget) -> Scene {
    Scene {
        has_locks: true,
        ..scene(name, budget)
    }
}

const fn asking(name: &'static str, budget: Budget) -> Scene {
    Scene {
        has_lookups: true,
        ..scene(name, budget)
    }
}

const SMALL: &[Scene] = &[
    scene(
        "a lost commit and a crash",
        Budget {
            losses: 1,
            crashes: 1,
            ..BOTH
        },
    ),
    scene(
        "a repeat, a copy that goes on",
        Budget {
            delays: 1,
            losses: 1,
            refusals: 1,
            ..TWICE
        },
    ),
    scene("a zombie", Budget { steps: 2, ..TWICE }),
    scene(
        "a crash, refusals, silence",
        Budget {
            crashes: 1,
            refusals: 2,
            silences: 1,
            ..TWICE
        },
    ),
    scene(
        "cut answers and deadlines",
        Budget {
            cuts: 1,
            deadlines: 1,
            crashes: 1,
            refusals: 1,
            ..TWICE
        },
    ),
    scene(
        "two crashes",
        Budget {
            crashes: 2,
            cuts: 1,
            ..TWICE
        },
    ),
    scene(
        "a standby behind, a failover",
        Budget {
            lags: 1,
            failovers: 1,
            losses: 1,
            ..TWICE
        },
    ),
    scene(
        "new writers",
        Budget {
            registrations: 1,
            crashes: 1,
            losses: 1,
            ..TWICE
        },
    ),
    scene(
        "retention",
        Budget {
            sweeps: 1,
            steps: 2,
            ..TWICE
        },
    ),
    locking(
        "locks",
        Budget {
            losses: 1,
            delays: 1,
            ..BOTH
        },
    ),
    accepting(
        "accepted first",
        Budget {
            losses: 1,
            crashes: 1,
            refusals: 1,
            ..TWICE
        },
    ),
    asking(
        "a sum and a crash",
        Budget {
            questions: 1,
            crashes: 1,
            ..BOTH
        },
    ),
    asking(
        "a sum and a zombie",
        Budget {
            questions: 1,
            steps: 3,
            ..ONE
        },
    ),
    asking(
        "a sum and a clock that jumps",
        Budget {
            questions: 1,
            jumps: 1,
            steps: 1,
            ..ONE
        },
    ),
];

const LARGE: &[Scene] = &[
    scene(
        "a zombie and refusals",
        Budget {
            steps: 2,
            refusals: 2,
            ..TWICE
        },
    ),
    scene(
        "zombies over two ids",
        Budget {
            steps: 2,
            losses: 1,
            ..BOTH
        },
    ),
    scene(
        "a zombie and a copy that goes on",
        Budget {
            steps: 3,
            delays: 1,
            refusals: 1,
            ..TWICE
        },
    ),
    scene(
        "a zombie, silence, deadline",
        Budget {
            steps: 2,
            silences: 1,
            refusals: 1,
            deadlines: 1,
            ..TWICE
        },
    ),
    scene(
        "three requests",
        Budget {
            requests: [2, 1],
            crashes: 1,
            losses: 1,
            refusals: 1,
            ..NOTHING
        },
    ),
    scene(
        "everything a processor does",
        Budget {
            crashes: 1,
            steps: 1,
            refusals: 2,
            silences: 1,
            cuts: 1,
            ..BOTH
        },
    ),
    scene(
        "standby and zombie",
        Budget {
            lags: 1,
            failovers: 1,
            steps: 2,
            losses: 1,
            ..TWICE
        },
    ),
    scene(
        "new writers and zombies",
        Budget {
            registrations: 1,
            steps: 2,
            refusals: 1,
            ..TWICE
        },
    ),
    scene(
        "retention and a crash",
        Budget {
            sweeps: 1,
            steps: 3,
            crashes: 1,
            ..TWICE
        },
    ),
    locking(
        "locks and a zombie",
        Budget {
            losses: 1,
            steps: 2,
            delays: 1,
            ..TWICE
        },
    ),
    accepting(
        "accepted and a zombie",
        Budget {
            losses: 1,
            steps: 2,
            refusals: 1,
            ..TWICE
        },
    ),
    accepting(
        "accepted, two ids",
        Budget {
            losses: 1,
            crashes: 1,
            refusals: 1,
            delays: 1,
            ..BOTH
        },
    ),
    asking(
        "a sum, a crash and time",
        Budget {
            questions: 1,
            crashes: 1,
            steps: 1,
            ..BOTH
        },
    ),
    asking(
        "a sum, silence and a crash",
        Budget {
            questions: 1,
            crashes: 1,
            steps: 2,
            silences: 1,
            ..ONE
        },
    ),
    asking(
        "a sum, silence and a zombie",
        Budget {
            questions: 1,
            steps: 4,
            silences: 1,
            losses: 1,
            ..ONE
        },
    ),
    asking(
        "a sum, silence and a clock that jumps",
        Budget {
            questions: 1,
            steps: 3,
            jumps: 1,
            silences: 1,
            ..ONE
        },
    ),
];

fn hold(scenes: &[Scene]) {
    let mut kinds = HashSet::new();
    for scene in scenes {
        let found = explore(scene, STATES_MAX);
        println!(
            "{:40} {:>9} states, {:>2} deep, {:>5} ends, {:>7.2} s",
            scene.name,
            found.states,
            found.depth,
            found.ends,
            found.time.as_secs_f64()
        );
        if let Some(fault) = &found.fault {
            panic!("{}: {}", scene.name, tell(fault));
        }
        assert!(found.ends > 0, "{} comes to no end", scene.name);
        kinds.extend(found.kinds);
    }
    // All but reading the clock, which is one step with the bytes unless a rule is broken.
    assert_eq!(kinds.len(), 35, "a kind of move never led anywhere new");
}

#[test]
fn nothing_breaks_in_any_small_scene() {
    hold(SMALL);
}

#[test]
fn nothing_breaks_in_any_large_scene() {
    if std::env::var_os("SOAK").is_some() {
        hold(&[SMALL, LARGE].concat());
    }
}
