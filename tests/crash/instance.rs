//! The p99 process under test: started from the built binary with an environment of its own, on a
//! unix socket in a scratch folder, and ended by `kill -9` or by SIGTERM.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use p99::sim::SimulatorHandle;

use crate::clients::Connection;

/// Far beyond anything that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A folder on a real disk that goes with its test, unless the test fails.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("p99-crash-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            crate::dice::say(&format!("kept for a look: {}", self.0.display()));
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// Where instances run, one after the other, and with what.
pub(crate) struct Place {
    socket: PathBuf,
    settings: Vec<(String, String)>,
}

impl Place {
    pub(crate) fn new(
        scratch: &Scratch,
        processors: &[SimulatorHandle; 2],
        more: &[(&str, &str)],
    ) -> Self {
        let socket = scratch.0.join("p99.sock");
        let journal = scratch.0.join("journal");
        let urls = processors.each_ref().map(SimulatorHandle::url);
        let log_filter = std::env::var("CRASH_LOG").unwrap_or_else(|_| "warn".to_owned());
        let usual = [
            ("LISTEN", format!("unix:{}", socket.display())),
            ("JOURNAL_DIR", journal.display().to_string()),
            ("UPSTREAM_A_URL", urls[0].clone()),
            ("UPSTREAM_B_URL", urls[1].clone()),
            ("CB_OPEN_SECS", "1".to_owned()),
            ("SETTLE_TIMEOUT_MS", "1000".to_owned()),
            ("DRAIN_DELAY_MS", "0".to_owned()),
            ("RUST_LOG", log_filter),
        ];
        let usual = usual.map(|(name, value)| (name.to_owned(), value));
        let more = more
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = usual.into_iter().chain(more).collect();
        Self { socket, settings }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_p99"));
        command.args(arguments).env_clear();
        if let Some(driver) = std::env::var_os("MONOIO_FORCE_LEGACY_DRIVER") {
            command.env("MONOIO_FORCE_LEGACY_DRIVER", driver);
        }
        command
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// `p99 journal verify` finds nothing wrong and `p99 pending` finds nothing left.
    pub(crate) fn verify_journal(&self) {
        for (arguments, expected) in [
            (&["journal", "verify"][..], "pending 0,"),
            (&["pending"], ""),
        ] {
            let output = self.command(arguments).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let complaint = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{arguments:?}: {complaint}");
            assert!(text.contains(expected), "{arguments:?}: {text}");
            assert!(!text.contains("torn"), "after a clean stop: {text}");
            if arguments == ["pending"] {
                assert_eq!(text, "");
            }
        }
    }
}

/// A running p99; killed when it is dropped.
pub(crate) struct Instance {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Instance {
    pub(crate) fn spawn(place: &Place, cores: u64) -> Self {
        let log = place.socket.with_extension("log");
        let file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(&log)
            .unwrap();
        let child = place
            .command(&[])
            .env("CORES", cores.to_string())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        Self {
            child,
            socket: place.socket(),
            log,
        }
    }

    pub(crate) fn await_ready(mut self) -> Self {
        let began = Instant::now();
        while !self.is_ready() {
            let ended = self.child.try_wait().unwrap();
            assert_eq!(ended, None, "it did not start: {}", self.last_words());
            assert!(
                began.elapsed() < PATIENCE,
                "not ready: {}",
                self.last_words()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        self
    }

    fn is_ready(&self) -> bool {
        let connection = UnixStream::connect(&self.socket).ok();
        let answer = connection.and_then(|stream| Connection::new(stream).get("/readyz"));
        answer.is_some_and(|(status, _)| status == 200)
    }

    /// An answer that must come.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let stream = UnixStream::connect(&self.socket).unwrap();
        Connection::new(stream).get(path).unwrap()
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::new(UnixStream::connect(&self.socket).unwrap())
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(
            status.code(),
            None,
            "it ended before it was killed: {}",
            self.last_words()
        );
    }

    /// SIGTERM, then the exit status.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(told.success());
        self.child.wait().unwrap().code()
    }

    /// What it logged, and that it found nothing odd in its journal.
    pub(crate) fn assert_calm(&self) {
        let log = self.words();
        for bad in ["fitted nothing", "panicked", "damaged", "is missing"] {
            assert!(!log.contains(bad), "{bad}: {log}");
        }
    }

    fn words(&self) -> String {
        let mut text = String::new();
        let mut file = std::fs::File::open(&self.log).unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    fn last_words(&self) -> String {
        let text = self.words();
        let lines: Vec<&str> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
