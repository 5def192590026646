//! A socket to one place, with a TLS session on it where the place is spoken to so: how it comes to
//! be, and how one task alone reads and writes on it. `upstream` and `store` make it; a connection
//! to a processor is taken apart into its two tasks.
//!
//! A handshake belongs to the connect and is under its deadline: whatever ends it ends the connect,
//! and no byte of a payment was written (I3). No future is dropped: the deadline shuts the socket
//! down, and the read that waits ends by itself.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use socket2::SockAddr;

use super::reach::{Connecting, is_readable, reach_one};
use crate::limits;
use crate::tls::{Client, Session};

/// How often it is looked whether that word has arrived.
const TLS_VERDICT_PAUSE: Duration = Duration::from_millis(1);

/// See the header of this file.
#[derive(Debug)]
pub(crate) struct Channel {
    /// The socket.
    pub stream: TcpStream,
    /// What is spoken on it, where that is sealed.
    pub session: Option<Box<Session>>,
}

/// How a place is to be spoken to.
#[derive(Clone, Debug)]
pub(crate) enum Speech {
    /// As it is.
    Plain,
    /// Over TLS.
    Tls(Client),
    /// Over TLS, and no session can be had: never any other way.
    Impossible,
}

/// Why there is no channel.
#[derive(Debug)]
pub enum Unreached {
    /// The deadline was over.
    TimedOut,
    /// There is no connection.
    Failed(io::Error),
    /// There was one, and no session came to be on it.
    NoHandshake(String),
}

impl From<io::Error> for Unreached {
    fn from(fault: io::Error) -> Self {
        if fault.kind() == io::ErrorKind::TimedOut {
            Self::TimedOut
        } else {
            Self::Failed(fault)
        }
    }
}

impl From<Unreached> for io::Error {
    fn from(unreached: Unreached) -> Self {
        match unreached {
            Unreached::TimedOut => io::ErrorKind::TimedOut.into(),
            Unreached::Failed(fault) => fault,
            Unreached::NoHandshake(why) => Self::other(why),
        }
    }
}

impl Channel {
    /// Connects to `place`, and has its handshake.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn open(
        place: &SockAddr,
        speech: &Speech,
        connecting: &Connecting,
    ) -> Result<Self, Unreached> {
        let session = match speech {
            Speech::Plain => None,
            Speech::Tls(client) => {
                let session = client.session().map_err(Unreached::NoHandshake)?;
                Some(Box::new(session))
            }
            Speech::Impossible => {
                let why = "no session can be made of its settings".to_owned();
                return Err(Unreached::NoHandshake(why));
            }
        };
        let stream = reach_one(place, connecting).await?;
        let mut channel = Self { stream, session };
        if channel.session.is_some() {
            connecting.descriptor.set(Some(channel.stream.as_raw_fd()));
            let shaken = channel.shake_hands(connecting.verdict_within).await;
            connecting.descriptor.set(None);
            if connecting.is_given_up.get() {
                return Err(Unreached::TimedOut);
            }
            shaken.map_err(Unreached::NoHandshake)?;
        }
        Ok(channel)
    }

    /// Begins a session on a connection that was plain up to here, and has its handshake. The
    /// caller watches its deadline.
    ///
    /// # Errors
    /// Why no session came to be, in words for the operator.
    pub(crate) async fn secure(&mut self, client: &Client) -> Result<(), String> {
        self.session = Some(Box::new(client.session()?));
        self.shake_hands(Duration::ZERO).await
    }

    /// Ends with what the peer thinks of p99's certificate, where it asked for one: nothing is to
    /// be sent before. A peer that is content need not say so, so its silence for `verdict_within`
    /// is taken for that.
    async fn shake_hands(&mut self, verdict_within: Duration) -> Result<(), String> {
        loop {
            if self.write_pending().await.is_err() {
                return Err(ENDED.to_owned());
            }
            // A part of a record behind the handshake may be a ticket, or an answer to nothing.
            let is_under_way = |one: &Session| one.is_handshaking() || !one.is_between_records();
            let awaits_verdict = |one: &Session| one.awaits_verdict();
            let session = self.session.as_deref();
            let goes_on = session.is_some_and(is_under_way)
                || (session.is_some_and(awaits_verdict) && self.will_speak(verdict_within).await);
            if !goes_on {
                return Ok(());
            }
            self.hear().await?;
        }
    }

    /// Waits until a read would not, so long.
    async fn will_speak(&self, longest: Duration) -> bool {
        let mut waited = Duration::ZERO;
        while !is_readable(&self.stream) {
            if waited >= longest {
                return false;
            }
            monoio::time::sleep(TLS_VERDICT_PAUSE).await;
            waited = waited.saturating_add(TLS_VERDICT_PAUSE);
        }
        true
    }

    /// Reads once while nothing was asked.
    async fn hear(&mut self) -> Result<(), String> {
        let arrived = Vec::with_capacity(limits::TLS_READ_BYTES);
        let (result, arrived) = self.stream.read(arrived).await;
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        let mut said = Vec::new();
        match result.map(|_| session.receive(&arrived, &mut said)) {
            Ok(Err(fault)) => {
                // The peer is told why, if it still listens.
                let _ = self.write_pending().await;
                Err(fault.to_string())
            }
            Ok(Ok(())) if arrived.is_empty() || session.has_ended() => Err(ENDED.to_owned()),
            Ok(Ok(())) if said.is_empty() => Ok(()),
            Ok(Ok(())) => Err("it said something before it was asked".to_owned()),
            Err(fault) => Err(fault.to_string()),
        }
    }

    /// Writes what the session wants to say of itself.
    async fn write_pending(&mut self) -> io::Result<()> {
        let mut out = Vec::new();
        if let Some(session) = &mut self.session {
            session.take_pending(&mut out);
        }
        if out.is_empty() {
            return Ok(());
        }
        self.stream.write_all(out).await.0.map(|_| ())
    }

    /// Writes `request`, sealed where there is a session.
    ///
    /// # Errors
    /// What the socket says.
    pub(crate) async fn write(&mut self, request: Vec<u8>) -> io::Result<()> {
        let out = match &mut self.session {
            None => request,
            Some(session) => {
                let mut out = Vec::with_capacity(request.len());
                if !session.send(&request, &mut out) {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                out
            }
        };
        self.stream.write_all(out).await.0.map(|_| ())
    }

    /// Reads once, behind what `buffer` holds. Zero at the end of a plain connection, and where
    /// the peer has said that nothing more comes; another end of a session is a fault (I4).
    pub(crate) async fn read(&mut self, mut buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        let filled = buffer.len();
        let Some(session) = &mut self.session else {
            let (result, slice) = self.stream.read(buffer.slice_mut(filled..)).await;
            return (result, slice.into_inner());
        };
        let mut arrived = Vec::with_capacity(limits::TLS_READ_BYTES);
        loop {
            arrived.clear();
            let (result, back) = self.stream.read(arrived).await;
            arrived = back;
            match result {
                Ok(0) => return (Err(io::ErrorKind::UnexpectedEof.into()), buffer),
                Ok(_) => {}
                Err(fault) => return (Err(fault), buffer),
            }
            if let Err(fault) = session.receive(&arrived, &mut buffer) {
                return (Err(io::Error::other(fault.to_string())), buffer);
            }
            let count = buffer.len().saturating_sub(filled);
            if count > 0 || session.has_ended() {
                return (Ok(count), buffer);
            }
        }
    }
}

const ENDED: &str = "it ended the connection within the handshake";
