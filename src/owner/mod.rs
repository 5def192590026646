//! One core's payments. The driver tells an [`Owner`] what happened (every public method is an
//! event) and performs the actions that [`Owner::next_action`] gives back; nothing here touches a
//! socket, a file or a clock, so the whole of it runs in a seeded simulation.
//!
//! Files call those below them and never back (`tests/house` looks), from the top:
//!
//! - `mod.rs` takes payments in and answers questions about them; `timers.rs` acts when a time has
//!   come; `answers.rs` says what was seen of an attempt, `identity.rs` who a processor is;
//! - `steer.rs` does what operators ask;
//! - `progress.rs` moves a payment on after each attempt;
//! - `planning.rs` says where it goes, or has it wait;
//! - `settling.rs` ends it;
//! - `stages.rs` alone changes its stage, by the table in `flow`;
//! - `attempts.rs` starts and ends attempts, `addresses.rs` says where one in doubt may go;
//! - `telling.rs` notes for operators what the files above it do;
//! - `outbox.rs` is what goes out: actions, notes and records;
//! - `lane.rs` bounds what one processor gets from this core, `routes.rs` says what its lookups are
//!   worth, `sums.rs` says what was charged, and when that is not known.
//!
//! # The contract
//!
//! The driver calls [`Owner::restore`] for each payment that the journal left open and
//! [`Owner::resolved`] for each processor before anything else, then events in any order: a payment
//! ([`Owner::arrive`]), a connection ([`Owner::connected`], [`Owner::connecting`]), what was seen
//! ([`Owner::exchanged`], [`Owner::looked_up`]), the journal ([`Owner::durable`],
//! [`Owner::journal_failed`]), time ([`Owner::tick`], at the latest when it asked for that, or at
//! what [`Owner::take_alarm`] gives after an event).
//! After each event it performs what [`Owner::next_action`] gives, in order, until there is none;
//! an [`Action::Append`] comes with one [`Owner::next_record`], an [`Action::Tell`] (any event may
//! produce it) with one [`Owner::next_telling`]. What else each may produce:
//!
//! | event | actions |
//! |---|---|
//! | `arrive`, `tick`, `durable`, `exchanged`, `looked_up` | any |
//! | `connected` | `Append` of an Intent, `Send`, or `Abandon` |
//! | `connecting` | `Append` of an Accept, or a 202 without a journal |
//! | `restore`, `resolved` | `Connect`, `Lookup`, `Append` |
//! | `journal_failed`, `store_failed` | answers that close connections |
//! | `purge` | `Append` |
//! | `resolve` | any |
//!
//! An attempt's name ([`AttemptRef`]) is told by `Connect` or `Lookup` and used until `Close`,
//! `Abandon` or its own end; a name that is no longer known changes nothing.
//!
//! Keeps I1 (one owner holds all of an id), I3 (what an answer proves, by `judge`, and what that
//! means for the payment, by `flow`), I5 (records before deeds), I6 (the ledger grows with Applied
//! verdicts alone) and I8.

mod addresses;
mod answers;
mod attempts;
mod connections;
mod duplicates;
mod elsewhere;
mod identity;
mod lane;
mod outbox;
mod planning;
mod progress;
mod routes;
mod settings;
mod settling;
mod stages;
mod steer;
mod steered;
mod sums;
mod telling;
#[cfg(test)]
mod tests;
mod timers;
mod unsettled;
mod writers;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub(crate) use self::settings::share;
pub use self::settings::{Journalling, OwnerSettings, breaker_settings, concurrency_bounds};
pub(crate) use self::steer::{PendingView, Unresolvable};
pub use self::sums::SumFault;
pub(crate) use self::unsettled::Unsettled;

