//! ACK=accepted: 202 as soon as the payment is held, settled behind, by the cheap processor if it
//! comes back in time.

use std::thread;
use std::time::{Duration, Instant};

use p99::testing::payment::UpstreamId;
use p99::testing::sim::{Act, Fault, Moment};

use crate::kit::client::wait_until;
use crate::kit::payers::{pay_all, with_status};
use crate::kit::stack::{Stack, Told, count};
use crate::on_both_drivers_together;

const SETTINGS: [(&str, &str); 4] = [
    ("ACK", "accepted"),
    ("ROUTING", "cheapest"),
    ("CB_OPEN_SECS", "1"),
    ("HEDGE_DELAY_MS", "60000"),
];

fn charged_at_b(stack: &Stack, told: &[(UpstreamId, Told)]) -> usize {
    told.iter()
        .filter(|(id, _)| stack.b.find(*id).is_some())
        .count()
}

on_both_drivers_together! {
    accepted_at_once_while_the_cheap_one_fails_and_settled_there_later,
    the_dear_one_gets_what_waited_too_long,
    a_queue_drains_as_wide_as_it_may,
    recovery_is_probed_by_few,
    a_rest_that_was_asked_for_is_kept,
    a_full_queue_turns_payments_away_unharmed,
    a_refusal_for_good_ends_a_held_payment,
}

