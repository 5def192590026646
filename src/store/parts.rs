//! A window of time as whole hours and seconds, which the rollup knows, and what is left at its
//! ends. Pure.
//!
//! The rollup's column `sec` says both: a second since 1970, and as a negative number an hour. Each
//! payment is in two of its rows, so that a sum over months reads hours, and seconds at its ends.

use super::exchange::Window;

/// Milliseconds of a second.
const SECOND: i64 = 1_000;
/// Seconds of an hour.
const HOUR: i64 = 3_600;

/// What of a window the rollup knows, and what is left at its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// Ranges of the rollup's `sec`, both ends included: seconds, hours, seconds.
    pub(super) whole: [Option<(i64, i64)>; 3],
    /// Milliseconds since 1970, both ends included.
    pub(super) edges: [Option<(i64, i64)>; 2],
}

/// The first and the last second that an edge lies in.
pub(super) const fn seconds_of((from, to): (i64, i64)) -> (i64, i64) {
    (from / SECOND, to / SECOND)
}

/// How the rollup calls the hour of this second.
pub(super) const fn hour_of(second: i64) -> i64 {
    -1 - second.div_euclid(HOUR)
}

impl Parts {
    pub(super) fn of(window: Window) -> Self {
        let (from, to) = (window.from.max(0), window.to);
        let first = from / SECOND + i64::from(from % SECOND > 0);
        let behind = to / SECOND + i64::from(to % SECOND == SECOND - 1);
        if to < from {
            return Self {
                whole: [None; 3],
                edges: [None, None],
            };
        }
        if behind <= first {
            return Self {
                whole: [None; 3],
                edges: [Some((from, to)), None],
            };
        }
        let before = (from < first * SECOND).then_some((from, first * SECOND - 1));
        let after = (behind * SECOND <= to).then_some((behind * SECOND, to));
        Self {
            whole: whole(first, behind),
            edges: [before, after],
        }
    }
}

/// The seconds from `first` to before `behind`, as far as possible in hours.
fn whole(first: i64, behind: i64) -> [Option<(i64, i64)>; 3] {
    let from = (first + HOUR - 1) / HOUR * HOUR;
    let to = behind / HOUR * HOUR;
    if from >= to {
        return [Some((first, behind - 1)), None, None];
    }
    [
        (first < from).then_some((first, from - 1)),
        Some((hour_of(to - 1), hour_of(from))),
        (to < behind).then_some((to, behind - 1)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_whole_seconds_and_two_edges() {
        let rows = [
            ((0, 999), Some((0, 0)), [None, None]),
            ((0, 1_000), Some((0, 0)), [None, Some((1_000, 1_000))]),
            ((1, 999), None, [Some((1, 999)), None]),
            ((1, 1_998), None, [Some((1, 1_998)), None]),
            ((1, 1_999), Some((1, 1)), [Some((1, 999)), None]),
            (
                (500, 3_500),
                Some((1, 2)),
                [Some((500, 999)), Some((3_000, 3_500))],
            ),
            ((5, 5), None, [Some((5, 5)), None]),
            ((6, 5), None, [None, None]),
        ];
        for ((from, to), seconds, edges) in rows {
            let whole = [seconds, None, None];
            assert_eq!(
                Parts::of(Window { from, to }),
                Parts { whole, edges },
                "{from} {to}"
            );
        }
    }

    /// How many milliseconds the parts hold.
    fn held(parts: &Parts) -> i64 {
        let count = |(first, last): &(i64, i64)| last - first + 1;
        let length = |range: &(i64, i64)| if range.0 < 0 { HOUR * SECOND } else { SECOND };
        let whole = parts.whole.iter().flatten();
        let whole: i64 = whole.map(|range| count(range) * length(range)).sum();
        let edges: i64 = parts.edges.iter().flatten().map(count).sum();
        whole + edges
    }

    #[test]
    fn nothing_of_a_window_is_missing_or_there_twice() {
        let hour = HOUR * SECOND;
        let ends = [
            0,
            1,
            999,
            1_000,
            hour - 1,
            hour,
            hour + 700,
            3 * hour - 1,
            3 * hour,
        ];
        for from in ends {
            for more in (0..4_100).chain(ends).chain(ends.map(|end| end + 9 * hour)) {
                let to = from + more;
                let parts = Parts::of(Window { from, to });
                assert_eq!(held(&parts), more + 1, "{from} {to}");
            }
        }
        let all = Parts::of(Window::ALL);
        let last = i64::MAX / SECOND - 1;
        let behind = (last + 1) / HOUR * HOUR;
        let hours = Some((hour_of(behind - 1), -1));
        assert_eq!(all.whole, [None, hours, Some((behind, last))]);
    }

    #[test]
    fn an_hour_is_a_negative_number_of_its_own() {
        for (second, hour) in [(0, -1), (3_599, -1), (3_600, -2), (7_200, -3)] {
            assert_eq!(hour_of(second), hour);
        }
    }
}
