//! Connections that wait for the next attempt, the warmest last, and those that no attempt may have
//! any more (I4, I10).

use std::net::SocketAddr;
use std::rc::Rc;

use super::connection::Connection;
use super::{Link, Upstream};
use crate::addresses::is_same;
use crate::payment::Processor;

impl Upstream {
    pub(super) fn take_idle(
        &self,
        processor: Processor,
        only: Option<SocketAddr>,
    ) -> Option<Rc<Connection>> {
        let mut idle = self.targets.get(processor).idle.borrow_mut();
        let Some(only) = only else {
            return std::iter::from_fn(|| idle.pop()).find(|connection| connection.is_free());
        };
        let will_do = |one: &Rc<Connection>| is_same(one.address, only) && one.is_free();
        let place = idle.iter().rposition(will_do)?;
        Some(idle.remove(place))
    }

    /// Takes a clean connection back, unless the pool is full.
    pub(super) fn give_back(&self, connection: &Rc<Connection>) {
        if connection.is_closed() {
            return;
        }
        let mut idle = self.targets.get(connection.processor).idle.borrow_mut();
        if idle.len() >= self.pool_idle_max || connection.is_retired.get() {
            connection.shut_down();
            return;
        }
        if let Some(sink) = self.sink.upgrade() {
            connection.idle_since.set(sink.latest());
        }
        idle.push(Rc::clone(connection));
    }

    /// Nothing follows on the connections to `those` addresses of `processor`: idle ones end at
    /// once, the others after their answer.
    pub(super) fn retire(&self, processor: Processor, those: impl Fn(SocketAddr) -> bool) {
        let target = self.targets.get(processor);
        target.idle.borrow_mut().retain(|connection| {
            if those(connection.address) {
                connection.shut_down();
            }
            !connection.is_closed()
        });
        for link in self.links.borrow().iter() {
            if let Link::Connected(_, connection) = link
                && connection.processor == processor
                && those(connection.address)
            {
                connection.is_retired.set(true);
            }
        }
    }
}
