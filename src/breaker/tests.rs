//! The breaker as a full table of state and event, then its counts and probes one by one.

use std::time::Duration;

use super::*;

pub(super) const SETTINGS: BreakerSettings = BreakerSettings {
    failure_per_mille: 300,
    min_samples: 20,
    open: Duration::from_secs(5),
    window: Duration::from_secs(10),
    probes: 3,
    probe_ttl: Duration::from_millis(50),
};

pub(super) const fn ms(at: u64) -> Mono {
    Mono(at * 1_000)
}

pub(super) fn granted(breaker: &Breaker, now: Mono, kind: Kind) -> Ticket {
    match breaker.permit(now, kind).0 {
        Permit::Granted(ticket) => ticket,
        Permit::Refused { until } => panic!("refused until {until:?}"),
    }
}

pub(super) fn refused(breaker: &Breaker, now: Mono, kind: Kind) -> Mono {
    match breaker.permit(now, kind).0 {
        Permit::Granted(ticket) => panic!("granted {ticket:?}"),
        Permit::Refused { until } => until,
    }
}

/// Opens at `now` by failures alone.
pub(super) fn trip(breaker: &Breaker, now: Mono) {
    let mut transition = None;
    for _ in 0..SETTINGS.min_samples {
        assert_eq!(transition, None, "opens with the last sample, not before");
        let ticket = granted(breaker, now, Kind::Fresh);
        transition = breaker.record(ticket, Verdict::Failure, now);
    }
    assert_eq!(
        transition,
        Some(Transition {
            from: State::Closed,
            to: State::Open
        })
    );
}

#[test]
fn every_state_meets_every_event() {
    let now = ms(10_000);
    let word = |state, generation, deadline_ms| Word {
        state,
        generation,
        deadline_ms,
    };
    let closed = word(State::Closed, 7, 0);
    let open = |deadline_ms| word(State::Open, 7, deadline_ms);
    let half_open = word(State::HalfOpen, 7, 0);
    let opened = |deadline_ms| Some(word(State::Open, 8, deadline_ms));
    let rest = Event::Rest(Duration::from_secs(3));
    let rows = [
        (closed, Event::Trip, opened(15_000)),
        (closed, Event::Elapsed, None),
        (closed, Event::AllPassed, None),
        (closed, Event::ProbeFailed, None),
        (closed, rest, opened(13_000)),
        (open(12_000), Event::Trip, None),
        (open(10_001), Event::Elapsed, None),
        (
            open(10_000),
            Event::Elapsed,
            Some(word(State::HalfOpen, 8, 0)),
        ),
        (open(12_000), Event::AllPassed, None),
        (open(12_000), Event::ProbeFailed, None),
        (open(12_000), rest, Some(open(13_000))),
        (open(14_000), rest, None),
        (open(10_000), rest, Some(open(13_000))),
        (half_open, Event::Trip, None),
        (half_open, Event::Elapsed, None),
        (half_open, Event::AllPassed, Some(word(State::Closed, 8, 0))),
        (half_open, Event::ProbeFailed, opened(15_000)),
        (half_open, rest, opened(13_000)),
    ];
    for (word, event, expected) in rows {
        assert_eq!(
            word.after(event, now, SETTINGS.open),
            expected,
            "{word:?} {event:?}"
        );
    }
}

#[test]
fn words_survive_packing() {
    for state in State::ALL {
        for (generation, deadline_ms) in [(0, 0), (u16::MAX, 1), (1, (1 << 46) - 1)] {
            let word = Word {
                state,
                generation,
                deadline_ms,
            };
            assert_eq!(Word::unpack(word.pack()), word);
        }
    }
    for phase in [Phase::Free, Phase::Held, Phase::Passed] {
        let probe = Probe {
            phase,
            generation: 513,
            expiry_ms: 77,
        };
        assert_eq!(Probe::unpack(probe.pack()), probe);
    }
    let eternal = Word {
        deadline_ms: u64::MAX,
        ..Word::START
    };
    assert_eq!(
        Word::unpack(eternal.pack()).deadline_ms,
        (1 << 46) - 1,
        "saturates"
    );
}

#[test]
fn opens_at_the_rate_and_not_below_it() {
    // (successes first, failures until it opens)
    for (successes, failures) in [(14, 6), (0, 20), (70, 30), (140, 60)] {
        let breaker = Breaker::new(SETTINGS);
        for _ in 0..successes {
            let ticket = granted(&breaker, ms(1), Kind::Fresh);
            assert_eq!(breaker.record(ticket, Verdict::Success, ms(1)), None);
        }
        let mut needed = 0;
        while breaker.state(ms(1)) == State::Closed {
            let ticket = granted(&breaker, ms(1), Kind::Fresh);
            let _ = breaker.record(ticket, Verdict::Failure, ms(1));
            needed += 1;
        }
        assert_eq!(needed, failures, "after {successes} successes");
    }
}

