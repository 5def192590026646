//! Which request is which call, and which rule refuses it first.

use super::*;
use crate::http::{HeadRules, parse_head};

fn range(text: &str) -> AddressRange {
    AddressRange::parse(text).unwrap()
}

#[test]
fn every_path_has_its_call_and_every_call_its_methods() {
    let rows = [
        ("/payments", Some(Call::Pay), "POST"),
        ("/purge-payments", Some(Call::Purge), "POST"),
        ("/payments/test-123", Some(Call::Find), "GET, HEAD"),
        ("/payments-summary", Some(Call::Summary), "GET, HEAD"),
        ("/metrics", Some(Call::Metrics), "GET, HEAD"),
        ("/healthz", Some(Call::Alive), "GET, HEAD"),
        ("/readyz", Some(Call::Ready), "GET, HEAD"),
        ("/payments/", None, ""),
        ("/payments/a/b", None, ""),
        ("/Payments", None, ""),
        ("/", None, ""),
        ("*", None, ""),
    ];
    for (path, call, allow) in rows {
        assert_eq!(place(path), call, "{path}");
        let refusal = call.and_then(|call| wrong_method(call, Method::Delete));
        assert_eq!(
            refusal.map(|reply| (reply.status, reply.allow)),
            call.map(|_| (405, allow))
        );
    }
}

#[test]
fn with_a_door_for_administrators_each_door_has_its_own_calls() {
    let rows = [
        (Call::Pay, "", None, Some(404)),
        (Call::Find, "", None, None),
        (Call::Find, "scope=local", Some(403), None),
        (Call::Summary, "", None, None),
        (Call::Summary, "from=x&scope=local", Some(403), None),
        (Call::Purge, "", Some(404), None),
        (Call::Metrics, "", Some(404), None),
        (Call::Alive, "", None, None),
        (Call::Ready, "", None, None),
    ];
    for (call, query, public, admin) in rows {
        let status = |door| wrong_door(call, query, door).map(|reply| reply.status);
        assert_eq!(status(Door::Public), public, "{call:?} {query}");
        assert_eq!(status(Door::Admin), admin, "{call:?} {query}");
    }
}

#[test]
fn a_forwarded_address_counts_only_as_far_as_trusted_proxies_wrote_it() {
    let trusted = [range("10.0.0.0/8")];
    let rows: [(_, &[AddressRange], _, _); 9] = [
        (Some("1.2.3.4"), &trusted, "9.9.9.9", Some("1.2.3.4")),
        (Some("10.0.0.1"), &[], "9.9.9.9", Some("10.0.0.1")),
        (Some("10.0.0.1"), &trusted, "9.9.9.9", Some("9.9.9.9")),
        (
            Some("10.0.0.1"),
            &trusted,
            "6.6.6.6, 9.9.9.9, 10.0.0.2",
            Some("9.9.9.9"),
        ),
        (
            Some("10.0.0.1"),
            &trusted,
            "6.6.6.6, junk",
            Some("10.0.0.1"),
        ),
        (Some("10.0.0.1"), &trusted, "", Some("10.0.0.1")),
        (
            Some("::ffff:10.0.0.1"),
            &trusted,
            "9.9.9.9",
            Some("9.9.9.9"),
        ),
        (None, &trusted, "9.9.9.9", Some("9.9.9.9")),
        (None, &[], "9.9.9.9", None),
    ];
    for (peer, trusted, forwarded, expected) in rows {
        let text = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {forwarded}\r\n\r\n");
        let octets = text.as_bytes();
        let head = parse_head(octets, &HeadRules::default()).unwrap().unwrap();
        let peer = peer.map(|peer| peer.parse().unwrap());
        let asked = Asked {
            head: &head,
            octets,
        };
        let client = client_address(peer, asked, trusted);
        assert_eq!(
            client,
            expected.map(|text| text.parse().unwrap()),
            "{forwarded}"
        );
    }
}

#[test]
fn an_id_in_a_path_may_be_escaped() {
    let id = |path| id_in_path(path).map(|id| id.as_str().to_owned());
    assert_eq!(id("/payments/test-123").as_deref(), Some("test-123"));
    assert_eq!(id("/payments/a%3Ab%7e").as_deref(), Some("a:b~"));
    for path in [
        "/payments/a%2Fb",
        "/payments/%C3%A9",
        "/payments/%",
        "/payments/a%4",
    ] {
        assert_eq!(id(path), None, "{path}");
    }
}

#[test]
fn a_window_and_a_scope_are_read_or_refused() {
    let both = window("to=2025-07-10T12:34:57Z&from=2025-07-10T12%3A34%3A56Z").unwrap();
    assert_eq!(both.from, Some(UnixMillis(1_752_150_896_000)));
    assert_eq!(both.to, Some(UnixMillis(1_752_150_897_000)));
    assert_eq!(
        window("").unwrap(),
        Window {
            from: None,
            to: None
        }
    );
    for query in [
        "from=yesterday",
        "to=",
        "from=%zz",
        "to=2025-07-10T00:00:00Z&to=x",
    ] {
        assert_eq!(
            window(query).map_err(|reply| reply.status),
            Err(400),
            "{query}"
        );
    }
    assert_eq!(scope("from=x"), Ok(Scope::All));
    assert_eq!(scope("scope=local"), Ok(Scope::Local));
    assert_eq!(scope("scope=all").map_err(|reply| reply.status), Err(400));
}
