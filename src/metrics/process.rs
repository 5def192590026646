//! What the kernel knows of this process, kept in atomics. A helper thread refreshes it every few
//! seconds, so that a scrape opens no file and no core waits for procfs: counting ten thousand
//! descriptors alone takes milliseconds.

use std::fs;

use crate::clock::UnixMillis;

use super::cells::{Cell, Gauge};
use super::page::{Kind, Page};

/// User-space clock ticks are 100 per second on every Linux (`USER_HZ`).
const TICK_US: u64 = 10_000;

/// The `process_*` metrics.
#[derive(Debug, Default)]
pub struct ProcessMetrics {
    cpu_us: Gauge,
    resident_bytes: Gauge,
    virtual_bytes: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
}

impl ProcessMetrics {
    /// Reads procfs. Blocks; only one thread, never a core's, may call this. What cannot be read
    /// stays as it was.
    pub fn refresh(&self) {
        let set = |gauge: &Gauge, value: Option<u64>| {
            if let Some(value) = value {
                gauge.set(value);
            }
        };
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        set(&self.cpu_us, cpu_us(&read("/proc/self/stat")));
        let status = read("/proc/self/status");
        set(&self.resident_bytes, status_bytes(&status, "VmRSS:"));
        set(&self.virtual_bytes, status_bytes(&status, "VmSize:"));
        set(&self.max_fds, max_fds(&read("/proc/self/limits")));
        // The directory being read is itself one descriptor; it is closed again afterwards.
        let open = fs::read_dir("/proc/self/fd")
            .ok()
            .map(|entries| entries.count());
        let open = open.and_then(|count| u64::try_from(count.saturating_sub(1)).ok());
        set(&self.open_fds, open);
    }

    /// How many descriptors are open, and how many may be.
    pub(super) fn descriptors(&self) -> (u64, u64) {
        (self.open_fds.get(), self.max_fds.get())
    }

    pub(super) fn render(&self, started: UnixMillis, page: &mut Page<'_>) {
        let cpu = "User and system CPU time spent.";
        page.begin(Kind::Counter, "process_cpu_seconds_total", cpu);
        page.seconds(&[], self.cpu_us.get());
        for (name, help, gauge) in [
            (
                "process_resident_memory_bytes",
                "Resident memory.",
                &self.resident_bytes,
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory.",
                &self.virtual_bytes,
            ),
            ("process_open_fds", "Open file descriptors.", &self.open_fds),
            (
                "process_max_fds",
                "Most file descriptors that may be open.",
                &self.max_fds,
            ),
        ] {
            page.begin(Kind::Gauge, name, help);
            page.sample(&[], gauge.get());
        }
        let start = "When the process started, in seconds since 1970.";
        page.begin(Kind::Gauge, "process_start_time_seconds", start);
        let millis = u64::try_from(started.0).unwrap_or(0);
        page.seconds(&[], millis.saturating_mul(1_000));
    }
}

/// `utime` and `stime` of `/proc/self/stat`. The name before them may hold blanks and brackets.
fn cpu_us(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields
        .split_ascii_whitespace()
        .skip(11)
        .map(str::parse::<u64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some(user.saturating_add(system).saturating_mul(TICK_US))
}

/// A line such as `VmRSS:     1234 kB`.
fn status_bytes(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes.saturating_mul(1_024))
}

/// The soft limit of `Max open files`.
fn max_fds(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn procfs_is_read_as_the_kernel_writes_it() {
        let stat = "42 (p99) core 0)) S 1 42 42 0 -1 4194304 9 0 0 0 150 50 0 0 20 0 3 0 777";
        assert_eq!(cpu_us(stat), Some(2_000_000));
        assert_eq!(cpu_us("42 (p99"), None);
        let status = "Name:\tp99\nVmSize:\t   2048 kB\nVmRSS:\t      12 kB\n";
        assert_eq!(status_bytes(status, "VmRSS:"), Some(12_288));
        assert_eq!(status_bytes(status, "VmSwap:"), None);
        let limits = "Max open files            1024                 524288               files\n";
        assert_eq!(max_fds(limits), Some(1_024));
    }

    #[test]
    fn this_process_is_seen() {
        let process = ProcessMetrics::default();
        process.refresh();
        assert!(process.resident_bytes.get() > 0);
        assert!(process.open_fds.get() > 0);
        assert!(process.max_fds.get() >= process.open_fds.get());
    }
}
