//! Attempts: each is one send of one payment to one processor, from the slot that it takes to its
//! end, in time or late. What an answer proves stands in `answers`, what an end means for the
//! payment in `progress`.
//!
//! Keeps I3 (an attempt ends as exactly one of the four outcomes; a late answer replaces Unknown
//! for its own attempt only) and I4's half of the bargain: an attempt that gave up its slot keeps
//! its connection until the answer was read or SETTLE_TIMEOUT_MS is over.
use std::net::SocketAddr;
use std::time::Duration;

use super::lane::Slot;
use super::{Owner, Way, held};
use crate::breaker::{Kind, Permit, State, Ticket, Verdict};
use crate::clock::{Boot, Mono, Now, UnixMillis};
use crate::events::{Action, AttemptRef, Note, Reason};
use crate::flow::Coverage;
use crate::judge::Question;
use crate::payment::{Cents, Outcome, Processor, UpstreamId};
use crate::table::Key;

/// One send of one payment, or one lookup that proves the lookup route.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Whose; may name a payment that is settled.
    pub(super) flow: Key,
    pub(super) id: UpstreamId,
    pub(super) processor: Processor,
    pub(super) purpose: Purpose,
    pub(super) phase: Phase,
    pub(super) lease: Lease,
    /// When its first byte was handed over, on the run axis.
    pub(super) sent_at: Mono,
    /// Where its connection went, once it has one; for an [`Purpose::Identity`], whom it asks.
    pub(super) address: Option<SocketAddr>,
}

impl Attempt {
    /// Since which resolution the address that it asks is listed, and that address; none but for a
    /// [`Purpose::Identity`].
    pub(super) fn identity(&self) -> Option<(u64, SocketAddr)> {
        match self.purpose {
            Purpose::Identity { since } => self.address.map(|address| (since, address)),
            Purpose::First | Purpose::Resend | Purpose::Hedge | Purpose::Proof => None,
        }
    }

    /// What an end that `verdict` stands for says about the processor. A re-send that fails says
    /// again what its first attempt has said: a few ids that a processor never answers would else
    /// keep its breaker open for all others.
    fn verdict(&self, verdict: Verdict) -> Verdict {
        match (self.purpose, verdict) {
            (Purpose::Resend, Verdict::Failure) => Verdict::Neither,
            (
                Purpose::First
                | Purpose::Resend
                | Purpose::Hedge
                | Purpose::Proof
                | Purpose::Identity { .. },
                _,
            ) => verdict,
        }
    }
}

/// What an attempt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The first attempt of a plan.
    First,
    /// The same id to the same processor after Unknown.
    Resend,
    /// The same id to the same processor while the first attempt is slow.
    Hedge,
    /// A lookup of an id that was just charged: does this processor have the route?
    Proof,
    /// A lookup of a payment in doubt at an address that its processor's name has since this
    /// resolution: is it the same processor?
    Identity { since: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It gets a connection.
    Connecting,
    /// It gets a connection, but its payment has left or ended: how the connect ends still says
    /// something about the processor, so slot and ticket are kept until then.
    Deserted,
    /// It has one; its Intent is being written.
    Connected,
    /// Bytes are out until this time on the run axis.
    Sent { until: Mono },
    /// Answered; the processor is asked what it stores, until this time on the run axis.
    Asking { inquiry: Inquiry, until: Mono },
    /// Given up as Unknown; its answer is still read until this time.
    Late { until: Mono },
}

impl Phase {
    /// No byte was handed over.
    const fn is_unsent(self) -> bool {
        matches!(self, Self::Connecting | Self::Deserted | Self::Connected)
    }
}

/// What a processor is asked about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inquiry {
    pub(super) question: Question,
    /// What the processor had answered.
    pub(super) status: u16,
    /// Its GET had shown a charged id when it was asked: one that was proven only meanwhile may
    /// not have had the route when it looked.
    pub(super) is_proven: bool,
    /// When it was asked.
    pub(super) asked_at: Boot,
    /// What its 404 may prove absent; nothing while another attempt was unanswered.
    pub(super) coverage: Option<Coverage>,
}

/// What an attempt holds besides its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lease {
    /// A slot of its lane and a ticket of the breaker.
    Held { slot: Slot, ticket: Ticket },
    /// Both were given back; an end changes neither.
    Returned,
}

/// How an attempt ended, for `Owner::end`.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) reason: Reason,
    pub(super) verdict: Verdict,
}

