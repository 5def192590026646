//! What becomes of an attempt by what was seen of it: an answer, a cut, or the processor's own
//! record. `judge` says what a status proves; here it meets the attempt and its payment.
//!
//! Keeps I3: an attempt ends as exactly one of the four outcomes, a late answer replaces Unknown
//! for its own attempt only, and a payment is refused only when all its attempts there were.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::attempts::{After, Attempt, End, Inquiry, Lease, Phase, Purpose, attempt_token};
use super::{Owner, held};
use crate::breaker::Verdict;
use crate::clock::Now;
use crate::events::{Action, AttemptRef, Exchange, Lookup, Note, Reason};
use crate::judge::{self, Circumstances, Evidence, Judgement, Question};
use crate::payment::{Outcome, Processor, UpstreamId};
use crate::table::Key;
use crate::timeline::Fact;

/// A failed connect says the same of its processor, whether its payment still waits or not.
const NO_CONNECTION: End = End {
    outcome: Outcome::NotSent,
    reason: Reason::NoConnection,
    verdict: Verdict::Failure,
};

impl Owner {
    // ---- events ----

    /// `attempt`'s exchange ended so.
    pub fn exchanged(&mut self, attempt: AttemptRef, exchange: Exchange, now: Now) {
        self.moment = now;
        let Some(entry) = self.attempts.get(attempt.0) else {
            return;
        };
        match (exchange, entry.phase) {
            (Exchange::NotSent | Exchange::Cut, Phase::Deserted) => {
                self.end(attempt, NO_CONNECTION, now);
            }
            // It was answered, and a payment is answered once.
            (_, Phase::Asking { .. }) => {}
            // A cut before a byte of ours was handed over is no more than that.
            (Exchange::NotSent | Exchange::Cut, Phase::Connecting | Phase::Connected) => {
                self.on_no_connection(attempt, Count::NeverSent, now);
            }
            (Exchange::NotSent, Phase::Sent { .. } | Phase::Late { .. }) => {
                self.on_no_connection(attempt, Count::CountedAsSent, now);
            }
            (Exchange::Cut, _) => self.on_cut(attempt, now),
            (
                Exchange::Answered {
                    status,
                    retry_after_secs,
                },
                _,
            ) => {
                if status == 429 {
                    self.on_shed(attempt, retry_after_secs.unwrap_or(0), now);
                }
                self.on_status(attempt, status, now);
            }
        }
        self.pump(now);
    }

    /// The processor was asked about `attempt`'s id.
    pub fn looked_up(&mut self, attempt: AttemptRef, lookup: Lookup, now: Now) {
        self.moment = now;
        let Some(entry) = self.attempts.get(attempt.0) else {
            return;
        };
        let (processor, phase, purpose) = (entry.processor, entry.phase, entry.purpose);
        let (key, address) = (entry.flow, entry.address);
        let processors = Arc::clone(&self.processors);
        let route = processors.lookups.get(processor);
        self.note(Note::LookedUp(processor, lookup));
        self.fact(key, Fact::LookedUp { processor, lookup });
        match (purpose, phase) {
            (Purpose::Identity { .. }, _) => self.on_identity(attempt, lookup, now),
            (Purpose::Proof, _) => {
                route.learn(address, lookup, true);
                self.attempts.remove(attempt.0);
                self.wheel.cancel(attempt_token(attempt));
            }
            (_, Phase::Asking { inquiry, .. }) => {
                route.learn(address, lookup, false);
                self.on_evidence(attempt, inquiry, lookup, now);
                self.hear(key, inquiry, lookup, now);
            }
            (_, _) => route.learn(address, lookup, false),
        }
        self.pump(now);
    }

    // ---- ends ----

    fn on_no_connection(&mut self, attempt: AttemptRef, count: Count, now: Now) {
        let entry = self.end(attempt, NO_CONNECTION, now);
        if let Some(flow) = self.flows.get_mut(entry.flow) {
            match count {
                Count::NeverSent => flow.on_not_sent(entry.processor),
                Count::CountedAsSent => flow.on_unsent(entry.processor),
            }
        }
        self.after_attempt(entry.flow, attempt, After::Free(entry.processor), now);
    }

    fn on_cut(&mut self, attempt: AttemptRef, now: Now) {
        let end = End {
            outcome: Outcome::Unknown,
            reason: Reason::Cut,
            verdict: Verdict::Failure,
        };
        let entry = self.end(attempt, end, now);
        self.after_attempt(entry.flow, attempt, After::Cut(entry.processor), now);
    }

