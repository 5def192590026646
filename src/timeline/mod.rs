//! What happened to single payments, fact by fact, for an operator who asks about one. The owner
//! notes each as it comes to be (`owner::telling`); `pay` shows, logs and keeps what was noted.
//!
//! - [`Fact`] is one of them, [`Entry`] one with its payment and its moment;
//! - `recent` keeps the last entries of a core, in a fixed number of places;
//! - `history` is what a payment in work remembers of itself: what about it was not plain;
//! - `text` spells entries as lines of JSON.
//!
//! A plain payment is one that its first attempt charged, and whose client was told what ACK
//! promises. It costs two entries and no line. Nothing here decides anything: a payment goes the
//! same way whatever is noted of it.

mod history;
mod recent;
mod text;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::UnixMillis;
use crate::events::{Answer, Lookup, Reason, Trace};
use crate::payment::{Outcome, Payment, Processor, Status, UpstreamId};

pub(crate) use history::{Choice, History, Remark, Remarks};
pub(crate) use recent::Recent;
pub(crate) use text::{answer_name, reason_name, write_entry, write_head, write_story};

/// What operators are told who ask about a payment of which there is nothing.
pub const NOTHING: &str = "nothing is remembered of a payment with this id";

/// One fact about one payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The payment's id.
    pub id: UpstreamId,
    /// When it happened, in milliseconds since 1970.
    pub at: UnixMillis,
    /// What happened.
    pub fact: Fact,
    /// Which entry of the same payment was before it; 0 for none.
    previous: u32,
}

/// Why an attempt was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The first attempt of a plan.
    First,
    /// Because nothing proves what became of an earlier one: the same id to the same processor.
    Resend,
    /// Because the first attempt is slow: the same id to the same processor.
    Hedge,
}

/// What happened to a payment. Spans are milliseconds or microseconds; one that does not fit is
/// the longest that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A start found it unsettled in the journal.
    Restored {
        /// Its Intent there was open: bytes may have gone out.
        open: Option<Processor>,
    },
    /// No processor could take it at once.
    Waits {
        /// In whose queue it is.
        at: Processor,
    },
    /// p99 has promised to settle it.
    Promised,
    /// Bytes left, after the Intent was durable where there is a journal.
    Sent {
        /// Where to.
        processor: Processor,
        /// The address, where it is known.
        address: Option<SocketAddr>,
        /// What the attempt is for.
        purpose: Purpose,
        /// Why there.
        choice: Choice,
        /// How long after it came, in ms.
        waited_ms: u32,
    },
    /// An attempt ended otherwise than by a charge that needs no explanation.
    Ended {
        /// The processor that it is about.
        processor: Processor,
        /// How the attempt ended.
        outcome: Outcome,
        /// Why it ended so.
        reason: Reason,
        /// From its first byte; zero when none was sent.
        took_us: u32,
    },
    /// The processor is asked what it stores.
    Asked {
        /// The processor that it is about.
        processor: Processor,
    },
    /// It said so.
    LookedUp {
        /// The processor that it is about.
        processor: Processor,
        /// What the lookup showed.
        lookup: Lookup,
    },
    /// Nothing proves what became of it: it stays with this processor and is sent there again.
    Pinned {
        /// The processor that it is about.
        processor: Processor,
        /// After so long, in ms.
        pause_ms: u32,
    },
    /// Answered 200 by the processor, settled, and the client was told what it waits for: the end
    /// of a plain payment in one entry.
    Charged {
        /// The processor that it is about.
        processor: Processor,
        /// How long after it came, in us.
        took_us: u32,
    },
    /// An operator says what became of it.
    Resolved {
        /// That it was charged, or that it was not and never will be.
        is_charged: bool,
    },
    /// Its fate is known and written down.
    Settled {
        /// As what.
        status: Status,
        /// Where it was charged, by us or by another client.
        processor: Option<Processor>,
    },
    /// The client was told.
    Told {
        /// What the client was told.
        answer: Answer,
    },
}

/// What a core has to say about a payment that is not plain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Telling {
    /// A payment turns out not to be plain; its entries follow, those before this moment too.
    Head(Box<Head>),
    /// One of its entries.
    Entry(Entry),
    /// Its client was told something, or it was settled later: one line for the log.
    Line(Box<Line>),
}

/// Who a payment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The payment.
    pub payment: Payment,
    /// What its client sent along.
    pub trace: Option<Arc<Trace>>,
    /// When it turned out not to be plain.
    pub at: UnixMillis,
}

/// The state of a payment that is not plain, at the moment of an answer or of its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who it is.
    pub head: Head,
    /// What the client was told just now; none when it was told before, or none waits.
    pub answer: Option<Answer>,
    /// As what it is settled; pending until then.
    pub status: Status,
    /// Where it was charged or may be charged, or where it was tried last.
    pub processor: Option<Processor>,
    /// Attempts that were ever sent.
    pub attempts: u32,
    /// Since it reached its owner; after a restart, since that.
    pub took: Duration,
    /// What about it was not plain.
    pub remarks: Remarks,
    /// How its last attempt that did not charge ended.
    pub last: Option<Reason>,
}

/// Whole milliseconds of `span`.
#[must_use]
pub(crate) fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

/// Whole microseconds of `span`.
#[must_use]
pub(crate) fn micros(span: Duration) -> u32 {
    u32::try_from(span.as_micros()).unwrap_or(u32::MAX)
}
