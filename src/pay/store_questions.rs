//! What the store is asked: a payment that this instance does not know, sums and purges over all
//! instances. Each goes with the next batch of the own writer, behind all that was appended.

use super::messages::{CoreRequest, Reply};
use super::steer::SteerFault;
use super::store::Store;
use super::{AskFault, CoreRuntime};
use crate::clock::UnixMillis;
use crate::owner::Unresolvable;
use crate::payment::{PaymentView, Status, UpstreamId, WindowSums};
use crate::store::{self, Question, Row, Window};
use std::time::Duration;

/// How long an operator's call of a purge waits for its end: for other writers, and for that.
const STORE_PURGE_ANSWER_MAX: Duration = Duration::from_secs(65);

impl CoreRuntime {
    async fn ask_store(&self, store: &Store, question: Question) -> store::Reply {
        let now = self.now();
        let deadline = match question {
            // What is done must not be told as not done.
            Question::Purge => now.mono.after(STORE_PURGE_ANSWER_MAX),
            Question::Find(_) | Question::Sum(_) | Question::Holder(_) => {
                self.reply_deadline(now.mono)
            }
        };
        let key = self.replies.reserve(deadline);
        let number = store.writers.borrow_mut().ask(question);
        store.asked.borrow_mut().insert(number, key);
        self.tell(now, |_| ());
        let reply = self.replies.take(key).await;
        store.asked.borrow_mut().remove(&number);
        match reply {
            Some(Reply::Store(reply)) => *reply,
            Some(_) | None => store::Reply::Unavailable,
        }
    }

    /// What the store knows of `id`.
    pub(super) async fn find_in_store(
        &self,
        store: &Store,
        id: UpstreamId,
    ) -> Result<Option<PaymentView>, AskFault> {
        let reply = self.ask_store(store, Question::Find(id)).await;
        let store::Reply::Found(row) = reply else {
            return Err(unsaid(&reply));
        };
        Ok(row.map(|row| view(&row)))
    }

    /// Why the payment `id`, which this instance does not know, cannot be settled by hand here.
    pub(super) async fn why_not_here(&self, store: &Store, id: UpstreamId) -> SteerFault {
        let store::Reply::Found(row) = self.ask_store(store, Question::Find(id)).await else {
            return SteerFault::StoreAway;
        };
        let Some(row) = row else {
            return SteerFault::Unresolvable(Unresolvable::Unknown);
        };
        let status = row.status.in_api();
        if status != Status::Pending {
            return SteerFault::Unresolvable(Unresolvable::Settled(status));
        }
        let asked = Question::Holder(row.writer);
        let store::Reply::Holder(Some(holder)) = self.ask_store(store, asked).await else {
            return SteerFault::StoreAway;
        };
        SteerFault::Elsewhere(holder)
    }

    /// What all instances charged in a window, both ends included.
    pub(super) async fn sum_in_store(
        &self,
        store: &Store,
        from: Option<UnixMillis>,
        to: Option<UnixMillis>,
    ) -> Result<WindowSums, AskFault> {
        let window = Window {
            from: from.map_or(Window::ALL.from, |at| at.0.max(Window::ALL.from)),
            to: to.map_or(Window::ALL.to, |at| at.0),
        };
        let reply = self.ask_store(store, Question::Sum(window)).await;
        let store::Reply::Sums(sums) = reply else {
            return Err(unsaid(&reply));
        };
        Ok(sums)
    }

    /// Has the store forget what is settled, and this instance what it remembers of that. Other
    /// instances see it with one of their next batches.
    pub(super) async fn purge_store(&self, store: &Store) -> Result<(), AskFault> {
        let reply = self.ask_store(store, Question::Purge).await;
        if reply != store::Reply::Purged {
            return Err(unsaid(&reply));
        }
        self.owner.borrow_mut().forget_settled();
        let mut result = Ok(());
        for key in self.ask_others(CoreRequest::Purge)? {
            if self.replies.take(key).await != Some(Reply::Purged) {
                result = Err(AskFault::Overloaded);
            }
        }
        result
    }
}

/// Why there is no such answer as was asked for.
const fn unsaid(reply: &store::Reply) -> AskFault {
    match reply {
        store::Reply::Cut(cuts) => AskFault::CutsOldSecond {
            boundary: cuts.boundary,
        },
        store::Reply::Found(_)
        | store::Reply::Holder(_)
        | store::Reply::Sums(_)
        | store::Reply::Purged
        | store::Reply::Unavailable => AskFault::StoreAway,
    }
}

fn view(row: &Row) -> PaymentView {
    let is_sent = row.processor.is_some();
    PaymentView {
        status: row.status.in_api(),
        amount: row.amount,
        processor: row.processor,
        requested_at: is_sent.then_some(row.at),
    }
}
