//! One p99 after the other on sockets that a supervisor holds, under load.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use p99::testing::sim::SimulatorHandle;

use crate::kit::client::{Client, Stream, payment, request, wait_until};
use crate::kit::process::P99;
use crate::kit::scratch::Scratch;
use crate::kit::stack::{count, processors};
use crate::kit::start::command;
use crate::on_both_drivers;
use crate::passing::{copy, pass};

on_both_drivers! {
    a_restart_on_passed_sockets_refuses_no_connection,
}

/// What clients saw.
#[derive(Default)]
struct Seen {
    answers: BTreeMap<String, u32>,
    /// Closed before a byte of the answer came.
    closed: u32,
}

enum Place {
    Tcp(SocketAddr),
    Unix(String),
}

/// Pays `id` over a connection of its own until it is answered. To be refused a connection, or to
/// get a part of an answer, fails the test.
fn pay(place: &Place, id: u32, seen: &mut Seen) {
    let body = payment(format!("restart-{id}"), "1");
    let request = request("POST /payments", "Connection: close\r\n", &body);
    loop {
        let client = match place {
            Place::Tcp(address) => Client::connect(*address).another(),
            Place::Unix(path) => Client::connect_unix(path).another(),
        };
        let answer = exchange(client, &request);
        if answer.is_empty() {
            seen.closed += 1;
            continue;
        }
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let length = head.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        });
        assert_eq!(Some(body.len()), length, "a whole answer: {answer}");
        *seen.answers.entry(head[9..12].to_owned()).or_default() += 1;
        return;
    }
}

/// What was answered; nothing where the connection ended before.
fn exchange(mut client: Client<Box<dyn Stream>>, request: &str) -> String {
    let mut answer = Vec::new();
    let sent = client.send_bytes(request.as_bytes());
    let read = sent.and_then(|()| client.read_to_end(&mut answer));
    match read {
        Ok(_) => {}
        Err(fault) => {
            let kind = fault.kind();
            let is_closed = [
                std::io::ErrorKind::ConnectionReset,
                std::io::ErrorKind::BrokenPipe,
            ];
            assert!(is_closed.contains(&kind) && answer.is_empty(), "{fault}");
        }
    }
    String::from_utf8(answer).unwrap()
}

fn a_restart_on_passed_sockets_refuses_no_connection(driver: &str) {
    let scratch = Scratch::new("starts").unwrap();
    let sims = processors();
    let urls = sims.each_ref().map(SimulatorHandle::url);
    let path = scratch.text("p99.sock");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind(&path).unwrap();
    let address = tcp.local_addr().unwrap();
    let sockets = [copy(&tcp), copy(&unix)];
    let journal = scratch.text("journal");
    let settings = [
        ("UPSTREAM_A_URL", urls[0].as_str()),
        ("UPSTREAM_B_URL", urls[1].as_str()),
        ("JOURNAL_DIR", journal.as_str()),
        ("JOURNAL_SYNC", "os"),
        ("REQUEST_TIMEOUT_MS", "20000"),
    ];
    let start = || {
        let command = pass(&command(driver, &settings), &sockets, "public:public");
        let mut instance = P99::of(command);
        instance.wait_ready();
        instance
    };
    let (next, is_over) = (AtomicU32::new(0), AtomicBool::new(false));
    let seen = thread::scope(|scope| {
        let client = |number: usize| {
            let place = if number.is_multiple_of(3) {
                Place::Unix(path.clone())
            } else {
                Place::Tcp(address)
            };
            let (next, is_over) = (&next, &is_over);
            scope.spawn(move || {
                let mut seen = Seen::default();
                while !is_over.load(Ordering::Acquire) {
                    pay(&place, next.fetch_add(1, Ordering::Relaxed), &mut seen);
                }
                seen
            })
        };
        // They connect before anything accepts.
        let clients: Vec<_> = (0..6).map(client).collect();
        for round in 0..count(5, 50) {
            let instance = start();
            let before = next.load(Ordering::Relaxed);
            wait_until("clients are served", || {
                next.load(Ordering::Relaxed) > before + 50
            });
            assert_eq!(instance.stop(), Some(0), "round {round}");
        }
        let last = start();
        is_over.store(true, Ordering::Release);
        let seen: Vec<Seen> = clients.into_iter().map(|one| one.join().unwrap()).collect();
        assert_eq!(last.stop(), Some(0));
        seen
    });
    let mut answers = BTreeMap::<String, u32>::new();
    for (status, times) in seen.iter().flat_map(|seen| &seen.answers) {
        *answers.entry(status.clone()).or_default() += times;
    }
    let closed: u32 = seen.iter().map(|seen| seen.closed).sum();
    eprintln!("{answers:?}, {closed} closed before an answer");
    let ids = next.load(Ordering::Relaxed);
    // 409 says that the closed connection's payment was charged.
    let paid = ["200", "409"].map(|status| answers.get(status).copied().unwrap_or(0));
    assert_eq!(paid.iter().sum::<u32>(), ids, "{answers:?}");
    let charged: usize = sims.iter().map(|sim| sim.rows().len()).sum();
    assert_eq!(charged, usize::try_from(ids).unwrap(), "each id once");
    assert!(
        std::path::Path::new(&path).exists(),
        "it is the supervisor's"
    );
    TcpStream::connect(address).unwrap();
}
