//! How far each shard's journal is, so that an old copy of it is not taken for it.
//!
//! A copy has the journal's id. But each start, and each minute of a shard that takes payments,
//! gives the journal a *mark*: a number that grows by one, and a random part. It is on the disk
//! before any peer hears it. One that tells a shard a mark of its own that the shard does not find
//! in its journal has heard it from another copy, which is newer: this one has forgotten payments.
//!
//! A shard that is disputed gets no more marks while it runs, and tells none: peers would learn
//! those of the wrong copy, and each restart would bring it nearer to the right one. Pure, as
//! `peers`; the journal stores it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::payment::Shard;

/// Marks of its own that a shard knows again, 17 hours of them. A peer that was away for longer
/// knows an older one, which then says nothing.
pub(crate) const MARKS_KEPT: usize = 1_024;

/// Bits of a mark that are random; its number is in those above.
const RANDOM_BITS: u32 = 32;

/// How far a journal was: a number, and what tells copies of that number apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub u64);

impl Mark {
    /// Said by a shard that is stopped since its journal may be the wrong one.
    pub const IN_DOUBT: Self = Self(0);

    /// Counts the marks of a journal, from one on.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0 >> RANDOM_BITS
    }

    /// The one behind it.
    #[must_use]
    pub const fn next(self, random: u64) -> Self {
        let number = self.number().saturating_add(1) << RANDOM_BITS;
        Self(number | random >> RANDOM_BITS)
    }

    /// Whether a journal with this mark cannot have had the `other` one before.
    const fn is_not_behind(self, other: Self) -> bool {
        self.number() < other.number() || self.number() == other.number() && self.0 != other.0
    }
}

/// What a shard may say of its own journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OwnJournal {
    /// Nothing: its peers were not asked yet, or something else is wrong.
    Silent = 0,
    /// It is the right one, as far as its peers have said.
    Well = 1,
    /// It may be the wrong one.
    InDoubt = 2,
}

/// The marks that one shard knows; all cores know the same.
#[derive(Debug)]
pub struct Marks {
    shard: Shard,
    /// Those of its own journal, by their number modulo their count; zero where there is none.
    own: Box<[AtomicU64]>,
    newest: AtomicU64,
    /// The newest of each shard that was heard, by its number less one.
    heard: Box<[AtomicU64]>,
    /// A [`OwnJournal`].
    standing: AtomicU8,
}

impl Marks {
    /// What the journal of `shard` has: its own marks, oldest first, and those of others. Without a
    /// journal there are none.
    #[must_use]
    pub fn new(
        shard: Shard,
        own: impl IntoIterator<Item = Mark>,
        heard: impl IntoIterator<Item = (u16, Mark)>,
    ) -> Self {
        let zeros = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        let marks = Self {
            shard,
            own: zeros(MARKS_KEPT),
            newest: AtomicU64::new(0),
            heard: zeros(usize::from(shard.count())),
            standing: AtomicU8::new(OwnJournal::Silent as u8),
        };
        own.into_iter().for_each(|mark| marks.advance(mark));
        for (number, mark) in heard {
            marks.hear(number, mark);
        }
        marks
    }

    fn place(&self, mark: Mark) -> Option<&AtomicU64> {
        let index = usize::try_from(mark.number()).ok()?;
        self.own.get(index.checked_rem(self.own.len())?)
    }

    /// The newest of its own.
    #[must_use]
    pub fn newest(&self) -> Mark {
        // Who tells a mark has put it into its place: see `advance`.
        Mark(self.newest.load(Ordering::Acquire))
    }

    /// Its own journal has this one, durably. Only one thread may say so.
    pub fn advance(&self, mark: Mark) {
        if let Some(place) = self.place(mark) {
            place.store(mark.0, Ordering::Relaxed);
        }
        self.newest.store(mark.0, Ordering::Release);
    }

    /// Those of its own that it still knows, oldest first.
    #[must_use]
    pub fn own(&self) -> Vec<Mark> {
        let words = self.own.iter().map(|word| word.load(Ordering::Relaxed));
        let mut marks: Vec<Mark> = words.filter(|word| *word > 0).map(Mark).collect();
        marks.sort_unstable_by_key(|mark| mark.number());
        marks
    }

    /// What was heard of each shard, by its number less one; zero for nothing.
    #[must_use]
    pub fn heard(&self) -> Vec<Mark> {
        let words = self.heard.iter().map(|word| word.load(Ordering::Relaxed));
        words.map(Mark).collect()
    }

    /// Keeps the newest.
    pub(super) fn hear(&self, number: u16, mark: Mark) {
        let index = usize::from(number).checked_sub(1);
        if let Some(place) = index.and_then(|index| self.heard.get(index)) {
            let is_newer = |was| (mark.number() > Mark(was).number()).then_some(mark.0);
            // One that is not newer stays out, which is no failure.
            let _ = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_newer);
        }
    }

    /// How this shard stands now.
    pub fn stand(&self, standing: OwnJournal) {
        self.standing.store(standing as u8, Ordering::Relaxed);
    }

    fn stands(&self, standing: OwnJournal) -> bool {
        self.standing.load(Ordering::Relaxed) == standing as u8
    }

    /// Whether its journal is the right one, as far as its peers have said.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.stands(OwnJournal::Well)
    }

    /// What it says to peers: its own mark, and those that it has heard.
    #[must_use]
    pub(super) fn say(&self) -> Vec<Option<u64>> {
        let own = self.shard.number();
        let mark = if self.stands(OwnJournal::InDoubt) {
            Some(Mark::IN_DOUBT)
        } else {
            Some(self.newest()).filter(|mark| mark.0 > 0 && self.is_well())
        };
        let heard = self.heard().into_iter().zip(1..);
        let say = heard.map(|(heard, number)| match number == own {
            true => mark.map(|mark| mark.0),
            false => Some(heard.0).filter(|word| *word > 0),
        });
        say.collect()
    }

    /// Whether a peer that has heard this mark of this shard heard it from a newer copy of the
    /// journal.
    pub(super) fn are_behind(&self, told: Mark) -> bool {
        if told.number() > self.newest().number() {
            return true;
        }
        let kept = self.place(told).map(|word| word.load(Ordering::Relaxed));
        // A place that is taken by another number says that this one is forgotten.
        kept.is_some_and(|kept| Mark(kept).number() == told.number() && kept != told.0)
    }
}

/// Whether a shard that says `said` is on an older copy than the one that said `heard` before it
/// was asked.
pub(super) const fn is_old(said: Mark, heard: Mark) -> bool {
    said.0 == Mark::IN_DOUBT.0 || said.is_not_behind(heard)
}
