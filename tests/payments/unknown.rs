//! I3: what is Unknown stays with its processor, and is resolved there: by the late answer on the
//! same connection, else by the same id, amount and time once more.

use std::time::Duration;

use p99::testing::payment::UpstreamId;
use p99::testing::sim::{Act, Fault, Moment, Window};

use crate::kit::client::{id, patiently, wait_until};
use crate::kit::payers::{amount, pay_again, pay_all, with_status};
use crate::kit::stack::{Stack, Told, count};
use crate::on_both_drivers_together;

const SETTINGS: [(&str, &str); 5] = [
    ("ROUTING", "cheapest"),
    // A payment that is slow to get a connection would be routed anew.
    ("HEDGE_DELAY_MS", "60000"),
    ("REQUEST_TIMEOUT_MS", "150"),
    ("CB_FAIL_RATE", "1"),
    ("CB_MIN_SAMPLES", "100000"),
];

const CLIENTS: usize = 32;

/// The times with which A was asked for `id`.
fn times(stack: &Stack, id: UpstreamId) -> Vec<i64> {
    let log = stack.a.log();
    log.iter()
        .filter(|order| order.id == id)
        .map(|order| order.requested_at.0)
        .collect()
}

fn pinned(stack: &Stack, told: &[(UpstreamId, Told)]) -> Vec<UpstreamId> {
    let pinned: Vec<_> = told
        .iter()
        .filter(|(_, word)| *word == Told::Status(202))
        .map(|(id, _)| *id)
        .collect();
    assert!(pinned.len() * 2 >= told.len(), "{told:?}");
    assert!(pinned.iter().all(|id| stack.b.attempts(*id) == 0), "I2");
    pinned
}

/// A connection for each client, so that none waits for one longer than its patience.
fn warm_up(stack: &Stack) {
    let told = pay_all(stack.address(), CLIENTS, 900_000..900_000 + 2 * CLIENTS);
    stack.settle(&told);
}

on_both_drivers_together! {
    a_payment_that_was_swallowed_is_sent_there_again,
    a_late_answer_settles_its_payment,
    a_refusal_of_one_attempt_does_not_free_the_payment,
    a_processor_that_restarts_is_asked_again,
    an_id_that_somebody_else_charged_is_a_duplicate,
}

