//! One payment between its claim and its settling: what was sent where, what is proven, and so
//! where it may go. `owner` moves it; nothing here touches a slot, a breaker or a timer.
//!
//! This file alone says whether a processor may get the payment, so I2 cannot be broken elsewhere:
//! once bytes left for one processor, [`Flow::may_send`] refuses the other until every attempt
//! there has ended NotSent or Refused (I3). Also keeps I9: `requestedAt` is minted with the Intent,
//! a re-send keeps it.

mod stage;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::stage::{Ending, HedgeState, Stage, StageName, Step};

use crate::clock::{Mono, Now, UnixMillis};
use crate::events::{ReplyTo, Trace, WriterSlot};
use crate::judge::{self, Question};
use crate::payment::{Cents, Payment, Processor, ProcessorSet};
use crate::timeline::History;

/// How many earlier `requestedAt` of a payment are remembered, to know a stored one as ours. A
/// time goes out again only after a proven refusal, so one that is four refusals old can be stored
/// only by a processor that lied; it would then be reported as charged by another client.
const REQUESTED_AT_KEPT: usize = 4;

/// One unsettled payment.
#[derive(Debug)]
pub struct Flow {
    /// What to charge.
    pub payment: Payment,
    /// Where it stands; changed by [`Flow::enter`] alone.
    stage: Stage,
    /// The client that waits; none once it was answered.
    pub waiter: Option<ReplyTo>,
    /// Sent along when the client gave it.
    pub trace: Option<Arc<Trace>>,
    /// When it reached its owner; the order of every queue.
    pub arrived: Mono,
    /// When a client's patience ends: `arrived` + REQUEST_TIMEOUT_MS.
    pub deadline: Mono,
    /// When it was accepted, for FALLBACK_AFTER_MS across a restart.
    pub accepted_at: UnixMillis,
    /// How long it had waited before a restart; counts towards FALLBACK_AFTER_MS.
    pub waited_before: Duration,
    /// Whether the id may still be freed.
    pub promise: Promise,
    /// When routing is asked again if it has no connection by then; none once it moved for that.
    pub reroute_at: Option<Mono>,
    /// How often a refusal sent it back to wait; paces its next try.
    pub retries: u32,
    /// How often it was sent again without an answer; paces its next re-send.
    pub resends: u32,
    /// How often a processor that moved was asked whether it knows it; paces the next time.
    pub asks: u32,
    /// The address that its bytes went to last (I10); none before the first, or where the journal
    /// does not say.
    pub address: Option<SocketAddr>,
    /// Whose records tell of it.
    pub writer: WriterSlot,
    /// The record that its stage waits for.
    pub record: u64,
    /// How often its id turned out to be another's, who freed it then.
    pub losses: u32,
    /// Whether the journal knows of it, so that its end must be written too.
    pub trail: Trail,
    /// Whether an operator says how it ends.
    pub is_by_hand: bool,
    /// Whether the store was told that its processor has spoken since it was adopted.
    pub was_heard: bool,
    /// What was noted of it for operators.
    pub history: History,
    sent: Sent,
    /// Processors that could not be reached since it was last planned anew.
    unreachable: ProcessorSet,
    /// Processors that refused it since it was last planned anew.
    refused: ProcessorSet,
    requested_at: Option<UnixMillis>,
    /// The times that went out before `requested_at`, newest first.
    earlier: [Option<UnixMillis>; REQUESTED_AT_KEPT],
}

/// Whether a payment stands in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trail {
    /// No record of it was appended: it may end without one.
    None,
    /// An Accept or an Intent was.
    Written,
}

/// Whether someone counts on the payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// No one was told that p99 holds it: it may end in an error and free its id.
    Open,
    /// Its Intent was open when a process died, without a promise: its client was told 200 or
    /// nothing. Never freed; while it is open that needs no record.
    Inherited,
    /// A record says so: a 202 went out, or follows when that is durable. Never freed.
    Given,
}

/// What was sent, and how much of it may still charge. At most one processor has such bytes (I2).
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    /// Where the last bytes went.
    at: Option<Processor>,
    /// Attempts that were sent there and have ended neither NotSent nor Refused.
    unresolved: u32,
    /// Those of them that the processor itself answered: nothing of them can come any more, and
    /// its record says whether they charged.
    answered: u32,
    /// All attempts that were ever sent anywhere; wraps. Tells whether one left since a moment.
    count: u32,
}

