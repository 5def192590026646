//! A window of time as whole seconds, which the rollup knows, and what is left at its ends. Pure.

use super::exchange::Window;

/// Milliseconds of a second.
const SECOND: i64 = 1_000;

/// A window in whole seconds, which the rollup knows, and what is left at its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) whole: Option<(i64, i64)>,
    pub(super) edges: [Option<(i64, i64)>; 2],
}

/// The first and the last second that an edge lies in.
pub(super) const fn seconds_of((from, to): (i64, i64)) -> (i64, i64) {
    (from / SECOND, to / SECOND)
}

impl Parts {
    pub(super) fn of(window: Window) -> Self {
        let (from, to) = (window.from.max(0), window.to);
        let first = from / SECOND + i64::from(from % SECOND > 0);
        let behind = to / SECOND + i64::from(to % SECOND == SECOND - 1);
        if to < from {
            return Self {
                whole: None,
                edges: [None, None],
            };
        }
        if behind <= first {
            return Self {
                whole: None,
                edges: [Some((from, to)), None],
            };
        }
        let before = (from < first * SECOND).then_some((from, first * SECOND - 1));
        let after = (behind * SECOND <= to).then_some((behind * SECOND, to));
        Self {
            whole: Some((first, behind - 1)),
            edges: [before, after],
        }
    }
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
        for ((from, to), whole, edges) in rows {
            assert_eq!(
                Parts::of(Window { from, to }),
                Parts { whole, edges },
                "{from} {to}"
            );
        }
        for to in 0..4_100 {
            let parts = Parts::of(Window { from: 700, to });
            let whole = parts
                .whole
                .map_or(0, |(first, last)| (last - first + 1) * SECOND);
            let edges = parts.edges.iter().flatten();
            let edges: i64 = edges.map(|(from, to)| to - from + 1).sum();
            assert_eq!(whole + edges, (to - 699).max(0), "{to}");
        }
        let all = Parts::of(Window::ALL);
        assert_eq!(all.whole, Some((0, i64::MAX / SECOND - 1)));
    }
}
