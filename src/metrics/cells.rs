//! The cells that a core counts in. One core writes a cell, every core may read it: a plain load
//! and store is enough, costs no locked instruction, and a reader is late by moments, never wrong.
//! What several threads write is a [`SharedCounter`].

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::payment::ProcessorCount;

/// A value that the page shows.
pub(crate) trait Cell: Default {
    /// The present value.
    fn get(&self) -> u64;
}

/// Counts up. Only the owning core may write.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// `count` more.
    pub fn add(&self, count: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(count),
            Ordering::Relaxed,
        );
    }

    /// Shows a total that is counted elsewhere.
    pub fn show(&self, total: u64) {
        self.0.store(total, Ordering::Relaxed);
    }
}

impl Cell for Counter {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts up from any thread.
#[derive(Debug, Default)]
pub struct SharedCounter(AtomicU64);

impl SharedCounter {
    /// One more.
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Cell for SharedCounter {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Goes up and down. Only one thread may write.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// The new value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The new value, from a length.
    pub fn set_len(&self, length: usize) {
        self.set(u64::try_from(length).unwrap_or(u64::MAX));
    }

    /// One more.
    pub fn increment(&self) {
        self.set(self.get().saturating_add(1));
    }

    /// One less; stays at 0.
    pub fn decrement(&self) {
        self.set(self.get().saturating_sub(1));
    }
}

impl Cell for Gauge {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A label whose values are all known: each has its series from the start.
pub trait Label: Copy + 'static {
    /// Every value, in the order of `index`.
    const ALL: &'static [Self];
    /// The values that the page shows when `processors` are configured.
    fn shown(processors: ProcessorCount) -> &'static [Self] {
        let _ = processors;
        Self::ALL
    }
    /// The value's place in `ALL`.
    fn index(self) -> usize;
    /// The value as the page shows it.
    fn name(self) -> &'static str;
}

/// One cell for each value of a label; `N` is how many values it has.
#[derive(Debug)]
pub struct By<L, T, const N: usize> {
    cells: [T; N],
    label: PhantomData<fn(L)>,
}

impl<L: Label, T: Default, const N: usize> Default for By<L, T, N> {
    fn default() -> Self {
        const {
            assert!(
                N > 0 && L::ALL.len() == N,
                "one cell for each value of the label"
            )
        };
        Self {
            cells: std::array::from_fn(|_| T::default()),
            label: PhantomData,
        }
    }
}

impl<L: Label, T, const N: usize> By<L, T, N> {
    /// The cell of `label`.
    #[must_use]
    pub fn get(&self, label: L) -> &T {
        // `index` is below N by the assert above; the remainder tells it to the compiler.
        &self.cells[label.index() % N]
    }
}

/// Upper ends of a histogram's buckets, in microseconds; a last one without end follows.
/// From a tenth of a millisecond (a sync on a fast disk, an answer from memory) to 10 s; each is
/// about 2 to 2.5 times the one before, the usual steps of Prometheus clients.
pub(super) const BUCKET_ENDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// How long something took, counted in fixed buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Not cumulative; the page adds them up.
    pub(super) buckets: [Counter; BUCKET_ENDS_US.len() + 1],
    pub(super) sum_us: Counter,
}

impl Histogram {
    /// Counts one that took `span`.
    pub fn record(&self, span: Duration) {
        let span = micros(span);
        // The shortest buckets come first and are the usual ones.
        let place = BUCKET_ENDS_US.iter().position(|end| span <= *end);
        let place = place.unwrap_or(BUCKET_ENDS_US.len());
        if let Some(bucket) = self.buckets.get(place) {
            bucket.increment();
        }
        self.sum_us.add(span);
    }
}

/// Microseconds of `span`; the most that fit when it is absurdly long.
pub(super) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
