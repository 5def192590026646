//! Performs what the owner asks for and tells it what happened: the only place where decisions and
//! the kernel meet. Every event reads the clock once; actions that an action causes are performed
//! in the same go, in order.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::messages::{CoreRequest, Reply};
use super::waker::Woken;
use super::{CoreRuntime, Failure, Performing, lines, notes};
use crate::clock::{Mono, Now, UnixMillis};
use crate::events::{Action, Arrival, AttemptRef, Exchange, Lookup, ReplyTo, WriterSlot};
use crate::journal::{Haste, Pending, Progress, WriterTask};
use crate::limits;
use crate::mailbox::Message;
use crate::metrics::{EventKind, HandOverFailure};
use crate::owner::{Owner, Restored};
use crate::pay::TIMER_STEP;
use crate::payment::CoreId;
use crate::upstream::{NameIndex, Sink};
use crate::wire::UpstreamPayment;

/// How often connects under way are looked at; CONNECT_TIMEOUT_MS is exact to this.
const CONNECT_SWEEP_INTERVAL: Duration = Duration::from_millis(10);

impl CoreRuntime {
    /// Starts this core's own tasks and goes on with what the journal left open.
    pub(super) fn begin(
        self: &Rc<Self>,
        pending: Vec<Pending>,
        task: Option<WriterTask>,
        now: Now,
    ) {
        for (processor, _) in self.config.upstream.iter() {
            let listing = self.names.borrow().listing(NameIndex::of(processor));
            self.owner.borrow_mut().resolved(processor, listing, now);
        }
        for payment in pending {
            let restored = Restored {
                payment: payment.payment,
                accepted_at: payment.accepted_at,
                open: payment.open.map(|sent| (sent.processor, sent.requested_at)),
                address: payment.open.and_then(|sent| sent.address),
                earlier: payment
                    .earlier
                    .iter()
                    .map(|sent| sent.requested_at)
                    .collect(),
                writer: WriterSlot::OWN,
            };
            self.owner.borrow_mut().restore(&restored, now);
            self.perform(now);
        }
        if self.core == CoreId(0) && !self.config.shards.peers.is_empty() {
            monoio::spawn(Rc::clone(self).watch_peers());
        }
        if let (CoreId(0), Some(interval)) = (self.core, self.config.health_interval) {
            monoio::spawn(Rc::clone(self).watch_health(interval));
        }
        if let Some(task) = task {
            monoio::spawn(Rc::clone(self).write_journal(task));
        }
        if let Some(store) = &self.store {
            self.start_writers(store);
            if self.core == CoreId(0) {
                monoio::spawn(Rc::clone(self).sweep_store());
            }
        }
        self.upstream.warm_up();
        monoio::spawn(Rc::clone(self).keep_time());
        monoio::spawn(Rc::clone(self).read_mail());
        monoio::spawn(Rc::clone(self).read_names());
    }

    /// A payment of this core's own.
    pub(super) fn arrive(&self, arrival: Arrival, now: Now) {
        self.tell(now, |owner| owner.arrive(arrival, now));
    }

    /// Tells the owner something and performs what comes of it.
    pub(super) fn tell<R>(&self, now: Now, event: impl FnOnce(&mut Owner) -> R) -> R {
        let result = event(&mut self.owner.borrow_mut());
        self.perform(now);
        result
    }

    fn perform(&self, now: Now) {
        if self.performing.replace(Performing::Yes) == Performing::Yes {
            return;
        }
        self.act_all(now);
        if let Some(store) = &self.store {
            self.hear_store(store, now);
        }
        self.performing.set(Performing::No);
        if let Some(at) = self.owner.borrow_mut().take_alarm() {
            self.waker.ring_for(at);
        }
    }

    pub(super) fn act_all(&self, now: Now) {
        loop {
            let action = self.owner.borrow_mut().next_action();
            let Some(action) = action else { break };
            self.act(action, now);
        }
    }

