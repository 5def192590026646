//! What a dead instance left open at a processor that refuses it ever since: sums wait for its word
//! about the id, and not until it is settled.

use p99::testing::sim::{Act, Fault, Moment, SimulatorHandle};

use super::kit::client::{Client, id, wait_until};
use super::kit::postgres::is_there;
use super::serving::{Scene, state};

#[test]
fn sums_are_there_again_once_the_processor_of_what_was_left_open_has_spoken() {
    if !is_there("sums_are_there_again_once_the_processor") {
        return;
    }
    let settings = [
        ("REQUEST_TIMEOUT_MS", "3000"),
        ("ROUTING", "cheapest"),
        ("CB_FAIL_RATE", "1"),
        ("CB_MIN_SAMPLES", "100000"),
    ];
    let scene = Scene::new("heard", &settings);
    let [first, second] = [scene.start(0), scene.start(1)];
    // Its lookups show charged ids.
    for number in 0..4 {
        let told = Client::connect(second.address).pay(id(number), "1.00");
        assert_eq!(told.status, 200, "{}", told.body);
    }
    let all = |fault| {
        scene.sims.iter().for_each(SimulatorHandle::clear_faults);
        for sim in &scene.sims {
            sim.inject(fault).unwrap();
        }
    };
    all(Fault::new(Moment::Body, Act::Stall));
    let told = Client::connect(first.address).pay(id(9), "5.00");
    assert_eq!(told.status, 202, "{}", told.body);
    first.kill().unwrap();
    let sum = || {
        let answer = Client::connect(second.address).get("/payments-summary");
        (answer.status, answer.body)
    };
    wait_until("its lease is over", || {
        let adopted = "SELECT count(*) FROM p99.writer WHERE epoch > 1";
        scene.cluster.sql("p99", adopted).trim() == "1"
    });
    assert_eq!(sum().0, 503, "its client may have been told 200");
    all(Fault::new(Moment::Body, Act::Status(500)));
    wait_until("its processor has spoken", || sum().0 == 200);
    assert_eq!(state(&second, id(9)), (200, "pending".to_owned()));
    assert_eq!(scene.sum(&second), (4, 400));
    scene.sims.iter().for_each(SimulatorHandle::clear_faults);
    wait_until("it is settled", || state(&second, id(9)).1 == "processed");
    assert_eq!(scene.charges(id(9)), 1);
    assert_eq!(scene.sum(&second), (5, 900));
    assert_eq!(second.stop(), Some(0));
}
