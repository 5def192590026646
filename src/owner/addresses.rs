//! Where a payment in doubt may be sent again (I10). Its Intent keeps the address that its bytes
//! went to; what is said here follows from that address and from what the processor's name means
//! now. Re-sends ask [`Owner::way`] before each of them; the driver tells of new resolutions.
//!
//! - listed: there, and nowhere else;
//! - missing: nowhere, since another processor may have it by now;
//! - gone: a listed address that was confirmed to be the same processor, else the processor there
//!   is asked for the payment by GET. Our id with our time proves that it is the same one that was
//!   at the old address, for all payments that went there; anything else, a 404 above all, proves
//!   nothing, and a human may confirm it. A payment that went to a third address, which another
//!   processor may have had, needs a proof of its own.
//!
//! Over https none of this is needed: a processor is known by the name in its certificate, so any
//! address of the name will do.
//!
//! Never frees a payment and never lets it go to the other processor.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use super::attempts::{After, Attempt, Inquiry, Lease, Phase, Purpose, attempt_token};
use super::settings::Identity;
use super::{Owner, Processors, Way};
use crate::addresses::{AddressState, Listing};
use crate::clock::Now;
use crate::events::{Action, AttemptRef, Lookup, Move, Note};
use crate::flow::Stage;
use crate::judge::Question;
use crate::limits;
use crate::payment::{PerProcessor, Processor};
use crate::table::Key;

/// What one core's owner knows of the processors' addresses.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    listings: PerProcessor<Arc<Listing>>,
    /// What was confirmed by hand, and how much was proven, when this core last looked.
    confirmed: PerProcessor<(u64, usize)>,
    /// Which resolution a line about a move was logged for.
    told: PerProcessor<u64>,
    /// Payments that are being asked about at an address that nothing confirms.
    asking: PerProcessor<u32>,
}

/// See the header of this file.
fn way(listing: &Listing, confirmed: u64, sent_to: Option<SocketAddr>) -> Way {
    let Some(address) = sent_to else {
        return Way::To(None);
    };
    match listing.state(address) {
        AddressState::Listed | AddressState::Unresolved => Way::To(sent_to),
        AddressState::Missing => Way::Wait,
        AddressState::Gone => match (listing.confirmed(confirmed), listing.listed.first()) {
            (Some(same), _) => Way::To(Some(same)),
            (None, Some(unknown)) => Way::Ask(unknown.address),
            (None, None) => Way::Wait,
        },
    }
}

impl Processors {
    /// A human says that every address of `processor` that resolution `number` shows is the
    /// processor that payments in doubt went to.
    pub fn confirm(&self, processor: Processor, number: u64) {
        self.confirmed
            .get(processor)
            .fetch_max(number, Ordering::Relaxed);
    }

    /// What was at `from` is the processor at the addresses that resolution `number` shows.
    fn prove(&self, processor: Processor, from: SocketAddr, number: u64) {
        let proofs = self.proofs.get(processor).iter();
        // Without a place left each payment must be proven by itself.
        let _ = proofs
            .map(|one| one.set((from, number)))
            .find(Result::is_ok);
    }

    /// Up to which resolution an address that was shown is the processor that was at `from`.
    fn confirmed(&self, processor: Processor, from: Option<SocketAddr>) -> u64 {
        let proofs = self.proofs.get(processor).iter().map_while(OnceLock::get);
        let of_this = proofs.filter(|(address, _)| Some(*address) == from);
        let proven = of_this.map(|(_, number)| *number).max().unwrap_or(0);
        proven.max(self.confirmed.get(processor).load(Ordering::Relaxed))
    }

    fn news(&self, processor: Processor) -> (u64, usize) {
        let proofs = self.proofs.get(processor).iter().map_while(OnceLock::get);
        let confirmed = self.confirmed.get(processor).load(Ordering::Relaxed);
        (confirmed, proofs.count())
    }
}

