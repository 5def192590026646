//! How much is told of calls that are refused on ADMIN_LISTEN. Anyone who reaches it may send them
//! without end: they must push no line out of the audit file, nor an event out of the last ones,
//! that says what an operator did. What is left out is counted, and the count is told.
//!
//! Pure: the time is an argument, nothing is written. `steer` asks.

use crate::clock::Mono;
use std::time::Duration;

/// Refused calls of operators that are told one by one in [`REFUSED_LINES_WINDOW`], then counted:
/// of at most 400 bytes, so 11 MB a day, and the four audit files last for six days of it.
const REFUSED_LINES_MAX: u32 = 20;

/// See [`REFUSED_LINES_MAX`].
const REFUSED_LINES_WINDOW: Duration = Duration::from_secs(60);
/// How often one of the last events says that a call was refused.
const REFUSED_EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// What was told of refused calls lately.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// The end of the minute that began with the first of them.
    until: Mono,
    told: u32,
    left_out: u64,
    /// From when on there may be an event again.
    event_due: Mono,
}

/// What may be told of a refused call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    /// A line in the log and in the audit file.
    pub(super) line: bool,
    /// One of the last events.
    pub(super) event: bool,
}

impl Refusals {
    /// One more was refused. What an earlier minute left out was asked for before.
    pub(super) fn admit(&mut self, now: Mono) -> Admitted {
        if now >= self.until {
            self.until = now.after(REFUSED_LINES_WINDOW);
            self.told = 0;
        }
        let line = self.told < REFUSED_LINES_MAX;
        match line {
            true => self.told += 1,
            false => self.left_out = self.left_out.saturating_add(1),
        }
        let event = now >= self.event_due;
        if event {
            self.event_due = now.after(REFUSED_EVENT_INTERVAL);
        }
        Admitted { line, event }
    }

    /// How many the minute left out that is over by now, once; 0 while it is not.
    pub(super) fn end(&mut self, now: Mono) -> u64 {
        match now >= self.until {
            true => self.take(),
            false => 0,
        }
    }

    /// The same at the end of the process, over or not.
    pub(super) fn take(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_minute_has_so_many_lines_then_their_count_and_a_second_one_event() {
        let mut refusals = Refusals::default();
        let start = Mono(5_000_000);
        let end = start.after(REFUSED_LINES_WINDOW);
        let ask = |refusals: &mut Refusals, from: Mono, count: u32| {
            let mut told = (0, 0);
            for number in 0..count {
                let now = from.after(Duration::from_millis(10) * number);
                assert_eq!(refusals.end(now), 0);
                let admitted = refusals.admit(now);
                told.0 += u32::from(admitted.line);
                told.1 += u32::from(admitted.event);
            }
            told
        };
        let max = REFUSED_LINES_MAX;
        assert_eq!(ask(&mut refusals, start, 1_000), (max, 10));
        assert_eq!(refusals.end(Mono(end.0 - 1)), 0);
        assert_eq!(refusals.end(end), u64::from(1_000 - max));
        assert_eq!(refusals.end(end), 0, "told once");
        assert_eq!(ask(&mut refusals, end, 3), (3, 1), "a new minute");
        assert_eq!(refusals.take(), 0);
        assert_eq!(ask(&mut refusals, end, max), (max - 3, 0));
        assert_eq!(refusals.take(), 3);
    }
}
