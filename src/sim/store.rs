//! What the simulated processor has charged: one row per correlationId, and how often each id
//! was asked for. Pure; `processor` calls it between reading a request and answering it.
//!
//! The primary key is the id, so a second insert changes nothing: the first request's amount and
//! `requestedAt` stay. Attempts are counted apart from rows, because an attempt that was refused
//! is what audits of I2 and I3 look for. Money is integer cents (I7). It knows nothing of time,
//! faults or sockets.

use std::collections::HashMap;

use crate::clock::UnixMillis;
use crate::payment::{Cents, Totals, UpstreamId};

/// Ids remembered: about 80 bytes each, so 320 MB, four times the largest soak test. Beyond it an
/// insert answers 500, as a database without room does.
const SIM_ROWS_MAX: usize = 4_000_000;

/// One charged payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The primary key.
    pub id: UpstreamId,
    /// What was charged.
    pub amount: Cents,
    /// As the first request had it; decides in which summary window the row falls.
    pub requested_at: UnixMillis,
    /// Requests for this id that were read in full, whatever they were answered.
    pub attempts: u32,
}

/// What an insert found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// The row is new: charged now.
    Stored,
    /// The id was there: charged before, unchanged.
    Existing,
    /// `SIM_ROWS_MAX` is reached: not stored.
    NoRoom,
}

/// A summary's window on `requestedAt`. Both ends are included; with either missing it is open
/// at both, as in the processor's SQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The first millisecond counted.
    pub from: Option<UnixMillis>,
    /// The last millisecond counted.
    pub to: Option<UnixMillis>,
}

impl Window {
    fn holds(self, at: UnixMillis) -> bool {
        match (self.from, self.to) {
            (Some(from), Some(to)) => from <= at && at <= to,
            (None, _) | (_, None) => true,
        }
    }
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Store {
    entries: HashMap<UpstreamId, Entry>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    attempts: u32,
    /// Amount and `requestedAt`; `None` while the id was only asked for.
    charged: Option<(Cents, UnixMillis)>,
}

impl Store {
    /// Counts one request for `id` that was read in full.
    pub(crate) fn note_attempt(&mut self, id: UpstreamId) {
        if self.has_room_for(id) {
            let entry = self.entries.entry(id).or_default();
            entry.attempts = entry.attempts.saturating_add(1);
        }
    }

    /// Charges `id` unless it was charged before.
    pub(crate) fn insert(&mut self, id: UpstreamId, amount: Cents, at: UnixMillis) -> Inserted {
        if !self.has_room_for(id) {
            return Inserted::NoRoom;
        }
        let entry = self.entries.entry(id).or_default();
        if entry.charged.is_some() {
            return Inserted::Existing;
        }
        entry.charged = Some((amount, at));
        Inserted::Stored
    }

    /// The row of `id`, if it was charged.
    #[must_use]
    pub(crate) fn find(&self, id: UpstreamId) -> Option<Row> {
        self.entries.get(&id).and_then(|entry| entry.row(id))
    }

    /// Requests for `id` that were read in full, charged or not.
    #[must_use]
    pub(crate) fn attempts(&self, id: UpstreamId) -> u32 {
        self.entries.get(&id).map_or(0, |entry| entry.attempts)
    }

    /// Every id that was asked for, charged or not, with its attempts; in no order.
    pub(crate) fn all_attempts(&self) -> impl Iterator<Item = (UpstreamId, u32)> + '_ {
        self.entries.iter().map(|(id, entry)| (*id, entry.attempts))
    }

    /// Every row, in no order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.entries.iter().filter_map(|(id, entry)| entry.row(*id))
    }

    /// Count and sum of the rows in `window`.
    #[must_use]
    pub(crate) fn totals(&self, window: Window) -> Totals {
        let mut totals = Totals::default();
        for row in self.rows().filter(|row| window.holds(row.requested_at)) {
            totals.count += 1;
            totals.cents += u128::from(row.amount.0);
        }
        totals
    }

    /// Forgets all rows and attempts.
    pub(crate) fn purge(&mut self) {
        self.entries.clear();
    }

    fn has_room_for(&self, id: UpstreamId) -> bool {
        self.entries.len() < SIM_ROWS_MAX || self.entries.contains_key(&id)
    }
}

impl Entry {
    fn row(&self, id: UpstreamId) -> Option<Row> {
        let (amount, requested_at) = self.charged?;
        Some(Row {
            id,
            amount,
            requested_at,
            attempts: self.attempts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: UpstreamId = UpstreamId(7);

    #[test]
    fn the_first_insert_wins_and_is_what_stays() {
        let mut store = Store::default();
        assert_eq!(store.find(ID), None);
        assert_eq!(
            store.insert(ID, Cents(1990), UnixMillis(5)),
            Inserted::Stored
        );
        assert_eq!(
            store.insert(ID, Cents(1), UnixMillis(6)),
            Inserted::Existing
        );
        let row = store.find(ID).unwrap();
        assert_eq!((row.amount, row.requested_at), (Cents(1990), UnixMillis(5)));
        assert_eq!(
            store.totals(Window::default()),
            Totals {
                count: 1,
                cents: 1990
            }
        );
    }

    #[test]
    fn attempts_are_counted_whether_charged_or_not() {
        let mut store = Store::default();
        store.note_attempt(ID);
        store.note_attempt(ID);
        assert_eq!(store.attempts(ID), 2);
        assert_eq!(store.find(ID), None, "an attempt is no charge");
        assert_eq!(store.rows().count(), 0);
        store.insert(ID, Cents(1), UnixMillis(0));
        store.note_attempt(ID);
        assert_eq!(store.find(ID).map(|row| row.attempts), Some(3));
        assert_eq!(store.all_attempts().collect::<Vec<_>>(), vec![(ID, 3)]);
        assert_eq!(store.attempts(UpstreamId(8)), 0);
    }

    #[test]
    fn a_window_includes_both_ends_and_is_open_when_either_is_missing() {
        let mut store = Store::default();
        for (id, at) in [(1, 100), (2, 200), (3, 300)] {
            store.insert(UpstreamId(id), Cents(10), UnixMillis(at));
        }
        let count = |from: Option<i64>, to: Option<i64>| {
            store
                .totals(Window {
                    from: from.map(UnixMillis),
                    to: to.map(UnixMillis),
                })
                .count
        };
        assert_eq!(count(Some(100), Some(300)), 3);
        assert_eq!(count(Some(101), Some(299)), 1);
        assert_eq!(count(Some(200), Some(200)), 1);
        assert_eq!(count(Some(201), Some(200)), 0);
        assert_eq!(count(Some(250), None), 3, "an end is missing: all rows");
        assert_eq!(count(None, Some(150)), 3, "an end is missing: all rows");
        assert_eq!(count(None, None), 3);
    }

    #[test]
    fn a_purge_forgets_rows_and_attempts() {
        let mut store = Store::default();
        store.note_attempt(ID);
        store.insert(ID, Cents(1), UnixMillis(0));
        store.purge();
        assert_eq!((store.find(ID), store.attempts(ID)), (None, 0));
        assert_eq!(store.insert(ID, Cents(2), UnixMillis(0)), Inserted::Stored);
    }
}
