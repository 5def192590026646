//! What the field lines of one head say together. Fed with each line in order, it keeps what a
//! request means and refuses what two readers could understand differently: a field that is given
//! twice, framing in doubt, a host that is none (RFC 9112 sections 3.2 and 6, RFC 9110 sections
//! 7.2, 8.3 and 10.1.1).

use super::super::fields::{Framed, FramingFault, FramingFields};
use super::super::{Span, authority, bytes, request_line};
use super::{
    ContentCoding, ContentType, ForwardedFor, Framing, HeadRules, Persistence, Reject, RequestHead,
    Version,
};

/// Longest X-Request-Id that is taken over; a UUID has 36 bytes.
pub(super) const REQUEST_ID_BYTES_MAX: usize = 128;

/// A head in the making.
pub(super) struct Gathered<'b> {
    head: RequestHead,
    framing: FramingFields,
    host: Option<&'b [u8]>,
    expectation: Expectation,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expectation {
    None,
    Continue,
    Unknown,
}

impl<'b> Gathered<'b> {
    pub(super) fn new(line: &request_line::RequestLine) -> Self {
        let head = RequestHead {
            method: line.method,
            version: line.version,
            path: line.path,
            query: line.query,
            framing: Framing::None,
            persistence: Persistence::Close,
            expect_continue: false,
            content_type: ContentType::Missing,
            content_coding: ContentCoding::Identity,
            auth: None,
            peer_secret: None,
            forwarded_for: ForwardedFor::default(),
            request_id: None,
            trace_parent: None,
            head_bytes: 0,
        };
        let framing = FramingFields::default();
        Self {
            head,
            framing,
            host: None,
            expectation: Expectation::None,
        }
    }

    pub(super) fn note(
        &mut self,
        all: &[u8],
        (name, value): (&'b [u8], &'b [u8]),
        rules: &HeadRules,
    ) -> Result<(), Reject> {
        if let Some(auth) = &rules.auth_header
            && name.eq_ignore_ascii_case(auth.as_bytes())
            && self.head.auth.replace(Span::within(all, value)).is_some()
        {
            return Err(Reject::new(400, "the credentials are given twice"));
        }
        if self.framing.note(name, value).map_err(framing_reject)? {
            return Ok(());
        }
        match name.len() {
            4 if bytes::is_word(name, b"host") => self.note_host(value)?,
            6 if bytes::is_word(name, b"expect") => self.note_expectation(value),
            11 if bytes::is_word(name, b"traceparent") && is_trace_parent(value) => {
                self.head.trace_parent = Some(Span::within(all, value));
            }
            12 if bytes::is_word(name, b"content-type") => self.note_content_type(value)?,
            12 if bytes::is_word(name, b"x-request-id") && is_request_id(value) => {
                self.head.request_id = Some(Span::within(all, value));
            }
            15 if bytes::is_word(name, b"x-forwarded-for") => {
                self.head.forwarded_for.push(Span::within(all, value));
            }
            16 if bytes::is_word(name, b"content-encoding") => self.note_content_coding(value),
            17 if bytes::is_word(name, b"x-p99-peer-secret") => self.note_peer_secret(value, all),
            _ => {}
        }
        Ok(())
    }

    fn note_host(&mut self, value: &'b [u8]) -> Result<(), Reject> {
        match self.host.replace(value) {
            None => Ok(()),
            Some(_) => Err(Reject::new(400, "Host is given twice")),
        }
    }

    fn note_content_type(&mut self, value: &[u8]) -> Result<(), Reject> {
        match self.head.content_type {
            ContentType::Missing => {
                self.head.content_type = content_type(value);
                Ok(())
            }
            ContentType::Json | ContentType::Other => {
                Err(Reject::new(400, "Content-Type is given twice"))
            }
        }
    }

