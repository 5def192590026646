//! Whether the other shards are who they should be, and whether all of them have answered: what one
//! core knows of PEERS. `pay` asks them and tells what they said; `server` says in `/readyz` and in
//! a refused summary what is wrong. Pure: no I/O, no clock, and atomics where cores must agree.
//!
//! No payment waits for a peer: one that is away, slow or another client changes no answer about
//! money, only sums. But a shard about whose own number or journal a peer says something else may
//! be the wrong one, and would charge again what the right one has charged: it takes no payments
//! until that is mended, nor before its peers were asked once at its start. A shard that only sees
//! that another one is wrong goes on with its own ids.
//!
//! Shards know each other by their journals. Each says which journal it has, and which ones it has
//! met: where two know different ones for the same shard, one of them was lost, swapped or doubled,
//! and both say so. The journal of shard 1 names the whole set: there is nothing to agree about.
//! An old copy of a journal has the same name; `marks` tell how far each is.

mod marks;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use self::marks::{MARKS_KEPT, Mark, Marks, OwnJournal};
use crate::limits;
use crate::payment::Shard;
use crate::wire::Introduction;

/// What one core knows of the other shards.
#[derive(Clone, Debug)]
pub struct Peers {
    own: Shard,
    /// The journal of each shard, by its number less one; zero until it was met, and for one that
    /// keeps none. All cores know the same ones.
    journals: Arc<[AtomicU64]>,
    /// How far they are.
    marks: Arc<Marks>,
    /// What each peer's answer means, by its place in PEERS. Stays until it answers well.
    footings: Vec<Footing>,
}

/// How this instance stands among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Footing {
    /// Nothing is wrong, as far as the others answered.
    Well,
    /// They were not asked yet, since it started.
    Unasked,
    /// Another one is wrong. There is no sum; this one's own payments go on.
    Apart(Trouble),
    /// This one may be wrong: it takes no payments.
    Disputed(Trouble),
}

/// Why a peer is not who it should be. The number is that of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is a shard of this number, in a set of another size.
    OtherCount(u16),
    /// It claims this number, as another peer or this instance does; it may be this instance.
    Twice(u16),
    /// It knows another journal for the shard of this number.
    OtherJournal(u16),
}

/// Why there is no sum over all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The shard of this number gave no answer.
    Missing(u16),
    /// A peer is not who it should be.
    Trouble(Trouble),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherCount(number) => {
                write!(f, "a peer is shard {number} of a set of another size")
            }
            Self::Twice(number) => write!(f, "shard {number} is claimed by two instances"),
            Self::OtherJournal(number) => {
                write!(f, "shard {number} has another journal than it had")
            }
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(number) => write!(f, "shard {number} gave no answer"),
            Self::Trouble(trouble) => trouble.fmt(f),
        }
    }
}

impl fmt::Display for Footing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Well => f.write_str("nothing is wrong"),
            Self::Unasked => f.write_str("the other shards were not asked yet who they are"),
            Self::Apart(trouble) | Self::Disputed(trouble) => trouble.fmt(f),
        }
    }
}

impl Trouble {
    fn pack(self) -> u32 {
        let (kind, number) = match self {
            Self::OtherCount(number) => (1, number),
            Self::Twice(number) => (2, number),
            Self::OtherJournal(number) => (3, number),
        };
        kind << 16 | u32::from(number)
    }

    fn unpack(word: u32) -> Option<Self> {
        let number = u16::try_from(word & 0xffff).ok()?;
        match word >> 16 {
            1 => Some(Self::OtherCount(number)),
            2 => Some(Self::Twice(number)),
            3 => Some(Self::OtherJournal(number)),
            _ => None,
        }
    }
}

impl Footing {
    const UNASKED: u32 = 1 << 24;
    const DISPUTED: u32 = 1 << 25;

