//! Messages on one connection to a server: written, and read one after the other up to the end of
//! an answer. Bytes from the server never reach an assertion, and their count is bounded.
//!
//! No I/O future is dropped: when its time is over the socket is shut down, and the future ends by
//! itself ([`within`]).

use std::future::poll_fn;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::backend::{Header, Message};

use super::doubt::Ended;
use super::messages::{Output, Transcript};
use crate::limits;
use crate::sockets::{Channel, shut_down};

/// Bytes of one message of the server: a row has under 400, an error with its context a few
/// thousand.
const STORE_MESSAGE_BYTES_MAX: usize = 1 << 20;
/// What one read of the server's answer takes in.
const STORE_READ_BYTES: usize = 16 * 1024;

pub(super) const UNREADABLE: &str = "it said something that cannot be read";
pub(super) const OUT_OF_TURN: &str = "it said something out of turn";

/// See the header of this file.
pub(super) struct Talk {
    pub(super) channel: Channel,
    arrived: BytesMut,
    read: Vec<u8>,
    /// Bytes that were read since the last question.
    received: usize,
}

/// Waits for `work`; when `longest` is over it calls `stop` once, and goes on waiting. True when it
/// had to.
pub(super) async fn within<W: Future>(
    longest: Duration,
    stop: impl Fn(),
    work: W,
) -> (W::Output, bool) {
    let mut work = pin!(work);
    let mut timer = pin!(monoio::time::sleep(longest));
    let mut is_late = false;
    let done = poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        if !is_late && timer.as_mut().poll(context).is_ready() {
            is_late = true;
            stop();
            // It may have ended by that at once.
            return work.as_mut().poll(context);
        }
        Poll::Pending
    })
    .await;
    (done, is_late)
}

impl Talk {
    pub(super) fn on(channel: Channel) -> Self {
        Self {
            channel,
            arrived: BytesMut::new(),
            read: Vec::with_capacity(STORE_READ_BYTES),
            received: 0,
        }
    }

    /// Writes `out` and reads up to ReadyForQuery, for at most `longest`.
    pub(super) async fn ask(
        &mut self,
        out: BytesMut,
        transcript: Transcript,
        longest: Duration,
    ) -> (Ended, Vec<Output>) {
        let descriptor = self.channel.stream.as_raw_fd();
        let asked = self.ask_for_long(out, transcript);
        let (answer, is_late) = within(longest, || shut_down(descriptor), asked).await;
        if is_late {
            return (Ended::Cut("it took too long".to_owned()), Vec::new());
        }
        answer
    }

    async fn ask_for_long(
        &mut self,
        out: BytesMut,
        mut transcript: Transcript,
    ) -> (Ended, Vec<Output>) {
        let cut = |why: String| (Ended::Cut(why), Vec::new());
        if let Err(why) = self.write(out).await {
            return cut(why);
        }
        self.received = 0;
        loop {
            let message = match self.next().await {
                Ok(message) => message,
                Err(why) => return cut(why),
            };
            if self.received > limits::STORE_ANSWER_BYTES_MAX {
                return cut("its answer is too long".to_owned());
            }
            match transcript.take(message) {
                Ok(None) => {}
                Ok(Some(ended)) => return (ended, transcript.outputs),
                Err(_) => return cut(UNREADABLE.to_owned()),
            }
        }
    }

    pub(super) async fn write(&mut self, out: BytesMut) -> Result<(), String> {
        let written = self.channel.write(out.into()).await;
        written.map_err(|fault| fault.to_string())
    }

    pub(super) async fn next(&mut self) -> Result<Message, String> {
        loop {
            let head = Header::parse(&self.arrived).map_err(|_| UNREADABLE)?;
            let length = head.map(|head| usize::try_from(head.len()).unwrap_or(usize::MAX));
            if length.is_some_and(|length| length > STORE_MESSAGE_BYTES_MAX) {
                return Err("a message of it is too long".to_owned());
            }
            let parsed = Message::parse(&mut self.arrived).map_err(|_| UNREADABLE)?;
            if let Some(message) = parsed {
                return Ok(message);
            }
            let mut read = std::mem::take(&mut self.read);
            read.clear();
            if read.capacity() == 0 {
                read.reserve(STORE_READ_BYTES);
            }
            let (result, read) = self.channel.read(read).await;
            self.read = read;
            match result {
                Ok(0) => return Err("it ended the connection".to_owned()),
                Ok(count) => {
                    self.received = self.received.saturating_add(count);
                    self.arrived.extend_from_slice(&self.read);
                }
                Err(fault) => return Err(fault.to_string()),
            }
        }
    }
}
