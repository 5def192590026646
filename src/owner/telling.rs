//! What an owner notes of its payments for operators: each fact among the recent ones, and every
//! fact of a payment that is not plain also for the log and the audit file. Called by the other
//! files of this room where it comes to be; decides nothing, and no decision reads it.
//!
//! A plain payment costs two entries in a fixed array. What is not plain allocates: that is rare,
//! or the processors are in trouble and each attempt takes longer than that.

use std::time::Duration;

use super::{Owner, held};
use crate::breaker::State;
use crate::clock::Now;
use crate::config::Ack;
use crate::events::{Action, Answer, Reason};
use crate::flow::Flow;
use crate::payment::{Outcome, Processor, Status, UpstreamId};
use crate::route::Plan;
use crate::table::Key;
use crate::timeline::{Choice, Entry, Fact, Head, Line, Purpose, Remark, Telling, micros, millis};

impl Owner {
    /// The facts about `id` that are remembered, oldest first.
    #[must_use]
    pub fn facts_of(&self, id: UpstreamId) -> Vec<Entry> {
        self.recent.find(id)
    }

    /// Notes a fact about `key`, if it is not settled yet.
    pub(super) fn fact(&mut self, key: Key, fact: Fact) {
        let at = self.moment.wall;
        if let Some(flow) = self.flows.get_mut(key) {
            let (id, before) = (flow.payment.id, flow.history.newest);
            flow.history.newest = self.recent.push(id, at, fact, before);
            if !flow.history.remarks.is_empty() {
                self.pass_on(key);
            }
        }
    }

    /// Notes a fact that makes the payment one that is not plain.
    pub(super) fn remarkable(&mut self, key: Key, remark: Remark, fact: Fact) {
        self.remark(key, remark);
        self.fact(key, fact);
    }

    /// From here on `key` is not plain.
    pub(super) fn remark(&mut self, key: Key, remark: Remark) {
        if let Some(flow) = self.flows.get_mut(key) {
            flow.history.remarks.add(remark);
        }
    }

    /// Its next attempt goes to `processor`, as `plan` has it.
    pub(super) fn note_choice(&mut self, key: Key, processor: Processor, plan: &Plan, now: Now) {
        let choice = match plan.first {
            Some(preferred) if preferred == processor => Choice::Preferred,
            None => Choice::Tried,
            Some(preferred) if self.processors.is_paused(preferred) => Choice::Paused,
            Some(preferred) => match self.processors.breaker(preferred).state(now.mono) {
                State::Closed => Choice::Slow,
                State::Open | State::HalfOpen => Choice::Breaker,
            },
        };
        if let Some(flow) = self.flows.get_mut(key) {
            flow.history.choice = choice;
        }
    }

    /// An attempt of `key` ended so. A charge is told with the end of the payment.
    pub(super) fn note_attempt(
        &mut self,
        key: Key,
        (processor, outcome, reason): (Processor, Outcome, Reason),
        took: Duration,
    ) {
        if let Some(flow) = self.flows.get_mut(key) {
            match outcome {
                Outcome::Applied if flow.history.remarks.is_empty() => return,
                Outcome::NotSent if reason == Reason::Abandoned => return,
                Outcome::Applied => {}
                Outcome::Unknown => {
                    flow.history.last = Some(reason);
                    flow.history.remarks.add(Remark::Unknown);
                }
                Outcome::NotSent | Outcome::Refused => flow.history.last = Some(reason),
            }
        }
        let fact = Fact::Ended {
            processor,
            outcome,
            reason,
            took_us: micros(took),
        };
        self.fact(key, fact);
    }

    /// Bytes leave for `processor`.
    pub(super) fn note_sent(&mut self, key: Key, processor: Processor, purpose: Purpose, now: Now) {
        let flow = held(self.flows.get_mut(key));
        let choice = match purpose {
            Purpose::First => flow.history.choice,
            Purpose::Resend | Purpose::Hedge => Choice::Pinned,
        };
        if choice == Choice::Tried {
            flow.history.remarks.add(Remark::Failover);
        }
        if purpose == Purpose::Resend {
            flow.history.remarks.add(Remark::Resent);
        }
        let fact = Fact::Sent {
            processor,
            address: flow.address,
            purpose,
            choice,
            waited_ms: millis(now.mono.since(flow.arrived)),
        };
        self.fact(key, fact);
    }

