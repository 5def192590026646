//! All that is said of one id, and what it comes to. A payment that is charged once, at the
//! processor that the journal names and with its amount, is a match; everything else is a
//! difference and has exactly one kind, the gravest, but that a charge at two may have another
//! amount as well.
//!
//! | here | in the books | kind |
//! |---|---|---|
//! | anything | at two processors | `charged_at_two` |
//! | charged at two | | `charged_at_two` |
//! | charged | twice at this processor | `charged_twice` |
//! | charged | not at this one, but at another | `other_processor` |
//! | charged | not there | `missing_there` |
//! | charged | with another amount | `amount` |
//! | not known, ended or refused | there | `missing_here` |
//! | not settled | there or not | `pending`: no difference yet |
//! | another client's charge | there or not | none |
//!
//! Pure: it sees entries and writes nothing.

use super::entry::{Entry, Said};
use crate::clock::UnixMillis;
use crate::payment::{Cents, PerProcessor, Processor, ProcessorSet, Totals, UpstreamId};

/// What is different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Two processors charged it.
    ChargedAtTwo,
    /// One processor has it more than once.
    ChargedTwice,
    /// Another processor than the journal says has it.
    OtherProcessor,
    /// The processor has it, the journal has not charged it.
    MissingHere,
    /// The journal has it, the processor has not.
    MissingThere,
    /// Both have it, with other amounts.
    Amount,
    /// The journal has not settled it yet.
    Pending,
}

impl Kind {
    /// All of them, the gravest first.
    pub const ALL: [Self; 7] = [
        Self::ChargedAtTwo,
        Self::ChargedTwice,
        Self::OtherProcessor,
        Self::MissingHere,
        Self::MissingThere,
        Self::Amount,
        Self::Pending,
    ];

    /// Its name in tables and labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ChargedAtTwo => "charged_at_two",
            Self::ChargedTwice => "charged_twice",
            Self::OtherProcessor => "other_processor",
            Self::MissingHere => "missing_here",
            Self::MissingThere => "missing_there",
            Self::Amount => "amount",
            Self::Pending => "pending",
        }
    }

    fn index(self) -> usize {
        Self::ALL.iter().position(|one| *one == self).unwrap_or(0)
    }
}

/// One payment that does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// In what way.
    pub kind: Kind,
    /// Which; the id that goes upstream.
    pub id: UpstreamId,
    /// The processor that it is about, if one is known.
    pub processor: Option<Processor>,
    /// The second one of a charge at two, or the one that has it instead.
    pub other: Option<Processor>,
    /// What the journal says.
    pub here: Option<Cents>,
    /// What the processor's book says.
    pub there: Option<Cents>,
    /// `requestedAt`, the journal's before the book's.
    pub at: Option<UnixMillis>,
    /// The first two lines of the book that say it.
    pub lines: [Option<u64>; 2],
    /// Of a charge at two or twice: who charged what the journal does not expect of them. None
    /// where the journal does not know the payment.
    pub doubled: ProcessorSet,
}

/// How many of each there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    kinds: [u64; Kind::ALL.len()],
    /// Payments that both sides have alike.
    pub matched: PerProcessor<Totals>,
    /// Charges here at processors whose book was not given.
    pub unchecked: PerProcessor<Totals>,
}

impl Tally {
    /// How many payments differ in this way.
    #[must_use]
    pub fn of(&self, kind: Kind) -> u64 {
        self.kinds.get(kind.index()).copied().unwrap_or(0)
    }

    /// Whether nothing differs. What is pending is no difference: it will be settled.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let mut real = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Pending);
        real.all(|kind| self.of(kind) == 0)
    }
}

/// What is compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Whose books were given.
    pub(super) books: PerProcessor<bool>,
    /// The window on `requestedAt`, both ends inside.
    pub(super) from: Option<UnixMillis>,
    pub(super) to: Option<UnixMillis>,
}

impl Terms {
    /// A payment without a time is taken for one of the window.
    fn holds(&self, at: Option<UnixMillis>) -> bool {
        let is_early = |at| self.from.is_some_and(|from| at < from);
        let is_late = |at| self.to.is_some_and(|to| at > to);
        at.is_none_or(|at| !is_early(at) && !is_late(at))
    }
}

