//! Calls to PEERS: their sums, their purge, and what they know of a suspect id. Every call asks for
//! `scope=local`, so that peers never ask in a circle, and carries the auth header.
//!
//! A fresh id is suspect while a peer is unreachable and for SETTLE_TIMEOUT_MS after: the balancer
//! may have moved it here while the peer's attempt is still on its way. Core 0 watches the peers;
//! the others read what it saw from two kinds of atomics.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use monoio::task::JoinHandle;

use super::{AskFault, Room};
use crate::clock::{Mono, UnixMillis};
use crate::events::Elsewhere;
use crate::http::{Target, write_get, write_post};
use crate::limits;
use crate::metrics::PeerResult;
use crate::payment::{PerProcessor, Processor, Status, Totals, UpstreamId};
use crate::route;
use crate::table::Key;
use crate::upstream::{Called, NameIndex};
use crate::wire;

/// What is known of the peers, for every core to read.
#[derive(Debug)]
pub(super) struct PeerWatch {
    reachable: Vec<AtomicBool>,
    /// In microseconds of the monotonic clock: fresh ids are suspect until then.
    suspect_until: AtomicU64,
    beginning: Beginning,
}

/// How this instance began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Its journal has never been used before: no peer can have taken over an id of its own.
    First,
    /// It may have run before, and peers may have taken over.
    Again,
}

/// No round has reached all peers yet.
const NEVER_REACHED: u64 = u64::MAX;

impl PeerWatch {
    /// Peers are unreachable until they were reached.
    pub(super) fn new(count: usize, beginning: Beginning) -> Self {
        let suspect_until = if count == 0 { 0 } else { NEVER_REACHED };
        Self {
            reachable: (0..count).map(|_| AtomicBool::new(false)).collect(),
            suspect_until: AtomicU64::new(suspect_until),
            beginning,
        }
    }

    /// Whether this instance stands alone.
    pub(super) fn is_empty(&self) -> bool {
        self.reachable.is_empty()
    }

    /// Whether another instance may hold a fresh id that arrives now.
    pub(super) fn is_suspect(&self, is_redispatched: bool, now: Mono) -> bool {
        !self.is_empty() && (is_redispatched || now.0 < self.suspect_until.load(Ordering::Relaxed))
    }

    fn is_reachable(&self, index: usize) -> bool {
        self.reachable
            .get(index)
            .is_some_and(|peer| peer.load(Ordering::Relaxed))
    }

    /// Takes over what one round over all peers showed.
    fn note_round(&self, answered: &[bool], suspect_for: Duration, now: Mono) {
        for (peer, answered) in self.reachable.iter().zip(answered) {
            let before = peer.swap(*answered, Ordering::Relaxed);
            if before != *answered {
                log::warn!(
                    "a peer is {}",
                    if *answered {
                        "reachable"
                    } else {
                        "unreachable"
                    }
                );
            }
        }
        let all_answered = answered.iter().all(|answered| *answered);
        let was_reached = self.suspect_until.load(Ordering::Relaxed) != NEVER_REACHED;
        let until = match (all_answered, was_reached, self.beginning) {
            (true, false, Beginning::First) => now,
            (true, false, Beginning::Again) | (false, true, _) => now.after(suspect_for),
            (true, true, _) | (false, false, _) => return,
        };
        self.suspect_until.store(until.0, Ordering::Relaxed);
    }
}

