//! Calls to PEERS: their sums, their purge, and whether they are there. Every call asks for
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
use crate::http::{Target, write_get, write_post};
use crate::limits;
use crate::metrics::PeerResult;
use crate::payment::{PerProcessor, Totals};
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

    pub(super) fn is_reachable(&self, index: usize) -> bool {
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
            self.with_peer_headers(|headers| write_get(&mut request, &target, headers));
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
            self.with_peer_headers(|headers| write_post(&mut request, &target, headers, b"{}"));
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

    pub(super) async fn call_peer(
        &self,
        index: usize,
        request: Vec<u8>,
        timeout: Duration,
    ) -> Result<Called, AskFault> {
        let addresses: Vec<SocketAddr> = self.names.borrow().addresses(NameIndex::of_peer(index));
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

    /// Lends the header that peers ask for.
    pub(super) fn with_peer_headers(&self, write: impl FnOnce(&[(&str, &[u8])])) {
        match &self.credentials {
            None => write(&[]),
            Some(credentials) => {
                write(&[(credentials.header(), &credentials.own_value())]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
