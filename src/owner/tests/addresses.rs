//! Where a payment in doubt may be sent again when its processor moves (I10), and what a connect
//! says that its payment did not wait for.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::play::{PATIENCE, Play};
use crate::addresses::{AddressBook, Listing};
use crate::breaker::State;
use crate::clock::{Mono, UnixMillis};
use crate::events::{Answer, Exchange, Lookup, WriterSlot};
use crate::journal::Record;
use crate::owner::Restored;
use crate::owner::settings::Identity;
use crate::payment::{Cents, CorrelationId, Payment, PerProcessor, Processor, UpstreamId};

const A: Processor = Processor::DEFAULT;
const LONG: Duration = Duration::from_secs(40);

fn at(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 80))
}

/// What a name says after these resolutions, ten seconds apart.
fn listing(rounds: &[u8]) -> Arc<Listing> {
    let mut book = AddressBook::default();
    let mut listing = Listing::default();
    for (number, address) in (1..).zip(rounds) {
        listing = book.note(number, &[at(*address)], Mono(number * 10_000_000));
    }
    Arc::new(listing)
}

/// A play in which payments were sent to A at address 1 and never answered.
fn in_doubt(count: u32) -> (Play, Vec<UpstreamId>) {
    in_doubt_at(Identity::ByAddress, count)
}

fn in_doubt_at(identity: Identity, count: u32) -> (Play, Vec<UpstreamId>) {
    let mut play = Play::begin_with(|settings, _| {
        settings.late_max = 4;
        settings.identity = PerProcessor::from_fn(|_| identity);
    });
    play.address = Some(at(1));
    play.resolve(A, listing(&[1]));
    let ids = (1..=count).map(|number| {
        let id = play.post(number);
        play.sync();
        id
    });
    let ids: Vec<UpstreamId> = ids.collect();
    assert_eq!(play.sent.len(), ids.len());
    (play, ids)
}

fn move_to(play: &mut Play, rounds: &[u8]) {
    play.pass(PATIENCE);
    play.resolve(A, listing(rounds));
}

fn intents(play: &Play) -> Vec<Option<SocketAddr>> {
    let address = |record: &Record| match record {
        Record::Intent { address, .. } => Some(*address),
        Record::Accept { .. } | Record::Verdict { .. } | Record::Purge { .. } => None,
    };
    play.records.iter().filter_map(address).collect()
}

#[test]
fn a_payment_in_doubt_goes_to_its_own_address_alone() {
    let (mut play, _) = in_doubt(1);
    play.resolve(
        A,
        Arc::new(AddressBook::default().note(1, &[at(2), at(1)], Mono(0))),
    );
    play.pass(PATIENCE);
    play.pass(LONG);
    assert_eq!(play.sent.len(), 2);
    assert_eq!(play.wanted, [None, Some(at(1))]);
    assert_eq!(intents(&play), [Some(at(1))], "its Intent is open already");
}

/// Over https the certificate says that it is the same processor.
#[test]
fn a_payment_in_doubt_at_a_proven_name_goes_to_any_of_its_addresses() {
    let (mut play, _) = in_doubt_at(Identity::ByName, 1);
    play.address = Some(at(2));
    move_to(&mut play, &[1, 2]);
    play.pass(LONG);
    assert_eq!(play.lookups.len(), 0, "nothing must be proven");
    assert_eq!(play.wanted, [None, None]);
    // Its Intent names the new address before any byte goes there (I5).
    assert_eq!(play.sent.len(), 1);
    assert_eq!(intents(&play), [Some(at(1)), Some(at(2))]);
    play.sync();
    assert_eq!(play.sent.len(), 2);
}

#[test]
fn while_its_address_is_missing_nothing_is_sent_or_asked() {
    let (mut play, _) = in_doubt(1);
    for rounds in [&[1, 2][..], &[1, 2, 2]] {
        move_to(&mut play, rounds);
        play.pass(LONG);
        assert_eq!((play.sent.len(), play.lookups.len()), (1, 0), "{rounds:?}");
    }
    move_to(&mut play, &[1, 2, 2, 1]);
    assert_eq!(play.sent.len(), 2, "it is there again");
}

/// Another processor may have had the name between: what went to it needs a proof of its own.
#[test]
fn a_proof_for_one_old_address_is_none_for_another() {
    let (mut play, _) = in_doubt(1);
    move_to(&mut play, &[1, 3, 3, 3]);
    play.address = Some(at(3));
    play.post(2);
    play.sync();
    assert_eq!(play.wanted.last(), Some(&None), "a fresh one goes there");
    play.pass(PATIENCE);
    let asked = play.lookups.len();
    move_to(&mut play, &[1, 3, 3, 3, 2, 2, 2]);
    assert_eq!(play.asked_at[asked..], [Some(at(2)), Some(at(2))]);
    let sent = play.sent.len();
    let stored = Lookup::Stored {
        requested_at: UnixMillis(0),
        amount: Cents(1990),
    };
    play.show(asked, stored);
    play.show(asked + 1, Lookup::NotFound);
    play.sync();
    play.pass(LONG);
    play.sync();
    assert_eq!(play.owner.pending(), 1, "the first one is charged");
    assert_eq!(
        play.sent.len(),
        sent,
        "the other one went to a third address"
    );
}