    fn on_status(&mut self, attempt: AttemptRef, status: u16, now: Now) {
        let reason = Reason::Status(status);
        let (judgement, verdict) = self.judge(status);
        let end = |outcome| End {
            outcome,
            reason,
            verdict,
        };
        match self.with_the_others(attempt, judgement) {
            Judgement::Applied => {
                let entry = self.end(attempt, end(Outcome::Applied), now);
                self.prove_lookup((entry.processor, entry.address), entry.id, now);
                let requested_at = self
                    .flows
                    .get(entry.flow)
                    .and_then(|flow| flow.requested_at());
                // It is settled already when this is the loser of a race.
                if let Some(requested_at) = requested_at {
                    let after = After::Applied(entry.processor, requested_at);
                    self.after_attempt(entry.flow, attempt, after, now);
                }
            }
            Judgement::Ask(question) => self.ask(attempt, question, status, now),
            Judgement::RefusedForGood => {
                let entry = self.end(attempt, end(Outcome::Refused), now);
                self.refused(
                    entry.flow,
                    attempt,
                    After::RefusedForGood(entry.processor),
                    now,
                );
            }
            Judgement::RefusedResting | Judgement::RefusedBySetup => {
                let entry = self.end(attempt, end(Outcome::Refused), now);
                self.refused(entry.flow, attempt, After::Free(entry.processor), now);
            }
            Judgement::Unknown => {
                let entry = self.end(attempt, end(Outcome::Unknown), now);
                self.after_attempt(entry.flow, attempt, After::Silent(entry.processor), now);
            }
        }
    }

    /// A refusal closes one attempt. Where the others were answered without proof it is their last
    /// chance of one for now: the record is asked about all of them. A misconfigured processor is
    /// not asked, since its 404 would be about the path and not about the payment.
    fn with_the_others(&self, attempt: AttemptRef, judgement: Judgement) -> Judgement {
        let entry = self.attempts.get(attempt.0);
        let lacks_one = entry.is_some_and(|entry| {
            let flow = self.flows.get(entry.flow);
            flow.is_some_and(|flow| flow.lacks_one_answer(entry.processor))
        });
        match judgement {
            Judgement::RefusedForGood if lacks_one => Judgement::Ask(Question::WhyUnprocessable),
            Judgement::RefusedResting if lacks_one => Judgement::Ask(Question::WhetherCharged),
            Judgement::Applied
            | Judgement::Ask(_)
            | Judgement::RefusedForGood
            | Judgement::RefusedResting
            | Judgement::RefusedBySetup
            | Judgement::Unknown => judgement,
        }
    }

    /// The answer alone does not tell: the processor's own record must.
    fn ask(&mut self, attempt: AttemptRef, question: Question, status: u16, now: Now) {
        let until = now.run.after(self.settings.attempt_timeout);
        let entry = held(self.attempts.get(attempt.0));
        if self.flows.get(entry.flow).is_none() {
            // The payment is settled; the loser of a race needs no proof.
            let outcome = match question {
                Question::WhyUnprocessable => Outcome::Applied,
                Question::WhetherCharged => Outcome::Unknown,
            };
            let (_, verdict) = self.judge(status);
            self.end(
                attempt,
                End {
                    outcome,
                    reason: Reason::Status(status),
                    verdict,
                },
                now,
            );
            return;
        }
        let (key, processor, id) = (entry.flow, entry.processor, entry.id);
        let at = entry.address;
        let coverage = self
            .flows
            .get_mut(key)
            .and_then(|flow| flow.on_answered(processor));
        let is_proven = self.processors.lookups.get(processor).is_proven(at);
        let inquiry = Inquiry {
            question,
            status,
            is_proven,
            asked_at: now.boot,
            coverage,
        };
        if let Some(entry) = self.attempts.get_mut(attempt.0) {
            entry.phase = Phase::Asking { inquiry, until };
        }
        self.fact(key, Fact::Asked { processor });
        self.actions.push_back(Action::Lookup {
            attempt,
            processor,
            id,
            at,
        });
        self.arm_attempt(attempt, until, now);
    }

