//! One connection to a processor. Two tasks live as long as it does: one always reads, so that a
//! close by the processor is seen before the connection is lent again, and one writes what is put
//! into its buffer. A connection carries one exchange at a time.
//!
//! I4: it goes back to the pool only when an answer was read to its end, nothing came behind it,
//! nothing is left to write, and both sides want to go on. What arrives while no request is out
//! ends it: the next request would take it for the beginning of its answer.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::task::{Poll, Waker};

use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt, OwnedReadHalf, OwnedWriteHalf, Splitable};
use monoio::net::TcpStream;

use super::job::{self, Job};
use super::{NameIndex, Upstream};
use crate::clock::Mono;
use crate::events::Exchange;
use crate::http::{Answer, AnswerReader};
use crate::limits;
use crate::payment::Processor;
use crate::sockets::Channel;
use crate::sockets::{send_now, shut_down};
use crate::tls::Session;
use crate::upstream::UPSTREAM_ANSWER_BYTES;
use crate::upstream::UPSTREAM_BODY_BYTES_MAX;

/// First size of a connection's request buffer: head and body of a payment are about 320 bytes;
/// trace headers and credentials may double that.
const UPSTREAM_REQUEST_BYTES: usize = 512;
/// An answer's buffer that grew beyond this is given back after the answer: 256 idle connections
/// hold 1 MiB and not 18.
const UPSTREAM_ANSWER_BYTES_KEPT: usize = 4 * 1024;

/// See the header of this file.
pub(super) struct Connection {
    pub(super) processor: Processor,
    /// Where it went.
    pub(super) address: SocketAddr,
    /// Its address is the processor's no more, or its session is over: what is under way ends, and
    /// nothing follows.
    pub(super) is_retired: Cell<bool>,
    pub(super) job: Cell<Job>,
    /// When it was put into the pool.
    pub(super) idle_since: Cell<Mono>,
    descriptor: RawFd,
    /// Over https. Never borrowed over an await.
    session: Option<RefCell<Box<Session>>>,
    standing: Cell<Standing>,
    /// What the writing task shall write; empty while the kernel holds it.
    out: RefCell<Vec<u8>>,
    writing: Cell<Writing>,
    writer: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Open,
    /// Shut down by us; the reading task has not seen it yet.
    ShutDown,
    /// The reading task has ended, and the descriptor may be another's.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Nothing,
    Pending,
}

impl Connection {
    /// Starts both tasks on `stream`.
    pub(super) fn begin(
        upstream: &Rc<Upstream>,
        processor: Processor,
        address: SocketAddr,
        channel: Channel,
    ) -> Rc<Self> {
        let Channel { stream, session } = channel;
        let connection = Rc::new(Self {
            processor,
            address,
            is_retired: Cell::new(false),
            job: Cell::new(Job::None),
            idle_since: Cell::default(),
            descriptor: stream.as_raw_fd(),
            session: session.map(RefCell::new),
            standing: Cell::new(Standing::Open),
            out: RefCell::new(Vec::with_capacity(UPSTREAM_REQUEST_BYTES)),
            writing: Cell::new(Writing::Nothing),
            writer: RefCell::default(),
        });
        upstream.targets.get(processor).note_open(address);
        let (read_half, write_half) = stream.into_split();
        monoio::spawn(Rc::clone(&connection).write_requests(write_half));
        monoio::spawn(Rc::clone(&connection).read_answers(Rc::clone(upstream), read_half));
        connection
    }

