//! What the kernel shows of a p99 process.

use std::path::PathBuf;

use super::process::P99;

impl P99 {
    /// Open file descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(self.proc("fd"))
            .expect("may be seen")
            .count()
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = self.proc_text("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.expect("proc(5)")
    }

    /// Ticks of 10 ms of processor time, all threads together.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = self.proc_text("stat");
        // The name, in parentheses, is the only field that may hold blanks.
        let (_, fields) = stat.rsplit_once(") ").expect("proc(5)");
        let fields: Vec<_> = fields.split(' ').collect();
        let tick = |field: usize| fields[field].parse::<u64>().expect("a number");
        tick(11) + tick(12)
    }

    /// Where the kernel shows it.
    pub(crate) fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.pid()))
    }

    fn proc_text(&self, file: &str) -> String {
        std::fs::read_to_string(self.proc(file)).expect("may be seen")
    }
}
