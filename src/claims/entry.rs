//! One claim in 40 bytes. Half a million of them stay in memory, so every field is packed; what
//! the bytes mean is known here only.

use crate::clock::UnixMillis;
use crate::limits;
use crate::payment::{Cents, PROCESSORS_MAX, Processor, Status, UpstreamId};

/// What is kept of a payment whose outcome is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettledClaim {
    /// `Processed` or `Refused`.
    pub status: Status,
    /// What the client asked for; a replayed answer is only for the same amount.
    pub amount: Cents,
    /// Where it was charged; absent when no one did, or when it is not known who.
    pub processor: Option<Processor>,
    /// The moment that the processor stored with it, when known.
    pub requested_at: Option<UnixMillis>,
    /// What the first client was told.
    pub first_answer: FirstAnswer,
    /// Whether our ledger holds it; not so when another client had charged it earlier.
    pub counted: bool,
}

/// What the first client of a payment was told, for `ON_DUPLICATE=replay`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstAnswer {
    /// 200, charged.
    Answered200,
    /// 202, held.
    Accepted202,
}

/// A place in the slab: free, pending or settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    id: [u64; 2],
    requested_at: i64,
    /// The amount above the low two bytes, whose bits are the constants below.
    packed: u64,
    /// When it settled, in whole seconds of the monotonic clock, rounded up.
    pub(super) settled_secs: u32,
    /// Free: the next free place. Pending: the flow's slot. Settled: the next younger settled one.
    pub(super) link: u32,
}

const _: () = assert!(
    size_of::<Entry>() == 40,
    "the arithmetic of the room's head"
);
const _: () = assert!(
    limits::AMOUNT_CENTS_MAX < 1 << (u64::BITS - AMOUNT_SHIFT),
    "the amount fits above the low two bytes"
);
const _: () = assert!(
    PROCESSORS_MAX <= 0xf,
    "none and every processor fit into four bits"
);

const AMOUNT_SHIFT: u32 = 16;
/// Four bits: 0 is none, else the index of the processor and one.
const PROCESSOR_SHIFT: u32 = 8;

const PENDING: u64 = 1;
const SETTLED: u64 = 1 << 1;
const REFUSED: u64 = 1 << 2;
const HAS_REQUESTED_AT: u64 = 1 << 3;
const ACCEPTED: u64 = 1 << 4;
const COUNTED: u64 = 1 << 5;

impl Entry {
    /// A pending claim of `id`, handled in the flow's `slot`.
    pub(super) fn pending(id: UpstreamId, slot: u32) -> Self {
        Self {
            id: halves(id),
            requested_at: 0,
            packed: PENDING,
            settled_secs: 0,
            link: slot,
        }
    }

    /// A settled claim that is the youngest yet.
    pub(super) fn settled(id: UpstreamId, claim: &SettledClaim, secs: u32, link: u32) -> Self {
        assert!(
            claim.amount.0 <= limits::AMOUNT_CENTS_MAX,
            "I7: an amount was checked when read"
        );
        assert!(
            claim.status != Status::Pending,
            "I3: what is pending has no settled claim"
        );
        let when = |condition: bool, bit: u64| if condition { bit } else { 0 };
        let status = match claim.status {
            Status::Pending | Status::Processed => 0,
            Status::Refused => REFUSED,
        };
        let processor = claim.processor.map_or(0, |one| u64::from(one.number()) + 1);
        let first_answer = match claim.first_answer {
            FirstAnswer::Answered200 => 0,
            FirstAnswer::Accepted202 => ACCEPTED,
        };
        let packed = claim.amount.0 << AMOUNT_SHIFT
            | SETTLED
            | status
            | processor << PROCESSOR_SHIFT
            | when(claim.requested_at.is_some(), HAS_REQUESTED_AT)
            | first_answer
            | when(claim.counted, COUNTED);
        let requested_at = claim.requested_at.map_or(0, |at| at.0);
        Self {
            id: halves(id),
            requested_at,
            packed,
            settled_secs: secs,
            link,
        }
    }

    /// A free place.
    pub(super) fn free(next_free: u32) -> Self {
        Self {
            id: [0; 2],
            requested_at: 0,
            packed: 0,
            settled_secs: 0,
            link: next_free,
        }
    }

    pub(super) fn id(&self) -> UpstreamId {
        let [high, low] = self.id;
        UpstreamId(u128::from(high) << 64 | u128::from(low))
    }

    pub(super) fn is_for(&self, id: UpstreamId) -> bool {
        self.id == halves(id)
    }

    pub(super) fn is_pending(&self) -> bool {
        self.packed & PENDING != 0
    }

    fn processor(&self) -> Option<Processor> {
        let number = usize::try_from(self.packed >> PROCESSOR_SHIFT & 0xf).ok()?;
        Processor::of_index(number.checked_sub(1)?)
    }

    /// What is kept of it, when it is settled.
    pub(super) fn as_settled(&self) -> Option<SettledClaim> {
        let has = |bit: u64| self.packed & bit != 0;
        has(SETTLED).then(|| SettledClaim {
            status: if has(REFUSED) {
                Status::Refused
            } else {
                Status::Processed
            },
            amount: Cents(self.packed >> AMOUNT_SHIFT),
            processor: self.processor(),
            requested_at: has(HAS_REQUESTED_AT).then_some(UnixMillis(self.requested_at)),
            first_answer: if has(ACCEPTED) {
                FirstAnswer::Accepted202
            } else {
                FirstAnswer::Answered200
            },
            counted: has(COUNTED),
        })
    }
}

#[allow(
    clippy::as_conversions,
    reason = "the halves of the u128 are wanted, no more"
)]
fn halves(id: UpstreamId) -> [u64; 2] {
    [(id.0 >> 64) as u64, id.0 as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_settled_claim_comes_back_as_it_was() {
        let id = UpstreamId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        let processors = || {
            let all = Processor::ALL.into_iter().map(Some);
            std::iter::once(None).chain(all)
        };
        for (bits, processor) in
            (0..32_u8).flat_map(|bits| processors().map(move |one| (bits, one)))
        {
            let has = |bit: u8| bits & 1 << bit != 0;
            let claim = SettledClaim {
                status: if has(0) {
                    Status::Refused
                } else {
                    Status::Processed
                },
                amount: Cents(if has(1) { limits::AMOUNT_CENTS_MAX } else { 1 }),
                processor,
                requested_at: has(2).then_some(UnixMillis(-7)),
                first_answer: if has(3) {
                    FirstAnswer::Accepted202
                } else {
                    FirstAnswer::Answered200
                },
                counted: has(4),
            };
            let entry = Entry::settled(id, &claim, 3, 4);
            assert_eq!(entry.as_settled(), Some(claim));
            assert!(entry.id() == id && entry.is_for(id) && !entry.is_pending());
        }
        assert!(Entry::pending(id, 9).is_pending() && Entry::pending(id, 9).as_settled().is_none());
        assert!(!Entry::free(0).is_pending() && Entry::free(0).as_settled().is_none());
    }
}
