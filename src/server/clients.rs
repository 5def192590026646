//! Which client is behind a connection, for the rate limit.
//!
//! X-Forwarded-For counts only as far as trusted proxies wrote it: each proxy appends whom it saw,
//! so the hops are read from the nearest on, for as long as the one before is trusted. A unix
//! socket is a proxy on this machine, trusted as soon as any proxy is. Whatever cannot be read
//! makes the client unknown and never exempt: unknown clients share one budget.
//!
//! `routes` asks; nothing is decided here about the request.

use std::net::IpAddr;

use crate::config::AddressRange;
use crate::http::{RequestHead, read_node};
use crate::rate_limit::Client;

/// The client of the request whose head is `head` and begins `bytes`. `peer` is the other end of
/// the connection, none for a unix socket.
pub(super) fn client_of(
    peer: Option<IpAddr>,
    (head, bytes): (&RequestHead, &[u8]),
    trusted: &[AddressRange],
) -> Client {
    let is_proxy = |client: Client| match client {
        Client::At(address) => trusted.iter().any(|range| range.contains(address)),
        Client::Unknown => false,
    };
    let mut nearest = peer.map_or(Client::Unknown, |address| {
        Client::At(address.to_canonical())
    });
    let mut may_go_on = if peer.is_none() {
        !trusted.is_empty()
    } else {
        is_proxy(nearest)
    };
    // An empty element of a list means nothing (RFC 9110, section 5.6.1).
    let hops = head.forwarded_for.nearest_first(bytes);
    for hop in hops.filter(|hop| !hop.is_empty()) {
        if !may_go_on {
            break;
        }
        nearest = read_node(hop).map_or(Client::Unknown, Client::At);
        may_go_on = is_proxy(nearest);
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HeadRules, parse_head};

    const TRUSTED: &[&str] = &["10.0.0.0/8", "::1"];

    fn client(peer: &str, trusted: &[&str], fields: &str) -> String {
        let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let bytes = text.as_bytes();
        let head = parse_head(bytes, &HeadRules::default()).unwrap().unwrap();
        let peer = (peer != "unix").then(|| peer.parse().unwrap());
        let trusted: Vec<AddressRange> = trusted
            .iter()
            .map(|text| AddressRange::parse(text).unwrap())
            .collect();
        match client_of(peer, (&head, bytes), &trusted) {
            Client::At(address) => address.to_string(),
            Client::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn a_forwarded_address_counts_only_as_far_as_trusted_proxies_wrote_it() {
        let rows: [(&str, &[&str], &str, &str); 20] = [
            ("1.2.3.4", TRUSTED, "9.9.9.9", "1.2.3.4"),
            ("1.2.3.4", TRUSTED, "junk", "1.2.3.4"),
            ("10.0.0.1", &[], "9.9.9.9", "10.0.0.1"),
            ("10.0.0.1", TRUSTED, "9.9.9.9", "9.9.9.9"),
            ("10.0.0.1", TRUSTED, "6.6.6.6, 9.9.9.9, 10.0.0.2", "9.9.9.9"),
            ("10.0.0.1", TRUSTED, "junk, 9.9.9.9, 10.0.0.2", "9.9.9.9"),
            ("10.0.0.1", TRUSTED, "6.6.6.6, junk", "unknown"),
            ("10.0.0.1", TRUSTED, "6.6.6.6, unknown, 10.0.0.2", "unknown"),
            ("10.0.0.1", TRUSTED, "", "10.0.0.1"),
            ("10.0.0.1", TRUSTED, "9.9.9.9, , ", "9.9.9.9"),
            ("10.0.0.1", TRUSTED, "10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("10.0.0.1", TRUSTED, "203.0.113.9:4711", "203.0.113.9"),
            ("10.0.0.1", TRUSTED, "6.6.6.6, 10.0.0.2:80", "6.6.6.6"),
            ("10.0.0.1", TRUSTED, "\"[2001:db8::1]:80\"", "2001:db8::1"),
            ("::1", TRUSTED, "7.7.7.7, ::ffff:10.0.0.9", "7.7.7.7"),
            ("::ffff:10.0.0.1", TRUSTED, "9.9.9.9", "9.9.9.9"),
            ("unix", TRUSTED, "9.9.9.9", "9.9.9.9"),
            ("unix", TRUSTED, "", "unknown"),
            ("unix", TRUSTED, "junk", "unknown"),
            ("unix", &[], "9.9.9.9", "unknown"),
        ];
        for (peer, trusted, forwarded, expected) in rows {
            let field = format!("X-Forwarded-For: {forwarded}\r\n");
            assert_eq!(
                client(peer, trusted, &field),
                expected,
                "{peer} {forwarded}"
            );
        }
        assert_eq!(client("10.0.0.1", TRUSTED, ""), "10.0.0.1");
        let lines = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 9.9.9.9\r\n";
        assert_eq!(client("10.0.0.1", TRUSTED, lines), "9.9.9.9");
    }
}
