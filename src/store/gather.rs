//! Records to one batch. Pure.
//!
//! A batch is a prefix of the records that wait. It ends before a record that cannot be merged with
//! an earlier one of the same id: what follows a claim that is in this batch must wait until it is
//! known whether the claim was won, but for a promise and a first Intent together.

use std::collections::BTreeMap;

use super::batch::{Batch, Change, Claim, Pin, Update};
use super::record::{Record, RowStatus};
use crate::journal::{Fate, Verdict};
use crate::payment::UpstreamId;

/// What is done to one id.
#[derive(Clone, Debug, Default)]
struct Step {
    is_freed: bool,
    update: Option<Update>,
    claim: Option<Claim>,
}

/// Gathers records to a batch.
#[derive(Debug, Default)]
pub(super) struct Builder {
    steps: BTreeMap<UpstreamId, Step>,
}

/// Whether a record went into the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It did.
    Yes,
    /// The batch ends before it.
    EndsBatch,
}

impl Builder {
    /// How many ids it is about.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether it is about `id`.
    #[must_use]
    pub(super) fn has(&self, id: UpstreamId) -> bool {
        self.steps.contains_key(&id)
    }

    /// Takes `record`. `is_ours` says whether the writer has a row of its id from before.
    pub(super) fn take(&mut self, record: &Record, is_ours: bool) -> Taken {
        let id = record.id();
        let before = self.steps.get(&id).cloned().unwrap_or_default();
        match merge(before, record, is_ours) {
            Some(step) => {
                self.steps.insert(id, step);
                Taken::Yes
            }
            None => Taken::EndsBatch,
        }
    }

    /// The rows, sorted; the caller fills in the fence.
    #[must_use]
    pub(super) fn build(self) -> Batch {
        let mut batch = Batch::default();
        for (id, step) in self.steps {
            if step.is_freed {
                batch.freed.push(id);
            }
            batch.updates.extend(step.update);
            batch.claims.extend(step.claim);
        }
        batch
    }
}

/// The step that `record` makes of `before`; `None` when it must wait for the next batch.
fn merge(mut before: Step, record: &Record, is_ours: bool) -> Option<Step> {
    let is_ours = is_ours && !before.is_freed;
    let has_ended = before.update.is_some_and(|one| one.change.is_end());
    if has_ended {
        return None;
    }
    if is_ours {
        if is_freeing(record) {
            // What was to change in it goes with it.
            return Some(Step {
                is_freed: true,
                ..Step::default()
            });
        }
        let update = before.update.unwrap_or_else(|| unchanged(record.id()));
        before.update = Some(change(update, record));
        return Some(before);
    }
    match (before.claim.take(), record) {
        (None, _) => before.claim = Some(first_claim(record)?),
        // The promise and the first Intent, in either order, are one row.
        (Some(claim), Record::Accept { accepted_at, .. }) if claim.accepted_at.is_none() => {
            before.claim = Some(Claim {
                accepted_at: Some(*accepted_at),
                status: RowStatus::Promised,
                ..claim
            });
        }
        (Some(claim), Record::Intent { .. }) if claim.processor.is_none() => {
            let intent = first_claim(record)?;
            let accepted_at = claim.accepted_at.or(intent.accepted_at);
            before.claim = Some(Claim {
                accepted_at,
                status: claim.status,
                ..intent
            });
        }
        (Some(_), _) => return None,
    }
    Some(before)
}

const fn is_freeing(record: &Record) -> bool {
    match record {
        Record::Verdict { verdict, .. } => matches!(
            verdict,
            Verdict::Withdrawn
                | Verdict::Refused {
                    fate: Fate::Freed,
                    ..
                }
                | Verdict::NotSent {
                    fate: Fate::Freed,
                    ..
                }
        ),
        Record::Accept { .. }
        | Record::Intent { .. }
        | Record::ByHand { .. }
        | Record::Heard { .. } => false,
    }
}

const fn unchanged(id: UpstreamId) -> Update {
    Update {
        id,
        change: Change::None,
        at: None,
        processor: Pin::Same,
        address: None,
        accepted_at: None,
        was_heard: false,
    }
}

/// A new row, if `record` can begin one.
fn first_claim(record: &Record) -> Option<Claim> {
    let (payment, processor, at, accepted_at, address) = match *record {
        Record::Accept {
            payment,
            accepted_at,
        } => (payment, None, accepted_at, Some(accepted_at), None),
        Record::Intent {
            payment,
            processor,
            requested_at,
            accepted_at,
            address,
        } => (payment, Some(processor), requested_at, accepted_at, address),
        Record::Verdict { .. } | Record::ByHand { .. } | Record::Heard { .. } => return None,
    };
    let is_canonical = payment.correlation_id.as_str().as_bytes() == payment.id.spell();
    let status = match accepted_at {
        Some(_) => RowStatus::Promised,
        None => RowStatus::Open,
    };
    Some(Claim {
        id: payment.id,
        correlation_id: (!is_canonical).then(|| payment.correlation_id.as_str().to_owned()),
        amount: payment.amount,
        at,
        accepted_at,
        status,
        processor,
        address,
        first_sent: processor.map(|_| at),
    })
}

/// `update` and what `record` adds to it.
fn change(update: Update, record: &Record) -> Update {
    match *record {
        Record::Accept { accepted_at, .. } => Update {
            change: Change::Promised,
            accepted_at: update.accepted_at.or(Some(accepted_at)),
            ..update
        },
        Record::Intent {
            processor,
            requested_at,
            accepted_at,
            address,
            ..
        } => Update {
            change: if accepted_at.is_some() {
                Change::Promised
            } else {
                update.change
            },
            at: Some(requested_at),
            processor: Pin::To(processor),
            address: address.or(update.address),
            accepted_at: update.accepted_at.or(accepted_at),
            ..update
        },
        Record::Heard { .. } => Update {
            was_heard: true,
            ..update
        },
        Record::ByHand { charged, .. } => match charged {
            Some((processor, at)) => Update {
                change: Change::Settled(RowStatus::ChargedByHand),
                at: Some(at),
                processor: Pin::To(processor),
                ..update
            },
            None => Update {
                change: Change::Settled(RowStatus::RefusedByHand),
                ..update
            },
        },
        Record::Verdict { verdict, .. } => judged(update, verdict),
    }
}

fn judged(update: Update, verdict: Verdict) -> Update {
    match verdict {
        Verdict::Applied {
            processor,
            requested_at,
            ..
        } => Update {
            change: match update.change {
                Change::Promised => Change::ChargedAfterPromise,
                Change::None
                | Change::Charged
                | Change::ChargedAfterPromise
                | Change::Settled(_) => Change::Charged,
            },
            at: Some(requested_at),
            processor: Pin::To(processor),
            ..update
        },
        Verdict::Foreign {
            processor,
            requested_at,
            ..
        } => Update {
            change: Change::Settled(RowStatus::Foreign),
            at: Some(requested_at),
            processor: Pin::To(processor),
            ..update
        },
        Verdict::Refused { fate, .. } | Verdict::NotSent { fate, .. } => match fate {
            Fate::Ended => Update {
                change: Change::Settled(RowStatus::Refused),
                ..update
            },
            // What frees never comes here.
            Fate::Held | Fate::Freed => Update {
                processor: Pin::Nowhere,
                ..update
            },
        },
        Verdict::Withdrawn => update,
    }
}

#[cfg(test)]
mod tests;
