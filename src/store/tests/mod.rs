//! Machines on the model of a store: one step after the other, and many in a race while commits are
//! lost, repeated and held back.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test waits for one of many reports"
)]

mod asking;
mod locked;
mod outage;
mod race;
mod sums;
mod sweep;

use super::batch::Batch;
use super::model::Model;
use super::*;
use crate::clock::{Boot, UnixMillis};
use crate::journal::{Fate, Haste, Verdict};
use crate::limits;
use crate::payment::{Cents, CorrelationId, Payment, Processor, UpstreamId};
use crate::store::machine::STORE_HEARTBEAT_OPEN;

const A: Processor = Processor::DEFAULT;

pub(super) fn payment(number: u128) -> Payment {
    let id = UpstreamId(number);
    Payment {
        id,
        correlation_id: CorrelationId::try_new(&id.to_string()).unwrap(),
        amount: Cents(1_990),
    }
}

pub(super) fn intent(number: u128, at: i64) -> Record {
    Record::Intent {
        payment: payment(number),
        processor: A,
        requested_at: UnixMillis(at),
        accepted_at: None,
        address: None,
    }
}

pub(super) fn applied(number: u128, at: i64) -> Record {
    Record::Verdict {
        id: UpstreamId(number),
        verdict: Verdict::Applied {
            processor: A,
            amount: Cents(1_990),
            requested_at: UnixMillis(at),
        },
    }
}

pub(super) fn freed(number: u128) -> Record {
    Record::Verdict {
        id: UpstreamId(number),
        verdict: Verdict::Refused {
            processor: A,
            fate: Fate::Freed,
        },
    }
}

fn terms(seed: u64, now: Boot) -> MachineTerms {
    MachineTerms {
        holder: format!("host/{seed}"),
        seed,
        is_lookout: false,
        now,
    }
}

pub(super) fn machine(seed: u64, now: Boot) -> Machine {
    Machine::new(terms(seed, now))
}

/// Everything that `machine` says.
fn told(machine: &mut Machine) -> Vec<Report> {
    std::iter::from_fn(|| machine.next_report()).collect()
}

/// Performs what `machine` wants done until it wants nothing at `now`.
fn settle(machine: &mut Machine, model: &mut Model, now: Boot) {
    while let Some(command) = machine.next(now) {
        let outcome = match command {
            Command::Connect => Outcome::Connected,
            Command::Transact(transaction) => {
                Outcome::Acknowledged(model.perform(&transaction, now.0))
            }
        };
        machine.outcome(outcome, now);
    }
}

/// The next transaction of a machine that has a connection.
fn transaction(machine: &mut Machine, now: Boot) -> Transaction {
    loop {
        match machine.next(now) {
            Some(Command::Transact(transaction)) => return *transaction,
            Some(Command::Connect) => machine.outcome(Outcome::Connected, now),
            None => panic!("it wants nothing"),
        }
    }
}

fn begun(seed: u64, model: &mut Model, now: Boot) -> Machine {
    let mut one = machine(seed, now);
    settle(&mut one, model, now);
    assert!(matches!(
        &told(&mut one)[..],
        [Report::Ready { .. }, Report::Durable { up_to: 0, .. }]
    ));
    one
}

