//! Many requests sent at once on one connection, whatever they ask for and wherever the stream is
//! cut into writes: each is answered, in order, or the connection is refused and closed. Never does
//! one connection's bytes end the process. On TCP, on a unix socket and on the administrator's
//! listener, on both drivers.
//!
//! The usual run takes every sixth cut, another sixth on each listener and driver; `SOAK=1` takes
//! every one everywhere, and watches the memory for fifteen times as long.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::DRIVERS;
use crate::kit::children::Processors;
use crate::kit::client::{Client, Stream};
use crate::kit::scratch::Scratch;
use crate::kit::stack::{BEST, Stack, count};

/// Where a client connects.
#[derive(Clone, Debug)]
enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Target {
    fn connect(&self) -> Client<Box<dyn Stream>> {
        match self {
            Self::Tcp(address) => Client::connect(*address).another(),
            Self::Unix(path) => Client::connect_unix(path).another(),
        }
    }
}

/// Everything until the end. A reset may end a refused connection; what came before it counts.
fn read_all(client: &mut Client<Box<dyn Stream>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = client.read_to_end(&mut bytes);
    bytes
}

/// One request and what its answer must be: a status of these, and its request id.
struct Asked {
    bytes: String,
    statuses: &'static [u16],
    is_head: bool,
}

/// Every kind of request in turn; `public` where payments are taken. The ids begin at `first_id`.
fn mix(count: usize, first_id: usize, is_public: bool) -> Vec<Asked> {
    (0..count)
        .map(|number| ask_for(number, first_id + number / 12, is_public))
        .collect()
}

fn ask_for(number: usize, id: usize, is_public: bool) -> Asked {
    let (line, fields, body, statuses) = request_of(number, id, is_public);
    let common = format!("Host: x\r\nX-Request-Id: r-{number}\r\n");
    Asked {
        bytes: format!("{line} HTTP/1.1\r\n{common}{fields}\r\n{body}"),
        statuses,
        is_head: line.contains("HEAD "),
    }
}

