//! The end of a connection: its last words, a close that lets them arrive, and what it is counted
//! as. Called by `connection` only; decides nothing about requests.

use super::Core;
use super::connection::{Connection, Stream};
use super::deadlines::{Wait, shut_down};
use super::reply::{Reply, ResponseContext, write_reply};
use crate::http::RequestHead;
use crate::metrics::{Answered, Closed, Route};
use std::time::Duration;

/// How long a closed connection waits for its client to close too (RFC 9112, section 9.6).
const LINGER_MAX: Duration = Duration::from_secs(1);
/// Bytes that are read and dropped meanwhile.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// Counts why a connection ended.
pub(super) fn count(core: &Core, reason: Closed) {
    core.metrics().connections_closed.get(reason).increment();
    if reason.is_pressure() {
        let told = core.refusals.get();
        core.refusals.set(told.saturating_add(1));
    }
}

impl<S: Stream> Connection<S> {
    /// Says the last words on this connection.
    pub(super) fn refuse(&mut self, reply: &Reply, head: Option<&RequestHead>) {
        let bytes = self.input.get(self.start..).unwrap_or_default();
        if let Some(head) = head {
            self.note_refused(head.path(bytes), reply.status);
        }
        let context = match head {
            Some(head) => ResponseContext::new(head, bytes, true),
            None => ResponseContext::closing(),
        };
        self.now = self.core.now();
        self.core.with_parts(self.now, |parts| {
            write_reply(reply, &context, parts, &mut self.output);
        });
        log::debug!(target: "p99::access", "{:?} is refused: {:?}", self.peer.address, reply.text);
        let (route, status) = (Route::Other, reply.status);
        let took = self.now.mono.since(self.since);
        self.core.note(
            Answered {
                route,
                status,
                took,
            },
            self.now.mono,
        );
    }

    /// Closes so that the last answer arrives: says that no more follows, then reads what the
    /// client still sends and drops it until the client closes, for a short while.
    pub(super) async fn close(&mut self) {
        if self.flush().await.is_err() {
            return;
        }
        shut_down(self.stream.as_raw_fd(), libc::SHUT_WR);
        let now = self.core.now().mono;
        self.watch.arm(Wait::Linger, now, now.after(LINGER_MAX));
        let mut dropped = 0_usize;
        let mut lent = std::mem::take(&mut self.input);
        while dropped < LINGER_BYTES_MAX {
            lent.clear();
            let (result, returned) = self.stream.read(lent).await;
            lent = returned;
            match result {
                Ok(0) | Err(_) => break,
                Ok(count) => dropped = dropped.saturating_add(count),
            }
        }
    }
}
