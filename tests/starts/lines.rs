//! What is logged when there is much to log.

use std::io::PipeWriter;
use std::net::{TcpListener, TcpStream};

use p99::testing::sim::SimulatorHandle;

use crate::kit::client::{Client, wait_until};
use crate::kit::process::P99;
use crate::kit::scratch::Scratch;
use crate::kit::stack::processors;
use crate::kit::start::{command, free_port};
use crate::on_both_drivers;

on_both_drivers! {
    a_misconfiguration_does_not_fill_the_disk,
    every_payment_that_is_given_up_is_told,
    the_last_line_says_what_is_pending_and_the_exit_status,
    a_stop_ends_although_nobody_reads_the_log,
    a_payment_that_was_not_plain_has_a_line_with_its_names,
}

/// Before an A where no one listens; the log once it has stopped.
fn log_of_failovers(driver: &str, format: &str, count: u32) -> String {
    let sims = processors();
    let b = sims[1].url();
    let port = free_port();
    let settings = [
        ("PORT", &*port.to_string()),
        ("UPSTREAM_B_URL", &b),
        ("REQUEST_TIMEOUT_MS", "20000"),
        // One that a slow connect sent to B would be no failover.
        ("HEDGE_DELAY_MS", "60000"),
        ("CB_MIN_SAMPLES", "100000"),
        ("LOG_FORMAT", format),
        ("ROUTING", "cheapest"),
        ("RUST_LOG", "info,p99::access=off"),
    ];
    let mut instance = P99::of(command(driver, &settings));
    instance.wait_for_line("listening on ");
    let mut client = Client::connect(([127, 0, 0, 1], port).into());
    let headers = "X-Request-Id: r-7\r\n\
                   traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    for number in 0..count {
        let body = format!(r#"{{"correlationId":"order-{number}","amount":1}}"#);
        let answer = client.call("POST /payments", headers, &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    instance.signal(libc::SIGTERM);
    assert_eq!(instance.wait_code(), 0);
    instance.log()
}

fn a_payment_that_was_not_plain_has_a_line_with_its_names(driver: &str) {
    let log = log_of_failovers(driver, "text", 30);
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(" p99::payment "))
        .collect();
    // The rest is counted with its reason.
    assert_eq!(lines.len(), 20, "{log}");
    let left_out = " lines left out count=10 place=failover:0";
    assert!(log.contains(left_out), "{log}");
    let last = log.lines().last().unwrap();
    assert!(last.contains(" stopped: exit status 0, "), "{log}");
    for part in [
        " INFO  p99::payment payment was charged after trouble correlationId=order-0 id=",
        " status=processed reason=failover attempts=1 took_us=",
        " answer=charged processor=fallback last=no_connection request_id=r-7 \
         traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ] {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
    let log = log_of_failovers(driver, "json", 21);
    let objects: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    let of = |target: &str| {
        let of = objects.iter().filter(|one| one["target"] == target);
        of.collect::<Vec<_>>()
    };
    let payment = of("p99::payment")[0];
    assert_eq!(payment["correlationId"], "order-0");
    assert_eq!(payment["reason"], "failover");
    assert_eq!(payment["attempts"], 1);
    assert_eq!(payment["request_id"], "r-7");
    assert_eq!(of("p99::logging")[0]["count"], 1, "{log}");
}

/// Sends so many payments over one connection; returns the statuses.
fn pay(port: u16, ids: std::ops::Range<u32>) -> Vec<u16> {
    let mut client = Client::connect(([127, 0, 0, 1], port).into());
    let pay = |id| client.pay(format!("held-{id}"), "1").status;
    ids.map(pay).collect()
}

fn a_misconfiguration_does_not_fill_the_disk(driver: &str) {
    let sims = processors();
    let urls = sims.each_ref().map(SimulatorHandle::url);
    let port = free_port();
    let mut instance = P99::of(command(
        driver,
        &[
            ("PORT", &port.to_string()),
            ("UPSTREAM_A_URL", &urls[0]),
            ("UPSTREAM_B_URL", &urls[1]),
            ("UPSTREAM_PAY_PATH", "/nothing-there"),
            ("REQUEST_TIMEOUT_MS", "5000"),
            // A second attempt of a slow machine would be refused too.
            ("HEDGE_DELAY_MS", "60000"),
            // The breakers would hide what is to be seen.
            ("CB_MIN_SAMPLES", "100000"),
        ],
    ));
    instance.wait_ready();
    let statuses = pay(port, 0..200);
    assert!(statuses.iter().all(|status| *status == 502), "{statuses:?}");
    instance.signal(libc::SIGTERM);
    assert_eq!(instance.wait_code(), 0);
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
fn with_pending(driver: &str, stderr: Option<PipeWriter>, count: u32) -> (P99, [TcpListener; 2]) {
    with_pending_in("off", driver, stderr, count)
}

/// The same with this JOURNAL_DIR.
fn with_pending_in(
    journal: &str,
    driver: &str,
    stderr: Option<PipeWriter>,
    count: u32,
) -> (P99, [TcpListener; 2]) {
    let silent = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let urls = silent
        .each_ref()
        .map(|socket| format!("http://{}", socket.local_addr().unwrap()));
    let port = free_port();
    let command = command(
        driver,
        &[
            ("PORT", &port.to_string()),
            ("UPSTREAM_A_URL", &urls[0]),
            ("UPSTREAM_B_URL", &urls[1]),
            ("ACK", "accepted"),
            // It is told 202 as soon as the disk has it: one that is slow must not make it 503.
            ("REQUEST_TIMEOUT_MS", "20000"),
            ("JOURNAL_DIR", journal),
            ("SHUTDOWN_GRACE_SECS", "0"),
        ],
    );
    let instance = P99::heard_by(command, stderr);
    wait_until("it listens", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let statuses = pay(port, 0..count);
    assert!(statuses.iter().all(|status| *status == 202), "{statuses:?}");
    (instance, silent)
}

fn every_payment_that_is_given_up_is_told(driver: &str) {
    let (mut instance, _silent) = with_pending(driver, None, 3_000);
    instance.signal(libc::SIGTERM);
    assert_eq!(instance.wait_code(), 3);
    let told = |log: &str| log.matches(" is pending at exit ").count();
    wait_until("all are told", || told(&instance.log()) == 3_000);
    assert!(!instance.log().contains("dropped"), "{}", instance.log());
}

fn the_last_line_says_what_is_pending_and_the_exit_status(driver: &str) {
    let scratch = Scratch::new("last-line").unwrap();
    let journal = scratch.text("journal");
    for (journal, count, status, line) in [
        (
            "off",
            7,
            3,
            "status 3, 7 payments are pending, which nothing remembers",
        ),
        (
            &journal,
            7,
            0,
            "status 0, 7 payments are pending, kept in the journal",
        ),
        ("off", 0, 0, "status 0, 0 payments are pending"),
    ] {
        let (mut instance, _silent) = with_pending_in(journal, driver, None, count);
        instance.signal(libc::SIGTERM);
        assert_eq!(instance.wait_code(), status, "{}", instance.log());
        wait_until("the end is told", || instance.log().contains("stopped: "));
        let log = instance.log();
        let last = log.lines().last().unwrap();
        assert!(last.ends_with(&format!("stopped: exit {line}")), "{last}");
    }
}

fn a_stop_ends_although_nobody_reads_the_log(driver: &str) {
    // No one reads this pipe, and it stays open.
    let (_unread, stderr) = std::io::pipe().unwrap();
    let (mut instance, _silent) = with_pending(driver, Some(stderr), 3_000);
    instance.signal(libc::SIGTERM);
    assert_eq!(instance.wait_code(), 3);
}
