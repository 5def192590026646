//! The cutting of lines beside `httparse`, which is an independent reader of the same grammar. It
//! lets a bare LF end a line, so it is shown only what comes before the first one.

use crate::http::fields::HTTP_HEADERS_MAX;
use proptest::prelude::*;

use super::*;

type Lines = Vec<(Vec<u8>, Vec<u8>)>;

fn ours(section: &[u8]) -> (Result<Option<usize>, SectionFault>, Lines) {
    let mut lines = Lines::new();
    let end = read_section(section, 0, |name, value| {
        lines.push((name.to_vec(), value.to_vec()));
    });
    (end, lines)
}

fn theirs(section: &[u8]) -> (Result<Option<usize>, SectionFault>, Lines) {
    let is_bare = |at: &usize| section[*at] == b'\n' && (*at == 0 || section[at - 1] != b'\r');
    let bare = (0..section.len()).find(is_bare);
    let mut headers = [httparse::EMPTY_HEADER; HTTP_HEADERS_MAX];
    let read = httparse::parse_headers(&section[..bare.unwrap_or(section.len())], &mut headers);
    match read {
        Ok(httparse::Status::Complete((end, headers))) => {
            let lines = headers
                .iter()
                .map(|header| (header.name.as_bytes().to_vec(), header.value.to_vec()));
            (Ok(Some(end)), lines.collect())
        }
        Ok(httparse::Status::Partial) if bare.is_some() => {
            (Err(SectionFault::BareLineFeed), Lines::new())
        }
        Ok(httparse::Status::Partial) => (Ok(None), Lines::new()),
        Err(httparse::Error::TooManyHeaders) => (Err(SectionFault::TooMany), Lines::new()),
        Err(_) => (Err(SectionFault::Malformed), Lines::new()),
    }
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let usual = prop::sample::select(vec![
        "Content-Length",
        "X-Request-Id",
        "a1_long.name~of-a'field",
        ": ",
        ":",
        " \t ",
        "text/html; charset=utf-8, gzip",
        "caf\u{e9} \u{1f600}",
        "\r\n",
        "\r\n\r\n",
        "A: b\r\n",
    ]);
    prop_oneof![
        12 => usual.prop_map(|text| text.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => prop::sample::select(vec![0_u8, 9, 10, 13, 31, 32, 45, 58, 64, 91, 96, 123, 127, 128])
            .prop_map(|byte| vec![byte]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn lines_are_cut_as_another_reader_cuts_them(
        pieces in prop::collection::vec(piece(), 0..24),
        lines_before in prop_oneof![9 => Just(0_usize), 1 => 95_usize..102],
    ) {
        let section = [b"N: v\r\n".repeat(lines_before), pieces.concat()].concat();
        let (ours, lines) = ours(&section);
        let (theirs, their_lines) = theirs(&section);
        prop_assert_eq!(ours, theirs, "{:?}", section.escape_ascii().to_string());
        if matches!(ours, Ok(Some(_))) {
            prop_assert_eq!(lines, their_lines);
        }
    }
}

/// Each byte at each place of a word of eight, in a name and in a value.
#[test]
fn every_byte_is_judged_alike_wherever_it_comes() {
    for byte in 0..=u8::MAX {
        for before in 0..=9 {
            for text in ["Abcdefghijklmn: x", "A: bcdefghijklmnopq"] {
                let at = before + if text.starts_with("A:") { 3 } else { 1 };
                let mut section = text.as_bytes().to_vec();
                section.insert(at, byte);
                section.extend_from_slice(b"\r\n\r\n");
                let (ours, lines) = ours(&section);
                let (theirs, their_lines) = theirs(&section);
                assert_eq!(ours, theirs, "{}", section.escape_ascii());
                if matches!(ours, Ok(Some(_))) {
                    assert_eq!(lines, their_lines);
                }
            }
        }
    }
}
