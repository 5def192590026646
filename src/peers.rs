//! Whether the other shards are who they should be, and whether all of them have answered: what one
//! core knows of PEERS. `pay` asks them and tells what they said; `server` says in `/readyz` and in
//! a refused summary what is wrong. Pure: no I/O, no clock, and atomics where cores must agree.
//!
//! Nothing here is ever asked before a payment: a peer that is away, slow or another client changes
//! no answer about money, only sums.
//!
//! Shards know each other by their journals. Each says which journal it has, and which ones it has
//! met: where two know different ones for the same shard, one of them was lost, swapped or doubled,
//! and both say so. The journal of shard 1 names the whole set: there is nothing to agree about.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// What is wrong with each peer, by its place in PEERS. Stays until it answers well.
    troubles: Vec<Option<Trouble>>,
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

impl Trouble {
    /// As one word that cores share; never zero.
    #[must_use]
    pub fn pack(self) -> u32 {
        let (kind, number) = match self {
            Self::OtherCount(number) => (1, number),
            Self::Twice(number) => (2, number),
            Self::OtherJournal(number) => (3, number),
        };
        kind << 16 | u32::from(number)
    }

    /// Reads what [`Self::pack`] made; `None` of zero.
    #[must_use]
    pub fn unpack(word: u32) -> Option<Self> {
        let number = u16::try_from(word & 0xffff).ok()?;
        match word >> 16 {
            1 => Some(Self::OtherCount(number)),
            2 => Some(Self::Twice(number)),
            3 => Some(Self::OtherJournal(number)),
            _ => None,
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
            troubles: vec![None; count.saturating_sub(1)],
        }
    }

    /// What this instance says of itself.
    #[must_use]
    pub fn introduce(&self) -> Introduction {
        Introduction {
            shard: self.own,
            journals: self.known().collect(),
        }
    }

    fn known(&self) -> impl Iterator<Item = Option<u64>> {
        let journals = self.journals.iter();
        journals.map(|journal| Some(journal.load(Ordering::Relaxed)).filter(|id| *id != 0))
    }

    /// Takes in one round over all peers, by their places in PEERS; `None` where no answer came.
    /// Returns the journals that were met for the first time, with their shards' numbers.
    ///
    /// # Errors
    /// Something is missing, or not as it should be: then there is no sum.
    pub fn meet(&mut self, round: &[Option<Introduction>]) -> (Vec<(u16, u64)>, Result<(), Gap>) {
        let mut claimed = vec![self.own.number()];
        let known: Vec<Option<u64>> = self.known().collect();
        let mut met = Vec::new();
        for (trouble, answer) in self.troubles.iter_mut().zip(round) {
            let Some(answer) = answer else { continue };
            let number = answer.shard.number();
            *trouble = if answer.shard.count() != self.own.count() {
                Some(Trouble::OtherCount(number))
            } else if claimed.contains(&number) {
                Some(Trouble::Twice(number))
            } else {
                claimed.push(number);
                let theirs = answer.journals.iter().copied().zip(1..);
                let mut other = known.iter().zip(theirs).filter(|(ours, (theirs, of))| {
                    // What it does not know of others it may yet learn; of itself it knows all.
                    ours.is_some() && *ours != theirs && (theirs.is_some() || *of == number)
                });
                other.next().map(|(_, (_, of))| Trouble::OtherJournal(of))
            };
            if trouble.is_none()
                && let Some(journal) = answer.journal()
                && learn(&self.journals, number, journal)
            {
                met.push((number, journal));
            }
        }
        let missing = (1..=self.own.count()).find(|number| !claimed.contains(number));
        let gap = (self.trouble().map(Gap::Trouble)).or_else(|| missing.map(Gap::Missing));
        (met, gap.map_or(Ok(()), Err))
    }

    /// What is wrong with the peer at `index` of PEERS.
    #[must_use]
    pub fn trouble_of(&self, index: usize) -> Option<Trouble> {
        self.troubles.get(index).copied().flatten()
    }

    /// What is wrong with any of them.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.troubles.iter().copied().flatten().next()
    }
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
mod tests {
    use super::*;

    fn shard(text: &str) -> Shard {
        Shard::parse(text).unwrap()
    }

