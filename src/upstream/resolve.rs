//! Names to addresses, on a thread for each name: a lookup may block for seconds, and an event loop
//! never may, nor may one dead name keep another from being found. A name is resolved every
//! UPSTREAM_RESOLVE_SECS and when a core asks; what is found reaches each core through a queue of
//! its own, and wakes it. A URL that names an address has no thread.
//!
//! I10: resolutions are numbered in the order in which they begin. After a connection to a
//! processor ended, no new connect of any core may use one that began before that end, since
//! another processor may have the address by now: [`Resolver::needed`] is the least number that may
//! be used. What follows from an address that a name lost is decided by `addresses` and `owner`.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::task::Poll;
use std::thread::{self, Thread};
use std::time::Duration;

use atomic_waker::AtomicWaker;

use crate::addresses::{AddressBook, Listing, SOCKET_FILE};
use crate::clock::Clock;
use crate::config::{Config, HttpUrl};
use crate::metrics::Metrics;
use crate::payment::{PROCESSORS_MAX, Processor};

/// Pause between two resolutions of a name. A processor that closes after every answer makes each
/// connect wait for one, so it is short; with it the server of names
/// gets at most 1,000 questions a second.
const RESOLVE_PAUSE: Duration = Duration::from_millis(1);
/// The same after a failure, so that a dead name costs its server few questions.
const RESOLVE_PAUSE_FAILED: Duration = Duration::from_millis(250);
/// Resolutions that wait for one core; beyond it the newest is dropped, and the next one comes.
const RESOLVED_QUEUE_MAX: usize = 16;

/// Which name: every processor that can be, in their order, then the peers in theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameIndex(usize);

impl NameIndex {
    /// The name of `processor`.
    #[must_use]
    pub(crate) fn of(processor: Processor) -> Self {
        Self(processor.index())
    }

    /// The name of the `index`-th of PEERS.
    #[must_use]
    pub(crate) const fn of_peer(index: usize) -> Self {
        Self(PROCESSORS_MAX.saturating_add(index))
    }

    fn processor(self) -> Option<Processor> {
        Processor::of_index(self.0)
    }
}

/// How a name is looked up: the machine's resolver, or what a test says.
#[derive(Clone)]
pub struct NameLookup(Arc<LookupFn>);

type LookupFn = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

impl NameLookup {
    /// Asks the machine's resolver.
    #[must_use]
    pub fn of_machine() -> Self {
        Self::new(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }

    /// Asks `lookup` for the addresses of a host and a port.
    pub fn new(
        lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(lookup))
    }
}

impl fmt::Debug for NameLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NameLookup")
    }
}

/// What every name resolved to, as one core knows it.
#[derive(Clone, Debug)]
pub(crate) struct Names(Vec<Arc<Listing>>);

impl Names {
    /// The addresses of one name in order; none when it could not be resolved.
    #[must_use]
    pub(crate) fn addresses(&self, name: NameIndex) -> Vec<SocketAddr> {
        let listing = self.0.get(name.0);
        let listed = listing.into_iter().flat_map(|listing| &listing.listed);
        listed.map(|listed| listed.address).collect()
    }

    /// All that is known of one name.
    #[must_use]
    pub(crate) fn listing(&self, name: NameIndex) -> Arc<Listing> {
        self.0.get(name.0).cloned().unwrap_or_default()
    }

    /// Takes over what the resolver found.
    pub(crate) fn update(&mut self, found: Resolution) {
        if let Some(listing) = self.0.get_mut(found.name.0) {
            *listing = found.listing;
        }
    }
}

/// A resolution that succeeded.
#[derive(Clone, Debug)]
pub(crate) struct Resolution {
    /// Of which name.
    pub name: NameIndex,
    /// What it showed, with what had been known before.
    pub listing: Arc<Listing>,
}

/// One core's queue of resolutions.
#[derive(Debug)]
pub(crate) struct Resolved {
    queue: Receiver<Resolution>,
    waker: Arc<AtomicWaker>,
}

impl Resolved {
    /// Waits for the next one. Only one task of the core may wait.
    pub(crate) async fn next(&self) -> Resolution {
        poll_fn(|context| {
            self.waker.register(context.waker());
            match self.queue.try_recv() {
                Ok(found) => Poll::Ready(found),
                // Without any thread left there are only names that never change.
                Err(_) => Poll::Pending,
            }
        })
        .await
    }
}

/// What the start hands out: the shared side, what was found at once, and each core's queue.
type Started = (Arc<Resolver>, Names, Vec<Resolved>);

/// The side of the resolver that cores share.
#[derive(Debug)]
pub(crate) struct Resolver {
    names: Vec<NameState>,
}

#[derive(Debug, Default)]
struct NameState {
    /// How many resolutions have begun.
    begun: AtomicU64,
    /// The least number that a new connect may use.
    needed: AtomicU64,
    /// None for a URL that names an address.
    thread: OnceLock<Thread>,
}

