//! One connection to the simulated processor: reads requests, meets the script's faults at each
//! moment, writes answers. Pipelined requests are answered in their order.
//!
//! No I/O future is ever dropped: reads end by data, by the peer, or because the handle shuts the
//! socket down. Decides nothing about payments; that is `processor`.

use std::rc::Rc;

use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt};
use monoio::net::TcpStream;

use super::faults::{self, Act, Moment, Route};
use super::pauses::Stopped;
use super::processor::{self, Processor};
use super::reply::Reply;
use super::request::{Call, Head, Unreadable};
use super::sealed::{Broken, Sealed};
use super::socket::{self, Connections};
use super::wire;

/// What one read takes in; a payment with its head has under 600 bytes.
const READ_BYTES: usize = 4 * 1024;

/// Neither HTTP nor TLS.
const GARBAGE: &[u8] = b"\x16\x03\x01 no HTTP\r\n\r\n";

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// RST.
    Reset,
    /// FIN after all that was written; over TLS the word that nothing more comes before it.
    Finish,
    /// FIN without that word.
    Truncate,
}

impl From<Stopped> for End {
    fn from(_: Stopped) -> Self {
        Self::Reset
    }
}

/// A connection.
pub(super) struct Connection {
    processor: Rc<Processor>,
    connections: std::sync::Arc<Connections>,
    stream: TcpStream,
    /// Over TLS.
    sealed: Option<Box<Sealed>>,
    /// What arrived and was not used yet.
    input: Vec<u8>,
    /// Lent to each read; empty between reads.
    chunk: Vec<u8>,
}

impl Connection {
    pub(super) fn new(
        processor: Rc<Processor>,
        connections: std::sync::Arc<Connections>,
        stream: TcpStream,
    ) -> Self {
        connections.add(&stream);
        let sealed = processor.tls.as_ref().and_then(Sealed::new).map(Box::new);
        let (input, chunk) = (Vec::new(), Vec::with_capacity(READ_BYTES));
        Self {
            processor,
            connections,
            stream,
            sealed,
            input,
            chunk,
        }
    }

    /// Serves it to its end.
    pub(super) async fn run(mut self) {
        match self.exchanges().await {
            End::Reset => socket::reset_on_close(&self.stream),
            End::Finish => {
                if let Some(sealed) = &mut self.sealed {
                    let end = sealed.end();
                    let _ = self.stream.write_all(end).await;
                }
                self.finish().await;
            }
            End::Truncate => self.finish().await,
        }
        self.connections.remove(&self.stream);
    }

    async fn exchanges(&mut self) -> End {
        if let Err(end) = self.meet(Moment::Connect, None).await {
            return end;
        }
        if let Err(end) = self.shake_hands().await {
            return end;
        }
        loop {
            match self.exchange().await {
                Ok(true) => {}
                Ok(false) => return End::Finish,
                Err(end) => return end,
            }
        }
    }

    /// The handshake, where there is one. The script is asked when the client has begun and was
    /// told nothing yet.
    async fn shake_hands(&mut self) -> Result<(), End> {
        let Some(sealed) = &mut self.sealed else {
            return Ok(());
        };
        let mut is_begun = false;
        while sealed.is_handshaking() {
            let chunk = std::mem::take(&mut self.chunk);
            let (result, chunk) = self.stream.read(chunk).await;
            self.chunk = chunk;
            if !matches!(result, Ok(count) if count > 0) {
                return Err(End::Truncate);
            }
            let act = match std::mem::replace(&mut is_begun, true) {
                true => None,
                false => self.processor.strike(Moment::Handshake, None),
            };
            let mut out = Vec::new();
            let received = sealed.receive(&self.chunk, &mut self.input, &mut out);
            self.chunk.clear();
            match act {
                None => {}
                Some(Act::Reset) => return Err(End::Reset),
                Some(Act::Close) => return Err(End::Truncate),
                Some(Act::Stall) => {
                    let chunk = Vec::with_capacity(READ_BYTES);
                    // Until the client closes.
                    let _ = self.stream.read(chunk).await;
                    return Err(End::Truncate);
                }
                Some(Act::Pause(ms)) => self.processor.pauses.sleep(faults::span(ms)).await?,
                Some(Act::CutHead) => {
                    out.truncate(out.len() / 2);
                    let _ = self.stream.write_all(out).await;
                    return Err(End::Truncate);
                }
                Some(_) => {
                    let _ = self.stream.write_all(GARBAGE.to_vec()).await;
                    return Err(End::Truncate);
                }
            }
            let (written, _) = self.stream.write_all(out).await;
            if written.is_err() || received.is_err() {
                return Err(End::Truncate);
            }
        }
        Ok(())
    }

