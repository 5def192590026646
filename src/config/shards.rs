//! SHARD, PEERS and PEER_SECRET_FILE: which of a fixed number of instances this one is, where all
//! the others are, and what they show each other. Whether the others are who they should be is
//! seen when they answer (`peers`).

use super::auth::{AuthHeader, read_secret_of};
use super::places::{HttpUrl, ListenAddress};
use super::reader::Reader;
use super::values::list_or;
use crate::payment::Shard;

/// Carries PEER_SECRET_FILE's value between shards.
const SECRET_HEADER: &str = "x-p99-peer-secret";

/// See the header of this file.
#[derive(Clone, Debug)]
pub struct Shards {
    /// `SHARD`.
    pub own: Shard,
    /// `PEERS`: every other shard, in any order.
    pub peers: Vec<HttpUrl>,
    /// `PEER_SECRET_FILE`: what peers show.
    pub secret: Option<AuthHeader>,
}

impl Shards {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let own = reader.read("SHARD", Shard::parse);
        let peers = reader.read("PEERS", |text| list_or("none", text, HttpUrl::parse));
        let secret = read_secret_of(reader, "PEER_SECRET_FILE", SECRET_HEADER);
        Self { own, peers, secret }
    }

    /// What is legal but surely not meant: `has_journal` where there is one, `is_guarded` where
    /// clients show credentials, and `purges_there` where a purge over ADMIN_LISTEN is an
    /// operator's call.
    pub(super) fn doubts(
        &self,
        has_journal: bool,
        is_guarded: bool,
        purges_there: bool,
    ) -> impl Iterator<Item = String> + use<> {
        let is_bare = self.secret.is_none() && !self.peers.is_empty();
        let rules = [
            (
                self.secret.is_some() && self.peers.is_empty(),
                "PEER_SECRET_FILE has no effect without PEERS",
            ),
            // An id for each process would not do: a shard that was restarted would look like one
            // that lost its journal, and stay stopped.
            (
                !has_journal && !self.peers.is_empty(),
                "PEERS without JOURNAL_DIR: shards know each other by their journals, so a second \
                 instance of this number is not noticed, and sums may miss one of the two",
            ),
            (
                is_bare && is_guarded,
                "PEERS with AUTH_HEADER_VALUE and without PEER_SECRET_FILE: shards show each other \
                 no credentials of clients, so they refuse each other's sums and purges",
            ),
            (
                is_bare && purges_there,
                "PEERS with ADMIN_LISTEN and ALLOW_PURGE and without PEER_SECRET_FILE: shards do \
                 not know each other there, so they refuse each other's purges",
            ),
        ];
        let held = rules.into_iter().filter(|(doubt, _)| *doubt);
        held.map(|(_, text)| text.to_owned())
    }

    /// PEERS names every other shard, and nothing else, as far as that can be seen from here.
    pub(super) fn check(
        &self,
        reader: &mut Reader<'_>,
        listen: &[&[ListenAddress]],
        processors: &[&HttpUrl],
    ) {
        const NAMES: &[&str] = &["PEERS", "SHARD"];
        let needed = usize::from(self.own.count()).saturating_sub(1);
        let count = self.peers.len();
        if !reader.is_set("SHARD") {
            reader.relation(
                count == 0,
                NAMES,
                "none without SHARD: every instance needs SHARD=number/count and all others as \
                 PEERS (docs/SCALING.md)",
            );
        }
        let others = if needed == 1 { "other" } else { "others" };
        let rule = format!(
            "every other shard, each once: SHARD={} has {needed} {others}, PEERS names {count}",
            self.own
        );
        reader.relation(count == needed, NAMES, &rule);
        let double = self.peers.iter().enumerate().find(|(index, peer)| {
            let before = self.peers.iter().take(*index);
            before
                .chain(processors.iter().copied())
                .any(|other| other.is_spelled_like(peer))
        });
        let rule = double.map(|(_, peer)| {
            format!("other instances, each once: {peer} is named twice, or is a processor")
        });
        reader.relation(
            rule.is_none(),
            &["PEERS", "UPSTREAM_A_URL", "UPSTREAM_B_URL"],
            &rule.unwrap_or_default(),
        );
        let mut listen = listen.iter().copied().flatten();
        let own = self
            .peers
            .iter()
            .find(|peer| listen.any(|address| is_at(peer, address)));
        let rule = own.map(|peer| format!("other instances only: {peer} is this one"));
        reader.relation(
            rule.is_none(),
            &["PEERS", "LISTEN", "ADMIN_LISTEN", "PORT"],
            &rule.unwrap_or_default(),
        );
    }
}

/// Whether `url` surely leads to `address` of this machine. A name of this machine is found out
/// when the instance answers itself.
pub(super) fn is_at(url: &HttpUrl, address: &ListenAddress) -> bool {
    let ListenAddress::Tcp(address) = address else {
        return false;
    };
    let ip = match url.host.trim_end_matches('.') {
        "localhost" => std::net::Ipv4Addr::LOCALHOST.into(),
        host => match host.parse::<std::net::IpAddr>() {
            Ok(ip) => ip,
            Err(_) => return false,
        },
    };
    // The kernel takes a connect to the unspecified address for one to itself.
    let is_own = ip.is_loopback() || ip.is_unspecified();
    let is_here = ip == address.ip() || (is_own && address.ip().is_unspecified());
    is_here && url.port == address.port()
}
