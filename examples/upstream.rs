//! The payment processor that benchmarks measure against: as cheap as one core can make it, and
//! exact about what it saw.
//!
//! It remembers every id with its `requestedAt`, so a round can be checked (as many distinct ids
//! as there were answers) and p99's lookups get true answers. nginx answers a fixed text for less
//! work but cannot tell distinct ids without writing and reading back a log of all bodies.
//! It trusts its callers: it reads only what the proxies of `scripts/bench-proxies` send, and is
//! no part of p99. No one may take its parser for one.
//!
//! `upstream [PORT_A [PORT_B]]` prints `listening PORT_A PORT_B` and serves both ports, one map:
//! `POST /payments`, `GET /payments/{id}`, and for the script `GET /stats` and `POST /reset`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a tool of the benchmarks: it may stop at whatever it does not expect"
)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Write as _;
use std::rc::Rc;

use monoio::io::{AsyncReadRent as _, AsyncWriteRentExt as _};
use monoio::net::{TcpListener, TcpStream};
use p99::testing::reactor::Reactor;

/// Ids per round at most: 60 s at 50,000 payments a second. Growing the map would stop all
/// connections for a moment in the middle of a round.
const IDS_EXPECTED: usize = 3_000_000;
/// A request is read in one piece: heads of the proxies are under 400 bytes, bodies 120.
const BUFFER_BYTES: usize = 8 * 1024;

const CHARGED: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 44\r\n\r\n\
{\"message\":\"payment processed successfully\"}";
const KNOWN: &[u8] = b"HTTP/1.1 422 Unprocessable Entity\r\nContent-Type: application/json\r\n\
Content-Length: 36\r\n\r\n{\"message\":\"payment already exists\"}";
const MISSING: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
const UNREADABLE: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

/// What was seen since the last reset.
struct Seen {
    /// `requestedAt` as the number of its 17 digits; 0 where the request carried none.
    ids: HashMap<u128, u64, ahash::RandomState>,
    posts: u64,
    lookups: u64,
    unreadable: u64,
}

impl Seen {
    fn charge(&mut self, body: &[u8]) -> &'static [u8] {
        self.posts += 1;
        let Some(id) = after(body, b"\"correlationId\":\"").and_then(read_uuid) else {
            self.unreadable += 1;
            return UNREADABLE;
        };
        match self.ids.entry(id) {
            Entry::Occupied(_) => KNOWN,
            Entry::Vacant(place) => {
                place.insert(after(body, b"\"requestedAt\":\"").map_or(0, read_date));
                CHARGED
            }
        }
    }

    fn look_up(&mut self, id: &[u8], out: &mut Vec<u8>) {
        self.lookups += 1;
        let found = read_uuid(id).and_then(|id| Some((id, *self.ids.get(&id)?)));
        let Some((id, date)) = found else {
            out.extend_from_slice(MISSING);
            return;
        };
        let body = format!(
            "{{\"correlationId\":\"{}\",\"amount\":19.90,\"requestedAt\":\"{}\"}}",
            uuid::Uuid::from_u128(id),
            date_text(date)
        );
        write_json(&body, out);
    }

    fn stats(&self, out: &mut Vec<u8>) {
        let body = format!(
            "{{\"posts\":{},\"distinct\":{},\"lookups\":{},\"unreadable\":{}}}",
            self.posts,
            self.ids.len(),
            self.lookups,
            self.unreadable
        );
        write_json(&body, out);
    }

    fn reset(&mut self) {
        self.ids.clear();
        self.posts = 0;
        self.lookups = 0;
        self.unreadable = 0;
    }

    fn answer(&mut self, head: &[u8], body: &[u8], out: &mut Vec<u8>) {
        if head.starts_with(b"POST /payments ") {
            out.extend_from_slice(self.charge(body));
        } else if let Some(id) = head.strip_prefix(b"GET /payments/") {
            self.look_up(id, out);
        } else if head.starts_with(b"GET /stats ") {
            self.stats(out);
        } else if head.starts_with(b"POST /reset ") {
            self.reset();
            self.stats(out);
        } else {
            self.unreadable += 1;
            out.extend_from_slice(MISSING);
        }
    }
}

