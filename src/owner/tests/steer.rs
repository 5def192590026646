//! What an operator does to payments and processors, one rule a test.

use std::time::Duration;

use super::early::restored;
use super::play::{PATIENCE, Play};
use crate::config::Ack;
use crate::events::Answer;
use crate::journal::operator::Resolution;
use crate::journal::{Fate, Record, Verdict};
use crate::owner::{Journalling, Unresolvable};
use crate::payment::{Processor, ProcessorCount, Status, UpstreamId};

const A: Processor = Processor::DEFAULT;
const B: Processor = Processor::FALLBACK;
/// Longer than a late answer is read.
const LATER: Duration = Duration::from_millis(300);

/// A payment in doubt at A, which is paused, so that nothing of it is in flight.
fn in_doubt() -> (Play, UpstreamId) {
    let mut play = Play::begin();
    let id = play.post(1);
    play.sync();
    play.set_paused(A, true);
    play.pass(PATIENCE);
    play.sync();
    play.pass(LATER);
    play.sync();
    assert_eq!(play.answers, [Answer::Accepted]);
    (play, id)
}

fn status_of(play: &Play, id: UpstreamId) -> Option<Status> {
    play.owner.find(id).map(|found| found.status)
}

#[test]
fn what_was_refused_by_hand_stays_taken_and_its_end_is_written() {
    let (mut play, id) = in_doubt();
    assert!(play.resolve_by_hand(id, Resolution::Refused).is_ok());
    assert_eq!(
        status_of(&play, id),
        Some(Status::Pending),
        "not durable yet"
    );
    play.sync();
    assert_eq!(status_of(&play, id), Some(Status::Refused));
    let (processor, fate) = (A, Fate::Ended);
    let verdict = Verdict::Refused { processor, fate };
    assert_eq!(play.records.last(), Some(&Record::Verdict { id, verdict }));
    play.answers.clear();
    play.post(1);
    assert_eq!(play.answers, [Answer::Duplicate(Status::Refused)]);
    let again = play.resolve_by_hand(id, Resolution::Applied);
    assert_eq!(again, Err(Unresolvable::Settled(Status::Refused)));
    // A start remembers it.
    let state = play.replay(play.records.len());
    assert!(state.pending().is_empty());
    assert_eq!(state.settled().count(), 1);
}

#[test]
fn what_was_applied_by_hand_is_in_the_sum() {
    let (mut play, id) = in_doubt();
    assert!(play.resolve_by_hand(id, Resolution::Applied).is_ok());
    play.sync();
    assert_eq!(status_of(&play, id), Some(Status::Processed));
    assert_eq!(play.owner.ledger_totals().get(A).count, 1);
}

#[test]
fn nothing_is_settled_while_an_attempt_may_be_answered() {
    let mut play = Play::begin();
    let id = play.post(1);
    let both = [Resolution::Applied, Resolution::RefusedAlthoughAcknowledged];
    let refused = |play: &mut Play, when: &str| {
        for resolution in both {
            let result = play.resolve_by_hand(id, resolution);
            assert_eq!(result, Err(Unresolvable::InFlight), "{when}");
        }
    };
    refused(&mut play, "its Intent is being written");
    play.sync();
    refused(&mut play, "it was sent");
    play.set_paused(A, true);
    play.pass(PATIENCE);
    play.sync();
    refused(&mut play, "its late answer is read");
    play.pass(LATER);
    play.sync();
    assert!(play.resolve_by_hand(id, Resolution::Refused).is_ok());
    assert_eq!(
        play.resolve_by_hand(UpstreamId(7), Resolution::Refused),
        Err(Unresolvable::Unknown)
    );
}

#[test]
fn what_was_open_when_a_process_ended_needs_a_word_more() {
    let mut play = Play::begin();
    play.set_paused(A, true);
    let open = restored(1, 5);
    let id = open.payment.id;
    play.owner.restore(&open, play.now);
    play.perform();
    let refused = play.resolve_by_hand(id, Resolution::Refused);
    assert_eq!(refused, Err(Unresolvable::MayBeAcknowledged));
    let although = Resolution::RefusedAlthoughAcknowledged;
    assert!(play.resolve_by_hand(id, although).is_ok());
    play.sync();
    assert_eq!(status_of(&play, id), Some(Status::Refused));
    assert!(play.owner.sums(None, None).is_ok(), "it is resolved");
}

/// Nothing of it was sent: it can be cancelled, and its id is not free either.
#[test]
fn a_payment_that_waits_can_be_cancelled_and_not_charged() {
    for journal in [Journalling::On, Journalling::Off] {
        let one = ProcessorCount::try_new(1).unwrap();
        let mut play = Play::begin_with(|settings, _| {
            (settings.ack, settings.processors) = (Ack::Accepted, one);
            settings.journal = journal;
        });
        play.set_paused(A, true);
        let id = play.post(1);
        play.sync();
        assert_eq!(play.answers, [Answer::Accepted]);
        let applied = play.resolve_by_hand(id, Resolution::Applied);
        assert_eq!(applied, Err(Unresolvable::NoProcessor));
        assert!(play.resolve_by_hand(id, Resolution::Refused).is_ok());
        play.sync();
        assert_eq!(status_of(&play, id), Some(Status::Refused));
        assert!(play.sent.is_empty());
    }
}

#[test]
fn a_paused_processor_gets_nothing_but_lookups() {
    let mut play = Play::begin();
    play.set_paused(A, true);
    play.post(1);
    play.sync();
    assert_eq!(play.sent_to(), [B], "the other one takes it");
    play.hear(200);
    play.sync();
    play.set_paused(B, true);
    play.post(2);
    play.sync();
    assert_eq!(play.answers, [Answer::Charged, Answer::Unavailable]);
    // What is in doubt there waits until it goes on.
    let (mut play, id) = in_doubt();
    play.pass(Duration::from_secs(120));
    assert_eq!(play.sent.len(), 1, "no re-send");
    assert_eq!(status_of(&play, id), Some(Status::Pending));
    play.set_paused(A, false);
    play.pass(PATIENCE);
    play.sync();
    assert_eq!(play.sent_to(), [A, A]);
    play.hear(200);
    play.sync();
    assert_eq!(status_of(&play, id), Some(Status::Processed));
}

#[test]
fn the_list_says_why_a_payment_is_pending() {
    let (play, id) = in_doubt();
    let (views, count) = play.owner.list(play.now);
    let [view] = &views[..] else {
        panic!("{views:?}");
    };
    assert_eq!((view.payment.id, count), (id, 1));
    assert_eq!((view.processor, view.attempts), (Some(A), 1));
    assert_eq!(view.age, PATIENCE + LATER);
    assert_eq!(view.why, "its processor is paused");
    assert!(view.is_promised);
    play.set_paused(A, false);
    let (views, _) = play.owner.list(play.now);
    assert_eq!(views[0].why, "in doubt: nothing proves what became of it");
}
