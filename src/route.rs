//! Which processor a payment goes to, as a pure rule over what is known of all. `owner` asks it
//! before the first attempt, after each one that failed, and when something was slow; it takes
//! slots and breaker permits itself, so a plan is a wish, never a lease.
//!
//! I2 is not decided here: a pinned payment is never planned.

use std::time::Duration;

use crate::breaker::State;
use crate::config::{Ack, Routing};
use crate::payment::{Processor, ProcessorCount, ProcessorSet, UpstreamId};

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
    /// The state of the preferred one's breaker.
    pub breaker: State,
    /// Processors whose breaker is not Open.
    pub up: ProcessorSet,
    /// Processors that were not tried in vain since the payment was last planned anew.
    pub untried: ProcessorSet,
    /// How long the payment has waited.
    pub waited: Duration,
}

/// Where a payment may go now, and where it waits if none takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// First choice, if it has a slot and its breaker a permit.
    pub first: Option<Processor>,
    /// The further choices, cheapest first, likewise.
    pub others: ProcessorSet,
    /// In whose queue to wait; none when none is left to try.
    pub wait_at: Option<Processor>,
}

impl Plan {
    /// Every choice, best first.
    pub fn choices(&self) -> impl Iterator<Item = Processor> + use<> {
        self.first.into_iter().chain(self.others)
    }
}

/// The one of `count` processors that `id` would rather go to. `recent` is a processor's recent
/// median latency, failures counted as slow.
#[must_use]
pub fn prefer(
    routing: Routing,
    id: UpstreamId,
    count: ProcessorCount,
    recent: impl FnMut(Processor) -> Duration,
) -> Processor {
    match routing {
        Routing::Cheapest => Processor::DEFAULT,
        Routing::RoundRobin => share(id, count),
        // Of equals the cheapest.
        Routing::Fastest => {
            let mut recent = recent;
            let fastest = count.all().min_by_key(|processor| recent(*processor));
            fastest.unwrap_or(Processor::DEFAULT)
        }
    }
}

/// Equal shares of the range of hashes. The lowest bits choose the owner core, so the highest
/// ones divide each core's payments.
fn share(id: UpstreamId, count: ProcessorCount) -> Processor {
    let all = u128::from(id.hash()) * u128::try_from(count.get()).unwrap_or(1);
    let index = usize::try_from(all >> u64::BITS).unwrap_or(0);
    Processor::of_index(index).unwrap_or(Processor::DEFAULT)
}

