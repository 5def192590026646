//! Successes and failures of a sliding window, exact under concurrency, in ten atomic words.
//!
//! A bucket is one word: generation, epoch (which tenth of a window), successes, failures. Adding
//! is a compare-and-swap of the whole word, so a reused bucket never mixes two epochs or two
//! generations, and a late result of an older generation is dropped even when its thread slept
//! between looking at the breaker and counting. Called by the breaker only.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use crate::atomics::AtomicU64;
use crate::clock::Mono;

/// The design's number; a window is this many buckets long.
const BUCKETS: u64 = 10;
/// An Open of a second or more lies between two Closed generations, so 64 of them outlast any
/// window.
const GENERATION_BITS: u32 = 6;
/// With buckets of a second 2^24 epochs are 194 days. Only a bucket that no one wrote for exactly
/// that long could be taken for a fresh one.
const EPOCH_BITS: u32 = 24;
/// 131,071 of each kind in a bucket. A bucket that is full stays as it is, and with it its share
/// of failures, which so many samples know to a fraction of a percent.
const COUNT_BITS: u32 = 17;
/// The largest count.
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
/// A thread that lags behind by up to this many epochs finds its bucket reused and drops its
/// result. The bound keeps a bucket of half a year ago from looking like one of the future.
const LAG_MAX: u64 = 60;

const _: () = assert!(
    GENERATION_BITS + EPOCH_BITS + 2 * COUNT_BITS == u64::BITS,
    "a bucket's word is full"
);

/// The ring.
#[derive(Debug)]
pub(super) struct Counts {
    bucket_us: u64,
    buckets: [AtomicU64; 10],
}

/// A bucket's word, unpacked.
#[derive(Clone, Copy)]
struct Bucket {
    generation: u64,
    epoch: u64,
    successes: u64,
    failures: u64,
}