impl Sent {
    /// Attempts at `processor` that may still charge.
    fn unresolved(&self, processor: Processor) -> u32 {
        match self.at == Some(processor) {
            true => self.unresolved,
            false => 0,
        }
    }

    /// Whether an attempt at `processor` was sent and neither answered nor given up.
    fn is_awaited(&self, processor: Processor) -> bool {
        self.unresolved(processor) > self.answered
    }
}

/// A moment at which a processor had answered every attempt that was ever sent there: what its
/// record shows afterwards holds for all of them, as long as nothing is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Attempts that were ever sent until then.
    count: u32,
}

impl Flow {
    /// A payment that was just claimed.
    #[must_use]
    pub fn new(payment: Payment, waiter: Option<ReplyTo>, now: Now) -> Self {
        Self {
            payment,
            stage: Stage::Claimed,
            waiter,
            trace: None,
            arrived: now.mono,
            deadline: now.mono,
            accepted_at: now.wall,
            waited_before: Duration::ZERO,
            promise: Promise::Open,
            reroute_at: None,
            retries: 0,
            resends: 0,
            asks: 0,
            address: None,
            writer: WriterSlot::OWN,
            record: 0,
            losses: 0,
            trail: Trail::None,
            is_by_hand: false,
            was_heard: false,
            history: History::default(),
            sent: Sent::default(),
            unreachable: ProcessorSet::NONE,
            refused: ProcessorSet::NONE,
            requested_at: None,
            earlier: [None; REQUESTED_AT_KEPT],
        }
    }

    /// Where it stands.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// Moves it to `stage`, because `step` happened.
    pub fn enter(&mut self, step: Step, stage: Stage) {
        self.check(step, stage.name());
        self.stage = stage;
    }

    /// It is settled: from its stage that must be possible.
    pub fn check_end(&self) {
        self.check(Step::Settled, StageName::Settled);
    }

    fn check(&self, step: Step, to: StageName) {
        let from = self.stage.name();
        assert!(
            step.leads(from, to),
            "a payment went from {from:?} to {to:?} by {step:?}, which the table does not have"
        );
    }

    /// The processor that has unanswered bytes of this payment (I3), if one has.
    #[must_use]
    pub fn pinned(&self) -> Option<Processor> {
        self.sent.at.filter(|_| self.sent.unresolved > 0)
    }

    /// Whether bytes of this payment may go to `processor` (I2).
    #[must_use]
    pub fn may_send(&self, processor: Processor) -> bool {
        self.pinned().is_none_or(|pinned| pinned == processor)
    }

    /// The processors that are out of the question until the payment is planned anew: they were
    /// tried in vain.
    #[must_use]
    pub fn barred(&self) -> ProcessorSet {
        self.unreachable.union(self.refused)
    }

    /// Whether any processor was tried in vain since the payment was last planned anew.
    #[must_use]
    pub fn was_tried(&self) -> bool {
        !self.unreachable.is_empty() || self.was_refused()
    }

