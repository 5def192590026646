//! One answer of the simulated processor: status, `Retry-After`, body, and its bytes.

use std::io::Write as _;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The status code.
    pub status: u16,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u32>,
    /// JSON, or empty.
    pub body: Vec<u8>,
}

impl Reply {
    /// A JSON answer.
    #[must_use]
    pub(crate) fn new(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            retry_after: None,
            body,
        }
    }

    /// An answer without a body.
    #[must_use]
    pub(crate) fn empty(status: u16) -> Self {
        Self::new(status, Vec::new())
    }

    /// The same with `Retry-After`.
    #[must_use]
    pub(crate) fn after(self, seconds: u32) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }

    /// Its bytes, and how many of them are the head with its empty line.
    #[must_use]
    pub(crate) fn bytes(&self, keeps_alive: bool) -> (Vec<u8>, usize) {
        let mut out = self.head(keeps_alive);
        // A 204 has no body and so no length (RFC 9110, section 8.6).
        if self.status == 204 {
            out.extend_from_slice(b"\r\n");
            let head_bytes = out.len();
            return (out, head_bytes);
        }
        // Writing to a Vec cannot fail.
        let _ = write!(out, "Content-Length: {}\r\n\r\n", self.body.len());
        let head_bytes = out.len();
        out.extend_from_slice(&self.body);
        (out, head_bytes)
    }

    /// The same with its body in two chunks; as it is when it has none.
    #[must_use]
    pub(crate) fn chunked(&self, keeps_alive: bool) -> Vec<u8> {
        if self.body.is_empty() {
            return self.bytes(keeps_alive).0;
        }
        let mut out = self.head(keeps_alive);
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        let (first, second) = self.body.split_at(self.body.len() / 2);
        for chunk in [first, second]
            .into_iter()
            .filter(|chunk| !chunk.is_empty())
        {
            let _ = write!(out, "{:x}\r\n", chunk.len());
            out.extend_from_slice(chunk);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\n\r\n");
        out
    }

    /// The same without a length: its end is the connection's.
    #[must_use]
    pub(crate) fn until_close(&self) -> Vec<u8> {
        let mut out = self.head(false);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
        out
    }

    /// The head without what tells the body's end.
    fn head(&self, keeps_alive: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(192 + self.body.len());
        // Writing to a Vec cannot fail.
        let _ = write!(
            out,
            "HTTP/1.1 {} {}\r\nServer: sim\r\n",
            self.status,
            reason(self.status)
        );
        if let Some(seconds) = self.retry_after {
            let _ = write!(out, "Retry-After: {seconds}\r\n");
        }
        if !keeps_alive {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        if !self.body.is_empty() {
            out.extend_from_slice(b"Content-Type: application/json; charset=utf-8\r\n");
        }
        out
    }
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Scripted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_http() {
        let (bytes, head_bytes) = Reply::new(429, b"{}".to_vec()).after(5).bytes(false);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 429 Too Many Requests\r\nServer: sim\r\nRetry-After: 5\r\n\
             Connection: close\r\nContent-Type: application/json; charset=utf-8\r\n\
             Content-Length: 2\r\n\r\n{}"
        );
        assert_eq!(text.get(head_bytes..), Some("{}"));
        assert_eq!(
            Reply::empty(404).chunked(true),
            Reply::empty(404).bytes(true).0
        );
        let text = String::from_utf8(Reply::new(200, b"[1]".to_vec()).chunked(true)).unwrap();
        let end = "Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n2\r\n1]\r\n0\r\n\r\n";
        assert!(text.ends_with(end), "{text}");
        let (bytes, head_bytes) = Reply::empty(204).bytes(true);
        assert_eq!(bytes, b"HTTP/1.1 204 No Content\r\nServer: sim\r\n\r\n");
        assert_eq!(head_bytes, bytes.len());
    }
}
