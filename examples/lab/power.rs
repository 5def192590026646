//! Cuts the power of a disk that p99 journals to, under load, and looks for what was acknowledged.
//!
//! The disk is a file: ext4 in an image on XFS, mounted through a loop device. `cp --reflink` takes
//! the image as it is at one moment: what p99 wrote and did not sync is still in memory and not in
//! the copy, as after a power cut (a killed process never shows a missing fsync). Clients and
//! processors live outside.
//!
//! Most cuts are looked at aside: the copy is mounted, `p99 journal verify` reads it, and an
//! instance that reaches no processor starts on it. Every id with a 200 before the cut must be
//! settled there, or be pending with no sum given, and every id with a 202 settled or pending. At
//! every fifth cut p99 is killed too and goes on with the copy as its disk, so that at the end
//! everything must balance.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;

use crate::disk::{self, Mount};
use crate::end_after;
use crate::kit::audit::Evidence;
use crate::kit::client;
use crate::kit::crowd::{self, Crowd};
use crate::kit::dice::Dice;
use crate::kit::process::{self, P99, Plan};
use crate::kit::report::{Report, say};
use crate::kit::scratch::Scratch;
use crate::kit::states::{self, State};
use crate::kit::told::Numbers;
use crate::kit::world::World;

const DISK_MIB: u64 = 1_024;
const XFS_MIB: u64 = 8_192;
/// Every so many cuts end p99.
const FATAL: u32 = 5;
/// More than are ever sent: every acknowledged id must still be known.
const CLAIMS: u32 = 4_000_000;

const LOST: &str = "acknowledged before a cut, not on the disk after it";

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[arg(long, default_value_t = 20)]
    cuts: u32,
    /// processed or accepted
    #[arg(long, default_value = "processed")]
    ack: String,
    /// always; os survives no power cut: it must fail here, or this run is blind
    #[arg(long, default_value = "always")]
    journal: String,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The image in use, and the copies that cuts make of it.
struct Disk {
    folder: PathBuf,
    image: PathBuf,
    count: u32,
}

impl Disk {
    fn new(folder: &Path) -> Self {
        let image = folder.join("disk-0");
        disk::ext4(&image, DISK_MIB).expect("a file system in a file");
        Self {
            folder: folder.to_owned(),
            image,
            count: 0,
        }
    }

    /// The disk at this moment.
    fn cut(&mut self) -> PathBuf {
        self.count += 1;
        let copy = self.folder.join(format!("disk-{}", self.count));
        disk::run("cp", &[&"--reflink=always", &self.image, &copy]).expect("XFS shares blocks");
        copy
    }

    fn go_on_with(&mut self, copy: PathBuf) {
        std::fs::remove_file(&self.image).expect("it is not mounted any more");
        self.image = copy;
    }
}

struct Test<'a> {
    options: &'a Options,
    scratch: &'a Scratch,
    world: World,
    plan: Plan,
    crowd: Crowd,
    numbers: Numbers,
    dice: Dice,
    disk: Disk,
    cuts: u32,
    looked_for: usize,
    torn: usize,
}

/// Whether every promise was kept; nothing where the machine does not lend what is needed.
pub(crate) fn run(options: &Options, binary: &Path) -> Option<bool> {
    let programs = ["mkfs.xfs", "mkfs.ext4"];
    let demanded = disk::demand(&programs, "xfs");
    let scratch = Scratch::new("power-cut").expect("a folder");
    let xfs = demanded.and_then(|()| {
        let base = scratch.file("base");
        disk::image(&base, XFS_MIB, "mkfs.xfs", &["-q", "-m", "reflink=1"])?;
        Mount::image(&base, &scratch.file("xfs"))
    });
    let xfs = match xfs {
        Ok(xfs) => xfs,
        Err(reason) => {
            say(&format!("skipped: {reason}"));
            return None;
        }
    };
    end_after(Duration::from_secs(300 + u64::from(options.cuts) * 20));
    let mut report = Report::default();
    let mut test = Test::new(options, binary, &scratch, Disk::new(xfs.path()));
    test.cut_again_and_again(&mut report);
    test.balance(&mut report);
    drop(xfs);
    // The disks are of no use when all is well, and too big to keep otherwise.
    std::fs::remove_file(scratch.file("base")).expect("it is not mounted any more");
    let what = format!(
        "power-cut, seed {}, journal {}, ack {}",
        options.seed, options.journal, options.ack
    );
    Some(scratch.close(&report, &what))
}

impl<'a> Test<'a> {
    fn new(options: &'a Options, binary: &Path, scratch: &'a Scratch, disk: Disk) -> Self {
        let world = World::start(options.seed, None).expect("two processors");
        let mut plan = world.plan(binary.to_owned(), scratch);
        let place = scratch.file("disk");
        plan.set("JOURNAL_DIR", place.join("journal").display());
        plan.set("JOURNAL_SYNC", &options.journal);
        plan.set("ACK", &options.ack);
        plan.set("CACHE_CAPACITY", CLAIMS);
        plan.set("CB_OPEN_SECS", 1);
        plan.set("REQUEST_TIMEOUT_MS", 100);
        plan.set("ATTEMPT_TIMEOUT_MS", 200);
        plan.set("SETTLE_TIMEOUT_MS", 1_000);
        let numbers = Numbers { seed: options.seed };
        let crowd = Crowd::start(crowd::Plan {
            address: plan.address,
            numbers,
            clients: 24,
            requests: u32::MAX,
            repeats: 50_000,
            rest: Duration::ZERO,
        });
        Self {
            options,
            scratch,
            world,
            plan,
            crowd,
            numbers,
            dice: Dice::new(options.seed),
            disk,
            cuts: 0,
            looked_for: 0,
            torn: 0,
        }
    }

