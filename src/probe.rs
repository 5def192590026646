//! `p99 health`, `p99 ctl` and `p99 explain`: asks a running instance, for a container's health
//! check `/readyz`. Plain blocking sockets with a timeout on each step: it must also work when no
//! core does.
//!
//! `main` calls it; it reads no environment and prints nothing.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::{HttpUrl, ListenAddress};
use crate::limits;

/// How long `p99 ctl` and `p99 explain` wait for an answer: longer than the longest
/// REQUEST_TIMEOUT_MS and a slow disk together.
const QUESTION_TIME_MAX: Duration = Duration::from_secs(70);
/// Longest answer that `p99 ctl` and `p99 explain` read: 1,000 pending payments of 300 bytes, or
/// 6,000 events.
const PROBE_ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Over TCP.
    Http(HttpUrl),
    /// Over a unix socket, or where this machine's instance listens.
    Listener(ListenAddress),
}

impl Target {
    /// Reads `http://host:port` or `unix:/path`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with("unix:") {
            return ListenAddress::parse(text).map(Self::Listener);
        }
        HttpUrl::parse(text).map(Self::Http)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => url.fmt(f),
            Self::Listener(address) => address.fmt(f),
        }
    }
}

/// The status code with which `target` answers `/readyz`; 200 is ready. Every address of a name
/// is tried in turn: it often has one of each family, and p99 may listen on one of them only,
/// while another program has the other.
///
/// # Errors
/// No one answers at any address, or not in HTTP: what the last one did.
pub fn ask_ready(target: &Target) -> io::Result<u16> {
    first_of(&addresses(target)?, ask)
}

fn addresses(target: &Target) -> io::Result<Vec<SockAddr>> {
    Ok(match target {
        Target::Http(url) => (url.host.as_str(), url.port)
            .to_socket_addrs()?
            .take(limits::PROBE_ADDRESSES_MAX)
            .map(SockAddr::from)
            .collect(),
        Target::Listener(ListenAddress::Tcp(address)) => vec![reachable(*address).into()],
        Target::Listener(ListenAddress::Unix(path)) => vec![SockAddr::unix(path)?],
    })
}

/// What `call` gives at the first address where it does not fail.
fn first_of<T>(addresses: &[SockAddr], call: fn(&SockAddr) -> io::Result<T>) -> io::Result<T> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match call(address) {
            Ok(found) => return Ok(found),
            Err(fault) => last = fault,
        }
    }
    Err(last)
}

fn connect(address: &SockAddr) -> io::Result<Socket> {
    let domain = if address.is_unix() {
        Domain::UNIX
    } else {
        Domain::from(i32::from(address.family()))
    };
    let socket = Socket::new(domain, Type::STREAM, None)?;
    socket.connect_timeout(address, limits::PROBE_STEP_TIME_MAX)?;
    socket.set_read_timeout(Some(limits::PROBE_STEP_TIME_MAX))?;
    socket.set_write_timeout(Some(limits::PROBE_STEP_TIME_MAX))?;
    Ok(socket)
}

fn ask(address: &SockAddr) -> io::Result<u16> {
    let socket = connect(address)?;
    (&socket).write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    // "HTTP/1.1 200" is all that is wanted, and at most that many reads are needed for it.
    let mut start = [0; 12];
    (&socket).read_exact(&mut start)?;
    let text = std::str::from_utf8(&start).unwrap_or_default();
    let status = text
        .strip_prefix("HTTP/1.1 ")
        .and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP/1.1"))
}

/// What is asked of an instance beside `/readyz`.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    method: &'a str,
    path: &'a str,
    headers: &'a [(String, String)],
    body: &'a [u8],
}

impl<'a> Question<'a> {
    /// A GET of `path`.
    #[must_use]
    pub const fn get(path: &'a str, headers: &'a [(String, String)]) -> Self {
        Self {
            method: "GET",
            path,
            headers,
            body: b"",
        }
    }

    /// A POST of JSON.
    #[must_use]
    pub const fn post(path: &'a str, headers: &'a [(String, String)], body: &'a [u8]) -> Self {
        Self {
            method: "POST",
            path,
            headers,
            body,
        }
    }
}

