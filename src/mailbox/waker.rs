//! How senders wake a sleeping core, once for all that they put into its rings meanwhile.
//!
//! monoio (0.2.4, feature `sync`) makes a task's waker usable from other threads: it sends the
//! waker to the task's thread through a locked queue and writes to that thread's eventfd. Under
//! `io_uring` it writes only when the thread is about to sleep or asleep (`EventWaker::awake`); its
//! epoll driver never says awake again after the first sleep and writes every time. Both are too
//! expensive for every message, so it wakes only while the core's task listens, and the first
//! ring ends the listening.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use crate::atomics::{AtomicBool, AtomicWaker, fence};

/// What wakes one core; see the head of this file. Kept on a cache line of its own: senders read it
/// after every message.
#[derive(Debug)]
pub(super) struct CoreWaker {
    /// Set by the core before it goes to sleep, cleared by the first sender that rings.
    is_listening: AtomicBool,
    waker: AtomicWaker,
}

impl CoreWaker {
    pub(super) fn new() -> Self {
        Self {
            is_listening: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// Ready when `has_message`, which looks at the core's rings; else the next ring wakes the task
    /// of `context`.
    pub(super) fn poll(&self, context: &Context<'_>, has_message: impl Fn() -> bool) -> Poll<()> {
        if has_message() {
            return Poll::Ready(());
        }
        self.waker.register(context.waker());
        self.is_listening.store(true, Ordering::Release);
        // Pairs with the fence in `ring`: either the sender sees that the core listens, or the
        // core's second look sees the sender's message. Without both fences each could read the
        // old value, and the message would wait there until another one comes.
        fence(Ordering::SeqCst);
        if has_message() {
            self.is_listening.store(false, Ordering::Release);
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// To be called after the message was put into its ring.
    pub(super) fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.is_listening.load(Ordering::Relaxed) && self.ends_listening() {
            self.waker.wake();
        }
    }

    /// Whether this sender is the first one that rings. One that is not writes nothing.
    fn ends_listening(&self) -> bool {
        let ended =
            self.is_listening
                .compare_exchange(true, false, Ordering::AcqRel, Ordering::Relaxed);
        ended.is_ok()
    }
}
