//! The ledger itself: hours by number, and the seconds that are open.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use super::chunk::{self, ChunkFault, Part, Seconds};
use super::horizon::Horizon;
use super::hour::{Cut, Hour, SECONDS};
use super::list::{Entry, List};
use super::open::OpenSecond;
use super::window::{CutsOldSecond, Window};
use crate::clock::{Now, UnixMillis};
use crate::payment::{Cents, PerProcessor, Processor, Totals};

/// Seconds that payments may arrive for at the same time without any list being written anew. A
/// processor that answers after 5 s settles payments of the last 5 s; later ones cost a few
/// microseconds each. Each open second takes 64 KB.
const LEDGER_OPEN_SECONDS: usize = 8;

/// The settled payments of one core.
#[derive(Clone, Debug)]
pub struct Ledger {
    hours: Hours,
    /// A second has its place by its number; another second with the same place pushes it out.
    /// None lies before the boundary.
    open: Vec<OpenSecond>,
    /// How long milliseconds are kept, in seconds.
    exact_secs: i64,
    horizon: Horizon,
    /// Whether the horizon knows what an earlier process left here.
    is_anchored: bool,
}

/// Seconds that are not open.
#[derive(Clone, Debug)]
struct Hours {
    /// By hours since 1970.
    by_number: BTreeMap<i64, Hour>,
    /// Of seconds before this one only the sum is kept. It never moves back, and only as far as
    /// payments were aged: a date of a wall clock that was wrong must not make later ones old.
    boundary: i64,
}

impl Ledger {
    /// An empty ledger that keeps milliseconds for `exact`.
    #[must_use]
    pub fn new(exact: Duration) -> Self {
        let exact_secs = exact
            .as_secs()
            .saturating_add(u64::from(exact.subsec_nanos() > 0));
        Self {
            hours: Hours {
                by_number: BTreeMap::new(),
                boundary: i64::MIN,
            },
            open: vec![OpenSecond::empty(); LEDGER_OPEN_SECONDS],
            exact_secs: i64::try_from(exact_secs).unwrap_or(i64::MAX),
            horizon: Horizon::new(exact_secs),
            is_anchored: false,
        }
    }

    /// Counts a payment that `processor` charged with this `requestedAt`.
    pub fn add(&mut self, processor: Processor, requested_at: UnixMillis, amount: Cents) {
        let second = requested_at.0.div_euclid(1_000);
        if second < self.hours.boundary {
            let mut totals = PerProcessor::<Totals>::default();
            totals.get_mut(processor).add(Totals {
                count: 1,
                cents: u128::from(amount.0),
            });
            self.hours.keep(second, std::iter::empty(), totals);
            return;
        }
        if let Some(open) = self.open.get_mut(place_of(second)) {
            if open.second().is_some_and(|other| other != second) {
                self.hours.take(open);
            }
            open.add(processor, requested_at.0, amount);
        }
    }

    /// Count and sum by processor of the payments from `from` to `to`, both inside; an end that is
    /// absent lies at no time.
    ///
    /// # Errors
    /// When an edge cuts a second with payments of which only the sum is kept.
    pub fn totals(
        &self,
        from: Option<UnixMillis>,
        to: Option<UnixMillis>,
    ) -> Result<PerProcessor<Totals>, CutsOldSecond> {
        let window = Window {
            from: from.map_or(i64::MIN, |at| at.0),
            to: to.map_or(i64::MAX, |at| at.0),
        };
        let mut sums = PerProcessor::default();
        if window.from > window.to {
            return Ok(sums);
        }
        let hours = hour_of(window.from.div_euclid(1_000))..=hour_of(window.to.div_euclid(1_000));
        for (number, hour) in self.hours.by_number.range(hours) {
            let start = number.saturating_mul(3_600_000);
            hour.sum(start, &window, &mut sums)
                .map_err(|Cut| self.cut())?;
        }
        for open in &self.open {
            open.sum(&window, &mut sums);
        }
        Ok(sums)
    }

    /// Keeps only the sum of at most `at_most` seconds that are older than the exact time, and
    /// says of how many. Whatever the wall clock does, time passes as the monotonic clock says.
    pub fn age(&mut self, now: Now, at_most: usize) -> usize {
        if !self.is_anchored {
            self.is_anchored = true;
            if let Some(newest) = self.newest() {
                self.horizon.remember(newest, now);
            }
        }
        let date = self.horizon.look(now);
        self.age_before(date, at_most)
    }

