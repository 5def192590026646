//! The server as its clients and operators meet it: credentials, doors, slow clients, sockets of
//! both kinds, stopping. Live, on loopback, on both drivers where they could differ.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "stack/mod.rs"]
mod stack;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use p99::cores::{Exit, end_process_on_panic};
use p99::reactor::Reactor;
use p99::server::lifecycle::Phase;
use stack::{Stack, ask, connect, get, post, statuses};

const DRIVERS: [&str; 2] = ["0", "1"];
const BODY: &str = r#"{"correlationId":"test-1","amount":20}"#;

#[test]
fn the_administrators_door_takes_his_calls_off_the_public_one() {
    let stack = Stack::start(&[("ADMIN_LISTEN", "127.0.0.2:0"), ("ALLOW_PURGE", "true")]);
    let (mut public, mut admin) = (connect(stack.address()), connect(stack.admin_address()));
    let rows = [
        (get("/metrics"), 404, 200),
        (post("/purge-payments", "", ""), 404, 200),
        (get("/payments-summary?scope=local"), 403, 200),
        (get("/payments-summary"), 200, 200),
        (post("/payments", "", BODY), 200, 404),
        (get("/healthz"), 200, 200),
        (get("/readyz"), 200, 200),
    ];
    for (request, at_public, at_admin) in rows {
        assert_eq!(ask(&mut public, &request).0, at_public, "{request}");
        assert_eq!(ask(&mut admin, &request).0, at_admin, "{request}");
    }
    assert_eq!(stack.stop(), Exit::Clean);
}

#[test]
fn purging_is_forbidden_unless_it_is_allowed() {
    let stack = Stack::start(&[]);
    assert_eq!(
        ask(
            &mut connect(stack.address()),
            &post("/purge-payments", "", "")
        )
        .0,
        403
    );
    assert_eq!(stack.stop(), Exit::Clean);
}

#[test]
fn a_client_that_stalls_is_told_so_and_let_go() {
    for driver in DRIVERS {
        let settings = [
            ("HEADER_TIMEOUT_MS", "300"),
            ("MONOIO_FORCE_LEGACY_DRIVER", driver),
        ];
        let stack = Stack::start(&settings);
        let begun = "POST /payments HTTP/1.1\r\nHost: x\r\n";
        let rows = [
            (String::new(), vec![]),
            ("GET /healthz HT".to_owned(), vec![408]),
            (begun.to_owned(), vec![408]),
            (format!("{begun}Content-Length: 50\r\n\r\n{{"), vec![408]),
            (
                format!("{begun}Transfer-Encoding: chunked\r\n\r\n5\r\n{{"),
                vec![408],
            ),
            (format!("{}GET /", get("/healthz")), vec![200, 408]),
        ];
        for (octets, expected) in rows {
            let mut client = connect(stack.address());
            client.write_all(octets.as_bytes()).unwrap();
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            assert_eq!(statuses(&text), expected, "{octets:?} on driver {driver}");
        }
        assert_eq!(stack.stop(), Exit::Clean);
    }
}

