//! The endpoints and the order of work.

use std::time::Duration;

use p99::testing::clock::UnixMillis;
use p99::testing::payment::Cents;
use p99::testing::sim::{Deciding, Simulator, SimulatorOptions};

use crate::caller::{Client, id, payment, start};
use crate::kit::client::wait_until;

const TOKEN: &str = "X-Rinha-Token: 123\r\n";

#[test]
fn a_payment_is_charged_once_and_then_exists() {
    let sim = start();
    let mut client = Client::connect(sim.address());
    client.send_payment(1);
    let answer = client.read().unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        r#"{"message":"payment processed successfully"}"#
    );
    let again = payment(1).replace("19.90", "1.00").replace("2025", "2026");
    let answer = client.call("POST /payments", &again);
    assert_eq!(answer.status, 422);
    assert!(answer.body.starts_with(r#"{"message":"#), "{}", answer.body);
    let rows = sim.rows();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].id, rows[0].amount, rows[0].attempts),
        (id(1), Cents(1990), 2)
    );
    assert_eq!(
        rows[0].requested_at,
        UnixMillis(1_752_150_896_789),
        "the first one's stays"
    );
}

#[test]
fn a_body_that_it_cannot_read_is_400_and_not_stored() {
    let sim = start();
    let mut client = Client::connect(sim.address());
    for body in [
        "",
        "{",
        "[]",
        r#"{"correlationId":"test-123","amount":1,"requestedAt":"2025-07-10T12:34:56Z"}"#,
        &payment(1).replace("amount", "sum"),
        &payment(1).replace("requestedAt", "at"),
        &payment(1).replace("correlationId", "id"),
    ] {
        assert_eq!(client.call("POST /payments", body).status, 400, "{body}");
    }
    assert_eq!((sim.rows().len(), sim.all_attempts().len()), (0, 0));
    assert_eq!(client.pay(1), 200, "the connection lives on");
}

#[test]
fn a_stored_payment_is_found_and_another_is_404() {
    let sim = start();
    let mut client = Client::connect(sim.address());
    assert_eq!(client.look_up(1), 404);
    assert_eq!(client.pay(1), 200);
    let answer = client.call(&format!("GET /payments/{}", id(1)), "");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, payment(1));
    assert_eq!(client.call("GET /payments/test-123", "").status, 404);
    assert_eq!(client.call("GET /other", "").status, 404);
    assert_eq!(client.call("DELETE /payments", "").status, 405);
}

#[test]
fn while_failing_it_answers_500_and_stores_nothing() {
    let sim = start();
    let mut client = Client::connect(sim.address());
    sim.set_failing(true);
    assert_eq!(client.pay(1), 500);
    assert_eq!((sim.find(id(1)), sim.attempts(id(1))), (None, 1));
    sim.set_failing(false);
    assert_eq!(client.pay(1), 200);
}

/// Sends payment 1 with ever longer delays until `look` ran while it was still in step 1: the
/// insert and the end of the work are one step for the outside, so "still at work after the look"
/// proves that the look came first, on any machine.
fn during_a_delay(look: impl Fn(&mut Client, &p99::testing::sim::SimulatorHandle)) -> u16 {
    for delay_ms in [100, 400, 1_600, 6_400] {
        let sim = start();
        sim.set_delay(Duration::from_millis(delay_ms));
        let mut payer = Client::connect(sim.address());
        let mut other = Client::connect(sim.address());
        payer.send_payment(1);
        wait_until("the payment is at work or done", || {
            sim.attempts(id(1)) == 1
        });
        wait_until("at work", || {
            sim.in_flight().0 == 1 || sim.find(id(1)).is_some()
        });
        look(&mut other, &sim);
        if sim.in_flight().0 == 1 {
            let status = payer.read().unwrap().status;
            assert_eq!(other.look_up(1), if status == 200 { 200 } else { 404 });
            return status;
        }
    }
    panic!("this machine stands still");
}

#[test]
fn a_404_during_the_delay_is_not_final() {
    let seen = std::cell::Cell::new(0);
    let status = during_a_delay(|other, _| seen.set(other.look_up(1)));
    assert_eq!((seen.get(), status), (404, 200));
}

#[test]
fn failure_is_looked_at_after_the_delay() {
    assert_eq!(during_a_delay(|_, sim| sim.set_failing(true)), 500);
}

