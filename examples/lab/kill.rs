//! `kill -9` about every 1.5 s under faults, restart at once, again and again over one journal;
//! then the audit. JOURNAL_SYNC, ACK, the number of cores and the time until the restart change
//! from round to round, so that every pair of settings follows every other one.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::crowd::{self, Crowd};
use crate::kit::audit::Evidence;
use crate::kit::dice::Dice;
use crate::kit::process::{self, P99, Plan, Scratch};
use crate::kit::report::{Report, say};
use crate::kit::told::Numbers;
use crate::liar::{Act, Mood, WELL};
use crate::storm::{self, end, finish};
use crate::world::World;

const ROUND: Duration = Duration::from_millis(1_500);
/// 24 clients then send at most 6,000 payments a second, 900,000 in 100 rounds.
const REST: Duration = Duration::from_millis(4);
/// A round that does not get its payments through until then counts as stuck.
const ROUND_MAX: Duration = Duration::from_secs(30);

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[arg(long, default_value_t = 100)]
    rounds: u32,
    /// Least answers in each round
    #[arg(long, default_value_t = 2_000)]
    payments_per_round: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// always or os; in turn without it
    #[arg(long)]
    journal: Option<String>,
    /// processed or accepted; in turn without it
    #[arg(long)]
    ack: Option<String>,
    #[arg(long, default_value = "uring")]
    driver: String,
    /// 8 rounds
    #[arg(long)]
    quick: bool,
}

const MENU: &[(u64, Act)] = &[
    (6, Act::Late(150)),
    (4, Act::Slow(150)),
    (4, Act::CutAfter),
    (3, Act::CutInside),
    (3, Act::Swallow),
    (2, Act::ResetBefore),
    (1, Act::Deaf),
    (3, Act::AtOnce(1_000)),
    (3, Act::AfterCharge(100)),
    (2, Act::Alone),
    (2, Act::Failed),
];

impl Options {
    fn rounds(&self) -> u32 {
        if self.quick { 8 } else { self.rounds }
    }

    pub(crate) fn longest(&self) -> Duration {
        Duration::from_secs(240 + u64::from(self.rounds()) * 6)
    }

    /// The settings of one round.
    fn plan(&self, base: &Plan, round: u32, dice: &mut Dice) -> Plan {
        let mut plan = base.clone();
        let journal = ["os", "always"][usize::from(round % 2 == 1)];
        let ack = ["processed", "accepted"][usize::from(round / 2 % 2 == 1)];
        plan.set("JOURNAL_SYNC", self.journal.as_deref().unwrap_or(journal));
        plan.set("ACK", self.ack.as_deref().unwrap_or(ack));
        plan.set("CORES", 1 + dice.below(3));
        plan
    }
}

pub(crate) fn run(options: &Options, binary: PathBuf) -> bool {
    let scratch = Scratch::new("kill").expect("a folder");
    let world = World::start(options.seed, None).expect("two processors");
    let mut base = Plan {
        binary,
        address: process::free_address().expect("a port"),
        hosts: None,
        settings: Vec::new(),
        log: scratch.file("p99.log"),
    };
    let [a, b] = world.urls();
    base.set("UPSTREAM_A_URL", a);
    base.set("UPSTREAM_B_URL", b);
    base.set("JOURNAL_DIR", scratch.file("journal").display());
    base.set(
        "MONOIO_FORCE_LEGACY_DRIVER",
        u8::from(options.driver == "epoll"),
    );
    for (name, value) in [
        ("REQUEST_TIMEOUT_MS", "100"),
        ("ATTEMPT_TIMEOUT_MS", "100"),
        ("SETTLE_TIMEOUT_MS", "1000"),
        ("CB_OPEN_SECS", "1"),
        ("CACHE_CAPACITY", "5000000"),
        ("DRAIN_DELAY_MS", "0"),
        ("RUST_LOG", "warn"),
    ] {
        base.set(name, value);
    }
    let numbers = Numbers { seed: options.seed };
    let crowd = Crowd::start(crowd::Plan {
        address: base.address,
        numbers,
        clients: 24,
        requests: u32::MAX,
        repeats: 120_000,
        rest: REST,
    });
    let mut report = Report::default();
    let p99 = rounds(options, &world, &base, &crowd, &mut report);
    let Some(p99) = p99 else {
        return finish(&report, "kill", scratch);
    };
    thread::sleep(Duration::from_millis(500));
    let began = crowd.began;
    crowd.stop();
    let (count, told) = crowd.join(&mut report);
    let mut evidence = Evidence {
        address: base.address,
        numbers,
        count,
        began,
        told,
        books: Default::default(),
        moved_ms: 0,
    };
    world.close(&mut evidence, &mut report);
    evidence.audit(&mut report);
    end(p99, &mut report);
    finish(
        &report,
        &format!("kill, seed {}, {} rounds", options.seed, options.rounds()),
        scratch,
    )
}

/// Plays all rounds; the instance that lives after the last one.
fn rounds(
    options: &Options,
    world: &World,
    base: &Plan,
    crowd: &Crowd,
    report: &mut Report,
) -> Option<P99> {
    let mut dice = Dice::new(options.seed);
    let mut fewest = u32::MAX;
    let mut slowest = Duration::ZERO;
    for round in 0..options.rounds() {
        vex(world, &mut dice);
        let plan = options.plan(base, round, &mut dice);
        let began = Instant::now();
        let mut p99 = start(&plan, report)?;
        slowest = slowest.max(began.elapsed());
        let before = crowd.answers();
        let (span, began) = (
            ROUND.mul_f64(0.7 + dice.below(60) as f64 / 100.0),
            Instant::now(),
        );
        let enough = before + options.payments_per_round;
        let mut is_vexed = false;
        while began.elapsed() < span || crowd.answers() < enough {
            if began.elapsed() > ROUND_MAX {
                report.broke("enough answers in a round", || format!("round {round}"));
                break;
            }
            if !is_vexed && began.elapsed() > span / 2 {
                vex(world, &mut dice);
                is_vexed = true;
            }
            if p99.try_wait().is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        fewest = fewest.min(crowd.answers() - before);
        if let Err(end) = p99.kill() {
            report.broke("p99 lives until it is killed", || end);
        }
        if round % 10 == 9 {
            say(&format!("round {}: {} answers", round + 1, crowd.answers()));
        }
        // Most restarts follow at once.
        if dice.is_one_in(3) {
            thread::sleep(Duration::from_millis(dice.below(20)));
        }
    }
    report.row(
        "rounds, fewest answers in one",
        format!("{}, {fewest}", options.rounds()),
    );
    report.row("slowest start", format!("{} ms", slowest.as_millis()));
    world.set([WELL, WELL]);
    let mut plan = options.plan(base, 0, &mut dice);
    plan.set("CORES", 2);
    start(&plan, report)
}

/// Starts it. A start that fails is a broken promise, and tried again.
fn start(plan: &Plan, report: &mut Report) -> Option<P99> {
    for _ in 0..10 {
        if let Some(p99) = storm::start(plan, report) {
            return Some(p99);
        }
        thread::sleep(Duration::from_millis(100));
    }
    None
}

/// Gives both processors another mood.
fn vex(world: &World, dice: &mut Dice) {
    let mut mood = || {
        let pay = dice.one_of(&[0, 10_000, 30_000, 60_000, 150_000]);
        Mood {
            accept: dice.one_of(&[0, 2_000, 20_000]),
            pay,
            lookup: pay,
            menu: MENU,
            has_conflicts: dice.is_one_in(4),
            ..WELL
        }
    };
    let moods = [mood(), mood()];
    world.set(moods);
}
