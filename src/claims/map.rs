//! The map itself: a slab of entries, an index by hash, a free list and the queue of settled
//! claims, oldest first. The lists run through the entries, so no claim costs an allocation.

use std::time::Duration;

use ahash::RandomState;

use super::Full;
use super::entry::{Entry, SettledClaim};
use super::index::{CLAIMS_TOUCHED_MAX, Index, Position};
use crate::clock::Mono;
use crate::keys;
use crate::limits;
use crate::payment::UpstreamId;

/// The end of a list.
const NONE: u32 = u32::MAX;

/// What is known of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nothing: it may be claimed.
    Fresh,
    /// Its payment is under way in this slot of the flows.
    Pending(u32),
    /// Its payment ended so.
    Settled(SettledClaim),
}

/// How many settled claims were forgotten, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Their TTL was over.
    pub expired: u64,
    /// There were too many; their TTL was not over.
    pub evicted: u64,
    /// A purge.
    pub purged: u64,
}

/// All claims of one core.
#[derive(Debug)]
pub struct Claims {
    entries: Vec<Entry>,
    index: Index,
    /// Keyed per process, so that no one outside can choose ids that collide. What outlives the
    /// process is keyed by constants instead; see `UpstreamId::hash`.
    hasher: RandomState,
    /// Head of the free list.
    free: u32,
    /// The settled claim that goes first, and the one that came last.
    oldest: u32,
    youngest: u32,
    settled: usize,
    pending: usize,
    forgotten: Forgotten,
    capacity: usize,
    full: Full,
    ttl_secs: u32,
}

impl Claims {
    /// An empty map that keeps at most `capacity` settled claims, each for `ttl` (in whole
    /// seconds, rounded up).
    #[must_use]
    pub fn new(capacity: usize, ttl: Duration) -> Self {
        let room = capacity.saturating_add(limits::CLAIMS_PENDING_ROOM);
        Self {
            entries: touched_room(room),
            index: Index::with_room_for(room),
            hasher: keys::hasher(),
            free: NONE,
            oldest: NONE,
            youngest: NONE,
            settled: 0,
            pending: 0,
            forgotten: Forgotten::default(),
            capacity,
            full: Full::Forget,
            ttl_secs: whole_secs(ttl),
        }
    }

    /// The same with another rule for too many.
    #[must_use]
    pub fn when_full(self, full: Full) -> Self {
        Self { full, ..self }
    }

    /// What is known of `id`.
    #[must_use]
    pub fn look(&self, id: UpstreamId) -> Claim {
        let Some(entry) = self.find(id).and_then(|(_, place)| self.entry(place)) else {
            return Claim::Fresh;
        };
        match entry.as_settled() {
            Some(settled) => Claim::Settled(settled),
            None => Claim::Pending(entry.link),
        }
    }

    /// Whether another id may be claimed without one being forgotten before its time. The room of
    /// those whose time is over is given back first.
    #[must_use]
    pub fn has_room(&mut self, now: Mono) -> bool {
        if self.full == Full::Forget {
            return true;
        }
        let is_full = |claims: &Self| claims.settled + claims.pending >= claims.capacity;
        while is_full(self) && self.expire(now, 1) > 0 {}
        !is_full(self)
    }

    /// Claims a fresh `id` for the payment in `slot` of the flows.
    pub fn hold(&mut self, id: UpstreamId, slot: u32) {
        assert!(self.find(id).is_none(), "I1: only a fresh id is claimed");
        self.insert(id, Entry::pending(id, slot));
        self.pending += 1;
    }

    /// The pending payment of `id` has ended: from now on its claim ages. The oldest settled claim
    /// goes when there are too many.
    pub fn settle(&mut self, id: UpstreamId, claim: SettledClaim, now: Mono) {
        let found = self.find_pending(id);
        assert!(found.is_some(), "I3: what settles was pending");
        if let Some((_, place)) = found {
            self.pending -= 1;
            self.append(place, &claim, self.second(now), now);
        }
    }

