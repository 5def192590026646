//! What p99 counts, and the page that shows it.
//!
//! Each core has its own [`CoreMetrics`], padded so that no two cores write one cache line. The
//! core alone writes it, with plain loads and stores; the page's renderer reads all cores and
//! adds up. Nothing is locked, so a scrape never stops a core, and it opens no file: what the
//! kernel knows of the process is refreshed by a helper thread.
//!
//! This room knows names, labels and types of the metrics (`families`, `legacy`), and nothing of
//! when something is counted: the driver and the server do that. It imports no other room's
//! decisions: breaker states come in as numbers. Ids are never labels (I8: the number of series is
//! fixed at the start), and money stays in cents until its digits are written (I7).

mod books;
mod cells;
mod events;
mod families;
mod faults;
mod kept;
mod labels;
mod legacy;
mod met;
mod page;
mod process;
mod rolling;
mod settings;
mod status;
mod sums;
mod tally;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::clock::{Mono, UnixMillis};
use crate::payment::{
    Configured, CoreCount, CoreId, Outcome, PROCESSORS_MAX, Processor, ProcessorCount, Status,
    Totals,
};

pub(crate) use books::{BookDifference, BooksMetrics};
pub(crate) use cells::{By, Cell, Counter, Gauge, Histogram, Label, SharedCounter};
pub(crate) use events::{About, Event, EventKind, Events};
pub(crate) use faults::Fault;
pub(crate) use kept::StoreMetrics;
pub(crate) use labels::{
    ClaimDropped, Closed, ConnectResult, Driver, FileReading, HandOverFailure, HedgeEvent,
    LookupAnswer, PeerResult, ShedReason, StatusCode, Transition, Unanswered,
};
pub use labels::{JournalMode, Route};
pub(crate) use process::ProcessMetrics;
pub(crate) use rolling::Rolling;
pub(crate) use settings::{Changeable, ChangedSetting, SettingsMetrics};
pub(crate) use status::{InstanceStatus, Lately, ProcessorStatus};
pub(crate) use tally::Tally;

use met::Met;

/// One cell for each processor.
pub(crate) type ByProcessor<T> = By<Processor, T, { PROCESSORS_MAX }>;

/// What one core counts. Only this core may write; anybody may read.
#[derive(Debug, Default)]
pub struct CoreMetrics {
    /// Answers by route and status code; see [`CoreMetrics::answered`].
    requests: By<Route, By<StatusCode, Counter, { StatusCode::COUNT }>, { Route::COUNT }>,
    request_duration: By<Route, Histogram, { Route::COUNT }>,
    /// Answers to payments, by [`Met`].
    payments_recent: Rolling,
    /// Ended attempts by outcome; see [`CoreMetrics::attempt_ended`].
    attempts: ByProcessor<By<Outcome, Counter, 4>>,
    attempt_duration: ByProcessor<Histogram>,
    /// The same lately, by outcome.
    attempts_recent: ByProcessor<Rolling>,
    /// The last attempt that failed ([`Fault::pack`]); 0 before the first.
    last_fault: ByProcessor<Gauge>,
    /// When the oldest pending payment arrived, in microseconds plus 1; 0 without any.
    oldest_pending: Gauge,
    ledger: ByProcessor<LedgerCells>,
    driver: By<Driver, Gauge, { Driver::COUNT }>,

    /// Attempts in flight.
    pub attempts_in_flight: ByProcessor<Gauge>,
    /// Answers that were read after their attempt had become Unknown.
    pub late_answers: ByProcessor<Counter>,
    /// Connections on which a late answer is still awaited.
    pub late_reads: Gauge,
    /// Late reads given up because there were too many.
    pub late_reads_dropped: Counter,
    /// Attempts that repeat one with unknown outcome.
    pub resends: ByProcessor<Counter>,
    /// `GET {UPSTREAM_PAY_PATH}/{id}` by what it showed.
    pub lookups: ByProcessor<By<LookupAnswer, Counter, { LookupAnswer::COUNT }>>,
    /// Hedges.
    pub hedges: By<HedgeEvent, Counter, { HedgeEvent::COUNT }>,
    /// Connections to processors that were tried.
    pub connects: ByProcessor<By<ConnectResult, Counter, { ConnectResult::COUNT }>>,
    /// Open connections to processors, idle ones included.
    pub upstream_open: ByProcessor<Gauge>,
    /// Idle connections to processors.
    pub upstream_idle: ByProcessor<Gauge>,
    /// Payments in doubt whose address may be another processor's.
    pub payments_held_back: ByProcessor<Gauge>,

