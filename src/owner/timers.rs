//! What an owner does when a time has come: a client's patience ends, routing is asked again, a
//! hedge is due, a re-send or a retry is due, an attempt was never answered.
//!
//! One timer for each payment and one for each attempt. A payment's timer is armed for the earliest
//! thing that its stage waits for, and may come early; what is due is decided by the clock.
use super::attempts::{After, Phase, Purpose};
use super::{JournalStanding, Owner, held};
use crate::breaker::State;
use crate::clock::{Mono, Now};
use crate::events::{Action, AttemptRef, Hedge, Lookup, Note};
use crate::flow::{HedgeState, Stage, Step};
use crate::table::Key;
use std::time::Duration;

/// While payments wait for a breaker or a slot of another core's probe, routing is asked again
/// this often: five times faster than a client's shortest sensible patience.
const PUMP_INTERVAL: Duration = Duration::from_millis(5);
/// Settled claims that expire are removed this many a tick, so that a tick stays short.
const EXPIRED_PER_TICK_MAX: usize = 64;
/// Seconds of the ledger that are aged in one tick.
const AGED_PER_TICK_MAX: usize = 64;

impl Owner {
    /// Acts on every time that has come. Returns when to call again, if anything waits.
    pub fn tick(&mut self, now: Now) -> Option<Mono> {
        self.moment = now;
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
        self.claims.expire(now.mono, EXPIRED_PER_TICK_MAX);
        self.ledger.age(now, AGED_PER_TICK_MAX);
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
        let pump = is_queueing.then(|| now.mono.after(PUMP_INTERVAL));
        [self.next_timer(), pump].into_iter().flatten().min()
    }

    fn on_flow_due(&mut self, key: Key, now: Now) {
        if self.journal.standing == JournalStanding::Failed {
            return;
        }
        let flow = held(self.flows.get(key));
        if self.patience(flow).is_some_and(|end| end <= now.mono) {
            self.on_deadline(key, now);
        }
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        match flow.stage() {
            Stage::Waiting { at, not_before } if not_before <= now.mono => {
                let place = (flow.arrived, key);
                self.waiting.get_mut(at).insert(place);
                if flow.arrived.after(self.hedge_delay()) <= now.mono {
                    self.reroute(key, now);
                }
            }
            Stage::Connecting { .. } if flow.reroute_at.is_some_and(|at| at <= now.mono) => {
                self.reroute(key, now);
            }
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
            | Stage::Claimed
            | Stage::Accepting
            | Stage::WritingIntent { .. }
            | Stage::WritingVerdict { .. }
            | Stage::Elsewhere => {}
        }
        self.arm(key, now);
    }

    /// REQUEST_TIMEOUT_MS is over: what is out is promised, what is not is withdrawn.
    fn on_deadline(&mut self, key: Key, now: Now) {
        if self.settings.is_shared() {
            self.on_deadline_shared(key, now);
            return;
        }
        let flow = held(self.flows.get(key));
        let is_pinned = flow.pinned().is_some();
        match flow.stage() {
            Stage::Connecting { .. } | Stage::WritingIntent { .. } if is_pinned => {
                self.promise(key);
            }
            Stage::WritingIntent { .. } | Stage::Connecting { .. } | Stage::Waiting { .. } => {
                self.give_up(key, now)
            }
            Stage::Sending { .. } | Stage::Unknown { .. } => self.promise(key),
            // What the client is to be told is being written.
            Stage::Claimed | Stage::Accepting | Stage::WritingVerdict { .. } => {}
            // Nothing is elsewhere where there is one instance.
            Stage::Elsewhere => {}
        }
    }

    /// The first attempt is slow: a second one with the same id to the same processor (I2).
    /// No one hedges for a client that has its answer.
    fn hedge(&mut self, key: Key, first: AttemptRef, now: Now) {
        let over = Stage::Sending {
            attempt: first,
            hedge: HedgeState::Over,
        };
        let processor = held(self.processor_of(first));
        let is_waited_for = self
            .flows
            .get(key)
            .is_some_and(|flow| flow.waiter.is_some());
        if !is_waited_for {
            self.enter(key, Step::Hedged, over, now);
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
                    Step::Hedged,
                    Stage::Sending {
                        attempt: first,
                        hedge,
                    },
                    now,
                );
            }
            None => {
                self.note(Note::Hedge(processor, Hedge::Denied));
                self.enter(key, Step::Hedged, over, now);
            }
        }
    }

    /// Time is up for `attempt` on the run axis, or its timer came early.
    pub(super) fn on_attempt_due(&mut self, attempt: AttemptRef, now: Now) {
        let Some(entry) = self.attempts.get(attempt.0) else {
            return;
        };
        let (key, processor, purpose) = (entry.flow, entry.processor, entry.purpose);
        let address = entry.address;
        match entry.phase {
            Phase::Connecting | Phase::Deserted | Phase::Connected => {}
            Phase::Sent { until } | Phase::Asking { until, .. } | Phase::Late { until }
                if now.run < until =>
            {
                self.arm_attempt(attempt, until, now);
            }
            Phase::Sent { .. } => {
                self.go_late(attempt, now);
                self.after_attempt(key, attempt, After::Silent(processor), now);
            }
            Phase::Asking { .. } if purpose == Purpose::Proof => {
                self.attempts.remove(attempt.0);
                self.processors
                    .lookups
                    .get(processor)
                    .learn(address, Lookup::NoAnswer, true);
                self.actions.push_back(Action::Close { attempt });
            }
            Phase::Asking { .. } if matches!(purpose, Purpose::Identity { .. }) => {
                self.on_identity(attempt, Lookup::NoAnswer, now);
                self.actions.push_back(Action::Close { attempt });
            }
            Phase::Asking { inquiry, .. } => {
                self.actions.push_back(Action::Close { attempt });
                self.on_evidence(attempt, inquiry, Lookup::NoAnswer, now);
            }
            Phase::Late { .. } => {
                self.attempts.remove(attempt.0);
                self.late.retain(|late| *late != attempt);
                self.actions.push_back(Action::Close { attempt });
            }
        }
    }
}
