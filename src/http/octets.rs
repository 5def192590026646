//! The byte classes of RFC 9110 and RFC 3986 and the few list helpers that every parser of this
//! folder shares. Tables are built at compile time, so a class costs one load per byte.

/// One bit for each class that an byte may belong to.
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
    let mut octet = 0_usize;
    while octet < 256 {
        #[allow(clippy::cast_possible_truncation, reason = "octet < 256")]
        let byte = octet as u8;
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
        table[octet] = bits;
        octet += 1;
    }
    table
}

fn has(octet: u8, class: u8) -> bool {
    CLASSES
        .get(usize::from(octet))
        .is_some_and(|bits| bits & class != 0)
}

/// tchar: the bytes of a method or a field name.
pub(super) fn is_token(octet: u8) -> bool {
    has(octet, TOKEN)
}

/// An byte that a field value may hold: no control character but the tab.
pub(super) fn is_field(octet: u8) -> bool {
    has(octet, FIELD)
}

/// Whether `text` is a path: pchar, slashes and whole percent triples.
pub(super) fn is_path(text: &[u8]) -> bool {
    is_encoded(text, PATH)
}

/// Whether `text` is a query.
pub(super) fn is_query(text: &[u8]) -> bool {
    is_encoded(text, QUERY)
}

/// Whether `text` is a registered name or an IPv4 address, without a comma.
pub(super) fn is_registered_name(text: &[u8]) -> bool {
    is_encoded(text, HOST)
}

/// Whether `text` is non-empty and all token.
pub(super) fn is_token_text(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token)
}

/// Whether every byte may stand in a field value.
pub(super) fn is_field_text(text: &[u8]) -> bool {
    text.iter().copied().all(is_field)
}

fn is_encoded(mut text: &[u8], class: u8) -> bool {
    loop {
        text = match text {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest
            }
            [octet, rest @ ..] if has(*octet, class) => rest,
            [_, ..] => return false,
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
    list.split(|octet| *octet == b',').map(trim)
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
    /// Empty, or an byte that is no digit.
    Grammar,
    /// Beyond 64 bits.
    Overflow,
}
