//! One core's connections to both processors: it gets an attempt a connection, writes its request
//! in one go, reads one answer to its end, and says what it saw. What that means is judged by the
//! owner; nothing here retries anything.
//!
//! - `connection.rs`: the life of one connection, `job.rs`: what it is for at the moment;
//! - `pool.rs`: connections that wait for the next attempt;
//! - `call.rs`: one question on a connection of its own;
//! - `connect.rs`: how one comes to be;
//! - `target.rs`: one processor's addresses and pool;
//! - `files.rs`: the processors' files, read again on a thread of its own;
//! - `resolve.rs`: names to addresses, on threads of their own.
//!
//! Keeps I4 (a connection whose exchange was not read to its end never goes back to the pool), I10
//! for connects and pools, and the rule that no I/O future is dropped: a deadline shuts a socket
//! down, and the task that waits on it unwinds in order.

mod call;
mod connect;
mod connection;
mod files;
mod job;
mod pool;
mod resolve;
mod target;

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_utils::CachePadded;

pub(crate) use self::call::Called;
pub(crate) use self::files::HeldFiles;
pub use self::resolve::NameLookup;
pub(crate) use self::resolve::{NameIndex, Names, Resolved, Resolver};

use self::connect::Dial;
use self::connection::Connection;
use self::job::Job;
use self::target::TargetState;
use crate::addresses::{AddressState, Listing};
use crate::clock::{Mono, UnixMillis};
use crate::config::Config;
use crate::events::{AttemptRef, Exchange, Lookup, Trace};
use crate::metrics::CoreMetrics;
use crate::payment::{Configured, Processor, UpstreamId};
use crate::sockets::{Channel, Connecting};
use crate::wire::{self, UpstreamPayment};

/// First size of a connection's answer buffer, and the step by which it grows: the processors'
/// answers are below 300 bytes.
const UPSTREAM_ANSWER_BYTES: usize = 1_024;
/// Longest body of an answer: a record with the history of its payment, or a page of a gateway
/// about an error. With the head's own bound it also bounds the buffer's growth.
const UPSTREAM_BODY_BYTES_MAX: usize = 64 * 1024;

/// Who is told what became of an attempt. Called from connection tasks, never from within a call
/// to [`Upstream`].
pub(crate) trait Sink {
    /// `attempt` has its connection, to this address.
    fn connected(&self, attempt: AttemptRef, address: SocketAddr);
    /// `attempt`'s exchange ended so.
    fn exchanged(&self, attempt: AttemptRef, exchange: Exchange);
    /// The lookup for `attempt` ended so.
    fn looked_up(&self, attempt: AttemptRef, lookup: Lookup);
    /// The monotonic clock.
    fn mono(&self) -> Mono;
    /// Its last reading: that of the event which is being told.
    fn latest(&self) -> Mono;
    /// The wall clock.
    fn wall(&self) -> UnixMillis;
}

/// See the header of this file.
pub(crate) struct Upstream {
    sink: Weak<dyn Sink>,
    targets: Configured<TargetState>,
    /// By the attempt's slot: what it holds.
    links: RefCell<Vec<Link>>,
    /// Connections that are wanted and not there yet.
    dials: RefCell<Vec<Rc<Dial>>>,
    /// Calls on connections of their own.
    calls: RefCell<Vec<Rc<Connecting>>>,
    /// Connections to peers that wait for the next question.
    kept: RefCell<Vec<(NameIndex, Channel)>>,
    metrics: Arc<CachePadded<CoreMetrics>>,
    connect_timeout: Duration,
    pool_idle_max: usize,
    pool_idle_timeout: Duration,
    resolver: Arc<Resolver>,
    files: HeldFiles,
}

/// Where what changes meanwhile comes from.
#[derive(Debug)]
pub(crate) struct Sources {
    /// What names mean.
    pub resolver: Arc<Resolver>,
    /// What the processors' files hold.
    pub files: HeldFiles,
}

/// What an attempt holds.
enum Link {
    None,
    Dialling(AttemptRef, Rc<Dial>),
    Connected(AttemptRef, Rc<Connection>),
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}

