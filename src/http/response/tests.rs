//! How an answer looks on the wire, and what cannot break out of its fields.

use super::super::{AnswerFraming, date, parse_answer};
use super::*;
use crate::clock::UnixMillis;

fn written(head: &ResponseHead<'_>, body: &[u8], is_head: bool) -> String {
    let mut out = Vec::new();
    write_response(&mut out, head, body, is_head);
    String::from_utf8(out).unwrap()
}

#[test]
fn an_answer_has_its_fields_in_order_and_its_body_behind_them() {
    let date = date::imf_fixdate(UnixMillis(784_111_777_000));
    let head = ResponseHead {
        content_type: "application/json",
        connection: ConnectionField::Close,
        retry_after: Some(1),
        location: ["/payments/", "abc"],
        extra: &[("X-Request-Id", b"r1"), ("Idempotent-Replayed", b"true")],
        ..ResponseHead::new(202, &date)
    };
    let expected = "HTTP/1.1 202 Accepted\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
        Content-Length: 2\r\nContent-Type: application/json\r\nConnection: close\r\n\
        Retry-After: 1\r\nLocation: /payments/abc\r\nX-Request-Id: r1\r\n\
        Idempotent-Replayed: true\r\n\r\n{}";
    assert_eq!(written(&head, b"{}", false), expected);
    assert_eq!(
        written(&head, b"{}", true),
        expected.strip_suffix("{}").unwrap()
    );
}

#[test]
fn the_smallest_answers_are_framed_too() {
    let date = date::imf_fixdate(UnixMillis(0));
    let date_line = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
    let empty = ResponseHead {
        content_type: "text/plain",
        ..ResponseHead::new(200, &date)
    };
    let expected = format!("HTTP/1.1 200 OK\r\n{date_line}Content-Length: 0\r\n\r\n");
    assert_eq!(written(&empty, b"", false), expected);
    for status in [204, 304] {
        let text = written(&ResponseHead::new(status, &date), b"never sent", false);
        assert!(text.ends_with(&format!("{date_line}\r\n")), "{text}");
    }
    let kept = ResponseHead {
        connection: ConnectionField::KeepAlive,
        extra: &[("Allow", b"GET, HEAD")],
        ..ResponseHead::new(405, &date)
    };
    let text = written(&kept, b"", false);
    assert!(
        text.contains("\r\nConnection: keep-alive\r\nAllow: GET, HEAD\r\n\r\n"),
        "{text}"
    );
}

#[test]
fn a_text_that_would_break_the_head_is_left_out() {
    let date = date::imf_fixdate(UnixMillis(0));
    let plain = written(&ResponseHead::new(200, &date), b"", false);
    for (name, value) in [
        ("X", &b"a\r\nY: b"[..]),
        ("X", b"a\nb"),
        ("X", b"a\0b"),
        ("X", b""),
        ("X Y", b"a"),
        ("X\r\nY", b"a"),
        ("", b"a"),
    ] {
        let head = ResponseHead {
            extra: &[(name, value)],
            ..ResponseHead::new(200, &date)
        };
        assert_eq!(written(&head, b"", false), plain, "{name:?}: {value:?}");
    }
    let location = ResponseHead {
        location: ["/a", "\r\nY: b"],
        ..ResponseHead::new(200, &date)
    };
    assert_eq!(written(&location, b"", false), plain);
}

#[test]
fn every_status_is_written_in_a_form_that_is_read_back() {
    let date = date::imf_fixdate(UnixMillis(0));
    for status in 200..600 {
        let mut out = Vec::new();
        write_response(&mut out, &ResponseHead::new(status, &date), b"body", false);
        let head = parse_answer(&out, false).unwrap().unwrap();
        assert_eq!(head.status, status);
        let expected = match status {
            204 | 304 => AnswerFraming::None,
            _ => AnswerFraming::Length(4),
        };
        assert_eq!(head.framing, expected, "{status}");
    }
}
