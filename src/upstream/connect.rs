//! How a connection comes to be: one deadline for all addresses of a name, each in a task of its
//! own. The next address is tried when one has failed, or when a third of the deadline has passed
//! without a word; the first that connects is taken, and the others are shut down. No future
//! is dropped.
//!
//! I10: an address is tried only as a resolution shows it that began after the last connection to
//! the processor had ended: another processor may have it by now. It may also have got it where no
//! connection ended, or get it while the connect is under way (a SYN that no one answered is sent
//! again). So one is used only when a resolution that began after it was there still shows its
//! address; connections that are made together wait for one resolution. Another connection to that
//! address proves nothing: it may have ended, and this core may not have read so yet. A name that
//! cannot be resolved lets nothing new connect; one that is resolved later than a connect may take
//! serves those that come after it. Over https none of this is needed: the certificate says whose
//! the address is.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::connection::Connection;
use super::job::Job;
use super::{Link, NameIndex, Upstream};
use crate::addresses::AddressState;
use crate::clock::Mono;
use crate::events::{AttemptRef, Exchange, Lookup};
use crate::limits;
use crate::metrics::ConnectResult;
use crate::payment::Processor;
use crate::sockets::Connecting;
use crate::sockets::{Channel, Unreached};

/// How long a connection that is there waits for a resolution of its name; then it ends.
const CONNECTION_PROVEN_WITHIN: Duration = Duration::from_secs(10);

/// One connection that is wanted, over all addresses that are tried for it.
pub(super) struct Dial {
    processor: Processor,
    /// For whom; `None` once no one waits.
    pub(super) job: Cell<Job>,
    /// The only address that will do, if not any of the name's.
    only: Option<SocketAddr>,
    deadline: Mono,
    /// A resolution with this number, or a later one, shows the moment at which it was wanted.
    wanted_at: u64,
    /// Connected, failed or given up.
    is_over: Cell<bool>,
    tried: RefCell<Vec<SocketAddr>>,
    /// Sockets that are connecting.
    open: RefCell<Vec<(SocketAddr, Rc<Connecting>)>>,
    /// A connection that waits for a resolution with this number, or a later one.
    unproven: RefCell<Option<(SocketAddr, Channel, u64)>>,
    /// When the next address may be tried although the last one has not failed.
    next_at: Cell<Mono>,
}

impl Dial {
    /// Ends it silently: the attempt that wanted it does not wait any more.
    pub(super) fn give_up(&self) {
        self.is_over.set(true);
        self.job.set(Job::None);
        drop(self.unproven.take());
        self.shut_down();
    }

    fn shut_down(&self) {
        for (_, connecting) in self.open.borrow().iter() {
            connecting.give_up();
        }
    }
}

impl Upstream {
    /// Begins a new connection for `attempt`, which then gets `job`.
    pub(super) fn dial(
        self: &Rc<Self>,
        attempt: AttemptRef,
        processor: Processor,
        job: Job,
        only: Option<SocketAddr>,
    ) {
        if let Some(dial) = self.begin_dial(processor, job, only) {
            self.link(attempt, Link::Dialling(attempt, dial));
        }
    }

    /// Begins one connection to each processor for the pool, so that a core's first payment waits
    /// for none. A processor that is not there yet is no news.
    pub(crate) fn warm_up(self: &Rc<Self>) {
        for (processor, _) in self.targets.iter() {
            self.begin_dial(processor, Job::None, None);
        }
    }

    /// Ends dials whose time is over, and goes on with those that wait for their next address.
    pub(super) fn sweep_dials(self: &Rc<Self>, now: Mono) {
        let dials = self.dials.borrow().clone();
        for dial in dials {
            if dial.deadline <= now {
                self.expire(&dial, now);
            } else {
                self.advance(&dial);
            }
        }
    }

    fn begin_dial(
        self: &Rc<Self>,
        processor: Processor,
        job: Job,
        only: Option<SocketAddr>,
    ) -> Option<Rc<Dial>> {
        let now = self.sink.upgrade()?.mono();
        let dial = Rc::new(Dial {
            processor,
            job: Cell::new(job),
            only,
            deadline: now.after(self.connect_timeout),
            wanted_at: self.resolver.next_number(NameIndex::of(processor)),
            is_over: Cell::new(false),
            tried: RefCell::default(),
            open: RefCell::default(),
            unproven: RefCell::default(),
            next_at: Cell::new(now),
        });
        self.dials.borrow_mut().push(Rc::clone(&dial));
        // Not at once: the sink is told of no end from within a call to this room.
        let (upstream, begun) = (Rc::clone(self), Rc::clone(&dial));
        monoio::spawn(async move { upstream.advance(&begun) });
        Some(dial)
    }

