//! What is known of one payment: by its owner core, and by the store where there is one.

use super::messages::{CoreRequest, Reply};
use super::{AskFault, CoreRuntime};
use crate::events::Finding;
use crate::payment::UpstreamId;
use crate::timeline::Entry;

impl CoreRuntime {
    /// Asks the owner core for `id`, and the store where that does not know it.
    ///
    /// # Errors
    /// Why nothing can be said.
    pub(crate) async fn find(&self, id: UpstreamId) -> Result<Finding, AskFault> {
        let found = self.find_here(id).await?;
        match &self.store {
            Some(store) if found.is_none() => self.find_in_store(store, id).await,
            Some(_) | None => Ok(found),
        }
    }

    async fn find_here(&self, id: UpstreamId) -> Result<Finding, AskFault> {
        let owner = id.owner(self.config.cores);
        if owner == self.core {
            return Ok(self.owner.borrow().find(id));
        }
        let key = self.reserve(self.now().mono);
        if self
            .mailbox
            .hand_over(owner, CoreRequest::Find(key, id))
            .is_err()
        {
            self.replies.release(key);
            return Err(AskFault::Overloaded);
        }
        match self.replies.take(key).await {
            Some(Reply::Found(finding)) => Ok(finding),
            Some(_) | None => Err(AskFault::Overloaded),
        }
    }

    /// What the owner core of `id` remembers of what happened to it, oldest first.
    ///
    /// # Errors
    /// Why nothing can be said.
    pub(crate) async fn explain(&self, id: UpstreamId) -> Result<Vec<Entry>, AskFault> {
        let owner = id.owner(self.config.cores);
        if owner == self.core {
            return Ok(self.owner.borrow().facts_of(id));
        }
        let key = self.reserve(self.now().mono);
        let asked = self.mailbox.hand_over(owner, CoreRequest::Explain(key, id));
        if asked.is_err() {
            self.replies.release(key);
            return Err(AskFault::Overloaded);
        }
        match self.replies.take(key).await {
            Some(Reply::Facts(facts)) => Ok(facts),
            Some(_) | None => Err(AskFault::Overloaded),
        }
    }
}