    /// Whether payments are taken.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Well | Self::Apart(_))
    }

    /// What is wrong, here or elsewhere.
    #[must_use]
    pub const fn trouble(self) -> Option<Trouble> {
        match self {
            Self::Well | Self::Unasked => None,
            Self::Apart(trouble) | Self::Disputed(trouble) => Some(trouble),
        }
    }

    /// As one word that cores share.
    #[must_use]
    pub fn pack(self) -> u32 {
        match self {
            Self::Well => 0,
            Self::Unasked => Self::UNASKED,
            Self::Apart(trouble) => trouble.pack(),
            Self::Disputed(trouble) => Self::DISPUTED | trouble.pack(),
        }
    }

    /// Reads what [`Self::pack`] made.
    #[must_use]
    pub fn unpack(word: u32) -> Self {
        match Trouble::unpack(word & !Self::DISPUTED) {
            None if word == Self::UNASKED => Self::Unasked,
            None => Self::Well,
            Some(trouble) if word & Self::DISPUTED == 0 => Self::Apart(trouble),
            Some(trouble) => Self::Disputed(trouble),
        }
    }
}

impl Peers {
    /// Before any was asked. `journals` are those that are known, each with its shard's number.
    #[must_use]
    pub fn new(own: Shard, journals: impl IntoIterator<Item = (u16, u64)>) -> Self {
        let count = usize::from(own.count());
        let known: Arc<[AtomicU64]> = (0..count).map(|_| AtomicU64::new(0)).collect();
        for (number, journal) in journals {
            learn(&known, number, journal);
        }
        Self {
            own,
            journals: known,
            marks: Arc::new(Marks::new(own, [], [])),
            footings: vec![Footing::Well; count.saturating_sub(1)],
        }
    }

    /// The same, with what the journal knows of its own marks and of others'.
    #[must_use]
    pub fn with_marks(self, marks: Arc<Marks>) -> Self {
        Self { marks, ..self }
    }

    /// How far the journals are.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// What this instance may say of its journal, now that it stands like this.
    pub fn stand(&self, footing: Footing) {
        self.marks.stand(match footing {
            Footing::Well | Footing::Apart(_) => OwnJournal::Well,
            Footing::Disputed(Trouble::OtherJournal(of)) if of == self.own.number() => {
                OwnJournal::InDoubt
            }
            Footing::Unasked | Footing::Disputed(_) => OwnJournal::Silent,
        });
    }

    /// What this instance says of itself.
    #[must_use]
    pub fn introduce(&self) -> Introduction {
        Introduction {
            shard: self.own,
            journals: self.known().collect(),
            marks: self.marks.say(),
        }
    }

    fn known(&self) -> impl Iterator<Item = Option<u64>> {
        let journals = self.journals.iter();
        journals.map(|journal| Some(journal.load(Ordering::Relaxed)).filter(|id| *id != 0))
    }

    /// Takes in one round over all peers, by their places in PEERS; `None` where no answer came.
    /// `heard` are the marks of others that were known before any of them was asked: rounds of
    /// other cores may have heard newer ones meanwhile. Returns the journals that were met for the
    /// first time, with their shards' numbers.
    ///
    /// # Errors
    /// Something is missing, or not as it should be: then there is no sum.
    pub fn meet(
        &mut self,
        round: &[Option<Introduction>],
        heard: &[Mark],
    ) -> (Vec<(u16, u64)>, Result<(), Gap>) {
        let mut claimed = vec![self.own.number()];
        let known: Vec<Option<u64>> = self.known().collect();
        let own = self.own.number();
        let has_met = has_met(own, &known);
        let mut met = Vec::new();
        for (footing, answer) in self.footings.iter_mut().zip(round) {
            let Some(answer) = answer else { continue };
            let number = answer.shard.number();
            // Of two that are not of one set, the one that has met none of its own is the new one,
            // and says the same of itself. Where both have, or none has, either may be wrong.
            let is_newer = has_met && !self::has_met(number, &answer.journals);
            let clash = |trouble| match is_newer {
                true => Footing::Apart(trouble),
                false => Footing::Disputed(trouble),
            };
            *footing = if answer.shard.count() != self.own.count() {
                clash(Trouble::OtherCount(number))
            } else if number == own {
                clash(Trouble::Twice(number))
            } else if claimed.contains(&number) {
                Footing::Apart(Trouble::Twice(number))
            } else {
                claimed.push(number);
                compare(answer, own, &known, (&self.marks, heard))
            };
            if *footing != Footing::Well {
                continue;
            }
            if let Some(journal) = answer.journal()
                && learn(&self.journals, number, journal)
            {
                met.push((number, journal));
            }
            if let Some(mark) = of(&answer.marks, number) {
                self.marks.hear(number, Mark(mark));
            }
        }
        let missing = (1..=self.own.count()).find(|number| !claimed.contains(number));
        let gap = self.footing().trouble().map(Gap::Trouble);
        let gap = gap.or_else(|| missing.map(Gap::Missing));
        (met, gap.map_or(Ok(()), Err))
    }