fn write_json(body: &str, out: &mut Vec<u8>) {
    write!(
        out,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("a Vec takes every byte");
}

/// What follows `key` in `bytes`.
fn after<'a>(bytes: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let start = memchr::memmem::find(bytes, key)?;
    bytes.get(start + key.len()..)
}

fn read_uuid(text: &[u8]) -> Option<u128> {
    let mut id = 0;
    for byte in text.get(..36)?.iter().filter(|byte| **byte != b'-') {
        id = id << 4 | u128::from(char::from(*byte).to_digit(16)?);
    }
    Some(id)
}

/// `2025-07-10T12:34:56.789Z` as 20250710123456789: half the room, and as good to compare.
fn read_date(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| **byte != b'"');
    digits
        .filter(|byte| byte.is_ascii_digit())
        .take(17)
        .fold(0, |date, digit| date * 10 + u64::from(digit - b'0'))
}

fn date_text(date: u64) -> String {
    let (day, time) = (date / 1_000_000_000, date % 1_000_000_000);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        day / 10_000,
        day / 100 % 100,
        day % 100,
        time / 10_000_000,
        time / 100_000 % 100,
        time / 1_000 % 100,
        time % 1_000
    )
}

/// How long the head is and how many bytes of body follow it; `None` when more bytes are needed.
fn measure(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let length = bytes
        .get(..head)?
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split_at_checked(15))
        .find(|(name, _)| name.eq_ignore_ascii_case(b"content-length:"))
        .map_or(0, |(_, value)| {
            let digits = value.iter().filter(|byte| byte.is_ascii_digit());
            digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'))
        });
    (bytes.len() >= head + length).then_some((head, length))
}

async fn serve(mut stream: TcpStream, seen: Rc<RefCell<Seen>>) {
    let mut kept = Vec::with_capacity(BUFFER_BYTES);
    let mut fresh = Vec::with_capacity(BUFFER_BYTES);
    let mut out = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let read;
        (read, fresh) = stream.read(fresh).await;
        if !matches!(read, Ok(count) if count > 0) {
            return;
        }
        kept.extend_from_slice(&fresh);
        let mut done = 0;
        while let Some(rest) = kept.get(done..)
            && let Some((head, body)) = measure(rest)
        {
            let (head, body) = (&rest[..head], &rest[head..head + body]);
            seen.borrow_mut().answer(head, body, &mut out);
            done += head.len() + body.len();
        }
        kept.drain(..done);
        if !out.is_empty() {
            let written;
            (written, out) = stream.write_all(out).await;
            if written.is_err() {
                return;
            }
            out.clear();
        }
    }
}

async fn accept(listener: TcpListener, seen: Rc<RefCell<Seen>>) {
    loop {
        let (stream, _) = listener.accept().await.expect("accepts");
        stream.set_nodelay(true).expect("sets TCP_NODELAY");
        monoio::spawn(serve(stream, Rc::clone(&seen)));
    }
}

fn main() {
    let ports = std::env::args().skip(1).chain(["0".into(), "0".into()]);
    let reactor = Reactor::best().expect("an event loop");
    reactor.run(async {
        // No one picks ids here to make them collide.
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let seen = Rc::new(RefCell::new(Seen {
            ids: HashMap::with_capacity_and_hasher(IDS_EXPECTED, hasher),
            posts: 0,
            lookups: 0,
            unreadable: 0,
        }));
        let mut line = String::from("listening");
        let mut last = None;
        for port in ports.take(2) {
            let listener = TcpListener::bind(format!("127.0.0.1:{port}")).expect("binds");
            line += &format!(" {}", listener.local_addr().expect("has a port").port());
            last = Some(monoio::spawn(accept(listener, Rc::clone(&seen))));
        }
        writeln!(std::io::stdout(), "{line}").expect("tells its ports");
        last.expect("two listeners").await;
    });
}