impl Owner {
    /// Starts an attempt for `flow` at `processor` if a slot and a permit can be had.
    pub(super) fn start(
        &mut self,
        flow_key: Key,
        processor: Processor,
        purpose: Purpose,
        now: Now,
    ) -> Option<AttemptRef> {
        if self.processors.is_paused(processor) {
            return None;
        }
        let flow = self.flows.get(flow_key)?;
        let id = flow.payment.id;
        let at = match purpose {
            Purpose::Hedge => flow.address,
            Purpose::Resend => match self.way(flow_key, processor) {
                Way::To(at) => at,
                Way::Ask(_) | Way::Wait => return None,
            },
            Purpose::First | Purpose::Proof | Purpose::Identity { .. } => None,
        };
        let (slot, kind) = match purpose {
            Purpose::Resend => (Slot::Resend, Kind::Pinned),
            Purpose::First | Purpose::Hedge | Purpose::Proof | Purpose::Identity { .. } => {
                (Slot::Fresh, Kind::Fresh)
            }
        };
        let limit = self.processors.limit(processor);
        if !self.lanes.get_mut(processor).take_slot(slot, limit) {
            return None;
        }
        let (permit, transition) = self.processors.breaker(processor).permit(now.mono, kind);
        self.note_transition(processor, transition);
        let ticket = match permit {
            Permit::Granted(ticket) => ticket,
            Permit::Refused { .. } => {
                self.lanes.get_mut(processor).free_slot(slot);
                return None;
            }
        };
        let attempt = AttemptRef(self.attempts.insert(Attempt {
            flow: flow_key,
            id,
            processor,
            purpose,
            phase: Phase::Connecting,
            lease: Lease::Held { slot, ticket },
            sent_at: now.run,
            address: None,
        }));
        // Where one pooled connection was cut the others are likely dead too.
        let fresh = matches!(purpose, Purpose::Hedge | Purpose::Resend);
        self.actions.push_back(Action::Connect {
            attempt,
            processor,
            fresh,
            at,
        });
        Some(attempt)
    }

    // ---- events ----

    // ---- from the connection to the bytes ----

    /// No byte of it was sent and none shall be: slot, permit and connection go back, those of a
    /// connect under way when it has ended.
    pub(super) fn abandon(&mut self, attempt: AttemptRef, now: Now) {
        if let Some(entry) = self.attempts.get_mut(attempt.0)
            && matches!(entry.phase, Phase::Connecting | Phase::Deserted)
        {
            entry.phase = Phase::Deserted;
            return;
        }
        let end = End {
            outcome: Outcome::NotSent,
            reason: Reason::Abandoned,
            verdict: Verdict::Neither,
        };
        let entry = self.end(attempt, end, now);
        assert!(
            entry.phase == Phase::Connected,
            "I3: an attempt that was sent cannot be abandoned"
        );
        self.actions.push_back(Action::Abandon { attempt });
    }

    // ---- ends ----

    /// No answer in time: the slot is free, the breaker hears of it, the answer is still read.
    pub(super) fn go_late(&mut self, attempt: AttemptRef, now: Now) {
        let entry = held(self.attempts.get_mut(attempt.0));
        let until = entry
            .sent_at
            .after(self.settings.settle_timeout)
            .max(now.run);
        entry.phase = Phase::Late { until };
        let (key, id, processor) = (entry.flow, entry.id, entry.processor);
        let took = now.run.since(entry.sent_at);
        let lease = std::mem::replace(&mut entry.lease, Lease::Returned);
        let verdict = entry.verdict(Verdict::Failure);
        self.return_lease(processor, lease, verdict, now);
        self.lanes.get_mut(processor).note_standing(took, now.mono);
        let (outcome, reason) = (Outcome::Unknown, Reason::Timeout);
        self.note_attempt(key, (processor, outcome, reason), took);
        self.note(Note::AttemptEnded {
            id,
            processor,
            outcome,
            reason,
            took,
        });
        self.arm_attempt(attempt, until, now);
        self.late.push_back(attempt);
        while self.late.len() > self.settings.late_max {
            let Some(oldest) = self.late.pop_front() else {
                break;
            };
            if self.attempts.remove(oldest.0).is_some() {
                self.wheel.cancel(attempt_token(oldest));
                self.actions.push_back(Action::Close { attempt: oldest });
                self.note(Note::LateReadDropped);
            }
        }
    }

