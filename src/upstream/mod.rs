//! One core's connections to both processors: it gets an attempt a connection, writes its request
//! in one go, reads one answer to its end, and says what it saw. What that means is judged by the
//! owner; nothing here retries anything.
//!
//! - `connection.rs`: the life of one connection;
//! - `call.rs`: one question on a connection of its own, for peers;
//! - `connect.rs`: how one comes to be;
//! - `resolve.rs`: names to addresses, on a thread of its own.
//!
//! Keeps I4 (a connection whose exchange was not read to its end never goes back to the pool) and
//! the rule that no I/O future is dropped: a deadline shuts a socket down, and the task that waits
//! on it unwinds in order.

mod call;
mod connect;
mod connection;
mod resolve;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

pub use self::call::Called;
pub use self::resolve::{Found, NameIndex, Names, Resolver};

use self::connect::Connecting;
use self::connection::{Connection, Job};
use crate::clock::Mono;
use crate::config::Config;
use crate::events::{AttemptRef, Exchange, Lookup, Trace};
use crate::http::{Target, write_get, write_post};
use crate::payment::{PerProcessor, Processor, UpstreamId};
use crate::wire::{self, UpstreamPayment};

/// Who is told what became of an attempt. Called from connection tasks, never from within a call
/// to [`Upstream`].
pub trait Sink {
    /// `attempt` has its connection.
    fn connected(&self, attempt: AttemptRef);
    /// `attempt`'s exchange ended so.
    fn exchanged(&self, attempt: AttemptRef, exchange: Exchange);
    /// The lookup for `attempt` ended so.
    fn looked_up(&self, attempt: AttemptRef, lookup: Lookup);
    /// The monotonic clock.
    fn mono(&self) -> Mono;
}

/// See the header of this file.
pub struct Upstream {
    sink: Weak<dyn Sink>,
    targets: PerProcessor<TargetState>,
    /// By the attempt's slot: what it holds.
    links: RefCell<Vec<Link>>,
    connecting: RefCell<Vec<Rc<Connecting>>>,
    pay_path: String,
    connect_timeout: Duration,
    pool_idle_max: usize,
    pool_idle_timeout: Duration,
    resolver: Arc<Resolver>,
    /// Bodies of requests are built here, then copied behind their head.
    body: RefCell<Vec<u8>>,
}

/// One processor as this core sees it.
struct TargetState {
    authority: String,
    addresses: RefCell<Rc<[SocketAddr]>>,
    /// Idle connections, the warmest last.
    idle: RefCell<Vec<Rc<Connection>>>,
    open: Cell<usize>,
}

/// What an attempt holds.
enum Link {
    None,
    Connecting(AttemptRef, Rc<Connecting>),
    Connected(AttemptRef, Rc<Connection>),
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("pay_path", &self.pay_path)
            .finish_non_exhaustive()
    }
}

impl Upstream {
    /// No connection yet. `names` holds what each processor's name resolved to.
    #[must_use]
    pub fn new(
        config: &Config,
        names: &Names,
        resolver: Arc<Resolver>,
        sink: Weak<dyn Sink>,
    ) -> Rc<Self> {
        let target = |processor| TargetState {
            authority: config.upstream.get(processor).authority(),
            addresses: RefCell::new(names.get(NameIndex::of(processor)).into()),
            idle: RefCell::default(),
            open: Cell::new(0),
        };
        Rc::new(Self {
            sink,
            targets: PerProcessor([target(Processor::Default), target(Processor::Fallback)]),
            links: RefCell::default(),
            connecting: RefCell::default(),
            pay_path: config.pay_path.clone(),
            connect_timeout: config.connect_timeout,
            pool_idle_max: config.pool_idle_max,
            pool_idle_timeout: config.pool_idle_timeout,
            resolver,
            body: RefCell::default(),
        })
    }

    // ---- what the driver asks for ----

    /// Gets `attempt` a connection. True when it has one at once; else the sink hears of it.
    pub fn connect(
        self: &Rc<Self>,
        attempt: AttemptRef,
        processor: Processor,
        fresh: bool,
    ) -> bool {
        if !fresh && let Some(connection) = self.take_idle(processor) {
            connection.job.set(Job::Reserved(attempt));
            self.link(attempt, Link::Connected(attempt, connection));
            return true;
        }
        self.dial(attempt, processor, Job::Reserved(attempt));
        false
    }

