//! The last entries of one core, in a fixed number of places: a new one takes the place of the
//! oldest. Each knows which one of its payment was before it, so that those of one payment are
//! found without a search; only an operator's question searches.

use super::{Entry, Fact};
use crate::clock::UnixMillis;
use crate::payment::UpstreamId;

/// Steps of payments that a core remembers: two for a plain payment, so the last 8,192 of them.
/// At 96 bytes 1.5 MiB a core, taken as they are written.
const TIMELINE_ENTRIES: usize = 16_384;
/// Most earlier steps that are passed on when a payment turns out not to be plain: it has been
/// sent, refused and planned a few times by then, and each of that makes three.
const TIMELINE_CATCH_UP_MAX: usize = 64;

/// See the header of this file.
#[derive(Debug)]
pub(crate) struct Recent {
    entries: Vec<Entry>,
    /// How many there ever were; the newest has this number. Never 0 once there is one.
    newest: u32,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            // Memory is taken as it is written to.
            entries: Vec::with_capacity(TIMELINE_ENTRIES),
            newest: 0,
        }
    }
}

impl Recent {
    /// Notes a fact; `previous` is the payment's entry before it. Returns the entry's number.
    pub(crate) fn push(
        &mut self,
        id: UpstreamId,
        at: UnixMillis,
        fact: Fact,
        previous: u32,
    ) -> u32 {
        let entry = Entry {
            id,
            at,
            fact,
            previous,
        };
        self.newest = self.newest.wrapping_add(1);
        if self.newest == 0 {
            // 0 means none: one place is left out every four billion entries.
            self.newest = 1;
        }
        let place = place(self.newest);
        match self.entries.get_mut(place) {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
        self.newest
    }

    /// The entry with this number, if it is one of `id` and still there.
    fn get(&self, id: UpstreamId, number: u32) -> Option<&Entry> {
        let entry = self.entries.get(place(number))?;
        (number != 0 && entry.id == id).then_some(entry)
    }

    /// Entries of `id` from the one with number `newest` back to, and without, `known`: oldest
    /// first, and not more than an attempt or two make.
    #[must_use]
    pub(crate) fn since(&self, id: UpstreamId, newest: u32, known: u32) -> Vec<Entry> {
        let mut found = Vec::new();
        let mut next = newest;
        while next != known
            && found.len() < TIMELINE_CATCH_UP_MAX
            && let Some(entry) = self.get(id, next)
        {
            found.push(*entry);
            next = entry.previous;
        }
        found.reverse();
        found
    }

    /// Every entry of `id` that is still there, oldest first. Looks at all places.
    #[must_use]
    pub(crate) fn find(&self, id: UpstreamId) -> Vec<Entry> {
        let oldest = place(self.newest.wrapping_add(1)).min(self.entries.len());
        let (newer, older) = self.entries.split_at(oldest);
        let all = older.iter().chain(newer);
        all.filter(|entry| entry.id == id).copied().collect()
    }
}

/// Where the entry with this number is.
fn place(number: u32) -> usize {
    usize::try_from(number.wrapping_sub(1)).unwrap_or(0) % TIMELINE_ENTRIES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::Processor;

    fn fact(number: u32) -> Fact {
        Fact::Pinned {
            processor: Processor::DEFAULT,
            pause_ms: number,
        }
    }

    fn numbers(entries: &[Entry]) -> Vec<i64> {
        entries.iter().map(|entry| entry.at.0).collect()
    }

    #[test]
    fn the_last_entries_are_kept_and_the_oldest_make_room() {
        let (one, other) = (UpstreamId(1), UpstreamId(2));
        let mut recent = Recent::default();
        let mut last = 0;
        assert!(recent.find(one).is_empty());
        for number in 0..3 {
            last = recent.push(one, UnixMillis(number), fact(1), last);
        }
        assert_eq!(numbers(&recent.find(one)), [0, 1, 2]);
        assert_eq!(numbers(&recent.since(one, last, 1)), [1, 2]);
        assert!(recent.since(one, last, last).is_empty());
        // All but one of them are overwritten.
        let fill = i64::try_from(TIMELINE_ENTRIES).unwrap() - 1;
        for number in 0..fill {
            recent.push(other, UnixMillis(number), fact(2), 0);
        }
        assert_eq!(numbers(&recent.find(one)), [2]);
        assert_eq!(numbers(&recent.since(one, last, 0)), [2], "the link ends");
        assert_eq!(recent.entries.len(), TIMELINE_ENTRIES);
        let kept = numbers(&recent.find(other));
        assert!(kept.is_sorted() && kept.len() == TIMELINE_ENTRIES - 1);
    }

    #[test]
    fn numbers_go_round_and_none_is_zero() {
        let mut recent = Recent {
            newest: u32::MAX - 1,
            ..Recent::default()
        };
        let id = UpstreamId(7);
        let first = recent.push(id, UnixMillis(1), fact(1), 0);
        let second = recent.push(id, UnixMillis(2), fact(2), first);
        assert_eq!((first, second), (u32::MAX, 1));
    }

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Entry>() <= 96, "{}", size_of::<Entry>());
    }
}
