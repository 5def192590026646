//! The process: prepares every core's runtime, starts one pinned thread per core, watches them, and
//! stops them in order.
//!
//! Called by `main` ([`serve`]), by the demo and by tests ([`Running::start`]). What can fail at a
//! start fails before the first client is served: the journal's replay, an address in use, a
//! reactor. The calling thread watches signals and heartbeats; it does no work of the cores.
//!
//! Half a server never stays up: a panic ends the process (`panic = "abort"` in release, the hook
//! of [`end_process_on_panic`] elsewhere), and so does a core that stands still for
//! `CORE_LOOKS_MAX` looks. The journal makes that safe.
//!
//! A stop: `/readyz` turns 503 with the signal itself, listeners stay open for DRAIN_DELAY_MS,
//! then close once their queues are empty, and payments finish within SHUTDOWN_GRACE_SECS.

mod exit;
mod notices;
mod signals;
mod threads;
mod watchdog;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock::{Clock, Mono};
use crate::config::ListenAddress;
use crate::logging;
use crate::metrics::{EventKind, Metrics};
use crate::pay::{self, CoreBuilder, Failure, Setup};
use crate::payment::CoreId;
use crate::rate_limit::RateLimit;
use crate::reactor::Driver;
use crate::server::lifecycle::{Lifecycle, Phase};
use crate::server::listen::{self, ListenFault, ListenerRole};
use crate::server::places::Places;
use crate::server::socket_file::SocketFile;
use crate::server::{Common, CoreEnd};
use crate::supervisor::{Notifier, PassedSockets};

pub use exit::Exit;
pub use signals::{ignore_until_heard, unblock_signals, use_own_files};

use notices::Notices;
use signals::Signals;
use threads::start_threads;
use watchdog::Watchdog;

/// After this many looks of the main thread without a beat the core is given up and the process
/// ends, so that a supervisor can start it anew: 300 x 100 ms = 30 s in which this thread ran and
/// that core did not, which no disk or quota explains.
const CORE_LOOKS_MAX: u32 = 300;
/// How often the main thread looks at signals and cores.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);
/// Every so many looks it reads what the kernel knows of the process, for the metrics: once in 2 s.
const PROCFS_LOOKS: u32 = 20;
/// How many times DRAIN_DELAY_MS the listeners stay open after a journal failed: with the default
/// of 3 s that is 12 s, and a Prometheus that scrapes every 5 s sees the failure twice.
const FAILED_DRAIN_FACTOR: u32 = 4;

/// Why there is no server.
#[derive(Debug)]
pub enum StartFault {
    /// An address cannot be had.
    Listen(ListenFault),
    /// The payment engine cannot start, in its own words.
    Engine(String),
    /// Signals cannot be heard.
    Signals(io::Error),
    /// A thread or a reactor cannot be had.
    Kernel(io::Error),
}

impl fmt::Display for StartFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(fault) => fault.fmt(f),
            Self::Engine(fault) => f.write_str(fault),
            Self::Signals(fault) => write!(f, "cannot hear signals: {fault}"),
            Self::Kernel(fault) => write!(f, "cannot start a core: {fault}"),
        }
    }
}

impl std::error::Error for StartFault {}

/// What a supervisor passed to the process, if there is one.
#[derive(Debug, Default)]
pub struct Supervision {
    /// Who wants to hear how the process is.
    pub notifier: Option<Notifier>,
    /// Sockets at addresses that the settings name.
    pub sockets: PassedSockets,
}

/// Serves until a signal asks to stop: what `p99` does. `on_ready` is called once clients are
/// served.
///
/// # Errors
/// Why it did not start.
pub fn serve(
    setup: &Setup,
    supervision: Supervision,
    on_ready: impl FnOnce(),
) -> Result<Exit, StartFault> {
    let notices = Notices::new(supervision.notifier, Clock::new(setup.start));
    notices.status("starting: the journal is read");
    let (running, signals) = start(setup, supervision.sockets).inspect_err(|fault| {
        notices.status(&format!("cannot start: {fault}"));
    })?;
    on_ready();
    notices.ready(&running.status());
    let lifecycle = Arc::clone(&running.lifecycle);
    Ok(running.watch(|| {
        signals.heed(setup);
        notices.look(&lifecycle);
    }))
}

