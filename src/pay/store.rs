//! A core on the shared store: each of its writers has a task with a connection of its own, which
//! performs what the writer's machine wants. What the machines report goes to the owner, and what
//! is not for the owner is counted, logged or given to the core that asked.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::process;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use super::authorities;
use super::messages::Reply;
use super::waker::TimerWaker;
use super::{CoreRuntime, Shared};
use crate::clock::{Boot, Mono, Now};
use crate::config::Config;
use crate::events::{StoreLine, WriterSlot};
use crate::journal::{Haste, Move};
use crate::limits;
use crate::metrics::CoreMetrics;
use crate::payment::CoreId;
use crate::reactor::Reactor;
use crate::shared::{News, Writers};
use crate::store::{
    self, Executor, Machine, MachineTerms, StorePlace, SweepNews, Sweeper, processors,
};
use crate::table::Key;

/// How long ago the last batch that the store acknowledged may have been sent while an instance
/// says that it is ready.
const STORE_SILENCE_MAX: Duration = Duration::from_secs(5);
/// One fault of the store's connections is logged in so long.
const STORE_FAULTS_LOG_INTERVAL: Duration = Duration::from_secs(5);

/// See the header of this file.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) writers: RefCell<Writers>,
    place: Rc<StorePlace>,
    /// The task of each slot, while it runs.
    pub(super) tasks: RefCell<BTreeMap<WriterSlot, Rc<TimerWaker>>>,
    /// Where the answers to questions are awaited.
    pub(super) asked: RefCell<BTreeMap<u64, Key>>,
    terms: MachineTerms,
    /// Before this the next fault of a connection is not logged.
    quiet_until: Cell<Mono>,
}

/// Refuses a store that p99 cannot run with. One that cannot be reached yet may come: no payment
/// is taken in before.
pub(super) fn look_at(config: &Config) -> Result<(), String> {
    let Some(store) = &config.store else {
        return Ok(());
    };
    let place = StorePlace::new(store.url.clone(), store.is_prepared);
    let reactor = Reactor::best().map_err(|fault| format!("cannot ask the store: {fault}"))?;
    reactor.run(async {
        let found = match store::operator::check(&place).await {
            Ok(found) => found,
            Err(why) => {
                log::error!("store: {why}; no payment is taken in before it answers");
                return Ok(());
            }
        };
        for fact in &found.facts {
            log::info!("store: {fact}");
        }
        for warning in found.warnings.iter().chain(&found.waits) {
            log::warn!("store: {warning}");
        }
        if !found.faults.is_empty() {
            return Err(format!("STORE: {}", found.faults.join("; ")));
        }
        let agreed = processors::agree(&place, &authorities(config)).await;
        agreed.map(tell_moves)
    })
}

fn tell_moves(moves: Vec<Move>) {
    for one in moves {
        log::warn!("store: {one}");
    }
}

impl Store {
    /// The store that `config` names, for `core`; `None` where it names none.
    pub(super) fn of(config: &Config, core: CoreId, now: Now) -> Option<Self> {
        let store = config.store.as_ref()?;
        let place = StorePlace::new(store.url.clone(), store.is_prepared);
        let place = place.about(authorities(config));
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let mut holder = format!("{} pid {} core {}", host.trim(), process::id(), core.0);
        // Where operators ask this instance.
        if let Some(address) = config.admin_listen.iter().chain(&config.listen).next() {
            holder.push_str(&format!(" at {address}"));
        }
        let terms = MachineTerms {
            // No one else draws the same nonces: the keys of this hash are the process's own.
            seed: RandomState::new().hash_one((now.boot, core)),
            holder,
            is_lookout: true,
            now: now.boot,
        };
        Some(Self {
            writers: RefCell::new(Writers::new(terms.clone())),
            terms,
            place: Rc::new(place),
            tasks: RefCell::default(),
            asked: RefCell::default(),
            quiet_until: Cell::default(),
        })
    }

    /// Takes a record of the owner's.
    pub(super) fn append(&self, slot: WriterSlot, record: &crate::journal::Record, haste: Haste) {
        self.writers.borrow_mut().append(slot, record, haste);
    }

    /// Takes what the owner says to a store alone.
    pub(super) fn append_line(&self, slot: WriterSlot, line: StoreLine, haste: Haste) {
        self.writers.borrow_mut().append_line(slot, line, haste);
    }

    /// Up to which record of `slot` all is durable.
    pub(super) fn durable(&self, slot: WriterSlot) -> u64 {
        let writers = self.writers.borrow();
        writers.machine(slot).map_or(0, Machine::durable)
    }

