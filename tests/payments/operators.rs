//! What operators ask of a running p99 over ADMIN_LISTEN.

use std::time::{Duration, Instant};

use p99::testing::payment::UpstreamId;
use p99::testing::sim::{Act, Fault, Moment};

use crate::kit::children::Processors;
use crate::kit::client::{Client, Stream, held, id, patiently, wait_until};
use crate::kit::operator::{KEY, NOTE, secret_file};
use crate::kit::scratch::Scratch;
use crate::kit::stack::{Stack, Told};
use crate::on_both_drivers_together;

on_both_drivers_together! {
    a_payment_is_explained_by_its_owner_core,
    a_paused_processor_gets_nothing_until_it_goes_on_also_after_a_restart,
    a_payment_is_resolved_by_hand_while_it_runs,
    what_no_operator_sent_changes_nothing,
    a_purge_there_is_an_operators_call_and_is_audited,
    both_of_two_secrets_are_good_and_a_unix_socket_needs_none,
}

const SETTINGS: [(&str, &str); 6] = [
    ("ADMIN_LISTEN", "127.0.0.1:0"),
    ("ROUTING", "cheapest"),
    ("HEDGE_DELAY_MS", "60000"),
    ("REQUEST_TIMEOUT_MS", "1000"),
    ("CB_FAIL_RATE", "1"),
    ("CB_MIN_SAMPLES", "100000"),
];

/// For tests in which every payment is charged at once, on a busy machine too.
pub(crate) const PATIENT: [(&str, &str); 2] = [
    ("REQUEST_TIMEOUT_MS", "20000"),
    ("SETTLE_TIMEOUT_MS", "20000"),
];

