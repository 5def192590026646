//! What a shared store adds to a payment's life: its id may be another writer's, the store may be
//! away, and another instance may take over what is here.
//!
//! Keeps I1 over instances: a claim that was lost sends nothing. Keeps I5 where the store is away:
//! what cannot be made durable in time is told to no one.
use super::attempts::flow_token;
use super::{Intake, Owner, held};
use crate::claims::Claim;
use crate::clock::Now;
use crate::events::{Answer, Note, Shed, Winner, WriterSlot};
use crate::flow::{Promise, Stage, Step, Trail};
use crate::payment::{Payment, Status, UpstreamId};
use crate::table::Key;
use std::time::Duration;

/// How often an id whose other claim was freed meanwhile is claimed again; then 503.
pub(super) const STORE_CLAIMS_AGAIN_MAX: u32 = 2;
/// How long a client is kept beyond REQUEST_TIMEOUT_MS for a record that is being written.
const STORE_LAST_WORD: Duration = Duration::from_secs(1);

impl Owner {
    // ---- events ----

    /// The store knows `id` as another writer's: nothing that was appended for it counts, and no
    /// byte of it may leave. What the other one knows follows by [`Owner::known_elsewhere`].
    pub fn lost(&mut self, id: UpstreamId, now: Now) {
        // It may have come back meanwhile, with the writer that won it.
        let is_own = |key: &Key| held(self.flows.get(*key)).writer == WriterSlot::OWN;
        if let Some(key) = self.pending_key(id).filter(is_own) {
            self.lose(key, now);
        }
    }

    fn lose(&mut self, key: Key, now: Now) {
        let flow = held(self.flows.get(key));
        assert!(
            flow.pinned().is_none(),
            "I1: bytes left before their claim was won"
        );
        self.drop_unsent(key, now);
        let flow = held(self.flows.get_mut(key));
        // No record of it is one, and so no promise either.
        (flow.trail, flow.promise, flow.record) = (Trail::None, Promise::Open, 0);
        self.enter(key, Step::Lost, Stage::Elsewhere, now);
    }

    /// What the store knows of an id whose claim was lost.
    pub fn known_elsewhere(&mut self, id: UpstreamId, winner: Winner, now: Now) {
        let key = self.pending_key(id);
        let is_asked = |key: &Key| held(self.flows.get(*key)).stage() == Stage::Elsewhere;
        let Some(key) = key.filter(is_asked) else {
            // Its client was not patient enough; the id may have come again.
            return;
        };
        let flow = held(self.flows.get_mut(key));
        let payment = flow.payment;
        match winner {
            Winner::Gone if flow.losses < STORE_CLAIMS_AGAIN_MAX => {
                flow.losses += 1;
                self.admit(key, now);
            }
            Winner::Gone => {
                self.claims.release(id);
                self.leave(key, Answer::Overloaded);
            }
            Winner::Pending { amount } => {
                self.claims.release(id);
                let answer = self.duplicate(&payment, Status::Pending, Some(amount), None);
                self.leave(key, answer);
            }
            Winner::Settled(claim) => {
                // Not remembered: the store forgets it in its own time, and is asked again.
                self.claims.release(id);
                let answer = self.settled_already(&payment, &claim);
                self.leave(key, answer);
            }
        }
    }

    /// Whether `payment`, which comes with a writer that this core adopted, is to be
    /// taken up: not when it is here already. A claim of the id that this core made meanwhile is
    /// lost, though the store has not said so yet.
    pub(super) fn make_way(&mut self, payment: &Payment, now: Now) -> bool {
        let (id, amount) = (payment.id, payment.amount);
        let key = self.pending_key(id);
        if let Some(flow) = key.map(|key| held(self.flows.get(key))) {
            if flow.writer != WriterSlot::OWN {
                return false;
            }
            if flow.stage() != Stage::Elsewhere {
                self.lost(id, now);
            }
            self.known_elsewhere(id, Winner::Pending { amount }, now);
        } else if self.claims.look(id) != Claim::Fresh {
            // What is open there is not settled: the store has forgotten what is remembered here.
            self.claims.forget_settled();
        }
        true
    }

    /// The store can be reached, or not.
    pub fn set_away(&mut self, is_away: bool) {
        match (self.intake, is_away) {
            (Intake::Closed, _) => {}
            (_, true) => self.intake = Intake::Away,
            (_, false) => self.intake = Intake::Open,
        }
    }

    /// Another instance has purged the store: what this core remembers of settled ids is no more.
    pub fn forget_settled(&mut self) {
        self.claims.forget_settled();
        self.ledger.clear();
    }

    // ---- ends ----

    fn pending_key(&self, id: UpstreamId) -> Option<Key> {
        match self.claims.look(id) {
            Claim::Pending(slot) => self.flows.key_at(slot),
            Claim::Fresh | Claim::Settled(_) => None,
        }
    }

    /// REQUEST_TIMEOUT_MS is over where the store may be away: what is out is promised, what is not
    /// is withdrawn, and of what is being written nothing can be said.
    pub(super) fn on_deadline_shared(&mut self, key: Key, now: Now) {
        let flow = held(self.flows.get_mut(key));
        // What is written now may still be told, for a little while.
        flow.deadline = now.mono.after(STORE_LAST_WORD);
        let (is_pinned, is_open) = (flow.pinned().is_some(), flow.promise == Promise::Open);
        match flow.stage() {
            Stage::Claimed => {}
            Stage::Elsewhere => self.give_up_elsewhere(key),
            Stage::Sending { .. } | Stage::Unknown { .. } => self.promise(key),
            Stage::Connecting { .. } | Stage::WritingIntent { .. } if is_pinned => {
                self.promise(key);
            }
            Stage::WritingVerdict { ending } if ending.is_charge() => self.tell_held(key),
            Stage::WritingVerdict { .. } => self.tell(key, Answer::Silence),
            Stage::Waiting { .. } | Stage::Connecting { .. } if is_open => self.give_up(key, now),
            Stage::Accepting
            | Stage::WritingIntent { .. }
            | Stage::Waiting { .. }
            | Stage::Connecting { .. } => self.fall_silent(key),
        }
    }

    /// Whether the payment of `key` is held cannot be said: an answer of 503 would be a lie if what
    /// is being written is written after all. It goes on as one whose client may count on it.
    fn fall_silent(&mut self, key: Key) {
        let flow = held(self.flows.get_mut(key));
        if flow.promise == Promise::Open {
            flow.promise = Promise::Inherited;
        }
        self.tell(key, Answer::Silence);
    }

    /// What the client of `key` is told when nothing more can become durable here, and what was
    /// durable stays so.
    pub(super) fn last_word(&self, key: Key) -> Answer {
        let flow = held(self.flows.get(key));
        // Its Intent is durable at the store: an instance that takes it over never frees it.
        let is_held = flow.pinned().is_some() && self.settings.is_shared();
        if is_held {
            Answer::Accepted
        } else {
            Answer::Silence
        }
    }

    /// The payment was never ours.
    fn leave(&mut self, key: Key, answer: Answer) {
        held(self.flows.get(key)).check_end();
        self.wheel.cancel(flow_token(key));
        self.tell(key, answer);
        self.flows.remove(key);
    }

    /// Nothing is known yet of what the other writer holds, and its client waits no longer.
    fn give_up_elsewhere(&mut self, key: Key) {
        self.claims.release(held(self.flows.get(key)).payment.id);
        self.note(Note::Shed(Shed::Journal));
        self.leave(key, Answer::JournalDown);
    }
}
