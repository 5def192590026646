//! What the journal costs: payments a second and latency with the journal off, os and always, side
//! by side.
//!
//! Rounds are interleaved, each with a fresh p99 and a fresh journal; a row is the median of its
//! rounds. Clients send the next payment when the last one was answered. p99 runs on the first
//! processor of the machine, the load and both payment processors on the others. The disk's own
//! fdatasync is timed before each round on p99's processor, with writes as small as p99's into a
//! file that was reserved.
//!
//! Targets: `always` adds at most 3.5 fdatasync times to the p50 of 64 clients and 2.2 to that of
//! one (an Intent and a Verdict are two syncs, and with many clients each waits for half of the
//! sync before it); the throughput of 64 clients stays within 15 % of `off`, because syncs are
//! shared. 64 clients that wait for each answer send 64 / latency a second: with two syncs in each
//! latency no proxy stays within 15 % unless a sync is shorter than a twelfth of it. The rows of
//! 1,024 clients show the same target where there is always another payment to share a sync with.
//!
//! Meaningful on an idle machine and a release build only.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Instant;

use clap::Args;

use crate::gauge::{self, median};
use crate::kit::process::{P99, Plan};
use crate::kit::report::{Report, say, say_table};
use crate::kit::scratch::Scratch;

const MODES: [&str; 3] = ["off", "os", "always"];
/// Clients, and the fdatasync times that `always` may add to their p50.
const TARGETS: [(u64, Option<f64>); 3] = [(64, Some(3.5)), (1, Some(2.2)), (1_024, None)];
const THROUGHPUT_MIN: f64 = 0.85;
/// As p99 reserves a segment.
const SEGMENT_BYTES: i64 = 64 << 20;
const PROBES: u64 = 1_000;

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Processors for p99
    #[arg(long, default_value_t = 1)]
    cores: usize,
    /// 1, 64 or 1024; all of them without it
    #[arg(long)]
    clients: Vec<u64>,
    /// On the disk to measure; else a temporary folder
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// One round, as numbers to take the median of.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    rate: f64,
    p50_us: f64,
    p99_us: f64,
    syncs: f64,
    bytes: f64,
    sync_us: f64,
}

struct Bench<'a> {
    options: &'a Options,
    binary: &'a Path,
    scratch: Scratch,
    /// All processors of the machine, and how many of them are p99's own.
    all: usize,
    own: usize,
    seed: u64,
}

pub(crate) fn run(options: &Options, binary: &Path) -> bool {
    let all = available_parallelism().map_or(1, usize::from);
    let own = if options.cores < all {
        options.cores
    } else {
        0
    };
    gauge::pin(own..all).expect("processors of this machine");
    let mut bench = Bench {
        options,
        binary,
        scratch: Scratch::new("journal-cost").expect("a folder"),
        all,
        own,
        seed: 0,
    };
    let mut report = Report::default();
    for (clients, syncs_max) in TARGETS {
        if options.clients.is_empty() || options.clients.contains(&clients) {
            bench.compare(clients, syncs_max, &mut report);
        }
    }
    bench.scratch.close(&report, "journal-cost")
}

