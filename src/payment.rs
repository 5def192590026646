//! The nouns of the payment story and the rules of money. Bytes come in through `wire`; decisions
//! about a payment are made in `flow`; here is only what a payment *is*.
//!
//! Keeps I2 (one upstream id per payment, whatever its spelling) and I7 (money is integer cents
//! from digit to digit; no float ever holds an amount).

use std::fmt;

use uuid::Uuid;

use crate::clock::UnixMillis;
use crate::limits;

/// The namespace in which correlationIds that are not UUIDs become UUIDv5 (RFC 9562, section
/// 5.5). It is the same on every core, instance and restart: changing it would let a known id be
/// charged again.
const NAMESPACE: Uuid = Uuid::from_u128(0x7039_3970_6179_4d65_9f70_6179_6d65_6e74);

/// The id as the client spelled it: 1 to 64 of `A-Z a-z 0-9 - . _ : ~`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CorrelationId {
    length: u8,
    bytes: [u8; limits::CORRELATION_ID_BYTES_MAX],
}

/// Why a text is no correlationId.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorrelationIdFault {
    /// Empty, or longer than 64 octets.
    Length,
    /// An octet outside the allowed set.
    Octet,
    /// Not a UUID although `CORRELATION_ID=uuid` demands one.
    NotUuid,
}

impl CorrelationId {
    /// Checks `text` against the rule above.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn try_new(text: &str) -> Result<Self, CorrelationIdFault> {
        let octets = text.as_bytes();
        if octets.is_empty() || octets.len() > limits::CORRELATION_ID_BYTES_MAX {
            return Err(CorrelationIdFault::Length);
        }
        let allowed = |octet: &u8| {
            octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b':' | b'~')
        };
        if !octets.iter().all(allowed) {
            return Err(CorrelationIdFault::Octet);
        }
        let mut bytes = [0; limits::CORRELATION_ID_BYTES_MAX];
        for (to, from) in bytes.iter_mut().zip(octets) {
            *to = *from;
        }
        let length = u8::try_from(octets.len()).map_err(|_| CorrelationIdFault::Length)?;
        Ok(Self { length, bytes })
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let octets = self
            .bytes
            .get(..usize::from(self.length))
            .unwrap_or_default();
        std::str::from_utf8(octets).unwrap_or_default()
    }

    /// The UUID that this text spells in the 8-4-4-4-12 form (RFC 9562, section 4), if it does.
    #[must_use]
    pub fn as_uuid(&self) -> Option<UpstreamId> {
        // Of the forms that the parser knows only the hyphenated one has 36 octets and no brace.
        if self.length != 36 {
            return None;
        }
        Uuid::try_parse(self.as_str())
            .ok()
            .map(|uuid| UpstreamId(uuid.as_u128()))
    }

    /// The id that goes upstream on every attempt (I2): the UUID itself, else its UUIDv5.
    #[must_use]
    pub fn upstream_id(&self) -> UpstreamId {
        self.as_uuid().unwrap_or_else(|| {
            UpstreamId(Uuid::new_v5(&NAMESPACE, self.as_str().as_bytes()).as_u128())
        })
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The 128-bit id that processors see. It is the key of claims, owner core, journal and ledger,
/// so two spellings of one UUID are one payment (I2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamId(pub u128);

impl UpstreamId {
    /// A well-mixed hash that is the same in every process and version: the journal outlives both.
    /// The finalizer is `MurmurHash3`'s fmix64 (Austin Appleby, public domain) over both halves.
    #[must_use]
    #[allow(
        clippy::as_conversions,
        reason = "the halves of the u128 are wanted, no more"
    )]
    pub fn hash(self) -> u64 {
        let mix = |mut word: u64| {
            word ^= word >> 33;
            word = word.wrapping_mul(0xff51_afd7_ed55_8ccd);
            word ^= word >> 33;
            word = word.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
            word ^ (word >> 33)
        };
        mix(mix(self.0 as u64).wrapping_add((self.0 >> 64) as u64))
    }

    /// The core that owns this id among `cores` (I1).
    #[must_use]
    pub fn owner(self, cores: CoreCount) -> CoreId {
        let index = self.hash() % u64::from(cores.0.max(1));
        CoreId(u16::try_from(index).unwrap_or(0))
    }

    /// The canonical text, lower case.
    #[must_use]
    pub fn write<'a>(&self, buffer: &'a mut [u8; 36]) -> &'a str {
        Uuid::from_u128(self.0).hyphenated().encode_lower(buffer)
    }
}

impl fmt::Display for UpstreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.write(&mut [0; 36]))
    }
}

impl fmt::Debug for UpstreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One worker core, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreId(pub u16);

