//! What clients may hold of p99 and for how long: descriptors, places, unread answers. As the real
//! process with few descriptors, on both drivers; every reason of a closed connection is seen.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::DRIVERS;
use crate::ends;
use crate::kit::client::{Client, get, payment, request, wait_until};
use crate::kit::places::{from, site};
use crate::kit::stack::{self, BEST, Stack};
use p99::testing::clock::Mono;
use p99::testing::cores::{Exit, Running};
use p99::testing::metrics::{BreakerReading, Reading};
use p99::testing::pay::Setup;
use p99::testing::payment::Configured;

#[test]
fn idle_connections_of_one_address_keep_neither_probes_nor_administrators_out() {
    for driver in DRIVERS {
        let site = site(600, driver, &[]);
        let mut idle = Vec::new();
        for _ in 0..310 {
            let mut client = Client::connect(site.p99.address);
            client.send("GET /healthz", "", "");
            let _ = client.read();
            idle.push(client);
        }
        for _ in 0..20 {
            for path in ["/healthz", "/readyz"] {
                assert_eq!(site.probe(path), Some(200), "{path}");
            }
        }
        let health = Command::new(env!("CARGO_BIN_EXE_p99"))
            .args(["health", "--url", &format!("http://{}", site.p99.address)])
            .output()
            .unwrap();
        assert!(health.status.success(), "{health:?}");
        assert!(site.closed("address") >= 1.0);
        // Beyond the cap a payment is told so; from another address it is served.
        let mut capped = Client::connect(site.p99.address);
        let answer = capped.pay("over-the-cap", "1");
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.body.contains("this address"), "{answer:?}");
        let mut other = from("127.0.0.2", site.p99.address).unwrap();
        let request = request("POST /payments", "", &payment("other", "1"));
        other.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 12];
        other.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        wait_until("it is logged", || {
            site.p99.log().contains("were refused or cut")
        });
        drop(idle);
        assert_eq!(site.p99.stop(), Some(0));
    }
}

/// Three addresses, so that no cap helps: connections that never send, that drip, and that idle.
#[test]
fn a_flood_of_connections_that_never_send_or_drip_keeps_no_probe_out() {
    for driver in DRIVERS {
        let site = site(256, driver, &[]);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for source in ["127.0.0.2", "127.0.0.3", "127.0.0.4"] {
                let (site, is_over) = (&site, &is_over);
                scope.spawn(move || {
                    let mut held = std::collections::VecDeque::new();
                    while !is_over.load(Ordering::Relaxed) {
                        if let Ok(mut stream) = from(source, site.p99.address) {
                            if source.ends_with('3') {
                                let _ = stream.write_all(b"GET /he");
                            }
                            held.push_back(stream);
                        }
                        if held.len() > 150 {
                            held.pop_front();
                        }
                        thread::sleep(Duration::from_millis(2));
                    }
                });
            }
            thread::sleep(Duration::from_secs(1));
            // A probe that meets the flood's very moment is asked again, as balancers do.
            let is_soon = || is_answered_within(3, || site.probe("/healthz") == Some(200));
            let answered = (0..100).filter(|_| is_soon()).count();
            let has_admin = is_answered_within(100, || {
                get(site.admin, "/metrics").is_ok_and(|answer| answer.status == 200)
            });
            is_over.store(true, Ordering::Relaxed);
            assert!(has_admin);
            assert!(answered >= 95, "{answered} of 100 probes are answered");
        });
        assert!(site.closed("made_room") + site.closed("full") > 0.0);
        assert_eq!(site.p99.stop(), Some(0));
    }
}

/// With these no deadline ends a connection within a test.
const NO_DEADLINE: [(&str, &str); 2] = [
    ("HEADER_TIMEOUT_MS", "300000"),
    ("IDLE_TIMEOUT_SECS", "300"),
];

/// Whether one of so many calls is answered.
fn is_answered_within(tries: u32, call: impl Fn() -> bool) -> bool {
    (0..tries).any(|turn| {
        if turn > 0 {
            thread::sleep(Duration::from_millis(50));
        }
        call()
    })
}

/// A call that meets a flood's very moment is made again, as balancers do: on a busy machine that
/// moment lasts.
fn is_answered(what: &str, call: impl Fn() -> bool) {
    wait_until(what, || {
        thread::sleep(Duration::from_millis(50));
        call()
    });
}

