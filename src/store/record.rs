//! What a core tells the store of a payment, and what the store says of one. Close to the journal's
//! records, whose verdicts are used as they are; the numbers here are in tables of every release
//! and never change their meaning.

use std::net::SocketAddr;

use crate::clock::UnixMillis;
use crate::journal::{self, Verdict};
use crate::payment::{Cents, CorrelationId, Payment, Processor, Status, UpstreamId};

/// One line of a payment's story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// The client is told 202 once this is durable. Claims the id where it is the first record of
    /// it.
    Accept {
        /// What was promised.
        payment: Payment,
        /// When it was promised, in milliseconds since 1970.
        accepted_at: UnixMillis,
    },
    /// Bytes may go to `processor` once this is durable and not lost. Claims the id where it is the
    /// first record of it.
    Intent {
        /// What to charge.
        payment: Payment,
        /// By whom.
        processor: Processor,
        /// As it goes upstream (I9).
        requested_at: UnixMillis,
        /// When the client was promised it; `None` while nothing was promised.
        accepted_at: Option<UnixMillis>,
        /// The address that the bytes go to (I10).
        address: Option<SocketAddr>,
    },
    /// The payment's open attempt, or the payment itself, has ended.
    Verdict {
        /// The payment's id.
        id: UpstreamId,
        /// How the payment ended.
        verdict: Verdict,
    },
    /// An operator says how the payment ended.
    ByHand {
        /// The payment's id.
        id: UpstreamId,
        /// Who charged it with which `requestedAt`; `None` when no one did and no one will.
        charged: Option<(Processor, UnixMillis)>,
    },
    /// The processor of an adopted payment has spoken about its id, though it settled nothing: sums
    /// need not wait for it any more.
    Heard {
        /// The payment's id.
        id: UpstreamId,
    },
}

impl Record {
    /// Whose record it is.
    #[must_use]
    pub const fn id(&self) -> UpstreamId {
        match self {
            Self::Accept { payment, .. } | Self::Intent { payment, .. } => payment.id,
            Self::Verdict { id, .. } | Self::ByHand { id, .. } | Self::Heard { id } => *id,
        }
    }

    /// Whether it may be the first one of its id.
    #[must_use]
    pub const fn may_claim(&self) -> bool {
        matches!(self, Self::Accept { .. } | Self::Intent { .. })
    }

    /// The same as the journal's; `None` for a purge, which is a question to the store.
    #[must_use]
    pub fn of_journal(record: &journal::Record) -> Option<Self> {
        Some(match *record {
            journal::Record::Accept {
                payment,
                accepted_at,
            } => Self::Accept {
                payment,
                accepted_at,
            },
            journal::Record::Intent {
                payment,
                processor,
                requested_at,
                accepted_at,
                address,
            } => Self::Intent {
                payment,
                processor,
                requested_at,
                accepted_at,
                address,
            },
            journal::Record::Verdict { id, verdict } => Self::Verdict { id, verdict },
            journal::Record::Purge { .. } => return None,
        })
    }
}

/// The writer whose row a payment carries: one core's life. Never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId(pub i32);

/// Counts who held a writer: its first core is 1, and each adoption adds one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub i64);

/// How a payment is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowStatus {
    /// Pending.
    Open,
    /// Pending, and the client was promised it by 202.
    Promised,
    /// Charged; the first client was told 200.
    Charged,
    /// Charged after a 202.
    ChargedAfterPromise,
    /// Charged by another client.
    Foreign,
    /// Refused for good after a 202.
    Refused,
    /// Charged, as an operator says.
    ChargedByHand,
    /// Not charged, as an operator says.
    RefusedByHand,
}

impl RowStatus {
    const ALL: [Self; 8] = [
        Self::Open,
        Self::Promised,
        Self::Charged,
        Self::ChargedAfterPromise,
        Self::Foreign,
        Self::Refused,
        Self::ChargedByHand,
        Self::RefusedByHand,
    ];

    /// Its number in the table.
    #[must_use]
    pub const fn number(self) -> i16 {
        match self {
            Self::Open => 0,
            Self::Promised => 1,
            Self::Charged => 2,
            Self::ChargedAfterPromise => 3,
            Self::Foreign => 4,
            Self::Refused => 5,
            Self::ChargedByHand => 6,
            Self::RefusedByHand => 7,
        }
    }

    /// The status of this number.
    #[must_use]
    pub fn of_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.number() == number)
    }

    /// Whether it counts in sums.
    #[must_use]
    pub const fn is_counted(self) -> bool {
        matches!(
            self,
            Self::Charged | Self::ChargedAfterPromise | Self::ChargedByHand
        )
    }

    /// Whether the payment is pending.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Promised)
    }

    /// As the API says it.
    #[must_use]
    pub const fn in_api(self) -> Status {
        match self {
            Self::Open | Self::Promised => Status::Pending,
            Self::Charged | Self::ChargedAfterPromise | Self::Foreign | Self::ChargedByHand => {
                Status::Processed
            }
            Self::Refused | Self::RefusedByHand => Status::Refused,
        }
    }
}

/// A payment as the table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The payment's id.
    pub id: UpstreamId,
    /// The client's own spelling.
    pub correlation_id: CorrelationId,
    /// How much.
    pub amount: Cents,
    /// How it stands.
    pub status: RowStatus,
    /// Where it was charged, or where it is pinned while pending. A pending one without is pinned
    /// nowhere.
    pub processor: Option<Processor>,
    /// The `requestedAt` that went upstream; of one that was never sent, when it was accepted.
    pub at: UnixMillis,
    /// The `requestedAt` of its first attempt, if it had one.
    pub first_sent: Option<UnixMillis>,
    /// When the client was promised it.
    pub accepted_at: Option<UnixMillis>,
    /// The address that its bytes went to (I10).
    pub address: Option<SocketAddr>,
    /// Who has it.
    pub writer: WriterId,
    /// The epoch in which it was claimed, or in which its processor last spoke about it.
    pub epoch: Epoch,
    /// The writer's present epoch; larger than `epoch` when it was adopted and nothing is known
    /// since. The row's own where the writer is gone.
    pub writer_epoch: Epoch,
    /// How far the writer has come.
    pub writer_batch: i64,
    /// The last one of these that held all that the writer had answered by then.
    pub writer_whole: i64,
    /// Whether the writer's lease is over: its instance is dead or cut off.
    pub is_expired: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_found_by_its_number_and_counts_or_not() {
        for (number, status) in (0..).zip(RowStatus::ALL) {
            assert_eq!(status.number(), number);
            assert_eq!(RowStatus::of_number(number), Some(status));
            assert_eq!(
                status.is_open(),
                number < 2,
                "status >= 2 is settled in SQL"
            );
            assert_eq!(status.is_counted(), [2, 3, 6].contains(&number));
            assert_eq!(status.is_open(), status.in_api() == Status::Pending);
        }
        assert_eq!(RowStatus::of_number(8), None);
        assert_eq!(RowStatus::of_number(-1), None);
    }
}