impl CoreId {
    /// The core's place in a list of all cores.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// How many worker cores there are; at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreCount(pub u16);

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
        let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
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
        if digits.is_empty() || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
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

/// One of the two payment processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Processor {
    /// A: the cheap one, `default` in the API.
    Default,
    /// B: the dear one, `fallback` in the API.
    Fallback,
}

impl Processor {
    /// Both, in the order of every table.
    pub const ALL: [Self; 2] = [Self::Default, Self::Fallback];

    /// The one that this one is not.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Default => Self::Fallback,
            Self::Fallback => Self::Default,
        }
    }

    /// Its place in a list of both.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Default => 0,
            Self::Fallback => 1,
        }
    }

    /// Its name in the API, in logs and in metric labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Fallback => "fallback",
        }
    }
}

/// A pair with one value for each processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerProcessor<T>(pub [T; 2]);

impl<T> PerProcessor<T> {
    /// The value of `processor`.
    #[must_use]
    pub const fn get(&self, processor: Processor) -> &T {
        let [default, fallback] = &self.0;
        match processor {
            Processor::Default => default,
            Processor::Fallback => fallback,
        }
    }

    /// The value of `processor`, to change.
    pub const fn get_mut(&mut self, processor: Processor) -> &mut T {
        let [default, fallback] = &mut self.0;
        match processor {
            Processor::Default => default,
            Processor::Fallback => fallback,
        }
    }
}

/// One payment as the client asked for it, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The key everywhere inside p99 and upstream.
    pub id: UpstreamId,
    /// The client's own spelling, for answers and logs.
    pub correlation_id: CorrelationId,
    /// How much; more than zero.
    pub amount: Cents,
}

/// How one attempt ended (I3 judges payments by these).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No byte of it reached the socket.
    NotSent,
    /// The processor answered that it did not charge.
    Refused,
    /// 200, or 422 for an id that we sent.
    Applied,
    /// Bytes went out and no answer proves either.
    Unknown,
}

impl Outcome {
    /// All four, in the order of every table.
    pub const ALL: [Self; 4] = [Self::NotSent, Self::Refused, Self::Applied, Self::Unknown];

    /// Its name in logs and metric labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Refused => "refused",
            Self::Applied => "applied",
            Self::Unknown => "unknown",
        }
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

/// What `GET /payments/{id}` and a duplicate's answer say about a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// p99 holds it and will settle it.
    Pending,
    /// Charged.
    Processed,
    /// A processor refused it for good after it had been accepted.
    Refused,
}

impl Status {
    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processed => "processed",
            Self::Refused => "refused",
        }
    }
}

/// All that is known of one payment, for `GET /payments/{id}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it stands.
    pub status: Status,
    /// How much.
    pub amount: Cents,
    /// Where it was charged, or where it is pinned while pending.
    pub processor: Option<Processor>,
    /// The `requestedAt` that went upstream with it.
    pub requested_at: Option<UnixMillis>,
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn two_spellings_of_one_uuid_are_one_payment() {
        let lower = CorrelationId::try_new("4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3").unwrap();
        let upper = CorrelationId::try_new("4A7901B8-7D26-4D9D-AA19-4DC1C7CF60B3").unwrap();
        assert_eq!(lower.upstream_id(), upper.upstream_id());
        assert_eq!(lower.upstream_id().to_string(), lower.as_str());
    }

    #[test]
    fn another_id_becomes_one_uuid_v5_for_ever() {
        let id = CorrelationId::try_new("test-123").unwrap().upstream_id();
        assert_eq!(
            id.to_string().chars().nth(14),
            Some('5'),
            "the version of RFC 9562"
        );
        assert_eq!(id.to_string(), "4556dc7c-5849-50d4-97a7-4e6805f4c065");
        assert_ne!(
            id,
            CorrelationId::try_new("test-124").unwrap().upstream_id()
        );
    }

    #[test]
    fn ids_outside_the_rule_are_refused() {
        assert_eq!(CorrelationId::try_new(""), Err(CorrelationIdFault::Length));
        assert_eq!(
            CorrelationId::try_new(&"a".repeat(65)),
            Err(CorrelationIdFault::Length)
        );
        assert!(CorrelationId::try_new(&"a".repeat(64)).is_ok());
        for text in ["a b", "a/b", "é", "a\0", "{a}", "'"] {
            assert_eq!(
                CorrelationId::try_new(text),
                Err(CorrelationIdFault::Octet),
                "{text}"
            );
        }
    }

    #[test]
    fn hashing_spreads_and_never_changes() {
        assert_eq!(UpstreamId(1).hash(), UpstreamId(1).hash());
        let mut counts = [0_u32; 4];
        for id in 0..4_000_u128 {
            if let Some(count) = counts.get_mut(UpstreamId(id << 64).owner(CoreCount(4)).index()) {
                *count += 1;
            }
        }
        assert!(
            counts.iter().all(|count| (800..1_200).contains(count)),
            "{counts:?}"
        );
    }
}
