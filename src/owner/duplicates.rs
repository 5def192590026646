//! What is said of an id that is known already, here or at another writer of the store (I1).

use super::Owner;
use crate::claims::{Claim, FirstAnswer, SettledClaim};
use crate::config::OnDuplicate;
use crate::events::{Answer, Note};
use crate::payment::{Cents, Payment, Status};

impl Owner {
    /// The answer to an id that is known already.
    pub(super) fn known(&mut self, payment: &Payment) -> Option<Answer> {
        match self.claims.look(payment.id) {
            Claim::Fresh => None,
            Claim::Pending(slot) => {
                let flow = self.flows.key_at(slot).and_then(|key| self.flows.get(key));
                let amount = flow.map(|flow| flow.payment.amount);
                Some(self.duplicate(payment, Status::Pending, amount, None))
            }
            Claim::Settled(settled) => Some(self.settled_already(payment, &settled)),
        }
    }

    /// What is said of an id that is `settled`.
    pub(super) fn settled_already(&mut self, payment: &Payment, settled: &SettledClaim) -> Answer {
        // The amount of what another client charged is not what was asked for here.
        let is_foreign = settled.status == Status::Processed && !settled.counted;
        let amount = (!is_foreign).then_some(settled.amount);
        let is_ours = settled.status == Status::Processed && !is_foreign;
        let first = is_ours.then_some(settled.first_answer);
        self.duplicate(payment, settled.status, amount, first)
    }

    /// What is said of an id that is `status` already, with this amount where that is known to be
    /// one that was asked for, and with what its first client was told where we charged it.
    pub(super) fn duplicate(
        &mut self,
        payment: &Payment,
        status: Status,
        amount: Option<Cents>,
        first: Option<FirstAnswer>,
    ) -> Answer {
        self.note(Note::Duplicate(status));
        if amount.is_some_and(|amount| amount != payment.amount) {
            return Answer::AmountDiffers;
        }
        match (self.settings.on_duplicate, first) {
            (OnDuplicate::Replay, Some(first)) => Answer::Replayed(first),
            (OnDuplicate::Conflict | OnDuplicate::Replay, _) => Answer::Duplicate(status),
        }
    }
}
