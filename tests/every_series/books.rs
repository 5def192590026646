//! RECONCILE_EVERY: books that differ from the journal in each way.

use std::fmt::Write;
use std::time::Duration;

use crate::book::Book;
use crate::kit::client::id;
use crate::kit::scratch::Scratch;
use crate::site::Site;

pub(crate) fn books_that_differ(book: &Book) {
    let scratch = Scratch::new("series-books").unwrap();
    let files = ["journal", "a.csv", "b.csv"].map(|name| scratch.text(name));
    let settings = [
        ("JOURNAL_DIR", files[0].as_str()),
        ("JOURNAL_SYNC", "os"),
        ("ROUTING", "cheapest"),
        ("RECONCILE_EVERY", "1"),
        ("UPSTREAM_A_BOOK", &files[1]),
        ("UPSTREAM_B_BOOK", &files[2]),
        ("RECONCILE_ON_DOUBLE", "tell"),
    ];
    let site = Site::start_with(book, &settings, |config| {
        config.reconcile.as_mut().unwrap().settled = Duration::ZERO;
    });
    for number in 0..5 {
        assert_eq!(site.pay(&id(number).to_string()), 200);
    }
    // The first is charged at two, the second twice, the third at the other one, the fourth is not
    // there, the fifth has another amount, and the last is not here.
    let mut rows = [String::new(), String::new()];
    for (at, number, amount) in [
        (0, 0, "1.00"),
        (1, 0, "1.00"),
        (0, 1, "1.00"),
        (0, 1, "1.00"),
        (1, 2, "1.00"),
        (0, 4, "2.00"),
        (0, 9, "1.00"),
    ] {
        writeln!(rows[at], "{},{amount}", id(number)).unwrap();
    }
    for (file, rows) in files[1..].iter().zip(rows) {
        let fresh = format!("{file}.new");
        std::fs::write(&fresh, format!("correlationId,amount\n{rows}")).unwrap();
        std::fs::rename(fresh, file).unwrap();
    }
    let kinds = [
        "charged_at_two",
        "charged_twice",
        "other_processor",
        "missing_here",
        "missing_there",
        "amount",
    ];
    let names = kinds.map(|kind| format!(r#"p99_reconcile_differences{{kind="{kind}"}}"#));
    site.await_all(&names.each_ref().map(String::as_str));
}