fn accepted_at_once_while_the_cheap_one_fails_and_settled_there_later(driver: &str) {
    let stack = Stack::start(
        driver,
        &[&SETTINGS[..], &[("FALLBACK_AFTER_MS", "600000")]].concat(),
    );
    // A's lookup is worth something once it has shown a charge; a 500 is a refusal from then on.
    let warm = pay_all(stack.address(), 1, 900_000..900_001);
    stack.settle(&warm);
    stack.a.set_failing(true);
    let payments = count(300, 5_000);
    let told = pay_all(stack.address(), 16, 0..payments);
    assert_eq!(with_status(&told, 202), payments);
    assert_eq!(stack.charges().len(), 1);
    let mut client = stack.client();
    let found = client.get(&format!("/payments/{}", told[0].0));
    assert!(
        found.body.contains(r#""status":"pending""#),
        "{}",
        found.body
    );
    stack.a.set_failing(false);
    stack.audit("recovered", &told);
    assert_eq!(charged_at_b(&stack, &told), 0, "B may not have them yet");
    stack.stop();
}

fn the_dear_one_gets_what_waited_too_long(driver: &str) {
    let stack = Stack::start(
        driver,
        &[&SETTINGS[..], &[("FALLBACK_AFTER_MS", "700")]].concat(),
    );
    // A can be reached but refuses, provably: nothing is pinned.
    stack
        .a
        .inject(Fault::new(Moment::Body, Act::Status(403)))
        .unwrap();
    let start = Instant::now();
    let payments = count(100, 2_000);
    let told = pay_all(stack.address(), 16, 0..payments);
    assert_eq!(with_status(&told, 202), payments);
    let early = stack.b.rows().len();
    if start.elapsed() < Duration::from_millis(700) {
        assert_eq!(early, 0, "not before FALLBACK_AFTER_MS");
    }
    stack.audit("fallback", &told);
    assert_eq!(charged_at_b(&stack, &told), payments);
    assert!(start.elapsed() >= Duration::from_millis(700));
    stack.stop();
}

/// Three seconds of delay, and as many in flight as UPSTREAM_CONCURRENCY allows: 2 x 64 payments
/// take some 6 s, one after the other would take 384.
fn a_queue_drains_as_wide_as_it_may(driver: &str) {
    let wide = [
        ("FALLBACK_AFTER_MS", "600000"),
        ("UPSTREAM_CONCURRENCY", "64"),
    ];
    let stack = Stack::start(driver, &[&SETTINGS[..], &wide].concat());
    stack.a.set_delay(Duration::from_secs(3));
    let payments = count(128, 640);
    let (told, widest) = thread::scope(|scope| {
        // From the first one on: a busy machine may have begun long before all are taken.
        let widest = scope.spawn(|| {
            let mut widest = 0;
            wait_until("all are charged", || {
                widest = widest.max(stack.a.in_flight().0);
                stack.a.rows().len() == payments
            });
            widest
        });
        let told = pay_all(stack.address(), 16, 0..payments);
        (told, widest.join().unwrap())
    });
    assert_eq!(with_status(&told, 202), payments);
    eprintln!("{payments} payments of 3 s each: at most {widest} in flight");
    assert!(
        (48..=64).contains(&widest),
        "{widest} in flight, 64 allowed"
    );
    stack.audit("wide", &told);
    assert_eq!(charged_at_b(&stack, &told), 0);
    stack.stop();
}

/// While A is Open it is probed by few, and by no one before its time.
fn recovery_is_probed_by_few(driver: &str) {
    let probes = [
        ("FALLBACK_AFTER_MS", "600000"),
        ("CB_OPEN_SECS", "2"),
        ("CB_HALF_OPEN_PROBES", "3"),
    ];
    let stack = Stack::start(driver, &[&SETTINGS[..], &probes].concat());
    stack
        .a
        .inject(Fault::new(Moment::Body, Act::Status(403)))
        .unwrap();
    let payments = count(200, 2_000);
    let told = pay_all(stack.address(), 16, 0..payments);
    assert_eq!(with_status(&told, 202), payments);
    wait_until("the breaker opens", || {
        stack.metric(r#"p99_breaker_state{processor="default"}"#) >= 1.0
    });
    // What was in flight when it opened has ended long before its first probes.
    thread::sleep(Duration::from_millis(500));
    let watched = Instant::now();
    let before = attempts(&stack);
    thread::sleep(Duration::from_secs(5));
    let probed = f64::from(attempts(&stack) - before);
    let cycles = watched.elapsed().as_secs_f64() / 2.0 + 1.0;
    eprintln!("{probed} probes in {cycles:.1} cycles of 2 s");
    assert!(probed >= 3.0, "it is probed at all");
    assert!(
        probed <= 3.0 * cycles.ceil(),
        "{probed} probes in {cycles} cycles"
    );
    stack.a.clear_faults();
    stack.audit("probes", &told);
    assert_eq!(charged_at_b(&stack, &told), 0);
    stack.stop();
}

fn a_rest_that_was_asked_for_is_kept(driver: &str) {
    let stack = Stack::start(
        driver,
        &[&SETTINGS[..], &[("FALLBACK_AFTER_MS", "600000")]].concat(),
    );
    stack
        .a
        .inject(Fault::new(Moment::Body, Act::StatusRetryAfter(429, 3)).next(1))
        .unwrap();
    let began = Instant::now();
    let told = pay_all(stack.address(), 1, 0..1);
    assert_eq!(with_status(&told, 202), 1);
    wait_until("the breaker opens", || {
        stack.metric(r#"p99_breaker_state{processor="default"}"#) >= 1.0
    });
    let more = pay_all(stack.address(), 8, 1..100);
    assert_eq!(with_status(&more, 202), 99);
    wait_until("the next attempt", || attempts(&stack) >= 2);
    let rested = began.elapsed();
    eprintln!("rested {rested:?} of 3 s");
    // It was refused after that; p99 counts whole milliseconds.
    assert!(rested >= Duration::from_millis(2_990), "only {rested:?}");
    stack.audit("rest", &[told, more].concat());
    stack.stop();
}

fn a_full_queue_turns_payments_away_unharmed(driver: &str) {
    let small = [("FALLBACK_AFTER_MS", "600000"), ("QUEUE_CAPACITY", "40")];
    let stack = Stack::start(driver, &[&SETTINGS[..], &small].concat());
    stack.cut_off(&[(&stack.a, "default")]);
    let told = pay_all(stack.address(), 8, 0..200);
    let (held, shed) = (with_status(&told, 202), with_status(&told, 503));
    assert_eq!((held, held + shed), (40, 200));
    assert!(stack.metric(r#"p99_shed_total{reason="queue_full"}"#) >= 160.0);
    stack.a.set_refusing(false).unwrap();
    stack.audit("full", &told);
    let again = pay_all(stack.address(), 1, 0..200);
    assert_eq!(with_status(&again, 409), 40, "those that were held");
    assert_eq!(
        with_status(&again, 202) + with_status(&again, 503),
        160,
        "the others are free"
    );
    stack.audit(
        "again",
        &again
            .into_iter()
            .filter(|(_, word)| *word == Told::Status(202))
            .collect::<Vec<_>>(),
    );
    stack.stop();
}

fn a_refusal_for_good_ends_a_held_payment(driver: &str) {
    let stack = Stack::start(
        driver,
        &[&SETTINGS[..], &[("ON_DUPLICATE", "replay")]].concat(),
    );
    stack
        .a
        .inject(Fault::new(Moment::Body, Act::Status(400)).next(1))
        .unwrap();
    let mut client = stack.client();
    let id = crate::kit::client::id(0);
    let answer = client.pay(id, "5");
    assert_eq!(answer.status, 202);
    assert_eq!(
        answer.body,
        r#"{"message":"payment accepted","status":"pending"}"#
    );
    assert_eq!(
        answer.field("Location"),
        Some(format!("/payments/{id}").as_str())
    );
    wait_until("it is refused", || {
        Stack::state_of(&mut client, id) == "refused"
    });
    let again = client.pay(id, "5");
    assert_eq!(again.status, 409);
    assert!(
        again.body.contains(r#""status":"refused""#),
        "{}",
        again.body
    );
    assert_eq!(stack.a.attempts(id), 1, "its id is never free again");
    assert!(stack.charges().is_empty());
    stack.stop();
}

/// Requests that A read in full.
fn attempts(stack: &Stack) -> u32 {
    stack.a.all_attempts().iter().map(|(_, count)| count).sum()
}