use self::addresses::Addresses;
use self::attempts::Attempt;
use self::lane::Lane;
use self::routes::LookupRoutes;
use self::steered::Steered;
use self::sums::Inherited;
use self::writers::Writers;
use crate::breaker::{Breaker, BreakerSettings};
use crate::claims::{Claim, Claims, Forgotten};
use crate::clock::{Mono, Now, UnixMillis};
use crate::concurrency::{Bounds, Limit};
use crate::events::{Action, Answer, Arrival, AttemptRef, Note, Shed, WriterSlot};
use crate::flow::{Flow, Promise, Trail};
use crate::journal::Record;
use crate::ledger::Ledger;
use crate::limits;
use crate::payment::{
    Configured, Payment, PaymentView, PerProcessor, Processor, ProcessorCount, Status, UpstreamId,
};
use crate::table::{Key, Table};
use crate::timeline::{Fact, Recent, Remark, Telling};
use crate::wheel::Wheel;

/// What all cores know of the processors. Atomics only: cores share no lock.
#[derive(Debug)]
pub struct Processors {
    breakers: Configured<Breaker>,
    limits: Configured<Limit>,
    lookups: Configured<LookupRoutes>,
    /// What an operator has paused.
    paused: PerProcessor<AtomicBool>,
    /// What an operator has set instead of two settings of the owners.
    steered: Steered,
    /// The addresses of this resolution, and those that were listed before it, are the processor
    /// that payments in doubt went to; zero when nothing says so.
    confirmed: PerProcessor<AtomicU64>,
    /// Old addresses, and the resolution up to which what it shows is proven to be the same.
    proofs: Configured<[OnceLock<(SocketAddr, u64)>; limits::ADDRESSES_MAX]>,
}

impl Processors {
    /// Closed breakers of `count` processors, and nothing known about lookups and how much they
    /// take.
    #[must_use]
    pub fn new(count: ProcessorCount, settings: BreakerSettings, bounds: Bounds) -> Self {
        Self {
            limits: Configured::new(count, |_| Limit::new(bounds)),
            breakers: Configured::new(count, |_| Breaker::new(settings)),
            lookups: Configured::new(count, |_| LookupRoutes::default()),
            paused: PerProcessor::default(),
            steered: Steered::default(),
            confirmed: PerProcessor::default(),
            proofs: Configured::new(count, |_| {
                [const { OnceLock::new() }; limits::ADDRESSES_MAX]
            }),
        }
    }

    /// How many attempts may be in flight at `processor`.
    #[must_use]
    pub fn limit(&self, processor: Processor) -> &Limit {
        self.limits.get(processor)
    }

    /// The breaker of `processor`.
    #[must_use]
    pub fn breaker(&self, processor: Processor) -> &Breaker {
        self.breakers.get(processor)
    }
}

/// One unsettled payment as the journal tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What to charge.
    pub payment: Payment,
    /// When it was accepted, as far as the journal says.
    pub accepted_at: Option<UnixMillis>,
    /// The Intent that is open: it may have been sent.
    pub open: Option<(Processor, UnixMillis)>,
    /// The address that it went to, where the journal says so.
    pub address: Option<SocketAddr>,
    /// The times that went out before it, oldest first.
    pub earlier: Vec<UnixMillis>,
    /// Whose records tell of it.
    pub writer: WriterSlot,
}

/// See the header of this file.
#[derive(Debug)]
pub struct Owner {
    settings: OwnerSettings,
    processors: Arc<Processors>,
    claims: Claims,
    ledger: Ledger,
    flows: Table<Flow>,
    attempts: Table<Attempt>,
    lanes: Configured<Lane>,
    addresses: Addresses,
    /// Payments that wait for a processor, oldest first.
    waiting: PerProcessor<BTreeSet<(Mono, Key)>>,
    /// Payments to be sent again to the processor that never answered, longest due first.
    pinned: PerProcessor<BTreeSet<(Mono, Key)>>,
    /// Attempts whose late answer is still awaited, oldest first; may name some that are gone.
    late: VecDeque<AttemptRef>,
    wheel: Wheel,
    /// The earliest time that was armed since the driver was last told.
    alarm: Option<Mono>,
    due: Vec<u32>,
    journal: Writers,
    intake: Intake,
    actions: VecDeque<Action>,
    /// One for each `Append` among the actions.
    records: VecDeque<Record>,
    clients_waiting: usize,
    /// Payments that a journal brought back, under whatever bounds they were taken in.
    restored: usize,
    inherited: Inherited,
    /// When the event came that is being handled.
    moment: Now,
    recent: Recent,
    /// One for each `Tell` among the actions.
    tellings: VecDeque<Telling>,
}

