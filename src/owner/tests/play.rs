//! An owner with a driver that connects at once and keeps what is said.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::addresses::Listing;
use crate::breaker::{BreakerSettings, State as BreakerState};
use crate::claims::Full;
use crate::clock::Now;
use crate::concurrency::Bounds;
use crate::config::{Ack, AnswerAfter, OnDuplicate, Routing, Upstream500};
use crate::events::{
    Action, Answer, Arrival, AttemptRef, Exchange, Lookup, ReplyTo, StoreLine, WriterSlot,
};
use crate::journal::operator::Resolution;
use crate::journal::replay::State;
use crate::journal::{Haste, Record};
use crate::owner::{Journalling, Owner, OwnerSettings, Processors, Unresolvable};
use crate::payment::{
    Cents, CoreId, CorrelationId, Payment, PerProcessor, Processor, ProcessorCount, UpstreamId,
};
use crate::table::Key;
use crate::timeline::Telling;

pub(super) const PATIENCE: Duration = Duration::from_millis(50);
/// Attempts in flight at one processor.
const SLOTS: usize = 64;
const DAY: Duration = Duration::from_secs(86_400);

pub(super) struct Play {
    pub(super) owner: Owner,
    processors: Arc<Processors>,
    pub(super) now: Now,
    pub(super) records: Vec<Record>,
    /// What was said to a store alone.
    pub(super) lines: Vec<StoreLine>,
    /// For each record and line.
    writers: Vec<WriterSlot>,
    pub(super) answers: Vec<Answer>,
    pub(super) sent: Vec<AttemptRef>,
    pub(super) lookups: Vec<AttemptRef>,
    /// Attempts and the processors that they got a connection to.
    pub(super) connected: Vec<(AttemptRef, Processor)>,
    /// Where connections go that may go anywhere.
    pub(super) address: Option<SocketAddr>,
    /// The only address that would do, for each connect.
    pub(super) wanted: Vec<Option<SocketAddr>>,
    /// The same for each lookup.
    pub(super) asked_at: Vec<Option<SocketAddr>>,
    /// Nothing connects to this processor.
    pub(super) is_deaf: Option<Processor>,
    /// How many records were appended for which nothing waits, and how often they were asked for.
    pub(super) later: u32,
    pub(super) flushes: u32,
    /// What operators are told.
    pub(super) tellings: Vec<Telling>,
}

impl Play {
    pub(super) fn begin() -> Self {
        Self::begin_with(|_, _| {})
    }

    pub(super) fn begin_with(
        change: impl FnOnce(&mut OwnerSettings, &mut BreakerSettings),
    ) -> Self {
        let mut settings = OwnerSettings {
            processors: ProcessorCount::try_new(2).unwrap(),
            ack: Ack::Processed,
            routing: Routing::Cheapest,
            on_duplicate: OnDuplicate::Conflict,
            upstream_500: Upstream500::Ask,
            request_timeout: PATIENCE,
            attempt_timeout: PATIENCE,
            settle_timeout: Duration::from_millis(200),
            hedge_delay: Duration::from_millis(5),
            fallback_after: Duration::ZERO,
            waiting_max: 4,
            queue_max: 4,
            late_max: 1,
            claims_max: 100,
            claims_ttl: DAY,
            claims_full: Full::Forget,
            ledger_exact: DAY,
            identity: PerProcessor::default(),
            answer_after: AnswerAfter::Intent,
            journal: Journalling::On,
        };
        let mut breaker = BreakerSettings {
            failure_per_mille: 300,
            min_samples: 20,
            open: PATIENCE,
            window: DAY,
            probes: 1,
            probe_ttl: PATIENCE,
        };
        change(&mut settings, &mut breaker);
        let bounds = Bounds::new(SLOTS, 1);
        let processors = Arc::new(Processors::new(settings.processors, breaker, bounds));
        Self {
            owner: Owner::new(settings, Arc::clone(&processors)),
            processors,
            now: Now::default(),
            records: Vec::new(),
            lines: Vec::new(),
            writers: Vec::new(),
            answers: Vec::new(),
            sent: Vec::new(),
            lookups: Vec::new(),
            connected: Vec::new(),
            address: None,
            wanted: Vec::new(),
            asked_at: Vec::new(),
            is_deaf: None,
            later: 0,
            flushes: 0,
            tellings: Vec::new(),
        }
    }

    pub(super) fn resolve(&mut self, processor: Processor, listing: Arc<Listing>) {
        self.owner.resolved(processor, listing, self.now);
        self.perform();
    }

    pub(super) fn confirm(&self, processor: Processor, number: u64) {
        self.processors.confirm(processor, number);
    }

    /// An operator settles `id`.
    pub(super) fn resolve_by_hand(
        &mut self,
        id: UpstreamId,
        resolution: Resolution,
    ) -> Result<(WriterSlot, u64), Unresolvable> {
        let result = self.owner.resolve(id, resolution, self.now);
        self.perform();
        result
    }

    pub(super) fn set_paused(&self, processor: Processor, is_paused: bool) {
        self.processors.set_paused(processor, is_paused);
    }

