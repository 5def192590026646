//! The field lines of a head, requests and answers alike, and the rules by which they frame a
//! message (RFC 9112 sections 5, 6 and 9).
//!
//! Lines are cut here, strictly: no bare LF as line end, no fold, no space before the colon, no
//! section without a bound. Refusals depend on the bytes up to the fault alone, so they are the
//! same however the input was cut into reads.

use super::bytes::{self, NotDecimal};
use crate::limits;

/// Most field lines of a head. A line has at least 4 bytes, so the byte limit alone would allow
/// 2,048 lines.
pub(super) const HTTP_HEADERS_MAX: usize = 100;

/// Why a field section cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SectionFault {
    /// A line that is no field line: bad name, space before the colon, a fold, a control byte.
    Malformed,
    /// LF without CR before it.
    BareLineFeed,
    /// More field lines than the limit.
    TooMany,
    /// No end within the limit of a head.
    TooLong,
}

/// Reads the field section that begins at `start` of `head` and tells `note` each line, its value
/// without the spaces around it. Gives the position after the section's empty line; `None` means
/// that more bytes are needed. What was noted counts only once the section is whole.
pub(super) fn read_section<'b>(
    head: &'b [u8],
    start: usize,
    mut note: impl FnMut(&'b [u8], &'b [u8]),
) -> Result<Option<usize>, SectionFault> {
    let window = head.get(..limits::HTTP_HEAD_BYTES_MAX).unwrap_or(head);
    let mut at = start;
    for _ in 0..=HTTP_HEADERS_MAX {
        match read_line(window.get(at..).unwrap_or_default())? {
            Line::Field { name, value, bytes } => {
                note(name, value);
                at = at.saturating_add(bytes);
            }
            Line::Empty => return Ok(Some(at.saturating_add(LINE_END.len()))),
            Line::Open if window.len() >= limits::HTTP_HEAD_BYTES_MAX => {
                return Err(SectionFault::TooLong);
            }
            Line::Open => return Ok(None),
        }
    }
    Err(SectionFault::TooMany)
}

enum Line<'b> {
    Field {
        name: &'b [u8],
        value: &'b [u8],
        /// Of the whole line, its end included.
        bytes: usize,
    },
    /// The line that ends the section.
    Empty,
    /// Its end has not arrived, and nothing is wrong so far.
    Open,
}

const LINE_END: &[u8; 2] = b"\r\n";

/// The line at the beginning of `rest` (RFC 9112 section 5).
fn read_line(rest: &[u8]) -> Result<Line<'_>, SectionFault> {
    let (name, after) = bytes::split_name(rest);
    let text = match after {
        [b':', text @ ..] if !name.is_empty() => text,
        [] => return Ok(Line::Open),
        [b'\r', ..] if name.is_empty() => {
            return Ok(if is_line_end(after)? {
                Line::Empty
            } else {
                Line::Open
            });
        }
        [b'\n', ..] => return Err(SectionFault::BareLineFeed),
        [_, ..] => return Err(SectionFault::Malformed),
    };
    let (value, after) = bytes::split_value(text);
    if !is_line_end(after)? {
        return Ok(Line::Open);
    }
    Ok(Line::Field {
        name,
        value: bytes::trim(value),
        bytes: rest
            .len()
            .saturating_sub(after.len())
            .saturating_add(LINE_END.len()),
    })
}

/// Whether a line ends here, where its text does; false while that may still come.
fn is_line_end(after: &[u8]) -> Result<bool, SectionFault> {
    match after {
        [b'\r', b'\n', ..] => Ok(true),
        [] | [b'\r'] => Ok(false),
        [b'\n', ..] => Err(SectionFault::BareLineFeed),
        [_, ..] => Err(SectionFault::Malformed),
    }
}

/// The value of the field `name` in a head that was read, its bytes to the end: none where it is
/// not given, an empty one where it is given twice or is no text.
#[must_use]
pub(crate) fn find_field<'b>(head: &'b [u8], name: &str) -> Option<Option<&'b str>> {
    // The empty line that may come before a request (RFC 9112, section 2.2).
    let head = head.strip_prefix(LINE_END).unwrap_or(head);
    let line_of = |start: usize| head.get(start..).unwrap_or_default();
    // Behind the request line.
    let mut start = memchr::memmem::find(head, LINE_END)?.saturating_add(LINE_END.len());
    let mut found = None;
    while let Ok(Line::Field {
        name: this,
        value,
        bytes,
    }) = read_line(line_of(start))
    {
        if this.eq_ignore_ascii_case(name.as_bytes()) {
            found = match found {
                None => Some(std::str::from_utf8(value).ok()),
                Some(_) => Some(None),
            };
        }
        start = start.saturating_add(bytes);
    }
    found
}

