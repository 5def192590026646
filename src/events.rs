//! The grammar between the decision side and the kernel side: the driver tells an [`Owner`] what
//! happened (its methods are the events) and performs the [`Action`]s that come back. The driver
//! decides nothing; the owner touches no socket, file or clock.
//!
//! [`Owner`]: crate::owner::Owner

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::breaker::Transition;
use crate::claims::{FirstAnswer, SettledClaim};
use crate::clock::UnixMillis;
use crate::journal::Haste;
use crate::payment::{Cents, CoreId, Outcome, Payment, PaymentView, Processor, Status, UpstreamId};
use crate::table::Key;

/// Names one attempt on its owner core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptRef(pub Key);

/// Where an answer goes: a reserved reply slot of the accepting core (I1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplyTo {
    /// The core whose connection waits.
    pub core: CoreId,
    /// The reply's place in that core's table.
    pub key: Key,
}

/// Which of a core's writers a record goes to. There is one where there is a journal; a core that
/// uses the store may have adopted others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterSlot(pub u16);

impl WriterSlot {
    /// The core's own.
    pub const OWN: Self = Self(0);
}

/// What the store knows of an id that another writer had claimed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Winner {
    /// It is pending there, with this amount.
    Pending {
        /// As it was claimed.
        amount: Cents,
    },
    /// It is settled.
    Settled(SettledClaim),
    /// It was freed meanwhile.
    Gone,
}

/// Headers that are taken over from the client, sent upstream and returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// `X-Request-Id`, visible ASCII, bounded by the head's limit.
    pub request_id: Option<String>,
    /// `traceparent` (W3C Trace Context).
    pub traceparent: Option<String>,
}

/// A payment that reached its owner core.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// What to charge.
    pub payment: Payment,
    /// Who waits for the answer.
    pub reply_to: ReplyTo,
    /// Present only when the client sent such headers, so that the usual payment allocates nothing.
    pub trace: Option<Arc<Trace>>,
}

/// What I/O saw of one attempt. What it *means* is judged in `flow` (I3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// No connection could be had, or it was dead before the first byte was handed to the kernel.
    NotSent,
    /// One whole answer was read.
    Answered {
        /// The status code, 200 to 599.
        status: u16,
        /// `Retry-After` in seconds from now, if it was given and can be read.
        retry_after_secs: Option<u32>,
    },
    /// Bytes were handed to the kernel and no whole answer came: reset, EOF, or bytes that are no
    /// HTTP answer. The connection is closed.
    Cut,
}

/// What `GET {UPSTREAM_PAY_PATH}/{id}` showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// 200 with the record of this id.
    Stored {
        /// As the processor stored it, to the millisecond.
        requested_at: UnixMillis,
        /// What it charged.
        amount: Cents,
    },
    /// 404.
    NotFound,
    /// Anything else, or nothing.
    NoAnswer,
}

/// What the driver shall do. Actions are performed in order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Get a connection to `processor`, then call `connected` or `exchanged(NotSent)`; `connecting`
    /// at once where none is at hand.
    Connect {
        /// For whom.
        attempt: AttemptRef,
        /// Where to.
        processor: Processor,
        /// Never a pooled one: a hedge must not queue behind a stuck connection, nor a re-send meet
        /// another dead one.
        fresh: bool,
        /// The only address that will do, for what may be charged there already (I10).
        at: Option<SocketAddr>,
    },
    /// The connected but unused connection of `attempt` goes back; a connect under way is ended.
    Abandon {
        /// The attempt that it is about.
        attempt: AttemptRef,
    },
    /// Write the payment on `attempt`'s connection, read one answer, then call `exchanged`.
    Send {
        /// On whose connection.
        attempt: AttemptRef,
        /// The id that goes upstream (I2).
        id: UpstreamId,
        /// How much.
        amount: Cents,
        /// As the Intent has it (I9).
        requested_at: UnixMillis,
        /// Sent along when present.
        trace: Option<Arc<Trace>>,
    },
    /// Ask `processor` for `id` on any connection (the attempt's own when it is clean), then call
    /// `looked_up`.
    Lookup {
        /// For whom.
        attempt: AttemptRef,
        /// Whom to ask.
        processor: Processor,
        /// About what.
        id: UpstreamId,
        /// The only address that will do, for what may be charged there already (I10).
        at: Option<SocketAddr>,
    },
    /// Stop waiting for `attempt`'s late answer and close its connection. No event follows.
    Close {
        /// The attempt that it is about.
        attempt: AttemptRef,
    },
    /// Append the owner's `next_record` to this writer; `durable` follows when it and all before
    /// it are.
    Append(WriterSlot, Haste),
    /// Append this to this writer, whose records are in a shared store; `durable` follows as for
    /// any other.
    AppendToStore(WriterSlot, StoreLine, Haste),
    /// Have written what was appended to this writer with [`Haste::Later`].
    Flush(WriterSlot),
    /// Tell the waiting client.
    Answer {
        /// Where it waits.
        to: ReplyTo,
        /// What to say.
        answer: Answer,
    },
    /// Count it, and log it where it is worth a line. Nothing depends on it.
    Note(Note),
    /// Operators may want to know what the owner's `next_telling` says. Nothing depends on it.
    Tell,
}

