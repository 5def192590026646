//! What operators ask of a running p99 over ADMIN_LISTEN.

use p99::sim::{Act, Fault, Moment};

use crate::kit::client::{Client, id, wait_until};
use crate::kit::stack::Stack;
use crate::on_both_drivers_together;

on_both_drivers_together! {
    a_payment_is_explained_by_its_owner_core,
}

const SETTINGS: [(&str, &str); 6] = [
    ("ADMIN_LISTEN", "127.0.0.1:0"),
    ("ROUTING", "cheapest"),
    ("HEDGE_DELAY_MS", "60000"),
    ("REQUEST_TIMEOUT_MS", "1000"),
    ("CB_FAIL_RATE", "1"),
    ("CB_MIN_SAMPLES", "100000"),
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
    let stack = Stack::start(driver, &SETTINGS);
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
    stack
        .a
        .inject(Fault::new(Moment::Body, Act::Status(503)).next(1))
        .unwrap();
    assert_eq!(client.pay(id(9), "1").status, 202);
    wait_until("it is settled", || {
        Stack::state_of(&mut client, id(9)) == "processed"
    });
    let told = steps(&mut admin, id(9));
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
    assert_eq!(told, expected);
    for (path, status) in [
        ("/admin/payments/never-seen/events", 404),
        ("/admin/payments/%ff/events", 404),
        ("/admin/payments/", 404),
    ] {
        assert_eq!(admin.get(path).status, status, "{path}");
    }
    let path = format!("/admin/payments/{}/events", id(9));
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
