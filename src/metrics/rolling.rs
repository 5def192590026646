//! What happened in the last 60 s, or in the last few: latency quantiles and counts by class, for
//! `payments_latency_ms` and for operators. A log-linear histogram: 16 steps for each power of
//! two, so a value is known to 1 part in 32. Twelve windows of 5 s make a ring; the owning core
//! empties a window when it enters it anew.
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
/// What is counted by kind: answers by their meaning, attempts by their outcome.
pub(super) const CLASSES: usize = 4;

/// How far back is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// The present window and the one before: 5 to 10 s.
    Moments,
    /// All windows: 55 to 60 s.
    Minute,
}

impl Span {
    const fn windows(self) -> u64 {
        match self {
            Self::Moments => 2,
            Self::Minute => 12,
        }
    }
}

#[derive(Debug)]
struct Window {
    /// Which 5 s of the process these are, counted from 1; 0 is never.
    number: AtomicU64,
    counts: [AtomicU32; PLACES],
    classes: [AtomicU32; CLASSES],
}

/// The latencies of one core. 12 windows of 372 counts of 4 bytes are 17.5 KiB.
#[derive(Debug)]
pub struct Rolling {
    windows: [Window; WINDOWS],
}

impl Default for Rolling {
    fn default() -> Self {
        let window = |_| Window {
            number: AtomicU64::new(0),
            counts: std::array::from_fn(|_| AtomicU32::new(0)),
            classes: std::array::from_fn(|_| AtomicU32::new(0)),
        };
        Self {
            windows: std::array::from_fn(window),
        }
    }
}

impl Rolling {
    /// Counts one that took `span`. Only the owning core may call this.
    pub fn record(&self, span: Duration, now: Mono) {
        if let Some(window) = self.enter(now) {
            add_one(window.counts.get(place_of(micros(span))));
        }
    }

    /// Counts one of this class. Only the owning core may call this.
    pub(super) fn count(&self, class: usize, now: Mono) {
        if let Some(window) = self.enter(now) {
            add_one(window.classes.get(class));
        }
    }

    /// The window of `now`, emptied when it was another one's.
    fn enter(&self, now: Mono) -> Option<&Window> {
        let number = window_number(now);
        let window = self.windows.get(window_place(number))?;
        if window.number.load(Ordering::Relaxed) != number {
            window.number.store(0, Ordering::Relaxed);
            let all = window.counts.iter().chain(&window.classes);
            all.for_each(|count| count.store(0, Ordering::Relaxed));
            window.number.store(number, Ordering::Release);
        }
        Some(window)
    }
}

fn add_one(count: Option<&AtomicU32>) {
    if let Some(count) = count {
        let next = count.load(Ordering::Relaxed).wrapping_add(1);
        count.store(next, Ordering::Relaxed);
    }
}

/// What several cores counted lately, added up.
#[derive(Debug)]
pub(super) struct Recent {
    counts: [u64; PLACES],
    total: u64,
    pub(super) classes: [u64; CLASSES],
    /// How long that was, in microseconds: less than the span right after the start.
    pub(super) took_us: u64,
}

impl Recent {
    pub(super) fn new<'a>(cores: impl Iterator<Item = &'a Rolling>, span: Span, now: Mono) -> Self {
        let newest = window_number(now);
        let began = newest.saturating_sub(span.windows());
        let mut recent = Self {
            counts: [0; PLACES],
            total: 0,
            classes: [0; CLASSES],
            took_us: now.0.saturating_sub(began.saturating_mul(WINDOW_US)),
        };
        for window in cores.flat_map(|core| &core.windows) {
            let number = window.number.load(Ordering::Acquire);
            // Each core reads its own clock: a window may be a little ahead of `now`.
            if number == 0 || newest.saturating_sub(number) >= span.windows() {
                continue;
            }
            for (sum, count) in recent.counts.iter_mut().zip(&window.counts) {
                let count = u64::from(count.load(Ordering::Relaxed));
                *sum += count;
                recent.total += count;
            }
            for (sum, count) in recent.classes.iter_mut().zip(&window.classes) {
                *sum += u64::from(count.load(Ordering::Relaxed));
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
        let recent = |span, now| Recent::new(cores.iter(), span, now);
        let quantile = |now, per_mille| recent(Span::Minute, now).quantile_us(per_mille);
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

    #[test]
    fn classes_are_counted_over_moments_and_over_a_minute() {
        let core = Rolling::default();
        let of = |span, now| {
            let recent = Recent::new(std::iter::once(&core), span, now);
            (recent.classes, recent.took_us / 1_000_000)
        };
        core.count(0, at(1));
        core.count(3, at(1));
        assert_eq!(of(Span::Moments, at(3)), ([1, 0, 0, 1], 3));
        core.count(3, at(12));
        assert_eq!(of(Span::Moments, at(12)), ([0, 0, 0, 1], 7));
        assert_eq!(of(Span::Minute, at(12)), ([1, 0, 0, 2], 12));
        assert_eq!(of(Span::Minute, at(69)), ([0, 0, 0, 1], 59));
        assert_eq!(of(Span::Minute, at(71)), ([0, 0, 0, 0], 56), "forgotten");
    }
}