    /// Tries the next address, if it is time and the name was resolved late enough; ends the dial
    /// when no address is left.
    fn advance(self: &Rc<Self>, dial: &Rc<Dial>) {
        if dial.is_over.get() {
            return;
        }
        let Some(now) = self.sink.upgrade().map(|sink| sink.mono()) else {
            return;
        };
        let target = self.targets.get(dial.processor);
        let name = NameIndex::of(dial.processor);
        if dial.unproven.borrow().is_some() {
            self.prove(dial);
            return;
        }
        let needed = self.resolver.needed(name);
        let number = target.listing.borrow().number;
        let Some(address) = target.next_address(dial.only, &dial.tried.borrow()) else {
            // A newer resolution may know another address.
            if number < needed.max(dial.wanted_at) {
                self.resolver.ask(name);
            } else if dial.open.borrow().is_empty() {
                self.fail(dial);
            }
            return;
        };
        let is_waiting = !dial.open.borrow().is_empty() && now < dial.next_at.get();
        if is_waiting {
            return;
        }
        if number < needed {
            self.resolver.ask(name);
            return;
        }
        let count = target.listing.borrow().listed.len();
        dial.next_at
            .set(now.after(step(self.connect_timeout, count)));
        self.try_address(dial, address);
    }

    fn try_address(self: &Rc<Self>, dial: &Rc<Dial>, address: SocketAddr) {
        let connecting = Connecting::until(dial.deadline, self.connect_timeout);
        dial.tried.borrow_mut().push(address);
        dial.open
            .borrow_mut()
            .push((address, Rc::clone(&connecting)));
        let target = self.targets.get(dial.processor);
        let (place, speech) = (target.place_of(address), target.speech());
        let generation = target.generation();
        let (upstream, dial) = (Rc::clone(self), Rc::clone(dial));
        monoio::spawn(async move {
            let reached = Channel::open(&place, &speech, &connecting).await;
            dial.open
                .borrow_mut()
                .retain(|(_, one)| !Rc::ptr_eq(one, &connecting));
            upstream.on_tried(&dial, (address, generation), reached);
        });
    }

    fn on_tried(
        self: &Rc<Self>,
        dial: &Rc<Dial>,
        (address, generation): (SocketAddr, u64),
        reached: Result<Channel, Unreached>,
    ) {
        let processor = dial.processor;
        let target = self.targets.get(processor);
        let result = match &reached {
            Ok(_) => ConnectResult::Connected,
            Err(Unreached::TimedOut) => ConnectResult::TimedOut,
            Err(Unreached::Failed(_)) => ConnectResult::Failed,
            Err(Unreached::NoHandshake(_)) => ConnectResult::HandshakeFailed,
        };
        self.metrics.connects.get(processor).get(result).increment();
        match reached {
            // Another address was faster, or the attempt does not wait any more.
            Ok(channel) if dial.is_over.get() || dial.unproven.borrow().is_some() => drop(channel),
            // Its session is made of what the files held before.
            Ok(channel) if generation != target.generation() => {
                drop(channel);
                dial.tried.borrow_mut().retain(|one| *one != address);
                self.advance(dial);
            }
            // The name in its certificate says whose it is, so no resolution must.
            Ok(channel) if channel.session.is_some() => {
                self.take(dial, address, channel);
            }
            Ok(channel) => {
                let proof = self.resolver.next_number(NameIndex::of(processor));
                dial.unproven.replace(Some((address, channel, proof)));
                self.prove(dial);
            }
            Err(unreached) => {
                if let Unreached::NoHandshake(why) = &unreached {
                    self.note_no_session(processor, address, why);
                }
                let name = processor.name();
                log::debug!("{name}: no connection to {address}: {unreached:?}");
                target.note_failed(address);
                self.advance(dial);
            }
        }
    }

    /// No TLS session came to be with `processor` at `address`.
    pub(super) fn note_no_session(&self, processor: Processor, address: SocketAddr, why: &str) {
        let now = self.sink.upgrade().map(|sink| sink.latest());
        if now.is_some_and(|now| self.files.is_news(processor, why, now)) {
            let name = processor.name();
            log::warn!("{name} at {address}: no TLS session: {why}");
        }
    }

