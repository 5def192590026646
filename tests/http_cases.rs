//! Every raw HTTP/1.1 case of `tests/data/http_cases.jsonl` against a live server, on both drivers.
//! The table's own runner needs Python 3; where there is none, what this file reads of the table by
//! itself still runs.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that fails shall fail the test"
)]

use std::net::SocketAddr;
use std::process::Command;

use p99::config::{Config, ListenAddress};
use p99::cores::{Exit, Running};
use p99::pay::Setup;
use p99::sim::{Simulator, SimulatorHandle, SimulatorOptions};

/// Both processors and p99 before them.
struct Stack {
    running: Running,
    _processors: [SimulatorHandle; 2],
}

fn start(more: &[(&str, &str)]) -> Stack {
    let processors = [(), ()].map(|()| Simulator::start(SimulatorOptions::default()).unwrap());
    let urls = processors.each_ref().map(SimulatorHandle::url);
    let lookup = |name: &str| {
        let given = more
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value);
        let usual = match name {
            "LISTEN" => Some("127.0.0.1:0"),
            "CORES" => Some("2"),
            "UPSTREAM_A_URL" => Some(urls[0].as_str()),
            "UPSTREAM_B_URL" => Some(urls[1].as_str()),
            // The cases are about HTTP; a busy machine must not turn a 200 into a 202.
            "REQUEST_TIMEOUT_MS" => Some("5000"),
            "DRAIN_DELAY_MS" | "SHUTDOWN_GRACE_SECS" => Some("0"),
            _ => None,
        };
        given.or(usual).map(str::to_owned)
    };
    let config = Config::from_lookup(lookup).unwrap();
    let running = Running::start(&Setup::new(config)).unwrap();
    Stack {
        running,
        _processors: processors,
    }
}

fn address(running: &Running) -> SocketAddr {
    match running.addresses().first() {
        Some(ListenAddress::Tcp(address)) => *address,
        other => panic!("{other:?}"),
    }
}

fn run_cases(driver: &str) {
    let stack = start(&[("MONOIO_FORCE_LEGACY_DRIVER", driver)]);
    let address = address(&stack.running);
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new("python3")
        .arg(format!("{root}/tests/http_cases.py"))
        .args([address.ip().to_string(), address.port().to_string()])
        .args([
            "--cases",
            &format!("{root}/tests/data/http_cases.jsonl"),
            "--quiet",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(stack.running.stop(), Exit::Clean);
}

#[test]
fn every_case_passes_on_the_best_driver() {
    run_cases("0");
}

#[test]
fn every_case_passes_on_epoll() {
    run_cases("1");
}
