//! What operators look at: the page, what it asks for, and the same as text. Live, on loopback;
//! in a real browser it is looked at by scripts/test-live-page.

use std::time::Duration;

use p99::testing::sim::{Act, Fault, Moment};
use serde_json::Value;

use crate::kit::client::{Client, payment, wait_until};
use crate::kit::stack::{BEST, Stack};
use crate::{DRIVERS, ask, get, get_with};

const ADMIN: (&str, &str) = ("ADMIN_LISTEN", "127.0.0.2:0");

/// One silent answer opens a breaker, and clients soon have their 202.
const IMPATIENT: [(&str, &str); 8] = [
    ADMIN,
    ("CORES", "2"),
    ("ROUTING", "cheapest"),
    ("REQUEST_TIMEOUT_MS", "3000"),
    ("ATTEMPT_TIMEOUT_MS", "1000"),
    ("HEADER_TIMEOUT_MS", "60000"),
    ("CB_MIN_SAMPLES", "1"),
    ("QUEUE_CAPACITY", "10"),
];

fn status(client: &mut Client) -> Value {
    let (status, head, body) = ask(client, &get("/status.json"));
    assert_eq!(status, 200, "{body}");
    assert!(head.contains("\r\nContent-Type: application/json\r\n"));
    assert!(head.contains("\r\nCache-Control: no-store\r\n"), "{head}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn the_page_is_the_administrators_and_runs_nothing_but_itself() {
    let stack = Stack::start(BEST, &[ADMIN]);
    let mut admin = Client::connect(stack.admin_address());
    let (code, head, body) = ask(&mut admin, &get("/"));
    assert_eq!(code, 200);
    assert!(head.contains("\r\nContent-Type: text/html; charset=utf-8\r\n"));
    let policy = "\r\nContent-Security-Policy: default-src 'none'; script-src 'sha256-";
    assert!(head.contains(policy), "{head}");
    assert!(head.contains("\r\nX-Content-Type-Options: nosniff\r\n"));
    assert!(body.starts_with("<!DOCTYPE html>") && body.ends_with("</html>\n"));
    admin.write(&get("/").replace("GET", "HEAD"));
    assert_eq!(admin.read_head().unwrap().status, 200);
    assert_eq!(ask(&mut admin, &get("/status.txt")).0, 200, "no body came");
    let mut client = Client::connect(stack.address());
    for path in ["/", "/status.json", "/status.txt"] {
        assert_eq!(ask(&mut client, &get(path)).0, 404, "{path}");
    }
    stack.stop();
    // Without ADMIN_LISTEN they are nowhere.
    let stack = Stack::start(BEST, &[]);
    let mut client = Client::connect(stack.address());
    for path in ["/", "/status.json", "/status.txt"] {
        assert_eq!(ask(&mut client, &get(path)).0, 404, "{path}");
    }
    stack.stop();
}

#[test]
fn what_it_asks_for_needs_the_credentials() {
    let stack = Stack::start(BEST, &[ADMIN, ("AUTH_HEADER_VALUE", "Bearer abc")]);
    let mut admin = Client::connect(stack.admin_address());
    assert_eq!(ask(&mut admin, &get("/")).0, 200, "it shows nothing itself");
    for path in ["/status.json", "/status.txt"] {
        assert_eq!(ask(&mut admin, &get(path)).0, 401, "{path}");
        let right = "Authorization: Bearer abc\r\n";
        assert_eq!(ask(&mut admin, &get_with(path, right)).0, 200, "{path}");
    }
    stack.stop();
}

#[test]
fn it_says_that_nothing_waits() {
    for driver in DRIVERS {
        let stack = Stack::start(driver, &[ADMIN, ("ROUTING", "cheapest")]);
        let mut admin = Client::connect(stack.admin_address());
        let mut client = stack.client();
        assert_eq!(client.pay("paid", "1.00").status, 200);
        let calm = status(&mut admin);
        assert_eq!((&calm["ready"], &calm["why"]), (&true.into(), &"".into()));
        assert_eq!(
            calm["payments"][1]["counts"],
            serde_json::json!([1, 0, 0, 0])
        );
        assert_eq!(calm["processors"][0]["name"], "default");
        assert_eq!(calm["processors"][0]["attempts"][1]["counts"][2], 1);
        assert_eq!(calm["processors"][0]["fault_age_ms"], Value::Null);
        assert_eq!(
            (&calm["journal"], &calm["oldest"]),
            (&Value::Null, &Value::Array(vec![]))
        );
        stack.stop();
    }
}

#[test]
fn it_says_what_waits_where_and_why() {
    for driver in DRIVERS {
        let stack = Stack::start(driver, &IMPATIENT);
        let mut client = stack.client();
        stack.a.set_delay(Duration::from_secs(30));
        stack.b.set_delay(Duration::from_secs(30));
        let answer = client.call("POST /payments", "", &payment("first", "2.00"));
        assert_eq!(answer.status, 202);
        assert_eq!(client.pay("second", "3.00").status, 202);
        let mut admin = Client::connect(stack.admin_address());
        let mut seen = Value::Null;
        let is_in_doubt = |payment: &Value| payment["reason"].to_string().contains("in doubt");
        wait_until("both are listed, and the first is in doubt", || {
            seen = status(&mut admin);
            let oldest = seen["oldest"].as_array().unwrap();
            oldest.len() == 2 && is_in_doubt(&oldest[0])
        });
        assert_eq!(seen["pending"]["count"], 2);
        let first = &seen["oldest"][0];
        assert_eq!(
            (&first["id"], &first["promised"]),
            (&"first".into(), &true.into())
        );
        assert!(first["age_ms"].as_u64() >= seen["oldest"][1]["age_ms"].as_u64());
        let bounds = seen["bounds"].as_array().unwrap();
        let queue = bounds
            .iter()
            .find(|bound| bound["name"] == "QUEUE_CAPACITY");
        assert_eq!(
            (&queue.unwrap()["used"], &queue.unwrap()["limit"]),
            (&2.into(), &10.into())
        );
        let place = usize::from(first["processor"] == "fallback");
        let sick = &seen["processors"][place];
        assert_ne!(sick["breaker"], 0, "{seen}");
        assert_eq!(sick["fault"], "no answer within ATTEMPT_TIMEOUT_MS");
        let (_, _, text) = ask(&mut admin, &get("/status.txt"));
        for part in [
            " ready\n",
            "pending: 2, the oldest for",
            "  first ",
            " 20 %  QUEUE_CAPACITY: 2 of 10\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        stack.a.set_delay(Duration::ZERO);
        stack.b.set_delay(Duration::ZERO);
        stack.stop();
    }
}

#[test]
fn a_journal_and_shards_are_shown_where_there_are_any() {
    let scratch = crate::kit::scratch::Scratch::new("live").unwrap();
    let journal = scratch.text("journal");
    let settings = [
        ADMIN,
        ("JOURNAL_DIR", journal.as_str()),
        ("JOURNAL_SYNC", "always"),
        ("SHARD", "1/2"),
        // Nothing listens there.
        ("PEERS", "http://127.0.0.3:9"),
    ];
    let stack = Stack::start(BEST, &settings);
    let mut admin = Client::connect(stack.admin_address());
    let mut seen = Value::Null;
    wait_until("the shard that does not answer is named", || {
        seen = status(&mut admin);
        seen["shards"][1]["state"] == "no answer"
    });
    assert_eq!(seen["shards"][0]["place"], "this one, 1/2");
    wait_until("the room on the disk is shown", || {
        seen = status(&mut admin);
        seen["journal"]["free_bytes"].as_u64() > Some(0)
    });
    assert_eq!(seen["journal"]["sync"], "always");
    let (_, _, text) = ask(&mut admin, &get("/status.txt"));
    for part in [
        "journal, JOURNAL_SYNC=always\n",
        "  http://127.0.0.3:9",
        ": no answer\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    stack.stop();
}

#[test]
fn a_fault_of_a_processor_is_named() {
    let stack = Stack::start(BEST, &[ADMIN, ("ROUTING", "cheapest")]);
    let mut admin = Client::connect(stack.admin_address());
    stack
        .a
        .inject(Fault::new(Moment::Answer, Act::Status(401)))
        .unwrap();
    assert_eq!(stack.client().pay("x", "1.00").status, 200);
    let seen = status(&mut admin);
    assert_eq!(seen["processors"][0]["fault"], "answered 401", "{seen}");
    assert!(seen["processors"][0]["fault_age_ms"].is_u64());
    stack.stop();
}
