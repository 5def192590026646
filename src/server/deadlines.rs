//! How long each connection of one core may take, kept without a timer per request and without
//! ever dropping an I/O future: a coarse sweep shuts the socket of a late connection down; its
//! pending read then ends with 0 bytes (a pending write with an error), and the connection's task
//! unwinds in order and closes its socket itself.
//!
//! A connection holds a [`Watch`] and says what it waits for; `connection` drops the watch before
//! the socket, so that the sweep never meets a descriptor that already belongs to another client.
//! When all places are taken it also chooses which connection makes room: always one that waits
//! for a request's first byte, never one in the middle of a request.
//!
//! Called by `connection` and `accept`; swept by each core's own task.

use std::cell::{Cell, RefCell};
use std::collections::BinaryHeap;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;

use crate::clock::Mono;
use crate::metrics::Closed;
use crate::server::EVICTED_AT_ONCE_MAX;

/// After a look that found none idle the next one waits this long.
const EVICTION_LOOK_PAUSE: Duration = Duration::from_millis(10);
/// A connection that sent nothing for this long goes before one that was served and is idle: two
/// round trips around the world.
const FIRST_BYTE_PATIENCE: Duration = Duration::from_millis(500);

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The first byte of its first request.
    First,
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
    /// When it began to wait.
    since: Mono,
    /// Why it was shut down.
    end: Option<Closed>,
}

const NEVER: Mono = Mono(u64::MAX);

/// The connections of one core.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    slots: RefCell<Slab<Slot>>,
    /// Idle connections of the last look, the one to go first at the end. One whose rank is another
    /// by now was used meanwhile.
    idle: RefCell<Vec<(Rank, usize)>>,
    /// When the next look may be: the last one found none.
    look_at: Cell<Mono>,
}

/// The order in which connections make room; the least goes first. One that has sent nothing for a
/// while, then the one that is idle longest, then one that has only just come.
type Rank = (u8, Mono);

impl Slot {
    fn rank(&self, now: Mono) -> Option<Rank> {
        let class = match self.wait {
            _ if self.end.is_some() => return None,
            Wait::First if self.since.after(FIRST_BYTE_PATIENCE) <= now => 0,
            Wait::Request => 1,
            Wait::First => 2,
            Wait::Rest | Wait::Write | Wait::Answer | Wait::Linger => return None,
        };
        Some((class, self.since))
    }

    /// Ends both directions, and with a client that does not read what it was sent, too.
    fn cut(&self) {
        if self.wait == Wait::Write {
            forget_unread(self.fd);
        }
        shut_down(self.fd, libc::SHUT_RDWR);
    }
}

impl Deadlines {
    /// Watches the connection on `fd` until the [`Watch`] is dropped.
    #[must_use]
    pub(super) fn watch(self: &Rc<Self>, fd: RawFd) -> Watch {
        let slot = Slot {
            fd,
            wait: Wait::Answer,
            due: NEVER,
            since: Mono::default(),
            end: None,
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
            let end = match slot.wait {
                Wait::Rest => Some(Closed::SlowRequest),
                Wait::First | Wait::Request => Some(Closed::Idle),
                Wait::Write => Some(Closed::Unread),
                Wait::Answer | Wait::Linger => None,
            };
            slot.end = slot.end.or(end);
            if slot.wait == Wait::Rest {
                shut_down(slot.fd, libc::SHUT_RD);
            } else {
                slot.cut();
            }
        }
    }

    /// Ends the reading of every connection that waits for a next request: the process is going
    /// away. What a client had sent by then can still be read.
    pub(super) fn end_idle(&self) {
        for (_, slot) in self.slots.borrow_mut().iter_mut() {
            if matches!(slot.wait, Wait::First | Wait::Request) {
                slot.end = slot.end.or(Some(Closed::Shutdown));
                shut_down(slot.fd, libc::SHUT_RD);
            }
        }
    }

