//! Where a payment goes of which no byte is out: planned, started, queued, or given up. `route`
//! wishes, lanes and breakers lend.
//!
//! Keeps I2: a pinned payment is never planned.
use std::net::SocketAddr;
use std::time::Duration;

use super::attempts::{Attempt, Inquiry, Lease, Phase, Purpose};
use super::{JournalStanding, Journalling, Owner, Way, held};
use crate::breaker::State;
use crate::clock::{Mono, Now};
use crate::config::Ack;
use crate::events::{Action, AttemptRef, Move, Note, Shed};
use crate::flow::{Ending, Promise, Stage, Step};
use crate::judge::Question;
use crate::limits;
use crate::payment::Processor;
use crate::route::{self, Plan, Rules, Situation};
use crate::table::Key;
use crate::timeline::Fact;

/// Longest pause before a promised payment that was refused is tried again.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Payments in doubt that one core asks about at once at a processor that moved. One proof is
/// enough for all, so more would only be load.
const IDENTITY_ASKS_MAX: u32 = 8;
/// First pause before a payment whose processor moved is asked about again; it doubles up to
/// [`RESEND_PAUSE_MAX`].
const IDENTITY_PAUSE_FIRST: Duration = Duration::from_secs(1);

impl Owner {
    // ---- planning ----

    /// Sends a payment of which no byte is out on its way, or queues or ends it.
    pub(super) fn plan(&mut self, key: Key, now: Now) {
        let plan = self.plan_for(key, now);
        if !self.try_choices(key, &plan, now) {
            self.wait(key, plan, now);
        }
    }

    /// Starts it at the first processor of its plan that can take it now.
    fn try_choices(&mut self, key: Key, plan: &Plan, now: Now) -> bool {
        // Those who wait longer go first.
        let is_next = |owner: &Self, processor| owner.waiting.get(processor).is_empty();
        plan.choices()
            .any(|processor| is_next(self, processor) && self.try_start(key, processor, plan, now))
    }

    fn plan_for(&mut self, key: Key, now: Now) -> Plan {
        let flow = held(self.flows.get(key));
        assert!(
            flow.pinned().is_none(),
            "I2: a pinned payment is never planned"
        );
        let (id, count) = (flow.payment.id, self.settings.processors);
        let lanes = &mut self.lanes;
        let preferred = route::prefer(self.settings.routing, id, count, |one| {
            lanes.get_mut(one).median(now.mono)
        });
        // One that is paused is as good as down.
        let state = |processor| match self.processors.is_paused(processor) {
            true => State::Open,
            false => self.processors.breaker(processor).state(now.mono),
        };
        let situation = Situation {
            preferred,
            breaker: state(preferred),
            up: count
                .all()
                .filter(|one| state(*one) != State::Open)
                .collect(),
            untried: count.set().minus(flow.barred()),
            waited: flow.waited(now.mono),
        };
        let rules = Rules {
            patience: self.hedge_delay(),
            ..self.settings.rules()
        };
        route::plan(&rules, &situation)
    }

    fn try_start(&mut self, key: Key, processor: Processor, plan: &Plan, now: Now) -> bool {
        let Some(attempt) = self.start(key, processor, Purpose::First, now) else {
            return false;
        };
        self.note_choice(key, processor, plan, now);
        let reroute_at = now.mono.after(self.hedge_delay());
        held(self.flows.get_mut(key)).reroute_at = Some(reroute_at);
        self.enter(key, Step::Started, Stage::Connecting { attempt }, now);
        true
    }

