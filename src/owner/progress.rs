//! How a payment moves on: intended, sent, and after every attempt either settled, planned anew, or
//! kept for the processor that never answered. This file alone changes a payment's stage.
//!
//! Keeps I3 (Unknown is re-sent to the same processor, never freed) and I5 (Intent before bytes).
use std::time::Duration;

use super::attempts::{After, Phase, Purpose};
use super::{JournalStanding, Owner, held};
use crate::clock::Now;
use crate::config::Ack;
use crate::events::{Action, AttemptRef, Hedge, Note};
use crate::flow::{Ending, HedgeState, Promise, Stage, Step};
use crate::journal::{Fate, Record, Verdict};
use crate::limits;
use crate::payment::Processor;
use crate::table::Key;
use crate::timeline::{self, Fact, Remark, millis};

/// Shortest first pause before an unanswered payment is sent again; the real one is the larger of
/// this and four times the processor's p95.
const RESEND_PAUSE_FIRST: Duration = Duration::from_secs(1);

impl Owner {
    // ---- records before deeds (I5) ----

    /// `attempt` has its connection: the Intent is written, then bytes leave. A pinned payment's
    /// Intent is open already.
    pub(super) fn intend(&mut self, key: Key, attempt: AttemptRef, now: Now) {
        let entry = held(self.attempts.get(attempt.0));
        let (processor, address) = (entry.processor, entry.address);
        let flow = held(self.flows.get_mut(key));
        // A pinned payment that goes to another address of its processor gets a new one (I10).
        let is_open = flow.pinned().is_some() && flow.address == address;
        let (requested_at, writer) = (flow.mint(now.wall), flow.writer);
        let is_covered = is_open && self.is_covered_by_lease(writer, now);
        if is_covered || self.journal.standing == JournalStanding::Off {
            self.send(attempt, now);
            return;
        }
        let flow = held(self.flows.get_mut(key));
        if self.settings.ack == Ack::Accepted && flow.promise == Promise::Open {
            flow.promise = Promise::Given;
        }
        let accepted_at = flow.promised_at();
        let payment = flow.payment;
        self.enter(key, Step::Connected, Stage::WritingIntent { attempt }, now);
        let record = Record::Intent {
            payment,
            processor,
            requested_at,
            accepted_at,
            address,
        };
        self.append_and_wait(key, record);
    }

    /// The Intent of `key` is durable. It is written once more where that took so long that another
    /// instance may soon take the payment over.
    fn on_intent(&mut self, key: Key, attempt: AttemptRef, now: Now) {
        let flow = held(self.flows.get(key));
        if self.is_covered_by_lease(flow.writer, now) {
            self.send(attempt, now);
            return;
        }
        let entry = held(self.attempts.get(attempt.0));
        let record = Record::Intent {
            payment: flow.payment,
            processor: entry.processor,
            requested_at: held(flow.requested_at()),
            accepted_at: flow.promised_at(),
            address: entry.address,
        };
        self.append_and_wait(key, record);
    }

    /// The record that `key` waited for is durable.
    pub(super) fn on_written(&mut self, key: Key, now: Now) {
        let flow = held(self.flows.get(key));
        let stage = flow.stage();
        if flow.promise == Promise::Given && !matches!(stage, Stage::WritingVerdict { .. }) {
            self.tell_accepted(key);
        }
        match stage {
            Stage::Accepting => self.plan(key, now),
            Stage::WritingIntent { attempt } => self.on_intent(key, attempt, now),
            Stage::WritingVerdict { ending } => self.settle(key, ending, now),
            // The record was overtaken, for instance by the client's deadline.
            Stage::Claimed
            | Stage::Waiting { .. }
            | Stage::Connecting { .. }
            | Stage::Sending { .. }
            | Stage::Unknown { .. }
            | Stage::Elsewhere => {}
        }
    }

    // ---- after an attempt ----