    /// Cuts every connection: the time to drain is over.
    pub(super) fn cut_all(&self) {
        for (_, slot) in self.slots.borrow_mut().iter_mut() {
            slot.end = slot.end.or(Some(Closed::Shutdown));
            shut_down(slot.fd, libc::SHUT_RDWR);
        }
    }

    /// Closes the idle connection that is to go first; a request that was on its way is still
    /// answered. False when none is idle.
    pub(super) fn make_room(&self, now: Mono) -> bool {
        let mut idle = self.idle.borrow_mut();
        let mut slots = self.slots.borrow_mut();
        if idle.is_empty() && self.look_at.get() <= now {
            *idle = longest_idle(&slots, now);
            if idle.is_empty() {
                self.look_at.set(now.after(EVICTION_LOOK_PAUSE));
            }
        }
        while let Some((rank, key)) = idle.pop() {
            let Some(slot) = slots.get_mut(key) else {
                continue;
            };
            if slot.rank(now).is_some_and(|now| now.1 == rank.1) {
                slot.end = Some(Closed::MadeRoom);
                shut_down(slot.fd, libc::SHUT_RD);
                return true;
            }
        }
        false
    }

    /// Cuts the connection that waits longest for its client: for the few places of probes and
    /// administrators, so that one that drips, or reads no answer, has none. False when none does.
    pub(super) fn cut_oldest(&self) -> bool {
        let mut slots = self.slots.borrow_mut();
        let mut oldest: Option<&mut Slot> = None;
        for (_, slot) in slots.iter_mut() {
            let may_go = slot.end.is_none() && slot.wait != Wait::Answer;
            if may_go && oldest.as_ref().is_none_or(|old| slot.since < old.since) {
                oldest = Some(slot);
            }
        }
        oldest.is_some_and(|slot| {
            slot.end = Some(Closed::MadeRoom);
            slot.cut();
            true
        })
    }

    /// How many connections are watched.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.slots.borrow().len()
    }
}

/// The idle connections that are to go first, the very first at the end.
fn longest_idle(slots: &Slab<Slot>, now: Mono) -> Vec<(Rank, usize)> {
    let mut found = BinaryHeap::with_capacity(EVICTED_AT_ONCE_MAX + 1);
    for (key, slot) in slots {
        if let Some(rank) = slot.rank(now) {
            found.push((rank, key));
            if found.len() > EVICTED_AT_ONCE_MAX {
                found.pop();
            }
        }
    }
    let mut sorted = found.into_sorted_vec();
    sorted.reverse();
    sorted
}

/// One connection's entry.
#[derive(Debug)]
pub(super) struct Watch {
    deadlines: Rc<Deadlines>,
    key: usize,
}

impl Watch {
    /// From `since` on the connection waits for `wait`, until `due`.
    pub(super) fn arm(&self, wait: Wait, since: Mono, due: Mono) {
        self.change(|slot| {
            slot.wait = wait;
            slot.since = since;
            slot.due = due;
            if slot.end == Some(Closed::MadeRoom) && wait == Wait::Request {
                // It had one more request on its way, and that is answered now.
                shut_down(slot.fd, libc::SHUT_RDWR);
            }
        });
    }

    /// From now on the connection waits for a payment, which has deadlines of its own.
    pub(super) fn rest(&self) {
        self.arm(Wait::Answer, NEVER, NEVER);
    }

    /// Why the connection was shut down; none while it was not.
    #[must_use]
    pub(super) fn end(&self) -> Option<Closed> {
        self.deadlines.slots.borrow().get(self.key)?.end
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

/// Makes the coming close a reset, so that the kernel drops what the client never read.
fn forget_unread(fd: RawFd) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let length = libc::socklen_t::try_from(size_of::<libc::linger>()).unwrap_or(0);
    // SAFETY: `linger` is of the length given and outlives the call; the descriptor is open and the
    // caller's own, as in `shut_down`.
    let result = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            length,
        )
    };
    if result != 0 {
        log::trace!(
            "SO_LINGER of descriptor {fd}: {}",
            std::io::Error::last_os_error()
        );
    }
}

#[cfg(test)]
mod tests;
