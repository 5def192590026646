//! `kill -9` at random moments, restart, again and again; then the books must balance (I1 to I6).
//!
//! The rounds are the kit's, a few of them: the real binary pays through two simulated processors
//! that survive it and are behind gateways that lie, so that open Intents exist at every kill.
//! Clients send fresh ids, each other's ids, and what was never answered once more. At the end the
//! processors get well, everything settles, and the auditor joins both processors' rows with every
//! word that clients heard. `lab kill` plays a hundred rounds of it.
//!
//! `writer` does the same to the journal alone, with segments so small that kills meet rotation and
//! compaction; `CRASH_ROUNDS` makes it longer. `golden` starts on the journals of every version.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and a process is waited for by the clock"
)]

mod golden;
#[path = "../kit/mod.rs"]
mod kit;
mod writer;

use kit::report::Report;
use kit::rounds::{self, Rounds};
use kit::scratch::Scratch;

#[test]
fn killed_at_any_moment_every_acknowledged_payment_is_charged_exactly_once() {
    let seed = jiff::Timestamp::now().as_microsecond() % 1_000_000_007;
    // Four rounds: both JOURNAL_SYNC with both ACK.
    let rounds = Rounds {
        rounds: 4,
        payments_per_round: 200,
        seed: seed.unsigned_abs(),
        journal: None,
        ack: None,
        driver: kit::process::driver_of_the_run().to_owned(),
        disk: None,
    };
    let scratch = Scratch::new("crash").unwrap();
    let mut report = Report::default();
    rounds::play(
        &rounds,
        env!("CARGO_BIN_EXE_p99").into(),
        &scratch,
        &mut report,
    );
    let what = format!("crash, seed {seed}");
    if !report.is_kept() {
        scratch.close(&report, &what);
        panic!("{what}: a promise was broken, see above");
    }
}
