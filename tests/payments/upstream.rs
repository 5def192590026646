//! What p99 puts on the wire towards a processor, byte by byte, and what it makes of answers that
//! the simulator does not give: a processor of a few lines that keeps what it reads.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use p99::testing::cores::Exit;
use p99::testing::payment::CorrelationId;

use crate::kit::client::{Client, DEADLINE, held, payment};
use crate::kit::stack::{start_p99, tcp};
use crate::on_both_drivers_together;

/// Two processors that answer every request with `answer` and hand on what they read.
fn processors(answer: &'static str) -> ([String; 2], Receiver<String>) {
    let (sender, requests) = channel();
    let urls = [(), ()].map(|()| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sender = sender.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, sender) = (stream.unwrap(), sender.clone());
                thread::spawn(move || serve(stream, answer, &sender));
            }
        });
        url
    });
    (urls, requests)
}

pub(crate) fn serve(stream: impl Read + Write, answer: &str, requests: &Sender<String>) {
    answer_with(stream, requests, |_| answer);
}

/// Answers every request as `answer` says, and hands on what was read.
pub(crate) fn answer_with<'a>(
    mut stream: impl Read + Write,
    requests: &Sender<String>,
    answer: impl Fn(&str) -> &'a str,
) {
    let mut text = String::new();
    let mut chunk = [0; 4096];
    while let Ok(count) = stream.read(&mut chunk) {
        if count == 0 {
            return;
        }
        text.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map_or(0, |length| length.parse().unwrap());
        if body.len() < length {
            continue;
        }
        assert_eq!(body.len(), length, "one request at a time");
        let written = stream.write_all(answer(&text).as_bytes());
        let _ = requests.send(std::mem::take(&mut text));
        if written.is_err() {
            return;
        }
    }
}

pub(crate) const CHARGED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

on_both_drivers_together! {
    a_payment_goes_out_as_the_processors_want_it,
    what_a_client_sent_to_be_traced_by_is_sent_on,
    an_answer_without_a_length_ends_with_its_connection,
    an_answer_that_a_reset_ends_is_none,
    an_answer_that_is_too_long_is_none,
}

pub(crate) fn next_post(requests: &Receiver<String>) -> String {
    loop {
        let request = requests.recv_timeout(DEADLINE).unwrap();
        // Once, after the first charge, p99 tries what its lookup is worth.
        if request.starts_with("POST") {
            return request;
        }
    }
}

