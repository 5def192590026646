//! Credentials that p99 shows to processors: sent with every request, renewed while it runs, and
//! shown nowhere else. As the real binary, so that its log and its environment are the real ones.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use p99::testing::sim::{Simulator, SimulatorOptions};

use crate::kit::client::{Client, DEADLINE, id, wait_until};
use crate::kit::stack::metric;
use crate::kit::start;
use crate::on_both_drivers_together;
use crate::upstream::{CHARGED, answer_with};

on_both_drivers_together! {
    credentials_go_with_every_request_and_nowhere_else,
    renewed_credentials_are_in_use_without_a_restart,
}

const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
const HEALTHY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 37\r\n\r\n\
                       {\"failing\":false,\"minResponseTime\":1}\n";

/// A processor that knows one value of `X-Key`, and what it reads.
fn guarded(right: &Arc<Mutex<String>>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, requests) = channel();
    let right = Arc::clone(right);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, sender, right) = (stream.unwrap(), sender.clone(), Arc::clone(&right));
            thread::spawn(move || {
                answer_with(stream, &sender, |request| {
                    let line = format!("\r\nX-Key: {}\r\n", right.lock().unwrap());
                    match request.contains(&line) {
                        true if request.contains("/service-health") => HEALTHY,
                        true => CHARGED,
                        false => UNAUTHORIZED,
                    }
                });
            });
        }
    });
    (url, requests)
}

fn file(name: &str, driver: &str) -> PathBuf {
    let name = format!("p99-{name}-{driver}-{}", std::process::id());
    std::env::temp_dir().join(name)
}

/// Puts a file into the place of another one, as whatever renews credentials does.
fn replace(path: &Path, text: &str) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).unwrap();
    fs::rename(fresh, path).unwrap();
}

