//! Two instances that know each other, and what an instance says when its peer is gone; and the
//! optional health poll, which asks from one core for all.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::kit::client::{Client, payment, wait_until};
use crate::kit::scratch::Scratch;
use crate::kit::stack::{BEST, Stack};
use crate::kit::start::free_port;
use crate::{ask, get, get_with, post};
use p99::testing::payment::{CorrelationId, Shard, UpstreamId};

pub(super) const SUMMARY: &str = "/payments-summary";

/// Two shards in front of the first one's processors, each the other's peer.
fn two_instances(more: &[(&str, &str)]) -> [Stack; 2] {
    two_with(["1/2", "2/2"], [more, more])
}

/// The same, each with settings of its own.
fn two_with(shards: [&str; 2], more: [&[(&str, &str)]; 2]) -> [Stack; 2] {
    let ports = [free_port(), free_port()];
    let first = start(shards[0], ports, None, more[0]);
    let urls = first.urls();
    let second = start(shards[1], [ports[1], ports[0]], Some(&urls), more[1]);
    // Before that no shard takes payments.
    for (stack, settings) in [&first, &second].into_iter().zip(more) {
        // Where there is one, by the other door: a client's places may be few.
        let has_door = settings.iter().any(|(name, _)| *name == "ADMIN_LISTEN");
        let address = match has_door {
            true => stack.admin_address(),
            false => stack.address(),
        };
        wait_until("its peer was asked who it is", || {
            let (_, _, said) = ask(&mut Client::connect(address), &get("/readyz"));
            !said.contains("were not asked yet")
        });
    }
    [first, second]
}

/// One shard on the first port, whose peer is on the second.
pub(super) fn start(
    shard: &str,
    [own, peer]: [u16; 2],
    processors: Option<&[String; 2]>,
    more: &[(&str, &str)],
) -> Stack {
    let listen = format!("127.0.0.1:{own}");
    let peer = format!("http://127.0.0.1:{peer}");
    let mut settings = vec![("SHARD", shard), ("LISTEN", &listen), ("PEERS", &peer)];
    if let Some([a, b]) = processors {
        settings.extend([("UPSTREAM_A_URL", a.as_str()), ("UPSTREAM_B_URL", b)]);
    }
    settings.extend_from_slice(more);
    Stack::start(BEST, &settings)
}

pub(super) fn pay(stack: &Stack, id: &str, fields: &str) -> (u16, String) {
    let body = payment(id, "19.90");
    let (status, _, body) = ask(
        &mut Client::connect(stack.address()),
        &post("/payments", fields, &body),
    );
    (status, body)
}

pub(super) fn read(stack: &Stack, path: &str) -> (u16, String) {
    let (status, _, body) = ask(&mut Client::connect(stack.address()), &get(path));
    (status, body)
}

/// Asks until the answer is another than 503: on a busy machine a peer may come too late.
fn ask_at_last(address: SocketAddr, request: &str) -> (u16, String) {
    let mut answer = (503, String::new());
    wait_until("an answer other than 503", || {
        let (status, _, body) = ask(&mut Client::connect(address), request);
        answer = (status, body);
        answer.0 != 503
    });
    answer
}

/// Ids that shard `number` of `count` owns.
pub(super) fn ids_of(number: u16, count: u16) -> impl Iterator<Item = String> {
    let shard = Shard::parse(&format!("{number}/{count}")).unwrap();
    let ids = (0..).map(|number| format!("order-{number}"));
    ids.filter(move |id| shard.owns(&CorrelationId::try_new(id).unwrap()))
}

fn id_of(text: &str) -> UpstreamId {
    CorrelationId::try_new(text).unwrap().upstream_id()
}

#[test]
fn a_summary_adds_all_peers_or_says_nothing() {
    let [first, second] = two_instances(&[("ALLOW_PURGE", "true")]);
    for (number, stack) in [(1, &first), (2, &second)] {
        for id in ids_of(number, 2).take(5) {
            let payment = post("/payments", "", &payment(id, "19.90"));
            assert_eq!(ask_at_last(stack.address(), &payment).0, 200);
        }
    }
    let count = |text: &str| {
        let counts = text.split("\"totalRequests\":").skip(1);
        counts
            .map(|rest| rest.split(',').next().unwrap().parse::<u32>().unwrap())
            .sum::<u32>()
    };
    for stack in [&first, &second] {
        let (status, body) = ask_at_last(stack.address(), &get(SUMMARY));
        assert_eq!((status, count(&body)), (200, 10), "{body}");
        let (status, body) = read(stack, "/payments-summary?scope=local");
        assert_eq!((status, count(&body)), (200, 5), "{body}");
    }
    let purge = post("/purge-payments", "", "{}");
    let (status, body) = ask_at_last(first.address(), &purge);
    assert_eq!(status, 200, "{body}");
    let (status, body) = ask_at_last(second.address(), &get(SUMMARY));
    assert_eq!(
        (status, count(&body)),
        (200, 0),
        "a purge reaches the peers: {body}"
    );
    let _ = second.end();
    let (status, body) = read(&first, "/payments-summary");
    assert_eq!(status, 503, "never a silent part: {body}");
    assert!(body.contains("shard 2 gave no answer"), "{body}");
    assert_eq!(read(&first, "/readyz").0, 200, "to be away is no trouble");
    assert_eq!(read(&first, "/payments-summary?scope=local").0, 200);
    let _ = first.end();
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
    let _ = (first.end(), second.end());
}

