//! Every wait of the simulated processor that is not for a socket: delays, turns, scripted pauses.
//! A stop ends them all, so that each task runs to its end and drops what it holds. A sleeping
//! task that was merely abandoned would keep itself, and its connection's descriptor, alive for
//! ever: task, timer and waker hold each other.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;

/// The wait ended because the processor stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stopped;

/// The waits under way.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    is_stopped: Cell<bool>,
    waiting: RefCell<Slab<Waker>>,
}

impl Pauses {
    /// Waits for `span`; not at all when it is zero.
    pub(super) async fn sleep(&self, span: Duration) -> Result<(), Stopped> {
        if span.is_zero() {
            return Ok(());
        }
        let mut sleep = pin!(monoio::time::sleep(span));
        self.until(|context| sleep.as_mut().poll(context)).await
    }

    /// Waits until `poll` is ready; `poll` sees to being asked again.
    pub(super) async fn until(
        &self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> Result<(), Stopped> {
        let mut place = None;
        let result = std::future::poll_fn(|context| {
            if self.is_stopped.get() {
                return Poll::Ready(Err(Stopped));
            }
            if poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if place.is_none() {
                place = Some(self.waiting.borrow_mut().insert(context.waker().clone()));
            }
            Poll::Pending
        })
        .await;
        if let Some(place) = place {
            self.waiting.borrow_mut().remove(place);
        }
        result
    }

    /// Ends all waits, those to come too.
    pub(super) fn stop(&self) {
        self.is_stopped.set(true);
        for (_, waker) in self.waiting.borrow().iter() {
            waker.wake_by_ref();
        }
    }

    /// How many waits are under way.
    pub(super) fn count(&self) -> usize {
        self.waiting.borrow().len()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use monoio::{LegacyDriver, RuntimeBuilder};

    use super::*;

    #[test]
    fn a_stop_ends_the_waits_under_way_and_those_to_come() {
        let mut runtime = RuntimeBuilder::<LegacyDriver>::new()
            .enable_timer()
            .build()
            .unwrap();
        runtime.block_on(async {
            let pauses = Rc::new(Pauses::default());
            let wait = |span| {
                let pauses = Rc::clone(&pauses);
                monoio::spawn(async move { pauses.sleep(span).await })
            };
            let endless: Vec<_> = (0..10).map(|_| wait(Duration::from_hours(1))).collect();
            assert_eq!(wait(Duration::from_millis(1)).await, Ok(()));
            assert_eq!(
                pauses.count(),
                10,
                "the one that is over is no longer counted"
            );
            pauses.stop();
            for task in endless {
                assert_eq!(task.await, Err(Stopped));
            }
            assert_eq!(pauses.count(), 0);
            assert_eq!(wait(Duration::from_hours(1)).await, Err(Stopped));
            assert_eq!(
                wait(Duration::ZERO).await,
                Ok(()),
                "no wait, nothing to end"
            );
        });
    }
}