impl Bench<'_> {
    fn compare(&mut self, clients: u64, syncs_max: Option<f64>, report: &mut Report) {
        let mut rounds: [Vec<Round>; 3] = Default::default();
        let mut syncs = Vec::new();
        for _ in 0..self.options.rounds {
            for (rounds, mode) in rounds.iter_mut().zip(MODES) {
                syncs.push(self.fdatasync_us());
                match self.play(mode, clients, report) {
                    Some(round) => rounds.push(round),
                    None => return,
                }
            }
        }
        let sync_us = median(syncs);
        let of =
            |rounds: &[Round], field: fn(&Round) -> f64| median(rounds.iter().map(field).collect());
        say(&format!(
            "\n{clients} clients, fdatasync of this disk: p50 {:.2} ms",
            sync_us / 1e3
        ));
        let names = [
            "journal",
            "payments/s",
            "p50 ms",
            "p99 ms",
            "bytes",
            "syncs/payment",
            "mean sync ms",
        ];
        let mut rows = vec![names.map(str::to_owned).to_vec()];
        for (rounds, mode) in rounds.iter().zip(MODES) {
            rows.push(vec![
                mode.to_owned(),
                format!("{:.0}", of(rounds, |one| one.rate)),
                format!("{:.2}", of(rounds, |one| one.p50_us) / 1e3),
                format!("{:.2}", of(rounds, |one| one.p99_us) / 1e3),
                format!("{:.0}", of(rounds, |one| one.bytes)),
                format!("{:.3}", of(rounds, |one| one.syncs)),
                format!("{:.2}", of(rounds, |one| one.sync_us) / 1e3),
            ]);
        }
        say_table(&rows);
        let [off, _, always] = &rounds;
        let added = (of(always, |one| one.p50_us) - of(off, |one| one.p50_us)) / sync_us;
        let share = of(always, |one| one.rate) / of(off, |one| one.rate);
        say(&format!(
            "always adds {added:.2} fdatasync times to p50 (at most {syncs_max:?}) and reaches \
             {:.0} % of the throughput",
            share * 100.0
        ));
        if syncs_max.is_some_and(|most| added > most) {
            report.broke("p50 with always", || {
                format!("{clients} clients: {added:.2}")
            });
        }
        if clients > 1 && share < THROUGHPUT_MIN {
            report.broke("throughput with always", || {
                format!("{clients} clients: {:.0} %", share * 100.0)
            });
        }
    }

    /// The median of pwrite and fdatasync on p99's processors.
    fn fdatasync_us(&self) -> f64 {
        gauge::pin(0..self.own.max(1)).expect("processors of this machine");
        let path = self.folder().join("p99-probe");
        let file = File::create(&path).expect("a file");
        // SAFETY: no pointers; the descriptor is open.
        let reserved = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, SEGMENT_BYTES) };
        assert_eq!(reserved, 0, "room for a segment");
        file.sync_all().expect("a disk");
        let took = (0..PROBES).map(|number| {
            let began = Instant::now();
            file.write_all_at(&[1; 512], number * 512).expect("a disk");
            file.sync_data().expect("a disk");
            began.elapsed().as_secs_f64() * 1e6
        });
        let took = median(took.collect());
        std::fs::remove_file(path).expect("it was just made");
        gauge::pin(self.own..self.all).expect("processors of this machine");
        took
    }

    fn folder(&self) -> &Path {
        self.options
            .dir
            .as_deref()
            .unwrap_or_else(|| self.scratch.path())
    }

    fn play(&mut self, mode: &str, clients: u64, report: &mut Report) -> Option<Round> {
        let journal = self.folder().join("p99-journal");
        // The first round finds none.
        let _ = std::fs::remove_dir_all(&journal);
        let processors = gauge::processors();
        let mut plan = gauge::plan(self.binary, &self.scratch, &processors);
        plan.set("CORES", self.options.cores);
        plan.set("REQUEST_TIMEOUT_MS", 5_000);
        if mode != "off" {
            plan.set("JOURNAL_DIR", journal.display());
            plan.set("JOURNAL_SYNC", mode);
        }
        if self.own > 0 {
            let cores = format!("0-{}", self.own - 1);
            plan.under = ["taskset", "-c", &cores].map(str::to_owned).to_vec();
        }
        let p99 = P99::start(&plan, report)?;
        self.load(&plan, clients, 1);
        let before = counted(&plan);
        let seen = self.load(&plan, clients, self.options.seconds);
        let after = counted(&plan);
        p99.end(report);
        // What was written goes before the next round begins.
        let _ = std::fs::remove_dir_all(&journal);
        let good = seen.charged();
        if good != seen.sent {
            report.broke("every payment is charged", || format!("{mode}: {seen:?}"));
        }
        let [syncs, bytes, span] = [0, 1, 2].map(|index: usize| after[index] - before[index]);
        Some(Round {
            rate: good as f64 / seen.seconds,
            p50_us: seen.p50_us,
            p99_us: seen.p99_us,
            syncs: syncs / good as f64,
            bytes: bytes / good as f64,
            sync_us: if syncs > 0.0 { span / syncs * 1e6 } else { 0.0 },
        })
    }

    fn load(&mut self, plan: &Plan, clients: u64, seconds: u64) -> gauge::Seen {
        self.seed += 1;
        let port = u64::from(plan.address.port());
        gauge::load(self.binary, &[port, 0, seconds, clients, self.seed])
    }
}

/// Syncs, bytes and seconds of syncs that p99 counted.
fn counted(plan: &Plan) -> [f64; 3] {
    [
        "p99_journal_sync_duration_seconds_count",
        "p99_journal_bytes_total",
        "p99_journal_sync_duration_seconds_sum",
    ]
    .map(|name| gauge::metric(plan, name))
}
