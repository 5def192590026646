//! Which processor a payment goes to, as a pure rule over what is known of both. `owner` asks it
//! before the first attempt, after each one that failed, and when something was slow; it takes
//! slots and breaker permits itself, so a plan is a wish, never a lease.
//!
//! I2 does not stand here: a pinned payment is never planned.

use std::time::Duration;

use crate::breaker::State;
use crate::config::{Ack, Routing};
use crate::payment::{PerProcessor, Processor, UpstreamId};

/// The settings that routing follows.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// ROUTING.
    pub routing: Routing,
    /// ACK.
    pub ack: Ack,
    /// HEDGE_DELAY_MS: how long something may be slow before routing is asked again.
    pub patience: Duration,
    /// FALLBACK_AFTER_MS.
    pub fallback_after: Duration,
}

/// What is known when a payment is planned.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// The processor that the payment would rather go to, by [`prefer`].
    pub preferred: Processor,
    /// Both breakers.
    pub breakers: PerProcessor<State>,
    /// Tried in vain since the payment was last planned anew.
    pub tried: PerProcessor<bool>,
    /// How long the payment has waited.
    pub waited: Duration,
}

/// Where a payment may go now, and where it waits if neither takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// First choice, if it has a slot and its breaker a permit.
    pub first: Option<Processor>,
    /// Second choice, likewise.
    pub second: Option<Processor>,
    /// In whose queue to wait; none when none is left to try.
    pub wait_at: Option<Processor>,
}

/// The processor that `id` would rather go to. `recent` is each processor's recent median latency,
/// failures counted as slow.
#[must_use]
pub fn prefer(
    routing: Routing,
    id: UpstreamId,
    recent: impl FnOnce() -> PerProcessor<Duration>,
) -> Processor {
    match routing {
        Routing::Cheapest => Processor::Default,
        // The lowest bits choose the owner core, so another bit halves each core's payments.
        Routing::RoundRobin if id.hash() >> 63 == 0 => Processor::Default,
        Routing::RoundRobin => Processor::Fallback,
        Routing::Fastest => {
            let recent = recent();
            if recent.get(Processor::Fallback) < recent.get(Processor::Default) {
                Processor::Fallback
            } else {
                Processor::Default
            }
        }
    }
}

/// Plans a payment of which no byte is out.
#[must_use]
pub fn plan(rules: &Rules, situation: &Situation) -> Plan {
    let preferred = situation.preferred;
    let other = preferred.other();
    let is_tried = |processor| *situation.tried.get(processor);
    let works = |processor| {
        !is_tried(processor) && !matches!(situation.breakers.get(processor), State::Open)
    };
    let may_switch = match (works(preferred), situation.breakers.get(preferred)) {
        // It only lacks a slot: under `cheapest` that justifies the dear one late or never.
        (true, State::Closed) => {
            situation.waited >= rules.patience && is_fallback_due(rules, situation.waited)
        }
        // It is down, on probation, or has just failed this payment.
        (_, State::Closed | State::Open | State::HalfOpen) => match rules.ack {
            Ack::Processed => true,
            Ack::Accepted => is_fallback_due(rules, situation.waited),
        },
    };
    let second = (may_switch && !is_tried(other)).then_some(other);
    let wait_at = if works(preferred) {
        Some(preferred)
    } else {
        second.filter(|other| works(*other))
    };
    Plan {
        first: (!is_tried(preferred)).then_some(preferred),
        second,
        wait_at,
    }
}

fn is_fallback_due(rules: &Rules, waited: Duration) -> bool {
    match rules.routing {
        Routing::Cheapest => waited >= rules.fallback_after,
        Routing::RoundRobin | Routing::Fastest => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Processor = Processor::Default;
    const B: Processor = Processor::Fallback;

    fn rules(routing: Routing, ack: Ack) -> Rules {
        Rules {
            routing,
            ack,
            patience: Duration::from_millis(5),
            fallback_after: Duration::from_secs(60),
        }
    }

    fn situation(a: State, b: State, tried: [bool; 2], waited_ms: u64) -> Situation {
        Situation {
            preferred: A,
            breakers: PerProcessor([a, b]),
            tried: PerProcessor(tried),
            waited: Duration::from_millis(waited_ms),
        }
    }

    #[test]
    fn plans_follow_the_table() {
        use Ack::{Accepted, Processed};
        use Routing::{Cheapest, RoundRobin};
        use State::{Closed, HalfOpen, Open};
        let none = [false, false];
        #[rustfmt::skip]
        let rows = [
            // routing, ack, A, B, tried, waited ms -> first, second, wait at
            (RoundRobin, Processed, Closed, Closed, none, 0, (Some(A), None, Some(A))),
            (RoundRobin, Processed, Closed, Closed, none, 5, (Some(A), Some(B), Some(A))),
            (RoundRobin, Processed, Open, Closed, none, 0, (Some(A), Some(B), Some(B))),
            (RoundRobin, Processed, HalfOpen, Closed, none, 0, (Some(A), Some(B), Some(A))),
            (RoundRobin, Processed, Open, Open, none, 0, (Some(A), Some(B), None)),
            (RoundRobin, Processed, Closed, Closed, [true, false], 0, (None, Some(B), Some(B))),
            (RoundRobin, Processed, Closed, Open, [true, false], 0, (None, Some(B), None)),
            (RoundRobin, Processed, Closed, Closed, [true, true], 0, (None, None, None)),
            (RoundRobin, Processed, Closed, Closed, [false, true], 9, (Some(A), None, Some(A))),
            (Cheapest, Processed, Closed, Closed, none, 5, (Some(A), None, Some(A))),
            (Cheapest, Processed, Open, Closed, none, 0, (Some(A), Some(B), Some(B))),
            (Cheapest, Accepted, Closed, Closed, none, 59_999, (Some(A), None, Some(A))),
            (Cheapest, Accepted, Open, Closed, none, 59_999, (Some(A), None, None)),
            (Cheapest, Accepted, Open, Closed, none, 60_000, (Some(A), Some(B), Some(B))),
            (Cheapest, Accepted, Closed, Closed, [true, false], 0, (None, None, None)),
            (Cheapest, Accepted, Closed, Closed, [true, false], 60_000, (None, Some(B), Some(B))),
            (RoundRobin, Accepted, Open, Closed, none, 0, (Some(A), Some(B), Some(B))),
        ];
        for (routing, ack, a, b, tried, waited, (first, second, wait_at)) in rows {
            let plan = plan(&rules(routing, ack), &situation(a, b, tried, waited));
            let name = format!("{routing:?} {ack:?} {a:?} {b:?} {tried:?} {waited}");
            assert_eq!(
                plan,
                Plan {
                    first,
                    second,
                    wait_at
                },
                "{name}"
            );
        }
    }

    #[test]
    fn preference_follows_the_setting() {
        let recent =
            |a, b| move || PerProcessor([Duration::from_millis(a), Duration::from_millis(b)]);
        let id = UpstreamId(7);
        assert_eq!(prefer(Routing::Cheapest, id, recent(9, 1)), A);
        assert_eq!(prefer(Routing::Fastest, id, recent(9, 1)), B);
        assert_eq!(prefer(Routing::Fastest, id, recent(1, 1)), A);
        let to_a =
            (0..1_000).filter(|id| prefer(Routing::RoundRobin, UpstreamId(*id), recent(1, 1)) == A);
        assert!((400..600).contains(&to_a.count()));
    }
}
