//! A hash index from 32 bits of hash to places in a slab: open addressing with linear probing.
//!
//! Why not a ready-made table: those leave tombstones where entries go, and a map that takes one
//! in and lets one go for every payment, for ever, then rebuilds or doubles itself now and then,
//! tens of milliseconds for half a million entries. Here a removal closes its gap at once, so the
//! index never grows while the number of entries stays, and no payment ever waits for it.

/// Places of a core's claims whose memory is touched at the start: a first touch takes the kernel
/// as long as clearing 2 MiB, 0.3 to 5 ms (Linux 6.18, a virtual machine), in which a payment and
/// all behind it would stand still. At 56 bytes with their share of the index 56 MiB at most.
pub(super) const CLAIMS_TOUCHED_MAX: usize = 1 << 20;

/// The places of a slab by hash. A place is stored as `hash << 32 | place + 1`; zero is empty.
#[derive(Debug)]
pub(super) struct Index {
    buckets: Vec<u64>,
    mask: usize,
    len: usize,
}

/// Where a place stands in the index; good until the next change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position(usize);

impl Index {
    /// An index that holds `count` places before it grows.
    pub(super) fn with_room_for(count: usize) -> Self {
        // Two thirds full, a probe for a fresh id reads five buckets on average: one cache line.
        let size = count
            .saturating_mul(3)
            .div_ceil(2)
            .max(8)
            .next_power_of_two();
        let mut buckets = vec![0; size];
        // A new vector of zeros is memory that the kernel has only promised; writing makes it real
        // before the first payment needs it.
        let touched = size.min(CLAIMS_TOUCHED_MAX);
        if let Some(places) = std::hint::black_box(&mut buckets).get_mut(..touched) {
            places.fill(0);
        }
        Self {
            buckets,
            mask: size - 1,
            len: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The place with this hash for which `is_it` says so.
    #[inline]
    pub(super) fn find(
        &self,
        hash: u32,
        mut is_it: impl FnMut(u32) -> bool,
    ) -> Option<(Position, u32)> {
        let mut at = self.home(hash);
        loop {
            let (found, place) = split(self.bucket(at))?;
            if found == hash && is_it(place) {
                return Some((Position(at), place));
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Adds a place that is not there yet.
    pub(super) fn insert(&mut self, hash: u32, place: u32) {
        if self.len >= self.buckets.len() / 3 * 2 {
            self.grow();
        }
        let mut at = self.home(hash);
        while self.bucket(at) != 0 {
            at = (at + 1) & self.mask;
        }
        self.set(at, u64::from(hash) << 32 | (u64::from(place) + 1));
        self.len += 1;
    }

    /// Takes a place out and closes the gap: each follower moves up unless that would put it in
    /// front of its home.
    pub(super) fn remove(&mut self, position: Position) {
        let Position(mut gap) = position;
        let mut at = gap;
        loop {
            at = (at + 1) & self.mask;
            let bucket = self.bucket(at);
            let Some((hash, _)) = split(bucket) else {
                break;
            };
            let from_home = at.wrapping_sub(self.home(hash)) & self.mask;
            let from_gap = at.wrapping_sub(gap) & self.mask;
            if from_home >= from_gap {
                self.set(gap, bucket);
                gap = at;
            }
        }
        self.set(gap, 0);
        self.len -= 1;
    }

    /// Forgets every place; keeps the room.
    pub(super) fn clear(&mut self) {
        self.buckets.fill(0);
        self.len = 0;
    }

    fn grow(&mut self) {
        let size = self.buckets.len() * 2;
        let old = std::mem::replace(&mut self.buckets, vec![0; size]);
        self.mask = size - 1;
        self.len = 0;
        for (hash, place) in old.into_iter().filter_map(split) {
            self.insert(hash, place);
        }
    }

    fn home(&self, hash: u32) -> usize {
        usize::try_from(hash).unwrap_or_default() & self.mask
    }

    fn bucket(&self, at: usize) -> u64 {
        self.buckets.get(at).copied().unwrap_or_default()
    }

    fn set(&mut self, at: usize, bucket: u64) {
        if let Some(place) = self.buckets.get_mut(at) {
            *place = bucket;
        }
    }
}

fn split(bucket: u64) -> Option<(u32, u32)> {
    let place = u32::try_from(bucket & u64::from(u32::MAX))
        .ok()?
        .checked_sub(1)?;
    Some((u32::try_from(bucket >> 32).ok()?, place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        /// Few hashes, so that they collide, chains wrap around the end and the index grows.
        #[test]
        fn it_holds_what_a_set_holds(
            steps in proptest::collection::vec((0_u32..12, 0_u32..6), 0..120),
        ) {
            let mut index = Index::with_room_for(0);
            let mut model = HashSet::new();
            for (hash, place) in steps {
                let hash = if hash < 4 { u32::MAX - hash } else { hash };
                match index.find(hash, |found| found == place) {
                    Some((position, _)) => {
                        prop_assert!(model.remove(&(hash, place)));
                        index.remove(position);
                    }
                    None => {
                        prop_assert!(model.insert((hash, place)));
                        index.insert(hash, place);
                    }
                }
                prop_assert_eq!(index.len(), model.len());
                for (hash, place) in &model {
                    prop_assert!(index.find(*hash, |found| found == *place).is_some());
                }
            }
        }
    }

    #[test]
    fn it_never_grows_while_the_number_of_entries_stays() {
        let mut index = Index::with_room_for(100);
        let size = index.buckets.len();
        let hash = |place: u32| place.wrapping_mul(0x9e37_79b9);
        for place in 0..50_000_u32 {
            index.insert(hash(place), place);
            if let Some(oldest) = place.checked_sub(99) {
                let (position, _) = index.find(hash(oldest), |found| found == oldest).unwrap();
                index.remove(position);
            }
        }
        assert_eq!((index.buckets.len(), index.len()), (size, 99));
    }
}