    /// Has all that was appended written at once.
    pub(super) fn flush(&self, slot: WriterSlot) {
        self.writers.borrow_mut().flush(slot);
    }

    /// How its writers stand.
    pub(super) fn show(&self, metrics: &CoreMetrics) {
        let writers = self.writers.borrow();
        let machines = || writers.slots().filter_map(|slot| writers.machine(slot));
        let lag = machines().map(|one| one.last().saturating_sub(one.durable()));
        metrics.store.lag.set(lag.sum());
        metrics
            .store
            .open_rows
            .set_len(machines().map(Machine::open_rows).sum());
        metrics
            .store
            .doubtful
            .show(machines().map(Machine::doubtful).sum());
        let held = machines().filter(|one| one.writer().is_some() && !one.has_ended());
        metrics.store.writers.set_len(held.count());
        let own = writers.machine(WriterSlot::OWN);
        let acknowledged = own.and_then(Machine::acknowledged);
        let silence = Boot::now().since(acknowledged.unwrap_or(self.terms.now));
        let micros = u64::try_from(silence.as_micros()).unwrap_or(u64::MAX);
        metrics.store.silence_us.set(micros);
    }

    /// Wakes each task that would sleep past the time of its machine.
    fn ring(&self, now: Now) {
        let writers = self.writers.borrow();
        for (slot, waker) in &*self.tasks.borrow() {
            if let Some(at) = writers.wake_at(*slot) {
                waker.ring_for(now.mono.after(at.since(now.boot)));
            }
        }
    }

    /// A slot whose task is to be started.
    fn next_idle(&self) -> Option<WriterSlot> {
        let writers = self.writers.borrow();
        let tasks = self.tasks.borrow();
        let mut slots = writers.slots();
        slots.find(|slot| {
            let machine = writers.machine(*slot);
            machine.is_some_and(|one| !one.has_ended()) && !tasks.contains_key(slot)
        })
    }

    /// Whether a fault is to be logged: one in a while.
    fn is_told(&self, now: Mono) -> bool {
        let is_due = self.quiet_until.get() <= now;
        if is_due {
            self.quiet_until.set(now.after(STORE_FAULTS_LOG_INTERVAL));
        }
        is_due
    }
}

impl Shared {
    fn note_store_fault(&self, at: Mono, why: &str) {
        *self.store_fault() = Some((at, why.to_owned()));
    }

    /// What went wrong with the store last, and when.
    pub(super) fn store_fault(&self) -> MutexGuard<'_, Option<(Mono, String)>> {
        let fault = self.store_fault.lock();
        fault.unwrap_or_else(PoisonError::into_inner)
    }
}

impl CoreRuntime {
    /// What went wrong with the store last, and when.
    #[must_use]
    pub(crate) fn store_fault(&self) -> Option<(Mono, String)> {
        self.shared.store_fault().clone()
    }

    /// Starts the tasks of writers that have none.
    pub(super) fn start_writers(self: &Rc<Self>, store: &Store) {
        while let Some(slot) = store.next_idle() {
            let waker = Rc::new(TimerWaker::default());
            store.tasks.borrow_mut().insert(slot, Rc::clone(&waker));
            monoio::spawn(Rc::clone(self).write_store(slot, waker));
        }
    }

    /// Forgets ids that are old enough, where this instance has the turn. Runs on core 0.
    pub(super) async fn sweep_store(self: Rc<Self>) {
        let Some(store) = &self.store else { return };
        let sweeper = Sweeper::new(
            // Another one than its machine's first.
            !store.terms.seed.cast_signed(),
            store.terms.holder.clone(),
            self.config.cache_ttl,
            store.terms.now,
        );
        let fault = |why: &str| {
            if store.is_told(self.now().mono) {
                log::warn!("store, sweeping: {why}");
            }
        };
        let tell = |news| match news {
            SweepNews::Forgotten(count) => log::debug!("store: {count} old ids are forgotten"),
            SweepNews::ClockJumped(millis) => log::error!(
                "store: the database's clock is {millis} ms off against this machine's; no id is \
                 forgotten until it is back"
            ),
            SweepNews::ClockIsBack => log::info!("store: the database's clock is back"),
        };
        store::sweep(Rc::clone(&store.place), sweeper, tell, fault).await;
    }