    pub(super) fn on_evidence(
        &mut self,
        attempt: AttemptRef,
        inquiry: Inquiry,
        lookup: Lookup,
        now: Now,
    ) {
        let entry = held(self.attempts.get(attempt.0));
        let Inquiry {
            question,
            status,
            is_proven,
            coverage,
            asked_at: _,
        } = inquiry;
        let (key, processor) = (entry.flow, entry.processor);
        let flow = self.flows.get(key);
        let circumstances = Circumstances {
            lookup_is_proven: is_proven,
            covers_all: flow.is_some_and(|flow| flow.is_covered(processor, coverage)),
        };
        let ours = |at, amount| flow?.sent_as(processor, (at, amount), question);
        let evidence = judge::judge_lookup(question, lookup, circumstances, ours);
        let (_, verdict) = self.judge(status);
        let outcome = match evidence {
            Evidence::Ours(_) => Outcome::Applied,
            Evidence::NotCharged | Evidence::NotChargedForGood => Outcome::Refused,
            // Another client charged it, this attempt did not.
            Evidence::Foreign(..) => Outcome::Refused,
            Evidence::Nothing => Outcome::Unknown,
        };
        let end = End {
            outcome,
            reason: Reason::Status(status),
            verdict,
        };
        self.end(attempt, end, now);
        match evidence {
            Evidence::Ours(at) => {
                self.after_attempt(key, attempt, After::Applied(processor, at), now);
            }
            Evidence::Foreign(at, amount) => {
                self.after_attempt(key, attempt, After::Foreign(processor, at, amount), now);
            }
            Evidence::NotCharged => self.absent(key, attempt, After::Free(processor), now),
            Evidence::NotChargedForGood => {
                self.absent(key, attempt, After::RefusedForGood(processor), now);
            }
            Evidence::Nothing => self.after_attempt(key, attempt, After::Silent(processor), now),
        }
    }

    /// The processor's record shows that it charged none of the attempts there.
    fn absent(&mut self, key: Key, attempt: AttemptRef, after: After, now: Now) {
        if let (Some(flow), Some(processor)) = (self.flows.get_mut(key), after.refused_by()) {
            flow.on_absent(processor);
        }
        self.after_attempt(key, attempt, after, now);
    }

    /// One attempt was refused; whether the payment is depends on the others (I3).
    fn refused(&mut self, key: Key, attempt: AttemptRef, after: After, now: Now) {
        let (Some(flow), Some(processor)) = (self.flows.get_mut(key), after.refused_by()) else {
            return;
        };
        flow.on_refused(processor);
        let after = if flow.unresolved(processor) > 0 {
            After::Silent(processor)
        } else {
            after
        };
        self.after_attempt(key, attempt, after, now);
    }

    /// The processor takes no more for now, and may ask for a rest. A late word, or one of an older
    /// generation of its breaker, is about another time and changes nothing.
    fn on_shed(&mut self, attempt: AttemptRef, rest_secs: u32, now: Now) {
        let entry = held(self.attempts.get(attempt.0));
        let Lease::Held { ticket, .. } = entry.lease else {
            return;
        };
        let processor = entry.processor;
        let breaker = self.processors.breaker(processor);
        if ticket.generation() == breaker.generation() {
            self.processors.limit(processor).on_shed();
        }
        let span = Duration::from_secs(u64::from(rest_secs));
        let transition = breaker.rest(ticket.generation(), span, now.mono);
        self.note_transition(processor, transition);
    }

    fn judge(&self, status: u16) -> (Judgement, Verdict) {
        judge::judge_status(status, self.settings.upstream_500)
    }

    // ---- what the lookup route is worth ----

    /// Asks once for the first id that `processor` charged at `address`.
    fn prove_lookup(
        &mut self,
        (processor, address): (Processor, Option<SocketAddr>),
        id: UpstreamId,
        now: Now,
    ) {
        if !self.processors.lookups.get(processor).begin(address) {
            return;
        }
        let until = now.run.after(self.settings.attempt_timeout);
        let inquiry = Inquiry {
            question: Question::WhetherCharged,
            status: 200,
            is_proven: false,
            asked_at: now.boot,
            coverage: None,
        };
        let attempt = AttemptRef(self.attempts.insert(Attempt {
            flow: Key {
                slot: u32::MAX,
                generation: u32::MAX,
            },
            id,
            processor,
            purpose: Purpose::Proof,
            phase: Phase::Asking { inquiry, until },
            lease: Lease::Returned,
            sent_at: now.run,
            address,
        }));
        self.actions.push_back(Action::Lookup {
            attempt,
            processor,
            id,
            at: address,
        });
        self.arm_attempt(attempt, until, now);
    }
}

/// Whether bytes had been counted as sent when it turned out that none were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    NeverSent,
    CountedAsSent,
}