#[test]
fn a_success_may_complete_the_samples_that_open() {
    let breaker = Breaker::new(SETTINGS);
    for verdict in [Verdict::Failure; 19] {
        assert_eq!(
            breaker.record(granted(&breaker, ms(1), Kind::Fresh), verdict, ms(1)),
            None
        );
    }
    let ticket = granted(&breaker, ms(1), Kind::Fresh);
    assert!(breaker.record(ticket, Verdict::Success, ms(1)).is_some());
}

#[test]
fn what_says_nothing_counts_nothing() {
    let breaker = Breaker::new(SETTINGS);
    for _ in 0..100 {
        let ticket = granted(&breaker, ms(1), Kind::Fresh);
        assert_eq!(breaker.record(ticket, Verdict::Neither, ms(1)), None);
        breaker.give_back(granted(&breaker, ms(1), Kind::Fresh), ms(1));
    }
    assert_eq!(breaker.counted(ms(1)), (0, 0));
}

#[test]
fn refuses_while_open_and_then_lets_few_through() {
    let breaker = Breaker::new(SETTINGS);
    trip(&breaker, ms(100));
    assert_eq!(refused(&breaker, ms(101), Kind::Pinned), ms(5_100));
    assert_eq!(breaker.probes_free(ms(5_099)), 0);
    assert_eq!(refused(&breaker, Mono(5_099_999), Kind::Fresh), ms(5_100));
    assert_eq!(breaker.state(ms(5_100)), State::HalfOpen);
    assert_eq!(breaker.probes_free(ms(5_100)), 3);
    let (permit, transition) = breaker.permit(ms(5_100), Kind::Pinned);
    assert!(matches!(permit, Permit::Granted(ticket) if ticket.is_probe()));
    assert_eq!(
        transition,
        Some(Transition {
            from: State::Open,
            to: State::HalfOpen
        })
    );
    for free in [2, 1] {
        assert_eq!(breaker.probes_free(ms(5_100)), free);
        let (permit, transition) = breaker.permit(ms(5_100), Kind::Fresh);
        assert!(matches!(permit, Permit::Granted(_)) && transition.is_none());
    }
    assert!(refused(&breaker, ms(5_101), Kind::Fresh) > ms(5_101));
}

#[test]
fn closes_with_fresh_counts_when_all_probes_succeed() {
    let breaker = Breaker::new(SETTINGS);
    trip(&breaker, ms(100));
    let late = ms(5_200);
    let probes = [(); 3].map(|()| granted(&breaker, late, Kind::Fresh));
    let [first, second, third] = probes;
    assert_eq!(breaker.record(first, Verdict::Success, late), None);
    assert_eq!(
        breaker.record(first, Verdict::Success, late),
        None,
        "twice is once"
    );
    assert_eq!(
        breaker.record(first, Verdict::Failure, late),
        None,
        "it has spoken"
    );
    assert_eq!(breaker.record(second, Verdict::Success, late), None);
    assert_eq!(breaker.state(late), State::HalfOpen);
    let closed = Transition {
        from: State::HalfOpen,
        to: State::Closed,
    };
    assert_eq!(breaker.record(third, Verdict::Success, late), Some(closed));
    assert_eq!(breaker.counted(late), (0, 0));
    assert_eq!(
        breaker.record(second, Verdict::Failure, late),
        None,
        "an older generation"
    );
    assert_eq!(breaker.counted(late), (0, 0));
    let counts = breaker.transitions().map(|(_, count)| count);
    assert_eq!(counts, [1, 1, 1, 0]);
}

#[test]
fn one_failed_probe_opens_again() {
    let breaker = Breaker::new(SETTINGS);
    trip(&breaker, ms(100));
    let old = granted(&breaker, ms(5_200), Kind::Fresh);
    let bad = granted(&breaker, ms(5_200), Kind::Fresh);
    let opened = Transition {
        from: State::HalfOpen,
        to: State::Open,
    };
    assert_eq!(
        breaker.record(bad, Verdict::Failure, ms(5_230)),
        Some(opened)
    );
    assert_eq!(refused(&breaker, ms(5_240), Kind::Fresh), ms(10_230));
    assert_eq!(breaker.record(old, Verdict::Success, ms(10_240)), None);
    assert_eq!(
        breaker.probes_free(ms(10_240)),
        3,
        "the next generation has all its permits"
    );
}

