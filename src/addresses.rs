//! Which addresses a processor's name has, had and lost (I10). Pure: the resolver's thread keeps an
//! [`AddressBook`] and tells it what each resolution found; cores read the [`Listing`] that comes
//! of it. Decides nothing about payments and resolves nothing.
//!
//! One resolution proves little: a name with many addresses may show some of them at a time, and a
//! server of names may fail. So an address is *gone* only after `ABSENCES_MAX`
//! resolutions in a row without it, at least `ABSENCE_SPACING` apart, and one that
//! failed is no absence. An address that is missing from the newest resolution, and not gone, is
//! *missing*: it may be another processor's by now, so nothing is sent to it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::clock::Mono;
use crate::limits;

/// Resolutions in a row without an address after which it is gone.
const ABSENCES_MAX: u32 = 3;
/// Resolutions closer together than this are one absence: connects that fail ask many times a
/// second, and a server of names that answers wrongly does so for a moment.
const ABSENCE_SPACING: Duration = Duration::from_secs(1);

/// The address of a processor whose URL names the file of a unix socket. It is no other
/// processor's, so an Intent that has it and one that has a real address are never taken for each
/// other's.
pub(crate) const SOCKET_FILE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What an address is to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressState {
    /// The newest resolution shows it.
    Listed,
    /// It does not, and that may pass.
    Missing,
    /// It belongs to the name no more, and what answers there may be another processor.
    Gone,
    /// The name was never resolved yet.
    Unresolved,
}

/// One address of the newest resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The address that it is about.
    pub address: SocketAddr,
    /// The number of the resolution that showed it first since it was gone, or ever.
    pub since: u64,
}

/// The addresses of a name as its newest resolution has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The number of that resolution; they count from 1. Zero when none has succeeded.
    pub number: u64,
    /// In the resolver's order, at most `limits::ADDRESSES_MAX`.
    pub listed: Vec<Listed>,
    /// Those that are missing and not gone, at most as many.
    missing: Vec<Absent>,
    /// Whether the name was resolved often enough to call an address gone that was never seen.
    is_settled: bool,
}

/// An address that the newest resolution does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Absent {
    was: Listed,
    absences: u32,
    counted_at: Mono,
}

impl Listing {
    /// A URL that names an address: it never moves.
    #[must_use]
    pub fn fixed(address: SocketAddr) -> Self {
        Self {
            number: u64::MAX,
            listed: vec![Listed { address, since: 1 }],
            missing: Vec::new(),
            is_settled: true,
        }
    }

    /// What `address` is to the name.
    #[must_use]
    pub fn state(&self, address: SocketAddr) -> AddressState {
        if self.number == 0 {
            return AddressState::Unresolved;
        }
        if self.since(address).is_some() {
            return AddressState::Listed;
        }
        let is_missing = self
            .missing
            .iter()
            .any(|absent| is_same(absent.was.address, address));
        if is_missing || !self.is_settled {
            return AddressState::Missing;
        }
        AddressState::Gone
    }

    /// Since which resolution `address` is listed, if it is.
    #[must_use]
    pub fn since(&self, address: SocketAddr) -> Option<u64> {
        let listed = self.listed.iter();
        listed
            .clone()
            .find(|listed| is_same(listed.address, address))
            .map(|listed| listed.since)
    }

    /// An address that was listed when the name was last confirmed, as of resolution `confirmed`.
    #[must_use]
    pub fn confirmed(&self, confirmed: u64) -> Option<SocketAddr> {
        let is_confirmed = |listed: &&Listed| listed.since <= confirmed;
        self.listed
            .iter()
            .find(is_confirmed)
            .map(|listed| listed.address)
    }

    /// Whether the same addresses are listed, missing and gone as in `other`.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let missing = |listing: &Self| -> Vec<SocketAddr> {
            let missing = listing.missing.iter();
            missing.map(|absent| absent.was.address).collect()
        };
        (self.number > 0, self.is_settled, &self.listed)
            == (other.number > 0, other.is_settled, &other.listed)
            && missing(self) == missing(other)
    }
}

/// Whether both name one place; the scope of a link-local address is not looked at.
#[must_use]
pub(crate) fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip(), one.port()) == (other.ip(), other.port())
}

/// See the header of this file.
#[derive(Debug, Default)]
pub struct AddressBook {
    listing: Listing,
    /// How many resolutions succeeded, spaced as absences are; stops at the bound.
    resolutions: u32,
    resolved_at: Mono,
}

impl AddressBook {
    /// Resolution `number` found these addresses. One that failed is not told.
    pub fn note(&mut self, number: u64, found: &[SocketAddr], now: Mono) -> Listing {
        let is_first = self.listing.number == 0;
        if is_first || is_spaced(self.resolved_at, now) {
            self.resolutions = self.resolutions.saturating_add(1);
            self.resolved_at = now;
        }
        let mut listed: Vec<Listed> = Vec::new();
        for address in found.iter().take(limits::ADDRESSES_MAX) {
            if listed.iter().any(|known| is_same(known.address, *address)) {
                continue;
            }
            let since = self.known_since(*address).unwrap_or(number);
            let address = *address;
            listed.push(Listed { address, since });
        }
        let is_absent = |one: &Listed| !listed.iter().any(|now| is_same(now.address, one.address));
        let mut missing: Vec<Absent> = Vec::new();
        for absent in &self.listing.missing {
            let mut absent = *absent;
            if is_spaced(absent.counted_at, now) {
                absent.absences = absent.absences.saturating_add(1);
                absent.counted_at = now;
            }
            if is_absent(&absent.was) && absent.absences < ABSENCES_MAX {
                missing.push(absent);
            }
        }
        let lost = self.listing.listed.iter().filter(|one| is_absent(one));
        missing.extend(lost.map(|was| Absent {
            was: *was,
            absences: 1,
            counted_at: now,
        }));
        // Those that are missing longest count as gone first.
        let surplus = missing.len().saturating_sub(limits::ADDRESSES_MAX);
        missing.drain(..surplus);
        self.listing = Listing {
            number,
            listed,
            missing,
            is_settled: self.resolutions >= ABSENCES_MAX,
        };
        self.listing.clone()
    }

