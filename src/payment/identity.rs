//! Which payment is meant, and which core owns it. Two spellings of one id are one payment (I2),
//! and one id has one owner core (I1).

use std::fmt;

use uuid::Uuid;

use crate::payment::CORRELATION_ID_BYTES_MAX;

/// The namespace in which correlationIds that are not UUIDs become UUIDv5 (RFC 9562, section
/// 5.5). It is the same on every core, instance and restart: changing it would let a known id be
/// charged again.
const NAMESPACE: Uuid = Uuid::from_u128(0x7039_3970_6179_4d65_9f70_6179_6d65_6e74);

/// The id as the client spelled it: 1 to 64 of `A-Z a-z 0-9 - . _ : ~`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CorrelationId {
    length: u8,
    bytes: [u8; CORRELATION_ID_BYTES_MAX],
}

/// Why a text is no correlationId.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorrelationIdFault {
    /// Empty, or longer than 64 bytes.
    Length,
    /// A byte outside the allowed set.
    Byte,
    /// `.` or `..`.
    Dots,
    /// Not a UUID although `CORRELATION_ID=uuid` demands one.
    NotUuid,
}

impl CorrelationId {
    /// Checks `text` against the rule above.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn try_new(text: &str) -> Result<Self, CorrelationIdFault> {
        let given = text.as_bytes();
        if given.is_empty() || given.len() > CORRELATION_ID_BYTES_MAX {
            return Err(CorrelationIdFault::Length);
        }
        let allowed = |byte: &u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'~')
        };
        // No early end, so that the compiler looks at many bytes in one go.
        if !given.iter().fold(true, |all, byte| all & allowed(byte)) {
            return Err(CorrelationIdFault::Byte);
        }
        let mut bytes = [0; CORRELATION_ID_BYTES_MAX];
        if let Some(room) = bytes.get_mut(..given.len()) {
            room.copy_from_slice(given);
        }
        let length = u8::try_from(given.len()).map_err(|_| CorrelationIdFault::Length)?;
        Ok(Self { length, bytes })
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self
            .bytes
            .get(..usize::from(self.length))
            .unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The UUID that this text spells in the 8-4-4-4-12 form (RFC 9562, section 4), if it does.
    #[must_use]
    pub fn as_uuid(&self) -> Option<UpstreamId> {
        // Of the forms that the parser knows only the hyphenated one has 36 bytes and no brace.
        if self.length != 36 {
            return None;
        }
        Uuid::try_parse_ascii(self.bytes.get(..36)?)
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
    /// Whether it may stand for an id that is no UUID, whose text it does not show.
    #[must_use]
    pub fn may_be_derived(self) -> bool {
        let uuid = Uuid::from_u128(self.0);
        uuid.get_version_num() == 5 && uuid.get_variant() == uuid::Variant::RFC4122
    }

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

    /// The canonical text, lower case, in ASCII: what `Uuid` writes, in less than half the time.
    #[must_use]
    #[allow(
        clippy::as_conversions,
        reason = "a quarter of the u128 is wanted, no more"
    )]
    pub fn spell(self) -> [u8; 36] {
        let quarter = |shift: u32| hex_digits((self.0 >> shift) as u32);
        let [first, second, third, last] = [96, 64, 32, 0].map(quarter);
        let mut text = [b'-'; 36];
        text[..8].copy_from_slice(&first);
        text[9..13].copy_from_slice(&second[..4]);
        text[14..18].copy_from_slice(&second[4..]);
        text[19..23].copy_from_slice(&third[..4]);
        text[24..28].copy_from_slice(&third[4..]);
        text[28..].copy_from_slice(&last);
        text
    }
}

/// The digits of `word` in base 16, lower case, all eight in one go.
const fn hex_digits(word: u32) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // One half of a byte in each byte, the highest first.
    let mut digits = word.swap_bytes() as u64;
    digits = (digits | digits << 16) & 0x0000_ffff_0000_ffff;
    digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff;
    digits = (digits >> 4 & 0x000f_000f_000f_000f) | (digits & 0x000f_000f_000f_000f) << 8;
    // 1 where a digit is a letter, which lie farther up in ASCII.
    let letters = (digits + ONES * 6) >> 4 & ONES;
    let text = digits + ONES * b'0' as u64 + letters * (b'a' - b'0' - 10) as u64;
    text.to_le_bytes()
}

impl fmt::Display for UpstreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.spell()).unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_one_uuid_are_one_payment() {
        let lower = CorrelationId::try_new("4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3").unwrap();
        let upper = CorrelationId::try_new("4A7901B8-7D26-4D9D-AA19-4DC1C7CF60B3").unwrap();
        assert_eq!(lower.upstream_id(), upper.upstream_id());
        assert_eq!(lower.upstream_id().to_string(), lower.as_str());
    }

    #[test]
    fn ids_are_spelled_as_their_standard_has_them() {
        let mut id = 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210_u128;
        for _ in 0..1_000 {
            let text = Uuid::from_u128(id).hyphenated().to_string();
            assert_eq!(UpstreamId(id).to_string(), text);
            id = id.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) ^ id >> 67;
        }
        for id in [0, 1, u128::MAX] {
            assert_eq!(UpstreamId(id).to_string(), Uuid::from_u128(id).to_string());
        }
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
        let of_journal = CorrelationId::try_new("..");
        assert!(
            of_journal.is_ok(),
            "clients are refused it, a journal may hold it"
        );
        for text in ["a b", "a/b", "é", "a\0", "{a}", "'"] {
            assert_eq!(
                CorrelationId::try_new(text),
                Err(CorrelationIdFault::Byte),
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
