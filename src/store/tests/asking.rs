//! What is asked while records are void, and what must not wait for an answer.

use super::super::exchange::Reads;
use super::super::questions::{STORE_ASK_AGAIN, STORE_QUESTIONS_MAX};
use super::*;

fn accept(number: u128, at: i64) -> Record {
    Record::Accept {
        payment: payment(number),
        accepted_at: UnixMillis(at),
    }
}

/// A lost claim takes the records behind it out of the queue. Where they were the last ones a
/// question that is asked afterwards must still be carried, and nothing may spin.
#[test]
fn a_question_behind_records_that_were_void_is_answered() {
    let (mut model, now) = (Model::default(), Boot(1_000));
    let mut one = begun(1, &mut model, now);
    let mut other = begun(2, &mut model, now);
    one.append(intent(7, 50), Haste::Now);
    settle(&mut one, &mut model, now);
    // ACK=accepted without an idle connection: the Intent follows while the Accept is written.
    other.append(accept(7, 60), Haste::Now);
    let sent = transaction(&mut other, now);
    other.append(intent(7, 61), Haste::Now);
    let answer = model.perform(&sent, now.0);
    other.outcome(Outcome::Acknowledged(answer), now);
    settle(&mut other, &mut model, now);
    let question = other.ask(Question::Find(UpstreamId(99)));
    let mut batches = 0;
    while batches < 1_000
        && let Some(command) = other.next(now)
    {
        batches += 1;
        let Command::Transact(transaction) = command else {
            panic!("it has a connection")
        };
        let answer = model.perform(&transaction, now.0);
        other.outcome(Outcome::Acknowledged(answer), now);
    }
    let reply = Reply::Found(None);
    let is_answered = told(&mut other).contains(&Report::Answered { question, reply });
    assert!(
        is_answered && batches == 1,
        "{batches} batches, answered: {is_answered}"
    );
    assert_eq!(other.durable(), other.last());
}

/// The role's statement_timeout ends a DELETE of many rows with 57014, each time anew. The purge
/// must be given up; what else is in its batch, and all that comes after, must not wait for it.
#[test]
fn a_purge_that_the_server_ends_again_and_again_does_not_stop_its_writer() {
    let (mut model, mut now) = (Model::default(), Boot(1_000));
    let mut one = begun(1, &mut model, now);
    let question = one.ask(Question::Purge);
    one.append(intent(7, 50), Haste::Now);
    let mut tries = 0;
    while tries < 100 {
        let Some(command) = one.next(now) else {
            now = one.wake_at().unwrap().max(Boot(now.0 + 1));
            continue;
        };
        let Command::Transact(transaction) = command else {
            panic!("it has a connection")
        };
        let is_purge = matches!(&*transaction, Transaction::Batch { batch, .. } if batch.is_purge);
        let outcome = if is_purge {
            tries += 1;
            now = Boot(now.0 + 2_000_000);
            Outcome::NotDone {
                code: *b"57014",
                why: "canceling statement due to statement timeout".to_owned(),
            }
        } else {
            Outcome::Acknowledged(model.perform(&transaction, now.0))
        };
        one.outcome(outcome, now);
        if tries == 1 {
            one.append(intent(8, 51), Haste::Now);
        }
        if one.durable() >= 2 {
            break;
        }
    }
    let answered = told(&mut one).iter().any(
        |report| matches!(report, Report::Answered { question: other, .. } if *other == question),
    );
    assert!(
        tries < 100,
        "{tries} times in {} s; answered: {answered}",
        now.0 / 1_000_000
    );
}

