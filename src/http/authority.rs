//! Whether a text names a host and a port: the value of Host and the authority of an absolute
//! target (RFC 9110 section 7.2, RFC 3986 section 3.2). A userinfo part is never accepted: it has
//! no meaning for a server and serves only to disguise a name.

use std::net::Ipv6Addr;

use super::bytes;

/// Whether `text` is `uri-host [ ":" port ]` with a host that is not empty.
pub(super) fn is_authority(text: &[u8]) -> bool {
    if let [b'[', rest @ ..] = text {
        let Some(close) = rest.iter().position(|byte| *byte == b']') else {
            return false;
        };
        let (literal, tail) = rest.split_at(close);
        return is_literal(literal)
            && match tail {
                [b']'] => true,
                [b']', b':', port @ ..] => is_port(port),
                [] | [_, ..] => false,
            };
    }
    match bytes::after_registered_name(text) {
        tail if tail.len() == text.len() => false,
        [] => true,
        [b':', port @ ..] => is_port(port),
        [_, ..] => false,
    }
}

/// *DIGIT, and a port that exists. RFC 3986 allows none after the colon and leading zeros.
fn is_port(text: &[u8]) -> bool {
    text.is_empty() || bytes::decimal(text).is_ok_and(|port| port <= u64::from(u16::MAX))
}

/// An IPv6 address or the reserved IPvFuture form, without the brackets.
fn is_literal(text: &[u8]) -> bool {
    if let [b'v' | b'V', rest @ ..] = text {
        let mut halves = rest.splitn(2, |byte| *byte == b'.');
        let version = halves.next().unwrap_or_default();
        let address = halves.next().unwrap_or_default();
        let without_colons = address.split(|byte| *byte == b':');
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !address.is_empty()
            && !address.contains(&b'%')
            && without_colons
                .into_iter()
                .all(|text| bytes::after_registered_name(text).is_empty());
    }
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_or_without_a_port_is_an_authority() {
        for good in [
            "localhost",
            "localhost:80",
            "localhost:",
            "127.0.0.1:9999",
            "[::1]",
            "[::1]:80",
            "[::ffff:1.2.3.4]:1",
            "[v1.fe:a]",
            "a_b.example",
            "%41b",
            "x:00080",
            "!$&'()*+;=",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
    }

    #[test]
    fn anything_else_is_not() {
        for bad in [
            "",
            ":80",
            "u@h",
            "u:p@h",
            "h:8a",
            "h:+80",
            "h:65536",
            "h:80:80",
            "h:80 ",
            "a b",
            "a,b",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a\"b",
            "<a>",
            "http://a",
            "[::1",
            "::1",
            "[::1]a",
            "[::1]:x",
            "[::g]",
            "[fe80::1%25eth0]",
            "[]",
            "[v.a]",
            "[v1.]",
            "[v1.%41]",
            "%4",
            "%zz",
            "h\u{e9}",
            "a^b",
            "{a}",
            "h:99999999999999999999999",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }
}