    /// No processor takes it now: it queues, or ends if no one counts on it and none is left.
    fn wait(&mut self, key: Key, plan: Plan, now: Now) {
        let flow = held(self.flows.get_mut(key));
        if let Some(at) = plan.wait_at {
            self.fact(key, Fact::Waits { at });
            self.enter(
                key,
                Step::Queued,
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
            Promise::Inherited | Promise::Given => {
                let pause = if flow.was_tried() {
                    let (first, longest) = (limits::RETRY_PAUSE_FIRST, RETRY_PAUSE_MAX);
                    let pause = flow.pause(flow.retries, first, longest);
                    flow.retries = flow.retries.saturating_add(1);
                    pause
                } else {
                    // All rest: their breakers say when to ask again.
                    Duration::ZERO
                };
                flow.begin_round();
                let at = plan.choices().next().unwrap_or(Processor::DEFAULT);
                let not_before = now.mono.after(pause);
                self.fact(key, Fact::Waits { at });
                self.enter(key, Step::Queued, Stage::Waiting { at, not_before }, now);
            }
        }
    }

    /// Ends a payment that no one counts on: its id is free again.
    pub(super) fn give_up(&mut self, key: Key, now: Now) {
        let flow = held(self.flows.get(key));
        let ending = if flow.was_refused() {
            Ending::RefusedByAll
        } else {
            Ending::Withdrawn
        };
        if ending == Ending::Withdrawn {
            self.note(Note::Shed(Shed::Unavailable));
        }
        self.finish(key, ending, now);
    }

    /// Gives free slots and permits to those that wait: pinned payments first, then oldest first.
    pub(super) fn pump(&mut self, now: Now) {
        if self.journal.standing == JournalStanding::Failed {
            return;
        }
        for processor in self.settings.processors.all() {
            while let Some((_, key)) = self.pinned.get(processor).first().copied() {
                match self.way(key, processor) {
                    Way::To(_) => {}
                    way @ (Way::Ask(_) | Way::Wait) => {
                        self.hold_back(key, processor, way, now);
                        continue;
                    }
                }
                let Some(attempt) = self.start(key, processor, Purpose::Resend, now) else {
                    break;
                };
                self.enter(key, Step::Resent, Stage::Connecting { attempt }, now);
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
        let plan = self.plan_for(key, now);
        for processor in plan.choices() {
            if self.try_start(key, processor, &plan, now) {
                return true;
            }
        }
        let flow = held(self.flows.get(key));
        let is_here = |at| matches!(flow.stage(), Stage::Waiting { at: here, .. } if here == at);
        match (plan.wait_at, flow.promise) {
            (None, Promise::Open) => {
                self.give_up(key, now);
                true
            }
            (Some(at), _) if !is_here(at) => {
                self.enter(
                    key,
                    Step::Queued,
                    Stage::Waiting {
                        at,
                        not_before: now.mono,
                    },
                    now,
                );
                true
            }
            (None, Promise::Inherited | Promise::Given) | (Some(_), _) => false,
        }
    }

    /// Routing is asked again for a payment that was slow to get anything: nothing was sent yet, so
    /// the other processor may have it. It leaves one connect for another once, or two that are
    /// slow would have it in turns.
    pub(super) fn reroute(&mut self, key: Key, now: Now) {
        let again = now.mono.after(self.hedge_delay());
        let flow = held(self.flows.get_mut(key));
        flow.reroute_at = Some(again);
        let (slow, busy) = match flow.stage() {
            Stage::Connecting { attempt } if flow.pinned().is_none() => {
                (Some(attempt), self.processor_of(attempt))
            }
            Stage::Waiting { at, .. } => (None, Some(at)),
            Stage::Connecting { .. }
            | Stage::Claimed
            | Stage::Accepting
            | Stage::WritingIntent { .. }
            | Stage::Sending { .. }
            | Stage::Unknown { .. }
            | Stage::WritingVerdict { .. }
            | Stage::Elsewhere => return,
        };
        let plan = self.plan_for(key, now);
        for processor in plan.choices() {
            if busy == Some(processor) {
                continue;
            }
            if self.try_start(key, processor, &plan, now) {
                if let Some(attempt) = slow {
                    held(self.flows.get_mut(key)).reroute_at = None;
                    self.arm(key, now);
                    self.abandon(attempt, now);
                }
                return;
            }
        }
    }

    /// Takes a claimed payment in: it is accepted first, where ACK says so, and goes on.
    pub(super) fn admit(&mut self, key: Key, now: Now) {
        match (self.settings.ack, self.settings.journal) {
            (Ack::Processed, _) => self.plan(key, now),
            (Ack::Accepted, Journalling::Off) => {
                self.promise(key);
                self.plan(key, now);
            }
            (Ack::Accepted, Journalling::On | Journalling::Store) => {
                // With slot and connection at hand the Intent carries the promise: one record.
                let plan = self.plan_for(key, now);
                if !self.try_choices(key, &plan, now) {
                    self.enter(key, Step::Promised, Stage::Accepting, now);
                    self.promise(key);
                }
            }
        }
    }

    /// The payment stays with its processor and is sent there again at `resend_at` (I3).
    pub(super) fn await_resend(&mut self, key: Key, resend_at: Mono, now: Now) {
        self.enter(key, Step::Unproven, Stage::Unknown { resend_at }, now);
        if resend_at <= now.mono {
            self.queue_resend(key, now);
        }
    }

    /// Its pause is over: it waits for a slot among the re-sends.
    pub(super) fn queue_resend(&mut self, key: Key, now: Now) {
        let flow = held(self.flows.get(key));
        let processor = held(flow.pinned());
        self.pinned.get_mut(processor).insert((flow.arrived, key));
        self.pump(now);
    }

    /// `key` may not be sent again now: it leaves the queue, and is asked about if it may be.
    pub(super) fn hold_back(&mut self, key: Key, processor: Processor, way: Way, now: Now) {
        let (first, longest) = (IDENTITY_PAUSE_FIRST, limits::RESEND_PAUSE_MAX);
        let flow = held(self.flows.get_mut(key));
        let pause = flow.pause(flow.asks, first, longest);
        let is_free = *self.addresses.asking.get(processor) < IDENTITY_ASKS_MAX;
        if let (Way::Ask(address), true) = (way, is_free) {
            flow.asks = flow.asks.saturating_add(1);
            self.ask_identity(key, processor, address, now);
        }
        self.await_resend(key, now.mono.after(pause), now);
    }

    fn ask_identity(&mut self, key: Key, processor: Processor, address: SocketAddr, now: Now) {
        let listing = self.addresses.listings.get(processor);
        let (number, since) = (listing.number, listing.since(address).unwrap_or(0));
        let flow = held(self.flows.get(key));
        let (id, from) = (flow.payment.id, flow.address);
        let told = self.addresses.told.get_mut(processor);
        if std::mem::replace(told, since) != since {
            let to = address;
            self.note(Note::Move(processor, Move::Unproven { from, to }));
        }
        let until = now.run.after(self.settings.attempt_timeout);
        let inquiry = Inquiry {
            question: Question::WhetherCharged,
            status: 0,
            is_proven: false,
            asked_at: now.boot,
            coverage: None,
        };
        let attempt = AttemptRef(self.attempts.insert(Attempt {
            flow: key,
            id,
            processor,
            purpose: Purpose::Identity { since },
            phase: Phase::Asking { inquiry, until },
            lease: Lease::Returned,
            sent_at: now.run,
            address: Some(address),
        }));
        assert!(number >= since, "an address is listed since a resolution");
        self.fact(key, Fact::Asked { processor });
        let asking = self.addresses.asking.get_mut(processor);
        *asking = asking.saturating_add(1);
        self.actions.push_back(Action::Lookup {
            attempt,
            processor,
            id,
            at: Some(address),
        });
        self.arm_attempt(attempt, until, now);
    }
}
