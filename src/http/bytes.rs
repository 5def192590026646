//! The byte classes of RFC 9110 and RFC 3986 and the few list helpers that every parser of this
//! folder shares. Tables are built at compile time, so a class costs one load per byte.

use crate::words::{self, Word};

/// One bit for each class that a byte may belong to.
const TOKEN: u8 = 1;
const FIELD: u8 = 2;
const PATH: u8 = 4;
const QUERY: u8 = 8;
const HOST: u8 = 16;

const CLASSES: [u8; 256] = classes();

#[allow(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which refuses a bad index"
)]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut value = 0_usize;
    while value < 256 {
        #[allow(clippy::cast_possible_truncation, reason = "value < 256")]
        let byte = value as u8;
        let unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        let sub_delimiter = matches!(
            byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        );
        let mut bits = 0;
        // RFC 9110 section 5.6.2.
        if byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            )
        {
            bits |= TOKEN;
        }
        // RFC 9110 section 5.5: visible, obs-text, space and tab.
        if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
            bits |= FIELD;
        }
        // RFC 3986 section 3.3 and 3.4; the percent sign is judged with its two digits.
        if unreserved || sub_delimiter || matches!(byte, b':' | b'@' | b'/') {
            bits |= PATH | QUERY;
        }
        if byte == b'?' {
            bits |= QUERY;
        }
        // RFC 3986 section 3.2.2 less the comma, which is how a proxy joins two Host lines.
        if (unreserved || sub_delimiter) && byte != b',' {
            bits |= HOST;
        }
        table[value] = bits;
        value += 1;
    }
    table
}

fn has(byte: u8, class: u8) -> bool {
    CLASSES
        .get(usize::from(byte))
        .is_some_and(|bits| bits & class != 0)
}

/// tchar: the bytes of a method or a field name.
pub(super) fn is_token(byte: u8) -> bool {
    has(byte, TOKEN)
}

/// A byte that a field value may hold: no control character but the tab.
pub(super) fn is_field(byte: u8) -> bool {
    has(byte, FIELD)
}

/// Cuts `text` before the first byte that is no token.
pub(super) fn split_name(text: &[u8]) -> (&[u8], &[u8]) {
    words::split(text, Word::no_letter_or_dash, is_token)
}

/// Cuts `text` before the first byte that no field value may hold.
pub(super) fn split_value(text: &[u8]) -> (&[u8], &[u8]) {
    let unusual = |word: Word| word.below(b' ').or(word.equal(0x7f));
    words::split(text, unusual, is_field)
}

/// Cuts `text` before the first byte that is not visible ASCII.
pub(super) fn split_visible(text: &[u8]) -> (&[u8], &[u8]) {
    let unusual = |word: Word| {
        word.below(b'!')
            .or(word.equal(0x7f))
            .or(word.beyond_ascii())
    };
    words::split(text, unusual, |byte| byte.is_ascii_graphic())
}

/// Whether `text`, all bytes of a field, is `lower`, which is letters, digits and marks below `@`.
/// One bit makes capitals small and changes no other byte that `lower` may have.
pub(super) fn is_word<const N: usize>(text: &[u8], lower: &[u8; N]) -> bool {
    const SMALL: u64 = 0x2020_2020_2020_2020;
    let Ok(text) = <&[u8; N]>::try_from(text) else {
        return false;
    };
    let differs = |ours: &[u8; 8], theirs: &[u8; 8]| {
        (u64::from_le_bytes(*ours) | SMALL) ^ u64::from_le_bytes(*theirs)
    };
    match (text.last_chunk(), lower.last_chunk()) {
        (Some(last), Some(lower_last)) => {
            let words = text.as_chunks().0.iter().zip(lower.as_chunks().0);
            let difference = words.fold(differs(last, lower_last), |all, (ours, theirs)| {
                all | differs(ours, theirs)
            });
            difference == 0
        }
        _ => text.eq_ignore_ascii_case(lower),
    }
}

/// What follows the path that `text` begins with: pchar, slashes and whole percent triples.
pub(super) fn after_path(text: &[u8]) -> &[u8] {
    after_encoded(text, PATH)
}

/// Whether `text` is a query.
pub(super) fn is_query(text: &[u8]) -> bool {
    after_encoded(text, QUERY).is_empty()
}

/// What follows the registered name or IPv4 address, without a comma, that `text` begins with.
pub(super) fn after_registered_name(text: &[u8]) -> &[u8] {
    after_encoded(text, HOST)
}

/// Whether `text` is non-empty and all token.
pub(super) fn is_token_text(text: &[u8]) -> bool {
    !text.is_empty() && split_name(text).1.is_empty()
}

/// Whether every byte may stand in a field value.
pub(super) fn is_field_text(text: &[u8]) -> bool {
    split_value(text).1.is_empty()
}

fn after_encoded(mut text: &[u8], class: u8) -> &[u8] {
    loop {
        let end = text.iter().position(|byte| !has(*byte, class));
        let (_, rest) = text.split_at(end.unwrap_or(text.len()));
        text = match rest {
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest
            }
            [..] => return rest,
        };
    }
}

/// `text` without spaces and tabs at both ends (OWS; `trim_ascii` would also take line ends).
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The elements of a comma separated list, trimmed; empty ones are kept for the caller to judge.
pub(super) fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(trim)
}

/// The number that `text`, 1*DIGIT, spells in decimal.
pub(super) fn decimal(text: &[u8]) -> Result<u64, NotDecimal> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(NotDecimal::Grammar);
    }
    text.iter().try_fold(0_u64, |number, digit| {
        let digit = u64::from(digit.wrapping_sub(b'0'));
        number
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(digit))
            .ok_or(NotDecimal::Overflow)
    })
}

/// Why a text is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotDecimal {
    /// Empty, or a byte that is no digit.
    Grammar,
    /// Beyond 64 bits.
    Overflow,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case_and_only_whole() {
        for name in [
            "Transfer-Encoding",
            "transfer-encoding",
            "TRANSFER-ENCODING",
        ] {
            assert!(is_word(name.as_bytes(), b"transfer-encoding"));
        }
        assert!(is_word(b"hOST", b"host") && is_word(b"X-P99-Peer-Secret", b"x-p99-peer-secret"));
        let name = b"content-length";
        for at in 0..name.len() {
            let mut other = *name;
            other[at] ^= 1;
            assert!(!is_word(&other, name), "{at}");
        }
        assert!(!is_word(b"content-lengths", name) && !is_word(b"content-lengt", name));
    }
}
