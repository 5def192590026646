//! How long a processor's answers took lately, as one core saw it.
//!
//! Decides nothing: `route` compares processors with it and `flow` asks it when to hedge and how
//! long to pause before sending again. It is a log-linear histogram (16 steps for each doubling, so
//! an answer is at most 6.25 % too high and never too low) in five slices of two seconds; the
//! oldest slice falls out as a whole. Not shared between cores: each judges by its own answers,
//! as each has its own connections.
//!
//! Bounds (I8): 384 steps of 4 bytes in six rows (five slices and their sum), 9 KiB for each
//! processor and core, allocated once. Recording is two additions; a quantile reads at most 384
//! counters and is remembered for `LATENCY_QUANTILE_AGE_MAX`.

use std::time::Duration;

use crate::clock::Mono;

/// Length of a slice of recent latency; five of them are the window of ten seconds, in which a
/// processor's change of mood shows while a quiet minute does not hang on.
const LATENCY_SLICE: Duration = Duration::from_secs(2);
/// How long a quantile is used again. At 20,000 payments a second on a core this saves 199 of 200
/// walks through the histogram, and a hedge delay that is 10 ms old is as good as a new one.
const LATENCY_QUANTILE_AGE_MAX: Duration = Duration::from_millis(10);

/// Steps for each doubling.
const STEPS: usize = 16;
const STEPS_LOG: u32 = STEPS.ilog2();
/// Longest time that is told apart: 2^27 us are 134 s, beyond every wait for an answer. Longer
/// ones count as the last step.
const DOUBLINGS: u32 = 27;
#[allow(clippy::as_conversions, reason = "a constant of two digits")]
const BUCKETS: usize = STEPS * (DOUBLINGS - STEPS_LOG + 1) as usize;
const SLICES: usize = 5;

const _: () = assert!(
    BUCKETS == 384,
    "the head of this file does the arithmetic with it"
);

type Row = [u32; BUCKETS];

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Latency {
    slices: Box<[Row; SLICES]>,
    /// The sum of all slices.
    sum: Box<Row>,
    count: u64,
    /// The slice that `record` counts into: whole slice lengths since the start of time.
    epoch: u64,
    remembered: Option<Remembered>,
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    per_mille: u16,
    at: Mono,
    quantile: Option<Duration>,
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// Nothing seen yet.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self {
            slices: Box::new([[0; BUCKETS]; SLICES]),
            sum: Box::new([0; BUCKETS]),
            count: 0,
            epoch: 0,
            remembered: None,
        }
    }

    /// One answer took `span`. A failure is recorded as slow where failures shall count so.
    pub(crate) fn record(&mut self, span: Duration, now: Mono) {
        self.turn_to(now);
        let bucket = bucket_of(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
        let slice = self
            .slices
            .get_mut(slice_of(self.epoch))
            .and_then(|row| row.get_mut(bucket));
        if let (Some(slice), Some(sum)) = (slice, self.sum.get_mut(bucket)) {
            // Five slices of 2^32 - 1 do not fit the sum: the sum decides when it is full.
            if *sum < u32::MAX {
                *slice += 1;
                *sum += 1;
                self.count += 1;
            }
        }
    }

    /// The time within which `per_mille` of a thousand answers of the last ten seconds came (950 is
    /// p95), or nothing when there was none. May be a few milliseconds old.
    pub(crate) fn quantile(&mut self, per_mille: u16, now: Mono) -> Option<Duration> {
        if let Some(remembered) = self.remembered
            && remembered.per_mille == per_mille
            && now.since(remembered.at) < LATENCY_QUANTILE_AGE_MAX
        {
            return remembered.quantile;
        }
        self.turn_to(now);
        let quantile = self.read_quantile(per_mille);
        self.remembered = Some(Remembered {
            per_mille,
            at: now,
            quantile,
        });
        quantile
    }

    /// How many answers the window holds.
    #[cfg(test)]
    pub(crate) fn count(&mut self, now: Mono) -> u64 {
        self.turn_to(now);
        self.count
    }

    fn read_quantile(&self, per_mille: u16) -> Option<Duration> {
        let wanted = (self.count * u64::from(per_mille.min(1_000)))
            .div_ceil(1_000)
            .max(1);
        let mut seen = 0;
        for (bucket, count) in self.sum.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return Some(Duration::from_micros(upper_edge(bucket)));
            }
        }
        None
    }

    /// Drops the slices that have left the window at `now`.
    fn turn_to(&mut self, now: Mono) {
        let slice_us = u64::try_from(LATENCY_SLICE.as_micros()).unwrap_or(1).max(1);
        let epoch = now.0 / slice_us;
        let steps = usize::try_from(epoch.saturating_sub(self.epoch)).unwrap_or(SLICES);
        for step in 0..steps.min(SLICES) {
            let offset = u64::try_from(step).unwrap_or(0);
            self.clear_slice(slice_of(epoch.saturating_sub(offset)));
        }
        if steps > 0 {
            self.epoch = epoch;
            self.remembered = None;
        }
    }

    fn clear_slice(&mut self, slice: usize) {
        let Some(row) = self.slices.get_mut(slice) else {
            return;
        };
        for (sum, count) in self.sum.iter_mut().zip(row.iter_mut()) {
            *sum -= *count;
            self.count -= u64::from(*count);
            *count = 0;
        }
    }
}

