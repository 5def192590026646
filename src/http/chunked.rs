//! The chunked coding (RFC 9112 section 7.1), decoded in place as its bytes arrive.
//!
//! The decoder is a state for every place in the grammar and takes nothing that is not in it: an
//! empty size, a bare CR or LF, a space before the line end are how two programs come to disagree
//! about where a message ends. Chunk extensions and trailers are checked, bounded and dropped:
//! a trailer never becomes a header field.

use super::bytes;

/// Digits of a chunk size: 16 hexadecimal digits fill 64 bits, so no size can overflow.
const CHUNK_SIZE_DIGITS_MAX: u8 = 16;
/// Bytes of all chunk extensions of one body: they carry nothing that p99 reads, and a body of
/// one-byte chunks must not be a way to send megabytes.
const CHUNK_EXTENSION_BYTES_MAX: usize = 1024;
/// Bytes of a trailer section, which is checked and dropped.
const TRAILER_BYTES_MAX: usize = 2 * 1024;

/// Decodes one chunked body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkedDecoder {
    place: Place,
    /// Bytes left of the present chunk; while a size is read, its value so far.
    left: u64,
    /// Digits of the present size.
    digits: u8,
    decoded: u64,
    decoded_max: u64,
    extension_bytes: usize,
    trailer_bytes: usize,
}

/// Why a body cannot be decoded. The connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkFault {
    /// Not the grammar, or extensions without end: 400.
    Malformed,
    /// The decoded body would pass its limit: 413.
    TooLarge,
    /// The trailers pass their limit: 431.
    TrailersTooLarge,
}

/// What one call decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// Bytes taken from the front; all of them unless `is_done`.
    pub consumed: usize,
    /// Decoded bytes, which now stand at the front.
    pub written: usize,
    /// The body has ended; what follows the consumed bytes is another message.
    pub is_done: bool,
}

/// Places in the grammar; each names what may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Size,
    /// Space after the size: only an extension may follow.
    SizeSpace,
    ExtensionName {
        started: bool,
    },
    ExtensionNameSpace,
    ExtensionValue {
        started: bool,
    },
    ExtensionQuoted {
        escaped: bool,
    },
    ExtensionEnd,
    /// Space after a value: only a further extension may follow.
    ExtensionEndSpace,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    LastLineFeed,
    Done,
}

impl ChunkedDecoder {
    /// A decoder for a body of at most `decoded_max` bytes.
    #[must_use]
    pub(crate) fn new(decoded_max: u64) -> Self {
        Self {
            place: Place::Size,
            left: 0,
            digits: 0,
            decoded: 0,
            decoded_max,
            extension_bytes: 0,
            trailer_bytes: 0,
        }
    }

    /// Decodes `bytes`, the bytes that arrived since the last call, moving the decoded ones to
    /// their front.
    ///
    /// # Errors
    /// The fault; the decoder must not be used again.
    pub(crate) fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, ChunkFault> {
        let (mut consumed, mut written) = (0_usize, 0_usize);
        while self.place != Place::Done {
            if self.place == Place::Data {
                let rest = bytes.len().saturating_sub(consumed);
                let run = usize::try_from(self.left).map_or(rest, |left| left.min(rest));
                if run == 0 {
                    break;
                }
                let run_end = consumed.saturating_add(run);
                bytes.copy_within(consumed..run_end, written);
                consumed = run_end;
                written = written.saturating_add(run);
                self.left = self
                    .left
                    .saturating_sub(u64::try_from(run).unwrap_or(u64::MAX));
                if self.left == 0 {
                    self.place = Place::DataReturn;
                }
                continue;
            }
            let Some(byte) = bytes.get(consumed) else {
                break;
            };
            self.place = self.step(*byte)?;
            consumed = consumed.saturating_add(1);
        }
        Ok(Decoded {
            consumed,
            written,
            is_done: self.place == Place::Done,
        })
    }

    /// The place after `byte` of framing.
    fn step(&mut self, byte: u8) -> Result<Place, ChunkFault> {
        match self.place {
            Place::Size | Place::SizeSpace | Place::SizeLineFeed => self.step_size(byte),
            Place::ExtensionName { .. }
            | Place::ExtensionNameSpace
            | Place::ExtensionValue { .. }
            | Place::ExtensionQuoted { .. }
            | Place::ExtensionEnd
            | Place::ExtensionEndSpace => {
                self.extension_bytes = self.extension_bytes.saturating_add(1);
                if self.extension_bytes > CHUNK_EXTENSION_BYTES_MAX {
                    return Err(ChunkFault::Malformed);
                }
                step_extension(self.place, byte)
            }
            Place::TrailerStart
            | Place::TrailerName
            | Place::TrailerValue
            | Place::TrailerLineFeed
            | Place::LastLineFeed => {
                self.trailer_bytes = self.trailer_bytes.saturating_add(1);
                if self.trailer_bytes > TRAILER_BYTES_MAX {
                    return Err(ChunkFault::TrailersTooLarge);
                }
                step_trailer(self.place, byte)
            }
            Place::DataReturn if byte == b'\r' => Ok(Place::DataLineFeed),
            Place::DataLineFeed if byte == b'\n' => {
                self.digits = 0;
                self.left = 0;
                Ok(Place::Size)
            }
            // `decode` copies data itself and stops when done.
            Place::DataReturn | Place::DataLineFeed | Place::Data | Place::Done => {
                Err(ChunkFault::Malformed)
            }
        }
    }

