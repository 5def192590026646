//! How often one place in the code may log: what a misconfigured processor or a foreign charge
//! causes comes with every payment, and would fill the disk that the journal is on.
//!
//! Each place may log [`limits::LOG_LINES_PER_PLACE`] lines in a window, which begins with the
//! first; what is left out is counted and told when the window ends. `logging` asks for each line
//! at warn and error. Pure: the time is an argument, nothing is written.

use crate::clock::Mono;
use crate::limits;

/// Places that are told apart; the code has about 50 that log at warn or error.
const LOG_PLACES_MAX: usize = 128;

/// A line of the source that logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) module: &'static str,
    pub(super) line: u32,
}

/// All places that have logged.
#[derive(Debug)]
pub(super) struct Throttle {
    windows: Vec<Window>,
}

#[derive(Debug)]
struct Window {
    place: Place,
    until: Mono,
    told: u32,
    left_out: u64,
}

impl Throttle {
    pub(super) const fn new() -> Self {
        Self {
            windows: Vec::new(),
        }
    }

    /// Whether `place` may log once more.
    pub(super) fn admit(&mut self, place: Place, now: Mono) -> bool {
        let known = self.windows.iter().position(|window| window.place == place);
        let is_full = self.windows.len() >= LOG_PLACES_MAX;
        if known.is_none() && !is_full {
            self.windows.push(Window {
                place,
                until: now.after(limits::LOG_WINDOW),
                told: 0,
                left_out: 0,
            });
        }
        // Places beyond the bound share the last one's budget.
        let window = match known {
            Some(index) => self.windows.get_mut(index),
            None => self.windows.last_mut(),
        };
        let Some(window) = window else { return true };
        if now >= window.until && window.left_out == 0 {
            window.until = now.after(limits::LOG_WINDOW);
            window.told = 0;
        }
        if window.told < limits::LOG_LINES_PER_PLACE {
            window.told += 1;
            return true;
        }
        window.left_out = window.left_out.saturating_add(1);
        false
    }

    /// When to look again: the earliest end of a window whose budget is used up.
    pub(super) fn next_end(&self) -> Option<Mono> {
        let used_up = |window: &&Window| window.told >= limits::LOG_LINES_PER_PLACE;
        let ends = self.windows.iter().filter(used_up);
        ends.map(|window| window.until).min()
    }

    /// Ends the windows that are over at `now`, and tells what each left out, if anything.
    pub(super) fn end_windows(&mut self, now: Mono) -> Vec<(Place, u64)> {
        let mut told = Vec::new();
        for window in &mut self.windows {
            if now < window.until {
                continue;
            }
            let left_out = std::mem::take(&mut window.left_out);
            window.told = 0;
            window.until = now.after(limits::LOG_WINDOW);
            if left_out > 0 {
                told.push((window.place, left_out));
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: u32) -> Place {
        Place {
            module: "p99::pay",
            line,
        }
    }

    #[test]
    fn a_place_logs_so_often_and_the_rest_is_counted() {
        let mut throttle = Throttle::new();
        let end = Mono(5).after(limits::LOG_WINDOW);
        let let_through = (0..1_000).filter(|_| throttle.admit(place(1), Mono(5)));
        let let_through = u32::try_from(let_through.count()).unwrap();
        assert_eq!(let_through, limits::LOG_LINES_PER_PLACE);
        assert!(throttle.admit(place(2), Mono(5)), "another place");
        assert_eq!(throttle.next_end(), Some(end));
        assert!(throttle.end_windows(Mono(end.0 - 1)).is_empty());
        let left_out = u64::from(1_000 - limits::LOG_LINES_PER_PLACE);
        assert_eq!(throttle.end_windows(end), [(place(1), left_out)]);
        assert_eq!(throttle.next_end(), None);
        assert!(throttle.admit(place(1), end), "a new window");
        assert!(
            throttle
                .end_windows(end.after(limits::LOG_WINDOW))
                .is_empty()
        );
    }

    #[test]
    fn what_was_left_out_is_told_before_a_new_window_begins() {
        let mut throttle = Throttle::new();
        for _ in 0..=limits::LOG_LINES_PER_PLACE {
            throttle.admit(place(1), Mono(0));
        }
        let late = Mono(0).after(limits::LOG_WINDOW).after(limits::LOG_WINDOW);
        assert!(!throttle.admit(place(1), late));
        assert_eq!(throttle.end_windows(late), [(place(1), 2)]);
        assert!(throttle.admit(place(1), late));
    }

    #[test]
    fn a_place_that_logs_rarely_is_never_left_out() {
        let mut throttle = Throttle::new();
        let mut now = Mono(0);
        for _ in 0..10 * limits::LOG_LINES_PER_PLACE {
            assert!(throttle.admit(place(1), now));
            now = now.after(limits::LOG_WINDOW / (limits::LOG_LINES_PER_PLACE - 1));
        }
    }

    #[test]
    fn places_are_bounded() {
        let mut throttle = Throttle::new();
        for line in 0..10_000 {
            throttle.admit(place(line), Mono(0));
        }
        assert_eq!(throttle.windows.len(), LOG_PLACES_MAX);
    }
}