impl Room {
    /// The sums of every peer, or none: a peer that does not answer makes the sum unknown.
    pub(super) async fn peers_summaries(
        &self,
        from: Option<UnixMillis>,
        to: Option<UnixMillis>,
    ) -> Result<Vec<PerProcessor<Totals>>, AskFault> {
        let mut query = Vec::from(b"?scope=local".as_slice());
        for (name, edge) in [("&from=", from), ("&to=", to)] {
            if let Some(edge) = edge {
                query.extend_from_slice(name.as_bytes());
                wire::write_instant(edge, &mut query);
            }
        }
        let query = String::from_utf8_lossy(&query).into_owned();
        let mut sums = Vec::new();
        for (index, peer) in self.config.peers.iter().enumerate() {
            let mut request = Vec::new();
            let host = peer.authority();
            let target = Target {
                host: &host,
                path: ["/payments-summary", &query],
            };
            write_get(&mut request, &target, &self.peer_headers());
            let called = self.call_peer(index, request, limits::PEER_TIMEOUT).await?;
            if called.status == 422 {
                // It keeps fewer milliseconds than we do.
                return Err(AskFault::PeerSilent);
            }
            sums.push(wire::read_summary(&called.body).ok_or(AskFault::PeerSilent)?);
        }
        Ok(sums)
    }

    /// Has every peer forget its part.
    pub(super) async fn purge_peers(&self) -> Result<(), AskFault> {
        for (index, peer) in self.config.peers.iter().enumerate() {
            let mut request = Vec::new();
            let host = peer.authority();
            let target = Target {
                host: &host,
                path: ["/purge-payments", "?scope=local"],
            };
            write_post(&mut request, &target, &self.peer_headers(), b"{}");
            let called = self.call_peer(index, request, limits::PEER_TIMEOUT).await?;
            if !(200..300).contains(&called.status) {
                return Err(AskFault::PeerSilent);
            }
        }
        Ok(())
    }

    /// Asks every peer now and then whether it is there. Runs on one core.
    pub(super) async fn watch_peers(self: Rc<Self>) {
        loop {
            let calls: Vec<JoinHandle<bool>> = (0..self.config.peers.len())
                .map(|index| monoio::spawn(Rc::clone(&self).is_alive(index)))
                .collect();
            let mut answered = Vec::new();
            for call in calls {
                answered.push(call.await);
            }
            let now = self.now().mono;
            self.shared
                .peers
                .note_round(&answered, self.config.settle_timeout, now);
            monoio::time::sleep(limits::PEER_WATCH_INTERVAL).await;
        }
    }

    async fn is_alive(self: Rc<Self>, index: usize) -> bool {
        let Some(peer) = self.config.peers.get(index) else {
            return false;
        };
        let host = peer.authority();
        let mut request = Vec::new();
        write_get(
            &mut request,
            &Target {
                host: &host,
                path: ["/healthz", ""],
            },
            &[],
        );
        let called = self
            .call_peer(index, request, limits::PEER_WATCH_TIMEOUT)
            .await;
        called.is_ok_and(|called| called.status == 200)
    }