    /// Takes over a claim from a journal that settled `age` ago; none is older than one that came
    /// before it. An id that is known already keeps the claim that it has, and the answer is false.
    pub fn restore(
        &mut self,
        id: UpstreamId,
        claim: SettledClaim,
        age: Duration,
        now: Mono,
    ) -> bool {
        if self.find(id).is_some() {
            return false;
        }
        let place = self.insert(id, Entry::pending(id, NONE));
        let secs = self.second(now).saturating_sub(whole_secs(age));
        self.append(place, &claim, secs, now);
        true
    }

    /// The pending payment of `id` was not charged and never will be: the id is free again.
    pub fn release(&mut self, id: UpstreamId) {
        let found = self.find_pending(id);
        assert!(found.is_some(), "I3: only a pending id is released");
        if let Some((position, place)) = found {
            self.pending -= 1;
            self.remove(position, place);
        }
    }

    /// Forgets every settled claim (purge). Takes time in the number of places ever used.
    pub fn forget_settled(&mut self) {
        if let Some(youngest) = entry_mut(&mut self.entries, self.youngest) {
            // The whole queue goes in front of the free list.
            youngest.link = self.free;
            self.free = self.oldest;
        }
        self.forgotten.purged += count_u64(self.settled);
        (self.oldest, self.youngest, self.settled) = (NONE, NONE, 0);
        self.index.clear();
        for (place, entry) in (0_u32..).zip(&self.entries) {
            if entry.is_pending() {
                self.index.insert(hash_of(&self.hasher, entry.id()), place);
            }
        }
    }

    /// Forgets at most `at_most` settled claims that are older than the TTL, and says how many.
    pub fn expire(&mut self, now: Mono, at_most: usize) -> usize {
        let mut forgotten = 0;
        while forgotten < at_most && self.is_oldest_expired(now) {
            self.forget_oldest();
            forgotten += 1;
        }
        self.forgotten.expired += count_u64(forgotten);
        forgotten
    }

    /// How many were forgotten so far, and why.
    #[must_use]
    pub fn forgotten(&self) -> Forgotten {
        self.forgotten
    }

    /// How many settled claims there are.
    #[must_use]
    pub fn settled_len(&self) -> usize {
        self.settled
    }

    /// How many pending claims there are.
    #[cfg(test)]
    #[must_use]
    pub fn pending_len(&self) -> usize {
        self.pending
    }