    /// Takes the connection of `dial`, once the name still shows its address.
    fn prove(self: &Rc<Self>, dial: &Rc<Dial>) {
        let Some((address, channel, proof)) = dial.unproven.take() else {
            return;
        };
        let target = self.targets.get(dial.processor);
        let name = NameIndex::of(dial.processor);
        let (number, state) = {
            let listing = target.listing.borrow();
            (listing.number, listing.state(address))
        };
        if number < proof.max(self.resolver.needed(name)) {
            self.resolver.ask(name);
            dial.unproven.replace(Some((address, channel, proof)));
            return;
        }
        if state != AddressState::Listed {
            // It may be another processor's: nothing is written on it.
            drop(channel);
            self.advance(dial);
            return;
        }
        self.take(dial, address, channel);
    }

    fn take(self: &Rc<Self>, dial: &Rc<Dial>, address: SocketAddr, channel: Channel) {
        self.end_dial(dial);
        self.targets.get(dial.processor).note_reached(address);
        self.give_up_others(dial);
        self.on_connected(dial.processor, address, channel, dial.job.take());
    }

    fn end_dial(&self, dial: &Rc<Dial>) {
        dial.is_over.set(true);
        self.dials.borrow_mut().retain(|one| !Rc::ptr_eq(one, dial));
    }

    /// Addresses that have not connected by now are tried last the next time.
    fn give_up_others(&self, dial: &Dial) {
        for (address, _) in dial.open.borrow().iter() {
            self.targets.get(dial.processor).note_failed(*address);
        }
        dial.shut_down();
    }

    /// Its time is over. A connection that only waits for a resolution is kept for later ones, one
    /// to each processor: a name may take longer to resolve than a connect may.
    fn expire(self: &Rc<Self>, dial: &Rc<Dial>, now: Mono) {
        let is_kept = |one: &Rc<Dial>| {
            one.processor == dial.processor
                && one.deadline <= now
                && matches!(one.job.get(), Job::None)
                && one.unproven.borrow().is_some()
        };
        let is_there = dial.unproven.borrow().is_some();
        let dials = self.dials.borrow();
        let mut others = dials.iter().filter(|one| !Rc::ptr_eq(one, dial));
        let has_another = others.any(is_kept);
        drop(dials);
        let is_late = dial.deadline.after(CONNECTION_PROVEN_WITHIN) <= now;
        if !is_there || has_another || is_late {
            return self.fail(dial);
        }
        self.give_up_others(dial);
        self.on_unreachable(dial.job.take());
        self.prove(dial);
    }

    /// No address could be reached in time.
    fn fail(&self, dial: &Rc<Dial>) {
        let job = dial.job.take();
        self.end_dial(dial);
        drop(dial.unproven.take());
        self.give_up_others(dial);
        self.resolver.ask(NameIndex::of(dial.processor));
        self.on_unreachable(job);
    }

    fn on_connected(
        self: &Rc<Self>,
        processor: Processor,
        address: SocketAddr,
        channel: Channel,
        job: Job,
    ) {
        let connection = Connection::begin(self, processor, address, channel);
        let Some(sink) = self.sink.upgrade() else {
            return;
        };
        match job {
            Job::None => self.give_back(&connection),
            Job::Reserved(attempt) | Job::Payment(attempt) => {
                connection.job.set(Job::Reserved(attempt));
                self.link(attempt, Link::Connected(attempt, connection));
                sink.connected(attempt, address);
            }
            Job::Lookup(attempt, id) => {
                self.link(attempt, Link::Connected(attempt, Rc::clone(&connection)));
                self.write_lookup(&connection, attempt, id);
            }
        }
    }

    fn on_unreachable(&self, job: Job) {
        let Some(sink) = self.sink.upgrade() else {
            return;
        };
        match job {
            Job::None => {}
            Job::Reserved(attempt) | Job::Payment(attempt) => {
                self.unlink(attempt);
                sink.exchanged(attempt, Exchange::NotSent);
            }
            Job::Lookup(attempt, _) => {
                self.unlink(attempt);
                sink.looked_up(attempt, Lookup::NoAnswer);
            }
        }
    }
}

/// After how long the next of `count` addresses is tried: all of them have their turn within the
/// deadline.
fn step(timeout: Duration, count: usize) -> Duration {
    let turns = u32::try_from(count.max(3)).unwrap_or(u32::MAX);
    (timeout / turns).min(limits::CONNECT_STEP_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_its_turn_within_the_deadline() {
        let ms = Duration::from_millis;
        for (timeout, count, expected) in [
            (ms(250), 1, 83_333),
            (ms(250), 3, 83_333),
            (ms(250), 10, 25_000),
            (ms(20_000), 2, 100_000),
        ] {
            let step = step(timeout, count);
            assert_eq!(step.as_micros(), expected, "{timeout:?} {count}");
        }
        for count in 1..=limits::ADDRESSES_MAX {
            let turns = u32::try_from(count).unwrap();
            assert!(step(ms(250), count) * turns <= ms(250));
        }
    }
}