    /// A shard's answer, with the journals that it knows by number; zero for none.
    fn answer(text: &str, journals: &[u64]) -> Option<Introduction> {
        Some(Introduction {
            shard: shard(text),
            journals: journals.iter().map(|id| (*id > 0).then_some(*id)).collect(),
        })
    }

    fn second_of_three() -> Peers {
        Peers::new(shard("2/3"), [(2, 20)])
    }

    #[test]
    fn all_are_there_in_any_order_and_are_met_once() {
        let mut peers = second_of_three();
        let round = [answer("3/3", &[0, 0, 30]), answer("1/3", &[10, 0, 0])];
        assert_eq!(peers.meet(&round), (vec![(3, 30), (1, 10)], Ok(())));
        assert_eq!(peers.introduce(), answer("2/3", &[10, 20, 30]).unwrap());
        assert_eq!(peers.meet(&round), (vec![], Ok(())));
        // Addresses may change their shard.
        let round = [answer("1/3", &[10, 20, 30]), answer("3/3", &[10, 0, 30])];
        assert_eq!(peers.meet(&round), (vec![], Ok(())));
    }

    #[test]
    fn the_one_that_is_missing_is_named_by_its_number() {
        let mut peers = second_of_three();
        let (_, gap) = peers.meet(&[answer("3/3", &[0, 0, 30]), None]);
        assert_eq!(gap, Err(Gap::Missing(1)));
        let (_, gap) = peers.meet(&[None, answer("1/3", &[10, 0, 0])]);
        assert_eq!(gap, Err(Gap::Missing(3)));
        assert_eq!(peers.trouble(), None, "to be away is no trouble");
        assert_eq!(Gap::Missing(3).to_string(), "shard 3 gave no answer");
    }

    #[test]
    fn who_is_not_who_it_should_be_is_named_until_it_is() {
        let third = || answer("3/3", &[0, 0, 30]);
        #[rustfmt::skip]
        let rows = [
            (answer("1/2", &[10, 0]), Trouble::OtherCount(1)),
            (answer("1/4", &[10, 0, 0, 0]), Trouble::OtherCount(1)),
            (answer("1/1", &[10]), Trouble::OtherCount(1)),
            // This instance under another name, or another one that claims to be it.
            (answer("2/3", &[0, 20, 0]), Trouble::Twice(2)),
            (answer("2/3", &[0, 21, 0]), Trouble::Twice(2)),
            (answer("3/3", &[0, 0, 31]), Trouble::Twice(3)),
            // Its journal is another one, or gone.
            (answer("1/3", &[11, 20, 30]), Trouble::OtherJournal(1)),
            (answer("1/3", &[0, 20, 30]), Trouble::OtherJournal(1)),
            // It knew us, or the third one, with another journal.
            (answer("1/3", &[10, 29, 30]), Trouble::OtherJournal(2)),
            (answer("1/3", &[10, 20, 39]), Trouble::OtherJournal(3)),
        ];
        for (wrong, trouble) in rows {
            let mut peers = second_of_three();
            let right = [third(), answer("1/3", &[10, 20, 30])];
            assert_eq!(peers.meet(&right).1, Ok(()));
            let gap = Err(Gap::Trouble(trouble));
            assert_eq!(peers.meet(&[third(), wrong.clone()]), (vec![], gap));
            assert_eq!(peers.trouble_of(1), Some(trouble), "{wrong:?}");
            assert_eq!(
                peers.meet(&[third(), None]).1,
                gap,
                "silence proves nothing"
            );
            assert_eq!(Trouble::unpack(trouble.pack()), Some(trouble));
            assert_eq!(peers.meet(&right).1, Ok(()));
            assert_eq!(peers.trouble(), None);
        }
        assert_eq!(Trouble::unpack(0), None);
    }

    #[test]
    fn what_is_wrong_is_not_learned() {
        let mut peers = second_of_three();
        let round = [answer("1/3", &[10, 29, 0]), answer("3/3", &[11, 20, 30])];
        let (met, _) = peers.meet(&round);
        assert_eq!(met, [(3, 30)], "only of a peer about which all is right");
        assert_eq!(peers.introduce(), answer("2/3", &[0, 20, 30]).unwrap());
    }
}
