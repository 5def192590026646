//! Sums and purges over all cores and, where asked, all PEERS. A part is never passed off as the
//! whole: a core or a peer that does not answer makes the question fail.

use std::rc::Rc;

use super::messages::{CoreRequest, Reply};
use super::{AskFault, CoreRuntime, Scope};
use crate::clock::{Mono, UnixMillis};
use crate::events::{ReplyTo, WriterSlot};
use crate::owner::SumFault;
use crate::payment::{CoreId, WindowSums};
use crate::table::Key;

impl CoreRuntime {
    /// Adds up what was charged, both ends included, over all cores and, as `scope` says, peers.
    ///
    /// # Errors
    /// Why nothing can be said.
    pub(crate) async fn summary(
        self: &Rc<Self>,
        from: Option<UnixMillis>,
        to: Option<UnixMillis>,
        scope: Scope,
    ) -> Result<WindowSums, AskFault> {
        if scope == Scope::Ask {
            return Ok(WindowSums::default());
        }
        if let Some(store) = &self.store {
            return self.sum_in_store(store, from, to).await;
        }
        let asked = self.ask_others(|key| CoreRequest::Sum(key, from, to))?;
        let own = self.owner.borrow().sums(from, to);
        let mut sums = own.map_err(AskFault::from);
        for key in asked {
            // Every place is emptied, whatever the others said.
            let part = match self.replies.take(key).await {
                Some(Reply::Sums(part)) => part.map_err(AskFault::from),
                Some(_) | None => Err(AskFault::Overloaded),
            };
            sums = sums.and_then(|mut sums| {
                sums.add(&*part?);
                Ok(sums)
            });
        }
        let mut sums = sums?;
        if scope == Scope::All {
            for peer in self.peers_summaries(from, to).await? {
                sums.add(&peer);
            }
        }
        Ok(sums)
    }

    /// Forgets the ledger and the settled claims of all cores and, as `scope` says, peers: these
    /// are asked first whether they could, so that a purge is whole or does not begin, unless one
    /// fails in between.
    ///
    /// # Errors
    /// Who may not have forgotten.
    pub(crate) async fn purge(self: &Rc<Self>, scope: Scope) -> Result<(), AskFault> {
        if self.has_failed() {
            return Err(AskFault::JournalDown);
        }
        match scope {
            Scope::Ask => return Ok(()),
            Scope::Local => {}
            Scope::All => self.may_peers_purge().await?,
        }
        if let Some(store) = &self.store {
            return self.purge_store(store).await;
        }
        let mut asked = self.ask_others(CoreRequest::Purge)?;
        let own = self.reserve(self.now().mono);
        self.forget(ReplyTo {
            core: self.core,
            key: own,
        });
        asked.push(own);
        let mut result = Ok(());
        for key in asked {
            if self.replies.take(key).await != Some(Reply::Purged) {
                result = Err(AskFault::Overloaded);
            }
        }
        result?;
        if scope == Scope::All {
            self.purge_peers().await?;
        }
        Ok(())
    }

    /// Forgets this core's part; `to` hears of it once that is written down.
    pub(super) fn forget(&self, to: ReplyTo) {
        if self.store.is_some() {
            self.owner.borrow_mut().forget_settled();
            return self.give(to, Reply::Purged);
        }
        let now = self.now();
        let records = self.tell(now, |owner| owner.purge(now));
        self.reply_when_durable((WriterSlot::OWN, records), to, Reply::Purged);
    }

    /// Gives `to` its reply once the `records`-th record of the writer `slot` is durable.
    pub(super) fn reply_when_durable(
        &self,
        (slot, records): (WriterSlot, u64),
        to: ReplyTo,
        reply: Reply,
    ) {
        let waits = (slot, records, to, reply);
        self.awaiting.borrow_mut().push(waits);
        let durable = match (&self.writer, &self.store) {
            (Some(writer), _) => writer.durable(),
            (None, Some(store)) => store.durable(slot),
            // Nothing is kept.
            (None, None) => records,
        };
        self.answer_durable(slot, durable);
    }

    /// Gives their replies to those who waited for a record of `slot` up to the `durable`-th.
    pub(super) fn answer_durable(&self, slot: WriterSlot, durable: u64) {
        if self.awaiting.borrow().is_empty() {
            return;
        }
        let ready: Vec<_> = self
            .awaiting
            .borrow_mut()
            .extract_if(.., |(its, records, ..)| *its == slot && *records <= durable)
            .collect();
        for (.., to, reply) in ready {
            self.give(to, reply);
        }
    }

    /// Nothing more becomes durable: those who wait for a record are told that it is not known.
    pub(super) fn give_up_replies(&self) {
        let all = self.awaiting.take();
        for (.., to, _) in all {
            self.give(to, Reply::Unkept);
        }
    }

    pub(super) fn ask_others(
        &self,
        question: impl Fn(Key) -> CoreRequest,
    ) -> Result<Vec<Key>, AskFault> {
        self.ask_others_until(self.reply_deadline(self.now().mono), question)
    }

    /// Asks every other core; all places or none are taken.
    pub(super) fn ask_others_until(
        &self,
        deadline: Mono,
        question: impl Fn(Key) -> CoreRequest,
    ) -> Result<Vec<Key>, AskFault> {
        let mut asked = Vec::new();
        for core in (0..self.config.cores.0)
            .map(CoreId)
            .filter(|core| *core != self.core)
        {
            let key = self.replies.reserve(deadline);
            if self.mailbox.hand_over(core, question(key)).is_err() {
                self.replies.release(key);
                // Answers to the others find no place and are dropped.
                for key in asked {
                    self.replies.release(key);
                }
                return Err(AskFault::Overloaded);
            }
            asked.push(key);
        }
        Ok(asked)
    }
}

impl From<SumFault> for AskFault {
    fn from(fault: SumFault) -> Self {
        match fault {
            SumFault::CutsOldSecond(cuts) => Self::CutsOldSecond {
                boundary: cuts.boundary,
            },
            SumFault::Unresolved => Self::Unresolved,
        }
    }
}
