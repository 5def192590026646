//! Which ids are this instance's, where a fixed number of instances share them (docs/SCALING.md).
//!
//! An id belongs to one shard for ever: it never moves, whichever is down. The balancer sends it
//! there by the same arithmetic, and an instance refuses what is not its own, so that a balancer
//! with another layout can make a payment fail, but never charge it twice. Pure; `config` reads a
//! shard, `server` asks whose an id is, the journal keeps the number.

use std::fmt;
use std::num::NonZeroU16;

use super::identity::{CorrelationId, UpstreamId};
use crate::limits;
use crate::payment::CORRELATION_ID_BYTES_MAX;

/// Slots that ids fall into; a shard owns a range of them.
const SLOTS: u16 = 1_024;

/// One of a fixed number of shards. Unlike a core's its number counts from 1, as SHARD is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    number: NonZeroU16,
    count: NonZeroU16,
}

impl Default for Shard {
    fn default() -> Self {
        Self::ONLY
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

impl Shard {
    /// The one that owns every id.
    pub const ONLY: Self = Self {
        number: NonZeroU16::MIN,
        count: NonZeroU16::MIN,
    };

    /// Reads `number/count`: 1/1, or one of at most [`limits::SHARDS_MAX`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, count) = text.split_once('/')?;
        let read = |digits: &str| {
            let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            (is_plain && !digits.starts_with('0')).then(|| digits.parse::<NonZeroU16>().ok())?
        };
        let (number, count) = (read(number)?, read(count)?);
        (number <= count && count.get() <= limits::SHARDS_MAX).then_some(Self { number, count })
    }

    /// From 1 to [`Self::count`].
    #[must_use]
    pub const fn number(self) -> u16 {
        self.number.get()
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> u16 {
        self.count.get()
    }

    /// Whether it owns every id.
    #[must_use]
    pub const fn is_only(self) -> bool {
        self.count.get() == 1
    }

    /// Whether `id` is its own (I2 over instances).
    #[must_use]
    pub fn owns(self, id: &CorrelationId) -> bool {
        self.is_only() || number_of(slot(id), self.count) == self.number.get()
    }

    /// The same by what a processor shows of it. None where that does not tell: the slot is that of
    /// the client's text, which a derived UUID hides.
    #[must_use]
    pub fn owns_upstream(self, id: UpstreamId) -> Option<bool> {
        if self.is_only() {
            return Some(true);
        }
        if id.may_be_derived() {
            return None;
        }
        let text = CorrelationId::try_new(&id.to_string()).ok()?;
        Some(self.owns(&text))
    }
}

/// The shard of `count` that owns `slot`: contiguous ranges in the order of the numbers, and where
/// 1,024 does not divide, the first 1,024 mod `count` shards own one slot more than the others.
fn number_of(slot: u16, count: NonZeroU16) -> u16 {
    let (share, longer) = (SLOTS / count, SLOTS % count);
    let border = longer.saturating_mul(share.saturating_add(1));
    let before = match slot.checked_sub(border) {
        None => slot / share.saturating_add(1),
        Some(behind) => longer.saturating_add(behind / share.max(1)),
    };
    before.saturating_add(1)
}

/// HAProxy's `lower,crc32(1),mod(1024)` of the id as the client spelled it: the zlib CRC, then
/// Bob Jenkins' integer hash and a product (`full_hash` in HAProxy's `include/haproxy/tools.h`
/// says the same; the vectors in `tests/data/slots.txt` come from HAProxy 2.6).
///
/// Lower case makes the two spellings of a UUID one id here too. Other ids that differ in case
/// only are different payments of one shard.
fn slot(id: &CorrelationId) -> u16 {
    let mut bytes = [0; CORRELATION_ID_BYTES_MAX];
    let text = id.as_str().as_bytes();
    for (to, from) in bytes.iter_mut().zip(text) {
        *to = from.to_ascii_lowercase();
    }
    let mut hash = crc32fast::hash(bytes.get(..text.len()).unwrap_or_default());
    hash = hash.wrapping_add(0x7ed5_5d16).wrapping_add(hash << 12);
    hash = hash ^ 0xc761_c23c ^ (hash >> 19);
    hash = hash.wrapping_add(0x1656_67b1).wrapping_add(hash << 5);
    hash = hash.wrapping_add(0xd3a2_646c) ^ (hash << 9);
    hash = hash.wrapping_add(0xfd70_46c5).wrapping_add(hash << 3);
    hash = hash ^ 0xb55a_4f09 ^ (hash >> 16);
    hash = hash.wrapping_mul(3_221_225_473);
    u16::try_from(hash % u32::from(SLOTS)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(number: u16, count: u16) -> Shard {
        Shard::parse(&format!("{number}/{count}")).unwrap()
    }

    #[test]
    fn ten_thousand_ids_have_the_slots_that_haproxy_gives_them() {
        let vectors = include_str!("../../tests/data/slots.txt");
        let mut count = 0;
        for line in vectors.lines() {
            let (id, expected) = line.split_once(' ').unwrap();
            let id = CorrelationId::try_new(id).unwrap();
            assert_eq!(slot(&id), expected.parse::<u16>().unwrap(), "{id}");
            count += 1;
        }
        assert_eq!(count, 10_000);
    }

    #[test]
    fn every_slot_has_one_shard_and_the_first_ones_are_larger() {
        for count in 1..=limits::SHARDS_MAX {
            let count_of = NonZeroU16::new(count).unwrap();
            let numbers: Vec<u16> = (0..SLOTS).map(|slot| number_of(slot, count_of)).collect();
            assert!(numbers.is_sorted(), "ranges are contiguous");
            for number in 1..=count {
                let size = numbers.iter().filter(|one| **one == number).count();
                let share = SLOTS / count + u16::from(number <= SLOTS % count);
                assert_eq!(size, usize::from(share), "{number}/{count}");
            }
        }
        let three = NonZeroU16::new(3).unwrap();
        let borders = [0, 341, 342, 682, 683, 1023].map(|slot| number_of(slot, three));
        assert_eq!(borders, [1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn an_id_is_owned_by_one_shard_however_it_is_spelled() {
        for line in include_str!("../../tests/data/slots.txt").lines().take(500) {
            let (text, _) = line.split_once(' ').unwrap();
            for count in [1, 2, 3, 7, 33] {
                let owners = |text: &str| -> Vec<u16> {
                    let id = CorrelationId::try_new(text).unwrap();
                    (1..=count)
                        .filter(|one| shard(*one, count).owns(&id))
                        .collect()
                };
                assert_eq!(owners(text).len(), 1, "{text}");
                assert_eq!(owners(text), owners(&text.to_ascii_uppercase()));
            }
        }
    }

    #[test]
    fn only_a_number_within_the_count_is_a_shard() {
        for good in ["1/1", "1/2", "2/2", "33/33"] {
            assert_eq!(Shard::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "", "x", "/", "1", "1/", "/2", "0/2", "3/2", "1/0", "0/0", "1/34", "01/2", "1/02",
            "+1/2", "1/2/3", " 1/2", "1/2 ", "1 / 2", "-1/2", "1/65536", "１/2",
        ] {
            assert_eq!(Shard::parse(bad), None, "{bad:?}");
        }
    }
}
