//! Calls to PEERS: their sums and their purge. Every call asks for `scope=local`, so that peers
//! never ask in a circle, and carries the auth header.

use std::net::SocketAddr;

use super::{AskFault, Room};
use crate::clock::UnixMillis;
use crate::http::{Target, write_get, write_post};
use crate::limits;
use crate::metrics::PeerResult;
use crate::payment::{PerProcessor, Totals};
use crate::upstream::{Called, NameIndex};
use crate::wire;

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
        for (index, peer) in self.config.shards.peers.iter().enumerate() {
            let mut request = Vec::new();
            let host = peer.authority();
            let target = Target {
                host: &host,
                path: ["/payments-summary", &query],
            };
            self.with_peer_headers(|headers| write_get(&mut request, &target, headers));
            let called = self.call_peer(index, request).await?;
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
        for (index, peer) in self.config.shards.peers.iter().enumerate() {
            let mut request = Vec::new();
            let host = peer.authority();
            let target = Target {
                host: &host,
                path: ["/purge-payments", "?scope=local"],
            };
            self.with_peer_headers(|headers| write_post(&mut request, &target, headers, b"{}"));
            let called = self.call_peer(index, request).await?;
            if !(200..300).contains(&called.status) {
                return Err(AskFault::PeerSilent);
            }
        }
        Ok(())
    }

    async fn call_peer(&self, index: usize, request: Vec<u8>) -> Result<Called, AskFault> {
        let addresses: Vec<SocketAddr> = self.names.borrow().addresses(NameIndex::of_peer(index));
        let called = self
            .upstream
            .call(&addresses, request, limits::PEER_TIMEOUT)
            .await;
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
    fn with_peer_headers(&self, write: impl FnOnce(&[(&str, &[u8])])) {
        match &self.credentials {
            None => write(&[]),
            Some(credentials) => {
                write(&[(credentials.header(), &credentials.own_value())]);
            }
        }
    }
}
