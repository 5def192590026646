//! One TLS session of a client as a machine: what arrived goes in, what is to be written and what
//! the peer said come out. The caller moves the bytes, keeps the deadlines and closes the socket.

use std::fmt;
use std::io::{BufRead, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Error, ProtocolVersion,
};

use super::identity::Identity;

/// A session.
pub struct Session {
    connection: ClientConnection,
    identity: Arc<Identity>,
    records: Records,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// Why a session is of no further use, in words for the operator. Before the end of the handshake,
/// its verdict included, nothing was sent. Behind it, whatever was sent may have been looked at,
/// even where the peer's last word is about the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFault(String);

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Session {
    pub(super) fn new(
        config: Arc<ClientConfig>,
        identity: Arc<Identity>,
        name: ServerName<'static>,
    ) -> Result<Self, String> {
        Ok(Self {
            connection: ClientConnection::new(config, name).map_err(|fault| fault.to_string())?,
            identity,
            records: Records::default(),
        })
    }

    /// Whether nothing may be sent yet.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the peer has yet to say what it thinks of p99's certificate, or of its having none:
    /// with TLS 1.3 it does so after the handshake, by an alert, or by a ticket where it is content
    /// and gives any.
    #[must_use]
    pub fn awaits_verdict(&self) -> bool {
        let is_new = self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let has_ticket = self.connection.tls13_tickets_received() > 0;
        is_new && self.identity.was_asked() && !has_ticket
    }

    /// Whether the peer has said that nothing more comes (close_notify). Without that an end of the
    /// connection proves nothing: anybody on the way can make one.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.records.has_ended
    }

    /// Whether what arrived ends where a record does: else something more is on its way.
    #[must_use]
    pub const fn is_between_records(&self) -> bool {
        self.records.is_between()
    }

    /// Takes in what arrived, and appends what the peer said to `said`, before a fault too. There
    /// may be something to write afterwards, also after a fault.
    ///
    /// # Errors
    /// Why the session is of no further use.
    pub fn receive(&mut self, mut arrived: &[u8], said: &mut Vec<u8>) -> Result<(), TlsFault> {
        self.records.note(arrived);
        while !arrived.is_empty() && !self.records.has_ended {
            let taken = self.connection.read_tls(&mut arrived);
            let is_stuck = !matches!(taken, Ok(count) if count > 0);
            if is_stuck {
                return Err(TlsFault("its records are out of order".to_owned()));
            }
            let processed = self.connection.process_new_packets();
            // One read may bring an answer and a fault behind it: what was said was said.
            self.read_said(said);
            match processed {
                Ok(state) => self.records.has_ended = state.peer_has_closed(),
                Err(fault) => return Err(TlsFault(explain(&fault))),
            }
        }
        Ok(())
    }

    fn read_said(&mut self, said: &mut Vec<u8>) {
        let mut reader = self.connection.reader();
        // It ends with what was said so far: an empty read, or the word that more may come.
        while let Ok(bytes) = reader.fill_buf() {
            let count = bytes.len();
            if count == 0 {
                return;
            }
            said.extend_from_slice(bytes);
            reader.consume(count);
        }
    }

    /// Seals `said` and appends it to `out`, behind what is to be written anyway. False when the
    /// session takes no more; then nothing of `said` may be written.
    pub fn send(&mut self, said: &[u8], out: &mut Vec<u8>) -> bool {
        let is_taken = self.connection.writer().write_all(said).is_ok();
        if is_taken {
            self.take_pending(out);
        }
        is_taken
    }

    /// Appends what is to be written, if anything is.
    pub fn take_pending(&mut self, out: &mut Vec<u8>) {
        while self.connection.wants_write() {
            // Writing to a Vec cannot fail.
            if self.connection.write_tls(out).is_err() {
                return;
            }
        }
    }

    /// Appends the word that nothing more comes (close_notify).
    pub fn end(&mut self, out: &mut Vec<u8>) {
        self.connection.send_close_notify();
        self.take_pending(out);
    }
}

/// What an operator can do something about, in words.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "rustls has dozens of faults and may have more: the rest is shown as it is"
)]
fn explain(fault: &Error) -> String {
    let certificate = match fault {
        Error::InvalidCertificate(certificate) => Some(certificate),
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            return "it demands a client certificate".to_owned();
        }
        Error::AlertReceived(alert) => return format!("it refuses the handshake ({alert:?})"),
        _ => None,
    };
    let known = certificate.and_then(|certificate| match certificate {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            Some("is by no authority that is believed")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Some("has expired"),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Some("is not valid yet")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Some("is for another name")
        }
        _ => None,
    });
    known.map_or_else(
        || fault.to_string(),
        |known| format!("its certificate {known}"),
    )
}

/// Where records end, as their five bytes of head say (RFC 8446, section 5.1).
#[derive(Debug, Default)]
struct Records {
    head: [u8; 5],
    /// How many bytes of the next record's head are there.
    head_bytes: usize,
    /// How many bytes of the present record's body are missing.
    missing: usize,
    has_ended: bool,
}

impl Records {
    const fn is_between(&self) -> bool {
        self.head_bytes == 0 && self.missing == 0
    }

    fn note(&mut self, mut bytes: &[u8]) {
        while let [first, rest @ ..] = bytes {
            if self.missing > 0 {
                let count = self.missing.min(bytes.len());
                self.missing = self.missing.saturating_sub(count);
                bytes = bytes.get(count..).unwrap_or_default();
                continue;
            }
            if let Some(place) = self.head.get_mut(self.head_bytes) {
                *place = *first;
            }
            self.head_bytes = self.head_bytes.saturating_add(1);
            bytes = rest;
            if let (5, [_, _, _, high, low]) = (self.head_bytes, self.head) {
                self.missing = usize::from(u16::from_be_bytes([high, low]));
                self.head_bytes = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests;