/// Plans a payment of which no byte is out.
#[must_use]
pub fn plan(rules: &Rules, situation: &Situation) -> Plan {
    let preferred = situation.preferred;
    let is_untried = situation.untried.has(preferred);
    let works = is_untried && situation.up.has(preferred);
    let may_switch = match (works, situation.breaker) {
        // It only lacks a slot: under `cheapest` that justifies an expensive one late or never.
        (true, State::Closed) => {
            situation.waited >= rules.patience && is_fallback_due(rules, situation.waited)
        }
        // It is down, on probation, or has just failed this payment.
        (_, State::Closed | State::Open | State::HalfOpen) => match rules.ack {
            Ack::Processed => true,
            Ack::Accepted => is_fallback_due(rules, situation.waited),
        },
    };
    let others = match may_switch {
        true => situation.untried.without(preferred),
        false => ProcessorSet::NONE,
    };
    Plan {
        first: is_untried.then_some(preferred),
        others,
        wait_at: match works {
            true => Some(preferred),
            false => others.intersection(situation.up).first(),
        },
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
    use crate::payment::PROCESSORS_MAX;
    use proptest::prelude::*;

    const A: Processor = Processor::DEFAULT;
    const B: Processor = Processor::FALLBACK;

    fn rules(routing: Routing, ack: Ack) -> Rules {
        Rules {
            routing,
            ack,
            patience: Duration::from_millis(5),
            fallback_after: Duration::from_secs(60),
        }
    }

    /// What `states` and `tried` say of each processor, of which `preferred` is preferred.
    fn situation(
        preferred: Processor,
        states: &[State],
        tried: &[bool],
        waited_ms: u64,
    ) -> Situation {
        let those = |holds: &dyn Fn(usize) -> bool| {
            let all = Processor::ALL.into_iter().take(states.len());
            all.filter(|one| holds(one.index())).collect()
        };
        Situation {
            preferred,
            breaker: states[preferred.index()],
            up: those(&|index| states[index] != State::Open),
            untried: those(&|index| !tried[index]),
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
        for (routing, ack, a, b, tried, waited, (first, other, wait_at)) in rows {
            let plan = plan(&rules(routing, ack), &situation(A, &[a, b], &tried, waited));
            let name = format!("{routing:?} {ack:?} {a:?} {b:?} {tried:?} {waited}");
            assert_eq!(
                plan,
                Plan {
                    first,
                    others: other.into_iter().collect(),
                    wait_at
                },
                "{name}"
            );
        }
    }

    #[test]
    fn preference_follows_the_setting() {
        let recent =
            |a, b| move |processor: Processor| Duration::from_millis([a, b][processor.index() % 2]);
        let (id, two) = (UpstreamId(7), ProcessorCount::try_new(2).unwrap());
        assert_eq!(prefer(Routing::Cheapest, id, two, recent(9, 1)), A);
        assert_eq!(prefer(Routing::Fastest, id, two, recent(9, 1)), B);
        assert_eq!(prefer(Routing::Fastest, id, two, recent(1, 1)), A);
    }

    #[test]
    fn in_turn_means_equal_shares_and_the_highest_bit_of_two() {
        for count in 1..=PROCESSORS_MAX {
            let count = ProcessorCount::try_new(count).unwrap();
            let mut shares = [0_usize; PROCESSORS_MAX];
            for id in (0..8_000).map(UpstreamId) {
                let one = prefer(Routing::RoundRobin, id, count, |_| Duration::ZERO);
                shares[one.index()] += 1;
                if count.get() == 2 {
                    assert_eq!(
                        one == B,
                        id.hash() >> 63 == 1,
                        "every version since the first"
                    );
                }
            }
            let fair = 8_000 / count.get();
            for (index, share) in shares.into_iter().enumerate() {
                let expected = if index < count.get() { fair } else { 0 };
                assert!(
                    share.abs_diff(expected) <= fair / 5,
                    "{count:?}: {shares:?}"
                );
            }
        }
    }

    fn anything() -> impl Strategy<Value = (Rules, Situation, ProcessorCount)> {
        let state = prop_oneof![
            Just(State::Closed),
            Just(State::Open),
            Just(State::HalfOpen)
        ];
        let routing = prop_oneof![
            Just(Routing::RoundRobin),
            Just(Routing::Cheapest),
            Just(Routing::Fastest)
        ];
        let ack = prop_oneof![Just(Ack::Processed), Just(Ack::Accepted)];
        let count = prop_oneof![Just(1_usize), Just(2), Just(3), Just(8)];
        count.prop_flat_map(move |count| {
            let states = proptest::collection::vec(state.clone(), count);
            let tried = proptest::collection::vec(any::<bool>(), count);
            let waited = prop_oneof![Just(0_u64), Just(5), Just(60_000)];
            (
                routing.clone(),
                ack.clone(),
                states,
                tried,
                0..count,
                waited,
            )
                .prop_map(move |(routing, ack, states, tried, preferred, waited)| {
                    let preferred = Processor::of_index(preferred).unwrap();
                    (
                        rules(routing, ack),
                        situation(preferred, &states, &tried, waited),
                        ProcessorCount::try_new(count).unwrap(),
                    )
                })
        })
    }

    proptest! {
        #[test]
        fn plans_keep_to_the_processors_that_there_are(
            (rules, situation, count) in anything(),
        ) {
            let plan = plan(&rules, &situation);
            let all: Vec<Processor> = plan.choices().collect();
            for choice in &all {
                prop_assert!(situation.untried.has(*choice) && count.set().has(*choice));
            }
            let further: Vec<Processor> = plan.others.collect();
            prop_assert!(further.is_sorted() && !further.contains(&situation.preferred));
            let is_chosen = all.contains(&situation.preferred);
            prop_assert_eq!(plan.first, is_chosen.then_some(situation.preferred));
            match plan.wait_at {
                Some(at) => prop_assert!(all.contains(&at) && situation.up.has(at)),
                None => prop_assert!(!all.iter().any(|choice| situation.up.has(*choice))),
            }
            if count.get() == 1 {
                prop_assert!(plan.others.is_empty());
            }
            let every = rules.ack == Ack::Processed && !situation.up.has(situation.preferred);
            if every {
                prop_assert_eq!(all.len(), situation.untried.count());
            }
        }
    }
}