fn start(setup: &Setup, sockets: PassedSockets) -> Result<(Running, Signals), StartFault> {
    end_process_on_panic();
    signals::hide(setup.config.core_dumps);
    let signals = Signals::hear().map_err(StartFault::Signals)?;
    let builders = pay::prepare(setup).map_err(StartFault::Engine)?;
    signals.leave_start();
    let running = Running::start_builders(setup, builders, sockets)?;
    let flag = running.lifecycle.stop_flag();
    signals.stop_through(flag).map_err(StartFault::Signals)?;
    Ok((running, signals))
}

/// Makes a panic on any thread the end of the process: half a server would go on answering for
/// ids whose owner is gone.
pub fn end_process_on_panic() {
    let earlier = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        earlier(panic);
        std::process::abort();
    }));
}

/// A server that runs in threads of this process.
#[derive(Debug)]
pub struct Running {
    lifecycle: Arc<Lifecycle>,
    clock: Clock,
    metrics: Arc<Metrics>,
    drain_delay: Duration,
    addresses: Vec<(ListenerRole, ListenAddress)>,
    files: Vec<SocketFile>,
    driver: Driver,
    threads: Vec<(CoreId, JoinHandle<CoreEnd>)>,
    is_shared: bool,
}

impl Running {
    /// Starts every core; returns once all of them serve.
    ///
    /// # Errors
    /// What could not be had. Nothing is left running.
    pub fn start(setup: &Setup) -> Result<Self, StartFault> {
        let builders = pay::prepare(setup).map_err(StartFault::Engine)?;
        Self::start_builders(setup, builders, PassedSockets::default())
    }

    /// Starts every core on builders that were prepared elsewhere.
    fn start_builders(
        setup: &Setup,
        builders: Vec<CoreBuilder>,
        sockets: PassedSockets,
    ) -> Result<Self, StartFault> {
        let config = &setup.config;
        let public = config
            .listen
            .iter()
            .map(|address| (ListenerRole::Public, address.clone()));
        let admin = config
            .admin_listen
            .iter()
            .map(|address| (ListenerRole::Admin, address.clone()));
        let wanted: Vec<_> = public.chain(admin).collect();
        let mut bound =
            listen::bind(&wanted, sockets, builders.len()).map_err(StartFault::Listen)?;
        let lifecycle = Arc::new(Lifecycle::new(builders.len()));
        let rate = config.rate_limit.as_ref();
        let (per_second, burst) = rate.map_or((0, 1), |rate| (rate.per_second, rate.burst));
        let rate_limit = Arc::new(RateLimit::new(per_second, burst));
        let common = Common {
            lifecycle: Arc::clone(&lifecycle),
            places: Arc::new(Places::new(setup.places)),
            rate_limit,
        };
        let addresses = bound.addresses.clone();
        let files = std::mem::take(&mut bound.files);
        let (threads, driver) = start_threads(setup, builders, bound, &common)?;
        log::info!("{} cores on {driver}", threads.len());
        for (role, address) in &addresses {
            log::info!("listening on {address} ({role:?})");
        }
        let clock = Clock::new(setup.start);
        let metrics = Arc::clone(&setup.metrics);
        let drain_delay = config.drain_delay;
        metrics.happened(clock.now().mono, EventKind::Started);
        Ok(Self {
            lifecycle,
            clock,
            metrics,
            drain_delay,
            addresses,
            files,
            driver,
            threads,
            is_shared: config.store.is_some(),
        })
    }

