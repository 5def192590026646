//! Hedging that cannot double-charge: the same id once more to the same processor while the first
//! attempt is slow, within 5 % of all attempts.

use std::time::Duration;

use p99::testing::sim::{Act, Fault, Moment};

use crate::kit::payers::{pay_all, with_status};
use crate::kit::stack::{Stack, count};
use crate::on_both_drivers_together;

fn extra_attempts(stack: &Stack, payments: usize) -> usize {
    let all = [&stack.a, &stack.b].map(|sim| sim.all_attempts());
    let attempts: u32 = all.iter().flatten().map(|(_, count)| count).sum();
    attempts as usize - payments
}

on_both_drivers_together! {
    a_late_answer_in_fifty_is_hedged_and_charged_once,
    when_all_are_slow_the_budget_holds,
    a_race_between_two_attempts_has_one_end,
}

fn a_late_answer_in_fifty_is_hedged_and_charged_once(driver: &str) {
    let stack = Stack::start(driver, &[("REQUEST_TIMEOUT_MS", "10000")]);
    for (seed, sim) in [&stack.a, &stack.b].into_iter().enumerate() {
        let late = Fault::new(Moment::Answer, Act::Pause(200));
        sim.inject(late.chance(20_000, seed as u64)).unwrap();
    }
    let payments = count(1_500, 50_000);
    let told = pay_all(stack.address(), 8, 0..payments);
    assert_eq!(with_status(&told, 200), payments);
    stack.audit("2 % late", &told);
    let event = |name| stack.metric(&format!("p99_hedges_total{{event=\"{name}\"}}"));
    let (fired, won) = (event("fired"), event("won"));
    let extra = extra_attempts(&stack, payments);
    eprintln!(
        "{payments} payments, 2 % late: {fired} hedges, {won} won, \
         {extra} extra attempts, 0 charged twice"
    );
    assert!(fired >= 1.0, "some were hedged");
    assert!(won >= 1.0, "and some of them were the faster");
    assert!(
        extra * 20 <= payments,
        "{extra} extra attempts are more than 5 %"
    );
    stack.stop();
}

fn when_all_are_slow_the_budget_holds(driver: &str) {
    let stack = Stack::start(driver, &[("REQUEST_TIMEOUT_MS", "10000")]);
    for sim in [&stack.a, &stack.b] {
        sim.set_delay(Duration::from_millis(60));
    }
    let payments = count(1_000, 20_000);
    let told = pay_all(stack.address(), 64, 0..payments);
    assert_eq!(with_status(&told, 200), payments);
    stack.audit("all slow", &told);
    let extra = extra_attempts(&stack, payments);
    eprintln!("{payments} payments, all slow: {extra} extra attempts");
    assert!(
        extra * 20 <= payments,
        "{extra} extra attempts are more than 5 %"
    );
    stack.stop();
}

/// A hedge to a processor that then refuses or cuts one of the two: nothing is freed early.
fn a_race_between_two_attempts_has_one_end(driver: &str) {
    let stack = Stack::start(
        driver,
        &[
            ("REQUEST_TIMEOUT_MS", "500"),
            ("CB_FAIL_RATE", "1"),
            ("CB_MIN_SAMPLES", "100000"),
        ],
    );
    for (seed, sim) in [&stack.a, &stack.b].into_iter().enumerate() {
        for (act, moment) in [
            (Act::Pause(30), Moment::Body),
            (Act::Pause(30), Moment::Answer),
            (Act::Status(401), Moment::Body),
            (Act::Status(500), Moment::Answer),
            (Act::Status(500), Moment::Body),
            (Act::Reset, Moment::Answer),
        ] {
            sim.inject(Fault::new(moment, act).chance(40_000, 7 + seed as u64))
                .unwrap();
        }
    }
    let payments = count(1_000, 20_000);
    let told = pay_all(stack.address(), 16, 0..payments);
    for sim in [&stack.a, &stack.b] {
        sim.clear_faults();
    }
    stack.audit("race", &told);
    let fired = stack.metric("p99_hedges_total{event=\"fired\"}");
    eprintln!("{payments} payments under faults: {fired} hedges, 0 charged twice");
    stack.stop();
}
