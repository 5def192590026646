//! The request line (RFC 9112 section 3), read by hand: `httparse` is lax about it and waits where
//! a refusal is already certain. A line is refused at its first byte that cannot belong to one,
//! so a TLS greeting or a megabyte of target costs neither memory nor a timeout.

use super::{Span, authority, bytes};
use crate::limits;

/// Why a head is refused. The connection closes after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// 400, 413, 414, 417, 431, 501 or 505.
    pub status: u16,
    /// One short sentence for the client and the log; it quotes nothing that the client sent.
    pub reason: &'static str,
}

impl Reject {
    pub(super) const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }
}

/// Request methods, compared with case (RFC 9110 section 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the methods")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Patch,
    Options,
    Trace,
    /// Never in a head that was read: refused with 501, since no tunnel is offered.
    Connect,
    /// A token that is none of these.
    Other,
}

impl Method {
    pub(super) fn of(text: &[u8]) -> Self {
        match text {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"PATCH" => Self::Patch,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }
}

/// The version to process a request as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 1.0: closes unless it asked to stay, knows no chunked coding and no 1xx answer.
    Http10,
    /// 1.1, or a higher minor version.
    Http11,
}

/// A whole request line.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestLine {
    pub(super) method: Method,
    pub(super) version: Version,
    /// Empty for the absolute form without a path.
    pub(super) path: Span,
    pub(super) query: Option<Span>,
    /// The position after its CRLF.
    pub(super) end: usize,
}

const NOT_A_LINE: Reject = Reject::new(400, "the request line is malformed");
const BAD_TARGET: Reject = Reject::new(400, "the request target is malformed");

/// Reads the line that begins at `start`; `None` means that more bytes are needed.
pub(super) fn read(bytes: &[u8], start: usize) -> Result<Option<RequestLine>, Reject> {
    let long_method = Reject::new(501, "the method is longer than any known here");
    let method_start = start;
    let Some(method_end) = word_end(
        bytes,
        method_start,
        limits::HTTP_METHOD_BYTES_MAX,
        bytes::split_name,
    )
    .map_err(|fault| fault.reject(long_method))?
    else {
        return Ok(None);
    };
    let long_target = Reject::new(414, "the request target is too long");
    let target_start = method_end.saturating_add(1);
    let Some(target_end) = word_end(
        bytes,
        target_start,
        limits::HTTP_TARGET_BYTES_MAX,
        bytes::split_visible,
    )
    .map_err(|fault| fault.reject(long_target))?
    else {
        return Ok(None);
    };
    let version_start = target_end.saturating_add(1);
    let Some(version) = read_version(bytes.get(version_start..).unwrap_or_default())? else {
        return Ok(None);
    };
    let method = Method::of(bytes.get(method_start..method_end).unwrap_or_default());
    let target = bytes.get(target_start..target_end).unwrap_or_default();
    let (path_start, path_end) = path_of(method, target)?;
    let span = |from: usize, to: usize| {
        Span::new(
            target_start.saturating_add(from),
            target_start.saturating_add(to),
        )
    };
    let path = span(path_start, path_end);
    let query = (path_end < target.len()).then(|| span(path_end.saturating_add(1), target.len()));
    let end = version_start.saturating_add(VERSION_LINE_BYTES);
    Ok(Some(RequestLine {
        method,
        version,
        path,
        query,
        end,
    }))
}

enum WordFault {
    /// A byte that may not stand there, or no byte at all.
    Malformed,
    TooLong,
}

impl WordFault {
    fn reject(self, too_long: Reject) -> Reject {
        match self {
            Self::Malformed => NOT_A_LINE,
            Self::TooLong => too_long,
        }
    }
}

/// The position of the one space that ends the word at `start`.
fn word_end(
    bytes: &[u8],
    start: usize,
    length_max: usize,
    split: impl Fn(&[u8]) -> (&[u8], &[u8]),
) -> Result<Option<usize>, WordFault> {
    let rest = bytes.get(start..).unwrap_or_default();
    let window = rest.get(..=length_max).unwrap_or(rest);
    match split(window) {
        (word @ [_, ..], [b' ', ..]) => Ok(Some(start.saturating_add(word.len()))),
        (_, [_, ..]) => Err(WordFault::Malformed),
        (_, []) if rest.len() > length_max => Err(WordFault::TooLong),
        (_, []) => Ok(None),
    }
}

/// `HTTP/1.1` and CRLF.
const VERSION_LINE_BYTES: usize = 10;

fn read_version(tail: &[u8]) -> Result<Option<Version>, Reject> {
    if tail.starts_with(b"HTTP/1.1\r\n") {
        return Ok(Some(Version::Http11));
    }
    let fits = tail
        .iter()
        .take(VERSION_LINE_BYTES)
        .enumerate()
        .all(|(at, byte)| match at {
            5 | 7 => byte.is_ascii_digit(),
            _ => b"HTTP/1.1\r\n".get(at) == Some(byte),
        });
    if !fits {
        return Err(NOT_A_LINE);
    }
    match tail {
        [_, _, _, _, _, b'1', _, b'0', _, _, ..] => Ok(Some(Version::Http10)),
        // RFC 9110 section 2.5: a higher minor version is processed as the highest one known.
        [_, _, _, _, _, b'1', _, _, _, _, ..] => Ok(Some(Version::Http11)),
        [_, _, _, _, _, _, _, _, _, _, ..] => Err(Reject::new(
            505,
            "only HTTP/1.0 and HTTP/1.1 are spoken here",
        )),
        [..] => Ok(None),
    }
}

/// Checks the form of the target (RFC 9112 section 3.2) and finds its path; a query follows it
/// where bytes are left.
fn path_of(method: Method, target: &[u8]) -> Result<(usize, usize), Reject> {
    if method == Method::Connect {
        return Err(Reject::new(501, "CONNECT is not offered"));
    }
    if target == b"*" {
        return if method == Method::Options {
            Ok((0, 1))
        } else {
            Err(BAD_TARGET)
        };
    }
    let path_start = match target {
        [b'/', ..] => 0,
        _ => authority_end(target)?,
    };
    let behind = bytes::after_path(target.get(path_start..).unwrap_or_default());
    match behind {
        [b'?', query @ ..] if !bytes::is_query(query) => Err(BAD_TARGET),
        [] | [b'?', ..] => Ok((path_start, target.len().saturating_sub(behind.len()))),
        [_, ..] => Err(BAD_TARGET),
    }
}

/// Where the path of an absolute target begins. Only plain http is served here, and a target that
/// names an empty or disguised host must not pass (RFC 9110 sections 4.2.1 and 4.2.4).
fn authority_end(target: &[u8]) -> Result<usize, Reject> {
    const SCHEME: &[u8] = b"http://";
    let scheme = target.get(..SCHEME.len()).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(BAD_TARGET);
    }
    let rest = target.get(SCHEME.len()..).unwrap_or_default();
    let length = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    if authority::is_authority(rest.get(..length).unwrap_or_default()) {
        Ok(SCHEME.len().saturating_add(length))
    } else {
        Err(BAD_TARGET)
    }
}
