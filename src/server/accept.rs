//! Taking connections: one task per listening socket and core.
//!
//! An accept is never dropped (on io_uring that would leak the connection it was about to get); a
//! listener is closed by shutting it down, upon which the pending accept fails and its task ends.
//! One that a supervisor holds would be shut down for the next process too: there the accept itself
//! is cancelled, and awaited to its end.
//! Connections are taken also while every place is: `places` then has an idle one make room, or
//! lets the new one only probe.
//! At the descriptor limit `accept` fails at once, for ever, so a failure pauses, and a spare
//! descriptor is given up for a moment to turn one client away instead of leaving it in the queue.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use monoio::io::{CancelHandle, Canceller};
use monoio::net::{TcpListener, UnixListener};

use super::Core;
use super::connection::{self, Stream};
use super::deadlines::shut_down;
use super::farewell;
use super::lifecycle::Phase;
use super::listen::{Holder, ListenSocket, Listener, ListenerRole, Peer};
use super::places::{Counted, Place};
use crate::descriptors;
use crate::metrics::Closed;
use crate::server::CLOSING_INTERVAL;
use crate::sockets::keep_from_children;

/// Pause after an accept that failed for want of descriptors: it fails at once again and again,
/// and without a pause it would take the whole core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// The longest that a closing listener's queue is emptied; the balancer was told long before.
const ACCEPT_DRAIN_MAX: Duration = Duration::from_secs(1);

/// A listening socket that accepts, and how to end that.
pub(super) struct Listening {
    fd: RawFd,
    /// There when a supervisor holds the socket.
    canceller: Option<Canceller>,
}

/// Begins to accept on `listener`.
///
/// # Errors
/// When the reactor cannot take the socket.
pub(super) fn open(core: &Rc<Core>, listener: Listener) -> io::Result<()> {
    let role = listener.role;
    let canceller = (listener.holder == Holder::Supervisor).then(Canceller::new);
    let cancel = canceller.as_ref().map(Canceller::handle);
    let fd = match listener.socket {
        ListenSocket::Tcp(socket) => {
            socket.set_nonblocking(core.is_on_epoll)?;
            let listener = TcpListener::from_std(socket)?;
            let fd = listener.as_raw_fd();
            let _task = monoio::spawn(accept_tcp(Rc::clone(core), listener, role, cancel));
            fd
        }
        ListenSocket::Unix(socket) => {
            socket.set_nonblocking(core.is_on_epoll)?;
            let listener = UnixListener::from_std(socket)?;
            let fd = listener.as_raw_fd();
            let _task = monoio::spawn(accept_unix(Rc::clone(core), listener, role, cancel));
            fd
        }
    };
    // The tasks begin with a later turn.
    let listening = Listening { fd, canceller };
    core.listening.borrow_mut().push(listening);
    Ok(())
}

/// Empties each listener's queue and closes it: what had connected before is still served. The
/// queue of a listener that a supervisor holds is left to the next process.
pub(super) async fn close_all(core: &Core) {
    let over = core.now().mono.after(ACCEPT_DRAIN_MAX);
    let mut own = Vec::new();
    let mut passed = Vec::new();
    for listening in &mut *core.listening.borrow_mut() {
        match listening.canceller.take() {
            Some(canceller) => passed.push(canceller),
            None => own.push(listening.fd),
        }
    }
    let are_passed = !passed.is_empty();
    for canceller in passed {
        canceller.cancel();
    }
    for listener in own {
        while has_waiting(listener) && core.turn() < over {
            // The accept task takes them meanwhile.
            monoio::time::sleep(CLOSING_INTERVAL).await;
        }
        // The task may have ended by itself; its descriptor is then no longer ours.
        if core.listening.borrow().iter().any(|one| one.fd == listener) {
            shut_down(listener, libc::SHUT_RDWR);
        }
    }
    // A cancelled accept may have got a connection all the same, which its task must take.
    while are_passed && !core.listening.borrow().is_empty() && core.turn() < over {
        monoio::time::sleep(CLOSING_INTERVAL).await;
    }
}

/// Whether a connection waits in the queue of the listening socket `fd`.
fn has_waiting(fd: RawFd) -> bool {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: `poll` is one valid pollfd that outlives the call, which does not wait.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    ready == 1 && poll.revents & libc::POLLIN != 0
}

async fn accept_tcp(
    core: Rc<Core>,
    listener: TcpListener,
    role: ListenerRole,
    cancel: Option<CancelHandle>,
) {
    let mut spare = Spare::new();
    loop {
        let accepted = match &cancel {
            None => listener.accept().await,
            Some(cancel) => listener.cancelable_accept(cancel.clone()).await,
        };
        match accepted {
            Ok((stream, address)) => {
                let address = Some(SocketAddr::ip(&address));
                take(&core, &mut spare, stream, Peer { address, role });
            }
            Err(fault) if recover(&core, &mut spare, &fault).await => {}
            Err(_) => break,
        }
    }
    leave(&core, listener.as_raw_fd());
}

async fn accept_unix(
    core: Rc<Core>,
    listener: UnixListener,
    role: ListenerRole,
    cancel: Option<CancelHandle>,
) {
    let mut spare = Spare::new();
    loop {
        let accepted = match &cancel {
            None => listener.accept().await,
            Some(cancel) => listener.cancelable_accept(cancel.clone()).await,
        };
        match accepted {
            Ok((stream, _)) => take(
                &core,
                &mut spare,
                stream,
                Peer {
                    address: None,
                    role,
                },
            ),
            Err(fault) if recover(&core, &mut spare, &fault).await => {}
            Err(_) => break,
        }
    }
    leave(&core, listener.as_raw_fd());
}

