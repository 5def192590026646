//! The values of every label, each with its series from the start. Ids and addresses are never
//! labels.

use super::cells::Label;
use crate::http::status::{self, STATUSES};
use crate::payment::{Outcome, Processor, ProcessorCount, Status};

/// Declares a label: an enum with the text of each value.
macro_rules! label {
    ($(#[$top:meta])* $vis:vis $name:ident { $($(#[$doc:meta])* $one:ident = $tag:literal,)+ }) => {
        $(#[$top])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name { $($(#[$doc])* $one,)+ }

        impl $name {
            /// How many values there are.
            $vis const COUNT: usize = [$(Self::$one),+].len();
        }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$one),+];

            #[allow(clippy::as_conversions, reason = "the enum's own number, from 0")]
            fn index(self) -> usize {
                self as usize
            }

            fn name(self) -> &'static str {
                match self { $(Self::$one => $tag,)+ }
            }
        }
    };
}

pub(super) use label;

label! {
    /// What a request asked for.
    pub Route {
        /// `POST /payments`.
        Payments = "payments",
        /// `GET /payments/{id}`.
        Payment = "payment",
        /// `GET /payments-summary`.
        Summary = "summary",
        /// `POST /purge-payments`.
        Purge = "purge",
        /// `POST /admin/...`.
        Admin = "admin",
        /// `GET /`, `GET /status.json` and `GET /status.txt`.
        Status = "status",
        /// `GET /metrics`.
        Metrics = "metrics",
        /// `GET /openapi.json`.
        Openapi = "openapi",
        /// `GET /healthz`.
        Healthz = "healthz",
        /// `GET /readyz`.
        Readyz = "readyz",
        /// Any other path, and heads that were not read.
        Other = "other",
    }
}

label! {
    /// What became of the wish to hedge.
    pub HedgeEvent {
        /// A second attempt was sent.
        Fired = "fired",
        /// Its answer came first.
        Won = "won",
        /// The first attempt's answer came first.
        Lost = "lost",
        /// The budget was used up or the breaker was not Closed.
        Denied = "denied",
    }
}

label! {
    /// Why a payment got 503 before it was claimed.
    pub ShedReason {
        /// `CONCURRENCY_LIMIT` clients wait already.
        ConcurrencyLimit = "concurrency_limit",
        /// `QUEUE_CAPACITY` payments are unsettled.
        QueueFull = "queue_full",
        /// `CACHE_CAPACITY`, where `CACHE_FULL=refuse`.
        CacheFull = "cache_full",
        /// The owner core's mailbox had no room.
        MailboxFull = "mailbox_full",
        /// The journal failed.
        JournalDown = "journal_down",
        /// No processor could be tried in time.
        Unavailable = "unavailable",
    }
}

label! {
    /// Why a hand-over to the owner core came to nothing.
    pub HandOverFailure {
        /// No room in its mailbox: 503.
        MailboxFull = "mailbox_full",
        /// No word from it in time: closed without an answer.
        NoReply = "no_reply",
    }
}

label! {
    /// Why a request that had been read got no answer.
    pub Unanswered {
        /// The client was gone before the answer.
        ClientGone = "client_gone",
        /// The owner core gave no word in time.
        OwnerSilent = "owner_silent",
        /// Its record was in a batch that the journal failed to write; replay decides.
        JournalFailed = "journal_failed",
    }
}

label! {
    /// Why a client's connection ended.
    pub Closed {
        /// The client closed it, or is gone.
        Client = "client",
        /// After an answer that announced it.
        Answered = "answered",
        /// Nothing was asked within `IDLE_TIMEOUT_SECS`; the first time, `HEADER_TIMEOUT_MS`.
        Idle = "idle",
        /// A request took longer than `HEADER_TIMEOUT_MS` to arrive.
        SlowRequest = "slow_request",
        /// The client did not take its answer.
        Unread = "unread",
        /// It was idle longest when another one needed its place.
        MadeRoom = "made_room",
        /// Every place was taken.
        Full = "full",
        /// Its address has as many as it may.
        Address = "address",
        /// The last descriptors are not for clients.
        Descriptors = "descriptors",
        /// A request got no answer.
        Unanswered = "unanswered",
        /// The process stops.
        Shutdown = "shutdown",
    }
}

impl Closed {
    /// Whether an operator should hear of it: p99 was short of something, or a client misused it.
    #[must_use]
    pub const fn is_pressure(self) -> bool {
        match self {
            Self::Unread | Self::MadeRoom | Self::Full | Self::Address | Self::Descriptors => true,
            Self::Client | Self::Answered | Self::Idle | Self::SlowRequest => false,
            Self::Unanswered | Self::Shutdown => false,
        }
    }
}

label! {
    /// What a processor said when asked for an id.
    pub LookupAnswer {
        /// 200.
        Stored = "stored",
        /// 404.
        NotFound = "not_found",
        /// Anything else, or nothing.
        NoAnswer = "no_answer",
    }
}

label! {
    /// How connecting to a processor ended.
    pub ConnectResult {
        /// Connected.
        Connected = "connected",
        /// Refused, unreachable or no address.
        Failed = "failed",
        /// `CONNECT_TIMEOUT_MS` was over.
        TimedOut = "timed_out",
        /// Connected, and no TLS session came to be.
        HandshakeFailed = "handshake_failed",
    }
}

label! {
    /// What reading a processor's files again led to.
    pub FileReading {
        /// They hold something else, which is in use now.
        Changed = "changed",
        /// One of them is not as it must be.
        Refused = "refused",
    }
}

