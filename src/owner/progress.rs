//! How a payment moves on: intended, sent, and after every attempt either settled, planned anew, or
//! kept for the processor that never answered. This file alone changes a payment's stage.
//!
//! Keeps I3 (Unknown is re-sent to the same processor, never freed) and I5 (Intent before bytes).

use std::time::Duration;

use super::attempts::After;
use super::{JournalStanding, Owner};
use crate::clock::{Mono, Now};
use crate::config::Ack;
use crate::events::{Answer, AttemptRef, Hedge, Note};
use crate::flow::{Ending, HedgeState, Promise, Stage};
use crate::journal::{Fate, Record, Verdict};
use crate::limits;
use crate::payment::Processor;
use crate::table::Key;

impl Owner {
    // ---- records before deeds (I5) ----

    /// `attempt` has its connection: the Intent is written, then bytes leave. A pinned payment's
    /// Intent is open already.
    pub(super) fn intend(&mut self, key: Key, attempt: AttemptRef, now: Now) {
        let Some(entry) = self.attempts.get(attempt.0) else {
            return;
        };
        let (processor, address) = (entry.processor, entry.address);
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        // A pinned payment that goes to another address of its processor gets a new one (I10).
        let is_open = flow.pinned().is_some() && flow.address == address;
        let requested_at = flow.mint(now.wall);
        if is_open || self.journal.standing == JournalStanding::Off {
            self.send(attempt, now);
            return;
        }
        if self.settings.ack == Ack::Accepted && flow.promise == Promise::Open {
            flow.promise = Promise::Given;
        }
        let accepted_at = flow.promised_at();
        let payment = flow.payment;
        self.enter(key, Stage::WritingIntent { attempt }, now);
        let record = Record::Intent {
            payment,
            processor,
            requested_at,
            accepted_at,
            address,
        };
        self.append_and_wait(key, record);
    }

