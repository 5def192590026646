//! The last things that an operator would want to hear of: breakers that turned, what operators
//! did, a journal that failed. A ring of words that any thread writes and every core reads without
//! a lock: each holds when, what, and about which processor or setting.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde::Serialize;

use super::cells::Label;
use super::labels::label;
use super::settings::Changeable;
use crate::clock::Mono;
use crate::payment::Processor;

label! {
    /// What happened to the instance. Its name is what operators read.
    pub EventKind {
        /// It serves.
        Started = "started",
        /// It was asked to stop.
        Stopping = "stopping",
        /// The journal or the store failed.
        NothingKept = "nothing can be kept",
        /// A breaker is Open now.
        BreakerOpened = "breaker opened",
        /// A breaker lets probes through.
        BreakerHalfOpen = "breaker half open",
        /// A breaker is Closed again.
        BreakerClosed = "breaker closed",
        /// A processor is at another address.
        Moved = "moved",
        /// An operator, or RECONCILE_ON_DOUBLE, paused a processor.
        Paused = "paused",
        /// An operator let it go on.
        Resumed = "resumed",
        /// An operator said that it is the one that it was.
        Confirmed = "confirmed",
        /// An operator settled a payment by hand.
        Resolved = "payment resolved by hand",
        /// Ledger and settled ids were forgotten.
        Purged = "purged",
        /// An operator set a setting anew.
        SettingChanged = "setting changed",
        /// An operator changed what is logged.
        LogChanged = "log filter changed",
        /// An operator's call was refused.
        CallRefused = "operator's call refused",
        /// The journal and the processors' books differ.
        BooksDiffer = "books differ",
    }
}

/// How many are remembered.
pub(super) const EVENTS_MAX: usize = 64;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The whole instance.
    Instance,
    /// One processor.
    Processor(Processor),
    /// One setting.
    Setting(Changeable),
}

/// An event, for its readers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When it happened, in milliseconds since 1970.
    #[serde(skip)]
    pub at: Mono,
    /// What happened.
    pub what: &'static str,
    /// The processor or the setting; empty where it is about the whole instance.
    pub about: &'static str,
}

/// The ring.
#[derive(Debug)]
pub struct Events {
    next: AtomicUsize,
    words: [AtomicU64; EVENTS_MAX],
}

impl Default for Events {
    fn default() -> Self {
        Self {
            next: AtomicUsize::new(0),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

/// The kind and what it is about take a byte each; microseconds above them last for eight years.
const BITS: u32 = 8;

impl Events {
    /// Something happened now.
    pub fn put(&self, now: Mono, kind: EventKind, about: About) {
        let about = match about {
            About::Instance => 0,
            About::Processor(processor) => 1 + processor.index(),
            About::Setting(setting) => 0x80 + setting.index(),
        };
        let byte = |number: usize| u64::try_from(number & 0xff).unwrap_or(0);
        let word = now.0 << (2 * BITS) | byte(about) << BITS | byte(kind.index() + 1);
        let place = self.next.fetch_add(1, Ordering::Relaxed) % EVENTS_MAX;
        if let Some(cell) = self.words.get(place) {
            cell.store(word, Ordering::Relaxed);
        }
    }

    /// The newest first.
    #[must_use]
    pub fn newest(&self) -> Vec<Event> {
        let words = self.words.iter().map(|word| word.load(Ordering::Relaxed));
        let mut events: Vec<Event> = words.filter_map(read).collect();
        events.sort_by_key(|event| std::cmp::Reverse(event.at));
        events
    }
}

/// An event of its word; none of zero.
fn read(word: u64) -> Option<Event> {
    let byte = |shift: u32| usize::try_from(word >> shift & 0xff).unwrap_or(0);
    let kind = EventKind::ALL.get(byte(0).checked_sub(1)?)?;
    let about = match byte(BITS) {
        0 => "",
        setting @ 0x80.. => Changeable::ALL.get(setting - 0x80)?.name(),
        processor => Processor::of_index(processor - 1)?.name(),
    };
    Some(Event {
        at: Mono(word >> (2 * BITS)),
        what: kind.name(),
        about,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_told_the_newest_first() {
        let events = Events::default();
        assert_eq!(events.newest(), []);
        events.put(Mono(1), EventKind::Started, About::Instance);
        let processor = About::Processor(Processor::FALLBACK);
        events.put(Mono(2), EventKind::BreakerOpened, processor);
        let setting = About::Setting(Changeable::Burst);
        events.put(Mono(3), EventKind::SettingChanged, setting);
        let told = events.newest();
        let told: Vec<_> = told
            .iter()
            .map(|one| (one.at.0, one.what, one.about))
            .collect();
        let expected = [
            (3, "setting changed", "RATE_LIMIT_BURST"),
            (2, "breaker opened", "fallback"),
            (1, "started", ""),
        ];
        assert_eq!(told, expected);
        for at in 4..100 {
            events.put(Mono(at), EventKind::NothingKept, About::Instance);
        }
        let told = events.newest();
        let moments: Vec<u64> = told.iter().map(|one| one.at.0).collect();
        assert_eq!(moments, (36..100).rev().collect::<Vec<_>>());
    }
}
