//! The datagrams that tell a supervisor how this process is: `READY=1`, `STOPPING=1`, `WATCHDOG=1`
//! and `STATUS=`, to the unix socket that NOTIFY_SOCKET names (sd_notify(3) describes them).
//!
//! Sending waits for a moment only: after a lost READY the supervisor would end a process that is
//! well. One that does not read is told to the log and no one else: no payment depends on it. When
//! to send what is decided in `cores`.

use std::cell::Cell;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use super::{SupervisorFault, is_for_us, number};

/// Longest that the main thread waits for a supervisor whose queue of datagrams is full (10 of them
/// where the kernel's default holds). Ten looks at signals and cores are late then.
const NOTIFY_TIME_MAX: Duration = Duration::from_secs(1);

/// Where a supervisor listens, and how often it wants to hear.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    address: SocketAddr,
    watchdog: Option<Duration>,
    /// A failed send was logged.
    is_told: Cell<bool>,
}

impl Notifier {
    /// The supervisor that the environment names; `None` when there is none.
    ///
    /// # Errors
    /// A variable that cannot be understood.
    pub fn from_lookup(
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, SupervisorFault> {
        let Some(text) = lookup("NOTIFY_SOCKET") else {
            return Ok(None);
        };
        let bad = |why: &str| {
            SupervisorFault(format!(
                "NOTIFY_SOCKET={text:?}, set by the supervisor: {why}"
            ))
        };
        let address = match text.as_bytes() {
            [b'/', _, ..] => SocketAddr::from_pathname(Path::new(&text)),
            [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name),
            _ => return Err(bad("allowed is /path or @name")),
        };
        let address = address.map_err(|fault| bad(&fault.to_string()))?;
        let watchdog = match number("WATCHDOG_USEC", &lookup)? {
            Some(0) => {
                let why = "WATCHDOG_USEC=0, set by the supervisor: allowed is 1 or more";
                return Err(SupervisorFault(why.to_owned()));
            }
            Some(micros) if is_for_us("WATCHDOG_PID", true, &lookup)? => {
                Some(Duration::from_micros(micros))
            }
            Some(_) | None => None,
        };
        let socket = open().map_err(|fault| bad(&fault.to_string()))?;
        Ok(Some(Self {
            socket,
            address,
            watchdog,
            is_told: Cell::new(false),
        }))
    }

    /// How long this process may be silent before it is ended; `None` for as long as it likes.
    #[must_use]
    pub const fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Clients are served.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\n{}", status_line(status)));
    }

    /// The process is about to end.
    pub fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\n{}", status_line(status)));
    }

    /// What the process is doing.
    pub fn status(&self, status: &str) {
        self.send(&status_line(status));
    }

    /// Every core is alive.
    pub fn alive(&self) {
        self.send("WATCHDOG=1\n");
    }

    fn send(&self, text: &str) {
        match self.socket.send_to_addr(text.as_bytes(), &self.address) {
            Ok(_) => self.is_told.set(false),
            // Once each time, for a watchdog is told several times a minute.
            Err(fault) if !self.is_told.replace(true) => {
                let place = self.address.as_pathname().map_or_else(
                    || String::from_utf8_lossy(self.address.as_abstract_name().unwrap_or_default()),
                    |path| String::from_utf8_lossy(path.as_os_str().as_bytes()),
                );
                log::warn!("the supervisor cannot be told at {place}: {fault}");
            }
            Err(_) => {}
        }
    }
}

fn open() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(NOTIFY_TIME_MAX))?;
    Ok(socket)
}

/// A status of one line, whatever is in it.
fn status_line(status: &str) -> String {
    let one_line: String = status
        .chars()
        .map(|one| if one.is_control() { ' ' } else { one })
        .collect();
    format!("STATUS={one_line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<Notifier>, String> {
        let lookup = |name: &str| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Notifier::from_lookup(lookup).map_err(|fault| fault.to_string())
    }

    #[test]
    fn without_a_supervisor_there_is_nothing_to_tell() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[("WATCHDOG_USEC", "what")]).unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let long = format!("/{}", "x".repeat(200));
        for (name, value) in [
            ("NOTIFY_SOCKET", ""),
            ("NOTIFY_SOCKET", "/"),
            ("NOTIFY_SOCKET", "@"),
            ("NOTIFY_SOCKET", "run/notify"),
            ("NOTIFY_SOCKET", long.as_str()),
            ("WATCHDOG_USEC", ""),
            ("WATCHDOG_USEC", "0"),
            ("WATCHDOG_USEC", "-1"),
            ("WATCHDOG_USEC", "30s"),
            ("WATCHDOG_USEC", "99999999999999999999"),
        ] {
            let usual = ("NOTIFY_SOCKET", "/run/notify");
            let fault = read(&[(name, value), usual]).unwrap_err();
            assert!(fault.contains(&format!("{name}={value}")) || fault.contains(name));
            assert!(fault.contains("supervisor"), "{fault}");
        }
        let pid = [
            ("NOTIFY_SOCKET", "/run/notify"),
            ("WATCHDOG_USEC", "1"),
            ("WATCHDOG_PID", "me"),
        ];
        assert!(read(&pid).unwrap_err().contains("WATCHDOG_PID=\"me\""));
    }

    #[test]
    fn a_watchdog_for_another_process_is_none() {
        let own = std::process::id().to_string();
        for (pid, expected) in [(own.as_str(), Some(Duration::from_secs(3))), ("1", None)] {
            let pairs = [
                ("NOTIFY_SOCKET", "@p99-test"),
                ("WATCHDOG_USEC", "3000000"),
                ("WATCHDOG_PID", pid),
            ];
            assert_eq!(read(&pairs).unwrap().unwrap().watchdog(), expected);
        }
    }

    #[test]
    fn it_is_told_at_a_path_and_at_an_abstract_name() {
        let name = format!("p99-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let by_path = UnixDatagram::bind(&path).unwrap();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        let places = [path.to_str().unwrap().to_owned(), format!("@{name}")];
        for (heard, place) in [by_path, by_name].iter().zip(places) {
            let notifier = read(&[("NOTIFY_SOCKET", &place)]).unwrap().unwrap();
            notifier.ready("serving\nREADY=0");
            let mut buffer = [0; 100];
            let count = heard.recv(&mut buffer).unwrap();
            let text = std::str::from_utf8(&buffer[..count]).unwrap();
            assert_eq!(text, "READY=1\nSTATUS=serving READY=0\n");
        }
        std::fs::remove_file(path).unwrap();
    }
}
