//! Objects as nearly all clients send them: members that are strings without an escape or numbers
//! without an exponent. `object` tries this first and reads everything else with `serde_json`; what
//! is read here reads alike there. Never refuses anything.

use crate::words::{self, Word};

/// The JSON text of each member of `names`; `None` where `text` must be read in full.
pub(super) fn read_plain<'a, const N: usize>(
    text: &'a str,
    names: &[&str; N],
) -> Option<[Option<&'a str>; N]> {
    let mut values = [None; N];
    let mut rest = after_space(text.as_bytes()).strip_prefix(b"{")?;
    loop {
        let (name, behind) = string(after_space(rest))?;
        let value = after_space(after_space(behind).strip_prefix(b":")?);
        let behind = match value {
            [b'"', ..] => string(value)?.1,
            [..] => after_number(value)?,
        };
        let place = names.iter().position(|one| one.as_bytes() == name);
        if let Some(known) = place.and_then(|place| values.get_mut(place)) {
            let start = text.len().checked_sub(value.len())?;
            let end = text.len().checked_sub(behind.len())?;
            if known.replace(text.get(start..end)?).is_some() {
                return None;
            }
        }
        rest = match after_space(behind) {
            [b',', more @ ..] => more,
            [b'}', end @ ..] if after_space(end).is_empty() => return Some(values),
            [..] => return None,
        };
    }
}

fn after_space(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = text {
        text = rest;
    }
    text
}

/// What the string that `text` begins with holds, and what follows it.
fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let unusual = |word: Word| word.equal(b'"').or(word.equal(b'\\')).or(word.below(b' '));
    let is_inside = |byte| !matches!(byte, b'"' | b'\\' | ..b' ');
    let (inside, behind) = words::split(text.strip_prefix(b"\"")?, unusual, is_inside);
    Some((inside, behind.strip_prefix(b"\"")?))
}

/// What follows the number that `text` begins with.
fn after_number(text: &[u8]) -> Option<&[u8]> {
    let (behind, is_whole) = match text {
        [b'0', behind @ ..] => (behind, true),
        [..] => (
            after_digits(text),
            text.first().is_some_and(u8::is_ascii_digit),
        ),
    };
    match behind {
        _ if !is_whole => None,
        [b'.', digit, ..] if !digit.is_ascii_digit() => None,
        [b'.', fraction @ ..] => Some(after_digits(fraction)),
        [..] => Some(behind),
    }
}

fn after_digits(mut text: &[u8]) -> &[u8] {
    while let [b'0'..=b'9', rest @ ..] = text {
        text = rest;
    }
    text
}
