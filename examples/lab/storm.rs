//! Payments by the hundred thousand, a part of them repeats, while every kind of trouble comes and
//! goes at both processors; then the audit. The processors are behind a TCP liar that is a gateway
//! too, and their names move.
//!
//! The trouble changes with the share of payments that are sent, so a short run meets all of it.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args;

use crate::kit::audit::Evidence;
use crate::kit::crowd::{self, Crowd};
use crate::kit::liar::{Act, Mood, WELL};
use crate::kit::operator::secret_file;
use crate::kit::process::{P99, Plan, free_address};
use crate::kit::report::{Report, say};
use crate::kit::scratch::Scratch;
use crate::kit::told::{Numbers, Word};
use crate::kit::world::{World, may_cover_hosts};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Requests, repeats included
    #[arg(long, default_value_t = 1_000_000)]
    payments: u32,
    /// Share of repeats of known ids
    #[arg(long, default_value_t = 0.12)]
    repeats: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// uring (where it is allowed) or epoll
    #[arg(long, default_value = "uring")]
    driver: String,
    /// always, os or off
    #[arg(long, default_value = "os")]
    journal: String,
    /// processed or accepted
    #[arg(long, default_value = "processed")]
    ack: String,
    #[arg(long, default_value = "round_robin")]
    routing: String,
    /// Client threads
    #[arg(long, default_value_t = 48)]
    clients: usize,
    /// Lies of the connection alone, no gateway's
    #[arg(long)]
    tcp_only: bool,
    /// A 500 may be charged later; with UPSTREAM_500=unknown
    #[arg(long)]
    late_500s: bool,
    /// Names stay where they are
    #[arg(long)]
    still: bool,
    /// 120,000 payments
    #[arg(long)]
    quick: bool,
    /// What p99 logs
    #[arg(long, default_value = "warn")]
    log: String,
}

const TCP: &[(u64, Act)] = &[
    (4, Act::Late(120)),
    (2, Act::Slow(200)),
    (4, Act::CutAfter),
    (4, Act::CutInside),
    (2, Act::Swallow),
    (2, Act::Drip),
    (1, Act::Garbage),
    (2, Act::ResetBefore),
    (1, Act::Deaf),
    (1, Act::Half),
];
const GATEWAY: &[(u64, Act)] = &[
    (6, Act::AtOnce(1_500)),
    (4, Act::AtOnce(20)),
    (4, Act::AfterCharge(150)),
    (3, Act::Alone),
    (4, Act::Failed),
    (1, Act::Elsewhere),
];
const BUSY: &[(u64, Act)] = &[(1, Act::TooMany), (2, Act::Late(60)), (2, Act::AtOnce(300))];

const fn mood(pay: u32, menu: &'static [(u64, Act)]) -> Mood {
    Mood {
        accept: 2_000,
        pay,
        lookup: pay,
        menu,
        has_conflicts: false,
        ..WELL
    }
}
const fn conflicts(mood: Mood) -> Mood {
    Mood {
        has_conflicts: true,
        ..mood
    }
}

/// What happens to the names in a part of the run.
#[derive(Clone, Copy, Debug)]
enum Move {
    Stay,
    Fresh(usize),
    DeadFirst(usize),
    Swap,
    SlowSwap,
}

/// The parts of a run, each with as many payments. Most payments meet no trouble.
const PARTS: &[(Mood, Mood, Move)] = &[
    (mood(3_000, TCP), mood(3_000, GATEWAY), Move::Stay),
    (mood(80_000, TCP), mood(3_000, TCP), Move::Stay),
    (mood(3_000, TCP), mood(3_000, TCP), Move::Stay),
    (
        conflicts(mood(80_000, GATEWAY)),
        mood(3_000, TCP),
        Move::Stay,
    ),
    (mood(20_000, TCP), mood(20_000, GATEWAY), Move::Fresh(0)),
    (
        mood(3_000, GATEWAY),
        conflicts(mood(80_000, GATEWAY)),
        Move::Stay,
    ),
    (mood(20_000, BUSY), mood(3_000, TCP), Move::DeadFirst(1)),
    (mood(30_000, GATEWAY), mood(30_000, TCP), Move::Swap),
    (
        conflicts(mood(120_000, TCP)),
        conflicts(mood(120_000, TCP)),
        Move::Stay,
    ),
    (mood(450_000, GATEWAY), mood(3_000, TCP), Move::Stay),
    (mood(20_000, GATEWAY), mood(20_000, TCP), Move::SlowSwap),
    (mood(3_000, TCP), mood(3_000, GATEWAY), Move::DeadFirst(0)),
];

