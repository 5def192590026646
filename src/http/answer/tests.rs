//! What is a whole answer, what proves nothing, and what lets a connection live on.

use crate::http::answer::INTERIM_ANSWERS_MAX;
use proptest::prelude::*;

use super::*;
use crate::clock::UnixMillis;

const LIMIT: usize = 64;

fn bytes_of(text: &str) -> Vec<u8> {
    text.chars()
        .map(|letter| u8::try_from(u32::from(letter)).unwrap())
        .collect()
}

fn with_fields(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
}

fn framing(text: &str, for_head: bool) -> Result<Option<(AnswerFraming, bool)>, AnswerFault> {
    let head = parse_answer(&bytes_of(text), for_head)?;
    Ok(head.map(|head| (head.framing, head.keep_alive)))
}

#[test]
fn status_lines_are_accepted_or_refused_by_the_grammar() {
    for good in [
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200 ",
        "HTTP/1.1 200",
        "HTTP/1.0 404 Not\tFound \u{e9}",
        "HTTP/1.1 599 x",
        "HTTP/1.2 200 OK",
    ] {
        assert!(
            framing(&format!("{good}\r\n\r\n"), false)
                .unwrap()
                .is_some(),
            "{good:?}"
        );
    }
    for bad in [
        "HTTP/2.0 200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 600 OK",
        "HTTP/1.1  200 OK",
        "http/1.1 200 OK",
        "HTTP/1.1 2x0 OK",
        "HTTP/1.1 -20 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1 200\tOK",
        "HTTP/1.1 200 a\u{0}b",
        "HTTP/1.1 200 OK\r",
        "HTTP/1.1 200 O\nK",
        "HTTP/1.1 101 Switching",
        "ICY 200 OK",
        "\r\n",
        "GET / HTTP/1.1",
        "HTTP/1.1 200\r\r\n",
        " HTTP/1.1 200 OK",
    ] {
        let found = framing(&format!("{bad}\r\n\r\n"), false);
        assert_eq!(found, Err(AnswerFault::Unreadable), "{bad:?}");
    }
    let endless = format!("HTTP/1.1 200 {}", "a".repeat(9_000));
    assert_eq!(framing(&endless, false), Err(AnswerFault::TooLarge));
}