#[test]
fn a_body_is_asked_for_only_when_its_head_was_judged() {
    let stack = Stack::start(&[]);
    let expect = "Expect: 100-continue\r\n";
    let head = format!(
        "POST /payments HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{expect}\r\n",
        BODY.len()
    );
    let mut client = connect(stack.address());
    assert_eq!(ask(&mut client, &head).0, 100);
    assert_eq!(ask(&mut client, BODY).0, 200);
    assert_eq!(ask(&mut client, &get("/healthz")).0, 200);
    for (path, status) in [("/nothing", 404), ("/healthz", 405)] {
        let mut client = connect(stack.address());
        let (given, answer, _) = ask(&mut client, &head.replace("/payments", path));
        assert_eq!(given, status);
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
    assert_eq!(stack.stop(), Exit::Clean);
}

#[test]
fn unix_sockets_serve_on_every_core_and_leave_no_file() {
    for driver in DRIVERS {
        let name = format!("p99-server-{}-{driver}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let listen = format!("unix:{}", path.display());
        let settings = [
            ("LISTEN", listen.as_str()),
            ("MONOIO_FORCE_LEGACY_DRIVER", driver),
        ];
        let stack = Stack::start(&settings);
        for _ in 0..8 {
            let mut client = UnixStream::connect(&path).unwrap();
            assert_eq!(ask(&mut client, &get("/healthz")).0, 200);
        }
        assert_eq!(stack.stop(), Exit::Clean);
        assert!(!path.exists());
    }
}

#[test]
fn a_stop_turns_readiness_off_and_keeps_serving_until_the_delay_is_over() {
    for driver in DRIVERS {
        let settings = [
            ("DRAIN_DELAY_MS", "1500"),
            ("MONOIO_FORCE_LEGACY_DRIVER", driver),
        ];
        let stack = Stack::start(&settings);
        let address = stack.address();
        let (mut early, mut idle) = (connect(address), connect(address));
        assert_eq!(ask(&mut early, &get("/readyz")).0, 200);
        assert_eq!(ask(&mut idle, &get("/healthz")).0, 200);
        stack.running.lifecycle().ask_to_stop();
        // At once, before the main thread has looked.
        let (status, head, _) = ask(&mut early, &get("/readyz"));
        assert_eq!(status, 503);
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        assert_eq!(early.read(&mut [0]).unwrap(), 0);
        let stopping = thread::spawn(|| stack.stop());
        let mut late = connect(address);
        let (status, head, _) = ask(&mut late, &post("/payments", "", BODY));
        assert_eq!(status, 200);
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        // An idle connection is closed at the end, not before it could be used.
        assert_eq!(idle.read(&mut [0]).unwrap(), 0);
        assert_eq!(stopping.join().unwrap(), Exit::Clean);
        assert!(std::net::TcpStream::connect(address).is_err());
    }
}

#[test]
fn a_request_that_was_begun_before_the_stop_is_answered() {
    for driver in DRIVERS {
        let stack = Stack::start(&[("MONOIO_FORCE_LEGACY_DRIVER", driver)]);
        let head = format!(
            "POST /payments HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\
             Expect: 100-continue\r\n\r\n",
            BODY.len()
        );
        let mut client = connect(stack.address());
        assert_eq!(ask(&mut client, &head).0, 100);
        let lifecycle = std::sync::Arc::clone(stack.running.lifecycle());
        let stopping = thread::spawn(|| stack.stop());
        while lifecycle.phase() < Phase::Closing {
            thread::sleep(Duration::from_millis(1));
        }
        let (status, head, _) = ask(&mut client, BODY);
        assert_eq!(status, 200);
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        assert_eq!(stopping.join().unwrap(), Exit::Clean);
    }
}

/// This test runs itself once more, in a process of its own that must not survive.
#[test]
fn a_panic_in_a_task_ends_the_process() {
    const PLANTED: &str = "P99_TEST_PLANT_A_PANIC";
    if std::env::var_os(PLANTED).is_some() {
        end_process_on_panic();
        let core = thread::spawn(|| {
            Reactor::best()
                .unwrap()
                .run(async { monoio::spawn(async { panic!("planted") }).await })
        });
        let _half_a_server = core.join();
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_panic_in_a_task_ends_the_process",
            "--nocapture",
        ])
        .env(PLANTED, "1")
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("planted"),
        "{output:?}"
    );
}

#[test]
fn an_address_in_use_is_a_clean_refusal_to_start() {
    let stack = Stack::start(&[]);
    let listen = stack.address().to_string();
    let lookup = |name: &str| {
        let value = match name {
            "LISTEN" => listen.as_str(),
            "UPSTREAM_A_URL" => "http://127.0.0.1:9",
            "UPSTREAM_B_URL" => "http://127.0.0.1:10",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let config = p99::config::Config::from_lookup(lookup).unwrap();
    let fault = p99::cores::Running::start(&p99::pay::Setup::new(config)).unwrap_err();
    assert!(fault.to_string().contains(&listen), "{fault}");
    assert_eq!(stack.stop(), Exit::Clean);
}