/// Half a request each: none of them is idle, and they may all have met the same core.
#[test]
fn requests_that_never_end_keep_neither_probes_nor_administrators_out() {
    for driver in DRIVERS {
        let [header, idle] = NO_DEADLINE;
        let site = site(128, driver, &[("CORES", "2"), header, idle]);
        for round in 0..40 {
            let (public, admin) = (site.p99.address, site.admin);
            let held: Vec<_> = (0..120)
                .map(|number| (format!("127.0.0.{}", 2 + number), public))
                .chain((0..24).map(|_| ("127.0.0.1".to_owned(), admin)))
                .filter_map(|(source, door)| {
                    let mut stream = from(&source, door).ok()?;
                    stream.write_all(b"GET /he").ok()?;
                    Some(stream)
                })
                .collect();
            is_answered(&format!("a probe, {driver} {round}"), || {
                site.probe("/healthz") == Some(200)
            });
            is_answered(&format!("an operator, {driver} {round}"), || {
                get(admin, "/metrics").is_ok_and(|answer| answer.status == 200)
            });
            drop(held);
        }
        assert!(site.closed("full") > 0.0);
        assert_eq!(site.p99.stop(), Some(0));
    }
}

/// A client that asks `path` so often, and reads none of the answers.
fn unread(at: SocketAddr, path: &str, times: usize) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(&at.into()).unwrap();
    let mut stream: TcpStream = socket.into();
    let asked = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(times);
    // One that is cut meanwhile takes no more, and p99 reads on only as fast as it can answer.
    let patience = Some(Duration::from_millis(200));
    stream.set_write_timeout(patience).unwrap();
    let _ = stream.write_all(asked.as_bytes());
    stream
}

/// The flood comes at once: its connections are told to make room for each other before their
/// requests were read, and these are answered still.
#[test]
fn answers_that_are_not_read_keep_neither_probes_nor_administrators_out() {
    for driver in DRIVERS {
        let site = site(600, driver, &NO_DEADLINE);
        let mut idle = Vec::new();
        for _ in 0..310 {
            idle.push(TcpStream::connect(site.p99.address).unwrap());
        }
        let mut held = Vec::new();
        for _ in 0..3 {
            site.p99.signal(libc::SIGSTOP);
            held.extend((0..60).map(|_| unread(site.admin, "/metrics", 55)));
            held.extend((0..60).map(|_| unread(site.p99.address, "/healthz", 1_500)));
            site.p99.signal(libc::SIGCONT);
            for path in ["/healthz", "/readyz"] {
                is_answered(path, || site.probe(path) == Some(200));
            }
            is_answered("/metrics", || {
                get(site.admin, "/metrics").is_ok_and(|answer| answer.status == 200)
            });
        }
        assert_eq!(site.closed("unread"), 0.0, "it was let in before, {driver}");
        drop((idle, held));
        assert_eq!(site.p99.stop(), Some(0));
    }
}

/// Asks for many pages and reads none of them.
#[test]
fn clients_that_read_nothing_hold_little_and_are_cut() {
    for driver in DRIVERS {
        let site = site(1_024, driver, &[("HEADER_TIMEOUT_MS", "2000")]);
        let before = site.p99.resident_kib();
        let mut clients: Vec<TcpStream> = (0..12)
            .map(|_| unread(site.admin, "/metrics", 55))
            .collect();
        thread::sleep(Duration::from_secs(1));
        // One of them reads a byte now and then.
        clients[0].set_nonblocking(true).unwrap();
        let cut = || {
            let _ = clients[0].read(&mut [0]);
            site.closed("unread") >= 12.0
        };
        wait_until("all are cut", cut);
        let held = site.p99.resident_kib().saturating_sub(before);
        assert!(held < 20 * 1024, "{held} KiB for 12 clients");
        for mut client in clients {
            client.set_nonblocking(false).unwrap();
            let mut seen = Vec::new();
            let _ = client.read_to_end(&mut seen);
            // What both kernels held: by far not 55 pages.
            assert!(seen.len() < 256 * 1024, "{} bytes", seen.len());
        }
        assert_eq!(site.p99.stop(), Some(0));
    }
}

