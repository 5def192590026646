//! One batch as data: what a core's records come to in the tables, as rows in the order of their
//! ids, and the fence that they go through. Pure; `gather` makes it, `sql` spells it.

use std::net::SocketAddr;

use super::record::{Epoch, RowStatus, WriterId};
use crate::clock::UnixMillis;
use crate::payment::{Cents, Processor, UpstreamId};

/// What a batch claims: a new row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which id.
    pub id: UpstreamId,
    /// The client's spelling, where it is no canonical UUID.
    pub correlation_id: Option<String>,
    /// How much.
    pub amount: Cents,
    /// `requestedAt`; of an Accept alone, when it was accepted.
    pub at: UnixMillis,
    /// When it was promised.
    pub accepted_at: Option<UnixMillis>,
    /// `Open` or `Promised`; what is imported may be settled.
    pub status: RowStatus,
    /// Where its bytes may go.
    pub processor: Option<Processor>,
    /// To which address.
    pub address: Option<SocketAddr>,
    /// The `requestedAt` of its first attempt, if it had one.
    pub first_sent: Option<UnixMillis>,
}

/// What a journal says of one second, for the sums of the writer that it is imported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// Who charged.
    pub processor: Processor,
    /// Which second since 1970, or which hour, as the rollup calls it (`parts`).
    pub second: i64,
    /// How many payments.
    pub count: i64,
    /// How much together, in cents.
    pub cents: i64,
}

/// What a batch changes in a row of its writer's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// Which id.
    pub id: UpstreamId,
    /// What becomes of it.
    pub change: Change,
    /// The new `at`, if it changes.
    pub at: Option<UnixMillis>,
    /// The new processor, or none any more.
    pub processor: Pin,
    /// The new address, if there is one.
    pub address: Option<SocketAddr>,
    /// When it was promised, where this is the promise.
    pub accepted_at: Option<UnixMillis>,
    /// Whether the processor has spoken about it in this epoch.
    pub was_heard: bool,
}

/// What becomes of a row's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It stays.
    None,
    /// It is promised from now on.
    Promised,
    /// It is charged, by itself or after a promise, as the row says.
    Charged,
    /// It is charged, and the promise is in the same batch.
    ChargedAfterPromise,
    /// It becomes this.
    Settled(RowStatus),
}

impl Change {
    /// As the statement takes it: 2 adds what the row was.
    #[must_use]
    pub const fn number(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Promised => 1,
            Self::Charged => 2,
            Self::ChargedAfterPromise => 3,
            Self::Settled(status) => status.number(),
        }
    }

    /// Whether the row is settled afterwards.
    #[must_use]
    pub const fn is_end(self) -> bool {
        !matches!(self, Self::None | Self::Promised)
    }

    /// Whether the row counts in sums afterwards.
    #[must_use]
    pub const fn is_counted(self) -> bool {
        match self {
            Self::None | Self::Promised => false,
            Self::Charged | Self::ChargedAfterPromise => true,
            Self::Settled(status) => status.is_counted(),
        }
    }
}

/// What becomes of a row's processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// It stays.
    Same,
    /// The payment is pinned nowhere.
    Nowhere,
    /// It is this one.
    To(Processor),
}

/// One transaction of a writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The writer that it is about.
    pub writer: WriterId,
    /// Under which fence.
    pub epoch: Epoch,
    /// Its number: one more than what the writer's row must have.
    pub number: i64,
    /// The nonce that the row must have.
    pub expected: i64,
    /// The nonce that this send writes; another one for each send.
    pub nonce: i64,
    /// The least `at` of the writer's open rows that do not linger, after this batch.
    pub open_since: Option<i64>,
    /// Ids that are free again: their rows go.
    pub freed: Vec<UpstreamId>,
    /// Rows that change.
    pub updates: Vec<Update>,
    /// Rows that are wanted.
    pub claims: Vec<Claim>,
    /// Open rows that linger from now on, and those that do so no more.
    pub lingering: Vec<UpstreamId>,
    /// See `lingering`.
    pub relieved: Vec<UpstreamId>,
    /// Sums of the writer's that are set, whatever they were: of an import.
    pub sums: Vec<Sum>,
    /// Everything settled is forgotten, after all of the above.
    pub is_purge: bool,
    /// It holds everything that had been appended when it was made: what the writer had answered by
    /// then is in the tables with it.
    pub is_whole: bool,
    /// It is the writer's last one: its lease ends with it.
    pub is_last: bool,
}

impl Batch {
    /// The ids whose rows may count in sums after it, in order. A row that is imported as charged
    /// is in the sums of its journal.
    #[must_use]
    pub fn counted(&self) -> Vec<UpstreamId> {
        let updates = self.updates.iter().filter(|one| one.change.is_counted());
        updates.map(|one| one.id).collect()
    }

    /// The ids that are claimed, in order.
    #[must_use]
    pub fn claimed(&self) -> Vec<UpstreamId> {
        self.claims.iter().map(|claim| claim.id).collect()
    }
}
