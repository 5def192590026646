//! Which ids the last acknowledged batches were about: should the database forget them, an operator
//! needs their names. Pure and bounded.

use std::collections::VecDeque;

use super::batch::Batch;
use crate::payment::UpstreamId;

/// Ids whose acknowledged change is remembered, to name them if the database forgets it: some
/// seconds at 10,000 a second.
const STORE_ACKNOWLEDGED_KEPT: usize = 65_536;

/// See the header of this file.
#[derive(Debug, Default)]
pub(super) struct History {
    ids: VecDeque<(i64, UpstreamId)>,
}

impl History {
    /// A batch was acknowledged.
    pub(super) fn note(&mut self, batch: &Batch) {
        let updates = batch.updates.iter().map(|update| update.id);
        let claims = batch.claims.iter().map(|claim| claim.id);
        let freed = batch.freed.iter().copied();
        for id in updates.chain(claims).chain(freed) {
            if self.ids.len() >= STORE_ACKNOWLEDGED_KEPT {
                self.ids.pop_front();
            }
            self.ids.push_back((batch.number, id));
        }
    }

    /// The ids of the batches behind `number`, each once.
    pub(super) fn since(&self, number: i64) -> Vec<UpstreamId> {
        let behind = self.ids.iter().filter(|(of, _)| *of > number);
        let mut ids: Vec<UpstreamId> = behind.map(|(_, id)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_batches_are_remembered_and_the_memory_is_bounded() {
        let mut history = History::default();
        for number in 1..=STORE_ACKNOWLEDGED_KEPT as i64 + 3 {
            let id = UpstreamId(number.unsigned_abs().into());
            let freed = vec![id];
            history.note(&Batch {
                number,
                freed,
                ..Batch::default()
            });
        }
        assert_eq!(history.ids.len(), STORE_ACKNOWLEDGED_KEPT);
        let last = STORE_ACKNOWLEDGED_KEPT as i64 + 3;
        let since = history.since(last - 2);
        assert_eq!(since.len(), 2);
        assert_eq!(since[1], UpstreamId(last.unsigned_abs().into()));
    }
}
