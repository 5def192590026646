//! Pages of an adopted writer's open rows: where one begins, and the next one. Pure.

use super::record::Row;
use crate::clock::UnixMillis;
use crate::payment::UpstreamId;

/// Where a page of open rows begins: a place that is inside itself, since no id is before the nil
/// one. First come the pages of what lingers, then the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFrom {
    /// The rows that linger, from this id on.
    Lingering(UpstreamId),
    /// All rows from this `at` and id on.
    Place(UnixMillis, UpstreamId),
}

impl PageFrom {
    /// The first page of a writer.
    pub(super) const START: Self = Self::Lingering(UpstreamId(0));

    /// The first page of all rows from this `at` on.
    pub(super) const fn since(at: i64) -> Self {
        Self::Place(UnixMillis(at), UpstreamId(0))
    }

    /// The next place behind this row, if there is one.
    pub(super) fn behind(self, row: &Row) -> Option<Self> {
        match (self, row.id.0.checked_add(1)) {
            (Self::Lingering(_), id) => Some(Self::Lingering(UpstreamId(id?))),
            (Self::Place(..), Some(id)) => Some(Self::Place(row.at, UpstreamId(id))),
            (Self::Place(..), None) => row.at.0.checked_add(1).map(Self::since),
        }
    }
}