/// One who took the place of a peer learns nothing that it could pay with, whatever it answers.
#[test]
fn a_false_peer_is_never_shown_what_clients_show() {
    let auth = "Authorization: Bearer abc\r\n";
    let again = format!("HTTP/1.1 401 X\r\nWWW-Authenticate: Bearer\r\n{NOTHING}");
    let elsewhere = format!("HTTP/1.1 307 X\r\nLocation: /payments\r\n{NOTHING}");
    for (answer, purge) in [(again, "true"), (elsewhere, "false")] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ports = [free_port(), listener.local_addr().unwrap().port()];
        let settings = [("AUTH_HEADER_VALUE", "Bearer abc"), ("ALLOW_PURGE", purge)];
        let first = start("1/2", ports, None, &settings);
        let peer = std::thread::spawn(move || overhear(&listener, &answer, 3));
        for request in [get_with(SUMMARY, auth), post("/purge-payments", auth, "{}")] {
            let (status, ..) = ask(&mut Client::connect(first.address()), &request);
            assert!([403, 503].contains(&status), "{status}");
        }
        // Who it is it is asked anyway.
        let heard = peer.join().unwrap();
        assert!(
            heard.contains("scope=") && !heard.contains("abc"),
            "{heard}"
        );
        let _ = first.end();
    }
}

const NOTHING: &str = "Content-Length: 0\r\nConnection: close\r\n\r\n";

/// Answers so many requests, each on a connection of its own; what it was told.
fn overhear(listener: &TcpListener, answer: &str, requests: usize) -> String {
    let mut heard = String::new();
    for _ in 0..requests {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
        let head: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        heard.push_str(&head.join("\n"));
        stream.write_all(answer.as_bytes()).unwrap();
    }
    heard
}

