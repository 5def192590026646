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
        oldest.into_iter().map(of_flow).collect()
    }
}

fn of_flow(flow: &Flow) -> Unsettled {
    let (queue, reason) = match flow.stage() {
        Stage::Claimed => (None, "not planned yet"),
        Stage::Accepting => (None, "its promise is being written"),
        Stage::Waiting { at, .. } if flow.pinned().is_some() => {
            (Some(at), "in doubt; waits to be sent there again")
        }
        Stage::Waiting { at, .. } => (Some(at), "waits for the breaker or a free place"),
        Stage::Connecting { .. } => (None, "gets a connection"),
        Stage::WritingIntent { .. } => (None, "its intent is being written"),
        Stage::Sending { .. } => (None, "sent; the answer is awaited"),
        Stage::Unknown { .. } => (None, "in doubt; is sent there again"),
        Stage::WritingVerdict { .. } => (None, "its verdict is being written"),
        Stage::Elsewhere => (None, "another instance has it"),
    };
    Unsettled {
        id: flow.payment.correlation_id,
        arrived: flow.arrived,
        processor: flow.pinned().or(queue),
        reason,
        is_promised: flow.promise != Promise::Open,
    }
}
