//! One answer of a processor or a peer. The sender of an attempt calls this to learn whether the
//! answer is whole: only a fully read answer proves anything about a payment (I3), and only a
//! connection whose answer was read to its end goes back to the pool (I4).
//!
//! An answer whose end could be disputed is a fault, never a guess: the attempt is then Unknown.

use super::body::{AnswerFraming, Body, BodyFault, BodyReader};
use super::bytes;
use super::fields::{self, Framed, FramingFields, SectionFault};
use super::retry_after::RetryAfter;
use crate::limits;

/// Interim (1xx) answers before a final one: p99 never asks for any.
const INTERIM_ANSWERS_MAX: usize = 4;

/// The head of a final answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerHead {
    /// The status code, 200 to 599.
    pub status: u16,
    /// How the body is framed.
    pub framing: AnswerFraming,
    /// Whether the connection may carry another request once the body was read to its end.
    pub keep_alive: bool,
    /// Retry-After; none where it is missing or cannot be read.
    pub retry_after: Option<RetryAfter>,
    /// Bytes up to the body, interim answers included.
    pub head_bytes: usize,
}

/// Why an answer proves nothing. The connection is of no further use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFault {
    /// Not an HTTP/1.x answer, or framing that could be disputed.
    Unreadable,
    /// Head or body larger than the limit.
    TooLarge,
    /// The input ended before the answer did.
    Cut,
}

impl From<SectionFault> for AnswerFault {
    fn from(fault: SectionFault) -> Self {
        match fault {
            SectionFault::Malformed | SectionFault::BareLineFeed => Self::Unreadable,
            SectionFault::TooMany | SectionFault::TooLong => Self::TooLarge,
        }
    }
}

impl From<BodyFault> for AnswerFault {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::Malformed => Self::Unreadable,
            BodyFault::TooLarge | BodyFault::TrailersTooLarge => Self::TooLarge,
            BodyFault::Cut => Self::Cut,
        }
    }
}

/// Reads the answer head at the beginning of `bytes`, interim answers skipped; `None` means that
/// more bytes are needed. `for_head` says that the request was HEAD.
///
/// # Errors
/// Why the bytes are no answer, as soon as it is certain.
pub(crate) fn parse_answer(
    bytes: &[u8],
    for_head: bool,
) -> Result<Option<AnswerHead>, AnswerFault> {
    let mut start = 0_usize;
    for _ in 0..=INTERIM_ANSWERS_MAX {
        let one = bytes.get(start..).unwrap_or_default();
        let Some(head) = parse_one(one, for_head)? else {
            return Ok(None);
        };
        start = start.saturating_add(head.head_bytes);
        if head.status >= 200 {
            return Ok(Some(AnswerHead {
                head_bytes: start,
                ..head
            }));
        }
    }
    Err(AnswerFault::Unreadable)
}

fn parse_one(bytes: &[u8], for_head: bool) -> Result<Option<AnswerHead>, AnswerFault> {
    let Some(line) = read_status_line(bytes)? else {
        return Ok(None);
    };
    let mut framing = FramingFields::default();
    let mut retry_after = None;
    let mut judged = Ok(());
    let section = fields::read_section(bytes, line.end, |name, value| {
        if judged.is_ok() {
            judged = framing.note(name, value).map(|_| ());
        }
        if bytes::is_word(name, b"retry-after") {
            retry_after = RetryAfter::read(value);
        }
    })?;
    let Some(head_bytes) = section else {
        return Ok(None);
    };
    let framed = judged
        .and_then(|()| framing.framed(line.is_old))
        .map_err(|_| AnswerFault::Unreadable)?;
    let framing_read = match (line.status, framed) {
        (204 | 304, _) => AnswerFraming::None,
        (_, _) if for_head || line.status < 200 => AnswerFraming::None,
        (_, Framed::Length(length)) => AnswerFraming::Length(length),
        (_, Framed::Chunked) => AnswerFraming::Chunked,
        (_, Framed::Nothing) => AnswerFraming::UntilClose,
    };
    Ok(Some(AnswerHead {
        status: line.status,
        framing: framing_read,
        keep_alive: framing.lasts(line.is_old) && framing_read != AnswerFraming::UntilClose,
        retry_after,
        head_bytes,
    }))
}

