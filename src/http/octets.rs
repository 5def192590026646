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

/// Eight bytes that are looked at in one go; the first is the lowest.
struct Word(u64);

impl Word {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;

    /// The bytes before the first that is a control character.
    fn plain(&self) -> usize {
        // A byte that borrows marks itself before it can disturb the bytes behind it.
        let below_space = self.0.wrapping_sub(Self::ONES * 0x20) & !self.0;
        let from_delete = self.0 ^ (Self::ONES * 0x7f);
        let is_delete = from_delete.wrapping_sub(Self::ONES) & !from_delete;
        Self::first(below_space | is_delete)
    }

    /// The bytes before the first that is neither a letter nor a dash.
    fn letters(&self) -> usize {
        // Seven bits each, so that no sum carries into the next byte.
        let low = self.0 & !Self::HIGHS;
        let small = low | (Self::ONES * 0x20);
        let from_a = small + Self::ONES * (0x80 - 0x61);
        let beyond_z = small + Self::ONES * (0x80 - 0x7b);
        let is_no_dash = (low ^ (Self::ONES * 0x2d)) + Self::ONES * 0x7f;
        Self::first((!from_a | beyond_z) & is_no_dash | self.0)
    }

    /// The bytes before the first that is marked at its highest bit; all where none is.
    fn first(marks: u64) -> usize {
        ((marks & Self::HIGHS).trailing_zeros() / 8) as usize
    }
}

/// Cuts `text` before the first byte that is no token.
pub(super) fn split_name(text: &[u8]) -> (&[u8], &[u8]) {
    split(text, Word::letters, is_token)
}

/// Cuts `text` before the first byte that no field value may hold.
pub(super) fn split_value(text: &[u8]) -> (&[u8], &[u8]) {
    split(text, Word::plain, is_field)
}

/// Cuts before the first byte that is not `allowed`. `usual` passes over bytes that certainly are.
fn split(
    text: &[u8],
    usual: impl Fn(&Word) -> usize,
    allowed: impl Fn(u8) -> bool,
) -> (&[u8], &[u8]) {
    let mut rest = text;
    loop {
        if let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
            let passed = usual(&Word(u64::from_le_bytes(*chunk)));
            if passed == 8 {
                rest = behind;
                continue;
            }
            rest = rest.get(passed..).unwrap_or_default();
        }
        match rest {
            [octet, behind @ ..] if allowed(*octet) => rest = behind,
            [..] => return text.split_at(text.len().saturating_sub(rest.len())),
        }
    }
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
            [octet, rest @ ..] if has(*octet, class) => rest,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest
            }
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
