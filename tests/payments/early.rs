//! A 200 whose Verdict was not durable when the process died: found again, and in no sum before.

use p99::testing::sim::{Act, Fault, Moment};
use p99::testing::wire;

use crate::kit::children::Processors;
use crate::kit::client::{Client, id, wait_until};
use crate::kit::process::P99;
use crate::kit::scratch::Scratch;
use crate::kit::stack::Stack;
use crate::on_both_drivers_together;

on_both_drivers_together! {
    what_was_told_200_right_before_a_kill_is_in_no_sum_until_it_is_found_again,
}

/// The Verdict of a 200 may not be durable yet when the process dies (I5).
fn what_was_told_200_right_before_a_kill_is_in_no_sum_until_it_is_found_again(driver: &str) {
    let processors = Processors::start();
    let scratch = Scratch::new("early").unwrap();
    let folder = scratch.text("journal");
    let settings = [
        ("JOURNAL_DIR", folder.as_str()),
        ("ROUTING", "cheapest"),
        ("ATTEMPT_TIMEOUT_MS", "300"),
        // What the processor swallows is sent again and again, and says nothing new of it.
        ("CB_MIN_SAMPLES", "100000"),
    ];
    let is_open = |p99: &P99| Client::connect(p99.address).get("/payments-summary").status == 503;
    let mut number = 0;
    // A slow machine writes the Verdict before it comes to the kill.
    let p99 = loop {
        number += 1;
        assert!(number < 50, "no kill came before its verdict");
        processors.a.clear_faults();
        let mut p99 = processors.p99(driver, &settings);
        assert_eq!(
            Client::connect(p99.address).pay(id(number), "1.00").status,
            200
        );
        p99.signal(libc::SIGKILL);
        assert_eq!(p99.wait().code(), None);
        let stall = Fault::new(Moment::Body, Act::Stall);
        processors.a.inject(stall).unwrap();
        let p99 = processors.p99(driver, &settings);
        if is_open(&p99) {
            break p99;
        }
        assert_eq!(p99.stop(), Some(0));
    };
    let mut client = Client::connect(p99.address);
    let refused = client.get("/payments-summary");
    assert!(refused.body.contains("urn:p99:problem:window-unresolved"));
    assert_eq!(refused.field("Retry-After"), Some("1"));
    let later = client.get("/payments-summary?from=9999-01-01T00:00:00Z");
    assert_eq!(later.status, 200, "that window cannot have it");
    assert_eq!(later.field("X-P99-Pending-In-Window"), Some("0"));
    let again = client.pay(id(number), "1.00");
    assert_eq!(again.status, 409);
    assert_eq!(Stack::state_of(&mut client, id(number)), "pending");
    processors.a.clear_faults();
    wait_until("it is found again", || {
        Stack::state_of(&mut client, id(number)) == "processed"
    });
    let whole = client.get("/payments-summary");
    assert_eq!(whole.status, 200);
    // On a busy machine one of them may have gone to the other processor.
    let sums = wire::read_summary(whole.body.as_bytes()).unwrap();
    let count: u64 = sums.0.iter().map(|totals| totals.count).sum();
    assert_eq!(count, number as u64, "{}", whole.body);
    assert_eq!(processors.charges(id(number)), 1);
    drop(client);
    assert_eq!(p99.stop(), Some(0));
}