/// The steps that the instance remembers of `id`.
fn steps(admin: &mut Client, id: impl std::fmt::Display) -> Vec<String> {
    let answer = admin.get(&format!("/admin/payments/{id}/events"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let story: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let events = story["events"].as_array().unwrap();
    let step = |event: &serde_json::Value| event["step"].as_str().unwrap().to_owned();
    events.iter().map(step).collect()
}

fn a_payment_is_explained_by_its_owner_core(driver: &str) {
    let stack = Stack::start(driver, &[&SETTINGS[..], &PATIENT].concat());
    let mut admin = Client::connect(stack.admin_address());
    let mut client = stack.client();
    // Ids of both cores.
    for number in 0..8 {
        assert_eq!(client.pay(id(number), "1").status, 200);
        assert_eq!(
            steps(&mut admin, id(number)),
            ["claimed", "sent", "charged"]
        );
    }
    drop((admin, client));
    stack.stop();
    let stack = Stack::start(driver, &SETTINGS);
    let mut admin = Client::connect(stack.admin_address());
    let mut client = stack.client();
    let expected = [
        "claimed",
        "sent",
        "attempt_ended",
        "pinned",
        "promised",
        "told",
        "sent",
        "attempt_ended",
        "settled",
    ];
    let mut told = Vec::new();
    // On a busy machine one or the other takes longer, and more steps.
    let is_explained = (8..13).map(id).any(|id| {
        stack.a.clear_faults();
        let refused = Fault::new(Moment::Body, Act::Status(503)).next(1);
        stack.a.inject(refused).unwrap();
        if client.pay(id, "1").status == 202 {
            wait_until("it is settled", || {
                Stack::state_of(&mut client, id) == "processed"
            });
            told = steps(&mut admin, id);
        }
        told == expected
    });
    assert!(is_explained, "{told:?}");
    for (path, status) in [
        ("/admin/payments/never-seen/events", 404),
        ("/admin/payments/%ff/events", 404),
        ("/admin/payments/", 404),
    ] {
        assert_eq!(admin.get(path).status, status, "{path}");
    }
    let path = format!("/admin/payments/{}/events", id(8));
    assert_eq!(client.get(&path).status, 404, "not on the public listener");
    stack.stop();
    let shard = [("SHARD", "1/2"), ("PEERS", "http://127.0.0.1:1")];
    let stack = Stack::start(driver, &[&SETTINGS[..], &shard].concat());
    let mut admin = Client::connect(stack.admin_address());
    let statuses: Vec<u16> = (0..40)
        .map(|number| {
            admin
                .get(&format!("/admin/payments/{}/events", id(number)))
                .status
        })
        .collect();
    assert!(
        statuses.contains(&404) && statuses.contains(&421),
        "{statuses:?}"
    );
    stack.stop();
}

const PAUSE_A: &str = "POST /admin/processors/default/pause";
const RESUME_A: &str = "POST /admin/processors/default/resume";

/// A stack with a journal and an operator's secret.
pub(crate) fn guarded(driver: &str, scratch: &Scratch, more: &[(&str, &str)]) -> Stack {
    let (secret, journal) = (secret_file(scratch), scratch.text("journal"));
    let own = [
        ("ADMIN_SECRET_FILE", secret.as_str()),
        ("JOURNAL_DIR", &journal),
        ("JOURNAL_SYNC", "os"),
        // A late answer is awaited no longer than this.
        ("SETTLE_TIMEOUT_MS", "3000"),
    ];
    Stack::start(driver, &[&SETTINGS[..], &own, more].concat())
}

/// What the audit file has by now, once it has `part`.
pub(crate) fn audited(scratch: &Scratch, part: &str) -> String {
    let read = || std::fs::read_to_string(scratch.file("journal/audit.log")).unwrap();
    wait_until("the audit file has it", || read().contains(part));
    read()
}

fn a_paused_processor_gets_nothing_until_it_goes_on_also_after_a_restart(driver: &str) {
    let scratch = Scratch::new("pause").unwrap();
    let (journal, socket) = (scratch.text("journal"), scratch.text("admin.sock"));
    let listen = format!("unix:{socket}");
    let settings = [
        ("ADMIN_LISTEN", listen.as_str()),
        ("JOURNAL_DIR", &journal),
        ("ROUTING", "cheapest"),
        ("HEDGE_DELAY_MS", "60000"),
        ("DRAIN_DELAY_MS", "0"),
    ];
    let processors = Processors::start();
    let rows = || (processors.a.rows().len(), processors.b.rows().len());
    let first = processors.p99(driver, &settings);
    let mut client = Client::connect(first.address);
    assert_eq!(client.pay(id(1), "1").status, 200);
    let mut admin = Client::connect_unix(&socket);
    do_it(&mut admin, PAUSE_A, "");
    for number in 2..20 {
        assert_eq!(client.pay(id(number), "1").status, 200);
    }
    assert_eq!(rows(), (1, 18));
    let paused = r#"p99_processor_paused{processor="default"} 1"#;
    assert!(admin.get("/metrics").body.contains(paused));
    drop((client, admin));
    assert_eq!(first.stop(), Some(0));

    let second = processors.p99(driver, &settings);
    let mut client = Client::connect(second.address);
    assert_eq!(client.pay(id(30), "1").status, 200);
    assert_eq!(rows(), (1, 19), "it is still paused");
    let mut admin = Client::connect_unix(&socket);
    do_it(&mut admin, RESUME_A, "");
    assert_eq!(client.pay(id(31), "1").status, 200);
    assert_eq!(rows(), (2, 19));
    drop((client, admin));
    assert_eq!(second.stop(), Some(0));
    // A stop has written all of it.
    let log = std::fs::read_to_string(scratch.file("journal/audit.log")).unwrap();
    let line = concat!(
        r#""step":"operator","path":"/admin/processors/default/pause","#,
        r#""operator":"ann","reason":"by plan","status":200"#
    );
    for part in [line, r#""path":"/admin/processors/default/resume""#] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

/// Has a processor paused or resumed; 503 is where the disk takes too long to remember it.
pub(crate) fn do_it<S: Stream>(admin: &mut Client<S>, line: &str, key: &str) {
    let answer = patiently(line, || admin.call(line, key, NOTE));
    assert_eq!(answer.status, 200, "{line}: {}", answer.body);
}

/// Leaves payment `id` in doubt at A, which is paused; nothing of it is in flight any more.
fn leave_in_doubt(stack: &Stack, admin: &mut Client, id: UpstreamId) {
    let stall = Fault::new(Moment::Body, Act::Stall);
    stack.a.inject(stall).unwrap();
    held(|| stack.client().pay(id, "1"));
    do_it(admin, PAUSE_A, KEY);
}

fn order(verdict: &str) -> String {
    format!(r#"{{"operator":"ann","reason":"asked the bank","verdict":"{verdict}"}}"#)
}

fn a_payment_is_resolved_by_hand_while_it_runs(driver: &str) {
    let scratch = Scratch::new("resolve").unwrap();
    // Long enough to be asked about while its late answer is awaited.
    let stack = guarded(driver, &scratch, &[("SETTLE_TIMEOUT_MS", "6000")]);
    let mut admin = Client::connect(stack.admin_address());
    let told: Vec<(UpstreamId, Told)> = [(1, "refused"), (2, "applied")]
        .into_iter()
        .map(|(number, verdict)| {
            let (id, began) = (id(number), Instant::now());
            leave_in_doubt(&stack, &mut admin, id);
            let list = admin.get("/admin/payments").body;
            let read: serde_json::Value = serde_json::from_str(&list).unwrap();
            assert_eq!(read["pending"], 1, "{list}");
            assert_eq!(read["oldest"][0]["correlationId"], id.to_string());
            assert_eq!(read["oldest"][0]["processor"], "default");
            assert!(read["oldest"][0]["attempts"].as_u64() >= Some(1), "{list}");
            let line = format!("POST /admin/payments/{id}/resolve");
            // Its late answer is awaited: nothing is settled, and the answer says what to do.
            let early = admin.call(&line, KEY, &order(verdict));
            if began.elapsed() < Duration::from_secs(6) {
                assert_eq!(early.status, 409, "{}", early.body);
                assert!(early.body.contains("pause its processor"), "{}", early.body);
            }
            wait_until("nothing of it is in flight", || {
                let answer = admin.call(&line, KEY, &order(verdict));
                assert!([200, 409].contains(&answer.status), "{}", answer.body);
                answer.status == 200 || early.status == 200
            });
            let again = admin.call(&line, KEY, &order(verdict));
            assert_eq!(again.status, 409, "{}", again.body);
            assert!(again.body.contains("settled already"), "{}", again.body);
            stack.a.clear_faults();
            do_it(&mut admin, RESUME_A, KEY);
            (id, Told::Status(202))
        })
        .collect();
    let mut client = stack.client();
    let states: Vec<String> = told
        .iter()
        .map(|(id, _)| Stack::state_of(&mut client, *id))
        .collect();
    assert_eq!(states, ["refused", "processed"]);
    assert_eq!(client.pay(id(1), "1").status, 409, "its id is not free");
    let steps = steps(&mut admin, id(1));
    assert!(
        steps.iter().any(|step| step == "resolved_by_hand"),
        "{steps:?}"
    );
    let log = audited(&scratch, r#""result":"resolved by hand as applied""#);
    assert!(log.contains(r#""reason":"asked the bank""#), "{log}");
    drop((client, admin));
    stack.stop();
}

fn what_no_operator_sent_changes_nothing(driver: &str) {
    let scratch = Scratch::new("guard").unwrap();
    let shard = [("SHARD", "1/2"), ("PEERS", "http://127.0.0.1:1")];
    let stack = guarded(driver, &scratch, &shard);
    let host = stack.admin_address();
    let mut admin = Client::connect(host);
    let mut resolve = |id: UpstreamId| {
        let line = format!("POST /admin/payments/{id}/resolve");
        admin.call(&line, KEY, &order("refused")).status
    };
    let statuses: Vec<u16> = (0..40).map(|number| resolve(id(number))).collect();
    assert!(
        statuses.iter().all(|one| [404, 421].contains(one)),
        "{statuses:?}"
    );
    assert!(
        statuses.contains(&404) && statuses.contains(&421),
        "{statuses:?}"
    );
    let json = "Content-Type: application/json\r\n";
    let foreign = &format!("{KEY}Origin: http://evil.example\r\n");
    let rebound = &format!("{KEY}Origin: http://p99\r\n");
    let plain = &format!("{KEY}Content-Type: text/plain\r\n");
    let unnamed = &format!("{KEY}Content-Length: 0\r\n");
    let wrong = &format!("X-P99-Admin-Secret: hunter3\r\n{json}");
    for (headers, body, status, what) in [
        ("", NOTE, 403, "no secret"),
        (wrong, NOTE, 403, "another secret"),
        (foreign, NOTE, 403, "a page of another origin"),
        (rebound, NOTE, 403, "a name that leads here"),
        (plain, NOTE, 415, "no JSON type"),
        (unnamed, "", 415, "no type at all"),
        (KEY, "no JSON", 400, "no JSON"),
        (KEY, r#"{"operator":"ann"}"#, 422, "no reason"),
    ] {
        let answer = admin.call(PAUSE_A, headers, body);
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
    }
    assert_eq!(admin.call("GET /admin/log", KEY, "").status, 405);
    let filter = r#"{"operator":"ann","reason":"look","filter":"loud"}"#;
    assert_eq!(admin.call("POST /admin/log", KEY, filter).status, 422);
    let nowhere = "POST /admin/processors/third/pause";
    assert_eq!(admin.call(nowhere, KEY, NOTE).status, 404);
    for line in [PAUSE_A, "POST /admin/log", "GET /admin/payments"] {
        let status = stack.client().call(line, KEY, NOTE).status;
        assert_eq!(status, 404, "{line} on the public listener");
    }
    let page = admin.get("/metrics").body;
    assert!(page.contains(r#"p99_processor_paused{processor="default"} 0"#));
    assert!(!scratch.file("journal/PAUSED").exists());
    // What was refused is in the audit file all the same.
    // The last of those above.
    let log = audited(&scratch, r#""status":400"#);
    for part in [r#""status":403"#, r#""status":421"#, r#""status":415"#] {
        assert!(log.contains(part), "{part}: {log}");
    }
    drop(admin);
    stack.stop();
}

/// A page in an operator's browser could have ids forgotten, and charged again.
fn a_purge_there_is_an_operators_call_and_is_audited(driver: &str) {
    const PURGE: &str = "POST /purge-payments";
    let scratch = Scratch::new("purge").unwrap();
    let socket = scratch.text("admin.sock");
    let listen = format!("127.0.0.1:0,unix:{socket}");
    let more = [("ALLOW_PURGE", "true"), ("ADMIN_LISTEN", listen.as_str())];
    let stack = guarded(driver, &scratch, &[&PATIENT[..], &more].concat());
    let mut admin = Client::connect(stack.admin_address());
    let mut local = Client::connect_unix(&socket);
    let plain = &format!("{KEY}Content-Type: text/plain\r\n");
    let foreign = &format!("{KEY}Origin: http://evil.example\r\n");
    let mut client = stack.client();
    assert_eq!(client.pay(id(1), "1").status, 200);
    for (headers, body, status) in [
        ("", "{}", 403),
        ("Content-Type: text/plain\r\n", "x", 403),
        (plain, "{}", 415),
        (foreign, "", 403),
    ] {
        assert_eq!(admin.call(PURGE, headers, body).status, status, "{headers}");
    }
    let origin = "Origin: http://evil.example\r\n";
    assert_eq!(local.call(PURGE, origin, "{}").status, 403);
    assert_eq!(client.pay(id(1), "1").status, 409, "nothing is forgotten");
    assert_eq!(admin.call(PURGE, KEY, NOTE).status, 200);
    assert_eq!(local.call(PURGE, "", "").status, 200);
    let path = r#""path":"/purge-payments","operator":"#;
    let log = audited(&scratch, &format!(r#"{path}"","reason":"","status":200"#));
    let named = format!(r#"{path}"ann","reason":"by plan","status":200"#);
    for part in [&named, r#""status":403"#, r#""status":415"#] {
        assert!(log.contains(part), "{part}: {log}");
    }
    let page = local.get("/status.txt").body;
    assert!(page.contains("purged"), "{page}");
    drop((admin, local, client));
    stack.stop();
}

fn both_of_two_secrets_are_good_and_a_unix_socket_needs_none(driver: &str) {
    let scratch = Scratch::new("secrets").unwrap();
    let socket = scratch.text("admin.sock");
    let listen = format!("127.0.0.1:0,unix:{socket}");
    let (secret, audit) = (secret_file(&scratch), scratch.text("audit"));
    let more = [
        ("ADMIN_LISTEN", listen.as_str()),
        ("AUDIT_DIR", &audit),
        ("ADMIN_SECRET_FILE", &secret),
    ];
    std::fs::write(&secret, "new\nhunter2\n").unwrap();
    let stack = Stack::start(driver, &[&SETTINGS[..], &more].concat());
    let mut admin = Client::connect(stack.admin_address());
    for key in ["new", "hunter2"] {
        let header = format!("X-P99-Admin-Secret: {key}\r\n");
        assert_eq!(admin.call(RESUME_A, &header, NOTE).status, 200, "{key}");
    }
    let mut local = Client::connect_unix(&socket);
    let paused = local.call(PAUSE_A, "", NOTE).body;
    assert!(
        paused.contains("without a journal, until a restart"),
        "{paused}"
    );
    // It goes on after a restart, too.
    let resumed = local.call(RESUME_A, "", NOTE);
    assert_eq!(resumed.body, r#"{"message":"default goes on"}"#);
    let log = || std::fs::read_to_string(scratch.file("audit/audit.log")).unwrap();
    wait_until("it is audited without a journal", || {
        log().contains(r#""path":"/admin/processors/default/resume""#)
    });
    let page = local.get("/status.txt").body;
    for line in ["resumed: default", "started"] {
        assert!(page.contains(line), "{line}: {page}");
    }
    let foreign = "Origin: http://evil.example\r\n";
    assert_eq!(local.call(RESUME_A, foreign, NOTE).status, 403);
    drop((admin, local));
    stack.stop();
}
