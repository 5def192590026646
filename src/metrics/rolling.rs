//! Latency quantiles over the last 60 s, for the page's `payments_latency_ms`. A log-linear
//! histogram: 16 steps for each power of two, so a value is known to 1 part in 32. Twelve windows
//! of 5 s make a ring; the owning core empties a window when it enters it anew.
//!
//! Who reads while a window is emptied may miss or count twice that window's edge. It is a
//! statistic: no decision stands on it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Mono;

use super::cells::micros;

/// Steps within one power of two.
const STEPS: usize = 16;
/// Values from 2^26 us (67 s) up share the last place: no answer takes that long.
const VALUE_MAX: u64 = (1 << 26) - 1;
/// 16 exact places below 16 us, then 16 for each power from 2^4 to 2^25.
const PLACES: usize = STEPS * (26 - 4 + 1);
/// 12 windows of 5 s are the 60 s of the page.
const WINDOWS: usize = 12;
const WINDOW_US: u64 = 5_000_000;

#[derive(Debug)]
struct Window {
    /// Which 5 s of the process these are, counted from 1; 0 is never.
    number: AtomicU64,
    counts: [AtomicU32; PLACES],
}

/// The latencies of one core. 12 windows of 368 counts of 4 bytes are 17.3 KiB.
#[derive(Debug)]
pub struct Rolling {
    windows: [Window; WINDOWS],
}

impl Default for Rolling {
    fn default() -> Self {
        let window = |_| Window {
            number: AtomicU64::new(0),
            counts: std::array::from_fn(|_| AtomicU32::new(0)),
        };
        Self {
            windows: std::array::from_fn(window),
        }
    }
}

impl Rolling {
    /// Counts one that took `span`. Only the owning core may call this.
    pub fn record(&self, span: Duration, now: Mono) {
        let number = window_number(now);
        let Some(window) = self.windows.get(window_place(number)) else {
            return;
        };
        if window.number.load(Ordering::Relaxed) != number {
            window.number.store(0, Ordering::Relaxed);
            window
                .counts
                .iter()
                .for_each(|count| count.store(0, Ordering::Relaxed));
            window.number.store(number, Ordering::Release);
        }
        if let Some(count) = window.counts.get(place_of(micros(span))) {
            count.store(
                count.load(Ordering::Relaxed).wrapping_add(1),
                Ordering::Relaxed,
            );
        }
    }
}

/// The latencies of the last 60 s of several cores, added up.
#[derive(Debug)]
pub(super) struct Recent {
    counts: [u64; PLACES],
    total: u64,
}

impl Recent {
    pub(super) fn new<'a>(cores: impl Iterator<Item = &'a Rolling>, now: Mono) -> Self {
        let mut recent = Self {
            counts: [0; PLACES],
            total: 0,
        };
        let newest = window_number(now);
        for window in cores.flat_map(|core| &core.windows) {
            let number = window.number.load(Ordering::Acquire);
            // Each core reads its own clock: a window may be a little ahead of `now`.
            if number == 0 || newest.saturating_sub(number) >= u64_from(WINDOWS) {
                continue;
            }
            for (sum, count) in recent.counts.iter_mut().zip(&window.counts) {
                let count = u64::from(count.load(Ordering::Relaxed));
                *sum += count;
                recent.total += count;
            }
        }
        recent
    }

    /// The latency in microseconds that `per_mille` of all are not above; 0 without any.
    pub(super) fn quantile_us(&self, per_mille: u64) -> u64 {
        let rank = self.total.saturating_mul(per_mille).div_ceil(1_000).max(1);
        let mut seen = 0_u64;
        for (place, count) in self.counts.iter().enumerate() {
            seen = seen.saturating_add(*count);
            if seen >= rank {
                return middle_of(place);
            }
        }
        0
    }
}

fn window_number(now: Mono) -> u64 {
    (now.0 / WINDOW_US).saturating_add(1)
}

fn window_place(number: u64) -> usize {
    usize::try_from(number % u64_from(WINDOWS)).unwrap_or(0)
}

/// Where a value of `value` microseconds is counted.
fn place_of(value: u64) -> usize {
    let value = value.min(VALUE_MAX);
    let Some(power) = value.checked_ilog2().filter(|power| *power >= 4) else {
        return usize::try_from(value).unwrap_or(0);
    };
    let octave = usize::try_from(power - 3).unwrap_or(0);
    let step = usize::try_from((value >> (power - 4)) & 15).unwrap_or(0);
    octave * STEPS + step
}

/// The middle of the values that are counted at `place`.
fn middle_of(place: usize) -> u64 {
    let (octave, step) = (place / STEPS, u64_from(place % STEPS));
    if octave == 0 {
        return step;
    }
    let width = 1_u64 << (octave - 1);
    (u64_from(STEPS) + step) * width + width / 2
}

fn u64_from(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000)
    }

    #[test]
    fn every_value_is_known_to_one_part_in_32() {
        for value in (0..4_000)
            .chain((4_000..VALUE_MAX).step_by(9_973))
            .chain([VALUE_MAX])
        {
            let place = place_of(value);
            assert!(place < PLACES, "{value}");
            let error = middle_of(place).abs_diff(value);
            assert!(
                error * 32 <= value.max(1),
                "{value} became {}",
                middle_of(place)
            );
        }
        assert_eq!(place_of(u64::MAX), PLACES - 1);
    }

    #[test]
    fn quantiles_are_those_of_the_last_minute_over_all_cores() {
        let cores = [Rolling::default(), Rolling::default()];
        let quantile = |now, per_mille| Recent::new(cores.iter(), now).quantile_us(per_mille);
        assert_eq!(quantile(at(0), 990), 0, "nothing yet");
        for value in 1..=100 {
            cores
                .iter()
                .for_each(|core| core.record(Duration::from_micros(value * 1_000), at(1)));
        }
        let near = |value: u64, wanted: u64| value.abs_diff(wanted) * 32 <= wanted;
        assert!(near(quantile(at(1), 500), 50_000));
        assert!(near(quantile(at(1), 950), 95_000));
        assert!(near(quantile(at(1), 990), 99_000));
        assert!(near(quantile(at(1), 999), 100_000));
        assert!(
            near(quantile(at(59), 999), 100_000),
            "still within the minute"
        );
        assert_eq!(quantile(at(61), 999), 0, "forgotten");
        cores
            .iter()
            .take(1)
            .for_each(|core| core.record(Duration::from_micros(7), at(61)));
        assert_eq!(quantile(at(61), 500), 7, "the old window was emptied first");
    }
}
