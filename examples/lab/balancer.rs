//! HAProxy as a child, on ports of its own, with the haproxy.cfg that is shipped. In front of more
//! shards than two it would need the one that `scripts/haproxy-config` makes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::kit::client;
use crate::kit::process::free_address;

/// Debian keeps it out of a user's PATH.
pub(crate) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

const CHANGE_MAX: Duration = Duration::from_secs(15);

/// Ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Balancer {
    child: Child,
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// Its statistics and its metrics.
    pub(crate) stats: SocketAddr,
}

impl Balancer {
    /// Starts it before these shards. It reads its file again on SIGUSR2.
    pub(crate) fn start(shards: [SocketAddr; 2], log: &Path) -> io::Result<Self> {
        let [address, stats, tls] = [free_address()?, free_address()?, free_address()?];
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("haproxy.cfg");
        let mut command = Command::new("haproxy");
        command
            .env_clear()
            .env("PATH", PATH)
            .args(["-W", "-db", "-f"])
            .arg(file)
            .env("P99_THREADS", "1")
            .env("P99_BIND", address.to_string())
            .env("P99_STATS", stats.to_string())
            .env("P99_TLS_BIND", tls.to_string());
        for (number, shard) in (1..).zip(shards) {
            command.env(format!("P99_{number}"), shard.to_string());
        }
        let log = File::create(log)?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        // SAFETY: prctl is async-signal-safe and gets no pointer.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            });
        }
        Ok(Self {
            child: command.spawn()?,
            address,
            stats,
        })
    }

    pub(crate) fn pid(&self) -> libc::pid_t {
        libc::pid_t::try_from(self.child.id()).expect("a pid")
    }

    pub(crate) fn signal(&self, signal: libc::c_int) {
        // SAFETY: kill takes no pointer, and the child was not waited for yet.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0);
    }

    /// UP, DOWN or what else it says, by shard; none while it does not answer.
    pub(crate) fn states(&self) -> BTreeMap<usize, String> {
        let page = client::get(self.stats, "/;csv").map_or(String::new(), |answer| answer.body);
        let mut rows = page.trim_start_matches("# ").lines();
        let names: Vec<&str> = rows.next().unwrap_or_default().split(',').collect();
        let column = |name| names.iter().position(|found| *found == name);
        let (Some(proxy), Some(server), Some(status)) =
            (column("pxname"), column("svname"), column("status"))
        else {
            return BTreeMap::new();
        };
        let state = |row: &str| {
            let cells: Vec<&str> = row.split(',').collect();
            let shard = cells.get(proxy)?.strip_prefix("shard_")?.parse().ok()?;
            let status = cells.get(status)?.split(' ').next()?;
            (*cells.get(server)? == "p99").then(|| (shard, status.to_owned()))
        };
        rows.filter_map(state).collect()
    }

    /// Waits until it has seen both shards so.
    pub(crate) fn await_states(&self, wanted: [&str; 2]) {
        let wanted = BTreeMap::from([(1, wanted[0].to_owned()), (2, wanted[1].to_owned())]);
        let began = Instant::now();
        loop {
            let states = self.states();
            if states == wanted {
                return;
            }
            assert!(
                began.elapsed() < CHANGE_MAX,
                "{states:?} and not {wanted:?}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.signal(libc::SIGTERM);
        let began = Instant::now();
        while !matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
            if began.elapsed() > CHANGE_MAX {
                // Its workers end with it.
                let _ = self.child.kill();
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}