    /// Whether no byte may be handed to it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.standing.get() != Standing::Open
    }

    /// Whether a request may be written on it. Where a part of a TLS record has arrived it may not,
    /// and ends: that may be the beginning of an answer.
    pub(super) fn is_free(&self) -> bool {
        if !self.is_between_records() {
            self.shut_down();
        }
        !self.is_closed()
    }

    /// Has `request` write into the buffer and hands it to the kernel.
    pub(super) fn write(&self, job: Job, request: impl FnOnce(&mut Vec<u8>)) {
        self.job.set(job);
        let out = &mut *self.out.borrow_mut();
        if let Some(session) = &self.session {
            let mut plain = Vec::with_capacity(UPSTREAM_REQUEST_BYTES);
            request(&mut plain);
            // Behind what the session has to say of itself, which may wait here already.
            if !session.borrow_mut().send(&plain, out) {
                self.shut_down();
                return;
            }
        } else {
            out.clear();
            request(out);
        }
        self.writing.set(Writing::Pending);
        self.wake_writer();
    }

    /// Has the session's own words written: an answer to a change of keys. While something is
    /// written they wait for its end.
    fn write_pending(&self, session: &RefCell<Box<Session>>) {
        if self.writing.get() == Writing::Pending {
            return;
        }
        let out = &mut *self.out.borrow_mut();
        session.borrow_mut().take_pending(out);
        if !out.is_empty() {
            self.writing.set(Writing::Pending);
            self.wake_writer();
        }
    }

    /// Both directions end; the reading task sees it and cleans up.
    pub(super) fn shut_down(&self) {
        if self.standing.get() == Standing::Open {
            self.standing.set(Standing::ShutDown);
            self.say_the_end();
            shut_down(self.descriptor);
        }
    }

    /// Tells a TLS peer that nothing more comes, if there is room for that at once: servers forget
    /// a session that ended without it.
    fn say_the_end(&self) {
        if let (Some(session), Writing::Nothing) = (&self.session, self.writing.get()) {
            let mut out = Vec::new();
            session.borrow_mut().end(&mut out);
            send_now(self.descriptor, &out);
        }
    }

    fn wake_writer(&self) {
        if let Some(writer) = self.writer.borrow().as_ref() {
            writer.wake_by_ref();
        }
    }

    async fn write_requests(self: Rc<Self>, mut half: OwnedWriteHalf<TcpStream>) {
        loop {
            let is_closed = poll_fn(|context| {
                if self.standing.get() == Standing::Closed {
                    return Poll::Ready(true);
                }
                if self.writing.get() == Writing::Pending && !self.out.borrow().is_empty() {
                    return Poll::Ready(false);
                }
                let mut writer = self.writer.borrow_mut();
                match writer.as_ref() {
                    Some(known) if known.will_wake(context.waker()) => {}
                    Some(_) | None => *writer = Some(context.waker().clone()),
                }
                Poll::Pending
            })
            .await;
            if is_closed {
                return;
            }
            let out = std::mem::take(&mut *self.out.borrow_mut());
            let (result, mut out) = half.write_all(out).await;
            if self.out.borrow().is_empty() {
                out.clear();
                self.out.replace(out);
                self.writing.set(Writing::Nothing);
            }
            if result.is_err() {
                // The reading task sees the end and says that the exchange was cut.
                self.shut_down();
            } else if let Some(session) = &self.session {
                self.write_pending(session);
            }
        }
    }

    async fn read_answers(
        self: Rc<Self>,
        upstream: Rc<Upstream>,
        mut half: OwnedReadHalf<TcpStream>,
    ) {
        let mut buffer = Vec::with_capacity(UPSTREAM_ANSWER_BYTES);
        let mut sealed = Vec::new();
        let mut reader = fresh_reader();
        let mut fault = None;
        loop {
            if let Some(session) = &self.session {
                sealed.clear();
                sealed.reserve(limits::TLS_READ_BYTES);
                let (result, back) = half.read(sealed).await;
                sealed = back;
                if !matches!(result, Ok(count) if count > 0) {
                    break;
                }
                let received = session.borrow_mut().receive(&sealed, &mut buffer);
                self.write_pending(session);
                // What was said before a fault, or before the end, was said; nothing follows it.
                fault = received.err().map(|fault| fault.to_string());
                if fault.is_some() || self.has_ended() {
                    self.is_retired.set(true);
                }
            } else {
                if buffer.len() == buffer.capacity() {
                    buffer.reserve(UPSTREAM_ANSWER_BYTES);
                }
                let filled = buffer.len();
                let (result, slice) = half.read(buffer.slice_mut(filled..)).await;
                buffer = slice.into_inner();
                match result {
                    Ok(0) => break,
                    Err(_) => {
                        // Whatever was read of an answer, a reset does not complete it.
                        reader = fresh_reader();
                        break;
                    }
                    Ok(_) => {}
                }
            }
            if buffer.is_empty() {
                if fault.is_some() || self.has_ended() {
                    break;
                }
                continue;
            }
            if matches!(self.job.get(), Job::None | Job::Reserved(_)) {
                // Many a server says 408 before it ends a connection: the peer has ended it (I10).
                buffer.clear();
                break;
            }
            match reader.advance(&mut buffer) {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    if !self.on_answer(&upstream, &answer, &buffer) {
                        break;
                    }
                    buffer.clear();
                    if buffer.capacity() > UPSTREAM_ANSWER_BYTES_KEPT {
                        buffer = Vec::with_capacity(UPSTREAM_ANSWER_BYTES);
                    }
                    reader = fresh_reader();
                }
                Err(fault) => {
                    log::debug!("{}: unreadable answer: {fault:?}", self.processor.name());
                    break;
                }
            }
            if fault.is_some() || self.has_ended() {
                break;
            }
        }
        self.on_end(&upstream, fault, reader.close(&buffer).ok(), &buffer);
    }

    /// Whether a TLS peer has said that nothing more comes.
    fn has_ended(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| session.borrow().has_ended())
    }

    /// Whether nothing of a further TLS record has arrived.
    fn is_between_records(&self) -> bool {
        let session = self.session.as_ref();
        session.is_none_or(|session| session.borrow().is_between_records())
    }

    /// One whole answer. False when the connection must end (I4).
    fn on_answer(self: &Rc<Self>, upstream: &Upstream, answer: &Answer, buffer: &[u8]) -> bool {
        let job = self.job.take();
        if answer.head.status == 401 {
            // A renewed token may be there already.
            upstream.files.ask(self.processor);
        }
        let is_clean = answer.head.keep_alive
            && answer.body.end == buffer.len()
            && self.writing.get() == Writing::Nothing
            && self.is_between_records()
            && self.standing.get() == Standing::Open;
        if is_clean {
            upstream.give_back(self);
        } else if self.standing.get() == Standing::Open {
            if !answer.head.keep_alive {
                upstream.resolver.note_end(NameIndex::of(self.processor));
            }
            self.shut_down();
        }
        job::tell(upstream, job, answer, buffer);
        is_clean
    }

    /// No more is read. An answer that the close completes still counts; anything else was cut.
    fn on_end(
        self: &Rc<Self>,
        upstream: &Upstream,
        fault: Option<String>,
        answer: Option<Answer>,
        buffer: &[u8],
    ) {
        let was_ours = self.standing.get() == Standing::ShutDown;
        if self.standing.get() == Standing::Open {
            shut_down(self.descriptor);
        }
        self.standing.set(Standing::Closed);
        self.wake_writer();
        if !was_ours {
            // Another processor may have its address by now (I10).
            upstream.resolver.note_end(NameIndex::of(self.processor));
        }
        let target = upstream.targets.get(self.processor);
        target.note_closed(self.address);
        target
            .idle
            .borrow_mut()
            .retain(|one| !Rc::ptr_eq(one, self));
        let job = self.job.take();
        // Over TLS only the peer's own word ends an answer that has no length (I4).
        let is_end = self.session.is_none() || self.has_ended();
        if let Some(why) = fault {
            upstream.note_no_session(self.processor, self.address, &why);
        }
        match answer {
            Some(answer) if !was_ours && is_end => job::tell(upstream, job, &answer, buffer),
            // Whatever the peer's last word was about: it may have charged before it said it.
            Some(_) | None => job::end(upstream, job, Exchange::Cut),
        }
    }
}

fn fresh_reader() -> AnswerReader {
    AnswerReader::new(false, UPSTREAM_BODY_BYTES_MAX)
}
