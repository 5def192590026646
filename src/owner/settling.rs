//! How a payment ends: claims, ledger and the client hear of it in one turn, in this order. A
//! charge is told at once and its Verdict shares the next write; every other Verdict is durable
//! first.
//!
//! Keeps I5 (a durable record before every answer) and I6 (the ledger grows with Applied verdicts
//! alone).
use super::attempts::flow_token;
use super::outbox::Line;
use super::{JournalStanding, Owner, held};
use crate::claims::{FirstAnswer, SettledClaim};
use crate::clock::Now;
use crate::config::AnswerAfter;
use crate::events::{Answer, Note, StoreLine, WriterSlot};
use crate::flow::{Ending, Flow, Promise, Stage, Step, Trail};
use crate::journal::{Fate, Record, Verdict};
use crate::payment::{Payment, Status};
use crate::table::Key;

impl Owner {
    // ---- the end ----

    /// The payment's fate is known: write it down, then settle.
    pub(super) fn finish(&mut self, key: Key, ending: Ending, now: Now) {
        let flow = held(self.flows.get(key));
        let may_free = flow.promise == Promise::Open;
        assert!(
            may_free || !matches!(ending, Ending::RefusedByAll | Ending::Withdrawn),
            "a promised payment is never freed"
        );
        self.drop_unsent(key, now);
        let flow = held(self.flows.get(key));
        // What the journal never heard of may end without a word, unless it was charged.
        if flow.trail == Trail::None && !ending.is_charge() {
            self.settle(key, ending, now);
            return;
        }
        match self.journal.standing {
            JournalStanding::Off => self.settle(key, ending, now),
            // Replay decides: nothing may be told that cannot be written.
            JournalStanding::Failed => {
                self.enter(key, Step::Ended, Stage::WritingVerdict { ending }, now)
            }
            // What an operator says no processor says again after a crash.
            JournalStanding::On if !flow.is_by_hand && self.is_told_early(key, ending, now) => {
                let (writer, line) = self.verdict(key, ending);
                self.append_later(writer, line, now);
                self.settle(key, ending, now);
            }
            JournalStanding::On => {
                self.promise_late(key, ending);
                self.enter(key, Step::Ended, Stage::WritingVerdict { ending }, now);
                self.write_verdict(key, ending);
            }
        }
    }

    /// Whether the ending needs no durable Verdict to be told: what was sent has a durable Intent,
    /// by which a start finds the charge again (I5). Every other ending would be forgotten.
    fn is_told_early(&self, key: Key, ending: Ending, now: Now) -> bool {
        // One whose promise is being written is told of that, once it is durable.
        let flow = held(self.flows.get(key));
        let is_being_promised = flow.promise == Promise::Given && flow.waiter.is_some();
        matches!(ending, Ending::Applied { .. })
            && self.settings.answer_after == AnswerAfter::Intent
            && !is_being_promised
            && self.is_covered_by_lease(flow.writer, now)
    }

    /// A charge that would have been told early, but another instance may be about to take it over:
    /// its client is told that it is held, which that one keeps.
    fn promise_late(&mut self, key: Key, ending: Ending) {
        let is_early = self.settings.answer_after == AnswerAfter::Intent;
        if self.settings.is_shared() && is_early && matches!(ending, Ending::Applied { .. }) {
            self.tell_held(key);
        }
    }

    pub(super) fn write_verdict(&mut self, key: Key, ending: Ending) {
        let (_, line) = self.verdict(key, ending);
        self.append_and_wait(key, line);
    }

    fn verdict(&self, key: Key, ending: Ending) -> (WriterSlot, Line) {
        let flow = held(self.flows.get(key));
        if flow.is_by_hand && self.settings.is_shared() {
            let line = StoreLine::ByHand {
                id: flow.payment.id,
                charged: ending.charged(),
            };
            return (flow.writer, line.into());
        }
        let Payment { id, amount, .. } = flow.payment;
        let fate = match flow.promise {
            Promise::Open => Fate::Freed,
            Promise::Inherited | Promise::Given => Fate::Ended,
        };
        let verdict = match ending {
            Ending::Applied {
                processor,
                requested_at,
            } => Verdict::Applied {
                processor,
                amount,
                requested_at,
            },
            Ending::Foreign {
                processor,
                requested_at,
                amount,
            } => Verdict::Foreign {
                processor,
                amount,
                requested_at,
            },
            Ending::RefusedForGood { processor } => Verdict::Refused { processor, fate },
            Ending::RefusedByAll | Ending::Withdrawn => Verdict::Withdrawn,
        };
        (flow.writer, Record::Verdict { id, verdict }.into())
    }

