//! How senders wake a sleeping core, once for all that they put into its rings meanwhile.
//!
//! monoio (0.2.4, feature `sync`) makes a task's waker usable from other threads: it sends the
//! waker to the task's thread through a locked queue and writes to that thread's eventfd. Under
//! `io_uring` it writes only when the thread is about to sleep or asleep (`EventWaker::awake`); its
//! epoll driver never says awake again after the first sleep and writes every time. Both are too
//! expensive for every message, so it wakes only while the core's task listens, and the first
//! ring ends the listening.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::Waker;

use atomic_waker::AtomicWaker;

/// What wakes one core; see the head of this file. Kept on a cache line of its own: senders read it
/// after every message.
#[derive(Debug)]
pub(super) struct CoreWaker {
    /// Set by the core before it goes to sleep, cleared by the first sender that rings.
    is_listening: AtomicBool,
    waker: AtomicWaker,
}

impl CoreWaker {
    pub(super) const fn new() -> Self {
        Self {
            is_listening: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// From here on the next ring wakes `waker`. The core must look at its rings once more before
    /// it sleeps.
    pub(super) fn listen(&self, waker: &Waker) {
        self.waker.register(waker);
        self.is_listening.store(true, Ordering::Release);
        // Pairs with the fence in `ring`: either the sender sees that the core listens, or the
        // core's second look sees the sender's message. Without both fences each could read the
        // old value, and the message would lie there until another one comes.
        fence(Ordering::SeqCst);
    }

    pub(super) fn stop_listening(&self) {
        self.is_listening.store(false, Ordering::Release);
    }

    /// To be called after the message was put into its ring.
    pub(super) fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.is_listening.load(Ordering::Relaxed)
            && self.is_listening.swap(false, Ordering::AcqRel)
        {
            self.waker.wake();
        }
    }
}
