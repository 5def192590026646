//! Requests, cut into any reads: the same bytes in any cut are the same requests and the same end,
//! and what is accepted is what a second, plain reading of it finds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use p99::testing::http::{
    Body, BodyFault, BodyReader, Framing, HeadRules, Method, Reject, RequestHead, Version,
    parse_head,
};
use p99_fuzz::http::{Message, chunked, trim};
use p99_fuzz::{Input, pieces};

/// One request and its body.
type Request = (RequestHead, Vec<u8>);

/// Why no further request was read.
#[derive(Debug, PartialEq)]
enum End {
    Head(Reject),
    Body(BodyFault),
    Open,
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let choice = input.byte();
    let rules = HeadRules {
        auth_header: (choice & 1 == 1).then(|| "authorization".into()),
    };
    let body_bytes_max = if choice & 2 == 2 { 64 } else { 8_192 };
    let seed = u16::try_from(input.number::<2>()).unwrap();
    let stream = input.rest();
    let whole = read(&[stream], &rules, body_bytes_max);
    assert_eq!(whole, read(&pieces(stream, seed), &rules, body_bytes_max));
    let mut rest = stream;
    for (head, body) in &whole.0 {
        rest = &rest[check(head, body, rest, &rules)..];
    }
});

/// Reads requests as a connection does.
fn read(pieces: &[&[u8]], rules: &HeadRules, body_bytes_max: usize) -> (Vec<Request>, End) {
    let mut buffer = Vec::new();
    let mut pieces = pieces.iter();
    let mut requests = Vec::new();
    loop {
        let head = loop {
            match parse_head(&buffer, rules) {
                Ok(Some(head)) => break head,
                Ok(None) => {}
                Err(reject) => return (requests, End::Head(reject)),
            }
            let Some(piece) = pieces.next() else {
                return (requests, End::Open);
            };
            buffer.extend_from_slice(piece);
        };
        let body = BodyReader::request(head.framing, head.head_bytes, body_bytes_max);
        let mut reader = match body {
            Ok(reader) => reader,
            Err(fault) => return (requests, End::Body(fault)),
        };
        let body: Body = loop {
            match reader.advance(&mut buffer) {
                Ok(Some(body)) => break body,
                Ok(None) => {}
                Err(fault) => return (requests, End::Body(fault)),
            }
            let Some(piece) = pieces.next() else {
                return (requests, End::Open);
            };
            buffer.extend_from_slice(piece);
        };
        let end = body.end;
        requests.push((head, buffer[body].to_vec()));
        buffer.drain(..end);
    }
}

/// Holds an accepted request against the plain reading; how many bytes it took.
fn check(head: &RequestHead, body: &[u8], bytes: &[u8], rules: &HeadRules) -> usize {
    let message = Message::read(bytes);
    assert_eq!(head.head_bytes, message.head_bytes);
    let [method, target, version] = message.line;
    let methods: [(&[u8], Method); 3] = [
        (b"GET", Method::Get),
        (b"HEAD", Method::Head),
        (b"POST", Method::Post),
    ];
    for (name, known) in methods {
        assert_eq!(method == name, head.method == known);
    }
    assert_ne!(head.method, Method::Connect);
    match head.version {
        Version::Http10 => assert_eq!(version, b"HTTP/1.0"),
        Version::Http11 => assert!(version.starts_with(b"HTTP/1.") && version != b"HTTP/1.0"),
    }
    if target.starts_with(b"/") {
        let mut parts = target.splitn(2, |byte| *byte == b'?');
        assert_eq!(parts.next(), Some(head.path(bytes).as_bytes()));
        assert_eq!(parts.next(), head.query(bytes).map(str::as_bytes));
    }
    let hosts = message.values("host").len();
    assert!(hosts == 1 || (hosts == 0 && head.version == Version::Http10));
    if let Some(name) = &rules.auth_header {
        let given = message.values(name);
        assert!(given.len() <= 1, "credentials are given twice");
        let read = head.auth.map(|span| span.of(bytes));
        assert_eq!(given.first().copied().map(trim), read);
    }
    let forwarded = message.values("x-forwarded-for");
    let mut nearest = forwarded
        .iter()
        .rev()
        .filter(|line| !line.is_empty())
        .flat_map(|line| line.rsplit(|byte| *byte == b',').map(trim));
    for hop in head.forwarded_for.nearest_first(bytes) {
        assert_eq!(nearest.next(), Some(hop));
    }
    let behind = &bytes[head.head_bytes..];
    let (expected, taken, framing) = match message.framing() {
        None => (Vec::new(), 0, Framing::None),
        Some(Some(length)) => {
            let count = usize::try_from(length).unwrap();
            (behind[..count].to_vec(), count, Framing::Length(length))
        }
        Some(None) => {
            let (body, taken) = chunked(behind);
            (body, taken, Framing::Chunked)
        }
    };
    assert_eq!((head.framing, body), (framing, expected.as_slice()));
    head.head_bytes + taken
}
