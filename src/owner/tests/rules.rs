//! What an answer of a processor proves about a payment, one rule a test (I3).

use std::time::Duration;

use super::play::{PATIENCE, Play};
use crate::breaker::State;
use crate::claims::FirstAnswer;
use crate::clock::UnixMillis;
use crate::config::OnDuplicate;
use crate::events::{Answer, Exchange, Lookup};
use crate::payment::{Cents, Processor, Status, UpstreamId};

const A: Processor = Processor::DEFAULT;
const B: Processor = Processor::FALLBACK;

/// A play in which A's lookups are known to work, with one payment sent to it.
fn begin() -> (Play, UpstreamId) {
    let mut play = Play::begin();
    play.prove_lookups();
    let id = play.post(1);
    play.sync();
    (play, id)
}

fn pinned_at(play: &Play, id: UpstreamId) -> Option<Processor> {
    play.owner.find(id).and_then(|found| found.processor)
}

fn stored(at: i64, cents: u64) -> Lookup {
    Lookup::Stored {
        requested_at: UnixMillis(at),
        amount: Cents(cents),
    }
}

/// A gateway says these while the payment may be on its way behind it.
#[test]
fn what_a_gateway_says_proves_nothing() {
    for status in [503, 502, 504, 408, 302, 501, 599] {
        let (mut play, id) = begin();
        let lookups = play.lookups.len();
        play.hear(status);
        play.pass(PATIENCE);
        play.sync();
        assert_eq!(pinned_at(&play, id), Some(A), "{status}");
        assert_eq!(play.lookups.len(), lookups, "{status}: nothing to ask");
        assert_eq!(play.answers, [Answer::Accepted], "{status}");
        assert!(!play.sent_to().contains(&B), "{status}");
    }
}

/// 409, 423 and 425 mean "I may have it already", as 422 does.
#[test]
fn an_id_that_the_processor_may_have_is_asked_about() {
    for status in [422, 409, 423, 425] {
        // The first answer was lost, and the record is ours.
        let (mut play, _) = begin();
        let sent_at = play.now.wall;
        play.owner.exchanged(play.sent[1], Exchange::Cut, play.now);
        play.perform();
        play.sync();
        assert_eq!(play.sent.len(), 3, "{status}: sent again at once");
        play.hear(status);
        play.show(1, stored(sent_at.0, 1990));
        play.sync();
        assert_eq!(play.answers, [Answer::Charged], "{status}");
        // Nothing is stored, and the route is known to work.
        let (mut play, id) = begin();
        play.hear(status);
        play.show(1, Lookup::NotFound);
        play.sync();
        assert_eq!(play.answers, [Answer::RefusedForGood], "{status}");
        assert_eq!(play.owner.find(id), None, "{status}: the id is free");
    }
}

#[test]
fn a_404_of_a_route_that_never_showed_a_charge_proves_nothing() {
    for status in [422, 409, 500] {
        let mut play = Play::begin();
        let id = play.post(1);
        play.sync();
        play.hear(status);
        play.show(0, Lookup::NotFound);
        play.sync();
        play.pass(PATIENCE);
        assert_eq!(play.answers, [], "{status}: the promise is not durable yet");
        play.sync();
        assert_eq!(pinned_at(&play, id), Some(A), "{status}");
        assert_eq!(play.answers, [Answer::Accepted], "{status}");
    }
}

/// Both attempts were answered: neither is unanswered, and one lookup closes both.
#[test]
fn a_hedge_and_its_first_attempt_that_failed_are_both_refused() {
    let mut play = Play::begin();
    play.prove_lookups();
    for number in 10..30 {
        play.post(number);
        play.sync();
        play.hear(200);
        play.sync();
    }
    play.answers.clear();
    let lookups = play.lookups.len();
    play.post(1);
    play.sync();
    play.pass(Duration::from_millis(10));
    let hedge = play.sent.len() - 1;
    play.hear_of(hedge - 1, 500, None);
    play.show(lookups, Lookup::NotFound);
    assert!(!play.sent_to().contains(&B), "the hedge is unanswered");
    play.hear_of(hedge, 500, None);
    play.show(lookups + 1, Lookup::NotFound);
    play.sync();
    assert_eq!(play.sent_to().last(), Some(&B), "A refused both");
    play.hear(200);
    play.sync();
    assert_eq!(play.answers, [Answer::Charged]);
}

