//! Listening sockets: bound before any core starts, so that an address that cannot be had is a
//! clean refusal to start.
//!
//! TCP: every core has a socket of its own on the same port (SO_REUSEPORT), and the kernel spreads
//! connections over them. SO_REUSEPORT would also let a *second process* of the same user join in
//! silence and take half of the ids. So the first socket is bound and listens without it: that
//! much the kernel gives to one process only, whatever the moment, the user and the mix of
//! wildcard and specific addresses. Only then is the option set on that socket, and the others
//! join it, which Linux judges by what each socket has at that moment. A kernel that would judge
//! otherwise lets them join never: then the start fails, and no payment is taken twice. No lock
//! beside the port is needed, which another user could hold or a file system forget.
//!
//! Addresses are taken in one order by every process, and each is tried again for a moment: after
//! `kill -9` io_uring holds a listener some milliseconds longer than its process. Two processes
//! that start together never wait for each other, because one of them has the first address that
//! both want. Unix sockets know no SO_REUSEPORT: they are bound once (`socket_file`), and each
//! core accepts on a dup.
//!
//! A socket that a supervisor passed (`supervisor`) is not bound here, and shared in the same way:
//! one queue for all cores. It belongs to the supervisor, so it is never shut down: what waits in
//! its queue when p99 stops is for the next one.
//!
//! Called by `cores`. Accepting is done in `accept`; here nothing is read or written.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::socket_file::{self, SocketFile};
use crate::config::ListenAddress;
use crate::limits;
use crate::server::LISTEN_BACKLOG;
use crate::supervisor::{PassedSocket, PassedSockets};

/// The pause between two of [`limits::LISTEN_TRIES_MAX`].
const LISTEN_PAUSE: Duration = Duration::from_millis(20);

/// Which calls a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerRole {
    /// Clients; the administrator's calls too, unless they have a listener of their own.
    Public,
    /// `ADMIN_LISTEN`: metrics, purge and peers.
    Admin,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// Its address; none on a unix socket.
    pub(super) address: Option<IpAddr>,
    /// Where it came in.
    pub(super) role: ListenerRole,
}

/// One core's end of a listening socket.
#[derive(Debug)]
pub(crate) enum ListenSocket {
    /// Its own socket.
    Tcp(TcpListener),
    /// A dup of the one socket.
    Unix(UnixListener),
}

/// Whose a listening socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// This process's alone.
    Process,
    /// Passed by a supervisor, which keeps it open.
    Supervisor,
}

/// One core's end of a listening socket, and what it serves.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Whom it serves.
    pub role: ListenerRole,
    /// Whose it is.
    pub(super) holder: Holder,
    /// The socket.
    pub socket: ListenSocket,
}

/// All listeners of a process.
#[derive(Debug)]
pub(crate) struct Bound {
    /// As bound: a port 0 is replaced with the port that was got.
    pub addresses: Vec<(ListenerRole, ListenAddress)>,
    /// The listeners of each core.
    pub per_core: Vec<Vec<Listener>>,
    /// The files of unix sockets. Dropped, they are removed: before their listeners close, so that
    /// no client meets a file behind which no one listens.
    pub files: Vec<SocketFile>,
}

/// An address that cannot be had, and why.
#[derive(Debug)]
pub struct ListenFault {
    /// Whose calls were to come there.
    pub role: ListenerRole,
    /// The address that it is about.
    pub address: ListenAddress,
    /// What the kernel said.
    pub fault: io::Error,
}

impl fmt::Display for ListenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setting = match self.role {
            ListenerRole::Admin => "ADMIN_LISTEN",
            ListenerRole::Public => "LISTEN or PORT",
        };
        let Self { address, fault, .. } = self;
        write!(f, "cannot listen on {address} ({setting}): {fault}")?;
        if self.fault.kind() == io::ErrorKind::AddrInUse {
            let span = LISTEN_PAUSE.saturating_mul(limits::LISTEN_TRIES_MAX);
            write!(f, "; it was tried for {span:?}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ListenFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.fault)
    }
}

