//! What was charged in a window, and when nothing exact can be said of it.
//!
//! A charge may be told before its Verdict is durable (I5). So after a crash an Intent that was
//! open then may be one that a client was told of: until its processor has said what became of it,
//! a window that could contain it has no sum. Keeps I6.

use std::collections::BTreeSet;

use super::Owner;
use crate::clock::UnixMillis;
use crate::flow::Flow;
use crate::ledger::CutsOldSecond;
use crate::payment::{PerProcessor, Totals, WindowSums};
use crate::table::Key;

/// Why nothing can be said of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SumFault {
    /// An edge cuts a second whose milliseconds are no longer kept.
    CutsOldSecond(CutsOldSecond),
    /// It touches an Intent that was open when the process died, and is not resolved yet.
    Unresolved,
}

/// The times that open Intents of a former process went out with, each with its payment. Bounded
/// by the payments that the journal brought back, with a few times each.
#[derive(Debug, Default)]
pub(super) struct Inherited(BTreeSet<(UnixMillis, Key)>);

impl Inherited {
    /// The Intent of `flow`, which has just been restored, was open.
    pub(super) fn insert(&mut self, key: Key, flow: &Flow) {
        self.0.extend(flow.sent_times().map(|at| (at, key)));
    }

    /// Whether `flow` was open when a process ended, and is not resolved yet.
    pub(super) fn holds(&self, key: Key, flow: &Flow) -> bool {
        flow.sent_times().any(|at| self.0.contains(&(at, key)))
    }

    /// What was open is resolved.
    pub(super) fn remove(&mut self, key: Key, flow: &Flow) {
        if !self.0.is_empty() {
            for at in flow.sent_times() {
                self.0.remove(&(at, key));
            }
        }
    }

    fn touches(&self, from: Option<UnixMillis>, to: Option<UnixMillis>) -> bool {
        let first = Key {
            slot: 0,
            generation: 0,
        };
        let from = from.unwrap_or(UnixMillis(i64::MIN));
        let mut later = self.0.range((from, first)..);
        let next = later.next();
        next.is_some_and(|(at, _)| to.is_none_or(|to| *at <= to))
    }
}

impl Owner {
    /// Sums of this core's charged payments, both ends included, and how many more may be charged.
    ///
    /// # Errors
    /// Nothing exact can be said.
    pub fn sums(
        &self,
        from: Option<UnixMillis>,
        to: Option<UnixMillis>,
    ) -> Result<WindowSums, SumFault> {
        if self.inherited.touches(from, to) {
            return Err(SumFault::Unresolved);
        }
        let charged = self.ledger.totals(from, to);
        let charged = charged.map_err(SumFault::CutsOldSecond)?;
        let may_be_inside = |flow: &&Flow| {
            let at = flow.pinned().and_then(|_| flow.requested_at());
            at.is_some_and(|at| is_inside(at, from, to))
        };
        let pending = self.unsettled().filter(may_be_inside).count();
        Ok(WindowSums {
            charged,
            pending: u64::try_from(pending).unwrap_or(u64::MAX),
        })
    }

    /// What the ledger holds in all, whatever may be missing.
    #[must_use]
    pub fn ledger_totals(&self) -> PerProcessor<Totals> {
        self.ledger.totals(None, None).unwrap_or_default()
    }
}

fn is_inside(at: UnixMillis, from: Option<UnixMillis>, to: Option<UnixMillis>) -> bool {
    from.is_none_or(|from| from <= at) && to.is_none_or(|to| at <= to)
}
