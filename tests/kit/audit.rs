//! The audit: both processors' rows joined with what every client was told for every request, with
//! what p99 says of each payment, and with its ledger. The rows are the truth.
//!
//! It runs when all faults are over and everything had its time to settle: a payment that is
//! pending even then breaks a promise.

use std::net::SocketAddr;

use p99::testing::payment::UpstreamId;
use p99::testing::sim::Row;

use super::report::Report;
use super::states::{self, Charge, State};
use super::told::{Numbers, Told, Word};

pub(crate) const TWICE: &str = "charged twice";
pub(crate) const LOST: &str = "acknowledged, not charged";
pub(crate) const FALSE_CLAIM: &str = "told \"not charged\", yet charged";
pub(crate) const MISSING: &str = "acknowledged, 404 when asked for";
pub(crate) const LEDGER: &str = "ledger differs from a processor's books";
const STATE: &str = "GET tells another story than the books";
const AMOUNT: &str = "charged with an amount that was not sent";
const STRANGER: &str = "charged, and never sent";
pub(crate) const STUCK: &str = "pending for ever";

/// The clocks of both sides are read in whole milliseconds, in two processes.
const SLACK_MS: i64 = 20;

/// What a run leaves behind.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) address: SocketAddr,
    pub(crate) numbers: Numbers,
    /// How many payments there are.
    pub(crate) count: u32,
    /// The Unix time in milliseconds at which the run began.
    pub(crate) began: i64,
    pub(crate) told: Vec<Told>,
    pub(crate) books: [Vec<Row>; 2],
}

/// One payment with all that is known about it.
struct Case<'a> {
    id: UpstreamId,
    told: &'a [Told],
    rows: Vec<(usize, Row)>,
    state: State,
}

impl Evidence {
    /// Joins everything. What is broken is in `report` afterwards.
    pub(crate) fn audit(mut self, report: &mut Report) {
        self.told.sort_by_key(|told| (told.number, told.sent_ms));
        let states = match states::ask_all(self.address, self.numbers, self.count) {
            Ok(states) => states,
            Err(fault) => {
                report.broke("p99 answers every question", || fault.to_string());
                return;
            }
        };
        let charges = self.charges(report);
        let (mut told, mut charges) = (&self.told[..], &charges[..]);
        for (number, state) in (0_u32..).zip(states) {
            let case = Case {
                id: self.numbers.id(number),
                told: take(&mut told, |told| told.number == number),
                rows: take(&mut charges, |charge| charge.0 == number)
                    .iter()
                    .map(|(_, processor, row)| (*processor, *row))
                    .collect(),
                state,
            };
            self.check(number, &case, report);
        }
        self.check_ledger(report);
        self.tell(report);
    }

    /// Every row by the number of its payment, in order.
    fn charges(&self, report: &mut Report) -> Vec<(u32, usize, Row)> {
        let mut known: Vec<_> = (0..self.count)
            .map(|number| (self.numbers.id(number), number))
            .collect();
        known.sort_unstable();
        let mut charges = Vec::new();
        for (processor, rows) in self.books.iter().enumerate() {
            for row in rows {
                match known.binary_search_by_key(&row.id, |(id, _)| *id) {
                    Ok(place) => charges.push((known[place].1, processor, *row)),
                    Err(_) => report.broke(STRANGER, || format!("{row:?}")),
                }
            }
        }
        charges.sort_unstable_by_key(|(number, processor, _)| (*number, *processor));
        charges
    }

    fn check(&self, number: u32, case: &Case<'_>, report: &mut Report) {
        let story = || {
            format!(
                "{} {:?} {:?} {:?}",
                case.id, case.rows, case.state, case.told
            )
        };
        if case.state == State::Pending {
            report.broke(STUCK, story);
        }
        if case.rows.len() > 1 {
            report.broke(TWICE, story);
        }
        let is_sent = |row: &Row| {
            let is = |told: &Told| self.numbers.amount(number, told.amount) == row.amount;
            case.told.iter().any(is)
        };
        if !case.rows.iter().all(|(_, row)| is_sent(row)) {
            report.broke(AMOUNT, story);
        }
        let is_acknowledged = case.told.iter().any(|told| told.word.is_acknowledged());
        if is_acknowledged && case.state == State::Missing {
            report.broke(MISSING, story);
        }
        if is_acknowledged && case.rows.is_empty() && case.state != State::Pending {
            report.broke(LOST, story);
        }
        let claims = case
            .told
            .iter()
            .filter(|told| matches!(told.word, Word::NotCharged(_)));
        for claim in claims {
            if case
                .rows
                .iter()
                .any(|(_, row)| self.is_false(claim, case.told, row))
            {
                report.broke(FALSE_CLAIM, story);
            }
        }
        if !is_right(case) {
            report.broke(STATE, story);
        }
    }

