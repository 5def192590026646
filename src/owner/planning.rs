//! Where a payment goes of which no byte is out: planned, started, queued, or given up. `route`
//! wishes, lanes and breakers lend.
//!
//! Keeps I2: a pinned payment is never planned.

use std::time::Duration;

use super::attempts::Purpose;
use super::{JournalStanding, Journalling, Owner, Way};
use crate::breaker::State;
use crate::clock::Now;
use crate::config::Ack;
use crate::events::{Note, Shed};
use crate::flow::{Ending, Promise, Stage};
use crate::limits;
use crate::payment::Processor;
use crate::route::{self, Plan, Situation};
use crate::table::Key;

impl Owner {
    // ---- planning ----

    /// Sends a payment of which no byte is out on its way, or queues or ends it.
    pub(super) fn plan(&mut self, key: Key, now: Now) {
        let Some(plan) = self.plan_for(key, now) else {
            return;
        };
        if !self.try_choices(key, &plan, now) {
            self.wait(key, plan, now);
        }
    }

    /// Starts it at the first processor of its plan that can take it now.
    fn try_choices(&mut self, key: Key, plan: &Plan, now: Now) -> bool {
        // Those who wait longer go first.
        let is_next = |owner: &Self, processor| owner.waiting.get(processor).is_empty();
        plan.choices()
            .any(|processor| is_next(self, processor) && self.try_start(key, processor, now))
    }

    fn plan_for(&mut self, key: Key, now: Now) -> Option<Plan> {
        let flow = self.flows.get(key)?;
        assert!(
            flow.pinned().is_none(),
            "I2: a pinned payment is never planned"
        );
        let (id, count) = (flow.payment.id, self.settings.processors);
        let lanes = &mut self.lanes;
        let preferred = route::prefer(self.settings.routing, id, count, |one| {
            lanes.get_mut(one).median(now.mono)
        });
        let state = |processor| self.processors.breaker(processor).state(now.mono);
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
        Some(route::plan(&self.settings.rules(), &situation))
    }

    fn try_start(&mut self, key: Key, processor: Processor, now: Now) -> bool {
        let Some(attempt) = self.start(key, processor, Purpose::First, now) else {
            return false;
        };
        self.enter(key, Stage::Connecting { attempt }, now);
        true
    }

    /// No processor takes it now: it queues, or ends if no one counts on it and none is left.
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
            Promise::Inherited | Promise::Given => {
                let pause = if flow.was_tried() {
                    let (first, longest) = (limits::RETRY_PAUSE_FIRST, limits::RETRY_PAUSE_MAX);
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
                self.enter(key, Stage::Waiting { at, not_before }, now);
            }
        }
    }

    /// Ends a payment that no one counts on: its id is free again.
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
            self.note(Note::Shed(Shed::Unavailable));
        }
        self.finish(key, ending, now);
    }

    /// Gives free slots and permits to whoever waits: pinned payments first, then oldest first.
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
        for processor in plan.choices() {
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
            (None, Promise::Inherited | Promise::Given) | (Some(_), _) => false,
        }
    }

    /// Routing is asked again for a payment that was slow to get anything: nothing was sent yet, so
    /// the other processor may have it.
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
            | Stage::Accepting
            | Stage::WritingIntent { .. }
            | Stage::Sending { .. }
            | Stage::Unknown { .. }
            | Stage::WritingVerdict { .. } => return,
        };
        let Some(plan) = self.plan_for(key, now) else {
            return;
        };
        for processor in plan.choices() {
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

    /// Takes a claimed payment in: it is accepted first, where ACK says so, and goes on.
    pub(super) fn admit(&mut self, key: Key, now: Now) {
        match (self.settings.ack, self.settings.journal) {
            (Ack::Processed, _) => self.plan(key, now),
            (Ack::Accepted, Journalling::Off) => {
                self.promise(key);
                self.plan(key, now);
            }
            (Ack::Accepted, Journalling::On) => {
                // With slot and connection at hand the Intent carries the promise: one record.
                let plan = self.plan_for(key, now);
                if !plan.is_some_and(|plan| self.try_choices(key, &plan, now)) {
                    self.enter(key, Stage::Accepting, now);
                    self.promise(key);
                }
            }
        }
    }
}
