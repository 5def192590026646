//! What a journal says, as rows and sums of the writer that it is imported as. Pure; `import`
//! brings them into the store.
//!
//! Rows are the ids that the journal knows, sums are its ledger, second by second: it has every
//! charge, while ids that settled long ago are forgotten. In a second where the two differ no
//! window can be exact to the millisecond.

use std::collections::{BTreeMap, BTreeSet};

use super::batch::{Claim, Sum};
use super::parts::hour_of;
use super::record::{Row, RowStatus, WriterId};
use crate::claims::{FirstAnswer, SettledClaim};
use crate::clock::UnixMillis;
use crate::journal::Pending;
use crate::journal::replay::State;
use crate::limits;
use crate::payment::{Cents, Payment, Processor, Status, Totals, UpstreamId};
use crate::wire::write_instant;

/// See the header of this file.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// One for each id, in their order.
    pub(super) claims: Vec<Claim>,
    /// What was charged in each second since 1970. A second that another journal has counted too
    /// stays here, also with nothing left in it.
    pub(super) sums: BTreeMap<(i64, Processor), Totals>,
}

/// How an id of the journal is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is not there.
    Absent,
    /// An earlier turn of this import brought it.
    Own,
    /// Another journal had it too, and says the same of it.
    Same,
    /// What is there is something else.
    Other,
}

impl Facts {
    /// What `state` says.
    pub(super) fn of(state: &State) -> Self {
        let pending = state.pending().into_iter().filter(|one| one.is_kept());
        let pending = pending.map(of_pending);
        let settled = state.settled().map(|(id, claim)| of_settled(id, &claim));
        // What is pending had settled before, and was forgotten.
        let all: BTreeMap<UpstreamId, Claim> =
            settled.chain(pending).map(|one| (one.id, one)).collect();
        Self {
            claims: all.into_values().collect(),
            sums: state.ledger.seconds(),
        }
    }

    /// How many ids are open.
    pub(super) fn open(&self) -> usize {
        self.claims
            .iter()
            .filter(|one| one.status.is_open())
            .count()
    }

    /// Leaves these ids, which another journal has brought, to it; it has counted them.
    pub(super) fn leave(&mut self, ids: &BTreeSet<UpstreamId>) {
        for claim in self.claims.iter().filter(|one| ids.contains(&one.id)) {
            let Some(key) = second(claim) else { continue };
            let sum = self.sums.entry(key).or_default();
            sum.count = sum.count.saturating_sub(1);
            sum.cents = sum.cents.saturating_sub(claim.amount.0.into());
        }
        self.claims.retain(|one| !ids.contains(&one.id));
    }

    /// Which open rows linger, and the least `at` of the others.
    pub(super) fn lingering(&self) -> (BTreeSet<UpstreamId>, Option<i64>) {
        let open = self.claims.iter().filter(|one| one.status.is_open());
        let open: BTreeSet<(i64, UpstreamId)> = open.map(|one| (one.at.0, one.id)).collect();
        let most = usize::try_from(limits::STORE_PAGE_ROWS).unwrap_or(usize::MAX);
        let lingering = open.iter().take(most).map(|(_, id)| *id).collect();
        (lingering, open.iter().nth(most).map(|(at, _)| *at))
    }

    /// From when on, in milliseconds since 1970, every charge has its row: 0 if all have.
    pub(super) fn exact_from(&self) -> i64 {
        let mut rows = BTreeMap::<_, Totals>::new();
        for claim in &self.claims {
            if let Some(key) = second(claim) {
                let cents = claim.amount.0.into();
                rows.entry(key).or_default().add(Totals { count: 1, cents });
            }
        }
        let is_other = |of: &BTreeMap<(i64, Processor), Totals>, key: &(i64, Processor), sum| {
            of.get(key).copied().unwrap_or_default() != sum
        };
        let without = self
            .sums
            .iter()
            .filter(|(key, sum)| is_other(&rows, key, **sum));
        let beyond = rows
            .iter()
            .filter(|(key, sum)| is_other(&self.sums, key, **sum));
        let last = without.chain(beyond).map(|((second, _), _)| *second).max();
        last.map_or(0, |second| second.saturating_add(1).saturating_mul(1_000))
    }

    /// The sums as they are written, by seconds and by hours; `None` if one is larger than a table
    /// can hold.
    pub(super) fn written(&self) -> Option<Vec<Sum>> {
        let mut hours: BTreeMap<(i64, Processor), Totals> = BTreeMap::new();
        for ((second, processor), totals) in &self.sums {
            let hour = hours.entry((hour_of(*second), *processor));
            hour.or_default().add(*totals);
        }
        let sum = |((second, processor), totals): (&(i64, Processor), &Totals)| {
            Some(Sum {
                processor: *processor,
                second: *second,
                count: i64::try_from(totals.count).ok()?,
                cents: i64::try_from(totals.cents).ok()?,
            })
        };
        self.sums.iter().chain(&hours).map(sum).collect()
    }
}

/// How `claim` stands in the store, whose row of it is `row`.
pub(super) fn find(claim: &Claim, row: Option<&Row>, own: WriterId) -> Found {
    let Some(row) = row else {
        return Found::Absent;
    };
    let is = (row.amount, row.status, row.processor, row.at);
    let is_same = is == (claim.amount, claim.status, claim.processor, claim.at);
    match (is_same, row.writer == own) {
        (true, true) => Found::Own,
        (true, false) => Found::Same,
        (false, _) => Found::Other,
    }
}

