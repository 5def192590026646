//! Each fault of the simulator at each moment: what the client is told, who charges, and that
//! no one ever charges twice. Processor A has the fault for every payment of a row, B works.

use p99::testing::payment::UpstreamId;
use p99::testing::sim::{Act, Fault, Moment, Route};

use crate::kit::client::wait_until;
use crate::kit::payers::{assert_few_unanswered, pay_all, with_status};
use crate::kit::stack::{Stack, Told, count};
use crate::on_both_drivers_together;

/// What a row leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leads {
    /// 200, charged by A all the same.
    Through,
    /// Refused, or not sent: 200, charged by B.
    ToTheOther,
    /// Refused for good: 422, not charged.
    ToRefusal,
    /// No one knows: 202 at the end of the client's patience, then A and only A gets it again.
    ToUnknown,
    /// As the race between a connection's end and the first byte says: unknown, or not sent.
    ToUnknownOrTheOther,
}

const CLIENTS: usize = 32;

#[rustfmt::skip]
const CLEAR: [(Moment, Act, Leads); 31] = [
    (Moment::Connect, Act::Pause(20), Leads::Through),
    (Moment::Head, Act::Pause(20), Leads::Through),
    (Moment::Head, Act::Status(401), Leads::ToTheOther),
    (Moment::Body, Act::Pause(20), Leads::Through),
    (Moment::Body, Act::Status(401), Leads::ToTheOther),
    (Moment::Body, Act::Status(403), Leads::ToTheOther),
    (Moment::Body, Act::Status(404), Leads::ToTheOther),
    (Moment::Body, Act::Status(405), Leads::ToTheOther),
    (Moment::Body, Act::Status(500), Leads::ToTheOther),
    (Moment::Body, Act::Status(400), Leads::ToRefusal),
    (Moment::Body, Act::Status(402), Leads::ToRefusal),
    (Moment::Body, Act::Status(418), Leads::ToRefusal),
    (Moment::Body, Act::Status(409), Leads::ToRefusal),
    (Moment::Body, Act::Status(422), Leads::ToRefusal),
    (Moment::Body, Act::Status(425), Leads::ToRefusal),
    (Moment::Answer, Act::Pause(20), Leads::Through),
    (Moment::Answer, Act::Status(201), Leads::Through),
    (Moment::Answer, Act::Status(204), Leads::Through),
    (Moment::Answer, Act::Status(409), Leads::Through),
    (Moment::Answer, Act::Status(422), Leads::Through),
    (Moment::Answer, Act::Status(423), Leads::Through),
    (Moment::Answer, Act::Status(500), Leads::Through),
    (Moment::Answer, Act::Drip(1), Leads::Through),
    (Moment::Answer, Act::Double, Leads::Through),
    (Moment::Answer, Act::Chunked, Leads::Through),
    (Moment::Answer, Act::Interim, Leads::Through),
    (Moment::Answer, Act::LastAnswer, Leads::Through),
    (Moment::Answer, Act::UntilClose, Leads::Through),
    (Moment::Answer, Act::Truncate, Leads::Through),
    (Moment::Answer, Act::CloseAfter, Leads::Through),
    (Moment::Answer, Act::ResetAfter, Leads::Through),
];

#[rustfmt::skip]
const UNCLEAR: [(Moment, Act, Leads); 27] = [
    (Moment::Connect, Act::Reset, Leads::ToUnknownOrTheOther),
    (Moment::Connect, Act::Close, Leads::ToUnknownOrTheOther),
    (Moment::Connect, Act::Stall, Leads::ToUnknownOrTheOther),
    (Moment::Head, Act::Reset, Leads::ToUnknown),
    (Moment::Head, Act::Close, Leads::ToUnknown),
    (Moment::Head, Act::Stall, Leads::ToUnknown),
    (Moment::Head, Act::Status(408), Leads::ToUnknown),
    (Moment::Head, Act::Status(503), Leads::ToUnknown),
    (Moment::Body, Act::Reset, Leads::ToUnknown),
    (Moment::Body, Act::Close, Leads::ToUnknown),
    (Moment::Body, Act::Stall, Leads::ToUnknown),
    (Moment::Body, Act::Status(302), Leads::ToUnknown),
    (Moment::Body, Act::Status(408), Leads::ToUnknown),
    (Moment::Body, Act::Status(502), Leads::ToUnknown),
    (Moment::Body, Act::Status(503), Leads::ToUnknown),
    (Moment::Body, Act::Status(504), Leads::ToUnknown),
    (Moment::Body, Act::ResetChargeLater(300), Leads::ToUnknown),
    (Moment::Body, Act::Pause(1_000), Leads::ToUnknown),
    (Moment::Answer, Act::Reset, Leads::ToUnknown),
    (Moment::Answer, Act::Close, Leads::ToUnknown),
    (Moment::Answer, Act::Stall, Leads::ToUnknown),
    (Moment::Answer, Act::Status(502), Leads::ToUnknown),
    (Moment::Answer, Act::Status(503), Leads::ToUnknown),
    (Moment::Answer, Act::CutHead, Leads::ToUnknown),
    (Moment::Answer, Act::CutBody, Leads::ToUnknown),
    (Moment::Answer, Act::ResetBody, Leads::ToUnknown),
    (Moment::Answer, Act::Garbage, Leads::ToUnknown),
];

