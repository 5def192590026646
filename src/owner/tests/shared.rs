//! An owner on a shared store: claims that are lost, a store that is away, leases that run out.
use std::time::Duration;

use super::play::{PATIENCE, Play};
use crate::claims::{FirstAnswer, SettledClaim};
use crate::clock::UnixMillis;
use crate::config::{Ack, AnswerAfter};
use crate::events::{Answer, Winner, WriterSlot};
use crate::journal::Record;
use crate::limits;
use crate::owner::Journalling;
use crate::owner::elsewhere::STORE_CLAIMS_AGAIN_MAX;
use crate::payment::{Cents, Processor, ProcessorCount, Status, UpstreamId};

pub(super) fn begin() -> Play {
    begin_as(Ack::Processed, AnswerAfter::Intent)
}

fn begin_as(ack: Ack, answer_after: AnswerAfter) -> Play {
    let mut play = Play::begin_with(|settings, _| {
        settings.journal = Journalling::Store;
        settings.ack = ack;
        settings.answer_after = answer_after;
    });
    play.now.boot.0 = 1_000_000_000;
    play.owner.set_away(false);
    play
}

/// All that was appended is acknowledged by a batch that was sent `ago`.
pub(super) fn acknowledge(play: &mut Play, ago: Duration) {
    let sent_at = crate::clock::Boot(play.now.boot.0 - u64::try_from(ago.as_micros()).unwrap());
    play.owner.acknowledged(WriterSlot::OWN, sent_at);
    play.sync();
}

fn settled(amount: Cents) -> Winner {
    Winner::Settled(SettledClaim {
        status: Status::Processed,
        amount,
        processor: Some(Processor::FALLBACK),
        requested_at: Some(UnixMillis(5)),
        first_answer: FirstAnswer::Answered200,
        counted: true,
    })
}

fn lose(play: &mut Play, id: UpstreamId) {
    play.owner.lost(id, play.now);
    play.perform();
}

fn know(play: &mut Play, id: UpstreamId, winner: Winner) {
    play.owner.known_elsewhere(id, winner, play.now);
    play.perform();
}

const AMOUNT: Cents = Cents(1990);

#[test]
fn nothing_is_taken_in_while_the_store_is_away() {
    let mut play = Play::begin_with(|settings, _| settings.journal = Journalling::Store);
    play.post(1);
    assert_eq!(play.answers, [Answer::JournalDown], "before it was reached");
    play.owner.set_away(false);
    play.post(2);
    assert_eq!(play.records.len(), 1);
    play.owner.set_away(true);
    play.post(3);
    assert_eq!(play.answers.len(), 2);
}

#[test]
fn a_claim_that_is_lost_sends_nothing_and_says_what_the_winner_knows() {
    let winners = [
        (settled(AMOUNT), Answer::Duplicate(Status::Processed)),
        (settled(Cents(5)), Answer::AmountDiffers),
        (
            Winner::Pending { amount: AMOUNT },
            Answer::Duplicate(Status::Pending),
        ),
        (Winner::Pending { amount: Cents(5) }, Answer::AmountDiffers),
    ];
    for (winner, answer) in winners {
        for ack in [Ack::Processed, Ack::Accepted] {
            let mut play = begin_as(ack, AnswerAfter::Intent);
            let id = play.post(1);
            lose(&mut play, id);
            acknowledge(&mut play, Duration::ZERO);
            assert!(play.sent.is_empty(), "I1: it was another's");
            assert_eq!(play.answers, [], "not even a 202");
            know(&mut play, id, winner);
            assert_eq!(play.answers, [answer]);
            assert_eq!(play.owner.pending(), 0);
            let is_known = play.owner.find(id).is_some();
            assert!(!is_known, "it may be forgotten there before it is here");
            // The next one asks the store again.
            let before = play.appended_to(WriterSlot::OWN);
            play.post(1);
            assert_eq!(play.appended_to(WriterSlot::OWN), before + 1);
            assert_eq!(play.answers.len(), 1);
        }
    }
}