/// A plain refusal of the second attempt leaves the first one answered and without proof: the
/// record is asked again, now that it speaks of both.
#[test]
fn a_hedge_that_is_refused_after_its_first_attempt_failed_frees_the_payment() {
    for (status, end) in [(429, Some(B)), (400, None)] {
        let mut play = Play::begin();
        play.prove_lookups();
        for number in 10..30 {
            play.post(number);
            play.sync();
            play.hear(200);
            play.sync();
        }
        play.answers.clear();
        let lookups = play.lookups.len();
        play.post(1);
        play.sync();
        play.pass(Duration::from_millis(10));
        let hedge = play.sent.len() - 1;
        play.hear_of(hedge - 1, 500, None);
        play.show(lookups, Lookup::NotFound);
        play.hear_of(hedge, status, None);
        assert!(!play.sent_to().contains(&B), "nothing is proven yet");
        play.show(lookups + 1, Lookup::NotFound);
        play.sync();
        if let Some(other) = end {
            assert_eq!(play.sent_to().last(), Some(&other), "{status}");
        } else {
            assert_eq!(play.answers, [Answer::RefusedForGood], "{status}");
        }
    }
}

/// The same the other way round: the lookup was sent before the second answer was read.
#[test]
fn a_lookup_that_was_sent_before_the_last_answer_proves_nothing() {
    let mut play = Play::begin();
    play.prove_lookups();
    for number in 10..30 {
        play.post(number);
        play.sync();
        play.hear(200);
        play.sync();
    }
    let lookups = play.lookups.len();
    let id = play.post(1);
    play.sync();
    play.pass(Duration::from_millis(10));
    let hedge = play.sent.len() - 1;
    play.hear_of(hedge - 1, 500, None);
    play.hear_of(hedge, 503, None);
    play.show(lookups, Lookup::NotFound);
    assert_eq!(pinned_at(&play, id), Some(A));
    assert!(!play.sent_to().contains(&B));
}

#[test]
fn a_charge_of_ours_is_known_by_a_time_that_was_stored_coarsely() {
    for (sent, seen) in [(12_345, 12_000), (12_700, 13_000), (12_345, 12_350)] {
        let (mut play, id) = {
            let mut play = Play::begin();
            play.now.wall = UnixMillis(sent);
            let id = play.post(1);
            play.sync();
            (play, id)
        };
        play.owner.exchanged(play.sent[0], Exchange::Cut, play.now);
        play.perform();
        play.sync();
        play.hear(422);
        play.show(0, stored(seen, 1990));
        play.sync();
        assert_eq!(play.answers, [Answer::Charged], "{sent} as {seen}");
        let found = play.owner.find(id).unwrap();
        assert_eq!(found.requested_at, Some(UnixMillis(sent)), "I9");
        assert_eq!(play.owner.ledger_totals().get(A).count, 1);
    }
}

/// Nothing of ours was unanswered there, so the coarse time is another client's.
#[test]
fn a_coarse_time_is_not_ours_when_the_only_attempt_was_told_that_the_id_is_known() {
    let (mut play, _) = begin();
    let second = play.now.wall.0.div_euclid(1_000) * 1_000;
    play.now.wall = UnixMillis(second + 345);
    let id = play.post(2);
    play.sync();
    play.hear(422);
    play.show(1, stored(second, 1990));
    play.sync();
    assert_eq!(play.answers, [Answer::Duplicate(Status::Processed)]);
    assert_eq!(play.owner.find(id).unwrap().amount, Cents(1990));
}

