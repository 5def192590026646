//! What measurements share: two honest processors, the open-loop load generator beside this binary,
//! a metrics page as numbers, and on which processors of the machine something runs.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use p99::testing::sim::{Simulator, SimulatorHandle, SimulatorOptions};
use serde::Deserialize;

use crate::kit::client;
use crate::kit::process::Plan;
use crate::kit::scratch::Scratch;

/// What `examples/load` prints.
#[derive(Debug, Deserialize)]
pub(crate) struct Seen {
    pub(crate) sent: u64,
    pub(crate) statuses: std::collections::BTreeMap<String, u64>,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
}

impl Seen {
    pub(crate) fn charged(&self) -> u64 {
        self.statuses.get("200").copied().unwrap_or(0)
    }
}

/// One of the other examples, built beside this one.
pub(crate) fn example(binary: &Path, name: &str) -> PathBuf {
    let path = binary.with_file_name("examples").join(name);
    let profile = if path.to_string_lossy().contains("release") {
        " --release"
    } else {
        ""
    };
    assert!(
        path.exists(),
        "build it: cargo build{profile} --bins --examples"
    );
    path
}

/// Runs the load generator: port, rate, seconds, connections, seed, and a count where wanted.
pub(crate) fn load(binary: &Path, words: &[u64]) -> Seen {
    let output = Command::new(example(binary, "load"))
        .args(words.iter().map(u64::to_string))
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text).expect("its one line of JSON")
}

/// Two processors without any fault, in this process.
pub(crate) fn processors() -> [SimulatorHandle; 2] {
    [(), ()].map(|()| Simulator::start(SimulatorOptions::default()).expect("a processor"))
}

/// How to start p99 before these two.
pub(crate) fn plan(binary: &Path, scratch: &Scratch, processors: &[SimulatorHandle; 2]) -> Plan {
    let mut plan = Plan::new(binary.to_owned(), scratch);
    let [a, b] = processors.each_ref().map(SimulatorHandle::url);
    plan.set("UPSTREAM_A_URL", a);
    plan.set("UPSTREAM_B_URL", b);
    plan
}

/// The sum of all samples of the metrics page that begin so, labels included.
pub(crate) fn metric(plan: &Plan, beginning: &str) -> f64 {
    let answer = client::get(plan.address, "/metrics").expect("it answers");
    let page = answer.body;
    page.lines()
        .filter(|line| line.starts_with(beginning))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

/// Keeps this thread, and what it starts, to these processors of the machine.
pub(crate) fn pin(processors: Range<usize>) -> io::Result<()> {
    // SAFETY: a set of no processors is all zeros; the calls read or write `set` alone.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for processor in processors {
            libc::CPU_SET(processor, &mut set);
        }
        if libc::sched_setaffinity(0, size_of_val(&set), &raw const set) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

pub(crate) fn median(mut all: Vec<f64>) -> f64 {
    all.sort_unstable_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(0.0)
}
