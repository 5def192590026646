//! Which place a new connection gets, and how many connections each address has: what all cores
//! share of it, as atomics. Called by `accept` for each connection and by each core's turn; it
//! closes nothing itself.
//!
//! A client beyond its bounds is not left in the kernel's queue: it gets one of a few places on
//! which only probes are answered and all else is 503, so that a full p99 still says that it lives.
//!
//! Connections of one address are counted in a table of words as `rate_limit` has one: a
//! fingerprint and a count, eight words a line. A word with a count is never overwritten; when all
//! eight of a line belong to others, a connection is not counted, which favours its address.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use super::reply::Reply;
use super::routes::Call;
use crate::atomics::{AtomicU64, AtomicUsize, RandomState};
use crate::descriptors;
use crate::limits;
use crate::metrics::Closed;
use crate::rate_limit::{Client, budget_of};
use crate::server::EVICTED_AT_ONCE_MAX;

/// Words that count the connections of client addresses: 128 KiB. With more addresses than that at
/// once some are not counted.
const CONNECTION_ADDRESSES: usize = 16_384;

/// What a connection may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// All calls that its role serves.
    Client,
    /// Whether p99 lives and is ready; all else is refused for this reason.
    Probe(Closed),
    /// An administrator's calls.
    Admin,
}

/// What a request gets on a place that serves it not; none where it is served.
pub(super) fn refusal(place: Place, call: Call) -> Option<Reply> {
    const FULL: Reply = Reply::problem(
        503,
        "every place for connections is taken; this request was not looked at",
    )
    .after(1);
    const ADDRESS: Reply = Reply::problem(
        503,
        "too many connections from this address; this request was not looked at",
    )
    .after(1);
    match (place, call) {
        (Place::Client | Place::Admin, _) | (_, Call::Alive | Call::Ready) => None,
        (Place::Probe(Closed::Address), _) => Some(ADDRESS),
        (Place::Probe(_), _) => Some(FULL),
    }
}

/// The places of a process.
#[derive(Debug)]
pub(crate) struct Places {
    bounds: descriptors::Places,
    clients: AtomicUsize,
    probes: AtomicUsize,
    admins: AtomicUsize,
    /// Places that another core is asked to make.
    wanted: AtomicUsize,
    lines: Box<[[AtomicU64; WAYS]]>,
    hasher: RandomState,
}

/// With loom the table is one short line: all addresses meet there.
const WAYS: usize = if cfg!(all(test, loom)) { 2 } else { 8 };
const LINES: usize = if cfg!(all(test, loom)) {
    1
} else {
    CONNECTION_ADDRESSES / WAYS
};
/// The rest of a word is the fingerprint; 2^24 connections are more than a process may have.
const COUNT_BITS: u32 = 24;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

const _: () = assert!(LINES.is_power_of_two(), "the low bits of a hash choose one");

/// Where an address's connections are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    line: usize,
    fingerprint: u64,
}

impl Places {
    /// All free.
    #[must_use]
    pub(crate) fn new(bounds: descriptors::Places) -> Self {
        Self {
            bounds,
            clients: AtomicUsize::new(0),
            probes: AtomicUsize::new(0),
            admins: AtomicUsize::new(0),
            wanted: AtomicUsize::new(0),
            lines: (0..LINES)
                .map(|_| std::array::from_fn(|_| AtomicU64::new(0)))
                .collect(),
            hasher: RandomState::default(),
        }
    }

    /// Takes a place of this kind. With `is_made` an earlier connection was just closed for it
    /// and gives its own back soon.
    pub(super) fn take(&self, place: Place, is_made: bool) -> bool {
        let (count, max) = self.of(place);
        let max = max.saturating_add(if is_made { self.bounds.overlap } else { 0 });
        let taken = count.fetch_update(Relaxed, Relaxed, |now| (now < max).then(|| now + 1));
        taken.is_ok()
    }