    /// Whether the claim that nothing was charged is wrong. Another request with the id may have
    /// had it charged later, which is fine, since a "no" frees the id; but only one that was there
    /// when the charge was begun. And a charge that was begun before the refused request came was
    /// not free to be denied.
    fn is_false(&self, claim: &Told, told: &[Told], row: &Row) -> bool {
        let begun = row.requested_at.0 - self.began;
        let is_explained = told.iter().any(|other| {
            other.word.may_have_charged() && i64::from(other.sent_ms) <= begun + SLACK_MS
        });
        !is_explained || begun + SLACK_MS < i64::from(claim.sent_ms)
    }

    /// The ledger is the books.
    fn check_ledger(&self, report: &mut Report) {
        self.check_windows(report);
        let ledger = match states::ask_summary(self.address, "") {
            Ok(ledger) => ledger,
            Err(fault) => return report.broke(LEDGER, || fault),
        };
        for (processor, name) in ["default", "fallback"].into_iter().enumerate() {
            let rows = &self.books[processor];
            let cents: u128 = rows.iter().map(|row| u128::from(row.amount.0)).sum();
            let books = (rows.len() as u64, cents);
            let (ours, sum) = ledger[processor];
            report.row(
                format!("{name}: charged, in the ledger, cents apart"),
                format!("{}, {ours}, {}", books.0, sum.abs_diff(books.1)),
            );
            if ledger[processor] != books {
                report.broke(LEDGER, || {
                    format!("{name}: ledger {:?}, books {books:?}", ledger[processor])
                });
            }
        }
    }

    /// Parts of time between two charges, both ends included.
    fn check_windows(&self, report: &mut Report) {
        let all = self.books.iter().flatten();
        let mut times: Vec<i64> = all.map(|row| row.requested_at.0).collect();
        times.sort_unstable();
        let Some(last) = times.len().checked_sub(1) else {
            return;
        };
        let at = |part: usize| times[last * part / 7];
        for (from, to) in [
            (at(0), at(7)),
            (at(2), at(5)),
            (at(3), at(3)),
            (at(4) + 1, at(6)),
        ] {
            if from > to {
                continue;
            }
            let date = |ms| jiff::Timestamp::from_millisecond(ms).expect("a date of today");
            let query = format!("?from={:.3}&to={:.3}", date(from), date(to));
            let books = self.books.each_ref().map(|rows| {
                let rows = rows.iter();
                let inside = rows.filter(|row| (from..=to).contains(&row.requested_at.0));
                inside.fold((0, 0), |(count, sum): (u64, u128), row| {
                    (count + 1, sum + u128::from(row.amount.0))
                })
            });
            let ours = states::ask_summary(self.address, &query);
            if ours != Ok(books) {
                report.broke(LEDGER, || format!("{query}: {ours:?}, books {books:?}"));
            }
        }
    }

    fn tell(&self, report: &mut Report) {
        let count = |is: &dyn Fn(Word) -> bool| {
            let all = self.told.iter().filter(|told| is(told.word)).count();
            all.to_string()
        };
        report.row(
            "requests, payments",
            format!("{}, {}", self.told.len(), self.count),
        );
        report.row("told 200", count(&|word| word == Word::Charged));
        report.row("told 202", count(&|word| word == Word::Held));
        report.row(
            "told 409 (processed)",
            count(&|word| word == Word::KnownCharged),
        );
        report.row(
            "told 409 (pending, refused)",
            count(&|word| word == Word::Known),
        );
        for status in [422, 502, 503] {
            report.row(
                format!("told {status} \"not charged\""),
                count(&|word| word == Word::NotCharged(status)),
            );
        }
        report.row(
            "told nothing of money",
            count(&|word| matches!(word, Word::ThisRequest(_))),
        );
        report.row("no answer (client left)", {
            let (silent, left) = (
                count(&|word| word == Word::Silence),
                count(&|word| word == Word::Left),
            );
            format!("{silent} ({left})")
        });
        for promise in [TWICE, LOST, FALSE_CLAIM, MISSING, LEDGER, STUCK] {
            report.row_of(promise);
        }
    }
}

/// Whether p99's word about a payment fits the books.
fn is_right(case: &Case<'_>) -> bool {
    match (&case.state, &case.rows[..]) {
        (State::Processed(charge), [(processor, row)]) => {
            *charge
                == Charge {
                    processor: *processor,
                    amount: row.amount,
                    requested_at: row.requested_at,
                }
        }
        // Two rows, and acknowledged ids that are missing, are counted elsewhere.
        (State::Missing, []) | (State::Pending, _) | (_, [_, _, ..]) => true,
        (State::Missing, [_]) => case.told.iter().any(|told| told.word.is_acknowledged()),
        (State::Refused, rows) => rows.is_empty(),
        (State::Processed(_), _) | (State::Odd(_), _) => false,
    }
}

/// Takes the part at the front of `list` that is of one kind.
fn take<'a, T>(list: &mut &'a [T], is: impl Fn(&T) -> bool) -> &'a [T] {
    let end = list.iter().position(|one| !is(one)).unwrap_or(list.len());
    let (taken, rest) = list.split_at(end);
    *list = rest;
    taken
}