    fn step_size(&mut self, byte: u8) -> Result<Place, ChunkFault> {
        match (self.place, byte) {
            (Place::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if self.digits >= CHUNK_SIZE_DIGITS_MAX {
                    return Err(ChunkFault::Malformed);
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.digits = self.digits.saturating_add(1);
                // Sixteen digits fill 64 bits exactly, so nothing is shifted out.
                self.left = (self.left << 4) | u64::from(digit);
                Ok(Place::Size)
            }
            (Place::Size, _) if self.digits == 0 => Err(ChunkFault::Malformed),
            (Place::Size | Place::SizeSpace, b';') => Ok(Place::ExtensionName { started: false }),
            (Place::Size | Place::SizeSpace, b' ' | b'\t') => {
                self.extension_bytes = self.extension_bytes.saturating_add(1);
                if self.extension_bytes > CHUNK_EXTENSION_BYTES_MAX {
                    return Err(ChunkFault::Malformed);
                }
                Ok(Place::SizeSpace)
            }
            (Place::Size, b'\r') => Ok(Place::SizeLineFeed),
            (Place::SizeLineFeed, b'\n') if self.left == 0 => Ok(Place::TrailerStart),
            (Place::SizeLineFeed, b'\n') => {
                self.decoded = self.decoded.saturating_add(self.left);
                if self.decoded > self.decoded_max {
                    return Err(ChunkFault::TooLarge);
                }
                Ok(Place::Data)
            }
            (_, _) => Err(ChunkFault::Malformed),
        }
    }
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`
fn step_extension(place: Place, byte: u8) -> Result<Place, ChunkFault> {
    let is_space = matches!(byte, b' ' | b'\t');
    match (place, byte) {
        (Place::ExtensionName { started: false }, _) if is_space => Ok(place),
        (Place::ExtensionName { .. }, _) if bytes::is_token(byte) => {
            Ok(Place::ExtensionName { started: true })
        }
        (Place::ExtensionName { started: true } | Place::ExtensionNameSpace, b'=') => {
            Ok(Place::ExtensionValue { started: false })
        }
        (Place::ExtensionName { started: true } | Place::ExtensionNameSpace, _) if is_space => {
            Ok(Place::ExtensionNameSpace)
        }
        (Place::ExtensionValue { started: false }, _) if is_space => Ok(place),
        (Place::ExtensionValue { started: false }, b'"') => {
            Ok(Place::ExtensionQuoted { escaped: false })
        }
        (Place::ExtensionValue { .. }, _) if bytes::is_token(byte) => {
            Ok(Place::ExtensionValue { started: true })
        }
        (Place::ExtensionQuoted { escaped: false }, b'"') => Ok(Place::ExtensionEnd),
        (Place::ExtensionQuoted { escaped: false }, b'\\') => {
            Ok(Place::ExtensionQuoted { escaped: true })
        }
        (Place::ExtensionQuoted { .. }, _) if bytes::is_field(byte) => {
            Ok(Place::ExtensionQuoted { escaped: false })
        }
        (Place::ExtensionValue { started: true } | Place::ExtensionEnd, _) if is_space => {
            Ok(Place::ExtensionEndSpace)
        }
        (Place::ExtensionEndSpace, _) if is_space => Ok(place),
        (
            Place::ExtensionName { started: true }
            | Place::ExtensionNameSpace
            | Place::ExtensionValue { started: true }
            | Place::ExtensionEnd
            | Place::ExtensionEndSpace,
            b';',
        ) => Ok(Place::ExtensionName { started: false }),
        (
            Place::ExtensionName { started: true }
            | Place::ExtensionValue { started: true }
            | Place::ExtensionEnd,
            b'\r',
        ) => Ok(Place::SizeLineFeed),
        (_, _) => Err(ChunkFault::Malformed),
    }
}

/// Field lines and the empty line that ends the body.
fn step_trailer(place: Place, byte: u8) -> Result<Place, ChunkFault> {
    match (place, byte) {
        (Place::TrailerStart, b'\r') => Ok(Place::LastLineFeed),
        (Place::LastLineFeed, b'\n') => Ok(Place::Done),
        (Place::TrailerStart | Place::TrailerName, _) if bytes::is_token(byte) => {
            Ok(Place::TrailerName)
        }
        (Place::TrailerName, b':') => Ok(Place::TrailerValue),
        (Place::TrailerValue, _) if bytes::is_field(byte) => Ok(place),
        (Place::TrailerValue, b'\r') => Ok(Place::TrailerLineFeed),
        (Place::TrailerLineFeed, b'\n') => Ok(Place::TrailerStart),
        (_, _) => Err(ChunkFault::Malformed),
    }
}

#[cfg(test)]
mod tests;