impl Upstream {
    /// No connection yet. `names` holds what each processor's name resolved to.
    #[must_use]
    pub(crate) fn new(
        config: &Config,
        names: &Names,
        sources: Sources,
        metrics: Arc<CachePadded<CoreMetrics>>,
        sink: Weak<dyn Sink>,
    ) -> Rc<Self> {
        let Sources { resolver, files } = sources;
        let target = |processor| {
            let (reached, held) = (config.upstream.get(processor), files.current(processor));
            let listing = names.listing(NameIndex::of(processor));
            TargetState::new(reached, &config.pay_path, &held, listing)
        };
        Rc::new(Self {
            sink,
            targets: Configured::new(config.upstream.count(), target),
            links: RefCell::default(),
            dials: RefCell::default(),
            calls: RefCell::default(),
            kept: RefCell::default(),
            metrics,
            connect_timeout: config.connect_timeout,
            pool_idle_max: config.pool_idle_max,
            pool_idle_timeout: config.pool_idle_timeout,
            resolver,
            files,
        })
    }

    // ---- what the driver asks for ----

    /// Gets `attempt` a connection, to any address of the processor's or to the `only` one that
    /// will do. Where it went when it has one at once; else the sink hears of it.
    pub(crate) fn connect(
        self: &Rc<Self>,
        attempt: AttemptRef,
        processor: Processor,
        fresh: bool,
        only: Option<SocketAddr>,
    ) -> Option<SocketAddr> {
        if !fresh && let Some(connection) = self.take_idle(processor, only) {
            let address = connection.address;
            connection.job.set(Job::Reserved(attempt));
            self.link(attempt, Link::Connected(attempt, connection));
            return Some(address);
        }
        self.dial(attempt, processor, Job::Reserved(attempt), only);
        None
    }

    /// Writes the payment on `attempt`'s connection. False when the connection is gone and no byte
    /// was handed over.
    pub(crate) fn send(
        &self,
        attempt: AttemptRef,
        payment: &UpstreamPayment,
        trace: Option<&Trace>,
    ) -> bool {
        let Some(connection) = self.connection_of(attempt) else {
            return false;
        };
        if !connection.is_free() {
            connection.job.set(Job::None);
            return false;
        }
        let head = self.targets.get(connection.processor).head.borrow();
        let body_bytes = wire::upstream_payment_bytes(payment.amount);
        connection.write(Job::Payment(attempt), |out| {
            match trace {
                None => head.write_post(out, &[], body_bytes),
                Some(trace) => head.write_post(out, headers(trace).as_slice(), body_bytes),
            }
            wire::write_upstream_payment(payment, out);
        });
        true
    }

    /// Asks `processor` for `id` on the warmest connection, or on one to the `only` address that
    /// will do.
    pub(crate) fn lookup(
        self: &Rc<Self>,
        attempt: AttemptRef,
        processor: Processor,
        id: UpstreamId,
        only: Option<SocketAddr>,
    ) {
        let job = Job::Lookup(attempt, id);
        match self.take_idle(processor, only) {
            Some(connection) => {
                self.link(attempt, Link::Connected(attempt, Rc::clone(&connection)));
                self.write_lookup(&connection, attempt, id);
            }
            None => self.dial(attempt, processor, job, only),
        }
    }

    /// `attempt` sends nothing: its connection is free for others.
    pub(crate) fn abandon(&self, attempt: AttemptRef) {
        match self.unlink(attempt) {
            Link::None => {}
            // It finishes connecting and then waits in the pool.
            Link::Dialling(_, dial) => dial.job.set(Job::None),
            Link::Connected(_, connection) => {
                connection.job.set(Job::None);
                self.give_back(&connection);
            }
        }
    }

    /// No one waits for `attempt`'s answer any more: its connection is closed (I4).
    pub(crate) fn close(&self, attempt: AttemptRef) {
        match self.unlink(attempt) {
            Link::None => {}
            Link::Dialling(_, dial) => {
                dial.give_up();
                self.dials
                    .borrow_mut()
                    .retain(|one| !Rc::ptr_eq(one, &dial));
            }
            Link::Connected(_, connection) => {
                connection.job.set(Job::None);
                connection.shut_down();
            }
        }
    }

