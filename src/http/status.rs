//! Every status that p99 answers with: the one table of which status line, the title of a problem
//! and the label of a metric are made (RFC 9110, section 15; RFC 6585 for 429 and 431).

/// A status of p99's own answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// The code.
    pub code: u16,
    /// The same as text.
    pub text: &'static str,
    /// Its reason phrase.
    pub phrase: &'static str,
    /// The whole status line.
    pub line: &'static [u8],
}

macro_rules! statuses {
    ($($code:literal $phrase:literal,)+) => {
        /// All of them, lowest first.
        pub(crate) const STATUSES: &[Status] = &[$(Status {
            code: $code,
            text: stringify!($code),
            phrase: $phrase,
            line: concat!("HTTP/1.1 ", $code, " ", $phrase, "\r\n").as_bytes(),
        },)+];
    };
}

statuses! {
    200 "OK",
    202 "Accepted",
    204 "No Content",
    400 "Bad Request",
    401 "Unauthorized",
    403 "Forbidden",
    404 "Not Found",
    405 "Method Not Allowed",
    408 "Request Timeout",
    409 "Conflict",
    413 "Content Too Large",
    414 "URI Too Long",
    415 "Unsupported Media Type",
    417 "Expectation Failed",
    421 "Misdirected Request",
    422 "Unprocessable Content",
    429 "Too Many Requests",
    431 "Request Header Fields Too Large",
    500 "Internal Server Error",
    501 "Not Implemented",
    502 "Bad Gateway",
    503 "Service Unavailable",
    504 "Gateway Timeout",
    505 "HTTP Version Not Supported",
}

/// The place of `code` in [`STATUSES`]. `None` for a status that p99 never answers with; the
/// simulator may.
#[must_use]
pub(crate) fn place_of(code: u16) -> Option<usize> {
    STATUSES.iter().position(|status| status.code == code)
}

/// The status of `code`, as [`place_of`].
#[must_use]
pub(crate) fn find(code: u16) -> Option<&'static Status> {
    STATUSES.get(place_of(code)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_stands_once_in_its_order() {
        assert!(STATUSES.is_sorted_by_key(|status| status.code));
        for (place, status) in STATUSES.iter().enumerate() {
            assert_eq!(place_of(status.code), Some(place));
            assert_eq!(status.text, status.code.to_string());
        }
        assert_eq!(find(299), None);
        let ok = find(200).unwrap();
        assert_eq!((ok.phrase, ok.line), ("OK", &b"HTTP/1.1 200 OK\r\n"[..]));
    }
}