    /// The same for a moment that the caller knows to have come; for those who run once and see no
    /// time pass.
    pub fn age_by(&mut self, date: UnixMillis, at_most: usize) -> usize {
        self.age_to(
            date.0.div_euclid(1_000).saturating_sub(self.exact_secs),
            at_most,
        )
    }

    /// Keeps only the sum of seconds before `date`, which a [`Horizon`] of the caller's gave.
    pub fn age_before(&mut self, date: UnixMillis, at_most: usize) -> usize {
        self.age_to(date.0.div_euclid(1_000), at_most)
    }

    /// What was charged in each second since 1970.
    #[must_use]
    pub fn seconds(&self) -> BTreeMap<(i64, Processor), Totals> {
        let mut seconds = BTreeMap::<_, Totals>::new();
        for ((second, _, _, processor), totals) in self.canonical() {
            seconds.entry((second, processor)).or_default().add(totals);
        }
        seconds
    }

    /// The last second with a payment, at its end.
    #[must_use]
    pub fn newest(&self) -> Option<UnixMillis> {
        let kept = self
            .hours
            .by_number
            .iter()
            .rev()
            .find_map(|(number, hour)| {
                let first = number.saturating_mul(i64::from(SECONDS));
                Some(first.saturating_add(i64::from(hour.last_second()?)))
            });
        let open = self.open.iter().filter_map(OpenSecond::second).max();
        let second = kept.max(open)?;
        Some(UnixMillis(second.saturating_mul(1_000).saturating_add(999)))
    }

    /// Forgets every payment (purge).
    pub fn clear(&mut self) {
        self.hours.by_number.clear();
        self.open.iter_mut().for_each(OpenSecond::clear);
    }

    /// The whole ledger in pieces of at most [`crate::limits::LEDGER_CHUNK_BYTES_MAX`].
    pub fn chunks(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        chunk::write(self.parts())
    }

    /// Adds a piece of a ledger to this one.
    ///
    /// # Errors
    /// The fault, when the bytes are no such piece; then nothing is added.
    pub fn absorb(&mut self, chunk: &[u8]) -> Result<(), ChunkFault> {
        let mut boundary = self.hours.boundary;
        for Part {
            hour: number,
            seconds,
            list,
        } in chunk::read(chunk)?
        {
            if list.is_empty() {
                continue;
            }
            match seconds {
                Seconds::Exact(second) => {
                    let second = number.saturating_mul(i64::from(SECONDS)) + i64::from(second);
                    self.hours.keep(second, list.entries(), list.totals());
                }
                Seconds::Old => {
                    if let Some(last) = list.last_place() {
                        let first = number.saturating_mul(i64::from(SECONDS));
                        boundary = boundary.max(first.saturating_add(i64::from(last) + 1));
                    }
                    self.hours
                        .by_number
                        .entry(number)
                        .or_default()
                        .add_old_list(&list);
                }
            }
        }
        // What another core has aged already is older than the exact time here too.
        self.age_to(boundary, usize::MAX);
        self.hours.boundary = boundary;
        Ok(())
    }

    /// Sweeps the whole ledger for sums that do not agree; for tests.
    #[cfg(test)]
    pub fn check_invariants(&self) {
        for (number, hour) in &self.hours.by_number {
            hour.check_invariants();
            let first = number * i64::from(SECONDS);
            if let Some(second) = hour.first_exact() {
                assert!(
                    first + i64::from(second) >= self.hours.boundary,
                    "what is exact is not old"
                );
            }
            if let Some(second) = hour.old().last_place() {
                assert!(
                    first + i64::from(second) < self.hours.boundary,
                    "what is old is not exact"
                );
            }
        }
    }

