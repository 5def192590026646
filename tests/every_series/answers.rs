//! Scenes of single requests: every route with every status.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use p99::testing::sim::{Act, Fault, Moment};

use crate::book::Book;
use crate::kit::client::{payment, request, wait_until};
use crate::kit::operator::{KEY, NOTE, secret_file};
use crate::kit::scratch::Scratch;
use crate::site::{NO_PLACE, NOWHERE, Site, ask, pause};

const CONFIRM: &str = "POST /admin/processors/default/confirm";
const EXPECT: &str = "Expect: 100-continue\r\nContent-Length: 2\r\n";

pub(crate) fn what_is_asked_wrongly(book: &Book) {
    let settings = [("ALLOW_PURGE", "true"), ("CORES", "1")];
    let site = Site::start(book, &settings);
    let body = &payment("a", "1.00");
    for (line, headers, body, status) in [
        ("GET /payments-summary", "", "", 200),
        ("GET /healthz", "", "", 200),
        ("GET /readyz", "", "", 200),
        ("POST /purge-payments", "", "{}", 200),
        ("POST /payments", "", "{", 400),
        ("GET /payments-summary?from=x", "", "", 400),
        ("POST /purge-payments?scope=x", "", "{}", 400),
        ("GET /payments/unknown", "", "", 404),
        ("GET /nothing", "", "", 404),
        ("GET /payments", "", "", 405),
        ("POST /payments/a", "", "{}", 405),
        ("POST /payments-summary", "", "{}", 405),
        ("GET /purge-payments", "", "", 405),
        ("POST /metrics", "", "{}", 405),
        ("GET /openapi.json", "", "", 200),
        ("POST /openapi.json", "", "{}", 405),
        ("POST /healthz", "", "{}", 405),
        ("POST /readyz", "", "{}", 405),
        ("GET /payments", EXPECT, "", 405),
        ("POST /payments", "Content-Type: text/plain\r\n", body, 415),
        (
            "POST /purge-payments",
            "Content-Encoding: gzip\r\n",
            "{}",
            415,
        ),
        (
            "POST /payments",
            &format!("Content-Type: text/plain\r\n{EXPECT}"),
            "",
            415,
        ),
        ("POST /payments", "", &payment("a", "0"), 422),
        ("POST /payments", "", &"x".repeat(10_000), 413),
        ("POST /payments", "Expect: more\r\n", body, 417),
        (&format!("GET /{}", "x".repeat(3_000)), "", "", 414),
        (
            "GET /healthz",
            &format!("X: {}\r\n", "x".repeat(9_000)),
            "",
            431,
        ),
        (&format!("{} /healthz", "X".repeat(40)), "", "", 501),
    ] {
        assert_eq!(site.ask(line, headers, body), status, "{line} {headers}");
    }
    for (text, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505),
    ] {
        let mut client = site.client();
        client.write(text);
        assert_eq!(client.read().unwrap().status, status, "{text}");
    }
    site.await_all(&[
        r#"p99_requests_total{route="other",status="400"}"#,
        r#"p99_requests_total{route="other",status="505"}"#,
        r#"p99_requests_total{route="metrics",status="200"}"#,
    ]);
}

