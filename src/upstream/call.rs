//! One question that is asked seldom (to a peer, to a processor's health route): one request, one
//! answer, one deadline for all of it. A processor is asked on a connection of its own; those to
//! peers are kept, and one that died meanwhile is replaced once.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use socket2::SockAddr;

use super::{NameIndex, Upstream};
use crate::http::{Answer, AnswerReader};
use crate::limits;
use crate::payment::Processor;
use crate::sockets::Connecting;
use crate::sockets::{Channel, Speech};
use crate::upstream::UPSTREAM_ANSWER_BYTES;
use crate::upstream::UPSTREAM_BODY_BYTES_MAX;

/// Where it is asked, in order, and how.
type Peer = (Vec<SockAddr>, Speech);

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Called {
    /// Its status code.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

impl Upstream {
    /// Sends `request` to the peer of this name, on a connection that is kept if there is one that
    /// still works. A peer may be asked the same twice: it only adds up or forgets.
    ///
    /// # Errors
    /// It is not there, or gives no whole answer within [`limits::PEER_TIMEOUT`].
    pub(crate) async fn call_peer(
        &self,
        name: NameIndex,
        addresses: &[SocketAddr],
        request: Vec<u8>,
    ) -> io::Result<Called> {
        let places = addresses.iter().copied().map(SockAddr::from).collect();
        let peer = (places, Speech::Plain);
        let watched = self.watch_call(limits::PEER_TIMEOUT)?;
        let talked = self.talk_on_kept(name, &peer, (request, &watched)).await;
        self.forget_call(&watched);
        let (called, channel) = talked?;
        if let Some(channel) = channel {
            self.kept.borrow_mut().push((name, channel));
        }
        Ok(called)
    }

    async fn talk_on_kept(
        &self,
        name: NameIndex,
        peer: &Peer,
        (request, watched): (Vec<u8>, &Connecting),
    ) -> io::Result<(Called, Option<Channel>)> {
        let place = self.kept.borrow().iter().rposition(|(of, _)| *of == name);
        let kept = place.map(|place| self.kept.borrow_mut().swap_remove(place));
        if let Some((_, channel)) = kept
            && let Ok(talked) = talk(channel, request.clone(), watched).await
        {
            return Ok(talked);
        }
        talk(reach(peer, watched).await?, request, watched).await
    }

    /// Has `processor` asked by `GET` for what is at `rest` below its payments' path.
    ///
    /// # Errors
    /// It is not there, or gives no whole answer in time.
    pub(crate) async fn ask(
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
        let watched = self.watch_call(timeout)?;
        let called = async { talk(reach(peer, &watched).await?, request, &watched).await };
        let called = called.await;
        self.forget_call(&watched);
        called.map(|(called, _)| called)
    }

    fn watch_call(&self, timeout: Duration) -> io::Result<Rc<Connecting>> {
        let Some(sink) = self.sink.upgrade() else {
            return Err(io::ErrorKind::Other.into());
        };
        let watched = Connecting::until(sink.mono().after(timeout), timeout);
        self.calls.borrow_mut().push(Rc::clone(&watched));
        Ok(watched)
    }

    fn forget_call(&self, watched: &Rc<Connecting>) {
        let mut calls = self.calls.borrow_mut();
        calls.retain(|one| !Rc::ptr_eq(one, watched));
    }
}

async fn reach((places, speech): &Peer, watched: &Connecting) -> io::Result<Channel> {
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
    reached
}

/// One exchange; the connection comes back where another one may follow (I4).
async fn talk(
    mut channel: Channel,
    request: Vec<u8>,
    watched: &Connecting,
) -> io::Result<(Called, Option<Channel>)> {
    if watched.is_given_up.get() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    watched.descriptor.set(Some(channel.stream.as_raw_fd()));
    let called = match channel.write(request).await {
        Ok(()) => read_answer(&mut channel).await,
        Err(fault) => Err(fault),
    };
    // From here on the descriptor may become another's.
    watched.descriptor.set(None);
    let (called, is_clean) = called?;
    Ok((called, is_clean.then_some(channel)))
}

/// The answer, and whether nothing is left of it on the connection.
async fn read_answer(channel: &mut Channel) -> io::Result<(Called, bool)> {
    let mut buffer = Vec::with_capacity(UPSTREAM_ANSWER_BYTES);
    let mut reader = AnswerReader::new(false, UPSTREAM_BODY_BYTES_MAX);
    loop {
        if buffer.len() == buffer.capacity() {
            buffer.reserve(UPSTREAM_ANSWER_BYTES);
        }
        let (result, back) = channel.read(buffer).await;
        buffer = back;
        if result? == 0 {
            let answer = reader.close(&buffer).map_err(unreadable)?;
            return Ok((called(&answer, &buffer), false));
        }
        if let Some(answer) = reader.advance(&mut buffer).map_err(unreadable)? {
            let is_clean = answer.head.keep_alive && answer.body.end == buffer.len();
            return Ok((called(&answer, &buffer), is_clean));
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
