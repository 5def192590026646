//! What the store is asked: a payment that this instance does not know, sums and purges over all
//! instances. Each goes with the next batch of the own writer, behind all that was appended.

use super::messages::{CoreRequest, Reply};
use super::store::Store;
use super::{AskFault, CoreRuntime};
use crate::clock::UnixMillis;
use crate::payment::{PaymentView, UpstreamId, WindowSums};
use crate::store::{self, Question, Row, Window};

impl CoreRuntime {
    async fn ask_store(&self, store: &Store, question: Question) -> store::Reply {
        let now = self.now();
        let key = self.reserve(now.mono);
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
        match self.ask_store(store, Question::Find(id)).await {
            store::Reply::Found(row) => Ok(row.map(|row| view(&row))),
            store::Reply::Sums(_) | store::Reply::Purged | store::Reply::Unavailable => {
                Err(AskFault::StoreAway)
            }
        }
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
        match self.ask_store(store, Question::Sum(window)).await {
            store::Reply::Sums(sums) => Ok(sums),
            store::Reply::Found(_) | store::Reply::Purged | store::Reply::Unavailable => {
                Err(AskFault::StoreAway)
            }
        }
    }

    /// Has the store forget what is settled, and this instance what it remembers of that. Other
    /// instances see it with one of their next batches.
    pub(super) async fn purge_store(&self, store: &Store) -> Result<(), AskFault> {
        match self.ask_store(store, Question::Purge).await {
            store::Reply::Purged => {}
            store::Reply::Found(_) | store::Reply::Sums(_) | store::Reply::Unavailable => {
                return Err(AskFault::StoreAway);
            }
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

fn view(row: &Row) -> PaymentView {
    let is_sent = row.processor.is_some();
    PaymentView {
        status: row.status.in_api(),
        amount: row.amount,
        processor: row.processor,
        requested_at: is_sent.then_some(row.at),
    }
}
