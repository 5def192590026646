//! The simulated processor's side of TLS: one session, bytes in and bytes out. `connection` moves
//! them. It is apart from p99's own `tls`, which is a client's side.

use std::io::{BufRead, Write};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

/// A session of a server.
pub(super) struct Sealed(ServerConnection);

/// The bytes were no TLS, or none of this session; its last word was appended all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

impl Sealed {
    pub(super) fn new(config: &Arc<ServerConfig>) -> Option<Self> {
        let mut session = ServerConnection::new(Arc::clone(config)).ok()?;
        session.set_buffer_limit(None);
        Some(Self(session))
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Takes in what arrived; appends what was said, and what is to be written.
    pub(super) fn receive(
        &mut self,
        mut arrived: &[u8],
        said: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        while !arrived.is_empty() {
            let taken = self.0.read_tls(&mut arrived);
            let is_fine =
                taken.is_ok_and(|count| count > 0) && self.0.process_new_packets().is_ok();
            if !is_fine {
                self.take_pending(out);
                return Err(Broken);
            }
            let mut reader = self.0.reader();
            while let Ok(bytes) = reader.fill_buf() {
                let count = bytes.len();
                if count == 0 {
                    break;
                }
                said.extend_from_slice(bytes);
                reader.consume(count);
            }
        }
        self.take_pending(out);
        Ok(())
    }

    /// `said` as it goes over the wire.
    pub(super) fn seal(&mut self, said: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        // Its buffer has no bound, so it takes all of it.
        let _ = self.0.writer().write_all(said);
        self.take_pending(&mut out);
        out
    }

    /// The word that nothing more comes.
    pub(super) fn end(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.0.send_close_notify();
        self.take_pending(&mut out);
        out
    }

    fn take_pending(&mut self, out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        while self.0.wants_write() && self.0.write_tls(out).is_ok() {}
    }
}