#[test]
fn the_second_claim_of_an_id_is_lost_before_it_is_durable_and_its_winner_known() {
    let (mut model, now) = (Model::default(), Boot(1_000));
    let mut one = begun(1, &mut model, now);
    let mut other = begun(2, &mut model, now);
    one.append(intent(7, 50), Haste::Now);
    settle(&mut one, &mut model, now);
    assert!(matches!(
        told(&mut one)[..],
        [Report::Durable { up_to: 1, .. }]
    ));
    other.append(intent(7, 60), Haste::Now);
    other.append(intent(8, 61), Haste::Now);
    // The owner gave it up before it knew; that record is void.
    let sent = transaction(&mut other, now);
    other.append(freed(7), Haste::Now);
    let answer = model.perform(&sent, now.0);
    other.outcome(Outcome::Acknowledged(answer), now);
    settle(&mut other, &mut model, now);
    let told = told(&mut other);
    let [
        Report::Lost { sequence: 1, id },
        Report::Durable { up_to: 2, .. },
        rest @ ..,
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(*id, UpstreamId(7));
    let known = rest.iter().find_map(|report| match report {
        Report::Known {
            sequence: 1, row, ..
        } => *row,
        _ => None,
    });
    let known = known.unwrap();
    assert_eq!((known.writer, known.at.0), (one.writer().unwrap(), 50));
    assert_eq!(other.open_rows(), 1);
    assert!(
        model.rows.contains_key(&UpstreamId(7)),
        "not freed by the loser"
    );
}

#[test]
fn a_batch_in_doubt_is_asked_about_and_counts_once() {
    for was_applied in [true, false] {
        let (mut model, now) = (Model::default(), Boot(1_000));
        let mut one = begun(1, &mut model, now);
        one.append(intent(7, 50), Haste::Now);
        settle(&mut one, &mut model, now);
        one.append(applied(7, 50), Haste::Now);
        one.append(intent(8, 51), Haste::Now);
        let first = transaction(&mut one, now);
        if was_applied {
            model.perform(&first, now.0);
        }
        one.outcome(Outcome::Doubtful("cut".to_owned()), now);
        let asked = transaction(&mut one, now);
        assert!(matches!(asked, Transaction::Resolve { .. }));
        let answer = model.perform(&asked, now.0);
        one.outcome(Outcome::Acknowledged(answer), now);
        // A copy that was on its way for long comes to nothing now.
        let late = model.perform(&first, now.0);
        assert!(matches!(late, Answer::Batch { held: false, .. }));
        settle(&mut one, &mut model, now);
        assert_eq!(one.durable(), 3);
        assert_eq!(model.totals().get(A).count, 1, "{was_applied}");
        assert_eq!(one.doubtful(), 1);
    }
}

#[test]
fn a_conflict_sends_the_same_batch_again_under_another_nonce() {
    let (mut model, now) = (Model::default(), Boot(1_000));
    let mut one = begun(1, &mut model, now);
    one.append(intent(7, 50), Haste::Now);
    let Transaction::Batch { batch: first, .. } = transaction(&mut one, now) else {
        panic!("no batch")
    };
    let code = *b"40P01";
    let why = "deadlock".to_owned();
    one.outcome(Outcome::NotDone { code, why }, now);
    let later = one.wake_at().unwrap();
    let Transaction::Batch { batch: second, .. } = transaction(&mut one, later) else {
        panic!("no batch")
    };
    assert_ne!(first.nonce, second.nonce);
    let expected = Batch {
        nonce: second.nonce,
        ..first
    };
    assert_eq!(expected, second);
}

/// Adopts a writer, tries to do so again, and returns the only adoption.
fn adopt_twice(
    live: &mut Machine,
    (writer, epoch): (WriterId, Epoch),
    model: &mut Model,
    now: Boot,
) -> Adoption {
    live.adopt_one(&[(writer, epoch)]);
    live.adopt_one(&[(writer, epoch)]);
    settle(live, model, now);
    let adopted: Vec<Adoption> = told(live)
        .into_iter()
        .filter_map(|report| match report {
            Report::Adopted(adoption) => Some(adoption),
            _ => None,
        })
        .collect();
    let [adoption] = adopted[..] else {
        panic!("{adopted:?}")
    };
    adoption
}

#[test]
fn a_writer_that_was_adopted_is_fenced_and_its_rows_go_on_elsewhere() {
    let (mut model, now) = (Model::default(), Boot(1_000));
    let mut dead = begun(1, &mut model, now);
    dead.append(intent(7, 50), Haste::Now);
    settle(&mut dead, &mut model, now);
    let later = now.after(limits::STORE_LEASE).after(limits::STORE_LEASE);
    let mut live = Machine::new(MachineTerms {
        is_lookout: true,
        ..terms(2, later)
    });
    settle(&mut live, &mut model, later);
    let later = later.after(limits::STORE_LOOK_GRACE);
    settle(&mut live, &mut model, later);
    let expired = told(&mut live).into_iter().find_map(|report| match report {
        Report::Expired(all) => Some(all),
        _ => None,
    });
    let (writer, epoch) = expired.unwrap()[0];
    assert_eq!(Some(writer), dead.writer());
    let adoption = adopt_twice(&mut live, (writer, epoch), &mut model, later);
    let sum = |live: &mut Machine, model: &mut Model| {
        live.ask(Question::Sum(Window::ALL));
        settle(live, model, later);
        told(live)
    };
    let is_unavailable = |report: &Report| {
        matches!(
            report,
            Report::Answered {
                reply: Reply::Unavailable,
                ..
            }
        )
    };
    let sums = sum(&mut live, &mut model);
    assert!(
        sums.iter().any(is_unavailable),
        "its client may have been told 200"
    );

    let mut second = Machine::adopted(terms(3, later), &adoption);
    settle(&mut second, &mut model, later);
    let rows = told(&mut second)
        .into_iter()
        .find_map(|report| match report {
            Report::Page {
                rows,
                is_last: true,
            } => Some(rows),
            _ => None,
        });
    let rows = rows.unwrap();
    assert_eq!((rows.len(), rows[0].at.0), (1, 50));
    // The zombie wakes.
    dead.append(intent(9, 70), Haste::Now);
    settle(&mut dead, &mut model, later);
    assert_eq!(told(&mut dead).last(), Some(&Report::Fenced));
    assert!(dead.has_ended() && !model.rows.contains_key(&UpstreamId(9)));
    second.append(Record::Heard { id: UpstreamId(7) }, Haste::Now);
    settle(&mut second, &mut model, later);
    let sums = sum(&mut live, &mut model);
    assert!(!sums.iter().any(is_unavailable), "{sums:?}");
    second.append(applied(7, 50), Haste::Now);
    settle(&mut second, &mut model, later);
    assert_eq!(model.totals().get(A).count, 1);
}

#[test]
fn a_database_that_went_back_is_named_with_the_ids_that_it_forgot() {
    let (mut model, now) = (Model::default(), Boot(1_000));
    let mut one = begun(1, &mut model, now);
    one.append(intent(7, 50), Haste::Now);
    settle(&mut one, &mut model, now);
    let old = model.clone();
    one.append(intent(8, 51), Haste::Now);
    settle(&mut one, &mut model, now);
    one.append(intent(9, 52), Haste::Now);
    transaction(&mut one, now);
    one.outcome(Outcome::Doubtful("cut".to_owned()), now);
    told(&mut one);
    let mut model = old;
    settle(&mut one, &mut model, now);
    let told = told(&mut one);
    let Some(Report::WentBack { ids, .. }) = told.last() else {
        panic!("{told:?}")
    };
    assert_eq!(ids[..], [UpstreamId(8)]);
}

#[test]
fn what_is_not_in_haste_goes_with_the_next_batch_or_after_50_ms() {
    let (mut model, now) = (Model::default(), Boot(1_000));
    let mut one = begun(1, &mut model, now);
    assert_eq!(one.wake_at(), Some(now.after(limits::STORE_HEARTBEAT)));
    one.append(intent(7, 50), Haste::Now);
    settle(&mut one, &mut model, now);
    let open = now.after(STORE_HEARTBEAT_OPEN);
    assert_eq!(one.wake_at(), Some(open), "sums elsewhere wait for it");
    one.append(applied(7, 50), Haste::Later);
    assert_eq!(one.next(now), None);
    settle(&mut one, &mut model, open);
    assert_eq!(one.durable(), 2);
}

#[test]
fn a_close_writes_everything_and_ends_the_lease() {
    let (mut model, now) = (Model::default(), Boot(1_000));
    let mut one = begun(1, &mut model, now);
    one.append(intent(7, 50), Haste::Later);
    one.close();
    settle(&mut one, &mut model, now);
    assert!(one.has_ended() && one.durable() == 1);
    let writer = &model.writers[&one.writer().unwrap()];
    assert_eq!((writer.lease_until, writer.open_since), (now.0, Some(50)));
}

#[test]
fn questions_are_answered_when_nothing_can_be_reached() {
    let mut one = machine(1, Boot(0));
    let number = one.ask(Question::Find(UpstreamId(1)));
    let mut now = Boot(0);
    while now < Boot(3_000_000) {
        if one.next(now).is_some() {
            one.outcome(Outcome::Unconnected("refused".to_owned()), now);
        }
        now = one.wake_at().unwrap();
    }
    let told = told(&mut one);
    assert!(told.contains(&Report::Unreachable { since: Boot(0) }));
    let reply = Reply::Unavailable;
    let question = number;
    assert!(told.contains(&Report::Answered { question, reply }));
}
