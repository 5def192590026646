//! What operators see of payments that are not settled: the oldest ones, and what each waits for.
//! Changes nothing.

use super::Owner;
use crate::clock::Mono;
use crate::flow::{Flow, Promise, Stage};
use crate::payment::{CorrelationId, Processor};

/// A payment that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// As its client named it.
    pub id: CorrelationId,
    /// When it reached its owner.
    pub arrived: Mono,
    /// Where it is, or whose queue it is in; none while it is nowhere.
    pub processor: Option<Processor>,
    /// What it waits for.
    pub reason: &'static str,
    /// A client counts on it: it is never freed.
    pub is_promised: bool,
}

impl Owner {
    /// The oldest unsettled payments, oldest first, at most `count`. Walks all of them.
    #[must_use]
    pub fn oldest(&self, count: usize) -> Vec<Unsettled> {
        if count == 0 {
            return Vec::new();
        }
        let mut oldest: Vec<&Flow> = self.unsettled().collect();
        if oldest.len() > count {
            let _ = oldest.select_nth_unstable_by_key(count, |flow| flow.arrived);
            oldest.truncate(count);
        }
        oldest.sort_unstable_by_key(|flow| flow.arrived);
        let view = |flow: &Flow| {
            let (processor, reason) = self.standing(flow);
            Unsettled {
                id: flow.payment.correlation_id,
                arrived: flow.arrived,
                processor,
                reason,
                is_promised: flow.promise != Promise::Open,
            }
        };
        oldest.into_iter().map(view).collect()
    }

    /// The processor that has bytes of `flow`, or in whose queue it is; and what it waits for.
    pub(super) fn standing(&self, flow: &Flow) -> (Option<Processor>, &'static str) {
        let (at, why) = match flow.stage() {
            Stage::Claimed | Stage::Accepting => (None, "its promise is being written"),
            Stage::Waiting { at, .. } => (Some(at), "no processor can take it"),
            Stage::Connecting { .. } => (None, "it gets a connection"),
            Stage::WritingIntent { .. } => (None, "its Intent is being written"),
            Stage::Sending { .. } => (None, "its answer is awaited"),
            Stage::Unknown { .. } => (None, "in doubt: nothing proves what became of it"),
            Stage::WritingVerdict { .. } => (None, "its end is being written"),
            Stage::Elsewhere => (None, "another instance has it"),
        };
        let processor = flow.pinned().or(at);
        let is_paused = processor.is_some_and(|one| self.processors.is_paused(one));
        let why = if is_paused {
            "its processor is paused"
        } else {
            why
        };
        (processor, why)
    }
}
