//! What a supervisor such as systemd passes to a process that it starts: listening sockets
//! (`sockets`: LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES), and an address at which it wants to hear
//! how the process is (`notify`: NOTIFY_SOCKET, WATCHDOG_PID, WATCHDOG_USEC).
//!
//! `main` reads both before anything else, `cores` uses them. Variables that are not set, or that
//! are meant for another process, change nothing. One that cannot be understood is a fault that
//! names it: a payments proxy that ignores a socket is not where its clients connect. No setting is
//! read here, and nothing is bound.

mod notify;
mod sockets;

use std::fmt;

pub use notify::Notifier;
pub(crate) use sockets::PassedSocket;
pub use sockets::PassedSockets;

/// What a supervisor passed that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupervisorFault(String);

impl fmt::Display for SupervisorFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SupervisorFault {}

/// Reads `name` as a whole number, where it is set.
fn number(
    name: &str,
    lookup: &impl Fn(&str) -> Option<String>,
) -> Result<Option<u64>, SupervisorFault> {
    let Some(text) = lookup(name) else {
        return Ok(None);
    };
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_plain.then(|| text.parse().ok()).flatten();
    number.map(Some).ok_or_else(|| {
        SupervisorFault(format!(
            "{name}={text:?}, set by the supervisor: allowed is a whole number"
        ))
    })
}

/// Whether the process that `name` names is this one. Not set, it may be any: `default` says.
fn is_for_us(
    name: &str,
    default: bool,
    lookup: &impl Fn(&str) -> Option<String>,
) -> Result<bool, SupervisorFault> {
    let named = number(name, lookup)?;
    Ok(named.map_or(default, |pid| pid == u64::from(std::process::id())))
}