/// Twenty sums take no twenty ports.
#[test]
fn connections_to_peers_are_kept() {
    const SUMS: &str = concat!(
        r#"{"default":{"totalRequests":1,"totalAmount":5.00},"#,
        r#""fallback":{"totalRequests":0,"totalAmount":0.00},"pending":0,"shard":"2/2","#,
        r#""shardSet":null,"journal":null,"journals":[null,null]}"#
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let is_over = AtomicBool::new(false);
    let accepted = std::thread::scope(|scope| {
        let peer = scope.spawn(|| {
            let mut accepted = Vec::new();
            while let Ok((stream, _)) = listener.accept() {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                accepted.push(stream.try_clone().unwrap());
                scope.spawn(move || say_again_and_again(&stream, SUMS));
            }
            for stream in &accepted {
                // It may be closed already.
                let _ = stream.shutdown(Shutdown::Both);
            }
            accepted.len()
        });
        let first = start("1/2", [free_port(), address.port()], None, &[]);
        let mut client = Client::connect(first.address());
        let mut answers = Vec::new();
        wait_until("twenty sums", || {
            answers.push(ask(&mut client, &get(SUMMARY)));
            answers.iter().filter(|answer| answer.0 == 200).count() == 20
        });
        let _ = first.end();
        is_over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(address).unwrap());
        let (sums, late): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.0 == 200);
        for (_, _, body) in sums {
            assert!(body.contains(r#""totalAmount":5.00"#), "{body}");
        }
        assert!(late.iter().all(|answer| answer.0 == 503), "{late:?}");
        // A peer that comes too late on a busy machine costs a connection.
        (peer.join().unwrap(), late.len())
    });
    let (accepted, late) = accepted;
    assert!((1..=4 + late).contains(&accepted), "{accepted} connections");
}

/// The same answer to each request of a connection, until it ends.
fn say_again_and_again(mut stream: &TcpStream, body: &str) {
    let answer = format!(
        "HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    for _ in lines.filter(String::is_empty) {
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

#[test]
fn shards_that_read_for_all_need_no_secret_for_sums() {
    let secret = "Authorization: Bearer abc\r\n";
    let [first, second] =
        two_instances(&[("AUTH_HEADER_VALUE", "Bearer abc"), ("AUTH_READS", "off")]);
    let id = ids_of(1, 2).next().unwrap();
    assert_eq!(pay(&first, &id, "").0, 401);
    assert_eq!(pay(&first, &id, secret).0, 200);
    let (status, body) = ask_at_last(second.address(), &get(SUMMARY));
    assert!(
        status == 200 && body.contains("\"totalAmount\":19.90"),
        "{body}"
    );
    let _ = (first.end(), second.end());
}

/// Their secret opens what no client may ask, however many clients there are.
#[test]
fn shards_with_a_secret_answer_each_other_only_and_without_limits() {
    let scratch = Scratch::new("secret").unwrap();
    let file = scratch.text("secret");
    std::fs::write(&file, "between-us\n").unwrap();
    let admin = scratch.text("admin");
    std::fs::write(&admin, "an-operator\n").unwrap();
    let settings = [
        ("PEER_SECRET_FILE", file.as_str()),
        ("ADMIN_SECRET_FILE", &admin),
        ("AUTH_HEADER_VALUE", "Bearer abc"),
        ("ALLOW_PURGE", "true"),
        ("ADMIN_LISTEN", "127.0.0.1:0"),
        ("RATE_LIMIT_RPS", "1"),
        ("RATE_LIMIT_BURST", "2"),
        ("CONNECTIONS_PER_ADDRESS", "1"),
    ];
    let [first, second] = two_instances(&settings);
    let secret = "X-P99-Peer-Secret: between-us\r\n";
    // The one connection that a client may have, and its budget, are used up.
    let mut held = Client::connect(second.address());
    let auth = "Authorization: Bearer abc\r\n";
    while ask(&mut held, &get_with("/payments/x", auth)).0 != 429 {}
    for round in 0..20 {
        let (status, body) = ask_at_last(first.admin_address(), &get_with(SUMMARY, auth));
        assert_eq!(status, 200, "round {round}: {body}");
    }
    let operator = &format!("{auth}X-P99-Admin-Secret: an-operator\r\n");
    for (fields, expected) in [(auth, 403), (operator, 200)] {
        let purge = post("/purge-payments", fields, "{}");
        assert_eq!(ask_at_last(first.admin_address(), &purge).0, expected);
    }
    // Neither the clients' credentials nor a wrong or doubled secret open it.
    for (fields, expected) in [
        (secret, 200),
        ("", 403),
        (auth, 403),
        ("X-P99-Peer-Secret: between-u\r\n", 403),
        (
            "X-P99-Peer-Secret: between-us\r\nX-P99-Peer-Secret: between-us\r\n",
            403,
        ),
    ] {
        for scope in ["local", "ask"] {
            let request = get_with(&format!("{SUMMARY}?scope={scope}"), fields);
            let (status, _, body) = ask(&mut Client::connect(second.admin_address()), &request);
            assert_eq!(status, expected, "{fields:?}: {body}");
        }
    }
    // It opens nothing else.
    let request = get_with(SUMMARY, secret);
    assert_eq!(
        ask(&mut Client::connect(second.admin_address()), &request).0,
        401
    );
    let _ = (first.end(), second.end());
}

#[test]
fn shards_with_different_secrets_have_no_sum() {
    let scratch = Scratch::new("secrets").unwrap();
    let files = ["one", "other"].map(|name| {
        std::fs::write(scratch.text(name), name).unwrap();
        scratch.text(name)
    });
    let settings = files
        .each_ref()
        .map(|file| [("PEER_SECRET_FILE", file.as_str())]);
    let [first, second] = two_with(["1/2", "2/2"], [&settings[0], &settings[1]]);
    let (status, body) = read(&first, SUMMARY);
    assert!(status == 503 && body.contains("shard 2"), "{status} {body}");
    let _ = (first.end(), second.end());
}

#[test]
fn a_purge_asks_all_first_and_begins_only_when_all_could() {
    let able: &[(&str, &str)] = &[("ALLOW_PURGE", "true")];
    let [first, second] = two_with(["1/2", "2/2"], [able, &[]]);
    let id = ids_of(1, 2).next().unwrap();
    assert_eq!(pay(&first, &id, "").0, 200);
    let purge = post("/purge-payments", "", "{}");
    let (status, _, body) = ask(&mut Client::connect(first.address()), &purge);
    assert!(
        status == 503 && body.contains("shard 2 gave no answer"),
        "{status} {body}"
    );
    let (status, body) = read(&first, &format!("/payments/{id}"));
    assert_eq!(status, 200, "nothing was forgotten: {body}");
    let _ = (first.end(), second.end());
}

#[test]
fn a_processor_that_says_that_it_fails_rests_before_any_payment() {
    let stack = Stack::start(
        BEST,
        &[
            ("HEALTH_INTERVAL_MS", "5000"),
            ("ROUTING", "cheapest"),
            ("CB_OPEN_SECS", "300"),
        ],
    );
    stack.a.set_failing(true);
    let is_open = || {
        let (_, page) = read(&stack, "/metrics");
        page.lines()
            .any(|line| line == "circuit_breaker_a_status 1")
    };
    wait_until("its breaker opens", is_open);
    assert_eq!(pay(&stack, "healthy-1", "").0, 200);
    assert_eq!(stack.a.attempts(id_of("healthy-1")), 0, "it was left alone");
    let _ = stack.end();
}
