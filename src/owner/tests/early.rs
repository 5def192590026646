//! A charge is told after one forced write (I5): what rests on the Intent alone, and until when.

use super::play::{PATIENCE, Play};
use crate::clock::UnixMillis;
use crate::config::Ack;
use crate::events::{Answer, Exchange, Lookup};
use crate::journal::{Record, Verdict};
use crate::limits;
use crate::owner::{Restored, SumFault};
use crate::payment::{Cents, CorrelationId, Payment, PerProcessor, Processor, Status};

pub(super) fn restored(number: u32, at: i64) -> Restored {
    let correlation_id = CorrelationId::try_new(&format!("order-{number}")).unwrap();
    Restored {
        payment: Payment {
            id: correlation_id.upstream_id(),
            correlation_id,
            amount: Cents(1990),
        },
        accepted_at: None,
        open: Some((Processor::DEFAULT, UnixMillis(at))),
        address: None,
        earlier: Vec::new(),
    }
}

#[test]
fn a_charge_is_told_once_its_intent_is_durable_and_its_verdict_follows() {
    let mut play = Play::begin();
    let id = play.post(1);
    assert!(play.sent.is_empty(), "I5: no byte before the Intent");
    play.sync();
    play.hear(200);
    assert_eq!(play.answers, [Answer::Charged]);
    let sums = play.owner.sums(None, None).unwrap();
    assert_eq!(sums.charged.get(Processor::DEFAULT).count, 1);
    assert_eq!((sums.pending, play.flushes), (0, 0));
    assert_eq!(play.later, 1, "nothing waits for the verdict");
    assert_eq!(play.owner.find(id).unwrap().status, Status::Processed);
    // Alone it is written in time, once.
    play.pass(limits::JOURNAL_LATER_MAX);
    play.pass(PATIENCE);
    assert_eq!(play.flushes, 1);
    assert!(matches!(
        play.records[..],
        [
            Record::Intent { .. },
            Record::Verdict {
                verdict: Verdict::Applied { .. },
                ..
            }
        ]
    ));
}

#[test]
fn a_verdict_that_shares_the_next_intents_write_is_not_asked_for() {
    let mut play = Play::begin();
    for number in 0..10 {
        play.post(number);
        play.sync();
        play.hear(200);
        play.pass(limits::JOURNAL_LATER_MAX / 2);
    }
    assert_eq!((play.later, play.flushes), (10, 0));
}

#[test]
fn every_other_end_waits_for_its_verdict() {
    let mut play = Play::begin();
    play.post(1);
    play.sync();
    play.hear(400);
    assert_eq!((&play.answers[..], play.later), (&[][..], 0));
    play.sync();
    assert_eq!(play.answers, [Answer::RefusedForGood]);
    // Another client's charge.
    let mut play = Play::begin();
    play.post(1);
    play.sync();
    play.hear(422);
    let stored = Lookup::Stored {
        requested_at: UnixMillis(-77_000),
        amount: Cents(5),
    };
    play.show(0, stored);
    assert_eq!((&play.answers[..], play.later), (&[][..], 0));
    play.sync();
    assert_eq!(play.answers, [Answer::Duplicate(Status::Processed)]);
}

#[test]
fn a_window_that_touches_what_was_open_at_a_crash_has_no_sum_until_it_is_resolved() {
    let at = |ms| Some(UnixMillis(ms));
    let mut play = Play::begin();
    play.owner.restore(&restored(1, 5_000), play.now);
    play.perform();
    for (from, to) in [(None, None), (at(5_000), at(5_000)), (at(4_000), None)] {
        assert_eq!(play.owner.sums(from, to), Err(SumFault::Unresolved));
    }
    for (from, to) in [(at(5_001), None), (None, at(4_999))] {
        assert_eq!(play.owner.sums(from, to).unwrap().pending, 0);
    }
    assert_eq!(play.owner.ledger_totals(), PerProcessor::default());
    // A duplicate hears that it is pending.
    play.post(1);
    assert_eq!(play.answers, [Answer::Duplicate(Status::Pending)]);
    play.hear(200);
    let sums = play.owner.sums(at(5_000), at(5_000)).unwrap();
    assert_eq!(sums.charged.get(Processor::DEFAULT).count, 1);
}

#[test]
fn what_may_be_charged_in_a_window_is_counted() {
    let mut play = Play::begin();
    play.post(1);
    assert_eq!(play.owner.sums(None, None).unwrap().pending, 0, "not sent");
    play.sync();
    assert_eq!(play.owner.sums(None, None).unwrap().pending, 1);
    let before = UnixMillis(play.now.wall.0 - 1);
    assert_eq!(play.owner.sums(None, Some(before)).unwrap().pending, 0);
    play.hear(200);
    assert_eq!(play.owner.sums(None, None).unwrap().pending, 0);
}

#[test]
fn with_a_connection_at_hand_one_record_promises_and_intends() {
    let mut play = Play::begin_with(|settings, _| settings.ack = Ack::Accepted);
    play.post(1);
    let [Record::Intent { accepted_at, .. }] = play.records[..] else {
        panic!("{:?}", play.records);
    };
    assert!(accepted_at.is_some(), "it carries the promise");
    assert_eq!(play.answers, []);
    play.pass(PATIENCE * 2);
    assert_eq!(play.answers, [], "it waits for the disk, whatever the time");
    play.sync();
    assert_eq!(play.answers, [Answer::Accepted]);
    assert_eq!(play.sent.len(), 1);
}

#[test]
fn no_promise_waits_for_a_connection() {
    let mut play = Play::begin_with(|settings, _| settings.ack = Ack::Accepted);
    play.is_deaf = Some(Processor::DEFAULT);
    play.post(1);
    assert!(matches!(play.records[..], [Record::Accept { .. }]));
    play.sync();
    assert_eq!(play.answers, [Answer::Accepted]);
    let (attempt, _) = play.connected[0];
    play.owner.connected(attempt, None, play.now);
    play.perform();
    play.sync();
    assert_eq!(play.sent.len(), 1);
}

/// The connection died while the one record was being written: the promise holds all the same.
#[test]
fn a_promise_outlives_the_connection_that_was_at_hand() {
    let mut play = Play::begin_with(|settings, _| settings.ack = Ack::Accepted);
    let id = play.post(1);
    let (attempt, _) = play.connected[0];
    play.owner.exchanged(attempt, Exchange::NotSent, play.now);
    play.perform();
    assert_eq!(play.answers, []);
    play.sync();
    assert_eq!(play.answers, [Answer::Accepted]);
    assert_eq!(play.owner.find(id).unwrap().status, Status::Pending);
    for end in 1..=play.records.len() {
        let state = play.replay(end);
        assert!(state.pending().iter().any(|one| one.is_kept()), "{end}");
    }
}

#[test]
fn a_payment_that_settles_while_its_promise_is_written_is_told_of_the_promise() {
    let mut play = Play::begin();
    play.post(1);
    play.sync();
    play.pass(PATIENCE);
    assert_eq!(play.answers, [], "the promise is being written");
    play.hear(200);
    assert_eq!(play.answers, []);
    play.sync();
    assert_eq!(play.answers, [Answer::Accepted]);
    let state = play.replay(play.records.len());
    let (_, claim) = state.settled().next().unwrap();
    assert_eq!(claim.first_answer, crate::claims::FirstAnswer::Accepted202);
}