#[test]
fn without_a_claim_nothing_is_said_of_the_id() {
    let only_a = ProcessorCount::try_new(1).unwrap();
    let mut play = Play::begin_with(|settings, _| {
        settings.journal = Journalling::Store;
        settings.processors = only_a;
    });
    play.owner.set_away(false);
    play.is_deaf = Some(Processor::DEFAULT);
    let id = play.post(1);
    play.pass(PATIENCE);
    assert_eq!(play.records, []);
    // Another instance may have charged it long ago.
    assert_eq!(play.answers, [Answer::NotTried]);
    assert!(play.owner.find(id).is_none());
}

#[test]
fn an_id_that_its_winner_freed_is_claimed_again_and_not_for_ever() {
    let mut play = begin();
    let id = play.post(1);
    for _ in 0..STORE_CLAIMS_AGAIN_MAX {
        lose(&mut play, id);
        know(&mut play, id, Winner::Gone);
        assert_eq!(play.answers, []);
    }
    assert!(matches!(
        play.records.last(),
        Some(Record::Intent { payment, .. }) if payment.id == id
    ));
    lose(&mut play, id);
    know(&mut play, id, Winner::Gone);
    assert_eq!(play.answers, [Answer::Overloaded]);
    // It is as if it had never been asked for.
    assert!(play.owner.find(id).is_none());
    play.post(1);
    acknowledge(&mut play, Duration::ZERO);
    play.hear(200);
    assert_eq!(play.answers.last(), Some(&Answer::Charged));
}

#[test]
fn a_client_that_waits_in_vain_for_the_winner_is_told_nothing_about_money() {
    let mut play = begin();
    let id = play.post(1);
    lose(&mut play, id);
    play.pass(PATIENCE);
    assert_eq!(play.answers, [Answer::JournalDown]);
    know(&mut play, id, settled(AMOUNT));
    assert_eq!(play.answers.len(), 1);
}

#[test]
fn an_early_200_needs_a_fresh_lease_and_else_it_is_a_202() {
    for (ago, answer) in [
        (
            limits::STORE_FRESH - Duration::from_millis(1),
            Answer::Charged,
        ),
        (limits::STORE_FRESH, Answer::Accepted),
    ] {
        let mut play = begin();
        play.post(1);
        acknowledge(&mut play, Duration::ZERO);
        play.now.boot.0 += u64::try_from(ago.as_micros()).unwrap();
        play.hear(200);
        assert_eq!(play.answers, [answer], "{ago:?}");
        acknowledge(&mut play, Duration::ZERO);
        assert_eq!(play.owner.pending(), 0);
        assert_eq!(play.owner.ledger_totals().get(Processor::DEFAULT).count, 1);
    }
}

#[test]
fn an_intent_whose_commit_is_old_is_written_again_before_its_bytes_leave() {
    let mut play = begin();
    play.post(1);
    acknowledge(&mut play, limits::STORE_FRESH);
    assert!(play.sent.is_empty(), "another may soon have it");
    assert_eq!(play.records.len(), 2);
    assert_eq!(play.records[0], play.records[1], "the same once more");
    acknowledge(&mut play, Duration::from_millis(1));
    assert_eq!(play.sent.len(), 1);
}

#[test]
fn a_hedge_needs_a_fresh_lease_too() {
    for (ago, sent) in [(Duration::ZERO, 2), (limits::STORE_FRESH, 1)] {
        let mut play = begin();
        // Hedges are a share of all attempts.
        for number in 100..140 {
            play.post(number);
            acknowledge(&mut play, Duration::ZERO);
            play.hear(200);
        }
        play.answers.clear();
        play.sent.clear();
        play.post(1);
        acknowledge(&mut play, Duration::ZERO);
        play.now.boot.0 += u64::try_from(ago.as_micros()).unwrap();
        play.pass(Duration::from_millis(20));
        assert_eq!(play.sent.len(), sent, "{ago:?}");
        assert_eq!(play.answers, []);
    }
}

