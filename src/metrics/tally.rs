//! What all cores have answered and how long it took, for the line that p99 logs once a minute.

use super::cells::Label;
use super::rolling::{Recent, Span};
use super::{Metrics, Route, StatusCode};
use crate::clock::Mono;

/// Answers to `POST /payments` since the start, by what they say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub answered: u64,
    /// 200.
    pub charged: u64,
    /// 202.
    pub accepted: u64,
    /// 409.
    pub duplicates: u64,
    /// 422 and 502.
    pub refused: u64,
    /// 503.
    pub unavailable: u64,
}

impl Tally {
    /// What was added since `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            answered: self.answered.wrapping_sub(earlier.answered),
            charged: self.charged.wrapping_sub(earlier.charged),
            accepted: self.accepted.wrapping_sub(earlier.accepted),
            duplicates: self.duplicates.wrapping_sub(earlier.duplicates),
            refused: self.refused.wrapping_sub(earlier.refused),
            unavailable: self.unavailable.wrapping_sub(earlier.unavailable),
        }
    }
}

impl Metrics {
    /// What was answered since the start.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let of = |code: StatusCode| self.sum(|core| core.requests.get(Route::Payments).get(code));
        let with = |status| of(StatusCode::new(status));
        Tally {
            answered: StatusCode::ALL.iter().map(|code| of(*code)).sum(),
            charged: with(200),
            accepted: with(202),
            duplicates: with(409),
            refused: with(422).wrapping_add(with(502)),
            unavailable: with(503),
        }
    }

    /// Payments that are not settled, as the cores counted them last.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.sum(|core| &core.payments_pending)
    }

    /// The median and the 99th percentile of the last minute's answers, in microseconds.
    #[must_use]
    pub fn latencies_us(&self, now: Mono) -> [u64; 2] {
        let recent = Recent::new(
            self.cores().map(|core| &core.payments_recent),
            Span::Minute,
            now,
        );
        [500, 990].map(|per_mille| recent.quantile_us(per_mille))
    }
}
