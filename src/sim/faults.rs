//! The liar's script: which requests go wrong, at which moment and how. `processor` asks the
//! script at each of five moments and does what it says; tests fill it in process, scripts over
//! HTTP. Demo and tests share this one liar.
//!
//! | moment | what the processor has done | what a reset there means for the caller |
//! |---|---|---|
//! | connect | accepted, read nothing | not charged |
//! | handshake | over TLS: read the client's first words, said nothing | not charged |
//! | head | read the head | not charged |
//! | body | read the request in full | not charged |
//! | answer | charged (or refused) it | charged, and the caller was not told |
//!
//! Pure: chance comes from a seed, so a run can be repeated. Admin calls meet connect faults only.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Scripted faults at once; every request looks at each of them.
const SIM_FAULTS_MAX: usize = 256;

/// When in an exchange a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// The connection was accepted and no byte read.
    Connect,
    /// Over TLS: the client has begun its handshake and was told nothing.
    Handshake,
    /// The request's head was read.
    Head,
    /// The request was read in full and nothing done about it.
    Body,
    /// The work is done, the answer is next.
    Answer,
}

/// Which requests a fault concerns. At [`Moment::Connect`] and [`Moment::Handshake`] no route is
/// known yet: all do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// `POST /payments`.
    #[default]
    Pay,
    /// `GET /payments/{id}`.
    Lookup,
    /// `GET /payments/service-health`.
    Health,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// RST. At any moment.
    Reset,
    /// FIN without (more of) an answer. At any moment.
    Close,
    /// The connection stays open and nothing is read or answered until the caller closes it. At
    /// any moment.
    Stall,
    /// So many milliseconds go by, then all goes on as usual. At any moment; at the body this is
    /// a hang before the insert, at the answer a late answer to a charged payment.
    Pause(u64),
    /// This answer instead of the true one. At the head the connection closes after it and the
    /// body is never read; at the body nothing is charged; at the answer it is charged.
    Status(u16),
    /// As [`Act::Status`], with `Retry-After` in seconds.
    StatusRetryAfter(u16, u32),
    /// At the body: RST at once, and the work is done so many milliseconds later all the same.
    ResetChargeLater(u64),
    /// At the answer: FIN in the middle of its head. At the handshake: in the middle of the first
    /// words of the processor.
    CutHead,
    /// At the answer: FIN in the middle of its body.
    CutBody,
    /// At the answer: RST in the middle of its body.
    ResetBody,
    /// At the answer: one byte at a time, so many milliseconds apart.
    Drip(u64),
    /// At the answer: twice.
    Double,
    /// At the answer: bytes that are no HTTP. At the handshake: bytes that are no TLS.
    Garbage,
    /// At the answer, and legal: its body in two chunks, as the real one writes all of its JSON.
    Chunked,
    /// At the answer, and legal: a 103 before it.
    Interim,
    /// At the answer, and legal: with `Connection: close`, then FIN.
    LastAnswer,
    /// At the answer, and legal: without a length, so that its end is the connection's.
    UntilClose,
    /// The same, and over TLS not legal: without the word that nothing more comes.
    Truncate,
    /// At the answer, and legal: FIN behind it unannounced, so that a pooled connection is dead.
    CloseAfter,
    /// At the answer: RST behind it.
    ResetAfter,
}

impl Act {
    /// Whether this can happen at `moment`.
    #[must_use]
    pub const fn fits(self, moment: Moment) -> bool {
        match self {
            Self::Reset | Self::Close | Self::Stall | Self::Pause(_) => true,
            Self::Status(code) | Self::StatusRetryAfter(code, _) => {
                let has_request = !matches!(moment, Moment::Connect | Moment::Handshake);
                200 <= code && code <= 599 && has_request
            }
            Self::ResetChargeLater(_) => matches!(moment, Moment::Body),
            Self::CutHead | Self::Garbage => {
                matches!(moment, Moment::Handshake | Moment::Answer)
            }
            Self::CutBody
            | Self::ResetBody
            | Self::Drip(_)
            | Self::Double
            | Self::Chunked
            | Self::Interim
            | Self::LastAnswer
            | Self::UntilClose
            | Self::Truncate
            | Self::CloseAfter
            | Self::ResetAfter => matches!(moment, Moment::Answer),
        }
    }
}

/// Which of the requests that a fault concerns it strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Every one.
    #[default]
    Always,
    /// The next so many.
    Next(u64),
    /// Every k-th, counted from when the fault was set.
    Every(u64),
    /// Each with this chance.
    Chance {
        /// How many of a million are struck.
        per_million: u32,
        /// The same seed strikes the same requests, counted from when the fault was set.
        seed: u64,
    },
}

