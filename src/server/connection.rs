//! One client connection: reads requests, has each answered in order, writes the answers.
//!
//! One task per connection. Buffers live with it: it reads into one growing vector, parses in
//! place, and an answer (or several, when pipelined requests need no waiting) is one write. While
//! it waits for a next request it holds 2 KiB and its own frame; nothing is allocated per request.
//!
//! No I/O future is ever dropped: a deadline shuts the socket down (`deadlines`) and the pending
//! operation ends by itself. What a request asks for is decided in `routes`, what is said in
//! `reply`; here is only the order of reading and writing, and who closes when:
//! - an idle connection is closed by the idle timeout or at the end of a drain, never earlier;
//! - after a refusal, and after an announced close, the closing is lingering, since an immediate
//!   one would send RST and could destroy the answer on its way.

use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt};

use super::Core;
use super::deadlines::{Wait, Watch};
use super::listen::{ListenerRole, Peer};
use super::places::{Place, refusal};
use super::reply::Reply;
use super::routes::{self, Call};
use crate::clock::{Mono, Now};
use crate::http::{self, Body, BodyReader, Framing, RequestHead};
use crate::limits;
use crate::metrics::{Closed, Route, Unanswered};
use crate::server::ADMIN_BODY_BYTES_MIN;

/// Longest that a connection on a place kept for probes may take to send its request.
const PROBE_PLACE_TIME_MAX: Duration = Duration::from_secs(1);
/// An output buffer that grew beyond this is given back when its connection turns idle: any answer
/// but a metrics page fits in half of it.
const OUTPUT_BYTES_KEPT: usize = 1024;

/// What a connection needs of its socket.
pub(super) trait Stream: AsyncReadRent + AsyncWriteRent + AsRawFd + 'static {}

impl<S: AsyncReadRent + AsyncWriteRent + AsRawFd + 'static> Stream for S {}

/// One request, whole in the connection's buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) head: RequestHead,
    pub(super) call: Call,
    /// What it is counted as.
    pub(super) route: Route,
    /// Where the request begins in the input.
    pub(super) start: usize,
    /// Where its body begins and ends in the input.
    pub(super) body_start: usize,
    pub(super) body_end: usize,
    /// When its first byte was read.
    pub(super) since: Mono,
}

/// What reading led to.
enum Next {
    Request(Request),
    /// Answer this, then close.
    Refuse(Reply, Option<RequestHead>),
    /// The client is gone, or was cut.
    Over,
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Stays,
    Closes,
    /// At once, without another byte.
    Cut,
}

/// The client is gone: there is no one to tell.
pub(super) struct Gone;

/// Why nothing more was read.
enum Unread {
    Gone,
    /// The request that is being read fills the largest buffer (I8). Limits on heads and bodies
    /// refuse it before that; should one of them ever not, this ends its connection and no more.
    Full,
}

const TOO_LARGE: Reply = Reply::problem(431, "the request is too large");

pub(super) struct Connection<S> {
    // Dropped in this order: the watch must go before the socket that it watches.
    pub(super) watch: Watch,
    pub(super) stream: S,
    pub(super) core: Rc<Core>,
    pub(super) peer: Peer,
    place: Place,
    /// Bytes from the client; the next request begins at `start`.
    pub(super) input: Vec<u8>,
    pub(super) start: usize,
    /// Bytes for the client.
    pub(super) output: Vec<u8>,
    /// The last reading of the clocks: after each wait, not more often.
    pub(super) now: Now,
    /// When the first byte of the request that is being read came.
    pub(super) since: Mono,
    is_first: bool,
    is_gone: bool,
}

/// Serves one connection to its end, and says why it ended.
pub(super) async fn serve<S: Stream>(
    stream: S,
    core: Rc<Core>,
    (peer, place): (Peer, Place),
    watch: Watch,
) -> Closed {
    let now = core.now();
    let mut connection = Connection {
        watch,
        stream,
        core,
        peer,
        place,
        input: Vec::with_capacity(limits::INPUT_BYTES_IDLE),
        start: 0,
        output: Vec::new(),
        now,
        since: now.mono,
        is_first: true,
        is_gone: false,
    };
    let closed = connection.run().await;
    match (place, connection.watch.end()) {
        // Another one wanted its place among the few.
        (Place::Probe(reason), Some(Closed::MadeRoom)) => reason,
        (_, end) => end.unwrap_or(closed),
    }
}

