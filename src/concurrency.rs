//! How many attempts may be in flight at one processor, found out from its answers: one that is
//! slow and willing gets more, one that says 429 or fails gets less. Pure: the owners of all cores
//! tell one [`Limit`] what they saw, by atomics; they bound themselves by their [`Limit::share`].
//!
//! A *round* is as many charges and 429s as the limit was when it began. The limit only grows at
//! the end of a round in which some core needed more than it had, since else it says nothing
//! about the processor:
//!
//! | at | the limit |
//! |---|---|
//! | the start | is 32 |
//! | the end of such a round, before the first sign of trouble | doubles |
//! | the end of such a round, afterwards | grows by one |
//! | a 429 | times 0.9, at most once a round |
//! | a failure rate that opens the breaker | halves |
//! | always | is at least 4 (and one for each core), at most UPSTREAM_CONCURRENCY |
//!
//! Slow answers are no trouble, and a late one that says "charged" counts as any other (I8).

use std::sync::atomic::Ordering::Relaxed;

use crossbeam_utils::CachePadded;

use crate::atomics::{AtomicU32, AtomicU64};

/// Attempts in flight at a processor of which nothing is known yet: 2 ms an answer and 16,000/s, or
/// 2 s an answer and 16/s, from where six rounds of doubling lead to 1,024.
const UPSTREAM_CONCURRENCY_FIRST: u32 = 32;
/// Fewest, whatever the processor says: enough to notice that it is well again.
const UPSTREAM_CONCURRENCY_MIN: u32 = 4;
/// Most that UPSTREAM_CONCURRENCY may ask for: the client ports of one address.
const UPSTREAM_CONCURRENCY_MAX: u32 = 65_536;

/// What a limit is kept within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// UPSTREAM_CONCURRENCY; at least 1.
    pub most: u32,
    /// Among how many cores it is shared; at least 1.
    pub cores: u32,
}

impl Bounds {
    /// As a setting and a count of cores.
    #[must_use]
    pub fn new(most: usize, cores: u16) -> Self {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        Self {
            most: most.clamp(1, UPSTREAM_CONCURRENCY_MAX),
            cores: u32::from(cores.max(1)),
        }
    }

    /// The limit that is never fallen below.
    fn least(self) -> u32 {
        UPSTREAM_CONCURRENCY_MIN.max(self.cores).min(self.most)
    }

    fn clamp(self, limit: u32) -> u32 {
        limit.clamp(self.least(), self.most)
    }
}

/// The limit of one processor, shared by all cores. Read for every attempt, written for charges
/// only while some core is at its share.
#[derive(Debug)]
pub struct Limit {
    bounds: Bounds,
    /// The most that an operator lets it be, at most `bounds.most`.
    most: AtomicU32,
    word: CachePadded<AtomicU64>,
}

/// What the word holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    /// At most `UPSTREAM_CONCURRENCY_MAX`.
    limit: u32,
    /// Charges and 429s that this round still takes, at most the limit when it began.
    left: u32,
    /// There was no trouble yet.
    is_doubling: bool,
    /// Some core had need of more in this round.
    is_needed: bool,
    /// A 429 has cut it in this round.
    is_cut: bool,
}

const COUNT_BITS: u32 = 20;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

const _: () = assert!(UPSTREAM_CONCURRENCY_MAX < 1 << COUNT_BITS);

impl State {
    fn begin(limit: u32, is_doubling: bool) -> Self {
        Self {
            limit,
            left: limit,
            is_doubling,
            is_needed: false,
            is_cut: false,
        }
    }

    fn pack(self) -> u64 {
        let flag = |is: bool, bit: u32| u64::from(is) << bit;
        u64::from(self.limit)
            | u64::from(self.left) << COUNT_BITS
            | flag(self.is_doubling, 2 * COUNT_BITS)
            | flag(self.is_needed, 2 * COUNT_BITS + 1)
            | flag(self.is_cut, 2 * COUNT_BITS + 2)
    }