impl Options {
    /// Longest run: at 1,000 payments a second, which no phase of the run comes near.
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_secs(240 + u64::from(self.payments) / 1_000)
    }

    fn plan(&self, binary: PathBuf, scratch: &Scratch, world: &World) -> Plan {
        let hosts = (!self.still).then(|| scratch.file("hosts"));
        let mut plan = world.plan(binary, scratch);
        plan.hosts = hosts;
        let journal = match self.journal.as_str() {
            "off" => "off".to_owned(),
            _ => scratch.file("journal").display().to_string(),
        };
        plan.set("JOURNAL_DIR", journal);
        if self.journal != "off" {
            plan.set("JOURNAL_SYNC", &self.journal);
        }
        plan.set_driver(&self.driver);
        plan.set("ACK", &self.ack);
        plan.set("ROUTING", &self.routing);
        if self.late_500s {
            plan.set("UPSTREAM_500", "unknown");
        }
        plan.set("CACHE_CAPACITY", self.payments + 100_000);
        for (name, value) in [
            ("CORES", "2"),
            ("REQUEST_TIMEOUT_MS", "100"),
            ("ATTEMPT_TIMEOUT_MS", "100"),
            ("SETTLE_TIMEOUT_MS", "1000"),
            ("CB_OPEN_SECS", "1"),
            ("CB_WINDOW_SECS", "2"),
            ("UPSTREAM_RESOLVE_SECS", "1"),
            ("RUST_LOG", &self.log),
        ] {
            plan.set(name, value);
        }
        plan
    }
}

/// Whether every promise was kept; nothing where the machine does not lend what is needed.
pub(crate) fn run(options: &Options, binary: PathBuf) -> Option<bool> {
    if !options.still && !may_cover_hosts() {
        say("skipped: names cannot move, as this user may not have a mount namespace");
        return None;
    }
    let scratch = Scratch::new("storm").expect("a folder");
    let hosts = scratch.file("hosts");
    let hosts = (!options.still).then_some(hosts.as_path());
    let mut world = World::start(options.seed, hosts).expect("two processors");
    let mut plan = options.plan(binary, &scratch, &world);
    let operator = free_address().expect("a port");
    plan.set("ADMIN_LISTEN", operator);
    plan.set("ADMIN_SECRET_FILE", secret_file(&scratch));
    world.operator = Some(operator);
    let mut report = Report::default();
    let Some(p99) = P99::start(&plan, &mut report) else {
        return Some(scratch.close(&report, "storm"));
    };
    let numbers = Numbers { seed: options.seed };
    let requests = if options.quick {
        120_000
    } else {
        options.payments
    };
    let crowd = Crowd::start(crowd::Plan {
        address: plan.address,
        numbers,
        clients: options.clients,
        requests,
        repeats: per_million(options.repeats),
        rest: Duration::ZERO,
    });
    let began = crowd.began;
    direct(&mut world, &crowd, requests, options);
    let (count, told) = crowd.join(&mut report);
    let mut evidence = Evidence {
        address: plan.address,
        numbers,
        count,
        began,
        told,
        books: Default::default(),
    };
    for told in evidence
        .told
        .iter()
        .filter(|told| told.word == Word::Silence)
    {
        report.broke("an answer to every request", || format!("{told:?}"));
    }
    world.close(&mut evidence, &mut report);
    evidence.audit(&mut report);
    p99.end(&mut report);
    let what = format!("storm, seed {}, journal {}", options.seed, options.journal);
    Some(scratch.close(&report, &what))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share is from 0 to 1"
)]
pub(crate) fn per_million(share: f64) -> u32 {
    (share.clamp(0.0, 1.0) * 1e6) as u32
}

/// Lets trouble come and go until all payments are sent.
fn direct(world: &mut World, crowd: &Crowd, requests: u32, options: &Options) {
    let mut at = usize::MAX;
    while !crowd.is_done() {
        let parts = PARTS.len() as u64;
        let part = u64::from(crowd.requests()) * parts / u64::from(requests.max(1));
        let part = usize::try_from(part.min(parts - 1)).expect("fits");
        if part == at {
            thread::sleep(Duration::from_millis(5));
            continue;
        }
        at = part;
        let (a, b, step) = PARTS[part];
        let step = if options.still { Move::Stay } else { step };
        say(&format!(
            "{:>6} ms: part {}, {step:?}",
            crowd.now_ms(),
            part + 1
        ));
        world.set([a, b].map(|mood| match options.tcp_only {
            true => Mood {
                menu: TCP,
                has_conflicts: false,
                ..mood
            },
            false => Mood {
                has_late_500s: options.late_500s,
                ..mood
            },
        }));
        match step {
            Move::Stay => continue,
            Move::Fresh(side) => world.move_one(side, false),
            Move::DeadFirst(side) => world.move_one(side, true),
            Move::Swap => world.swap(false),
            Move::SlowSwap => world.swap(true),
        }
        .expect("an address of this machine");
    }
}