    /// Clients that wait for an outcome.
    pub clients_waiting: Gauge,
    /// Payments that are not settled, waited for or not.
    pub payments_pending: Gauge,
    /// Unsettled payments that no one waits for.
    pub queue_length: Gauge,
    /// Payments whose id was known already, by its status.
    pub duplicates: By<Status, Counter, 3>,
    /// Settled claims that are kept.
    pub claims_settled: Gauge,
    /// Settled claims that were forgotten.
    pub claims_dropped: By<ClaimDropped, Counter, { ClaimDropped::COUNT }>,
    /// Payments that were turned away before claiming.
    pub sheds: By<ShedReason, Counter, { ShedReason::COUNT }>,
    /// Requests beyond a client's rate.
    pub rate_limited: Counter,
    /// Requests whose client's address could not be told; they share one rate.
    pub clients_unknown: Counter,

    /// Client connections that are open.
    pub connections_open: Gauge,
    /// Client connections that were accepted.
    pub connections_accepted: Counter,
    /// Accepts that failed, mostly for want of file descriptors.
    pub accept_failures: Counter,
    /// Client connections that ended.
    pub connections_closed: By<Closed, Counter, { Closed::COUNT }>,
    /// Requests that were read and got no answer.
    pub unanswered: By<Unanswered, Counter, { Unanswered::COUNT }>,
    /// Payments handed to their owner core.
    pub hand_overs: Counter,
    /// Hand-overs that came to nothing.
    pub hand_over_failures: By<HandOverFailure, Counter, { HandOverFailure::COUNT }>,
    /// Calls to peers.
    pub peer_calls: By<PeerResult, Counter, { PeerResult::COUNT }>,

    /// Bytes appended to the journal.
    pub journal_bytes: Counter,
    /// Records appended to the journal.
    pub journal_records: Counter,
    /// How long each sync took.
    pub journal_sync_duration: Histogram,
    /// How long those of the last minute took; with a store, the batches to it.
    pub forced_recent: Rolling,
    /// Writes and syncs that failed.
    pub journal_failures: Counter,
    /// Records appended and not durable yet.
    pub journal_lag: Gauge,
    /// Size of this core's journal on disk.
    pub journal_disk_bytes: Gauge,
    /// Room on the journal's disk for whom p99 runs as.
    pub journal_free_bytes: Gauge,
    /// 1 while this core's next segment cannot be reserved.
    pub journal_next_missing: Gauge,

    /// What it writes to the shared store.
    pub store: StoreMetrics,

    /// 1 while this core may take payments.
    pub fit: Gauge,
    /// Turns of the event loop: a core that does not turn is stuck. The watchdog reads it.
    pub turns: Counter,
    /// Gaps in which this core did not run although it wanted to.
    pub stalls: Counter,
    /// Their sum in microseconds.
    pub stalled_us: Counter,
}

/// An answer to a client.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// What the request asked for.
    pub route: Route,
    /// The status code of the answer.
    pub status: u16,
    /// From the request's first byte to the answer.
    pub took: Duration,
}

/// The ledger of one processor on one core. A sum of cents beyond 64 bits stays at the end.
#[derive(Debug, Default)]
struct LedgerCells {
    payments: Gauge,
    cents: Gauge,
}

impl CoreMetrics {
    /// A request was answered.
    pub fn answered(&self, answer: Answered, now: Mono) {
        let Answered {
            route,
            status,
            took,
        } = answer;
        self.requests
            .get(route)
            .get(StatusCode::new(status))
            .increment();
        self.request_duration.get(route).record(took);
        if route == Route::Payments {
            self.payments_recent.record(took, now);
            self.payments_recent.count(Met::of(status).index(), now);
        }
    }

    /// An attempt ended, `took` after its first byte; zero when nothing was sent.
    pub fn attempt_ended(&self, processor: Processor, outcome: Outcome, took: Duration, now: Mono) {
        self.attempts.get(processor).get(outcome).increment();
        let recent = self.attempts_recent.get(processor);
        recent.count(outcome.index(), now);
        if outcome != Outcome::NotSent {
            self.attempt_duration.get(processor).record(took);
            recent.record(took, now);
        }
    }

    /// An attempt failed in this way.
    pub fn attempt_failed(&self, processor: Processor, fault: Fault, now: Mono) {
        self.last_fault.get(processor).set(fault.pack(now));
    }

    /// When the oldest pending payment arrived; `None` without any.
    pub fn set_oldest_pending(&self, arrived: Option<Mono>) {
        self.oldest_pending
            .set(arrived.map_or(0, |arrived| arrived.0.saturating_add(1)));
    }

    /// What this core's ledger holds for `processor`.
    pub fn set_ledger(&self, processor: Processor, totals: Totals) {
        let cells = self.ledger.get(processor);
        cells.payments.set(totals.count);
        cells
            .cents
            .set(u64::try_from(totals.cents).unwrap_or(u64::MAX));
    }

