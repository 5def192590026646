//! How much work the simulated processor takes on: 800 payments at work and 500 waiting, and one
//! service-health call per 5 s for all callers together with two waiting. Pure counters;
//! `processor` asks before it works and says when it is done. Time is an argument.

use std::time::Duration;

use crate::clock::Mono;

/// `POST /payments` at work at once; the 801st waits (the processor's contract).
const SIM_RUNNING_MAX: usize = 800;
/// `POST /payments` that wait for one of those places; the next one gets 429 (the processor's
/// contract).
const SIM_QUEUED_MAX: usize = 500;
/// service-health calls that wait for the next permits; a third gets 429 (the processor's
/// contract).
const SIM_HEALTH_QUEUED_MAX: u32 = 2;

/// What becomes of one more payment request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It may work now, and leaves when it is done.
    Run,
    /// It waits until one that works has left.
    Queue,
    /// 429.
    Refuse,
}

/// Payments at work and waiting.
#[derive(Debug, Default)]
pub(crate) struct Places {
    running: usize,
    queued: usize,
}

impl Places {
    /// One more payment wants to work.
    pub(crate) fn enter(&mut self) -> Admission {
        if self.running < SIM_RUNNING_MAX {
            self.running += 1;
            return Admission::Run;
        }
        if self.queued < SIM_QUEUED_MAX {
            self.queued += 1;
            return Admission::Queue;
        }
        Admission::Refuse
    }

    /// One payment is done. `true`: its place goes to the one that waited longest.
    pub(crate) fn leave(&mut self) -> bool {
        if self.queued > 0 {
            self.queued -= 1;
            return true;
        }
        self.running = self.running.saturating_sub(1);
        false
    }

    /// Payments at work.
    #[must_use]
    pub(crate) fn running(&self) -> usize {
        self.running
    }

    /// Payments waiting.
    #[must_use]
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }
}

/// The permits of service-health.
#[derive(Debug)]
pub(crate) struct HealthPermits {
    window: Duration,
    /// When the next permit that no one holds yet falls due.
    free_at: Mono,
}

impl HealthPermits {
    /// One permit per `window`.
    #[must_use]
    pub(crate) fn new(window: Duration) -> Self {
        Self {
            window,
            free_at: Mono(0),
        }
    }

    /// How long this caller waits for its permit, zero when it has one now; `None` is 429.
    pub(crate) fn enter(&mut self, now: Mono) -> Option<Duration> {
        let granted = self.free_at.max(now);
        // Those who wait hold the permits after now, one window apart, so the furthest that may
        // be promised is as many windows away as callers may wait.
        let furthest = now.after(self.window.saturating_mul(SIM_HEALTH_QUEUED_MAX));
        if granted > furthest {
            return None;
        }
        self.free_at = granted.after(self.window);
        Some(granted.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_hundred_run_five_hundred_wait_and_the_next_is_refused() {
        let mut places = Places::default();
        for _ in 0..SIM_RUNNING_MAX {
            assert_eq!(places.enter(), Admission::Run);
        }
        for _ in 0..SIM_QUEUED_MAX {
            assert_eq!(places.enter(), Admission::Queue);
        }
        assert_eq!(places.enter(), Admission::Refuse);
        assert!(places.leave(), "the place goes to the queue");
        assert_eq!((places.running(), places.queued()), (800, 499));
        assert_eq!(places.enter(), Admission::Queue);
        assert_eq!(places.enter(), Admission::Refuse);
        for _ in 0..SIM_QUEUED_MAX {
            assert!(places.leave());
        }
        assert!(!places.leave(), "no one waits any more");
        assert_eq!((places.running(), places.queued()), (799, 0));
        assert_eq!(places.enter(), Admission::Run);
    }

    #[test]
    fn health_has_one_permit_per_window_and_two_callers_wait() {
        let seconds = |count: u64| Mono(count * 1_000_000);
        let wait = |count: u64| Some(Duration::from_secs(count));
        let mut permits = HealthPermits::new(Duration::from_secs(5));
        let rows = [
            (100, wait(0)),
            (101, wait(4)),
            (101, wait(9)),
            (101, None),
            (104, None),
            (105, wait(10)), // the first of the two has left the queue
            (106, None),
            (120, wait(0)), // 105, 110 and 115 are used up
            (124, wait(1)),
            (200, wait(0)),
        ];
        for (at, expected) in rows {
            assert_eq!(permits.enter(seconds(at)), expected, "at second {at}");
        }
    }
}
