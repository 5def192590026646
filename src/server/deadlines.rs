//! How long each connection of one core may take, kept without a timer per request and without
//! ever dropping an I/O future: a coarse sweep shuts the socket of a late connection down; its
//! pending read then ends with 0 bytes (a pending write with an error), and the connection's task
//! unwinds in order and closes its socket itself.
//!
//! A connection holds a [`Watch`] and says what it waits for; `connection` drops the watch before
//! the socket, so that the sweep never meets a descriptor that already belongs to somebody else.
//! Called by `connection` and `accept`; swept by each core's own task.

use std::cell::RefCell;
use std::os::fd::RawFd;
use std::rc::Rc;

use slab::Slab;

use crate::clock::Mono;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The next request's first byte.
    Request,
    /// The rest of a request's head or body.
    Rest,
    /// The client, to take an answer.
    Write,
    /// The payment, whose own deadlines bound it.
    Answer,
    /// The client, to close its side after a refusal.
    Linger,
}

#[derive(Debug)]
struct Slot {
    fd: RawFd,
    wait: Wait,
    /// [`NEVER`] while nothing is due.
    due: Mono,
    is_expired: bool,
}

const NEVER: Mono = Mono(u64::MAX);

/// The connections of one core.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    slots: RefCell<Slab<Slot>>,
}

impl Deadlines {
    /// Watches the connection on `fd` until the [`Watch`] is dropped.
    #[must_use]
    pub(super) fn watch(self: &Rc<Self>, fd: RawFd) -> Watch {
        let slot = Slot {
            fd,
            wait: Wait::Answer,
            due: NEVER,
            is_expired: false,
        };
        let key = self.slots.borrow_mut().insert(slot);
        Watch {
            deadlines: Rc::clone(self),
            key,
        }
    }

    /// Shuts down what is late. A connection whose *request* is late keeps its writing side, so
    /// that the client can be told; anything else is cut.
    pub(super) fn sweep(&self, now: Mono) {
        for (_, slot) in self.slots.borrow_mut().iter_mut() {
            if slot.due > now {
                continue;
            }
            slot.due = NEVER;
            slot.is_expired = true;
            let how = match slot.wait {
                Wait::Rest => libc::SHUT_RD,
                Wait::Request | Wait::Write | Wait::Answer | Wait::Linger => libc::SHUT_RDWR,
            };
            shut_down(slot.fd, how);
        }
    }

    /// Ends the reading of every connection that waits for a next request: the process is going
    /// away. What a client had sent by then can still be read.
    pub(super) fn end_idle(&self) {
        for (_, slot) in self.slots.borrow_mut().iter_mut() {
            if slot.wait == Wait::Request {
                shut_down(slot.fd, libc::SHUT_RD);
            }
        }
    }

    /// Cuts every connection: the time to drain is over.
    pub(super) fn cut_all(&self) {
        for (_, slot) in self.slots.borrow_mut().iter_mut() {
            slot.is_expired = true;
            shut_down(slot.fd, libc::SHUT_RDWR);
        }
    }

    /// How many connections are watched.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.slots.borrow().len()
    }

    /// Whether there is no connection.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One connection's entry.
#[derive(Debug)]
pub(super) struct Watch {
    deadlines: Rc<Deadlines>,
    key: usize,
}

impl Watch {
    /// From now on the connection waits for `wait`, until `due`.
    pub(super) fn arm(&self, wait: Wait, due: Mono) {
        self.change(|slot| {
            slot.wait = wait;
            slot.due = due;
        });
    }

    /// From now on the connection waits for a payment, which has deadlines of its own.
    pub(super) fn rest(&self) {
        self.arm(Wait::Answer, NEVER);
    }

    /// Whether the sweep ended what the connection waited for.
    #[must_use]
    pub(super) fn is_expired(&self) -> bool {
        self.deadlines
            .slots
            .borrow()
            .get(self.key)
            .is_some_and(|slot| slot.is_expired)
    }

    fn change(&self, change: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.deadlines.slots.borrow_mut().get_mut(self.key) {
            change(slot);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _slot = self.deadlines.slots.borrow_mut().try_remove(self.key);
    }
}

/// Shuts one or both directions of a socket down.
pub(super) fn shut_down(fd: RawFd, how: libc::c_int) {
    // SAFETY: shutdown touches no memory of ours. The descriptor is open and the caller's own: a
    // watch is dropped before the socket it stands for.
    let result = unsafe { libc::shutdown(fd, how) };
    if result != 0 {
        // ENOTCONN: the peer was faster.
        log::trace!(
            "shutdown of descriptor {fd}: {}",
            std::io::Error::last_os_error()
        );
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_late_request_ends_reading_and_leaves_writing_to_say_so() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let deadlines = Rc::new(Deadlines::default());
        let watch = deadlines.watch(ours.as_raw_fd());
        watch.arm(Wait::Rest, Mono(10));
        deadlines.sweep(Mono(9));
        assert!(!watch.is_expired());
        deadlines.sweep(Mono(10));
        assert!(watch.is_expired());
        assert_eq!(ours.read(&mut [0; 8]).unwrap(), 0);
        ours.write_all(b"408").unwrap();
        let mut answer = [0; 3];
        theirs.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"408");
    }

    #[test]
    fn an_idle_connection_and_a_client_that_takes_no_answer_are_cut() {
        for wait in [Wait::Request, Wait::Write, Wait::Linger] {
            let (mut ours, _theirs) = UnixStream::pair().unwrap();
            let deadlines = Rc::new(Deadlines::default());
            let watch = deadlines.watch(ours.as_raw_fd());
            watch.arm(wait, Mono(10));
            deadlines.sweep(Mono(11));
            assert_eq!(ours.read(&mut [0; 8]).unwrap(), 0, "{wait:?}");
            assert!(ours.write_all(b"x").is_err(), "{wait:?}");
        }
    }

    #[test]
    fn a_payment_in_progress_has_no_deadline_here_and_a_dropped_watch_is_forgotten() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let deadlines = Rc::new(Deadlines::default());
        let watch = deadlines.watch(ours.as_raw_fd());
        watch.rest();
        deadlines.sweep(Mono(u64::MAX - 1));
        assert!(!watch.is_expired());
        drop(watch);
        assert!(deadlines.is_empty());
    }

    #[test]
    fn ending_idle_connections_leaves_what_was_sent_readable() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let deadlines = Rc::new(Deadlines::default());
        let watch = deadlines.watch(ours.as_raw_fd());
        watch.arm(Wait::Request, Mono(10));
        theirs.write_all(b"GET").unwrap();
        deadlines.end_idle();
        let mut seen = Vec::new();
        ours.read_to_end(&mut seen).unwrap();
        assert_eq!(seen, b"GET");
    }
}
