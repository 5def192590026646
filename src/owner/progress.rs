//! How a payment moves on: planned, intended, sent, and after every attempt either settled, planned
//! anew, or kept for the processor that never answered. This file alone changes a payment's stage.
//!
//! Keeps I2 (a pinned payment is never planned), I3 (Unknown is re-sent to the same processor,
//! never freed), I5 (Intent before bytes, Verdict before the answer) and I6.

use std::time::Duration;

use super::attempts::{After, Purpose};
use super::{JournalStanding, Journalling, Owner};
use crate::claims::{FirstAnswer, SettledClaim};
use crate::clock::{Mono, Now};
use crate::config::Ack;
use crate::events::{Action, Answer, AttemptRef, Elsewhere, Hedge, Note, Shed, Standing};
use crate::flow::{Ending, Flow, HedgeState, Promise, Stage, Trail};
use crate::journal::{Fate, Record, Verdict};
use crate::limits;
use crate::payment::{Payment, PerProcessor, Processor, Status};
use crate::route::{self, Plan, Situation};
use crate::table::Key;

impl Owner {
    // ---- planning ----

    /// Sends a payment of which no byte is out on its way, or queues or ends it.
    pub(super) fn plan(&mut self, key: Key, now: Now) {
        let Some(plan) = self.plan_for(key, now) else {
            return;
        };
        // Whoever waits longer goes first.
        let is_next = |owner: &Self, processor| owner.waiting.get(processor).is_empty();
        for processor in [plan.first, plan.second].into_iter().flatten() {
            if is_next(self, processor) && self.try_start(key, processor, now) {
                return;
            }
        }
        self.wait(key, plan, now);
    }

    fn plan_for(&mut self, key: Key, now: Now) -> Option<Plan> {
        let flow = self.flows.get(key)?;
        assert!(
            flow.pinned().is_none(),
            "I2: a pinned payment is never planned"
        );
        let state = |processor| self.processors.breaker(processor).state(now.mono);
        let lanes = &mut self.lanes;
        let preferred = flow.confined.unwrap_or_else(|| {
            route::prefer(self.settings.routing, flow.payment.id, || {
                PerProcessor(Processor::ALL.map(|one| lanes.get_mut(one).median(now.mono)))
            })
        });
        let situation = Situation {
            preferred,
            breakers: PerProcessor([state(Processor::Default), state(Processor::Fallback)]),
            tried: PerProcessor([
                flow.is_barred(Processor::Default),
                flow.is_barred(Processor::Fallback),
            ]),
            waited: flow.waited(now.mono),
        };
        Some(route::plan(&self.settings.rules(), &situation))
    }

    fn try_start(&mut self, key: Key, processor: Processor, now: Now) -> bool {
        let Some(attempt) = self.start(key, processor, Purpose::First, now) else {
            return false;
        };
        self.enter(key, Stage::Connecting { attempt }, now);
        true
    }

    /// No processor takes it now: it queues, or ends if nobody counts on it and none is left.
    fn wait(&mut self, key: Key, plan: Plan, now: Now) {
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        if let Some(at) = plan.wait_at {
            self.enter(
                key,
                Stage::Waiting {
                    at,
                    not_before: now.mono,
                },
                now,
            );
            return;
        }
        match flow.promise {
            Promise::Open => self.give_up(key, now),
            Promise::Given => {
                let pause = if flow.was_tried() {
                    let (first, longest) = (limits::RETRY_PAUSE_FIRST, limits::RETRY_PAUSE_MAX);
                    let pause = flow.pause(flow.retries, first, longest);
                    flow.retries = flow.retries.saturating_add(1);
                    pause
                } else {
                    // Both rest: their breakers say when to ask again.
                    Duration::ZERO
                };
                flow.begin_round();
                let at = plan.first.or(plan.second).unwrap_or(Processor::Default);
                let not_before = now.mono.after(pause);
                self.enter(key, Stage::Waiting { at, not_before }, now);
            }
        }
    }

