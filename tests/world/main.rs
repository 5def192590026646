//! The world test: payments, cores, disks and odd processors under a virtual clock, one seed after
//! the other, with a crash after any step. After every event I1 to I9 are checked, as far as they
//! can be seen from outside.
//!
//! `WORLD_SEEDS=n` runs the first n seeds instead of 256, `WORLD_SEED=s` the seed s alone with all
//! that happened. A seed that failed is run again with its last moments written out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "these are tests"
)]

mod checks;
mod clients;
mod disk;
mod driver;
mod early;
mod luck;
mod machine;
mod permits;
mod places;
mod plan;
mod restart;
mod shards;
mod simulation;
mod site;
mod store;
mod story;
mod traffic;
mod trouble;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use simulation::World;

thread_local! {
    /// What the hook heard on this thread.
    static LAST_PANIC: Cell<String> = const { Cell::new(String::new()) };
}

const SEEDS: u64 = 256;
/// Lines of a failing seed that are shown.
const LINES: usize = 120;
/// Failing seeds that each worker tells of before it stops.
const FAILURES: usize = 3;

/// What 256 seeds must have shown at least once: a world in which all goes well proves nothing.
const SIGHTS: [&str; 56] = [
    "a duplicate of one Pending",
    "a duplicate of one Processed",
    "a duplicate of one Refused",
    "a clock that is far off",
    "a disk that is full",
    "a hedge Denied",
    "a hedge Fired",
    "a hedge Lost",
    "a hedge Won",
    "a late answer",
    "a name Back",
    "a name Moved",
    "a name Replaced",
    "a process that is stopped",
    "a processor is paused",
    "a restart",
    "a start on a full disk",
    "an old second that is cut",
    "answered Accepted",
    "answered AmountDiffers",
    "answered Charged",
    "answered Duplicate(Pending)",
    "answered Duplicate(Processed)",
    "answered Duplicate(Refused)",
    "answered JournalDown",
    "answered NoRoom",
    "answered Overloaded",
    "answered RefusedByAll",
    "answered RefusedForGood",
    "answered Replayed(Accepted202)",
    "answered Replayed(Answered200)",
    "answered Silence",
    "answered Unavailable",
    "charged by another client",
    "confirmed by hand",
    "less in flight",
    "one processor stayed bad",
    "other settings",
    "sent again",
    "settled as Processed",
    "settled as Refused",
    "shed for Cache",
    "shed for Concurrency",
    "shed for Journal",
    "shed for Queue",
    "shed for Unavailable",
    "Applied by Status(200)",
    "Applied by Status(409)",
    "Applied by Status(422)",
    "NotSent by Abandoned",
    "NotSent by NoConnection",
    "Refused by Status(500)",
    "Unknown by Cut",
    "Unknown by Status(503)",
    "Unknown by Timeout",
    "Transition { from: HalfOpen, to: Closed }",
];

#[test]
fn no_seed_breaks_an_invariant() {
    let number = |name| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse::<u64>().ok())
    };
    // A failing seed tells its story once, below.
    std::panic::set_hook(Box::new(|panic| LAST_PANIC.set(panic.to_string())));
    if let Some(seed) = number("WORLD_SEED") {
        let end = live(seed, true);
        let _ = std::panic::take_hook();
        match end {
            Ok(_) => println!("seed {seed} keeps every invariant"),
            Err(story) => panic!("{story}"),
        }
        return;
    }
    let first = number("WORLD_FIRST").unwrap_or(0);
    let seeds = first..first + number("WORLD_SEEDS").unwrap_or(SEEDS);
    let is_whole = seeds.clone().count() >= usize::try_from(SEEDS).unwrap();
    let (seen, failures) = live_all(seeds);
    let _ = std::panic::take_hook();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    for sight in SIGHTS {
        assert!(
            !is_whole || seen.contains(sight),
            "no seed saw this: {sight}"
        );
    }
}

/// All seeds, on all cores of this machine: what they saw, and how some of them failed.
fn live_all(seeds: Range<u64>) -> (BTreeSet<String>, Vec<String>) {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let (mut seen, mut failures) = (BTreeSet::new(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || failures.len() >= FAILURES {
                return (seen, failures);
            }
            match live(seed, false) {
                Ok(sights) => seen.extend(sights),
                Err(_) => {
                    let story = live(seed, true).unwrap_err();
                    failures.push(format!("WORLD_SEED={seed}: {story}"));
                }
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut seen, mut failures) = (BTreeSet::new(), Vec::new());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let (more, failed) = thread.join().unwrap();
            seen.extend(more);
            failures.extend(failed);
        }
    });
    (seen, failures)
}

/// One seed's life: what it saw, or the story of how it failed.
fn live(seed: u64, is_traced: bool) -> Result<BTreeSet<String>, String> {
    let mut world = World::new(seed, is_traced);
    if catch_unwind(AssertUnwindSafe(|| world.run())).is_ok() {
        return Ok(world.seen);
    }
    let trace = world.trace.unwrap_or_default();
    let is_asked_for = std::env::var("WORLD_SEED").is_ok();
    let skipped = if is_asked_for {
        0
    } else {
        trace.len().saturating_sub(LINES)
    };
    let lines: Vec<String> = trace.into_iter().skip(skipped).collect();
    let (step, panic) = (world.steps, LAST_PANIC.take());
    Err(format!("step {step}: {panic}\n{}", lines.join("\n")))
}
