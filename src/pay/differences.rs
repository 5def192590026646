//! What a comparison with the books found, as far as it is kept, and what was told of it before.
//!
//! A double charge is money and has a processor paused. So those have a room of their own, which
//! no number of other differences fills, and only what is not told yet takes room in it: beyond
//! the bound the rest is told by the next comparisons. Pure; `books` compares and tells.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Mono;
use crate::payment::UpstreamId;
use crate::reconcile::{Difference, Kind};

/// Differences of one comparison that are named and remembered, double charges and others each: at
/// 200 bytes 4 MB, and the audit file takes as many lines. All are counted.
const RECONCILE_KEPT_MAX: usize = 10_000;
/// Double charges that are remembered as told, 100 bytes each: ten comparisons that find as many
/// new ones as they keep. No operator lets a processor go on after so many.
const RECONCILE_TOLD_MAX: usize = 100_000;

/// Of which payment, and in what way it differs.
type Key = (UpstreamId, &'static str);

/// The kinds of double charges.
pub(super) const DOUBLES: [Kind; 2] = [Kind::ChargedAtTwo, Kind::ChargedTwice];

/// Whether a charge that was made between the readings of both sides may look like it.
pub(super) fn is_doubtful(kind: Kind) -> bool {
    matches!(kind, Kind::MissingThere | Kind::OtherProcessor)
}

fn key(one: &Difference) -> Key {
    (one.id, one.kind.name())
}

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Double charges, and when each was seen last.
    doubles: BTreeMap<Key, Mono>,
    /// Those of the other kinds that the newest comparison named.
    others: BTreeSet<Key>,
}

impl Told {
    /// It was told before this process.
    pub(super) fn before(&mut self, id: UpstreamId, kind: Kind, now: Mono) {
        if DOUBLES.contains(&kind) {
            self.see((id, kind.name()), now);
        } else {
            self.others.insert((id, kind.name()));
        }
    }

    pub(super) fn has(&self, one: &Difference) -> bool {
        self.doubles.contains_key(&key(one)) || self.others.contains(&key(one))
    }

    /// What is not remembered for want of room is told again, which is better than not at all.
    fn see(&mut self, key: Key, now: Mono) {
        let has_room = self.doubles.len() < RECONCILE_TOLD_MAX;
        if has_room || self.doubles.contains_key(&key) {
            self.doubles.insert(key, now);
        }
    }

    /// The double charges of `found` are told. One that no comparison has seen for `reach` is
    /// beyond their window, and does not come back into it; an absence alone proves nothing, as a
    /// book may be cut short once, or the wall clock be wrong for a while.
    pub(super) fn tell_doubles(&mut self, found: &Found, now: Mono, reach: Duration) {
        for key in found.seen.iter().copied() {
            self.see(key, now);
        }
        for one in &found.doubles {
            self.see(key(one), now);
        }
        self.doubles.retain(|_, seen| seen.after(reach) >= now);
    }

    /// The others are told; what is not among them may differ anew.
    pub(super) fn tell_others(&mut self, found: &Found) {
        self.others = found.others.iter().map(key).collect();
    }
}

/// What one comparison found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// The first double charges that were not told before.
    pub(super) doubles: Vec<Difference>,
    /// Those that were.
    seen: Vec<Key>,
    /// The first of all other kinds, in the order of their ids.
    pub(super) others: Vec<Difference>,
}

impl Found {
    pub(super) fn take(&mut self, one: &Difference, told: &Told) {
        *self.counts.entry(one.kind.name()).or_default() += 1;
        let is_double = DOUBLES.contains(&one.kind);
        if is_double && told.has(one) {
            self.seen.push(key(one));
            return;
        }
        let kept = match is_double {
            true => &mut self.doubles,
            false => &mut self.others,
        };
        if kept.len() < RECONCILE_KEPT_MAX {
            kept.push(*one);
        }
    }

    /// The payments that a second reading has to miss as well.
    pub(super) fn doubtful(&self) -> BTreeSet<UpstreamId> {
        let doubtful = self.others.iter().filter(|one| is_doubtful(one.kind));
        doubtful.map(|one| one.id).collect()
    }

    /// Takes back what a second reading, which says `again` of the doubtful ones, did not find.
    /// What is beyond the bound is counted as it was found: no one looked at it again.
    pub(super) fn take_back(&mut self, again: &BTreeMap<UpstreamId, Difference>) {
        let counts = &mut self.counts;
        self.others.retain_mut(|one| {
            if !is_doubtful(one.kind) {
                return true;
            }
            if let Some(count) = counts.get_mut(one.kind.name()) {
                *count = count.saturating_sub(1);
            }
            let Some(now) = again.get(&one.id) else {
                return false;
            };
            *counts.entry(now.kind.name()).or_default() += 1;
            *one = *now;
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::ProcessorSet;

    fn difference(id: u128, kind: Kind) -> Difference {
        Difference {
            kind,
            id: UpstreamId(id),
            processor: None,
            other: None,
            here: None,
            there: None,
            at: None,
            lines: [None; 2],
            doubled: ProcessorSet::NONE,
        }
    }

    #[test]
    fn double_charges_beyond_the_bound_are_told_by_the_next_comparisons() {
        let (mut told, mut count) = (Told::default(), 0);
        let max = RECONCILE_KEPT_MAX;
        for round in [max, 500, 0] {
            let mut found = Found::default();
            for id in 0..u128::try_from(max).unwrap() + 500 {
                found.take(&difference(id, Kind::MissingHere), &told);
                found.take(&difference(id, Kind::ChargedAtTwo), &told);
            }
            assert_eq!(found.doubles.len(), round);
            assert_eq!(found.counts["charged_at_two"], 10_500);
            told.tell_doubles(&found, Mono(9), Duration::from_micros(9));
            told.tell_others(&found);
            count += found.doubles.len();
        }
        assert_eq!(count, max + 500);
    }

    #[test]
    fn what_was_told_of_a_double_charge_is_forgotten_a_whole_reach_after_it_was_seen() {
        let one = difference(1, Kind::ChargedTwice);
        let mut told = Told::default();
        told.before(one.id, one.kind, Mono(10));
        let reach = Duration::from_micros(10);
        let none = Found::default();
        told.tell_doubles(&none, Mono(15), reach);
        assert!(told.has(&one), "it was only absent");
        let mut found = Found::default();
        found.take(&one, &told);
        assert!(found.doubles.is_empty());
        told.tell_doubles(&found, Mono(20), reach);
        told.tell_doubles(&none, Mono(30), reach);
        assert!(told.has(&one));
        told.tell_doubles(&none, Mono(31), reach);
        assert!(!told.has(&one));
    }

    #[test]
    fn a_second_reading_takes_back_what_it_does_not_find_and_no_more() {
        let mut found = Found::default();
        let more = u128::try_from(RECONCILE_KEPT_MAX).unwrap() + 1;
        for id in 0..more {
            found.take(&difference(id, Kind::MissingThere), &Told::default());
        }
        let mut again: BTreeMap<_, _> = (2..more)
            .map(|id| (UpstreamId(id), difference(id, Kind::MissingThere)))
            .collect();
        again.insert(UpstreamId(1), difference(1, Kind::OtherProcessor));
        found.take_back(&again);
        // The first one is charged by now; the last one was not kept.
        assert_eq!(found.counts["missing_there"], 9_999);
        assert_eq!(found.counts["other_processor"], 1);
        assert_eq!(found.others.len(), RECONCILE_KEPT_MAX - 1);
    }
}
