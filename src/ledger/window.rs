//! The arithmetic of windows: both ends are inside.

use crate::clock::UnixMillis;

/// An edge of the window lies inside a second of which only the sum is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutsOldSecond {
    /// From here on milliseconds are kept; before it an edge must stand between two seconds.
    pub boundary: UnixMillis,
}

/// How a span of time lies to a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlap {
    Outside,
    Cut,
    Inside,
}

/// The milliseconds `from` to `to`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) from: i64,
    pub(super) to: i64,
}

impl Window {
    /// How the `length` milliseconds from `start` on lie to it.
    pub(super) fn overlap(&self, start: i64, length: i64) -> Overlap {
        let end = start.saturating_add(length - 1);
        if end < self.from || self.to < start {
            Overlap::Outside
        } else if self.from <= start && end <= self.to {
            Overlap::Inside
        } else {
            Overlap::Cut
        }
    }

    pub(super) fn holds(&self, at: i64) -> bool {
        self.from <= at && at <= self.to
    }
}
