//! Names and the places behind them (I10): a processor that moves, and another one that takes its
//! name over for a while. The driver is modelled as it promises to be: it connects only where the
//! name leads at that moment. What the owner may send there is the owner's matter.

use std::net::SocketAddr;
use std::sync::Arc;

use p99::testing::addresses::{AddressBook, Listing};
use p99::testing::clock::Mono;
use p99::testing::events::AttemptRef;
use p99::testing::payment::{PerProcessor, Processor, UpstreamId};

use crate::plan::{MS, SECOND};
use crate::simulation::{Event, World};
use crate::site::{Row, Site};

/// Whose books a request meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// The processor's own.
    Own,
    /// Those of another processor that has its name now.
    Stranger,
}

/// What becomes of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The processor has another address, and nothing is at the old one.
    Moved,
    /// The name leads to another processor.
    Replaced,
    /// The processor is back at its first address.
    Back,
}

/// See the header of this file.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// What the name resolves to, and where the processor itself is.
    name: Spot,
    own: Spot,
    book: AddressBook,
    resolutions: u64,
}

/// One of the addresses of a processor's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Spot {
    #[default]
    First,
    Second,
    /// Another processor's, always.
    Strangers,
}

fn address(processor: Processor, spot: Spot) -> SocketAddr {
    let of = u8::try_from(processor.index()).unwrap();
    let number = match spot {
        Spot::First => 1,
        Spot::Second => 2,
        Spot::Strangers => 3,
    };
    SocketAddr::from(([10, 0, of, number], 80))
}

impl World {
    /// Where a connection to `processor` leads that may go to `at` alone; `None` where it cannot be
    /// made. Without moves there are no names, and no address is told.
    pub(crate) fn reach(
        &self,
        processor: Processor,
        at: Option<SocketAddr>,
    ) -> Option<(Option<SocketAddr>, Store)> {
        if self.plan.moves == 0 {
            return Some((None, Store::Own));
        }
        let place = self.places.get(processor);
        let named = address(processor, place.name);
        let store = match place.name {
            Spot::Strangers => Store::Stranger,
            spot if spot == place.own => Store::Own,
            Spot::First | Spot::Second => return None,
        };
        at.is_none_or(|at| at == named)
            .then_some((Some(named), store))
    }

    /// Whether the name still leads to where this attempt's connection was begun.
    pub(crate) fn is_still_there(&self, core: usize, attempt: AttemptRef) -> bool {
        let (processor, _) = self.cores[core].links[&attempt];
        let begun = self.cores[core].places.get(&attempt).copied();
        begun.is_some_and(|begun| self.reach(processor, begun.0) == Some(begun))
    }

    pub(crate) fn site(&self, processor: Processor, store: Store) -> &Site {
        match store {
            Store::Own => self.sites.get(processor),
            Store::Stranger => self.strangers.get(processor),
        }
    }

    pub(crate) fn site_mut(&mut self, processor: Processor, store: Store) -> &mut Site {
        match store {
            Store::Own => self.sites.get_mut(processor),
            Store::Stranger => self.strangers.get_mut(processor),
        }
    }

    /// The record of `id` under the name of `processor`, ours before that of another client.
    pub(crate) fn row(&self, processor: Processor, id: UpstreamId) -> Option<Row> {
        let rows = [Store::Own, Store::Stranger]
            .map(|store| self.site(processor, store).rows.get(&id).copied());
        let ours = rows.iter().flatten().find(|row| row.is_ours);
        ours.or_else(|| rows.iter().flatten().next()).copied()
    }

    pub(crate) fn plan_moves(&mut self) {
        for _ in 0..self.plan.moves {
            let at = self.luck.within(0..=self.plan.span);
            let processor = self.pick_processor();
            let change = self
                .luck
                .pick(&[Change::Moved, Change::Replaced, Change::Back]);
            self.schedule_at(at, Event::Move(processor, change));
        }
    }

    pub(crate) fn change(&mut self, processor: Processor, change: Change) {
        let place = self.places.get_mut(processor);
        (place.name, place.own) = match change {
            Change::Moved => (Spot::Second, Spot::Second),
            Change::Replaced => (Spot::Strangers, place.own),
            Change::Back => (Spot::First, Spot::First),
        };
        self.seen.insert(format!("a name {change:?}"));
        let soon = self.luck.within(MS..=300 * MS);
        self.resolve_often(processor, soon);
    }

    /// A resolution after `delay` and so many more that what is not shown is gone.
    fn resolve_often(&mut self, processor: Processor, delay: u64) {
        for number in 0..5 {
            let later = number * (SECOND + 100 * MS);
            self.schedule(delay + later, Event::Resolve(processor));
        }
    }

    /// A process begins: it knows nothing of the names, and resolves them before anything else.
    pub(crate) fn begin_resolving(&mut self) {
        if self.plan.moves == 0 {
            return;
        }
        for processor in self.plan.settings.processors.all() {
            let place = self.places.get_mut(processor);
            (place.book, place.resolutions) = (AddressBook::default(), 0);
            self.resolve(processor);
            self.resolve_often(processor, SECOND + 100 * MS);
            if self.is_healed {
                // What a human said is forgotten with the process.
                self.schedule(10 * SECOND, Event::Confirm(processor));
            }
        }
    }

    pub(crate) fn resolve(&mut self, processor: Processor) {
        let now = Mono(self.time);
        let place = self.places.get_mut(processor);
        place.resolutions += 1;
        let found = [address(processor, place.name)];
        let listing: Arc<Listing> = Arc::new(place.book.note(place.resolutions, &found, now));
        let process = self.process;
        for core in 0..self.cores.len() {
            let listing = Arc::clone(&listing);
            self.tell_owner(core, |owner, now| owner.resolved(processor, listing, now));
            if self.process != process {
                return;
            }
        }
    }

    /// A human looks. What the name leads to is the processor that it was, for every payment in
    /// doubt, unless one of them is in doubt at another that had the name.
    pub(crate) fn confirm(&mut self, processor: Processor) {
        let place = self.places.get(processor);
        let is_elsewhere = self.stories.values().any(|story| {
            let mut sent = story.unresolved.get(processor).keys();
            sent.any(|request| self.requests[*request].store == Store::Stranger)
        });
        if place.name == place.own && !is_elsewhere {
            self.seen.insert("confirmed by hand".to_owned());
            self.processors.confirm(processor, place.resolutions);
        }
    }

    /// Each processor comes back, then the other one that had its name, for payments that are in
    /// doubt there, then itself again; and a human says that it is the one that it was.
    pub(crate) fn heal_names(&mut self) {
        if self.plan.moves == 0 {
            return;
        }
        for processor in self.plan.settings.processors.all() {
            self.change(processor, Change::Back);
            self.schedule(30 * SECOND, Event::Move(processor, Change::Replaced));
            self.schedule(50 * SECOND, Event::Move(processor, Change::Back));
            self.schedule(70 * SECOND, Event::Confirm(processor));
        }
    }

    /// I10: while a request of the payment may still be charged, no other processor gets it, under
    /// whatever name.
    pub(crate) fn check_place(&self, id: UpstreamId, processor: Processor, store: Store) {
        for request in self.stories[&id].unresolved.get(processor).keys() {
            assert_eq!(
                self.requests[*request].store,
                store,
                "I10: {id} may be charged by another processor that was called {}",
                processor.name()
            );
        }
    }
}

/// No name leads anywhere else yet.
pub(crate) fn first_places() -> PerProcessor<Place> {
    PerProcessor::default()
}