    /// Says once in which places the processors are, where the start could not.
    async fn agree_on_processors(&self, store: &Store) {
        loop {
            let now = authorities(&self.config);
            match processors::agree(&store.place, &now).await {
                Ok(moves) => return tell_moves(moves),
                Err(why) if store.is_told(self.now().mono) => log::warn!("store: {why}"),
                Err(_) => {}
            }
            monoio::time::sleep(limits::STORE_PAUSE_MAX).await;
        }
    }

    async fn write_store(self: Rc<Self>, slot: WriterSlot, waker: Rc<TimerWaker>) {
        let Some(store) = &self.store else { return };
        if (self.core, slot) == (CoreId(0), WriterSlot::OWN) {
            self.agree_on_processors(store).await;
        }
        let mut executor = Executor::new(Rc::clone(&store.place));
        loop {
            let now = self.now();
            let command = store.writers.borrow_mut().next(slot, now.boot);
            if let Some(command) = command {
                let outcome = executor.perform(command).await;
                let now = self.now();
                if let Some(why) = outcome.fault() {
                    self.metrics.store.faults.increment();
                    self.shared.note_store_fault(now.mono, why);
                    if store.is_told(now.mono) {
                        log::warn!("store: {why}");
                    }
                }
                store.writers.borrow_mut().outcome(slot, outcome, now.boot);
                self.tell(now, |_| ());
                self.start_writers(store);
                continue;
            }
            let wake_at = match store.writers.borrow().machine(slot) {
                Some(machine) if !machine.has_ended() => machine.wake_at(),
                Some(_) | None => break,
            };
            let longest = limits::HOUSEKEEPING_INTERVAL;
            let span = wake_at.map_or(longest, |at| at.since(now.boot).min(longest));
            waker.sleep(now.mono, now.mono.after(span)).await;
        }
        store.tasks.borrow_mut().remove(&slot);
    }

    /// What the machines report, as far as it is known by now. Part of every event.
    pub(super) fn hear_store(&self, store: &Store, now: Now) {
        let slots = store.writers.borrow().slots();
        for slot in slots {
            loop {
                let mut writers = store.writers.borrow_mut();
                let is_told = writers.tell(slot, &mut self.owner.borrow_mut(), now);
                let news = writers.next_news();
                drop(writers);
                self.act_all(now);
                if is_told {
                    self.answer_durable(slot, store.durable(slot));
                }
                if let Some(news) = news {
                    self.take_news(store, news, now);
                } else if !is_told {
                    break;
                }
            }
        }
        store.ring(now);
    }

    fn take_news(&self, store: &Store, news: News, now: Now) {
        let core = self.core.0;
        match news {
            News::Answered { question, reply } => {
                let key = store.asked.borrow_mut().remove(&question);
                if let Some(key) = key {
                    self.replies.put(key, Reply::Store(reply));
                }
            }
            News::Committed { size, took } => {
                self.metrics.store.commit_duration.record(took);
                self.metrics.forced_recent.record(took, now.mono);
                self.note_acknowledged(store);
                let ids = u64::try_from(size).unwrap_or(u64::MAX);
                self.metrics.store.ids.add(ids);
            }
            News::Adopted(writer) => {
                self.metrics.store.adopted.increment();
                log::warn!(
                    "core {core}: adopts writer {}, whose instance is gone",
                    writer.0
                );
            }
            News::Registered(writer) => log::info!("core {core}: is writer {}", writer.0),
            News::Reachable(true) => {
                store.quiet_until.set(now.mono);
                log::info!("core {core}: the store answers");
            }
            News::Reachable(false) => {
                log::error!("core {core}: the store does not answer; new payments are refused");
            }
            News::Ended(end) => self.end_store(&end),
        }
    }

    /// For every core's readiness.
    fn note_acknowledged(&self, store: &Store) {
        let writers = store.writers.borrow();
        let own = writers.machine(WriterSlot::OWN);
        if let Some(sent_at) = own.and_then(Machine::acknowledged)
            && let Some(place) = self.shared.acknowledged.get(self.core.index())
        {
            place.store(sent_at.0, Ordering::Relaxed);
        }
    }

    /// How long ago the last batch was sent that the store acknowledged, on the core where that is
    /// longest.
    fn store_silence(&self) -> Option<Duration> {
        let now = Boot::now();
        let all = self.shared.acknowledged.iter();
        let oldest = all.map(|at| at.load(Ordering::Relaxed)).min()?;
        (oldest > 0).then(|| now.since(Boot(oldest)))
    }

    /// Whether the store has not answered one of the cores for too long, or never.
    pub(super) fn is_store_silent(&self) -> bool {
        let silence = self.store_silence();
        silence.is_none_or(|silence| silence > STORE_SILENCE_MAX)
    }
}