    /// Ends what took too long: connects under way and idle connections.
    pub(crate) fn sweep(self: &Rc<Self>, now: Mono) {
        for call in self.calls.borrow().iter() {
            if call.deadline <= now {
                call.give_up();
            }
        }
        self.sweep_dials(now);
        for (processor, target) in self.targets.iter() {
            if let Some(held) = self.files.refreshed(processor)
                && target.take_over(&held)
            {
                self.retire(processor, |_| true);
            }
            let mut idle = target.idle.borrow_mut();
            // The coldest stand in front.
            let stale = idle
                .iter()
                .take_while(|one| one.idle_since.get().after(self.pool_idle_timeout) <= now)
                .count();
            for connection in idle.drain(..stale) {
                connection.shut_down();
            }
        }
    }

    /// What the name of `processor` resolves to now, for connections to come. Those to an address
    /// that is gone are retired: idle ones at once, the others after their answer.
    pub(crate) fn set_listing(
        self: &Rc<Self>,
        processor: Processor,
        listing: Arc<Listing>,
        now: Mono,
    ) {
        let target = self.targets.get(processor);
        let is_gone = |address| listing.state(address) == AddressState::Gone;
        if target.is_connected_to_any(is_gone) {
            self.retire(processor, is_gone);
        }
        target.listing.replace(listing);
        self.sweep_dials(now);
    }

    /// A name could not be reached: it may mean something else by now.
    pub(crate) fn ask_for_addresses(&self, name: NameIndex) {
        self.resolver.ask(name);
    }

    /// Whether a connect is under way, whose deadline `sweep` must watch.
    #[must_use]
    pub(crate) fn is_connecting(&self) -> bool {
        !self.dials.borrow().is_empty() || !self.calls.borrow().is_empty()
    }

    /// Idle and open connections to `processor`.
    #[must_use]
    pub(crate) fn connections(&self, processor: Processor) -> (usize, usize) {
        let target = self.targets.get(processor);
        (target.idle.borrow().len(), target.open.get())
    }

    // ---- links ----

    fn link(&self, attempt: AttemptRef, link: Link) {
        let mut links = self.links.borrow_mut();
        let index = index(attempt);
        if links.len() <= index {
            links.resize_with(index.saturating_add(1), || Link::None);
        }
        if let Some(place) = links.get_mut(index) {
            *place = link;
        }
    }

    fn unlink(&self, attempt: AttemptRef) -> Link {
        let mut links = self.links.borrow_mut();
        let Some(place) = links.get_mut(index(attempt)) else {
            return Link::None;
        };
        let is_its_own = match place {
            Link::None => false,
            Link::Dialling(holder, _) | Link::Connected(holder, _) => *holder == attempt,
        };
        if is_its_own {
            std::mem::replace(place, Link::None)
        } else {
            Link::None
        }
    }

    fn connection_of(&self, attempt: AttemptRef) -> Option<Rc<Connection>> {
        match self.links.borrow().get(index(attempt)) {
            Some(Link::Connected(holder, connection)) if *holder == attempt => {
                Some(Rc::clone(connection))
            }
            Some(Link::Connected(..) | Link::Dialling(..) | Link::None) | None => None,
        }
    }

    fn write_lookup(&self, connection: &Connection, attempt: AttemptRef, id: UpstreamId) {
        let head = self.targets.get(connection.processor).head.borrow();
        let mut text = [b'/'; 37];
        let [_, digits @ ..] = &mut text;
        *digits = id.spell();
        connection.write(Job::Lookup(attempt, id), |out| head.write_get(out, &text));
    }
}

fn index(attempt: AttemptRef) -> usize {
    usize::try_from(attempt.0.slot).unwrap_or(usize::MAX)
}

/// The headers that go upstream with a traced payment.
fn headers(trace: &Trace) -> Vec<(&'static str, &[u8])> {
    let request_id = trace
        .request_id
        .as_deref()
        .map(|id| ("X-Request-Id", id.as_bytes()));
    let parent = trace
        .traceparent
        .as_deref()
        .map(|parent| ("traceparent", parent.as_bytes()));
    request_id.into_iter().chain(parent).collect()
}