impl Resolver {
    /// Resolves every name of `config` now, all at once, and starts the threads that do it again.
    /// One queue for each core.
    ///
    /// # Errors
    /// A thread could not be started.
    pub(crate) fn start(
        config: &Config,
        lookup: &NameLookup,
        metrics: &Arc<Metrics>,
        clock: impl Fn() -> Clock,
    ) -> io::Result<Started> {
        let processors = config.upstream.iter();
        let processors = processors.map(|(one, config)| (NameIndex::of(one), config.url.http()));
        let peers = (0..).map(NameIndex::of_peer);
        let peers = peers.zip(config.shards.peers.iter().map(Some));
        let places = NameIndex::of_peer(config.shards.peers.len()).0;
        let resolver = Arc::new(Self {
            names: (0..places).map(|_| NameState::default()).collect(),
        });
        let (cores, queues): (Vec<Core>, Vec<Resolved>) = (0..config.cores.0.max(1))
            .map(|_| {
                let (sender, queue) = sync_channel(RESOLVED_QUEUE_MAX);
                let waker = Arc::new(AtomicWaker::new());
                let theirs = Arc::clone(&waker);
                (
                    Core { sender, waker },
                    Resolved {
                        queue,
                        waker: theirs,
                    },
                )
            })
            .unzip();
        let (first, firsts) = sync_channel(places);
        let mut names = Names(vec![Arc::default(); places]);
        for (name, url) in processors.chain(peers) {
            let fixed = match url {
                None => Some(SOCKET_FILE),
                Some(url) => url
                    .host
                    .parse()
                    .ok()
                    .map(|ip| SocketAddr::new(ip, url.port)),
            };
            let (None, Some(url)) = (fixed, url) else {
                let listing = fixed.map(Listing::fixed).unwrap_or_default();
                let listing = Arc::new(listing);
                names.update(Resolution { name, listing });
                continue;
            };
            let worker = Worker {
                name,
                url: url.clone(),
                lookup: lookup.clone(),
                resolver: Arc::clone(&resolver),
                metrics: Arc::clone(metrics),
                interval: config.resolve_interval,
                cores: cores.clone(),
            };
            let (clock, first) = (clock(), first.clone());
            let started = thread::Builder::new()
                .name("p99-resolve".into())
                .spawn(move || worker.work(&clock, first))?;
            if let Some(state) = resolver.names.get(name.0) {
                let _ = state.thread.set(started.thread().clone());
            }
        }
        drop(first);
        for found in firsts {
            names.update(found);
        }
        Ok((resolver, names, queues))
    }

    /// Has `name` resolved soon: it could not be reached, so it may mean something else by now.
    pub(crate) fn ask(&self, name: NameIndex) {
        let thread = self.names.get(name.0).and_then(|state| state.thread.get());
        if let Some(thread) = thread {
            thread.unpark();
        }
    }

    /// A connection to `name` ended: from here on no connect uses a resolution that has begun.
    pub(crate) fn note_end(&self, name: NameIndex) {
        let Some(state) = self.names.get(name.0) else {
            return;
        };
        let next = self.next_number(name);
        state.needed.fetch_max(next, Ordering::SeqCst);
        self.ask(name);
    }

    /// The number of the next resolution to begin: what shows the present moment. Zero for a name
    /// that is an address.
    #[must_use]
    pub(crate) fn next_number(&self, name: NameIndex) -> u64 {
        let state = self.names.get(name.0);
        let state = state.filter(|state| state.thread.get().is_some());
        state.map_or(0, |state| {
            state.begun.load(Ordering::SeqCst).saturating_add(1)
        })
    }

    /// The least number of a resolution that a new connect to `name` may use (I10).
    #[must_use]
    pub(crate) fn needed(&self, name: NameIndex) -> u64 {
        let state = self.names.get(name.0);
        state.map_or(0, |state| state.needed.load(Ordering::SeqCst))
    }
}

#[derive(Clone, Debug)]
struct Core {
    sender: SyncSender<Resolution>,
    waker: Arc<AtomicWaker>,
}

/// One name's thread.
struct Worker {
    name: NameIndex,
    url: HttpUrl,
    lookup: NameLookup,
    resolver: Arc<Resolver>,
    metrics: Arc<Metrics>,
    interval: Duration,
    cores: Vec<Core>,
}

impl Worker {
    fn work(self, clock: &Clock, first: SyncSender<Resolution>) {
        let mut book = AddressBook::default();
        let mut first = Some(first);
        loop {
            let found = self.resolve(&mut book, clock);
            let pause = match found {
                Some(_) => RESOLVE_PAUSE,
                None => RESOLVE_PAUSE_FAILED,
            };
            match (found, first.take()) {
                (None, _) => {}
                // The start waits for this one, and no core is there yet.
                (Some(found), Some(first)) => drop(first.send(found)),
                (Some(found), None) => {
                    if !self.tell(&found) {
                        // The cores are gone, and so is the need.
                        return;
                    }
                }
            }
            thread::sleep(pause);
            // A connect that waits asks again and again, so a failure needs no loop of its own.
            thread::park_timeout(self.interval);
        }
    }

    fn resolve(&self, book: &mut AddressBook, clock: &Clock) -> Option<Resolution> {
        let state = self.resolver.names.get(self.name.0)?;
        let number = state.begun.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        let found = (self.lookup.0)(&self.url.host, self.url.port);
        let fault = match found {
            Ok(addresses) if !addresses.is_empty() => {
                let listing = book.note(number, &addresses, clock.now().mono);
                let (name, listing) = (self.name, Arc::new(listing));
                return Some(Resolution { name, listing });
            }
            Ok(_) => "it has no address".to_owned(),
            Err(fault) => fault.to_string(),
        };
        log::warn!("cannot resolve {}: {fault}", self.url.authority());
        if let Some(processor) = self.name.processor() {
            self.metrics.resolution_failures.get(processor).increment();
        }
        None
    }

    fn tell(&self, found: &Resolution) -> bool {
        let mut is_heard = false;
        for core in &self.cores {
            match core.sender.try_send(found.clone()) {
                Ok(()) => is_heard = true,
                Err(TrySendError::Full(_)) => {
                    // It is behind, and looks at a newer one when it comes.
                    is_heard = true;
                    thread::current().unpark();
                }
                Err(TrySendError::Disconnected(_)) => {}
            }
            core.waker.wake();
        }
        is_heard
    }
}