impl Owner {
    // ---- events ----

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
        let Some(entry) = self.attempts.remove(attempt.0) else {
            return;
        };
        self.wheel.cancel(attempt_token(attempt));
        let (key, processor) = (entry.flow, entry.processor);
        let asking = self.addresses.asking.get_mut(processor);
        *asking = asking.saturating_sub(1);
        let (Purpose::Identity { since }, Some(address)) = (entry.purpose, entry.address) else {
            return;
        };
        let Lookup::Stored {
            requested_at,
            amount,
        } = lookup
        else {
            return;
        };
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let from = flow.address;
        let stored = (requested_at, amount);
        let Some(sent) = flow.sent_as(processor, stored, Question::WhetherCharged) else {
            return;
        };
        self.note(Note::Move(processor, Move::Proven { at: address }));
        if let Some(from) = from {
            self.processors.prove(processor, from, since);
        }
        self.after_attempt(key, attempt, After::Applied(processor, sent), now);
        self.note_confirmed(now);
    }

    // ---- re-sends ----

    /// Where `key`, which is in doubt at `processor`, may be sent again.
    pub(super) fn way(&self, key: Key, processor: Processor) -> Way {
        if *self.settings.identity.get(processor) == Identity::ByName {
            return Way::To(None);
        }
        let sent_to = self.flows.get(key).and_then(|flow| flow.address);
        let listing = self.addresses.listings.get(processor);
        way(
            listing,
            self.processors.confirmed(processor, sent_to),
            sent_to,
        )
    }

    /// `key` may not be sent again now: it leaves the queue, and is asked about if it may be.
    pub(super) fn hold_back(&mut self, key: Key, processor: Processor, way: Way, now: Now) {
        let (first, longest) = (limits::IDENTITY_PAUSE_FIRST, limits::RESEND_PAUSE_MAX);
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        let pause = flow.pause(flow.asks, first, longest);
        let is_free = *self.addresses.asking.get(processor) < limits::IDENTITY_ASKS_MAX;
        if let (Way::Ask(address), true) = (way, is_free) {
            flow.asks = flow.asks.saturating_add(1);
            self.ask_identity(key, processor, address, now);
        }
        self.await_resend(key, now.mono.after(pause), now);
    }

    fn ask_identity(&mut self, key: Key, processor: Processor, address: SocketAddr, now: Now) {
        let listing = self.addresses.listings.get(processor);
        let (number, since) = (listing.number, listing.since(address).unwrap_or(0));
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let (id, from) = (flow.payment.id, flow.address);
        let told = self.addresses.told.get_mut(processor);
        if std::mem::replace(told, since) != since {
            let to = address;
            self.note(Note::Move(processor, Move::Unproven { from, to }));
        }
        let until = now.run.after(self.settings.attempt_timeout);
        let inquiry = Inquiry {
            question: Question::WhetherCharged,
            status: 0,
            is_proven: false,
            coverage: None,
        };
        let attempt = AttemptRef(self.attempts.insert(Attempt {
            flow: key,
            id,
            processor,
            purpose: Purpose::Identity { since },
            phase: Phase::Asking { inquiry, until },
            lease: Lease::Returned,
            sent_at: now.run,
            address: Some(address),
        }));
        assert!(number >= since, "an address is listed since a resolution");
        let asking = self.addresses.asking.get_mut(processor);
        *asking = asking.saturating_add(1);
        self.actions.push_back(Action::Lookup {
            attempt,
            processor,
            id,
            at: Some(address),
        });
        self.arm_attempt(attempt, until, now);
    }

    /// What is known of the addresses changed: payments that were held back need wait no longer.
    fn look_again(&mut self, processor: Processor, now: Now) {
        let waits = |flow: &crate::flow::Flow| {
            matches!(flow.stage, Stage::Unknown { .. }) && flow.pinned() == Some(processor)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addresses::AddressBook;
    use crate::clock::Mono;

    #[test]
    fn a_payment_goes_where_it_went_or_to_what_is_proven_to_be_the_same() {
        let [old, new] = [1, 2].map(|number| SocketAddr::from(([10, 0, 0, number], 80)));
        let resolve = |rounds: &[SocketAddr]| {
            let mut book = AddressBook::default();
            let mut listing = Listing::default();
            for (number, address) in (1..).zip(rounds) {
                listing = book.note(number, &[*address], Mono(number * 10_000_000));
            }
            listing
        };
        let rows = [
            (&[][..], 0, Way::To(Some(old))),
            (&[old][..], 0, Way::To(Some(old))),
            (&[old, new][..], 0, Way::Wait),
            (&[old, new, new][..], 2, Way::Wait),
            (&[old, new, new, new][..], 0, Way::Ask(new)),
            (&[old, new, new, new][..], 1, Way::Ask(new)),
            (&[old, new, new, new][..], 2, Way::To(Some(new))),
            (&[old, new, new, new, old][..], 0, Way::To(Some(old))),
            (&[new][..], 0, Way::Wait),
            (&[new, new, new][..], 0, Way::Ask(new)),
        ];
        for (rounds, confirmed, expected) in rows {
            let listing = resolve(rounds);
            assert_eq!(way(&listing, confirmed, Some(old)), expected, "{rounds:?}");
            assert_eq!(way(&listing, confirmed, None), Way::To(None), "{rounds:?}");
        }
    }
}