fn credentials_go_with_every_request_and_nowhere_else(driver: &str) {
    let right = Arc::new(Mutex::new("hunter2 and more".to_owned()));
    let (url, requests) = guarded(&right);
    let path = file("headers", driver);
    fs::write(&path, "X-Key: hunter2 and more\nAccept: a/b\n").unwrap();
    let named = path.display().to_string();
    let b = Simulator::start(SimulatorOptions::default()).unwrap();
    let settings = [
        ("UPSTREAM_A_HEADERS_FILE", named.as_str()),
        ("ROUTING", "cheapest"),
        ("HEDGE_DELAY_MS", "60000"),
        ("CONNECT_TIMEOUT_MS", "20000"),
        ("HEALTH_INTERVAL_MS", "5000"),
        ("RUST_LOG", "trace"),
    ];
    let mut p99 = start::start([&url, &b.url()], driver, &settings);
    assert_eq!(Client::connect(p99.address).pay(id(1), "1").status, 200);
    assert!(b.rows().is_empty());
    let lookup = format!("GET /payments/{} ", id(1));
    let mut wanted = vec!["POST /payments ", &lookup, "GET /payments/service-health "];
    for _ in 0..8 {
        if wanted.is_empty() {
            break;
        }
        let request = requests.recv_timeout(DEADLINE).unwrap();
        assert!(
            request.contains("\r\nX-Key: hunter2 and more\r\n"),
            "{request}"
        );
        assert_eq!(request.matches("\r\nAccept: ").count(), 1, "{request}");
        assert!(request.contains("\r\nAccept: a/b\r\n"), "{request}");
        wanted.retain(|start| !request.starts_with(start));
    }
    assert!(wanted.is_empty(), "{wanted:?}");
    let environment = fs::read(p99.proc("environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    assert!(environment.contains(&named) && !environment.contains("hunter2"));
    let page = Client::connect(p99.address).get("/metrics").body;
    p99.wait_for_line("DEBUG p99::pay::health health processor=default");
    let log = p99.log();
    assert!(!log.contains("hunter2") && !page.contains("hunter2"));
    assert_eq!(p99.stop(), Some(0));
    let check = |text: &str| {
        fs::write(&path, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_p99"))
            .arg("check")
            .env_clear()
            .env("UPSTREAM_A_URL", &url)
            .env("UPSTREAM_B_URL", b.url())
            .env("UPSTREAM_A_HEADERS_FILE", &path)
            .output()
            .unwrap();
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8(told).unwrap();
        assert!(!told.contains("hunter2"), "{told}");
        (output.status.code(), told)
    };
    let (code, told) = check("X-Key: hunter2\n");
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains(&format!("UPSTREAM_A_HEADERS_FILE = {named}\n")),
        "{told}"
    );
    let (code, told) = check("X-Key hunter2\n");
    assert_eq!(code, Some(2), "{told}");
    assert!(
        told.contains("UPSTREAM_A_HEADERS_FILE") && told.contains("line 1"),
        "{told}"
    );
    fs::remove_file(path).unwrap();
}

fn renewed_credentials_are_in_use_without_a_restart(driver: &str) {
    let right = Arc::new(Mutex::new("first".to_owned()));
    let (url, _requests) = guarded(&right);
    let path = file("renewed", driver);
    fs::write(&path, "X-Key: first\n").unwrap();
    let named = path.display().to_string();
    let settings = [
        ("UPSTREAM_A_HEADERS_FILE", named.as_str()),
        ("ROUTING", "cheapest"),
        ("CONNECT_TIMEOUT_MS", "20000"),
        ("CB_FAIL_RATE", "1"),
        ("CB_MIN_SAMPLES", "100000"),
    ];
    let p99 = start::start([&url, "http://127.0.0.1:1"], driver, &settings);
    let mut client = Client::connect(p99.address);
    let mut next = 0;
    let mut pay = || {
        next += 1;
        client.pay(id(next), "1").status
    };
    assert_eq!(pay(), 200);
    // The token is renewed at the processor, and a moment later in the file.
    "second".clone_into(&mut right.lock().unwrap());
    assert_eq!(pay(), 502, "refused by A, and B is not there");
    replace(&path, "X-Key: second\n");
    wait_until("the new token is used", || pay() == 200);
    let readings = |client: &mut Client, result| {
        let labels = format!(r#"{{processor="default",result="{result}"}}"#);
        let name = format!("p99_upstream_file_readings_total{labels}");
        metric(&client.get("/metrics").body, &name)
    };
    let mut looker = Client::connect(p99.address);
    assert!((readings(&mut looker, "changed") - 1.0).abs() < 0.5);
    // One that is not as it must be changes nothing, and one line says so.
    replace(&path, "X-Key second\n");
    wait_until("it is refused", || readings(&mut looker, "refused") >= 1.0);
    assert_eq!(pay(), 200);
    fs::remove_file(&path).unwrap();
    wait_until("it is missed", || readings(&mut looker, "refused") >= 2.0);
    assert_eq!(pay(), 200);
    let lines = [
        ("UPSTREAM_A_HEADERS_FILE: read again and in use", 1),
        ("UPSTREAM_A_HEADERS_FILE: must be a file with one", 2),
        ("line 1 has no colon; what it held before stays in use", 1),
    ];
    let mut log = String::new();
    wait_until("all is logged", || {
        log = p99.log();
        (lines.iter()).all(|(line, count)| log.matches(line).count() >= *count)
    });
    for (line, count) in lines {
        assert_eq!(log.matches(line).count(), count, "{line}: {log}");
    }
    assert!(!log.contains("second"), "{log}");
    // The same time and size, as some file systems show them: the 401 has it read again.
    let before = fs::metadata(p99.proc("exe")).unwrap().modified().unwrap();
    replace(&path, "X-Key: third1\n");
    fs::File::open(&path).unwrap().set_modified(before).unwrap();
    "third1".clone_into(&mut right.lock().unwrap());
    wait_until("the third token is used", || pay() == 200);
    "third2".clone_into(&mut right.lock().unwrap());
    fs::write(&path, "X-Key: third2\n").unwrap();
    fs::File::open(&path).unwrap().set_modified(before).unwrap();
    wait_until("the fourth token is used", || pay() == 200);
    // The same on SIGHUP, before any answer says so.
    fs::write(&path, "X-Key: third3\n").unwrap();
    fs::File::open(&path).unwrap().set_modified(before).unwrap();
    let changed = readings(&mut looker, "changed");
    p99.signal(libc::SIGHUP);
    wait_until("it is read again", || {
        readings(&mut looker, "changed") > changed
    });
    drop((client, looker));
    assert_eq!(p99.stop(), Some(0));
    fs::remove_file(path).unwrap();
}