    fn mount(&self) -> Mount {
        Mount::image(&self.disk.image, &self.scratch.file("disk")).expect("a disk")
    }

    fn cut_again_and_again(&mut self, report: &mut Report) {
        while self.cuts < self.options.cuts {
            let mounted = self.mount();
            let copy = self.cut_until_killed(report);
            drop(mounted);
            let Some(copy) = copy else {
                return;
            };
            self.disk.go_on_with(copy);
        }
    }

    /// Cuts that are looked at aside, then one that p99 does not survive: its copy.
    fn cut_until_killed(&mut self, report: &mut Report) -> Option<PathBuf> {
        self.plan.set("CORES", 1 + self.dice.below(2));
        let p99 = P99::start(&self.plan, report)?;
        loop {
            let mut delay = || Duration::from_millis(self.dice.one_of(&[0, 0, 30, 120]));
            let delays = [delay(), delay()];
            self.world.set_delays(delays);
            thread::sleep(Duration::from_millis(400 + self.dice.below(800)));
            self.cuts += 1;
            if self.cuts.is_multiple_of(FATAL) || self.cuts == self.options.cuts {
                if let Err(end) = p99.kill() {
                    report.broke("p99 lives until it is killed", || end);
                }
                say(&format!(
                    "cut {}: p99 is killed, and goes on with the copy",
                    self.cuts
                ));
                return Some(self.disk.cut());
            }
            let acknowledged = self.crowd.acknowledged();
            let copy = self.disk.cut();
            let [charged, held] = acknowledged.each_ref().map(Vec::len);
            say(&format!(
                "cut {}: {charged} ids with 200, {held} with 202",
                self.cuts
            ));
            self.looked_for += charged + held;
            self.look_aside(&copy, acknowledged, report);
            std::fs::remove_file(copy).expect("it is not mounted any more");
        }
    }

    /// What was acknowledged before the cut must be on the copy.
    fn look_aside(&mut self, copy: &Path, acknowledged: [Vec<u32>; 2], report: &mut Report) {
        let mounted = Mount::image(copy, &self.scratch.file("aside")).expect("a copy");
        let mut plan = Plan::new(self.plan.binary.clone(), self.scratch);
        plan.log = self.scratch.file("aside.log");
        plan.set("JOURNAL_DIR", mounted.path().join("journal").display());
        plan.set("CACHE_CAPACITY", CLAIMS);
        let (status, text, complaint) = plan.run(&["journal", "verify"]);
        if status != Some(0) {
            report.broke("a journal that can be read", || complaint);
        }
        self.torn += text.matches("torn batch").count();
        // Nothing listens there: what is pending cannot settle.
        for name in ["UPSTREAM_A_URL", "UPSTREAM_B_URL"] {
            let nowhere = process::free_address().expect("a port");
            plan.set(name, format!("http://{nowhere}"));
        }
        let (status, _, complaint) = plan.run(&["journal", "accept-upstreams"]);
        if status != Some(0) {
            report.broke("a journal that can be moved", || complaint);
        }
        plan.set("CORES", 1 + self.dice.below(3));
        plan.set("SHUTDOWN_GRACE_SECS", 0);
        let Some(p99) = P99::start(&plan, report) else {
            return;
        };
        // What was told 200 may be open still, and then there is no sum.
        let sum = client::get(plan.address, "/payments-summary");
        let may_be_open = [sum.is_ok_and(|answer| answer.status == 503), true];
        for (numbers, may_be_open) in acknowledged.iter().zip(may_be_open) {
            let is_right = |state: &State| match state {
                State::Processed(_) => true,
                State::Pending => may_be_open,
                _ => false,
            };
            let states = states::ask_some(plan.address, self.numbers, numbers);
            for (number, state) in numbers.iter().zip(states.expect("it answers")) {
                if !is_right(&state) {
                    let id = self.numbers.id(*number);
                    report.broke(LOST, || format!("cut {}: {id} is {state:?}", self.cuts));
                }
            }
        }
        drop(p99);
    }

    /// The last copy, well processors, and everything settled.
    fn balance(mut self, report: &mut Report) {
        let mounted = self.mount();
        self.plan.set("CORES", 2);
        self.world.set_delays([Duration::ZERO; 2]);
        report.row(
            "cuts, torn batches cut off",
            format!("{}, {}", self.cuts, self.torn),
        );
        report.row("acknowledged ids looked for, in all", self.looked_for);
        let Some(p99) = P99::start(&self.plan, report) else {
            return;
        };
        let began = self.crowd.began;
        self.crowd.stop();
        let (count, told) = self.crowd.join(report);
        let mut evidence = Evidence {
            address: self.plan.address,
            numbers: self.numbers,
            count,
            began,
            told,
            books: Default::default(),
        };
        self.world.close(&mut evidence, report);
        evidence.audit(report);
        report.row_of(LOST);
        p99.end(report);
        drop(mounted);
    }
}
