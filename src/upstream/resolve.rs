//! Names to addresses, on a thread of its own: a lookup may block for seconds, and an event loop
//! never may. Cores ask after a connect that failed; what is found reaches each core through its
//! own channel, and each name is looked up at most once a second.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::config::{Config, HttpUrl};
use crate::limits;
use crate::payment::Processor;

/// Which name: both processors in their order, then the peers in theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameIndex(usize);

impl NameIndex {
    /// The name of `processor`.
    #[must_use]
    pub const fn of(processor: Processor) -> Self {
        Self(processor.index())
    }

    /// The name of the `index`-th of PEERS.
    #[must_use]
    pub const fn of_peer(index: usize) -> Self {
        Self(Processor::ALL.len().saturating_add(index))
    }
}

/// What every name resolved to.
#[derive(Clone, Debug)]
pub struct Names(Vec<Vec<SocketAddr>>);

impl Names {
    /// The addresses of one name; none when it could not be resolved.
    #[must_use]
    pub fn get(&self, name: NameIndex) -> &[SocketAddr] {
        self.0.get(name.0).map(Vec::as_slice).unwrap_or_default()
    }

    /// Takes over what the resolver found.
    pub fn update(&mut self, found: Found) {
        if let Some(addresses) = self.0.get_mut(found.name.0) {
            *addresses = found.addresses;
        }
    }
}

/// New addresses of one name.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which.
    pub name: NameIndex,
    /// At least one.
    pub addresses: Vec<SocketAddr>,
}

/// The side of the resolver that cores hold.
#[derive(Debug)]
pub struct Resolver {
    wanted: Vec<AtomicBool>,
    thread: thread::Thread,
}

impl Resolver {
    /// Resolves every name of `config` now, blocking, and starts the thread that does it again
    /// when asked. One receiver for each core.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(config: &Config) -> std::io::Result<(Arc<Self>, Names, Vec<Receiver<Found>>)> {
        let urls: Vec<HttpUrl> = config
            .upstream
            .0
            .iter()
            .chain(&config.peers)
            .cloned()
            .collect();
        let names = Names(urls.iter().map(lookup).collect());
        let wanted = urls.iter().map(|_| AtomicBool::new(false)).collect();
        let (senders, receivers): (Vec<Sender<Found>>, Vec<_>) =
            (0..config.cores.0.max(1)).map(|_| channel()).unzip();
        let (hand_over, resolver) = channel::<Arc<Self>>();
        let worker = thread::Builder::new()
            .name("p99-resolve".into())
            .spawn(move || {
                if let Ok(resolver) = resolver.recv() {
                    resolver.work(&urls, &senders);
                }
            })?;
        let resolver = Arc::new(Self {
            wanted,
            thread: worker.thread().clone(),
        });
        // The thread waits for nothing else, so it is there to take it.
        let _ = hand_over.send(Arc::clone(&resolver));
        Ok((resolver, names, receivers))
    }

    /// `name` could not be reached: it may mean something else by now.
    pub fn ask(&self, name: NameIndex) {
        let Some(wanted) = self.wanted.get(name.0) else {
            return;
        };
        if !wanted.swap(true, Ordering::AcqRel) {
            self.thread.unpark();
        }
    }

    fn work(&self, urls: &[HttpUrl], cores: &[Sender<Found>]) {
        loop {
            thread::park();
            for (index, url) in urls.iter().enumerate() {
                let is_wanted = self
                    .wanted
                    .get(index)
                    .is_some_and(|wanted| wanted.swap(false, Ordering::AcqRel));
                if !is_wanted {
                    continue;
                }
                let addresses = lookup(url);
                if addresses.is_empty() {
                    continue;
                }
                for core in cores {
                    let found = Found {
                        name: NameIndex(index),
                        addresses: addresses.clone(),
                    };
                    if core.send(found).is_err() {
                        // The cores are gone, and so is the need.
                        return;
                    }
                }
            }
            thread::sleep(limits::RESOLVE_PAUSE);
        }
    }
}

/// All addresses of `url`; none, with a warning, when its name has none.
fn lookup(url: &HttpUrl) -> Vec<SocketAddr> {
    match (url.host.as_str(), url.port).to_socket_addrs() {
        Ok(addresses) => addresses.take(limits::ADDRESSES_MAX).collect(),
        Err(fault) => {
            log::warn!("cannot resolve {}: {fault}", url.authority());
            Vec::new()
        }
    }
}
