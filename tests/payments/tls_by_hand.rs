//! A processor that a test plays by hand, over TLS or without: it sees what p99 says of itself in
//! the handshake, and chooses which bytes go out together.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::crypto::cipher::OutboundPlainMessage;
use rustls::{
    ConnectionTrafficSecrets, ContentType, ProtocolVersion, ServerConfig, ServerConnection, Stream,
};

use crate::kit::client::wait_until;

/// One connection.
pub(crate) struct Peer {
    pub(crate) socket: TcpStream,
    pub(crate) session: Option<ServerConnection>,
}

/// Has each connection played on a thread of its own; the URL.
pub(crate) fn serve(
    config: Option<Arc<ServerConfig>>,
    play: impl Fn(Peer) + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let scheme = if config.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", listener.local_addr().unwrap());
    let play = Arc::new(play);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let session = config.clone().map(ServerConnection::new);
            let socket = socket.unwrap();
            // What is written goes out at once, however much is not acknowledged yet.
            socket.set_nodelay(true).unwrap();
            let peer = Peer {
                socket,
                session: session.map(Result::unwrap),
            };
            let play = Arc::clone(&play);
            thread::spawn(move || play(peer));
        }
    });
    url
}

impl Peer {
    /// The next request; none at the end of the connection.
    pub(crate) fn request(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut chunk = [0; 4096];
        loop {
            let read = match &mut self.session {
                None => self.socket.read(&mut chunk),
                Some(session) => Stream::new(session, &mut self.socket).read(&mut chunk),
            };
            let count = read.ok().filter(|count| *count > 0)?;
            text.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Content-Length: "))
                    .map_or(0, |length| length.parse().unwrap());
                if body.len() >= length {
                    return Some(text);
                }
            }
        }
    }

    /// The bytes that say `text`, behind what the session has to say of itself.
    pub(crate) fn sealed(&mut self, text: &str) -> Vec<u8> {
        let Some(session) = &mut self.session else {
            return text.as_bytes().to_vec();
        };
        session.writer().write_all(text.as_bytes()).unwrap();
        let mut out = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut out).unwrap();
        }
        out
    }

    /// p99 may have ended the connection.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }

    pub(crate) fn say(&mut self, text: &str) {
        let bytes = self.sealed(text);
        self.write(&bytes);
    }

    /// Ends a session of TLS 1.3 with this fatal alert (RFC 8446, section 6.2), and says `first` in
    /// the same write; its config lets the keys out.
    pub(crate) fn alert_behind(mut self, first: &str, description: u8) {
        let mut out = self.sealed(first);
        let session = self.session.take().unwrap();
        let suite = session
            .negotiated_cipher_suite()
            .and_then(|one| one.tls13());
        let (sequence, secrets) = session.dangerous_extract_secrets().unwrap().tx;
        let (ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = secrets
        else {
            unreachable!("no other algorithm is offered");
        };
        let fatal = [2, description];
        let said = OutboundPlainMessage {
            typ: ContentType::Alert,
            version: ProtocolVersion::TLSv1_3,
            payload: fatal.as_slice().into(),
        };
        let mut sealing = suite.unwrap().aead_alg.encrypter(key, iv);
        out.extend(sealing.encrypt(said, sequence).unwrap().encode());
        self.write(&out);
    }

    /// Waits until p99 has read what was written; it runs in this process.
    pub(crate) fn await_read(&self) {
        let [near, far] = [self.socket.local_addr(), self.socket.peer_addr()].map(Result::unwrap);
        wait_until("p99 reads", || {
            let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
            let queues = |from, to| {
                let both = format!(" {} {} ", as_the_kernel_says(from), as_the_kernel_says(to));
                let line = sockets.lines().find(|line| line.contains(&both))?;
                line.split_whitespace().nth(4)?.split_once(':')
            };
            let is_empty = |digits: &str| digits.bytes().all(|digit| digit == b'0');
            let is_acknowledged = queues(near, far).is_none_or(|(sent, _)| is_empty(sent));
            is_acknowledged && queues(far, near).is_none_or(|(_, arrived)| is_empty(arrived))
        });
    }
}

fn as_the_kernel_says(address: SocketAddr) -> String {
    let SocketAddr::V4(address) = address else {
        unreachable!("every listener here is at 127.0.0.1");
    };
    let bytes = u32::from(*address.ip()).to_be();
    format!("{bytes:08X}:{:04X}", address.port())
}