/// A request line, header fields, a body, and the statuses that may answer them.
type Parts = (String, String, String, &'static [u16]);

fn request_of(number: usize, id: usize, is_public: bool) -> Parts {
    let cookie = "c".repeat(number * 37 % 700);
    let body = format!(r#"{{"correlationId":"pipelined-{id}","amount":1.5}}"#);
    let length = format!("Content-Length: {}\r\n", body.len());
    let json = format!("Content-Type: application/json\r\n{length}");
    let pay = "POST /payments".to_owned();
    let none = String::new;
    // The administrator's listener takes no payments.
    let at = |statuses: &'static [u16]| if is_public { statuses } else { &[404][..] };
    match number % 12 {
        0 => ("GET /healthz".into(), none(), none(), &[200]),
        1 => ("HEAD /readyz".into(), none(), none(), &[200]),
        2 => (pay, json, body, at(&[200, 409])),
        3 => {
            let chunked = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
            let (first, rest) = body.split_at(5);
            let coded = format!(
                "5;x=y\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\nTrailer: t\r\n\r\n",
                rest.len()
            );
            (pay, chunked.into(), coded, at(&[200, 409]))
        }
        4 => {
            let line = format!("GET /payments/pipelined-{id}");
            (line, format!("Cookie: {cookie}\r\n"), none(), &[200, 404])
        }
        // These are refused, and the connection goes on.
        5 => ("DELETE /payments".into(), none(), none(), &[404, 405]),
        6 => {
            let json = "Content-Type: application/json\r\nContent-Length: 2\r\n";
            (pay, json.into(), "{}".into(), at(&[400, 422]))
        }
        7 => ("POST /nothing".into(), length, body, &[404]),
        8 => (
            pay,
            format!("Content-Type: text/plain\r\n{length}"),
            body,
            at(&[415]),
        ),
        9 => (format!("HEAD /nothing?{cookie}"), none(), none(), &[404]),
        10 => {
            let chunked = "Transfer-Encoding: chunked\r\n".into();
            (
                "\r\nGET /healthz".into(),
                chunked,
                "0\r\n\r\n".into(),
                &[200],
            )
        }
        _ => (format!("GET /healthz?{number}"), none(), none(), &[200]),
    }
}

/// Takes the next answer off the front of `text`: its status and its head.
fn next_answer(text: &mut &[u8], is_head: bool) -> Option<(u16, String)> {
    let end = text.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&text[..end]).into_owned();
    let status = head.get(9..12)?.parse().ok()?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    *text = text.get(end + if is_head { 0 } else { length }..)?;
    Some((status, head))
}

/// Sends `stream` in pieces that end at `cuts`, and holds every answer against what was asked.
fn exchange(target: &Target, asked: &[Asked], stream: &[u8], cuts: &[usize], pause: Duration) {
    let mut client = target.connect();
    let mut reading = client.another();
    let reader = thread::spawn(move || read_all(&mut reading));
    let mut from = 0;
    for cut in cuts.iter().copied().chain([stream.len()]) {
        if cut > from && client.send_bytes(&stream[from..cut]).is_err() {
            break;
        }
        from = cut;
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    client.end_writing();
    let answers = reader.join().unwrap();
    let mut rest = answers.as_slice();
    for (number, request) in asked.iter().enumerate() {
        let Some((status, head)) = next_answer(&mut rest, request.is_head) else {
            panic!("no answer to request {number}, cut at {cuts:?}");
        };
        let place = format!(
            "request {number} {:?}, cut at {cuts:?}: {head}",
            request.bytes
        );
        assert!(request.statuses.contains(&status), "{place}");
        assert!(
            head.contains(&format!("\r\nX-Request-Id: r-{number}\r\n")),
            "{place}"
        );
    }
    assert!(rest.is_empty(), "more answers than requests");
}

fn written(asked: &[Asked]) -> Vec<u8> {
    asked
        .iter()
        .flat_map(|request| request.bytes.as_bytes())
        .copied()
        .collect()
}

/// Pieces of any size up to `most`, always the same ones for one `seed`.
fn pieces(stream_bytes: usize, most: usize, mut seed: u64) -> Vec<usize> {
    let mut cuts = Vec::new();
    let mut at = 0;
    while at < stream_bytes {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        at += 1 + usize::try_from(seed % u64::try_from(most).unwrap()).unwrap();
        cuts.push(at.min(stream_bytes));
    }
    cuts
}

/// The largest pieces of a stream: all in one, some, many.
const PIECES: [usize; 3] = [usize::MAX / 2, 5_000, 300];

fn targets(stack: &Stack, path: &std::path::Path) -> Vec<(Target, bool)> {
    vec![
        (Target::Tcp(stack.address()), true),
        (Target::Unix(path.to_owned()), true),
        (Target::Tcp(stack.admin_address()), false),
    ]
}

/// Runs `test` on every listener of a new stack, on both drivers, each with a number of its own.
fn everywhere(name: &str, settings: &[(&str, &str)], test: impl Fn(&Target, bool, usize)) {
    for (driver_number, driver) in DRIVERS.into_iter().enumerate() {
        let scratch = Scratch::new(name).unwrap();
        let path = scratch.file("p99.sock");
        let listen = format!("127.0.0.1:0,unix:{}", path.display());
        let usual = [
            ("LISTEN", listen.as_str()),
            ("ADMIN_LISTEN", "127.0.0.2:0"),
            ("MONOIO_FORCE_LEGACY_DRIVER", driver),
        ];
        let stack = Stack::start(BEST, &[settings, &usual].concat());
        for (number, (target, is_public)) in targets(&stack, &path).into_iter().enumerate() {
            test(&target, is_public, number * 2 + driver_number);
        }
        stack.stop();
    }
}

#[test]
fn two_thousand_requests_of_every_kind_are_answered_in_order() {
    everywhere("mixed", &[], |target, is_public, number| {
        for (round, most) in PIECES.into_iter().enumerate() {
            let asked = mix(2_000, (number * 3 + round) * 1_000, is_public);
            let stream = written(&asked);
            assert!(stream.len() > 256 * 1024, "{} bytes", stream.len());
            let seed = 1 + u64::try_from(number * 3 + round).unwrap();
            let cuts = pieces(stream.len(), most, seed);
            exchange(target, &asked, &stream, &cuts, Duration::ZERO);
        }
    });
}

/// Resident memory after rounds of many requests at once is what it was before them. The real
/// binary, since this process has the clients and their answers too.
#[test]
fn two_thousand_requests_of_every_kind_leave_no_memory_behind() {
    /// A huge page, and half of one for all else: 43 bytes for each request of the usual run.
    const GROWN_KIB_MAX: u64 = 3 * 1_024;
    for driver in DRIVERS {
        let scratch = Scratch::new("memory").unwrap();
        let [public, admin] = ["p99.sock", "admin.sock"].map(|name| scratch.file(name));
        let listen = format!("127.0.0.1:0,unix:{}", public.display());
        let admin_listen = format!("unix:{}", admin.display());
        let settings = [("LISTEN", listen.as_str()), ("ADMIN_LISTEN", &admin_listen)];
        let processors = Processors::start();
        let p99 = processors.p99(driver, &settings);
        let targets = [
            (Target::Tcp(p99.address), true),
            (Target::Unix(public), true),
            (Target::Unix(admin), false),
        ];
        let mut streams = 0;
        let mut play = || {
            for (target, is_public) in &targets {
                for most in PIECES {
                    streams += 1;
                    let asked = mix(2_000, streams * 1_000, *is_public);
                    let stream = written(&asked);
                    let cuts = pieces(stream.len(), most, streams as u64);
                    exchange(target, &asked, &stream, &cuts, Duration::ZERO);
                }
            }
        };
        // The first rounds find the size of everything.
        (0..2).for_each(|_| play());
        let before = p99.resident_kib();
        (0..count(2, 60)).for_each(|_| play());
        let grown = p99.resident_kib().saturating_sub(before);
        assert!(grown < GROWN_KIB_MAX, "from {before} KiB on by {grown} KiB");
        assert_eq!(p99.stop(), Some(0));
    }
}

/// 21 KB of the shortest request, which once ended the process.
#[test]
fn seven_hundred_of_one_kind_fill_no_buffer() {
    everywhere("one-kind", &[], |target, _, _| {
        for line in [
            "GET /healthz",
            "HEAD /healthz",
            "GET /nothing",
            "GET /readyz",
        ] {
            let is_head = line.starts_with("HEAD");
            let statuses: &[u16] = &[200, 404];
            let asked: Vec<Asked> = (0..700)
                .map(|number| Asked {
                    bytes: format!(
                        "{line} HTTP/1.1\r\nHost: x\r\nX-Request-Id: r-{number}\r\n\r\n"
                    ),
                    statuses,
                    is_head,
                })
                .collect();
            exchange(target, &asked, &written(&asked), &[], Duration::ZERO);
        }
    });
}

#[test]
fn a_stream_may_be_cut_at_any_byte() {
    let is_soak = std::env::var("SOAK").is_ok_and(|value| value != "0");
    let step = if is_soak { 1 } else { 6 };
    everywhere("cut", &[], |target, is_public, number| {
        let asked = mix(36, number * 100, is_public);
        let stream = written(&asked);
        let first = if is_soak { 1 } else { 1 + number };
        for cut in (first..stream.len()).step_by(step) {
            exchange(target, &asked, &stream, &[cut], Duration::from_micros(200));
        }
    });
}

/// A small limit for bodies and large heads: the buffer is at its smallest beside what it holds.
#[test]
fn large_heads_before_small_bodies_are_served_or_refused() {
    everywhere(
        "cookies",
        &[("MAX_BODY_BYTES", "64")],
        |target, is_public, number| {
            for cookie_bytes in [7_000, 7_900, 7_990] {
                let asked: Vec<Asked> = (0..100)
                    .map(|n| with_cookie(n, number * 100 + n, is_public, cookie_bytes))
                    .collect();
                let stream = written(&asked);
                let cuts = pieces(stream.len(), 3_000, 7);
                exchange(target, &asked, &stream, &cuts, Duration::ZERO);
            }
            // Too large: refused and closed, and the next client is served.
            let padding = "a".repeat(9_000);
            let large = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nA: {padding}\r\n\r\n");
            let mut client = target.connect();
            let _ = client.send_bytes(large.repeat(40).as_bytes());
            client.end_writing();
            let answers = read_all(&mut client);
            let (status, head) = next_answer(&mut answers.as_slice(), false).unwrap();
            assert_eq!(status, 431, "{head}");
            assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
            let next = mix(2, 0, is_public);
            exchange(target, &next, &written(&next), &[], Duration::ZERO);
        },
    );
}

/// A payment, in one piece or chunked, with a head of about `cookie_bytes`.
fn with_cookie(number: usize, id: usize, is_public: bool, cookie_bytes: usize) -> Asked {
    let (line, fields, body, statuses) = request_of(2 + number % 2, id, is_public);
    let cookie = "c".repeat(cookie_bytes);
    let more = format!("Host: x\r\nX-Request-Id: r-{number}\r\nCookie: {cookie}\r\n");
    Asked {
        bytes: format!("{line} HTTP/1.1\r\n{more}{fields}\r\n{body}"),
        statuses,
        is_head: false,
    }
}