    /// Where clients connect, as bound.
    #[must_use]
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.addresses_of(ListenerRole::Public)
    }

    /// Where administrators connect, as bound.
    #[must_use]
    pub fn admin_addresses(&self) -> Vec<ListenAddress> {
        self.addresses_of(ListenerRole::Admin)
    }

    /// What the process does, for an administrator's eyes.
    fn status(&self) -> String {
        let addresses: Vec<_> = self.addresses().iter().map(ToString::to_string).collect();
        let (addresses, cores) = (addresses.join(", "), self.threads.len());
        format!("serving on {addresses}; {cores} cores on {}", self.driver)
    }

    fn addresses_of(&self, wanted: ListenerRole) -> Vec<ListenAddress> {
        let matching = self.addresses.iter().filter(|(role, _)| *role == wanted);
        matching.map(|(_, address)| address.clone()).collect()
    }

    /// What the cores run on.
    #[must_use]
    pub const fn driver(&self) -> Driver {
        self.driver
    }

    /// What the process knows of itself.
    #[must_use]
    pub const fn lifecycle(&self) -> &Arc<Lifecycle> {
        &self.lifecycle
    }

    /// Asks for a stop and waits for its end.
    #[must_use]
    pub fn stop(self) -> Exit {
        self.lifecycle.ask_to_stop();
        self.wait()
    }

    /// Watches the cores until a stop was asked for and is done, or until one of them fails.
    #[must_use]
    pub fn wait(self) -> Exit {
        self.watch(|| ())
    }

    /// The same; does `at_each_look` meanwhile.
    fn watch(mut self, at_each_look: impl Fn()) -> Exit {
        let mut watch = Watchdog::new(&self.lifecycle);
        let mut asked_at: Option<Mono> = None;
        let mut looks = 0_u32;
        while !self.threads.iter().all(|(_, thread)| thread.is_finished()) {
            if let Some(core) = watch.stuck(&self.lifecycle) {
                log::error!("core {} is stuck; exiting", core.0);
                return Exit::Failed;
            }
            let is_early = self.lifecycle.phase() < Phase::Closing;
            if is_early && self.threads.iter().any(|(_, thread)| thread.is_finished()) {
                log::error!("a core ended by itself; the process ends");
                return Exit::Failed;
            }
            if self.lifecycle.is_asked_to_stop() {
                let now = self.clock.now().mono;
                let asked = *asked_at.get_or_insert_with(|| {
                    let span = self.drain_delay();
                    log::info!("stopping: not ready any more, listening for {span:?}");
                    self.lifecycle.advance(Phase::Draining);
                    self.metrics.happened(now, EventKind::Stopping);
                    now
                });
                if now >= asked.after(self.drain_delay()) {
                    // Before the listeners close: no client shall find a file and no one behind.
                    self.files.clear();
                    self.lifecycle.advance(Phase::Closing);
                }
            }
            at_each_look();
            self.refresh_metrics(&mut looks);
            thread::sleep(WATCH_INTERVAL);
        }
        self.gather()
    }

    /// From the wish to stop to closed listeners. After a failed journal it is longer: the metrics
    /// page alone says why the process ends, and someone must have time to read it.
    fn drain_delay(&self) -> Duration {
        if self
            .lifecycle
            .failure()
            .is_some_and(|one| one != Failure::Fenced)
        {
            self.drain_delay.saturating_mul(FAILED_DRAIN_FACTOR)
        } else {
            self.drain_delay
        }
    }

    /// What only this thread may write, as it blocks: procfs, at some looks.
    fn refresh_metrics(&self, looks: &mut u32) {
        if looks.is_multiple_of(PROCFS_LOOKS) {
            self.metrics.process.refresh();
        }
        *looks = looks.wrapping_add(1);
    }

    fn gather(self) -> Exit {
        let (mut pending, mut forgotten) = (0_usize, 0_usize);
        let mut failure = self.lifecycle.failure();
        for (core, thread) in self.threads {
            match thread.join() {
                Ok(end) => {
                    pending = pending.saturating_add(end.pending);
                    forgotten = forgotten.saturating_add(end.forgotten);
                    failure = failure.or(end.failure);
                }
                Err(_) => {
                    log::error!("core {} panicked", core.0);
                    failure = failure.or(Some(Failure::Broken));
                }
            }
        }
        let exit = Exit::of(failure, forgotten);
        let fate = match (pending, forgotten) {
            (0, _) => "",
            (_, 0) if self.is_shared => ", kept in the store",
            (_, 0) => ", kept in the journal",
            (_, _) => ", which nothing remembers",
        };
        let level = if exit == Exit::Clean {
            log::Level::Info
        } else {
            log::Level::Error
        };
        let status = exit.code();
        // What was left out so far is told before the last line.
        logging::flush();
        log::log!(
            level,
            "stopped: exit status {status}, {pending} payments are pending{fate}"
        );
        exit
    }
}