    /// Asks all peers that are reachable and both processors for a suspect id, all at once, and
    /// tells the owner what they say.
    pub(super) async fn investigate(self: Rc<Self>, flow: Key, id: UpstreamId) {
        // Four fifths of a client's patience leave the rest for the payment itself.
        let timeout = (self.config.request_timeout * 4 / 5).min(limits::PEER_TIMEOUT);
        let peers: Vec<JoinHandle<PeerWord>> = (0..self.config.peers.len())
            .map(|index| monoio::spawn(Rc::clone(&self).ask_peer(index, id, timeout)))
            .collect();
        let stores = Processor::ALL
            .map(|processor| monoio::spawn(Rc::clone(&self).ask_processor(processor, id, timeout)));
        let mut words = Vec::new();
        for peer in peers {
            words.push(peer.await);
        }
        let [default, fallback] = stores;
        let stores = PerProcessor([default.await, fallback.await]);
        let home = route::prefer(self.config.routing, id, PerProcessor::default);
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
        write_get(&mut request, &target, &self.peer_headers());
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
        let addresses: Vec<SocketAddr> = self.names.borrow().get(name).to_vec();
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
            Ok(called) if called.status == 200 => {
                match wire::read_stored_requested_at(&called.body) {
                    Some(requested_at) => StoreWord::Stored(requested_at),
                    None => StoreWord::Silence,
                }
            }
            Ok(_) | Err(_) => StoreWord::Silence,
        }
    }

    async fn call_peer(
        &self,
        index: usize,
        request: Vec<u8>,
        timeout: Duration,
    ) -> Result<Called, AskFault> {
        let addresses: Vec<SocketAddr> =
            self.names.borrow().get(NameIndex::of_peer(index)).to_vec();
        let called = self.upstream.call(&addresses, request, timeout).await;
        let result = if called.is_ok() {
            PeerResult::Answered
        } else {
            PeerResult::Failed
        };
        self.metrics.peer_calls.get(result).increment();
        called.map_err(|fault| {
            log::debug!("peer {index} does not answer: {fault}");
            self.upstream.ask_for_addresses(NameIndex::of_peer(index));
            AskFault::PeerSilent
        })
    }

    fn peer_headers(&self) -> Vec<(&str, &[u8])> {
        let auth = self.config.auth.as_ref();
        auth.map(|auth| (auth.name.as_str(), auth.value.reveal().as_bytes()))
            .into_iter()
            .collect()
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
    if *stores.get(home.other()) == StoreWord::Silence {
        return Elsewhere::Unclear;
    }
    let is_heard = !peers.contains(&PeerWord::Silence);
    if is_heard {
        Elsewhere::Nowhere
    } else {
        Elsewhere::Unheard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: UnixMillis = UnixMillis(7);

    #[test]
    fn a_200_anywhere_decides_and_silence_confines() {
        use PeerWord::{Charged, Held, Silence, Unknown};
        use StoreWord::{Silence as NoWord, Stored, Unknown as NotStored};
        let (a, b) = (Processor::Default, Processor::Fallback);
        let charged = |processor| Elsewhere::Charged {
            processor,
            requested_at: AT,
        };
        #[rustfmt::skip]
        let rows = [
            (vec![Silence], [NotStored, Stored(AT)], charged(b)),
            (vec![Held], [Stored(AT), NoWord], charged(a)),
            (vec![Unknown, Charged(b, AT)], [NotStored, NoWord], charged(b)),
            (vec![Unknown, Held], [NotStored, NotStored], Elsewhere::Held),
            (vec![Silence, Unknown], [NotStored, NotStored], Elsewhere::Unheard),
            (vec![Silence], [NoWord, NotStored], Elsewhere::Unheard),
            (vec![Silence], [NotStored, NoWord], Elsewhere::Unclear),
            (vec![Unknown], [NotStored, NoWord], Elsewhere::Unclear),
            (vec![Unknown], [NotStored, NotStored], Elsewhere::Nowhere),
        ];
        for (peers, stores, expected) in rows {
            assert_eq!(
                conclude(&peers, &PerProcessor(stores), a),
                expected,
                "{peers:?} {stores:?}"
            );
        }
    }

    #[test]
    fn ids_are_suspect_until_every_peer_was_there_for_a_while() {
        let watch = PeerWatch::new(2, Beginning::Again);
        let second = |count: u64| Mono(count * 1_000_000);
        let span = Duration::from_secs(30);
        assert!(watch.is_suspect(false, second(1)), "nobody was reached yet");
        watch.note_round(&[true, true], span, second(1));
        assert!(watch.is_suspect(false, second(30)));
        assert!(!watch.is_suspect(false, second(31)));
        assert!(
            watch.is_suspect(true, second(31)),
            "the balancer says that it moved"
        );
        watch.note_round(&[true, false], span, second(40));
        watch.note_round(&[true, true], span, second(41));
        assert!(watch.is_suspect(false, second(69)));
        assert!(!watch.is_suspect(false, second(70)));
        let first = PeerWatch::new(1, Beginning::First);
        first.note_round(&[false], span, second(1));
        assert!(
            first.is_suspect(false, second(60)),
            "its peer was never there"
        );
        first.note_round(&[true], span, second(61));
        assert!(
            !first.is_suspect(false, second(61)),
            "nobody can have taken over"
        );
        assert!(
            !PeerWatch::new(0, Beginning::First).is_suspect(true, second(1)),
            "alone, nobody else has it"
        );
    }
}
