//! How a connection comes to be: addresses in turn, one deadline for all of them. The socket is
//! made here and not by the runtime, so that its descriptor is known while it connects and a
//! deadline can shut it down instead of dropping a future.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;

use monoio::net::TcpStream;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::connection::{Connection, Job};
use super::{Link, NameIndex, Upstream};
use crate::clock::Mono;
use crate::descriptors;
use crate::events::{AttemptRef, Exchange, Lookup};
use crate::payment::Processor;

/// One connect under way.
pub(super) struct Connecting {
    pub(super) deadline: Mono,
    /// For whom; `None` once nobody waits.
    pub(super) job: Cell<Job>,
    /// The socket that is connecting, while one is.
    pub(super) descriptor: Cell<Option<RawFd>>,
    pub(super) is_given_up: Cell<bool>,
}

impl Connecting {
    /// Ends it: the socket is shut down, and the task that waits for it ends by itself.
    pub(super) fn give_up(&self) {
        self.is_given_up.set(true);
        if let Some(descriptor) = self.descriptor.get() {
            super::connection::shut_down(descriptor);
        }
    }
}

impl Upstream {
    /// Begins a new connection for `attempt`, which then gets `job`.
    pub(super) fn dial(self: &Rc<Self>, attempt: AttemptRef, processor: Processor, job: Job) {
        if let Some(connecting) = self.begin_connection(processor, job) {
            self.link(attempt, Link::Connecting(attempt, connecting));
        }
    }

    /// Begins one connection to each processor for the pool, so that a core's first payment waits
    /// for none. A processor that is not there yet is no news.
    pub fn warm_up(self: &Rc<Self>) {
        for processor in Processor::ALL {
            self.begin_connection(processor, Job::None);
        }
    }

    fn begin_connection(self: &Rc<Self>, processor: Processor, job: Job) -> Option<Rc<Connecting>> {
        let sink = self.sink.upgrade()?;
        let connecting = Rc::new(Connecting {
            deadline: sink.mono().after(self.connect_timeout),
            job: Cell::new(job),
            descriptor: Cell::new(None),
            is_given_up: Cell::new(false),
        });
        self.connecting.borrow_mut().push(Rc::clone(&connecting));
        let begun = Rc::clone(&connecting);
        let upstream = Rc::clone(self);
        monoio::spawn(async move {
            let stream = upstream.reach(processor, &connecting).await;
            upstream
                .connecting
                .borrow_mut()
                .retain(|one| !Rc::ptr_eq(one, &connecting));
            match stream {
                Ok(stream) => upstream.on_connected(processor, stream, connecting.job.take()),
                Err(fault) => {
                    log::debug!("{}: no connection: {fault}", processor.name());
                    upstream.resolver.ask(NameIndex::of(processor));
                    upstream.on_unreachable(connecting.job.take());
                }
            }
        });
        Some(begun)
    }

    async fn reach(&self, processor: Processor, connecting: &Connecting) -> io::Result<TcpStream> {
        let addresses = Rc::clone(&self.targets.get(processor).addresses.borrow());
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses.iter() {
            if connecting.is_given_up.get() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match reach_one(*address, connecting).await {
                Ok(stream) => return Ok(stream),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    fn on_connected(self: &Rc<Self>, processor: Processor, stream: TcpStream, job: Job) {
        let connection = Connection::begin(self, processor, stream);
        let Some(sink) = self.sink.upgrade() else {
            return;
        };
        match job {
            Job::None => self.give_back(&connection),
            Job::Reserved(attempt) | Job::Payment(attempt) => {
                connection.job.set(Job::Reserved(attempt));
                self.link(attempt, Link::Connected(attempt, connection));
                sink.connected(attempt);
            }
            Job::Lookup(attempt, id) => {
                self.link(attempt, Link::Connected(attempt, Rc::clone(&connection)));
                self.write_lookup(&connection, attempt, id);
            }
        }
    }

    fn on_unreachable(&self, job: Job) {
        let Some(sink) = self.sink.upgrade() else {
            return;
        };
        match job {
            Job::None => {}
            Job::Reserved(attempt) | Job::Payment(attempt) => {
                self.unlink(attempt);
                sink.exchanged(attempt, Exchange::NotSent);
            }
            Job::Lookup(attempt, _) => {
                self.unlink(attempt);
                sink.looked_up(attempt, Lookup::NoAnswer);
            }
        }
    }
}

pub(super) async fn reach_one(
    address: SocketAddr,
    connecting: &Connecting,
) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if descriptors::is_reserved(socket.as_raw_fd()) {
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    socket.set_nonblocking(true)?;
    socket.set_nodelay(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(fault) if fault.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(fault) => return Err(fault),
    }
    connecting.descriptor.set(Some(socket.as_raw_fd()));
    let stream = TcpStream::from_std(socket.into());
    let connected = match &stream {
        Ok(stream) => wait_until_connected(stream).await,
        Err(_) => Ok(()),
    };
    connecting.descriptor.set(None);
    connected?;
    if connecting.is_given_up.get() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    stream
}

async fn wait_until_connected(stream: &TcpStream) -> io::Result<()> {
    stream.writable(false).await?;
    match take_error(stream)? {
        Some(fault) => Err(fault),
        // A socket that was shut down while it connected is writable and has no peer.
        None => stream.peer_addr().map(|_| ()),
    }
}

/// SO_ERROR of the socket behind `stream`.
#[allow(
    unsafe_code,
    reason = "the runtime's stream lends only a raw descriptor"
)]
fn take_error(stream: &TcpStream) -> io::Result<Option<io::Error>> {
    // SAFETY: the borrow of `stream` keeps the descriptor open for longer than this one lives.
    let descriptor = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    SockRef::from(&descriptor).take_error()
}
