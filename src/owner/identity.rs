//! Who a processor is, when its name means other addresses than before (I10): what was resolved,
//! confirmed by a human, or proven by a payment of ours that it knows.
use std::sync::Arc;

use super::attempts::{After, Attempt, attempt_token};
use super::{Owner, held};
use crate::addresses::Listing;
use crate::clock::{Now, UnixMillis};
use crate::events::{AttemptRef, Lookup, Move, Note};
use crate::flow::{Flow, Stage};
use crate::judge::Question;
use crate::payment::Processor;
use crate::table::Key;

impl Owner {
    /// The name of `processor` was resolved again.
    pub fn resolved(&mut self, processor: Processor, listing: Arc<Listing>, now: Now) {
        let known = self.addresses.listings.get_mut(processor);
        let is_news = !known.says_the_same(&listing);
        *known = listing;
        if is_news {
            self.processors.lookups.get(processor).forget_gone(known);
            self.look_again(processor, now);
        }
    }

    /// Takes over what another core, or a human, has confirmed.
    pub(super) fn note_confirmed(&mut self, now: Now) {
        for processor in self.settings.processors.all() {
            let confirmed = self.processors.news(processor);
            let known = self.addresses.confirmed.get_mut(processor);
            if std::mem::replace(known, confirmed) != confirmed {
                self.look_again(processor, now);
            }
        }
    }

    /// The processor at an address that nothing confirms was asked for the payment of `attempt`.
    pub(super) fn on_identity(&mut self, attempt: AttemptRef, lookup: Lookup, now: Now) {
        let entry = held(self.attempts.remove(attempt.0));
        self.wheel.cancel(attempt_token(attempt));
        let (key, processor) = (entry.flow, entry.processor);
        let asking = self.addresses.asking.get_mut(processor);
        *asking = asking.saturating_sub(1);
        // Its payment may be settled by now, and anything but our own time proves nothing.
        let flow = self.flows.get(key);
        let proof = flow.and_then(|flow| Some((flow.address, stored_by_us(flow, &entry, lookup)?)));
        let Some((from, sent)) = proof else {
            return;
        };
        let (since, address) = held(entry.identity());
        self.note(Note::Move(processor, Move::Proven { at: address }));
        if let Some(from) = from {
            self.processors.prove(processor, from, since);
        }
        self.after_attempt(key, attempt, After::Applied(processor, sent), now);
        self.note_confirmed(now);
    }

    /// What is known of the addresses changed: payments that were held back need wait no longer.
    fn look_again(&mut self, processor: Processor, now: Now) {
        let waits = |flow: &Flow| {
            matches!(flow.stage(), Stage::Unknown { .. }) && flow.pinned() == Some(processor)
        };
        let held: Vec<Key> = self
            .flows
            .iter()
            .filter(|(_, flow)| waits(flow))
            .map(|(key, _)| key)
            .collect();
        for key in held {
            // Those that are on their way by now stay as they are.
            if self.flows.get(key).is_some_and(waits) {
                self.await_resend(key, now.mono, now);
            }
        }
    }
}

/// The time of ours that the processor showed for `flow`, if it is one.
fn stored_by_us(flow: &Flow, entry: &Attempt, lookup: Lookup) -> Option<UnixMillis> {
    match lookup {
        Lookup::Stored {
            requested_at,
            amount,
        } => flow.sent_as(
            entry.processor,
            (requested_at, amount),
            Question::WhetherCharged,
        ),
        Lookup::NotFound | Lookup::NoAnswer => None,
    }
}
