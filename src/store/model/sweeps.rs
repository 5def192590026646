//! What a sweep's statements do to the tables.

use super::{Model, lease};
use crate::payment::UpstreamId;
use crate::store::STORE_SWEEP_ROWS;
use crate::store::STORE_SWEEP_TURN;
use crate::store::exchange::{Sweep, Swept};
use crate::store::record::WriterId;

impl Model {
    /// What is settled goes, and who lives has a whole lease again.
    pub(super) fn purge(&mut self, now: u64) {
        self.rows.retain(|_, row| row.row.status.is_open());
        self.rollup.clear();
        self.purges += 1;
        for writer in self.writers.values_mut() {
            if writer.lease_until >= now {
                writer.lease_until = writer.lease_until.max(lease(now));
            }
        }
    }

    pub(super) fn sweep(&mut self, sweep: &Sweep, now: u64) -> Option<Swept> {
        if self.turn.0 != sweep.nonce && self.turn.1 >= now {
            return None;
        }
        let turn = STORE_SWEEP_TURN.as_secs() * 1_000_000;
        self.turn = (sweep.nonce, now.saturating_add(turn));
        let keep = i64::try_from(sweep.keep.as_millis()).unwrap_or(i64::MAX);
        let is_old = |cut: i64| cut.saturating_add(keep) <= millis(now);
        if let Some((from, to)) = sweep.cut
            && self.effective_cut(keep) == from
            && from < to
            && is_old(to)
        {
            self.cut = Some(to);
            self.exact_from = self.exact_from.max(to);
        }
        let mut forgotten: Vec<UpstreamId> = Vec::new();
        if let Some(cut) = self.cut
            && sweep.forgets
            && is_old(cut)
        {
            let old = self.rows.iter().filter(|(_, model)| {
                !model.row.status.is_open()
                    && model.row.at.0 < cut
                    && model.settled_at.is_some_and(|at| millis(at) < cut)
            });
            let most = usize::try_from(STORE_SWEEP_ROWS).unwrap_or(usize::MAX);
            forgotten.extend(old.map(|(id, _)| *id).take(most));
        }
        for id in &forgotten {
            self.rows.remove(id);
        }
        if let Some(dead) = sweep.bury.filter(|writer| self.is_dead(*writer)) {
            self.bury(dead);
        }
        let mut writers = self.writers.keys().copied();
        Some(Swept {
            now: millis(now),
            cut: self.effective_cut(keep),
            forgotten: forgotten.len() as u64,
            dead: writers.find(|writer| self.is_dead(*writer)),
        })
    }

    fn effective_cut(&self, keep: i64) -> i64 {
        self.cut.unwrap_or_else(|| self.made.saturating_sub(keep))
    }

    fn is_dead(&self, writer: WriterId) -> bool {
        let row = self.writers.get(&writer);
        let cut = self.cut.unwrap_or(i64::MIN);
        row.is_some_and(|row| row.open_since.is_none() && millis(row.lease_until) < cut)
            && !self.rows.values().any(|model| model.row.writer == writer)
            && !self.lingering.iter().any(|(other, _)| *other == writer)
    }

    fn bury(&mut self, writer: WriterId) {
        for ((of, processor, second), totals) in std::mem::take(&mut self.rollup) {
            let of = if of == writer { WriterId(0) } else { of };
            let sum = self.rollup.entry((of, processor, second)).or_default();
            sum.add(totals);
        }
        self.writers.remove(&writer);
    }
}

fn millis(micros: u64) -> i64 {
    i64::try_from(micros / 1_000).unwrap_or(i64::MAX)
}