    /// Whether a processor refused it since it was last planned anew.
    #[must_use]
    pub fn was_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Attempts of it that were ever sent, by this process.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.sent.count
    }

    /// Where its last bytes went, whatever became of them.
    #[must_use]
    pub fn sent_last(&self) -> Option<Processor> {
        self.sent.at
    }

    /// How many attempts at `processor` may still charge it.
    #[must_use]
    pub fn unresolved(&self, processor: Processor) -> u32 {
        self.sent.unresolved(processor)
    }

    /// The `requestedAt` to send: a pinned payment keeps its own, any other mints one (I9).
    pub fn mint(&mut self, wall: UnixMillis) -> UnixMillis {
        if let (Some(requested_at), Some(_)) = (self.requested_at, self.pinned()) {
            return requested_at;
        }
        if let Some(last) = self.requested_at.replace(wall) {
            self.earlier.rotate_right(1);
            if let Some(newest) = self.earlier.first_mut() {
                *newest = Some(last);
            }
        }
        wall
    }

    /// The `requestedAt` that went or goes out.
    #[must_use]
    pub fn requested_at(&self) -> Option<UnixMillis> {
        self.requested_at
    }

    /// When it was promised, if a record says so.
    #[must_use]
    pub fn promised_at(&self) -> Option<UnixMillis> {
        (self.promise == Promise::Given).then_some(self.accepted_at)
    }

    /// The times that it was sent with, newest first.
    pub fn sent_times(&self) -> impl Iterator<Item = UnixMillis> + '_ {
        let earlier = self.earlier.iter().flatten();
        self.requested_at.iter().chain(earlier).copied()
    }

    /// Whether a time that a processor stores is one that we sent.
    #[must_use]
    pub fn has_sent(&self, requested_at: UnixMillis) -> bool {
        self.requested_at == Some(requested_at) || self.earlier.contains(&Some(requested_at))
    }

    /// The time of ours that `processor` shows as `stored` with `amount`, if it is one. A time
    /// that it may have coarsened is believed only while an attempt of ours there may have stored
    /// it: not when the only one was told that the id is known already.
    #[must_use]
    pub fn sent_as(
        &self,
        processor: Processor,
        (stored, amount): (UnixMillis, Cents),
        question: Question,
    ) -> Option<UnixMillis> {
        if amount != self.payment.amount {
            return None;
        }
        let may_be_stored = match question {
            Question::WhetherCharged => self.unresolved(processor) > 0,
            Question::WhyUnprocessable => self.unresolved(processor) > 1,
        };
        // What is unanswered went out with the present time. The earlier ones were refused: only
        // the very time itself would prove that one of them was charged all the same.
        self.requested_at
            .filter(|sent| *sent == stored || (may_be_stored && judge::is_stored_as(*sent, stored)))
            .or_else(|| self.has_sent(stored).then_some(stored))
    }

    /// Bytes leave for `processor`.
    pub fn on_sent(&mut self, processor: Processor) {
        assert!(
            self.may_send(processor),
            "I2: the other processor has unanswered bytes"
        );
        if self.pinned().is_none() {
            (self.sent.at, self.sent.answered) = (Some(processor), 0);
        }
        self.sent.unresolved = self.sent.unresolved.saturating_add(1);
        self.sent.count = self.sent.count.wrapping_add(1);
    }

    /// One attempt that was sent to `processor` was refused by its own answer.
    pub fn on_refused(&mut self, processor: Processor) {
        assert!(
            self.sent.is_awaited(processor),
            "I3: only an attempt that was sent can be refused"
        );
        self.sent.unresolved = self.sent.unresolved.saturating_sub(1);
        self.refused = self.refused.with(processor);
    }

    /// `processor` itself answered one attempt, and its record must say whether it charged.
    /// Returns what a lookup that is sent now may prove absent.
    pub fn on_answered(&mut self, processor: Processor) -> Option<Coverage> {
        assert!(
            self.sent.is_awaited(processor),
            "I3: only an attempt that was sent is answered"
        );
        self.sent.answered = self.sent.answered.saturating_add(1);
        (!self.sent.is_awaited(processor)).then_some(Coverage {
            count: self.sent.count,
        })
    }

    /// Whether all attempts at `processor` but one were answered without proof: once that one is
    /// answered too, its record speaks of all of them.
    #[must_use]
    pub fn lacks_one_answer(&self, processor: Processor) -> bool {
        let answered = self.sent.answered;
        answered > 0 && self.sent.unresolved(processor) == answered.saturating_add(1)
    }

    /// Whether every attempt that was ever sent to `processor` is among those that `coverage`
    /// speaks of.
    #[must_use]
    pub fn is_covered(&self, processor: Processor, coverage: Option<Coverage>) -> bool {
        let count = self.sent.count;
        coverage == Some(Coverage { count }) && !self.sent.is_awaited(processor)
    }

    /// The record of `processor` shows that no attempt there charged, each of which it had
    /// answered.
    pub fn on_absent(&mut self, processor: Processor) {
        assert!(
            self.sent.unresolved(processor) > 0 && !self.sent.is_awaited(processor),
            "I3: what was not answered may still charge"
        );
        (self.sent.unresolved, self.sent.answered) = (0, 0);
        self.refused = self.refused.with(processor);
    }

    /// No connection to `processor` could be had.
    pub fn on_not_sent(&mut self, processor: Processor) {
        self.unreachable = self.unreachable.with(processor);
    }

    /// A connection died under an attempt before its first byte: what [`Flow::on_sent`] counted
    /// was never sent.
    pub fn on_unsent(&mut self, processor: Processor) {
        assert!(
            self.sent.is_awaited(processor),
            "I3: nothing was counted as sent"
        );
        self.sent.unresolved = self.sent.unresolved.saturating_sub(1);
        self.unreachable = self.unreachable.with(processor);
    }

    /// How long it has waited for a processor, a restart included.
    #[must_use]
    pub fn waited(&self, now: Mono) -> Duration {
        self.waited_before.saturating_add(now.since(self.arrived))
    }

    /// Every processor may be tried again.
    pub fn begin_round(&mut self) {
        (self.unreachable, self.refused) = (ProcessorSet::NONE, ProcessorSet::NONE);
    }

    /// Takes up a payment whose Intent was open when the process died: it may have been sent, and
    /// no answer to it can ever come.
    pub fn restore_pinned(&mut self, processor: Processor, requested_at: UnixMillis) {
        self.mint(requested_at);
        self.on_sent(processor);
    }

    /// The pause before try number `count`, doubled from `first` up to `longest`, with a quarter
    /// of jitter either way. The jitter is a hash of id and count: no luck is needed, and two
    /// payments do not march in step.
    #[must_use]
    pub fn pause(&self, count: u32, first: Duration, longest: Duration) -> Duration {
        let doubled = first.saturating_mul(1_u32.checked_shl(count).unwrap_or(u32::MAX));
        let luck = self.payment.id.hash().rotate_left(count.wrapping_mul(7)) % 512;
        let share = u32::try_from(luck).unwrap_or(0).saturating_add(768);
        doubled.min(longest).saturating_mul(share) / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{Cents, CorrelationId};

    fn flow() -> Flow {
        let correlation_id = CorrelationId::try_new("test-123").unwrap();
        let id = correlation_id.upstream_id();
        Flow::new(
            Payment {
                id,
                correlation_id,
                amount: Cents(2000),
            },
            None,
            Now::default(),
        )
    }

    #[test]
    fn the_other_processor_is_barred_until_every_attempt_was_refused() {
        let mut flow = flow();
        flow.on_sent(Processor::DEFAULT);
        flow.on_sent(Processor::DEFAULT);
        assert_eq!(flow.pinned(), Some(Processor::DEFAULT));
        flow.on_refused(Processor::DEFAULT);
        assert!(
            !flow.may_send(Processor::FALLBACK),
            "I3: one attempt is still unanswered"
        );
        flow.on_refused(Processor::DEFAULT);
        assert!(flow.may_send(Processor::FALLBACK));
        assert_eq!(flow.pinned(), None);
        assert!(flow.was_refused() && flow.was_tried());
    }

    #[test]
    #[should_panic(expected = "I2")]
    fn sending_to_the_other_processor_while_bytes_are_out_stops_the_process() {
        let mut flow = flow();
        flow.on_sent(Processor::DEFAULT);
        flow.on_sent(Processor::FALLBACK);
    }

    #[test]
    fn a_resend_keeps_its_time_and_a_new_attempt_mints_one() {
        let mut flow = flow();
        assert_eq!(flow.mint(UnixMillis(1)), UnixMillis(1));
        flow.on_sent(Processor::DEFAULT);
        assert_eq!(
            flow.mint(UnixMillis(2)),
            UnixMillis(1),
            "I9: the same time again"
        );
        flow.on_refused(Processor::DEFAULT);
        assert_eq!(
            flow.mint(UnixMillis(3)),
            UnixMillis(3),
            "I9: a new attempt, a new time"
        );
        assert!(flow.has_sent(UnixMillis(1)));
        assert!(flow.has_sent(UnixMillis(3)));
        assert!(!flow.has_sent(UnixMillis(2)));
    }

    #[test]
    fn pauses_double_to_their_bound() {
        let flow = flow();
        let first = Duration::from_secs(1);
        let longest = Duration::from_secs(30);
        let mut expected = first;
        for count in 0..100 {
            let pause = flow.pause(count, first, longest);
            assert!(
                pause >= expected * 3 / 4 && pause <= expected * 5 / 4,
                "{pause:?}"
            );
            expected = (expected * 2).min(longest);
        }
    }
}
