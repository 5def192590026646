//! An answer as it is read from the wire, and what may come instead of one.

use std::io::{self, ErrorKind};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// With the end of its last line, without the empty one.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// Whether the connection ends behind it.
    pub(crate) fn is_last(&self) -> bool {
        self.field("Connection") == Some("close")
    }
}

/// What a client sees instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// RST, or a write to a connection that is gone.
    Reset,
    /// FIN after this many bytes.
    Closed { bytes: usize },
    /// Nothing within the client's patience.
    Silence,
    /// Bytes that are no answer.
    NoHttp,
}

impl Broken {
    /// How a client is left without an answer whose payment's owner core stands still for longer
    /// than REQUEST_TIMEOUT_MS and a second, as on a busy machine (I1).
    pub(crate) const fn is_unanswered(self) -> bool {
        matches!(self, Self::Closed { bytes: 0 })
    }
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        let kind = match broken {
            Broken::Reset => ErrorKind::ConnectionReset,
            Broken::Closed { .. } => ErrorKind::UnexpectedEof,
            Broken::Silence => ErrorKind::TimedOut,
            Broken::NoHttp => ErrorKind::InvalidData,
        };
        kind.into()
    }
}

/// The statuses of all answers in `text`, interim ones too.
pub(crate) fn statuses(text: &str) -> Vec<u16> {
    let mut found = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((head, length)) = measure(rest) {
        found.push(status_of(rest).unwrap_or(0));
        rest = rest.get(head + length..).unwrap_or_default();
    }
    found
}

/// From an answer's head and what came behind it: the body once it is whole, and how many bytes it
/// took.
pub(super) type BodyOf = fn(&Answer, &[u8]) -> Result<Option<(Vec<u8>, usize)>, Broken>;

/// The answer at the start of `bytes` once it is whole, and how many bytes it has.
pub(super) fn whole_answer(
    bytes: &[u8],
    body_of: BodyOf,
) -> Result<Option<(Answer, usize)>, Broken> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let mut answer = Answer {
        status: status_of(bytes).ok_or(Broken::NoHttp)?,
        head: String::from_utf8_lossy(&bytes[..end + 2]).into_owned(),
        body: String::new(),
    };
    let Some((body, used)) = body_of(&answer, &bytes[end + 4..])? else {
        return Ok(None);
    };
    answer.body = String::from_utf8(body).map_err(|_| Broken::NoHttp)?;
    Ok(Some((answer, end + 4 + used)))
}

fn status_of(bytes: &[u8]) -> Option<u16> {
    let version = |version: &[u8]| bytes.strip_prefix(version);
    let rest = version(b"HTTP/1.1 ").or_else(|| version(b"HTTP/1.0 "))?;
    let digits = rest.get(..3)?;
    str::from_utf8(digits).ok()?.parse().ok()
}

pub(super) fn body_of(answer: &Answer, bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Broken> {
    if answer.field("Transfer-Encoding").is_some() {
        return join_chunks(bytes);
    }
    let length = match answer.status {
        100..=199 | 204 | 304 => Some(0),
        _ => answer
            .field("Content-Length")
            .and_then(|text| text.parse().ok()),
    };
    let length: usize = length.ok_or(Broken::NoHttp)?;
    Ok(bytes.get(..length).map(|body| (body.to_vec(), length)))
}

/// A body in chunks without trailers, once it is whole, and how many bytes it took.
fn join_chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Broken> {
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
            .ok_or(Broken::NoHttp)?;
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
    let text = String::from_utf8_lossy(&bytes[..head]);
    let length = field(&text, "Content-Length").and_then(|value| value.parse().ok());
    Some((head, length.unwrap_or(0)))
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
