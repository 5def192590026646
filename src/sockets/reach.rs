//! One socket on its way to one address. It is made here and not by the runtime, so that its
//! descriptor is known while it connects and a deadline can shut it down instead of dropping a
//! future. `channel`, `upstream` and `store` use it; it knows no peer and no deadline of its own.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use monoio::net::TcpStream;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use crate::clock::Mono;
use crate::descriptors;

/// How long a peer over TLS 1.3 that asked for a certificate has to refuse it, or a quarter of
/// CONNECT_TIMEOUT_MS if that is less: one way there and back. One that gives tickets is waited for
/// no longer than it takes; one that gives none costs each new connection this much.
const TLS_VERDICT_WITHIN: Duration = Duration::from_millis(100);
/// While the queue of a unix socket is full, a connect is tried again after this: a server that
/// accepts takes some microseconds for each that waits before.
const CONNECT_QUEUE_PAUSE: Duration = Duration::from_millis(1);

/// One socket that is connecting, or a call on a connection of its own.
#[derive(Debug)]
pub(crate) struct Connecting {
    /// When it is given up.
    pub deadline: Mono,
    /// The socket that is connecting, while one is.
    pub descriptor: Cell<Option<RawFd>>,
    /// Whether its end was asked for.
    pub is_given_up: Cell<bool>,
    /// How long the peer is waited for that may yet refuse what p99 has shown of itself.
    pub verdict_within: Duration,
}

impl Connecting {
    /// One that is to be there by `deadline`, which is `timeout` from now.
    #[must_use]
    pub(crate) fn until(deadline: Mono, timeout: Duration) -> Rc<Self> {
        Rc::new(Self {
            deadline,
            descriptor: Cell::new(None),
            is_given_up: Cell::new(false),
            verdict_within: (timeout / 4).min(TLS_VERDICT_WITHIN),
        })
    }

    /// Ends it: the socket is shut down, and the task that waits for it ends by itself.
    pub(crate) fn give_up(&self) {
        self.is_given_up.set(true);
        if let Some(descriptor) = self.descriptor.get() {
            shut_down(descriptor);
        }
    }
}

/// Connects to `place`. The runtime's TCP stream reads, writes and closes a stream socket of any
/// family, so a unix socket is one too: one kind of connection.
///
/// # Errors
/// What the kernel says; [`io::ErrorKind::TimedOut`] once it is given up.
pub(crate) async fn reach_one(place: &SockAddr, connecting: &Connecting) -> io::Result<TcpStream> {
    let is_tcp = !place.is_unix();
    let protocol = is_tcp.then_some(Protocol::TCP);
    let domain = Domain::from(i32::from(place.family()));
    let socket = Socket::new(domain, Type::STREAM, protocol)?;
    if descriptors::is_reserved(socket.as_raw_fd()) {
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    socket.set_nonblocking(true)?;
    if is_tcp {
        socket.set_nodelay(true)?;
    }
    loop {
        match socket.connect(place) {
            Ok(()) => break,
            Err(fault) if fault.raw_os_error() == Some(libc::EINPROGRESS) => break,
            // The queue of a unix socket is full, and the kernel does not wait for a place in it.
            Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
                if connecting.is_given_up.get() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                monoio::time::sleep(CONNECT_QUEUE_PAUSE).await;
            }
            Err(fault) => return Err(fault),
        }
    }
    connecting.descriptor.set(Some(socket.as_raw_fd()));
    let stream = TcpStream::from_std(socket.into());
    let connected = match &stream {
        Ok(stream) => wait_until_connected(stream).await,
        Err(_) => Ok(()),
    };
    connecting.descriptor.set(None);
    if connecting.is_given_up.get() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    connected?;
    stream
}

async fn wait_until_connected(stream: &TcpStream) -> io::Result<()> {
    stream.writable(false).await?;
    match socket_of(stream, Socket::take_error)? {
        Some(fault) => Err(fault),
        // A socket that was shut down while it connected is writable and has no peer.
        None => socket_of(stream, |socket| socket.peer_addr().map(|_| ())),
    }
}

/// Whether a read would not wait: something has arrived, or the connection has ended.
pub(super) fn is_readable(stream: &impl AsRawFd) -> bool {
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    let peeked = socket_of(stream, |socket| {
        socket.recv_with_flags(&mut [MaybeUninit::uninit()], flags)
    });
    !matches!(peeked, Err(fault) if fault.kind() == io::ErrorKind::WouldBlock)
}

/// Asks the socket behind `stream`.
#[allow(
    unsafe_code,
    reason = "the runtime's stream lends only a raw descriptor"
)]
fn socket_of<R>(stream: &impl AsRawFd, ask: impl FnOnce(&Socket) -> R) -> R {
    // SAFETY: the borrow of `stream` keeps the descriptor open for longer than this one lives.
    let descriptor = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    ask(&SockRef::from(&descriptor))
}

/// Has the kernel give a connection up whose bytes are not acknowledged for so long.
///
/// # Errors
/// What the kernel says; a unix socket has no such time.
pub(crate) fn set_user_timeout(stream: &TcpStream, longest: Duration) -> io::Result<()> {
    socket_of(stream, |socket| socket.set_tcp_user_timeout(Some(longest)))
}

/// Has no program inherit the socket that a process starts: on io_uring the runtime accepts without
/// that.
///
/// # Errors
/// What the kernel says.
pub(crate) fn keep_from_children(stream: &impl AsRawFd) -> io::Result<()> {
    socket_of(stream, |socket| socket.set_cloexec(true))
}

/// Ends both directions of a socket; every task that waits on it wakes.
#[allow(
    unsafe_code,
    reason = "shutdown(2) on a descriptor that the caller holds open"
)]
pub(crate) fn shut_down(descriptor: RawFd) {
    // SAFETY: shutdown takes no pointer; a descriptor that is no socket is refused by the kernel.
    let _ = unsafe { libc::shutdown(descriptor, libc::SHUT_RDWR) };
}

/// Sends `bytes` if there is room for them at once; what there is no room for is not missed.
#[allow(
    unsafe_code,
    reason = "send(2) on a descriptor that the caller holds open"
)]
pub(crate) fn send_now(descriptor: RawFd, bytes: &[u8]) {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the pointer and the length are those of `bytes`, which outlives the call.
    let _ = unsafe { libc::send(descriptor, bytes.as_ptr().cast(), bytes.len(), flags) };
}