struct StatusLine {
    status: u16,
    is_old: bool,
    end: usize,
}

/// `HTTP/1.1 200 OK` and CRLF. The space before an empty reason may be missing, as many servers
/// leave it out.
fn read_status_line(bytes: &[u8]) -> Result<Option<StatusLine>, AnswerFault> {
    let fits = |(at, byte): (usize, &u8)| match at {
        7 | 10 | 11 => byte.is_ascii_digit(),
        9 => matches!(byte, b'1'..=b'5'),
        12 => matches!(byte, b' ' | b'\r'),
        _ => b"HTTP/1.1 ".get(at) == Some(byte),
    };
    let is_usual = bytes.starts_with(b"HTTP/1.1 200 ");
    if !is_usual && !bytes.iter().take(13).enumerate().all(fits) {
        return Err(AnswerFault::Unreadable);
    }
    let window = bytes.get(..limits::HTTP_HEAD_BYTES_MAX).unwrap_or(bytes);
    let reason = window.get(12..).unwrap_or_default();
    let (reason, behind) = bytes::split_value(reason);
    match behind {
        [b'\r', b'\n', ..] => {}
        [] if window.len() >= limits::HTTP_HEAD_BYTES_MAX => return Err(AnswerFault::TooLarge),
        [] | [b'\r'] => return Ok(None),
        [..] => return Err(AnswerFault::Unreadable),
    }
    let digits = bytes.get(9..12).unwrap_or_default();
    let status = bytes::decimal(digits)
        .ok()
        .and_then(|status| u16::try_from(status).ok());
    match status {
        // A switch of protocols was never asked for.
        None | Some(101) => Err(AnswerFault::Unreadable),
        Some(status) => Ok(Some(StatusLine {
            status,
            is_old: bytes.get(7) == Some(&b'0'),
            end: reason.len().saturating_add(14),
        })),
    }
}

/// A whole answer in its buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its head.
    pub head: AnswerHead,
    /// Where its body lies, decoded.
    pub body: Body,
}

/// Reads one answer to its end.
#[derive(Clone, Copy, Debug)]
pub struct AnswerReader {
    for_head: bool,
    body_bytes_max: usize,
    body: Option<(AnswerHead, BodyReader)>,
}

impl AnswerReader {
    /// A reader for the answer to one request.
    #[must_use]
    pub fn new(for_head: bool, body_bytes_max: usize) -> Self {
        Self {
            for_head,
            body_bytes_max,
            body: None,
        }
    }

    /// Looks at what has arrived at the end of `buffer`, which begins where the answer does, since
    /// the last call. `None` means that more is needed. Bytes behind the body in a whole answer
    /// belong to no one: such a connection must not be used again.
    ///
    /// # Errors
    /// Why there will be no answer.
    pub fn advance(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Answer>, AnswerFault> {
        let (head, mut reader) = match self.body {
            Some(known) => known,
            None => {
                let Some(head) = parse_answer(buffer, self.for_head)? else {
                    return Ok(None);
                };
                let max = self.body_bytes_max;
                (
                    head,
                    BodyReader::answer(head.framing, head.head_bytes, max)?,
                )
            }
        };
        let body = reader.advance(buffer)?;
        self.body = Some((head, reader));
        Ok(body.map(|body| Answer { head, body }))
    }

    /// The input has ended: the answer that the close completes, else [`AnswerFault::Cut`]. Call it
    /// after [`Self::advance`] has seen every byte.
    ///
    /// # Errors
    /// [`AnswerFault::Cut`] when the answer is not whole.
    pub fn close(&self, buffer: &[u8]) -> Result<Answer, AnswerFault> {
        match self.body {
            Some((head, reader)) => Ok(Answer {
                head,
                body: reader.close(buffer)?,
            }),
            None => Err(AnswerFault::Cut),
        }
    }
}

#[cfg(test)]
mod tests;
