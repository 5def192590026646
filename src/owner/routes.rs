//! What is known of a processor's lookup route, `GET {UPSTREAM_PAY_PATH}/{id}`, by the address that
//! was asked: whether its 404 means something. Shared by all cores, atomics only. What one
//! processor showed says nothing of another one that has its name later (I10), so the word is kept
//! for each address and forgotten when the address is gone.
//!
//! `answers` asks and tells; nothing here decides what a 404 proves.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::addresses::{AddressState, Listing, is_same};
use crate::events::Lookup;
use crate::limits;

/// This address was never asked about a charged id.
const UNTRIED: u8 = 0;
/// It is being asked about one.
const ASKING: u8 = 1;
/// It has shown one: its 404 means something.
const PROVEN: u8 = 2;
/// It said 404 about one: it has no such route.
const USELESS: u8 = 3;

/// See the header of this file.
#[derive(Debug)]
pub(super) struct LookupRoutes {
    /// Where the URL names an address.
    fixed: AtomicU8,
    named: [Route; limits::ADDRESSES_MAX],
}

#[derive(Debug)]
struct Route {
    address: OnceLock<SocketAddr>,
    state: AtomicU8,
}

impl Default for LookupRoutes {
    fn default() -> Self {
        Self {
            fixed: AtomicU8::new(UNTRIED),
            named: [const {
                Route {
                    address: OnceLock::new(),
                    state: AtomicU8::new(UNTRIED),
                }
            }; limits::ADDRESSES_MAX],
        }
    }
}

impl LookupRoutes {
    /// Whether the route at `address` has shown a charged id.
    pub(super) fn is_proven(&self, address: Option<SocketAddr>) -> bool {
        let state = self.state(address);
        state.is_some_and(|state| state.load(Ordering::Relaxed) == PROVEN)
    }

    /// Whether the route at `address` shall be asked now about an id that was charged there: once.
    pub(super) fn begin(&self, address: Option<SocketAddr>) -> bool {
        let change = |state: &AtomicU8| {
            state.compare_exchange(UNTRIED, ASKING, Ordering::Relaxed, Ordering::Relaxed)
        };
        self.state(address)
            .is_some_and(|state| change(state).is_ok())
    }

    /// The route at `address` showed `lookup`; about a charged id where `is_proof`.
    pub(super) fn learn(&self, address: Option<SocketAddr>, lookup: Lookup, is_proof: bool) {
        let Some(state) = self.state(address) else {
            return;
        };
        match lookup {
            Lookup::Stored { .. } => state.store(PROVEN, Ordering::Relaxed),
            Lookup::NotFound if is_proof => state.store(USELESS, Ordering::Relaxed),
            Lookup::NoAnswer if is_proof => {
                // Another id may be asked about; a proof that came meanwhile stays.
                let (relaxed, order) = (Ordering::Relaxed, Ordering::Relaxed);
                let _ = state.compare_exchange(ASKING, UNTRIED, relaxed, order);
            }
            Lookup::NotFound | Lookup::NoAnswer => {}
        }
    }

    /// Forgets what addresses showed that the name has lost.
    pub(super) fn forget_gone(&self, listing: &Listing) {
        for route in &self.named {
            let address = route.address.get();
            if address.is_some_and(|address| listing.state(*address) == AddressState::Gone) {
                route.state.store(UNTRIED, Ordering::Relaxed);
            }
        }
    }

    /// None when more addresses were seen than have a place: theirs are never proven.
    fn state(&self, address: Option<SocketAddr>) -> Option<&AtomicU8> {
        let Some(address) = address else {
            return Some(&self.fixed);
        };
        let is_here = |route: &&Route| is_same(*route.address.get_or_init(|| address), address);
        self.named.iter().find(is_here).map(|route| &route.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addresses::AddressBook;
    use crate::clock::{Mono, UnixMillis};
    use crate::payment::Cents;

    const STORED: Lookup = Lookup::Stored {
        requested_at: UnixMillis(0),
        amount: Cents(1),
    };

    fn at(number: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, number], 80))
    }

    #[test]
    fn what_one_address_showed_proves_nothing_for_another() {
        let routes = LookupRoutes::default();
        assert!(
            routes.begin(Some(at(1))) && !routes.begin(Some(at(1))),
            "once"
        );
        routes.learn(Some(at(1)), STORED, true);
        assert!(routes.is_proven(Some(at(1))));
        assert!(!routes.is_proven(Some(at(2))) && !routes.is_proven(None));
        routes.learn(Some(at(2)), Lookup::NotFound, true);
        assert!(!routes.begin(Some(at(2))), "it has no such route");
        routes.learn(Some(at(2)), STORED, false);
        assert!(routes.is_proven(Some(at(2))), "it has one after all");
        assert!(routes.begin(None));
        routes.learn(None, Lookup::NoAnswer, true);
        assert!(routes.begin(None), "another id may be asked about");
    }

    #[test]
    fn what_an_address_showed_goes_with_it() {
        let routes = LookupRoutes::default();
        let mut book = AddressBook::default();
        routes.learn(Some(at(1)), STORED, false);
        for (number, now) in (1..5).zip([0, 10, 20, 30]) {
            let found = if number == 1 { at(1) } else { at(2) };
            let listing = book.note(number, &[found], Mono(now * 1_000_000));
            routes.forget_gone(&listing);
            assert_eq!(routes.is_proven(Some(at(1))), number < 4, "{number}");
        }
    }

    #[test]
    fn more_addresses_than_places_are_never_proven() {
        let routes = LookupRoutes::default();
        for number in 0..=u8::try_from(limits::ADDRESSES_MAX).unwrap() {
            routes.learn(Some(at(number)), STORED, false);
            let has_place = usize::from(number) < limits::ADDRESSES_MAX;
            assert_eq!(routes.is_proven(Some(at(number))), has_place, "{number}");
        }
    }
}