/// A purge may take long, so no record of a payment goes with it; and what is open is all that it
/// has to know before.
#[test]
fn a_purge_goes_alone_and_reads_no_charges_before() {
    let (mut model, now) = (Model::default(), Boot(1_000));
    let mut one = begun(1, &mut model, now);
    one.append(intent(7, 50), Haste::Now);
    let question = one.ask(Question::Purge);
    let before = transaction(&mut one, now);
    let Transaction::Batch { batch, reads } = &before else {
        panic!("{before:?}")
    };
    assert!(!batch.is_purge && reads.open && reads.sums.is_empty());
    let answer = model.perform(&before, now.0);
    one.append(applied(7, 50), Haste::Now);
    one.append(intent(8, 51), Haste::Now);
    one.outcome(Outcome::Acknowledged(answer), now);
    let later = now.after(STORE_ASK_AGAIN);
    let purge = transaction(&mut one, later);
    let Transaction::Batch { batch, reads } = &purge else {
        panic!("{purge:?}")
    };
    assert!(batch.is_purge && batch.claims.is_empty() && batch.updates.is_empty());
    assert_eq!((batch.open_since, reads), (Some(50), &Reads::default()));
    let answer = model.perform(&purge, later.0);
    one.outcome(Outcome::Acknowledged(answer), later);
    settle(&mut one, &mut model, later);
    let reply = Reply::Purged;
    assert!(told(&mut one).contains(&Report::Answered { question, reply }));
    assert_eq!(one.durable(), 3);
}

/// Two purges, or a purge and a batch, may lock rows in each other's way: that passes.
#[test]
fn a_purge_that_was_in_anothers_way_is_tried_again_for_a_while() {
    for was_doubtful in [false, true] {
        let (mut model, mut now) = (Model::default(), Boot(1_000));
        let mut one = begun(1, &mut model, now);
        let question = one.ask(Question::Purge);
        let mut tries = 0;
        let reply = loop {
            let Some(command) = one.next(now) else {
                now = one.wake_at().unwrap().max(Boot(now.0 + 1));
                continue;
            };
            let outcome = match command {
                Command::Connect => Outcome::Connected,
                Command::Transact(transaction) => match &*transaction {
                    Transaction::Batch { batch, .. } if batch.is_purge => {
                        tries += 1;
                        now = Boot(now.0 + 400_000);
                        let (code, why) = (*b"40P01", "deadlock detected".to_owned());
                        if was_doubtful {
                            Outcome::Doubtful("cut".to_owned())
                        } else {
                            Outcome::NotDone { code, why }
                        }
                    }
                    _ => Outcome::Acknowledged(model.perform(&transaction, now.0)),
                },
            };
            one.outcome(outcome, now);
            let answered = told(&mut one).into_iter().find_map(|report| match report {
                Report::Answered {
                    question: of,
                    reply,
                } if of == question => Some(reply),
                _ => None,
            });
            if let Some(reply) = answered {
                break reply;
            }
        };
        assert_eq!((tries, reply), (3, Reply::Unavailable), "{was_doubtful}");
    }
}

/// A core that asks for too much is refused that, and not what it must know: without the winner of
/// a claim that was lost its payment has no answer.
#[test]
fn one_question_too_many_is_refused_alone_and_winners_stay() {
    let (mut model, now) = (Model::default(), Boot(1_000));
    let mut one = begun(1, &mut model, now);
    let mut other = begun(2, &mut model, now);
    one.append(intent(7, 50), Haste::Now);
    settle(&mut one, &mut model, now);
    other.append(intent(7, 60), Haste::Now);
    let sent = transaction(&mut other, now);
    let answer = model.perform(&sent, now.0);
    other.outcome(Outcome::Acknowledged(answer), now);
    for number in 0..STORE_QUESTIONS_MAX {
        other.ask(Question::Find(UpstreamId(number as u128 + 100)));
    }
    settle(&mut other, &mut model, now);
    let told = told(&mut other);
    let count = |of: &Reply| {
        let is = |report: &&Report| matches!(report, Report::Answered { reply, .. } if reply == of);
        told.iter().filter(is).count()
    };
    let answered = (count(&Reply::Unavailable), count(&Reply::Found(None)));
    assert_eq!(answered, (1, STORE_QUESTIONS_MAX - 1));
    let is_known = |report: &Report| matches!(report, Report::Known { row: Some(_), .. });
    assert!(told.iter().any(is_known), "the winner");
}