    fn act(&self, action: Action, now: Now) {
        match action {
            Action::Connect {
                attempt,
                processor,
                fresh,
                at,
            } => {
                let reached = self.upstream.connect(attempt, processor, fresh, at);
                let mut owner = self.owner.borrow_mut();
                if reached.is_some() {
                    owner.connected(attempt, reached, now);
                } else {
                    owner.connecting(attempt);
                }
            }
            Action::Abandon { attempt } => self.upstream.abandon(attempt),
            Action::Send {
                attempt,
                id,
                amount,
                requested_at,
                trace,
            } => {
                let payment = UpstreamPayment {
                    id,
                    amount,
                    requested_at,
                };
                if !self.upstream.send(attempt, &payment, trace.as_deref()) {
                    self.owner
                        .borrow_mut()
                        .exchanged(attempt, Exchange::NotSent, now);
                }
            }
            Action::Lookup {
                attempt,
                processor,
                id,
                at,
            } => {
                self.upstream.lookup(attempt, processor, id, at);
            }
            Action::Close { attempt } => self.upstream.close(attempt),
            Action::Append(slot, haste) => self.append(slot, haste),
            Action::AppendToStore(slot, line, haste) => {
                if let Some(store) = &self.store {
                    store.append_line(slot, line, haste);
                }
            }
            Action::Flush(slot) => {
                if let Some(writer) = &self.writer {
                    writer.flush();
                }
                if let Some(store) = &self.store {
                    store.flush(slot);
                }
            }
            Action::Answer { to, answer } => {
                self.give(to, Reply::Answer(answer));
            }
            Action::Note(note) => {
                notes::count(&self.metrics, &note, now.mono);
                notes::show(&self.shared.metrics.events, &note, now.mono);
            }
            Action::Tell => {
                let telling = self.owner.borrow_mut().next_telling();
                lines::pass_on(telling, self.shared.audit.as_ref());
            }
        }
    }

    fn append(&self, slot: WriterSlot, haste: Haste) {
        let record = self.owner.borrow_mut().next_record();
        match (&self.writer, &self.store, &record) {
            (Some(writer), _, Some(record)) => {
                writer.append(record, haste);
                self.metrics.journal_records.increment();
            }
            (None, Some(store), Some(record)) => store.append(slot, record, haste),
            (_, _, _) => {}
        }
    }

    /// Puts a reply where it is awaited, on this core or another.
    pub(super) fn give(&self, to: ReplyTo, reply: Reply) {
        if to.core == self.core {
            self.replies.put(to.key, reply);
        } else if self.mailbox.reply(to.core, (to.key, reply)).is_err() {
            // The hand-over reserved its room; the client that waits is swept.
            log::error!(
                "core {}: no room for a reply to core {}",
                self.core.0,
                to.core.0
            );
        }
    }

    // ---- tasks of this core ----

    /// Timers, and everything that is looked at now and then.
    async fn keep_time(self: Rc<Self>) {
        let mut housekeeping = Mono::default();
        loop {
            let now = self.now();
            let due = self.tell(now, |owner| owner.tick(now));
            if self.upstream.is_connecting() || housekeeping <= now.mono {
                self.upstream.sweep(now.mono);
            }
            if housekeeping <= now.mono {
                housekeeping = now.mono.after(limits::HOUSEKEEPING_INTERVAL);
                self.keep_house(now);
            }
            let latest = if self.upstream.is_connecting() {
                now.mono.after(CONNECT_SWEEP_INTERVAL)
            } else {
                housekeeping
            };
            let until = due.map_or(latest, |due| due.min(latest)).max(now.mono);
            if self.waker.sleep(now.mono, until).await == Woken::ByTime {
                let planned = until.max(now.mono.after(TIMER_STEP));
                let gap = self.clock.note_wake(planned, self.now().mono);
                if !gap.is_zero() {
                    self.metrics.stalled(gap);
                }
            }
        }
    }

    fn keep_house(&self, now: Now) {
        let overdue = self.replies.sweep(now.mono);
        for _ in 0..overdue {
            self.metrics
                .hand_over_failures
                .get(HandOverFailure::NoReply)
                .increment();
        }
        if self.shared.has_journal_failed.load(Ordering::Relaxed) {
            self.owner.borrow_mut().close_intake();
        }
        let pending = self.owner.borrow().pending();
        self.metrics.payments_pending.set_len(pending);
        if self.core == CoreId(0) {
            self.summarise(now);
            self.shared.end_refusals(now);
        }
        // A wake-up that was lost must not strand a message.
        self.take_mail();
    }

    /// Nothing more becomes durable here, so no core takes payments in any more.
    pub(super) fn give_up(&self, failure: Failure, why: String) {
        let _ = self.failure.set((failure, why));
        self.give_up_replies();
        let shared = &self.shared;
        shared.has_journal_failed.store(true, Ordering::Relaxed);
        let now = self.now().mono;
        shared.metrics.happened(now, EventKind::NothingKept);
    }