/// What one processor's side says of the id.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// Charges here, and the last of them.
    here: u32,
    amount: Cents,
    at: Option<UnixMillis>,
    /// Rows of the book, and the first of them.
    there: u32,
    booked: Cents,
    booked_at: Option<UnixMillis>,
    lines: [Option<u64>; 2],
}

/// The words of one id so far.
#[derive(Clone, Debug)]
struct Group {
    id: UpstreamId,
    sides: PerProcessor<Side>,
    /// The last word that is no charge of ours.
    open: Option<Entry>,
    is_foreign: bool,
}

/// Takes entries in their order.
#[derive(Debug)]
pub(super) struct Join {
    terms: Terms,
    group: Option<Group>,
    pub(super) tally: Tally,
}

impl Join {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            terms,
            group: None,
            tally: Tally::default(),
        }
    }

    /// Takes the next entry, and hands what is different about the id before it to `each`.
    pub(super) fn take<E>(
        &mut self,
        entry: Entry,
        each: &mut impl FnMut(&Difference) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.group.as_ref().is_none_or(|group| group.id != entry.id) {
            self.finish(each)?;
        }
        let group = self.group.get_or_insert_with(|| Group {
            id: entry.id,
            sides: PerProcessor::default(),
            open: None,
            is_foreign: false,
        });
        group.take(entry);
        Ok(())
    }

    /// No entry follows.
    pub(super) fn finish<E>(
        &mut self,
        each: &mut impl FnMut(&Difference) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(group) = self.group.take() else {
            return Ok(());
        };
        if !self.terms.holds(group.at()) {
            return Ok(());
        }
        let (first, second) = group.judge(&self.terms, &mut self.tally);
        for difference in first.iter().chain(&second) {
            if let Some(count) = self.tally.kinds.get_mut(difference.kind.index()) {
                *count += 1;
            }
            each(difference)?;
        }
        Ok(())
    }
}

impl Group {
    fn take(&mut self, entry: Entry) {
        match (entry.said, entry.processor) {
            (Said::Charged, Some(processor)) => {
                let side = self.sides.get_mut(processor);
                side.here += 1;
                (side.amount, side.at) = (entry.amount, entry.at);
                (self.open, self.is_foreign) = (None, false);
            }
            (Said::Booked, Some(processor)) => {
                let side = self.sides.get_mut(processor);
                side.there += 1;
                match side.there {
                    1 => {
                        (side.booked, side.booked_at) = (entry.amount, entry.at);
                        side.lines[0] = Some(entry.order);
                    }
                    2 => side.lines[1] = Some(entry.order),
                    _ => {}
                }
            }
            (Said::Open, _) => match &mut self.open {
                // A refused attempt says no amount and no time.
                Some(open) if entry.at.is_none() => open.processor = None,
                open => *open = Some(entry),
            },
            (Said::Foreign, _) => (self.open, self.is_foreign) = (None, true),
            (Said::Refused | Said::Ended | Said::Charged | Said::Booked, _) => self.open = None,
        }
    }

    fn sides(&self) -> impl Iterator<Item = (Processor, &Side)> {
        Processor::ALL
            .into_iter()
            .map(|one| (one, self.sides.get(one)))
    }

    fn charges(&self) -> impl Iterator<Item = (Processor, &Side)> {
        self.sides().filter(|(_, side)| side.here > 0)
    }

    fn rows(&self) -> impl Iterator<Item = (Processor, &Side)> {
        self.sides().filter(|(_, side)| side.there > 0)
    }

    /// When it was asked for: what the journal says, else the book.
    fn at(&self) -> Option<UnixMillis> {
        let here = self.charges().find_map(|(_, side)| side.at);
        let open = self.open.and_then(|open| open.at);
        let there = || self.rows().find_map(|(_, side)| side.booked_at);
        here.or(open).or_else(there)
    }

