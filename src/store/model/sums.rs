//! What a window comes to: whole seconds of the rollup, and rows at its edges.

use std::collections::BTreeMap;

use super::{Model, add};
use crate::clock::UnixMillis;
use crate::payment::{PerProcessor, Totals};
use crate::store::exchange::{OpenAt, SumReading, Window};
use crate::store::parts::{Parts, seconds_of};
use crate::store::record::WriterId;

impl Model {
    /// What the rollup says of all time, over all writers.
    ///
    /// # Panics
    /// When its hours say something else than its seconds.
    #[must_use]
    pub fn totals(&self) -> PerProcessor<Totals> {
        let [mut seconds, mut hours] = <[PerProcessor<Totals>; 2]>::default();
        for ((_, processor, second), totals) in &self.rollup {
            let all = if *second < 0 {
                &mut hours
            } else {
                &mut seconds
            };
            all.get_mut(*processor).add(*totals);
        }
        assert_eq!(seconds, hours, "each payment is in two rows");
        seconds
    }

    pub(super) fn open(&self, now: u64) -> Vec<OpenAt> {
        self.sum(Window::ALL, now).open
    }

    pub(super) fn sum(&self, window: Window, now: u64) -> SumReading {
        let mut reading = SumReading::default();
        let mut open: BTreeMap<WriterId, OpenAt> = BTreeMap::new();
        let parts = Parts::of(window);
        for ((_, processor, second), totals) in &self.rollup {
            let holds = |(first, last): (i64, i64)| (first..=last).contains(second);
            if parts.whole.iter().flatten().copied().any(holds) {
                reading.charged.get_mut(*processor).add(*totals);
            }
            let mut edges = parts.edges.iter().flatten();
            let is_cut = edges.any(|edge| holds(seconds_of(*edge)));
            if is_cut && totals.count > 0 && *second < self.exact_from / 1_000 {
                reading.cut = Some(UnixMillis(self.exact_from));
            }
        }
        let rows = self.rows.values();
        for model in rows.filter(|one| (window.from..=window.to).contains(&one.row.at.0)) {
            let row = self.seen(model, now);
            let holds = |(from, to): &(i64, i64)| (*from..=*to).contains(&row.at.0);
            match row.processor {
                Some(processor) if row.status.is_counted() => {
                    if parts.edges.iter().flatten().any(holds) {
                        add(reading.charged.get_mut(processor), &row);
                    }
                }
                Some(_) if row.status.is_open() => {
                    let at = open.entry(row.writer).or_insert(OpenAt {
                        writer: row.writer,
                        batch: row.writer_batch,
                        whole: row.writer_whole,
                        count: 0,
                        is_unheard: false,
                    });
                    at.count += 1;
                    at.is_unheard |= row.is_expired || row.epoch < row.writer_epoch;
                }
                Some(_) | None => {}
            }
        }
        reading.open = open.into_values().collect();
        reading
    }
}
