//! The nouns of the payment story and the rules of money. Bytes come in through `wire`; decisions
//! about a payment are made in `flow`; here is only what a payment *is*.
//!
//! Keeps I2 (one upstream id per payment, whatever its spelling) and I7 (money is integer cents
//! from digit to digit; no float ever holds an amount).

mod identity;
mod money;
mod processor;
mod shard;

use crate::clock::UnixMillis;

pub use identity::{CoreCount, CoreId, CorrelationId, CorrelationIdFault, UpstreamId};
pub use money::{AmountFault, Cents, Totals, write_cents};
pub(crate) use processor::ProcessorSet;
pub use processor::{Configured, PROCESSORS_MAX, PerProcessor, Processor, ProcessorCount};
pub use shard::Shard;

/// Longest correlationId in bytes.
const CORRELATION_ID_BYTES_MAX: usize = 64;

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

/// What was charged in a window of time, and what more may have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSums {
    /// By us, to the cent.
    pub charged: PerProcessor<Totals>,
    /// Payments sent with a time of the window whose outcome is not known yet.
    pub pending: u64,
}

impl WindowSums {
    /// Adds another part of the same window.
    pub fn add(&mut self, part: &Self) {
        for processor in Processor::ALL {
            self.charged
                .get_mut(processor)
                .add(*part.charged.get(processor));
        }
        self.pending = self.pending.saturating_add(part.pending);
    }
}

/// All that is known of one payment, for `GET /payments/{id}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaymentView {
    /// Where it stands.
    pub status: Status,
    /// How much.
    pub amount: Cents,
    /// Where it was charged, or where it is pinned while pending.
    pub processor: Option<Processor>,
    /// The `requestedAt` that went upstream with it.
    pub requested_at: Option<UnixMillis>,
}
