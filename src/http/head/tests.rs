//! One row per rule. A row's bytes are latin-1 text, so `\u{ff}` is the byte 0xff.

use super::*;

mod bounds;
mod framing;
mod request_line;

fn bytes_of(text: &str) -> Vec<u8> {
    text.chars()
        .map(|letter| u8::try_from(u32::from(letter)).unwrap())
        .collect()
}

fn rules() -> HeadRules {
    HeadRules {
        auth_header: Some("X-Key".into()),
    }
}

fn parse(text: &str) -> Result<Option<RequestHead>, Reject> {
    parse_head(&bytes_of(text), &rules())
}

/// The status of the refusal, 0 for more bytes needed, 200 for a head.
fn status(text: &str) -> u16 {
    match parse(text) {
        Ok(Some(_)) => 200,
        Ok(None) => 0,
        Err(reject) => reject.status,
    }
}

fn with_line(line: &str) -> String {
    format!("{line}\r\nHost: h\r\n\r\n")
}

/// A POST with these field lines, each ended by CRLF already.
fn with_fields(fields: &str) -> String {
    format!("POST /p HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
}

fn head(text: &str) -> RequestHead {
    parse(text).unwrap().unwrap()
}

#[test]
fn field_lines_are_accepted_or_refused_by_the_grammar() {
    let rows = [
        ("X:b\r\n", 200),
        ("X:\r\n", 200),
        ("X: \t \r\n", 200),
        ("X: a\tb \u{80}\u{ff}\r\n", 200),
        ("!#$%&'*+-.^_`|~09azAZ: v\r\n", 200),
        ("X : b\r\n", 400),
        ("X\t: b\r\n", 400),
        (" X: b\r\n", 400),
        ("\tX: b\r\n", 400),
        (": b\r\n", 400),
        (":\r\n", 400),
        ("X\r\n", 400),
        ("X A: b\r\n", 400),
        ("X@: b\r\n", 400),
        ("X(a): b\r\n", 400),
        ("\"X\": b\r\n", 400),
        ("X\u{e9}: b\r\n", 400),
        ("X\u{b}: b\r\n", 400),
        ("X\u{0}: b\r\n", 400),
        ("X: a\u{0}b\r\n", 400),
        ("X: a\u{0}\r\n", 400),
        ("X: a\u{1}b\r\n", 400),
        ("X: a\u{b}b\r\n", 400),
        ("X: a\u{c}b\r\n", 400),
        ("X: a\u{1b}b\r\n", 400),
        ("X: a\u{7f}b\r\n", 400),
        ("X: a\r\n b\r\n", 400),
        ("X: a\r\n\tb\r\n", 400),
        ("X:\r\n \r\n", 400),
        ("X: a\r\n \r\nY: b\r\n", 400),
    ];
    for (fields, expected) in rows {
        assert_eq!(status(&with_fields(fields)), expected, "{fields:?}");
        let first = format!("GET / HTTP/1.1\r\n{fields}Host: h\r\n\r\n");
        assert_eq!(status(&first), expected, "first: {fields:?}");
    }
}

#[test]
fn host_is_there_once_and_names_a_host() {
    let rows = [
        ("", 400),
        ("Host: h\r\nHost: h\r\n", 400),
        ("Host: h\r\nX: y\r\nhOST: other\r\n", 400),
        ("Host:\r\n", 200),
        ("Host: h:80\r\n", 200),
        ("HOST:h\r\n", 200),
        ("Host: a, b\r\n", 400),
        ("Host: a,b\r\n", 400),
        ("Host: a b\r\n", 400),
        ("Host: u@h\r\n", 400),
        ("Host: h/a\r\n", 400),
        ("Host: http://h\r\n", 400),
        ("Host: h:8a\r\n", 400),
        ("Host: h:-1\r\n", 400),
        ("Host: [::1\r\n", 400),
        ("Host: h\u{ff}\r\n", 400),
        ("Host: h\u{0}\r\n", 400),
        ("Host: h\r\n .evil\r\n", 400),
    ];
    for (fields, expected) in rows {
        assert_eq!(
            status(&format!("GET / HTTP/1.1\r\n{fields}\r\n")),
            expected,
            "{fields:?}"
        );
    }
    assert_eq!(
        status("GET / HTTP/1.0\r\n\r\n"),
        200,
        "HTTP/1.0 knows no Host"
    );
    assert_eq!(status("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
    assert_eq!(status("GET / HTTP/1.0\r\nHost: a b\r\n\r\n"), 400);
    assert_eq!(
        status("GET http://h/ HTTP/1.1\r\n\r\n"),
        400,
        "not even the absolute form"
    );
    assert_eq!(
        status("GET http://h/ HTTP/1.1\r\nHost: other\r\n\r\n"),
        200,
        "Host is ignored"
    );
}

#[test]
fn an_expectation_is_met_ignored_or_refused() {
    let rows = [
        (
            "1.1",
            "Expect: 100-continue\r\nContent-Length: 5\r\n",
            Ok(true),
        ),
        (
            "1.1",
            "Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n",
            Ok(true),
        ),
        (
            "1.1",
            "Expect: 100-continue, 100-continue\r\nContent-Length: 5\r\n",
            Ok(true),
        ),
        ("1.1", "Expect: 100-continue\r\n", Ok(false)),
        (
            "1.1",
            "Expect: 100-continue\r\nContent-Length: 0\r\n",
            Ok(false),
        ),
        ("1.1", "Expect:\r\nContent-Length: 5\r\n", Ok(false)),
        (
            "1.0",
            "Expect: 100-continue\r\nContent-Length: 5\r\n",
            Ok(false),
        ),
        ("1.0", "Expect: other\r\n", Ok(false)),
        ("1.1", "Expect: 200-maybe\r\n", Err(417)),
        (
            "1.1",
            "Expect: 100-continue, other\r\nContent-Length: 5\r\n",
            Err(417),
        ),
        (
            "1.1",
            "Expect: 100-continue=1\r\nContent-Length: 5\r\n",
            Err(417),
        ),
    ];
    for (version, fields, expected) in rows {
        let raw = format!("POST / HTTP/{version}\r\nHost: h\r\n{fields}\r\n");
        let found = parse(&raw).map(|head| head.unwrap().expect_continue);
        assert_eq!(
            found.map_err(|fault| fault.status),
            expected,
            "{version} {fields:?}"
        );
    }
}

#[test]
fn a_content_coding_other_than_identity_is_noticed_wherever_it_is_named() {
    use ContentCoding::{Identity, Other};
    let rows = [
        ("", Identity),
        ("Content-Encoding:\r\n", Identity),
        ("Content-Encoding: , ,\r\n", Identity),
        ("content-encoding: Identity\r\n", Identity),
        ("Content-Encoding: identity, identity\r\n", Identity),
        ("Content-Encoding: gzip\r\n", Other),
        ("CONTENT-ENCODING:\tGZIP\t\r\n", Other),
        ("Content-Encoding: identity, br\r\n", Other),
        ("Content-Encoding: gzip, identity\r\n", Other),
        (
            "Content-Encoding: identity\r\nContent-Encoding: x-gzip\r\n",
            Other,
        ),
        (
            "Content-Encoding: deflate\r\nContent-Encoding: identity\r\n",
            Other,
        ),
        ("Content-Encoding: identity;q=1\r\n", Other),
        ("Content-Encoding: aws-chunked\r\n", Other),
        ("Content-Encoding: *\r\n", Other),
        ("X-Content-Encoding: gzip\r\n", Identity),
    ];
    for (fields, expected) in rows {
        assert_eq!(
            head(&with_fields(fields)).content_coding,
            expected,
            "{fields:?}"
        );
    }
}

#[test]
fn the_content_type_is_json_with_or_without_parameters() {
    use ContentType::{Json, Missing, Other};
    let rows = [
        ("", Ok(Missing)),
        ("Content-Type: application/json\r\n", Ok(Json)),
        (
            "Content-Type: Application/JSON ; charset=\"utf-8\"\r\n",
            Ok(Json),
        ),
        ("Content-Type: application/json;\r\n", Ok(Json)),
        ("Content-Type: application/json5\r\n", Ok(Other)),
        ("Content-Type: application/problem+json\r\n", Ok(Other)),
        ("Content-Type: application/json, text/plain\r\n", Ok(Other)),
        (
            "Content-Type: application/json charset=utf-8\r\n",
            Ok(Other),
        ),
        ("Content-Type: text/json\r\n", Ok(Other)),
        ("Content-Type:\r\n", Ok(Other)),
        (
            "Content-Type: application/json\r\nContent-Type: text/plain\r\n",
            Err(400),
        ),
        (
            "Content-Type: text/plain\r\ncontent-type: application/json\r\n",
            Err(400),
        ),
    ];
    for (fields, expected) in rows {
        let found = parse(&with_fields(fields)).map(|head| head.unwrap().content_type);
        assert_eq!(found.map_err(|fault| fault.status), expected, "{fields:?}");
    }
}
