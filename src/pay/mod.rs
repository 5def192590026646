//! The driver: one core's room. It tells the owner what happened and performs the actions that come
//! back with real connections, a real journal and real clocks; it decides nothing.
//!
//! - `mod.rs`: the room, its doors for the server, and how it is built;
//! - `drive.rs`: actions, messages and timers;
//! - `gather.rs`, `peers.rs`: sums and purges over all cores and peers;
//! - `health.rs`: the optional health poll;
//! - `messages.rs`, `replies.rs`, `bell.rs`, `notes.rs`: what those three stand on.
//!
//! Keeps I1 (a payment is handed whole to its owner core) and I5's order of deeds, which the owner
//! gives it.

mod bell;
mod drive;
mod gather;
mod health;
mod messages;
mod notes;
mod peers;
mod replies;

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use self::bell::Bell;
use self::messages::{Letter, Question, Reply};
use self::peers::{Beginning, PeerWatch};
use self::replies::Replies;
use crate::claims::Claims;
use crate::clock::{Clock, Mono, Now, UnixMillis};
use crate::config::{Config, JournalSync};
use crate::events::{Answer, Arrival, Finding, ReplyTo, Standing, Trace};
use crate::journal::{self, JournalSettings, Keeper, Writer};
use crate::ledger::Ledger;
use crate::limits;
use crate::mailbox::{self, Mailbox, mailboxes};
use crate::metrics::{
    BreakerReading, CoreMetrics, HandOverFailure, JournalMode, Metrics, MetricsSetup, ShedReason,
};
use crate::owner::{Owner, OwnerSettings, Processors, breaker_settings};
use crate::payment::{CoreId, Payment, PerProcessor, Processor, UpstreamId};
use crate::upstream::{self, Names, Resolver, Upstream};

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
        let metrics = Metrics::new(MetricsSetup {
            cores: config.cores,
            started: Clock::new(start).now().wall,
            journal,
            queue_capacity: config.queue_capacity,
            cache_capacity: config.cache_capacity,
            concurrency_limit: config.concurrency_limit,
            upstream_concurrency: config.upstream_concurrency,
        });
        Self {
            config: Arc::new(config),
            metrics: Arc::new(metrics),
            start,
        }
    }
}

/// What the cores share: atomics only.
#[derive(Debug)]
struct Shared {
    processors: Arc<Processors>,
    metrics: Arc<Metrics>,
    peers: PeerWatch,
    /// The journal's background thread; it ends when the last core does.
    _keeper: Option<Keeper>,
}

/// One core's part of a prepared instance, on its way to the core's thread.
pub struct Seat {
    core: CoreId,
    setup: Setup,
    shared: Arc<Shared>,
    mailbox: Mailbox<Question, Letter>,
    resolver: Arc<Resolver>,
    names: Names,
    resolved: Receiver<upstream::Found>,
    past: Option<journal::Restored>,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat")
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

/// Prepares every core's part, in the order of cores: replays the journal, wires the mailboxes.
/// Nothing serves yet, so a fault here is a clean refusal to start.
///
/// # Errors
/// What stops the start, in words for the operator.
pub fn prepare(setup: &Setup) -> Result<Vec<Seat>, String> {
    let config = &setup.config;
    let (pasts, keeper, beginning) = open_journal(setup)?;
    let (resolver, names, resolved) =
        Resolver::start(config).map_err(|fault| format!("cannot start the resolver: {fault}"))?;
    let shared = Arc::new(Shared {
        processors: Arc::new(Processors::new(breaker_settings(config))),
        metrics: Arc::clone(&setup.metrics),
        peers: PeerWatch::new(config.peers.len(), beginning),
        _keeper: keeper,
    });
    let seats = mailboxes(config.cores, mailbox::capacity(config.cores))
        .into_iter()
        .zip(resolved)
        .zip(pasts)
        .zip(0..);
    Ok(seats
        .map(|(((mailbox, resolved), past), core)| Seat {
            core: CoreId(core),
            setup: setup.clone(),
            shared: Arc::clone(&shared),
            mailbox,
            resolver: Arc::clone(&resolver),
            names: names.clone(),
            resolved,
            past,
        })
        .collect())
}

type Pasts = Vec<Option<journal::Restored>>;

/// Replays the journal, if there is one: what each core starts from.
fn open_journal(setup: &Setup) -> Result<(Pasts, Option<Keeper>, Beginning), String> {
    let config = &setup.config;
    let Some(journal) = &config.journal else {
        let pasts = (0..config.cores.0).map(|_| None).collect();
        return Ok((pasts, None, Beginning::Again));
    };
    let owner = OwnerSettings::of(config);
    let mut settings = JournalSettings::new(journal.dir.clone(), journal.sync, config.cores);
    settings.claims_max = owner.claims_max;
    settings.ledger_exact = config.ledger_exact;
    let wall = Clock::new(setup.start).now().wall;
    let started = journal::start(&settings, wall).map_err(|fault| fault.to_string())?;
    let report = &started.report;
    log::info!(
        "journal: start {} replayed {} records; {} pending, {} settled ids known",
        report.epoch,
        report.records,
        report.pending,
        report.settled
    );
    for tear in &report.tears {
        log::warn!("journal: {tear:?} was cut; nobody had been told that it was durable");
    }
    if report.oddities > 0 {
        log::error!("journal: {} records fitted nothing", report.oddities);
    }
    let beginning = if report.epoch == 1 {
        Beginning::First
    } else {
        Beginning::Again
    };
    let pasts = started.cores.into_iter().map(Some).collect();
    Ok((pasts, Some(started.keeper), beginning))
}

impl Seat {
    /// Which core it is for.
    #[must_use]
    pub const fn core(&self) -> CoreId {
        self.core
    }

