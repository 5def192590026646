//! The server as its clients and operators meet it: credentials, doors, slow clients, sockets of
//! both kinds, stopping. Live, on loopback, on both drivers where they could differ.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::kit::answer::statuses;
use crate::kit::client::{Broken, Client, wait_until};
use crate::kit::operator::{KEY, secret_file};
use crate::kit::scratch::Scratch;
use crate::kit::stack::{self, BEST, Stack};
use crate::{DRIVERS, ask, get, post};
use p99::testing::cores::{Exit, end_process_on_panic};
use p99::testing::reactor::Reactor;
use p99::testing::server::lifecycle::Phase;

const BODY: &str = r#"{"correlationId":"test-1","amount":20}"#;

#[test]
fn the_administrators_door_takes_his_calls_off_the_public_one() {
    let scratch = Scratch::new("door").unwrap();
    let secret = secret_file(&scratch);
    let stack = Stack::start(
        BEST,
        &[
            ("ADMIN_LISTEN", "127.0.0.2:0"),
            ("ADMIN_SECRET_FILE", &secret),
            ("ALLOW_PURGE", "true"),
        ],
    );
    let (mut public, mut admin) = (
        Client::connect(stack.address()),
        Client::connect(stack.admin_address()),
    );
    let rows = [
        (get("/metrics"), 404, 200),
        (post("/purge-payments", KEY, ""), 404, 200),
        (post("/purge-payments", "", ""), 404, 403),
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
    stack.stop();
}

#[test]
fn purging_is_forbidden_unless_it_is_allowed() {
    let stack = Stack::start(BEST, &[]);
    assert_eq!(
        ask(
            &mut Client::connect(stack.address()),
            &post("/purge-payments", "", "")
        )
        .0,
        403
    );
    stack.stop();
}

#[test]
fn a_client_that_stalls_is_told_so_and_let_go() {
    for driver in DRIVERS {
        let settings = [
            ("HEADER_TIMEOUT_MS", "300"),
            ("MONOIO_FORCE_LEGACY_DRIVER", driver),
        ];
        let stack = Stack::start(BEST, &settings);
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
        for (bytes, expected) in rows {
            let what = format!("{expected:?} for {bytes:?} on driver {driver}");
            // A client that comes to write only when its time is over is closed without a word.
            wait_until(&what, || {
                let mut client = Client::connect(stack.address());
                client.write(&bytes);
                let mut text = Vec::new();
                let ended = client.read_to_end(&mut text);
                ended.is_ok() && statuses(&String::from_utf8_lossy(&text)) == expected
            });
        }
        stack.stop();
    }
}

#[test]
fn a_body_is_asked_for_only_when_its_head_was_judged() {
    let stack = Stack::start(BEST, &[]);
    let expect = "Expect: 100-continue\r\n";
    let head = format!(
        "POST /payments HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{expect}\r\n",
        BODY.len()
    );
    let mut client = Client::connect(stack.address());
    assert_eq!(ask(&mut client, &head).0, 100);
    assert_eq!(ask(&mut client, BODY).0, 200);
    assert_eq!(ask(&mut client, &get("/healthz")).0, 200);
    for (path, status) in [("/nothing", 404), ("/healthz", 405)] {
        let mut client = Client::connect(stack.address());
        let (given, answer, _) = ask(&mut client, &head.replace("/payments", path));
        assert_eq!(given, status);
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        assert_eq!(client.read(), Err(Broken::Closed { bytes: 0 }));
    }
    stack.stop();
}

#[test]
fn unix_sockets_serve_on_every_core_and_leave_no_file() {
    for driver in DRIVERS {
        let scratch = Scratch::new("server").unwrap();
        let path = scratch.file("p99.sock");
        let listen = format!("unix:{}", path.display());
        let settings = [
            ("LISTEN", listen.as_str()),
            ("MONOIO_FORCE_LEGACY_DRIVER", driver),
        ];
        let stack = Stack::start(BEST, &settings);
        for _ in 0..8 {
            let mut client = Client::connect_unix(&path);
            assert_eq!(ask(&mut client, &get("/healthz")).0, 200);
        }
        stack.stop();
        assert!(!path.exists());
    }
}

#[test]
fn a_stop_turns_readiness_off_and_keeps_serving_until_the_delay_is_over() {
    for driver in DRIVERS {
        let settings = [
            ("DRAIN_DELAY_MS", "5000"),
            ("MONOIO_FORCE_LEGACY_DRIVER", driver),
        ];
        let stack = Stack::start(BEST, &settings);
        let address = stack.address();
        let (mut early, mut idle) = (Client::connect(address), Client::connect(address));
        assert_eq!(ask(&mut early, &get("/readyz")).0, 200);
        assert_eq!(ask(&mut idle, &get("/healthz")).0, 200);
        stack.running.lifecycle().ask_to_stop();
        // At once, before the main thread has looked.
        let (status, head, _) = ask(&mut early, &get("/readyz"));
        assert_eq!(status, 503);
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        assert_eq!(early.read(), Err(Broken::Closed { bytes: 0 }));
        let stopping = thread::spawn(|| stack.end());
        let mut late = Client::connect(address);
        let (status, head, _) = ask(&mut late, &post("/payments", "", BODY));
        assert_eq!(status, 200);
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        // An idle connection is closed at the end, not before it could be used.
        assert_eq!(idle.read(), Err(Broken::Closed { bytes: 0 }));
        assert_eq!(stopping.join().unwrap(), Exit::Clean);
        assert!(std::net::TcpStream::connect(address).is_err());
    }
}

#[test]
fn a_request_that_was_begun_before_the_stop_is_answered() {
    for driver in DRIVERS {
        let stack = Stack::start(BEST, &[("MONOIO_FORCE_LEGACY_DRIVER", driver)]);
        let head = format!(
            "POST /payments HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\
             Expect: 100-continue\r\n\r\n",
            BODY.len()
        );
        let mut client = Client::connect(stack.address());
        assert_eq!(ask(&mut client, &head).0, 100);
        let lifecycle = std::sync::Arc::clone(stack.running.lifecycle());
        let stopping = thread::spawn(|| stack.end());
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
            "connections::a_panic_in_a_task_ends_the_process",
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
    let stack = Stack::start(BEST, &[]);
    let listen = stack.address().to_string();
    let nowhere = ["http://127.0.0.1:9", "http://127.0.0.1:10"];
    let config = stack::config(nowhere, &[("LISTEN", &listen)]);
    let fault =
        p99::testing::cores::Running::start(&p99::testing::pay::Setup::new(config)).unwrap_err();
    assert!(fault.to_string().contains(&listen), "{fault}");
    stack.stop();
}
