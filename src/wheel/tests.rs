//! The wheel against a model, and its edges by hand.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn due(wheel: &mut Wheel, now_us: u64) -> Vec<u32> {
    let mut due = Vec::new();
    wheel.expire(Mono(now_us), &mut due);
    due
}

#[test]
fn nothing_fires_early_and_nothing_fires_twice() {
    let mut wheel = Wheel::new();
    wheel.arm(3, Mono(1_500));
    assert_eq!(wheel.next(), Some(Mono(2_000)));
    assert!(due(&mut wheel, 1_999).is_empty());
    assert_eq!(due(&mut wheel, 2_000), [3]);
    assert!(due(&mut wheel, 9_000).is_empty());
    assert_eq!(wheel.next(), None);
}

#[test]
fn a_moment_that_has_passed_is_due_at_once() {
    let mut wheel = Wheel::new();
    assert!(due(&mut wheel, 5_000_500).is_empty());
    wheel.arm(1, Mono(7));
    assert!(wheel.next().is_some_and(|at| at <= Mono(5_000_500)));
    assert_eq!(due(&mut wheel, 5_000_500), [1]);
}

#[test]
fn arming_again_moves_and_cancelling_removes() {
    let mut wheel = Wheel::new();
    for token in [0, 1, 2] {
        wheel.arm(token, Mono(4_000));
    }
    wheel.arm(1, Mono(6_000));
    wheel.cancel(0);
    wheel.cancel(7);
    assert_eq!(wheel.armed_count(), 2);
    assert_eq!(due(&mut wheel, 5_000), [2]);
    assert_eq!(due(&mut wheel, 6_000), [1]);
}

#[test]
fn far_timers_wait_for_their_round() {
    let mut wheel = Wheel::new();
    let hour = 3_600_000_000;
    wheel.arm(0, Mono(hour));
    let mut looks = 0;
    let mut fired = Vec::new();
    while let Some(at) = wheel.next() {
        wheel.expire(at, &mut fired);
        looks += 1;
        assert!(fired.is_empty() || at == Mono(hour));
    }
    assert_eq!(fired, [0]);
    assert!(
        looks <= 3_600 / 16 + 2,
        "an idle core looks once in a round, not {looks} times"
    );
}

#[test]
fn the_last_moment_of_the_clock_is_a_moment() {
    let mut wheel = Wheel::new();
    wheel.arm(0, Mono(u64::MAX));
    assert!(wheel.is_armed(0));
    assert!(due(&mut wheel, 1_000).is_empty());
    assert!(due(&mut wheel, u64::MAX).is_empty());
}

#[test]
fn timers_of_one_millisecond_fire_in_the_order_of_arming() {
    let mut wheel = Wheel::new();
    for token in (0..100).rev() {
        wheel.arm(token, Mono(10_000));
    }
    assert_eq!(due(&mut wheel, 10_000), (0..100).rev().collect::<Vec<_>>());
}

#[derive(Clone, Debug)]
enum Step {
    Arm(u32, u64),
    Cancel(u32),
    Advance(u64),
    SleepUntilNext,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Deadlines and sleeps up to a few rounds, most of them near.
    let span = prop_oneof![0..5_000_u64, 0..2_000_000_u64, 0..60_000_000_u64];
    let step = prop_oneof![
        4 => (0..40_u32, span.clone()).prop_map(|(token, span)| Step::Arm(token, span)),
        1 => (0..40_u32).prop_map(Step::Cancel),
        2 => span.prop_map(Step::Advance),
        2 => Just(Step::SleepUntilNext),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_wheel_does_what_a_sorted_map_does(steps in steps()) {
        let mut wheel = Wheel::new();
        let mut model: BTreeMap<u32, u64> = BTreeMap::new();
        let mut now = 0_u64;
        for step in steps {
            match step {
                Step::Arm(token, span) => {
                    wheel.arm(token, Mono(now + span));
                    // In a millisecond that was looked at before, it is due within it.
                    let at_ms = (now + span).div_ceil(1_000);
                    model.insert(token, at_ms);
                }
                Step::Cancel(token) => {
                    wheel.cancel(token);
                    model.remove(&token);
                }
                Step::Advance(span) => now += span,
                Step::SleepUntilNext => now = wheel.next().map_or(now, |at| at.0.max(now)),
            }
            let mut fired = due(&mut wheel, now);
            fired.sort_unstable();
            let now_ms = now / 1_000;
            let expected: Vec<u32> =
                model.iter().filter(|(_, at)| **at <= now_ms).map(|(token, _)| *token).collect();
            model.retain(|_, at| *at > now_ms);
            prop_assert_eq!(fired, expected);
            prop_assert_eq!(wheel.armed_count(), model.len());
            let earliest = model.values().min().map(|at| Mono(at * 1_000));
            match (wheel.next(), earliest) {
                (Some(next), Some(earliest)) => prop_assert!(next <= earliest, "late"),
                (next, earliest) => prop_assert_eq!(next, earliest),
            }
        }
    }
}