/// What a payment in doubt may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Be sent there, or to any address where the journal knows none.
    To(Option<SocketAddr>),
    /// Be asked about there.
    Ask(SocketAddr),
    /// Neither, for now.
    Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JournalStanding {
    Off,
    On,
    Failed,
}

/// Whether payments are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intake {
    Open,
    /// The store cannot be reached, so that no id can be claimed.
    Away,
    /// A journal failed, this core's or another's: the process is about to stop.
    Closed,
}

impl Owner {
    /// An owner without payments.
    #[must_use]
    pub fn new(settings: OwnerSettings, processors: Arc<Processors>) -> Self {
        let claims =
            Claims::new(settings.claims_max, settings.claims_ttl).when_full(settings.claims_full);
        let ledger = Ledger::new(settings.ledger_exact);
        Self::with_past(settings, processors, claims, ledger)
    }

    /// An owner that goes on with what the journal remembers; `restore` adds the open payments.
    #[must_use]
    pub fn with_past(
        settings: OwnerSettings,
        processors: Arc<Processors>,
        claims: Claims,
        ledger: Ledger,
    ) -> Self {
        let standing = match settings.journal {
            Journalling::Off => JournalStanding::Off,
            Journalling::On | Journalling::Store => JournalStanding::On,
        };
        Self {
            settings,
            processors,
            claims,
            ledger,
            flows: Table::default(),
            attempts: Table::default(),
            lanes: Configured::new(settings.processors, |_| Lane::new(settings.routing)),
            addresses: Addresses::default(),
            waiting: PerProcessor::default(),
            pinned: PerProcessor::default(),
            late: VecDeque::new(),
            wheel: Wheel::new(),
            alarm: None,
            due: Vec::new(),
            journal: Writers::new(standing),
            intake: match settings.journal {
                Journalling::Off | Journalling::On => Intake::Open,
                Journalling::Store => Intake::Away,
            },
            actions: VecDeque::new(),
            records: VecDeque::new(),
            clients_waiting: 0,
            restored: 0,
            inherited: Inherited::default(),
            moment: Now::default(),
            recent: Recent::default(),
            tellings: VecDeque::new(),
        }
    }

    /// The next thing for the driver to do.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The record that goes with the `Append` that was just given out. Records are several times
    /// as large as all else, and would make every action as large.
    pub fn next_record(&mut self) -> Option<Record> {
        self.records.pop_front()
    }

    /// What goes with the `Tell` that was just given out.
    pub fn next_telling(&mut self) -> Option<Telling> {
        self.tellings.pop_front()
    }

    // ---- events: a payment ----

    /// A `POST /payments` reached its owner core.
    pub fn arrive(&mut self, arrival: Arrival, now: Now) {
        self.moment = now;
        if let Some(answer) = self.known(&arrival.payment) {
            self.answer(arrival.reply_to, answer);
            return;
        }
        if let Some((shed, answer)) = self.overload(now) {
            self.note(Note::Shed(shed));
            self.answer(arrival.reply_to, answer);
            return;
        }
        let mut flow = Flow::new(arrival.payment, Some(arrival.reply_to), now);
        flow.deadline = now.mono.after(self.settings.request_timeout);
        flow.trace = arrival.trace;
        let id = flow.payment.id;
        let key = self.flows.insert(flow);
        self.claims.hold(id, key.slot);
        self.clients_waiting += 1;
        self.admit(key, now);
        self.check_bounds();
    }

