//! Counts and sums by place and processor, in few bytes. The place is a millisecond within a
//! second or a second within an hour. The same bytes are kept in memory and in snapshots.
//!
//! An entry is a varint (LEB128) of `distance to the place before << 2 | processor << 1 | many`,
//! when `many` a varint of the count, and a varint of the cents. A count of 0, which no entry has,
//! says that a varint of `index of the processor - 2` and the true count follow: so the two
//! cheapest processors are written as ever, and a version that knows no others refuses the rest.

use std::iter::Peekable;

use crate::payment::{PerProcessor, Processor, Totals};

/// More than one payment, or another processor than the first two.
const MANY: u128 = 1;
const IS_FALLBACK: u128 = 1 << 1;
/// The first processor that the two bits of an entry cannot name.
const FIRST_FURTHER: u8 = 2;

/// Count and sum of one processor at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) place: u16,
    pub(super) processor: Processor,
    /// At least one payment.
    pub(super) totals: Totals,
}

impl Entry {
    fn key(&self) -> (u16, Processor) {
        (self.place, self.processor)
    }

    /// The entries of every processor at `place`, without empty ones.
    pub(super) fn of_all(place: u16, totals: PerProcessor<Totals>) -> impl Iterator<Item = Self> {
        Processor::ALL
            .into_iter()
            .map(move |processor| Self {
                place,
                processor,
                totals: *totals.get(processor),
            })
            .filter(|entry| entry.totals.count > 0)
    }
}

/// Entries in the order of place and processor, each pair at most once.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    bytes: Vec<u8>,
    /// Place and processor of the last entry.
    last: Option<(u16, Processor)>,
}

impl List {
    /// The list that `bytes` hold, all of them, with every place below `places`.
    pub(super) fn read(bytes: &[u8], places: u16) -> Option<Self> {
        let mut list = Self::default();
        let mut entries = Entries { bytes, place: 0 };
        while !entries.bytes.is_empty() {
            let entry = entries.next()?;
            if entry.place >= places || entry.totals.count == 0 || !list.may_end_with(&entry) {
                return None;
            }
            list.push(entry);
        }
        Some(list)
    }

    /// The entries of two lists; where both have one, its sums are added.
    pub(super) fn merged(
        one: impl Iterator<Item = Entry>,
        other: impl Iterator<Item = Entry>,
    ) -> Self {
        let (mut one, mut other) = (one.peekable(), other.peekable());
        let mut list = Self::default();
        while let Some(entry) = next_of(&mut one, &mut other) {
            list.push(entry);
        }
        list.bytes.shrink_to_fit();
        list
    }

    pub(super) fn entries(&self) -> Entries<'_> {
        Entries {
            bytes: &self.bytes,
            place: 0,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn last_place(&self) -> Option<u16> {
        self.last.map(|(place, _)| place)
    }

    /// The sums of all entries.
    pub(super) fn totals(&self) -> PerProcessor<Totals> {
        let mut sums = PerProcessor::<Totals>::default();
        for entry in self.entries() {
            sums.get_mut(entry.processor).add(entry.totals);
        }
        sums
    }

    /// Whether `entry` belongs behind all others.
    pub(super) fn may_end_with(&self, entry: &Entry) -> bool {
        self.last.is_none_or(|last| last < entry.key())
    }

    pub(super) fn push(&mut self, entry: Entry) {
        assert!(
            self.may_end_with(&entry),
            "I6: the entries of a list are in order"
        );
        let distance = entry.place - self.last_place().unwrap_or(0);
        let Totals { count, cents } = entry.totals;
        let further = entry.processor.number().checked_sub(FIRST_FURTHER);
        let bits = match (entry.processor, further) {
            (_, Some(_)) => MANY,
            (Processor::FALLBACK, None) => IS_FALLBACK | u128::from(count > 1),
            (_, None) => u128::from(count > 1),
        };
        write_varint(u128::from(distance) << 2 | bits, &mut self.bytes);
        if let Some(further) = further {
            self.bytes.extend_from_slice(&[0, further]);
        }
        if bits & MANY != 0 {
            write_varint(u128::from(count), &mut self.bytes);
        }
        write_varint(cents, &mut self.bytes);
        self.last = Some(entry.key());
    }
}

fn next_of(
    one: &mut Peekable<impl Iterator<Item = Entry>>,
    other: &mut Peekable<impl Iterator<Item = Entry>>,
) -> Option<Entry> {
    match (one.peek(), other.peek()) {
        (Some(first), Some(second)) if first.key() == second.key() => {
            let mut entry = one.next()?;
            entry.totals.add(other.next()?.totals);
            Some(entry)
        }
        (Some(first), Some(second)) if second.key() < first.key() => other.next(),
        (Some(_), _) => one.next(),
        (None, _) => other.next(),
    }
}

/// Reads the entries of a list; ends early at bytes that are none.
#[derive(Clone, Debug)]
pub(super) struct Entries<'a> {
    bytes: &'a [u8],
    place: u16,
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let header = read_varint(&mut self.bytes)?;
        self.place = self.place.checked_add(u16::try_from(header >> 2).ok()?)?;
        let mut processor = if header & IS_FALLBACK == 0 {
            Processor::DEFAULT
        } else {
            Processor::FALLBACK
        };
        let mut count = 1;
        if header & MANY != 0 {
            count = read_varint(&mut self.bytes)?;
            if count == 0 && processor == Processor::DEFAULT {
                let further = u8::try_from(read_varint(&mut self.bytes)?).ok()?;
                let index = further.checked_add(FIRST_FURTHER)?;
                processor = Processor::of_index(usize::from(index))?;
                count = read_varint(&mut self.bytes)?;
            }
        }
        let count = u64::try_from(count).ok()?;
        let cents = read_varint(&mut self.bytes)?;
        Some(Entry {
            place: self.place,
            processor,
            totals: Totals { count, cents },
        })
    }
}

