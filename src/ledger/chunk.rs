//! The bytes of a snapshot: a ledger in pieces that are small enough to be a journal record.
//!
//! A piece is `version`, the hour as a zigzag varint, then parts: a varint that is 0 for old
//! seconds or `1 + second` for an exact one, a varint of the part's length, and its list. Pieces
//! add up, so their order is free and those of several cores can be read into one ledger.

use std::borrow::Cow;

use super::hour::{MILLIS, SECONDS};
use super::list::{List, read_varint, write_varint};
use crate::limits;

/// A piece of a ledger's snapshot takes no further list from this size on.
const LEDGER_CHUNK_BYTES_FULL: usize = 64 * 1024;

const VERSION: u8 = 1;

/// Largest list: every entry with a header of 2 bytes, a count of 10 and cents of 19.
const LIST_BYTES_MAX: usize = 31 * 2 * 3_600;
const _: () = assert!(
    LEDGER_CHUNK_BYTES_FULL + LIST_BYTES_MAX + 32 < limits::LEDGER_CHUNK_BYTES_MAX,
    "a chunk that is not full takes one more list"
);

/// Why bytes are no chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkFault {
    /// Written by a version that this one does not know.
    Version,
    /// Not what this version writes.
    Malformed,
}

/// One list of a ledger and where it belongs.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// Hours since 1970.
    pub(super) hour: i64,
    pub(super) seconds: Seconds,
    pub(super) list: Cow<'a, List>,
}

/// Which seconds of the hour a list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seconds {
    /// Many, by second.
    Old,
    /// This one, by millisecond.
    Exact(u16),
}

/// Packs parts, in any order, into chunks; parts of one hour that follow each other share one.
pub(super) fn write<'a>(parts: impl Iterator<Item = Part<'a>>) -> impl Iterator<Item = Vec<u8>> {
    let mut parts = parts.peekable();
    std::iter::from_fn(move || {
        let first = parts.next()?;
        let hour = first.hour;
        let mut chunk = vec![VERSION];
        write_varint(u128::from(zigzag(hour)), &mut chunk);
        write_part(&first, &mut chunk);
        while let Some(part) =
            parts.next_if(|part| part.hour == hour && chunk.len() < LEDGER_CHUNK_BYTES_FULL)
        {
            write_part(&part, &mut chunk);
        }
        Some(chunk)
    })
}

fn write_part(part: &Part<'_>, chunk: &mut Vec<u8>) {
    let key = match part.seconds {
        Seconds::Old => 0,
        Seconds::Exact(second) => 1 + u128::from(second),
    };
    let bytes = part.list.bytes();
    write_varint(key, chunk);
    write_varint(u128::try_from(bytes.len()).unwrap_or_default(), chunk);
    chunk.extend_from_slice(bytes);
}

/// The parts of a chunk.
pub(super) fn read(chunk: &[u8]) -> Result<Vec<Part<'static>>, ChunkFault> {
    let (version, mut rest) = chunk.split_first().ok_or(ChunkFault::Malformed)?;
    if *version != VERSION {
        return Err(ChunkFault::Version);
    }
    let hour = read_varint(&mut rest)
        .and_then(|hour| u64::try_from(hour).ok())
        .map(unzigzag)
        .filter(|hour| hour.unsigned_abs() <= HOUR_MAX)
        .ok_or(ChunkFault::Malformed)?;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        parts.push(read_part(hour, &mut rest).ok_or(ChunkFault::Malformed)?);
    }
    Ok(parts)
}

fn read_part(hour: i64, rest: &mut &[u8]) -> Option<Part<'static>> {
    let seconds = match u16::try_from(read_varint(rest)?).ok()?.checked_sub(1) {
        None => Seconds::Old,
        Some(second) if second < SECONDS => Seconds::Exact(second),
        Some(_) => return None,
    };
    let places = match seconds {
        Seconds::Old => SECONDS,
        Seconds::Exact(_) => MILLIS,
    };
    let length = usize::try_from(read_varint(rest)?).ok()?;
    let (bytes, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(Part {
        hour,
        seconds,
        list: Cow::Owned(List::read(bytes, places)?),
    })
}

/// The hour of the first or last millisecond that an i64 counts.
const HOUR_MAX: u64 = (1 << 63) / 3_600_000 + 1;

/// Small numbers of either sign become small numbers.
fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}
