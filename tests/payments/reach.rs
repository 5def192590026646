//! How processors are reached that are more than a host and a port: below a base path, over a unix
//! socket.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use p99::testing::cores::Exit;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::kit::client::{Client, DEADLINE, patiently};
use crate::kit::payers::{pay_all, with_status};
use crate::kit::stack::{metric, start_p99, tcp};
use crate::on_both_drivers_together;
use crate::upstream::{CHARGED, next_post, serve};

const PATIENT: (&str, &str) = ("HEDGE_DELAY_MS", "60000");

on_both_drivers_together! {
    a_request_goes_below_its_base_and_says_who_asks,
    a_full_queue_of_a_unix_socket_is_waited_for,
    an_answer_of_64_kib_is_read_and_a_longer_one_proves_nothing,
}

/// The path of a socket's file that no other test has.
fn socket_file(name: &str, driver: &str) -> PathBuf {
    let name = format!("p99-{name}-{driver}-{}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let _ = std::fs::remove_file(&path);
    path
}

/// A processor over TCP and one over the unix socket at `path`, which answer every request with
/// `answer`; what the second one reads, and the first one's address.
fn processors(path: &PathBuf, answer: &'static str) -> (String, [Receiver<String>; 2]) {
    let (over_tcp, tcp_requests) = channel();
    let (over_unix, unix_requests) = channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, sender) = (stream.unwrap(), over_tcp.clone());
            thread::spawn(move || serve(stream, answer, &sender));
        }
    });
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, sender) = (stream.unwrap(), over_unix.clone());
            thread::spawn(move || serve(stream, answer, &sender));
        }
    });
    (address, [tcp_requests, unix_requests])
}

fn a_request_goes_below_its_base_and_says_who_asks(driver: &str) {
    let path = socket_file("base", driver);
    let (address, [over_tcp, over_unix]) = processors(&path, CHARGED);
    let urls = [
        format!("http://{address}/psp/v2/"),
        format!("unix:{}:/gw", path.display()),
    ];
    let running = start_p99([&urls[0], &urls[1]], driver, &[PATIENT]);
    let mut client = Client::connect(tcp(&running.addresses()));
    // Half and half by the id's hash: sixteen ids go to both.
    for number in 0..16 {
        assert_eq!(client.pay(format!("id-{number}"), "1").status, 200);
    }
    let says = |head: &str, line: &str| head.contains(&format!("\r\n{line}\r\n"));
    for (requests, start, host) in [
        (
            &over_tcp,
            "POST /psp/v2/payments HTTP/1.1\r\n",
            address.as_str(),
        ),
        (&over_unix, "POST /gw/payments HTTP/1.1\r\n", "localhost"),
    ] {
        let request = next_post(requests);
        assert!(request.starts_with(start), "{request}");
        assert!(says(&request, &format!("Host: {host}")), "{request}");
        let version = env!("CARGO_PKG_VERSION");
        assert!(
            says(&request, &format!("User-Agent: p99/{version}")),
            "{request}"
        );
        assert!(says(&request, "Accept: application/json"), "{request}");
    }
    // Once, after the first charge, p99 tries what its lookup is worth.
    let lookup = std::iter::from_fn(|| over_unix.recv_timeout(DEADLINE).ok())
        .find(|request| request.starts_with("GET"))
        .unwrap();
    assert!(lookup.starts_with("GET /gw/payments/"), "{lookup}");
    assert!(says(&lookup, "Host: localhost"), "{lookup}");
    drop(client);
    assert_eq!(running.stop(), Exit::Clean);
    std::fs::remove_file(path).unwrap();
}

/// The kernel refuses a connect at once when a unix socket's queue is full; a burst meets that at
/// any server whose queue is short, and it is no failure of the processor.
fn a_full_queue_of_a_unix_socket_is_waited_for(driver: &str) {
    let path = socket_file("queue", driver);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let listener = UnixListener::from(std::os::fd::OwnedFd::from(socket));
    let (sender, _requests) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, sender) = (stream.unwrap(), sender.clone());
            thread::spawn(move || serve(stream, CHARGED, &sender));
            thread::sleep(Duration::from_millis(5));
        }
    });
    let url = format!("unix:{}", path.display());
    let settings = [PATIENT, ("ROUTING", "cheapest")];
    let running = start_p99([&url, "http://127.0.0.1:1"], driver, &settings);
    let address = tcp(&running.addresses());
    let told = pay_all(address, 24, 0..48);
    assert_eq!(with_status(&told, 200), 48, "{told:?}");
    let page = Client::connect(address).get("/metrics").body;
    let connects = |result| {
        let labels = format!(r#"{{processor="default",result="{result}"}}"#);
        metric(&page, &format!("p99_upstream_connects_total{labels}"))
    };
    assert!(connects("connected") >= 4.0, "{page}");
    assert!(connects("failed") < 1.0, "{page}");
    assert_eq!(running.stop(), Exit::Clean);
    std::fs::remove_file(path).unwrap();
}

/// I8: an answer has a bound, and what is within it is read.
fn an_answer_of_64_kib_is_read_and_a_longer_one_proves_nothing(driver: &str) {
    for (length, status, patience) in [(64 * 1024, 200, "20000"), (64 * 1024 + 1, 202, "2000")] {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}",
            " ".repeat(length)
        );
        let path = socket_file(&format!("long-{status}"), driver);
        let (_, [_, over_unix]) = processors(&path, answer.leak());
        let url = format!("unix:{}", path.display());
        let settings = [
            PATIENT,
            ("REQUEST_TIMEOUT_MS", patience),
            ("SHUTDOWN_GRACE_SECS", "0"),
            ("ROUTING", "cheapest"),
        ];
        let running = start_p99([&url, "http://127.0.0.1:1"], driver, &settings);
        let mut client = Client::connect(tcp(&running.addresses()));
        let answer = patiently("it is sent", || client.pay("a", "1"));
        assert_eq!(answer.status, status, "{length}");
        assert!(next_post(&over_unix).starts_with("POST"));
        drop(client);
        let is_open = usize::from(status == 202);
        let exit = [Exit::Clean, Exit::Forgotten(is_open)][is_open];
        assert_eq!(running.stop(), exit);
        std::fs::remove_file(path).unwrap();
    }
}
