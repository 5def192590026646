//! The settled claims of a replay, oldest first, bounded (I8). It is made for filling and reading
//! once: running owners have `claims`.

use std::collections::VecDeque;

use ahash::RandomState;
use hashbrown::HashMap;

use crate::claims::SettledClaim;
use crate::clock::UnixMillis;
use crate::keys;
use crate::payment::UpstreamId;

/// Settled claims in the order in which they settled, the newest `most` of them. 500,000 take
/// 60 MB while a start or a compaction runs: 48 bytes each in the queue, 33 in each of 2^20
/// places of the map.
#[derive(Debug)]
pub(super) struct Settled {
    most: usize,
    /// A claim that was removed leaves its place empty.
    pub(super) claims: VecDeque<Option<(UpstreamId, SettledClaim)>>,
    /// Where the claims are, counted from the first that ever was.
    places: HashMap<UpstreamId, usize, RandomState>,
    /// The place of the queue's front.
    front: usize,
    /// The newest payment that there was no room for.
    dropped: Option<UnixMillis>,
}

impl Settled {
    pub(super) fn new(most: usize) -> Self {
        let places = HashMap::with_hasher(keys::hasher());
        Self {
            most,
            claims: VecDeque::new(),
            places,
            front: 0,
            dropped: None,
        }
    }

    pub(super) fn insert(&mut self, id: UpstreamId, claim: SettledClaim) {
        self.remove(id);
        self.places
            .insert(id, self.front.saturating_add(self.claims.len()));
        self.claims.push_back(Some((id, claim)));
        while self.places.len() > self.most {
            if let Some((oldest, claim)) = self.claims.pop_front().flatten() {
                self.places.remove(&oldest);
                self.dropped = self.dropped.max(claim.requested_at);
            }
            self.front = self.front.saturating_add(1);
        }
        if self.claims.len() > self.most.saturating_mul(2) {
            self.close_gaps();
        }
    }

    pub(super) fn find(&self, id: UpstreamId) -> Option<SettledClaim> {
        let index = self.places.get(&id)?.checked_sub(self.front)?;
        let (_, claim) = (*self.claims.get(index)?)?;
        Some(claim)
    }

    pub(super) fn remove(&mut self, id: UpstreamId) {
        let place = self.places.remove(&id);
        let index = place.and_then(|place| place.checked_sub(self.front));
        if let Some(entry) = index.and_then(|index| self.claims.get_mut(index)) {
            *entry = None;
        }
    }

    fn close_gaps(&mut self) {
        self.claims.retain(Option::is_some);
        for (place, entry) in (self.front..).zip(&self.claims) {
            if let Some((id, _)) = entry {
                self.places.insert(*id, place);
            }
        }
    }

    /// The date of the newest payment that there was no room for.
    pub(super) const fn dropped(&self) -> Option<UnixMillis> {
        self.dropped
    }

    pub(super) fn clear(&mut self) {
        self.claims.clear();
        self.places.clear();
        self.dropped = None;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (UpstreamId, SettledClaim)> + '_ {
        self.claims.iter().flatten().copied()
    }
}
