//! What is asked while records are void, and what must not wait for an answer.

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
