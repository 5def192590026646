//! Every series of `/metrics` is moved here by what it counts, or is in [`STILL`] with the reason
//! why it cannot be. A metric that exists is not enough: an alert on a counter that nothing writes
//! can never fire.
//!
//! One test plays all scenes, most of them side by side, and collects every page that they see in
//! one [`Book`]. Then the book is compared with a page of a fresh p99: a series that never had two
//! values and is not listed fails the test, and so does a listed one that did, and one that no
//! fresh page has.
//!
//! - `book`, `site`: pages, and p99 between two processors;
//! - `answers`, `processors`, `bounds`, `books`, `settings`, `process`, `stall`: the
//!   scenes.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test that fails shall fail loudly, and deadlines need the real clock"
)]

#[path = "../kit/mod.rs"]
mod kit;

mod answers;
mod book;
mod books;
mod bounds;
#[path = "../server/ends.rs"]
mod ends;
mod process;
mod processors;
mod settings;
mod site;
mod stall;

use std::thread;
use std::time::Instant;

use book::Book;

/// What no test can move, and why. A trailing `*` stands for any end of the name.
const STILL: &[(&str, &str)] = &[
    (
        "p99_payments_held_back*",
        "needs a name that moves; tests/payments reads it while a processor does",
    ),
    ("p99_build_info*", "one build has one version"),
    (
        "p99_store_*",
        "needs a PostgreSQL; tests/store/series.rs moves each, or fails as this test does",
    ),
    (r#"p99_journal_info{sync="store"}"#, "the same"),
    (
        r#"p99_connections_closed_total{reason="shutdown"}"#,
        "counted after the last listener is closed; tests/server reads the page from within",
    ),
];

/// Functions with their names.
macro_rules! scenes {
    ($($scene:path),+ $(,)?) => {
        &[$((stringify!($scene), $scene)),+]
    };
}

#[test]
fn every_series_of_the_page_moves() {
    let book = Book::default();
    play(
        &book,
        scenes![
            // The only p99 in this process now: it stops threads that it knows by their name.
            stall::a_core_that_does_not_run,
            process::a_journal_and_its_end,
            process::a_journal_without_syncs,
            process::a_journal_without_room,
            process::no_descriptor_is_left,
            process::connections_that_end,
            process::a_log_that_is_not_read,
        ],
    );
    play(
        &book,
        scenes![
            answers::what_is_asked_wrongly,
            answers::a_request_that_stalls,
            answers::who_may_not_ask,
            answers::who_asks_too_often,
            answers::payments_and_their_answers,
            answers::windows_that_are_too_fine,
            processors::default_alone,
            processors::fallback_alone,
            processors::hedges,
            processors::processors_that_cannot_be_reached,
            processors::files_that_are_read_again,
            processors::handshakes_that_fail,
            processors::too_many_late_answers,
            bounds::too_many_clients_and_a_full_queue,
            bounds::ids_are_forgotten,
            bounds::ids_are_kept_and_new_ones_refused,
            bounds::peers,
            books::books_that_differ,
            settings::settings_that_are_set_anew,
        ],
    );
    let fresh = site::fresh_page();
    let mut still = STILL.to_vec();
    if !book.has_moved(r#"p99_driver_info{driver="io_uring"}"#) {
        still.push(("p99_driver_info*", "this kernel refuses io_uring"));
    }
    let faults = book.faults(&fresh, &still);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A function with its name.
type Scene = (&'static str, fn(&Book));

/// Plays scenes side by side, and says how long each took.
fn play(book: &Book, scenes: &[Scene]) {
    thread::scope(|scope| {
        for &(name, scene) in scenes {
            scope.spawn(move || {
                let began = Instant::now();
                scene(book);
                eprintln!("{name}: {:.1} s", began.elapsed().as_secs_f32());
            });
        }
    });
}
