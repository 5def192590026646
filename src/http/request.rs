//! One request to a processor or a peer, written as bytes into one buffer.
//!
//! The bytes go out with a single write: whether any byte left decides between NotSent and
//! Unknown (I3), and one write keeps that question simple.
//!
//! What all requests to a processor have in common is a [`FixedHead`], checked and written once;
//! a payment adds its length, its trace and its body.

use std::fmt;

use super::response::write_field;

/// The lines that every request to one processor has in common. They hold its credentials, so no
/// text shows them.
pub struct FixedHead {
    post: Vec<u8>,
    get: Vec<u8>,
    /// What follows the path of a GET.
    fields: Vec<u8>,
}

impl fmt::Debug for FixedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedHead").finish_non_exhaustive()
    }
}

impl FixedHead {
    /// `path` begins every path; `fields` are lines for every request.
    #[must_use]
    pub fn new(host: &str, path: &str, fields: &[(&str, &[u8])]) -> Self {
        let mut lines = Vec::from(b" HTTP/1.1\r\n");
        write_field(&mut lines, "Host", &[host.as_bytes()]);
        for (name, value) in fields {
            write_field(&mut lines, name, &[value]);
        }
        let content = b"Content-Type: application/json\r\nContent-Length: ";
        Self {
            post: [b"POST ", path.as_bytes(), &lines, content].concat(),
            get: [b"GET ", path.as_bytes()].concat(),
            fields: [&lines, &b"\r\n"[..]].concat(),
        }
    }

    /// Appends the head of a `POST` whose JSON body of `body_bytes` follows.
    pub fn write_post(&self, out: &mut Vec<u8>, extra: &[(&str, &[u8])], body_bytes: usize) {
        out.extend_from_slice(&self.post);
        out.extend_from_slice(itoa::Buffer::new().format(body_bytes).as_bytes());
        out.extend_from_slice(b"\r\n");
        for (name, value) in extra {
            write_field(out, name, &[value]);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Appends a `GET`; `rest` ends its path.
    pub fn write_get(&self, out: &mut Vec<u8>, rest: &[u8]) {
        out.extend_from_slice(&self.get);
        out.extend_from_slice(rest);
        out.extend_from_slice(&self.fields);
    }
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// The value of Host, as the settings' URL gives it.
    pub host: &'a str,
    /// The path (and query), in up to two pieces that are written one after the other. The settings
    /// are checked when they are read and ids are hyphenated UUIDs, so neither holds a space.
    pub path: [&'a str; 2],
}

/// Appends `POST` with a JSON body to `out`.
pub(crate) fn write_post(
    out: &mut Vec<u8>,
    target: &Target<'_>,
    extra: &[(&str, &[u8])],
    body: &[u8],
) {
    write_lines(out, "POST ", target, extra);
    out.extend_from_slice(b"Content-Type: application/json\r\nContent-Length: ");
    out.extend_from_slice(itoa::Buffer::new().format(body.len()).as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(body);
}

/// Appends `GET` to `out`.
pub(crate) fn write_get(out: &mut Vec<u8>, target: &Target<'_>, extra: &[(&str, &[u8])]) {
    write_lines(out, "GET ", target, extra);
    out.extend_from_slice(b"\r\n");
}

fn write_lines(out: &mut Vec<u8>, method: &str, target: &Target<'_>, extra: &[(&str, &[u8])]) {
    out.extend_from_slice(method.as_bytes());
    for piece in target.path {
        out.extend_from_slice(piece.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_field(out, "Host", &[target.host.as_bytes()]);
    for (name, value) in extra {
        write_field(out, name, &[value]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Framing, HeadRules, Method, parse_head};
    use super::*;

    #[test]
    fn a_fixed_head_says_the_same_for_every_request() {
        let fields: [(&str, &[u8]); 2] = [("Accept", b"a/b"), ("X-Key", b"hunter2")];
        let head = FixedHead::new("a", "/v2/payments", &fields);
        let mut out = Vec::new();
        head.write_post(&mut out, &[("traceparent", b"1")], 12);
        assert_eq!(
            String::from_utf8(std::mem::take(&mut out)).unwrap(),
            "POST /v2/payments HTTP/1.1\r\nHost: a\r\nAccept: a/b\r\nX-Key: hunter2\r\n\
             Content-Type: application/json\r\nContent-Length: 12\r\ntraceparent: 1\r\n\r\n"
        );
        head.write_get(&mut out, b"/x");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "GET /v2/payments/x HTTP/1.1\r\nHost: a\r\nAccept: a/b\r\nX-Key: hunter2\r\n\r\n"
        );
        assert!(!format!("{head:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_written_is_read_back_as_the_same_request() {
        let mut out = Vec::new();
        let target = Target {
            host: "a:80",
            path: ["/payments", "/x"],
        };
        let rules = HeadRules {
            auth_header: Some("Authorization".into()),
        };
        write_post(
            &mut out,
            &target,
            &[("Authorization", b"s"), ("X-Request-Id", b"r")],
            b"{}",
        );
        let head = parse_head(&out, &rules).unwrap().unwrap();
        assert_eq!(
            (head.method, head.framing),
            (Method::Post, Framing::Length(2))
        );
        assert_eq!(head.path(&out), "/payments/x");
        assert_eq!(head.auth.unwrap().of(&out), b"s");
        assert_eq!(head.request_id.unwrap().of(&out), b"r");
        assert_eq!(&out[head.head_bytes..], b"{}");
        out.clear();
        write_get(&mut out, &target, &[("X", b"a\r\nY: b")]);
        assert_eq!(out, b"GET /payments/x HTTP/1.1\r\nHost: a:80\r\n\r\n");
    }
}
