//! What others hold: a lock that a writer waits for, and rows that are not as p99 writes them.

use std::time::Duration;

use super::*;
use crate::store::script;
use crate::store::sql::Statement;

const SECOND: u64 = 1_000_000;

/// An insert waits for a change of the same id that is under way. With own rows changed first, two
/// writers that each claim an id of the other's wait for each other.
#[test]
fn a_batch_claims_before_it_changes_what_others_may_claim() {
    let (mut model, now) = (Model::default(), Boot(1_000));
    let mut one = begun(1, &mut model, now);
    one.append(intent(7, 50), Haste::Now);
    settle(&mut one, &mut model, now);
    one.append(applied(7, 50), Haste::Now);
    one.append(intent(8, 60), Haste::Now);
    let sent = transaction(&mut one, now);
    let calls = script::calls(&sent, None);
    let place = |statement| calls.iter().position(|call| call.statement == statement);
    let (claim, change) = (place(Statement::Claim), place(Statement::Change));
    assert!(claim.is_some() && claim < change, "{claim:?} {change:?}");
}

/// A backend that was left behind may hold a writer's row for as long as a standby is away.
#[test]
fn a_writer_whose_row_stays_locked_says_that_nothing_can_be_kept() {
    let (mut model, now) = (Model::default(), Boot(SECOND));
    let mut one = begun(1, &mut model, now);
    one.append(intent(7, 50), Haste::Now);
    let mut at = now;
    let mut first = None;
    while first.is_none() && at < Boot(20 * SECOND) {
        if let Some(command) = one.next(at) {
            let outcome = match command {
                Command::Connect => Outcome::Connected,
                Command::Transact(_) => Outcome::NotDone {
                    code: *b"55P03",
                    why: "canceling statement due to lock timeout".to_owned(),
                },
            };
            // Each waits for half a second.
            at = at.after(Duration::from_millis(500));
            one.outcome(outcome, at);
        }
        at = at.after(Duration::from_millis(10));
        let is_said = |one: &Report| matches!(one, Report::Unreachable { .. });
        first = told(&mut one).iter().any(is_said).then_some(at);
    }
    let first = first.expect("it says so");
    assert!(
        first > now.after(limits::STORE_FRESH),
        "a moment is no news"
    );
    assert!(first < now.after(limits::STORE_LEASE), "{first:?}");
}

/// The rest of the page is gone on with, and the row stays this writer's: sums must not be told
/// without it.
#[test]
fn a_row_that_cannot_be_read_stays_open_and_keeps_no_other_back() {
    let (mut model, now) = (Model::default(), Boot(1_000));
    let mut dead = begun(1, &mut model, now);
    for number in [7, 8] {
        dead.append(intent(number, 50), Haste::Now);
    }
    settle(&mut dead, &mut model, now);
    let later = now.after(limits::STORE_LEASE).after(limits::STORE_LEASE);
    let mut live = begun(2, &mut model, later);
    let of = (dead.writer().unwrap(), Epoch(1));
    let adoption = adopt_twice(&mut live, of, &mut model, later);
    let mut heir = Machine::adopted(terms(3, later), &adoption);
    while let Some(command) = heir.next(later) {
        let outcome = match command {
            Command::Connect => Outcome::Connected,
            Command::Transact(transaction) => {
                let mut answer = model.perform(&transaction, later.0);
                if let Answer::Batch { reading, .. } = &mut answer
                    && let Some(place) = reading.page.iter().position(|row| row.id.0 == 8)
                {
                    let lost = reading.page.remove(place);
                    reading
                        .unreadable
                        .push((lost.id, "not as p99 writes it".to_owned()));
                }
                Outcome::Acknowledged(answer)
            }
        };
        heir.outcome(outcome, later);
    }
    let pages = told(&mut heir)
        .into_iter()
        .filter_map(|report| match report {
            Report::Page { rows, .. } => Some(rows.len()),
            _ => None,
        });
    assert_eq!(pages.sum::<usize>(), 1);
    heir.append(applied(7, 50), Haste::Now);
    settle(&mut heir, &mut model, later);
    assert!(!heir.is_done(), "its lease is kept");
    let writer = model.writers.get(&dead.writer().unwrap()).unwrap();
    assert_eq!(
        writer.open_since,
        Some(50),
        "who comes next looks there again"
    );
}