    fn difference(&self, kind: Kind, (processor, side): (Processor, &Side)) -> Difference {
        Difference {
            kind,
            id: self.id,
            processor: Some(processor),
            other: None,
            here: (side.here > 0).then_some(side.amount),
            there: (side.there > 0).then_some(side.booked),
            at: side.at.or(side.booked_at),
            lines: side.lines,
            doubled: match matches!(kind, Kind::ChargedAtTwo | Kind::ChargedTwice) {
                true => self.doubled(),
                false => ProcessorSet::NONE,
            },
        }
    }

    /// Whose books have it more often than the journal expects; where each is as expected, all that
    /// the journal charged at.
    fn doubled(&self) -> ProcessorSet {
        if self.open.is_none() && self.charges().next().is_none() {
            return ProcessorSet::NONE;
        }
        let is_open = |at| self.open.is_some_and(|open| open.processor == Some(at));
        let is_more = |(at, side): &(_, &Side)| side.there > side.here.max(u32::from(is_open(*at)));
        let more: ProcessorSet = self.rows().filter(is_more).map(|one| one.0).collect();
        match more.is_empty() {
            true => self.charges().map(|one| one.0).collect(),
            false => more,
        }
    }

    /// What is different, most often nothing; two at the most.
    fn judge(&self, terms: &Terms, tally: &mut Tally) -> (Option<Difference>, Option<Difference>) {
        let two = |mut sides: Vec<(Processor, &Side)>| {
            let other = sides.get(1)?.0;
            let first = sides.swap_remove(0);
            Some(Difference {
                other: Some(other),
                ..self.difference(Kind::ChargedAtTwo, first)
            })
        };
        let at_two = two(self.rows().collect()).or_else(|| two(self.charges().collect()));
        let Some((processor, side)) = self.charges().next() else {
            return (at_two.or_else(|| self.uncharged()), None);
        };
        let one = Totals {
            count: 1,
            cents: u128::from(side.amount.0),
        };
        if !terms.books.get(processor) {
            tally.unchecked.get_mut(processor).add(one);
            return (at_two.or_else(|| self.elsewhere((processor, side))), None);
        }
        let is_amount = side.there > 0 && side.booked != side.amount;
        let amount = is_amount.then(|| self.difference(Kind::Amount, (processor, side)));
        if at_two.is_some() {
            return (at_two, amount);
        }
        if side.there > 1 || side.here > 1 {
            let twice = self.difference(Kind::ChargedTwice, (processor, side));
            return (Some(twice), amount);
        }
        if side.there == 0 {
            let missing = || self.difference(Kind::MissingThere, (processor, side));
            let found = self.elsewhere((processor, side)).unwrap_or_else(missing);
            return (Some(found), None);
        }
        if amount.is_none() {
            tally.matched.get_mut(processor).add(one);
        }
        (amount, None)
    }

    /// Charged here; another processor has it instead.
    fn elsewhere(&self, side: (Processor, &Side)) -> Option<Difference> {
        let (other, found) = self.rows().find(|(other, _)| *other != side.0)?;
        Some(Difference {
            other: Some(other),
            there: Some(found.booked),
            lines: found.lines,
            ..self.difference(Kind::OtherProcessor, side)
        })
    }

    /// Not charged here, and not at two.
    fn uncharged(&self) -> Option<Difference> {
        let row = self.rows().next();
        if let Some(open) = self.open {
            let pending = Difference {
                kind: Kind::Pending,
                id: self.id,
                processor: open.processor,
                other: None,
                here: Some(open.amount),
                there: None,
                at: open.at,
                lines: [None; 2],
                doubled: ProcessorSet::NONE,
            };
            return Some(match row {
                Some((processor, side)) => Difference {
                    processor: Some(processor),
                    there: Some(side.booked),
                    lines: side.lines,
                    ..pending
                },
                None => pending,
            });
        }
        let row = row?;
        if row.1.there > 1 {
            return Some(self.difference(Kind::ChargedTwice, row));
        }
        (!self.is_foreign).then(|| self.difference(Kind::MissingHere, row))
    }
}

#[cfg(test)]
#[path = "join/tests.rs"]
mod tests;
