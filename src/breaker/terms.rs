//! The terms in which the breaker talks with its callers: states, permits, tickets, verdicts,
//! transitions and settings. What they do to each other is in the breaker and its table.

use std::time::Duration;

use crate::clock::Mono;
use crate::limits;

const _: () = assert!(
    limits::BREAKER_PROBES_MAX < 255,
    "a ticket names every permit, and none"
);

/// The field's names: Open refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything passes and is counted.
    Closed,
    /// Nothing passes until the deadline.
    Open,
    /// A few probes pass; they decide.
    HalfOpen,
}

impl State {
    /// All, in the order of every table.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// The value of the status gauges: 0 Closed, 1 Open, 2 HalfOpen.
    #[must_use]
    pub const fn gauge(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Open => 1,
            Self::HalfOpen => 2,
        }
    }

    /// Its name in logs and metric labels.
    #[cfg(test)]
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// For what a permit is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A payment that no other processor may have (I2): it gets any free permit, but while fresh
    /// ones wait no more than one in two HalfOpen rounds.
    Pinned,
    /// Any other payment: while pinned ones wait for that one, on any core, it stays free for them.
    Fresh,
}

/// How an attempt ended, as the breaker sees it (the table of I3 says which is which).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The processor works.
    Success,
    /// It does not.
    Failure,
    /// Says nothing about the processor: a local shed, a client's abort, a 400.
    Neither,
}

/// The right to make one attempt. Its holder owes exactly one `record` or `give_back`. A second
/// one for a probe is ignored (its permit word has moved on); a second one for a Closed-time
/// ticket would count one attempt twice, which only its holder can prevent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Which generation of the breaker granted it; a later one ignores it.
    pub(super) generation: u16,
    /// The permit's place, [`Ticket::NO_PROBE`] when granted while Closed.
    pub(super) probe: u8,
    /// The permit's expiry, which tells this holder from later ones; zero without a permit.
    pub(super) expiry_ms: u64,
}

impl Ticket {
    pub(super) const NO_PROBE: u8 = u8::MAX;

    /// Which generation of the breaker granted it.
    #[must_use]
    pub const fn generation(self) -> u16 {
        self.generation
    }

    /// Whether this attempt is a HalfOpen probe.
    #[must_use]
    pub const fn is_probe(self) -> bool {
        self.probe != Self::NO_PROBE
    }
}

/// The answer to a request for a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// Go.
    Granted(Ticket),
    /// Not now.
    Refused {
        /// Asking before this moment is useless (Open) or hardly useful (HalfOpen). It lies ahead.
        until: Mono,
    },
}

/// A change of state. The caller that caused it gets it once and logs it; the breaker has counted
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
}

impl Transition {
    /// All that can happen, in the order of [`transitions`]. Open becomes Closed by way
    /// of HalfOpen only.
    ///
    /// [`transitions`]: super::Breaker::transitions
    pub const ALL: [Self; 4] = [
        Self {
            from: State::Closed,
            to: State::Open,
        },
        Self {
            from: State::Open,
            to: State::HalfOpen,
        },
        Self {
            from: State::HalfOpen,
            to: State::Closed,
        },
        Self {
            from: State::HalfOpen,
            to: State::Open,
        },
    ];
}

/// The numbers of one breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// `CB_FAIL_RATE` in thousandths: this share of failures opens. At least 1.
    pub failure_per_mille: u16,
    /// `CB_MIN_SAMPLES`: fewer results in the window open nothing. At least 1.
    pub min_samples: u32,
    /// `CB_OPEN_SECS`: how long it stays Open.
    pub open: Duration,
    /// `CB_WINDOW_SECS`: how long a result counts; ten buckets of at least 1 ms.
    pub window: Duration,
    /// `CB_HALF_OPEN_PROBES`: 1 to `limits::BREAKER_PROBES_MAX`; values outside are clamped.
    pub probes: u32,
    /// How long a probe may hold its permit before another may have it (`ATTEMPT_TIMEOUT_MS`).
    pub probe_ttl: Duration,
}