/// A's failures are the subject here, so its breaker stays Closed, and a payment that is slow to
/// get a connection is not routed anew.
pub(crate) const SETTINGS: [(&str, &str); 4] = [
    ("ROUTING", "cheapest"),
    ("HEDGE_DELAY_MS", "60000"),
    ("CB_FAIL_RATE", "1"),
    ("CB_MIN_SAMPLES", "100000"),
];

/// One charge at A, so that p99 knows what A's lookup is worth, and one more to look at it with.
pub(crate) fn warm_up(stack: &Stack) {
    let told = pay_all(stack.address(), 1, 900_000..900_020);
    stack.settle(&told);
    let proven = r#"p99_lookups_total{processor="default",answer="stored"}"#;
    wait_until("A's lookup is proven", || stack.metric(proven) >= 1.0);
}

/// What a client is told about a payment whose fate is unknown. On a machine that stands still its
/// patience may end before the payment has a connection: 503, and not charged. Where even the owner
/// core stands still for a second, the connection is closed without an answer (I1).
const fn is_unknown(word: Told) -> bool {
    match word {
        Told::Nothing(broken) => broken.is_unanswered(),
        Told::Status(status) => matches!(status, 200 | 202 | 503),
    }
}

fn unanswered(told: &[(UpstreamId, Told)]) -> usize {
    let is_one = |(_, word): &&_| matches!(word, Told::Nothing(_));
    told.iter().filter(is_one).count()
}

/// Asserts that most were told 202, and no one that it was charged or refused.
fn assert_unknown(told: &[(UpstreamId, Told)]) {
    assert!(told.iter().all(|(_, word)| is_unknown(*word)), "{told:?}");
    let unknown = with_status(told, 202);
    assert!(
        unknown * 2 >= told.len(),
        "{unknown} of {} are unknown",
        told.len()
    );
}

/// Runs one row and checks what can be checked before everything has settled.
fn run_row(
    stack: &Stack,
    row: usize,
    (moment, act, leads): (Moment, Act, Leads),
) -> Vec<(UpstreamId, Told)> {
    let payments = count(16, 1_000);
    let what = format!("{act:?} at {moment:?}");
    let is_connect = matches!(moment, Moment::Connect | Moment::Handshake);
    if is_connect {
        // The pool's connections have that moment behind them.
        stack.a.reset_connections();
        let open = r#"p99_upstream_connections_open{processor="default"}"#;
        wait_until("the pool has seen it", || stack.metric(open) < 1.0);
    }
    let fault = stack.a.inject(Fault::new(moment, act)).unwrap();
    let first = row * 10_000;
    let told = pay_all(stack.address(), CLIENTS, first..first + payments);
    let struck = stack.a.struck(fault);
    stack.a.clear_faults();
    if act == Act::Stall {
        // Who stalls is woken, or it would hold its connection until p99 gives up.
        stack.a.reset_connections();
    }
    for (id, word) in &told {
        let at_b = stack.b.find(*id).is_some();
        match leads {
            Leads::Through => {
                assert_eq!(*word, Told::Status(200), "{what}: {id}");
                assert!(stack.a.find(*id).is_some(), "{what}: {id} belongs to A");
                assert_eq!(stack.b.attempts(*id), 0, "{what}: {id} belongs to A");
            }
            Leads::ToTheOther => {
                assert_eq!(*word, Told::Status(200), "{what}: {id}");
                assert!(at_b, "{what}: {id} is charged by the other");
            }
            Leads::ToRefusal => {
                assert_eq!(*word, Told::Status(422), "{what}: {id}");
                assert_eq!(
                    stack.b.attempts(*id),
                    0,
                    "{what}: the other would say the same"
                );
            }
            Leads::ToUnknown => {
                assert!(is_unknown(*word), "{what}: {id}, told {word:?}");
                assert_eq!(stack.b.attempts(*id), 0, "{what}: I2, {id} belongs to A");
            }
            Leads::ToUnknownOrTheOther => {
                assert!(is_unknown(*word), "{what}: {id}, told {word:?}");
            }
        }
    }
    if is_connect {
        assert!(struck > 0, "{what}: nothing was struck");
    } else {
        // A payment whose client lost patience before it had a connection met no fault.
        let turned_away = with_status(&told, 503) + unanswered(&told);
        let met = struck + turned_away as u64;
        assert!(met >= payments as u64, "{what}: all are struck");
    }
    told
}