    /// Builds the room; called on the core's own thread, inside its reactor. Goes on with what the
    /// journal left open.
    ///
    /// # Errors
    /// What stops the start.
    #[allow(
        clippy::unused_async,
        reason = "part of the seam: a room may have to await its files"
    )]
    pub async fn open(self) -> Result<Rc<Room>, String> {
        let config = Arc::clone(&self.setup.config);
        let clock = Clock::new(self.setup.start);
        let now = clock.now();
        let settings = OwnerSettings::of(&config);
        let processors = Arc::clone(&self.shared.processors);
        let mut claims = Claims::new(settings.claims_max, settings.claims_ttl);
        let (ledger, pending, writer) = match self.past {
            None => (Ledger::new(settings.ledger_exact), Vec::new(), None),
            Some(past) => {
                for (id, claim) in past.settled {
                    claims.restore(id, claim, now.mono);
                }
                let opened = past.writer.open().map_err(|fault| fault.to_string())?;
                (past.ledger, past.pending, Some(opened))
            }
        };
        let (writer, task) = writer.unzip();
        let metrics = self
            .shared
            .metrics
            .core(self.core)
            .ok_or_else(|| format!("core {} has no counters", self.core.0))?;
        let room = Rc::new_cyclic(|room: &Weak<Room>| Room {
            me: room.clone(),
            upstream: Upstream::new(&config, &self.names, self.resolver, room.clone()),
            owner: RefCell::new(Owner::with_past(settings, processors, claims, ledger)),
            config,
            clock,
            core: self.core,
            metrics,
            shared: self.shared,
            mailbox: self.mailbox,
            names: RefCell::new(self.names),
            resolved: self.resolved,
            replies: Replies::default(),
            bell: Bell::default(),
            writer,
            performing: Cell::new(Performing::No),
            purges: RefCell::default(),
            failure: OnceCell::new(),
        });
        room.begin(pending, task, now);
        Ok(room)
    }
}

/// Everything of one core.
pub struct Room {
    /// The settings.
    pub config: Arc<Config>,
    /// This core's clock.
    pub clock: Clock,
    /// Which core this is.
    pub core: CoreId,
    /// This core's counters.
    pub metrics: Arc<CachePadded<CoreMetrics>>,
    /// For the tasks that it spawns.
    me: Weak<Self>,
    shared: Arc<Shared>,
    owner: RefCell<Owner>,
    upstream: Rc<Upstream>,
    mailbox: Mailbox<Question, Letter>,
    names: RefCell<Names>,
    resolved: Receiver<upstream::Found>,
    replies: Replies,
    bell: Bell,
    writer: Option<Writer>,
    performing: Cell<Performing>,
    /// Purges that wait for their record: how many records must be durable, and who asked.
    purges: RefCell<Vec<(u64, ReplyTo)>>,
    /// Why the journal failed, once it has.
    failure: OnceCell<String>,
}

/// Whether the owner's actions are being performed: what they cause is performed in the same go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Performing {
    No,
    Yes,
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room")
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

