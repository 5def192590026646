//! One thing that is said of a payment, by the journal or by a processor's book, as bytes whose
//! order is that of the ids: all that is said of one id comes together, the journal's word first
//! and in the journal's order. `sort` compares nothing but these bytes.

use crate::clock::UnixMillis;
use crate::payment::{Cents, Processor, UpstreamId};

/// What an entry takes in memory and in a file.
pub(super) const BYTES: usize = 16 + 1 + 8 + 1 + 8 + 8;

/// An entry as it is sorted.
pub(super) type Packed = [u8; BYTES];

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The journal: charged, and in the ledger.
    Charged,
    /// The journal: charged by another client of the processor.
    Foreign,
    /// The journal: refused for good.
    Refused,
    /// The journal: promised, or sent, and not settled.
    Open,
    /// The journal: it ended without a charge, and its id is free.
    Ended,
    /// A book: charged.
    Booked,
}

const ALL: [Said; 6] = [
    Said::Charged,
    Said::Foreign,
    Said::Refused,
    Said::Open,
    Said::Ended,
    Said::Booked,
];

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: UpstreamId,
    pub(super) said: Said,
    /// Counts what the journals say; for a book, the line.
    pub(super) order: u64,
    /// None where no processor is meant.
    pub(super) processor: Option<Processor>,
    pub(super) amount: Cents,
    /// `requestedAt`; none where it is not known.
    pub(super) at: Option<UnixMillis>,
}

impl Entry {
    pub(super) fn pack(&self) -> Packed {
        let said = ALL.iter().position(|one| *one == self.said).unwrap_or(0);
        // Six kinds and eight processors and none: two parts of one byte.
        let kind =
            u8::try_from(said).unwrap_or(0) << 4 | self.processor.map_or(0, |one| one.number() + 1);
        let is_booked = u8::from(self.said == Said::Booked);
        let at = self.at.map_or(i64::MIN, |at| at.0);
        let parts: [&[u8]; 6] = [
            &self.id.0.to_be_bytes(),
            &[is_booked],
            &self.order.to_be_bytes(),
            &[kind],
            &self.amount.0.to_be_bytes(),
            &at.to_be_bytes(),
        ];
        let mut packed = [0; BYTES];
        let bytes = parts.iter().flat_map(|part| part.iter());
        packed
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        packed
    }

    /// What was packed; none for other bytes.
    pub(super) fn unpack(packed: &Packed) -> Option<Self> {
        let (id, rest) = packed.split_first_chunk::<16>()?;
        let (_, rest) = rest.split_first_chunk::<1>()?;
        let (order, rest) = rest.split_first_chunk::<8>()?;
        let ([kind], rest) = rest.split_first_chunk::<1>()?;
        let (amount, rest) = rest.split_first_chunk::<8>()?;
        let at = i64::from_be_bytes(*rest.first_chunk::<8>()?);
        Some(Self {
            id: UpstreamId(u128::from_be_bytes(*id)),
            said: *ALL.get(usize::from(kind >> 4))?,
            order: u64::from_be_bytes(*order),
            processor: match kind & 15 {
                0 => None,
                number => Some(Processor::of_index(usize::from(number) - 1)?),
            },
            amount: Cents(u64::from_be_bytes(*amount)),
            at: (at != i64::MIN).then_some(UnixMillis(at)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_say_the_same_and_sort_by_id_then_side_then_order() {
        let mut all = Vec::new();
        for id in [1, 2_u128 << 100] {
            for (said, order) in [
                (Said::Open, 7),
                (Said::Charged, 300),
                (Said::Foreign, 301),
                (Said::Refused, 302),
                (Said::Ended, 303),
                (Said::Booked, 2),
            ] {
                for processor in [None, Some(Processor::DEFAULT), Processor::of_index(7)] {
                    all.push(Entry {
                        id: UpstreamId(id),
                        said,
                        order,
                        processor,
                        amount: Cents(u64::MAX - order),
                        at: processor.map(|_| UnixMillis(-5)),
                    });
                }
            }
        }
        let packed: Vec<Packed> = all.iter().map(Entry::pack).collect();
        for (entry, packed) in all.iter().zip(&packed) {
            assert_eq!(Entry::unpack(packed), Some(*entry));
        }
        assert!(packed.is_sorted());
    }
}