fn run_table(driver: &str, more: &[(&str, &str)], rows: &[(Moment, Act, Leads)]) {
    let stack = Stack::start(driver, &[&SETTINGS, more].concat());
    run_rows(stack, rows);
}

/// Runs each row, and then joins both processors' books with what was told.
pub(crate) fn run_rows(stack: Stack, rows: &[(Moment, Act, Leads)]) {
    warm_up(&stack);
    let mut told = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        told.extend(run_row(&stack, number, *row));
    }
    stack.audit("each fault at each moment", &told);
    let page = stack.client().get("/metrics").body;
    assert_few_unanswered(unanswered(&told), told.len(), &page);
    let charges = with_status(&told, 200) + with_status(&told, 202);
    eprintln!(
        "{} faults, {} payments, {charges} charged once, 0 twice; 200: {}, 202: {}, 422: {}",
        rows.len(),
        told.len(),
        with_status(&told, 200),
        with_status(&told, 202),
        with_status(&told, 422),
    );
    stack.stop();
}

on_both_drivers_together! {
    a_fault_with_a_clear_end_is_charged_by_who_may,
    a_fault_that_leaves_doubt_stays_with_its_processor,
    a_processor_that_refuses_connects_costs_nothing,
    a_processor_that_wants_a_rest_gets_it,
    where_lookups_prove_nothing_a_500_is_unknown,
    a_lookup_that_fails_proves_nothing,
    a_404_during_the_delay_is_no_refusal,
}

fn a_fault_with_a_clear_end_is_charged_by_who_may(driver: &str) {
    run_table(driver, &[], &CLEAR);
}

fn a_fault_that_leaves_doubt_stays_with_its_processor(driver: &str) {
    let patience = [("REQUEST_TIMEOUT_MS", "150"), ("SETTLE_TIMEOUT_MS", "1500")];
    run_table(driver, &patience, &UNCLEAR);
}

fn a_processor_that_refuses_connects_costs_nothing(driver: &str) {
    let stack = Stack::start(driver, &SETTINGS);
    warm_up(&stack);
    // A byte on a connection that is about to be seen dead would be an unknown, and rightly so.
    let open = r#"p99_upstream_connections_open{processor="default"}"#;
    wait_until("the gauge is drawn", || stack.metric(open) > 0.0);
    stack.a.set_refusing(true).unwrap();
    stack.a.reset_connections();
    wait_until("the pool has seen it", || stack.metric(open) == 0.0);
    let payments = count(100, 1_000);
    let told = pay_all(stack.address(), CLIENTS, 0..payments);
    assert_eq!(with_status(&told, 200), payments);
    assert!(told.iter().all(|(id, _)| stack.b.find(*id).is_some()));
    stack.a.set_refusing(false).unwrap();
    stack.audit("connect refused", &told);
    stack.stop();
}

