//! A blocking HTTP/1.1 client on one kept connection: it sends bytes as they are, reads one answer
//! after the other, and says when there is none. It never repeats anything by itself.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use p99::payment::Cents;

/// Far beyond any answer: p99 promises one within REQUEST_TIMEOUT_MS.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// The connection ends behind it.
    pub(crate) is_last: bool,
}

#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let input = Vec::with_capacity(4 * 1024);
        Ok(Self { stream, input })
    }

    pub(crate) fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request)
    }

    /// The next answer; an error when the connection ends first.
    pub(crate) fn read(&mut self) -> io::Result<Answer> {
        loop {
            if let Some((answer, used)) = whole_answer(&self.input)? {
                self.input.drain(..used);
                return Ok(answer);
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => self.input.extend_from_slice(&chunk[..count]),
            }
        }
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Answer> {
        let mut request = Vec::with_capacity(128);
        write_get(path, &mut request);
        self.send(&request)?;
        self.read()
    }
}

/// One question on a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    Client::connect(address)?.get(path)
}

pub(crate) fn write_get(path: &str, out: &mut Vec<u8>) {
    write!(out, "GET {path} HTTP/1.1\r\nHost: p99\r\n\r\n").expect("a Vec takes every byte");
}

/// The bytes of one payment.
pub(crate) fn write_payment(id: &str, amount: Cents, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(96);
    write!(body, r#"{{"correlationId":"{id}","amount":"#).expect("a Vec takes every byte");
    amount.write(&mut body);
    body.push(b'}');
    write!(
        out,
        "POST /payments HTTP/1.1\r\nHost: p99\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .expect("a Vec takes every byte");
    out.extend_from_slice(&body);
}

/// The answer at the start of `bytes` once it is whole, and how many bytes it has.
fn whole_answer(bytes: &[u8]) -> io::Result<Option<(Answer, usize)>> {
    let Some((head, length)) = measure(bytes) else {
        return Ok(None);
    };
    let is_chunked = field(&bytes[..head], "transfer-encoding").is_some();
    let (body, end) = if is_chunked {
        let Some((body, used)) = join_chunks(&bytes[head..])? else {
            return Ok(None);
        };
        (body, head + used)
    } else {
        let Some(body) = bytes.get(head..head + length) else {
            return Ok(None);
        };
        (body.to_vec(), head + length)
    };
    let status = str::from_utf8(&bytes[9..12])
        .ok()
        .and_then(|text| text.parse().ok());
    let answer = Answer {
        status: status.ok_or(ErrorKind::InvalidData)?,
        body,
        is_last: field(&bytes[..head], "connection").is_some_and(|value| value == b"close"),
    };
    Ok(Some((answer, end)))
}

/// A body in chunks without trailers, once it is whole, and how many bytes it took.
fn join_chunks(bytes: &[u8]) -> io::Result<Option<(Vec<u8>, usize)>> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(line) = memchr::memmem::find(rest, b"\r\n") else {
            return Ok(None);
        };
        let size = str::from_utf8(&rest[..line])
            .ok()
            .and_then(|digits| usize::from_str_radix(digits, 16).ok())
            .ok_or(ErrorKind::InvalidData)?;
        let Some(chunk) = rest.get(line + 2..line + 2 + size + 2) else {
            return Ok(None);
        };
        body.extend_from_slice(&chunk[..size]);
        at += line + 2 + size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

/// How many bytes a message's head has and how many its body; nothing while the head is not whole.
pub(crate) fn measure(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let length = field(&bytes[..head], "content-length")
        .and_then(|value| str::from_utf8(value).ok()?.parse().ok())
        .unwrap_or(0);
    Some((head, length))
}

fn field<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (field, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        field
            .eq_ignore_ascii_case(name.as_bytes())
            .then(|| value.trim_ascii())
    })
}
