//! What a sum waits for at another writer.

use super::super::questions::STORE_ASK_AGAIN;
use super::*;
use crate::payment::WindowSums;

/// A client of `one` was told 200 early, and its verdict stands behind more than a batch holds. The
/// sum that another instance is asked for then has it, however many batches that takes.
#[test]
fn a_sum_has_what_was_told_before_it_however_much_waits_to_be_written() {
    let (mut model, now) = (Model::default(), Boot(1_000));
    let mut one = begun(1, &mut model, now);
    let mut asking = begun(2, &mut model, now);
    one.append(intent(7, 50), Haste::Now);
    settle(&mut one, &mut model, now);
    let most = STORE_BATCH_IDS_MAX as u128;
    for number in 0..most {
        one.append(intent(1_000 + number, 5_000), Haste::Now);
    }
    let first = transaction(&mut one, now);
    for number in 0..most {
        one.append(intent(10_000 + number, 5_000), Haste::Now);
    }
    one.append(applied(7, 50), Haste::Later);
    let window = Window { from: 0, to: 999 };
    let question = asking.ask(Question::Sum(window));
    settle(&mut asking, &mut model, now);
    let mut commit = |one: &mut Machine, transaction: &Transaction| {
        let answer = model.perform(transaction, now.0);
        one.outcome(Outcome::Acknowledged(answer), now);
    };
    commit(&mut one, &first);
    let second = transaction(&mut one, now);
    commit(&mut one, &second);
    let mut later = now.after(STORE_ASK_AGAIN);
    settle(&mut asking, &mut model, later);
    let answered = |asking: &mut Machine| {
        told(asking).into_iter().find_map(|report| match report {
            Report::Answered {
                question: other,
                reply,
            } if other == question => Some(reply),
            _ => None,
        })
    };
    assert_eq!(
        answered(&mut asking),
        None,
        "its verdict is not written yet"
    );
    settle(&mut one, &mut model, later);
    later = later.after(STORE_ASK_AGAIN);
    settle(&mut asking, &mut model, later);
    let Some(Reply::Sums(WindowSums { charged, pending })) = answered(&mut asking) else {
        panic!("the sum is to be had now");
    };
    assert_eq!((charged.get(A).count, pending), (1, 0));
}
