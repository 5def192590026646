//! How a core's room is built: everything that can fail does so before the first client is served.
//! `cores` calls [`prepare`] once and then [`CoreBuilder::open`] on each core's own thread.
//!
//! I5: the journal is replayed here, and what it left open is gone on with before a door opens.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex};

use crossbeam_utils::CachePadded;

use super::ages::Ages;
use super::doubts::warn_of_one_server;
use super::guarantee;
use super::messages::{CoreRequest, KeyedReply};
use super::replies::Replies;
use super::store::{self, Store};
use super::summary::Summary;
use super::waker::TimerWaker;
use super::{CoreRuntime, Performing};
use crate::audit::Audit;
use crate::claims::{Claims, Full};
use crate::clock::{Clock, Mono, Start};
use crate::config::{Config, JournalSync};
use crate::credentials::Credentials;
use crate::descriptors::Places;
use crate::journal::{self, JournalSettings, Keeper};
use crate::ledger::Ledger;
use crate::mailbox::{self, Mailbox, mailboxes};
use crate::metrics::{JournalMode, Metrics, MetricsSetup};
use crate::owner::{Owner, OwnerSettings, Processors, breaker_settings, concurrency_bounds};
use crate::payment::{Configured, CoreId};
use crate::peers::{Footing, Peers};
use crate::upstream::{HeldFiles, NameLookup, Names, Resolved, Resolver, Sources, Upstream};

/// What an instance is built from.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The settings.
    pub config: Arc<Config>,
    /// What clients must show; none where anybody may call.
    pub credentials: Option<Credentials>,
    /// What shards show each other; none where that is not demanded.
    pub peer_secret: Option<Credentials>,
    /// What operators show who change something; none where they come by unix sockets alone.
    pub admin_secret: Option<Credentials>,
    /// What is counted, on all cores.
    pub metrics: Arc<Metrics>,
    /// The moment from which every core's clock counts.
    pub start: Start,
    /// How many connections it may hold.
    pub places: Places,
    /// How the processors' names are looked up.
    pub lookup: NameLookup,
    /// What the processors' files hold.
    pub files: HeldFiles,
}

impl Setup {
    /// What an instance with these settings is built from, now.
    #[must_use]
    pub fn new(mut config: Config) -> Self {
        let places = Places::claim(&mut config);
        let start = Clock::process_start();
        let journal = match (&config.store, config.journal.as_ref()) {
            (Some(_), _) => JournalMode::Store,
            (None, None) => JournalMode::Off,
            (None, Some(journal)) => match journal.sync {
                JournalSync::Os => JournalMode::Os,
                JournalSync::Always => JournalMode::Always,
            },
        };
        let metrics = Metrics::new(MetricsSetup {
            processors: config.upstream.count(),
            cores: config.cores,
            started: Clock::new(start).now().wall,
            journal,
            queue_capacity: config.queue_capacity,
            cache_capacity: config.cache_capacity,
            cache_ttl: config.cache_ttl,
            concurrency_limit: config.concurrency_limit,
            upstream_concurrency: config.upstream_concurrency,
        });
        Self {
            credentials: config.auth.as_ref().map(Credentials::new),
            peer_secret: config.shards.secret.as_ref().map(Credentials::new),
            admin_secret: config.admin_secret.as_ref().map(Credentials::new),
            files: HeldFiles::new(&config),
            config: Arc::new(config),
            metrics: Arc::new(metrics),
            start,
            places,
            lookup: NameLookup::of_machine(),
        }
    }
}

/// What the cores share: atomics only.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) processors: Arc<Processors>,
    pub(super) metrics: Arc<Metrics>,
    /// How this instance stands among the shards ([`Footing::pack`]), as core 0 saw it last.
    pub(super) footing: AtomicU32,
    /// Whether each of PEERS answered core 0 last: 0 not asked yet, 1 yes, 2 no.
    pub(super) peer_answers: Box<[AtomicU8]>,
    /// When each core's last batch was sent that the store acknowledged, in microseconds of
    /// [`crate::clock::Boot`]; 0 while none was.
    pub(super) acknowledged: Box<[CachePadded<AtomicU64>]>,
    /// A core's journal or store failed. No core takes payments in any more.
    pub(super) has_journal_failed: AtomicBool,
    /// A core has ended, so the process does: what runs beside the cores ends too.
    pub(super) has_ended: AtomicBool,
    /// The journal's background thread; it ends when the last core does.
    pub(super) keeper: Option<Keeper>,
    /// Held while it is written down which processors are paused; never by a core.
    pub(super) pauses: Mutex<()>,
    /// What was not plain, in a file beside the journal.
    pub(super) audit: Option<Audit>,
    /// How much was told of refused calls.
    pub(super) refusals: Mutex<super::refusals::Refusals>,
    /// What went wrong with the store last, and when.
    pub(super) store_fault: Mutex<Option<(Mono, String)>>,
}

