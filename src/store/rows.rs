//! A writer's own open rows: which ids it has, and from which `at` on an adopter must look for them
//! (`open_since`). Pure; never a clock, but for what lingers.
//!
//! A row that is open for longer than `STORE_LINGERS_AFTER` goes into a table of its own,
//! so that one payment that no processor answers does not make adopters and sums read days.

use std::collections::BTreeSet;
use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashMap;

use super::batch::Batch;
use super::record::Row;
use crate::clock::Boot;
use crate::keys;
use crate::payment::UpstreamId;

/// An open row that is older than this lingers: it is in a table of its own.
const STORE_LINGERS_AFTER: Duration = Duration::from_secs(60);
/// Rows that begin to linger with one batch.
const STORE_LINGERING_A_BATCH: usize = 64;

#[derive(Clone, Copy, Debug)]
struct OwnRow {
    at: i64,
    since: Boot,
    is_lingering: bool,
}

/// See the header of this file.
#[derive(Debug)]
pub(super) struct OwnRows {
    rows: HashMap<UpstreamId, OwnRow, RandomState>,
    /// Those that do not linger, by `at`.
    young: BTreeSet<(i64, UpstreamId)>,
    /// Of an adopted writer, until all its pages were read.
    floor: Option<i64>,
}

impl OwnRows {
    pub(super) fn new(floor: Option<i64>) -> Self {
        Self {
            rows: HashMap::with_hasher(keys::hasher()),
            young: BTreeSet::new(),
            floor,
        }
    }

