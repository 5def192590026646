//! A 200 whose Verdict was not durable when the process died: found again, and in no sum before.

use p99::testing::payment::{Processor, UpstreamId};
use p99::testing::sim::{Act, Fault, Moment};
use p99::testing::wire;

use crate::kit::children::Processors;
use crate::kit::client::{Client, id, patiently, payment, wait_until};
use crate::kit::process::P99;
use crate::kit::scratch::Scratch;
use crate::kit::stack::Stack;
use crate::on_both_drivers_together;

on_both_drivers_together! {
    what_was_told_200_right_before_a_kill_is_in_no_sum_until_it_is_found_again,
}

/// Payments that are under way at a kill, each on a connection of its own.
const AT_ONCE: usize = 32;

/// Kills p99 as soon as one of the payments from `first` on was told 200; all that were told so.
fn told_200_at_a_kill(mut p99: P99, first: usize) -> Vec<UpstreamId> {
    let mut clients: Vec<_> = (0..AT_ONCE).map(|_| Client::connect(p99.address)).collect();
    for (number, client) in (first..).zip(&mut clients) {
        client.send("POST /payments", "", &payment(id(number), "1.00"));
    }
    let mut told = Vec::new();
    for (number, client) in (first..).zip(&mut clients) {
        if client.read().is_ok_and(|answer| answer.status == 200) {
            told.push(id(number));
        }
        if number == first {
            assert_eq!(told.len(), 1, "{}", p99.log());
            p99.signal(libc::SIGKILL);
            assert_eq!(p99.wait().code(), None);
        }
    }
    told
}

/// The Verdict of a 200 may not be durable yet when the process dies (I5).
fn what_was_told_200_right_before_a_kill_is_in_no_sum_until_it_is_found_again(driver: &str) {
    let processors = Processors::start();
    let scratch = Scratch::new("early").unwrap();
    let folder = scratch.text("journal");
    let settings = [
        ("JOURNAL_DIR", folder.as_str()),
        ("ROUTING", "cheapest"),
        ("HEDGE_DELAY_MS", "60000"),
        ("ATTEMPT_TIMEOUT_MS", "300"),
        // What the processor swallows is sent again and again, and says nothing new of it.
        ("CB_MIN_SAMPLES", "100000"),
    ];
    let mut first = 0;
    // A slow machine may write each Verdict before it comes to the kill.
    let (p99, early) = loop {
        assert!(first < 50 * AT_ONCE, "no kill came before a verdict");
        processors.a.clear_faults();
        let told = told_200_at_a_kill(processors.p99(driver, &settings), first);
        first += AT_ONCE;
        let stall = Fault::new(Moment::Body, Act::Stall);
        processors.a.inject(stall).unwrap();
        let p99 = processors.p99(driver, &settings);
        let mut client = Client::connect(p99.address);
        let is_open = |id: &UpstreamId| Stack::state_of(&mut client, *id) == "pending";
        if let Some(early) = told.into_iter().find(is_open) {
            break (p99, early);
        }
        p99.kill().unwrap();
    };
    eprintln!("found after {} kills", first / AT_ONCE);
    let mut client = Client::connect(p99.address);
    let refused = client.get("/payments-summary");
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("urn:p99:problem:window-unresolved"));
    assert_eq!(refused.field("Retry-After"), Some("1"));
    let later = client.get("/payments-summary?from=9999-01-01T00:00:00Z");
    assert_eq!(later.status, 200, "that window cannot have it");
    assert_eq!(later.field("X-P99-Pending-In-Window"), Some("0"));
    let again = client.pay(early, "1.00");
    assert_eq!(again.status, 409);
    assert_eq!(Stack::state_of(&mut client, early), "pending");
    processors.a.clear_faults();
    wait_until("it is found again", || {
        Stack::state_of(&mut client, early) == "processed"
    });
    let whole = patiently("all are found again", || client.get("/payments-summary"));
    assert_eq!(whole.status, 200);
    let sums = wire::read_summary(whole.body.as_bytes()).unwrap();
    let count = sums.get(Processor::DEFAULT).count;
    assert_eq!(count, processors.a.rows().len() as u64, "{}", whole.body);
    assert!(processors.b.rows().is_empty());
    assert_eq!(processors.charges(early), 1);
    drop(client);
    assert_eq!(p99.stop(), Some(0));
}
