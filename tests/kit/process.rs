//! The real binary as a process: started with an environment of its own and its log in a file,
//! ended by SIGTERM or by `kill -9`, and gone when its handle or this process is. With a hosts file
//! it runs in a mount namespace in which that file covers /etc/hosts, so that names can move
//! without a change to the machine.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, PipeReader, PipeWriter, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::client::{self, Answer, DEADLINE, wait_until};
use super::report::Report;
use super::scratch::Scratch;
use super::start::free_port;

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

/// p99 as a child, ended with this handle.
#[derive(Debug)]
pub(crate) struct P99 {
    child: Child,
    /// Where it serves; nowhere before that is known.
    pub(crate) address: SocketAddr,
    log: File,
    /// What reads its log no more, and must not be closed.
    _unread: Option<PipeReader>,
}

impl P99 {
    /// Starts it as `plan` says. What it logs goes behind what is in its file.
    pub(crate) fn spawn(plan: &Plan) -> io::Result<Self> {
        let log = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(&plan.log)?;
        let mut command = plan.command();
        command.stdout(Stdio::null()).stderr(log.try_clone()?);
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
            log,
            _unread: None,
        })
    }

    /// Starts it by this command; its log is in a file that has no name.
    pub(crate) fn of(command: Command) -> Self {
        Self::heard_by(command, None)
    }

    /// The same with a log that goes into a pipe of the caller's, where there is one.
    pub(crate) fn heard_by(mut command: Command, pipe: Option<PipeWriter>) -> Self {
        let log = nameless_file().expect("a file");
        match pipe {
            Some(pipe) => command.stderr(pipe),
            None => command.stderr(log.try_clone().expect("a descriptor")),
        };
        Self::logging_to(command, log)
    }

    fn logging_to(mut command: Command, log: File) -> Self {
        Self {
            child: command.spawn().expect("p99 can be started"),
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            log,
            _unread: None,
        }
    }

    /// Starts it with a log that is read as far as the line that says where it serves, and no
    /// further: the pipe fills up.
    pub(crate) fn unheard(command: Command) -> Self {
        let (reader, writer) = io::pipe().expect("a pipe");
        let mut p99 = Self::heard_by(command, Some(writer));
        let mut log = p99.log.try_clone().expect("a descriptor");
        let mut lines = BufReader::with_capacity(1, reader);
        let mut line = Vec::new();
        while memchr::memmem::find(&line, b"listening on ").is_none() {
            line.clear();
            let count = lines.read_until(b'\n', &mut line).expect("a log");
            assert!(count > 0, "it ended: {}", p99.log());
            log.write_all(&line).expect("a file takes it");
        }
        p99._unread = Some(lines.into_inner());
        p99.wait_ready();
        p99
    }

    /// Waits until it says where it serves.
    pub(crate) fn wait_ready(&mut self) {
        self.wait_for_line("listening on ");
        let log = self.log();
        let (_, rest) = log.split_once("listening on ").expect("it was just there");
        let word = rest.split([' ', '\n']).next();
        // A unix socket has no such address.
        if let Some(address) = word.and_then(|word| word.parse().ok()) {
            self.address = address;
        }
    }

    pub(crate) fn wait_for_line(&mut self, text: &str) {
        let began = Instant::now();
        while !self.log().contains(text) {
            let status = self.try_wait();
            let log = self.log();
            assert!(began.elapsed() < DEADLINE, "no {text:?} in {log}");
            // It may have said so before it ended.
            let is_in_vain = status.is_some() && !log.contains(text);
            assert!(!is_in_vain, "it ended, {status:?}: {log}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn pid(&self) -> libc::pid_t {
        libc::pid_t::try_from(self.child.id()).expect("a pid")
    }

    pub(crate) fn signal(&self, signal: libc::c_int) {
        // SAFETY: kill takes no pointer, and the child was not waited for yet.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0);
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the process ends", || {
            status = self.try_wait();
            status.is_some()
        });
        status.expect("it was waited for")
    }

    /// How it ended, if it has, as [`end_of`] has it.
    pub(crate) fn end_code(&mut self) -> Option<i32> {
        self.try_wait().map(end_of)
    }

    pub(crate) fn wait_code(&mut self) -> i32 {
        end_of(self.wait())
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
        let length = self.log.metadata().map_or(0, |metadata| metadata.len());
        let mut text = vec![0; usize::try_from(length).unwrap_or(0)];
        let read = self.log.read_at(&mut text, 0).unwrap_or(0);
        String::from_utf8_lossy(&text[..read]).into_owned()
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
        self.signal(libc::SIGTERM);
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

/// A status as one number: 1000 and the signal where one ended the process.
pub(crate) fn end_of(status: ExitStatus) -> i32 {
    let signal = || 1_000 + status.signal().unwrap_or(0);
    status.code().unwrap_or_else(signal)
}

fn nameless_file() -> io::Result<File> {
    let scratch = Scratch::new("log")?;
    File::options()
        .read(true)
        .append(true)
        .create_new(true)
        .open(scratch.file("p99.log"))
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

/// An address that no one else asks for.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    Ok((Ipv4Addr::LOCALHOST, free_port()).into())
}