    pub(super) fn has(&self, id: UpstreamId) -> bool {
        self.rows.contains_key(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Takes what `batch` does to them, and completes it: what lingers, and `open_since`.
    pub(super) fn apply(&mut self, batch: &mut Batch, now: Boot) {
        for id in &batch.freed {
            self.remove(*id, &mut batch.relieved);
        }
        for update in &batch.updates {
            if update.change.is_end() {
                self.remove(update.id, &mut batch.relieved);
            } else if let Some(at) = update.at {
                self.move_to(update.id, at.0);
            }
        }
        for claim in &batch.claims {
            if claim.status.is_open() {
                self.insert(claim.id, claim.at.0, now, false);
            }
        }
        while let Some((at, id)) = self.young.first().copied()
            && batch.lingering.len() < STORE_LINGERING_A_BATCH
        {
            let is_old = |row: &OwnRow| now.since(row.since) >= STORE_LINGERS_AFTER;
            let Some(row) = self.rows.get_mut(&id).filter(|row| is_old(row)) else {
                break;
            };
            row.is_lingering = true;
            self.young.remove(&(at, id));
            batch.lingering.push(id);
        }
        batch.lingering.sort_unstable();
        batch.relieved.sort_unstable();
        batch.open_since = self.open_since();
    }

    /// A claim was lost.
    pub(super) fn lose(&mut self, id: UpstreamId) {
        self.remove(id, &mut Vec::new());
    }

    /// Takes the row of a page.
    pub(super) fn adopt(&mut self, row: &Row, is_lingering: bool, now: Boot) {
        self.insert(row.id, row.at.0, now, is_lingering);
    }

    /// All pages were read.
    pub(super) fn end_pages(&mut self) {
        self.floor = None;
    }

    fn open_since(&self) -> Option<i64> {
        let least = self.young.first().map(|(at, _)| *at);
        match (least, self.floor) {
            (Some(least), Some(floor)) => Some(least.min(floor)),
            (one, other) => one.or(other),
        }
    }

    fn insert(&mut self, id: UpstreamId, at: i64, since: Boot, is_lingering: bool) {
        let row = OwnRow {
            at,
            since,
            is_lingering,
        };
        if let Some(before) = self.rows.insert(id, row) {
            self.young.remove(&(before.at, id));
        }
        if !is_lingering {
            self.young.insert((at, id));
        }
    }

    fn move_to(&mut self, id: UpstreamId, at: i64) {
        let Some(row) = self.rows.get_mut(&id) else {
            return;
        };
        let before = std::mem::replace(&mut row.at, at);
        if !row.is_lingering {
            self.young.remove(&(before, id));
            self.young.insert((at, id));
        }
    }

    fn remove(&mut self, id: UpstreamId, relieved: &mut Vec<UpstreamId>) {
        let Some(row) = self.rows.remove(&id) else {
            return;
        };
        self.young.remove(&(row.at, id));
        if row.is_lingering {
            relieved.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMillis;
    use crate::payment::{Cents, Processor};
    use crate::store::batch::{Change, Claim, Pin, Update};
    use crate::store::record::RowStatus;

    fn claim(id: u128, at: i64) -> Claim {
        Claim {
            id: UpstreamId(id),
            correlation_id: None,
            amount: Cents(1),
            at: UnixMillis(at),
            accepted_at: None,
            status: RowStatus::Open,
            processor: Some(Processor::DEFAULT),
            address: None,
            first_sent: Some(UnixMillis(at)),
        }
    }

    fn update(id: u128, change: Change, at: Option<i64>) -> Update {
        Update {
            id: UpstreamId(id),
            change,
            at: at.map(UnixMillis),
            processor: Pin::Same,
            address: None,
            accepted_at: None,
            was_heard: false,
        }
    }

    fn apply(rows: &mut OwnRows, mut batch: Batch, now: Boot) -> Batch {
        rows.apply(&mut batch, now);
        batch
    }

    #[test]
    fn open_since_is_the_least_at_that_is_open_and_no_clock() {
        let mut rows = OwnRows::new(None);
        let claims = vec![claim(1, 50), claim(2, 40), claim(3, 60)];
        let batch = Batch {
            claims,
            ..Batch::default()
        };
        assert_eq!(apply(&mut rows, batch, Boot(1)).open_since, Some(40));
        let updates = vec![update(2, Change::None, Some(70))];
        let batch = Batch {
            updates,
            ..Batch::default()
        };
        assert_eq!(apply(&mut rows, batch, Boot(2)).open_since, Some(50));
        rows.lose(UpstreamId(1));
        let batch = Batch {
            updates: vec![update(3, Change::Charged, Some(60))],
            ..Batch::default()
        };
        assert_eq!(apply(&mut rows, batch, Boot(3)).open_since, Some(70));
        let batch = Batch {
            freed: vec![UpstreamId(2)],
            ..Batch::default()
        };
        assert_eq!(apply(&mut rows, batch, Boot(4)).open_since, None);
        assert_eq!(rows.len(), 0);
    }

    #[test]
    fn what_is_open_for_long_lingers_and_is_relieved_once() {
        let mut rows = OwnRows::new(None);
        let batch = Batch {
            claims: vec![claim(1, 50)],
            ..Batch::default()
        };
        apply(&mut rows, batch, Boot(0));
        let later = Boot(0).after(STORE_LINGERS_AFTER);
        let batch = apply(&mut rows, Batch::default(), later);
        assert_eq!(batch.lingering, [UpstreamId(1)]);
        assert_eq!(batch.open_since, None);
        assert!(
            apply(&mut rows, Batch::default(), later)
                .lingering
                .is_empty()
        );
        assert!(rows.has(UpstreamId(1)));
        let batch = Batch {
            updates: vec![update(1, Change::Charged, None)],
            ..Batch::default()
        };
        assert_eq!(apply(&mut rows, batch, later).relieved, [UpstreamId(1)]);
        assert!(!rows.has(UpstreamId(1)));
    }

    #[test]
    fn an_adopted_writer_keeps_its_mark_until_all_pages_were_read() {
        let mut rows = OwnRows::new(Some(10));
        assert_eq!(
            apply(&mut rows, Batch::default(), Boot(1)).open_since,
            Some(10)
        );
        let batch = Batch {
            claims: vec![claim(1, 50)],
            ..Batch::default()
        };
        assert_eq!(apply(&mut rows, batch, Boot(1)).open_since, Some(10));
        rows.end_pages();
        assert_eq!(
            apply(&mut rows, Batch::default(), Boot(1)).open_since,
            Some(50)
        );
    }
}