    /// A list over all lines; empty elements mean nothing (RFC 9110, section 5.6.1).
    fn note_content_coding(&mut self, value: &[u8]) {
        let is_plain =
            |coding: &[u8]| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity");
        if !bytes::elements(value).all(is_plain) {
            self.head.content_coding = ContentCoding::Other;
        }
    }

    fn note_peer_secret(&mut self, value: &[u8], all: &[u8]) {
        self.head.peer_secret = Some(match self.head.peer_secret {
            None => Span::within(all, value),
            Some(_) => Span::default(),
        });
    }

    fn note_expectation(&mut self, value: &[u8]) {
        for expectation in bytes::elements(value).filter(|element| !element.is_empty()) {
            let is_continue = bytes::is_word(expectation, b"100-continue");
            self.expectation = match self.expectation {
                Expectation::None | Expectation::Continue if is_continue => Expectation::Continue,
                Expectation::None | Expectation::Continue | Expectation::Unknown => {
                    Expectation::Unknown
                }
            };
        }
    }

    pub(super) fn finish(mut self, head_bytes: usize) -> Result<RequestHead, Reject> {
        let is_old = self.head.version == Version::Http10;
        match self.host {
            None if is_old => {}
            None => return Err(Reject::new(400, "Host is missing")),
            // The empty value is what a client sends for a target without an authority.
            Some(b"") => {}
            Some(host) if authority::is_authority(host) => {}
            Some(_) => return Err(Reject::new(400, "Host is malformed")),
        }
        self.head.framing = match self.framing.framed(is_old).map_err(framing_reject)? {
            Framed::Nothing => Framing::None,
            Framed::Length(length) => Framing::Length(length),
            Framed::Chunked => Framing::Chunked,
        };
        self.head.persistence = match (self.framing.lasts(is_old), self.head.version) {
            (false, Version::Http10 | Version::Http11) => Persistence::Close,
            (true, Version::Http10) => Persistence::KeepAliveTold,
            (true, Version::Http11) => Persistence::KeepAlive,
        };
        match self.expectation {
            // RFC 9110 section 10.1.1: an HTTP/1.0 client cannot read an interim answer.
            Expectation::None | Expectation::Continue | Expectation::Unknown if is_old => {}
            Expectation::None => {}
            Expectation::Continue => self.head.expect_continue = self.head.has_body(),
            Expectation::Unknown => {
                return Err(Reject::new(417, "the expectation is not known here"));
            }
        }
        self.head.head_bytes = head_bytes;
        Ok(self.head)
    }
}

fn framing_reject(fault: FramingFault) -> Reject {
    match fault {
        FramingFault::LengthGrammar => Reject::new(400, "Content-Length is malformed"),
        FramingFault::LengthOverflow => Reject::new(413, "Content-Length is beyond any limit"),
        FramingFault::LengthTwice => Reject::new(400, "Content-Length is given twice"),
        FramingFault::LengthWithCoding => Reject::new(
            400,
            "Content-Length and Transfer-Encoding exclude each other",
        ),
        FramingFault::CodingGrammar => {
            Reject::new(400, "Transfer-Encoding is not chunked, once and last")
        }
        FramingFault::CodingUnknown => {
            Reject::new(501, "a transfer coding other than chunked is not offered")
        }
        FramingFault::CodingInOldVersion => {
            Reject::new(400, "Transfer-Encoding does not exist in HTTP/1.0")
        }
    }
}

fn content_type(value: &[u8]) -> ContentType {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let media_type = bytes::trim(value.get(..end).unwrap_or_default());
    if bytes::is_word(media_type, b"application/json") {
        ContentType::Json
    } else {
        ContentType::Other
    }
}

fn is_request_id(value: &[u8]) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic)
}

/// `version "-" trace-id "-" parent-id "-" flags` of W3C Trace Context, in lower-case hex.
fn is_trace_parent(value: &[u8]) -> bool {
    value.len() == 55
        && !value.starts_with(b"ff")
        && value.iter().enumerate().all(|(at, byte)| match at {
            2 | 35 | 52 => *byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}