    fn unpack(word: u64) -> Self {
        let count = |shift: u32| u32::try_from(word >> shift & COUNT_MASK).unwrap_or(0);
        let flag = |bit: u32| word >> bit & 1 == 1;
        Self {
            limit: count(0),
            left: count(COUNT_BITS),
            is_doubling: flag(2 * COUNT_BITS),
            is_needed: flag(2 * COUNT_BITS + 1),
            is_cut: flag(2 * COUNT_BITS + 2),
        }
    }

    /// A core had no slot left.
    fn after_need(self) -> Self {
        Self {
            is_needed: true,
            ..self
        }
    }

    fn after_charge(self, bounds: Bounds) -> Self {
        // Nothing to count for: neither may it grow, nor is a cut to be forgotten.
        let is_idle = !self.is_cut && (!self.is_needed || self.limit >= bounds.most);
        if is_idle {
            return self;
        }
        if self.left > 1 {
            return Self {
                left: self.left - 1,
                ..self
            };
        }
        let grown = match (self.is_needed && !self.is_cut, self.is_doubling) {
            (false, _) => self.limit,
            (true, true) => self.limit.saturating_mul(2),
            (true, false) => self.limit.saturating_add(1),
        };
        Self::begin(bounds.clamp(grown), self.is_doubling)
    }

    fn after_shed(self, bounds: Bounds) -> Self {
        // A processor that says nothing but 429 is heard in each round.
        if self.is_cut && self.left > 1 {
            return Self {
                left: self.left - 1,
                ..self
            };
        }
        let cut = bounds.clamp(self.limit.saturating_mul(9) / 10);
        Self {
            is_cut: true,
            ..Self::begin(cut, false)
        }
    }

    fn after_trip(self, bounds: Bounds) -> Self {
        Self::begin(bounds.clamp(self.limit / 2), false)
    }
}

impl Limit {
    /// That of a processor of which nothing is known yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let first = bounds.clamp(UPSTREAM_CONCURRENCY_FIRST);
        let word = State::begin(first, true).pack();
        Self {
            bounds,
            most: AtomicU32::new(bounds.most),
            word: CachePadded::new(AtomicU64::new(word)),
        }
    }

    /// Bounds it by `most` from now on, but never by more than it was made with: descriptors and
    /// memory were shared out for that.
    pub fn set_most(&self, most: u32) {
        self.most.store(most.clamp(1, self.bounds.most), Relaxed);
        self.change(|state| {
            let limit = self.bounds().clamp(state.limit);
            let left = state.left.min(limit);
            State {
                limit,
                left,
                ..state
            }
        });
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            most: self.most.load(Relaxed),
            ..self.bounds
        }
    }

    /// How many attempts may be in flight in all.
    #[must_use]
    pub fn get(&self) -> u32 {
        State::unpack(self.word.load(Relaxed)).limit
    }

    /// How many of them one core may have, rounded up.
    #[must_use]
    pub fn share(&self) -> usize {
        self.share_of(self.get())
    }

    /// How many attempts one core may always have for payments that were never sent, whatever its
    /// re-sends hold.
    #[must_use]
    pub fn least_share(&self) -> usize {
        self.share_of(self.bounds().least())
    }

    fn share_of(&self, limit: u32) -> usize {
        usize::try_from(limit.div_ceil(self.bounds.cores)).unwrap_or(usize::MAX)
    }

    /// A core would have used more than its share.
    pub fn on_need(&self) {
        self.change(State::after_need);
    }

    /// An attempt was charged, in time or late.
    pub fn on_charge(&self) {
        self.change(|state| state.after_charge(self.bounds()));
    }

    /// An attempt was answered 429.
    pub fn on_shed(&self) {
        self.change(|state| state.after_shed(self.bounds()));
    }

    /// So many attempts failed that the breaker opened.
    pub fn on_trip(&self) {
        self.change(|state| state.after_trip(self.bounds()));
    }

    /// What changes nothing is not written: the line stays shared by all cores.
    fn change(&self, next: impl Fn(State) -> State) {
        let mut seen = self.word.load(Relaxed);
        loop {
            let wanted = next(State::unpack(seen)).pack();
            if wanted == seen {
                return;
            }
            match self
                .word
                .compare_exchange_weak(seen, wanted, Relaxed, Relaxed)
            {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }
}

#[cfg(all(test, loom))]
mod interleavings;
#[cfg(test)]
mod tests;
