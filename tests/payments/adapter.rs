//! The adapter that docs/PROCESSOR.md shows, as a processor at a unix socket: it keeps the contract
//! that p99 relies on.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use p99::testing::cores::Exit;

use crate::kit::client::{Client, id, wait_until};
use crate::kit::payers::{pay_all, with_status};
use crate::kit::stack::{start_p99, tcp};
use crate::on_both_drivers_together;

on_both_drivers_together! {
    the_adapter_of_the_docs_charges_each_id_once,
}

/// Ends with the test.
struct Adapter(Child);

impl Adapter {
    fn start(socket: &Path, book: &Path) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/adapter/adapter.py");
        let child = Command::new("python3")
            .arg(script)
            .arg(socket)
            .arg(book)
            .spawn();
        let adapter = Self(child.expect("python3 is needed"));
        wait_until("the adapter listens", || {
            UnixStream::connect(socket).is_ok()
        });
        adapter
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn the_adapter_of_the_docs_charges_each_id_once(driver: &str) {
    let name = format!("p99-adapter-{driver}-{}", std::process::id());
    let folder: PathBuf = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let (socket, book) = (folder.join("psp.sock"), folder.join("book"));
    let adapter = Adapter::start(&socket, &book);
    let url = format!("unix:{}", socket.display());
    let settings = [("ROUTING", "cheapest"), ("HEDGE_DELAY_MS", "60000")];
    let running = start_p99([&url, "http://127.0.0.1:1"], driver, &settings);
    let address = tcp(&running.addresses());
    let told = pay_all(address, 8, 0..48);
    assert_eq!(with_status(&told, 200), 48, "{told:?}");
    let mut client = Client::connect(address);
    assert_eq!(
        client.pay(id(100), "5000").status,
        422,
        "the provider refused it"
    );
    let lookup = |number: usize| {
        let path = format!("/payments/{}", id(number));
        ask(
            &socket,
            &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        )
    };
    assert!(lookup(0).starts_with("HTTP/1.1 200 "), "{}", lookup(0));
    assert!(lookup(100).starts_with("HTTP/1.1 404 "), "{}", lookup(100));
    // What was refused is free again, and may come with another amount.
    assert_eq!(client.pay(id(100), "7").status, 200);
    assert!(lookup(100).contains("\"amount\":7.00,"), "{}", lookup(100));
    // Whatever comes again, after a crash too, is known.
    drop(adapter);
    let adapter = Adapter::start(&socket, &book);
    let body = format!(
        r#"{{"correlationId":"{}","amount":1.00,"requestedAt":"2026-11-25T12:00:00.000Z"}}"#,
        id(0)
    );
    let head = "POST /payments HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ";
    let again = ask(&socket, &format!("{head}{}\r\n\r\n{body}", body.len()));
    assert!(again.starts_with("HTTP/1.1 422 "), "{again}");
    let mut next = 10_000;
    wait_until("p99 finds it again", || {
        next += 1;
        client.pay(id(next), "1").status == 200
    });
    drop((client, adapter));
    assert_eq!(running.stop(), Exit::Clean);
    std::fs::remove_dir_all(folder).unwrap();
}