fn slice_of(epoch: u64) -> usize {
    usize::try_from(epoch % 5).unwrap_or(0)
}

/// Below 16 us each microsecond is a bucket; from there each doubling has 16.
fn bucket_of(us: u64) -> usize {
    let doubling = (us | 1).ilog2();
    let Some(shift) = doubling.checked_sub(STEPS_LOG) else {
        return usize::try_from(us).unwrap_or(0);
    };
    let step = usize::try_from((us >> shift) & 15).unwrap_or(0);
    let group = usize::try_from(shift + 1).unwrap_or(0);
    (group * STEPS + step).min(BUCKETS - 1)
}

/// The longest time in microseconds that counts into `bucket`.
fn upper_edge(bucket: usize) -> u64 {
    let step = u64::try_from(bucket % STEPS).unwrap_or(0);
    match (bucket / STEPS).checked_sub(1) {
        None => step,
        Some(shift) => ((16 + step + 1) << shift) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn second(at: u64) -> Mono {
        Mono(at * 1_000_000)
    }

    #[test]
    fn every_time_lies_in_its_bucket() {
        for us in (0..5_000).chain((5_000..120_000_000).step_by(99_991)) {
            let edge = upper_edge(bucket_of(us));
            assert!(us <= edge && edge * 16 <= us * 17, "{us} counts as {edge}");
            assert!(
                bucket_of(us) == 0 || upper_edge(bucket_of(us) - 1) < us,
                "{us}"
            );
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_list() {
        let mut latency = Latency::new();
        assert_eq!(latency.quantile(950, second(1)), None);
        for us in 1..=1_000 {
            latency.record(Duration::from_micros(us), second(2));
        }
        for (per_mille, us) in [(0, 1), (1, 1), (500, 500), (950, 950), (1_000, 1_000)] {
            let found = latency.quantile(per_mille, second(2)).unwrap().as_micros();
            assert!(
                (us..=us * 17 / 16).contains(&found),
                "{per_mille}: {found} for {us}"
            );
        }
        assert_eq!(latency.count(second(2)), 1_000);
    }

    #[test]
    fn old_answers_leave_slice_by_slice() {
        let mut latency = Latency::new();
        latency.record(Duration::from_millis(100), second(0));
        latency.record(Duration::from_millis(1), second(5));
        assert!(latency.quantile(1_000, second(9)).unwrap() >= Duration::from_millis(100));
        assert!(latency.quantile(1_000, second(10)).unwrap() < Duration::from_millis(2));
        assert_eq!(latency.count(second(14)), 0);
        latency.record(Duration::from_millis(3), second(1_000));
        assert_eq!(latency.count(second(1_000)), 1);
        latency.record(Duration::from_millis(3), second(999));
        assert_eq!(
            latency.count(second(999)),
            2,
            "a moment before the last counts as now"
        );
    }

    #[test]
    fn a_remembered_quantile_is_renewed_soon() {
        let mut latency = Latency::new();
        latency.record(Duration::from_millis(1), second(1));
        let first = latency.quantile(950, second(1));
        latency.record(Duration::from_millis(50), second(1));
        assert_eq!(latency.quantile(950, second(1)), first);
        let later = second(1).after(LATENCY_QUANTILE_AGE_MAX);
        assert!(latency.quantile(950, later) > first);
    }
}