#[test]
fn a_closed_connection_stops_nothing() {
    let sim = start();
    sim.set_delay(Duration::from_millis(100));
    let mut client = Client::connect(sim.address());
    client.send_payment(1);
    wait_until("read in full", || sim.attempts(id(1)) == 1);
    drop(client);
    wait_until("charged all the same", || sim.find(id(1)).is_some());
    wait_until("the descriptor is free again", || sim.connections() == 0);
}

#[test]
fn health_is_one_permit_for_all_and_two_wait() {
    let options = SimulatorOptions {
        health_window: Duration::from_hours(1),
        ..Default::default()
    };
    let sim = Simulator::start(options).unwrap();
    sim.set_delay(Duration::from_millis(7));
    let mut first = Client::connect(sim.address());
    let answer = first.call("GET /payments/service-health", "");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, r#"{"failing":false,"minResponseTime":7}"#);
    let (sender, receiver) = std::sync::mpsc::channel();
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (sender, mut client) = (sender.clone(), Client::connect(sim.address()));
            std::thread::spawn(move || {
                client.send("GET /payments/service-health", "", "");
                let _ = sender.send(client.read());
            })
        })
        .collect();
    let refused = receiver.recv().unwrap().unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.head.contains("Retry-After: 5"), "{}", refused.head);
    assert!(
        receiver.try_recv().is_err(),
        "the two others wait for an hour"
    );
    assert_eq!(first.call("GET /payments/service-health", "").status, 429);
    sim.stop();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(receiver.iter().take(2).all(|answer| answer.is_err()));
}

#[test]
fn those_who_wait_for_health_get_it() {
    let health_window = Duration::from_millis(50);
    let sim = Simulator::start(SimulatorOptions {
        health_window,
        ..Default::default()
    })
    .unwrap();
    sim.set_failing(true);
    let mut clients: Vec<_> = (0..3).map(|_| Client::connect(sim.address())).collect();
    for client in &mut clients {
        client.send("GET /payments/service-health", "", "");
    }
    for client in &mut clients {
        assert_eq!(
            client.read().unwrap().body,
            r#"{"failing":true,"minResponseTime":0}"#
        );
    }
}

#[test]
fn a_summary_counts_its_window_with_both_ends() {
    let sim = start();
    let mut client = Client::connect(sim.address());
    for (number, second) in [(1, "10"), (2, "11"), (3, "12")] {
        let body = payment(number).replace("56.789", &format!("{second}.000"));
        assert_eq!(client.call("POST /payments", &body).status, 200);
    }
    let mut summary = |query: &str| client.call(&format!("GET /admin/payments-summary{query}"), "");
    let all =
        r#"{"totalRequests":3,"totalAmount":59.70,"totalFee":2.985,"feePerTransaction":0.05}"#;
    let one =
        r#"{"totalRequests":1,"totalAmount":19.90,"totalFee":0.995,"feePerTransaction":0.05}"#;
    let at = |ms: &str| format!("2025-07-10T12%3A34%3A{ms}Z");
    let rows = [
        (String::new(), all),
        (format!("?from={}&to={}", at("10.000"), at("12.000")), all),
        (format!("?from={}&to={}", at("10.001"), at("11.999")), one),
        (format!("?from={}", at("12.000")), all),
        (format!("?to={}", at("09.000")), all),
    ];
    for (query, expected) in rows {
        assert_eq!(summary(&query).body, expected, "{query}");
    }
    assert_eq!(summary("?from=yesterday").status, 400);
}

