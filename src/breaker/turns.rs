//! Who gets the few permits of a HalfOpen round: payments that were never sent there, and those
//! that no other processor may have.

use std::time::Duration;

use super::tests::{SETTINGS, granted, ms, refused, trip};
use super::*;

#[test]
fn fresh_payments_leave_one_permit_to_waiting_pinned_ones() {
    let breaker = Breaker::new(SETTINGS);
    trip(&breaker, ms(100));
    assert_eq!(refused(&breaker, ms(200), Kind::Pinned), ms(5_100));
    granted(&breaker, ms(5_100), Kind::Fresh);
    granted(&breaker, ms(5_100), Kind::Fresh);
    assert!(refused(&breaker, ms(5_100), Kind::Fresh) > ms(5_100));
    assert_eq!(breaker.probes_free(ms(5_100)), 1);
    granted(&breaker, ms(5_101), Kind::Pinned);
    // A pinned payment that never comes back blocks no one for long.
    let other = Breaker::new(BreakerSettings {
        probes: 1,
        ..SETTINGS
    });
    trip(&other, ms(100));
    refused(&other, ms(200), Kind::Pinned);
    refused(&other, ms(5_100), Kind::Fresh);
    granted(&other, ms(5_120), Kind::Fresh);
}

/// A few ids that a processor never answers would else take every permit of every round.
#[test]
fn pinned_payments_get_one_permit_in_two_rounds_while_fresh_ones_wait() {
    let breaker = Breaker::new(SETTINGS);
    trip(&breaker, ms(100));
    let mut granted_in_round = Vec::new();
    for round in 0..6 {
        let now = ms(5_200 + round * 6_000);
        let mut pinned = 0;
        let mut failed = None;
        for _ in 0..8 {
            if let Permit::Granted(ticket) = breaker.permit(now, Kind::Pinned).0 {
                pinned += 1;
                failed = Some(ticket);
            }
        }
        granted_in_round.push(pinned);
        let fresh = granted(&breaker, now, Kind::Fresh);
        let ticket = failed.unwrap_or(fresh);
        assert!(breaker.record(ticket, Verdict::Failure, now).is_some());
    }
    assert_eq!(granted_in_round, [1, 0, 1, 0, 1, 0]);
}

#[test]
fn pinned_payments_that_wait_alone_get_every_permit() {
    let breaker = Breaker::new(SETTINGS);
    trip(&breaker, ms(100));
    let first = granted(&breaker, ms(5_200), Kind::Pinned);
    refused(&breaker, ms(6_000), Kind::Pinned);
    let alone = ms(6_300);
    assert_eq!(breaker.record(first, Verdict::Success, alone), None);
    let second = granted(&breaker, alone, Kind::Pinned);
    let third = granted(&breaker, alone, Kind::Pinned);
    assert_eq!(breaker.record(second, Verdict::Success, alone), None);
    assert!(breaker.record(third, Verdict::Success, alone).is_some());
    assert_eq!(breaker.state(alone), State::Closed);
}

#[test]
fn a_rest_that_an_older_generation_hears_of_changes_nothing() {
    let breaker = Breaker::new(SETTINGS);
    let old = breaker.generation();
    trip(&breaker, ms(100));
    let probes = [(); 3].map(|()| granted(&breaker, ms(5_200), Kind::Fresh));
    for probe in probes {
        let _ = breaker.record(probe, Verdict::Success, ms(5_201));
    }
    let rest = Duration::from_secs(3);
    assert_eq!(breaker.rest(old, rest, ms(5_300)), None);
    assert_eq!(breaker.state(ms(5_300)), State::Closed);
    assert!(
        breaker
            .rest(breaker.generation(), rest, ms(5_300))
            .is_some()
    );
}
