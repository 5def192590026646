//! Listening sockets: bound before any core starts, so that an address that cannot be had is a
//! clean refusal to start.
//!
//! TCP: every core has a socket of its own on the same port (SO_REUSEPORT), and the kernel spreads
//! connections over them. Since SO_REUSEPORT would also let a *second process* of the same user
//! join in silence and take half of the ids, a probe without it comes first. Unix sockets know no
//! SO_REUSEPORT: they are bound once, and each core accepts on a dup.
//!
//! Called by `cores`. Accepting is done in `accept`; here nothing is read or written.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::config::ListenAddress;
use crate::limits;

/// Which calls a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Clients; the administrator's calls too, unless they have a door of their own.
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
    pub(super) door: Door,
}

/// One core's end of a listening socket.
#[derive(Debug)]
pub enum ListenSocket {
    /// Its own socket.
    Tcp(TcpListener),
    /// A dup of the one socket.
    Unix(UnixListener),
}

/// One core's end of a listening socket, and what it serves.
#[derive(Debug)]
pub struct Listener {
    /// Whom it serves.
    pub door: Door,
    /// The socket.
    pub socket: ListenSocket,
}

/// All listeners of a process.
#[derive(Debug)]
pub struct Bound {
    /// As bound: a port 0 is replaced with the port that was got.
    pub addresses: Vec<(Door, ListenAddress)>,
    /// The listeners of each core.
    pub per_core: Vec<Vec<Listener>>,
}

/// An address that cannot be had, and why.
#[derive(Debug)]
pub struct ListenFault {
    /// Which.
    pub address: ListenAddress,
    /// What the kernel said.
    pub fault: io::Error,
}

impl fmt::Display for ListenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, self.fault)
    }
}

impl std::error::Error for ListenFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.fault)
    }
}

/// Binds every address once for each of `cores` cores.
///
/// # Errors
/// The first address that cannot be had. What was bound before it is released.
pub fn bind(wanted: &[(Door, ListenAddress)], cores: usize) -> Result<Bound, ListenFault> {
    let mut bound = Bound {
        addresses: Vec::new(),
        per_core: Vec::new(),
    };
    bound.per_core.resize_with(cores, Vec::new);
    for (door, address) in wanted {
        let result = match address {
            ListenAddress::Tcp(address) => bind_tcp(&mut bound, *door, *address),
            ListenAddress::Unix(path) => bind_unix(&mut bound, *door, path),
        };
        if let Err(fault) = result {
            remove_files(&bound.addresses);
            return Err(ListenFault {
                address: address.clone(),
                fault,
            });
        }
    }
    Ok(bound)
}

/// Removes the files of unix sockets; the last act of a stop.
pub fn remove_files(addresses: &[(Door, ListenAddress)]) {
    for (_, address) in addresses {
        if let ListenAddress::Unix(path) = address
            && let Err(fault) = fs::remove_file(path)
        {
            log::debug!("{} was gone before it was removed: {fault}", path.display());
        }
    }
}

fn bind_tcp(bound: &mut Bound, door: Door, wanted: SocketAddr) -> io::Result<()> {
    let mut address = wanted;
    if address.port() != 0 {
        // Refused while anybody listens there, SO_REUSEPORT or not.
        drop(tcp_socket(address, false)?);
    }
    for listeners in &mut bound.per_core {
        let socket = tcp_socket(address, true)?;
        socket.listen(limits::LISTEN_BACKLOG)?;
        let listener = TcpListener::from(socket);
        address = listener.local_addr()?;
        listeners.push(Listener {
            door,
            socket: ListenSocket::Tcp(listener),
        });
    }
    bound.addresses.push((door, ListenAddress::Tcp(address)));
    Ok(())
}

/// A bound socket. Accepted connections inherit TCP_NODELAY from it: an answer is one write.
fn tcp_socket(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
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
    socket.set_nodelay(true)?;
    // Inherited too: they bound what a client that does not read can make the kernel hold.
    socket.set_send_buffer_size(limits::SEND_BUFFER_BYTES)?;
    socket.set_tcp_user_timeout(Some(limits::UNREAD_TIME_MAX))?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

fn bind_unix(bound: &mut Bound, door: Door, path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    match socket.bind(&address) {
        Err(fault) if fault.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path)?;
            socket.bind(&address)?;
        }
        other => other?,
    }
    // Nobody can connect before `listen`, so nobody meets other permissions.
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    socket.listen(limits::LISTEN_BACKLOG)?;
    let listener = UnixListener::from(socket);
    bound
        .addresses
        .push((door, ListenAddress::Unix(path.to_owned())));
    for listeners in &mut bound.per_core {
        let socket = ListenSocket::Unix(listener.try_clone()?);
        listeners.push(Listener { door, socket });
    }
    Ok(())
}

/// Removes a socket file that nobody listens on. Only a refused connect proves that; anything else
/// (a live server, a file of another kind, no permission) is left alone.
fn remove_stale(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "the path is no socket",
        ));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens there",
        )),
        Err(fault) if fault.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn loopback(port: u16) -> ListenAddress {
        ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    fn scratch() -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        std::env::temp_dir().join(format!("p99-listen-{}-{count}.sock", std::process::id()))
    }

    #[test]
    fn all_cores_share_the_port_that_the_kernel_chose() {
        let bound = bind(&[(Door::Public, loopback(0))], 3).unwrap();
        let [(Door::Public, ListenAddress::Tcp(address))] = bound.addresses.as_slice() else {
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
        let bound = bind(&[(Door::Public, loopback(0))], 2).unwrap();
        let (_, address) = bound.addresses.first().unwrap().clone();
        let fault = bind(&[(Door::Public, address.clone())], 2).unwrap_err();
        assert_eq!(fault.fault.kind(), io::ErrorKind::AddrInUse);
        assert!(fault.to_string().contains(&address.to_string()), "{fault}");
    }

    #[test]
    fn a_unix_socket_is_bound_once_and_has_mode_0660() {
        let path = scratch();
        let bound = bind(&[(Door::Admin, ListenAddress::Unix(path.clone()))], 2).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o660
        );
        assert!(bound.per_core.iter().all(|listeners| listeners.len() == 1));
        remove_files(&bound.addresses);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_file_is_replaced_but_a_live_one_and_a_plain_file_are_not() {
        let path = scratch();
        let wanted = [(Door::Public, ListenAddress::Unix(path.clone()))];
        drop(UnixListener::bind(&path).unwrap());
        let live = bind(&wanted, 1).unwrap();
        assert_eq!(
            bind(&wanted, 1).unwrap_err().fault.kind(),
            io::ErrorKind::AddrInUse
        );
        assert!(path.exists());
        remove_files(&live.addresses);
        fs::write(&path, b"mine").unwrap();
        assert_eq!(
            bind(&wanted, 1).unwrap_err().fault.kind(),
            io::ErrorKind::AddrInUse
        );
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        fs::remove_file(&path).unwrap();
    }
}
