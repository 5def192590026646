//! One answer to a client, written as bytes into a buffer that is sent in one piece.
//!
//! The server decides what to answer; here is only how it looks on the wire. Texts that came from
//! outside cannot break the framing: a field whose name or value holds a control byte is left
//! out whole.

use super::bytes;
use super::date::DateText;
use super::status;

/// The interim answer to `Expect: 100-continue`.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What the answer says about its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionField {
    /// Nothing: it lasts, as is usual in HTTP/1.1.
    Silent,
    /// It lasts; for an HTTP/1.0 client that asked.
    KeepAlive,
    /// It closes after this answer.
    Close,
}

/// The head of an answer. Empty texts and `None` leave their field out.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// The status code.
    pub status: u16,
    /// The present date.
    pub date: &'a DateText,
    /// The media type of the body; left out when there is no body.
    pub content_type: &'a str,
    /// What becomes of the connection.
    pub connection: ConnectionField,
    /// Seconds after which the client may try again.
    pub retry_after: Option<u32>,
    /// Location, in up to two pieces that are written one after the other.
    pub location: [&'a str; 2],
    /// Further fields.
    pub extra: &'a [(&'a str, &'a [u8])],
}

impl<'a> ResponseHead<'a> {
    /// A head with nothing but a status and a date.
    #[must_use]
    pub fn new(status: u16, date: &'a DateText) -> Self {
        Self {
            status,
            date,
            content_type: "",
            connection: ConnectionField::Silent,
            retry_after: None,
            location: ["", ""],
            extra: &[],
        }
    }
}

/// Appends a whole answer to `out`. With `is_head` (the request was HEAD) the fields are those of
/// the same GET, its length included, and the body stays away (RFC 9110 section 9.3.2).
pub fn write_response(out: &mut Vec<u8>, head: &ResponseHead<'_>, body: &[u8], is_head: bool) {
    write_status_line(out, head.status);
    out.extend_from_slice(b"Date: ");
    out.extend_from_slice(head.date);
    out.extend_from_slice(b"\r\n");
    // RFC 9110 section 8.6: none in 1xx and 204; a 304 would need the length of the 200.
    let has_length = head.status >= 200 && head.status != 204 && head.status != 304;
    if has_length {
        out.extend_from_slice(b"Content-Length: ");
        out.extend_from_slice(itoa::Buffer::new().format(body.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
        if !body.is_empty() {
            write_field(out, "Content-Type", &[head.content_type.as_bytes()]);
        }
    }
    match head.connection {
        ConnectionField::Silent => {}
        ConnectionField::KeepAlive => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        ConnectionField::Close => out.extend_from_slice(b"Connection: close\r\n"),
    }
    if let Some(seconds) = head.retry_after {
        write_field(
            out,
            "Retry-After",
            &[itoa::Buffer::new().format(seconds).as_bytes()],
        );
    }
    let [base, rest] = head.location;
    if !(base.is_empty() && rest.is_empty()) {
        write_field(out, "Location", &[base.as_bytes(), rest.as_bytes()]);
    }
    for (name, value) in head.extra.iter().filter(|(_, value)| !value.is_empty()) {
        write_field(out, name, &[value]);
    }
    out.extend_from_slice(b"\r\n");
    if has_length && !is_head {
        out.extend_from_slice(body);
    }
}

/// Writes one field line, or nothing where the value is empty or a text would break the line.
pub(super) fn write_field(out: &mut Vec<u8>, name: &str, value: &[&[u8]]) {
    let is_empty = value.iter().all(|piece| piece.is_empty());
    if is_empty
        || !bytes::is_token_text(name.as_bytes())
        || !value.iter().all(|piece| bytes::is_field_text(piece))
    {
        return;
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    for piece in value {
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(b"\r\n");
}

fn write_status_line(out: &mut Vec<u8>, code: u16) {
    if let Some(status) = status::find(code) {
        out.extend_from_slice(status.line);
        return;
    }
    // Only the simulator answers with others; the reason may be empty.
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(code.clamp(100, 999)).as_bytes());
    out.extend_from_slice(b" \r\n");
}

#[cfg(test)]
mod tests;
