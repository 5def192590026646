//! Makes one sync of p99's journal fail, and looks at what p99 does then.
//!
//! The journal's disk is ext4 in an image on a tmpfs. Under load the tmpfs is filled: the loop
//! device can store nothing more, and fdatasync says EIO, once: the next one would say "ok" about
//! what is lost. So p99 must end by itself with status 1 and say why. Then there is room again, the
//! disk is checked as a boot does, p99 starts on it, and everything must balance.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::disk::{self, Mount};
use crate::end_after;
use crate::kit::audit::Evidence;
use crate::kit::crowd::{self, Crowd};
use crate::kit::process::{P99, Plan};
use crate::kit::report::{Report, say};
use crate::kit::scratch::Scratch;
use crate::kit::told::Numbers;
use crate::kit::world::World;

const DISK_MIB: u64 = 512;
const TMPFS_MIB: u64 = 256;
/// p99 must have ended so long after the disk was full.
const STOP_MAX: Duration = Duration::from_secs(30);

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// processed or accepted
    #[arg(long, default_value = "processed")]
    ack: String,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Whether every promise was kept; nothing where the machine does not lend what is needed.
pub(crate) fn run(options: &Options, binary: PathBuf) -> Option<bool> {
    if let Err(reason) = disk::demand(&["mkfs.ext4", "e2fsck"], "ext4") {
        say(&format!("skipped: {reason}"));
        return None;
    }
    end_after(Duration::from_secs(300));
    let scratch = Scratch::new("sync-failure").expect("a folder");
    let memory = scratch.file("memory");
    let memory = match Mount::tmpfs(TMPFS_MIB, &memory) {
        Ok(memory) => memory,
        Err(fault) => {
            say(&format!("skipped: {fault}"));
            return None;
        }
    };
    let image = memory.path().join("disk");
    disk::ext4(&image, DISK_MIB).expect("a file system in a file");
    let mut report = Report::default();
    play(options, binary, &scratch, &image, &mut report);
    drop(memory);
    let what = format!("sync-failure, seed {}, ack {}", options.seed, options.ack);
    Some(scratch.close(&report, &what))
}

fn play(options: &Options, binary: PathBuf, scratch: &Scratch, image: &Path, report: &mut Report) {
    let world = World::start(options.seed, None).expect("two processors");
    world.set_delays([Duration::from_millis(20); 2]);
    let mut plan = world.plan(binary, scratch);
    let place = scratch.file("disk");
    plan.set("JOURNAL_DIR", place.join("journal").display());
    plan.set("ACK", &options.ack);
    for (name, value) in [
        ("CORES", "2"),
        ("CB_OPEN_SECS", "1"),
        ("REQUEST_TIMEOUT_MS", "200"),
        ("ATTEMPT_TIMEOUT_MS", "200"),
        ("SETTLE_TIMEOUT_MS", "1000"),
        ("CACHE_CAPACITY", "2000000"),
        // A scrape would see why; here the log says it.
        ("DRAIN_DELAY_MS", "1000"),
    ] {
        plan.set(name, value);
    }
    let numbers = Numbers { seed: options.seed };
    let crowd = Crowd::start(crowd::Plan {
        address: plan.address,
        numbers,
        clients: 24,
        requests: u32::MAX,
        repeats: 120_000,
        rest: Duration::ZERO,
    });
    let disk = Mount::image(image, &place).expect("an image that was just made");
    fail(&plan, &crowd, image, report);
    drop(disk);
    check(image);
    world.set_delays([Duration::ZERO; 2]);
    let disk = Mount::image(image, &place).expect("a disk that was checked");
    if let Some(p99) = P99::start(&plan, report) {
        thread::sleep(Duration::from_millis(500));
        let began = crowd.began;
        crowd.stop();
        let (count, told) = crowd.join(report);
        let mut evidence = Evidence {
            address: plan.address,
            numbers,
            count,
            began,
            told,
            books: Default::default(),
        };
        world.close(&mut evidence, report);
        evidence.audit(report);
        p99.end(report);
    }
    drop(disk);
}

/// Load, then a full disk under the disk, until p99 has ended.
fn fail(plan: &Plan, crowd: &Crowd, image: &Path, report: &mut Report) {
    let Some(mut p99) = P99::start(plan, report) else {
        return;
    };
    thread::sleep(Duration::from_secs(2));
    report.row("answers before the fault", crowd.answers());
    let filler = image.with_file_name("filler");
    fill(&filler);
    let filled = Instant::now();
    match p99.await_end(STOP_MAX) {
        Some(status) => {
            let span = filled.elapsed().as_millis();
            report.row("p99 ended after", format!("{span} ms, {status}"));
            if status.code() != Some(1) {
                report.broke("status 1 after a failed sync", || status.to_string());
            }
        }
        None => report.broke("p99 ends after a failed sync", || p99.last_words()),
    }
    if !p99.log().contains("no payment is taken in any more") {
        report.broke("the log says why it ends", || p99.last_words());
    }
    std::fs::remove_file(filler).expect("it was just made");
}

/// Takes all the room that is left.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file in memory");
    for size in [1 << 20, 4096] {
        let zeros = vec![0; size];
        while file.write_all(&zeros).is_ok() {}
    }
}

/// As a boot after a fault does; status 1 says that something was mended.
fn check(image: &Path) {
    let words = ["-f", "-y"];
    let output = Command::new("/usr/sbin/e2fsck")
        .args(words)
        .arg(image)
        .output();
    let output = output.expect("e2fsck is there");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "e2fsck: {text}"
    );
}
