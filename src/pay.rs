//! The payment engine's door as the server sees it. This is the seam only: no payment is tried
//! behind it yet, so every payment is answered with 503 and its id is free.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_utils::CachePadded;

use crate::clock::{Clock, Now, UnixMillis};
use crate::config::{Config, JournalSync};
use crate::events::{Answer, Finding, Trace};
use crate::metrics::{CoreMetrics, JournalMode, Metrics, MetricsSetup};
use crate::payment::{CoreCount, CoreId, Payment, PerProcessor, Totals, UpstreamId};

/// Whom a summary or a purge asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This instance alone.
    Local,
    /// This instance and all PEERS.
    All,
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskFault {
    /// An edge of the window cuts a second whose milliseconds are gone.
    CutsOldSecond {
        /// The earliest moment that an edge may name exactly.
        boundary: UnixMillis,
    },
    /// A peer did not answer; a part is no sum.
    PeerSilent,
    /// A bound was reached, or another core did not answer.
    Overloaded,
    /// The journal failed.
    JournalDown,
}

/// What an instance is built from.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The settings.
    pub config: Arc<Config>,
    /// What is counted, on all cores.
    pub metrics: Arc<Metrics>,
    /// The moment from which every core's clock counts.
    pub start: Instant,
}

impl Setup {
    /// What an instance with these settings is built from, now.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let start = Clock::process_start();
        let journal = match config.journal.as_ref().map(|journal| journal.sync) {
            None => JournalMode::Off,
            Some(JournalSync::Os) => JournalMode::Os,
            Some(JournalSync::Always) => JournalMode::Always,
        };
        let metrics = MetricsSetup {
            cores: config.cores,
            started: Clock::new(start).now().wall,
            journal,
            queue_capacity: config.queue_capacity,
            cache_capacity: config.cache_capacity,
            concurrency_limit: config.concurrency_limit,
            upstream_concurrency: config.upstream_concurrency,
        };
        let metrics = Arc::new(Metrics::new(metrics));
        Self {
            config: Arc::new(config),
            metrics,
            start,
        }
    }
}

/// One core's part of a prepared instance, on its way to the core's thread.
#[derive(Debug)]
pub struct Seat {
    core: CoreId,
    setup: Setup,
    answer: Answer,
}

/// Prepares every core's part, in the order of cores: replays the journal, wires the mailboxes.
/// Nothing serves yet, so a fault here is a clean refusal to start.
///
/// # Errors
/// What stops the start, in words for the operator.
pub fn prepare(setup: &Setup) -> Result<Vec<Seat>, String> {
    Ok(prepare_answering(setup, Answer::Unavailable))
}

/// As [`prepare`], but every payment gets `answer`.
#[must_use]
pub fn prepare_answering(setup: &Setup, answer: Answer) -> Vec<Seat> {
    let CoreCount(count) = setup.config.cores;
    let seat = |core| Seat {
        core: CoreId(core),
        setup: setup.clone(),
        answer,
    };
    (0..count).map(seat).collect()
}

impl Seat {
    /// Which core it is for.
    #[must_use]
    pub const fn core(&self) -> CoreId {
        self.core
    }

    /// Builds the room; called on the core's own thread, inside its reactor.
    ///
    /// # Errors
    /// What stops the start.
    #[allow(clippy::unused_async, reason = "opening a journal awaits")]
    pub async fn open(self) -> Result<Rc<Room>, String> {
        let Self {
            core,
            setup,
            answer,
        } = self;
        let clock = Clock::new(setup.start);
        let metrics = setup.metrics.core(core).ok_or("there is no such core")?;
        let Setup {
            config,
            metrics: all_metrics,
            ..
        } = setup;
        let pending = Cell::new(0);
        Ok(Rc::new(Room {
            config,
            metrics,
            clock,
            core,
            all_metrics,
            answer,
            pending,
        }))
    }
}

/// Everything of one core.
#[derive(Debug)]
pub struct Room {
    /// The settings.
    pub config: Arc<Config>,
    /// What this core counts.
    pub metrics: Arc<CachePadded<CoreMetrics>>,
    /// This core's clock.
    pub clock: Clock,
    /// Which core this is.
    pub core: CoreId,
    all_metrics: Arc<Metrics>,
    answer: Answer,
    pending: Cell<usize>,
}

#[allow(clippy::unused_async, reason = "the engine behind the seam awaits")]
impl Room {
    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Has `payment` charged, and says what the client is told. Never drop it unanswered.
    pub async fn pay(
        &self,
        _payment: Payment,
        _trace: Option<Arc<Trace>>,
        _is_redispatched: bool,
    ) -> Answer {
        self.answer
    }

    /// Asks the owner core for `id`.
    ///
    /// # Errors
    /// Why nothing can be said.
    pub async fn find(&self, _id: UpstreamId) -> Result<Finding, AskFault> {
        Ok(None)
    }

    /// Adds up what was charged, both ends included, over all cores and, as `scope` says, peers.
    ///
    /// # Errors
    /// Why nothing can be said.
    pub async fn summary(
        &self,
        _from: Option<UnixMillis>,
        _to: Option<UnixMillis>,
        _scope: Scope,
    ) -> Result<PerProcessor<Totals>, AskFault> {
        Ok(PerProcessor::default())
    }

    /// Forgets the ledger and the settled claims.
    ///
    /// # Errors
    /// Who may not have forgotten.
    pub async fn purge(&self, _scope: Scope) -> Result<(), AskFault> {
        Ok(())
    }

    /// Appends the metrics page.
    pub fn render_metrics(&self, out: &mut Vec<u8>) {
        self.all_metrics
            .render(self.now().mono, &PerProcessor::default(), out);
    }

    /// Whether this core may take payments: its journal syncs in time.
    #[must_use]
    pub fn is_fit(&self) -> bool {
        true
    }

    /// Whether the process must stop: the journal failed for good.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        false
    }

    /// Payments of this core that are not settled.
    #[must_use]
    pub fn pending_payments(&self) -> usize {
        self.pending.get()
    }

    /// Ends this core's work: syncs and closes the journal. Returns how many pending payments
    /// nothing remembers; each was logged.
    pub async fn close(&self) -> usize {
        self.pending.get()
    }
}
