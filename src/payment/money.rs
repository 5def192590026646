//! Money: integer cents from digit to digit (I7). No float ever holds an amount, and whatever is
//! not exact cents is refused, never rounded.

use super::{PerProcessor, Processor};
use crate::limits;

/// Money in integer cents (I7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cents(pub u64);

/// Why a JSON number is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmountFault {
    /// Not a number in JSON's grammar (RFC 8259, section 6).
    NotANumber,
    /// Zero or negative.
    NotPositive,
    /// A part of a cent, such as 0.001.
    FractionOfACent,
    /// More than [`limits::AMOUNT_CENTS_MAX`].
    TooLarge,
}

impl Cents {
    /// Reads the digits of a JSON number exactly: `19.9`, `1.99e1` and `1990e-2` are all 1990
    /// cents. Linear in the length of `digits`, whatever its exponent claims.
    ///
    /// # Errors
    /// The rule that the number breaks.
    pub fn from_json_number(digits: &str) -> Result<Self, AmountFault> {
        if let Some(cents) = Self::from_plain_number(digits.as_bytes()) {
            return Ok(cents);
        }
        let number = JsonNumber::split(digits).ok_or(AmountFault::NotANumber)?;
        // Digits without the point; their last one counts 10^scale cents.
        let significant = || number.whole.bytes().chain(number.fraction.bytes());
        if significant().all(|digit| digit == b'0') || number.negative {
            return Err(AmountFault::NotPositive);
        }
        let places = i64::try_from(number.fraction.len()).map_err(|_| AmountFault::TooLarge)?;
        let scale = number.exponent.saturating_sub(places).saturating_add(2);
        let digit_count = number.whole.len().saturating_add(number.fraction.len());
        // Digits behind the cents must all be zero.
        let behind = usize::try_from(scale.saturating_neg().max(0)).unwrap_or(usize::MAX);
        let kept = digit_count.saturating_sub(behind);
        if significant().skip(kept).any(|digit| digit != b'0') {
            return Err(AmountFault::FractionOfACent);
        }
        let mut cents: u64 = 0;
        let trailing_zeros = usize::try_from(scale.max(0)).unwrap_or(usize::MAX);
        for digit in significant()
            .take(kept)
            .chain(std::iter::repeat_n(b'0', trailing_zeros))
        {
            cents = cents
                .checked_mul(10)
                .and_then(|cents| cents.checked_add(u64::from(digit.wrapping_sub(b'0'))))
                .filter(|cents| *cents <= limits::AMOUNT_CENTS_MAX)
                .ok_or(AmountFault::TooLarge)?;
        }
        Ok(Self(cents))
    }

    /// `19`, `19.9` or `19.90` as nearly all clients write amounts; none for everything else.
    fn from_plain_number(digits: &[u8]) -> Option<Self> {
        let (whole, [tens, ones]) = match digits {
            [whole @ .., b'.', tens, ones] => (whole, [*tens, *ones]),
            [whole @ .., b'.', tens] => (whole, [*tens, b'0']),
            whole => (whole, [b'0', b'0']),
        };
        // At least 1.00, and few enough digits for 64 bits.
        if !matches!(whole.first(), Some(b'1'..=b'9')) || whole.len() > 10 {
            return None;
        }
        let mut cents: u64 = 0;
        for digit in whole.iter().chain(&[tens, ones]) {
            if !digit.is_ascii_digit() {
                return None;
            }
            cents = cents * 10 + u64::from(*digit - b'0');
        }
        (cents <= limits::AMOUNT_CENTS_MAX).then_some(Self(cents))
    }

    /// Appends the amount as a JSON number with exactly two decimals: `19.90`.
    pub fn write(self, out: &mut Vec<u8>) {
        write_cents(u128::from(self.0), out);
    }
}

/// Appends a sum of cents as a JSON number with exactly two decimals.
pub fn write_cents(cents: u128, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    out.extend_from_slice(buffer.format(cents / 100).as_bytes());
    out.push(b'.');
    let rest = u8::try_from(cents % 100).unwrap_or(0);
    out.extend_from_slice(&[b'0' + rest / 10, b'0' + rest % 10]);
}

