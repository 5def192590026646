//! What a start finds out about settings that look well: only a lookup shows it. It warns, and
//! refuses nothing.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::Config;
use crate::payment::Processor;
use crate::upstream::{NameIndex, Names};

/// Two names of one server would make one processor of both: a payment that it refused could be
/// charged there as the other one, and both summaries would be the same.
pub(super) fn warn_of_one_server(config: &Config, names: &Names) {
    let [first, second] = [Processor::DEFAULT, Processor::FALLBACK];
    let one = config.upstream.get(first);
    let Some(other) = config.upstream.find(second) else {
        return;
    };
    // A gateway may have one processor below each base; sockets were compared by their paths.
    // Over https the certificates tell two names of one address apart.
    let is_known_apart = one.url.is_https() || other.url.is_https();
    if one.url.base != other.url.base || one.url.http().is_none() || is_known_apart {
        return;
    }
    let [a, b] = [first, second].map(|processor| names.addresses(NameIndex::of(processor)));
    if let Some(address) = one_server(&a, &b) {
        log::warn!(
            "UPSTREAM_A_URL and UPSTREAM_B_URL both mean {address}: they are probably one server"
        );
    }
}

/// An address of `a` that leads where one of `b` does: spelled alike, or both are this host's own.
fn one_server<'a>(a: &'a [SocketAddr], b: &[SocketAddr]) -> Option<&'a SocketAddr> {
    let here = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let place = |address: &SocketAddr| match address.ip().to_canonical() {
        // The kernel takes a connect to the unspecified address for one to itself.
        ip if ip.is_unspecified() || here.contains(&ip) => (None, address.port()),
        ip => (Some(ip), address.port()),
    };
    a.iter()
        .find(|one| b.iter().any(|other| place(one) == place(other)))
}