#[test]
fn what_is_stored_at_the_new_address_proves_it_for_all_payments() {
    let (mut play, ids) = in_doubt(2);
    move_to(&mut play, &[1, 2, 2, 2]);
    assert_eq!((play.sent.len(), play.lookups.len()), (2, 2));
    assert_eq!(play.asked_at, [Some(at(2)), Some(at(2))]);
    let stored = Lookup::Stored {
        requested_at: UnixMillis(0),
        amount: Cents(1990),
    };
    play.show(0, Lookup::NotFound);
    assert_eq!(play.sent.len(), 2, "a 404 proves nothing");
    play.show(1, stored);
    assert_eq!(play.wanted.last(), Some(&Some(at(2))));
    // Its Intent names the new address before any byte goes there (I5).
    assert_eq!(play.sent.len(), 2);
    assert_eq!(intents(&play), [Some(at(1)), Some(at(1)), Some(at(2))]);
    play.sync();
    assert_eq!(play.sent.len(), 3);
    play.hear(200);
    play.sync();
    assert_eq!(play.owner.pending(), 0, "{ids:?}");
}

#[test]
fn what_another_client_charged_proves_nothing() {
    for (requested_at, amount) in [(7_000, 1990), (0, 500)] {
        let (mut play, _) = in_doubt(1);
        move_to(&mut play, &[1, 2, 2, 2]);
        let lookup = Lookup::Stored {
            requested_at: UnixMillis(requested_at),
            amount: Cents(amount),
        };
        play.show(0, lookup);
        play.pass(LONG);
        assert_eq!((play.sent.len(), play.owner.pending()), (1, 1));
        assert_eq!(play.lookups.len(), 2, "it is asked about again");
    }
}

#[test]
fn what_a_human_confirms_is_sent_again() {
    let (mut play, _) = in_doubt(1);
    move_to(&mut play, &[1, 2, 2, 2]);
    play.show(0, Lookup::NotFound);
    play.confirm(A, 4);
    play.pass(PATIENCE);
    play.sync();
    assert_eq!(play.sent.len(), 2);
    assert_eq!(play.wanted.last(), Some(&Some(at(2))));
}

/// A payment whose new Intent is being written is in doubt all the same: its client hears 202 when
/// its time is up, and a connection that dies under it is not its end.
#[test]
fn a_payment_that_follows_its_processor_is_never_withdrawn() {
    let (mut play, id) = {
        let mut play = Play::begin_with(|settings, _| {
            settings.request_timeout = LONG * 3;
        });
        play.address = Some(at(1));
        play.resolve(A, listing(&[1]));
        let id = play.post(1);
        play.sync();
        (play, id)
    };
    move_to(&mut play, &[1, 2, 2, 2]);
    play.confirm(A, 4);
    play.pass(PATIENCE);
    assert_eq!(intents(&play), [Some(at(1)), Some(at(2))]);
    let (attempt, _) = *play.connected.last().unwrap();
    play.owner.exchanged(attempt, Exchange::NotSent, play.now);
    play.perform();
    play.sync();
    play.pass(LONG);
    let (again, _) = *play.connected.last().unwrap();
    assert_ne!(again, attempt, "it is tried again");
    play.pass(LONG * 2);
    play.sync();
    assert_eq!(play.answers, [Answer::Accepted]);
    assert_eq!(play.owner.pending(), 1, "{id}");
    play.sync();
    play.hear(200);
    play.sync();
    assert_eq!(play.owner.pending(), 0);
}

#[test]
fn an_open_intent_of_a_journal_is_judged_in_the_same_way() {
    for (address, rounds, sent, asked) in [
        (Some(at(1)), &[1][..], 1, 0),
        (Some(at(1)), &[2][..], 0, 0),
        (Some(at(1)), &[2, 2, 2][..], 0, 1),
        // Of a release that wrote no address.
        (None, &[2, 2, 2][..], 1, 0),
    ] {
        let mut play = Play::begin();
        play.address = Some(at(2));
        play.resolve(A, listing(rounds));
        let correlation_id = CorrelationId::try_new("earlier").unwrap();
        let restored = Restored {
            payment: Payment {
                id: correlation_id.upstream_id(),
                correlation_id,
                amount: Cents(1990),
            },
            accepted_at: None,
            open: Some((A, UnixMillis(5))),
            address,
            earlier: Vec::new(),
            writer: WriterSlot::OWN,
        };
        play.owner.restore(&restored, play.now);
        play.perform();
        play.sync();
        let seen = (play.sent.len(), play.lookups.len());
        assert_eq!(seen, (sent, asked), "{address:?} {rounds:?}");
    }
}

/// The connect belongs to the processor: how it ends counts although its payment is elsewhere.
#[test]
fn a_connect_that_was_left_behind_counts_against_its_processor() {
    let mut play = Play::begin_with(|settings, breaker| {
        settings.waiting_max = 64;
        breaker.min_samples = 4;
    });
    play.is_deaf = Some(A);
    for number in 0..4 {
        play.post(number);
    }
    play.pass(Duration::from_millis(6));
    play.sync();
    assert_eq!(play.sent.len(), 4, "they left for the other processor");
    assert_eq!(play.state_of(A), State::Closed);
    for (attempt, processor) in play.connected.clone() {
        if processor == A {
            play.owner.exchanged(attempt, Exchange::NotSent, play.now);
            play.perform();
        }
    }
    assert_eq!(play.state_of(A), State::Open);
    for number in 0..4 {
        play.hear_of(number, 200, None);
    }
    play.sync();
    assert_eq!(play.answers.len(), 4);
    assert_eq!(play.owner.gauges().in_flight, Default::default());
}