impl<S: Stream> Connection<S> {
    async fn run(&mut self) -> Closed {
        loop {
            let after = match self.next_request().await {
                Next::Request(request) => self.answer(&request).await,
                Next::Refuse(reply, head) => {
                    self.refuse(&reply, head.as_ref());
                    After::Closes
                }
                Next::Over => return Closed::Client,
            };
            match after {
                After::Stays if self.output.len() < limits::OUTPUT_BYTES_PIPELINED => {}
                // The next answer is not made before the client's kernel has taken this one.
                After::Stays if self.flush().await.is_ok() => {}
                After::Closes => {
                    self.close().await;
                    return match self.place {
                        Place::Probe(reason) => reason,
                        Place::Client | Place::Admin => Closed::Answered,
                    };
                }
                After::Stays => return Closed::Client,
                After::Cut if self.is_gone => return Closed::Client,
                After::Cut => return Closed::Unanswered,
            }
        }
    }

    /// Reads on until a whole request lies in the buffer.
    async fn next_request(&mut self) -> Next {
        let head = loop {
            let bytes = self.input.get(self.start..).unwrap_or_default();
            match http::parse_head(bytes, &self.core.rules) {
                Ok(Some(head)) => break head,
                Ok(None) => {}
                Err(reject) => {
                    return Next::Refuse(Reply::problem(reject.status, reject.reason), None);
                }
            }
            match self.read().await {
                Ok(()) => {}
                Err(Unread::Gone) => return self.unfinished(None),
                Err(Unread::Full) => return Next::Refuse(TOO_LARGE, None),
            }
        };
        let judged = routes::judge(&self.core, &head, self.bytes(), self.peer);
        let routes::Judged { call, route, .. } = judged;
        if let Some(reply) = refusal(self.place, call).filter(|_| !judged.is_peer) {
            return Next::Refuse(reply, Some(head));
        }
        if let (Call::Refuse(reply), true) = (call, head.expect_continue) {
            // The body was not sent yet and need not be: without it the position of the next
            // request is unknown, so this is the last answer.
            return Next::Refuse(reply, Some(head));
        }
        match self.read_body(&head).await {
            Ok(body) => {
                self.is_first = false;
                let start = std::mem::replace(&mut self.start, body.end);
                // Bytes behind it belong to the next request and are here by now.
                let since = std::mem::replace(&mut self.since, self.now.mono);
                let (body_start, body_end) = (body.start, body.end);
                Next::Request(Request {
                    head,
                    call,
                    route,
                    start,
                    body_start,
                    body_end,
                    since,
                })
            }
            Err(Some(reply)) => Next::Refuse(reply, Some(head)),
            Err(None) => self.unfinished(Some(head)),
        }
    }

    async fn read_body(&mut self, head: &RequestHead) -> Result<Body, Option<Reply>> {
        let refuse = |fault: http::BodyFault| Some(Reply::problem(fault.status(), fault.reason()));
        self.make_room_for_body(head);
        let body_start = self.start.saturating_add(head.head_bytes);
        let max = self.body_bytes_max();
        let mut reader = BodyReader::request(head.framing, body_start, max).map_err(refuse)?;
        let mut is_continue_due = head.expect_continue;
        loop {
            if let Some(body) = reader.advance(&mut self.input).map_err(refuse)? {
                return Ok(body);
            }
            if std::mem::take(&mut is_continue_due) {
                self.output.extend_from_slice(http::CONTINUE);
            }
            self.read().await.map_err(|unread| match unread {
                Unread::Gone => None,
                Unread::Full => Some(TOO_LARGE),
            })?;
        }
    }

    /// Positions must not move while a body is read, so earlier requests leave the buffer first.
    /// What an operator signs fits, however small payments must be.
    fn body_bytes_max(&self) -> usize {
        let max = self.core.runtime.config.body_bytes_max;
        match self.peer.role {
            ListenerRole::Public => max,
            ListenerRole::Admin => max.max(ADMIN_BODY_BYTES_MIN),
        }
    }

    fn make_room_for_body(&mut self, head: &RequestHead) {
        let length = match head.framing {
            Framing::None => return,
            Framing::Length(length) => usize::try_from(length).unwrap_or(usize::MAX),
            Framing::Chunked => limits::INPUT_BYTES_IDLE,
        };
        if length > self.body_bytes_max() && head.framing != Framing::Chunked {
            return;
        }
        let needed = head.head_bytes.saturating_add(length);
        if self.bytes().len() >= needed && head.framing != Framing::Chunked {
            return;
        }
        self.compact();
        self.input.reserve(needed.saturating_sub(self.input.len()));
    }

