//! One request head: what it asks for, how its body is framed and whether its connection lasts.
//! The server and the simulator call [`parse_head`] on the bytes that have arrived.
//!
//! What is decided here: which bytes are a request and which are refused with which status. What
//! is not: routes, limits on a body, authentication. A refusal always means that the connection
//! closes, since the position of the next request is not known for certain.
//!
//! The answer depends on the bytes up to the decision alone: an input cut into reads in any way
//! gives the same head or the same refusal (tested as a property).

use super::fields::{self, SectionFault};
use super::request_line::{self, Method, Reject, Version};
use super::{Span, bytes};
use crate::limits;

mod gathered;

use gathered::Gathered;

/// What the settings say about heads.
#[derive(Clone, Debug, Default)]
pub struct HeadRules {
    /// Name of the field with the credentials; none where no value is demanded.
    pub auth_header: Option<Box<str>>,
}

/// How a request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// This many bytes; `Content-Length: 0` gives zero here, not `None`.
    Length(u64),
    /// The chunked coding.
    Chunked,
}

/// What becomes of the connection after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It lasts.
    KeepAlive,
    /// It lasts, and the answer must say so: the client speaks HTTP/1.0.
    KeepAliveTold,
    /// It closes.
    Close,
}

/// The media type of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType {
    /// No Content-Type.
    Missing,
    /// `application/json`, with or without parameters.
    Json,
    /// Any other.
    Other,
}

/// Whether the body is as its media type says, or coded once more (RFC 9110, section 8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentCoding {
    /// No Content-Encoding, or nothing but `identity` in it.
    Identity,
    /// Any other.
    Other,
}

/// The X-Forwarded-For lines, oldest first. Proxies add lines at the end, so when there are more
/// than fit, the last ones are kept: they come from the proxies nearest to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardedFor {
    lines: [Span; limits::FORWARDED_FOR_LINES_MAX],
}

impl ForwardedFor {
    fn push(&mut self, line: Span) {
        self.lines.rotate_left(1);
        if let Some(last) = self.lines.last_mut() {
            *last = line;
        }
    }

    /// The addresses named, the nearest hop first, as text that is not yet checked.
    pub fn nearest_first<'b>(&'b self, bytes: &'b [u8]) -> impl Iterator<Item = &'b [u8]> {
        let lines = self.lines.iter().rev().filter(|line| !line.is_empty());
        lines.flat_map(|line| line.of(bytes).rsplit(|byte| *byte == b',').map(bytes::trim))
    }
}

/// One request head. Its spans name bytes of the buffer that it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The method; never [`Method::Connect`].
    pub method: Method,
    /// The version.
    pub version: Version,
    /// The path as it was sent, percent encoding and all; `*` for `OPTIONS *`.
    path: Span,
    /// What follows the first `?`, as it was sent.
    query: Option<Span>,
    /// How the body is framed.
    pub framing: Framing,
    /// What becomes of the connection.
    pub persistence: Persistence,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// The body's media type.
    pub content_type: ContentType,
    /// What the body's bytes are coded with.
    pub content_coding: ContentCoding,
    /// The credentials, if the rules name their field and it was sent.
    pub auth: Option<Span>,
    /// `X-P99-Peer-Secret`; empty where it was given twice, which is no secret.
    pub peer_secret: Option<Span>,
    /// Where the request came from, as proxies say.
    pub forwarded_for: ForwardedFor,
    /// X-Request-Id, if it is short and all visible ASCII: safe to log and to send on.
    pub request_id: Option<Span>,
    /// traceparent, if it is well-formed: safe to log and to send on.
    pub trace_parent: Option<Span>,
    /// Bytes of the head, an empty line before it included: the body begins there.
    pub head_bytes: usize,
}

impl RequestHead {
    /// The path, all ASCII; `/` for an absolute target without one, and `*` there for OPTIONS.
    #[must_use]
    pub fn path<'b>(&self, bytes: &'b [u8]) -> &'b str {
        match (self.path.text(bytes), self.method) {
            ("", Method::Options) => "*",
            ("", _) => "/",
            (path, _) => path,
        }
    }

    /// The query, without its question mark.
    #[must_use]
    pub fn query<'b>(&self, bytes: &'b [u8]) -> Option<&'b str> {
        self.query.map(|span| span.text(bytes))
    }

    /// Whether bytes of a body follow.
    #[must_use]
    pub fn has_body(&self) -> bool {
        !matches!(self.framing, Framing::None | Framing::Length(0))
    }
}

/// Reads the head at the beginning of `bytes`; `None` means that more bytes are needed.
///
/// # Errors
/// The refusal, as soon as it is certain.
pub fn parse_head(bytes: &[u8], rules: &HeadRules) -> Result<Option<RequestHead>, Reject> {
    // RFC 9112 section 2.2: one empty line before a request is tolerated, no more.
    let start = match bytes {
        [] | [b'\r'] => return Ok(None),
        [b'\r', b'\n', ..] => 2,
        [..] => 0,
    };
    let Some(line) = request_line::read(bytes, start)? else {
        return Ok(None);
    };
    let window_end = start
        .saturating_add(limits::HTTP_HEAD_BYTES_MAX)
        .min(bytes.len());
    let window = bytes.get(start..window_end).unwrap_or_default();
    let fields_start = line.end.saturating_sub(start);
    let mut gathered = Gathered::new(&line);
    let mut judged = Ok(());
    let section = fields::read_section(window, fields_start, |name, value| {
        if judged.is_ok() {
            judged = gathered.note(bytes, (name, value), rules);
        }
    });
    let Some(end) = section.map_err(section_reject)? else {
        return Ok(None);
    };
    judged?;
    gathered.finish(start.saturating_add(end)).map(Some)
}

fn section_reject(fault: SectionFault) -> Reject {
    match fault {
        SectionFault::Malformed => Reject::new(400, "a header field is malformed"),
        SectionFault::BareLineFeed => Reject::new(400, "a line ends without a carriage return"),
        SectionFault::TooMany => Reject::new(431, "there are too many header fields"),
        SectionFault::TooLong => Reject::new(431, "the head is too large"),
    }
}

#[cfg(test)]
mod tests;
