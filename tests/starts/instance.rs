//! One p99 as a process, with its log.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Far beyond anything that is waited for: a test that meets it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// `full` when SOAK is set, else `usual`.
pub(crate) fn count(usual: usize, full: usize) -> usize {
    match std::env::var("SOAK") {
        Ok(value) if value != "0" => full,
        Ok(_) | Err(_) => usual,
    }
}

/// Waits until `is_so`, at most for [`PATIENCE`].
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A port that no one else asks for: below those that the kernel deals out, each once.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() * 64;
        let port = u16::try_from(10_000 + number % 20_000).unwrap();
        if TcpListener::bind(("0.0.0.0", port)).is_ok() && TcpListener::bind(("::", port)).is_ok() {
            return port;
        }
    }
}

/// A folder of its own, which goes with its test.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("p99-starts-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn join(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// p99 with these settings and no others, and processors that are not there.
pub(crate) fn command(driver: &str, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_p99"));
    command
        .env_clear()
        .env("CORES", "2")
        .env("UPSTREAM_A_URL", "http://127.0.0.1:1")
        .env("UPSTREAM_B_URL", "http://127.0.0.1:2")
        .env("DRAIN_DELAY_MS", "0")
        .env("MONOIO_FORCE_LEGACY_DRIVER", driver)
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

pub(crate) struct Instance {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Instance {
    pub(crate) fn start(driver: &str, settings: &[(&str, &str)]) -> Self {
        Self::spawn(command(driver, settings))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, kept) = (child.stderr.take(), Arc::clone(&log));
        thread::spawn(move || {
            for line in stderr
                .into_iter()
                .flat_map(|pipe| BufReader::new(pipe).lines())
                .map_while(Result::ok)
            {
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        Self { child, log }
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn wait_for_line(&mut self, text: &str) {
        let began = Instant::now();
        while !self.log().contains(text) {
            assert!(began.elapsed() < PATIENCE, "no {text:?} in {}", self.log());
            assert_eq!(self.end(), None, "it ended: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Until it serves.
    pub(crate) fn wait_ready(&mut self) {
        self.wait_for_line("listening on ");
    }

    pub(crate) fn pid(&self) -> libc::pid_t {
        libc::pid_t::try_from(self.child.id()).unwrap()
    }

    pub(crate) fn signal(&self, signal: libc::c_int) {
        // SAFETY: kill takes no pointer, and the child was not waited for yet.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0);
    }

    /// How it ended, if it has: its status, or 1000 and the signal.
    pub(crate) fn end(&mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        let status = self.child.try_wait().unwrap()?;
        Some(
            status
                .code()
                .unwrap_or_else(|| 1_000 + status.signal().unwrap()),
        )
    }

    pub(crate) fn wait(&mut self) -> i32 {
        let mut end = None;
        wait_until("the process ends", || {
            end = self.end();
            end.is_some()
        });
        end.unwrap()
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn stop(mut self) -> i32 {
        self.signal(libc::SIGTERM);
        self.wait()
    }

    /// As a crash: nothing is tidied up.
    pub(crate) fn kill(mut self) {
        self.signal(libc::SIGKILL);
        self.wait();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status of a GET, if anything answers.
pub(crate) fn get(address: SocketAddr, path: &str) -> Option<u16> {
    ask(TcpStream::connect(address).ok()?, path)
}

/// The same over a unix socket.
pub(crate) fn get_unix(socket: &str, path: &str) -> Option<u16> {
    ask(UnixStream::connect(socket).ok()?, path)
}

fn ask(mut stream: impl Read + Write, path: &str) -> Option<u16> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: p99\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    String::from_utf8_lossy(&answer).get(9..12)?.parse().ok()
}