#[test]
fn what_is_being_written_when_time_is_up_is_told_to_nobody() {
    let mut play = begin();
    let id = play.post(1);
    play.pass(PATIENCE);
    assert_eq!(play.answers, [Answer::Silence], "503 may be a lie");
    // Its client may count on it: it goes on, and a refusal frees nothing.
    acknowledge(&mut play, Duration::ZERO);
    assert_eq!(play.sent.len(), 1);
    play.hear(400);
    acknowledge(&mut play, Duration::ZERO);
    assert_eq!(play.owner.find(id).unwrap().status, Status::Refused);
}

#[test]
fn what_is_out_when_time_is_up_is_promised_though_the_store_is_away() {
    let mut play = begin();
    play.post(1);
    acknowledge(&mut play, Duration::ZERO);
    play.owner.set_away(true);
    play.pass(PATIENCE);
    assert_eq!(play.answers, [Answer::Accepted]);
}

#[test]
fn a_refusal_is_told_when_it_is_durable_and_never_after_patience() {
    let mut play = begin();
    let id = play.post(1);
    acknowledge(&mut play, Duration::ZERO);
    play.hear(400);
    assert_eq!(play.answers, []);
    play.pass(PATIENCE);
    assert_eq!(play.answers, [Answer::Silence]);
    acknowledge(&mut play, Duration::ZERO);
    assert!(play.owner.find(id).is_none(), "it is free again");
}

#[test]
fn a_charge_whose_verdict_is_awaited_is_a_202_when_time_is_up() {
    let mut play = begin_as(Ack::Processed, AnswerAfter::Verdict);
    play.post(1);
    acknowledge(&mut play, Duration::ZERO);
    play.hear(200);
    assert_eq!(play.answers, []);
    play.pass(PATIENCE);
    assert_eq!(play.answers, [Answer::Accepted]);
}

#[test]
fn a_fenced_owner_promises_what_is_out_and_says_nothing_of_the_rest() {
    let mut play = begin();
    play.post(1);
    acknowledge(&mut play, Duration::ZERO);
    play.post(2);
    play.owner.journal_failed();
    play.perform();
    assert_eq!(play.answers, [Answer::Accepted, Answer::Silence]);
    play.post(3);
    assert_eq!(play.answers.last(), Some(&Answer::JournalDown));
}

/// Two instances saw one id with two amounts; the instance of the other one is gone.
#[test]
fn an_id_that_comes_with_an_adopted_writer_has_the_amount_of_its_row() {
    for (mine, answer) in [
        (AMOUNT, Answer::Duplicate(Status::Pending)),
        (Cents(5), Answer::AmountDiffers),
    ] {
        for is_lost in [false, true] {
            let mut play = begin();
            let id = play.post_of(7, mine);
            if is_lost {
                lose(&mut play, id);
            }
            let mut restored = super::early::restored(7, 100);
            restored.writer = play.owner.adopt().unwrap();
            assert_eq!((restored.payment.id, restored.payment.amount), (id, AMOUNT));
            play.owner.restore(&restored, play.now);
            play.perform();
            assert_eq!(play.answers, [answer]);
            assert_eq!(play.owner.find(id).unwrap().amount, AMOUNT);
        }
    }
}

#[test]
fn what_was_adopted_has_a_writer_of_its_own_and_keeps_its_processor() {
    let mut play = begin();
    let writer = play.owner.adopt().unwrap();
    let mut restored = super::early::restored(7, 100);
    restored.writer = writer;
    play.owner.restore(&restored, play.now);
    play.perform();
    // Nothing is sent under a lease that no one has confirmed.
    assert!(play.sent.is_empty());
    play.owner.acknowledged(writer, play.now.boot);
    let up_to = play.appended_to(writer);
    play.owner.durable(writer, up_to, play.now);
    play.perform();
    assert_eq!(play.sent.len(), 1);
    // A refusal is about the re-send alone.
    play.hear(429);
    assert_eq!(
        play.connected.last().map(|(_, at)| *at),
        Some(Processor::DEFAULT)
    );
    assert_eq!(play.owner.pending(), 1);
    assert_eq!(play.appended_to(WriterSlot::OWN), 0);
}
