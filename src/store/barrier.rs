//! What a question about rows of all writers waits for. Pure.
//!
//! A row that is open at another writer may be charged already, and its client told so: its verdict
//! waits for one of that writer's next batches. So an answer waits until every writer that had open
//! rows when the first reading was made has come two batches further, and has left nothing behind:
//! batch n + 1 may have been formed before the question, n + 2 was not, and one that is full leaves
//! verdicts to the next. The asking writer's own verdicts are in the batch that carries the
//! question, since it is asked only behind all records that came before it.

use super::exchange::OpenAt;
use super::record::{Row, WriterId};

/// See the header of this file. It is closed from the first reading with rows that are open
/// elsewhere until their writers have come far enough.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    /// The writers that had open rows at the first reading, and how far they were.
    seen: Option<Vec<Place>>,
    has_passed: bool,
}

/// How far a writer that has open rows had come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    writer: WriterId,
    /// Its last batch.
    batch: i64,
    /// The last one that left nothing behind.
    whole: i64,
}

impl Place {
    pub(super) const fn of_row(row: &Row) -> Self {
        Self {
            writer: row.writer,
            batch: row.writer_batch,
            whole: row.writer_whole,
        }
    }
}

impl Barrier {
    /// Whether another reading need not be of more than how far the writers are.
    pub(super) const fn is_closed(&self) -> bool {
        self.seen.is_some() && !self.has_passed
    }

    pub(super) const fn has_passed(&self) -> bool {
        self.has_passed
    }

    /// Whether each writer that had open rows at the first reading has none any more, or has come
    /// two batches further and left nothing behind. `at` are those that have some now.
    pub(super) fn passes(&mut self, at: Vec<Place>) -> bool {
        self.has_passed = match &self.seen {
            None => at.is_empty(),
            Some(seen) => at.iter().all(|now| {
                let first = seen.iter().find(|first| first.writer == now.writer);
                first.is_none_or(|first| now.whole >= first.batch + 2)
            }),
        };
        self.seen.get_or_insert(at);
        self.has_passed
    }
}

/// How far the writers are that have open rows, but for `own`.
pub(super) fn others(open: &[OpenAt], own: WriterId) -> Vec<Place> {
    let others = open.iter().filter(|one| one.writer != own);
    let place = |one: &OpenAt| Place {
        writer: one.writer,
        batch: one.batch,
        whole: one.whole,
    };
    others.map(place).collect()
}
