//! Where connections of this core wait for answers, its own owner's or another core's.
//!
//! I1: the place is taken before the question is asked, so no answer is ever refused. A place whose
//! answer never comes is swept after REQUEST_TIMEOUT_MS + 1 s.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use super::messages::Reply;
use crate::clock::Mono;
use crate::table::{Key, Table};

/// See the header of this file.
#[derive(Debug, Default)]
pub(super) struct Replies(RefCell<Table<Place>>);

#[derive(Debug)]
struct Place {
    state: State,
    deadline: Mono,
}

#[derive(Debug)]
enum State {
    Empty,
    Waiting(Waker),
    Full(Reply),
    Overdue,
}

impl Replies {
    /// Takes a place for an answer that must come before `deadline`.
    pub(super) fn reserve(&self, deadline: Mono) -> Key {
        self.0.borrow_mut().insert(Place {
            state: State::Empty,
            deadline,
        })
    }

    /// Gives a place back whose question was never asked.
    pub(super) fn release(&self, key: Key) {
        self.0.borrow_mut().remove(key);
    }

    /// Puts the answer into its place. False when no one waits there any more.
    pub(super) fn put(&self, key: Key, reply: Reply) -> bool {
        self.fill(key, State::Full(reply))
    }

    fn fill(&self, key: Key, full: State) -> bool {
        let mut places = self.0.borrow_mut();
        let Some(place) = places.get_mut(key) else {
            return false;
        };
        let before = std::mem::replace(&mut place.state, full);
        drop(places);
        if let State::Waiting(waker) = before {
            waker.wake();
        }
        true
    }

    /// Waits for the answer; none came in time when it is `None`.
    pub(super) async fn take(&self, key: Key) -> Option<Reply> {
        let reply = poll_fn(|context| {
            let mut places = self.0.borrow_mut();
            let Some(place) = places.get_mut(key) else {
                return Poll::Ready(None);
            };
            let waiting = State::Waiting(context.waker().clone());
            match std::mem::replace(&mut place.state, waiting) {
                State::Full(reply) => Poll::Ready(Some(reply)),
                State::Overdue => Poll::Ready(None),
                State::Empty | State::Waiting(_) => Poll::Pending,
            }
        })
        .await;
        self.release(key);
        reply
    }

    /// Ends the waits that took too long. Returns how many.
    pub(super) fn sweep(&self, now: Mono) -> usize {
        let is_overdue = |place: &Place| {
            place.deadline <= now && matches!(place.state, State::Empty | State::Waiting(_))
        };
        let overdue: Vec<Key> = self
            .0
            .borrow()
            .iter()
            .filter(|(_, place)| is_overdue(place))
            .map(|(key, _)| key)
            .collect();
        for key in &overdue {
            self.fill(*key, State::Overdue);
        }
        overdue.len()
    }
}