    /// Ends a payment that nobody counts on: its id is free again.
    pub(super) fn give_up(&mut self, key: Key, now: Now) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let ending = if flow.was_refused() {
            Ending::RefusedByAll
        } else {
            Ending::Withdrawn
        };
        if ending == Ending::Withdrawn {
            let shed = match flow.stage {
                Stage::Investigating => Shed::Suspect,
                Stage::Accepting
                | Stage::Waiting { .. }
                | Stage::Connecting { .. }
                | Stage::WritingIntent { .. }
                | Stage::Sending { .. }
                | Stage::Unknown { .. }
                | Stage::WritingVerdict { .. } => Shed::Unavailable,
            };
            self.note(Note::Shed(shed));
        }
        self.finish(key, ending, now);
    }

    /// Gives free slots and permits to whoever waits: pinned payments first, then oldest first.
    pub(super) fn pump(&mut self, now: Now) {
        if self.journal.standing == JournalStanding::Failed {
            return;
        }
        for processor in Processor::ALL {
            while let Some((_, key)) = self.pinned.get(processor).first().copied() {
                let Some(attempt) = self.start(key, processor, Purpose::Resend, now) else {
                    break;
                };
                self.enter(key, Stage::Connecting { attempt }, now);
            }
            while let Some((_, key)) = self.waiting.get(processor).first().copied() {
                if !self.try_leave_queue(key, now) {
                    break;
                }
            }
        }
    }

    /// Starts the oldest payment of a queue, or ends it if nothing is left to wait for.
    fn try_leave_queue(&mut self, key: Key, now: Now) -> bool {
        let Some(plan) = self.plan_for(key, now) else {
            return false;
        };
        for processor in [plan.first, plan.second].into_iter().flatten() {
            if self.try_start(key, processor, now) {
                return true;
            }
        }
        let Some(flow) = self.flows.get(key) else {
            return false;
        };
        match (plan.wait_at, flow.promise) {
            (None, Promise::Open) => {
                self.give_up(key, now);
                true
            }
            (Some(at), _) if !matches!(flow.stage, Stage::Waiting { at: here, .. } if here == at) =>
            {
                self.enter(
                    key,
                    Stage::Waiting {
                        at,
                        not_before: now.mono,
                    },
                    now,
                );
                true
            }
            (None, Promise::Given) | (Some(_), _) => false,
        }
    }

    /// Routing is asked again for a payment that was slow to get anything (DESIGN: hedging with
    /// nothing sent yet).
    pub(super) fn reroute(&mut self, key: Key, now: Now) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let (slow, busy) = match flow.stage {
            Stage::Connecting { attempt } if flow.pinned().is_none() => {
                (Some(attempt), self.processor_of(attempt))
            }
            Stage::Waiting { at, .. } => (None, Some(at)),
            Stage::Connecting { .. }
            | Stage::Investigating
            | Stage::Accepting
            | Stage::WritingIntent { .. }
            | Stage::Sending { .. }
            | Stage::Unknown { .. }
            | Stage::WritingVerdict { .. } => return,
        };
        let Some(plan) = self.plan_for(key, now) else {
            return;
        };
        for processor in [plan.first, plan.second].into_iter().flatten() {
            if busy == Some(processor) {
                continue;
            }
            if self.try_start(key, processor, now) {
                if let Some(attempt) = slow {
                    self.abandon(attempt, now);
                }
                return;
            }
        }
    }

    // ---- ids that another instance may hold ----

    /// Peers and processors were asked for the suspect id of `key`.
    pub fn investigated(&mut self, key: Key, elsewhere: Elsewhere, now: Now) {
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        if flow.stage != Stage::Investigating {
            return;
        }
        match elsewhere {
            Elsewhere::Charged {
                processor,
                requested_at,
            } => {
                let id = flow.payment.id;
                self.note(Note::Foreign { id, processor });
                self.finish(
                    key,
                    Ending::Foreign {
                        processor,
                        requested_at,
                    },
                    now,
                );
            }
            Elsewhere::Held => self.leave_to_peer(key, now),
            Elsewhere::Unclear => match flow.promise {
                Promise::Open => self.give_up(key, now),
                Promise::Given => self.leave_to_peer(key, now),
            },
            Elsewhere::Unheard => {
                // The peer's own routing began there; that processor knows the id again.
                let id = flow.payment.id;
                let home = route::prefer(self.settings.routing, id, PerProcessor::default);
                flow.confined = Some(home);
                flow.standing = Standing::Own;
                self.plan(key, now);
            }
            Elsewhere::Nowhere => {
                flow.standing = Standing::Own;
                self.plan(key, now);
            }
        }
        self.pump(now);
    }

    /// A peer is going to settle it. What was promised here is asked about again later.
    fn leave_to_peer(&mut self, key: Key, now: Now) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        match flow.promise {
            Promise::Open => {
                self.claims.release(flow.payment.id);
                self.tell(key, Answer::Duplicate(Status::Pending));
                self.wheel.cancel(flow_token(key));
                self.flows.remove(key);
            }
            Promise::Given => {
                self.wheel
                    .arm(flow_token(key), now.mono.after(limits::INVESTIGATION_PAUSE));
            }
        }
    }

    /// Takes a claimed payment in: it is accepted first, where ACK says so, and goes on.
    pub(super) fn admit(&mut self, key: Key, now: Now) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        match (self.settings.ack, self.settings.journal) {
            (Ack::Processed, _) => self.go_on(key, now),
            (Ack::Accepted, Journalling::Off) => {
                self.promise(key);
                self.go_on(key, now);
            }
            (Ack::Accepted, Journalling::On) => {
                let (payment, accepted_at) = (flow.payment, flow.accepted_at);
                self.enter(key, Stage::Accepting, now);
                self.append_and_wait(
                    key,
                    Record::Accept {
                        payment,
                        accepted_at,
                    },
                );
            }
        }
    }

    /// Plans a payment, unless another instance may hold it: then it is asked about first.
    pub(super) fn go_on(&mut self, key: Key, now: Now) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        match flow.standing {
            Standing::Own => self.plan(key, now),
            Standing::Suspect => {
                let id = flow.payment.id;
                self.actions
                    .push_back(Action::Investigate { flow: key, id });
                self.enter(key, Stage::Investigating, now);
            }
        }
    }

    // ---- records before deeds (I5) ----

    /// `attempt` has its connection: the Intent is written, then bytes leave. A pinned payment's
    /// Intent is open already.
    pub(super) fn intend(&mut self, key: Key, attempt: AttemptRef, now: Now) {
        let Some(processor) = self.processor_of(attempt) else {
            return;
        };
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        let is_open = flow.pinned().is_some();
        let requested_at = flow.mint(now.wall);
        if is_open || self.journal.standing == JournalStanding::Off {
            self.send(attempt, now);
            return;
        }
        let accepted_at = (flow.promise == Promise::Given).then_some(flow.accepted_at);
        let payment = flow.payment;
        self.enter(key, Stage::WritingIntent { attempt }, now);
        let record = Record::Intent {
            payment,
            processor,
            requested_at,
            accepted_at,
        };
        self.append_and_wait(key, record);
    }

    /// The record that `key` waited for is durable.
    pub(super) fn on_written(&mut self, key: Key, now: Now) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        match flow.stage {
            Stage::Accepting => {
                self.promise(key);
                self.go_on(key, now);
            }
            Stage::WritingIntent { attempt } => {
                if self.processor_of(attempt).is_some() {
                    self.send(attempt, now);
                }
            }
            Stage::WritingVerdict { ending } => self.settle(key, ending, now),
            // The record was overtaken, for instance by the client's deadline.
            Stage::Investigating
            | Stage::Waiting { .. }
            | Stage::Connecting { .. }
            | Stage::Sending { .. }
            | Stage::Unknown { .. } => {}
        }
    }

    /// Tells the client 202: from here on the payment is never freed.
    pub(super) fn promise(&mut self, key: Key) {
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        // Behind a Verdict an Accept would begin the payment anew: replay takes it for an id that
        // was forgotten and came again. The verdict, or the Intent before it, keeps the payment.
        let is_written = match flow.stage {
            Stage::Accepting | Stage::WritingVerdict { .. } => true,
            Stage::Investigating
            | Stage::Waiting { .. }
            | Stage::Connecting { .. }
            | Stage::WritingIntent { .. }
            | Stage::Sending { .. }
            | Stage::Unknown { .. } => false,
        };
        flow.promise = Promise::Given;
        if !is_written {
            self.write_promise(key);
        }
        self.tell(key, Answer::Accepted);
    }

    /// A promise that rests on an open Intent outlives that Intent's refusal. The line need not be
    /// awaited: while it is not durable the Intent is the last word, and it keeps the payment.
    pub(super) fn write_promise(&mut self, key: Key) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let record = Record::Accept {
            payment: flow.payment,
            accepted_at: flow.accepted_at,
        };
        if self.journal.standing == JournalStanding::On {
            self.append(record);
        }
    }

    fn tell(&mut self, key: Key, answer: Answer) {
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
            After::Foreign(processor, requested_at) => {
                self.note(Note::Foreign {
                    id: flow.payment.id,
                    processor,
                });
                self.finish(
                    key,
                    Ending::Foreign {
                        processor,
                        requested_at,
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
        // A first attempt that found no connection had no Intent yet.
        let had_intent = match flow.stage {
            Stage::Sending { .. } | Stage::Unknown { .. } | Stage::WritingIntent { .. } => true,
            Stage::Connecting { attempt: holder } => holder != attempt,
            Stage::Investigating
            | Stage::Accepting
            | Stage::Waiting { .. }
            | Stage::WritingVerdict { .. } => false,
        };
        let (id, fate) = (flow.payment.id, Fate::Held);
        if had_intent && self.journal.standing == JournalStanding::On {
            // Replay must not find the Intent open. If this line is lost, the payment is sent to
            // the same processor again, which is safe.
            let verdict = if flow.was_refused() {
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
                if self.is_out(survivor) {
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
            | Stage::Connecting { attempt: holder } => {
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
            Stage::Investigating
            | Stage::Accepting
            | Stage::Waiting { .. }
            | Stage::WritingIntent { .. }
            | Stage::WritingVerdict { .. } => return,
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

    // ---- the end ----

    /// The payment's fate is known: write it down, then settle.
    pub(super) fn finish(&mut self, key: Key, ending: Ending, now: Now) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let may_free = flow.promise == Promise::Open;
        assert!(
            may_free || !matches!(ending, Ending::RefusedByAll | Ending::Withdrawn),
            "a promised payment is never freed"
        );
        self.drop_unsent(key, now);
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        // What the journal never heard of may end without a word, unless it was charged.
        if flow.trail == Trail::None && !ending.is_charge() {
            self.settle(key, ending, now);
            return;
        }
        match self.journal.standing {
            JournalStanding::Off => self.settle(key, ending, now),
            // Replay decides: nothing may be told that cannot be written.
            JournalStanding::Failed => self.enter(key, Stage::WritingVerdict { ending }, now),
            JournalStanding::On => {
                self.enter(key, Stage::WritingVerdict { ending }, now);
                self.write_verdict(key, ending);
            }
        }
    }

    fn write_verdict(&mut self, key: Key, ending: Ending) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let Payment { id, amount, .. } = flow.payment;
        let fate = match flow.promise {
            Promise::Open => Fate::Freed,
            Promise::Given => Fate::Ended,
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
            } => Verdict::Foreign {
                processor,
                amount,
                requested_at,
            },
            Ending::RefusedForGood { processor } => Verdict::Refused { processor, fate },
            Ending::RefusedByAll | Ending::Withdrawn => Verdict::Withdrawn,
        };
        self.append_and_wait(key, Record::Verdict { id, verdict });
    }

    /// A Purge was written behind verdicts that are not durable yet. Their payments are still
    /// pending and count when they settle, so replay must meet their end behind the Purge, too.
    pub(super) fn repeat_verdicts(&mut self) {
        let ending = |(key, flow): (Key, &Flow)| match flow.stage {
            Stage::WritingVerdict { ending } => Some((key, ending)),
            Stage::Investigating
            | Stage::Accepting
            | Stage::Waiting { .. }
            | Stage::Connecting { .. }
            | Stage::WritingIntent { .. }
            | Stage::Sending { .. }
            | Stage::Unknown { .. } => None,
        };
        let endings: Vec<_> = self.flows.iter().filter_map(ending).collect();
        for (key, ending) in endings {
            let Some(flow) = self.flows.get(key) else {
                continue;
            };
            let accepted_at = (flow.promise == Promise::Given).then_some(flow.accepted_at);
            let payment = flow.payment;
            let opening = match ending {
                Ending::Applied { processor, .. } | Ending::Foreign { processor, .. } => {
                    let intent = |requested_at| Record::Intent {
                        payment,
                        processor,
                        requested_at,
                        accepted_at,
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
                self.append(opening);
            }
            self.write_verdict(key, ending);
        }
    }

    /// Attempts of `key` that have a connection but sent nothing give it back.
    fn drop_unsent(&mut self, key: Key, now: Now) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let unsent = match flow.stage {
            Stage::Connecting { attempt } | Stage::WritingIntent { attempt } => Some(attempt),
            Stage::Sending {
                hedge: HedgeState::Out { attempt },
                ..
            } => Some(attempt),
            Stage::Sending { .. }
            | Stage::Investigating
            | Stage::Accepting
            | Stage::Waiting { .. }
            | Stage::Unknown { .. }
            | Stage::WritingVerdict { .. } => None,
        };
        if let Some(attempt) = unsent.filter(|attempt| self.is_unsent(*attempt)) {
            self.abandon(attempt, now);
        }
    }

    /// Claims, ledger, the client's answer: in this order, in one turn.
    fn settle(&mut self, key: Key, ending: Ending, now: Now) {
        self.leave_queues(key);
        self.wheel.cancel(flow_token(key));
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let (payment, promise) = (flow.payment, flow.promise);
        let (answer, status) = self.remember(&payment, promise, ending, now);
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
        let settled = |status, processor, requested_at, counted| SettledClaim {
            status,
            amount: payment.amount,
            processor: Some(processor),
            requested_at,
            first_answer: match promise {
                Promise::Open => FirstAnswer::Answered200,
                Promise::Given => FirstAnswer::Accepted202,
            },
            counted,
        };
        let (claim, answer) = match (ending, promise) {
            (
                Ending::Applied {
                    processor,
                    requested_at,
                },
                _,
            ) => {
                let claim = settled(Status::Processed, processor, Some(requested_at), true);
                (Some(claim), Answer::Charged)
            }
            (
                Ending::Foreign {
                    processor,
                    requested_at,
                },
                _,
            ) => {
                let claim = settled(Status::Processed, processor, Some(requested_at), false);
                (Some(claim), Answer::Duplicate(Status::Processed))
            }
            (Ending::RefusedForGood { processor }, Promise::Given) => (
                Some(settled(Status::Refused, processor, None, false)),
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

    fn leave_queues(&mut self, key: Key) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let place = (flow.arrived, key);
        match flow.stage {
            Stage::Waiting { at, .. } => {
                self.waiting.get_mut(at).remove(&place);
            }
            Stage::Unknown { .. } => {
                for processor in Processor::ALL {
                    self.pinned.get_mut(processor).remove(&place);
                }
            }
            Stage::Investigating
            | Stage::Accepting
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
