//! One story for each seed, and what all of them together must have shown.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Set;

const SEEDS: u64 = 48;

/// What all seeds must have shown at least once.
const SIGHTS: [&str; 17] = [
    "a commit whose answer was lost",
    "a clock that jumped",
    "a commit that was lost",
    "a copy that came late",
    "a crash",
    "a fenced instance",
    "a lost claim that was pending",
    "a lost claim that was processed",
    "a pause longer than the lease",
    "a notice behind COMMIT",
    "a store that is away",
    "a way to no processor",
    "a sum",
    "an adoption",
    "an id that was kept long enough",
    "no sum",
    "no sweep, as a clock jumped",
];

#[test]
fn equal_instances_charge_once_whatever_the_store_does() {
    let number = |name: &str| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse::<u64>().ok())
    };
    let first = number("WORLD_FIRST").unwrap_or(0);
    let count = number("STORE_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(first);
    let sights = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !(first..first + count).contains(&seed) {
                return;
            }
            let mut set = Set::new(seed);
            let end = catch_unwind(AssertUnwindSafe(|| set.run()));
            if end.is_err() {
                // No one plays on.
                next.store(u64::MAX, Ordering::Relaxed);
                panic!("STORE_SEED={seed} at {} us", set.time);
            }
            let mut sights = sights.lock().unwrap();
            for (sight, count) in set.sights {
                *sights.entry(sight).or_insert(0) += count;
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let sights = sights.into_inner().unwrap();
    for sight in SIGHTS {
        let is_seen = sights.contains_key(sight);
        assert!(is_seen || count < SEEDS, "no seed saw {sight}: {sights:?}");
    }
}
