//! The downstream side of one core: accepts connections, reads requests, writes answers, and lets
//! go in order when the process stops.
//!
//! [`Core::run`] is one core's whole life as a server; `cores` calls it on the core's own thread.
//! Inside: `listen` and `socket_file` bind, `accept` takes connections, `places` says who may stay,
//! `connection` reads and writes bytes, `routes` judges a request, `clients` knows who sent it,
//! `guard` whether an operator did, `operators` does what these ask,
//! `calls` does what is asked, `reply` chooses the status, `page` has what is made for one request,
//! `status` is what operators look at,
//! `deadlines` ends what takes too long, `farewell` is how a connection leaves, `lifecycle` is what
//! the process knows of itself. Payments are the matter of `pay`: the server hands one over, waits,
//! and writes what it is told. It never drops an I/O future.

mod accept;
mod calls;
mod clients;
mod connection;
mod deadlines;
mod farewell;
mod guard;
pub(crate) mod lifecycle;
pub(crate) mod listen;
mod operators;
mod page;
pub(crate) mod places;
mod purge;
mod queries;
mod reply;
mod routes;
pub(crate) mod socket_file;
mod status;
#[doc(hidden)]
pub(crate) mod testing;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Mono, Now};
use crate::credentials::Credentials;
use crate::http::{DateCache, HeadRules};
use crate::limits;
use crate::metrics::{self, Answered, Cell as _, Closed, CoreMetrics, Label};
use crate::pay::{CoreRuntime, Failure};
use crate::rate_limit::RateLimit;
use crate::reactor::Driver;

use accept::Listening;
use deadlines::Deadlines;
use lifecycle::{Lifecycle, Phase, Readiness};
use listen::Listener;
use page::Page;
use places::{Place, Places};
use reply::{Reply, ResponseParts};

/// Connections that wait in a listening socket's queue; the kernel cuts it to net.core.somaxconn
/// (4,096 since Linux 5.4). At 20,000 connections a second it bridges 200 ms without an accept.
const LISTEN_BACKLOG: i32 = 4_096;
/// Connections that one look chooses for closing, idle longest first: a look takes 0.1 ms at
/// 65,536 connections, so under a flood each closing costs 2 us.
const EVICTED_AT_ONCE_MAX: usize = 64;
/// Refused and cut connections are logged once in this time, with their number.
const REFUSALS_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// How often a core looks for late connections, changes of phase, and says that it runs. Client
/// deadlines are whole seconds, so a quarter of one is precise enough, and 65,536 connections are
/// swept in about 0.1 ms.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);
/// What a read buffer may hold beyond the largest head and body: pipelined requests, and the
/// framing of a chunk.
const INPUT_BYTES_SPARE: usize = 4 * 1024;
/// Where a payment can be asked for.
const PAYMENTS_PATH_PREFIX: &str = "/payments/";
/// One of this many answered requests is logged.
const ACCESS_LOG_EVERY: u32 = 1_000;
/// How often a closing core looks whether anything is left to do.
const CLOSING_INTERVAL: Duration = Duration::from_millis(10);
/// A body on ADMIN_LISTEN may be this long whatever MAX_BODY_BYTES says.
const ADMIN_BODY_BYTES_MIN: usize = 4_096;

/// What all cores share as servers.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    /// Where the process stands.
    pub lifecycle: Arc<Lifecycle>,
    /// Who may have how many connections.
    pub places: Arc<Places>,
    /// Budgets of client addresses; whole ones while `RATE_LIMIT_RPS` is off.
    pub rate_limit: Arc<RateLimit>,
}

/// One core as a server.
pub(crate) struct Core {
    runtime: Rc<CoreRuntime>,
    lifecycle: Arc<Lifecycle>,
    /// Of clients, of those that may only probe, of administrators.
    deadlines: [Rc<Deadlines>; 3],
    places: Arc<Places>,
    rate_limit: Arc<RateLimit>,
    rules: HeadRules,
    /// Largest head and body, and some.
    input_bytes_max: usize,
    /// Listening sockets must be non-blocking there, and blocking on io_uring.
    is_on_epoll: bool,
    scratch_buffers: RefCell<ScratchBuffers>,
    /// Listening sockets that still accept.
    listening: RefCell<Vec<Listening>>,
    /// Requests until the next one is logged.
    until_logged: Cell<u32>,
    /// Accepts that failed.
    accept_faults: Cell<u64>,
    /// Connections that were refused or cut since the last line about them, and when the next line
    /// may be.
    refusals: Cell<u64>,
    refusals_told: Cell<Mono>,
}

