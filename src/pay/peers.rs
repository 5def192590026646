//! Calls to PEERS: who they are, their sums and their purge. Every call says `scope=local` or
//! `scope=ask`, so that peers never ask in a circle. All are asked at once, on connections that are
//! kept. What their answers mean is decided by `peers`.
//!
//! Every core asks for itself. Core 0 asks who they are, at its start and now and then, and shows
//! all cores what that means for payments. The journal remembers whom any core met first.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{AskFault, CoreRuntime};
use crate::clock::UnixMillis;
use crate::http::{Target, write_get, write_post};
use crate::journal::JournalId;
use crate::limits;
use crate::metrics::PeerResult;
use crate::pay::TIMER_STEP;
use crate::payment::{CoreId, WindowSums};
use crate::peers::{Footing, Gap, Mark};
use crate::upstream::{Called, NameIndex};
use crate::wire::{self, Introduction};

/// How often core 0 asks the other shards who they are. Two that claim one shard are seen within
/// this, and a connection that is kept is used before the other end closes it as idle.
const PEER_CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// What peers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errand {
    /// Who they are.
    Introduce,
    /// Their sums of this window.
    Sum(Option<UnixMillis>, Option<UnixMillis>),
    /// Whether they could purge now.
    MayPurge,
    Purge,
}

/// How one call ended.
enum Told {
    Nothing,
    Answer(Introduction, Box<WindowSums>),
    /// It keeps whole seconds where the window names milliseconds.
    CutsOldSecond,
    /// It has not settled yet what was open in the window when its process died.
    Unresolved,
}

impl CoreRuntime {
    /// The sums of every other shard, or none: without one of them there is no sum.
    pub(super) async fn peers_summaries(
        self: &Rc<Self>,
        from: Option<UnixMillis>,
        to: Option<UnixMillis>,
    ) -> Result<Vec<WindowSums>, AskFault> {
        let told = self.ask_peers(Errand::Sum(from, to)).await;
        let sums = told?.into_iter().filter_map(|told| match told {
            Told::Answer(_, sums) => Some(Ok(*sums)),
            Told::CutsOldSecond => Some(Err(AskFault::PeerCutsOldSecond)),
            Told::Unresolved => Some(Err(AskFault::Unresolved)),
            Told::Nothing => None,
        });
        sums.collect()
    }

    /// Whether every other shard could purge now.
    pub(super) async fn may_peers_purge(self: &Rc<Self>) -> Result<(), AskFault> {
        self.ask_peers(Errand::MayPurge).await.map(drop)
    }

    /// Has every other shard forget its part.
    pub(super) async fn purge_peers(self: &Rc<Self>) -> Result<(), AskFault> {
        self.ask_peers(Errand::Purge).await.map(drop)
    }

    /// How this instance stands among the shards, as core 0 saw it last.
    #[must_use]
    pub(crate) fn footing(&self) -> Footing {
        Footing::unpack(self.shared.footing.load(Ordering::Relaxed))
    }

    /// PEERS, and whether each answered core 0 last; none where it was not asked yet.
    pub(crate) fn peer_answers(&self) -> impl Iterator<Item = (String, Option<bool>)> {
        let peers = self.config.shards.peers.iter().map(ToString::to_string);
        let states = self.shared.peer_answers.iter();
        peers.zip(states.map(|state| match state.load(Ordering::Relaxed) {
            0 => None,
            state => Some(state == 1),
        }))
    }

    /// What this instance says of itself to a peer.
    #[must_use]
    pub(crate) fn introduce(&self) -> Introduction {
        self.peers.borrow().introduce()
    }

    /// Asks every peer now and then who it is. Runs on core 0. No payment is taken before the first
    /// round is over, which none can draw out: not to answer is to say nothing.
    pub(super) async fn watch_peers(self: Rc<Self>) {
        loop {
            let _ = self.ask_peers(Errand::Introduce).await;
            let (order, word) = (Ordering::Relaxed, &self.shared.footing);
            let [unasked, well] = [Footing::Unasked, Footing::Well].map(Footing::pack);
            let _ = word.compare_exchange(unasked, well, order, order);
            self.peers.borrow().stand(self.footing());
            monoio::time::sleep(PEER_CHECK_INTERVAL).await;
        }
    }

    /// One round over all peers.
    async fn ask_peers(self: &Rc<Self>, errand: Errand) -> Result<Vec<Told>, AskFault> {
        let deadline = self.now().mono.after(limits::PEER_TIMEOUT);
        while self.peer_rounds.get() >= limits::PEER_CONNECTIONS_MAX {
            if self.now().mono > deadline {
                return Err(AskFault::Overloaded);
            }
            monoio::time::sleep(TIMER_STEP).await;
        }
        self.peer_rounds
            .set(self.peer_rounds.get().saturating_add(1));
        let heard = self.peers.borrow().marks().heard();
        let calls: Vec<_> = (0..self.config.shards.peers.len())
            .map(|index| monoio::spawn(Rc::clone(self).ask_peer(index, errand)))
            .collect();
        let mut told = Vec::new();
        for call in calls {
            told.push(call.await);
        }
        self.peer_rounds
            .set(self.peer_rounds.get().saturating_sub(1));
        if told.iter().any(|told| matches!(told, Told::CutsOldSecond)) {
            return Err(AskFault::PeerCutsOldSecond);
        }
        if told.iter().any(|told| matches!(told, Told::Unresolved)) {
            return Err(AskFault::Unresolved);
        }
        self.meet(&told, &heard).map_err(AskFault::Peers)?;
        Ok(told)
    }