/// Asks, and reads the whole answer: its status and its body.
///
/// # Errors
/// No one answers, or not in HTTP.
pub fn call(target: &Target, question: &Question<'_>) -> io::Result<(u16, String)> {
    // Only the connect is tried again elsewhere: the call is made once.
    let socket = first_of(&addresses(target)?, connect)?;
    let Question {
        method, path, body, ..
    } = question;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in question.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if *method == "POST" {
        let length = body.len();
        head.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {length}\r\n"
        ));
    }
    head.push_str("\r\n");
    (&socket).write_all(&[head.as_bytes(), body].concat())?;
    // The instance has patience of its own, and says what came of it when that is over.
    socket.set_read_timeout(Some(QUESTION_TIME_MAX))?;
    let mut answer = Vec::new();
    (&socket)
        .take(PROBE_ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|status| status.parse().ok());
    let fault = || io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP/1.1");
    status
        .map(|status| (status, body.to_owned()))
        .ok_or_else(fault)
}

/// Who listens on every address answers on the loopback one.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// Answers one connection with `text` once its request was read.
    fn answer_one(mut stream: impl Read + Write, text: &str) {
        let mut request = [0; 512];
        let _ = stream.read(&mut request).unwrap();
        // One that asked may have gone: see `in_time`.
        let _ = stream.write_all(text.as_bytes());
    }

    /// Does it again while the other side came too late, as it may on a busy machine.
    fn in_time<T>(act: impl Fn() -> io::Result<T>) -> io::Result<T> {
        use io::ErrorKind::{TimedOut, WouldBlock};
        let is_late = |fault: &io::Error| matches!(fault.kind(), TimedOut | WouldBlock);
        let mut told = act();
        for _ in 0..20 {
            if told.as_ref().is_err_and(is_late) {
                told = act();
            }
        }
        told
    }

    fn asked(text: &'static str) -> io::Result<u16> {
        in_time(|| {
            let listener = TcpListener::bind("0.0.0.0:0").unwrap();
            let target = Target::Listener(ListenAddress::Tcp(listener.local_addr().unwrap()));
            let server = thread::spawn(move || answer_one(listener.accept().unwrap().0, text));
            let status = ask_ready(&target);
            server.join().unwrap();
            status
        })
    }

    #[test]
    fn the_status_of_readyz_is_told() {
        assert_eq!(
            asked("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap(),
            200
        );
        assert_eq!(
            asked("HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap(),
            503
        );
        assert!(asked("SSH-2.0-OpenSSH").is_err());
        assert!(asked("HTTP/1.1").is_err());
    }

    #[test]
    fn every_address_of_a_name_is_tried() {
        let asked = in_time(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let there = listener.local_addr().unwrap();
            // No one listens there, and there someone who speaks no HTTP.
            let nowhere = SocketAddr::from((Ipv6Addr::LOCALHOST, there.port()));
            let other = TcpListener::bind("127.0.0.1:0").unwrap();
            let addresses = [nowhere, other.local_addr().unwrap(), there].map(SockAddr::from);
            let (ssh, http) = ("SSH-2.0-OpenSSH", "HTTP/1.1 200 OK\r\n");
            let servers = [
                thread::spawn(move || answer_one(other.accept().unwrap().0, ssh)),
                thread::spawn(move || answer_one(listener.accept().unwrap().0, http)),
            ];
            let status = first_of(&addresses, ask);
            for server in servers {
                server.join().unwrap();
            }
            assert!(first_of(&addresses, ask).is_err());
            status
        });
        assert_eq!(asked.unwrap(), 200);
        assert_eq!(
            first_of(&[], ask).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn an_address_without_a_listener_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        drop(listener);
        assert!(ask_ready(&target).is_err());
        assert!(ask_ready(&Target::parse("unix:/nowhere/p99.sock").unwrap()).is_err());
    }

    #[test]
    fn a_unix_socket_answers_too() {
        let path = std::env::temp_dir().join(format!("p99-probe-{}.sock", std::process::id()));
        let target = Target::parse(&format!("unix:{}", path.display())).unwrap();
        let asked = in_time(|| {
            let listener = UnixListener::bind(&path).unwrap();
            let server = thread::spawn(move || {
                answer_one(listener.accept().unwrap().0, "HTTP/1.1 200 OK\r\n");
            });
            let status = ask_ready(&target);
            server.join().unwrap();
            std::fs::remove_file(&path).unwrap();
            status
        });
        assert_eq!(asked.unwrap(), 200);
    }
}