    /// Gives up the milliseconds of all seconds before `target`.
    fn age_to(&mut self, target: i64, at_most: usize) -> usize {
        for open in &mut self.open {
            if open.second().is_some_and(|second| second < target) {
                self.hours.take(open);
            }
        }
        self.hours.age_to(target, at_most)
    }

    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let kept = self.hours.by_number.iter().flat_map(|(number, hour)| {
            let old = Some((Seconds::Old, hour.old())).filter(|(_, list)| !list.is_empty());
            let exact = hour
                .exact()
                .map(|(second, list)| (Seconds::Exact(second), list));
            old.into_iter().chain(exact).map(|(seconds, list)| Part {
                hour: *number,
                seconds,
                list: Cow::Borrowed(list),
            })
        });
        let open = self.open.iter().filter_map(|open| {
            let second = open.second()?;
            let list = List::merged(open.entries(), std::iter::empty());
            Some(Part {
                hour: hour_of(second),
                seconds: Seconds::Exact(second_of_hour(second)),
                list: Cow::Owned(list),
            })
        });
        kept.chain(open)
    }

    /// Names the first second that is kept by millisecond, or where the old ones end.
    fn cut(&self) -> CutsOldSecond {
        let kept = self.hours.by_number.iter().find_map(|(number, hour)| {
            let first = number.saturating_mul(i64::from(SECONDS));
            Some(first.saturating_add(i64::from(hour.first_exact()?)))
        });
        let open = self.open.iter().filter_map(OpenSecond::second).min();
        let second = [kept, open].into_iter().flatten().min();
        let second = second.unwrap_or(self.hours.boundary);
        CutsOldSecond {
            boundary: UnixMillis(second.saturating_mul(1_000)),
        }
    }

    /// Every entry by second, whether it is old, millisecond and processor, however it is kept.
    fn canonical(&self) -> BTreeMap<(i64, bool, u16, Processor), Totals> {
        let mut entries = BTreeMap::<_, Totals>::new();
        for Part {
            hour,
            seconds,
            list,
        } in self.parts()
        {
            let first = hour.saturating_mul(i64::from(SECONDS));
            for Entry {
                place,
                processor,
                totals,
            } in list.entries()
            {
                let key = match seconds {
                    Seconds::Old => (first.saturating_add(i64::from(place)), true, 0, processor),
                    Seconds::Exact(second) => (
                        first.saturating_add(i64::from(second)),
                        false,
                        place,
                        processor,
                    ),
                };
                entries.entry(key).or_default().add(totals);
            }
        }
        entries
    }
}

impl Hours {
    /// Takes over an open second.
    fn take(&mut self, open: &mut OpenSecond) {
        if let Some(second) = open.second() {
            self.keep(second, open.entries(), open.totals());
        }
        open.clear();
    }

    /// Adds the payments of one second to its hour.
    fn keep(
        &mut self,
        second: i64,
        entries: impl Iterator<Item = Entry>,
        totals: PerProcessor<Totals>,
    ) {
        let hour = self.by_number.entry(hour_of(second)).or_default();
        if second < self.boundary {
            hour.add_old(second_of_hour(second), totals);
        } else {
            hour.add_exact(second_of_hour(second), entries, totals);
        }
    }

    fn age_to(&mut self, target: i64, at_most: usize) -> usize {
        if target <= self.boundary {
            return 0;
        }
        let mut aged = 0;
        let concerned = hour_of(self.boundary)..=hour_of(target - 1);
        for (number, hour) in self.by_number.range_mut(concerned) {
            while let Some(second) = hour.first_exact() {
                let second = number.saturating_mul(i64::from(SECONDS)) + i64::from(second);
                if second >= target {
                    break;
                }
                if aged == at_most {
                    return aged;
                }
                hour.age_first();
                self.boundary = second.saturating_add(1);
                aged += 1;
            }
        }
        aged
    }
}

/// Equal when they answer every window alike, however they came to it. Meant for tests and
/// checks: it takes both apart.
impl PartialEq for Ledger {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

impl Eq for Ledger {}

fn hour_of(second: i64) -> i64 {
    second.div_euclid(i64::from(SECONDS))
}

fn second_of_hour(second: i64) -> u16 {
    u16::try_from(second.rem_euclid(i64::from(SECONDS))).unwrap_or(0)
}

fn place_of(second: i64) -> usize {
    let places = i64::try_from(LEDGER_OPEN_SECONDS).unwrap_or(1);
    usize::try_from(second.rem_euclid(places)).unwrap_or(0)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