    /// Takes up a payment that was open when the process ended. A client may have been told that it
    /// is held, or charged, so it is never freed. The processor that its open Intent names knows
    /// the id again.
    pub fn restore(&mut self, restored: &Restored, now: Now) {
        let mut flow = Flow::new(restored.payment, None, now);
        flow.promise = match restored.accepted_at {
            Some(_) => Promise::Given,
            None => Promise::Inherited,
        };
        flow.trail = Trail::Written;
        flow.writer = restored.writer;
        flow.accepted_at = restored.accepted_at.unwrap_or(now.wall);
        let waited = now.wall.0.saturating_sub(flow.accepted_at.0).max(0);
        let waited = Duration::from_millis(waited.unsigned_abs()).min(self.settings.fallback_after);
        flow.waited_before = waited;
        for requested_at in &restored.earlier {
            flow.mint(*requested_at);
        }
        if let Some((processor, requested_at)) = restored.open {
            flow.restore_pinned(processor, requested_at);
            flow.address = restored.address;
        }
        let id = flow.payment.id;
        let is_adopted = restored.writer != WriterSlot::OWN;
        if is_adopted && !self.make_way(&restored.payment, now) {
            return;
        }
        let key = self.flows.insert(flow);
        self.moment = now;
        let open = restored.open.map(|(processor, _)| processor);
        self.remarkable(key, Remark::Restored, Fact::Restored { open });
        self.restored = self.restored.saturating_add(1);
        self.claims.hold(id, key.slot);
        if let Some(flow) = self.flows.get(key).filter(|_| restored.open.is_some()) {
            self.inherited.insert(key, flow);
        }
        if restored.open.is_some() {
            self.await_resend(key, now.mono, now);
            return;
        }
        self.plan(key, now);
    }

    /// A bound that forbids another payment, checked before its id is claimed.
    fn overload(&mut self, now: Now) -> Option<(Shed, Answer)> {
        match self.intake {
            Intake::Open => {}
            Intake::Away | Intake::Closed => return Some((Shed::Journal, Answer::JournalDown)),
        }
        let waiting_max = self.processors.waiting_max(self.settings.waiting_max);
        if self.clients_waiting >= waiting_max {
            return Some((Shed::Concurrency, Answer::Overloaded));
        }
        if self.unwaited() >= self.settings.queue_max {
            return Some((Shed::Queue, Answer::Overloaded));
        }
        if !self.claims.has_room(now.mono) {
            return Some((Shed::Cache, Answer::NoRoom));
        }
        None
    }

    /// Unsettled payments that no one waits for.
    fn unwaited(&self) -> usize {
        self.flows.len().saturating_sub(self.clients_waiting)
    }

