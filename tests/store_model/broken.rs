//! Rules broken on purpose, one at a time: each must be noticed, by the property that it is for.
//!
//! The table says rule, property and how many moves the shortest way to the fault has; a change of
//! the model that loses a fault, or finds it sooner, shows here. Money's properties come after the
//! direct ones: they show what the rule is for.

use crate::explore::{Found, explore, tell};
use crate::scene::Broken::{self, *};
use crate::scene::Property::{self, *};
use crate::scene::Scene;
use crate::scenes::{BOTH, ONE, TWICE};
use crate::state::Budget;

/// Rules, the property that breaks, the moves to it, and the world in which it does.
type Case = (&'static [Broken], Property, usize, Budget);

const CASES: &[Case] = &[
    (&[NoFence], Fenced, 6, Budget { steps: 2, ..ONE }),
    (
        &[NoFence],
        ChargedOnce,
        17,
        Budget {
            steps: 2,
            refusals: 1,
            ..ONE
        },
    ),
    (&[NoNonce], BatchOnce, 7, Budget { delays: 1, ..ONE }),
    (&[NoNonce], Rollup, 13, Budget { delays: 1, ..ONE }),
    (
        &[NoNonceOfDoubt],
        OldOwner,
        15,
        Budget {
            delays: 1,
            steps: 3,
            ..ONE
        },
    ),
    (
        &[NoticeIsSuccess],
        Believed,
        6,
        Budget {
            lags: 1,
            failovers: 1,
            ..ONE
        },
    ),
    (
        &[NoticeIsSuccess],
        Promised,
        11,
        Budget {
            lags: 1,
            failovers: 1,
            ..ONE
        },
    ),
    (
        &[NoticeIsSuccess],
        ChargedOnce,
        14,
        Budget {
            lags: 1,
            failovers: 1,
            ..TWICE
        },
    ),
    (
        &[DoubtIsNotDone],
        Denied,
        9,
        Budget {
            losses: 1,
            crashes: 1,
            ..ONE
        },
    ),
    (
        &[AdopterChangesProcessor],
        ChargedOnce,
        17,
        Budget {
            steps: 3,
            refusals: 1,
            ..ONE
        },
    ),
    (
        &[FreedOnAdopted404],
        Freed,
        11,
        Budget {
            crashes: 1,
            steps: 1,
            ..ONE
        },
    ),
    (&[LateTwoHundred], OldOwner, 10, Budget { steps: 2, ..ONE }),
    (
        &[LateTwoHundred],
        Exact,
        19,
        Budget {
            steps: 3,
            questions: 1,
            ..ONE
        },
    ),
    (&[AgeFromAnswer], OldOwner, 10, Budget { steps: 2, ..ONE }),
    (&[LateBytes], Spoken, 12, Budget { steps: 3, ..ONE }),
    (&[PauseBeforeWrite], Spoken, 13, Budget { steps: 3, ..ONE }),
    (
        &[RetentionByRequestedAt],
        ChargedOnce,
        18,
        Budget {
            sweeps: 1,
            steps: 2,
            ..TWICE
        },
    ),
    (
        &[WriterNumbersReused],
        WriterOnce,
        3,
        Budget {
            registrations: 1,
            steps: 2,
            ..ONE
        },
    ),
    (
        &[WriterNumbersReused],
        Believed,
        11,
        Budget {
            registrations: 1,
            steps: 2,
            ..TWICE
        },
    ),
    (
        &[NoBarrier],
        Exact,
        8,
        Budget {
            questions: 1,
            ..ONE
        },
    ),
    (
        &[BarrierOfOne],
        Exact,
        12,
        Budget {
            questions: 1,
            ..BOTH
        },
    ),
    (
        &[ChargedReadFirst],
        Exact,
        11,
        Budget {
            questions: 1,
            ..ONE
        },
    ),
    (
        &[SumBeforeSpoken],
        Exact,
        18,
        Budget {
            questions: 1,
            crashes: 1,
            ..ONE
        },
    ),
    (
        &[SpokenAtOnce],
        Exact,
        17,
        Budget {
            questions: 1,
            jumps: 1,
            steps: 2,
            ..ONE
        },
    ),
    (
        &[AsynchronousStandby],
        ChargedOnce,
        14,
        Budget {
            lags: 1,
            failovers: 1,
            ..TWICE
        },
    ),
    // Both of these need a second broken rule: see below.
    (
        &[RollupFromParameters, NoFence],
        Rollup,
        20,
        Budget { steps: 3, ..ONE },
    ),
    (
        &[VerdictOnSettled, NoFence],
        Rollup,
        20,
        Budget { steps: 3, ..ONE },
    ),
];

/// What two of them cost in the end; too many states for every run.
const LONG_CASES: &[Case] = &[
    (
        &[FreedOnAdopted404],
        ChargedOnce,
        19,
        Budget { steps: 3, ..TWICE },
    ),
    (
        &[WriterNumbersReused],
        ChargedOnce,
        16,
        Budget {
            registrations: 1,
            steps: 2,
            refusals: 1,
            ..TWICE
        },
    ),
];

fn found(rules: &[Broken], property: Property, budget: Budget) -> Found {
    let scene = Scene {
        name: "a broken rule",
        budget,
        has_lookups: true,
        ..Scene::default()
    };
    explore(&scene.with(rules).only(property), 3_000_000)
}

#[test]
fn every_broken_rule_is_noticed() {
    let has_time = std::env::var_os("SOAK").is_some();
    let long = LONG_CASES.iter().filter(|_| has_time);
    let mut wrong = Vec::new();
    for &(rules, property, expected, budget) in CASES.iter().chain(long) {
        let found = found(rules, property, budget);
        let moves = found.fault.as_ref().map(|fault| fault.path.len());
        println!(
            "{:40} {:12} {:>2} moves, {:>6} states, {:>5.2} s",
            format!("{rules:?}"),
            format!("{property:?}"),
            moves.unwrap_or_default(),
            found.states,
            found.time.as_secs_f64()
        );
        if moves != Some(expected) {
            let way = found.fault.as_ref().map(tell);
            wrong.push(format!("{rules:?}: {}", way.unwrap_or_default()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Counting rows, and settling only what is open, are second lines: as long as the fence and the
/// nonces hold, no verdict ever meets a row that is settled (`VerdictOnOpen`, in every scene). Only
/// with the fence gone too does the rollup need them, and then they keep it right by themselves.
#[test]
fn what_guards_the_rollup_is_a_second_line() {
    let budget = Budget {
        steps: 2,
        losses: 1,
        ..ONE
    };
    for rule in [RollupFromParameters, VerdictOnSettled] {
        assert!(found(&[rule], Rollup, budget).fault.is_none(), "{rule:?}");
    }
    let budget = Budget { steps: 3, ..ONE };
    assert!(found(&[NoFence], Rollup, budget).fault.is_none());
}

/// Late bytes break what the adopter's lookup has found, and no money: the adopter neither frees
/// nor moves the id, and a late charge is told 202. So does a core that stops before it writes.
#[test]
fn late_bytes_cost_no_money() {
    let budget = Budget {
        steps: 3,
        silences: 1,
        questions: 1,
        ..ONE
    };
    for rule in [LateBytes, PauseBeforeWrite] {
        for property in [ChargedOnce, Denied, Exact, Promised] {
            let found = found(&[rule], property, budget);
            assert!(found.fault.is_none(), "{rule:?}: {property:?}");
        }
    }
}