/// What is said of a payment to a shared store alone: a journal has no words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreLine {
    /// An operator says how the payment ended: the table tells that from what a processor said.
    ByHand {
        /// The payment's id.
        id: UpstreamId,
        /// Who charged it with which `requestedAt`; `None` when no one did and no one will.
        charged: Option<(Processor, UnixMillis)>,
    },
    /// The processor of an adopted payment has spoken about its id, though that settled nothing:
    /// sums need not wait for it any more.
    Heard {
        /// The payment's id.
        id: UpstreamId,
    },
}

/// What happened, for metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// An attempt ended.
    AttemptEnded {
        /// Of this payment.
        id: UpstreamId,
        /// The processor that it is about.
        processor: Processor,
        /// How the attempt ended.
        outcome: Outcome,
        /// Why it ended so.
        reason: Reason,
        /// From its first byte, zero when none was sent.
        took: Duration,
    },
    /// A late answer replaced Unknown for its own attempt.
    LateAnswer(Processor),
    /// A late answer is awaited no more: too many others are.
    LateReadDropped,
    /// An id that was known already was asked for again.
    Duplicate(Status),
    /// A payment settled; with `processor` it was charged by us.
    Settled {
        /// The payment's id.
        id: UpstreamId,
        /// As what.
        status: Status,
        /// The processor that it is about.
        processor: Option<Processor>,
        /// How much.
        amount: Cents,
    },
    /// The processor stores this id with a time that we never sent: someone charged it earlier.
    Foreign {
        /// The payment's id.
        id: UpstreamId,
        /// The processor that it is about.
        processor: Processor,
    },
    /// A request was turned away before it was claimed.
    Shed(Shed),
    /// A hedge, see `Hedge`.
    Hedge(Processor, Hedge),
    /// The same id went to the same processor again after Unknown.
    Resent(Processor),
    /// A lookup was answered so.
    LookedUp(Processor, Lookup),
    /// A breaker moved.
    Breaker(Processor, Transition),
    /// A processor is at another address, see `Move`.
    Move(Processor, Move),
}

/// What is known of a processor that payments in doubt went to, and whose address is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Whether it is the same one at its new address is not known.
    Unproven {
        /// The address that the Intent of a payment names.
        from: Option<SocketAddr>,
        /// The address that is asked now.
        to: SocketAddr,
    },
    /// It is: it stores a payment there that only ever went to the old address.
    Proven {
        /// The new address.
        at: SocketAddr,
    },
}

/// Why an attempt ended as it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A whole answer with this status.
    Status(u16),
    /// No connection, or one that was dead before the first byte.
    NoConnection,
    /// Reset, EOF or bytes that are no answer, after bytes went out.
    Cut,
    /// No answer within ATTEMPT_TIMEOUT_MS.
    Timeout,
    /// Another processor became the better choice, or the client's time was up, before a byte was
    /// sent.
    Abandoned,
}

/// Why a request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// CONCURRENCY_LIMIT.
    Concurrency,
    /// QUEUE_CAPACITY.
    Queue,
    /// CACHE_CAPACITY, where CACHE_FULL refuses.
    Cache,
    /// The journal failed.
    Journal,
    /// No processor could be tried in time.
    Unavailable,
}

/// What became of a hedge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hedge {
    /// A second attempt was sent.
    Fired,
    /// It settled the payment.
    Won,
    /// The first attempt did.
    Lost,
    /// The budget, the breaker or the slots forbade one.
    Denied,
}

/// What the client is told about a `POST /payments`. The HTTP status is chosen in `server`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Charged: 200.
    Charged,
    /// Held and going to be settled: 202.
    Accepted,
    /// The id is known already: 409.
    Duplicate(Status),
    /// `ON_DUPLICATE=replay`: charged, and this is what its first client was told.
    Replayed(FirstAnswer),
    /// The id is known with another amount: 422.
    AmountDiffers,
    /// A processor refused it for good: 422, not charged, the id is free.
    RefusedForGood,
    /// At least one processor refused and none is left to try: 502, not charged, the id is free.
    RefusedByAll,
    /// None could be tried within REQUEST_TIMEOUT_MS: 503, not charged, the id is free.
    Unavailable,
    /// None could be tried within REQUEST_TIMEOUT_MS, and the id was not claimed yet in the store
    /// that other instances share: 503; nothing is said of it.
    NotTried,
    /// A bound was reached before claiming: 503; nothing is said of the id.
    Overloaded,
    /// No room for another id, and CACHE_FULL refuses: 503; nothing is said of the id.
    NoRoom,
    /// The journal failed before claiming: 503; nothing is said of the id.
    JournalDown,
    /// Its fate is decided by replay: close without an answer.
    Silence,
}

/// What an owner core says to `GET /payments/{id}`.
pub(crate) type Finding = Option<PaymentView>;
