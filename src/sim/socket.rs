//! What the simulated processor does to sockets that a well-behaved server never does: close with
//! a reset, stop listening for a while, and end connections from another thread.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

/// Connections that the kernel holds before they are accepted; it caps this at `somaxconn`.
const SIM_BACKLOG: i32 = 4_096;

/// What the listener does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Listening,
    /// Connects are refused as if no process listened.
    Refusing,
    /// For good.
    Stopped,
}

/// A listener that can refuse connections and listen again on the same port.
#[derive(Debug)]
pub(super) struct Gate {
    /// The socket that listens; a shutdown ends that, and wakes its accept, without closing it.
    listener: Socket,
    /// Bound and never listening: keeps the port ours while `listener` is shut down, because the
    /// kernel takes an unbound port back as soon as a listener stops.
    _port: Socket,
    address: SocketAddr,
    /// Changed only together with the socket, under this lock: a socket that listened again after
    /// the stop would let the accept loop sleep for ever.
    mode: Mutex<Mode>,
}

impl Gate {
    /// Listens on `address`; port 0 takes any free port.
    pub(super) fn open(address: SocketAddr) -> io::Result<Self> {
        let port = bound(address)?;
        let address = port
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::InvalidInput)?;
        let listener = bound(address)?;
        listener.set_nonblocking(true)?;
        listener.listen(SIM_BACKLOG)?;
        Ok(Self {
            listener,
            _port: port,
            address,
            mode: Mutex::new(Mode::Listening),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn mode(&self) -> Mode {
        *self.lock()
    }

    /// A second descriptor of the same socket, to accept on.
    pub(super) fn acceptor(&self) -> io::Result<std::net::TcpListener> {
        Ok(self.listener.try_clone()?.into())
    }

    /// From now on connects are refused, and those not yet accepted are reset.
    pub(super) fn refuse(&self) {
        self.shut(Mode::Refusing);
    }

    /// The same for good.
    pub(super) fn stop(&self) {
        self.shut(Mode::Stopped);
    }

    /// Listens again, unless stopped.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let mut mode = self.lock();
        match *mode {
            Mode::Listening | Mode::Stopped => Ok(()),
            Mode::Refusing => {
                self.listener.listen(SIM_BACKLOG)?;
                *mode = Mode::Listening;
                Ok(())
            }
        }
    }

    fn shut(&self, to: Mode) {
        let mut mode = self.lock();
        if *mode != Mode::Stopped {
            *mode = to;
        }
        // It fails only when the socket does not listen, which is what is wanted.
        let _ = self.listener.shutdown(std::net::Shutdown::Both);
    }

    fn lock(&self) -> MutexGuard<'_, Mode> {
        self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// The open connections, so that another thread can end them. A descriptor is taken out before it
/// is closed and under the same lock, so none is touched that the kernel gave to another client.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: Mutex<HashSet<RawFd>>,
}

impl Connections {
    pub(super) fn add(&self, socket: &impl AsRawFd) {
        self.lock().insert(socket.as_raw_fd());
    }

    /// Must come before the socket is closed.
    pub(super) fn remove(&self, socket: &impl AsRawFd) {
        self.lock().remove(&socket.as_raw_fd());
    }

    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Ends all: their reads and writes return, and closing them sends RST.
    pub(super) fn reset_all(&self) {
        for fd in self.lock().iter() {
            // SAFETY: the descriptor is open, since it is in the table and the lock is held; see
            // `remove`.
            let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
            set_reset_on_close(&fd);
            // It fails when the peer has gone already.
            let _ = SockRef::from(&fd).shutdown(std::net::Shutdown::Both);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<RawFd>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closing this socket sends RST and drops what was not sent yet.
pub(super) fn reset_on_close(socket: &impl AsRawFd) {
    // SAFETY: `socket` owns the descriptor and outlives this call.
    let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    set_reset_on_close(&fd);
}

fn set_reset_on_close(fd: &BorrowedFd<'_>) {
    // A dead socket may refuse; then there is nothing to reset.
    let _ = SockRef::from(fd).set_linger(Some(Duration::ZERO));
}
