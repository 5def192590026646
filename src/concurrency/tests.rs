//! The limit by itself, and before processors that take no more than they do.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn bounds(most: usize, cores: u16) -> Bounds {
    Bounds::new(most, cores)
}

/// A round in which some core needed more.
fn full_round(limit: &Limit) {
    limit.on_need();
    for _ in 0..limit.get() {
        limit.on_charge();
    }
}

#[test]
fn it_doubles_until_the_first_trouble_then_grows_by_one() {
    let limit = Limit::new(bounds(2_048, 2));
    let mut seen = vec![limit.get()];
    for _ in 0..7 {
        full_round(&limit);
        seen.push(limit.get());
    }
    assert_eq!(seen, [32, 64, 128, 256, 512, 1_024, 2_048, 2_048]);
    limit.on_shed();
    assert_eq!(limit.get(), 1_843);
    full_round(&limit);
    assert_eq!(limit.get(), 1_843, "the round of the 429 is its rest");
    full_round(&limit);
    assert_eq!(limit.get(), 1_844);
    limit.on_trip();
    assert_eq!(limit.get(), 922);
    full_round(&limit);
    assert_eq!(limit.get(), 923);
}

#[test]
fn an_operator_lowers_it_at_once_and_raises_it_no_further_than_it_was_made_with() {
    let limit = Limit::new(bounds(100, 2));
    assert_eq!(limit.get(), 32);
    limit.set_most(10);
    assert_eq!((limit.get(), limit.share()), (10, 5));
    full_round(&limit);
    assert_eq!(limit.get(), 10);
    limit.set_most(1);
    assert_eq!((limit.get(), limit.least_share()), (1, 1));
    limit.set_most(5_000);
    for _ in 0..20 {
        full_round(&limit);
    }
    assert_eq!(limit.get(), 100);
}

#[test]
fn what_nobody_needs_says_nothing_and_is_not_written() {
    let limit = Limit::new(bounds(2_048, 2));
    let before = limit.word.load(Relaxed);
    for _ in 0..1_000 {
        limit.on_charge();
    }
    assert_eq!(limit.word.load(Relaxed), before);
}

#[test]
fn a_burst_of_429s_is_one_cut_a_round() {
    let limit = Limit::new(bounds(2_048, 1));
    for _ in 0..28 {
        limit.on_shed();
    }
    assert_eq!(limit.get(), 28);
    for _ in 0..28 {
        limit.on_charge();
    }
    limit.on_shed();
    assert_eq!(limit.get(), 25);
    // Nothing but 429s: each round of them takes a tenth.
    for _ in 0..1_000 {
        limit.on_shed();
    }
    assert_eq!(limit.get(), 4);
}

#[test]
fn it_stays_within_its_bounds() {
    for (most, cores, first, least) in [
        (2_048, 1, 32, 4),
        (2_048, 64, 64, 64),
        (2, 1, 2, 2),
        (16, 8, 16, 8),
    ] {
        let limit = Limit::new(bounds(most, cores));
        assert_eq!(limit.get(), first, "{most} for {cores}");
        for _ in 0..20 {
            limit.on_trip();
        }
        assert_eq!(limit.get(), least, "{most} for {cores}");
        assert!(limit.share() >= 1 && limit.least_share() >= 1);
    }
}

/// A processor that takes `takes` at once, each for `turns` turns, and sheds the rest. Returns how
/// many it charged and shed in `rounds` turns, and the limit at the end.
fn serve(limit: &Limit, takes: usize, turns: usize, rounds: usize) -> (usize, usize) {
    let mut busy: VecDeque<usize> = VecDeque::new();
    let (mut charged, mut shed) = (0, 0);
    for now in 0..rounds {
        while busy.front().is_some_and(|end| *end <= now) {
            busy.pop_front();
            charged += 1;
            limit.on_charge();
        }
        // Payments wait all the time; one that is shed waits for the next turn.
        let mut refused = 0;
        while busy.len() + refused < limit.share() {
            if busy.len() < takes {
                busy.push_back(now + turns);
            } else {
                refused += 1;
                shed += 1;
                limit.on_shed();
            }
        }
        limit.on_need();
    }
    (charged, shed)
}

#[test]
fn a_slow_and_willing_processor_gets_as_much_as_it_takes() {
    let limit = Limit::new(bounds(2_048, 1));
    // 2 s an answer in turns of 10 ms: 600/s need 1,200 in flight.
    serve(&limit, usize::MAX, 200, 2_000);
    assert!(limit.get() >= 1_200, "{}", limit.get());
}

#[test]
fn one_that_sheds_is_kept_busy_with_few_429s() {
    let limit = Limit::new(bounds(2_048, 1));
    let (charged, shed) = serve(&limit, 50, 10, 20_000);
    let most = 50 * 20_000 / 10;
    assert!(charged * 10 >= most * 9, "{charged} of {most}");
    assert!(shed * 20 <= charged + shed, "{shed} of {}", charged + shed);
}

proptest! {
    #[test]
    fn any_story_keeps_its_bounds_and_falls_by_trouble_alone(
        most in 1_usize..5_000,
        cores in 1_u16..65,
        story in proptest::collection::vec(0_u8..4, 0..2_000),
    ) {
        let bounds = bounds(most, cores);
        let limit = Limit::new(bounds);
        for event in story {
            let before = limit.get();
            match event {
                0 => limit.on_need(),
                1 => limit.on_charge(),
                2 => limit.on_shed(),
                _ => limit.on_trip(),
            }
            let after = limit.get();
            prop_assert!(after >= bounds.least() && after <= bounds.most);
            prop_assert!(after >= before || event >= 2);
            prop_assert!(after <= before || event == 1);
            prop_assert!(after <= before.saturating_mul(2));
            prop_assert!(limit.share() * usize::from(cores) >= usize::try_from(after).unwrap());
        }
    }
}
