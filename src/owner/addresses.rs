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

use super::settings::Identity;
use super::{Owner, Processors, Way};
use crate::addresses::{AddressState, Listing};
use crate::flow::Stage;
use crate::payment::{PerProcessor, Processor};
use crate::table::Key;

/// What one core's owner knows of the processors' addresses.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    pub(super) listings: PerProcessor<Arc<Listing>>,
    /// What was confirmed by hand, and how much was proven, when this core last looked.
    pub(super) confirmed: PerProcessor<(u64, usize)>,
    /// Which resolution a line about a move was logged for.
    pub(super) told: PerProcessor<u64>,
    /// Payments that are being asked about at an address that nothing confirms.
    pub(super) asking: PerProcessor<u32>,
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
    pub(super) fn prove(&self, processor: Processor, from: SocketAddr, number: u64) {
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

    pub(super) fn news(&self, processor: Processor) -> (u64, usize) {
        let proofs = self.proofs.get(processor).iter().map_while(OnceLock::get);
        let confirmed = self.confirmed.get(processor).load(Ordering::Relaxed);
        (confirmed, proofs.count())
    }
}

impl Owner {
    /// Payments in doubt at each processor that nothing is sent for before their address is listed
    /// again, proven or confirmed. Walks the unsettled payments: for scrapes only.
    #[must_use]
    pub fn held_back(&self) -> PerProcessor<usize> {
        let mut held = PerProcessor::<usize>::default();
        for (key, flow) in self.flows.iter() {
            let doubt = flow.pinned();
            let doubt = doubt.filter(|_| matches!(flow.stage(), Stage::Unknown { .. }));
            let Some(processor) = doubt else { continue };
            if !matches!(self.way(key, processor), Way::To(_)) {
                *held.get_mut(processor) += 1;
            }
        }
        held
    }

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