/// Binds every address once for each of `cores` cores, but for those at which a socket was passed.
///
/// # Errors
/// The first address that cannot be had. What was bound before it is released.
pub(crate) fn bind(
    wanted: &[(ListenerRole, ListenAddress)],
    passed: PassedSockets,
    cores: usize,
) -> Result<Bound, ListenFault> {
    bind_within(limits::LISTEN_TRIES_MAX, wanted, passed, cores)
}

/// [`bind`] that tries again so often.
fn bind_within(
    tries: u32,
    wanted: &[(ListenerRole, ListenAddress)],
    mut passed: PassedSockets,
    cores: usize,
) -> Result<Bound, ListenFault> {
    let mut patience = Patience(tries);
    let mut per_core = Vec::new();
    per_core.resize_with(cores, Vec::new);
    let mut bound = Bound {
        addresses: wanted.to_vec(),
        per_core,
        files: Vec::new(),
    };
    // Every process goes by this order, whatever its settings say.
    let mut order: Vec<_> = wanted.iter().enumerate().collect();
    order.sort_by_key(|(_, (_, address))| place(address));
    for (index, (role, address)) in order {
        let result = match (take(&mut passed, *role, address), address) {
            (Some(socket), _) => share(socket, &mut bound, *role),
            (None, ListenAddress::Tcp(address)) => {
                bind_tcp(&mut patience, &mut bound, *role, *address)
            }
            (None, ListenAddress::Unix(path)) => bind_unix(&mut patience, &mut bound, *role, path),
        };
        match (result, bound.addresses.get_mut(index)) {
            (Ok(got), Some((_, address))) => *address = got,
            (Ok(_), None) => {}
            (Err(fault), _) => {
                return Err(ListenFault {
                    role: *role,
                    address: address.clone(),
                    fault,
                });
            }
        }
    }
    Ok(bound)
}

/// Where `address` is in the order in which addresses are taken: by port before all else, for only
/// those of one port can exclude each other.
fn place(address: &ListenAddress) -> (Option<u16>, Option<IpAddr>, &Path) {
    match address {
        ListenAddress::Tcp(address) => (Some(address.port()), Some(address.ip()), Path::new("")),
        ListenAddress::Unix(path) => (None, None, path),
    }
}

/// How often addresses in use are tried again, all together.
struct Patience(u32);

impl Patience {
    /// Does `attempt` until the address is not in use any more, or patience is at its end.
    fn wait<T>(&mut self, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match attempt() {
                Err(fault) if fault.kind() == io::ErrorKind::AddrInUse && self.0 > 0 => {
                    self.0 -= 1;
                    // Two that disturb each other by trying at one moment shall not go on so.
                    let own = Duration::from_millis(u64::from(std::process::id() % 8));
                    thread::sleep(LISTEN_PAUSE.saturating_add(own));
                }
                end => return end,
            }
        }
    }
}

fn bind_tcp(
    patience: &mut Patience,
    bound: &mut Bound,
    role: ListenerRole,
    wanted: SocketAddr,
) -> io::Result<ListenAddress> {
    // Without SO_REUSEPORT, and listening: from here on the address is this process's alone.
    let first = patience.wait(|| tcp_listener(wanted, false))?;
    let address = TcpListener::from(first.try_clone()?).local_addr()?;
    if bound.per_core.len() > 1 {
        first.set_reuse_port(true)?;
    }
    let mut first = Some(first);
    for listeners in &mut bound.per_core {
        let socket = match first.take() {
            Some(first) => first,
            // Another process that tries to have the address may be in the way for a moment.
            None => patience.wait(|| tcp_listener(address, true))?,
        };
        listeners.push(Listener {
            role,
            holder: Holder::Process,
            socket: ListenSocket::Tcp(socket.into()),
        });
    }
    Ok(ListenAddress::Tcp(address))
}

/// The socket that was passed for this role and address.
fn take(
    passed: &mut PassedSockets,
    role: ListenerRole,
    address: &ListenAddress,
) -> Option<PassedSocket> {
    let of_role = match role {
        ListenerRole::Public => &mut passed.public,
        ListenerRole::Admin => &mut passed.admin,
    };
    let place = of_role.iter().position(|one| one.address == *address)?;
    Some(of_role.swap_remove(place))
}

