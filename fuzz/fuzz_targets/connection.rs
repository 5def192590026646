//! Sequences of requests over a real socket to the real server, with its engine and two simulated
//! processors behind it, in this process: up to some 100 KB in one go, cut anywhere. Every whole
//! request is answered, in order; after a refusal the connection is closed; and the next
//! connection is served. A panic on any of the server's threads ends the run.
#![no_main]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use p99::testing::config::Config;
use p99::testing::cores::Running;
use p99::testing::http::{BodyReader, HeadRules, Method, Persistence, parse_head};
use p99::testing::pay::Setup;
use p99::testing::sim::{Simulator, SimulatorHandle, SimulatorOptions};
use p99_fuzz::http::Message;
use p99_fuzz::{Input, pieces, scratch_file};

const BODY_BYTES_MAX: usize = 512;
const STREAM_BYTES_MAX: usize = 160 * 1024;
/// Far beyond anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where the server listens that all inputs of this process meet. It and its processors run until
/// the process ends.
static PATH: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = scratch_file("connection");
    let processors = [(), ()].map(|()| Simulator::start(SimulatorOptions::default()).unwrap());
    let urls = processors.each_ref().map(SimulatorHandle::url);
    let lookup = |name: &str| match name {
        "LISTEN" => Some(format!("unix:{}", path.display())),
        "CORES" => Some("1".to_owned()),
        "UPSTREAM_A_URL" => Some(urls[0].clone()),
        "UPSTREAM_B_URL" => Some(urls[1].clone()),
        "REQUEST_TIMEOUT_MS" => Some("5000".to_owned()),
        "MAX_BODY_BYTES" => Some(BODY_BYTES_MAX.to_string()),
        _ => None,
    };
    let running = Running::start(&Setup::new(Config::from_lookup(lookup).unwrap())).unwrap();
    std::mem::forget((running, processors));
    path
});

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let seed = u16::try_from(input.number::<2>()).unwrap();
    let mut stream = Vec::new();
    while !input.is_empty() {
        request(&mut input, &mut stream);
        if stream.len() > STREAM_BYTES_MAX {
            stream.truncate(STREAM_BYTES_MAX);
            break;
        }
    }
    let answers = exchange(&stream, seed);
    check(&stream, &answers);
    let alive = exchange(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 3);
    assert!(alive.starts_with(b"HTTP/1.1 200 "), "the server is alive");
});

/// Appends one kind of request, once or many times, or any bytes.
fn request(input: &mut Input<'_>, stream: &mut Vec<u8>) {
    let choice = input.byte();
    let count = match choice >> 5 {
        0..=4 => 1,
        5 => usize::from(input.byte()),
        _ => usize::from(input.byte()) * 8,
    };
    let padding = "c".repeat(match choice >> 3 & 3 {
        0 | 1 => 0,
        2 => usize::from(input.byte()),
        _ => usize::from(input.byte()) * 33,
    });
    let id = input.byte();
    let body = format!(r#"{{"correlationId":"fuzz-{id}","amount":1.5}}"#);
    let fields = format!("Host: x\r\nCookie: {padding}\r\n");
    let json = "Content-Type: application/json\r\n";
    let length = format!("Content-Length: {}\r\n", body.len());
    let one = match choice & 7 {
        0 => format!("GET /healthz HTTP/1.1\r\n{fields}\r\n").into_bytes(),
        1 => format!("HEAD /nothing?{id} HTTP/1.1\r\n{fields}\r\n").into_bytes(),
        2 => format!("POST /payments HTTP/1.1\r\n{fields}{json}{length}\r\n{body}").into_bytes(),
        3 => {
            let (first, rest) = body.split_at(usize::from(id) % body.len());
            let mut coded = String::new();
            for part in [first, rest].iter().filter(|part| !part.is_empty()) {
                coded += &format!("{:x};{padding}=1\r\n{part}\r\n", part.len());
            }
            let coding = "Transfer-Encoding: chunked\r\n";
            let head = format!("POST /payments HTTP/1.1\r\nHost: x\r\n{json}{coding}\r\n");
            format!("{head}{coded}0\r\nT: {padding}\r\n\r\n").into_bytes()
        }
        4 => format!("GET /payments/fuzz-{id} HTTP/1.1\r\n{fields}\r\n").into_bytes(),
        5 => {
            let expect = "Expect: 100-continue\r\n";
            let path = ["/payments", "/nothing", "/purge-payments"][usize::from(id) % 3];
            format!("POST {path} HTTP/1.1\r\n{fields}{json}{expect}{length}\r\n{body}").into_bytes()
        }
        6 => {
            let path = ["/metrics", "/payments-summary", "/readyz"][usize::from(id) % 3];
            format!("GET {path} HTTP/1.1\r\n{fields}\r\n").into_bytes()
        }
        _ => input.piece().to_vec(),
    };
    let room = STREAM_BYTES_MAX / one.len().max(1) + 1;
    for _ in 0..count.min(room) {
        stream.extend_from_slice(&one);
    }
}

/// Sends all of it in pieces, ends the sending side, and reads to the end.
fn exchange(stream: &[u8], seed: u16) -> Vec<u8> {
    let mut client = UnixStream::connect(&*PATH).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut writing = client.try_clone().unwrap();
    // One write a byte is slow: small cuts only at the front.
    let small = stream.len().min(2_000);
    let cuts = pieces(&stream[..small], seed);
    thread::scope(|scope| {
        scope.spawn(move || {
            for piece in cuts.into_iter().chain(stream[small..].chunks(16_000)) {
                // A refused connection takes no more.
                if writing.write_all(piece).is_err() {
                    break;
                }
            }
            let _ = writing.shutdown(Shutdown::Write);
        });
        let mut answers = Vec::new();
        match client.read_to_end(&mut answers) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("no end of the answers: {error}"),
        }
        answers
    })
}