    pub(super) fn perform(&mut self) {
        while let Some(action) = self.owner.next_action() {
            match action {
                Action::Connect {
                    attempt,
                    processor,
                    at,
                    ..
                } => {
                    self.connected.push((attempt, processor));
                    self.wanted.push(at);
                    if self.is_deaf != Some(processor) {
                        let address = at.or(self.address);
                        self.owner.connected(attempt, address, self.now);
                    } else {
                        self.owner.connecting(attempt);
                    }
                }
                Action::Append(writer, haste) => {
                    self.writers.push(writer);
                    self.records.extend(self.owner.next_record());
                    self.later += u32::from(haste == Haste::Later);
                }
                Action::AppendToStore(writer, line, haste) => {
                    self.writers.push(writer);
                    self.lines.push(line);
                    self.later += u32::from(haste == Haste::Later);
                }
                Action::Flush(_) => self.flushes += 1,
                Action::Answer { answer, .. } => self.answers.push(answer),
                Action::Send { attempt, .. } => self.sent.push(attempt),
                Action::Lookup { attempt, at, .. } => {
                    self.lookups.push(attempt);
                    self.asked_at.push(at);
                }
                Action::Tell => self.tellings.extend(self.owner.next_telling()),
                Action::Abandon { .. } | Action::Close { .. } | Action::Note(_) => {}
            }
        }
    }

    pub(super) fn post(&mut self, number: u32) -> UpstreamId {
        self.post_of(number, Cents(1990))
    }

    pub(super) fn post_of(&mut self, number: u32, amount: Cents) -> UpstreamId {
        let correlation_id = CorrelationId::try_new(&format!("order-{number}")).unwrap();
        let payment = Payment {
            id: correlation_id.upstream_id(),
            correlation_id,
            amount,
        };
        let key = Key {
            slot: number,
            generation: 0,
        };
        let reply_to = ReplyTo {
            core: CoreId(0),
            key,
        };
        let arrival = Arrival {
            payment,
            reply_to,
            trace: None,
        };
        self.owner.arrive(arrival, self.now);
        self.perform();
        payment.id
    }

    /// How many records `writer` was given.
    pub(super) fn appended_to(&self, writer: WriterSlot) -> u64 {
        let its = self.writers.iter().filter(|one| **one == writer);
        u64::try_from(its.count()).unwrap()
    }

    /// All that was appended is durable.
    pub(super) fn sync(&mut self) {
        self.sync_of(WriterSlot::OWN);
    }

    /// All that `writer` was given is durable.
    pub(super) fn sync_of(&mut self, writer: WriterSlot) {
        let up_to = self.appended_to(writer);
        self.owner.durable(writer, up_to, self.now);
        self.perform();
    }

    /// What the processor shows when it is asked for the `number`-th lookup's id.
    pub(super) fn show(&mut self, number: usize, lookup: Lookup) {
        let attempt = self.lookups[number];
        self.owner.looked_up(attempt, lookup, self.now);
        self.perform();
    }

    /// Has `processor` show a charged id, so that its lookup route is known to work.
    pub(super) fn prove_lookups(&mut self) {
        self.post(999);
        self.sync();
        self.hear(200);
        self.sync();
        let stored = Lookup::Stored {
            requested_at: self.now.wall,
            amount: Cents(1990),
        };
        let last = self.lookups.len() - 1;
        self.show(last, stored);
        self.answers.clear();
    }

    pub(super) fn state_of(&self, processor: Processor) -> BreakerState {
        self.processors.breaker(processor).state(self.now.mono)
    }

    /// Where the connection of `attempt` went.
    pub(super) fn processor_of(&self, attempt: AttemptRef) -> Processor {
        let of = |(one, _): &&(AttemptRef, Processor)| *one == attempt;
        self.connected.iter().rev().find(of).unwrap().1
    }

    /// What was sent where.
    pub(super) fn sent_to(&self) -> Vec<Processor> {
        self.connected
            .iter()
            .filter(|(attempt, _)| self.sent.contains(attempt))
            .map(|(_, at)| *at)
            .collect()
    }

    /// The last attempt that was sent is answered so.
    pub(super) fn hear(&mut self, status: u16) {
        self.hear_of(self.sent.len() - 1, status, None);
    }

    /// The `number`-th attempt that was sent is answered so.
    pub(super) fn hear_of(&mut self, number: usize, status: u16, retry_after_secs: Option<u32>) {
        let answered = Exchange::Answered {
            status,
            retry_after_secs,
        };
        let attempt = self.sent[number];
        self.owner.exchanged(attempt, answered, self.now);
        self.perform();
    }

    pub(super) fn pass(&mut self, span: Duration) {
        self.now.mono = self.now.mono.after(span);
        self.now.run = self.now.run.after(span);
        self.now.wall.0 += i64::try_from(span.as_millis()).unwrap();
        self.owner.tick(self.now);
        self.perform();
    }

    /// What a start makes of the first `records` records.
    pub(super) fn replay(&self, records: usize) -> State {
        let mut state = State::new(100, DAY);
        for record in &self.records[..records] {
            state.apply(record);
        }
        state
    }
}