/// Gives each core a dup of a socket that was passed.
fn share(passed: PassedSocket, bound: &mut Bound, role: ListenerRole) -> io::Result<ListenAddress> {
    let PassedSocket { address, socket } = passed;
    let is_tcp = matches!(address, ListenAddress::Tcp(_));
    if is_tcp {
        set_inherited(&socket)?;
    }
    for listeners in &mut bound.per_core {
        let socket = socket.try_clone()?;
        let socket = if is_tcp {
            ListenSocket::Tcp(socket.into())
        } else {
            ListenSocket::Unix(socket.into())
        };
        listeners.push(Listener {
            role,
            holder: Holder::Supervisor,
            socket,
        });
    }
    Ok(address)
}

/// What accepted connections inherit from their listening socket: TCP_NODELAY, as an answer is one
/// write, and bounds for what a client that does not read can make the kernel hold.
fn set_inherited(socket: &Socket) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_send_buffer_size(limits::SEND_BUFFER_BYTES)?;
    socket.set_tcp_user_timeout(Some(limits::UNREAD_TIME_MAX))
}

/// A listening socket.
fn tcp_listener(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` may be listed side by side.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    set_inherited(&socket)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket)
}

fn bind_unix(
    patience: &mut Patience,
    bound: &mut Bound,
    role: ListenerRole,
    path: &Path,
) -> io::Result<ListenAddress> {
    let (listener, file) = patience.wait(|| socket_file::bind(path))?;
    bound.files.push(file);
    for listeners in &mut bound.per_core {
        let socket = ListenSocket::Unix(listener.try_clone()?);
        listeners.push(Listener {
            role,
            holder: Holder::Process,
            socket,
        });
    }
    Ok(ListenAddress::Unix(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(port: u16) -> ListenAddress {
        ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    fn bind_all(
        wanted: &[(ListenerRole, ListenAddress)],
        cores: usize,
    ) -> Result<Bound, ListenFault> {
        bind(wanted, PassedSockets::default(), cores)
    }

    #[test]
    fn all_cores_share_the_port_that_the_kernel_chose() {
        let bound = bind_all(&[(ListenerRole::Public, loopback(0))], 3).unwrap();
        let [(ListenerRole::Public, ListenAddress::Tcp(address))] = bound.addresses.as_slice()
        else {
            panic!("{:?}", bound.addresses)
        };
        assert_ne!(address.port(), 0);
        assert_eq!(bound.per_core.len(), 3);
        for listeners in &bound.per_core {
            match &listeners.first().unwrap().socket {
                ListenSocket::Tcp(listener) => assert_eq!(listener.local_addr().unwrap(), *address),
                ListenSocket::Unix(listener) => panic!("{listener:?}"),
            }
        }
    }

    #[test]
    fn a_second_server_on_the_port_is_refused_although_both_would_reuse_it() {
        let bound = bind_all(&[(ListenerRole::Public, loopback(0))], 2).unwrap();
        let (_, address) = bound.addresses.first().unwrap().clone();
        let fault = bind_within(
            2,
            &[(ListenerRole::Public, address.clone())],
            PassedSockets::default(),
            2,
        )
        .unwrap_err();
        assert_eq!(fault.fault.kind(), io::ErrorKind::AddrInUse);
        assert!(fault.to_string().contains(&address.to_string()), "{fault}");
    }

    #[test]
    fn addresses_are_taken_in_one_order_and_told_in_the_order_of_the_settings() {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ports = [free(), free()].map(|socket| socket.local_addr().unwrap().port());
        ports.sort_unstable_by(|one, other| other.cmp(one));
        let wanted = ports.map(|port| (ListenerRole::Public, loopback(port)));
        assert!(place(&wanted[1].1) < place(&wanted[0].1));
        let bound = bind_all(&wanted, 2).unwrap();
        assert_eq!(bound.addresses, wanted);
    }

    #[test]
    fn an_address_that_is_given_back_a_moment_later_is_had() {
        // A busy machine may keep the holder for longer than a moment.
        assert!((0..20).any(|_| {
            let holder = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = loopback(holder.local_addr().unwrap().port());
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(60));
                drop(holder);
            });
            bind_all(&[(ListenerRole::Public, address)], 3).is_ok()
        }));
    }
}