/// Holds the answers against what the parsers alone make of the stream.
fn check(stream: &[u8], answers: &[u8]) {
    let mut buffer = stream.to_vec();
    let mut rest = answers;
    loop {
        let head = match parse_head(&buffer, &HeadRules::default()) {
            Ok(Some(head)) => head,
            Ok(None) => break,
            Err(reject) => return closed(&mut rest, &[reject.status]),
        };
        let is_head = head.method == Method::Head;
        let statuses = allowed(head.path(&buffer));
        let read = BodyReader::request(head.framing, head.head_bytes, BODY_BYTES_MAX)
            .and_then(|mut reader| reader.advance(&mut buffer));
        let may_close = head.expect_continue && next_is_last(rest);
        match read {
            // Refused before its body: the last answer.
            _ if may_close => return closed(&mut rest, statuses),
            Err(fault) => return closed(&mut rest, &[fault.status()]),
            Ok(None) => {
                // Its client was told to go on, or not, and then sent no more.
                if next_status(rest) == Some(100) {
                    next(&mut rest, true);
                }
                break;
            }
            Ok(Some(body)) => {
                if next_status(rest) == Some(100) {
                    assert!(
                        head.expect_continue,
                        "an interim answer that nobody waits for"
                    );
                    next(&mut rest, true);
                }
                let (status, is_last) = next(&mut rest, is_head).expect("an answer");
                assert!(statuses.contains(&status), "{status}");
                let closes = head.persistence == Persistence::Close;
                assert_eq!(is_last, closes, "who closes");
                if closes {
                    assert!(rest.is_empty(), "more after the last answer");
                    return;
                }
                buffer.drain(..body.end);
            }
        }
    }
    assert!(rest.is_empty(), "more answers than requests");
}

/// What a whole request for `path` may be answered.
fn allowed(path: &str) -> &'static [u16] {
    match path {
        "/payments" => &[200, 202, 400, 405, 409, 415, 422, 502, 503],
        "/healthz" | "/readyz" | "/metrics" => &[200, 405, 503],
        "/payments-summary" => &[200, 400, 405, 422, 503],
        "/purge-payments" => &[403, 405, 415],
        _ => &[200, 404, 405],
    }
}

/// The connection's last answer.
fn closed(rest: &mut &[u8], statuses: &[u16]) {
    let (status, is_last) = next(rest, false).expect("a refusal is told");
    assert!(
        statuses.contains(&status) && is_last,
        "{status} of {statuses:?}"
    );
    assert!(rest.is_empty(), "more after the last answer");
}

fn next_status(rest: &[u8]) -> Option<u16> {
    std::str::from_utf8(rest.get(9..12)?).ok()?.parse().ok()
}

fn next_is_last(mut rest: &[u8]) -> bool {
    next(&mut rest, false).is_some_and(|(_, is_last)| is_last)
}

/// Takes the next answer off: its status, and whether it is the last.
fn next(rest: &mut &[u8], is_head: bool) -> Option<(u16, bool)> {
    if rest.is_empty() {
        return None;
    }
    assert!(rest.starts_with(b"HTTP/1.1 "), "an answer begins here");
    let message = Message::read(rest);
    let status = next_status(rest).unwrap();
    let length = message.framing().flatten().unwrap_or(0);
    let length = if is_head {
        0
    } else {
        usize::try_from(length).unwrap()
    };
    let is_last = message.values("connection").contains(&b"close".as_slice());
    *rest = rest
        .get(message.head_bytes + length..)
        .expect("a whole answer");
    Some((status, is_last))
}
