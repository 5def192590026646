//! The real binary as a process: started with an environment of its own and its log in a file,
//! ended by SIGTERM or by `kill -9`, and gone when its handle or this process is. With a hosts file
//! it runs in a mount namespace in which that file covers /etc/hosts, so that names can move
//! without a change to the machine.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::client::{self, Answer};
use super::report::{Report, say};

/// Longest start: a journal of a million payments is read in it.
const START_MAX: Duration = Duration::from_secs(60);
/// Longest stop: SHUTDOWN_GRACE_SECS is 10.
const STOP_MAX: Duration = Duration::from_secs(40);

/// How to start p99, again and again.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) binary: PathBuf,
    /// Where it listens, always the same.
    pub(crate) address: SocketAddr,
    /// What covers /etc/hosts.
    pub(crate) hosts: Option<PathBuf>,
    pub(crate) settings: Vec<(&'static str, String)>,
    pub(crate) log: PathBuf,
    /// A program that becomes p99, with its own words: taskset, valgrind.
    pub(crate) under: Vec<String>,
}

impl Plan {
    /// Of settings of one name the last wins.
    pub(crate) fn set(&mut self, name: &'static str, value: impl ToString) {
        self.settings.push((name, value.to_string()));
    }

    /// The usual one: on a port of its own, quick to stop, its log in `scratch`.
    pub(crate) fn new(binary: PathBuf, scratch: &Scratch) -> Self {
        let mut plan = Self {
            binary,
            address: free_address().expect("a port"),
            hosts: None,
            settings: Vec::new(),
            log: scratch.file("p99.log"),
            under: Vec::new(),
        };
        plan.set("DRAIN_DELAY_MS", 0);
        plan.set("RUST_LOG", "warn");
        plan
    }

    pub(crate) fn set_driver(&mut self, driver: &str) {
        self.set("MONOIO_FORCE_LEGACY_DRIVER", u8::from(driver == "epoll"));
    }

    /// `p99` with other words than none, to its end: its status, what it printed, its complaint.
    pub(crate) fn run(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let output = self.command().args(words).output().expect("it runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    fn command(&self) -> Command {
        let mut command = self.program();
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LISTEN", self.address.to_string())
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    fn program(&self) -> Command {
        if let Some((program, words)) = self.under.split_first() {
            let mut command = Command::new(program);
            command.args(words).arg(&self.binary);
            return command;
        }
        let Some(hosts) = &self.hosts else {
            return Command::new(&self.binary);
        };
        // Each of them becomes the next, so the child's pid is p99's.
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .arg(r#"mount --bind "$1" /etc/hosts && exec "$2""#)
            .args([Path::new("sh"), hosts, &self.binary]);
        command
    }
}

#[derive(Debug)]
pub(crate) struct P99 {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl P99 {
    pub(crate) fn spawn(plan: &Plan) -> io::Result<Self> {
        let log = File::options().append(true).create(true).open(&plan.log)?;
        let mut command = plan.command();
        command.stdout(Stdio::null()).stderr(log);
        // SAFETY: prctl is async-signal-safe and gets no pointer.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        Ok(Self {
            child: command.spawn()?,
            address: plan.address,
            log: plan.log.clone(),
        })
    }

    /// Starts it and waits until it takes payments; a start that fails is a broken promise.
    pub(crate) fn start(plan: &Plan, report: &mut Report) -> Option<Self> {
        let mut p99 = Self::spawn(plan).expect("p99 can be started");
        match p99.await_ready() {
            Ok(()) => Some(p99),
            Err(fault) => {
                report.broke("a start succeeds", || fault);
                None
            }
        }
    }

    /// A clean stop.
    pub(crate) fn end(mut self, report: &mut Report) {
        if let Some(status) = self.try_wait() {
            report.broke("p99 lives", || format!("{status}: {}", self.last_words()));
            return;
        }
        let status = self.stop();
        if !matches!(status, Some(0 | 3)) {
            report.broke("a clean stop", || format!("{status:?}"));
        }
    }

    /// Waits until it ends by itself.
    pub(crate) fn await_end(&mut self, most: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        loop {
            let status = self.try_wait();
            if status.is_some() || began.elapsed() > most {
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn log(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits until it takes payments; why not, when it ends first.
    pub(crate) fn await_ready(&mut self) -> Result<(), String> {
        let began = Instant::now();
        loop {
            if self.get("/readyz").is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if let Some(status) = self.try_wait() {
                return Err(format!("it ended with {status}: {}", self.last_words()));
            }
            if began.elapsed() > START_MAX {
                return Err(format!("it does not become ready: {}", self.last_words()));
            }
            thread::sleep(Duration::from_millis(3));
        }
    }

    pub(crate) fn get(&self, path: &str) -> io::Result<Answer> {
        client::get(self.address, path)
    }

    pub(crate) fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("its status can be asked")
    }

    /// `kill -9`. Says so when it had ended before by itself.
    pub(crate) fn kill(mut self) -> Result<(), String> {
        if let Some(status) = self.try_wait() {
            return Err(format!(
                "it ended by itself, {status}: {}",
                self.last_words()
            ));
        }
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
        Ok(())
    }

    /// SIGTERM.
    pub(crate) fn ask_to_stop(&self) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a pid");
        // SAFETY: kill takes no pointer, and the child was not waited for yet.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }

    /// SIGTERM; its exit status, or none when it does not end.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.ask_to_stop();
        self.await_end(STOP_MAX)?.code()
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        let text = self.log();
        let mut lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.reverse();
        lines.join(" | ")
    }
}

impl Drop for P99 {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The driver that this run of the tests is about: as MONOIO_FORCE_LEGACY_DRIVER has it.
pub(crate) fn driver_of_the_run() -> &'static str {
    let is_epoll = std::env::var("MONOIO_FORCE_LEGACY_DRIVER").is_ok_and(|value| value == "1");
    if is_epoll { "epoll" } else { "uring" }
}

/// A port that was free a moment ago.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// A folder for one run. It goes with the run, unless that ended badly.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("p99-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Prints the report; keeps the folder of a run that went wrong.
    pub(crate) fn close(self, report: &Report, what: &str) -> bool {
        let is_kept = report.print(what);
        if is_kept {
            self.remove();
        } else {
            say(&format!("kept for a look: {}", self.0.display()));
        }
        is_kept
    }

    pub(crate) fn remove(self) {
        // What cannot be removed stays.
        let _ = std::fs::remove_dir_all(&self.0);
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}
