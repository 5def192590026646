//! The breaker in every interleaving of two and three threads: no more probes than permits, one
//! thread learns of a transition, no sample is lost, and a late result moves no newer generation.

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use super::tests::{SETTINGS, granted, ms};
use super::*;
use crate::atomics::in_every_interleaving;

const SECOND: Duration = Duration::from_secs(1);

fn breaker(probes: u32, min_samples: u32) -> Arc<Breaker> {
    Arc::new(Breaker::new(BreakerSettings {
        probes,
        min_samples,
        ..SETTINGS
    }))
}

/// Its Open is over; the next question begins the round of probes.
fn elapsed(probes: u32) -> (Arc<Breaker>, Mono) {
    let breaker = breaker(probes, 1);
    assert!(breaker.rest(0, SECOND, ms(1)).is_some());
    (breaker, ms(2_000))
}

fn count(breaker: &Breaker, from: State, to: State) -> u64 {
    let wanted = Transition { from, to };
    let mut all = breaker.transitions().into_iter();
    all.find(|(known, _)| *known == wanted).unwrap().1
}

#[test]
fn two_questions_for_one_permit_get_one() {
    in_every_interleaving(|| {
        let (breaker, now) = elapsed(1);
        let ask = {
            let breaker = Arc::clone(&breaker);
            move || breaker.permit(now, Kind::Fresh)
        };
        let other = thread::spawn(ask.clone());
        let answers = [ask(), other.join().unwrap()];
        let got = |(permit, _): &&(Permit, _)| matches!(permit, Permit::Granted(_));
        assert_eq!(answers.iter().filter(got).count(), 1, "{answers:?}");
        let learnt = answers.iter().filter(|(_, learnt)| learnt.is_some());
        assert_eq!(learnt.count(), 1, "one thread learns: {answers:?}");
        assert_eq!(count(&breaker, State::Open, State::HalfOpen), 1);
    });
}

#[test]
fn the_last_probe_that_passes_closes_it_and_one_thread_learns() {
    in_every_interleaving(|| {
        let (breaker, now) = elapsed(2);
        let tickets = [(); 2].map(|()| granted(&breaker, now, Kind::Fresh));
        let [mine, theirs] = tickets;
        let other = {
            let breaker = Arc::clone(&breaker);
            thread::spawn(move || breaker.record(theirs, Verdict::Success, now))
        };
        let learnt = [
            breaker.record(mine, Verdict::Success, now),
            other.join().unwrap(),
        ];
        assert_eq!(learnt.iter().flatten().count(), 1, "{learnt:?}");
        assert_eq!(breaker.state(now), State::Closed);
    });
}

#[test]
fn no_sample_is_lost_whether_in_one_bucket_or_two() {
    for apart in [0, 1_000] {
        in_every_interleaving(move || {
            let breaker = breaker(1, 4);
            let ticket = granted(&breaker, ms(5_000), Kind::Fresh);
            // loom would let a sequentially consistent load see what a bucket began with, whatever
            // was written since.
            for bucket in [5_000, 6_000] {
                assert_eq!(breaker.record(ticket, Verdict::Failure, ms(bucket)), None);
            }
            let fail = {
                let breaker = Arc::clone(&breaker);
                move |at| breaker.record(ticket, Verdict::Failure, ms(at)).is_some()
            };
            let other = thread::spawn({
                let fail = fail.clone();
                move || fail(5_000 + apart)
            });
            let learnt = [fail(5_000), other.join().unwrap()];
            assert_eq!(
                learnt.iter().filter(|is| **is).count(),
                1,
                "who fails last opens it"
            );
            assert_eq!(count(&breaker, State::Closed, State::Open), 1);
        });
    }
}

#[test]
fn a_failure_and_a_rest_open_it_once() {
    in_every_interleaving(|| {
        let breaker = breaker(1, 1);
        let ticket = granted(&breaker, ms(1), Kind::Fresh);
        let other = {
            let breaker = Arc::clone(&breaker);
            thread::spawn(move || breaker.record(ticket, Verdict::Failure, ms(1)))
        };
        let rest = breaker.rest(0, SECOND, ms(1));
        let trip = other.join().unwrap();
        assert!(rest.is_some() != trip.is_some(), "{rest:?} {trip:?}");
        assert_eq!(breaker.generation(), 1);
    });
}

/// A thread that sleeps between its look at the breaker and what it does there meets a newer round.
#[test]
fn a_late_result_takes_nothing_from_a_newer_round() {
    in_every_interleaving(|| {
        let (breaker, now) = elapsed(1);
        let late = granted(&breaker, now, Kind::Fresh);
        let other = {
            let breaker = Arc::clone(&breaker);
            thread::spawn(move || breaker.record(late, Verdict::Success, now))
        };
        let asked = {
            let breaker = Arc::clone(&breaker);
            thread::spawn(move || breaker.permit(now, Kind::Fresh).0)
        };
        let later = now.after(SECOND * 2);
        let rest = breaker.rest(late.generation(), SECOND, now);
        let newer = granted_if_open(&breaker, later);
        let (passed, asked) = (other.join().unwrap(), asked.join().unwrap());
        assert!(rest.is_some() != passed.is_some(), "{rest:?} {passed:?}");
        let Some(newer) = newer else { return };
        if let Permit::Granted(ticket) = asked
            && ticket.generation() == newer.generation()
        {
            assert!(ticket.expiry_ms <= now_ms(later), "its permit had expired");
        }
        let closed = breaker.record(newer, Verdict::Success, later);
        assert!(closed.is_some(), "the older ones took nothing");
    });
}

fn granted_if_open(breaker: &Breaker, now: Mono) -> Option<Ticket> {
    match breaker.permit(now, Kind::Fresh).0 {
        Permit::Granted(ticket) => ticket.is_probe().then_some(ticket),
        Permit::Refused { .. } => None,
    }
}
