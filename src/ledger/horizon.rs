//! Up to which date payments are older than the exact time, whatever the wall clock does meanwhile.
//!
//! Dates come from the wall clock and age by the monotonic one. What ties the two together is how
//! far the one is ahead of the other, and of that the *smallest* value of the last exact time
//! counts: a wall clock that jumps ahead for seconds or hours makes nothing old, one that steps
//! back makes ageing late for one exact time, and after a step that stays, all that was dated
//! before it has been kept for the exact time anyway. So at most twice as much is kept exact.

use std::collections::VecDeque;

use crate::clock::{Mono, Now, UnixMillis};

/// The last exact time is looked back on in so many parts.
const PARTS: u64 = 24;

/// See the header of this file.
#[derive(Clone, Debug)]
pub(crate) struct Horizon {
    exact_us: u64,
    /// By part of the monotonic time, the least milliseconds that the wall clock was ahead of it:
    /// rising, as a lesser one that came later stands for all before it.
    leads: VecDeque<(u64, i64)>,
}

impl Horizon {
    /// For payments that are kept by the millisecond for so many seconds.
    #[must_use]
    pub(crate) fn new(exact_secs: u64) -> Self {
        Self {
            exact_us: exact_secs.saturating_mul(1_000_000),
            leads: VecDeque::new(),
        }
    }

    /// Tells of a payment that an earlier process left: its date was no later than now, whatever
    /// the wall clock says.
    pub(crate) fn remember(&mut self, newest: UnixMillis, now: Now) {
        self.note(now.mono, UnixMillis(newest.0.min(now.wall.0)));
    }

    /// Looks at the clocks. Payments dated before the answer are older than the exact time.
    pub(crate) fn look(&mut self, now: Now) -> UnixMillis {
        self.note(now.mono, now.wall);
        let least = self.leads.front().map_or(i64::MIN, |(_, lead)| *lead);
        let exact = i64::try_from(self.exact_us / 1_000).unwrap_or(i64::MAX);
        let date = least.saturating_add(millis(now.mono));
        UnixMillis(date.saturating_sub(exact))
    }

    fn note(&mut self, at: Mono, wall: UnixMillis) {
        let span = (self.exact_us / PARTS).max(1);
        let part = at.0 / span;
        let lead = wall.0.saturating_sub(millis(at));
        // A part counts until all of it lies further back than the exact time.
        while self
            .leads
            .front()
            .is_some_and(|(old, _)| old.saturating_add(PARTS + 1) < part)
        {
            self.leads.pop_front();
        }
        while self.leads.back().is_some_and(|(_, last)| *last >= lead) {
            self.leads.pop_back();
        }
        // Of one part the least one is there already.
        if self.leads.back().is_none_or(|(last, _)| *last < part) {
            self.leads.push_back((part, lead));
        }
    }
}

fn millis(at: Mono) -> i64 {
    i64::try_from(at.0 / 1_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600;
    const DAY: i64 = 24 * HOUR;
    /// The date at which the monotonic clock began.
    const BEGAN: i64 = 1_752_150_896;

    fn now(second: i64, ahead: i64) -> Now {
        let mono = Mono(u64::try_from(second).unwrap() * 1_000_000);
        Now {
            mono,
            run: mono,
            wall: UnixMillis((BEGAN + second + ahead) * 1_000),
            ..Now::default()
        }
    }

    /// What is old at `second`, in seconds before that moment.
    fn age(horizon: &mut Horizon, second: i64, ahead: i64) -> i64 {
        BEGAN + second - horizon.look(now(second, ahead)).0.div_euclid(1_000)
    }

    #[test]
    fn a_wall_clock_that_jumps_ahead_makes_nothing_old() {
        for (ahead, lasts) in [(40 * DAY, 3), (40 * DAY, 2 * HOUR), (DAY, 23 * HOUR)] {
            let mut horizon = Horizon::new(86_400);
            assert_eq!(age(&mut horizon, 0, 0), DAY);
            for second in (1..=lasts).step_by(60) {
                assert_eq!(age(&mut horizon, second, ahead), DAY, "{second}");
            }
            for second in (lasts + 1..lasts + 3 * DAY).step_by(600) {
                assert_eq!(age(&mut horizon, second, 0), DAY, "{second}");
            }
        }
    }

    #[test]
    fn a_step_back_makes_ageing_late_for_one_exact_time() {
        let mut horizon = Horizon::new(86_400);
        assert_eq!(age(&mut horizon, 0, 0), DAY);
        assert_eq!(age(&mut horizon, 60, -365 * DAY), 366 * DAY);
        assert_eq!(age(&mut horizon, 63, 0), 366 * DAY);
        assert_eq!(age(&mut horizon, DAY + 2 * HOUR, 0), DAY);
    }

    #[test]
    fn a_step_that_stays_counts_once_all_before_it_is_old() {
        // From 1970 to the right time, as a machine without a battery does.
        let mut horizon = Horizon::new(86_400);
        assert_eq!(age(&mut horizon, 0, -BEGAN), DAY + BEGAN);
        for second in (60..DAY).step_by(60) {
            assert!(age(&mut horizon, second, 0) > DAY + BEGAN - 60, "{second}");
        }
        assert_eq!(age(&mut horizon, DAY + 2 * HOUR, 0), DAY);
    }

    #[test]
    fn what_an_earlier_process_left_ages_from_its_own_newest_payment() {
        let mut horizon = Horizon::new(86_400);
        // Down for a week by a wall clock that may be wrong.
        let newest = UnixMillis((BEGAN - 7 * DAY) * 1_000);
        horizon.remember(newest, now(0, 0));
        assert_eq!(age(&mut horizon, 0, 0), 8 * DAY);
        assert_eq!(age(&mut horizon, 12 * HOUR, 0), 8 * DAY);
        assert_eq!(age(&mut horizon, DAY + 2 * HOUR, 0), DAY);
        // Dated by a clock that was ahead: no later than now.
        let mut horizon = Horizon::new(86_400);
        let newest = UnixMillis((BEGAN + 40 * DAY) * 1_000);
        horizon.remember(newest, now(0, 0));
        assert_eq!(age(&mut horizon, 0, 0), DAY);
    }

    #[test]
    fn it_keeps_few_numbers_and_no_clock_is_too_odd() {
        let mut horizon = Horizon::new(86_400);
        for second in (0..10 * DAY).step_by(60) {
            age(&mut horizon, second, second);
            assert!(horizon.leads.len() <= usize::try_from(PARTS).unwrap() + 2);
        }
        for exact in [0, 1, u64::MAX] {
            for wall in [i64::MIN, 0, i64::MAX] {
                for mono in [0, u64::MAX] {
                    let now = Now {
                        mono: Mono(mono),
                        run: Mono(mono),
                        wall: UnixMillis(wall),
                        ..Now::default()
                    };
                    let mut horizon = Horizon::new(exact);
                    horizon.remember(UnixMillis(wall), now);
                    horizon.look(now);
                }
            }
        }
    }
}