#[test]
fn admin_calls_need_the_token() {
    let sim = start();
    let mut client = Client::connect(sim.address());
    for line in [
        "GET /admin/payments-summary",
        "GET /admin/payments",
        "POST /admin/purge-payments",
        "PUT /admin/configurations/token",
        "PUT /admin/configurations/delay",
        "PUT /admin/configurations/failure",
        "PUT /admin/configurations/faults",
        "GET /admin/configurations/faults",
        "PUT /admin/configurations/refusing",
    ] {
        for headers in ["", "X-Rinha-Token: 124\r\n"] {
            client.send(
                line,
                headers,
                r#"{"delay":1,"failure":true,"token":"x","faults":[]}"#,
            );
            assert_eq!(client.read().unwrap().status, 401, "{line} {headers}");
        }
    }
    let answer = client.call("PUT /admin/configurations/token", r#"{"token":"other"}"#);
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    client.send("GET /admin/payments", TOKEN, "");
    assert_eq!(client.read().unwrap().status, 401, "the old token is void");
    client.send("GET /admin/payments", "x-rinha-token: other\r\n", "");
    assert_eq!(client.read().unwrap().status, 200);
}

#[test]
fn admin_calls_switch_delay_and_failure_and_say_what_was() {
    let sim = start();
    let mut client = Client::connect(sim.address());
    let mut put = |name: &str, body: &str| {
        let answer = client.call(&format!("PUT /admin/configurations/{name}"), body);
        (answer.status, answer.body)
    };
    let rows = [
        (
            "delay",
            r#"{"delay":20}"#,
            r#"{"config":"delay","was":0,"is":20}"#,
        ),
        (
            "delay",
            r#"{"delay":0}"#,
            r#"{"config":"delay","was":20,"is":0}"#,
        ),
        (
            "failure",
            r#"{"failure":true}"#,
            r#"{"config":"failure","was":false,"is":true}"#,
        ),
        (
            "failure",
            r#"{"failure":false}"#,
            r#"{"config":"failure","was":true,"is":false}"#,
        ),
    ];
    for (name, body, expected) in rows {
        assert_eq!(put(name, body), (200, expected.to_owned()));
    }
    for (name, body) in [
        ("delay", "{}"),
        ("delay", r#"{"delay":"1"}"#),
        ("delay", r#"{"delay":-1}"#),
        ("failure", r#"{"failure":1}"#),
        ("token", r#"{"token":1}"#),
        (
            "faults",
            r#"{"faults":[{"moment":"connect","act":{"status":500}}]}"#,
        ),
    ] {
        assert_eq!(put(name, body).0, 400, "{name} {body}");
    }
}

#[test]
fn rows_are_listed_with_attempts_and_purged() {
    let sim = start();
    let mut client = Client::connect(sim.address());
    assert_eq!(client.call("GET /admin/payments", "").body, "[]");
    assert_eq!((client.pay(1), client.pay(1)), (200, 422));
    let row = payment(1).replace('}', r#","attempts":2}"#);
    assert_eq!(
        client.call("GET /admin/payments", "").body,
        format!("[{row}]")
    );
    let answer = client.call("POST /admin/purge-payments", "");
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, r#"{"message":"All payments purged."}"#)
    );
    assert_eq!(client.call("GET /admin/payments", "").body, "[]");
    assert_eq!(client.pay(1), 200);
}

#[test]
fn pipelined_chunked_and_expected_bodies_are_read() {
    let sim = start();
    let mut client = Client::connect(sim.address());
    let chunked = |number| {
        let body = payment(number);
        let (first, second) = body.split_at(40);
        format!(
            "POST /payments HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n\
             {:x}\r\n{first}\r\n{:X};x=y\r\n{second}\r\n0\r\n\r\n",
            first.len(),
            second.len(),
        )
    };
    client.write(&(chunked(1) + &chunked(1) + &chunked(2)));
    let statuses: Vec<_> = (0..3).map(|_| client.read().unwrap().status).collect();
    assert_eq!(statuses, [200, 422, 200], "in their order");
    let body = payment(3);
    let length = body.len();
    client.write(&format!(
        "POST /payments HTTP/1.1\r\nHost: sim\r\nExpect: 100-continue\r\n\
         Content-Length: {length}\r\n\r\n"
    ));
    assert_eq!(client.read().unwrap().status, 100);
    client.write(&body);
    assert_eq!(client.read().unwrap().status, 200);
    client.send("GET /other", "Connection: close\r\n", "");
    assert_eq!(client.read().unwrap().status, 404);
    assert!(client.read().is_err(), "closed as asked");
}

#[test]
fn bytes_that_are_no_request_get_400_and_the_end() {
    let sim = start();
    let mut client = Client::connect(sim.address());
    client.write("POST /payments HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(client.read().unwrap().status, 400);
    assert!(client.read().is_err());
}

#[test]
fn by_parity_even_ids_are_charged_and_odd_ones_are_400() {
    let options = SimulatorOptions {
        deciding: Deciding::ByParity,
        ..Default::default()
    };
    let sim = Simulator::start(options).unwrap();
    let mut client = Client::connect(sim.address());
    assert_eq!(
        (client.pay(2), client.pay(3), client.pay(4)),
        (200, 400, 200)
    );
    assert_eq!(sim.rows().len(), 2);
}
