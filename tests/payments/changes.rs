//! Settings that an operator sets anew while p99 runs.

use crate::kit::client::{Answer, Client, id};
use crate::kit::operator::{KEY, NOTE};
use crate::kit::scratch::Scratch;
use crate::on_both_drivers_together;
use crate::operators::{PATIENT, audited, guarded};

on_both_drivers_together! {
    a_setting_that_is_set_anew_holds_at_once_on_every_core,
    a_rate_that_is_set_anew_holds_at_once_on_every_core,
}

/// Asks for another value of a setting.
fn set(admin: &mut Client, name: &str, value: &str) -> Answer {
    let body =
        format!(r#"{{"operator":"ann","reason":"trial","setting":"{name}","value":"{value}"}}"#);
    admin.call("POST /admin/settings", KEY, &body)
}

fn a_rate_that_is_set_anew_holds_at_once_on_every_core(driver: &str) {
    let scratch = Scratch::new("rate").unwrap();
    let stack = guarded(driver, &scratch, &PATIENT);
    let mut admin = Client::connect(stack.admin_address());
    let mut client = stack.client();
    assert_eq!(set(&mut admin, "RATE_LIMIT_RPS", "1").status, 200);
    assert_eq!(set(&mut admin, "RATE_LIMIT_BURST", "2").status, 200);
    // Of ids of both cores two pass at once, and no more for a long while.
    let statuses: Vec<u16> = (0..20)
        .map(|number| client.pay(id(number), "1").status)
        .collect();
    assert_eq!(statuses[..2], [200, 200], "{statuses:?}");
    let refused = statuses.iter().filter(|one| **one == 429).count();
    assert!(refused >= 10, "{statuses:?}");
    assert_eq!(set(&mut admin, "RATE_LIMIT_RPS", "off").status, 200);
    for number in 20..40 {
        assert_eq!(client.pay(id(number), "1").status, 200);
    }
    let page = admin.get("/metrics").body;
    let line = r#"p99_setting_changed{setting="RATE_LIMIT_RPS"} 0"#;
    assert!(page.contains(line), "it is as it was");
    drop((client, admin));
    stack.stop();
}

fn a_setting_that_is_set_anew_holds_at_once_on_every_core(driver: &str) {
    let scratch = Scratch::new("set").unwrap();
    let narrow = [("UPSTREAM_CONCURRENCY", "64")];
    let stack = guarded(driver, &scratch, &[&PATIENT[..], &narrow].concat());
    let mut admin = Client::connect(stack.admin_address());
    let mut set = |name: &str, value: &str| set(&mut admin, name, value);
    for (name, value, why) in [
        ("CORES", "4", "needs a restart"),
        ("HEDGE_DELAY_MS", "5ms", "allowed is"),
        ("UPSTREAM_CONCURRENCY", "65", "at most 64 without a restart"),
        ("UPSTREAM_CONCURRENCY", "1", "at least CORES"),
    ] {
        let answer = set(name, value);
        assert_eq!(answer.status, 422, "{name}={value}: {}", answer.body);
        assert!(answer.body.contains(why), "{}", answer.body);
    }
    for (name, value) in [
        ("CB_FAIL_RATE", "0.5"),
        ("CB_MIN_SAMPLES", "7"),
        ("CB_OPEN_SECS", "9"),
        ("HEDGE_DELAY_MS", "11"),
        ("CONCURRENCY_LIMIT", "100"),
        ("UPSTREAM_CONCURRENCY", "16"),
    ] {
        let answer = set(name, value);
        assert_eq!(answer.status, 200, "{name}={value}: {}", answer.body);
    }
    let page = admin.get("/metrics").body;
    for line in [
        r#"p99_setting_in_force{setting="CB_FAIL_RATE"} 0.5"#,
        r#"p99_setting_in_force{setting="HEDGE_DELAY_MS"} 11"#,
        r#"p99_setting_changed{setting="HEDGE_DELAY_MS"} 1"#,
        "p99_concurrency_limit 100",
        "p99_upstream_concurrency 16",
        r#"p99_attempts_in_flight_limit{processor="default"} 16"#,
    ] {
        assert!(page.lines().any(|one| one == line), "{line}");
    }
    let text = admin.get("/status.txt").body;
    for line in [
        "set by an operator: CB_FAIL_RATE=0.500 instead of 1.000",
        "set by an operator: HEDGE_DELAY_MS=11 instead of 60000",
        "setting changed: HEDGE_DELAY_MS",
        "operator's call refused",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let log = audited(
        &scratch,
        r#""result":"UPSTREAM_CONCURRENCY=16 until a restart""#,
    );
    assert!(
        log.contains(r#""path":"/admin/settings","operator":"ann","reason":"trial""#),
        "{log}"
    );
    let mut client = stack.client();
    let status = client.call("POST /admin/settings", KEY, NOTE).status;
    assert_eq!(status, 404, "on the public listener");
    drop((client, admin));
    stack.stop();
}