    /// What to do when the input ended before a request was whole; its head may have been.
    fn unfinished(&self, head: Option<RequestHead>) -> Next {
        if self.watch.end() == Some(Closed::SlowRequest) && !self.bytes().is_empty() {
            return Next::Refuse(
                Reply::problem(408, "the request took too long to arrive"),
                head,
            );
        }
        Next::Over
    }

    /// The bytes that no request has taken yet.
    fn bytes(&self) -> &[u8] {
        self.input.get(self.start..).unwrap_or_default()
    }

    /// Drops what requests before this one have taken.
    fn compact(&mut self) {
        if self.start > 0 {
            self.input.drain(..self.start.min(self.input.len()));
            self.start = 0;
        }
    }

    /// Reads once, after everything that was answered has been written and has left the buffer.
    /// While a body is read nothing moves: `make_room_for_body` put its request at the front.
    async fn read(&mut self) -> Result<(), Unread> {
        self.flush().await.map_err(|Gone| Unread::Gone)?;
        let is_idle = self.bytes().is_empty();
        self.compact();
        self.make_room(is_idle)?;
        self.arm_read(is_idle);
        let begin = self.input.len();
        let lent = std::mem::take(&mut self.input);
        let end = lent.capacity();
        let (result, lent) = self.stream.read(lent.slice_mut(begin..end)).await;
        self.input = lent.into_inner();
        self.now = self.core.now();
        if is_idle {
            self.since = self.now.mono;
        }
        match result {
            Ok(0) | Err(_) => Err(Unread::Gone),
            Ok(_) => Ok(()),
        }
    }

    fn arm_read(&self, is_idle: bool) {
        let config = &self.core.runtime.config;
        let (wait, since, patience) = if !is_idle {
            // The whole request has this long, however slowly it drips.
            (Wait::Rest, self.since, config.header_timeout)
        } else if self.is_first {
            // A connection that has asked for nothing yet is given less time than one that has.
            (Wait::First, self.now.mono, config.header_timeout)
        } else {
            (Wait::Request, self.now.mono, config.idle_timeout)
        };
        self.wait_for_client(wait, since, patience);
    }

    fn wait_for_client(&self, wait: Wait, since: Mono, patience: Duration) {
        let patience = match self.place {
            Place::Probe(_) => patience.min(PROBE_PLACE_TIME_MAX),
            Place::Client | Place::Admin => patience,
        };
        self.watch.arm(wait, since, since.after(patience));
    }

    /// Makes sure that a read has room: none would look like the end of the input.
    fn make_room(&mut self, is_idle: bool) -> Result<(), Unread> {
        if is_idle && self.input.capacity() > limits::INPUT_BYTES_KEPT {
            self.input = Vec::with_capacity(limits::INPUT_BYTES_IDLE);
        }
        if self.input.len() < self.input.capacity() {
            return Ok(());
        }
        let bytes_max = self.core.input_bytes_max;
        let room = self.input.len().max(limits::INPUT_BYTES_IDLE);
        let room = room.min(bytes_max.saturating_sub(self.input.len()));
        if room == 0 {
            return Err(Unread::Full);
        }
        self.input.reserve_exact(room);
        Ok(())
    }

    /// Writes what has been answered so far.
    pub(super) async fn flush(&mut self) -> Result<(), Gone> {
        if self.output.is_empty() {
            return Ok(());
        }
        let patience = self.core.runtime.config.header_timeout;
        self.wait_for_client(Wait::Write, self.now.mono, patience);
        let lent = std::mem::take(&mut self.output);
        let (result, mut lent) = self.stream.write_all(lent).await;
        lent.clear();
        if lent.capacity() > OUTPUT_BYTES_KEPT {
            lent = Vec::new();
        }
        self.output = lent;
        result.map(|_| ()).map_err(|_| {
            self.is_gone = true;
            self.core
                .metrics()
                .unanswered
                .get(Unanswered::ClientGone)
                .increment();
            Gone
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame<S, F>(_serve: impl Fn(S, Rc<Core>, (Peer, Place), Watch) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_costs_less_than_six_kibibytes() {
        let frame = frame(serve::<monoio::net::TcpStream>);
        // Both buffers as far as they are kept, the frame, and as much again for the task's header,
        // the socket's and the watch's entries, and what the allocator rounds up.
        let bytes = limits::INPUT_BYTES_IDLE + OUTPUT_BYTES_KEPT + 2 * frame;
        assert!(
            bytes <= 6 * 1024,
            "{bytes} bytes, {frame} of them the frame"
        );
    }
}
