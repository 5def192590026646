//! One row per rule of the grammar, then what must hold for every body and every cut.

use crate::http::chunked::CHUNK_EXTENSION_BYTES_MAX;
use crate::http::chunked::TRAILER_BYTES_MAX;
use proptest::prelude::*;

use super::*;

const LIMIT: u64 = 64;

type BodyAndRest = (Vec<u8>, Vec<u8>);

/// Decodes `coded`, given in pieces of these sizes (the last one repeats), to the decoded bytes
/// and what follows the body; `None` for a body that is not whole.
fn decode(coded: &[u8], sizes: &[usize]) -> Result<Option<BodyAndRest>, ChunkFault> {
    let mut decoder = ChunkedDecoder::new(LIMIT);
    let (mut body, mut at) = (Vec::new(), 0);
    let mut sizes = sizes
        .iter()
        .copied()
        .chain(std::iter::repeat(*sizes.last().unwrap_or(&1)));
    while at < coded.len() {
        let end = (at + sizes.next().unwrap().max(1)).min(coded.len());
        let mut piece = coded[at..end].to_vec();
        let decoded = decoder.decode(&mut piece)?;
        body.extend_from_slice(&piece[..decoded.written]);
        at += decoded.consumed;
        if decoded.is_done {
            return Ok(Some((body, coded[at..].to_vec())));
        }
        assert_eq!(at, end, "all is consumed before the end");
    }
    Ok(None)
}

fn bytes_of(text: &str) -> Vec<u8> {
    text.chars()
        .map(|letter| u8::try_from(u32::from(letter)).unwrap())
        .collect()
}

/// The decoded text, `…` for a body that is not whole, else the fault.
fn verdict(coded: &str) -> String {
    let whole = decode(&bytes_of(coded), &[usize::MAX]);
    assert_eq!(
        whole,
        decode(&bytes_of(coded), &[1]),
        "byte by byte: {coded:?}"
    );
    match whole {
        Ok(Some((body, _))) => String::from_utf8_lossy(&body).into_owned(),
        Ok(None) => "…".into(),
        Err(fault) => format!("{fault:?}"),
    }
}