/// What the journal says of an id, and what the store does, for an operator.
pub(super) fn both(claim: &Claim, row: &Row) -> String {
    let journal = in_words(claim.status, claim.processor, claim.amount, claim.at);
    let store = in_words(row.status, row.processor, row.amount, row.at);
    format!("{}: {journal}; in the store {store}", claim.id)
}

fn in_words(
    status: RowStatus,
    processor: Option<Processor>,
    amount: Cents,
    at: UnixMillis,
) -> String {
    let mut text = status.in_api().name().as_bytes().to_vec();
    if let Some(processor) = processor {
        text.extend(format!(" at {}", processor.name()).bytes());
    }
    text.extend(b", ");
    amount.write(&mut text);
    text.extend(b", ");
    write_instant(at, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// The second in which it counts, if it does.
fn second(claim: &Claim) -> Option<(i64, Processor)> {
    let processor = claim.processor.filter(|_| claim.status.is_counted())?;
    Some((claim.at.0.div_euclid(1_000), processor))
}

fn of_pending(pending: &Pending) -> Claim {
    let Payment {
        id,
        correlation_id,
        amount,
    } = pending.payment;
    let (open, first) = (pending.open, pending.earlier.first());
    let is_canonical = correlation_id.as_str().as_bytes() == id.spell();
    let sent_at = open.map(|sent| sent.requested_at);
    Claim {
        id,
        correlation_id: (!is_canonical).then(|| correlation_id.as_str().to_owned()),
        amount,
        at: sent_at.or(pending.accepted_at).unwrap_or_default(),
        accepted_at: pending.accepted_at,
        status: match pending.accepted_at {
            Some(_) => RowStatus::Promised,
            None => RowStatus::Open,
        },
        processor: open.map(|sent| sent.processor),
        address: open.and_then(|sent| sent.address),
        first_sent: first.map(|sent| sent.requested_at).or(sent_at),
    }
}

fn of_settled(id: UpstreamId, claim: &SettledClaim) -> Claim {
    let status = match (claim.status, claim.counted, claim.first_answer) {
        (Status::Refused | Status::Pending, ..) => RowStatus::Refused,
        (Status::Processed, false, _) => RowStatus::Foreign,
        (Status::Processed, true, FirstAnswer::Answered200) => RowStatus::Charged,
        (Status::Processed, true, FirstAnswer::Accepted202) => RowStatus::ChargedAfterPromise,
    };
    Claim {
        id,
        correlation_id: None,
        amount: claim.amount,
        // A refusal has no date of its own, and counts nowhere.
        at: claim.requested_at.unwrap_or_default(),
        accepted_at: None,
        status,
        processor: claim.processor,
        address: None,
        first_sent: claim.requested_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Processor = Processor::DEFAULT;

    fn claim(id: u128, status: RowStatus, at: i64) -> Claim {
        Claim {
            id: UpstreamId(id),
            correlation_id: None,
            amount: Cents(10),
            at: UnixMillis(at),
            accepted_at: None,
            status,
            processor: Some(A),
            address: None,
            first_sent: Some(UnixMillis(at)),
        }
    }

    fn facts(claims: Vec<Claim>, sums: &[(i64, u64)]) -> Facts {
        let totals = |count: u64| Totals {
            count,
            cents: u128::from(count) * 10,
        };
        let sums = sums.iter().map(|(second, n)| ((*second, A), totals(*n)));
        Facts {
            claims,
            sums: sums.collect(),
        }
    }

    #[test]
    fn a_window_is_exact_behind_the_last_second_whose_rows_are_not_its_sum() {
        use RowStatus::{Charged, Foreign, Open};
        let rows = vec![
            claim(1, Charged, 5_000),
            claim(2, Charged, 5_999),
            claim(3, Foreign, 7_000),
            claim(4, Open, 8_000),
            claim(5, Charged, 9_000),
        ];
        for (sums, expected) in [
            (&[(5, 2), (9, 1)][..], 0),
            (&[(3, 1), (5, 2), (9, 1)], 4_000),
            (&[(5, 3), (9, 1)], 6_000),
            (&[(5, 2)], 10_000),
        ] {
            assert_eq!(facts(rows.clone(), sums).exact_from(), expected, "{sums:?}");
        }
    }

    #[test]
    fn what_another_journal_brought_counts_there_and_stays_as_a_second_of_less() {
        let rows = vec![
            claim(1, RowStatus::Charged, 5_000),
            claim(2, RowStatus::Charged, 6_000),
        ];
        let mut all = facts(rows, &[(5, 1), (6, 2)]);
        all.leave(&[UpstreamId(1), UpstreamId(2)].into());
        assert!(all.claims.is_empty());
        let left: Vec<i64> = all.written().unwrap().iter().map(|sum| sum.count).collect();
        assert_eq!(left, [0, 1, 1], "two seconds and their hour");
        assert_eq!(all.sums[&(6, A)].cents, 10);
    }

    #[test]
    fn the_oldest_open_rows_linger_and_the_others_are_found_by_their_time() {
        let most = i64::from(limits::STORE_PAGE_ROWS);
        let open = |number: i64| {
            let id = u128::from(number.unsigned_abs());
            claim(id, RowStatus::Open, 1_000 - number)
        };
        let (lingering, since) = facts((0..most).map(open).collect(), &[]).lingering();
        assert_eq!((lingering.len() as i64, since), (most, None));
        let (lingering, since) = facts((0..most + 2).map(open).collect(), &[]).lingering();
        assert_eq!((lingering.len() as i64, since), (most, Some(999)));
        assert!(!lingering.contains(&UpstreamId(1)));
    }
}