/// One core's part of a prepared instance, on its way to the core's thread.
pub(crate) struct CoreBuilder {
    core: CoreId,
    setup: Setup,
    shared: Arc<Shared>,
    mailbox: Mailbox<CoreRequest, KeyedReply>,
    resolver: Arc<Resolver>,
    names: Names,
    resolved: Resolved,
    peers: Peers,
    past: Option<journal::Restored>,
}

impl fmt::Debug for CoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoreBuilder")
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

/// Prepares every core's part, in the order of cores: replays the journal, wires the mailboxes.
/// Nothing serves yet, so a fault here is a clean refusal to start.
///
/// # Errors
/// What stops the start, in words for the operator.
pub(super) fn prepare(setup: &Setup) -> Result<Vec<CoreBuilder>, String> {
    let config = &setup.config;
    store::look_at(config)?;
    let (pasts, keeper, peers) = open_journal(setup)?;
    let clock = || Clock::new(setup.start);
    let (resolver, names, resolved) = Resolver::start(config, &setup.lookup, &setup.metrics, clock)
        .map_err(|fault| format!("cannot start the resolver: {fault}"))?;
    setup
        .files
        .start(config, &setup.metrics)
        .map_err(|fault| format!("cannot watch the processors' files: {fault}"))?;
    warn_of_one_server(config, &names);
    log::info!("{}", guarantee::line(config));
    let shared = Arc::new(Shared {
        processors: Arc::new(Processors::new(
            config.upstream.count(),
            breaker_settings(config),
            concurrency_bounds(config),
        )),
        metrics: Arc::clone(&setup.metrics),
        has_journal_failed: AtomicBool::new(false),
        has_ended: AtomicBool::new(false),
        footing: AtomicU32::new(match config.shards.peers.is_empty() {
            true => Footing::Well.pack(),
            false => Footing::Unasked.pack(),
        }),
        acknowledged: (0..config.cores.0)
            .map(|_| CachePadded::default())
            .collect(),
        peer_answers: setup
            .config
            .shards
            .peers
            .iter()
            .map(|_| AtomicU8::new(0))
            .collect(),
        audit: open_audit(config)?,
        refusals: Mutex::default(),
        store_fault: Mutex::default(),
        pauses: Mutex::new(()),
        keeper,
    });
    pause_again(config, &shared.processors)?;
    let builders = mailboxes(config.cores, mailbox::capacity(config.cores))
        .into_iter()
        .zip(resolved)
        .zip(pasts)
        .zip(0..);
    Ok(builders
        .map(|(((mailbox, resolved), past), core)| CoreBuilder {
            core: CoreId(core),
            setup: setup.clone(),
            shared: Arc::clone(&shared),
            mailbox,
            resolver: Arc::clone(&resolver),
            names: names.clone(),
            resolved,
            peers: peers.clone(),
            past,
        })
        .collect())
}

/// Where the processors are, as the journal remembers them.
#[must_use]
pub fn authorities(config: &Config) -> journal::Authorities {
    let upstream = &config.upstream;
    let place = |one| upstream.get(one).place(&config.pay_path);
    Configured::new(upstream.count(), place)
}

/// Pauses what an operator had paused before the restart.
fn pause_again(config: &Config, processors: &Processors) -> Result<(), String> {
    let Some(journal) = &config.journal else {
        return Ok(());
    };
    let paused = journal::pauses::follow(&journal.dir, &authorities(config))
        .map_err(|fault| fault.to_string())?;
    for processor in config.upstream.count().all().filter(|one| paused.has(*one)) {
        processors.set_paused(processor, true);
        let name = processor.name();
        log::warn!("processor {name} is paused, until `p99 ctl processors resume {name}`");
    }
    Ok(())
}

/// Begins to write down what is not plain.
fn open_audit(config: &Config) -> Result<Option<Audit>, String> {
    let Some(dir) = &config.audit_dir else {
        return Ok(None);
    };
    let told = |fault| format!("AUDIT_DIR={}: the audit file: {fault}", dir.display());
    Audit::start(dir).map(Some).map_err(told)
}