#[test]
fn bodies_are_decoded_or_refused_by_the_grammar() {
    let rows = [
        ("0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc"),
        ("a\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("0000000000000005\r\nhello\r\n000\r\n\r\n", "hello"),
        ("00000000000000005\r\nhello\r\n0\r\n\r\n", "Malformed"),
        ("5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
        ("40\r\n", "…"),
        ("41\r\n", "TooLarge"),
        (
            "20\r\n0123456789abcdef0123456789abcdef\r\n21\r\n",
            "TooLarge",
        ),
        ("FFFFFFFF\r\n", "TooLarge"),
        ("FFFFFFFFFFFFFFFF\r\n", "TooLarge"),
        ("FFFFFFFFFFFFFFFE\r\n", "TooLarge"),
        ("8000000000000000\r\n", "TooLarge"),
        ("10000000000000005\r\nhello\r\n0\r\n\r\n", "Malformed"),
        ("FFFFFFFFFFFFFFFFF\r\n", "Malformed"),
        ("\r\nhello\r\n0\r\n\r\n", "Malformed"),
        (";a\r\nhello\r\n0\r\n\r\n", "Malformed"),
        (" 5\r\nhello\r\n0\r\n\r\n", "Malformed"),
        ("5 \r\nhello\r\n0\r\n\r\n", "Malformed"),
        ("5\t\r\nhello\r\n0\r\n\r\n", "Malformed"),
        ("+5\r\nhello\r\n0\r\n\r\n", "Malformed"),
        ("-1\r\n", "Malformed"),
        ("-0\r\n\r\n", "Malformed"),
        ("0x5\r\nhello\r\n0\r\n\r\n", "Malformed"),
        ("5h\r\nhello\r\n0\r\n\r\n", "Malformed"),
        ("5g\r\nhello\r\n0\r\n\r\n", "Malformed"),
        ("5,5\r\nhello\r\n0\r\n\r\n", "Malformed"),
        ("5_0\r\n", "Malformed"),
        ("5.0\r\n", "Malformed"),
        ("5 5\r\n", "Malformed"),
        ("\u{b}5\r\n", "Malformed"),
        ("5\u{b}\r\n", "Malformed"),
        ("5\u{0}\r\n", "Malformed"),
        ("\u{ff}\r\n", "Malformed"),
        ("\u{b2}\r\n", "Malformed"),
        ("5\nhello\r\n0\r\n\r\n", "Malformed"),
        ("5\rhello\r\n0\r\n\r\n", "Malformed"),
        ("5\r\r\nhello\r\n0\r\n\r\n", "Malformed"),
        ("5\r\nhello0\r\n\r\n", "Malformed"),
        ("5\r\nhello\n0\r\n\r\n", "Malformed"),
        ("5\r\nhello\r0\r\n\r\n", "Malformed"),
        ("5\r\nhello\r\r\n0\r\n\r\n", "Malformed"),
        ("5\r\nhelloXX0\r\n\r\n", "Malformed"),
        ("5\r\nhello!\r\n0\r\n\r\n", "Malformed"),
        ("5\r\nhell\r\n0\r\n\r\n", "Malformed"),
        ("5\r\nhello\r\n\r\n0\r\n\r\n", "Malformed"),
        ("5\r\nhello\r\n", "…"),
        ("5\r\nhel", "…"),
        ("5\r\nhello\r\n0\r\n", "…"),
        ("5\r\nhello\r\n0\r\n\r", "…"),
        ("", "…"),
        ("0\n\n", "Malformed"),
        ("0\r\n\n", "Malformed"),
        ("0\r\n\rX", "Malformed"),
    ];
    for (coded, expected) in rows {
        assert_eq!(verdict(coded), expected, "{coded:?}");
    }
}

#[test]
fn extensions_are_checked_and_dropped() {
    let good = [
        ";a",
        ";a=b",
        ";a=\"b\"",
        ";a=\"b;\\\"c \u{e9}\t\"",
        ";a;b=c;d",
        " ; a = b",
        "\t;\ta\t=\tb",
        ";a=\"\"",
        ";a=\"b\" ;c",
        ";a ;b",
    ];
    for extension in good {
        let coded = format!("5{extension}\r\nhello\r\n0{extension}\r\n\r\n");
        assert_eq!(verdict(&coded), "hello", "{extension:?}");
    }
    let bad = [
        ";",
        ";;a",
        ";=b",
        ";a=",
        ";a= ",
        ";[=x",
        ";a=b c",
        ";a b",
        ";a=\"b",
        ";a=\"b\"c",
        ";a=(b",
        ";a\n",
        ";a\rb",
        ";a\u{0}",
        ";a=\u{0}",
        ";a=\"\u{0}\"",
        ";a=\"\n\"",
        ";a=\"\\\n\"",
        ";a ",
        ";a=b ",
        ";a=\"b\" ",
        ";\u{e9}",
        ";a=\u{e9}",
        ";a=\"\\\r\n",
    ];
    for extension in bad {
        let coded = format!("5{extension}\r\nhello\r\n0\r\n\r\n");
        assert_eq!(verdict(&coded), "Malformed", "{extension:?}");
    }
    let full = "a".repeat(CHUNK_EXTENSION_BYTES_MAX - 1);
    assert_eq!(
        verdict(&format!("0;{full}\r\n\r\n")),
        "",
        "the CR counts, the semicolon does not"
    );
    assert_eq!(verdict(&format!("0;{full}a\r\n\r\n")), "Malformed");
    let some = "a".repeat(400);
    let many = format!("1;{some}\r\nx\r\n").repeat(3);
    assert_eq!(
        verdict(&many),
        "Malformed",
        "the bound is for all extensions of a body"
    );
    let spaces = " ".repeat(CHUNK_EXTENSION_BYTES_MAX);
    assert_eq!(
        verdict(&format!("0{spaces} ;a\r\n\r\n")),
        "Malformed",
        "space counts too"
    );
}

#[test]
fn trailers_are_checked_bounded_and_dropped() {
    for trailers in [
        "X: a\r\n",
        "X:\r\nY: \u{e9}\t\r\n",
        "Content-Length: 5\r\nHost: b\r\n",
    ] {
        assert_eq!(verdict(&format!("0\r\n{trailers}\r\n")), "", "{trailers:?}");
    }
    for trailers in [
        "XX\r\n",
        "X : a\r\n",
        " X: a\r\n",
        ": a\r\n",
        "X: a\r\n b\r\n",
        "X: a\n",
        "X: a\rb\r\n",
        "X: \u{0}\r\n",
        "X: \u{7f}\r\n",
        "X\u{b}: a\r\n",
        "GET / HTTP/1.1\r\n",
    ] {
        assert_eq!(
            verdict(&format!("0\r\n{trailers}\r\n")),
            "Malformed",
            "{trailers:?}"
        );
    }
    let long = format!("0\r\nX: {}\r\n\r\n", "t".repeat(TRAILER_BYTES_MAX));
    assert_eq!(verdict(&long), "TrailersTooLarge");
}

#[test]
fn what_follows_the_body_is_left_alone() {
    let coded = b"3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n";
    let (body, rest) = decode(coded, &[usize::MAX]).unwrap().unwrap();
    assert_eq!(
        (&body[..], &rest[..]),
        (&b"abc"[..], &b"GET / HTTP/1.1\r\n"[..])
    );
}

proptest! {
    #[test]
    fn a_coded_body_is_decoded_to_itself_however_it_is_cut(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..9), 0..8),
        sizes in prop::collection::vec(1_usize..12, 1..8),
    ) {
        let mut coded = Vec::new();
        for chunk in &chunks {
            coded.extend_from_slice(format!("{:X};x=\"y\"\r\n", chunk.len()).as_bytes());
            coded.extend_from_slice(chunk);
            coded.extend_from_slice(b"\r\n");
        }
        coded.extend_from_slice(b"0\r\nX: y\r\n\r\nrest");
        let expected = (chunks.concat(), b"rest".to_vec());
        prop_assert_eq!(decode(&coded, &sizes), Ok(Some(expected)));
    }

    #[test]
    fn any_bytes_give_the_same_outcome_however_they_are_cut(
        coded in "[0-3a;= \"\\\\\r\n\t:X\u{0}\u{ff}]{0,40}|5\r\nhello\r\n0\r\n[X: a\r\n]{0,12}",
        sizes in prop::collection::vec(1_usize..6, 1..8),
    ) {
        let coded = bytes_of(&coded);
        prop_assert_eq!(decode(&coded, &sizes), decode(&coded, &[usize::MAX]));
    }
}
