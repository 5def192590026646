//! When a core's own timer task wakes. It sleeps until the earliest timer that it knew; arming
//! an earlier one wakes it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, Waker};

use crate::clock::Mono;
use crate::pay::TIMER_STEP;

/// See the header of this file.
#[derive(Debug, Default)]
pub(super) struct TimerWaker {
    /// When the task is going to wake.
    planned: Cell<Mono>,
    rung: Cell<bool>,
    sleeper: RefCell<Option<Waker>>,
}

/// Why the sleep was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// Its time had come.
    ByTime,
    /// Someone rang.
    ByWaker,
}

impl TimerWaker {
    /// Sleeps from `now` until `until`, or until someone rings.
    pub(super) async fn sleep(&self, now: Mono, until: Mono) -> Woken {
        self.planned.set(until);
        // Rounded up: the runtime's timers count whole milliseconds.
        let span = until.since(now).max(TIMER_STEP);
        let mut sleep = pin!(monoio::time::sleep(span));
        let woken = poll_fn(|context| {
            if self.rung.replace(false) {
                return Poll::Ready(Woken::ByWaker);
            }
            let mut sleeper = self.sleeper.borrow_mut();
            if !sleeper
                .as_ref()
                .is_some_and(|known| known.will_wake(context.waker()))
            {
                *sleeper = Some(context.waker().clone());
            }
            drop(sleeper);
            sleep.as_mut().poll(context).map(|()| Woken::ByTime)
        })
        .await;
        // Whatever is armed before the next sleep cuts it short.
        self.planned.set(Mono(u64::MAX));
        woken
    }

    /// Something is due at `at`: wakes the sleeper if it would sleep past it.
    pub(super) fn ring_for(&self, at: Mono) {
        let oversleeps = at.after(TIMER_STEP) < self.planned.get();
        if oversleeps
            && !self.rung.replace(true)
            && let Some(sleeper) = self.sleeper.borrow().as_ref()
        {
            sleeper.wake_by_ref();
        }
    }
}
