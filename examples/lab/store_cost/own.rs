//! p99's own CPU for each payment: on the store and on a journal that is always synced, in turns.
//! p99 has the first processor of the machine to itself; PostgreSQL, the load and both payment
//! processors share the others.

use std::path::Path;
use std::thread::available_parallelism;

use crate::gauge::{self, Seen, median};
use crate::kit::postgres::Cluster;
use crate::kit::process::{P99, Plan};
use crate::kit::report::Report;
use crate::kit::scratch::Scratch;

/// CPU of a payment on the store, as a part of the journal's.
const SHARE_MAX: f64 = 1.15;
const CLIENTS: u64 = 64;
const MODES: [&str; 2] = ["always", "store"];

/// One run.
struct Run {
    cpu_us: f64,
    rate: f64,
    p50_us: f64,
}

/// What all runs share.
struct Bench<'a> {
    binary: &'a Path,
    cluster: Cluster,
    seconds: u64,
    /// No two runs send one id: the store knows those of the runs before.
    seed: u64,
}

pub(super) fn compare(
    binary: &Path,
    scratch: &Scratch,
    rounds: u64,
    seconds: u64,
    report: &mut Report,
) {
    let all = available_parallelism().map_or(1, usize::from);
    // Whatever is started from here on, PostgreSQL too.
    gauge::pin(usize::from(all > 1)..all).expect("processors of this machine");
    let mut bench = Bench {
        binary,
        cluster: Cluster::new(scratch, "pg-of-p99", &["fsync=on"]),
        seconds,
        seed: 1_000,
    };
    bench.cluster.make_schema();
    let mut runs: [Vec<Run>; 2] = Default::default();
    for _ in 0..rounds {
        for (runs, mode) in runs.iter_mut().zip(MODES) {
            match bench.play(mode, report) {
                Some(run) => runs.push(run),
                None => return,
            }
        }
    }
    let of = |runs: &[Run], field: fn(&Run) -> f64| median(runs.iter().map(field).collect());
    for (runs, mode) in runs.iter().zip(MODES) {
        let (cpu, rate) = (of(runs, |one| one.cpu_us), of(runs, |one| one.rate));
        let p50 = of(runs, |one| one.p50_us);
        report.row(
            format!("p99 itself, {mode}, {CLIENTS} clients"),
            format!("{cpu:.1} us each, {rate:.0}/s, p50 {p50:.0} us"),
        );
    }
    let [always, store] = runs.each_ref().map(|runs| of(runs, |one| one.cpu_us));
    let share = store / always;
    report.row("p99 itself, store : always", format!("{share:.2}"));
    if share > SHARE_MAX {
        report.broke("the store costs p99 little more than a journal", || {
            format!("{share:.2} times, at most {SHARE_MAX}")
        });
    }
}

impl Bench<'_> {
    fn play(&mut self, mode: &str, report: &mut Report) -> Option<Run> {
        let scratch = Scratch::new("store-cost-p99").expect("a folder");
        let processors = gauge::processors();
        let mut plan = gauge::plan(self.binary, &scratch, &processors);
        plan.set("CORES", 1);
        plan.set("REQUEST_TIMEOUT_MS", 5_000);
        if mode == "store" {
            plan.set("STORE", self.cluster.store("sslmode=disable"));
        } else {
            plan.set("JOURNAL_DIR", scratch.text("journal"));
            plan.set("JOURNAL_SYNC", mode);
        }
        plan.under = ["taskset", "-c", "0"].map(str::to_owned).to_vec();
        let p99 = P99::start(&plan, report)?;
        self.load(&plan, 1);
        let before = p99.ticks();
        let seen = self.load(&plan, self.seconds);
        let ticks = p99.ticks() - before;
        p99.end(report);
        let charged = seen.charged();
        if charged != seen.sent {
            report.broke("every payment is charged", || format!("{mode}: {seen:?}"));
        }
        Some(Run {
            cpu_us: ticks as f64 * 10_000.0 / charged.max(1) as f64,
            rate: charged as f64 / seen.seconds,
            p50_us: seen.p50_us,
        })
    }

    fn load(&mut self, plan: &Plan, seconds: u64) -> Seen {
        self.seed += 1;
        let port = u64::from(plan.address.port());
        gauge::load(self.binary, &[port, 0, seconds, CLIENTS, self.seed])
    }
}
