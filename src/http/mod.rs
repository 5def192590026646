//! HTTP/1.1 as bytes: reading a request head, a body and an answer, and writing the same.
//!
//! Everything here is pure. A function is given bytes and says what they are; nothing reads a
//! socket, the clock or a setting, and nothing allocates but the growth of an output buffer that
//! the caller owns. The server, the client towards the processors and the simulator use it.
//!
//! It is strict on purpose: a message that two programs could frame differently is refused, since
//! a payment hidden in another's body would be charged (request smuggling, RFC 9112 section 11.2).
//! Every limit on what is read is a constant beside what reads it, or in `limits` (I8).

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod chunked;
pub(crate) mod date;
pub(crate) mod head;
pub(crate) mod request;
pub(crate) mod response;

mod authority;
mod bytes;
mod fields;
mod node;
mod request_line;
mod retry_after;
pub(crate) mod status;

pub(crate) use answer::{Answer, parse_answer};
pub use answer::{AnswerFault, AnswerHead, AnswerReader};
pub use body::{AnswerFraming, Body, BodyFault, BodyReader};
pub(crate) use chunked::ChunkedDecoder;
pub use date::DateCache;
pub(crate) use date::DateText;
pub(crate) use fields::find_field;
pub(crate) use head::{ContentCoding, ContentType};
pub use head::{Framing, HeadRules, Persistence, RequestHead, parse_head};
pub use node::read_node;
pub use request::FixedHead;
pub(crate) use request::{Target, write_get, write_post};
pub use request_line::{Method, Reject, Version};
pub(crate) use response::{CONTINUE, ConnectionField};
pub use response::{ResponseHead, write_response};
pub use retry_after::RetryAfter;

/// A piece of a message's bytes, by position: a head outlives the borrow of its buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// The span from `start` to before `end`; empty where that is no part of any head.
    fn new(start: usize, end: usize) -> Self {
        match (u16::try_from(start), u16::try_from(end)) {
            (Ok(start), Ok(end)) if start <= end => Self { start, end },
            (Ok(_) | Err(_), Ok(_) | Err(_)) => Self::default(),
        }
    }

    /// Where `part`, a slice of `whole`, lies in it; the empty span where it does not.
    fn within(whole: &[u8], part: &[u8]) -> Self {
        // The parser hands out a constant for an empty value, so its address says nothing.
        let base = whole.as_ptr().addr();
        match part.as_ptr().addr().checked_sub(base) {
            Some(start) if !part.is_empty() && start <= whole.len() => {
                Self::new(start, start.saturating_add(part.len()))
            }
            Some(_) | None => Self::default(),
        }
    }

    /// The bytes that it names in `bytes`, which must start where the parsed message started.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes
            .get(usize::from(self.start)..usize::from(self.end))
            .unwrap_or_default()
    }

    /// The same as text; empty where the bytes are no UTF-8.
    #[must_use]
    pub fn text(self, bytes: &[u8]) -> &str {
        std::str::from_utf8(self.of(bytes)).unwrap_or_default()
    }

    /// Whether it names no byte.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}
