//! What the supervisor hears while the process starts, serves and stops, and when. Called on the
//! main thread, by the parent only; without a supervisor every call does nothing.
//!
//! `WATCHDOG=1` is sent only while every core runs, so that a supervisor ends a process whose cores
//! are stuck, or whose main thread is; half a server never stays up.

use std::cell::Cell;
use std::time::Duration;

use crate::clock::{Clock, Mono};
use crate::server::lifecycle::Lifecycle;
use crate::supervisor::Notifier;

/// So many signs of life fit into the time after which the supervisor ends a silent process: one
/// that comes late by half of it is still in time.
const SIGNS_OF_LIFE: u32 = 3;

pub(super) struct Notices {
    notifier: Option<Notifier>,
    clock: Clock,
    interval: Option<Duration>,
    /// When the next sign of life is due.
    due: Cell<Mono>,
    is_stopping: Cell<bool>,
}

impl Notices {
    pub(super) fn new(notifier: Option<Notifier>, clock: Clock) -> Self {
        let watchdog = notifier.as_ref().and_then(Notifier::watchdog);
        Self {
            notifier,
            clock,
            interval: watchdog.map(|span| span / SIGNS_OF_LIFE),
            due: Cell::default(),
            is_stopping: Cell::new(false),
        }
    }

    /// What the process is doing.
    pub(super) fn status(&self, status: &str) {
        self.tell(|notifier| notifier.status(status));
    }

    /// Clients are served.
    pub(super) fn ready(&self, status: &str) {
        self.tell(|notifier| notifier.ready(status));
    }

    /// One look: is it stopping, is a sign of life due?
    pub(super) fn look(&self, lifecycle: &Lifecycle) {
        if lifecycle.is_asked_to_stop() && !self.is_stopping.replace(true) {
            let status = if lifecycle.failure().is_some() {
                "stopping: the journal failed, see the log"
            } else {
                "stopping: payments in flight are finished"
            };
            self.tell(|notifier| notifier.stopping(status));
        }
        let Some(interval) = self.interval else {
            return;
        };
        let now = self.clock.now().mono;
        if now >= self.due.get() && lifecycle.is_alive(now) {
            self.due.set(now.after(interval));
            self.tell(Notifier::alive);
        }
    }

    fn tell(&self, say: impl FnOnce(&Notifier)) {
        if let Some(notifier) = &self.notifier {
            say(notifier);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::payment::CoreId;

    #[test]
    fn a_sign_of_life_is_given_only_while_every_core_gives_one() {
        let path = std::env::temp_dir().join(format!("p99-notices-{}", std::process::id()));
        let heard = UnixDatagram::bind(&path).unwrap();
        heard.set_nonblocking(true).unwrap();
        let lookup = |name: &str| match name {
            "NOTIFY_SOCKET" => path.to_str().map(str::to_owned),
            "WATCHDOG_USEC" => Some("1".to_owned()),
            _ => None,
        };
        let clock = Clock::new(Clock::process_start());
        let notices = Notices::new(Notifier::from_lookup(lookup).unwrap(), clock);
        let lifecycle = Lifecycle::new(2);
        let says = || {
            notices.look(&lifecycle);
            let mut buffer = [0; 100];
            heard.recv(&mut buffer).is_ok()
        };
        let beat = |core| lifecycle.beat(CoreId(core), notices.clock.now().mono);
        beat(0);
        assert!(!says(), "the other core was never seen");
        beat(1);
        assert!(says());
        lifecycle.end(CoreId(1));
        assert!(!says(), "a core has ended by itself");
        std::fs::remove_file(path).unwrap();
    }
}
