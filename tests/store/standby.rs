//! The standby is away, so every commit waits for it: nothing new is taken in, no process of the
//! server is left behind with a writer's row, and all goes on when it is back.

use super::kit::client::{Client, id, wait_until};
use super::kit::payers;
use super::kit::postgres::is_there;
use super::kit::stack::Told;
use super::serving::{Scene, state};

#[test]
fn while_no_standby_acknowledges_payments_are_503_and_nothing_is_left_behind() {
    if !is_there("while_no_standby_acknowledges_payments_are_503") {
        return;
    }
    let scene = Scene::new("standby", &[("REQUEST_TIMEOUT_MS", "5000")]);
    let p99 = scene.start(0);
    // What is in doubt is told to no client.
    let pay = |number| payers::pay(p99.address, &mut None, number);
    assert_eq!(pay(0), Told::Status(200));
    let sql = |text: &str| scene.cluster.sql("postgres", text).trim().to_owned();
    sql("ALTER SYSTEM SET synchronous_standby_names = 'away'");
    sql("SELECT pg_reload_conf()");
    let waits = "SELECT coalesce(min(pid), 0) FROM pg_stat_activity \
                 WHERE usename = 'p99' AND wait_event = 'SyncRep'";
    wait_until("a commit waits", || sql(waits) != "0");
    let first = sql(waits);
    let left = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {first}");
    wait_until("it is ended once its writer has left it", || {
        sql(&left) == "0"
    });
    // A number for each: what is in doubt keeps its id.
    let mut number = 0;
    let mut pay_next = || {
        number += 1;
        pay(number)
    };
    wait_until("nothing new is taken in", || {
        pay_next() == Told::Status(503)
    });
    sql("ALTER SYSTEM RESET synchronous_standby_names");
    sql("SELECT pg_reload_conf()");
    wait_until("payments are taken in again", || {
        pay_next() == Told::Status(200)
    });
    for number in 0..=number {
        wait_until("all is settled or was never taken", || {
            state(&p99, id(number)).1 != "pending"
        });
    }
    wait_until("sums are there again", || {
        Client::connect(p99.address).get("/payments-summary").status == 200
    });
    scene.sum(&p99);
    assert_eq!(p99.stop(), Some(0));
}