    /// What the answer of the peer at `index` of PEERS means.
    #[must_use]
    pub fn footing_towards(&self, index: usize) -> Footing {
        self.footings.get(index).copied().unwrap_or(Footing::Well)
    }

    /// What all their answers mean: the worst of them.
    #[must_use]
    pub fn footing(&self) -> Footing {
        let footings = || self.footings.iter().copied();
        let disputed = footings().find(|footing| !footing.is_good());
        let apart = || footings().find(|footing| footing.trouble().is_some());
        disputed.or_else(apart).unwrap_or(Footing::Well)
    }
}

/// What another shard of the set means for this one, number `own`, by the journals that both know
/// and how far these are.
fn compare(
    answer: &Introduction,
    own: u16,
    known: &[Option<u64>],
    (marks, heard): (&Marks, &[Mark]),
) -> Footing {
    let number = answer.shard.number();
    let theirs = answer.journals.iter().copied().zip(1..);
    let others = known.iter().zip(theirs).filter(|(ours, (theirs, of))| {
        // What each does not know of others it may yet learn; of itself it knows all.
        let is_known = (ours.is_some() || *of == own) && (theirs.is_some() || *of == number);
        is_known && *ours != theirs
    });
    let others: Vec<u16> = others.map(|(_, (_, of))| of).collect();
    let [ours, theirs] = [own, number].map(|number| of(&answer.marks, number).map(Mark));
    let before = usize::from(number).checked_sub(1);
    let before = before.and_then(|index| heard.get(index)).copied();
    if others.contains(&own) || ours.is_some_and(|ours| marks.are_behind(ours)) {
        return Footing::Disputed(Trouble::OtherJournal(own));
    }
    let is_old = |said| marks::is_old(said, before.unwrap_or(Mark::IN_DOUBT));
    let old = theirs.filter(|said| is_old(*said)).map(|_| number);
    let other = others.first().copied().or(old);
    other.map_or(Footing::Well, |of| {
        Footing::Apart(Trouble::OtherJournal(of))
    })
}

/// What a list by shard has for the shard of this number.
fn of(list: &[Option<u64>], number: u16) -> Option<u64> {
    let index = usize::from(number).checked_sub(1)?;
    list.get(index).copied().flatten()
}

/// Whether the shard of this number knows the journal of another one, so that it was of the set.
fn has_met(number: u16, journals: &[Option<u64>]) -> bool {
    let mut others = journals.iter().zip(1..).filter(|(_, of)| *of != number);
    others.any(|(journal, _)| journal.is_some())
}

/// Keeps the journal of shard `number`, if none was known: whether it is news.
fn learn(journals: &[AtomicU64], number: u16, journal: u64) -> bool {
    let index = usize::from(number).checked_sub(1);
    let place = index.and_then(|index| journals.get(index));
    let order = Ordering::Relaxed;
    place.is_some_and(|place| place.compare_exchange(0, journal, order, order).is_ok())
}

// A shard's number fits in the half of a word that `pack` gives it.
const _: () = assert!(limits::SHARDS_MAX < u16::MAX);

#[cfg(test)]
mod tests;
