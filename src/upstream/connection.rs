//! One connection to a processor. Two tasks live as long as it does: one always reads, so that a
//! close by the processor is seen before the connection is lent again, and one writes what is put
//! into its buffer. A connection carries one exchange at a time.
//!
//! I4: it goes back to the pool only when an answer was read to its end, nothing came behind it,
//! nothing is left to write, and both sides want to go on.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::task::{Poll, Waker};

use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt, OwnedReadHalf, OwnedWriteHalf, Splitable};
use monoio::net::TcpStream;

use super::{NameIndex, Upstream};
use crate::clock::Mono;
use crate::events::{AttemptRef, Exchange, Lookup};
use crate::http::{Answer, AnswerReader};
use crate::limits;
use crate::payment::{Processor, UpstreamId};
use crate::wire;

/// What a connection is for at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Job {
    /// Nobody's: idle, or its answer is wanted no more.
    #[default]
    None,
    /// Lent to this attempt, nothing written.
    Reserved(AttemptRef),
    /// This attempt's payment was handed to the kernel.
    Payment(AttemptRef),
    /// A lookup of this id for this attempt was handed to the kernel.
    Lookup(AttemptRef, UpstreamId),
}

/// See the header of this file.
pub(super) struct Connection {
    pub(super) processor: Processor,
    /// Where it went.
    pub(super) address: SocketAddr,
    /// Its address is the processor's no more: what is under way ends, and nothing follows.
    pub(super) is_retired: Cell<bool>,
    pub(super) job: Cell<Job>,
    /// When it was put into the pool.
    pub(super) idle_since: Cell<Mono>,
    descriptor: RawFd,
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
        stream: TcpStream,
    ) -> Rc<Self> {
        let connection = Rc::new(Self {
            processor,
            address,
            is_retired: Cell::new(false),
            job: Cell::new(Job::None),
            idle_since: Cell::default(),
            descriptor: stream.as_raw_fd(),
            standing: Cell::new(Standing::Open),
            out: RefCell::new(Vec::with_capacity(limits::UPSTREAM_REQUEST_BYTES)),
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

    /// Has `request` write into the buffer and hands it to the kernel.
    pub(super) fn write(&self, job: Job, request: impl FnOnce(&mut Vec<u8>)) {
        self.job.set(job);
        let out = &mut *self.out.borrow_mut();
        out.clear();
        request(out);
        self.writing.set(Writing::Pending);
        self.wake_writer();
    }

    /// Both directions end; the reading task sees it and cleans up.
    pub(super) fn shut_down(&self) {
        if self.standing.get() == Standing::Open {
            self.standing.set(Standing::ShutDown);
            shut_down(self.descriptor);
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
            out.clear();
            self.out.replace(out);
            self.writing.set(Writing::Nothing);
            if result.is_err() {
                // The reading task sees the end and says that the exchange was cut.
                self.shut_down();
            }
        }
    }

    async fn read_answers(
        self: Rc<Self>,
        upstream: Rc<Upstream>,
        mut half: OwnedReadHalf<TcpStream>,
    ) {
        let mut buffer = Vec::with_capacity(limits::UPSTREAM_ANSWER_BYTES);
        let mut reader = fresh_reader();
        loop {
            if buffer.len() == buffer.capacity() {
                buffer.reserve(limits::UPSTREAM_ANSWER_BYTES);
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
            match reader.advance(&mut buffer) {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    if !self.on_answer(&upstream, &answer, &buffer) {
                        break;
                    }
                    buffer.clear();
                    if buffer.capacity() > limits::UPSTREAM_ANSWER_BYTES_KEPT {
                        buffer = Vec::with_capacity(limits::UPSTREAM_ANSWER_BYTES);
                    }
                    reader = fresh_reader();
                }
                Err(fault) => {
                    log::debug!("{}: unreadable answer: {fault:?}", self.processor.name());
                    break;
                }
            }
        }
        self.on_end(&upstream, &reader, &buffer);
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
            && self.standing.get() == Standing::Open
            && matches!(job, Job::Payment(_) | Job::Lookup(..));
        if is_clean {
            upstream.give_back(self);
        } else if self.standing.get() == Standing::Open {
            if !answer.head.keep_alive {
                upstream.resolver.note_end(NameIndex::of(self.processor));
            }
            self.shut_down();
        }
        tell(upstream, job, answer, buffer);
        is_clean
    }

    /// No more is read. An answer that the close completes still counts; anything else was cut.
    fn on_end(self: &Rc<Self>, upstream: &Upstream, reader: &AnswerReader, buffer: &[u8]) {
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
        match reader.close(buffer) {
            Ok(answer) if !was_ours => tell(upstream, job, &answer, buffer),
            Ok(_) | Err(_) => {
                let Some(sink) = upstream.sink.upgrade() else {
                    return;
                };
                match job {
                    Job::None => {}
                    Job::Reserved(attempt) => {
                        upstream.unlink(attempt);
                        sink.exchanged(attempt, Exchange::NotSent);
                    }
                    Job::Payment(attempt) => {
                        upstream.unlink(attempt);
                        sink.exchanged(attempt, Exchange::Cut);
                    }
                    Job::Lookup(attempt, _) => {
                        upstream.unlink(attempt);
                        sink.looked_up(attempt, Lookup::NoAnswer);
                    }
                }
            }
        }
    }
}

fn fresh_reader() -> AnswerReader {
    AnswerReader::new(false, limits::UPSTREAM_BODY_BYTES_MAX)
}

/// Tells the sink what `answer` says about `job`.
fn tell(upstream: &Upstream, job: Job, answer: &Answer, buffer: &[u8]) {
    let Some(sink) = upstream.sink.upgrade() else {
        return;
    };
    match job {
        // An answer that nobody asked for, or that nobody waits for any more.
        Job::None | Job::Reserved(_) => {}
        Job::Payment(attempt) => {
            upstream.unlink(attempt);
            let status = answer.head.status;
            let retry_after = answer.head.retry_after;
            let retry_after_secs = retry_after.map(|asked| asked.seconds(sink.wall()));
            sink.exchanged(
                attempt,
                Exchange::Answered {
                    status,
                    retry_after_secs,
                },
            );
        }
        Job::Lookup(attempt, id) => {
            upstream.unlink(attempt);
            let body = buffer.get(answer.body.clone()).unwrap_or_default();
            let stored = || wire::read_stored(body, id);
            let lookup = match answer.head.status {
                200 => stored().map_or(Lookup::NoAnswer, |(requested_at, amount)| Lookup::Stored {
                    requested_at,
                    amount,
                }),
                404 => Lookup::NotFound,
                _ => Lookup::NoAnswer,
            };
            sink.looked_up(attempt, lookup);
        }
    }
}

/// Ends both directions of a socket; whoever waits on it wakes.
#[allow(
    unsafe_code,
    reason = "shutdown(2) on a descriptor that the caller holds open"
)]
pub(super) fn shut_down(descriptor: RawFd) {
    // SAFETY: shutdown takes no pointer; a descriptor that is no socket is refused by the kernel.
    let _ = unsafe { libc::shutdown(descriptor, libc::SHUT_RDWR) };
}
