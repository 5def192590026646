//! Who may call, and how often: credentials, their rotation, and the rate limit with everything
//! that proxies write into X-Forwarded-For. Live, on loopback.

use std::fs;
use std::time::Instant;

use crate::kit::client::{Client, Stream};
use crate::kit::scratch::Scratch;
use crate::kit::stack::{BEST, Stack, metric};
use crate::{ask, get, get_with, post};
use p99::testing::credentials::Reloaded;

const BODY: &str = r#"{"correlationId":"test-1","amount":20}"#;
const READS: [&str; 4] = [
    "/payments/test-1",
    "/payments-summary",
    "/payments-summary?FROM=x",
    "/metrics",
];
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

#[test]
fn every_call_but_a_probe_needs_the_credentials() {
    let stack = Stack::start(
        BEST,
        &[
            ("AUTH_HEADER_NAME", "X-Key"),
            ("AUTH_HEADER_VALUE", "s3cret"),
            ("ALLOW_PURGE", "true"),
        ],
    );
    let mut client = Client::connect(stack.address());
    let challenge = "\r\nWWW-Authenticate: ApiKey realm=\"p99\", header=\"x-key\"\r\n";
    for wrong in [
        "",
        "X-Key:\r\n",
        "X-Key: s3creT\r\n",
        "X-Key: s3cret1\r\n",
        "Authorization: s3cret\r\n",
    ] {
        let calls = [
            post("/payments", wrong, BODY),
            post("/purge-payments", wrong, ""),
        ];
        let reads = READS.map(|path| get_with(path, wrong));
        for call in calls.iter().chain(&reads) {
            let (status, head, body) = ask(&mut client, call);
            assert_eq!(status, 401, "{call}");
            assert!(head.contains(challenge), "{head}");
            assert!(body.contains(r#""charged":"unknown""#), "{body}");
        }
        for path in PROBES {
            assert_eq!(ask(&mut client, &get_with(path, wrong)).0, 200, "{path}");
        }
    }
    let right = "X-Key: s3cret\r\nX-Request-Id: r-7\r\n";
    let (status, head, body) = ask(&mut client, &post("/payments", right, BODY));
    assert_eq!(
        (status, body.as_str()),
        (200, r#"{"message":"payment processed successfully"}"#)
    );
    assert!(head.contains("\r\nX-Request-Id: r-7\r\n"), "{head}");
    assert_eq!(ask(&mut client, &post("/payments", right, BODY)).0, 409);
    let read = |client: &mut _, path| ask(client, &get_with(path, right));
    let (status, _, body) = read(&mut client, "/payments/test-1");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains(r#""status":"processed""#), "{body}");
    assert_eq!(read(&mut client, "/payments/test-2").0, 404);
    let (_, _, summary) = read(&mut client, "/payments-summary");
    assert!(summary.contains(r#""totalAmount":20.00"#), "{summary}");
    assert_eq!(read(&mut client, "/metrics").0, 200);
    assert_eq!(ask(&mut client, &post("/purge-payments", right, "")).0, 200);
    stack.stop();
}

#[test]
fn a_head_request_needs_them_too_and_is_answered_without_a_body() {
    let stack = Stack::start(BEST, &[("AUTH_HEADER_VALUE", "Bearer abc")]);
    let mut client = Client::connect(stack.address());
    let head = get("/payments-summary").replace("GET", "HEAD");
    client.write(&head);
    // Had it a body, the next answer would not begin where its status is looked for.
    let text = client.read_head().unwrap().head;
    assert!(text.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{text}");
    assert!(
        text.contains("\r\nWWW-Authenticate: Bearer realm=\"p99\"\r\n"),
        "{text}"
    );
    assert_eq!(ask(&mut client, &get("/healthz")).0, 200);
    stack.stop();
}

#[test]
fn reads_can_be_opened_and_the_administrators_door_is_no_way_around() {
    let stack = Stack::start(
        BEST,
        &[
            ("AUTH_HEADER_VALUE", "Bearer abc"),
            ("AUTH_READS", "off"),
            ("ALLOW_PURGE", "true"),
        ],
    );
    let mut client = Client::connect(stack.address());
    assert_eq!(ask(&mut client, &post("/payments", "", BODY)).0, 401);
    assert_eq!(ask(&mut client, &post("/purge-payments", "", "")).0, 401);
    for (path, status) in READS.into_iter().zip([404, 200, 400, 200]) {
        assert_eq!(ask(&mut client, &get(path)).0, status, "{path}");
    }
    stack.stop();
    let stack = Stack::start(
        BEST,
        &[
            ("AUTH_HEADER_VALUE", "Bearer abc"),
            ("ADMIN_LISTEN", "127.0.0.2:0"),
        ],
    );
    let mut admin = Client::connect(stack.admin_address());
    assert_eq!(ask(&mut admin, &get("/metrics")).0, 401);
    assert_eq!(ask(&mut admin, &get("/readyz")).0, 200);
    let right = "Authorization: Bearer abc\r\n";
    assert_eq!(ask(&mut admin, &get_with("/metrics", right)).0, 200);
    stack.stop();
}

#[test]
fn values_from_a_file_are_rotated_without_a_client_that_notices() {
    let scratch = Scratch::new("access").unwrap();
    let path = scratch.file("values");
    fs::write(&path, "Bearer old\n").unwrap();
    let stack = Stack::start(
        BEST,
        &[
            ("AUTH_HEADER_VALUE_FILE", path.to_str().unwrap()),
            ("CORES", "4"),
        ],
    );
    // Many connections, so that every core has some.
    let mut clients: Vec<_> = (0..32).map(|_| Client::connect(stack.address())).collect();
    let mut statuses = |value: &str| {
        let request = get_with("/payments-summary", &format!("Authorization: {value}\r\n"));
        let mut found: Vec<u16> = clients
            .iter_mut()
            .map(|client| ask(client, &request).0)
            .collect();
        found.dedup();
        found
    };
    let credentials = stack.credentials.clone().unwrap();
    let mut rows = vec![("Bearer old", [200, 401])];
    rows.push(("Bearer old\nBearer new\n", [200, 200]));
    rows.push(("Bearer new\nBearer old\n", [200, 200]));
    rows.push(("Bearer new\n", [401, 200]));
    // What cannot be used changes nothing.
    rows.push(("", [401, 200]));
    for (text, [old, new]) in rows {
        fs::write(&path, text).unwrap();
        let reloaded = credentials.reload();
        assert_eq!(reloaded.is_err(), text.is_empty(), "{reloaded:?}");
        assert_eq!(statuses("Bearer old"), [old], "{text:?}");
        assert_eq!(statuses("Bearer new"), [new], "{text:?}");
    }
    fs::write(&path, "Bearer new").unwrap();
    assert_eq!(credentials.reload(), Ok(Reloaded::Unchanged));
    stack.stop();
}

#[test]
fn a_client_beyond_its_rate_is_told_when_to_come_back_whatever_it_asks() {
    // What is not there, and what cannot be read, cost time too.
    for path in READS.into_iter().chain(["/nothing", "/payments"]) {
        let stack = Stack::start(BEST, &[("RATE_LIMIT_RPS", "1"), ("RATE_LIMIT_BURST", "2")]);
        let mut client = Client::connect(stack.address());
        let mut limited = 0;
        for _ in 0..12 {
            let (status, head, _) = ask(&mut client, &get(path));
            if status == 429 {
                assert!(head.contains("\r\nRetry-After: 1\r\n"), "{head}");
                limited += 1;
            }
        }
        assert!(limited > 0, "twelve at once are more than two: {path}");
        for probe in PROBES.repeat(6) {
            assert_eq!(ask(&mut client, &get(probe)).0, 200);
        }
        stack.stop();
    }
}

/// How many of these requests, each from the client that its field names, are within a rate of one
/// a second and client.
fn allowed(client: &mut Client<impl Stream>, forwarded: &[&str]) -> usize {
    let fields = forwarded
        .iter()
        .map(|value| format!("X-Forwarded-For: {value}\r\n"));
    let statuses = fields.map(|field| ask(client, &get_with("/payments/none", &field)).0);
    statuses.filter(|status| *status == 404).count()
}

/// These share one budget: one passes, and one more with each second that a busy machine takes.
fn assert_one_budget(client: &mut Client<impl Stream>, forwarded: &[&str]) {
    let began = Instant::now();
    let passed = allowed(client, forwarded);
    let most = 1 + usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!((1..=most).contains(&passed), "{passed} of {forwarded:?}");
}

/// One request of each client passes; the next is a second later.
const SCARCE: [(&str, &str); 2] = [("RATE_LIMIT_RPS", "1"), ("RATE_LIMIT_BURST", "1")];

#[test]
fn the_forms_that_proxies_write_name_one_client_each() {
    let settings = [&SCARCE[..], &[("TRUSTED_PROXIES", "::ffff:127.0.0.0/104")]].concat();
    let same: [&[&str]; 5] = [
        &[
            "203.0.113.9",
            "203.0.113.9:4711",
            "\"203.0.113.9:1\"",
            "::ffff:203.0.113.9",
        ],
        &[
            "2001:db8::1",
            "[2001:db8::1]:80",
            "\"[2001:db8::2]:80\"",
            "2001:db8::3%eth0",
        ],
        &["unknown", "_secret", "junk", "203.0.113.300"],
        &[
            "6.6.6.6, 7.7.7.7",
            "8.8.8.8, 7.7.7.7:1",
            "junk, 7.7.7.7, 127.0.0.1",
        ],
        &[
            "9.9.9.9, , 127.0.0.7:80",
            "9.9.9.9,127.0.0.7,::ffff:127.0.0.8",
        ],
    ];
    for forwarded in same {
        let stack = Stack::start(BEST, &settings);
        let mut client = Client::connect(stack.address());
        assert_one_budget(&mut client, &forwarded.repeat(6));
        stack.stop();
    }
    let stack = Stack::start(BEST, &settings);
    let mut client = Client::connect(stack.address());
    let many: Vec<String> = (0..40)
        .map(|number| format!("203.0.113.{number}:80"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(
        allowed(&mut client, &many),
        40,
        "each has a budget of its own"
    );
    stack.stop();
}

#[test]
fn clients_that_cannot_be_told_apart_share_one_budget_and_are_counted() {
    let scratch = Scratch::new("access").unwrap();
    let path = scratch.file("p99.sock");
    let listen = format!("unix:{}", path.display());
    let many: Vec<String> = (0..40)
        .map(|number| format!("203.0.113.{number}"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let usual = [
        &SCARCE[..],
        &[("LISTEN", listen.as_str()), ("ADMIN_LISTEN", "127.0.0.1:0")],
    ];
    let usual = usual.concat();
    for (trusted, is_told_apart) in [(None, false), (Some("127.0.0.1"), true)] {
        let trusted = trusted.map(|trusted| ("TRUSTED_PROXIES", trusted));
        let settings: Vec<_> = usual.iter().copied().chain(trusted).collect();
        let stack = Stack::start(BEST, &settings);
        let mut client = Client::connect_unix(&path);
        if is_told_apart {
            assert_eq!(allowed(&mut client, &many), 40);
        } else {
            assert_one_budget(&mut client, &many);
        }
        let (_, _, page) = ask(
            &mut Client::connect(stack.admin_address()),
            &get("/metrics"),
        );
        let counted = metric(&page, "p99_clients_unknown_total");
        if is_told_apart {
            assert_eq!(counted, 0.0);
            assert_one_budget(&mut client, &["junk"; 40]);
        } else {
            assert_eq!(counted, 40.0);
        }
        stack.stop();
    }
}
