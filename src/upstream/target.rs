//! One processor as one core sees it: its addresses, which of them did not connect last time, and
//! the connections that are open to each. Decides which address is tried next; connects to none.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use socket2::SockAddr;

use super::connection::Connection;
use crate::addresses::{Listing, is_same};
use crate::config::{Held, Origin, ProcessorConfig, UpstreamUrl};
use crate::http::FixedHead;
use crate::limits;
use crate::sockets::Speech;
use crate::tls::Material;

/// One processor as this core sees it.
pub(super) struct TargetState {
    url: UpstreamUrl,
    /// Over https: whose certificate it must show.
    peer: Option<ServerName<'static>>,
    /// How it is spoken to.
    speech: RefCell<Speech>,
    /// What that was made of.
    material: RefCell<Option<Arc<Material>>>,
    /// How often that has changed.
    generation: Cell<u64>,
    /// Of payments, with its base.
    path: String,
    /// What its requests begin with.
    pub(super) head: RefCell<FixedHead>,
    /// Where its only address is, when that is no address of a network.
    socket_file: Option<SockAddr>,
    pub(super) listing: RefCell<Arc<Listing>>,
    /// Addresses that did not connect when they were tried last, the latest last.
    failed: RefCell<Vec<SocketAddr>>,
    /// How many connections are open to each address; none with zero.
    open_at: RefCell<Vec<(SocketAddr, usize)>>,
    /// Idle connections, the warmest last.
    pub(super) idle: RefCell<Vec<Rc<Connection>>>,
    pub(super) open: Cell<usize>,
}

impl TargetState {
    pub(super) fn new(
        config: &ProcessorConfig,
        pay_path: &str,
        held: &Held,
        listing: Arc<Listing>,
    ) -> Self {
        let (url, peer) = (config.url.clone(), config.peer.clone());
        let path = format!("{}{pay_path}", url.base);
        let socket_file = match &url.origin {
            Origin::Http(_) | Origin::Https(_) => None,
            // Its length was checked when it was read.
            Origin::Unix(path) => SockAddr::unix(path).ok(),
        };
        Self {
            head: RefCell::new(head(&url, &path, held)),
            speech: RefCell::new(speech(&url, peer.as_ref(), held)),
            material: RefCell::new(held.tls.clone()),
            generation: Cell::new(0),
            url,
            peer,
            path,
            socket_file,
            listing: RefCell::new(listing),
            failed: RefCell::default(),
            open_at: RefCell::default(),
            idle: RefCell::default(),
            open: Cell::new(0),
        }
    }

    /// From here on its requests and its sessions are made of what its files hold now. Whether
    /// sessions are made of something else than before.
    pub(super) fn take_over(&self, held: &Held) -> bool {
        self.head.replace(head(&self.url, &self.path, held));
        let before = self.material.replace(held.tls.clone());
        if before == held.tls {
            return false;
        }
        self.speech
            .replace(speech(&self.url, self.peer.as_ref(), held));
        self.generation.set(self.generation.get().saturating_add(1));
        true
    }

    /// How a new connection speaks to it.
    pub(super) fn speech(&self) -> Speech {
        self.speech.borrow().clone()
    }

    /// Another one once its sessions are made of something else.
    pub(super) fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// What to connect to at `address`.
    pub(super) fn place_of(&self, address: SocketAddr) -> SockAddr {
        self.socket_file.clone().unwrap_or_else(|| address.into())
    }

    /// The address to try next, but for those that were tried: those that failed last time come
    /// last.
    pub(super) fn next_address(
        &self,
        only: Option<SocketAddr>,
        tried: &[SocketAddr],
    ) -> Option<SocketAddr> {
        let listing = self.listing.borrow();
        let failed = self.failed.borrow();
        let is_among = |all: &[SocketAddr], address| all.iter().any(|one| is_same(*one, address));
        let may_be_tried = |address: &SocketAddr| {
            only.is_none_or(|only| is_same(only, *address)) && !is_among(tried, *address)
        };
        let listed = || listing.listed.iter().map(|listed| listed.address);
        let is_listed = |address: &SocketAddr| listed().any(|one| is_same(one, *address));
        let fresh = listed().filter(|address| !is_among(&failed, *address));
        let failed = failed.iter().copied().filter(is_listed);
        fresh.chain(failed).find(may_be_tried)
    }

    pub(super) fn note_reached(&self, address: SocketAddr) {
        let mut failed = self.failed.borrow_mut();
        failed.retain(|one| !is_same(*one, address));
    }

    pub(super) fn note_failed(&self, address: SocketAddr) {
        let mut failed = self.failed.borrow_mut();
        failed.retain(|one| !is_same(*one, address));
        if failed.len() >= limits::ADDRESSES_MAX {
            failed.remove(0);
        }
        failed.push(address);
    }

    pub(super) fn is_connected_to_any(&self, those: impl Fn(SocketAddr) -> bool) -> bool {
        self.open_at.borrow().iter().any(|(one, _)| those(*one))
    }

    pub(super) fn note_open(&self, address: SocketAddr) {
        self.open.set(self.open.get().saturating_add(1));
        let mut open_at = self.open_at.borrow_mut();
        match open_at.iter_mut().find(|(one, _)| is_same(*one, address)) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => open_at.push((address, 1)),
        }
    }

    pub(super) fn note_closed(&self, address: SocketAddr) {
        self.open.set(self.open.get().saturating_sub(1));
        self.open_at.borrow_mut().retain_mut(|(one, count)| {
            if is_same(*one, address) {
                *count = count.saturating_sub(1);
            }
            *count > 0
        });
    }
}

/// What every request says: of p99, unless the file says it in another way, and what the file says.
fn head(url: &UpstreamUrl, path: &str, held: &Held) -> FixedHead {
    let version = concat!("p99/", env!("CARGO_PKG_VERSION")).as_bytes();
    let ours = [("User-Agent", version), ("Accept", b"application/json")];
    let unsaid = |(name, _): &(&str, &[u8])| !held.headers.has(name);
    let fields: Vec<(&str, &[u8])> = ours
        .into_iter()
        .filter(unsaid)
        .chain(held.headers.iter())
        .collect();
    FixedHead::new(&url.host_field(), path, &fields)
}

/// Over https a place is spoken to over TLS or not at all.
fn speech(url: &UpstreamUrl, peer: Option<&ServerName<'static>>, held: &Held) -> Speech {
    if !url.is_https() {
        return Speech::Plain;
    }
    let client = held.tls.as_ref().zip(peer);
    match client.map(|(material, peer)| material.client(peer)) {
        Some(Ok(client)) => Speech::Tls(client),
        Some(Err(_)) | None => Speech::Impossible,
    }
}
