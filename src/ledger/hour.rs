//! One hour of the ledger: old seconds by sum, then exact seconds by millisecond.

use std::collections::BTreeMap;

use super::list::{Entry, List, add_all};
use super::window::{Overlap, Window};
use crate::payment::{PerProcessor, Totals};

/// Seconds of an hour.
pub(super) const SECONDS: u16 = 3_600;
/// Milliseconds of a second.
pub(super) const MILLIS: u16 = 1_000;

#[derive(Clone, Debug, Default)]
pub(super) struct Hour {
    totals: PerProcessor<Totals>,
    /// By second of the hour.
    old: List,
    /// By second of the hour; each list by millisecond of the second.
    exact: BTreeMap<u16, ExactSecond>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct ExactSecond {
    totals: PerProcessor<Totals>,
    list: List,
}

/// An old second with payments in it lies on an edge of the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut;

impl Hour {
    /// Adds payments of one second, `entries` by millisecond with these `totals`.
    pub(super) fn add_exact(
        &mut self,
        second: u16,
        entries: impl Iterator<Item = Entry>,
        totals: PerProcessor<Totals>,
    ) {
        let exact = self.exact.entry(second).or_default();
        exact.list = List::merged(exact.list.entries(), entries);
        add_all(&mut exact.totals, totals);
        add_all(&mut self.totals, totals);
    }

    /// Adds payments of one second of which only the sum is to be kept.
    pub(super) fn add_old(&mut self, second: u16, totals: PerProcessor<Totals>) {
        add_all(&mut self.totals, totals);
        self.keep_old(second, totals);
    }

    /// Adds many old seconds.
    pub(super) fn add_old_list(&mut self, list: &List) {
        add_all(&mut self.totals, list.totals());
        self.old = List::merged(self.old.entries(), list.entries());
    }

    fn keep_old(&mut self, second: u16, totals: PerProcessor<Totals>) {
        // Time goes on, so the usual second belongs behind all others.
        if self.old.last_place().is_none_or(|last| last < second) {
            Entry::of_all(second, totals).for_each(|entry| self.old.push(entry));
        } else {
            self.old = List::merged(self.old.entries(), Entry::of_all(second, totals));
        }
    }

    /// The earliest second that is kept by millisecond.
    pub(super) fn first_exact(&self) -> Option<u16> {
        self.exact.first_key_value().map(|(second, _)| *second)
    }

    /// The last second with a payment.
    pub(super) fn last_second(&self) -> Option<u16> {
        let exact = self.exact.last_key_value().map(|(second, _)| *second);
        exact.max(self.old.last_place())
    }

    /// Keeps only the sum of that second.
    pub(super) fn age_first(&mut self) {
        if let Some((second, exact)) = self.exact.pop_first() {
            self.keep_old(second, exact.totals);
        }
    }

    /// The old seconds, and each exact one.
    pub(super) fn old(&self) -> &List {
        &self.old
    }

    pub(super) fn exact(&self) -> impl Iterator<Item = (u16, &List)> {
        self.exact
            .iter()
            .map(|(second, exact)| (*second, &exact.list))
    }

    /// Adds to `sums` what lies in the window; this hour began at the millisecond `start`.
    pub(super) fn sum(
        &self,
        start: i64,
        window: &Window,
        sums: &mut PerProcessor<Totals>,
    ) -> Result<(), Cut> {
        match window.overlap(start, i64::from(SECONDS) * 1_000) {
            Overlap::Outside => return Ok(()),
            Overlap::Inside => {
                add_all(sums, self.totals);
                return Ok(());
            }
            Overlap::Cut => {}
        }
        let second_start = |second: u16| start.saturating_add(i64::from(second) * 1_000);
        for entry in self.old.entries() {
            match window.overlap(second_start(entry.place), 1_000) {
                Overlap::Outside => {}
                Overlap::Inside => sums.get_mut(entry.processor).add(entry.totals),
                Overlap::Cut => return Err(Cut),
            }
        }
        for (second, exact) in &self.exact {
            let start = second_start(*second);
            match window.overlap(start, 1_000) {
                Overlap::Outside => {}
                Overlap::Inside => add_all(sums, exact.totals),
                Overlap::Cut => {
                    for entry in exact.list.entries() {
                        if window.holds(start.saturating_add(i64::from(entry.place))) {
                            sums.get_mut(entry.processor).add(entry.totals);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Sweeps the hour for sums that do not agree; for tests.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        let mut sums = self.old.totals();
        for exact in self.exact.values() {
            assert_eq!(
                exact.list.totals(),
                exact.totals,
                "I6: a second is the sum of its parts"
            );
            add_all(&mut sums, exact.totals);
        }
        assert_eq!(sums, self.totals, "I6: an hour is the sum of its parts");
    }
}