/// What answers are written with.
#[derive(Debug, Default)]
struct ScratchBuffers {
    date: DateCache,
    scratch: Vec<u8>,
}

/// How one core ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CoreEnd {
    /// Payments that were pending.
    pub pending: usize,
    /// Those of them that nothing remembers.
    pub forgotten: usize,
    /// Why the process must end, or the core could not start.
    pub failure: Option<Failure>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("core", &self.runtime.core)
            .finish_non_exhaustive()
    }
}

impl Core {
    /// A core that serves from `room`.
    #[must_use]
    pub(crate) fn new(runtime: Rc<CoreRuntime>, common: Common, driver: Driver) -> Self {
        let Common {
            lifecycle,
            places,
            rate_limit,
        } = common;
        let config = &runtime.config;
        runtime.metrics.set_driver(match driver {
            Driver::IoUring { .. } => metrics::Driver::IoUring,
            Driver::Epoll => metrics::Driver::Epoll,
        });
        let auth_header = config.auth.as_ref().map(|auth| auth.name.as_str().into());
        let input_bytes_max = config
            .body_bytes_max
            .max(ADMIN_BODY_BYTES_MIN)
            .saturating_add(limits::HTTP_HEAD_BYTES_MAX)
            .saturating_add(INPUT_BYTES_SPARE);
        Self {
            lifecycle,
            rate_limit,
            deadlines: Default::default(),
            places,
            rules: HeadRules { auth_header },
            input_bytes_max,
            is_on_epoll: driver == Driver::Epoll,
            scratch_buffers: RefCell::default(),
            listening: RefCell::default(),
            until_logged: Cell::new(0),
            accept_faults: Cell::new(0),
            refusals: Cell::new(0),
            refusals_told: Cell::default(),
            runtime,
        }
    }

    /// Serves on `listeners` until the process stops and this core's work is done or given up.
    pub(crate) async fn run(self, listeners: Vec<Listener>) -> CoreEnd {
        let core = Rc::new(self);
        for listener in listeners {
            if let Err(fault) = accept::open(&core, listener) {
                log::error!("core {} cannot accept: {fault}", core.runtime.core.0);
                core.lifecycle.ask_to_stop();
            }
        }
        while core.lifecycle.phase() < Phase::Closing {
            core.turn();
            if let Some((failure, _)) = core.runtime.failure()
                && core.lifecycle.failure().is_none()
            {
                log::error!(
                    "core {}: nothing can be kept; stopping",
                    core.runtime.core.0
                );
                core.lifecycle.fail(failure);
            }
            monoio::time::sleep(SWEEP_INTERVAL).await;
        }
        core.let_go().await;
        let forgotten = core.runtime.close().await;
        CoreEnd {
            pending: core.runtime.pending_payments(),
            forgotten,
            failure: core.runtime.failure().map(|(failure, _)| failure),
        }
    }

    /// One look at deadlines, and a sign of life.
    fn turn(&self) -> Mono {
        let now = self.now().mono;
        self.lifecycle.beat(self.runtime.core, now);
        self.all_deadlines(|deadlines| deadlines.sweep(now));
        self.make_room_for_others(now);
        self.tell_refusals(now);
        let runtime = &self.runtime;
        let secrets = [
            &runtime.credentials,
            &runtime.peer_secret,
            &runtime.admin_secret,
        ];
        secrets.into_iter().flatten().for_each(Credentials::refresh);
        self.metrics().turns.increment();
        now
    }

