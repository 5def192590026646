//! What operators do to payments and processors while p99 runs: list what is pending, settle one
//! payment by hand, and pause a processor. The driver tells an [`Owner`] of it as of any event.
//!
//! Keeps I3: a payment is settled by hand only while no attempt of it is in flight, so nothing of
//! it can be charged afterwards by what this process sent; and its id is never freed. Keeps I5: it
//! ends by the same records as any other.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::attempts::Phase;
use super::{JournalStanding, Owner, Processors, held};
use crate::claims::Claim;
use crate::clock::Now;
use crate::events::{Reason, WriterSlot};
use crate::flow::{Ending, Flow, Promise, Stage, Trail};
use crate::journal::operator::Resolution;
use crate::limits;
use crate::payment::{Payment, Processor, Status, UpstreamId};
use crate::table::Key;
use crate::timeline::{Fact, Remark};

/// Why a payment cannot be settled by hand; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolvable {
    /// Its id is not known here.
    Unknown,
    /// It is settled, as this.
    Settled(Status),
    /// An attempt of it is in flight, or its answer may still come; or a record of it is being
    /// written.
    InFlight,
    /// No processor has bytes of it that it could have charged.
    NoProcessor,
    /// It was open when a process ended: its client may have been told that it is charged.
    MayBeAcknowledged,
    /// The journal failed.
    JournalDown,
}

/// One pending payment, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingView {
    /// What is to be charged.
    pub payment: Payment,
    /// Since it was taken in, restarts included where the journal says when that was.
    pub age: Duration,
    /// The processor that has bytes of it, or in whose queue it is.
    pub processor: Option<Processor>,
    /// Attempts that this process has sent.
    pub attempts: u32,
    /// What it waits for.
    pub why: &'static str,
    /// Whether its client was told that it will be settled, or may have been.
    pub is_promised: bool,
    /// How its last attempt that did not charge ended.
    pub last: Option<Reason>,
}

impl Processors {
    /// Whether an operator has paused `processor`: no new payment and no re-send goes there.
    #[must_use]
    pub fn is_paused(&self, processor: Processor) -> bool {
        self.paused.get(processor).load(Ordering::Relaxed)
    }

    /// Pauses `processor`, or lets it go on. What is being connected or sent goes on.
    pub fn set_paused(&self, processor: Processor, is_paused: bool) {
        self.paused
            .get(processor)
            .store(is_paused, Ordering::Relaxed);
    }
}

impl Owner {
    /// Settles `id` as an operator says. Returns how many records of which writer must be durable
    /// before the operator may be told.
    ///
    /// # Errors
    /// Why it cannot be settled; nothing has changed.
    pub fn resolve(
        &mut self,
        id: UpstreamId,
        resolution: Resolution,
        now: Now,
    ) -> Result<(WriterSlot, u64), Unresolvable> {
        self.moment = now;
        let key = match self.claims.look(id) {
            Claim::Fresh => return Err(Unresolvable::Unknown),
            Claim::Settled(settled) => return Err(Unresolvable::Settled(settled.status)),
            Claim::Pending(slot) => held(self.flows.key_at(slot)),
        };
        let ending = self.ending_by_hand(key, resolution)?;
        let flow = held(self.flows.get_mut(key));
        flow.is_by_hand = true;
        let writer = flow.writer;
        let fact = Fact::Resolved {
            is_charged: ending.is_charge(),
        };
        self.remarkable(key, Remark::ByHand, fact);
        if held(self.flows.get(key)).promise == Promise::Open && !ending.is_charge() {
            // Its id stays taken: what was promised is never freed.
            self.promise(key);
        }
        self.finish(key, ending, now);
        self.pump(now);
        Ok((writer, self.journal.get(writer).appended))
    }

    /// How `key` would end, if it may.
    fn ending_by_hand(&self, key: Key, resolution: Resolution) -> Result<Ending, Unresolvable> {
        let flow = held(self.flows.get(key));
        if self.journal.standing == JournalStanding::Failed {
            return Err(Unresolvable::JournalDown);
        }
        let is_at_rest = matches!(flow.stage(), Stage::Waiting { .. } | Stage::Unknown { .. });
        let is_alive = |phase: Phase| phase != Phase::Deserted;
        let mut attempts = self.attempts.iter();
        let is_in_flight = attempts.any(|(_, one)| one.flow == key && is_alive(one.phase));
        // The store may know its id as another's: what is not claimed ends by itself, and soon.
        let is_unclaimed = self.settings.is_shared() && flow.trail == Trail::None;
        if !is_at_rest || is_in_flight || is_unclaimed {
            return Err(Unresolvable::InFlight);
        }
        match resolution {
            Resolution::Applied => {
                let sent = flow.pinned().zip(flow.requested_at());
                let (processor, requested_at) = sent.ok_or(Unresolvable::NoProcessor)?;
                Ok(Ending::Applied {
                    processor,
                    requested_at,
                })
            }
            Resolution::Refused if self.inherited.holds(key, flow) => {
                Err(Unresolvable::MayBeAcknowledged)
            }
            Resolution::Refused | Resolution::RefusedAlthoughAcknowledged => {
                let processor = flow.sent_last().unwrap_or(Processor::DEFAULT);
                Ok(Ending::RefusedForGood { processor })
            }
        }
    }

    /// The oldest pending payments, and how many there are in all.
    #[must_use]
    pub fn list(&self, now: Now) -> (Vec<PendingView>, usize) {
        let mut oldest: Vec<&Flow> = self.unsettled().collect();
        let count = oldest.len();
        let most = limits::PENDING_SHOWN_MAX;
        if count > most {
            oldest.select_nth_unstable_by_key(most, |flow| flow.accepted_at);
            oldest.truncate(most);
        }
        oldest.sort_by_key(|flow| flow.accepted_at);
        let views = oldest.into_iter().map(|flow| self.view(flow, now));
        (views.collect(), count)
    }

    fn view(&self, flow: &Flow, now: Now) -> PendingView {
        let (processor, why) = self.standing(flow);
        let age = now.wall.0.saturating_sub(flow.accepted_at.0).max(0);
        PendingView {
            payment: flow.payment,
            age: Duration::from_millis(age.unsigned_abs()),
            processor,
            attempts: flow.attempts(),
            why,
            is_promised: flow.promise != Promise::Open,
            last: flow.history.last,
        }
    }
}