    async fn write_journal(self: Rc<Self>, task: WriterTask) {
        let clock = || self.now().mono;
        task.run(clock, |progress| match progress {
            Progress::Durable { up_to, bytes, sync } => {
                self.metrics
                    .journal_bytes
                    .add(u64::try_from(bytes).unwrap_or(u64::MAX));
                let now = self.now();
                if let Some(span) = sync {
                    self.metrics.journal_sync_duration.record(span);
                    self.metrics.forced_recent.record(span, now.mono);
                }
                self.tell(now, |owner| owner.durable(WriterSlot::OWN, up_to, now));
                self.answer_durable(WriterSlot::OWN, up_to);
            }
            Progress::Failed(fault) => {
                log::error!("journal: {fault}; no payment is taken in any more");
                self.metrics.journal_failures.increment();
                self.give_up(Failure::Broken, fault.to_string());
                let now = self.now();
                self.tell(now, Owner::journal_failed);
            }
        })
        .await;
    }

    async fn read_mail(self: Rc<Self>) {
        loop {
            self.mailbox.wait().await;
            self.take_mail();
        }
    }

    /// What the names resolve to, as it becomes known.
    async fn read_names(self: Rc<Self>) {
        loop {
            let found = self.resolved.next().await;
            let now = self.now();
            for (processor, _) in self.config.upstream.iter() {
                if found.name == NameIndex::of(processor) {
                    let listing = Arc::clone(&found.listing);
                    self.upstream.set_listing(processor, listing, now.mono);
                    let listing = Arc::clone(&found.listing);
                    self.tell(now, |owner| owner.resolved(processor, listing, now));
                }
            }
            self.names.borrow_mut().update(found);
        }
    }

    fn take_mail(&self) {
        let mut has_reply = false;
        self.mailbox.drain(|from, letter| match letter {
            Message::Request(request) => self.on_request(from, request),
            Message::Reply((key, reply)) => {
                has_reply = true;
                self.replies.put(key, reply);
            }
        });
        if has_reply {
            // For those who go on with a reply in this turn.
            let _ = self.now();
        }
    }

    fn on_request(&self, from: CoreId, question: CoreRequest) {
        let to = |key| ReplyTo { core: from, key };
        match question {
            CoreRequest::Arrive(arrival) => self.arrive(arrival, self.now()),
            CoreRequest::Find(key, id) => {
                let finding = self.owner.borrow().find(id);
                self.give(to(key), Reply::Found(finding));
            }
            CoreRequest::Explain(key, id) => {
                let facts = self.owner.borrow().facts_of(id);
                self.give(to(key), Reply::Facts(facts));
            }
            CoreRequest::Sum(key, start, end) => {
                let sums = self.owner.borrow().sums(start, end);
                self.give(to(key), Reply::Sums(sums.map(Box::new)));
            }
            CoreRequest::List(key) => {
                let (views, count) = self.owner.borrow().list(self.now());
                self.give(to(key), Reply::Pending(views, count));
            }
            CoreRequest::Resolve(key, id, resolution) => {
                self.resolve_here(to(key), id, resolution);
            }
            CoreRequest::Purge(key) => self.forget(to(key)),
            CoreRequest::Show(key, count) => {
                self.show_gauges();
                let oldest = self.owner.borrow().oldest(count);
                self.give(to(key), Reply::Shown(oldest));
            }
        }
    }
}

impl Sink for CoreRuntime {
    fn connected(&self, attempt: AttemptRef, address: SocketAddr) {
        let now = self.now();
        self.tell(now, |owner| owner.connected(attempt, Some(address), now));
    }

    fn exchanged(&self, attempt: AttemptRef, exchange: Exchange) {
        let now = self.now();
        self.tell(now, |owner| owner.exchanged(attempt, exchange, now));
    }

    fn looked_up(&self, attempt: AttemptRef, lookup: Lookup) {
        let now = self.now();
        self.tell(now, |owner| owner.looked_up(attempt, lookup, now));
    }

    fn mono(&self) -> Mono {
        self.now().mono
    }

    fn latest(&self) -> Mono {
        self.clock.latest().mono
    }

    fn wall(&self) -> UnixMillis {
        self.now().wall
    }
}