/// One scripted fault. As JSON: `{"moment":"answer","act":"reset"}`,
/// `{"moment":"body","act":{"status":503},"when":{"next":3},"route":"pay"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When in the exchange.
    pub moment: Moment,
    /// What happens.
    pub act: Act,
    /// To which of them; all when not given.
    #[serde(default)]
    pub when: Schedule,
    /// Of which requests; payments when not given.
    #[serde(default)]
    pub route: Route,
}

impl Fault {
    /// `act` at `moment` for every payment.
    #[must_use]
    pub const fn new(moment: Moment, act: Act) -> Self {
        Self {
            moment,
            act,
            when: Schedule::Always,
            route: Route::Pay,
        }
    }

    /// Only the next `count`.
    #[must_use]
    pub const fn next(self, count: u64) -> Self {
        Self {
            when: Schedule::Next(count),
            ..self
        }
    }

    /// Only every `count`-th.
    #[must_use]
    pub const fn every(self, count: u64) -> Self {
        Self {
            when: Schedule::Every(count),
            ..self
        }
    }

    /// Only `per_million` of a million, drawn from `seed`.
    #[must_use]
    pub const fn chance(self, per_million: u32, seed: u64) -> Self {
        Self {
            when: Schedule::Chance { per_million, seed },
            ..self
        }
    }

    /// Requests of `route` instead of payments.
    #[must_use]
    pub const fn on(self, route: Route) -> Self {
        Self { route, ..self }
    }
}

/// Names a fault that was set, to ask how often it struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultId(usize);

/// Why a fault was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Its act cannot happen at its moment, or its status is none.
    Moment,
    /// There are `SIM_FAULTS_MAX` already.
    TooMany,
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Moment => "this cannot happen at that moment",
            Self::TooMany => "too many faults",
        })
    }
}

impl std::error::Error for Misfit {}

/// The faults that are set, in the order in which they are asked.
#[derive(Debug, Default)]
pub(crate) struct Script {
    armed: Vec<Armed>,
}

/// A fault that is set.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    fault: Fault,
    /// Requests that it struck.
    struck: u64,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    /// Requests that it concerned.
    seen: u64,
    /// Requests that it struck.
    struck: u64,
    /// The state of the random sequence.
    random: u64,
}

impl Script {
    /// Adds a fault behind those that are set.
    ///
    /// # Errors
    /// Why it cannot be set.
    pub(crate) fn add(&mut self, fault: Fault) -> Result<FaultId, Misfit> {
        if !fault.act.fits(fault.moment) {
            return Err(Misfit::Moment);
        }
        if self.armed.len() >= SIM_FAULTS_MAX {
            return Err(Misfit::TooMany);
        }
        let random = match fault.when {
            Schedule::Chance { seed, .. } => seed,
            Schedule::Always | Schedule::Next(_) | Schedule::Every(_) => 0,
        };
        self.armed.push(Armed {
            fault,
            seen: 0,
            struck: 0,
            random,
        });
        Ok(FaultId(self.armed.len() - 1))
    }

    /// Drops all faults.
    pub(crate) fn clear(&mut self) {
        self.armed.clear();
    }

    /// How many faults are set.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.armed.len()
    }

    /// How many requests the fault struck; 0 when it is set no more.
    #[must_use]
    pub(crate) fn struck(&self, id: FaultId) -> u64 {
        self.armed.get(id.0).map_or(0, |armed| armed.struck)
    }

    /// Every fault with how often it struck, as JSON shows it.
    pub(super) fn list(&self) -> impl Iterator<Item = Listed> + '_ {
        self.armed.iter().map(|armed| Listed {
            fault: armed.fault,
            struck: armed.struck,
        })
    }

    /// What happens to this request at this moment: the first fault that strikes it. `route` is
    /// `None` for calls that faults spare, and at connect.
    pub(crate) fn strike(&mut self, moment: Moment, route: Option<Route>) -> Option<Act> {
        self.armed
            .iter_mut()
            .find_map(|armed| armed.strike(moment, route))
    }
}

impl Armed {
    fn strike(&mut self, moment: Moment, route: Option<Route>) -> Option<Act> {
        let concerns = match moment {
            Moment::Connect | Moment::Handshake => true,
            Moment::Head | Moment::Body | Moment::Answer => route == Some(self.fault.route),
        };
        if moment != self.fault.moment || !concerns {
            return None;
        }
        self.seen += 1;
        let strikes = match self.fault.when {
            Schedule::Always => true,
            Schedule::Next(count) => self.struck < count,
            Schedule::Every(count) => self.seen.is_multiple_of(count.max(1)),
            Schedule::Chance { per_million, .. } => {
                next_random(&mut self.random) % 1_000_000 < u64::from(per_million)
            }
        };
        self.struck += u64::from(strikes);
        strikes.then_some(self.fault.act)
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): one addition and a mix, good enough for luck.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Milliseconds as a span.
pub(super) const fn span(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[cfg(test)]
mod tests;