#[test]
fn another_amount_is_another_clients_charge_and_is_shown_as_it_is() {
    let (mut play, id) = begin();
    play.hear(422);
    play.show(1, stored(play.now.wall.0, 500));
    play.sync();
    assert_eq!(play.answers, [Answer::Duplicate(Status::Processed)]);
    assert_eq!(play.owner.find(id).unwrap().amount, Cents(500));
    play.post(1);
    assert_eq!(
        play.answers[1..],
        [Answer::Duplicate(Status::Processed)],
        "the first answer again"
    );
}

#[test]
fn a_429_rests_only_when_it_says_how_long_and_only_in_time() {
    let state = |play: &Play| play.state_of(A);
    let (mut play, _) = begin();
    play.hear_of(1, 429, None);
    assert_eq!(state(&play), State::Closed);
    let (mut play, _) = begin();
    play.hear_of(1, 429, Some(5));
    assert_eq!(state(&play), State::Open);
    // Given up long ago, and heard of now.
    let (mut play, _) = begin();
    play.pass(PATIENCE);
    play.hear_of(1, 429, Some(5));
    assert_eq!(state(&play), State::Closed);
}

/// Another amount under a known id is told so in every mode.
#[test]
fn another_amount_under_a_known_id_is_refused() {
    let (mut play, _) = begin();
    play.post_of(1, Cents(1));
    assert_eq!(play.answers, [Answer::AmountDiffers], "while it is pending");
    play.hear(200);
    play.sync();
    play.post_of(1, Cents(1));
    assert_eq!(
        play.answers[1..],
        [Answer::Charged, Answer::AmountDiffers],
        "and when it is settled"
    );
}

/// A few ids that a processor never answers must not keep its breaker open for all others.
#[test]
fn a_resend_that_fails_again_says_nothing_about_the_processor() {
    let (mut play, _) = begin();
    play.pass(PATIENCE);
    for _ in 0..40 {
        play.pass(Duration::from_secs(40));
        play.pass(PATIENCE);
    }
    assert!(play.sent.len() > 40, "{} were sent", play.sent.len());
    assert_eq!(play.state_of(A), State::Closed);
}

/// Twenty-seven ids that A swallows, and five others a second that it charges at once.
#[test]
fn a_few_ids_that_are_never_answered_do_not_starve_the_others() {
    let mut play = Play::begin_with(|settings, breaker| {
        (settings.waiting_max, settings.queue_max) = (100, 100);
        breaker.open = Duration::from_secs(5);
        breaker.window = Duration::from_secs(10);
        breaker.probes = 3;
    });
    for number in 0..27 {
        play.post(number);
    }
    play.sync();
    let poisoned: Vec<_> = play.sent.drain(..).map(|_| ()).collect();
    assert_eq!(poisoned.len(), 27);
    let (mut at_a, mut all) = (0, 0);
    for step in 0..300_u32 {
        play.pass(Duration::from_millis(200));
        play.sent.clear();
        play.post(1_000 + step);
        play.sync();
        // The newest is the one that is not poisoned.
        let newest = *play.sent.last().expect("one of both takes it");
        let to = play.processor_of(newest);
        play.hear(200);
        play.sync();
        if step >= 75 {
            all += 1;
            at_a += u32::from(to == A);
        }
    }
    assert!(
        at_a * 100 >= all * 95,
        "{at_a} of {all} are charged by A after 15 s"
    );
}

#[test]
fn a_repeat_is_told_how_the_payment_is_by_now() {
    for (status, expected) in [
        (200, Answer::Replayed(FirstAnswer::Accepted202)),
        (400, Answer::Duplicate(Status::Refused)),
    ] {
        let mut play = Play::begin_with(|settings, _| settings.on_duplicate = OnDuplicate::Replay);
        play.post(1);
        play.sync();
        play.pass(PATIENCE);
        play.hear(status);
        play.sync();
        assert_eq!(play.answers, [Answer::Accepted]);
        play.post(1);
        assert_eq!(play.answers[1..], [expected]);
    }
}