fn a_payment_goes_out_as_the_processors_want_it(driver: &str) {
    let (urls, requests) = processors(CHARGED);
    let settings = [
        ("UPSTREAM_PAY_PATH", "/v2/pay"),
        ("HEDGE_DELAY_MS", "60000"),
    ];
    let running = start_p99([&urls[0], &urls[1]], driver, &settings);
    let mut client = Client::connect(tcp(&running.addresses()));
    let upper = "4A7901B8-7D26-4D9D-AA19-4DC1C7CF60B3";
    let named = CorrelationId::try_new("test-123").unwrap().upstream_id();
    for (id, amount, id_sent, amount_sent) in [
        (upper, "1e1", upper.to_lowercase(), "10.00"),
        ("test-123", "19.9", named.to_string(), "19.90"),
        (
            "c",
            "0.01",
            CorrelationId::try_new("c")
                .unwrap()
                .upstream_id()
                .to_string(),
            "0.01",
        ),
    ] {
        assert_eq!(client.pay(id, amount).status, 200);
        let request = next_post(&requests);
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /v2/pay HTTP/1.1\r\n"), "{head}");
        let names_host = |url: &String| head.contains(&url.replace("http://", "\r\nHost: "));
        assert!(urls.iter().any(names_host), "{head}");
        assert!(
            head.contains("\r\nContent-Type: application/json"),
            "{head}"
        );
        assert!(!head.to_lowercase().contains("x-request-id"), "{head}");
        let begin =
            format!(r#"{{"correlationId":"{id_sent}","amount":{amount_sent},"requestedAt":""#);
        let time = body
            .strip_prefix(&begin)
            .unwrap_or_else(|| panic!("{body}"));
        // 2025-07-10T12:34:56.789Z
        assert_eq!(time.len(), 26, "{time}");
        assert!(
            time.ends_with("Z\"}") && time.as_bytes()[19] == b'.',
            "{time}"
        );
    }
    drop(client);
    assert_eq!(running.stop(), Exit::Clean);
}

fn what_a_client_sent_to_be_traced_by_is_sent_on(driver: &str) {
    let (urls, requests) = processors(CHARGED);
    let running = start_p99([&urls[0], &urls[1]], driver, &[]);
    let mut client = Client::connect(tcp(&running.addresses()));
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = format!("x-request-id: abc-1\r\nTraceParent: {parent}\r\nCookie: secret\r\n");
    let answer = client.call("POST /payments", &headers, &payment("a", "1"));
    assert_eq!(answer.status, 200);
    let request = next_post(&requests);
    assert!(request.contains("\r\nX-Request-Id: abc-1\r\n"), "{request}");
    assert!(
        request.contains(&format!("\r\ntraceparent: {parent}\r\n")),
        "{request}"
    );
    assert!(!request.to_lowercase().contains("cookie"), "{request}");
    drop(client);
    assert_eq!(running.stop(), Exit::Clean);
}

/// RFC 9112, section 6.3: without a length the body ends with the connection.
fn an_answer_without_a_length_ends_with_its_connection(driver: &str) {
    let urls = [(), ()].map(|()| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // p99 keeps a connection ready on each core, so one must not keep another waiting.
                thread::spawn(move || {
                    if stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
                        let answer = b"HTTP/1.1 200 OK\r\n\r\n{\"message\":\"ok\"}";
                        stream.write_all(answer).unwrap();
                    }
                });
            }
        });
        url
    });
    let running = start_p99([&urls[0], &urls[1]], driver, &[("HEDGE_DELAY_MS", "60000")]);
    let mut client = Client::connect(tcp(&running.addresses()));
    for id in ["a", "b", "c"] {
        assert_eq!(client.pay(id, "1").status, 200);
    }
    drop(client);
    assert_eq!(running.stop(), Exit::Clean);
}

/// I3: without a length only an orderly end says that nothing is missing.
fn an_answer_that_a_reset_ends_is_none(driver: &str) {
    let urls = [(), ()].map(|()| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    if stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
                        stream.write_all(b"HTTP/1.1 400 No\r\n\r\n{}").unwrap();
                        // So that p99 has read it before the reset comes.
                        thread::sleep(Duration::from_millis(50));
                        let reset = Some(Duration::ZERO);
                        socket2::SockRef::from(&stream).set_linger(reset).unwrap();
                    }
                });
            }
        });
        url
    });
    let settings = [
        ("REQUEST_TIMEOUT_MS", "1000"),
        ("SHUTDOWN_GRACE_SECS", "0"),
        ("ROUTING", "cheapest"),
        ("HEDGE_DELAY_MS", "60000"),
    ];
    let running = start_p99([&urls[0], &urls[1]], driver, &settings);
    let mut client = Client::connect(tcp(&running.addresses()));
    held(|| client.pay("a", "1"));
    drop(client);
    assert_eq!(running.stop(), Exit::Forgotten(1));
}

/// I8: an answer has a bound; what is beyond it proves nothing.
fn an_answer_that_is_too_long_is_none(driver: &str) {
    const LONG: &str = "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{}";
    let (urls, requests) = processors(LONG);
    let settings = [
        ("REQUEST_TIMEOUT_MS", "300"),
        ("SHUTDOWN_GRACE_SECS", "0"),
        ("ROUTING", "cheapest"),
        ("HEDGE_DELAY_MS", "60000"),
    ];
    let running = start_p99([&urls[0], &urls[1]], driver, &settings);
    let mut client = Client::connect(tcp(&running.addresses()));
    held(|| client.pay("a", "1"));
    assert!(next_post(&requests).starts_with("POST"));
    drop(client);
    assert_eq!(running.stop(), Exit::Forgotten(1));
}
