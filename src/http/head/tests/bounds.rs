//! Marks, limits and what must hold for every input.

use crate::http::fields::HTTP_HEADERS_MAX;
use crate::http::head::gathered::REQUEST_ID_BYTES_MAX;
use proptest::prelude::*;

use super::*;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn marks_are_taken_over_only_when_they_are_safe_to_repeat() {
    let fields = format!(
        "x-key: s3cret\r\nX-Request-ID: abc-1\r\ntraceparent: {TRACE}\r\n\
         X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nX-Forwarded-For:\r\nX-Forwarded-For: 3.3.3.3\r\n\
"
    );
    let raw = with_fields(&fields);
    let bytes = raw.as_bytes();
    let found = head(&raw);
    assert_eq!(found.auth.unwrap().of(bytes), b"s3cret");
    assert_eq!(found.request_id.unwrap().of(bytes), b"abc-1");
    assert_eq!(found.trace_parent.unwrap().text(bytes), TRACE);
    let hops: Vec<&[u8]> = found.forwarded_for.nearest_first(bytes).collect();
    assert_eq!(hops, [b"3.3.3.3", b"2.2.2.2", b"1.1.1.1"]);
    assert_eq!(found.head_bytes, raw.len());

    let long = "x".repeat(REQUEST_ID_BYTES_MAX + 1);
    for (id, expected) in [
        ("a b", false),
        ("", false),
        ("\u{e9}", false),
        (&long, false),
        ("~", true),
    ] {
        let raw = with_fields(&format!("X-Request-Id: {id}\r\n"));
        assert_eq!(head(&raw).request_id.is_some(), expected, "{id:?}");
    }
    let upper = TRACE.to_uppercase();
    let version = TRACE.replacen("00", "ff", 1);
    for trace in ["", "00-1-2-3", &upper, &version, &format!("{TRACE}-x")] {
        let raw = with_fields(&format!("traceparent: {trace}\r\n"));
        assert_eq!(head(&raw).trace_parent, None, "{trace:?}");
    }
}

#[test]
fn credentials_given_twice_are_refused_only_where_they_are_demanded() {
    let raw = with_fields("X-Key: a\r\nX-KEY: b\r\n");
    assert_eq!(status(&raw), 400);
    let head = parse_head(raw.as_bytes(), &HeadRules::default())
        .unwrap()
        .unwrap();
    assert_eq!(head.auth, None);
    let empty = with_fields("X-Key:\r\n");
    assert!(
        parse(&empty).unwrap().unwrap().auth.unwrap().is_empty(),
        "sent, but empty"
    );
}

#[test]
fn a_framing_field_that_carries_credentials_still_frames() {
    let raw = with_fields("Content-Length: 5\r\n");
    let rules = HeadRules {
        auth_header: Some("Content-Length".into()),
    };
    let head = parse_head(raw.as_bytes(), &rules).unwrap().unwrap();
    assert_eq!(
        (head.framing, head.auth.unwrap().of(raw.as_bytes())),
        (Framing::Length(5), &b"5"[..])
    );
}

#[test]
fn limits_refuse_before_the_head_is_whole() {
    let start = "GET / HTTP/1.1\r\nHost: h\r\n";
    let many = "X: y\r\n".repeat(HTTP_HEADERS_MAX);
    let most = "X: y\r\n".repeat(HTTP_HEADERS_MAX - 1);
    assert_eq!(
        status(&format!("{start}{many}")),
        431,
        "one line too many, no end yet"
    );
    assert_eq!(status(&format!("{start}{most}")), 0);
    assert_eq!(status(&format!("{start}{most}\r\n")), 200);

    let rest = limits::HTTP_HEAD_BYTES_MAX - start.len() - "X: \r\n\r\n".len();
    let full = format!("{start}X: {}\r\n\r\n", "v".repeat(rest));
    assert_eq!(status(&full), 200, "exactly as large as allowed");
    assert_eq!(
        status(&format!("\r\n{full}")),
        200,
        "an empty line before it is not counted"
    );
    let over = format!("{start}X: {}\r\n\r\n", "v".repeat(rest + 1));
    assert_eq!(status(&over), 431);
    assert_eq!(
        status(&over[..limits::HTTP_HEAD_BYTES_MAX]),
        431,
        "no need to wait for its end"
    );
    assert_eq!(status(&over[..limits::HTTP_HEAD_BYTES_MAX - 1]), 0);
    assert_eq!(
        status(&format!("{start}{}", "n".repeat(9_000))),
        431,
        "a name without end"
    );
    assert_eq!(
        status(&format!("GET /{}", "a".repeat(2_048))),
        414,
        "a target without end"
    );
    assert_eq!(status(&"A".repeat(33)), 501, "a method without end");
}

#[test]
fn bytes_after_the_head_are_left_alone() {
    let raw = with_fields("Content-Length: 3\r\n");
    let whole = format!("{raw}a\nb\0GET / HTTP/1.1\r\n");
    assert_eq!(head(&whole).head_bytes, raw.len());
}

/// The outcome must be the same for every way to cut the input: no prefix may promise another one.
fn assert_same_however_cut(bytes: &[u8]) {
    let whole = parse_head(bytes, &rules());
    for cut in 0..bytes.len() {
        let part = parse_head(&bytes[..cut], &rules());
        assert!(
            part == Ok(None) || part == whole,
            "{cut}: {part:?} became {whole:?}"
        );
    }
}

/// Heads from pieces that are right, nearly right and wrong.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "GET ",
        "POST ",
        "OPTIONS ",
        "CONNECT ",
        "/",
        "/a?b",
        "*",
        "http://h/",
        "%41",
        "%",
        " ",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
        " HTTP/2.0\r\n",
        "HTTP/",
        "\r\n",
        "\r",
        "\n",
        "\r\n\r\n",
        "Host: h\r\n",
        "Host: a b\r\n",
        "Host:",
        "Content-Length: 5\r\n",
        "Content-Length: 5,5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Connection: close\r\n",
        "Expect: x\r\n",
        "X-Key: k\r\n",
        "X : a\r\n",
        " a\r\n",
        "X: \u{e9}",
        "\u{0}",
        "\u{7f}",
        ":",
        "X-Forwarded-For: 1, 2\r\n",
        "X: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\n",
    ]);
    let tail = prop::collection::vec(piece, 0..12);
    let valid_start = prop::bool::weighted(0.7);
    (valid_start, tail).prop_map(|(valid_start, tail)| {
        let start = if valid_start {
            "GET / HTTP/1.1\r\nHost: h\r\n"
        } else {
            ""
        };
        bytes_of(&format!("{start}{}", tail.concat()))
    })
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        assert_same_however_cut(&bytes);
    }

    #[test]
    fn the_outcome_does_not_depend_on_how_the_input_was_cut(bytes in pieces()) {
        assert_same_however_cut(&bytes);
    }

    #[test]
    fn one_changed_byte_never_moves_the_outcome_between_cuts(
        at in 0_usize..200,
        byte in any::<u8>(),
    ) {
        let fields = format!("traceparent: {TRACE}\r\nContent-Length: 12\r\nX-Key: k\r\n");
        let mut bytes = bytes_of(&with_fields(&fields));
        let length = bytes.len();
        bytes[at % length] = byte;
        assert_same_however_cut(&bytes);
    }
}
