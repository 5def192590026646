//! Scenes of the real binary: what limits, disks and pipes do to a process.

use std::net::SocketAddr;

use crate::book::Book;
use crate::ends;
use crate::kit::client::{Client, payment, wait_until};
use crate::kit::places;
use crate::kit::process::P99;
use crate::kit::scratch::Scratch;
use crate::kit::stack::{BEST, metric as value, processors};
use crate::kit::start;
use crate::site::{NO_PLACE, NOWHERE, ask, scrape};

/// Reads its page, for the book too.
fn look(book: &Book, address: SocketAddr) -> String {
    let page = scrape(address, "");
    book.read(&page);
    page
}

/// Sets a limit of a running process.
fn limit(process: &P99, resource: libc::__rlimit_resource_t, soft: u64) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let null = std::ptr::null();
    // SAFETY: what is read and what is written outlives each call.
    let done = unsafe {
        libc::prlimit(process.pid(), resource, null, &raw mut limit);
        limit.rlim_cur = soft;
        libc::prlimit(process.pid(), resource, &raw const limit, null.cast_mut())
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Syncs, then a file that may not grow: the disk says no.
pub(crate) fn a_journal_and_its_end(book: &Book) {
    let [a, b] = processors();
    let scratch = Scratch::new("series").unwrap();
    let dir = scratch.text("journal");
    // What p99 inherits; else the kernel would end it where the write would fail.
    // SAFETY: no handler is set.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let settings = [
        ("JOURNAL_DIR", dir.as_str()),
        ("JOURNAL_SYNC", "always"),
        ("DRAIN_DELAY_MS", "2000"),
    ];
    let mut p99 = start::start([&a.url(), &b.url()], BEST, &settings);
    look(book, p99.address);
    let pay = |number: usize| {
        let mut client = Client::connect(p99.address);
        client.send(
            "POST /payments",
            "",
            &payment(format!("j-{number}"), "1.00"),
        );
        client
    };
    let mut number = 0;
    wait_until("a record that is not durable yet", || {
        let mut clients: Vec<_> = (number..number + 16).map(pay).collect();
        number += 16;
        let page = look(book, p99.address);
        assert!(
            clients
                .iter_mut()
                .all(|client| client.read().unwrap().status == 200)
        );
        value(&page, "p99_journal_lag_records") > 0.0
    });
    let page = look(book, p99.address);
    for name in [
        "p99_journal_records_total",
        "p99_journal_bytes_total",
        "p99_journal_sync_duration_seconds_count",
        r#"p99_journal_info{sync="always"}"#,
    ] {
        assert!(value(&page, name) > 0.0, "{name}");
    }
    limit(&p99, libc::RLIMIT_FSIZE, 0);
    // The first one is in the batch that is lost; those after it are turned away.
    let shed = r#"p99_shed_total{reason="journal_down"}"#;
    wait_until(shed, || {
        number += 1;
        let _ = pay(number).read();
        value(&look(book, p99.address), shed) > 0.0
    });
    let page = look(book, p99.address);
    let unanswered = r#"p99_requests_unanswered_total{reason="journal_failed"}"#;
    for name in ["p99_journal_failures_total", unanswered] {
        assert!(value(&page, name) > 0.0, "{name}");
    }
    assert_eq!(value(&page, "p99_ready"), 0.0);
    assert_eq!(ask(p99.address, "GET /readyz", "", ""), 503);
    look(book, p99.address);
    assert_eq!(p99.wait().code(), Some(1));
}

pub(crate) fn a_journal_without_syncs(book: &Book) {
    let scratch = Scratch::new("series").unwrap();
    let dir = scratch.text("journal");
    let settings = [("JOURNAL_DIR", dir.as_str()), ("JOURNAL_SYNC", "os")];
    let p99 = start::start([NOWHERE, NO_PLACE], BEST, &settings);
    look(book, p99.address);
}

/// Every descriptor is in use when a client comes.
pub(crate) fn no_descriptor_is_left(book: &Book) {
    let p99 = start::start_with_descriptors(512, [NOWHERE, NO_PLACE], BEST, &[]);
    look(book, p99.address);
    // One connection is there already, the next one is not.
    let mut scraper = Client::connect(p99.address);
    let _ = scraper.get("/healthz");
    let in_use = p99.descriptors();
    limit(&p99, libc::RLIMIT_NOFILE, u64::try_from(in_use).unwrap());
    let mut kept = Vec::new();
    let turned_away = r#"p99_connections_closed_total{reason="descriptors"}"#;
    wait_until("accepts fail, and clients are turned away", || {
        kept.push(Client::connect(p99.address));
        let page = scraper.get("/metrics").body;
        book.read(&page);
        value(&page, "p99_accept_failures_total") > 0.0 && value(&page, turned_away) > 0.0
    });
}

/// Files of this size at most: the first segments fit, the next ones do not.
pub(crate) fn a_journal_without_room(book: &Book) {
    const BYTES: u64 = 2 << 20;
    let scratch = Scratch::new("series").unwrap();
    let dir = scratch.text("journal");
    let settings = [("JOURNAL_DIR", dir.as_str()), ("CORES", "1")];
    let mut command = start::serving([NOWHERE, NO_PLACE], BEST, &settings);
    start::limit(&mut command, libc::RLIMIT_FSIZE, BYTES);
    let p99 = start::serve(command);
    let missing = "p99_journal_next_segment_missing";
    wait_until(missing, || value(&look(book, p99.address), missing) > 0.0);
}

/// Its log goes into a pipe that no one empties.
pub(crate) fn a_log_that_is_not_read(book: &Book) {
    let settings = [("RUST_LOG", "debug"), ("CORES", "1")];
    let p99 = P99::unheard(start::serving([NOWHERE, NO_PLACE], BEST, &settings));
    wait_until("p99_log_lines_dropped_total", || {
        for _ in 0..200 {
            let mut client = Client::connect(p99.address);
            client.write("GET / HTTP/1.1\r\n\r\n");
            assert_eq!(client.read().unwrap().status, 400);
        }
        value(&look(book, p99.address), "p99_log_lines_dropped_total") > 0.0
    });
}

/// The ways in which connections end; tests/server looks at each more closely.
pub(crate) fn connections_that_end(book: &Book) {
    let site = places::site(ends::DESCRIPTORS, BEST, &ends::SETTINGS);
    ends::see_each(&site, |page| book.read(page));
}
