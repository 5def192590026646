//! Torture: a scene of a few hundred payments, a kill and a restart is played with the real binary;
//! its calls to the kernel are counted, the ring's operations too; then it is played again and
//! again, and each time one of these calls fails once, on io_uring and on epoll. Both processors'
//! books are joined with what clients were told.
//!
//!     cargo test --features small-segments --test torture
//!
//! plays a sample that is always the same, `TORTURE=each` every call in turn, `TORTURE=full` every
//! mode and error, `TORTURE=NAME` every case whose name holds that text. docs/HACKING.md has more.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "what is not as expected fails the test, and it reads real time"
)]

mod cases;
mod judge;
#[path = "../kit/mod.rs"]
mod kit;
mod scene;
mod traffic;

use std::sync::Mutex;
use std::thread;

use cases::{Case, Stage};
use kit::report::{Report, say};
use scene::Outcome;

/// Scenes that are played at the same time: each waits most of its time.
const WORKERS: usize = 4;

#[test]
fn every_kernel_call_may_fail_once() {
    let mut report = Report::default();
    let mut all = Vec::new();
    for stage in Stage::ALL {
        let outcome = scene::play(stage, None, &mut report);
        let tables = outcome.tables.expect("a scene without a fault is counted");
        let cases = cases::choose(stage, &tables);
        let calls: u64 = tables.iter().flatten().map(|row| row.count).sum();
        let names = tables[1].len();
        report.row(
            format!("{stage:?}"),
            format!("{calls} calls, {names} names, {} cases", cases.len()),
        );
        all.extend(cases);
    }
    let queue = Mutex::new(all.iter());
    let told = Mutex::new((report, Vec::new()));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| work(&queue, &told));
        }
    });
    let (mut report, outcomes) = told.into_inner().unwrap();
    let count = |is: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|one| is(one)).count();
    report.row("cases", outcomes.len());
    report.row("struck", count(&|one| one.has_struck));
    report.row("p99 ended or did not start", count(&|one| one.has_ended));
    report.row(
        "p99 went on",
        count(&|one| one.has_struck && !one.has_ended),
    );
    assert!(report.print("torture"));
    assert!(outcomes.is_empty() || count(&|one| one.has_struck) * 10 > outcomes.len() * 7);
}

fn work(queue: &Mutex<std::slice::Iter<'_, Case>>, told: &Mutex<(Report, Vec<Outcome>)>) {
    loop {
        let Some(case) = queue.lock().unwrap().next() else {
            return;
        };
        let mut own = Report::default();
        let outcome = scene::play(case.stage, Some(case), &mut own);
        let mut told = told.lock().unwrap();
        if std::env::var_os("TORTURE").is_some() || !own.is_kept() {
            let struck = if outcome.has_struck {
                ""
            } else {
                ", not reached"
            };
            let broken = if own.is_kept() { "" } else { "BROKEN: " };
            say(&format!("{broken}{case:?}{struck}: {}", outcome.end));
        }
        told.0.take_over(own);
        told.1.push(outcome);
    }
}
