//! The field lines of a head, requests and answers alike, and the rules by which they frame a
//! message (RFC 9112 sections 5, 6 and 9).
//!
//! `httparse` cuts the lines into names and values. What it lets pass is refused around it: a bare
//! LF as line end, and a section without a bound. Refusals depend on the bytes up to the fault
//! alone, so they are the same however the input was cut into reads.

use httparse::{EMPTY_HEADER, Header, Status};

use super::octets::{self, NotDecimal};
use crate::limits;

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

/// Reads the field section that begins at `start` of `head`. Once its empty line has arrived the
/// lines go to `judge`, whose answer is returned with the position after the section; `None`
/// means that more bytes are needed.
pub(super) fn read_section<'b, T>(
    head: &'b [u8],
    start: usize,
    judge: impl FnOnce(&[Header<'b>]) -> T,
) -> Result<Option<(usize, T)>, SectionFault> {
    let window = head.get(..limits::HTTP_HEAD_BYTES_MAX).unwrap_or(head);
    let extent = section_extent(window, start);
    let end = match extent {
        Extent::Complete(end) | Extent::BareLineFeed(end) => end,
        Extent::Open => window.len(),
    };
    let section = window.get(start..end).unwrap_or_default();
    let mut usual = [EMPTY_HEADER; limits::HTTP_HEADERS_USUAL];
    let judged = match httparse::parse_headers(section, &mut usual) {
        // The large array costs 3 KiB of stores, so only the rare long head pays for it.
        Err(httparse::Error::TooManyHeaders) => {
            let mut all = [EMPTY_HEADER; limits::HTTP_HEADERS_MAX];
            judge_parsed(httparse::parse_headers(section, &mut all), judge)?
        }
        parsed => judge_parsed(parsed, judge)?,
    };
    match (judged, extent) {
        (Some((length, judgement)), Extent::Complete(_)) if length == section.len() => {
            Ok(Some((end, judgement)))
        }
        (Some(_), Extent::Complete(_) | Extent::Open) | (None, Extent::Complete(_)) => {
            Err(SectionFault::Malformed)
        }
        (Some(_) | None, Extent::BareLineFeed(_)) => Err(SectionFault::BareLineFeed),
        (None, Extent::Open) if window.len() >= limits::HTTP_HEAD_BYTES_MAX => {
            Err(SectionFault::TooLong)
        }
        (None, Extent::Open) => Ok(None),
    }
}

fn judge_parsed<'b, T>(
    parsed: httparse::Result<(usize, &[Header<'b>])>,
    judge: impl FnOnce(&[Header<'b>]) -> T,
) -> Result<Option<(usize, T)>, SectionFault> {
    match parsed {
        Ok(Status::Complete((length, headers))) => Ok(Some((length, judge(headers)))),
        Ok(Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(SectionFault::TooMany),
        Err(_) => Err(SectionFault::Malformed),
    }
}

#[derive(Clone, Copy)]
enum Extent {
    /// The position after the empty line.
    Complete(usize),
    /// The position of the first LF that follows no CR, before any end.
    BareLineFeed(usize),
    /// Neither yet.
    Open,
}

fn section_extent(window: &[u8], start: usize) -> Extent {
    // The start line's LF stands right before `start`.
    let mut line_start = start;
    for offset in memchr::memchr_iter(b'\n', window.get(start..).unwrap_or_default()) {
        let at = start.saturating_add(offset);
        if at == start || window.get(at.saturating_sub(1)) != Some(&b'\r') {
            return Extent::BareLineFeed(at);
        }
        if at.saturating_sub(1) == line_start {
            return Extent::Complete(at.saturating_add(1));
        }
        line_start = at.saturating_add(1);
    }
    Extent::Open
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
    pub(super) fn note(&mut self, name: &str, value: &[u8]) -> Result<bool, FramingFault> {
        match name.len() {
            10 if name.eq_ignore_ascii_case("connection") => self.note_connection(value),
            14 if name.eq_ignore_ascii_case("content-length") => self.note_length(value)?,
            17 if name.eq_ignore_ascii_case("transfer-encoding") => self.note_coding(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn note_connection(&mut self, value: &[u8]) {
        for option in octets::elements(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn note_length(&mut self, value: &[u8]) -> Result<(), FramingFault> {
        let length = octets::decimal(octets::trim(value)).map_err(|fault| match fault {
            NotDecimal::Grammar => FramingFault::LengthGrammar,
            NotDecimal::Overflow => FramingFault::LengthOverflow,
        })?;
        match self.length.replace(length) {
            Some(_) => Err(FramingFault::LengthTwice),
            None => Ok(()),
        }
    }

    fn note_coding(&mut self, value: &[u8]) -> Result<(), FramingFault> {
        for coding in octets::elements(value) {
            if coding.is_empty() {
                return Err(FramingFault::CodingGrammar);
            }
            let is_chunked = coding.eq_ignore_ascii_case(b"chunked");
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
