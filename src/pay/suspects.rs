//! What is asked about a suspect id: all peers that are reachable and both processors, all at
//! once. What their words mean is decided by one pure function; what becomes of the payment, by the
//! owner.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use monoio::task::JoinHandle;

use super::Room;
use crate::clock::UnixMillis;
use crate::config::Ack;
use crate::events::Elsewhere;
use crate::http::{Target, write_get};
use crate::limits;
use crate::payment::{PerProcessor, Processor, Status, UpstreamId};
use crate::route;
use crate::table::Key;
use crate::upstream::NameIndex;
use crate::wire;

/// Suspect ids that are being asked about, and those whose turn comes: a restart may find thousands
/// of accepted payments, and a peer that is asked about all of them at once has no connection
/// left for its clients.
#[derive(Debug, Default)]
pub(super) struct Inquiries {
    open: Cell<usize>,
    /// At most one for each unsettled payment.
    queued: RefCell<VecDeque<(Key, UpstreamId)>>,
}

impl Room {
    /// Has a suspect id asked about, now or when its turn comes.
    pub(super) fn inquire(&self, flow: Key, id: UpstreamId) {
        let open = self.inquiries.open.get();
        let Some(room) = self.me.upgrade() else {
            return;
        };
        if open >= limits::INQUIRIES_MAX {
            self.inquiries.queued.borrow_mut().push_back((flow, id));
            return;
        }
        self.inquiries.open.set(open.saturating_add(1));
        monoio::spawn(room.inquire_in_turn(flow, id));
    }

    async fn inquire_in_turn(self: Rc<Self>, flow: Key, id: UpstreamId) {
        let mut next = Some((flow, id));
        while let Some((flow, id)) = next {
            Rc::clone(&self).investigate(flow, id).await;
            next = self.inquiries.queued.borrow_mut().pop_front();
        }
        let open = self.inquiries.open.get();
        self.inquiries.open.set(open.saturating_sub(1));
    }

    /// Asks all peers that are reachable and both processors for a suspect id, all at once, and
    /// tells the owner what they say.
    async fn investigate(self: Rc<Self>, flow: Key, id: UpstreamId) {
        let timeout = match self.config.ack {
            // Four fifths of a client's patience leave the rest for the payment itself.
            Ack::Processed => (self.config.request_timeout * 4 / 5).min(limits::PEER_TIMEOUT),
            // Nobody waits any more.
            Ack::Accepted => limits::PEER_TIMEOUT,
        };
        let peers: Vec<JoinHandle<PeerWord>> = (0..self.config.peers.len())
            .map(|index| monoio::spawn(Rc::clone(&self).ask_peer(index, id, timeout)))
            .collect();
        let stores = [Processor::DEFAULT, Processor::FALLBACK]
            .map(|processor| monoio::spawn(Rc::clone(&self).ask_processor(processor, id, timeout)));
        let mut words = Vec::new();
        for peer in peers {
            words.push(peer.await);
        }
        let [default, fallback] = stores;
        let (default, fallback) = (default.await, fallback.await);
        let stores = PerProcessor::from_fn(|one| match one.index() {
            0 => default,
            _ => fallback,
        });
        let count = self.config.upstream.count();
        let home = route::prefer(self.config.routing, id, count, |_| Duration::ZERO);
        let elsewhere = conclude(&words, &stores, home);
        let now = self.now();
        self.tell(now, |owner| owner.investigated(flow, elsewhere, now));
    }

    async fn ask_peer(self: Rc<Self>, index: usize, id: UpstreamId, timeout: Duration) -> PeerWord {
        if !self.shared.peers.is_reachable(index) {
            return PeerWord::Silence;
        }
        let Some(peer) = self.config.peers.get(index) else {
            return PeerWord::Silence;
        };
        let host = peer.authority();
        let path = format!("{}{id}?scope=local", limits::PAYMENTS_PATH_PREFIX);
        let mut request = Vec::new();
        let target = Target {
            host: &host,
            path: [&path, ""],
        };
        self.with_peer_headers(|headers| write_get(&mut request, &target, headers));
        let Ok(called) = self.call_peer(index, request, timeout).await else {
            return PeerWord::Silence;
        };
        match (called.status, wire::read_found(&called.body)) {
            (404, _) => PeerWord::Unknown,
            (200, Some(found)) => match (found.status, found.processor, found.requested_at) {
                (Status::Processed, Some(processor), Some(requested_at)) => {
                    PeerWord::Charged(processor, requested_at)
                }
                (Status::Pending | Status::Processed, _, _) => PeerWord::Held,
                // It refused for good there and is nowhere charged.
                (Status::Refused, _, _) => PeerWord::Unknown,
            },
            _ => PeerWord::Silence,
        }
    }

    async fn ask_processor(
        self: Rc<Self>,
        processor: Processor,
        id: UpstreamId,
        timeout: Duration,
    ) -> StoreWord {
        let name = NameIndex::of(processor);
        let addresses: Vec<SocketAddr> = self.names.borrow().addresses(name);
        let host = self.config.upstream.get(processor).authority();
        let path = format!("/{id}");
        let mut request = Vec::new();
        let target = Target {
            host: &host,
            path: [&self.config.pay_path, &path],
        };
        write_get(&mut request, &target, &[]);
        match self.upstream.call(&addresses, request, timeout).await {
            Ok(called) if called.status == 404 => StoreWord::Unknown,
            Ok(called) if called.status == 200 => match wire::read_stored(&called.body, id) {
                Some((requested_at, _)) => StoreWord::Stored(requested_at),
                None => StoreWord::Silence,
            },
            Ok(_) | Err(_) => StoreWord::Silence,
        }
    }
}

/// What one peer says of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeerWord {
    Charged(Processor, UnixMillis),
    Held,
    Unknown,
    Silence,
}

/// What one processor says of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StoreWord {
    Stored(UnixMillis),
    Unknown,
    Silence,
}

/// What all of them together mean. A 200 anywhere decides.
fn conclude(peers: &[PeerWord], stores: &PerProcessor<StoreWord>, home: Processor) -> Elsewhere {
    for processor in Processor::ALL {
        if let StoreWord::Stored(requested_at) = *stores.get(processor) {
            return Elsewhere::Charged {
                processor,
                requested_at,
            };
        }
    }
    for peer in peers {
        if let PeerWord::Charged(processor, requested_at) = *peer {
            return Elsewhere::Charged {
                processor,
                requested_at,
            };
        }
    }
    if peers.contains(&PeerWord::Held) {
        return Elsewhere::Held;
    }
    if *stores.get(match home.index() {
        0 => Processor::FALLBACK,
        _ => Processor::DEFAULT,
    }) == StoreWord::Silence
    {
        return Elsewhere::Unclear;
    }
    let is_heard = !peers.contains(&PeerWord::Silence);
    if is_heard {
        Elsewhere::Nowhere
    } else {
        Elsewhere::Unheard
    }
}