type Pasts = Vec<Option<journal::Restored>>;

/// Replays the journal, if there is one: what each core starts from.
fn open_journal(setup: &Setup) -> Result<(Pasts, Option<Keeper>, Peers), String> {
    let config = &setup.config;
    let Some(journal) = &config.journal else {
        let pasts = (0..config.cores.0).map(|_| None).collect();
        return Ok((pasts, None, Peers::new(config.shards.own, [])));
    };
    let owner = OwnerSettings::of(config);
    let mut settings = JournalSettings::new(journal.dir.clone(), journal.sync, config.cores);
    settings.claims_max = match owner.claims_full {
        Full::Forget => owner.claims_max,
        // Another number of cores does not share them out evenly, and none may be forgotten.
        Full::Keep => owner.claims_max.saturating_mul(2),
    };
    settings.claims_kept = (owner.claims_full == Full::Keep).then_some(owner.claims_ttl);
    settings.ledger_exact = config.ledger_exact;
    settings.processors = Some(authorities(config));
    settings.shard = Some(config.shards.own);
    let wall = Clock::new(setup.start).now().wall;
    let told = |fault| format!("JOURNAL_DIR={}: {fault}", journal.dir.display());
    let started = journal::start(&settings, wall).map_err(told)?;
    let report = &started.report;
    log::info!(
        "journal: start {} replayed {} records; {} pending, {} settled ids known",
        report.epoch,
        report.records,
        report.pending,
        report.settled
    );
    for tear in &report.tears {
        log::warn!("journal: truncated a torn tail that was never acknowledged: {tear:?}");
    }
    for doubt in &report.doubts {
        log::warn!("journal: {doubt}");
    }
    if report.oddities > 0 {
        log::error!("journal: {} inconsistent records", report.oddities);
    }
    for oddity in &report.told_oddities {
        log::error!("journal: inconsistent record: {oddity:?}");
    }
    let pasts = started.cores.into_iter().map(Some).collect();
    let own = config.shards.own;
    let met = (started.met.iter()).map(|(number, id)| (*number, id.0));
    let peers = Peers::new(own, met.chain([(own.number(), started.id.0)]));
    let peers = peers.with_marks(started.marks);
    Ok((pasts, Some(started.keeper), peers))
}

impl CoreBuilder {
    /// Which core it is for.
    #[must_use]
    pub(crate) const fn core(&self) -> CoreId {
        self.core
    }

    /// What it shares with the others.
    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
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
    pub(crate) async fn open(self) -> Result<Rc<CoreRuntime>, String> {
        let config = Arc::clone(&self.setup.config);
        let clock = Clock::new(self.setup.start);
        let clock = match config.store {
            Some(_) => clock.with_leases(),
            None => clock,
        };
        let now = clock.now();
        let store = Store::of(&config, self.core, now);
        let settings = OwnerSettings::of(&config);
        let processors = Arc::clone(&self.shared.processors);
        let mut claims =
            Claims::new(settings.claims_max, settings.claims_ttl).when_full(settings.claims_full);
        let (ledger, pending, writer) = match self.past {
            None => (Ledger::new(settings.ledger_exact), Vec::new(), None),
            Some(past) => {
                let mut ages = Ages::new(&settings, past.ledger.newest(), now.wall);
                for (id, claim) in past.settled {
                    let age = ages.next(claim.requested_at);
                    claims.restore(id, claim, age, now.mono);
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
        let room = Rc::new_cyclic(|room: &Weak<CoreRuntime>| CoreRuntime {
            upstream: Upstream::new(
                &config,
                &self.names,
                Sources {
                    resolver: self.resolver,
                    files: self.setup.files,
                },
                Arc::clone(&metrics),
                room.clone(),
            ),
            owner: RefCell::new(Owner::with_past(settings, processors, claims, ledger)),
            config,
            credentials: self.setup.credentials,
            peer_secret: self.setup.peer_secret,
            admin_secret: self.setup.admin_secret,
            clock,
            core: self.core,
            metrics,
            shared: self.shared,
            mailbox: self.mailbox,
            names: RefCell::new(self.names),
            resolved: self.resolved,
            replies: Replies::default(),
            peers: RefCell::new(self.peers),
            peer_rounds: Cell::new(0),
            summary: Summary::default(),
            waker: TimerWaker::default(),
            writer,
            store,
            performing: Cell::new(Performing::No),
            awaiting: RefCell::default(),
            failure: OnceCell::new(),
        });
        room.begin(pending, task, now);
        Ok(room)
    }
}
