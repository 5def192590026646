//! A second that payments arrive for now: one cell for each millisecond and processor.

use super::list::{Entry, add_all};
use super::window::{Overlap, Window};
use crate::payment::{Cents, PerProcessor, Processor, Totals};

#[derive(Clone, Debug)]
pub(super) struct OpenSecond {
    /// Which one, in seconds since 1970; none while it holds no payment.
    second: Option<i64>,
    totals: PerProcessor<Totals>,
    /// 1,000 milliseconds.
    cells: Box<[PerProcessor<Totals>]>,
}

impl OpenSecond {
    /// A place for any second, without payments.
    pub(super) fn empty() -> Self {
        let cells = vec![PerProcessor::default(); 1_000].into_boxed_slice();
        Self {
            second: None,
            totals: PerProcessor::default(),
            cells,
        }
    }

    /// The second that it holds payments of.
    pub(super) fn second(&self) -> Option<i64> {
        self.second
    }

    pub(super) fn totals(&self) -> PerProcessor<Totals> {
        self.totals
    }

    pub(super) fn add(&mut self, processor: Processor, at: i64, amount: Cents) {
        let second = at.div_euclid(1_000);
        assert!(
            self.second.is_none_or(|own| own == second),
            "I6: one second at a time"
        );
        let one = Totals {
            count: 1,
            cents: u128::from(amount.0),
        };
        let milli = usize::try_from(at.rem_euclid(1_000)).unwrap_or(0);
        if let Some(cell) = self.cells.get_mut(milli) {
            cell.get_mut(processor).add(one);
            self.totals.get_mut(processor).add(one);
            self.second = Some(second);
        }
    }

    pub(super) fn sum(&self, window: &Window, sums: &mut PerProcessor<Totals>) {
        let Some(second) = self.second else { return };
        let start = second.saturating_mul(1_000);
        match window.overlap(start, 1_000) {
            Overlap::Outside => {}
            Overlap::Inside => add_all(sums, self.totals),
            Overlap::Cut => {
                for (milli, cell) in (0_i64..).zip(&self.cells) {
                    if window.holds(start.saturating_add(milli)) {
                        add_all(sums, *cell);
                    }
                }
            }
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        (0_u16..)
            .zip(&self.cells)
            .flat_map(|(milli, cell)| Entry::of_all(milli, *cell))
    }

    pub(super) fn clear(&mut self) {
        if self.second.take().is_some() {
            self.cells.fill(PerProcessor::default());
            self.totals = PerProcessor::default();
        }
    }
}
