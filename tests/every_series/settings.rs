//! What an operator sets anew while p99 runs.

use crate::book::Book;
use crate::kit::client::Client;
use crate::kit::scratch::Scratch;
use crate::site::Site;

pub(crate) fn settings_that_are_set_anew(book: &Book) {
    let scratch = Scratch::new("series-set").unwrap();
    let socket = scratch.text("admin.sock");
    let listen = format!("127.0.0.1:0,unix:{socket}");
    let site = Site::start(book, &[("ADMIN_LISTEN", &listen)]);
    let mut admin = Client::connect_unix(&socket);
    for (name, value) in [
        ("CB_FAIL_RATE", "0.9"),
        ("CB_MIN_SAMPLES", "21"),
        ("CB_OPEN_SECS", "6"),
        ("HEDGE_DELAY_MS", "50"),
        ("CONCURRENCY_LIMIT", "1000"),
        ("UPSTREAM_CONCURRENCY", "100"),
        ("RATE_LIMIT_RPS", "10"),
        ("RATE_LIMIT_BURST", "20"),
    ] {
        let body =
            format!(r#"{{"operator":"a","reason":"b","setting":"{name}","value":"{value}"}}"#);
        let answer = admin.call("POST /admin/settings", "", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    site.look();
}