    /// The event loop that this core runs on.
    pub fn set_driver(&self, driver: Driver) {
        Driver::ALL.iter().for_each(|known| {
            self.driver.get(*known).set(u64::from(*known == driver));
        });
    }

    /// A gap of `span` in which this core did not run.
    pub fn stalled(&self, span: Duration) {
        self.stalls.increment();
        self.stalled_us.add(cells::micros(span));
    }
}

/// What the page shows that never changes.
#[derive(Clone, Copy, Debug)]
pub struct MetricsSetup {
    /// How many cores there are.
    pub cores: CoreCount,
    /// When the process started.
    pub started: UnixMillis,
    /// When a journal record counts as durable.
    pub journal: JournalMode,
    /// `QUEUE_CAPACITY`.
    pub queue_capacity: usize,
    /// How many processors there are.
    pub processors: ProcessorCount,
    /// `CACHE_CAPACITY`.
    pub cache_capacity: usize,
    /// `CACHE_TTL_SECONDS`.
    pub cache_ttl: Duration,
    /// `CONCURRENCY_LIMIT`.
    pub concurrency_limit: usize,
    /// `UPSTREAM_CONCURRENCY`.
    pub upstream_concurrency: usize,
}

/// A processor's breaker and limit as numbers, so that this room need not know them.
#[derive(Clone, Copy, Debug, Default)]
pub struct BreakerReading {
    /// 0 Closed, 1 Open, 2 HalfOpen.
    pub state: u64,
    /// How many attempts may be in flight.
    pub limit: u64,
    /// Since when it is in this state.
    pub since: Mono,
    /// 1 while an operator has paused it.
    pub paused: u64,
    /// How often each transition happened, in the order of `Transition`.
    pub transitions: [u64; Transition::COUNT],
}

/// What is not in any cell and is read for each page.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Every breaker.
    pub breakers: Configured<BreakerReading>,
    /// Whether the process serves, as `/readyz` sees it.
    pub is_serving: bool,
}

/// Everything that the page shows.
#[derive(Debug)]
pub struct Metrics {
    cores: Box<[Arc<CachePadded<CoreMetrics>>]>,
    setup: MetricsSetup,
    /// What the kernel knows of this process.
    pub process: ProcessMetrics,
    /// Name resolutions that failed.
    pub resolution_failures: ByProcessor<SharedCounter>,
    /// The processors' files, read again.
    pub file_readings: ByProcessor<By<FileReading, SharedCounter, { FileReading::COUNT }>>,
    /// The comparison with the processors' books.
    pub books: BooksMetrics,
    /// The settings that may change.
    pub settings: SettingsMetrics,
    /// What happened last.
    pub events: Events,
}

impl Metrics {
    /// Empty metrics of a process that starts.
    #[must_use]
    pub fn new(setup: MetricsSetup) -> Self {
        let core = |_| Arc::new(CachePadded::new(CoreMetrics::default()));
        let settings = SettingsMetrics::default();
        for (setting, limit) in [
            (Changeable::Clients, setup.concurrency_limit),
            (Changeable::Attempts, setup.upstream_concurrency),
        ] {
            settings.begin(setting, u64::try_from(limit).unwrap_or(u64::MAX));
        }
        Self {
            cores: (0..setup.cores.0.max(1)).map(core).collect(),
            setup,
            process: ProcessMetrics::default(),
            resolution_failures: By::default(),
            file_readings: By::default(),
            books: BooksMetrics::default(),
            settings,
            events: Events::default(),
        }
    }

    /// The metrics of one core, for it to write. `None` when there is no such core.
    #[must_use]
    pub fn core(&self, core: CoreId) -> Option<Arc<CachePadded<CoreMetrics>>> {
        self.cores.get(core.index()).map(Arc::clone)
    }

    /// Appends the whole page in the text format 0.0.4.
    pub fn render(&self, now: Mono, reading: &Reading, out: &mut Vec<u8>) {
        let mut page = page::Page::new(out);
        self.render_legacy(now, &reading.breakers, &mut page);
        self.render_families(now, reading, &mut page);
        self.process.render(self.setup.started, &mut page);
    }

    /// Something happened to the whole instance.
    pub fn happened(&self, now: Mono, kind: EventKind) {
        self.events.put(now, kind, About::Instance);
    }

    /// A bound of the settings as it holds now.
    fn setting_in_force(&self, setting: Changeable) -> usize {
        usize::try_from(self.settings.now(setting)).unwrap_or(usize::MAX)
    }

    fn cores(&self) -> impl Iterator<Item = &CoreMetrics> + Clone {
        self.cores.iter().map(|core| &***core)
    }
}