    /// Writes the payment on `attempt`'s connection. False when the connection is gone and no byte
    /// was handed over.
    pub fn send(
        &self,
        attempt: AttemptRef,
        payment: &UpstreamPayment,
        trace: Option<&Trace>,
    ) -> bool {
        let Some(connection) = self.connection_of(attempt) else {
            return false;
        };
        if connection.is_closed() {
            return false;
        }
        let target = self.targets.get(connection.processor);
        let path = Target {
            host: &target.authority,
            path: [&self.pay_path, ""],
        };
        let body = &mut *self.body.borrow_mut();
        body.clear();
        wire::write_upstream_payment(payment, body);
        connection.write(Job::Payment(attempt), |out| match trace {
            None => write_post(out, &path, &[], body),
            Some(trace) => write_post(out, &path, headers(trace).as_slice(), body),
        });
        true
    }

    /// Asks `processor` for `id` on the warmest connection.
    pub fn lookup(self: &Rc<Self>, attempt: AttemptRef, processor: Processor, id: UpstreamId) {
        let job = Job::Lookup(attempt, id);
        match self.take_idle(processor) {
            Some(connection) => {
                self.link(attempt, Link::Connected(attempt, Rc::clone(&connection)));
                self.write_lookup(&connection, attempt, id);
            }
            None => self.dial(attempt, processor, job),
        }
    }

    /// `attempt` sends nothing: its connection is free for others.
    pub fn abandon(&self, attempt: AttemptRef) {
        match self.unlink(attempt) {
            Link::None => {}
            // It finishes connecting and then waits in the pool.
            Link::Connecting(_, connecting) => connecting.job.set(Job::None),
            Link::Connected(_, connection) => {
                connection.job.set(Job::None);
                self.give_back(&connection);
            }
        }
    }

    /// Nobody waits for `attempt`'s answer any more: its connection is closed (I4).
    pub fn close(&self, attempt: AttemptRef) {
        match self.unlink(attempt) {
            Link::None => {}
            Link::Connecting(_, connecting) => {
                connecting.job.set(Job::None);
                connecting.give_up();
            }
            Link::Connected(_, connection) => {
                connection.job.set(Job::None);
                connection.shut_down();
            }
        }
    }

    /// Ends what took too long: connects under way and idle connections.
    pub fn sweep(&self, now: Mono) {
        for connecting in self.connecting.borrow().iter() {
            if connecting.deadline <= now {
                connecting.give_up();
            }
        }
        for processor in Processor::ALL {
            let target = self.targets.get(processor);
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

    /// New addresses of `processor`, for connections to come.
    pub fn set_addresses(&self, processor: Processor, addresses: &[SocketAddr]) {
        self.targets
            .get(processor)
            .addresses
            .replace(addresses.into());
    }

    /// A name could not be reached: it may mean something else by now.
    pub fn ask_for_addresses(&self, name: NameIndex) {
        self.resolver.ask(name);
    }

    /// Whether a connect is under way, whose deadline `sweep` must watch.
    #[must_use]
    pub fn is_connecting(&self) -> bool {
        !self.connecting.borrow().is_empty()
    }

    /// Idle and open connections to `processor`.
    #[must_use]
    pub fn connections(&self, processor: Processor) -> (usize, usize) {
        let target = self.targets.get(processor);
        (target.idle.borrow().len(), target.open.get())
    }

    // ---- the pool ----

    fn take_idle(&self, processor: Processor) -> Option<Rc<Connection>> {
        let mut idle = self.targets.get(processor).idle.borrow_mut();
        std::iter::from_fn(|| idle.pop()).find(|connection| !connection.is_closed())
    }

    /// Takes a clean connection back, unless the pool is full.
    fn give_back(&self, connection: &Rc<Connection>) {
        if connection.is_closed() {
            return;
        }
        let mut idle = self.targets.get(connection.processor).idle.borrow_mut();
        if idle.len() >= self.pool_idle_max {
            connection.shut_down();
            return;
        }
        if let Some(sink) = self.sink.upgrade() {
            connection.idle_since.set(sink.mono());
        }
        idle.push(Rc::clone(connection));
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
            Link::Connecting(holder, _) | Link::Connected(holder, _) => *holder == attempt,
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
            Some(Link::Connected(..) | Link::Connecting(..) | Link::None) | None => None,
        }
    }

    fn write_lookup(&self, connection: &Connection, attempt: AttemptRef, id: UpstreamId) {
        let target = self.targets.get(connection.processor);
        let mut text = [b'/'; 37];
        let [_, digits @ ..] = &mut text;
        let _ = id.write(digits);
        let id_path = std::str::from_utf8(&text).unwrap_or_default();
        let path = Target {
            host: &target.authority,
            path: [&self.pay_path, id_path],
        };
        connection.write(Job::Lookup(attempt, id), |out| write_get(out, &path, &[]));
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
