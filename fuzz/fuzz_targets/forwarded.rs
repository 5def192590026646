//! Whose request it is: `TRUSTED_PROXIES` and `X-Forwarded-For` against a second reading. A client
//! can never name itself: the answer is the nearest address that no trusted proxy has.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use p99::testing::config::{AddressRange, Config};
use p99::testing::http::{HeadRules, parse_head, read_node};
use p99::testing::limits;
use p99::testing::payment::CoreCount;
use p99::testing::rate_limit::Client;
use p99::testing::server::client_of;
use p99_fuzz::Input;
use p99_fuzz::http::trim;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let peer = match input.byte() % 4 {
        0 => None,
        1 => Some(IpAddr::V6(Ipv6Addr::from_bits(
            u128::from(input.number::<8>()) << 64 | u128::from(input.byte()),
        ))),
        _ => Some(v4(&mut input)),
    };
    let ranges = String::from_utf8_lossy(input.piece()).into_owned();
    let trusted = trusted_proxies(&ranges);
    let mut text = b"GET / HTTP/1.1\r\nHost: x\r\n".to_vec();
    let mut lines = Vec::new();
    while !input.is_empty() {
        let line = input.piece();
        // Another field would begin there.
        if line.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
            return;
        }
        lines.push(line);
        text.extend_from_slice(b"X-Forwarded-For: ");
        text.extend_from_slice(line);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    let Ok(Some(head)) = parse_head(&text, &HeadRules::default()) else {
        return;
    };
    if head.head_bytes != text.len() {
        return;
    }
    // A peer's own rule is tried on every range, also where the setting as a whole is refused.
    for part in ranges.split(',') {
        check_range(part.trim(), peer);
    }
    let trusted = trusted.unwrap_or_default();
    let client = client_of(peer, &head, &text, &trusted);
    assert_eq!(client, plain(peer, &lines, &trusted));
    if trusted.is_empty() || peer.is_some_and(|peer| !is_trusted(&trusted, peer)) {
        assert_eq!(client, known(peer));
    }
});

/// An address of few, so that ranges are met.
fn v4(input: &mut Input<'_>) -> IpAddr {
    let bits = input.number::<4>();
    IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).unwrap()))
}

fn trusted_proxies(text: &str) -> Option<Vec<AddressRange>> {
    let lookup = |name: &str| match name {
        "UPSTREAM_A_URL" => Some("http://a:1".to_owned()),
        "UPSTREAM_B_URL" => Some("http://b:1".to_owned()),
        "TRUSTED_PROXIES" => Some(text.to_owned()),
        _ => None,
    };
    Config::from_lookup_on(lookup, CoreCount(1))
        .ok()
        .map(|config| config.trusted_proxies)
}

fn is_trusted(trusted: &[AddressRange], address: IpAddr) -> bool {
    trusted.iter().any(|range| range.contains(address))
}

fn known(address: Option<IpAddr>) -> Client {
    address.map_or(Client::Unknown, |address| {
        Client::At(address.to_canonical())
    })
}

/// The lines as one list, nearest hop first: the last one that a trusted proxy wrote. A unix
/// socket is such a proxy where there is any.
fn plain(peer: Option<IpAddr>, lines: &[&[u8]], trusted: &[AddressRange]) -> Client {
    let skipped = lines.len().saturating_sub(limits::FORWARDED_FOR_LINES_MAX);
    let lines: Vec<_> = lines[skipped..].iter().map(|line| line.to_vec()).collect();
    let list = lines.join(&b',');
    let hops = list.split(|byte| *byte == b',').map(trim);
    let mut client = peer;
    for hop in hops.rev().filter(|hop| !hop.is_empty()) {
        let is_ours = client.map_or(!trusted.is_empty(), |peer| is_trusted(trusted, peer));
        if !is_ours {
            break;
        }
        let Some(address) = node(hop) else {
            return Client::Unknown;
        };
        client = Some(address);
    }
    known(client)
}

/// An address as it is usually written is read as that address.
fn node(hop: &[u8]) -> Option<IpAddr> {
    let read = read_node(hop);
    let text = std::str::from_utf8(hop).ok()?;
    if let Ok(address) = text.parse::<IpAddr>() {
        assert_eq!(read, Some(address.to_canonical()), "{text}");
    }
    if let Ok(address) = text.parse::<std::net::SocketAddrV4>() {
        assert_eq!(read, Some(IpAddr::V4(*address.ip())), "{text}");
    }
    read
}

/// A range has an address exactly when its first bits are the same, one by one.
fn check_range(text: &str, address: Option<IpAddr>) {
    let (Some(range), Some(address)) = (AddressRange::parse(text), address) else {
        return;
    };
    let (base, prefix) = text.split_once('/').unwrap_or((text, "128"));
    let base: IpAddr = base.parse().unwrap();
    let prefix: usize = prefix.parse().unwrap();
    let bits = |address: IpAddr| -> Vec<bool> {
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let bit = |byte: u8, at: u8| byte << at & 0x80 != 0;
        bytes
            .into_iter()
            .flat_map(|byte| (0..8).map(move |at| bit(byte, at)))
            .collect()
    };
    // An IPv4 address in IPv6 form is an IPv4 address, in a range as in a request.
    let mapped = bits(IpAddr::V6(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped()));
    let wide = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => [&mapped[..96], &bits(IpAddr::V4(address))].concat(),
        other => bits(other),
    };
    let prefix = if base.is_ipv4() {
        96 + prefix.min(32)
    } else {
        prefix
    };
    let is_v4 = |address: IpAddr| address.to_canonical().is_ipv4();
    let is_inside = wide(base)[..prefix] == wide(address)[..prefix];
    // A range of IPv6 is not meant for IPv4, however short its prefix is.
    let expected = is_inside && (is_v4(base) || !is_v4(address));
    assert_eq!(range.contains(address), expected, "{text} {address}");
}