fn a_processor_that_wants_a_rest_gets_it(driver: &str) {
    let stack = Stack::start(driver, &[("ROUTING", "cheapest"), ("CB_OPEN_SECS", "1")]);
    warm_up(&stack);
    stack
        .a
        .inject(Fault::new(Moment::Body, Act::StatusRetryAfter(429, 30)))
        .unwrap();
    let payments = count(200, 1_000);
    let told = pay_all(stack.address(), 1, 0..payments);
    assert_eq!(with_status(&told, 200), payments);
    stack.a.clear_faults();
    let at_a = told
        .iter()
        .filter(|(id, _)| stack.a.attempts(*id) > 0)
        .count();
    assert!(at_a <= 2, "one refusal of each core at most, not {at_a}");
    stack.audit("429", &told);
    stack.stop();
}

fn where_lookups_prove_nothing_a_500_is_unknown(driver: &str) {
    let patience = [("REQUEST_TIMEOUT_MS", "400"), ("SETTLE_TIMEOUT_MS", "1500")];
    let stack = Stack::start(driver, &[&SETTINGS[..], &patience].concat());
    // This processor has no such route.
    stack
        .a
        .inject(Fault::new(Moment::Body, Act::Status(404)).on(Route::Lookup))
        .unwrap();
    stack.settle(&pay_all(stack.address(), 1, 0..20));
    let payments = count(50, 1_000);
    let charged_too = Fault::new(Moment::Answer, Act::Status(500));
    let not_charged = Fault::new(Moment::Body, Act::Status(500)).every(2);
    for fault in [not_charged, charged_too] {
        stack.a.inject(fault).unwrap();
    }
    let told = pay_all(stack.address(), CLIENTS, 1_000..1_000 + payments);
    assert_unknown(&told);
    stack.a.clear_faults();
    stack.settle(&told);
    assert!(told.iter().all(|(id, _)| stack.b.attempts(*id) == 0), "I2");
    stack.audit("500 without a lookup", &told);
    stack.stop();
}

fn a_lookup_that_fails_proves_nothing(driver: &str) {
    let patience = [("REQUEST_TIMEOUT_MS", "400"), ("SETTLE_TIMEOUT_MS", "1500")];
    let stack = Stack::start(driver, &[&SETTINGS[..], &patience].concat());
    warm_up(&stack);
    let mut told = Vec::new();
    let acts = [
        Act::Reset,
        Act::Close,
        Act::Stall,
        Act::Status(500),
        Act::Status(401),
    ];
    for (row, act) in acts.into_iter().enumerate() {
        let lookup = Fault::new(Moment::Body, act).on(Route::Lookup);
        let lookup = stack.a.inject(lookup).unwrap();
        let failure = Fault::new(Moment::Body, Act::Status(500));
        stack.a.inject(failure).unwrap();
        let first = row * 10_000;
        let fresh = first..first + count(16, 1_000);
        let fresh = pay_all(stack.address(), CLIENTS, fresh);
        // Were it taken for a proof, they would be B's, and A asked no more. A lookup after the
        // fault may prove that A refused.
        let asked = with_status(&fresh, 202) as u64;
        wait_until("every payment was asked about, again and again", || {
            stack.a.struck(lookup) >= 2 * asked
        });
        assert!(fresh.iter().all(|(id, _)| stack.b.attempts(*id) == 0), "I2");
        told.extend(fresh);
        stack.a.clear_faults();
        stack.a.reset_connections();
    }
    assert_unknown(&told);
    stack.settle(&told);
    stack.audit("a lookup that fails", &told);
    stack.stop();
}

/// I3: an attempt that was given up is not refused by a 404 while it may still be worked on.
fn a_404_during_the_delay_is_no_refusal(driver: &str) {
    let stack = Stack::start(
        driver,
        &[
            &SETTINGS[..],
            &[("REQUEST_TIMEOUT_MS", "400"), ("SETTLE_TIMEOUT_MS", "4000")],
        ]
        .concat(),
    );
    warm_up(&stack);
    // The first attempt hangs and is charged at last; each re-send before that gets 500.
    stack
        .a
        .inject(Fault::new(Moment::Body, Act::Pause(3_000)).next(10))
        .unwrap();
    stack
        .a
        .inject(Fault::new(Moment::Body, Act::Status(500)))
        .unwrap();
    let told = pay_all(stack.address(), 10, 0..10);
    assert_unknown(&told);
    stack.settle(&told);
    for (id, _) in &told {
        assert_eq!(stack.b.attempts(*id), 0, "I3: {id} was not refused");
    }
    stack.a.clear_faults();
    stack.audit("404 during the delay", &told);
    stack.stop();
}