impl Counts {
    /// An empty ring whose buckets last a tenth of `window`, at least 1 ms.
    #[must_use]
    pub(super) fn new(window: Duration) -> Self {
        let window_us = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        let bucket_us = (window_us / BUCKETS).max(1_000);
        // An all-zero word is an empty bucket of the first epoch and generation.
        Self {
            bucket_us,
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Counts one result.
    pub(super) fn add(&self, generation: u16, failed: bool, now: Mono) {
        let epoch = now.0 / self.bucket_us;
        let mine = Bucket::of(generation, epoch).with(failed);
        let Some(word) = self.word(epoch) else { return };
        let mut seen = word.load(SeqCst);
        loop {
            let bucket = Bucket::unpack(seen);
            let next = if bucket.is_like(mine) {
                bucket.with(failed)
            } else if bucket.is_newer_than(mine) {
                return;
            } else {
                mine
            };
            match word.compare_exchange_weak(seen, next.pack(), SeqCst, SeqCst) {
                Ok(_) => return,
                Err(changed) => seen = changed,
            }
        }
    }

    /// Successes and failures of `generation` in the window that ends with `now`, and those that
    /// cores whose clock is ahead have added since. The core that added last sees all that was
    /// added before: the loads and swaps are sequentially consistent.
    pub(super) fn sum(&self, generation: u16, now: Mono) -> (u64, u64) {
        let oldest = (now.0 / self.bucket_us).saturating_sub(BUCKETS - 1);
        let window = Bucket::of(generation, oldest);
        let mut total = (0, 0);
        for word in &self.buckets {
            let bucket = Bucket::unpack(word.load(SeqCst));
            let ahead = low(bucket.epoch.wrapping_sub(window.epoch), EPOCH_BITS);
            if bucket.generation == window.generation && ahead < BUCKETS + LAG_MAX {
                total = (total.0 + bucket.successes, total.1 + bucket.failures);
            }
        }
        total
    }

    /// Whether any bucket holds a failure. Mostly none does, and then no sum is needed: the core
    /// that adds a failure meanwhile sums up behind it, as [`Self::sum`] says.
    pub(super) fn has_failures(&self) -> bool {
        let all = self.buckets.iter();
        all.fold(0, |all, word| all | word.load(SeqCst)) & COUNT_MAX != 0
    }

    fn word(&self, epoch: u64) -> Option<&AtomicU64> {
        usize::try_from(epoch % BUCKETS)
            .ok()
            .and_then(|index| self.buckets.get(index))
    }
}

impl Bucket {
    fn of(generation: u16, epoch: u64) -> Self {
        Self {
            generation: low(u64::from(generation), GENERATION_BITS),
            epoch: low(epoch, EPOCH_BITS),
            successes: 0,
            failures: 0,
        }
    }

    /// One result more, unless the bucket is full.
    fn with(self, failed: bool) -> Self {
        if self.successes.max(self.failures) == COUNT_MAX {
            return self;
        }
        let (success, failure) = if failed { (0, 1) } else { (1, 0) };
        Self {
            successes: self.successes + success,
            failures: self.failures + failure,
            ..self
        }
    }

    fn is_like(self, other: Self) -> bool {
        (self.generation, self.epoch) == (other.generation, other.epoch)
    }

    /// Both axes wrap; see [`LAG_MAX`] and [`GENERATION_BITS`] for why that is harmless.
    fn is_newer_than(self, other: Self) -> bool {
        let epochs_ahead = low(self.epoch.wrapping_sub(other.epoch), EPOCH_BITS);
        let generations_ahead = low(
            self.generation.wrapping_sub(other.generation),
            GENERATION_BITS,
        );
        match epochs_ahead {
            0 => generations_ahead < 1 << (GENERATION_BITS - 1),
            ahead => ahead <= LAG_MAX,
        }
    }

    fn pack(self) -> u64 {
        let tag = self.generation << EPOCH_BITS | self.epoch;
        tag << (2 * COUNT_BITS) | self.successes << COUNT_BITS | self.failures
    }

    fn unpack(word: u64) -> Self {
        let tag = word >> (2 * COUNT_BITS);
        Self {
            generation: tag >> EPOCH_BITS,
            epoch: low(tag, EPOCH_BITS),
            successes: low(word >> COUNT_BITS, COUNT_BITS),
            failures: low(word, COUNT_BITS),
        }
    }
}

fn low(word: u64, bits: u32) -> u64 {
    word & ((1 << bits) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn results_leave_the_window_bucket_by_bucket() {
        let counts = Counts::new(Duration::from_secs(10));
        for second in 0..10 {
            counts.add(0, second % 2 == 0, Mono(second * SECOND));
        }
        assert_eq!(counts.sum(0, Mono(9 * SECOND)), (5, 5));
        assert_eq!(counts.sum(0, Mono(10 * SECOND)), (5, 4));
        assert_eq!(counts.sum(0, Mono(18 * SECOND)), (1, 0));
        assert_eq!(counts.sum(0, Mono(19 * SECOND)), (0, 0));
    }

    #[test]
    fn a_reused_bucket_mixes_neither_epochs_nor_generations() {
        let counts = Counts::new(Duration::from_secs(10));
        counts.add(0, true, Mono(3 * SECOND));
        counts.add(0, false, Mono(13 * SECOND));
        assert_eq!(counts.sum(0, Mono(13 * SECOND)), (1, 0));
        counts.add(0, true, Mono(3 * SECOND));
        assert_eq!(
            counts.sum(0, Mono(13 * SECOND)),
            (1, 0),
            "a thread that lags changes nothing"
        );
        counts.add(3, true, Mono(13 * SECOND));
        assert_eq!(
            counts.sum(3, Mono(13 * SECOND)),
            (0, 1),
            "a new generation starts afresh"
        );
        counts.add(0, true, Mono(13 * SECOND));
        assert_eq!(
            counts.sum(3, Mono(13 * SECOND)),
            (0, 1),
            "an old one changes nothing"
        );
    }

    #[test]
    fn long_silence_and_many_generations_hide_nothing() {
        let counts = Counts::new(Duration::from_secs(10));
        let (mut generation, mut now) = (0_u16, 0_u64);
        for step in 1..2_000_u64 {
            counts.add(generation, true, Mono(now * SECOND));
            assert_eq!(
                counts.sum(generation, Mono(now * SECOND)),
                (0, 1),
                "step {step}"
            );
            generation = generation.wrapping_add(3);
            now += 11 + step * 977 % 30_000;
        }
    }

    #[test]
    fn a_full_bucket_keeps_its_share() {
        let mut full = Bucket::of(7, 9);
        (full.successes, full.failures) = (COUNT_MAX, COUNT_MAX / 2);
        let after = Bucket::unpack(full.with(true).pack());
        assert_eq!(
            (after.successes, after.failures),
            (COUNT_MAX, COUNT_MAX / 2)
        );
    }
}
