//! Rounds of `kill -9` about every 1.5 s under faults, with a restart at once, again and again over
//! one journal; then the audit. JOURNAL_SYNC, ACK, the number of cores and the time until the
//! restart change from round to round, so that every pair of settings follows every other one. In
//! some rounds the process is stopped for a while and goes on. Where the journal has a file system
//! of its own, that is full before some rounds, and has room again a moment later.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::audit::Evidence;
use super::ballast::Ballast;
use super::crowd::{self, Crowd};
use super::dice::Dice;
use super::liar::{Act, Mood, WELL};
use super::process::{P99, Plan};
use super::report::{Report, say};
use super::scratch::Scratch;
use super::told::Numbers;
use super::world::World;

const ROUND: Duration = Duration::from_millis(1_500);
/// 24 clients then send at most 6,000 payments a second, 900,000 in 100 rounds.
const REST: Duration = Duration::from_millis(4);
/// A round that does not get its payments through until then counts as stuck.
const ROUND_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Rounds {
    pub(crate) rounds: u32,
    /// Least answers in each round.
    pub(crate) payments_per_round: u32,
    pub(crate) seed: u64,
    /// In turn where there is none.
    pub(crate) journal: Option<String>,
    pub(crate) ack: Option<String>,
    pub(crate) driver: String,
    /// A file system for the journal alone.
    pub(crate) disk: Option<PathBuf>,
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

impl Rounds {
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

/// Plays them; whether every promise was kept is in `report`.
pub(crate) fn play(options: &Rounds, binary: PathBuf, scratch: &Scratch, report: &mut Report) {
    let world = World::start(options.seed, None).expect("two processors");
    let mut base = world.plan(binary, scratch);
    let disk = options.disk.clone();
    let folder = disk.unwrap_or_else(|| scratch.file(""));
    base.set("JOURNAL_DIR", folder.join("journal").display());
    base.set_driver(&options.driver);
    for (name, value) in [
        ("REQUEST_TIMEOUT_MS", "100"),
        ("ATTEMPT_TIMEOUT_MS", "100"),
        ("SETTLE_TIMEOUT_MS", "1000"),
        ("CB_OPEN_SECS", "1"),
        ("CACHE_CAPACITY", "5000000"),
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
    let Some(p99) = rounds(options, &world, &base, &crowd, report) else {
        return;
    };
    thread::sleep(Duration::from_millis(500));
    let began = crowd.began;
    crowd.stop();
    let (count, told) = crowd.join(report);
    let mut evidence = Evidence {
        address: base.address,
        numbers,
        count,
        began,
        told,
        books: Default::default(),
    };
    world.close(&mut evidence, report);
    evidence.audit(report);
    p99.end(report);
    look_at(&base, report);
}

/// After a clean stop the journal is whole and holds nothing open, and no start found it odd.
fn look_at(plan: &Plan, report: &mut Report) {
    for (words, is_right) in [
        (
            &["journal", "verify"][..],
            (|text: &str| text.contains("pending 0,") && !text.contains("torn"))
                as fn(&str) -> bool,
        ),
        (&["pending"], str::is_empty),
    ] {
        let (status, text, complaint) = plan.run(words);
        if status != Some(0) || !is_right(&text) {
            report.broke("the journal is whole in the end", || {
                format!("{words:?}: {status:?} {text} {complaint}")
            });
        }
    }
    let log = std::fs::read_to_string(&plan.log).expect("its log");
    let odd = |line: &&str| {
        let words = ["inconsistent record", "panicked", "damaged", "is missing"];
        words.iter().any(|word| line.contains(word))
    };
    for line in log.lines().filter(odd) {
        report.broke("no start finds anything odd", || line.to_owned());
    }
}

/// Plays all rounds; the instance that lives after the last one.
fn rounds(
    options: &Rounds,
    world: &World,
    base: &Plan,
    crowd: &Crowd,
    report: &mut Report,
) -> Option<P99> {
    let mut dice = Dice::new(options.seed);
    let mut fewest = u32::MAX;
    let mut slowest = Duration::ZERO;
    let (mut pauses, mut fills, mut ends) = (0, 0, 0);
    for round in 0..options.rounds {
        vex(world, &mut dice);
        let plan = options.plan(base, round, &mut dice);
        if dice.is_one_in(5) {
            // Into the start: an old epoch or a new one, never half of each.
            let p99 = P99::spawn(&plan).expect("p99 can be started");
            thread::sleep(Duration::from_millis(dice.below(40)));
            if let Err(end) = p99.kill() {
                report.broke("a start succeeds", || end);
            }
        }
        if let Some(disk) = options.disk.as_deref().filter(|_| dice.is_one_in(5)) {
            fills += 1;
            ends += u32::from(starve(&plan, disk, &mut dice, report));
        }
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
                if dice.is_one_in(4) {
                    pauses += 1;
                    p99.signal(libc::SIGSTOP);
                    thread::sleep(Duration::from_millis(50 + dice.below(2_000)));
                    p99.signal(libc::SIGCONT);
                }
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
        format!("{}, {fewest}", options.rounds),
    );
    report.row("paused and gone on", pauses);
    report.row("full disks, ended by them", format!("{fills}, {ends}"));
    report.row("slowest start", format!("{} ms", slowest.as_millis()));
    world.set([WELL, WELL]);
    let mut plan = options.plan(base, 0, &mut dice);
    plan.set("CORES", 2);
    start(&plan, report)
}

/// Lets it run while its disk has hardly any room: it ends with status 1 and says why, or takes
/// payments when there is room again. Whether it ended.
fn starve(plan: &Plan, disk: &Path, dice: &mut Dice, report: &mut Report) -> bool {
    // The first segments are small, the next ones 64 MiB each.
    let left = dice.one_of(&[1_u64, 4, 16, 80, 160]) << 20;
    let ballast = Ballast::take(disk, left).expect("a file of its own");
    let mut p99 = P99::spawn(plan).expect("p99 can be started");
    let end = p99.await_end(Duration::from_millis(1_500 + dice.below(1_500)));
    drop(ballast);
    let is_full = p99.last_words().contains("No space left on device");
    match end {
        Some(status) if status.code() == Some(1) && is_full => return true,
        Some(status) => report.broke("a full disk is named, with status 1", || {
            format!("{status}: {}", p99.last_words())
        }),
        None => {
            let ready = p99.await_ready();
            if let Err(fault) = ready.and_then(|()| p99.kill()) {
                report.broke("it goes on where there is room again", || fault);
            }
        }
    }
    false
}

/// Starts it. A start that fails is a broken promise, and tried again.
fn start(plan: &Plan, report: &mut Report) -> Option<P99> {
    for _ in 0..10 {
        if let Some(p99) = P99::start(plan, report) {
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