fn a_payment_that_was_swallowed_is_sent_there_again(driver: &str) {
    let stack = Stack::start(
        driver,
        &[&SETTINGS[..], &[("SETTLE_TIMEOUT_MS", "60000")]].concat(),
    );
    warm_up(&stack);
    stack
        .a
        .inject(Fault::new(Moment::Body, Act::Stall))
        .unwrap();
    let told = pay_all(stack.address(), CLIENTS, 0..count(32, 1_000));
    let mut client = stack.client();
    for id in pinned(&stack, &told) {
        let path = format!("/payments/{id}");
        let found = patiently("it is known", || client.get(&path)).body;
        let state = r#""status":"pending","processor":"default","requestedAt":"#;
        assert!(found.contains(state), "{found}");
        assert!(!found.contains(r#""requestedAt":null"#), "{found}");
        let again = patiently("it is known", || pay_again(&mut client, id));
        assert_eq!(again.status, 409);
        assert_eq!(again.field("Retry-After"), Some("1"));
        assert_eq!(
            again.body,
            r#"{"message":"duplicate correlationId","status":"pending"}"#
        );
    }
    assert_eq!(
        stack.summary(""),
        stack.charged(Window::default()),
        "nothing is counted early"
    );
    stack.a.clear_faults();
    stack.audit("swallowed", &told);
    for id in pinned(&stack, &told) {
        let times = times(&stack, id);
        assert!(times.len() >= 2, "{id} was sent again");
        assert!(
            times.iter().all(|time| *time == times[0]),
            "I9: the same time again"
        );
        let path = format!("/payments/{id}");
        let found = patiently("it is known", || client.get(&path)).body;
        assert!(
            found.contains(r#""status":"processed","processor":"default""#),
            "{found}"
        );
    }
    stack.stop();
}

/// Re-sends wait at least three quarters of a second, so an answer that is late by less is read
/// on its own connection.
fn a_late_answer_settles_its_payment(driver: &str) {
    let stack = Stack::start(driver, &SETTINGS);
    warm_up(&stack);
    stack
        .a
        .inject(Fault::new(Moment::Body, Act::Pause(400)))
        .unwrap();
    let payments = count(32, 1_000);
    let told = pay_all(stack.address(), CLIENTS, 0..payments);
    let pinned = pinned(&stack, &told);
    stack.audit("late", &told);
    let once = pinned
        .iter()
        .filter(|id| stack.a.attempts(**id) == 1)
        .count();
    // How many depends on how far this machine is behind with them.
    assert!(once >= 1, "all of {} needed a re-send", pinned.len());
    let late = stack.metric(r#"p99_late_answers_total{processor="default"}"#);
    assert!(late >= 1.0, "{late} late answers for {once}");
    stack.stop();
}

fn a_refusal_of_one_attempt_does_not_free_the_payment(driver: &str) {
    let stack = Stack::start(driver, &SETTINGS);
    warm_up(&stack);
    // Swallowed for good, then 500: while the first attempt is unanswered its 404 proves nothing.
    let stall = stack
        .a
        .inject(Fault::new(Moment::Body, Act::Stall).next(16))
        .unwrap();
    stack
        .a
        .inject(Fault::new(Moment::Body, Act::Status(401)))
        .unwrap();
    let told = pay_all(stack.address(), 16, 0..16);
    let pinned = pinned(&stack, &told);
    assert!(stack.a.struck(stall) >= pinned.len() as u64);
    wait_until("each was sent again and refused", || {
        pinned.iter().all(|id| stack.a.attempts(*id) >= 2)
    });
    assert!(
        pinned.iter().all(|id| stack.b.attempts(*id) == 0),
        "I3: one attempt is unanswered"
    );
    stack.a.clear_faults();
    stack.audit("refused while unknown", &told);
    assert!(pinned.iter().all(|id| stack.b.attempts(*id) == 0), "I3");
    stack.stop();
}

/// The whole processor goes away with payments in its hands, and comes back.
fn a_processor_that_restarts_is_asked_again(driver: &str) {
    let stack = Stack::start(driver, &SETTINGS);
    warm_up(&stack);
    stack.a.set_delay(Duration::from_secs(1));
    let told = pay_all(stack.address(), CLIENTS, 0..count(64, 1_000));
    stack.a.set_refusing(true).unwrap();
    stack.a.reset_connections();
    let beside = pay_all(stack.address(), 8, 5_000..5_032);
    let taken = with_status(&beside, 202) + with_status(&beside, 200);
    assert_eq!(taken + with_status(&beside, 503), 32, "{beside:?}");
    assert!(taken >= 16, "{beside:?}");
    stack.a.set_delay(Duration::ZERO);
    stack.a.set_refusing(false).unwrap();
    stack.audit("restart", &[told.clone(), beside].concat());
    assert!(
        pinned(&stack, &told)
            .iter()
            .all(|id| stack.a.find(*id).is_some())
    );
    stack.stop();
}

fn an_id_that_somebody_else_charged_is_a_duplicate(driver: &str) {
    // However long a connect takes, the payment waits for A.
    let settings = [("ROUTING", "cheapest"), ("HEDGE_DELAY_MS", "60000")];
    let stack = Stack::start(driver, &settings);
    let mut client = stack.client();
    let mut other = crate::kit::client::Client::connect(stack.a.address());
    let body = format!(
        r#"{{"correlationId":"{}","amount":7.00,"requestedAt":"2025-07-10T12:34:56.789Z"}}"#,
        id(0)
    );
    assert_eq!(other.call("POST /payments", "", &body).status, 200);
    let answer = client.pay(id(0), &amount(0));
    assert_eq!(answer.status, 409);
    assert_eq!(
        answer.body,
        r#"{"message":"duplicate correlationId","status":"processed"}"#
    );
    assert_eq!(
        client.pay(id(0), &amount(0)).status,
        409,
        "the id stays taken"
    );
    assert_eq!(
        stack.b.attempts(id(0)),
        0,
        "the other processor never hears of it"
    );
    let counted: u64 = stack.summary("").0.iter().map(|one| one.count).sum();
    assert_eq!(counted, 0, "it is not ours");
    stack.stop();
}
