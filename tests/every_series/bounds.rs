//! Scenes at the bounds: clients, queue, remembered ids; and peers.

use std::time::Duration;

use p99::testing::payment::{CorrelationId, Shard};

use crate::book::Book;
use crate::kit::client::{id, wait_until};
use crate::kit::start::free_port;
use crate::site::{Site, ask, pause};

pub(crate) fn too_many_clients_and_a_full_queue(book: &Book) {
    let settings = [
        ("CONCURRENCY_LIMIT", "2"),
        ("QUEUE_CAPACITY", "2"),
        ("CACHE_CAPACITY", "1000"),
        ("UPSTREAM_CONCURRENCY", "4"),
        ("REQUEST_TIMEOUT_MS", "5000"),
        ("CORES", "1"),
    ];
    let site = Site::start(book, &settings);
    for sim in [&site.a, &site.b] {
        sim.set_delay(Duration::from_secs(30));
    }
    let waiting = [site.begin("a"), site.begin("b")];
    wait_until("both wait", || {
        crate::kit::stack::metric(&site.look(), "p99_clients_waiting") == 2.0
    });
    assert_eq!(site.pay("c"), 503);
    for mut client in waiting {
        assert_eq!(client.read().unwrap().status, 202);
    }
    assert_eq!(site.pay("d"), 503);
    site.await_all(&[
        r#"p99_shed_total{reason="concurrency_limit"}"#,
        r#"p99_shed_total{reason="queue_full"}"#,
        "p99_queue_length",
        "p99_payments_pending",
    ]);
}

pub(crate) fn ids_are_forgotten(book: &Book) {
    let settings = [
        ("CACHE_CAPACITY", "10"),
        ("ALLOW_PURGE", "true"),
        ("CORES", "1"),
    ];
    let site = Site::start(book, &settings);
    let mut client = site.client();
    for number in 0..20 {
        assert_eq!(client.pay(id(number), "1.00").status, 200);
    }
    // Exact at once: no one has to wait for a core to write its gauges.
    let page = site.look();
    for (name, count) in [
        (r#"p99_claims_dropped_total{reason="evicted"}"#, 10.0),
        ("p99_claims_settled", 10.0),
        ("idempotency_cache_size", 10.0),
    ] {
        assert_eq!(crate::kit::stack::metric(&page, name), count, "{name}");
    }
    assert_eq!(site.ask("POST /purge-payments", "", "{}"), 200);
    site.await_all(&[r#"p99_claims_dropped_total{reason="purged"}"#]);
    drop(site);

    let settings = [("CACHE_TTL_SECONDS", "1"), ("CORES", "1")];
    let site = Site::start(book, &settings);
    let mut client = site.client();
    assert_eq!(client.pay(id(100), "1.00").status, 200);
    wait_until("it expires", || {
        pause(50);
        // A core that has nothing to do looks at its claims when it has.
        let _ = client.pay(id(101), "1.00");
        let expired = r#"p99_claims_dropped_total{reason="expired"}"#;
        crate::kit::stack::metric(&site.look(), expired) > 0.0
    });
}

pub(crate) fn ids_are_kept_and_new_ones_refused(book: &Book) {
    let settings = [
        ("CACHE_CAPACITY", "5"),
        ("CACHE_FULL", "refuse"),
        ("CORES", "1"),
    ];
    let site = Site::start(book, &settings);
    let mut client = site.client();
    for number in 0..5 {
        assert_eq!(client.pay(id(number), "1.00").status, 200);
    }
    let refused = client.pay(id(5), "1.00");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.field("Retry-After"), Some("30"));
    assert!(refused.body.contains(r#""charged":"unknown""#));
    assert_eq!(
        client.pay(id(0), "1.00").status,
        409,
        "a known one is known"
    );
    site.await_all(&[
        r#"p99_shed_total{reason="cache_full"}"#,
        "p99_cache_reach_seconds",
    ]);
}

/// A peer that answers, then one that does not.
pub(crate) fn peers(book: &Book) {
    let ports = [free_port(), free_port()];
    let listen = ports.map(|port| format!("127.0.0.1:{port}"));
    let urls = ports.map(|port| format!("http://127.0.0.1:{port}"));
    let settings = |this: usize| {
        [
            ("SHARD", ["1/2", "2/2"][this]),
            ("LISTEN", listen[this].as_str()),
            ("PEERS", urls[1 - this].as_str()),
            ("REQUEST_TIMEOUT_MS", "300"),
            ("ALLOW_PURGE", "true"),
        ]
    };
    let first = Site::start(book, &settings(0));
    let second = Site::start(book, &settings(1));
    wait_until("the peer answers", || {
        first.ask("GET /payments-summary", "", "") == 200
    });
    first.await_all(&[r#"p99_peer_calls_total{result="answered"}"#]);
    let own = Shard::parse("1/2").unwrap();
    let is_foreign = |id: &String| !own.owns(&CorrelationId::try_new(id).unwrap());
    let foreign = (0..)
        .map(|number| format!("order-{number}"))
        .find(is_foreign);
    let foreign = foreign.unwrap();
    assert_eq!(first.pay(&foreign), 421);
    assert_eq!(first.ask(&format!("GET /payments/{foreign}"), "", ""), 421);
    drop(second);
    wait_until("it does not", || {
        first.ask("GET /payments-summary", "", "") == 503
    });
    assert_eq!(first.ask("POST /purge-payments", "", "{}"), 503);
    first.await_all(&[r#"p99_peer_calls_total{result="failed"}"#]);
    let alone = Site::start(
        book,
        &[
            ("SHARD", "1/2"),
            ("PEERS", "http://127.0.0.1:1"),
            ("ADMIN_LISTEN", "127.0.0.2:0"),
        ],
    );
    let line = format!("GET /admin/payments/{foreign}/events");
    assert_eq!(ask(alone.admin_address(), &line, "", ""), 421);
    alone.look();
}