/// What the framing fields of one head said so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FramingFields {
    length: Option<u64>,
    codings: Codings,
    /// The option `close` was named.
    pub(super) close: bool,
    /// The option `keep-alive` was named.
    pub(super) keep_alive: bool,
}

/// The transfer codings named so far, over all lines.
#[derive(Clone, Copy, Debug, Default)]
enum Codings {
    #[default]
    None,
    Chunked,
    Others,
    OthersThenChunked,
}

/// Why a head's framing cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FramingFault {
    /// Content-Length is not 1*DIGIT.
    LengthGrammar,
    /// Content-Length is beyond 64 bits.
    LengthOverflow,
    /// A second Content-Length, equal or not.
    LengthTwice,
    /// Content-Length beside Transfer-Encoding.
    LengthWithCoding,
    /// Transfer-Encoding does not end in exactly one `chunked`, or has an empty element.
    CodingGrammar,
    /// A coding below `chunked` that is not known here.
    CodingUnknown,
    /// Transfer-Encoding in an HTTP/1.0 message.
    CodingInOldVersion,
}

/// How a head frames its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framed {
    Nothing,
    Length(u64),
    Chunked,
}

impl FramingFields {
    /// Takes a field line into account if it frames; says whether it did.
    pub(super) fn note(&mut self, name: &[u8], value: &[u8]) -> Result<bool, FramingFault> {
        match name.len() {
            10 if bytes::is_word(name, b"connection") => self.note_connection(value),
            14 if bytes::is_word(name, b"content-length") => self.note_length(value)?,
            17 if bytes::is_word(name, b"transfer-encoding") => self.note_coding(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn note_connection(&mut self, value: &[u8]) {
        for option in bytes::elements(value) {
            self.close |= bytes::is_word(option, b"close");
            self.keep_alive |= bytes::is_word(option, b"keep-alive");
        }
    }

    fn note_length(&mut self, value: &[u8]) -> Result<(), FramingFault> {
        let length = bytes::decimal(value).map_err(|fault| match fault {
            NotDecimal::Grammar => FramingFault::LengthGrammar,
            NotDecimal::Overflow => FramingFault::LengthOverflow,
        })?;
        match self.length.replace(length) {
            Some(_) => Err(FramingFault::LengthTwice),
            None => Ok(()),
        }
    }

    fn note_coding(&mut self, value: &[u8]) -> Result<(), FramingFault> {
        for coding in bytes::elements(value) {
            if coding.is_empty() {
                return Err(FramingFault::CodingGrammar);
            }
            let is_chunked = bytes::is_word(coding, b"chunked");
            self.codings = match self.codings {
                Codings::None if is_chunked => Codings::Chunked,
                Codings::Others if is_chunked => Codings::OthersThenChunked,
                Codings::None | Codings::Others => Codings::Others,
                Codings::Chunked | Codings::OthersThenChunked => {
                    return Err(FramingFault::CodingGrammar);
                }
            };
        }
        Ok(())
    }

    /// The framing that all lines together give.
    pub(super) fn framed(&self, is_old_version: bool) -> Result<Framed, FramingFault> {
        match (self.codings, self.length) {
            (Codings::None, None) => Ok(Framed::Nothing),
            (Codings::None, Some(length)) => Ok(Framed::Length(length)),
            (Codings::Chunked | Codings::Others | Codings::OthersThenChunked, Some(_)) => {
                Err(FramingFault::LengthWithCoding)
            }
            (Codings::Chunked | Codings::Others | Codings::OthersThenChunked, None)
                if is_old_version =>
            {
                Err(FramingFault::CodingInOldVersion)
            }
            (Codings::Chunked, None) => Ok(Framed::Chunked),
            (Codings::Others, None) => Err(FramingFault::CodingGrammar),
            (Codings::OthersThenChunked, None) => Err(FramingFault::CodingUnknown),
        }
    }

    /// Whether the connection lasts after this message (RFC 9112 section 9.3).
    pub(super) fn lasts(&self, is_old_version: bool) -> bool {
        !self.close && (!is_old_version || self.keep_alive)
    }
}

#[cfg(test)]
mod tests;
