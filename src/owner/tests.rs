//! The owner where a crash or a seed of the world test found it wrong, each time as the shortest
//! story that shows it; its whole behaviour is the world test's.

mod addresses;
mod by_hand;
mod early;
mod heard;
mod play;
mod rules;
mod shared;
mod steer;
mod telling;

use std::time::Duration;

use self::play::{PATIENCE, Play};
use crate::breaker::BreakerSettings;
use crate::claims::{FirstAnswer, Full};
use crate::clock::UnixMillis;
use crate::config::AnswerAfter;
use crate::events::{Answer, Lookup, WriterSlot};
use crate::owner::{OwnerSettings, Restored};
use crate::payment::{Cents, CorrelationId, Payment, Processor, Status};

fn verdict_first(settings: &mut OwnerSettings, _: &mut BreakerSettings) {
    settings.answer_after = AnswerAfter::Verdict;
}

/// A 202 behind a Verdict that replay reads as a 200 would be another first answer after a
/// restart, and an Accept behind the Verdict would begin the payment anew (I5).
#[test]
fn while_its_verdict_is_being_written_a_client_waits_for_the_disk() {
    let mut play = Play::begin_with(verdict_first);
    play.post(1);
    play.sync();
    play.hear(200);
    play.pass(PATIENCE);
    assert_eq!(play.answers, []);
    let state = play.replay(play.records.len());
    assert!(state.pending().is_empty(), "{:?}", play.records);
    let [(_, claim)] = state.settled().collect::<Vec<_>>()[..] else {
        panic!("{:?}", play.records);
    };
    assert_eq!(claim.first_answer, FirstAnswer::Answered200);
    play.sync();
    assert_eq!(play.answers, [Answer::Charged]);
    assert_eq!(play.owner.pending(), 0);
}

#[test]
fn a_charge_whose_verdict_was_not_durable_outlives_a_purge_at_replay_too() {
    let mut play = Play::begin_with(verdict_first);
    play.post(1);
    play.sync();
    play.hear(200);
    let at_purge = play.records.len();
    play.owner.purge(play.now);
    play.perform();
    play.owner
        .durable(WriterSlot::OWN, u64::try_from(at_purge).unwrap(), play.now);
    play.perform();
    assert_eq!(
        play.answers,
        [],
        "the verdict that counts is not durable yet"
    );
    play.sync();
    assert_eq!(play.answers, [Answer::Charged]);
    let totals = play.owner.ledger_totals();
    assert_eq!(totals.get(Processor::DEFAULT).count, 1);
    let state = play.replay(play.records.len());
    assert_eq!(state.ledger.totals(None, None), Ok(totals), "I6");
    assert_eq!((state.settled().count(), state.oddities()), (1, 0));
    for end in at_purge + 2..play.records.len() {
        let state = play.replay(end);
        assert!(
            state.pending().iter().any(|one| one.open.is_some()),
            "I3: pinned when the process dies after record {end}"
        );
    }
}

#[test]
fn a_client_that_waits_for_the_disk_does_not_make_its_core_spin() {
    let mut play = Play::begin();
    play.post(1);
    play.sync();
    play.hear(400);
    for _ in 0..3 {
        play.pass(PATIENCE);
    }
    assert_eq!(play.answers, [], "not told before the refusal is durable");
    assert!(
        play.owner
            .next_timer()
            .is_none_or(|next| next > play.now.mono)
    );
    play.sync();
    assert_eq!(play.answers, [Answer::RefusedForGood]);
}

/// The driver searches no timer after an event: it believes this.
#[test]
fn the_driver_hears_of_the_earliest_time_that_an_event_armed() {
    let mut play = Play::begin();
    play.post(1);
    let first = play.owner.take_alarm();
    assert!(first.is_some() && first <= play.owner.next_timer());
    assert_eq!(play.owner.take_alarm(), None, "told once");
    play.sync();
    let second = play.owner.take_alarm();
    assert!(second.is_some() && second <= play.owner.next_timer());
}

/// CACHE_FULL=refuse: a known id is answered as ever, and none is forgotten before its time.
#[test]
fn a_new_id_is_refused_rather_than_a_known_one_forgotten() {
    let mut play = Play::begin_with(|settings, _| {
        settings.claims_max = 1;
        settings.claims_full = Full::Keep;
        settings.claims_ttl = Duration::from_secs(60);
    });
    play.post(1);
    play.sync();
    play.post(2);
    assert_eq!(play.answers, [Answer::NoRoom], "a pending one counts");
    play.hear(200);
    play.sync();
    play.post(2);
    play.post(1);
    let told = [
        Answer::NoRoom,
        Answer::Charged,
        Answer::NoRoom,
        Answer::Duplicate(Status::Processed),
    ];
    assert_eq!(play.answers, told);
    play.pass(Duration::from_secs(61));
    play.post(2);
    play.sync();
    assert_eq!(play.sent.len(), 2, "there is room again");
}

