//! Two instances that know each other, and what an instance says when its peer is gone; and the
//! optional health poll, which asks from one core for all.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "an answer that is missing shall fail the test"
)]

mod stack;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use p99::payment::{CorrelationId, Shard, UpstreamId};
use p99::sim::SimulatorHandle;
use stack::{Stack, ask, connect, get, get_with, post};

/// Far beyond anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Two instances in front of the first one's processors, each the other's peer.
fn two_instances(more: &[(&str, &str)]) -> [Stack; 2] {
    let ports = [free_port(), free_port()];
    let listen = ports.map(|port| format!("127.0.0.1:{port}"));
    let url = |index: usize| format!("http://127.0.0.1:{}", ports[index]);
    let (first_peer, second_peer) = (url(1), url(0));
    let mut settings = more.to_vec();
    settings.extend([
        ("SHARD", "1/2"),
        ("LISTEN", listen[0].as_str()),
        ("PEERS", &first_peer),
    ]);
    let first = Stack::start(&settings);
    let urls = first.processors.each_ref().map(SimulatorHandle::url);
    let mut settings = more.to_vec();
    settings.extend([
        ("SHARD", "2/2"),
        ("LISTEN", listen[1].as_str()),
        ("PEERS", &second_peer),
        ("UPSTREAM_A_URL", &urls[0]),
        ("UPSTREAM_B_URL", &urls[1]),
    ]);
    let second = Stack::start(&settings);
    [first, second]
}

fn pay(stack: &Stack, id: &str, fields: &str) -> (u16, String) {
    let body = format!("{{\"correlationId\":\"{id}\",\"amount\":19.90}}");
    let (status, _, body) = ask(
        &mut connect(stack.address()),
        &post("/payments", fields, &body),
    );
    (status, body)
}

fn read(stack: &Stack, path: &str) -> (u16, String) {
    let (status, _, body) = ask(&mut connect(stack.address()), &get(path));
    (status, body)
}

/// Ids that shard `number` of `count` owns.
fn ids_of(number: u16, count: u16) -> impl Iterator<Item = String> {
    let shard = Shard::parse(&format!("{number}/{count}")).unwrap();
    let ids = (0..).map(|number| format!("order-{number}"));
    ids.filter(move |id| shard.owns(&CorrelationId::try_new(id).unwrap()))
}

fn id_of(text: &str) -> UpstreamId {
    CorrelationId::try_new(text).unwrap().upstream_id()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_summary_adds_all_peers_or_says_nothing() {
    let [first, second] = two_instances(&[("ALLOW_PURGE", "true")]);
    for (number, stack) in [(1, &first), (2, &second)] {
        for id in ids_of(number, 2).take(5) {
            assert_eq!(pay(stack, &id, "").0, 200);
        }
    }
    let count = |text: &str| {
        let counts = text.split("\"totalRequests\":").skip(1);
        counts
            .map(|rest| rest.split(',').next().unwrap().parse::<u32>().unwrap())
            .sum::<u32>()
    };
    for stack in [&first, &second] {
        let (status, body) = read(stack, "/payments-summary");
        assert_eq!((status, count(&body)), (200, 10), "{body}");
        let (status, body) = read(stack, "/payments-summary?scope=local");
        assert_eq!((status, count(&body)), (200, 5), "{body}");
    }
    let purge = post("/purge-payments", "", "{}");
    let (status, _, body) = ask(&mut connect(first.address()), &purge);
    assert_eq!(status, 200, "{body}");
    let (status, body) = read(&second, "/payments-summary");
    assert_eq!(
        (status, count(&body)),
        (200, 0),
        "a purge reaches the peers: {body}"
    );
    let _ = second.stop();
    assert_eq!(
        read(&first, "/payments-summary").0,
        503,
        "never a silent part"
    );
    assert_eq!(read(&first, "/payments-summary?scope=local").0, 200);
    let _ = first.stop();
}

#[test]
fn the_id_of_another_shard_is_421_whatever_is_asked_of_it() {
    let [first, second] = two_instances(&[]);
    let id = ids_of(2, 2).next().unwrap();
    assert_eq!(pay(&second, &id, "").0, 200);
    let (status, posted) = pay(&first, &id, "");
    let (got_status, got) = read(&first, &format!("/payments/{id}"));
    assert_eq!((status, got_status), (421, 421));
    for body in [posted, got] {
        for part in [
            r#""type":"urn:p99:problem:wrong-shard""#,
            r#""charged":"unknown""#,
        ] {
            assert!(body.contains(part), "{body}");
        }
    }
    assert_eq!(read(&second, &format!("/payments/{id}")).0, 200);
    let unknown = ids_of(2, 2).nth(1).unwrap();
    assert_eq!(read(&second, &format!("/payments/{unknown}")).0, 404);
    let _ = (first.stop(), second.stop());
}

#[test]
fn peers_show_each_other_the_credentials_that_clients_must_show() {
    let secret = "Authorization: Bearer abc\r\n";
    let [first, second] =
        two_instances(&[("AUTH_HEADER_VALUE", "Bearer abc"), ("ALLOW_PURGE", "true")]);
    let id = ids_of(1, 2).next().unwrap();
    assert_eq!(pay(&first, &id, "").0, 401);
    assert_eq!(pay(&first, &id, secret).0, 200);
    let summary = |fields: &str| {
        let request = get_with("/payments-summary", fields);
        let (status, _, body) = ask(&mut connect(second.address()), &request);
        (status, body.contains("\"totalAmount\":19.90"))
    };
    assert_eq!(summary(""), (401, false));
    assert_eq!(summary(secret), (200, true));
    let purge = post("/purge-payments", secret, "{}");
    assert_eq!(ask(&mut connect(second.address()), &purge).0, 200);
    assert_eq!(summary(secret), (200, false));
    let _ = (first.stop(), second.stop());
}

#[test]
fn a_processor_that_says_that_it_fails_rests_before_any_payment() {
    let stack = Stack::start(&[("HEALTH_INTERVAL_MS", "5000"), ("ROUTING", "cheapest")]);
    stack.processors[0].set_failing(true);
    let is_open = || {
        let (_, page) = read(&stack, "/metrics");
        page.lines()
            .any(|line| line == "circuit_breaker_a_status 1")
    };
    wait_until("its breaker opens", is_open);
    assert_eq!(pay(&stack, "healthy-1", "").0, 200);
    assert_eq!(
        stack.processors[0].attempts(id_of("healthy-1")),
        0,
        "it was left alone"
    );
    let _ = stack.stop();
}