    fn meet(&self, told: &[Told], heard: &[Mark]) -> Result<(), Gap> {
        let round: Vec<_> = told
            .iter()
            .map(|told| match told {
                Told::Answer(introduction, _) => Some(introduction.clone()),
                Told::Nothing | Told::CutsOldSecond | Told::Unresolved => None,
            })
            .collect();
        let mut peers = self.peers.borrow_mut();
        let before = peers.clone();
        let (met, result) = peers.meet(&round, heard);
        for (number, journal) in met {
            let id = JournalId(journal);
            log::info!("shard {number} was met for the first time; its journal is {id}");
            if let Some(keeper) = &self.shared.keeper {
                keeper.met(number, id);
            }
        }
        if self.core != CoreId(0) {
            return result;
        }
        for (state, answer) in self.shared.peer_answers.iter().zip(&round) {
            let is_there = answer.is_some();
            state.store(if is_there { 1 } else { 2 }, Ordering::Relaxed);
        }
        for (index, peer) in self.config.shards.peers.iter().enumerate() {
            let (was, is) = (before.footing_towards(index), peers.footing_towards(index));
            if was == is {
                continue;
            }
            match is {
                Footing::Disputed(trouble) => log::error!(
                    "peer {peer}: {trouble}; this instance takes no payments until that is mended \
                     (docs/SCALING.md)"
                ),
                Footing::Apart(trouble) => log::error!(
                    "peer {peer}: {trouble}; there is no sum over all shards until that is mended, \
                     payments of this one go on (docs/SCALING.md)"
                ),
                Footing::Well | Footing::Unasked => {
                    log::info!("peer {peer}: no more of this: {was}");
                }
            }
        }
        self.shared
            .footing
            .store(peers.footing().pack(), Ordering::Relaxed);
        peers.stand(peers.footing());
        result
    }

    async fn ask_peer(self: Rc<Self>, index: usize, errand: Errand) -> Told {
        let Some(peer) = self.config.shards.peers.get(index) else {
            return Told::Nothing;
        };
        let host = peer.authority();
        let query = query(errand);
        let target = |route| Target {
            host: &host,
            path: [route, &query],
        };
        let mut request = Vec::new();
        self.with_peer_headers(|headers| match errand {
            Errand::Introduce | Errand::Sum(..) => {
                write_get(&mut request, &target("/payments-summary"), headers);
            }
            Errand::MayPurge | Errand::Purge => {
                write_post(&mut request, &target("/purge-payments"), headers, b"{}");
            }
        });
        let name = NameIndex::of_peer(index);
        let addresses: Vec<SocketAddr> = self.names.borrow().addresses(name);
        let called = self.upstream.call_peer(name, &addresses, request).await;
        let told = match &called {
            Ok(Called { status: 200, body }) => {
                let sums = wire::read_introduction(body).zip(wire::read_shard_sums(body));
                sums.map_or(Told::Nothing, |(peer, sums)| {
                    Told::Answer(peer, Box::new(sums))
                })
            }
            Ok(Called { status: 422, .. }) => Told::CutsOldSecond,
            Ok(Called { status: 503, body }) if wire::is_unresolved(body) => Told::Unresolved,
            Ok(_) | Err(_) => Told::Nothing,
        };
        let result = match (&told, called) {
            (Told::Nothing, Ok(Called { status, .. })) => {
                self.tell_no_shard(index, errand, status);
                PeerResult::Failed
            }
            (Told::Nothing, Err(fault)) => {
                log::debug!("peer {peer} does not answer: {fault}");
                self.upstream.ask_for_addresses(name);
                PeerResult::Failed
            }
            (Told::Answer(..) | Told::CutsOldSecond | Told::Unresolved, _) => PeerResult::Answered,
        };
        self.metrics.peer_calls.get(result).increment();
        told
    }

    /// The peer answers, and not as a shard does: told once, until it has done so again.
    fn tell_no_shard(&self, index: usize, errand: Errand, status: u16) {
        let peer = self.config.shards.peers.get(index);
        let (Errand::Introduce, Some(peer)) = (errand, peer) else {
            return;
        };
        let state = self.shared.peer_answers.get(index);
        if state.is_none_or(|state| state.load(Ordering::Relaxed) == 2) {
            return;
        }
        let hint = match status {
            401 | 403 => ": is PEER_SECRET_FILE the same there?",
            404 => ": are peers served there (ADMIN_LISTEN)?",
            _ => "",
        };
        log::warn!("peer {peer} answers {status}, which is no answer of a shard{hint}");
    }

    /// Lends the header that peers ask for. It is their own secret or none: with what clients show
    /// one who took the place of a peer could pay.
    fn with_peer_headers(&self, write: impl FnOnce(&[(&str, &[u8])])) {
        match &self.peer_secret {
            None => write(&[]),
            Some(secret) => write(&[(secret.header(), &secret.own_value())]),
        }
    }
}

fn query(errand: Errand) -> String {
    let (from, to) = match errand {
        Errand::Introduce | Errand::MayPurge => return "?scope=ask".to_owned(),
        Errand::Sum(from, to) => (from, to),
        Errand::Purge => (None, None),
    };
    let mut query = Vec::from(b"?scope=local".as_slice());
    for (name, edge) in [("&from=", from), ("&to=", to)] {
        if let Some(edge) = edge {
            query.extend_from_slice(name.as_bytes());
            wire::write_instant(edge, &mut query);
        }
    }
    String::from_utf8_lossy(&query).into_owned()
}