    /// The settled claims, oldest first.
    #[cfg(test)]
    pub fn settled(&self) -> impl Iterator<Item = (UpstreamId, SettledClaim)> + '_ {
        let mut place = self.oldest;
        std::iter::from_fn(move || {
            let entry = self.entry(place)?;
            place = entry.link;
            Some((entry.id(), entry.as_settled()?))
        })
    }

    /// Sweeps the whole map for anything that cannot be; for tests.
    #[cfg(test)]
    pub fn check_invariants(&self) {
        let mut settled = 0;
        let (mut place, mut last) = (self.oldest, NONE);
        let mut secs = 0;
        while let Some(entry) = self.entry(place) {
            assert!(
                entry.as_settled().is_some(),
                "the queue holds settled claims only"
            );
            assert!(
                entry.settled_secs >= secs,
                "the queue is in the order of settling"
            );
            assert!(
                self.find(entry.id()).is_some_and(|(_, at)| at == place),
                "it can be found"
            );
            (settled, secs, last, place) = (settled + 1, entry.settled_secs, place, entry.link);
        }
        assert_eq!(
            (settled, last),
            (self.settled, self.youngest),
            "the queue is whole"
        );
        assert!(
            self.settled <= self.capacity || self.full == Full::Keep,
            "I8: no more settled claims than allowed"
        );
        let mut pending = 0;
        for (place, entry) in (0_u32..).zip(&self.entries) {
            if entry.is_pending() {
                assert!(
                    self.find(entry.id()).is_some_and(|(_, at)| at == place),
                    "can be found"
                );
                pending += 1;
            }
        }
        assert_eq!(pending, self.pending, "I3: no pending claim is lost");
        assert_eq!(
            self.index.len(),
            settled + pending,
            "nothing else can be found"
        );
        let mut free = 0;
        let mut place = self.free;
        while let Some(entry) = self.entry(place) {
            (free, place) = (free + 1, entry.link);
        }
        assert_eq!(
            free + settled + pending,
            self.entries.len(),
            "no place is lost"
        );
    }

    fn find(&self, id: UpstreamId) -> Option<(Position, u32)> {
        let hash = hash_of(&self.hasher, id);
        self.index.find(hash, |place| {
            self.entry(place).is_some_and(|entry| entry.is_for(id))
        })
    }

    fn find_pending(&self, id: UpstreamId) -> Option<(Position, u32)> {
        self.find(id)
            .filter(|(_, place)| self.entry(*place).is_some_and(Entry::is_pending))
    }

    fn entry(&self, place: u32) -> Option<&Entry> {
        self.entries.get(usize::try_from(place).ok()?)
    }

    fn insert(&mut self, id: UpstreamId, entry: Entry) -> u32 {
        let place = match entry_mut(&mut self.entries, self.free) {
            Some(free) => {
                let place = self.free;
                self.free = free.link;
                *free = entry;
                place
            }
            None => {
                let place = u32::try_from(self.entries.len()).unwrap_or(NONE);
                assert!(place != NONE, "I8: fewer than 2^32 - 1 claims");
                self.entries.push(entry);
                place
            }
        };
        self.index.insert(hash_of(&self.hasher, id), place);
        place
    }

    fn remove(&mut self, position: Position, place: u32) {
        self.index.remove(position);
        if let Some(entry) = entry_mut(&mut self.entries, place) {
            *entry = Entry::free(self.free);
            self.free = place;
        }
    }

    /// Makes the claim at `place` the youngest settled one.
    fn append(&mut self, place: u32, claim: &SettledClaim, secs: u32, now: Mono) {
        if let Some(entry) = entry_mut(&mut self.entries, place) {
            *entry = Entry::settled(entry.id(), claim, secs, NONE);
        }
        match entry_mut(&mut self.entries, self.youngest) {
            Some(youngest) => youngest.link = place,
            None => self.oldest = place,
        }
        self.youngest = place;
        self.settled += 1;
        if self.settled > self.capacity {
            match (self.is_oldest_expired(now), self.full) {
                (true, _) => self.forgotten.expired += 1,
                (false, Full::Forget) => self.forgotten.evicted += 1,
                (false, Full::Keep) => return,
            }
            self.forget_oldest();
        }
    }

    /// From one TTL before the process began: claims may be older than it.
    fn second(&self, now: Mono) -> u32 {
        whole_secs(Duration::from_micros(now.0)).saturating_add(self.ttl_secs)
    }

    fn is_oldest_expired(&self, now: Mono) -> bool {
        // What settled within this second has the whole TTL.
        let now_secs = u32::try_from(now.0 / 1_000_000).unwrap_or(u32::MAX);
        self.entry(self.oldest)
            .is_some_and(|entry| now_secs >= entry.settled_secs)
    }

    fn forget_oldest(&mut self) {
        let place = self.oldest;
        let Some((id, younger)) = self.entry(place).map(|entry| (entry.id(), entry.link)) else {
            return;
        };
        self.oldest = younger;
        if younger == NONE {
            self.youngest = NONE;
        }
        self.settled -= 1;
        if let Some((position, _)) = self.find(id) {
            self.remove(position, place);
        }
    }
}

fn count_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Room for so many entries, its memory there already: see `CLAIMS_TOUCHED_MAX`.
fn touched_room(count: usize) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(count);
    let touched = count.min(CLAIMS_TOUCHED_MAX);
    entries.resize(touched, Entry::pending(UpstreamId(0), NONE));
    // The compiler shall not see that nothing is read.
    std::hint::black_box(&mut entries).clear();
    entries
}

fn entry_mut(entries: &mut [Entry], place: u32) -> Option<&mut Entry> {
    entries.get_mut(usize::try_from(place).ok()?)
}

/// 32 bits of a keyed hash.
fn hash_of(hasher: &RandomState, id: UpstreamId) -> u32 {
    u32::try_from(hasher.hash_one(id.0) >> 32).unwrap_or_default()
}

fn whole_secs(span: Duration) -> u32 {
    let secs = span
        .as_secs()
        .saturating_add(u64::from(span.subsec_nanos() > 0));
    u32::try_from(secs).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
