//! Messages between cores.
//!
//! The core that accepted a payment hands the whole of it to the core that owns its id and gets
//! one reply (I1). Every ordered pair of cores has its own two single-producer rings, one for
//! requests and one for the replies to them. A hand-over reserves the room of its reply: while
//! `capacity` hand-overs to one core are without reply, the next one is refused to its sender,
//! so a reply is never refused and no core ever waits for another one.
//!
//! Each core owns one [`Mailbox`] and drains it in one task. Nothing here knows what a message
//! means, and nothing is shared but the rings and one waker for each core: a sleeping core is
//! woken once for all that comes until it looks, an awake one is not woken at all.
//!
//! Memory (I8): with `n` cores there are n x (n - 1) ordered pairs, and each has
//! `capacity` x (size of a request + size of a reply). With [`capacity`] and messages of 192 and
//! 32 bytes: 2 cores 0.9 MB, 4 cores 5.5 MB, 8 cores 15 MB, 64 cores 58 MB, touched only as far
//! as the rings are used.

mod waker;

#[cfg(all(test, loom))]
mod interleavings;
#[cfg(test)]
mod stress;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use crossbeam_utils::CachePadded;
use rtrb::{Consumer, Producer, RingBuffer};

use self::waker::CoreWaker;
use crate::payment::{CoreCount, CoreId};

/// Hand-overs without reply that all ordered pairs of cores share: as many as 32 times the default
/// CONCURRENCY_LIMIT, so that an uneven spread of clients over cores is refused by that limit and
/// not by a ring.
const MAILBOX_LETTERS_TOTAL: usize = 65_536;
/// Least capacity of a ring: with 64 cores a core still hands over 4,032 payments at once.
const MAILBOX_CAPACITY_MIN: usize = 64;
/// Most of a ring: the default CONCURRENCY_LIMIT, all of it accepted by one core of two.
const MAILBOX_CAPACITY_MAX: usize = 2_048;

/// What comes out of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<Request, Reply> {
    /// Another core asks; exactly one [`Mailbox::reply`] is owed to it.
    Request(Request),
    /// The answer to a request of this core. Replies of one core come in the order in which it
    /// gave them, which need not be the order of the requests.
    Reply(Reply),
}

/// There is no room for this message; nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

/// One core's end of all rings. It belongs to one thread; methods take `&self` so that a
/// request may be replied to while they are drained.
pub struct Mailbox<Request, Reply> {
    core: CoreId,
    capacity: usize,
    /// By core index; nothing at this core's own place.
    peers: Vec<Option<Peer<Request, Reply>>>,
    /// By core index, that of this core too.
    core_wakers: Arc<[CachePadded<CoreWaker>]>,
}

/// The four ring ends towards one other core.
struct Peer<Request, Reply> {
    requests_out: RefCell<Producer<Request>>,
    replies_in: RefCell<Consumer<Reply>>,
    requests_in: RefCell<Consumer<Request>>,
    replies_out: RefCell<Producer<Reply>>,
    /// Requests of ours without reply; at most the capacity of a ring.
    asked: Cell<usize>,
    /// Requests that were drained here and have no reply yet.
    owed: Cell<usize>,
}

/// The capacity of each ring among `cores`: an equal share of
/// `MAILBOX_LETTERS_TOTAL` for each ordered pair, within bounds.
#[must_use]
pub(crate) fn capacity(cores: CoreCount) -> usize {
    let cores = usize::from(cores.0.max(1));
    let pairs = (cores * (cores - 1)).max(1);
    let share = MAILBOX_LETTERS_TOTAL / pairs;
    share.clamp(MAILBOX_CAPACITY_MIN, MAILBOX_CAPACITY_MAX)
}

/// Makes the mailboxes of all cores, in order of their index. `capacity` bounds the hand-overs
/// without reply of each ordered pair.
#[must_use]
pub fn mailboxes<Request: Send, Reply: Send>(
    cores: CoreCount,
    capacity: usize,
) -> Vec<Mailbox<Request, Reply>> {
    let core_wakers: Arc<[CachePadded<CoreWaker>]> = (0..cores.0)
        .map(|_| CachePadded::new(CoreWaker::new()))
        .collect();
    let mut mailboxes: Vec<Mailbox<Request, Reply>> = (0..cores.0)
        .map(|core| Mailbox {
            core: CoreId(core),
            capacity,
            peers: Vec::with_capacity(usize::from(cores.0)),
            core_wakers: Arc::clone(&core_wakers),
        })
        .collect();
    for index in 0..mailboxes.len() {
        // Every core below `index` has met all before it; now it meets `index`, and the other way.
        let (met, rest) = mailboxes.split_at_mut(index);
        let Some(new) = rest.first_mut() else { break };
        for other in met {
            let (theirs, ours) = pair(capacity);
            other.peers.push(Some(theirs));
            new.peers.push(Some(ours));
        }
        new.peers.push(None);
    }
    mailboxes
}

