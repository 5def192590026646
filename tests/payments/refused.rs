//! Calls that are refused on ADMIN_LISTEN: each is told, and none pushes out what was done.

use std::fmt::Write as _;

use crate::kit::client::Client;
use crate::kit::operator::{KEY, NOTE};
use crate::kit::scratch::Scratch;
use crate::on_both_drivers_together;
use crate::operators::{audited, do_it, guarded};

on_both_drivers_together! {
    a_call_that_is_refused_before_its_body_is_audited,
    a_flood_of_refused_calls_pushes_nothing_out,
}

const PAUSE_A: &str = "POST /admin/processors/default/pause";

fn a_call_that_is_refused_before_its_body_is_audited(driver: &str) {
    let scratch = Scratch::new("expect").unwrap();
    let stack = guarded(driver, &scratch, &[]);
    let json = "Content-Type: application/json\r\nContent-Length: 2\r\n";
    let expect = format!("{json}Expect: 100-continue\r\n");
    let large = "x".repeat(10_000);
    for (line, headers, body, status) in [
        (PAUSE_A, expect.as_str(), "", 403),
        ("POST /admin/processors/fallback/pause", KEY, &*large, 413),
        ("POST /purge-payments", KEY, &large, 413),
    ] {
        let mut admin = Client::connect(stack.admin_address());
        assert_eq!(admin.call(line, headers, body).status, status, "{line}");
        let path = line.strip_prefix("POST ").unwrap();
        let told = format!(r#""path":"{path}","operator":"","reason":"","status":{status}"#);
        let log = audited(&scratch, &told);
        assert_eq!(log.matches(&told).count(), 1, "{log}");
    }
    stack.stop();
}

fn a_flood_of_refused_calls_pushes_nothing_out(driver: &str) {
    let scratch = Scratch::new("flood").unwrap();
    let stack = guarded(driver, &scratch, &[]);
    let mut admin = Client::connect(stack.admin_address());
    for number in 0..300 {
        let mut line = format!("POST /admin/payments/{number}-");
        write!(line, "{}/resolve", "x".repeat(1_500)).unwrap();
        assert_eq!(admin.call(&line, "", NOTE).status, 403);
    }
    do_it(&mut admin, PAUSE_A, KEY);
    let log = audited(&scratch, r#""operator":"ann""#);
    let refused: Vec<&str> = (log.lines())
        .filter(|line| line.contains(r#""status":403"#))
        .collect();
    // A minute may have ended between two of them.
    assert!((20..=40).contains(&refused.len()), "{}", refused.len());
    assert!(
        refused.iter().all(|line| line.len() < 400),
        "{}",
        refused[0]
    );
    let page = admin.get("/status.txt").body;
    assert!(page.contains("started"), "{page}");
    drop(admin);
    stack.stop();
}
