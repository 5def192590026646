//! One hop of X-Forwarded-For as an address. The field has no standard; what proxies write there
//! is an address, often with a port, and with the brackets and quotes that RFC 7239 (section 6)
//! wants around an IPv6 one.
//!
//! The server asks for the client's address by it. A text that names no address is not guessed at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::bytes;

/// The address that `text` names; an IPv4 one in IPv6 form is IPv4. `None` for names such as
/// `unknown`, and for anything that is not wholly an address.
#[must_use]
pub fn read_node(text: &[u8]) -> Option<IpAddr> {
    let text = match bytes::trim(text) {
        [b'"', inner @ .., b'"'] => bytes::trim(inner),
        text => text,
    };
    let text = std::str::from_utf8(text).ok()?;
    if let Some(inner) = text.strip_prefix('[') {
        let (address, port) = inner.split_once(']')?;
        let is_end = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return is_end.then(|| read_ipv6(address)).flatten();
    }
    match text.split_once(':') {
        None => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        // A second colon makes it IPv6, whose port could not be told from its last group.
        Some((_, port)) if port.contains(':') => read_ipv6(text),
        Some((address, port)) => {
            let address = address.parse::<Ipv4Addr>().ok()?;
            is_port(port).then_some(IpAddr::V4(address))
        }
    }
}

/// A zone is the proxy's own name for a link; it says nothing about the client.
fn read_ipv6(text: &str) -> Option<IpAddr> {
    let address = match text.split_once('%') {
        Some((_, "")) => return None,
        Some((address, _)) => address,
        None => text,
    };
    let address: Ipv6Addr = address.parse().ok()?;
    Some(address.to_canonical())
}

fn is_port(text: &str) -> bool {
    bytes::decimal(text.as_bytes()).is_ok_and(|port| port <= u64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_is_read_in_every_form_that_proxies_write() {
        for (text, expected) in [
            ("203.0.113.9", "203.0.113.9"),
            ("203.0.113.9:4711", "203.0.113.9"),
            (" 203.0.113.9:0\t", "203.0.113.9"),
            ("\"203.0.113.9\"", "203.0.113.9"),
            ("\"203.0.113.9:4711\"", "203.0.113.9"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("\"[2001:db8::1]:80\"", "2001:db8::1"),
            ("\"2001:db8::1\"", "2001:db8::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("[::ffff:203.0.113.9]:65535", "203.0.113.9"),
            ("::ffff:cb00:7109", "203.0.113.9"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%25eth0]:80", "fe80::1"),
            ("::1", "::1"),
        ] {
            let expected: IpAddr = expected.parse().unwrap();
            assert_eq!(read_node(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_wholly_an_address_is_none() {
        for text in [
            "",
            " ",
            "\"",
            "\"\"",
            "unknown",
            "_hidden",
            "localhost",
            "203.0.113",
            "203.0.113.256",
            "203.0.113.009",
            "203.0.113.9:",
            "203.0.113.9:x",
            "203.0.113.9:+1",
            "203.0.113.9:65536",
            "203.0.113.9 4711",
            "203.0.113.9/32",
            "203.0.113.9%eth0",
            "\"203.0.113.9",
            "203.0.113.9\"",
            "[203.0.113.9]",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]80",
            "[2001:db8::1]:",
            "[2001:db8::1]:99999",
            "[[2001:db8::1]]",
            "2001:db8::g",
            "fe80::1%",
            "for=203.0.113.9",
            "203.0.113.9\u{e9}",
        ] {
            assert_eq!(read_node(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd_to_read(text in prop::collection::vec(any::<u8>(), 0..48)) {
            let _ = read_node(&text);
        }

        #[test]
        fn an_address_is_read_with_and_without_a_port((bits, port) in any::<(u128, u16)>()) {
            let address = Ipv6Addr::from_bits(bits);
            let expected = Some(address.to_canonical());
            prop_assert_eq!(read_node(address.to_string().as_bytes()), expected);
            prop_assert_eq!(read_node(format!("\"[{address}]:{port}\"").as_bytes()), expected);
        }
    }
}