fn pair<Request, Reply>(capacity: usize) -> (Peer<Request, Reply>, Peer<Request, Reply>) {
    let (first_asks, first_asked) = RingBuffer::new(capacity);
    let (second_asks, second_asked) = RingBuffer::new(capacity);
    let (first_replies, first_replied) = RingBuffer::new(capacity);
    let (second_replies, second_replied) = RingBuffer::new(capacity);
    let peer = |requests_out, replies_in, requests_in, replies_out| Peer {
        requests_out: RefCell::new(requests_out),
        replies_in: RefCell::new(replies_in),
        requests_in: RefCell::new(requests_in),
        replies_out: RefCell::new(replies_out),
        asked: Cell::new(0),
        owed: Cell::new(0),
    };
    (
        peer(first_asks, second_replied, second_asked, first_replies),
        peer(second_asks, first_replied, first_asked, second_replies),
    )
}

impl<Request: Send, Reply: Send> Mailbox<Request, Reply> {
    /// Whose mailbox this is.
    #[cfg(test)]
    #[must_use]
    pub fn core(&self) -> CoreId {
        self.core
    }

    /// Hands `request` to core `to` and reserves the room of its reply (I1).
    ///
    /// # Errors
    /// Gives the request back when too many are without reply, or `to` is this core or none.
    pub fn hand_over(&self, to: CoreId, request: Request) -> Result<(), Full<Request>> {
        let Some(peer) = self.peer(to) else {
            return Err(Full(request));
        };
        if peer.asked.get() >= self.capacity {
            return Err(Full(request));
        }
        send(&peer.requests_out, request)?;
        peer.asked.set(peer.asked.get() + 1);
        self.ring(to);
        Ok(())
    }

    /// Answers one request of core `to`. Its room was reserved by the hand-over.
    ///
    /// # Errors
    /// Gives the reply back when `to` has no request without reply here: that is a mistake of the
    /// caller, and sending it would take the room of another reply.
    pub fn reply(&self, to: CoreId, reply: Reply) -> Result<(), Full<Reply>> {
        let Some(peer) = self.peer(to) else {
            return Err(Full(reply));
        };
        let Some(owed) = peer.owed.get().checked_sub(1) else {
            return Err(Full(reply));
        };
        let sent = send(&peer.replies_out, reply);
        assert!(
            sent.is_ok(),
            "I1: a hand-over reserves the slot of its reply"
        );
        peer.owed.set(owed);
        self.ring(to);
        Ok(())
    }

    /// Takes out what lies there now and gives each message with its sender to `take`, replies of a
    /// core before its requests. What comes meanwhile stays for the next call, so a call ends after
    /// at most two full rings of each other core. Returns how many messages there were.
    pub fn drain(&self, mut take: impl FnMut(CoreId, Message<Request, Reply>)) -> usize {
        let mut count = 0;
        for (from, peer) in (0..).map(CoreId).zip(&self.peers) {
            let Some(peer) = peer else { continue };
            let replies = peer.replies_in.borrow().slots();
            for _ in 0..replies {
                let Ok(reply) = peer.replies_in.borrow_mut().pop() else {
                    break;
                };
                peer.asked.set(peer.asked.get().saturating_sub(1));
                take(from, Message::Reply(reply));
                count += 1;
            }
            let requests = peer.requests_in.borrow().slots();
            for _ in 0..requests {
                let Ok(request) = peer.requests_in.borrow_mut().pop() else {
                    break;
                };
                peer.owed.set(peer.owed.get() + 1);
                take(from, Message::Request(request));
                count += 1;
            }
        }
        count
    }

    /// Ends when there is a message to drain. Only one task of the core may wait, always the same.
    pub async fn wait(&self) {
        poll_fn(|context| self.poll_wait(context)).await;
    }

    /// Hand-overs of this core to `to` that have no reply yet.
    #[cfg(test)]
    #[must_use]
    pub fn without_reply(&self, to: CoreId) -> usize {
        self.peer(to).map_or(0, |peer| peer.asked.get())
    }

    fn poll_wait(&self, context: &Context<'_>) -> Poll<()> {
        let waker = self.core_wakers.get(self.core.index());
        waker.map_or(Poll::Pending, |waker| {
            waker.poll(context, || self.has_message())
        })
    }

    fn has_message(&self) -> bool {
        self.peers.iter().flatten().any(|peer| {
            !peer.replies_in.borrow().is_empty() || !peer.requests_in.borrow().is_empty()
        })
    }

    fn peer(&self, core: CoreId) -> Option<&Peer<Request, Reply>> {
        self.peers.get(core.index()).and_then(Option::as_ref)
    }

    fn ring(&self, core: CoreId) {
        if let Some(core_waker) = self.core_wakers.get(core.index()) {
            core_waker.ring();
        }
    }
}

fn send<T>(ring: &RefCell<Producer<T>>, message: T) -> Result<(), Full<T>> {
    ring.borrow_mut()
        .push(message)
        .map_err(|rtrb::PushError::Full(message)| Full(message))
}

impl<Request, Reply> fmt::Debug for Mailbox<Request, Reply> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("core", &self.core)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
