//! The atomics of what cores share. They are the standard library's, but for a build with
//! `--cfg loom`: there they are loom's, with which a test tries every order in which threads may
//! come and every older value that a load may still see (docs/HACKING.md, *Every interleaving*).
//!
//! The rooms whose orderings matter take their atomics from here: `breaker`, `concurrency`,
//! `mailbox`, `rate_limit` and `server::places`. Nothing here decides anything.

#[cfg(not(all(test, loom)))]
pub(crate) use atomic_waker::AtomicWaker;
#[cfg(not(all(test, loom)))]
pub(crate) use std::hash::RandomState;
#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence};

#[cfg(all(test, loom))]
pub(crate) use self::modelled::*;

#[cfg(all(test, loom))]
mod modelled {
    use std::hash::{BuildHasherDefault, DefaultHasher};
    use std::task::Waker;

    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence};

    /// The same keys each time: loom plays a scene again and again and must meet the same branches.
    pub(crate) type RandomState = BuildHasherDefault<DefaultHasher>;

    /// How often in a scene a thread may lose its turn between two steps, unless
    /// `LOOM_MAX_PREEMPTIONS` says more. Nearly all faults of lock-free code need no more than two;
    /// with three the scenes take minutes.
    const PREEMPTIONS: usize = 2;

    /// loom's, with the methods of `atomic_waker`'s.
    #[derive(Debug)]
    pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

    impl AtomicWaker {
        pub(crate) fn new() -> Self {
            Self(loom::future::AtomicWaker::new())
        }

        pub(crate) fn register(&self, waker: &Waker) {
            self.0.register_by_ref(waker);
        }

        pub(crate) fn wake(&self) {
            self.0.wake();
        }
    }

    /// Plays `scene` in every interleaving.
    pub(crate) fn in_every_interleaving(scene: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound.get_or_insert(PREEMPTIONS);
        builder.check(scene);
    }
}
