//! What an operator settles by hand is durable in the store before he is told, and the table says
//! that it was he.

use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use p99::testing::payment::UpstreamId;
use p99::testing::sim::{Act, Fault, Moment};

use super::kit::client::{Client, id, wait_until};
use super::kit::postgres::is_there;
use super::serving::{Scene, state};

const JSON: &str = "Content-Type: application/json\r\n";
const NOTE: &str = r#"{"operator":"ann","reason":"by plan"}"#;

fn resolve(admin: &mut Client<UnixStream>, id: UpstreamId, verdict: &str) -> (u16, String) {
    let line = format!("POST /admin/payments/{id}/resolve");
    let body = format!(r#"{{"operator":"ann","reason":"by plan","verdict":"{verdict}"}}"#);
    let answer = admin.call(&line, JSON, &body);
    (answer.status, answer.body)
}

/// The same once nothing of the payment is in flight.
fn resolve_at_rest(admin: &mut Client<UnixStream>, id: UpstreamId, verdict: &str) -> (u16, String) {
    loop {
        let told = resolve(admin, id, verdict);
        if !told.1.contains("in flight") {
            return told;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_verdict_by_hand_is_durable_before_it_is_told() {
    if !is_there("a_verdict_by_hand_is_durable_before_it_is_told") {
        return;
    }
    let settings = [
        ("ATTEMPT_TIMEOUT_MS", "500"),
        ("REQUEST_TIMEOUT_MS", "3000"),
        ("SETTLE_TIMEOUT_MS", "1500"),
    ];
    let mut scene = Scene::new("by-hand", &settings);
    let socket = scene.scratch.file("admin");
    scene.plans[0].set("ADMIN_LISTEN", format!("unix:{}", socket.display()));
    let p99 = scene.start(0);
    let silent = Fault::new(Moment::Body, Act::Stall);
    for sim in &scene.sims {
        sim.inject(silent).unwrap();
    }
    for number in [1, 2] {
        let told = Client::connect(p99.address).pay(id(number), "5.00");
        assert_eq!(told.status, 202, "{}", told.body);
    }
    // Only now: a connection that says nothing for HEADER_TIMEOUT_MS is closed.
    let mut admin = Client::connect_unix(&socket);
    for name in ["default", "fallback"] {
        let pause = format!("POST /admin/processors/{name}/pause");
        let told = admin.call(&pause, JSON, NOTE);
        let is_told = told
            .body
            .contains("on this instance alone, until its restart");
        assert!(told.status == 200 && is_told, "{}", told.body);
    }
    let of = |id: UpstreamId| format!("SELECT status FROM p99.payment WHERE id = '{id}'");
    let status_of = |id| scene.cluster.sql("p99", &of(id)).trim().to_owned();
    assert_eq!(resolve_at_rest(&mut admin, id(1), "applied").0, 200);
    assert_eq!(status_of(id(1)), "6");
    // No batch can change the row.
    let held = format!(
        "BEGIN; SELECT 1 FROM p99.payment WHERE id = '{}' FOR UPDATE; SELECT pg_sleep(60)",
        id(2)
    );
    let mut holder = scene.cluster.begin_sql("p99", &held);
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    wait_until("the row is held", || {
        scene.cluster.sql("p99", sleeps).trim() == "1"
    });
    let (status, told) = resolve_at_rest(&mut admin, id(2), "refused");
    assert_eq!(status, 503, "{told}");
    assert_eq!(status_of(id(2)), "1", "it is as it was");
    let wake = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE wait_event = 'PgSleep'";
    scene.cluster.sql("p99", wake);
    holder.wait().unwrap();
    wait_until("it is written", || status_of(id(2)) == "7");
    wait_until("it is settled here too", || {
        resolve(&mut admin, id(2), "applied").0 == 409
    });
    assert_eq!(state(&p99, id(2)), (200, "refused".to_owned()));
    let sum = Client::connect(p99.address).get("/payments-summary").body;
    assert!(sum.contains(r#""totalRequests":1"#), "{sum}");
    drop(admin);
    assert_eq!(p99.stop(), Some(0));
}
