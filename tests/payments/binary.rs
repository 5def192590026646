//! The real binary as a process of its own: what signals, descriptors and memory show.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use crate::client::{DEADLINE, wait_until};

pub(crate) struct Binary {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Binary {
    /// Starts p99 with these settings and no others; it serves when this returns.
    pub(crate) fn start(urls: [&str; 2], driver: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_with_descriptors(None, urls, driver, settings)
    }

    /// The same with so many file descriptors at most.
    pub(crate) fn start_with_descriptors(
        descriptors: Option<u64>,
        urls: [&str; 2],
        driver: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_p99"));
        command
            .env_clear()
            .env("LISTEN", "127.0.0.1:0")
            .env("CORES", "2")
            .env("UPSTREAM_A_URL", urls[0])
            .env("UPSTREAM_B_URL", urls[1])
            .env("REQUEST_TIMEOUT_MS", "20000")
            // Its descriptors are counted, which another user than root may not do otherwise.
            .env("CORE_DUMPS", "on")
            .env("MONOIO_FORCE_LEGACY_DRIVER", driver)
            .envs(settings.iter().copied())
            .stderr(Stdio::piped());
        if let Some(count) = descriptors {
            let limit = libc::rlimit {
                rlim_cur: count,
                rlim_max: count,
            };
            // SAFETY: setrlimit is async-signal-safe and `limit` is a copy in the closure.
            unsafe {
                command.pre_exec(move || {
                    match libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) {
                        0 => Ok(()),
                        _ => Err(std::io::Error::last_os_error()),
                    }
                });
            }
        }
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (found, address) = mpsc::channel();
        let (lines, kept) = (
            BufReader::new(child.stderr.take().unwrap()),
            Arc::clone(&log),
        );
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let text = rest.split(' ').next().unwrap();
                    let _ = found.send(text.parse().unwrap());
                }
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        let address = address.recv_timeout(DEADLINE).unwrap_or_else(|_| {
            panic!("it does not listen: {}", log.lock().unwrap());
        });
        Self {
            child,
            address,
            log,
        }
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn pid(&self) -> libc::pid_t {
        libc::pid_t::try_from(self.child.id()).unwrap()
    }

    pub(crate) fn signal(&self, signal: libc::c_int) {
        // SAFETY: kill takes no pointer, and the child was not waited for yet.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0);
    }

    /// Its exit status, once it has ended.
    pub(crate) fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the process ends", || {
            status = self.try_wait();
            status.is_some()
        });
        status.unwrap()
    }

    /// SIGTERM, and the exit status.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal(libc::SIGTERM);
        self.wait().code()
    }

    /// Open file descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).unwrap().count()
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.unwrap()
            .trim()
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// Ticks of 10 ms of processor time, all threads together.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(self.proc("stat")).unwrap();
        // The name, in parentheses, is the only field that may hold blanks.
        let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Where the kernel shows it.
    pub(crate) fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