    /// What an answer says that is not what ACK promises.
    fn remark_of(&self, answer: Answer) -> Option<Remark> {
        match answer {
            Answer::Charged => None,
            Answer::Accepted => (self.settings.ack == Ack::Processed).then_some(Remark::Deadline),
            Answer::RefusedForGood | Answer::RefusedByAll => Some(Remark::Refused),
            Answer::Unavailable | Answer::NotTried => Some(Remark::Unavailable),
            Answer::Duplicate(_)
            | Answer::Replayed(_)
            | Answer::AmountDiffers
            | Answer::Overloaded
            | Answer::NoRoom
            | Answer::JournalDown
            | Answer::Silence => Some(Remark::Foreign),
        }
    }

    /// Its client is told before it is settled; what is usual costs nothing here.
    pub(super) fn note_answer(&mut self, key: Key, answer: Answer) {
        if let Some(remark) = self.remark_of(answer) {
            self.remark(key, remark);
        }
        let flow = self.flows.get(key);
        if flow.is_some_and(|flow| !flow.history.remarks.is_empty()) {
            self.fact(key, Fact::Told { answer });
            self.tell_line(key, Some(answer), Status::Pending, None);
        }
    }

    /// It is settled, charged by `charged`, and its client is about to hear `answer`, if one waits.
    pub(super) fn note_end(
        &mut self,
        key: Key,
        (status, charged): (Status, Option<Processor>),
        answer: Answer,
    ) {
        let flow = held(self.flows.get(key));
        let told = flow.waiter.map(|_| answer);
        let is_plain = flow.history.remarks.is_empty();
        let took_us = micros(self.moment.mono.since(flow.arrived));
        let remark = self.remark_of(answer);
        if let (true, None, Some(processor)) = (is_plain, remark, charged) {
            self.fact(key, Fact::Charged { processor, took_us });
            return;
        }
        if let Some(remark) = remark {
            self.remark(key, remark);
        }
        let processor = charged;
        self.fact(key, Fact::Settled { status, processor });
        if let Some(answer) = told {
            self.fact(key, Fact::Told { answer });
        }
        self.tell_line(key, told, status, charged);
    }

    fn tell_line(
        &mut self,
        key: Key,
        answer: Option<Answer>,
        status: Status,
        charged: Option<Processor>,
    ) {
        let flow = held(self.flows.get(key));
        let line = Line {
            head: self.head(flow),
            answer,
            status,
            processor: charged.or_else(|| flow.sent_last()),
            attempts: flow.attempts(),
            took: self.moment.mono.since(flow.arrived),
            remarks: flow.history.remarks,
            last: flow.history.last,
        };
        self.tell_operator(Telling::Line(Box::new(line)));
    }

    /// Entries of a payment that is not plain, as far as they were not passed on yet.
    fn pass_on(&mut self, key: Key) {
        let flow = held(self.flows.get_mut(key));
        let newest = flow.history.newest;
        let known = std::mem::replace(&mut flow.history.passed_on, newest);
        let id = flow.payment.id;
        if known == 0 {
            let head = self.head(held(self.flows.get(key)));
            self.tell_operator(Telling::Head(Box::new(head)));
        }
        for entry in self.recent.since(id, newest, known) {
            self.tell_operator(Telling::Entry(entry));
        }
    }

    fn head(&self, flow: &Flow) -> Head {
        Head {
            payment: flow.payment,
            trace: flow.trace.clone(),
            at: self.moment.wall,
        }
    }

    fn tell_operator(&mut self, telling: Telling) {
        self.tellings.push_back(telling);
        self.actions.push_back(Action::Tell);
    }
}