/// When it was asked first there was no room at the other.
#[test]
fn a_connect_that_stays_slow_is_left_as_soon_as_another_processor_has_room() {
    let mut play = Play::begin();
    play.is_deaf = Some(Processor::DEFAULT);
    play.set_paused(Processor::FALLBACK, true);
    play.post(1);
    play.pass(Duration::from_millis(6));
    play.set_paused(Processor::FALLBACK, false);
    play.pass(Duration::from_millis(6));
    play.sync();
    assert_eq!(play.sent_to(), [Processor::FALLBACK]);
}

/// Where it went meanwhile, nothing may ever connect.
#[test]
fn of_two_slow_connects_the_first_that_is_there_has_the_payment() {
    let mut play = Play::begin();
    play.is_deaf = Some(Processor::DEFAULT);
    play.post(1);
    play.is_deaf = Some(Processor::FALLBACK);
    play.pass(Duration::from_millis(6));
    let [(left, Processor::DEFAULT), (slower, Processor::FALLBACK)] = play.connected[..] else {
        panic!("{:?}", play.connected);
    };
    play.owner.connected(left, None, play.now);
    play.perform();
    play.sync();
    assert_eq!(play.sent_to(), [Processor::DEFAULT]);
    play.owner.connected(slower, None, play.now);
    play.perform();
    play.sync();
    assert_eq!(play.sent_to(), [Processor::DEFAULT], "one attempt is sent");
    play.hear(200);
    play.sync();
    assert_eq!(play.answers, [Answer::Charged]);
}

#[test]
fn two_slow_connects_do_not_have_a_payment_in_turns() {
    let mut play = Play::begin();
    play.is_deaf = Some(Processor::FALLBACK);
    play.set_paused(Processor::DEFAULT, true);
    play.post(1);
    play.is_deaf = Some(Processor::DEFAULT);
    play.set_paused(Processor::DEFAULT, false);
    for _ in 0..6 {
        play.pass(Duration::from_millis(6));
    }
    let tried: Vec<_> = play.connected.iter().map(|(_, at)| *at).collect();
    assert_eq!(tried, [Processor::FALLBACK, Processor::DEFAULT]);
}

#[test]
fn an_answer_that_never_came_leaves_the_list_of_late_ones() {
    let mut play = Play::begin();
    play.post(1);
    play.sync();
    play.pass(PATIENCE);
    assert_eq!(play.owner.gauges().late, 1);
    play.pass(Duration::from_millis(200));
    assert_eq!(play.owner.gauges().late, 0);
    assert!(play.owner.next_timer().is_some(), "it is sent again");
}

#[test]
fn a_hedge_that_went_on_alone_and_was_not_answered_is_sent_again() {
    let mut play = Play::begin();
    for number in 0..20 {
        play.post(number);
        play.sync();
        play.hear(200);
        play.sync();
    }
    play.post(20);
    play.sync();
    play.pass(Duration::from_millis(10));
    assert_eq!(play.sent.len(), 22, "twenty attempts allow one hedge");
    for _ in 0..2 {
        play.pass(PATIENCE);
    }
    play.pass(Duration::from_secs(2));
    assert_eq!(play.sent.len(), 23, "I3: Unknown is sent again");
}

/// The route may have come to be between the two: its 404 was none of a store's.
#[test]
fn a_404_that_was_asked_for_before_the_route_was_proven_proves_nothing() {
    let mut play = Play::begin();
    let id = play.post(1);
    play.sync();
    play.hear(500);
    play.post(2);
    play.sync();
    play.hear(200);
    let [early, proof] = play.lookups[..] else {
        panic!("{:?}", play.lookups);
    };
    let stored = Lookup::Stored {
        requested_at: UnixMillis(0),
        amount: Cents(1990),
    };
    play.owner.looked_up(proof, stored, play.now);
    play.owner.looked_up(early, Lookup::NotFound, play.now);
    play.perform();
    let pinned = play.owner.find(id).and_then(|found| found.processor);
    assert_eq!(
        pinned,
        Some(Processor::DEFAULT),
        "I3: Unknown is not Refused"
    );
}

/// I8: what a journal brings back was taken in under other settings, and is taken up whatever the
/// settings are now; only new payments wait until there is room.
#[test]
fn more_payments_than_the_queue_may_hold_are_taken_up_from_a_journal() {
    let mut play = Play::begin_with(|settings, _| {
        settings.queue_max = 2;
        settings.waiting_max = 1;
        settings.claims_max = 1;
    });
    for number in 0..1_000 {
        let correlation_id = CorrelationId::try_new(&format!("earlier-{number}")).unwrap();
        let restored = Restored {
            address: None,
            payment: Payment {
                id: correlation_id.upstream_id(),
                correlation_id,
                amount: Cents(1990),
            },
            accepted_at: None,
            open: Some((Processor::DEFAULT, UnixMillis(number))),
            earlier: Vec::new(),
            writer: WriterSlot::OWN,
        };
        play.owner.restore(&restored, play.now);
        play.perform();
    }
    play.sync();
    assert_eq!(play.owner.pending(), 1_000);
    play.post(1);
    assert_eq!(play.answers, [Answer::Overloaded]);
}