impl Room {
    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Has `payment` charged, and says what the client is told. Never drop it unanswered.
    pub async fn pay(
        &self,
        payment: Payment,
        trace: Option<Arc<Trace>>,
        is_redispatched: bool,
    ) -> Answer {
        let now = self.now();
        let owner = payment.id.owner(self.config.cores);
        let key = self.reserve(now.mono);
        let standing = if self.shared.peers.is_suspect(is_redispatched, now.mono) {
            Standing::Suspect
        } else {
            Standing::Own
        };
        let reply_to = ReplyTo {
            core: self.core,
            key,
        };
        let arrival = Arrival {
            payment,
            reply_to,
            trace,
            standing,
        };
        if owner == self.core {
            self.arrive(arrival, now);
        } else {
            self.metrics.hand_overs.increment();
            if self
                .mailbox
                .hand_over(owner, Question::Arrive(arrival))
                .is_err()
            {
                self.replies.release(key);
                self.metrics
                    .hand_over_failures
                    .get(HandOverFailure::MailboxFull)
                    .increment();
                self.metrics.sheds.get(ShedReason::MailboxFull).increment();
                return Answer::Overloaded;
            }
        }
        match self.replies.take(key).await {
            Some(Reply::Answer(answer)) => answer,
            // No word in time: its owner alone knows, so the client gets none either.
            Some(Reply::Found(_) | Reply::Sums(_) | Reply::Purged) | None => Answer::Silence,
        }
    }

    /// Asks the owner core for `id`.
    ///
    /// # Errors
    /// Why nothing can be said.
    pub async fn find(&self, id: UpstreamId) -> Result<Finding, AskFault> {
        let owner = id.owner(self.config.cores);
        if owner == self.core {
            return Ok(self.owner.borrow().find(id));
        }
        let key = self.reserve(self.now().mono);
        if self
            .mailbox
            .hand_over(owner, Question::Find(key, id))
            .is_err()
        {
            self.replies.release(key);
            return Err(AskFault::Overloaded);
        }
        match self.replies.take(key).await {
            Some(Reply::Found(finding)) => Ok(finding),
            Some(Reply::Answer(_) | Reply::Sums(_) | Reply::Purged) | None => {
                Err(AskFault::Overloaded)
            }
        }
    }

    /// Appends the metrics page.
    pub fn render_metrics(&self, out: &mut Vec<u8>) {
        let reading = |processor| {
            let breaker = self.shared.processors.breaker(processor);
            BreakerReading {
                state: u64::from(breaker.state(self.now().mono).gauge()),
                transitions: breaker.transitions().map(|(_, count)| count),
            }
        };
        let breakers = PerProcessor([reading(Processor::Default), reading(Processor::Fallback)]);
        self.shared.metrics.render(self.now().mono, &breakers, out);
    }

    /// Whether this core may take payments: its journal syncs in time.
    #[must_use]
    pub fn is_fit(&self) -> bool {
        let since = self.writer.as_ref().and_then(Writer::syncing_since);
        let now = self.now().mono;
        !self.has_failed() && since.is_none_or(|since| now.since(since) < limits::SYNC_SLOW)
    }

    /// Whether the process must stop: the journal failed for good.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failure.get().is_some()
    }

    /// Payments of this core that are not settled.
    #[must_use]
    pub fn pending_payments(&self) -> usize {
        self.owner.borrow().pending()
    }

    /// Ends this core's work: waits until what was appended is durable. Returns how many pending
    /// payments nothing remembers; each was logged.
    pub async fn close(&self) -> usize {
        if let Some(writer) = &self.writer {
            while writer.durable() < writer.last() && !self.has_failed() {
                monoio::time::sleep(Duration::from_millis(1)).await;
            }
            return 0;
        }
        let owner = self.owner.borrow();
        for flow in owner.unsettled() {
            self.metrics.payments_abandoned.increment();
            log::error!(
                "payment={} id={} is pending at exit and nothing will remember it (pinned to {})",
                flow.payment.correlation_id,
                flow.payment.id,
                flow.pinned().map_or("none", Processor::name)
            );
        }
        owner.pending()
    }

    fn reserve(&self, now: Mono) -> crate::table::Key {
        let span = self
            .config
            .request_timeout
            .saturating_add(limits::OWNER_SILENCE);
        self.replies.reserve(now.after(span))
    }
}
