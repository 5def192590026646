//! The server as its clients and operators meet it: live, on loopback, on both drivers where they
//! could differ; and the table of HTTP cases, on the reader alone.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "what is not as expected fails the test"
)]

mod access;
mod connections;
mod ends;
mod http_cases;
mod http_table;
mod hygiene;
#[path = "../kit/mod.rs"]
mod kit;
mod live_page;
mod peers;
mod pipelining;
mod strangers;

use kit::client::{Client, Stream, request};

const DRIVERS: [&str; 2] = ["0", "1"];

/// Sends `request` and reads one answer: its status, its head and its body.
fn ask<S: Stream>(client: &mut Client<S>, request: &str) -> (u16, String, String) {
    let answer = client.ask(request);
    (answer.status, answer.head, answer.body)
}

fn get(path: &str) -> String {
    get_with(path, "")
}

fn get_with(path: &str, fields: &str) -> String {
    request(&format!("GET {path}"), fields, "")
}

fn post(path: &str, fields: &str, body: &str) -> String {
    let length = if body.is_empty() {
        "Content-Type: application/json\r\nContent-Length: 0\r\n"
    } else {
        ""
    };
    request(&format!("POST {path}"), &format!("{length}{fields}"), body)
}
