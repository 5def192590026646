//! The nouns of the payment story and the rules of money. Bytes come in through `wire`; decisions
//! about a payment are made in `flow`; here is only what a payment *is*.
//!
//! Keeps I2 (one upstream id per payment, whatever its spelling) and I7 (money is integer cents
//! from digit to digit; no float ever holds an amount).

mod identity;
mod money;
mod shard;

use crate::clock::UnixMillis;

pub use identity::{CoreCount, CoreId, CorrelationId, CorrelationIdFault, UpstreamId};
pub use money::{AmountFault, Cents, Totals, write_cents};
pub use shard::Shard;

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

    /// The processor of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
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