impl PerProcessor<Totals> {
    /// Whether a summary names `processor` even when it has charged nothing: the first two, which
    /// every reader of a summary knows.
    #[must_use]
    pub fn is_always_shown(&self, processor: Processor) -> bool {
        processor <= Processor::FALLBACK
    }

    /// What a summary names, cheapest first.
    pub fn shown(&self) -> impl Iterator<Item = (Processor, Totals)> {
        let all = Processor::ALL.into_iter().zip(self.0);
        all.filter(|(one, totals)| totals.count > 0 || self.is_always_shown(*one))
    }
}

/// The parts of a number as RFC 8259, section 6 has them.
struct JsonNumber<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    /// Saturated: beyond ±10^9 the amount is out of range or zero anyway.
    exponent: i64,
}

impl<'a> JsonNumber<'a> {
    fn split(text: &'a str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Self::exponent(exponent)?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || leading_zero || !digits(whole) || !digits(fraction) {
            return None;
        }
        Some(Self {
            negative,
            whole,
            fraction,
            exponent,
        })
    }

    fn exponent(text: &str) -> Option<i64> {
        let (sign, digits) = match text.as_bytes().first()? {
            b'-' => (-1, text.get(1..)?),
            b'+' => (1, text.get(1..)?),
            _ => (1, text),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let value = digits.bytes().fold(0_i64, |value, digit| {
            value
                .saturating_mul(10)
                .saturating_add(i64::from(digit - b'0'))
                .min(1_000_000_000)
        });
        Some(sign * value)
    }
}

/// Count and sum of charged payments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many payments.
    pub count: u64,
    /// Their sum in cents.
    pub cents: u128,
}

impl Totals {
    /// Adds another count and sum.
    pub fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.cents = self.cents.saturating_add(other.cents);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_exponent_of_zero_changes_nothing(digits in "[0-9]{1,12}[.]?[0-9]{0,3}") {
            let long = format!("{digits}e0");
            prop_assert_eq!(Cents::from_json_number(&digits), Cents::from_json_number(&long));
        }
    }

    #[test]
    fn amounts_are_read_digit_by_digit() {
        let rows: &[(&str, Result<u64, AmountFault>)] = &[
            ("19.90", Ok(1990)),
            ("19.9", Ok(1990)),
            ("20", Ok(2000)),
            ("0.01", Ok(1)),
            ("1.99e1", Ok(1990)),
            ("1990E-2", Ok(1990)),
            ("19.900000", Ok(1990)),
            ("0.0000000001e10", Ok(100)),
            ("9999999999.99", Ok(999_999_999_999)),
            ("10000000000", Err(AmountFault::TooLarge)),
            ("1e400", Err(AmountFault::TooLarge)),
            ("1e999999999999999999999", Err(AmountFault::TooLarge)),
            ("1e-400", Err(AmountFault::FractionOfACent)),
            ("0.001", Err(AmountFault::FractionOfACent)),
            ("19.901", Err(AmountFault::FractionOfACent)),
            ("0", Err(AmountFault::NotPositive)),
            ("0.00", Err(AmountFault::NotPositive)),
            ("0e999999999", Err(AmountFault::NotPositive)),
            ("-19.90", Err(AmountFault::NotPositive)),
            ("", Err(AmountFault::NotANumber)),
            ("-", Err(AmountFault::NotANumber)),
            ("1.", Err(AmountFault::NotANumber)),
            (".5", Err(AmountFault::NotANumber)),
            ("01", Err(AmountFault::NotANumber)),
            ("1e", Err(AmountFault::NotANumber)),
            ("1e+", Err(AmountFault::NotANumber)),
            ("+1", Err(AmountFault::NotANumber)),
            ("1_000", Err(AmountFault::NotANumber)),
            ("0x10", Err(AmountFault::NotANumber)),
            ("NaN", Err(AmountFault::NotANumber)),
        ];
        for (text, expected) in rows {
            assert_eq!(
                Cents::from_json_number(text).map(|cents| cents.0),
                *expected,
                "{text}"
            );
        }
    }

    #[test]
    fn amounts_are_written_with_two_decimals() {
        for (cents, text) in [(1990, "19.90"), (1, "0.01"), (10, "0.10"), (100, "1.00")] {
            let mut out = Vec::new();
            Cents(cents).write(&mut out);
            assert_eq!(out, text.as_bytes());
        }
    }
}
