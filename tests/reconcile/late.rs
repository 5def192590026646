//! A journal that has forgotten most ids of a window and knows a very old one, because that one
//! settled late: the newest part of the window is compared all the same.

use p99::testing::clock::{Clock, UnixMillis};
use p99::testing::payment::Processor;

use crate::again::Comparing;
use crate::book::{self, Story, at, charge, write_journal};
use crate::kit::children::Processors;
use crate::kit::client::wait_until;
use crate::kit::scratch::Scratch;
use crate::reconcile;

/// Charges `first + k * step` for each k from 1 to 199, then the one of 0; the journal keeps 50 ids
/// of them, also that of 0. The book has all but those in `missing`.
fn write(scratch: &Scratch, (first, step): (u64, u64), missing: &[u64]) -> (String, String) {
    let dir = scratch.file("journal");
    let number = |k: u64| first + k * step;
    let mut story = Story::default();
    for k in (1..200).chain([0]) {
        story.extend(charge(number(k), Processor::DEFAULT));
    }
    write_journal(&dir, 50, story.records());
    write_journal(&dir, 50, Vec::new());
    let there = (0..200).filter(|k| !missing.contains(k));
    let rows: String = there.map(|k| book::row(number(k), number(k))).collect();
    std::fs::write(scratch.file("a.csv"), format!("{}{rows}", book::HEAD)).unwrap();
    (scratch.text("journal"), scratch.text("a.csv"))
}

#[test]
fn the_hint_where_ids_are_forgotten_is_one_that_works() {
    let scratch = Scratch::new("late").unwrap();
    let (journal, list) = write(&scratch, (0, 1_000), &[]);
    let (list, to) = (format!("default={list}"), book::date(at(200_000)));
    let all = ["--journal", &journal, "--processor", &list, "--to", &to];
    let (status, _, err) = reconcile(&all);
    assert_eq!(status, 2, "{err}");
    let hint = err.split("--from ").nth(1).unwrap();
    let hint = hint.get(.."2025-07-10T12:34:56.789Z".len()).unwrap();
    let (status, out, err) = reconcile(&[&all[..], &["--from", hint]].concat());
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("matched default: payments 25"), "{out}");
}

#[test]
fn a_running_one_compares_what_it_knows() {
    let processors = Processors::start();
    let scratch = Scratch::new("late").unwrap();
    let UnixMillis(now) = Clock::new(Clock::process_start()).now().wall;
    let first = u64::try_from(now - at(0).0).unwrap() - 2_000_000;
    let (_journal, list) = write(&scratch, (first, 10_000), &[198]);
    let p99 = Comparing::start(&processors, &scratch, &[("UPSTREAM_A_BOOK", &list)]);
    wait_until("one is missing there", || {
        p99.differences("missing_there") > 0.0
    });
    p99.stop();
}