    /// One request and its answer; whether another may follow.
    async fn exchange(&mut self) -> Result<bool, End> {
        let head = self.read_head().await?;
        let route = head.call.route();
        if let Some(reply) = self
            .meet(Moment::Head, route)
            .await?
            .and_then(scripted_reply)
        {
            self.write(reply.bytes(false).0).await?;
            return Err(End::Finish);
        }
        let body = self.read_body(&head).await?;
        let order = match head.call {
            Call::Pay => wire::read_order(&body),
            Call::Lookup(_)
            | Call::Health
            | Call::Ready
            | Call::Admin(_)
            | Call::WrongMethod
            | Call::Unknown => None,
        };
        if let Some(order) = order {
            self.processor.shared.lock().note(order);
        }
        let act = self.meet(Moment::Body, route).await?;
        if let (Some(Act::ResetChargeLater(ms)), Some(order)) = (act, order) {
            monoio::spawn(Rc::clone(&self.processor).pay(order, faults::span(ms)));
            return Err(End::Reset);
        }
        let reply = match (act.and_then(scripted_reply), order) {
            (Some(reply), _) => reply,
            (None, Some(order)) => {
                // A task of its own: it ends whatever becomes of this connection.
                monoio::spawn(Rc::clone(&self.processor).pay(order, faults::span(0))).await?
            }
            (None, None) => {
                self.processor
                    .work(head.call, head.token.as_deref(), &body)
                    .await?
            }
        };
        let act = self.meet(Moment::Answer, route).await?;
        self.answer(&reply, act, head.keeps_alive).await?;
        Ok(head.keeps_alive)
    }

    /// Asks the script, does what can be done at any moment, and hands back what is particular
    /// to this one.
    async fn meet(&mut self, moment: Moment, route: Option<Route>) -> Result<Option<Act>, End> {
        let Some(act) = self.processor.strike(moment, route) else {
            return Ok(None);
        };
        match act {
            Act::Reset => Err(End::Reset),
            Act::Close => Err(End::Finish),
            Act::Stall => {
                self.read_to_end().await;
                Err(End::Finish)
            }
            Act::Pause(ms) => {
                self.processor.pauses.sleep(faults::span(ms)).await?;
                Ok(None)
            }
            Act::Status(_)
            | Act::StatusRetryAfter(..)
            | Act::ResetChargeLater(_)
            | Act::CutHead
            | Act::CutBody
            | Act::ResetBody
            | Act::Drip(_)
            | Act::Double
            | Act::Garbage
            | Act::Chunked
            | Act::Interim
            | Act::LastAnswer
            | Act::UntilClose
            | Act::Truncate
            | Act::CloseAfter
            | Act::ResetAfter => Ok(Some(act)),
        }
    }