    /// Takes the attempt out, gives back what it held, and notes how it ended.
    pub(super) fn end(&mut self, attempt: AttemptRef, end: End, now: Now) -> Attempt {
        let entry = held(self.attempts.remove(attempt.0));
        self.wheel.cancel(attempt_token(attempt));
        let processor = entry.processor;
        let was_sent = !entry.phase.is_unsent();
        let took = if was_sent {
            now.run.since(entry.sent_at)
        } else {
            Duration::ZERO
        };
        if let Reason::Status(_) = end.reason {
            self.lanes.get_mut(processor).note_answer(took, now.mono);
        }
        if end.outcome == Outcome::Applied {
            self.processors.limit(processor).on_charge();
        }
        self.note_attempt(entry.flow, (processor, end.outcome, end.reason), took);
        match entry.lease {
            Lease::Held { .. } => {
                let verdict = if was_sent {
                    entry.verdict(end.verdict)
                } else {
                    end.verdict
                };
                self.return_lease(processor, entry.lease, verdict, now);
                if was_sent {
                    let slow = match end.verdict {
                        Verdict::Failure => took.max(self.settings.attempt_timeout),
                        Verdict::Success | Verdict::Neither => took,
                    };
                    self.lanes.get_mut(processor).note_standing(slow, now.mono);
                }
                let End {
                    outcome, reason, ..
                } = end;
                self.note(Note::AttemptEnded {
                    id: entry.id,
                    processor,
                    outcome,
                    reason,
                    took,
                });
            }
            Lease::Returned => {
                self.late.retain(|late| *late != attempt);
                self.note(Note::LateAnswer(processor));
            }
        }
        entry
    }

    fn return_lease(&mut self, processor: Processor, lease: Lease, verdict: Verdict, now: Now) {
        let Lease::Held { slot, ticket } = lease else {
            return;
        };
        self.lanes.get_mut(processor).free_slot(slot);
        let breaker = self.processors.breaker(processor);
        let transition = breaker.record(ticket, verdict, now.mono);
        if transition.is_some_and(|moved| (moved.from, moved.to) == (State::Closed, State::Open)) {
            self.processors.limit(processor).on_trip();
        }
        self.note_transition(processor, transition);
    }

    // ---- questions of the other parts ----

    pub(super) fn processor_of(&self, attempt: AttemptRef) -> Option<Processor> {
        self.attempts.get(attempt.0).map(|entry| entry.processor)
    }

    /// Whether `attempt` exists and no byte of it was handed over.
    pub(super) fn is_unsent(&self, attempt: AttemptRef) -> bool {
        let phase = self.attempts.get(attempt.0).map(|entry| entry.phase);
        phase.is_some_and(Phase::is_unsent)
    }

    /// Whether `attempt` was sent and may still be answered.
    pub(super) fn is_out(&self, attempt: AttemptRef) -> bool {
        self.attempts.get(attempt.0).is_some() && !self.is_unsent(attempt)
    }

    // ---- timers ----

    /// Arms the attempt's timer for a time on the run axis. The run axis only falls behind, so
    /// the timer may come early, never late.
    pub(super) fn arm_attempt(&mut self, attempt: AttemptRef, until: Mono, now: Now) {
        let at = now.mono.after(until.since(now.run));
        self.set_timer(attempt_token(attempt), at);
    }
}

/// What the end of an attempt means for its payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Charged by us with this time.
    Applied(Processor, UnixMillis),
    /// Charged by another client with this time and amount.
    Foreign(Processor, UnixMillis, Cents),
    /// Every attempt there is proven not to have charged: it may go anywhere.
    Free(Processor),
    /// Likewise, and no processor would take it.
    RefusedForGood(Processor),
    /// This attempt proves nothing and no later word can come: send it again soon.
    Cut(Processor),
    /// This attempt proves nothing yet: send it again after a pause.
    Silent(Processor),
}

impl After {
    /// The processor that did not charge it, if that is proven.
    pub(super) const fn refused_by(self) -> Option<Processor> {
        match self {
            Self::Free(processor) | Self::RefusedForGood(processor) => Some(processor),
            Self::Applied(..) | Self::Foreign(..) | Self::Cut(_) | Self::Silent(_) => None,
        }
    }
}

/// Timer tokens: payments are even, attempts are odd.
pub(super) fn attempt_token(attempt: AttemptRef) -> u32 {
    attempt.0.slot.wrapping_mul(2).wrapping_add(1)
}

/// Timer tokens: payments are even, attempts are odd.
pub(super) fn flow_token(key: Key) -> u32 {
    key.slot.wrapping_mul(2)
}