    /// Closes the listeners once their queues are empty, then idle connections, then waits until
    /// no core has anything left to do, at most for the grace.
    async fn let_go(&self) {
        let over = self.turn().after(self.runtime.config.shutdown_grace);
        accept::close_all(self).await;
        while self.turn() < over {
            self.all_deadlines(Deadlines::end_idle);
            // A payment cannot settle any more once the journal failed: replay goes on with it.
            let is_settled = self.runtime.pending_payments() == 0 || self.runtime.has_failed();
            let is_quiet = self.connections() == 0 && is_settled;
            self.lifecycle.tell_quiet(self.runtime.core, is_quiet);
            // Another core may still hand payments over to this one.
            if self.lifecycle.is_all_quiet() {
                return;
            }
            monoio::time::sleep(CLOSING_INTERVAL).await;
        }
        if self.connections() > 0 {
            log::warn!(
                "core {}: {} connections are cut, the grace is over",
                self.runtime.core.0,
                self.connections()
            );
            self.all_deadlines(Deadlines::cut_all);
            // Their tasks unwind in the turns that this gives them.
            monoio::time::sleep(CLOSING_INTERVAL).await;
        }
    }

    /// The connections of this kind.
    fn watched(&self, place: Place) -> &Rc<Deadlines> {
        let [clients, probes, admins] = &self.deadlines;
        match place {
            Place::Client => clients,
            Place::Probe(_) => probes,
            Place::Admin => admins,
        }
    }

    fn all_deadlines(&self, act: impl Fn(&Deadlines)) {
        self.deadlines.iter().for_each(|deadlines| act(deadlines));
    }

    fn connections(&self) -> usize {
        self.deadlines.iter().map(|deadlines| deadlines.len()).sum()
    }

    /// Closes idle connections for cores that have none.
    fn make_room_for_others(&self, now: Mono) {
        for _ in 0..self.places.take_wishes() {
            if !self.watched(Place::Client).make_room(now) {
                return;
            }
        }
    }

    /// One line at most in a while, however many there are.
    fn tell_refusals(&self, now: Mono) {
        if self.refusals.get() == 0 || now < self.refusals_told.get() {
            return;
        }
        self.refusals_told.set(now.after(REFUSALS_LOG_INTERVAL));
        let count = self.refusals.take();
        let of = |reason| self.metrics().connections_closed.get(reason).get();
        log::warn!(
            "core {}: {count} connections were refused or cut; since the start: {} idle ones made \
             room, {} met no place, {} were too many of their address, {} met no descriptor, {} \
             did not read",
            self.runtime.core.0,
            of(Closed::MadeRoom),
            of(Closed::Full),
            of(Closed::Address),
            of(Closed::Descriptors),
            of(Closed::Unread)
        );
    }

    fn now(&self) -> Now {
        self.runtime.now()
    }

    fn metrics(&self) -> &CoreMetrics {
        &self.runtime.metrics
    }

    /// Lends the date and a scratch buffer to one answer.
    fn with_parts<T>(&self, now: Now, write: impl FnOnce(ResponseParts<'_>) -> T) -> T {
        let ScratchBuffers { date, scratch } = &mut *self.scratch_buffers.borrow_mut();
        let challenge = self
            .runtime
            .credentials
            .as_ref()
            .map(Credentials::challenge);
        write(ResponseParts {
            date: date.at(now.wall),
            challenge: challenge.as_deref().unwrap_or_default(),
            scratch,
        })
    }

    fn readiness(&self) -> Reply {
        // It drains then too, and this is why.
        if self.runtime.failure().is_some() || self.lifecycle.failure().is_some() {
            return Reply::FAILED;
        }
        let readiness = self.lifecycle.readiness(self.now().mono);
        Reply::to_probe(readiness, self.runtime.is_fit())
    }

    /// Whether all but this core's own matters lets `/readyz` be 200.
    fn is_serving(&self) -> bool {
        let readiness = self.lifecycle.readiness(self.now().mono);
        readiness == Readiness::Ready && self.runtime.footing().is_good()
    }

    async fn metrics_page(&self) -> Page {
        let mut body = Vec::new();
        self.runtime
            .render_metrics(self.is_serving(), &mut body)
            .await;
        Page {
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            ..Page::json(body)
        }
    }

    /// Counts one answer, and logs one of many.
    fn note(&self, answer: Answered, now: Mono) {
        self.metrics().answered(answer, now);
        let left = self.until_logged.get();
        if left > 0 {
            self.until_logged.set(left - 1);
            return;
        }
        self.until_logged.set(ACCESS_LOG_EVERY - 1);
        let Answered {
            route,
            status,
            took,
        } = answer;
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        log::info!(
            target: "p99::access",
            route = route.name(), status, took_us, one_of = ACCESS_LOG_EVERY;
            "answered"
        );
    }
}