    /// Whether another page of adopted payments may come.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.unwaited() < self.settings.queue_max
    }

    /// I8, stated once: everything that an arrival may add to.
    fn check_bounds(&self) {
        assert!(
            self.clients_waiting <= self.settings.waiting_max,
            "I8: clients that wait"
        );
        let flows_max = self
            .settings
            .queue_max
            .saturating_add(self.settings.waiting_max);
        assert!(
            self.clients_waiting <= self.flows.len(),
            "I8: every client waits for a payment"
        );
        debug_assert!(self.flows.len() <= flows_max.saturating_add(self.restored));
    }

    // ---- events: the journal ----

    /// Records up to the `up_to`-th that this owner gave out to `writer` are durable.
    pub fn durable(&mut self, writer: WriterSlot, up_to: u64, now: Now) {
        assert!(
            up_to <= self.journal.get(writer).appended,
            "I5: durable runs ahead of what was appended"
        );
        self.moment = now;
        while let Some((position, key)) = self.journal.next_durable(writer, up_to) {
            let is_awaited = self
                .flows
                .get(key)
                .is_some_and(|flow| flow.record == position);
            if is_awaited {
                self.on_written(key, now);
            }
        }
        self.pump(now);
    }

    /// A write or a sync failed. Nothing is taken in any more, and those who wait are told nothing:
    /// no promise and no verdict can be durable any more. Replay decides.
    pub fn journal_failed(&mut self) {
        self.fail(Self::last_word);
    }

    /// The store has forgotten what it had acknowledged, or did what p99 rules out: no Intent is
    /// durable for certain, so of nothing that is out it can be said that it is held.
    pub fn store_failed(&mut self) {
        self.fail(|_, _| Answer::Silence);
    }

    fn fail(&mut self, last_word: fn(&Self, Key) -> Answer) {
        self.journal.standing = JournalStanding::Failed;
        self.close_intake();
        self.journal.forget_waiting();
        let waiting: Vec<_> = self
            .flows
            .iter()
            .filter(|(_, flow)| flow.waiter.is_some())
            .map(|(key, _)| key)
            .collect();
        for key in waiting {
            let answer = last_word(self, key);
            self.tell(key, answer);
        }
    }

    /// Another core's journal failed: nothing new is taken in, and what is here goes on.
    pub fn close_intake(&mut self) {
        self.intake = Intake::Closed;
    }

    // ---- questions ----

    /// All that is known of `id`.
    #[must_use]
    pub fn find(&self, id: UpstreamId) -> Option<PaymentView> {
        match self.claims.look(id) {
            Claim::Fresh => None,
            Claim::Settled(settled) => Some(PaymentView {
                status: settled.status,
                amount: settled.amount,
                processor: settled.processor,
                requested_at: settled.requested_at,
            }),
            Claim::Pending(slot) => {
                let key = self.flows.key_at(slot)?;
                let flow = self.flows.get(key)?;
                let processor = flow.pinned();
                Some(PaymentView {
                    status: Status::Pending,
                    amount: flow.payment.amount,
                    processor,
                    requested_at: processor.and_then(|_| flow.requested_at()),
                })
            }
        }
    }

    /// Forgets ledger and settled claims; pending payments stay and count when they settle.
    /// Returns how many records must be durable before the caller may be told.
    pub fn purge(&mut self, now: Now) -> u64 {
        self.claims.forget_settled();
        self.ledger.clear();
        if self.journal.standing == JournalStanding::On {
            self.append(WriterSlot::OWN, Record::Purge { at: now.wall });
            self.repeat_verdicts();
        }
        self.journal.get(WriterSlot::OWN).appended
    }

    /// When `tick` must be called at the latest for what was armed since this was last asked.
    pub fn take_alarm(&mut self) -> Option<Mono> {
        self.alarm.take()
    }

    /// When `tick` must be called at the latest, as far as timers say. Searches for it.
    #[must_use]
    pub fn next_timer(&self) -> Option<Mono> {
        [self.wheel.next(), self.journal.flush_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Unsettled payments.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.flows.len()
    }

    /// Unsettled payments, for logs and for `GET /payments/{id}` of operators.
    pub fn unsettled(&self) -> impl Iterator<Item = &Flow> {
        self.flows.iter().map(|(_, flow)| flow)
    }

    /// How this core stands, for its gauges. Walks the unsettled payments: for scrapes only.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges {
            pending: self.flows.len(),
            clients_waiting: self.clients_waiting,
            oldest: self.flows.iter().map(|(_, flow)| flow.arrived).min(),
            settled_claims: self.claims.settled_len(),
            forgotten: self.claims.forgotten(),
            queued: PerProcessor::from_fn(|processor| {
                self.waiting.get(processor).len() + self.pinned.get(processor).len()
            }),
            in_flight: PerProcessor::from_fn(|processor| {
                self.lanes.find(processor).map_or(0, Lane::slots_used)
            }),
            late: self.late.len(),
        }
    }
}

/// One core's gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Unsettled payments.
    pub pending: usize,
    /// Clients that wait for an answer.
    pub clients_waiting: usize,
    /// When the oldest unsettled payment arrived.
    pub oldest: Option<Mono>,
    /// Settled claims that are remembered.
    pub settled_claims: usize,
    /// Settled claims that were forgotten.
    pub forgotten: Forgotten,
    /// Payments in each processor's queues.
    pub queued: PerProcessor<usize>,
    /// Attempts in flight at each processor.
    pub in_flight: PerProcessor<usize>,
    /// Late answers awaited.
    pub late: usize,
}

/// What a caller knows to be there: a payment that is not settled, an attempt that has not ended.
///
/// # Panics
/// It is not: what follows would be decided about nothing.
#[track_caller]
#[expect(clippy::panic, reason = "a broken invariant, as with assert")]
fn held<T>(one: Option<T>) -> T {
    match one {
        Some(one) => one,
        None => panic!("I1: what an owner works on is held by it"),
    }
}