    /// The record that `key` waited for is durable.
    pub(super) fn on_written(&mut self, key: Key, now: Now) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let stage = flow.stage;
        if flow.promise == Promise::Given && !matches!(stage, Stage::WritingVerdict { .. }) {
            self.tell(key, Answer::Accepted);
        }
        match stage {
            Stage::Accepting => self.plan(key, now),
            Stage::WritingIntent { attempt } => {
                if self.processor_of(attempt).is_some() {
                    self.send(attempt, now);
                }
            }
            Stage::WritingVerdict { ending } => self.settle(key, ending, now),
            // The record was overtaken, for instance by the client's deadline.
            Stage::Waiting { .. }
            | Stage::Connecting { .. }
            | Stage::Sending { .. }
            | Stage::Unknown { .. } => {}
        }
    }

    /// From here on the payment is never freed, and its client is told 202 once that is durable.
    pub(super) fn promise(&mut self, key: Key) {
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        // Behind a Verdict an Accept would begin the payment anew: replay takes it for an id that
        // was forgotten and came again.
        assert!(
            !matches!(flow.stage, Stage::WritingVerdict { .. }),
            "I5: nothing is promised behind a verdict"
        );
        flow.promise = Promise::Given;
        let record = Record::Accept {
            payment: flow.payment,
            accepted_at: flow.accepted_at,
        };
        match self.journal.standing {
            JournalStanding::Off => self.tell(key, Answer::Accepted),
            JournalStanding::On => self.append_and_wait(key, record),
            // Those who waited were told nothing.
            JournalStanding::Failed => {}
        }
    }

    pub(super) fn tell(&mut self, key: Key, answer: Answer) {
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        if let Some(waiter) = flow.waiter.take() {
            self.clients_waiting = self.clients_waiting.saturating_sub(1);
            self.answer(waiter, answer);
        }
    }

    // ---- after an attempt ----

    /// What the end of `attempt` means for its payment, which may be settled already.
    pub(super) fn after_attempt(&mut self, key: Key, attempt: AttemptRef, after: After, now: Now) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let stage = flow.stage;
        if let Stage::WritingVerdict { .. } = stage {
            return;
        }
        match after {
            After::Applied(processor, requested_at) => {
                self.note_race(stage, attempt, processor, now);
                self.finish(
                    key,
                    Ending::Applied {
                        processor,
                        requested_at,
                    },
                    now,
                );
            }
            After::Foreign(processor, requested_at, amount) => {
                self.note(Note::Foreign {
                    id: flow.payment.id,
                    processor,
                });
                self.finish(
                    key,
                    Ending::Foreign {
                        processor,
                        requested_at,
                        amount,
                    },
                    now,
                );
            }
            After::RefusedForGood(processor) => {
                self.finish(key, Ending::RefusedForGood { processor }, now);
            }
            After::Free(processor) => self.on_free(key, attempt, processor, now),
            After::Cut(processor) => self.on_unproven(key, attempt, (processor, Word::Over), now),
            After::Silent(processor) => {
                self.on_unproven(key, attempt, (processor, Word::MayCome), now);
            }
        }
    }

    /// No byte of the payment may still charge it at `processor`.
    fn on_free(&mut self, key: Key, attempt: AttemptRef, processor: Processor, now: Now) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        if flow.pinned().is_some() {
            // A hedge or a re-send found no connection; an earlier attempt is still unanswered.
            self.on_unproven(key, attempt, (processor, Word::MayCome), now);
            return;
        }
        // What a former process sent was not charged there.
        self.inherited.remove(key, flow);
        // A first attempt that found no connection had no Intent yet.
        let had_intent = match flow.stage {
            Stage::Sending { .. } | Stage::Unknown { .. } | Stage::WritingIntent { .. } => true,
            Stage::Connecting { attempt: holder } => holder != attempt,
            Stage::Accepting | Stage::Waiting { .. } | Stage::WritingVerdict { .. } => false,
        };
        let (id, fate) = (flow.payment.id, Fate::Held);
        if had_intent && self.journal.standing == JournalStanding::On {
            // What rested on the open Intent alone needs a promise of its own now.
            let (is_inherited, was_refused) =
                (flow.promise == Promise::Inherited, flow.was_refused());
            if is_inherited {
                self.promise(key);
            }
            // Replay must not find the Intent open. If this line is lost, the payment is sent to
            // the same processor again, which is safe.
            let verdict = if was_refused {
                Verdict::Refused { processor, fate }
            } else {
                Verdict::NotSent { processor, fate }
            };
            self.append(Record::Verdict { id, verdict });
        }
        // A hedge or a re-send that was about to repeat it must not: it may go anywhere now.
        self.drop_unsent(key, now);
        self.leave_queues(key);
        self.plan(key, now);
    }

    /// An attempt proves nothing. Unless another is under way, the payment is sent again there.
    fn on_unproven(
        &mut self,
        key: Key,
        attempt: AttemptRef,
        (processor, word): (Processor, Word),
        now: Now,
    ) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        match flow.stage {
            Stage::Sending {
                attempt: first,
                hedge: HedgeState::Out { attempt: second },
            } => {
                // The other one goes on alone, unless it never got as far as sending.
                let survivor = if attempt == first { second } else { first };
                // One that already goes on alone has no other behind it.
                if survivor != attempt && self.is_out(survivor) {
                    // A hedge that goes on alone and is answered has won.
                    let hedge = if survivor == second {
                        HedgeState::Out { attempt: second }
                    } else {
                        HedgeState::Over
                    };
                    let stage = Stage::Sending {
                        attempt: survivor,
                        hedge,
                    };
                    self.enter(key, stage, now);
                    return;
                }
                if self.is_unsent(survivor) {
                    self.abandon(survivor, now);
                }
            }
            Stage::Sending {
                attempt: holder, ..
            }
            | Stage::Connecting { attempt: holder }
            | Stage::WritingIntent { attempt: holder } => {
                if holder != attempt {
                    return;
                }
            }
            // It waits for its re-send already. Once no word can come any more, the first one
            // need not wait.
            Stage::Unknown { .. } => match word {
                Word::Over if flow.resends == 0 => {}
                Word::Over | Word::MayCome => return,
            },
            Stage::Accepting | Stage::Waiting { .. } | Stage::WritingVerdict { .. } => return,
        }
        let p95 = self.lanes.get_mut(processor).p95(now.mono);
        let first = limits::RESEND_PAUSE_FIRST.max(p95.saturating_mul(4));
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let pause = match word {
            Word::Over if flow.resends == 0 => Duration::ZERO,
            Word::Over | Word::MayCome => flow.pause(flow.resends, first, limits::RESEND_PAUSE_MAX),
        };
        self.await_resend(key, now.mono.after(pause), now);
    }

    /// The payment stays with its processor and is sent there again at `resend_at` (I3).
    pub(super) fn await_resend(&mut self, key: Key, resend_at: Mono, now: Now) {
        self.enter(key, Stage::Unknown { resend_at }, now);
        if resend_at <= now.mono {
            self.queue_resend(key, now);
        }
    }

    /// Its pause is over: it waits for a slot among the re-sends.
    pub(super) fn queue_resend(&mut self, key: Key, now: Now) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let Some(processor) = flow.pinned() else {
            return;
        };
        self.pinned.get_mut(processor).insert((flow.arrived, key));
        self.pump(now);
    }

    // ---- stages, queues and timers ----

    /// Moves the payment to `stage`, into the queue that belongs to it, and arms its timer.
    pub(super) fn enter(&mut self, key: Key, stage: Stage, now: Now) {
        self.leave_queues(key);
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        flow.stage = stage;
        if let Stage::Waiting { at, not_before } = stage
            && not_before <= now.mono
        {
            self.waiting.get_mut(at).insert((flow.arrived, key));
        }
        self.arm(key, now);
    }

    pub(super) fn leave_queues(&mut self, key: Key) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let place = (flow.arrived, key);
        match flow.stage {
            Stage::Waiting { at, .. } => {
                self.waiting.get_mut(at).remove(&place);
            }
            Stage::Unknown { .. } => {
                for processor in self.settings.processors.all() {
                    self.pinned.get_mut(processor).remove(&place);
                }
            }
            Stage::Accepting
            | Stage::Connecting { .. }
            | Stage::WritingIntent { .. }
            | Stage::Sending { .. }
            | Stage::WritingVerdict { .. } => {}
        }
    }

    fn note_race(&mut self, stage: Stage, winner: AttemptRef, processor: Processor, now: Now) {
        let Stage::Sending {
            hedge: HedgeState::Out { attempt },
            ..
        } = stage
        else {
            return;
        };
        if attempt == winner {
            self.lanes.get_mut(processor).budget().note_win(now.mono);
            self.note(Note::Hedge(processor, Hedge::Won));
        } else {
            self.note(Note::Hedge(processor, Hedge::Lost));
        }
    }
}

/// Whether a later word about an attempt can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// Its connection is still read.
    MayCome,
    /// Never.
    Over,
}

/// Timer tokens: payments are even, attempts are odd.
pub(super) fn flow_token(key: Key) -> u32 {
    key.slot.wrapping_mul(2)
}
