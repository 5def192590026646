//! Pages of an adopted writer's open rows: where one begins, and the next one. Pure.

use super::record::Row;
use crate::clock::UnixMillis;
use crate::payment::UpstreamId;

/// Where a page of open rows begins: a place that is inside itself, since no id is before the nil
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFrom {
    /// The rows that linger, all of them, and the first others from this `at` on.
    Start(Option<i64>),
    /// The ones from this `at` and id on.
    Place(UnixMillis, UpstreamId),
}

impl PageFrom {
    /// The next place behind this row.
    pub(super) fn behind(row: &Row) -> Self {
        match row.id.0.checked_add(1) {
            Some(id) => Self::Place(row.at, UpstreamId(id)),
            None => Self::Place(UnixMillis(row.at.0.saturating_add(1)), UpstreamId(0)),
        }
    }
}
