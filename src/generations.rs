//! Values that are replaced while p99 runs, as every core knows them. Each holder has a place in a
//! chain: one thread hangs a new value behind the last, a core finds it by one atomic load where it
//! looks, and moves on. No lock, and no copy for a request. What no holder is at any more is freed.
//!
//! `credentials` and `upstream` keep theirs here; nothing here knows what a value is.

use std::cell::{Ref, RefCell};
use std::sync::{Arc, OnceLock};

/// One holder's place in the chain. A clone is another holder's.
#[derive(Debug)]
pub(crate) struct Generations<T> {
    current: RefCell<Arc<Generation<T>>>,
}

#[derive(Debug)]
struct Generation<T> {
    value: T,
    /// Set once, when the value was replaced.
    next: OnceLock<Arc<Self>>,
}

impl<T> Clone for Generations<T> {
    fn clone(&self) -> Self {
        Self {
            current: self.current.clone(),
        }
    }
}

impl<T> Generations<T> {
    /// The beginning of a chain.
    #[must_use]
    pub(crate) fn new(value: T) -> Self {
        let first = Generation {
            value,
            next: OnceLock::new(),
        };
        Self {
            current: RefCell::new(Arc::new(first)),
        }
    }

    /// The newest value.
    #[must_use]
    pub(crate) fn current(&self) -> Ref<'_, T> {
        self.refresh();
        Ref::map(self.current.borrow(), |current| &current.value)
    }

    /// Moves on to the newest value; whether there was a newer one.
    pub(crate) fn refresh(&self) -> bool {
        let mut is_newer = false;
        // One step at a time: what is left behind is freed before the next, never as a whole chain.
        while let Some(next) = self.next() {
            *self.current.borrow_mut() = next;
            is_newer = true;
        }
        is_newer
    }

    /// Replaces the value for every holder. False when another thread was faster; then nothing is
    /// replaced.
    pub(crate) fn publish(&self, value: T) -> bool {
        let next = Generation {
            value,
            next: OnceLock::new(),
        };
        self.current.borrow().next.set(Arc::new(next)).is_ok()
    }

    fn next(&self) -> Option<Arc<Generation<T>>> {
        self.current.borrow().next.get().map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_holder_finds_the_newest_value() {
        let (one, late) = {
            let one = Generations::new(1);
            (one.clone(), one)
        };
        assert!(!one.refresh());
        assert!(one.publish(2) && !late.publish(9), "only one may be next");
        assert_eq!((*one.current(), *late.current()), (2, 2));
        let far = late.clone();
        assert!(one.publish(3) && !one.publish(4));
        let seen = std::thread::spawn(move || (*far.current(), far.refresh()));
        assert_eq!(seen.join().unwrap(), (3, false));
        assert!(late.refresh() && !late.refresh());
    }

    #[test]
    fn a_long_chain_is_left_behind_link_by_link() {
        let one = Generations::new(0);
        let late = one.clone();
        for number in 1..=200_000 {
            assert!(one.publish(number));
            one.refresh();
        }
        assert_eq!(*late.current(), 200_000, "and the stack is still whole");
    }
}
