//! What is logged when there is much to log.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use p99::sim::{Simulator, SimulatorOptions};

use crate::instance::{Instance, command, free_port, wait_until};
use crate::on_both_drivers;

on_both_drivers! {
    a_misconfiguration_does_not_fill_the_disk,
    every_payment_that_is_given_up_is_told,
    a_stop_ends_although_nobody_reads_the_log,
}

/// Sends so many payments over one connection; returns the statuses.
fn pay(port: u16, ids: std::ops::Range<u32>) -> Vec<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut statuses = Vec::new();
    for id in ids {
        let body = format!(r#"{{"correlationId":"held-{id}","amount":1}}"#);
        let mut head = String::from("POST /payments HTTP/1.1\r\nHost: p99\r\nContent-Type: ");
        write!(
            head,
            "application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        statuses.push(status(&mut stream));
    }
    statuses
}

/// Reads one answer with a Content-Length.
fn status(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "cut off");
        read.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let lower = head.to_ascii_lowercase();
        let length = lower
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        if body.len() >= length {
            return head[9..12].to_owned();
        }
    }
}

fn a_misconfiguration_does_not_fill_the_disk(driver: &str) {
    let sims = [(), ()].map(|()| Simulator::start(SimulatorOptions::default()).unwrap());
    let urls = sims.each_ref().map(p99::sim::SimulatorHandle::url);
    let port = free_port();
    let mut instance = Instance::start(
        driver,
        &[
            ("PORT", &port.to_string()),
            ("UPSTREAM_A_URL", &urls[0]),
            ("UPSTREAM_B_URL", &urls[1]),
            ("UPSTREAM_PAY_PATH", "/nothing-there"),
            ("REQUEST_TIMEOUT_MS", "5000"),
            // The breakers would hide what is to be seen.
            ("CB_MIN_SAMPLES", "100000"),
        ],
    );
    instance.wait_ready();
    let statuses = pay(port, 0..200);
    assert!(
        statuses.iter().all(|status| status == "502"),
        "{statuses:?}"
    );
    instance.signal(libc::SIGTERM);
    assert_eq!(instance.wait(), 0);
    wait_until("what was left out is told", || {
        instance.log().contains("lines left out count=")
    });
    let log = instance.log();
    let told = log.lines().filter(|line| line.contains("ERROR")).count();
    assert!((1..=20).contains(&told), "{told} lines of 400");
    let (_, rest) = log.split_once("lines left out count=").unwrap();
    let left_out: usize = rest.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(
        told + left_out,
        400,
        "each of 200 payments was refused by both"
    );
}

/// An instance with more pending payments than lines wait for the log, and no one to settle them.
fn with_pending(driver: &str, stderr: Stdio, count: u32) -> (Instance, [TcpListener; 2]) {
    let silent = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let urls = silent
        .each_ref()
        .map(|socket| format!("http://{}", socket.local_addr().unwrap()));
    let port = free_port();
    let mut command = command(
        driver,
        &[
            ("PORT", &port.to_string()),
            ("UPSTREAM_A_URL", &urls[0]),
            ("UPSTREAM_B_URL", &urls[1]),
            ("ACK", "accepted"),
            ("SHUTDOWN_GRACE_SECS", "0"),
        ],
    );
    command.stderr(stderr);
    let instance = Instance::spawn(command);
    wait_until("it listens", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let statuses = pay(port, 0..count);
    assert!(
        statuses.iter().all(|status| status == "202"),
        "{statuses:?}"
    );
    (instance, silent)
}

fn every_payment_that_is_given_up_is_told(driver: &str) {
    let (mut instance, _silent) = with_pending(driver, Stdio::piped(), 3_000);
    instance.signal(libc::SIGTERM);
    assert_eq!(instance.wait(), 3);
    let told = |log: &str| log.matches(" is pending at exit ").count();
    wait_until("all are told", || told(&instance.log()) == 3_000);
    assert!(!instance.log().contains("dropped"), "{}", instance.log());
}

fn a_stop_ends_although_nobody_reads_the_log(driver: &str) {
    // No one reads this pipe, and it stays open.
    let (_unread, stderr) = std::io::pipe().unwrap();
    let (mut instance, _silent) = with_pending(driver, stderr.into(), 3_000);
    instance.signal(libc::SIGTERM);
    assert_eq!(instance.wait(), 3);
}