    /// A Purge was written behind verdicts that are not durable yet. Their payments are still
    /// pending and count when they settle, so replay must meet their end behind the Purge, too.
    pub(super) fn repeat_verdicts(&mut self) {
        let ending = |(key, flow): (Key, &Flow)| match flow.stage() {
            Stage::WritingVerdict { ending } => Some((key, ending)),
            Stage::Claimed
            | Stage::Accepting
            | Stage::Waiting { .. }
            | Stage::Connecting { .. }
            | Stage::WritingIntent { .. }
            | Stage::Sending { .. }
            | Stage::Unknown { .. }
            | Stage::Elsewhere => None,
        };
        let endings: Vec<_> = self.flows.iter().filter_map(ending).collect();
        for (key, ending) in endings {
            let Some(flow) = self.flows.get(key) else {
                continue;
            };
            let accepted_at = flow.promised_at();
            let payment = flow.payment;
            let opening = match ending {
                Ending::Applied { processor, .. } | Ending::Foreign { processor, .. } => {
                    let intent = |requested_at| Record::Intent {
                        payment,
                        processor,
                        requested_at,
                        accepted_at,
                        address: flow.address,
                    };
                    flow.requested_at().map(intent)
                }
                Ending::RefusedForGood { .. } => accepted_at.map(|accepted_at| Record::Accept {
                    payment,
                    accepted_at,
                }),
                // Nothing is left of these.
                Ending::RefusedByAll | Ending::Withdrawn => continue,
            };
            let is_left = ending.is_charge() || opening.is_some();
            if !is_left {
                continue;
            }
            if let Some(opening) = opening {
                self.append(WriterSlot::OWN, opening);
            }
            self.write_verdict(key, ending);
        }
    }

    /// Claims, ledger, the client's answer: in this order, in one turn.
    pub(super) fn settle(&mut self, key: Key, ending: Ending, now: Now) {
        self.leave_queues(key);
        self.wheel.cancel(flow_token(key));
        let flow = held(self.flows.get(key));
        flow.check_end();
        self.inherited.remove(key, flow);
        let (payment, promise) = (flow.payment, flow.promise);
        // Where the claim was never made another instance may have charged the id before.
        let is_claimed = !self.settings.is_shared() || flow.trail == Trail::Written;
        let (answer, status) = self.remember(&payment, promise, ending, now);
        // The records say that it was promised before it ended, so its first answer is that.
        let answer = match promise {
            Promise::Open if answer == Answer::Unavailable && !is_claimed => Answer::NotTried,
            Promise::Open | Promise::Inherited => answer,
            Promise::Given => Answer::Accepted,
        };
        let processor = match ending {
            Ending::Applied {
                processor,
                requested_at,
            } => {
                self.ledger.add(processor, requested_at, payment.amount);
                Some(processor)
            }
            Ending::Foreign { .. }
            | Ending::RefusedForGood { .. }
            | Ending::RefusedByAll
            | Ending::Withdrawn => None,
        };
        let Payment { id, amount, .. } = payment;
        self.note(Note::Settled {
            id,
            status,
            processor,
            amount,
        });
        self.note_end(key, (status, processor), answer);
        self.tell(key, answer);
        self.flows.remove(key);
    }

    /// Settles the claim, or frees the id. Returns what the client is told.
    fn remember(
        &mut self,
        payment: &Payment,
        promise: Promise,
        ending: Ending,
        now: Now,
    ) -> (Answer, Status) {
        let settled = |status, amount, processor, requested_at| SettledClaim {
            status,
            amount,
            processor: Some(processor),
            requested_at,
            first_answer: match promise {
                Promise::Open | Promise::Inherited => FirstAnswer::Answered200,
                Promise::Given => FirstAnswer::Accepted202,
            },
            counted: false,
        };
        let (claim, answer) = match (ending, promise) {
            (
                Ending::Applied {
                    processor,
                    requested_at,
                },
                _,
            ) => {
                let claim = SettledClaim {
                    counted: true,
                    ..settled(
                        Status::Processed,
                        payment.amount,
                        processor,
                        Some(requested_at),
                    )
                };
                (Some(claim), Answer::Charged)
            }
            (
                Ending::Foreign {
                    processor,
                    requested_at,
                    amount,
                },
                _,
            ) => {
                let claim = settled(Status::Processed, amount, processor, Some(requested_at));
                (Some(claim), Answer::Duplicate(Status::Processed))
            }
            (Ending::RefusedForGood { processor }, Promise::Inherited | Promise::Given) => (
                Some(settled(Status::Refused, payment.amount, processor, None)),
                Answer::RefusedForGood,
            ),
            (Ending::RefusedForGood { .. }, Promise::Open) => (None, Answer::RefusedForGood),
            (Ending::RefusedByAll, _) => (None, Answer::RefusedByAll),
            (Ending::Withdrawn, _) => (None, Answer::Unavailable),
        };
        match claim {
            Some(claim) => self.claims.settle(payment.id, claim, now.mono),
            None => self.claims.release(payment.id),
        }
        (answer, claim.map_or(Status::Refused, |claim| claim.status))
    }
}