/// Adds the sums of every processor.
pub(super) fn add_all(sums: &mut PerProcessor<Totals>, more: PerProcessor<Totals>) {
    for processor in Processor::ALL {
        sums.get_mut(processor).add(*more.get(processor));
    }
}

/// Appends `number` in groups of seven bits, lowest first.
pub(super) fn write_varint(mut number: u128, out: &mut Vec<u8>) {
    loop {
        let group = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            out.push(group);
            return;
        }
        out.push(group | 0x80);
    }
}

/// Takes a number off the front of `bytes`. `None` when it is cut off or too large.
pub(super) fn read_varint(bytes: &mut &[u8]) -> Option<u128> {
    let mut number = 0_u128;
    for shift in (0..u128::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let group = u128::from(byte & 0x7f);
        let placed = group << shift;
        if placed >> shift != group {
            return None;
        }
        number |= placed;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::PROCESSORS_MAX;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn list(entries: &BTreeMap<(u16, usize), (u64, u128)>) -> List {
        let mut list = List::default();
        for (&(place, index), &(count, cents)) in entries {
            let processor = Processor::of_index(index).unwrap();
            list.push(Entry {
                place,
                processor,
                totals: Totals { count, cents },
            });
        }
        list
    }

    fn model() -> impl Strategy<Value = BTreeMap<(u16, usize), (u64, u128)>> {
        let cents = prop_oneof![0_u128..20_000, Just(u128::MAX / 2)];
        let count = prop_oneof![1_u64..4, Just(u64::MAX / 2)];
        proptest::collection::btree_map((0_u16..3_600, 0..PROCESSORS_MAX), (count, cents), 0..20)
    }

    proptest! {
        #[test]
        fn lists_are_read_again(entries in model()) {
            let written = list(&entries);
            let read = List::read(written.bytes(), 3_600).unwrap();
            prop_assert!(read.entries().eq(written.entries()));
            prop_assert_eq!(read.last, written.last);
            prop_assert_eq!(read.entries().count(), entries.len());
        }

        #[test]
        fn merging_adds(one in model(), other in model()) {
            let merged = List::merged(list(&one).entries(), list(&other).entries());
            let mut sum = one;
            for (key, (count, cents)) in other {
                let entry = sum.entry(key).or_insert((0, 0));
                *entry = (entry.0 + count, entry.1 + cents);
            }
            prop_assert!(merged.entries().eq(list(&sum).entries()));
        }

        #[test]
        fn no_bytes_are_too_odd_to_read(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(list) = List::read(&bytes, 1_000) {
                prop_assert!(list.entries().all(|entry| entry.place < 1_000));
            }
        }
    }

    #[test]
    fn bytes_that_are_no_list_are_refused() {
        for bytes in [
            &[0x80][..],
            &[0],
            &[1, 0, 7],
            &[0, 5, 0, 5],
            &[2, 5, 0, 5],
            &[0x84, 0x40, 1],
        ] {
            assert!(List::read(bytes, 1_000).is_none(), "{bytes:?}");
        }
        assert!(List::read(&[0xff; 40], 1_000).is_none());
        assert!(List::read(&[0, 5, 2, 5, 4, 5], 1_000).is_some());
    }
}
