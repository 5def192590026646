//! Every series about the store is moved here by what it counts, as `tests/every_series` does it
//! with all others: an alert on one that is never written could not fire.

use p99::testing::sim::{Act, Fault, Moment, SimulatorHandle};

use super::book::Book;
use super::kit::client::{Client, id, payment, wait_until};
use super::kit::postgres::is_there;
use super::kit::process::P99;
use super::kit::stack::metric;
use super::kit::start;
use super::serving::Scene;

/// Whether a line of the page is about the store.
fn is_about_the_store(line: &&str) -> bool {
    line.starts_with("p99_store_") || line.starts_with(r#"p99_journal_info{sync="store"}"#)
}

/// What a page says about the store.
fn page(p99: &P99) -> String {
    let page = p99.get("/metrics").unwrap().body;
    let lines: Vec<&str> = page.lines().filter(is_about_the_store).collect();
    lines.join("\n")
}

/// Looks, for the book too, until this series is as it must be.
fn await_one(book: &Book, p99: &P99, series: &str, is_so: impl Fn(f64) -> bool) {
    wait_until(series, || {
        let page = page(p99);
        book.read(&page);
        is_so(metric(&page, series))
    });
}

#[test]
fn every_series_about_the_store_moves() {
    if !is_there("every_series_about_the_store_moves") {
        return;
    }
    let book = Book::default();
    let without = start::start(["http://127.0.0.1:1", "http://127.0.0.1:2"], "0", &[]);
    let fresh = page(&without);
    book.read(&fresh);
    let scene = Scene::new("series", &[]);
    let first = scene.start(0);
    assert_eq!(
        Client::connect(first.address).pay(id(1), "5.00").status,
        200
    );
    await_one(&book, &first, "p99_store_ids_total", |ids| ids > 0.0);
    records_wait_and_a_batch_is_in_doubt(&scene, &first, &book);
    let second = scene.start(1);
    // Its answer never comes: the Intent stays open.
    for sim in &scene.sims {
        sim.inject(Fault::new(Moment::Answer, Act::Stall)).unwrap();
    }
    let mut client = Client::connect(first.address);
    client.send("POST /payments", "", &payment(id(3), "5.00"));
    await_one(&book, &first, "p99_store_open_payments", |open| open > 0.0);
    first.kill().unwrap();
    scene.sims.iter().for_each(SimulatorHandle::clear_faults);
    await_one(
        &book,
        &second,
        "p99_store_adopted_writers_total",
        |adopted| adopted > 0.0,
    );
    await_one(&book, &second, "p99_store_open_payments", |open| {
        open == 0.0
    });
    assert_eq!(second.stop(), Some(0));
    let faults = book.faults(&fresh, &[]);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The test holds the rows of all writers, so that no batch gets on, and ends the connection of
/// one that waits.
fn records_wait_and_a_batch_is_in_doubt(scene: &Scene, p99: &P99, book: &Book) {
    const END: &str = "pg_terminate_backend(pid)";
    let doubtful = "p99_store_doubtful_batches_total";
    let before = metric(&page(p99), doubtful);
    let held = "BEGIN; SELECT 1 FROM p99.writer WHERE writer > 0 FOR UPDATE; SELECT pg_sleep(60)";
    let mut holder = scene.cluster.begin_sql("p99", held);
    let mut client = Client::connect(p99.address);
    let count = |what: &str, of: &str| {
        let text = format!("SELECT count({what}) FROM pg_stat_activity WHERE {of}");
        scene.cluster.sql("p99", &text).trim() != "0"
    };
    let holding = "wait_event = 'PgSleep'";
    wait_until("the rows are held", || count("*", holding));
    client.send("POST /payments", "", &payment(id(2), "5.00"));
    await_one(book, p99, "p99_store_lag_records", |lag| lag > 0.0);
    await_one(book, p99, doubtful, |batches| {
        let is_in_doubt = batches > before;
        // Between two waits of a batch there is nothing to end.
        if !is_in_doubt {
            count(END, "usename = 'p99' AND wait_event_type = 'Lock'");
        }
        is_in_doubt
    });
    assert!(count(END, holding));
    holder.wait().unwrap();
    let answer = client.read().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    await_one(book, p99, "p99_store_lag_records", |lag| lag == 0.0);
    assert_eq!(scene.charges(id(2)), 1);
}