    /// Writes `reply`, or what the script makes of it.
    async fn answer(&mut self, reply: &Reply, act: Option<Act>, alive: bool) -> Result<(), End> {
        let (bytes, head_bytes) = reply.bytes(alive);
        let middle = usize::midpoint(head_bytes, bytes.len());
        let cut = |keep: usize| bytes.get(..keep).unwrap_or_default().to_vec();
        let (written, then) = match act {
            None => (bytes, Ok(())),
            Some(Act::CutHead) => (cut(head_bytes / 2), Err(End::Finish)),
            Some(Act::CutBody) => (cut(middle), Err(End::Finish)),
            Some(Act::ResetBody) => (cut(middle), Err(End::Reset)),
            Some(Act::Double) => (bytes.repeat(2), Ok(())),
            Some(Act::Garbage) => (GARBAGE.to_vec(), Err(End::Finish)),
            Some(Act::UntilClose) => (reply.until_close(), Err(End::Finish)),
            Some(Act::Truncate) => (reply.until_close(), Err(End::Truncate)),
            Some(Act::Drip(ms)) => return self.drip(bytes, ms).await,
            Some(Act::Status(_) | Act::StatusRetryAfter(..)) => {
                let reply = act.and_then(scripted_reply);
                (reply.map_or(bytes, |reply| reply.bytes(alive).0), Ok(()))
            }
            Some(Act::Chunked) => (reply.chunked(alive), Ok(())),
            Some(Act::Interim) => (
                [b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", &*bytes].concat(),
                Ok(()),
            ),
            Some(Act::LastAnswer) => (reply.bytes(false).0, Err(End::Finish)),
            Some(Act::CloseAfter) => (bytes, Err(End::Finish)),
            Some(Act::ResetAfter) => (bytes, Err(End::Reset)),
            // `meet` has dealt with these, or they fit no answer.
            Some(
                Act::Reset | Act::Close | Act::Stall | Act::Pause(_) | Act::ResetChargeLater(_),
            ) => (bytes, Ok(())),
        };
        self.write(written).await?;
        then
    }

    async fn drip(&mut self, bytes: Vec<u8>, pause_ms: u64) -> Result<(), End> {
        for byte in bytes {
            self.write(vec![byte]).await?;
            self.processor.pauses.sleep(faults::span(pause_ms)).await?;
        }
        Ok(())
    }

    async fn read_head(&mut self) -> Result<Head, End> {
        loop {
            match Head::read(&self.input) {
                Ok(Some(head)) => {
                    self.input.drain(..head.head_bytes);
                    return Ok(head);
                }
                Ok(None) => self.read_more().await?,
                Err(unreadable) => return Err(self.refuse(unreadable).await),
            }
        }
    }

    async fn read_body(&mut self, head: &Head) -> Result<Vec<u8>, End> {
        let mut awaits_continue = head.awaits_continue;
        loop {
            match head.body(&self.input) {
                Ok(Some((body, used))) => {
                    let body = body.into_owned();
                    self.input.drain(..used);
                    return Ok(body);
                }
                Ok(None) => {
                    if std::mem::take(&mut awaits_continue) {
                        self.write(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec())
                            .await?;
                    }
                    self.read_more().await?;
                }
                Err(unreadable) => return Err(self.refuse(unreadable).await),
            }
        }
    }

    async fn refuse(&mut self, _: Unreadable) -> End {
        match self.write(processor::bad_request().bytes(false).0).await {
            Ok(()) => End::Finish,
            Err(end) => end,
        }
    }

    /// Reads once. A peer that has finished or gone ends the connection.
    async fn read_more(&mut self) -> Result<(), End> {
        let chunk = std::mem::take(&mut self.chunk);
        let (result, chunk) = self.stream.read(chunk).await;
        self.chunk = chunk;
        if !matches!(result, Ok(count) if count > 0) {
            return Err(End::Finish);
        }
        let Some(sealed) = &mut self.sealed else {
            self.input.extend_from_slice(&self.chunk);
            self.chunk.clear();
            return Ok(());
        };
        let mut out = Vec::new();
        let received = sealed.receive(&self.chunk, &mut self.input, &mut out);
        self.chunk.clear();
        let (written, _) = self.stream.write_all(out).await;
        match (received, written) {
            (Ok(()), Ok(_)) => Ok(()),
            (Err(Broken), _) | (_, Err(_)) => Err(End::Truncate),
        }
    }

    /// Answers nothing of it, not even a handshake.
    async fn read_to_end(&mut self) {
        self.sealed = None;
        while self.read_more().await.is_ok() {
            self.input.clear();
        }
    }

    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), End> {
        let bytes = match &mut self.sealed {
            None => bytes,
            Some(sealed) => sealed.seal(&bytes),
        };
        let (result, _) = self.stream.write_all(bytes).await;
        result.map(|_| ()).map_err(|_| End::Reset)
    }

    /// Says that nothing more comes and waits for the peer to close: a socket closed with unread
    /// bytes in it would send RST, which can destroy the answer.
    async fn finish(&mut self) {
        if self.stream.shutdown().await.is_ok() {
            self.read_to_end().await;
        }
    }
}

/// The answer that the script puts in the true one's place.
fn scripted_reply(act: Act) -> Option<Reply> {
    let reply = |status| Reply::new(status, wire::message("scripted"));
    match act {
        Act::Status(status) => Some(reply(status)),
        Act::StatusRetryAfter(status, seconds) => Some(reply(status).after(seconds)),
        Act::Reset
        | Act::Close
        | Act::Stall
        | Act::Pause(_)
        | Act::ResetChargeLater(_)
        | Act::CutHead
        | Act::CutBody
        | Act::ResetBody
        | Act::Drip(_)
        | Act::Double
        | Act::Garbage
        | Act::Chunked
        | Act::Interim
        | Act::LastAnswer
        | Act::UntilClose
        | Act::Truncate
        | Act::CloseAfter
        | Act::ResetAfter => None,
    }
}
