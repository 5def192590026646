//! Counts the instructions of one payment under callgrind and compares them with the stored limits.
//!
//! Times drift with the machine; instructions do not. Two paths are counted, each as the difference
//! between a long and a short run, so that the start costs nothing:
//!
//! - `rooms`: examples/one_payment.rs: every room but the kernel's, nearly the same each time;
//! - `server`: the whole of p99 on epoll (valgrind knows no io_uring) with one client; under 1 %
//!   apart on a quiet machine, so what is too much is counted again.
//!
//! Needs valgrind and a release build.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::gauge;
use crate::kit::process::{P99, Plan};
use crate::kit::report::{Report, say};
use crate::kit::scratch::Scratch;

const SHORT: u64 = 1_000;
const LONG: u64 = 3_000;
const TRIES: usize = 4;
const TOO_MANY: &str = "instructions of one payment";

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// rooms, server; both without it
    paths: Vec<String>,
    /// Store what is counted
    #[arg(long)]
    update: bool,
}

#[derive(Debug, Deserialize, Serialize)]
struct Limit {
    instructions: u64,
    tolerance: f64,
}

impl Limit {
    fn is_beyond(&self, counted: u64) -> bool {
        counted as f64 / self.instructions as f64 > 1.0 + self.tolerance
    }
}

fn stored() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/lab/instructions.json")
}

/// Whether all limits are kept; nothing without valgrind.
pub(crate) fn run(options: &Options, binary: &Path) -> Option<bool> {
    let valgrind = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if valgrind.is_err() {
        say("skipped: needs valgrind");
        return None;
    }
    let text = std::fs::read_to_string(stored()).expect("the stored limits");
    let mut limits: BTreeMap<String, Limit> = serde_json::from_str(&text).expect("JSON");
    let mut report = Report::default();
    let scratch = Scratch::new("instructions").expect("a folder");
    for (path, limit) in &mut limits {
        if !options.paths.is_empty() && !options.paths.contains(path) {
            continue;
        }
        let count = if path == "rooms" { rooms } else { server };
        let try_once = || {
            let [short, long] = [SHORT, LONG].map(|payments| count(payments, binary, &scratch));
            (long - short) / (LONG - SHORT)
        };
        // A busy machine makes the event loop turn more often: it only ever adds.
        let mut counted = try_once();
        for _ in 1..TRIES {
            if !limit.is_beyond(counted) {
                break;
            }
            counted = counted.min(try_once());
        }
        let verdict = compare(counted, limit, options.update, &mut report);
        say(&format!(
            "{path}: {counted} instructions per payment, stored {} +- {:.0} %: {verdict}",
            limit.instructions,
            limit.tolerance * 100.0
        ));
        limit.instructions = counted;
    }
    if options.update {
        let text = serde_json::to_string_pretty(&limits).expect("JSON");
        std::fs::write(stored(), text + "\n").expect("the stored limits");
    }
    Some(scratch.close(&report, "instructions"))
}

fn compare(counted: u64, limit: &Limit, is_update: bool, report: &mut Report) -> &'static str {
    let share = counted as f64 / limit.instructions as f64;
    if limit.is_beyond(counted) {
        if !is_update {
            report.broke(TOO_MANY, || {
                format!("{counted}, stored {}", limit.instructions)
            });
        }
        return "TOO MANY; find what grew, or argue for it and store it with --update";
    }
    if share < 1.0 - limit.tolerance {
        return "fewer than stored: store it with --update so that the gain is kept";
    }
    "ok"
}

/// The words before a program that is to be counted. What callgrind says goes to a file.
fn callgrind(scratch: &Scratch) -> Vec<String> {
    let file = |name: &str| scratch.file(name).display().to_string();
    vec![
        "valgrind".to_owned(),
        "--tool=callgrind".to_owned(),
        format!("--callgrind-out-file={}", file("profile")),
        format!("--log-file={}", file("callgrind.log")),
    ]
}

fn collected(scratch: &Scratch) -> u64 {
    let text = std::fs::read_to_string(scratch.file("callgrind.log")).expect("its log");
    let (_, rest) = text.split_once("Collected : ").expect("what it counted");
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
    digits
        .and_then(|digits| digits.parse().ok())
        .expect("a number")
}

fn rooms(payments: u64, binary: &Path, scratch: &Scratch) -> u64 {
    let words = callgrind(scratch);
    let status = Command::new(&words[0])
        .args(&words[1..])
        .arg(gauge::example(binary, "one_payment"))
        .arg(payments.to_string())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "one_payment");
    collected(scratch)
}

fn server(payments: u64, binary: &Path, scratch: &Scratch) -> u64 {
    let (mut upstream, ports) = upstream(binary);
    let mut plan = Plan::new(binary.to_owned(), scratch);
    plan.under = callgrind(scratch);
    plan.set("UPSTREAM_A_URL", format!("http://127.0.0.1:{}", ports[0]));
    plan.set("UPSTREAM_B_URL", format!("http://127.0.0.1:{}", ports[1]));
    for (name, value) in [
        ("CORES", "1"),
        ("MONOIO_FORCE_LEGACY_DRIVER", "1"),
        // Valgrind is slow: no hedge, no client that gives up, and nothing logged.
        ("HEDGE_DELAY_MS", "5000"),
        ("REQUEST_TIMEOUT_MS", "5000"),
        ("ATTEMPT_TIMEOUT_MS", "5000"),
        ("IDLE_TIMEOUT_SECS", "3600"),
        ("RUST_LOG", "error"),
    ] {
        plan.set(name, value);
    }
    let mut report = Report::default();
    let p99 = P99::start(&plan, &mut report).expect("p99 under valgrind");
    let port = u64::from(plan.address.port());
    let seen = gauge::load(binary, &[port, 0, 300, 1, payments, payments]);
    assert_eq!(
        seen.charged(),
        payments,
        "every payment is charged: {seen:?}"
    );
    assert_eq!(p99.stop(), Some(0), "a clean stop");
    // Both are waited for: neither outlives this run.
    upstream
        .kill()
        .and_then(|()| upstream.wait())
        .expect("our own child");
    collected(scratch)
}

/// The benchmark's processor, and its two ports.
fn upstream(binary: &Path) -> (Child, [u16; 2]) {
    let mut child = Command::new(gauge::example(binary, "upstream"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut line = String::new();
    let out = child.stdout.take().expect("a pipe");
    BufReader::new(out).read_line(&mut line).expect("a line");
    let ports: Vec<u16> = line
        .split(' ')
        .filter_map(|word| word.trim().parse().ok())
        .collect();
    (child, [ports[0], ports[1]])
}
