//! Another instance. It takes an id only when this one does not know it, and sends it to the
//! processor that the id meets first, as this one would. Also whoever else charges ids by himself.

use p99::events::Elsewhere;
use p99::payment::{PerProcessor, Processor, UpstreamId};
use p99::route;
use p99::table::Key;

use crate::simulation::World;
use crate::site::{Look, Row};

/// What one processor says of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Stored(Row),
    NotStored,
    Silence,
}

impl World {
    fn home(&self, id: UpstreamId) -> Processor {
        route::prefer(
            self.plan.settings.routing,
            id,
            self.plan.settings.processors,
            |_| std::time::Duration::ZERO,
        )
    }

    /// The peer gets an id, and asks this instance for it.
    pub(crate) fn hold(&mut self, id: usize) {
        let id = self.ids[id].id;
        let is_row = |one: &Processor| self.sites.get(*one).rows.contains_key(&id);
        let is_known = match self.cores.is_empty() {
            true => true,
            false => self.cores[id.owner(self.count()).index()]
                .owner
                .find(id)
                .is_some(),
        };
        let is_taken = is_known || Processor::ALL.iter().any(is_row);
        let story = self.stories.get_mut(&id).unwrap();
        story.is_held = !is_taken && !story.is_purged;
    }

    /// Somebody else charges an id: the peer at its home, anybody anywhere.
    pub(crate) fn plant(&mut self, processor: Processor, id: usize) {
        let payment = self.ids[id];
        let processor = match self.plan.has_peer {
            true if !self.stories[&payment.id].is_held => return,
            true => self.home(payment.id),
            false => processor,
        };
        let row = Row {
            amount: payment.amount,
            requested_at: self.long_ago(),
            sent: self.long_ago(),
            is_ours: false,
        };
        self.sites.get_mut(processor).insert(payment.id, row);
    }

    /// The peer and both processors said what they know of a suspect id.
    pub(crate) fn investigated(&mut self, core: usize, flow: Key, id: UpstreamId) {
        let words = PerProcessor::from_fn(|one| match one <= Processor::FALLBACK {
            true => self.ask(one, id),
            false => Word::NotStored,
        });
        let home = self.home(id);
        let is_heard = self.is_healed || self.luck.chance(70);
        let is_held = is_heard && self.stories[&id].is_held;
        let stored = |one: Processor| match words.get(one) {
            Word::Stored(row) => Some((one, *row)),
            Word::NotStored | Word::Silence => None,
        };
        let row = self
            .sites
            .get(home)
            .rows
            .get(&id)
            .filter(|row| is_held && !row.is_ours);
        let told = row.map(|row| (home, *row));
        let elsewhere = match Processor::ALL.into_iter().find_map(stored).or(told) {
            Some((processor, row)) => Elsewhere::Charged {
                processor,
                requested_at: row.requested_at,
            },
            None if is_held => Elsewhere::Held,
            None if *words.get(match home.index() {
                0 => Processor::FALLBACK,
                _ => Processor::DEFAULT,
            }) == Word::Silence =>
            {
                Elsewhere::Unclear
            }
            None if is_heard => Elsewhere::Nowhere,
            None => Elsewhere::Unheard,
        };
        self.tell(|_| format!("    {elsewhere:?}"));
        self.tell_owner(core, |owner, now| owner.investigated(flow, elsewhere, now));
    }

    fn ask(&mut self, processor: Processor, id: UpstreamId) -> Word {
        let site = self.sites.get(processor);
        let row = site.rows.get(&id).copied().filter(|_| site.has_lookup);
        match site.look(&mut self.luck) {
            Look::Honest { .. } => row.map_or(Word::NotStored, Word::Stored),
            Look::Useless(_) | Look::Nothing => Word::Silence,
        }
    }

    /// I2 over instances: while the peer may have sent it to its home, nobody else gets it.
    pub(crate) fn check_peer(&self, id: UpstreamId, processor: Processor) {
        assert!(
            !self.plan.has_peer || !self.stories[&id].is_held || processor == self.home(id),
            "I2: bytes for {} while a peer may be charging {id} elsewhere",
            processor.name()
        );
    }
}