    /// Gives it back.
    pub(super) fn give_back(&self, place: Place) {
        let (count, _) = self.of(place);
        let before = count.fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "I8: every place is given back once");
    }

    fn of(&self, place: Place) -> (&AtomicUsize, usize) {
        match place {
            Place::Client => (&self.clients, self.bounds.clients),
            Place::Probe(_) => (&self.probes, self.bounds.probes),
            Place::Admin => (&self.admins, self.bounds.admins),
        }
    }

    /// Asks the other cores for a place: this one has no idle connection.
    pub(super) fn ask(&self) {
        let more = |now: usize| (now < EVICTED_AT_ONCE_MAX).then(|| now + 1);
        // At the bound enough was asked for.
        let _asked = self.wanted.fetch_update(Relaxed, Relaxed, more);
    }

    /// How many places other cores want.
    pub(super) fn take_wishes(&self) -> usize {
        if self.wanted.load(Relaxed) == 0 {
            return 0;
        }
        self.wanted.swap(0, Relaxed)
    }

    /// Counts one more connection of `address`.
    ///
    /// # Errors
    /// It has as many as it may, and was not counted.
    pub(super) fn count(&self, address: IpAddr) -> Result<Option<Counted>, ()> {
        let hash = self.hasher.hash_one(budget_of(Client::At(address)));
        let fingerprint = hash >> COUNT_BITS;
        let index = usize::try_from(hash & COUNT_MASK).unwrap_or(0) & (LINES - 1);
        let max = u64::try_from(self.bounds.per_address).unwrap_or(COUNT_MASK);
        let Some(line) = self.lines.get(index) else {
            return Ok(None);
        };
        // Each failed swap is another core's success on this very line.
        for _ in 0..limits::RATE_LIMIT_TRIES_MAX {
            let mut free = None;
            let mut own = None;
            for word in line {
                let seen = word.load(Relaxed);
                if seen & COUNT_MASK == 0 {
                    free = free.or(Some((word, seen)));
                } else if seen >> COUNT_BITS == fingerprint {
                    own = Some((word, seen));
                }
            }
            let Some((word, seen)) = own.or(free) else {
                return Ok(None);
            };
            let count = if own.is_some() { seen & COUNT_MASK } else { 0 };
            if count >= max.min(COUNT_MASK) {
                return Err(());
            }
            let next = fingerprint << COUNT_BITS | (count + 1);
            if word.compare_exchange(seen, next, Relaxed, Relaxed).is_ok() {
                let line = index;
                return Ok(Some(Counted { line, fingerprint }));
            }
        }
        Ok(None)
    }

    /// One connection of its address is gone.
    pub(super) fn uncount(&self, counted: Counted) {
        let Some(line) = self.lines.get(counted.line) else {
            return;
        };
        // Two cores that met an address at the same moment may have begun two words for it. Another
        // core may have taken this one's count from the first of them: who sees that must also see
        // the second word as that core left it, or a connection that is gone would be counted for
        // ever.
        for word in line {
            let less = |seen: u64| {
                let is_own = seen >> COUNT_BITS == counted.fingerprint && seen & COUNT_MASK > 0;
                is_own.then(|| seen - 1)
            };
            if word.fetch_update(AcqRel, Acquire, less).is_ok() {
                return;
            }
        }
    }
}

#[cfg(all(test, loom))]
mod interleavings;

#[cfg(test)]
mod tests {
    use super::*;

    fn places(clients: usize, per_address: usize) -> Places {
        Places::new(descriptors::Places {
            clients,
            per_address,
            probes: 1,
            admins: 1,
            overlap: 1,
        })
    }

    #[test]
    fn a_place_is_taken_up_to_the_bound_and_one_more_where_one_was_made() {
        let places = places(2, 9);
        assert!(places.take(Place::Client, false));
        assert!(places.take(Place::Client, false));
        assert!(!places.take(Place::Client, false));
        assert!(places.take(Place::Client, true));
        assert!(!places.take(Place::Client, true), "the overlap is bounded");
        assert!(places.take(Place::Probe(Closed::Full), false));
        assert!(!places.take(Place::Probe(Closed::Address), false));
        assert!(places.take(Place::Admin, false), "kinds do not share");
        for _ in 0..2 {
            places.give_back(Place::Client);
        }
        assert!(places.take(Place::Client, false));
    }

    #[test]
    fn an_address_has_its_count_by_64_bits_and_gets_it_back() {
        let places = places(9, 2);
        let near: [IpAddr; 3] =
            ["2001:db8::1", "2001:db8::2", "2001:db8::3"].map(|text| text.parse().unwrap());
        let other: IpAddr = "10.0.0.1".parse().unwrap();
        let first = places.count(near[0]).unwrap().unwrap();
        assert!(places.count(near[1]).is_ok());
        assert_eq!(places.count(near[2]), Err(()));
        assert!(places.count(other).unwrap().is_some());
        places.uncount(first);
        assert!(places.count(near[2]).is_ok());
        assert_eq!(places.count(near[2]), Err(()));
    }

    #[test]
    fn threads_together_get_no_more_than_one_address_may() {
        let places = places(9, 1_000);
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        // The first one alone, so that all count in one word.
        let first = places.count(address).unwrap().unwrap();
        let counted = AtomicUsize::new(1);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let is_counted = matches!(places.count(address), Ok(Some(_)));
                        counted.fetch_add(usize::from(is_counted), Relaxed);
                    }
                });
            }
        });
        assert_eq!(counted.load(Relaxed), 1_000);
        for _ in 0..1_000 {
            places.uncount(first);
        }
        assert!(places.count(address).is_ok());
    }

    #[test]
    fn wishes_for_room_are_taken_once() {
        let places = places(1, 1);
        places.ask();
        places.ask();
        assert_eq!((places.take_wishes(), places.take_wishes()), (2, 0));
    }
}