    /// What the end of `attempt` means for its payment, which may be settled already.
    pub(super) fn after_attempt(&mut self, key: Key, attempt: AttemptRef, after: After, now: Now) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let stage = flow.stage();
        if let Stage::WritingVerdict { .. } = stage {
            return;
        }
        match after {
            After::Applied(processor, requested_at) => {
                self.note_race(key, attempt, processor, now);
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
        let flow = held(self.flows.get(key));
        if flow.pinned().is_some() {
            // A hedge or a re-send found no connection; an earlier attempt is still unanswered.
            self.on_unproven(key, attempt, (processor, Word::MayCome), now);
            return;
        }
        // What a former process sent was not charged there.
        self.inherited.remove(key, flow);
        // A first attempt that found no connection had no Intent yet.
        let had_intent = match flow.stage() {
            Stage::Sending { .. } | Stage::Unknown { .. } | Stage::WritingIntent { .. } => true,
            Stage::Connecting { attempt: holder } => holder != attempt,
            Stage::Claimed
            | Stage::Accepting
            | Stage::Waiting { .. }
            | Stage::WritingVerdict { .. }
            | Stage::Elsewhere => false,
        };
        let (id, fate, writer) = (flow.payment.id, Fate::Held, flow.writer);
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
            self.append(writer, Record::Verdict { id, verdict });
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
        let flow = held(self.flows.get(key));
        match flow.stage() {
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
                    self.enter(key, Step::Hedged, stage, now);
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
            Stage::Claimed
            | Stage::Accepting
            | Stage::Waiting { .. }
            | Stage::WritingVerdict { .. }
            | Stage::Elsewhere => return,
        }
        let p95 = self.lanes.get_mut(processor).p95(now.mono);
        let first = RESEND_PAUSE_FIRST.max(p95.saturating_mul(4));
        let flow = held(self.flows.get(key));
        let pause = match word {
            Word::Over if flow.resends == 0 => Duration::ZERO,
            Word::Over | Word::MayCome => flow.pause(flow.resends, first, limits::RESEND_PAUSE_MAX),
        };
        let pause_ms = millis(pause);
        let fact = Fact::Pinned {
            processor,
            pause_ms,
        };
        self.remarkable(key, Remark::Unknown, fact);
        self.await_resend(key, now.mono.after(pause), now);
    }

    // ---- stages, queues and timers ----

    /// Counts which of two attempts was answered first, if `key` had two.
    fn note_race(&mut self, key: Key, winner: AttemptRef, processor: Processor, now: Now) {
        if let Some(hedge) = held(self.flows.get(key)).stage().hedge() {
            let won = hedge == winner;
            if won {
                self.remark(key, Remark::HedgeWon);
                self.lanes.get_mut(processor).budget().note_win(now.mono);
            }
            let end = if won { Hedge::Won } else { Hedge::Lost };
            self.note(Note::Hedge(processor, end));
        }
    }

    /// The Intent is durable, or needs no journal: bytes leave.
    pub(super) fn send(&mut self, attempt: AttemptRef, now: Now) {
        let entry = held(self.attempts.get_mut(attempt.0));
        let flow = held(self.flows.get_mut(entry.flow));
        let until = now.run.after(self.settings.attempt_timeout);
        entry.phase = Phase::Sent { until };
        entry.sent_at = now.run;
        let (key, processor, purpose) = (entry.flow, entry.processor, entry.purpose);
        let requested_at = held(flow.requested_at());
        flow.on_sent(processor);
        flow.address = entry.address;
        let told_purpose = match purpose {
            Purpose::Resend => timeline::Purpose::Resend,
            Purpose::Hedge => timeline::Purpose::Hedge,
            Purpose::First | Purpose::Proof | Purpose::Identity { .. } => timeline::Purpose::First,
        };
        flow.resends = flow
            .resends
            .saturating_add(u32::from(purpose == Purpose::Resend));
        let trace = flow.trace.clone();
        let (id, amount) = (flow.payment.id, flow.payment.amount);
        self.actions.push_back(Action::Send {
            attempt,
            id,
            amount,
            requested_at,
            trace,
        });
        self.note_sent(key, processor, told_purpose, now);
        self.arm_attempt(attempt, until, now);
        let lane = self.lanes.get_mut(processor);
        match purpose {
            Purpose::First => {
                lane.budget().note_attempt(now.mono);
                let patience = lane.p95(now.mono).max(self.hedge_delay());
                let hedge = HedgeState::Armed {
                    at: now.run.after(patience),
                };
                self.enter(key, Step::Sent, Stage::Sending { attempt, hedge }, now);
            }
            Purpose::Resend => {
                self.note(Note::Resent(processor));
                self.enter(
                    key,
                    Step::Sent,
                    Stage::Sending {
                        attempt,
                        hedge: HedgeState::Over,
                    },
                    now,
                );
            }
            Purpose::Hedge => self.note(Note::Hedge(processor, Hedge::Fired)),
            Purpose::Proof | Purpose::Identity { .. } => {}
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