label! {
    /// Why a settled claim was forgotten.
    pub ClaimDropped {
        /// `CACHE_TTL_SECONDS` was over.
        Expired = "expired",
        /// `CACHE_CAPACITY` was full.
        Evicted = "evicted",
        /// `POST /purge-payments`.
        Purged = "purged",
    }
}

label! {
    /// How a call to a peer ended.
    pub PeerResult {
        /// It answered.
        Answered = "answered",
        /// It did not.
        Failed = "failed",
    }
}

label! {
    /// The event loop under a core.
    pub Driver {
        /// io_uring.
        IoUring = "io_uring",
        /// epoll.
        Epoll = "epoll",
    }
}

label! {
    /// When a journal record counts as durable.
    pub JournalMode {
        /// There is no journal.
        Off = "off",
        /// Written.
        Os = "os",
        /// Written and synced.
        Always = "always",
        /// There is none: the shared store has acknowledged it.
        Store = "store",
    }
}

label! {
    /// Where a breaker went from and to.
    pub(crate) Transition {
        /// Too many failures, or a 429's rest.
        ClosedToOpen = "closed_open",
        /// Its time is over: probes go through.
        OpenToHalfOpen = "open_half_open",
        /// The probes succeeded.
        HalfOpenToClosed = "half_open_closed",
        /// A probe failed.
        HalfOpenToOpen = "half_open_open",
    }
}

impl Transition {
    /// The `from` and `to` labels.
    pub(super) const fn ends(self) -> (&'static str, &'static str) {
        match self {
            Self::ClosedToOpen => ("closed", "open"),
            Self::OpenToHalfOpen => ("open", "half_open"),
            Self::HalfOpenToClosed => ("half_open", "closed"),
            Self::HalfOpenToOpen => ("half_open", "open"),
        }
    }
}

impl Label for Processor {
    const ALL: &'static [Self] = &Self::ALL;

    fn shown(processors: ProcessorCount) -> &'static [Self] {
        processors.list()
    }

    fn index(self) -> usize {
        Self::index(self)
    }

    fn name(self) -> &'static str {
        Self::name(self)
    }
}

impl Label for Outcome {
    const ALL: &'static [Self] = &Self::ALL;

    fn index(self) -> usize {
        match self {
            Self::NotSent => 0,
            Self::Refused => 1,
            Self::Applied => 2,
            Self::Unknown => 3,
        }
    }

    fn name(self) -> &'static str {
        Self::name(self)
    }
}

impl Label for Status {
    const ALL: &'static [Self] = &[Self::Pending, Self::Processed, Self::Refused];

    fn index(self) -> usize {
        match self {
            Self::Pending => 0,
            Self::Processed => 1,
            Self::Refused => 2,
        }
    }

    fn name(self) -> &'static str {
        Self::name(self)
    }
}

impl Route {
    /// The status codes of its answers; their series are there from the start.
    pub(crate) const fn statuses(self) -> &'static [u16] {
        match self {
            Self::Payments => &[
                200, 202, 400, 401, 404, 405, 409, 415, 421, 422, 429, 502, 503,
            ],
            Self::Payment => &[200, 401, 403, 404, 405, 421, 429, 503],
            Self::Summary => &[200, 400, 401, 403, 405, 422, 429, 503],
            Self::Purge => &[200, 400, 401, 403, 404, 405, 415, 429, 503],
            Self::Admin => &[200, 400, 401, 403, 404, 405, 409, 415, 421, 422],
            Self::Status => &[200, 401, 404, 405, 429],
            Self::Metrics => &[200, 401, 404, 405, 429],
            Self::Openapi => &[200, 401, 405, 429],
            Self::Healthz => &[200, 405],
            Self::Readyz => &[200, 405, 503],
            // Besides unknown paths: heads and bodies that cannot be read, connections without a
            // place, and whatever is refused before its body was sent (`Expect: 100-continue`).
            Self::Other => &[
                400, 401, 403, 404, 405, 408, 413, 414, 415, 417, 429, 431, 501, 503, 505,
            ],
        }
    }
}

/// A status code as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatusCode(u8);

impl StatusCode {
    /// How many values there are: the listed ones and `other`.
    pub(crate) const COUNT: usize = STATUSES.len() + 1;

    /// The label of `status`.
    #[must_use]
    pub(crate) fn new(status: u16) -> Self {
        Self(
            status::place_of(status)
                .and_then(|place| u8::try_from(place).ok())
                .unwrap_or(OTHER),
        )
    }

    /// Whether `route` can be answered with it.
    pub(super) fn is_of(self, route: Route) -> bool {
        STATUSES
            .get(self.index())
            .is_some_and(|status| route.statuses().contains(&status.code))
    }

    /// 2xx.
    pub(super) fn is_success(self) -> bool {
        STATUSES
            .get(self.index())
            .is_some_and(|status| status.code < 300)
    }
}

#[allow(
    clippy::as_conversions,
    reason = "two dozen fit in a u8; there is no const try_from"
)]
const OTHER: u8 = STATUSES.len() as u8;

impl Label for StatusCode {
    const ALL: &'static [Self] = &{
        let mut all = [Self(0); Self::COUNT];
        let mut place = 0;
        while place < OTHER {
            place += 1;
            all[place as usize] = Self(place);
        }
        all
    };

    fn index(self) -> usize {
        usize::from(self.0)
    }

    fn name(self) -> &'static str {
        STATUSES
            .get(self.index())
            .map_or("other", |status| status.text)
    }
}
