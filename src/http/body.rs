//! One body, read to its end in the buffer that its bytes arrive in, whatever its framing.
//!
//! The buffer holds the head, then the body, then perhaps the next message. A chunked body is
//! decoded where it stands and its framing is cut out, so when it is whole the body lies right
//! behind the head in one piece, the next message right behind the body, and the buffer never
//! holds more than head, limit and one read.

use std::ops::Range;

use super::chunked::{ChunkFault, ChunkedDecoder};
use super::head::Framing;

/// Where a whole body lies in the buffer. The next message begins at `end`.
pub type Body = Range<usize>;

/// How an answer's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFraming {
    /// No body: 204, 304, or the request was HEAD.
    None,
    /// This many bytes.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// It ends where the connection does.
    UntilClose,
}

/// Why a body is refused or lost. The connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// Larger than its limit: 413.
    TooLarge,
    /// The chunked coding is malformed: 400.
    Malformed,
    /// Trailers larger than their limit: 431.
    TrailersTooLarge,
    /// The input ended before the body did.
    Cut,
}

impl BodyFault {
    /// The status for a client that sent such a body.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::TooLarge => 413,
            Self::Malformed | Self::Cut => 400,
            Self::TrailersTooLarge => 431,
        }
    }

    /// The same in words.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLarge => "the body is too large",
            Self::Malformed => "the chunked coding is malformed",
            Self::TrailersTooLarge => "the trailers are too large",
            Self::Cut => "the body ended early",
        }
    }
}

impl From<ChunkFault> for BodyFault {
    fn from(fault: ChunkFault) -> Self {
        match fault {
            ChunkFault::Malformed => Self::Malformed,
            ChunkFault::TooLarge => Self::TooLarge,
            ChunkFault::TrailersTooLarge => Self::TrailersTooLarge,
        }
    }
}

/// Reads one body.
#[derive(Clone, Copy, Debug)]
pub struct BodyReader {
    start: usize,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Ends at this position.
    Length(usize),
    /// Decoded up to `decoded_end`; what lies behind is still coded.
    Chunked {
        decoder: ChunkedDecoder,
        decoded_end: usize,
    },
    /// Whole when the input ends, at most up to this position.
    UntilClose(usize),
}

impl BodyReader {
    /// A reader for a request's body that begins at `start` of its buffer.
    ///
    /// # Errors
    /// [`BodyFault::TooLarge`] when the head already announces more than `body_bytes_max`.
    pub fn request(
        framing: Framing,
        start: usize,
        body_bytes_max: usize,
    ) -> Result<Self, BodyFault> {
        match framing {
            Framing::None => Self::length(0, start, body_bytes_max),
            Framing::Length(length) => Self::length(length, start, body_bytes_max),
            Framing::Chunked => Ok(Self::chunked(start, body_bytes_max)),
        }
    }

    /// The same for an answer's body.
    ///
    /// # Errors
    /// As above.
    pub fn answer(
        framing: AnswerFraming,
        start: usize,
        body_bytes_max: usize,
    ) -> Result<Self, BodyFault> {
        match framing {
            AnswerFraming::None => Self::length(0, start, body_bytes_max),
            AnswerFraming::Length(length) => Self::length(length, start, body_bytes_max),
            AnswerFraming::Chunked => Ok(Self::chunked(start, body_bytes_max)),
            AnswerFraming::UntilClose => {
                let kind = Kind::UntilClose(start.saturating_add(body_bytes_max));
                Ok(Self { start, kind })
            }
        }
    }

    fn length(length: u64, start: usize, body_bytes_max: usize) -> Result<Self, BodyFault> {
        let length = usize::try_from(length).map_err(|_| BodyFault::TooLarge)?;
        if length > body_bytes_max {
            return Err(BodyFault::TooLarge);
        }
        Ok(Self {
            start,
            kind: Kind::Length(start.saturating_add(length)),
        })
    }

    fn chunked(start: usize, body_bytes_max: usize) -> Self {
        let decoder = ChunkedDecoder::new(u64::try_from(body_bytes_max).unwrap_or(u64::MAX));
        Self {
            start,
            kind: Kind::Chunked {
                decoder,
                decoded_end: start,
            },
        }
    }

    /// Looks at what has arrived at the end of `buffer` since the last call. `None` means that
    /// more is needed; after `Some` the reader has done its work.
    ///
    /// # Errors
    /// Why there will be no body.
    pub fn advance(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Body>, BodyFault> {
        match &mut self.kind {
            Kind::Length(end) => Ok((buffer.len() >= *end).then_some(self.start..*end)),
            Kind::Chunked {
                decoder,
                decoded_end,
            } => {
                let decoded = decoder.decode(buffer.get_mut(*decoded_end..).unwrap_or_default())?;
                let gap_end = decoded_end
                    .saturating_add(decoded.consumed)
                    .min(buffer.len());
                *decoded_end = decoded_end.saturating_add(decoded.written).min(gap_end);
                buffer.drain(*decoded_end..gap_end);
                Ok(decoded.is_done.then_some(self.start..*decoded_end))
            }
            Kind::UntilClose(end_max) => {
                if buffer.len() > *end_max {
                    Err(BodyFault::TooLarge)
                } else {
                    Ok(None)
                }
            }
        }
    }

    /// The input has ended: the body that the close completes, else [`BodyFault::Cut`]. Call it
    /// after [`Self::advance`] has seen every byte.
    ///
    /// # Errors
    /// [`BodyFault::Cut`] when the body is not whole.
    pub fn close(&self, buffer: &[u8]) -> Result<Body, BodyFault> {
        match self.kind {
            Kind::UntilClose(end_max) if buffer.len() <= end_max => Ok(self.start..buffer.len()),
            Kind::UntilClose(_) => Err(BodyFault::TooLarge),
            Kind::Length(_) | Kind::Chunked { .. } => Err(BodyFault::Cut),
        }
    }
}
