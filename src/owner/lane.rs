//! One core's side of one processor: attempts in flight, recent latency, and the budget for
//! hedges. Keeps the attempts within this core's share of the processor's limit (`concurrency`),
//! and bounds the extra load that p99 may cause.

use std::time::Duration;

use crate::clock::Mono;
use crate::concurrency::Limit;
use crate::config::Routing;
use crate::latency::Latency;

/// The window of the hedge budget, one bucket a second.
const HEDGE_WINDOW_SECS: usize = 10;
/// The same as u64.
const HEDGE_WINDOW_SECS_U64: u64 = 10;
/// One extra attempt for every so many: 5 %.
const HEDGE_ONE_IN: u64 = 20;
/// The same while hedges lose: enough to notice when that changes.
const HEDGE_ONE_IN_WHILE_LOSING: u64 = 200;
/// Hedges of the window that must have been sent before their wins are judged.
const HEDGES_JUDGED_MIN: u64 = 20;
/// Hedges are worth it while at least one in so many wins. A saturated machine measured one win
/// in none of 1,357, at 3 % extra attempts.
const HEDGE_WINS_ONE_IN: u64 = 10;

/// See the header of this file.
#[derive(Debug)]
pub(super) struct Lane {
    slots_used: usize,
    resends_used: usize,
    /// How long answers took.
    answers: Latency,
    /// How long attempts took, failures counted as slow; kept for ROUTING=fastest alone.
    standing: Option<Latency>,
    budget: HedgeBudget,
}

impl Lane {
    pub(super) fn new(routing: Routing) -> Self {
        Self {
            slots_used: 0,
            resends_used: 0,
            answers: Latency::new(),
            standing: (routing == Routing::Fastest).then(Latency::new),
            budget: HedgeBudget::default(),
        }
    }

    /// Takes a slot of this core's share of `limit`. Re-sends take at most a quarter of them, and
    /// none of those that are always there, so that payments whose fate is unknown never crowd out
    /// fresh ones.
    pub(super) fn take_slot(&mut self, slot: Slot, limit: &Limit) -> bool {
        let share = limit.share();
        let is_full = self.slots_used >= share;
        let is_refused = match slot {
            Slot::Fresh => is_full && self.slots_used - self.resends_used >= limit.least_share(),
            Slot::Resend => is_full || self.resends_used >= (share / 4).max(1),
        };
        if is_full {
            limit.on_need();
        }
        if is_refused {
            return false;
        }
        self.slots_used += 1;
        self.resends_used += usize::from(slot == Slot::Resend);
        true
    }

    pub(super) fn free_slot(&mut self, slot: Slot) {
        assert!(self.slots_used > 0, "I8: a slot was freed twice");
        self.slots_used = self.slots_used.saturating_sub(1);
        self.resends_used = self
            .resends_used
            .saturating_sub(usize::from(slot == Slot::Resend));
    }

    pub(super) fn slots_used(&self) -> usize {
        self.slots_used
    }

    /// A whole answer came after `took`, late or not.
    pub(super) fn note_answer(&mut self, took: Duration, now: Mono) {
        self.answers.record(took, now);
    }

    /// An attempt counts as having taken `span` where processors are compared.
    pub(super) fn note_standing(&mut self, span: Duration, now: Mono) {
        if let Some(standing) = &mut self.standing {
            standing.record(span, now);
        }
    }

    /// The median by which ROUTING=fastest compares, failures counted as slow.
    pub(super) fn median(&mut self, now: Mono) -> Duration {
        let standing = self.standing.as_mut();
        standing
            .and_then(|all| all.quantile(500, now))
            .unwrap_or_default()
    }

    /// What 95 % of answers took at most: how long patience with an answer is worth it. Failures
    /// do not count: with them, an outage would stretch every pause after it.
    pub(super) fn p95(&mut self, now: Mono) -> Duration {
        self.answers.quantile(950, now).unwrap_or_default()
    }

    pub(super) fn budget(&mut self) -> &mut HedgeBudget {
        &mut self.budget
    }
}

/// What an attempt's slot is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// A first attempt or a hedge.
    Fresh,
    /// The same id again after Unknown.
    Resend,
}

/// At most one extra attempt for every twenty in the last ten seconds, and far fewer while hedges
/// do not win: then the processor is evenly slow, or this machine is, and a second attempt only
/// adds to it.
#[derive(Debug, Default)]
pub(super) struct HedgeBudget {
    seconds: [Second; HEDGE_WINDOW_SECS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    number: u64,
    attempts: u32,
    hedges: u32,
    wins: u32,
}

impl HedgeBudget {
    pub(super) fn note_attempt(&mut self, now: Mono) {
        let second = self.second(now);
        second.attempts = second.attempts.saturating_add(1);
    }

    /// A hedge answered before the attempt that it stood in for.
    pub(super) fn note_win(&mut self, now: Mono) {
        let second = self.second(now);
        second.wins = second.wins.saturating_add(1);
    }