#[test]
fn a_lost_permit_expires_and_its_late_failure_still_counts() {
    let breaker = Breaker::new(BreakerSettings {
        probes: 1,
        ..SETTINGS
    });
    trip(&breaker, ms(100));
    let lost = granted(&breaker, ms(5_200), Kind::Fresh);
    refused(&breaker, ms(5_249), Kind::Fresh);
    let next = granted(&breaker, ms(5_250), Kind::Fresh);
    assert_eq!(
        breaker.record(lost, Verdict::Success, ms(5_251)),
        None,
        "not its permit any more"
    );
    assert_eq!(breaker.probes_free(ms(5_251)), 0);
    breaker.give_back(lost, ms(5_251));
    assert_eq!(breaker.probes_free(ms(5_251)), 0, "nor to give back");
    assert!(breaker.record(lost, Verdict::Failure, ms(5_252)).is_some());
    assert_eq!(breaker.record(next, Verdict::Success, ms(5_253)), None);
    assert_eq!(breaker.state(ms(5_254)), State::Open);
}

#[test]
fn a_late_success_counts_while_nobody_took_its_permit() {
    let breaker = Breaker::new(BreakerSettings {
        probes: 1,
        ..SETTINGS
    });
    trip(&breaker, ms(100));
    let slow = granted(&breaker, ms(5_200), Kind::Fresh);
    assert!(breaker.record(slow, Verdict::Success, ms(9_000)).is_some());
}

#[test]
fn an_unused_permit_goes_to_the_next() {
    let breaker = Breaker::new(BreakerSettings {
        probes: 1,
        ..SETTINGS
    });
    trip(&breaker, ms(100));
    let unused = granted(&breaker, ms(5_200), Kind::Fresh);
    breaker.give_back(unused, ms(5_201));
    let next = granted(&breaker, ms(5_201), Kind::Fresh);
    assert_eq!(
        breaker.record(unused, Verdict::Failure, ms(5_202)),
        None,
        "it has spoken"
    );
    assert!(breaker.record(next, Verdict::Success, ms(5_203)).is_some());
}

#[test]
fn a_rest_opens_whatever_the_counts_say_and_never_shortens() {
    let breaker = Breaker::new(SETTINGS);
    let ticket = granted(&breaker, ms(1), Kind::Fresh);
    assert_eq!(
        breaker.rest(breaker.generation(), Duration::ZERO, ms(10)),
        None
    );
    let opened = Transition {
        from: State::Closed,
        to: State::Open,
    };
    assert_eq!(
        breaker.rest(breaker.generation(), Duration::from_secs(3_600), ms(10)),
        Some(opened)
    );
    assert_eq!(
        refused(&breaker, ms(11), Kind::Pinned),
        ms(60_010),
        "at most a minute"
    );
    assert_eq!(
        breaker.rest(breaker.generation(), Duration::from_secs(1), ms(20)),
        None
    );
    assert_eq!(refused(&breaker, ms(21), Kind::Pinned), ms(60_010));
    assert_eq!(breaker.record(ticket, Verdict::Failure, ms(30)), None);
    let probe = granted(&breaker, ms(60_010), Kind::Fresh);
    assert!(
        breaker
            .rest(breaker.generation(), Duration::from_secs(1), ms(60_020))
            .is_some()
    );
    assert_eq!(breaker.record(probe, Verdict::Success, ms(60_021)), None);
    assert_eq!(refused(&breaker, ms(60_022), Kind::Fresh), ms(61_020));
}

#[test]
fn what_an_operator_changes_holds_for_what_is_judged_next() {
    let breaker = Breaker::new(SETTINGS);
    let fail = |now| {
        let ticket = granted(&breaker, now, Kind::Fresh);
        breaker.record(ticket, Verdict::Failure, now)
    };
    breaker.set_min_samples(3);
    breaker.set_open(Duration::from_secs(60));
    assert!(fail(ms(1)).is_none() && fail(ms(2)).is_none());
    assert!(fail(ms(3)).is_some(), "three are enough");
    assert_eq!(refused(&breaker, ms(4), Kind::Fresh), ms(60_003));
    // An Open that has begun keeps its end.
    breaker.set_open(Duration::from_secs(1));
    assert_eq!(refused(&breaker, ms(5), Kind::Fresh), ms(60_003));

    let breaker = Breaker::new(SETTINGS);
    breaker.set_failure_rate(1_000);
    let now = ms(1);
    let success = granted(&breaker, now, Kind::Fresh);
    assert_eq!(breaker.record(success, Verdict::Success, now), None);
    for _ in 0..100 {
        let ticket = granted(&breaker, now, Kind::Fresh);
        let moved = breaker.record(ticket, Verdict::Failure, now);
        assert_eq!(moved, None, "one success is below a share of 1");
    }
}