pub(crate) fn a_request_that_stalls(book: &Book) {
    let site = Site::start(book, &[("HEADER_TIMEOUT_MS", "3000")]);
    // A client that comes to write only when its time is over is closed without an answer.
    wait_until("a request that stalls is 408", || {
        let mut client = site.client();
        client.write("GET / HT");
        client.read().is_ok_and(|answer| answer.status == 408)
    });
    site.await_all(&[r#"p99_requests_total{route="other",status="408"}"#]);
}

pub(crate) fn who_may_not_ask(book: &Book) {
    let scratch = Scratch::new("series-admin").unwrap();
    let secret = secret_file(&scratch);
    let site = Site::start(
        book,
        &[
            ("AUTH_HEADER_VALUE", "secret"),
            ("ADMIN_LISTEN", "127.0.0.2:0"),
            ("ADMIN_SECRET_FILE", &secret),
        ],
    );
    let open = "Authorization: secret\r\n";
    let closed = &format!("{open}{EXPECT}");
    for (line, headers, status) in [
        ("POST /payments", "", 401),
        ("GET /payments/a", "", 401),
        ("GET /payments-summary", "", 401),
        ("GET /openapi.json", "", 401),
        ("POST /payments", EXPECT, 401),
        ("GET /payments/a?scope=local", open, 403),
        ("GET /payments-summary?scope=local", open, 403),
        ("GET /payments-summary?scope=local", closed, 403),
        ("POST /purge-payments", open, 404),
        ("GET /metrics", open, 404),
        ("GET /status.json", open, 404),
        ("GET /nothing", closed, 404),
        (CONFIRM, open, 404),
    ] {
        assert_eq!(site.ask(line, headers, ""), status, "{line}");
    }
    let admin = site.admin_address();
    let both = &format!("{open}{KEY}");
    let text = &format!("{both}Content-Type: text/plain\r\n");
    for (line, headers, body, status) in [
        ("POST /purge-payments", "", "", 401),
        ("GET /metrics", "", "", 401),
        ("GET /status.json", "", "", 401),
        ("GET /status.txt", open, "", 200),
        ("POST /status.json", open, "{}", 405),
        ("POST /purge-payments", open, "", 403),
        ("POST /payments", open, "", 404),
        (CONFIRM, "", NOTE, 401),
        (CONFIRM, open, NOTE, 403),
        (CONFIRM, both, NOTE, 200),
        (CONFIRM, both, "[]", 400),
        (CONFIRM, both, "{}", 422),
        (CONFIRM, text, NOTE, 415),
        ("GET /admin/processors/default/confirm", open, "", 405),
        ("GET /admin/payments/a/events", open, "", 404),
    ] {
        assert_eq!(ask(admin, line, headers, body), status, "{line}");
    }
    for task in ["pause", "resume"] {
        for name in ["default", "fallback"] {
            let line = format!("POST /admin/processors/{name}/{task}");
            assert_eq!(ask(admin, &line, both, NOTE), 200, "{line}");
        }
        site.look();
    }
}

pub(crate) fn who_asks_too_often(book: &Book) {
    let socket = std::env::temp_dir().join(format!("p99-series-{}.sock", std::process::id()));
    let listen = format!("127.0.0.1:0,unix:{}", socket.display());
    let site = Site::start(
        book,
        &[
            ("RATE_LIMIT_RPS", "1"),
            ("RATE_LIMIT_BURST", "1"),
            ("LISTEN", &listen),
            ("ADMIN_LISTEN", "off"),
        ],
    );
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream
        .write_all(request("GET /payments/a", "", "").as_bytes())
        .unwrap();
    let _ = stream.read(&mut [0; 512]).unwrap();
    // The page counts too: it is read when there is time again.
    for (line, headers) in [
        ("POST /payments", ""),
        ("GET /payments/a", ""),
        ("GET /payments-summary", ""),
        ("POST /purge-payments", ""),
        ("GET /metrics", ""),
        ("GET /status.json", ""),
        ("GET /openapi.json", ""),
        ("GET /payments/a", EXPECT),
    ] {
        let is_limited = || ask(site.address(), line, headers, "") == 429;
        wait_until(line, is_limited);
    }
    pause(1_500);
    site.look();
    drop(site);
    let _ = std::fs::remove_file(socket);
}

pub(crate) fn payments_and_their_answers(book: &Book) {
    let site = Site::start(
        book,
        &[("REQUEST_TIMEOUT_MS", "5000"), ("HEDGE_DELAY_MS", "60000")],
    );
    assert_eq!(site.pay("a"), 200);
    assert_eq!(site.pay("a"), 409);
    assert_eq!(site.ask("GET /payments/a", "", ""), 200);
    site.a.set_delay(Duration::from_secs(30));
    site.b.set_delay(Duration::from_secs(30));
    let gone = site.begin("gone");
    site.await_all(&["p99_clients_waiting"]);
    gone.reset();
    assert_eq!(site.pay("slow"), 202);
    assert_eq!(site.pay("slow"), 409);
    site.await_all(&[
        r#"p99_duplicates_total{status="processed"}"#,
        r#"p99_duplicates_total{status="pending"}"#,
        r#"p99_requests_unanswered_total{reason="client_gone"}"#,
        "p99_payments_pending_oldest_age_seconds",
    ]);
    drop(site);

    let site = Site::start(book, &[("ACK", "accepted"), ("CORES", "1")]);
    for sim in [&site.a, &site.b] {
        sim.inject(Fault::new(Moment::Body, Act::Status(400)))
            .unwrap();
    }
    assert_eq!(site.pay("refused"), 202);
    wait_until("it is refused", || {
        let found = site.client().get("/payments/refused").body;
        found.contains(r#""status":"refused""#)
    });
    assert_eq!(site.pay("refused"), 409);
    site.await_all(&[r#"p99_duplicates_total{status="refused"}"#]);
    drop(site);

    let site = Site::start(book, &[]);
    for sim in [&site.a, &site.b] {
        sim.inject(Fault::new(Moment::Body, Act::Status(401)))
            .unwrap();
    }
    assert_eq!(site.pay("x"), 502);
    drop(site);

    let nowhere = [("UPSTREAM_A_URL", NOWHERE), ("UPSTREAM_B_URL", NO_PLACE)];
    let site = Site::start(
        book,
        &[&nowhere[..], &[("REQUEST_TIMEOUT_MS", "5000")]].concat(),
    );
    assert_eq!(site.pay("x"), 503);
    site.await_all(&[r#"p99_shed_total{reason="unavailable"}"#]);
}

/// The exact times of the ledger are kept for an hour at least; here it is a second.
pub(crate) fn windows_that_are_too_fine(book: &Book) {
    let site = Site::start_with(book, &[], |config| {
        config.ledger_exact = Duration::from_secs(1)
    });
    assert_eq!(site.pay("a"), 200);
    let found = site.client().get("/payments/a").body;
    let (_, rest) = found.split_once(r#""requestedAt":""#).unwrap();
    // "2026-01-02T03:04:05" and then the milliseconds.
    let window = format!("GET /payments-summary?from={}.5Z", &rest[..19]);
    wait_until("its second is old", || site.ask(&window, "", "") == 422);
}
