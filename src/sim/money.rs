//! The simulated processor's own reading and writing of money: numbers of JSON to cents, rounded as
//! its database does, and cents to numbers. Text in, values out; `wire` calls it.
//!
//! It shares no code with p99's `payment::Cents` on purpose, only the type: a processor that read
//! with the proxy's reader could not notice that both are wrong. No float holds an amount (I7).

use crate::limits;
use crate::payment::Cents;

/// More digits than any amount has, and few enough for a `u64`.
const DIGITS_MAX: i64 = 18;

/// Reads the text of a JSON value, rounded half away from zero to cents. `None` for what is no
/// number, is negative or is above the largest amount.
pub(super) fn read_amount(value: &str) -> Option<Cents> {
    // The text is JSON already: what begins with a digit is a number.
    if !value.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (mantissa, exponent) = value.split_once(['e', 'E']).unwrap_or((value, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    if digits.is_empty() {
        return Some(Cents(0));
    }
    let beyond = if exponent.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    };
    // How many of the digits are whole cents.
    let behind = i64::try_from(fraction.len()).ok()?;
    let count = i64::try_from(digits.len())
        .ok()?
        .saturating_sub(behind)
        .saturating_add(2)
        .saturating_add(exponent.parse().unwrap_or(beyond));
    if count > DIGITS_MAX {
        return None;
    }
    let Ok(count) = usize::try_from(count) else {
        return Some(Cents(0));
    };
    let mut digits = digits.bytes().chain(std::iter::repeat(b'0'));
    let whole = digits.by_ref().take(count);
    let cents = whole.fold(0, |cents: u64, digit| cents * 10 + u64::from(digit - b'0'));
    let cents = cents + u64::from(digits.next() >= Some(b'5'));
    (cents <= limits::AMOUNT_CENTS_MAX).then_some(Cents(cents))
}

/// Appends cents as a number with two decimals.
pub(super) fn write_cents(cents: u128, out: &mut Vec<u8>) {
    write_decimal(cents, 2, out);
}

/// Appends `value` with `places` decimals, less the zeros at its end but for two decimals.
pub(super) fn write_decimal(value: u128, places: usize, out: &mut Vec<u8>) {
    let digits = format!("{value:0>width$}", width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let kept = fraction.trim_end_matches('0').len().max(2);
    out.extend_from_slice(whole.as_bytes());
    out.push(b'.');
    out.extend_from_slice(fraction.get(..kept).unwrap_or(fraction).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_rounded_to_cents_half_away_from_zero() {
        let rows = [
            ("19.90", Some(1990)),
            ("19.904", Some(1990)),
            ("19.905", Some(1991)),
            ("19.9049999999999999999999999999999999999", Some(1990)),
            ("0.004", Some(0)),
            ("0.005", Some(1)),
            ("5e-3", Some(1)),
            ("50e-4", Some(1)),
            ("1990e-2", Some(1990)),
            ("1.99E+1", Some(1990)),
            ("1.23456e2", Some(12346)),
            ("1e-400", Some(0)),
            ("1e-99999999999999999999999", Some(0)),
            ("0", Some(0)),
            ("0e99999999999999999999999", Some(0)),
            ("9999999999.99", Some(999_999_999_999)),
            ("9999999999.994", Some(999_999_999_999)),
            ("9999999999.995", None),
            ("1e30", None),
            ("1e99999999999999999999999", None),
            ("-1", None),
            ("-0", None),
            ("\"1\"", None),
            ("null", None),
            ("[1]", None),
        ];
        for (text, expected) in rows {
            assert_eq!(read_amount(text), expected.map(Cents), "{text}");
        }
    }

    #[test]
    fn sums_have_two_decimals() {
        for (cents, text) in [
            (0, "0.00"),
            (5, "0.05"),
            (1990, "19.90"),
            (10_000, "100.00"),
        ] {
            let mut out = Vec::new();
            write_cents(cents, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