#[test]
fn the_framing_of_an_answer_is_certain_or_a_fault() {
    use AnswerFraming::{Chunked, Length, None, UntilClose};
    let rows = [
        ("", Ok((UntilClose, false))),
        ("Content-Length: 5\r\n", Ok((Length(5), true))),
        ("Content-Length: 0\r\n", Ok((Length(0), true))),
        (
            "Content-Length: 5\r\nConnection: close\r\n",
            Ok((Length(5), false)),
        ),
        (
            "Connection: x\r\nConnection: Close\r\nContent-Length: 5\r\n",
            Ok((Length(5), false)),
        ),
        ("Transfer-Encoding: Chunked\r\n", Ok((Chunked, true))),
        ("Connection: keep-alive\r\n", Ok((UntilClose, false))),
        (
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            Err(AnswerFault::Unreadable),
        ),
        ("Content-Length: 5, 5\r\n", Err(AnswerFault::Unreadable)),
        ("Content-Length: +5\r\n", Err(AnswerFault::Unreadable)),
        ("Content-Length:\r\n", Err(AnswerFault::Unreadable)),
        (
            "Content-Length: 18446744073709551616\r\n",
            Err(AnswerFault::Unreadable),
        ),
        ("Transfer-Encoding: gzip\r\n", Err(AnswerFault::Unreadable)),
        (
            "Transfer-Encoding: gzip, chunked\r\n",
            Err(AnswerFault::Unreadable),
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            Err(AnswerFault::Unreadable),
        ),
        ("X : a\r\n", Err(AnswerFault::Unreadable)),
        ("X: a\r\n b\r\n", Err(AnswerFault::Unreadable)),
        ("X: a\n", Err(AnswerFault::Unreadable)),
        ("X: \u{0}\r\n", Err(AnswerFault::Unreadable)),
    ];
    for (fields, expected) in rows {
        assert_eq!(
            framing(&with_fields(fields), false),
            expected.map(Some),
            "{fields:?}"
        );
    }
    let sized = with_fields("Content-Length: 5\r\n");
    assert_eq!(
        framing(&sized, true),
        Ok(Some((None, true))),
        "the answer to HEAD has no body"
    );
    for status in ["204", "304"] {
        let text = format!("HTTP/1.1 {status} x\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(framing(&text, false), Ok(Some((None, true))), "{status}");
    }
    let old = "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n";
    assert_eq!(
        framing(&format!("{old}\r\n"), false),
        Ok(Some((Length(5), false)))
    );
    let kept = format!("{old}Connection: keep-alive\r\n\r\n");
    assert_eq!(framing(&kept, false), Ok(Some((Length(5), true))));
    let old_coded = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(framing(old_coded, false), Err(AnswerFault::Unreadable));
}

#[test]
fn interim_answers_are_skipped_but_not_without_end() {
    let interim = "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n";
    let last = with_fields("Content-Length: 1\r\n");
    let most = format!("{}{last}a", interim.repeat(INTERIM_ANSWERS_MAX));
    let head = parse_answer(most.as_bytes(), false).unwrap().unwrap();
    assert_eq!((head.status, head.head_bytes), (200, most.len() - 1));
    let more = interim.repeat(INTERIM_ANSWERS_MAX + 1);
    assert_eq!(framing(&more, false), Err(AnswerFault::Unreadable));
    assert_eq!(framing(interim, false), Ok(None));
}

#[test]
fn retry_after_is_read_in_seconds_or_as_a_date() {
    for (value, expected) in [
        ("5", Some(RetryAfter::Seconds(5))),
        ("99999999999", Some(RetryAfter::Seconds(u32::MAX))),
        ("-1", None),
        (
            "Sun, 06 Nov 1994 08:49:37 GMT",
            Some(RetryAfter::At(UnixMillis(784_111_777_000))),
        ),
    ] {
        let text = with_fields(&format!("Retry-After: {value}\r\n"));
        let head = parse_answer(text.as_bytes(), false).unwrap().unwrap();
        assert_eq!(head.retry_after, expected, "{value:?}");
    }
}

/// Reads `text` cut into pieces of `size` bytes, then closes: the status, the body and what is
/// left behind it.
fn read(text: &[u8], size: usize) -> Result<(u16, Vec<u8>, usize), AnswerFault> {
    let mut reader = AnswerReader::new(false, LIMIT);
    let mut buffer = Vec::new();
    let mut pieces = text.chunks(size);
    let answer = loop {
        match pieces.next() {
            Some(piece) => buffer.extend_from_slice(piece),
            None => break reader.close(&buffer)?,
        }
        if let Some(answer) = reader.advance(&mut buffer)? {
            break answer;
        }
    };
    let unread: usize = pieces.map(<[u8]>::len).sum();
    let left = buffer.len() - answer.body.end + unread;
    Ok((answer.head.status, buffer[answer.body].to_vec(), left))
}

#[test]
fn a_whole_answer_is_read_to_its_end_and_no_further() {
    let rows = [
        ("Content-Length: 2\r\n", "ok", Ok(("ok", 0))),
        ("Content-Length: 2\r\n", "okay", Ok(("ok", 2))),
        ("Content-Length: 0\r\n", "", Ok(("", 0))),
        ("Content-Length: 3\r\n", "ok", Err(AnswerFault::Cut)),
        ("Content-Length: 65\r\n", "", Err(AnswerFault::TooLarge)),
        ("", "until the end", Ok(("until the end", 0))),
        (
            "Transfer-Encoding: chunked\r\n",
            "1\r\no\r\n1\r\nk\r\n0\r\n\r\nHTTP",
            Ok(("ok", 4)),
        ),
        (
            "Transfer-Encoding: chunked\r\n",
            "2\r\nok\r\n",
            Err(AnswerFault::Cut),
        ),
        (
            "Transfer-Encoding: chunked\r\n",
            "0\r\n",
            Err(AnswerFault::Cut),
        ),
        (
            "Transfer-Encoding: chunked\r\n",
            "\r\n",
            Err(AnswerFault::Unreadable),
        ),
        (
            "Transfer-Encoding: chunked\r\n",
            "41\r\n",
            Err(AnswerFault::TooLarge),
        ),
    ];
    for (fields, body, expected) in rows {
        let text = with_fields(fields) + body;
        for size in [1, 7, usize::MAX] {
            let found = read(text.as_bytes(), size);
            let expected = expected.map(|(body, left)| (200, body.as_bytes().to_vec(), left));
            assert_eq!(found, expected, "{fields:?} {body:?} in pieces of {size}");
        }
    }
    let endless = with_fields("") + &"a".repeat(LIMIT + 1);
    assert_eq!(read(endless.as_bytes(), 10), Err(AnswerFault::TooLarge));
    assert_eq!(
        read(b"HTTP/1.1 200 OK\r\n", 5),
        Err(AnswerFault::Cut),
        "cut inside the head"
    );
    assert_eq!(
        AnswerReader::new(false, LIMIT).close(b""),
        Err(AnswerFault::Cut)
    );
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_answer(&bytes, false);
        let _ = read(&bytes, 16);
    }

    #[test]
    fn the_outcome_does_not_depend_on_how_the_input_was_cut(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 x\r\n\r\n", "Content-Length: 3\r\n", "\r\n", "\n",
            "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n", "Connection: close\r\n",
            "X : a\r\n", "HTTP/1.0 204\r\n", "abc", "\u{e9}", "Retry-After: 5\r\n", "\r", "X: ",
        ]), 0..8),
    ) {
        let bytes = bytes_of(&format!("HTTP/1.1 200 OK\r\n{}", pieces.concat()));
        let whole = parse_answer(&bytes, false);
        for cut in 0..bytes.len() {
            let part = parse_answer(&bytes[..cut], false);
            prop_assert!(part == Ok(None) || part == whole, "{}: {:?}, {:?}", cut, part, whole);
        }
        prop_assert_eq!(read(&bytes, 1), read(&bytes, usize::MAX));
        prop_assert_eq!(read(&bytes, 5), read(&bytes, usize::MAX));
    }
}
