//! In which stage a payment is, and what follows from that alone: its queue, its timer, who is told
//! of it. This file alone changes a stage, by the table in `flow`.
use super::attempts::flow_token;
use super::{JournalStanding, Owner, held};
use crate::clock::{Mono, Now};
use crate::events::Answer;
use crate::flow::{Flow, HedgeState, Promise, Stage, Step};
use crate::journal::Record;
use crate::table::Key;
use crate::timeline::Fact;

impl Owner {
    /// Moves the payment to `stage` by `step`, into the queue that goes with it, arms its timer.
    pub(super) fn enter(&mut self, key: Key, step: Step, stage: Stage, now: Now) {
        self.leave_queues(key);
        let flow = held(self.flows.get_mut(key));
        flow.enter(step, stage);
        if let Stage::Waiting { at, not_before } = stage
            && not_before <= now.mono
        {
            self.waiting.get_mut(at).insert((flow.arrived, key));
        }
        self.arm(key, now);
    }

    pub(super) fn leave_queues(&mut self, key: Key) {
        let flow = held(self.flows.get(key));
        let place = (flow.arrived, key);
        match flow.stage() {
            Stage::Waiting { at, .. } => {
                self.waiting.get_mut(at).remove(&place);
            }
            Stage::Unknown { .. } => {
                for processor in self.settings.processors.all() {
                    self.pinned.get_mut(processor).remove(&place);
                }
            }
            Stage::Claimed
            | Stage::Accepting
            | Stage::Connecting { .. }
            | Stage::WritingIntent { .. }
            | Stage::Sending { .. }
            | Stage::WritingVerdict { .. }
            | Stage::Elsewhere => {}
        }
    }

    pub(super) fn tell(&mut self, key: Key, answer: Answer) {
        let flow = held(self.flows.get_mut(key));
        if let Some(waiter) = flow.waiter.take() {
            self.clients_waiting = self.clients_waiting.saturating_sub(1);
            self.answer(waiter, answer);
        }
    }

    /// Its client is told that it is held, as an instance that takes it over from the store knows.
    pub(super) fn tell_held(&mut self, key: Key) {
        held(self.flows.get_mut(key)).promise = Promise::Given;
        self.tell_accepted(key);
    }

    /// Tells the client that waits, if one does, that the payment is held.
    pub(super) fn tell_accepted(&mut self, key: Key) {
        if held(self.flows.get(key)).waiter.is_some() {
            self.note_answer(key, Answer::Accepted);
            self.tell(key, Answer::Accepted);
        }
    }

    /// From here on the payment is never freed, and its client is told 202 once that is durable.
    pub(super) fn promise(&mut self, key: Key) {
        let flow = held(self.flows.get_mut(key));
        // Behind a Verdict an Accept would begin the payment anew: replay takes it for an id that
        // was forgotten and came again.
        assert!(
            !matches!(flow.stage(), Stage::WritingVerdict { .. }),
            "I5: nothing is promised behind a verdict"
        );
        flow.promise = Promise::Given;
        // An instance that takes an open Intent over never frees it, so it is promised
        // already, and the store may be away for long.
        let is_held = flow.pinned().is_some() && self.settings.is_shared();
        let record = Record::Accept {
            payment: flow.payment,
            accepted_at: flow.accepted_at,
        };
        self.fact(key, Fact::Promised);
        match self.journal.standing {
            JournalStanding::Off => self.tell_accepted(key),
            JournalStanding::On if is_held => {
                self.tell_accepted(key);
                self.append_and_wait(key, record);
            }
            JournalStanding::On => self.append_and_wait(key, record),
            // Those who waited were told nothing.
            JournalStanding::Failed => {}
        }
    }

    /// Arms the payment's timer for the earliest thing that its stage waits for.
    pub(super) fn arm(&mut self, key: Key, now: Now) {
        let flow = held(self.flows.get(key));
        let patience = match flow.stage() {
            // The client waits for the disk, whatever the time: a 202 behind a Verdict would be
            // forgotten by a restart.
            Stage::Claimed | Stage::Accepting | Stage::WritingVerdict { .. } => None,
            Stage::Waiting { .. }
            | Stage::Connecting { .. }
            | Stage::WritingIntent { .. }
            | Stage::Sending { .. }
            | Stage::Unknown { .. }
            | Stage::Elsewhere => self.patience(flow),
        };
        // No one waits for a store that is away.
        let patience = match self.settings.is_shared() {
            true => self.patience(flow),
            false => patience,
        };
        let reroute = flow.arrived.after(self.hedge_delay());
        let reroute = (reroute > now.mono).then_some(reroute);
        let own = match flow.stage() {
            Stage::Waiting { not_before, .. } if not_before > now.mono => Some(not_before),
            Stage::Waiting { .. } => reroute,
            Stage::Connecting { .. } => flow.reroute_at,
            Stage::Sending {
                hedge: HedgeState::Armed { at },
                ..
            } => Some(now.mono.after(at.since(now.run))),
            Stage::Unknown { resend_at } => (resend_at > now.mono).then_some(resend_at),
            Stage::Claimed
            | Stage::Accepting
            | Stage::WritingIntent { .. }
            | Stage::Sending { .. }
            | Stage::WritingVerdict { .. }
            | Stage::Elsewhere => None,
        };
        match [patience, own].into_iter().flatten().min() {
            Some(at) => self.set_timer(flow_token(key), at),
            None => self.wheel.cancel(flow_token(key)),
        }
    }

    /// When its client's patience ends; none where no one waits, or only for its promise.
    pub(super) fn patience(&self, flow: &Flow) -> Option<Mono> {
        let is_open = flow.promise == Promise::Open || self.settings.is_shared();
        flow.waiter.filter(|_| is_open).map(|_| flow.deadline)
    }

    /// Attempts of `key` that have a connection but sent nothing give it back.
    pub(super) fn drop_unsent(&mut self, key: Key, now: Now) {
        let flow = held(self.flows.get(key));
        let stage = flow.stage();
        let unsent = match stage {
            Stage::Connecting { attempt } | Stage::WritingIntent { attempt } => Some(attempt),
            Stage::Sending { .. }
            | Stage::Claimed
            | Stage::Accepting
            | Stage::Waiting { .. }
            | Stage::Unknown { .. }
            | Stage::WritingVerdict { .. }
            | Stage::Elsewhere => stage.hedge(),
        };
        if let Some(attempt) = unsent.filter(|attempt| self.is_unsent(*attempt)) {
            self.abandon(attempt, now);
        }
    }
}