fn take<S: Stream>(core: &Rc<Core>, spare: &mut Spare, stream: S, peer: Peer) {
    core.metrics().connections_accepted.increment();
    if let Err(fault) = keep_from_children(&stream) {
        log::debug!("a connection that programs would inherit: {fault}");
    }
    // Taken on the spare descriptor, and there is still no other: this client is turned away.
    let is_last = !spare.is_held() && !spare.take_back();
    if is_last || descriptors::is_reserved(stream.as_raw_fd()) {
        drop(stream);
        spare.take_back();
        farewell::count(core, Closed::Descriptors);
        return;
    }
    let (place, counted) = match placed(core, peer) {
        Ok(placed) => placed,
        Err(reason) => return farewell::count(core, reason),
    };
    core.lifecycle.admit(core.runtime.core);
    core.metrics().connections_open.increment();
    let mut placed = Placed {
        core: Rc::clone(core),
        place,
        counted,
        closed: Closed::Client,
    };
    // From here on it counts among those of this core, though its task begins later.
    let watch = core.watched(place).watch(stream.as_raw_fd());
    let core = Rc::clone(core);
    let _task = monoio::spawn(async move {
        placed.closed = connection::serve(stream, core, (peer, place), watch).await;
        drop(placed);
    });
}

/// The place of a new connection.
///
/// # Errors
/// There is none; why.
fn placed(core: &Core, peer: Peer) -> Result<(Place, Option<Counted>), Closed> {
    if peer.role == ListenerRole::Admin {
        let is_taken = core.places.take(Place::Admin, false) || take_of_few(core, Place::Admin);
        return is_taken.then_some((Place::Admin, None)).ok_or(Closed::Full);
    }
    let reason = match count_address(core, peer) {
        Err(()) => Closed::Address,
        Ok(counted) => {
            if core.places.take(Place::Client, false) {
                return Ok((Place::Client, counted));
            }
            let is_made = core.watched(Place::Client).make_room(core.now().mono);
            if is_made && core.places.take(Place::Client, true) {
                return Ok((Place::Client, counted));
            }
            if !is_made {
                core.places.ask();
            }
            if let Some(counted) = counted {
                core.places.uncount(counted);
            }
            Closed::Full
        }
    };
    let place = Place::Probe(reason);
    let is_taken = core.places.take(place, false) || take_of_few(core, place);
    is_taken.then_some((place, None)).ok_or(reason)
}

/// Takes a place among the few, all of which are taken: the one that waits longest on this core is
/// cut for it, at once: one that may still answer what was on its way, as a client's may, and whose
/// client reads nothing, would hold the overlap too. A core that has none may have one more, or it
/// could let no one in while others have them all.
fn take_of_few(core: &Core, place: Place) -> bool {
    let own = core.watched(place);
    if !core.places.take(place, true) {
        return false;
    }
    let is_made = own.len() == 0 || own.cut_oldest();
    if !is_made {
        core.places.give_back(place);
    }
    is_made
}

/// Counts the connection with its address. A unix socket and a trusted proxy carry many clients, so
/// theirs are not counted.
fn count_address(core: &Core, peer: Peer) -> Result<Option<Counted>, ()> {
    let Some(address) = peer.address.map(|address| address.to_canonical()) else {
        return Ok(None);
    };
    let trusted = &core.runtime.config.trusted_proxies;
    if trusted.iter().any(|range| range.contains(address)) {
        return Ok(None);
    }
    core.places.count(address)
}

/// One connection's place, and why it left it.
struct Placed {
    core: Rc<Core>,
    place: Place,
    counted: Option<Counted>,
    closed: Closed,
}

impl Drop for Placed {
    fn drop(&mut self) {
        if let Some(counted) = self.counted {
            self.core.places.uncount(counted);
        }
        self.core.places.give_back(self.place);
        self.core.lifecycle.release(self.core.runtime.core);
        self.core.metrics().connections_open.decrement();
        farewell::count(&self.core, self.closed);
    }
}

/// After a failed accept: whether to go on.
async fn recover(core: &Core, spare: &mut Spare, fault: &io::Error) -> bool {
    if core.lifecycle.phase() >= Phase::Closing {
        return false;
    }
    match fault.raw_os_error() {
        // The client gave up before it was taken.
        Some(libc::ECONNABORTED | libc::EINTR | libc::EPROTO) => return true,
        Some(libc::EMFILE | libc::ENFILE) => spare.give_up(),
        _ => {}
    }
    let count = core.accept_faults.get().saturating_add(1);
    core.accept_faults.set(count);
    core.metrics().accept_failures.increment();
    // The first, then every thousandth: at 50 a second one line in 20 s.
    if count % 1_000 == 1 {
        log::warn!(
            "core {}: accept failed ({count} times): {fault}",
            core.runtime.core.0
        );
    }
    monoio::time::sleep(ACCEPT_PAUSE).await;
    true
}

fn leave(core: &Core, fd: RawFd) {
    core.listening
        .borrow_mut()
        .retain(|listener| listener.fd != fd);
}

/// A descriptor held for bad times.
struct Spare(Option<File>);

impl Spare {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    fn give_up(&mut self) {
        self.0 = None;
    }

    const fn is_held(&self) -> bool {
        self.0.is_some()
    }

    /// Whether there is a descriptor to hold.
    fn take_back(&mut self) -> bool {
        self.0 = File::open("/dev/null").ok();
        self.is_held()
    }
}
