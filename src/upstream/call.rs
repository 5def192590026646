//! One question that is asked seldom (to a peer, to a processor's health route): a connection of
//! its own, one request, one answer, one deadline for all of it. No pool, no retry.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use socket2::SockAddr;

use super::Upstream;
use super::channel::{Channel, Speech};
use super::reach::Connecting;
use crate::http::{Answer, AnswerReader};
use crate::limits;
use crate::payment::Processor;

/// Where it is asked, in order, and how.
type Peer = (Vec<SockAddr>, Speech);

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    /// Its status code.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

impl Upstream {
    /// Sends `request` to the first of `addresses` that can be reached and reads one answer, all
    /// within `timeout`.
    ///
    /// # Errors
    /// None of them is there, or gives a whole answer in time.
    pub async fn call(
        &self,
        addresses: &[SocketAddr],
        request: Vec<u8>,
        timeout: Duration,
    ) -> io::Result<Called> {
        let places = addresses.iter().copied().map(SockAddr::from).collect();
        let peer = (places, Speech::Plain);
        self.call_places(&peer, request, timeout).await
    }

    /// Has `processor` asked by `GET` for what is at `rest` below its payments' path.
    ///
    /// # Errors
    /// It is not there, or gives no whole answer in time.
    pub async fn ask(
        &self,
        processor: Processor,
        rest: &str,
        timeout: Duration,
    ) -> io::Result<Called> {
        let mut request = Vec::new();
        let target = self.targets.get(processor);
        target
            .head
            .borrow()
            .write_get(&mut request, rest.as_bytes());
        let listed = target.listing.borrow().clone();
        let places = (listed.listed.iter())
            .map(|listed| target.place_of(listed.address))
            .collect();
        let peer = (places, target.speech());
        let called = self.call_places(&peer, request, timeout).await;
        if matches!(&called, Ok(called) if called.status == 401) {
            self.files.ask(processor);
        }
        called
    }

    async fn call_places(
        &self,
        peer: &Peer,
        request: Vec<u8>,
        timeout: Duration,
    ) -> io::Result<Called> {
        let Some(sink) = self.sink.upgrade() else {
            return Err(io::ErrorKind::Other.into());
        };
        let watched = Connecting::until(sink.mono().after(timeout));
        drop(sink);
        self.calls.borrow_mut().push(Rc::clone(&watched));
        let called = exchange(peer, request, &watched).await;
        self.calls
            .borrow_mut()
            .retain(|one| !Rc::ptr_eq(one, &watched));
        called
    }
}

async fn exchange(
    (places, speech): &Peer,
    request: Vec<u8>,
    watched: &Connecting,
) -> io::Result<Called> {
    let mut reached = Err(io::Error::new(
        io::ErrorKind::NotFound,
        "the name has no address",
    ));
    for place in places {
        if watched.is_given_up.get() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        reached = Channel::open(place, speech, watched)
            .await
            .map_err(io::Error::from);
        if reached.is_ok() {
            break;
        }
    }
    let mut channel = reached?;
    watched.descriptor.set(Some(channel.stream.as_raw_fd()));
    let called = match channel.write(request).await {
        Ok(()) => read_answer(&mut channel).await,
        Err(fault) => Err(fault),
    };
    // From here on the descriptor may become another's.
    watched.descriptor.set(None);
    called
}

async fn read_answer(channel: &mut Channel) -> io::Result<Called> {
    let mut buffer = Vec::with_capacity(limits::UPSTREAM_ANSWER_BYTES);
    let mut reader = AnswerReader::new(false, limits::UPSTREAM_BODY_BYTES_MAX);
    loop {
        if buffer.len() == buffer.capacity() {
            buffer.reserve(limits::UPSTREAM_ANSWER_BYTES);
        }
        let (result, back) = channel.read(buffer).await;
        buffer = back;
        if result? == 0 {
            let answer = reader.close(&buffer).map_err(unreadable)?;
            return Ok(called(&answer, &buffer));
        }
        if let Some(answer) = reader.advance(&mut buffer).map_err(unreadable)? {
            return Ok(called(&answer, &buffer));
        }
    }
}

fn called(answer: &Answer, buffer: &[u8]) -> Called {
    let body = buffer.get(answer.body.clone()).unwrap_or_default();
    Called {
        status: answer.head.status,
        body: body.to_vec(),
    }
}

fn unreadable(fault: crate::http::AnswerFault) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{fault:?}"))
}
