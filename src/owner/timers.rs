//! What an owner does when a time has come: a client's patience ends, routing is asked again, a
//! hedge is due, a re-send or a retry is due, an attempt was never answered.
//!
//! One timer for each payment and one for each attempt. A payment's timer is armed for the earliest
//! thing that its stage waits for, and may come early; what is due is decided by the clock.

use super::attempts::Purpose;
use super::progress::flow_token;
use super::{JournalStanding, Owner};
use crate::breaker::State;
use crate::clock::{Mono, Now};
use crate::events::{AttemptRef, Hedge, Note};
use crate::flow::{Flow, HedgeState, Promise, Stage};
use crate::limits;
use crate::table::Key;

impl Owner {
    /// Acts on every time that has come. Returns when to call again, if anything waits.
    pub fn tick(&mut self, now: Now) -> Option<Mono> {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.expire(now.mono, &mut due);
        for token in due.drain(..) {
            let slot = token / 2;
            if token % 2 == 0 {
                if let Some(key) = self.flows.key_at(slot) {
                    self.on_flow_due(key, now);
                }
            } else if let Some(key) = self.attempts.key_at(slot) {
                self.on_attempt_due(AttemptRef(key), now);
            }
        }
        self.due = due;
        self.flush(now);
        self.note_confirmed(now);
        self.pump(now);
        self.claims.expire(now.mono, limits::EXPIRED_PER_TICK_MAX);
        self.ledger.age(now, limits::AGED_PER_TICK_MAX);
        self.next_tick(now)
    }

    fn next_tick(&self, now: Now) -> Option<Mono> {
        let is_queueing = self
            .waiting
            .0
            .iter()
            .chain(&self.pinned.0)
            .any(|queue| !queue.is_empty());
        // Breakers open and close without a word to this core.
        let pump = is_queueing.then(|| now.mono.after(limits::PUMP_INTERVAL));
        [self.next_timer(), pump].into_iter().flatten().min()
    }

    /// Arms the payment's timer for the earliest thing that its stage waits for.
    pub(super) fn arm(&mut self, key: Key, now: Now) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let patience = match flow.stage {
            // The client waits for the disk, whatever the time: a 202 behind a Verdict would be
            // forgotten by a restart.
            Stage::Accepting | Stage::WritingVerdict { .. } => None,
            Stage::Waiting { .. }
            | Stage::Connecting { .. }
            | Stage::WritingIntent { .. }
            | Stage::Sending { .. }
            | Stage::Unknown { .. } => self.patience(flow),
        };
        let reroute = flow.arrived.after(self.settings.hedge_delay);
        let reroute = (reroute > now.mono).then_some(reroute);
        let own = match flow.stage {
            Stage::Waiting { not_before, .. } if not_before > now.mono => Some(not_before),
            Stage::Waiting { .. } | Stage::Connecting { .. } => reroute,
            Stage::Sending {
                hedge: HedgeState::Armed { at },
                ..
            } => Some(now.mono.after(at.since(now.run))),
            Stage::Unknown { resend_at } => (resend_at > now.mono).then_some(resend_at),
            Stage::Accepting
            | Stage::WritingIntent { .. }
            | Stage::Sending { .. }
            | Stage::WritingVerdict { .. } => None,
        };
        match [patience, own].into_iter().flatten().min() {
            Some(at) => self.wheel.arm(flow_token(key), at),
            None => self.wheel.cancel(flow_token(key)),
        }
    }

    /// When its client's patience ends; none where no one waits, or only for its promise.
    fn patience(&self, flow: &Flow) -> Option<Mono> {
        let is_open = flow.promise == Promise::Open;
        flow.waiter.filter(|_| is_open).map(|_| flow.deadline)
    }

    fn on_flow_due(&mut self, key: Key, now: Now) {
        if self.journal.standing == JournalStanding::Failed {
            return;
        }
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        if self.patience(flow).is_some_and(|end| end <= now.mono) {
            self.on_deadline(key, now);
        }
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let reroute_due = flow.arrived.after(self.settings.hedge_delay) <= now.mono;
        match flow.stage {
            Stage::Waiting { at, not_before } if not_before <= now.mono => {
                let place = (flow.arrived, key);
                self.waiting.get_mut(at).insert(place);
                if reroute_due {
                    self.reroute(key, now);
                }
            }
            Stage::Connecting { .. } if reroute_due => self.reroute(key, now),
            Stage::Sending {
                attempt,
                hedge: HedgeState::Armed { at },
            } if at <= now.run => {
                self.hedge(key, attempt, now);
            }
            Stage::Unknown { resend_at } if resend_at <= now.mono => self.queue_resend(key, now),
            Stage::Waiting { .. }
            | Stage::Connecting { .. }
            | Stage::Sending { .. }
            | Stage::Unknown { .. }
            | Stage::Accepting
            | Stage::WritingIntent { .. }
            | Stage::WritingVerdict { .. } => {}
        }
        self.arm(key, now);
    }

    /// REQUEST_TIMEOUT_MS is over: what is out is promised, what is not is withdrawn.
    fn on_deadline(&mut self, key: Key, now: Now) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let is_pinned = flow.pinned().is_some();
        match flow.stage {
            Stage::Connecting { .. } | Stage::WritingIntent { .. } if is_pinned => {
                self.promise(key);
            }
            Stage::WritingIntent { .. } | Stage::Connecting { .. } | Stage::Waiting { .. } => {
                self.give_up(key, now)
            }
            Stage::Sending { .. } | Stage::Unknown { .. } => self.promise(key),
            // What the client is to be told is being written.
            Stage::Accepting | Stage::WritingVerdict { .. } => {}
        }
    }

    /// The first attempt is slow: a second one with the same id to the same processor (I2).
    /// No one hedges for a client that has its answer.
    fn hedge(&mut self, key: Key, first: AttemptRef, now: Now) {
        let over = Stage::Sending {
            attempt: first,
            hedge: HedgeState::Over,
        };
        let Some(processor) = self.processor_of(first) else {
            return;
        };
        let is_waited_for = self
            .flows
            .get(key)
            .is_some_and(|flow| flow.waiter.is_some());
        if !is_waited_for {
            self.enter(key, over, now);
            return;
        }
        let is_closed = self.processors.breaker(processor).state(now.mono) == State::Closed;
        let attempt = (is_closed && self.lanes.get_mut(processor).budget().try_take(now.mono))
            .then(|| self.start(key, processor, Purpose::Hedge, now))
            .flatten();
        match attempt {
            Some(attempt) => {
                let hedge = HedgeState::Out { attempt };
                self.enter(
                    key,
                    Stage::Sending {
                        attempt: first,
                        hedge,
                    },
                    now,
                );
            }
            None => {
                self.note(Note::Hedge(processor, Hedge::Denied));
                self.enter(key, over, now);
            }
        }
    }
}