/// Late answers, attempts, clients and idle ones all want descriptors: the journal still gets its
/// own, and turns over to its next segment.
#[test]
fn with_few_descriptors_the_journal_goes_on() {
    for driver in DRIVERS {
        let name = format!("p99-hygiene-{}-{driver}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let text = dir.to_str().unwrap();
        let site = site(
            160,
            driver,
            &[
                ("CORES", "1"),
                ("JOURNAL_DIR", text),
                ("JOURNAL_SYNC", "os"),
                ("ACK", "accepted"),
                ("ATTEMPT_TIMEOUT_MS", "20"),
                ("SETTLE_TIMEOUT_MS", "20000"),
                ("CB_MIN_SAMPLES", "100000"),
            ],
        );
        for processor in &site.processors {
            processor.set_delay(Duration::from_millis(400));
        }
        let is_over = AtomicBool::new(false);
        let next = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        thread::scope(|scope| {
            for source in ["127.0.0.2", "127.0.0.3", "127.0.0.4"] {
                let (site, is_over) = (&site, &is_over);
                scope.spawn(move || {
                    let mut held = Vec::new();
                    while !is_over.load(Ordering::Relaxed) {
                        held.extend(from(source, site.p99.address).ok());
                        if held.len() > 100 {
                            held.clear();
                        }
                        thread::sleep(Duration::from_millis(5));
                    }
                });
            }
            for _ in 0..6 {
                scope.spawn(|| pay_until(&is_over, &next, site.p99.address));
            }
            wait_until("the third segment is there", || {
                most.fetch_max(site.p99.descriptors(), Ordering::Relaxed);
                let files = std::fs::read_dir(&dir).unwrap();
                let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
                names
                    .into_iter()
                    .any(|name| name.ends_with("000002.segment"))
            });
            is_over.store(true, Ordering::Relaxed);
        });
        let (most, paid) = (most.into_inner(), next.into_inner());
        eprintln!("{paid} payments, {most} descriptors at most");
        assert!(most > 80, "{most} descriptors: the flood was none");
        assert!(most < 160, "{most}");
        is_answered("/readyz", || site.probe("/readyz") == Some(200));
        let log = site.p99.log();
        assert!(log.contains("160 descriptors are few"), "{log}");
        assert!(!log.contains("ERROR"), "{log}");
        drop(site);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

fn pay_until(is_over: &AtomicBool, next: &AtomicUsize, address: SocketAddr) {
    let mut client: Option<Client> = None;
    while !is_over.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let one = client.get_or_insert_with(|| Client::connect(address));
        one.set_patience(Duration::from_secs(20));
        let id = format!("{number:064}");
        one.send("POST /payments", "", &payment(id, "1"));
        let is_fine = one
            .read()
            .is_ok_and(|answer| answer.field("Connection") != Some("close"));
        if !is_fine {
            client = None;
        }
    }
}

#[test]
fn every_end_of_a_connection_is_counted_by_its_reason() {
    let site = site(ends::DESCRIPTORS, BEST, &ends::SETTINGS);
    ends::see_each(&site, |_| ());
}

#[test]
fn connections_that_a_stop_ends_are_counted_so() {
    let nowhere = ["http://127.0.0.1:1", "http://127.0.0.1:2"];
    let setup = Setup::new(stack::config(nowhere, &[]));
    let running = Running::start(&setup).unwrap();
    let address = stack::tcp(&running.addresses());
    let mut client = Client::connect(address);
    assert_eq!(client.get("/healthz").status, 200);
    assert_eq!(running.stop(), Exit::Clean);
    let mut page = Vec::new();
    let reading = Reading {
        breakers: Configured::new(setup.config.upstream.count(), |_| BreakerReading::default()),
        is_serving: false,
    };
    setup.metrics.render(Mono(1), &reading, &mut page);
    let page = String::from_utf8(page).unwrap();
    let line = "p99_connections_closed_total{reason=\"shutdown\"} 1\n";
    assert!(page.contains(line), "{page}");
}

/// A connection ends when p99 ends it, whatever programs the process has started meanwhile.
#[test]
fn no_program_inherits_a_connection() {
    for driver in ["0", "1"] {
        let stack = Stack::start(BEST, &[("MONOIO_FORCE_LEGACY_DRIVER", driver)]);
        let mut client = stack.client();
        assert_eq!(client.get("/healthz").status, 200);
        let mut program = Command::new("sleep").arg("120").spawn().unwrap();
        client.end_writing();
        let ended = client.read_to_end(&mut Vec::new());
        program.kill().unwrap();
        program.wait().unwrap();
        assert!(ended.is_ok(), "driver {driver}: {ended:?}");
        stack.stop();
    }
}