    /// Takes one hedge out of the budget, if it holds one.
    pub(super) fn try_take(&mut self, now: Mono) -> bool {
        let oldest = number(now).saturating_sub(HEDGE_WINDOW_SECS_U64 - 1);
        let recent = |second: &&Second| second.number >= oldest;
        let sum = |count: fn(&Second) -> u32| -> u64 {
            let seconds = self.seconds.iter().filter(recent);
            seconds.map(|second| u64::from(count(second))).sum()
        };
        let attempts = sum(|second| second.attempts);
        let hedges = sum(|second| second.hedges);
        let wins = sum(|second| second.wins);
        let is_worth_it = hedges < HEDGES_JUDGED_MIN || wins * HEDGE_WINS_ONE_IN >= hedges;
        let one_in = if is_worth_it {
            HEDGE_ONE_IN
        } else {
            HEDGE_ONE_IN_WHILE_LOSING
        };
        if (hedges + 1) * one_in > attempts {
            return false;
        }
        let second = self.second(now);
        second.hedges = second.hedges.saturating_add(1);
        true
    }

    fn second(&mut self, now: Mono) -> &mut Second {
        let number = number(now);
        let index = usize::try_from(number % HEDGE_WINDOW_SECS_U64).unwrap_or(0);
        let second = &mut self.seconds[index % HEDGE_WINDOW_SECS];
        if second.number != number {
            *second = Second {
                number,
                ..Second::default()
            };
        }
        second
    }
}

fn number(now: Mono) -> u64 {
    // Second 0 stands for a bucket that was never used.
    now.0 / 1_000_000 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::concurrency::Bounds;

    #[test]
    fn hedges_are_one_in_twenty_over_ten_seconds() {
        let mut budget = HedgeBudget::default();
        let at = |second: u64| Mono(second * 1_000_000);
        for _ in 0..19 {
            budget.note_attempt(at(0));
        }
        assert!(!budget.try_take(at(0)));
        budget.note_attempt(at(0));
        assert!(budget.try_take(at(0)));
        assert!(!budget.try_take(at(9)));
        for _ in 0..20 {
            budget.note_attempt(at(9));
        }
        assert!(budget.try_take(at(9)), "forty attempts allow two");
        assert!(
            !budget.try_take(at(10)),
            "the first twenty are too old, one hedge is not"
        );
        assert!(!budget.try_take(at(30)), "an idle lane has no budget");
    }

    #[test]
    fn hedges_that_never_win_become_rare_until_one_does() {
        let mut budget = HedgeBudget::default();
        let now = Mono(0);
        let mut taken = 0;
        for _ in 0..4_000 {
            budget.note_attempt(now);
            taken += u32::from(budget.try_take(now));
        }
        assert_eq!(taken, 20, "20 of 400 attempts are judged, then one in 200");
        for _ in 0..2 {
            budget.note_win(now);
        }
        assert!(
            budget.try_take(now),
            "one in ten wins: it is worth it again"
        );
    }

    #[test]
    fn failures_make_a_processor_slow_to_compare_and_no_answer_slow() {
        let now = Mono(0);
        let (fast, slow) = (Duration::from_millis(1), Duration::from_secs(5));
        let mut lane = Lane::new(Routing::Fastest);
        for _ in 0..10 {
            lane.note_answer(fast, now);
            lane.note_standing(slow, now);
        }
        assert!(lane.p95(now) < Duration::from_millis(2));
        assert!(lane.median(now) >= slow);
    }

    #[test]
    fn resends_take_at_most_a_quarter() {
        let limit = Limit::new(Bounds::new(8, 1));
        let mut lane = Lane::new(Routing::RoundRobin);
        assert!(lane.take_slot(Slot::Resend, &limit));
        assert!(lane.take_slot(Slot::Resend, &limit));
        assert!(!lane.take_slot(Slot::Resend, &limit));
        for _ in 0..6 {
            assert!(lane.take_slot(Slot::Fresh, &limit));
        }
        assert!(!lane.take_slot(Slot::Fresh, &limit));
        lane.free_slot(Slot::Resend);
        assert!(lane.take_slot(Slot::Fresh, &limit));
        assert_eq!(lane.slots_used(), 8);
    }

    #[test]
    fn at_the_least_limit_resends_leave_fresh_ones_their_places() {
        let limit = Limit::new(Bounds::new(2_048, 2));
        for _ in 0..10 {
            limit.on_trip();
        }
        assert_eq!(limit.share(), 2);
        let mut lane = Lane::new(Routing::RoundRobin);
        assert!(lane.take_slot(Slot::Resend, &limit));
        for _ in 0..2 {
            assert!(lane.take_slot(Slot::Fresh, &limit));
        }
        assert!(!lane.take_slot(Slot::Fresh, &limit));
        assert!(!lane.take_slot(Slot::Resend, &limit));
    }
}