    fn known_since(&self, address: SocketAddr) -> Option<u64> {
        let missing = self.listing.missing.iter().map(|absent| &absent.was);
        let mut known = self.listing.listed.iter().chain(missing);
        known
            .find(|known| is_same(known.address, address))
            .map(|known| known.since)
    }
}

fn is_spaced(earlier: Mono, now: Mono) -> bool {
    now.since(earlier) >= ABSENCE_SPACING
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, number], 8080))
    }

    /// A book and its clock: every resolution comes ten seconds after the one before it.
    #[derive(Default)]
    struct Name {
        book: AddressBook,
        now: Mono,
        number: u64,
    }

    impl Name {
        fn resolve(&mut self, found: &[u8]) -> Listing {
            self.resolve_after(10_000_000, found)
        }

        fn resolve_after(&mut self, pause: u64, found: &[u8]) -> Listing {
            self.now.0 += pause;
            self.number += 1;
            let found: Vec<SocketAddr> = found.iter().copied().map(at).collect();
            self.book.note(self.number, &found, self.now)
        }
    }

    #[test]
    fn an_address_is_gone_after_three_resolutions_in_a_row_without_it() {
        let mut name = Name::default();
        assert_eq!(Listing::default().state(at(1)), AddressState::Unresolved);
        assert_eq!(name.resolve(&[1]).state(at(1)), AddressState::Listed);
        for _ in 0..2 {
            let listing = name.resolve(&[2]);
            assert_eq!(listing.state(at(1)), AddressState::Missing);
            assert_eq!(listing.state(at(2)), AddressState::Listed);
        }
        assert_eq!(name.resolve(&[2]).state(at(1)), AddressState::Gone);
        assert_eq!(name.resolve(&[1, 2]).state(at(1)), AddressState::Listed);
    }

    #[test]
    fn one_that_is_seen_between_is_not_gone() {
        let mut name = Name::default();
        name.resolve(&[1, 2]);
        for _ in 0..5 {
            name.resolve(&[1]);
            assert_eq!(name.resolve(&[1]).state(at(2)), AddressState::Missing);
            let listing = name.resolve(&[2]);
            assert_eq!(listing.state(at(1)), AddressState::Missing);
            assert_eq!(listing.since(at(2)), Some(1), "it was never gone");
        }
    }

    #[test]
    fn resolutions_in_haste_are_one_absence() {
        let mut name = Name::default();
        name.resolve(&[1]);
        for _ in 0..100 {
            let listing = name.resolve_after(10_000, &[2]);
            assert_eq!(listing.state(at(1)), AddressState::Missing);
        }
        for _ in 0..200 {
            name.resolve_after(10_000, &[2]);
        }
        let listing = name.resolve_after(10_000, &[2]);
        assert_eq!(listing.state(at(1)), AddressState::Gone, "three seconds");
    }

    /// After a restart an Intent names an address that was never seen: it is judged the same way.
    #[test]
    fn an_address_that_was_never_seen_is_gone_after_three_resolutions() {
        let mut name = Name::default();
        assert_eq!(name.resolve(&[2]).state(at(1)), AddressState::Missing);
        assert_eq!(name.resolve(&[2]).state(at(1)), AddressState::Missing);
        assert_eq!(name.resolve(&[2]).state(at(1)), AddressState::Gone);
        assert_eq!(Listing::fixed(at(2)).state(at(1)), AddressState::Gone);
        assert_eq!(Listing::fixed(at(2)).state(at(2)), AddressState::Listed);
        assert_eq!(Listing::fixed(at(2)).confirmed(0), None, "nothing says so");
    }

    #[test]
    fn what_was_confirmed_ends_when_its_address_is_gone() {
        let mut name = Name::default();
        assert_eq!(name.resolve(&[1]).confirmed(0), None);
        let moved = name.resolve(&[2]);
        assert_eq!(moved.confirmed(1), None, "it came with the second");
        assert_eq!(moved.confirmed(2), Some(at(2)));
        assert_eq!(name.resolve(&[3, 2]).confirmed(2), Some(at(2)));
        assert_eq!(name.resolve(&[3]).confirmed(2), None);
        assert_eq!(name.resolve(&[2]).confirmed(2), Some(at(2)));
        for _ in 0..4 {
            name.resolve(&[3]);
        }
        assert_eq!(name.resolve(&[2]).confirmed(2), None, "it was gone");
    }

    #[test]
    fn both_lists_have_a_bound_and_no_address_twice() {
        let mut name = Name::default();
        for _ in 0..3 {
            let most = u8::try_from(limits::ADDRESSES_MAX).unwrap();
            let found: Vec<u8> = (0..most).chain(0..255).collect();
            let listing = name.resolve(&found);
            assert_eq!(listing.listed.len(), limits::ADDRESSES_MAX);
            let listing = name.resolve(&[254, 254]);
            assert_eq!(listing.listed.len(), 1);
            assert!(listing.missing.len() <= limits::ADDRESSES_MAX);
        }
    }
}
