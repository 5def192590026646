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
mod luck;
mod machine;
mod plan;
mod restart;
mod simulation;
mod site;
mod story;
mod traffic;
mod trouble;

use std::cell::Cell;
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

#[test]
fn no_seed_breaks_an_invariant() {
    // A failing seed tells its story once, below.
    std::panic::set_hook(Box::new(|panic| LAST_PANIC.set(panic.to_string())));
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    if let Some(seed) = number("WORLD_SEED") {
        let end = live(seed, true);
        let _ = std::panic::take_hook();
        if let Err(story) = end {
            panic!("{story}");
        }
        println!("seed {seed} keeps every invariant");
        return;
    }
    let first = number("WORLD_FIRST").unwrap_or(0);
    let seeds = first + number("WORLD_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(first);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut failures: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            let mut failures = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds || failures.len() >= 3 {
                    return failures;
                }
                if live(seed, false).is_err() {
                    failures.push((seed, live(seed, true).unwrap_err()));
                }
            }
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let failures = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap());
        failures
            .map(|(seed, story)| format!("WORLD_SEED={seed}: {story}"))
            .collect()
    });
    let _ = std::panic::take_hook();
    failures.sort();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// One seed's life; the story of how it failed otherwise.
fn live(seed: u64, is_traced: bool) -> Result<(), String> {
    let mut world = World::new(seed, is_traced);
    let end = catch_unwind(AssertUnwindSafe(|| world.run()));
    if end.is_ok() {
        return Ok(());
    }
    let trace = world.trace.unwrap_or_default();
    let skipped = if is_traced && std::env::var("WORLD_SEED").is_ok() {
        0
    } else {
        trace.len().saturating_sub(LINES)
    };
    let lines: Vec<String> = trace.into_iter().skip(skipped).collect();
    Err(format!(
        "step {}: {}\n{}",
        world.steps,
        LAST_PANIC.take(),
        lines.join("\n")
    ))
}
