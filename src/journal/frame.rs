//! How records lie in a file: a header that names the file, then frames. Pure bytes; `segment`
//! and `snapshot` call it, it opens nothing.
//!
//! A frame is `mark 0x9D, length u24 | sequence u64 | position u32 | crc of the payload | crc of
//! this header`, 24 bytes little-endian, then the payload, which ends in the byte 0xA5. Both
//! checksums start from a seed made of file kind, epoch and core, so a frame of another core,
//! epoch or kind is never taken for one of ours. `position` counts within the batch that one
//! write (and one sync) carried: a hole is a torn batch only when no frame of a *later* batch
//! exists, because a batch is written after the one before it was synced.
//!
//! First and last byte are never zero: a frame that was cut off can be told from one that was
//! damaged later, and zeros of the preallocated rest are never a frame. The caps are I8's.

use std::io::{self, Read};

use crate::payment::CoreId;

/// Longest payload of one journal frame. A snapshot cuts its ledger into parts of
/// [`JOURNAL_PART_BYTES`], an owner's record has at most 132 bytes; a reader never buffers more.
const JOURNAL_PAYLOAD_BYTES_MAX: usize = 2 << 20;

/// Bytes of a frame before its payload.
pub(crate) const HEAD_BYTES: usize = 24;
/// Bytes of the header that opens every file.
pub(crate) const FILE_HEAD_BYTES: usize = 32;
/// Bytes that one disk write either changes or leaves as they were.
pub(crate) const SECTOR_BYTES: usize = 512;

const FIRST_MARK: u8 = 0x9D;
const LAST_MARK: u8 = 0xA5;

const _: () = assert!(
    JOURNAL_PAYLOAD_BYTES_MAX < 1 << 24,
    "a length has three bytes"
);

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Records as the owner appended them.
    Segment,
    /// The state that all earlier records lead to.
    Snapshot,
}

/// Which file it is. Its name, its first bytes and the seed of its checksums follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) kind: Kind,
    /// Counts the starts of the instance.
    pub(crate) epoch: u32,
    pub(crate) core: CoreId,
    /// Counts the segments of one core and epoch; a snapshot has the number of the first segment
    /// that it does not cover.
    pub(crate) index: u32,
}

impl Identity {
    pub(crate) fn name(&self) -> String {
        let kind = match self.kind {
            Kind::Segment => "segment",
            Kind::Snapshot => "snapshot",
        };
        format!(
            "{:08}-{:03}-{:06}.{kind}",
            self.epoch, self.core.0, self.index
        )
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let (numbers, kind) = name.split_once('.')?;
        let kind = match kind {
            "segment" => Kind::Segment,
            "snapshot" => Kind::Snapshot,
            _ => return None,
        };
        let mut numbers = numbers.splitn(3, '-');
        let mut next = || numbers.next()?.parse::<u32>().ok();
        let epoch = next()?;
        let core = CoreId(u16::try_from(next()?).ok()?);
        let identity = Self {
            kind,
            epoch,
            core,
            index: next()?,
        };
        (identity.name() == name).then_some(identity)
    }

    pub(crate) fn head(&self) -> [u8; FILE_HEAD_BYTES] {
        let magic: &[u8; 8] = match self.kind {
            Kind::Segment => b"p99segm1",
            Kind::Snapshot => b"p99snap1",
        };
        let mut bytes = Vec::with_capacity(FILE_HEAD_BYTES);
        bytes.extend_from_slice(magic);
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.index.to_le_bytes());
        bytes.extend_from_slice(&self.core.0.to_le_bytes());
        let checksum = crc32fast::hash(&bytes);
        bytes.resize(FILE_HEAD_BYTES - 4, b'.');
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.try_into().unwrap_or([0; FILE_HEAD_BYTES])
    }

    pub(crate) fn seed(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&[match self.kind {
            Kind::Segment => 1,
            Kind::Snapshot => 2,
        }]);
        hasher.update(&self.epoch.to_le_bytes());
        hasher.update(&self.core.0.to_le_bytes());
        hasher.finalize()
    }
}

/// Where a frame stands in its core's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Counts the records of one core and epoch from 1; in a snapshot, those of the file.
    pub(crate) sequence: u64,
    /// Counts the records of one batch from 0.
    pub(crate) position: u32,
}

/// Appends one frame around what `fill` writes. `false`, with `out` as it was, when that is
/// longer than any payload may be.
pub(crate) fn write(
    seed: u32,
    place: Place,
    out: &mut Vec<u8>,
    fill: impl FnOnce(&mut Vec<u8>),
) -> bool {
    let start = out.len();
    out.resize(start + HEAD_BYTES, 0);
    fill(out);
    out.push(LAST_MARK);
    let payload = out.get(start + HEAD_BYTES..).unwrap_or_default();
    let head = Head {
        place,
        length: payload.len(),
        payload_checksum: checksum(seed, payload),
    };
    let (Some(bytes), Some(room)) = (head.bytes(seed), out.get_mut(start..start + HEAD_BYTES))
    else {
        out.truncate(start);
        return false;
    };
    room.copy_from_slice(&bytes);
    true
}

/// A frame's header, read and found whole.
#[derive(Clone, Copy, Debug)]
struct Head {
    place: Place,
    length: usize,
    payload_checksum: u32,
}

impl Head {
    fn bytes(&self, seed: u32) -> Option<[u8; HEAD_BYTES]> {
        if self.length > JOURNAL_PAYLOAD_BYTES_MAX {
            return None;
        }
        let length = u32::try_from(self.length).ok()? << 8;
        let mut bytes = [0; HEAD_BYTES];
        let (fields, own) = bytes.split_last_chunk_mut::<4>()?;
        let parts = [
            &(length | u32::from(FIRST_MARK)).to_le_bytes()[..],
            &self.place.sequence.to_le_bytes(),
            &self.place.position.to_le_bytes(),
            &self.payload_checksum.to_le_bytes(),
        ];
        for (to, from) in fields
            .iter_mut()
            .zip(parts.iter().flat_map(|part| part.iter()))
        {
            *to = *from;
        }
        *own = checksum(seed, fields).to_le_bytes();
        Some(bytes)
    }

    fn read(bytes: &[u8], seed: u32) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length);
        if length.to_le_bytes()[0] != FIRST_MARK {
            return None;
        }
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (position, rest) = rest.split_first_chunk::<4>()?;
        let (payload_checksum, rest) = rest.split_first_chunk::<4>()?;
        let own = rest.first_chunk::<4>()?;
        if checksum(seed, bytes.get(..HEAD_BYTES - 4)?) != u32::from_le_bytes(*own) {
            return None;
        }
        let size = usize::try_from(length >> 8).ok()?;
        if size > JOURNAL_PAYLOAD_BYTES_MAX {
            return None;
        }
        Some(Self {
            place: Place {
                sequence: u64::from_le_bytes(*sequence),
                position: u32::from_le_bytes(*position),
            },
            length: size,
            payload_checksum: u32::from_le_bytes(*payload_checksum),
        })
    }

    /// The payload without its last mark, when `bytes` begin with the whole of it.
    fn payload<'a>(&self, bytes: &'a [u8], seed: u32) -> Option<&'a [u8]> {
        let payload = bytes.get(..self.length)?;
        let (last, content) = payload.split_last()?;
        (*last == LAST_MARK && checksum(seed, payload) == self.payload_checksum).then_some(content)
    }
}

fn checksum(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

/// What comes next in a file.
#[derive(Debug)]
pub(crate) enum Next<'a> {
    /// A whole frame.
    Frame(Place, &'a [u8]),
    /// No frame begins here: the end, a torn batch or damage. [`judge_rest`] tells which.
    Stop,
}

/// Reads the frames of one file from the front, one at a time.
#[derive(Debug)]
pub(crate) struct Frames<R> {
    source: R,
    seed: u32,
    offset: u64,
    buffer: Vec<u8>,
}

impl<R: Read> Frames<R> {
    /// `source` stands behind the file's header.
    pub(crate) fn new(source: R, seed: u32) -> Self {
        Self::behind(FILE_HEAD_BYTES as u64, source, seed)
    }

    /// `source` stands at `offset` of the file, behind a frame.
    pub(crate) fn behind(offset: u64, source: R, seed: u32) -> Self {
        Self {
            source,
            seed,
            offset,
            buffer: Vec::new(),
        }
    }

    /// Where the next frame begins, or where reading stopped.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame. After a [`Next::Stop`] the reader must not be asked again.
    pub(crate) fn next(&mut self) -> io::Result<Next<'_>> {
        self.buffer.clear();
        read_up_to(&mut self.source, HEAD_BYTES, &mut self.buffer)?;
        let Some(head) = Head::read(&self.buffer, self.seed) else {
            return Ok(Next::Stop);
        };
        self.buffer.clear();
        read_up_to(&mut self.source, head.length, &mut self.buffer)?;
        let Some(payload) = head.payload(&self.buffer, self.seed) else {
            return Ok(Next::Stop);
        };
        self.offset += (HEAD_BYTES + head.length) as u64;
        Ok(Next::Frame(head.place, payload))
    }

    /// Whether nothing follows the frames that were read.
    pub(crate) fn is_at_end(&mut self) -> io::Result<bool> {
        self.buffer.clear();
        read_up_to(&mut self.source, 1, &mut self.buffer)?;
        Ok(self.buffer.is_empty())
    }
}

fn read_up_to(source: &mut impl Read, count: usize, out: &mut Vec<u8>) -> io::Result<()> {
    source.take(count as u64).read_to_end(out).map(|_| ())
}

/// What a file holds from the first place on that is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing: the preallocated zeros, or the end.
    Clean,
    /// A batch of which only a part reached the disk. No one was told that it was durable.
    Torn,
    /// Something that was whole once, or that never was a journal.
    Damaged,
}

/// Judges what is left of a segment. `bytes` are all from the stop on, `offset` its place in the
/// file, `expected` the sequence that should have followed.
///
/// A tear leaves whole sectors as they were before the write, which is zero behind the tail, or
/// ends the file early. Damage of any other kind, and any hole before a later batch, is refused:
/// taking a flipped bit for a tear would forget what a client was told.
pub(crate) fn judge_rest(bytes: &[u8], offset: u64, expected: u64, seed: u32) -> Rest {
    let Some(last_set) = last_set(bytes) else {
        return Rest::Clean;
    };
    let length = Head::read(bytes, seed).map_or(0, |head| head.length);
    let end = HEAD_BYTES + length;
    if last_set < end.saturating_sub(1) || has_unwritten_sector(bytes, offset, end) {
        let batches = valid_frames(bytes, seed)
            .map(|place| place.sequence.saturating_sub(u64::from(place.position)));
        if batches.into_iter().all(|first| first <= expected) {
            Rest::Torn
        } else {
            Rest::Damaged
        }
    } else {
        Rest::Damaged
    }
}

/// Whether `bytes` begin with a whole frame.
pub(crate) fn begins_with_frame(bytes: &[u8], seed: u32) -> bool {
    let payload = || Head::read(bytes, seed)?.payload(bytes.get(HEAD_BYTES..)?, seed);
    payload().is_some()
}

/// The place of the last byte that is not zero. Whole blocks are compared, since a segment's rest
/// is up to 64 MiB of zeros at each start.
fn last_set(bytes: &[u8]) -> Option<usize> {
    const ZEROS: [u8; SECTOR_BYTES] = [0; SECTOR_BYTES];
    let mut end = bytes.len();
    for block in bytes.rchunks(SECTOR_BYTES) {
        end -= block.len();
        if !ZEROS.starts_with(block) {
            let within = block.iter().rposition(|byte| *byte != 0);
            return within.map(|within| end + within);
        }
    }
    None
}

/// Whether one of the sectors that the first `end` bytes touch holds nothing at all of them.
fn has_unwritten_sector(bytes: &[u8], offset: u64, end: usize) -> bool {
    let into = usize::try_from(offset % SECTOR_BYTES as u64).unwrap_or(0);
    let mut start = 0;
    let mut stop = SECTOR_BYTES - into;
    while start < end {
        let sector = bytes.get(start..stop.min(bytes.len())).unwrap_or_default();
        if sector.iter().all(|byte| *byte == 0) {
            return true;
        }
        start = stop;
        stop += SECTOR_BYTES;
    }
    false
}

/// Every whole frame behind the first byte, wherever it begins.
fn valid_frames(bytes: &[u8], seed: u32) -> impl Iterator<Item = Place> {
    (1..bytes.len()).filter_map(move |start| {
        let frame = bytes.get(start..)?;
        let head = Head::read(frame, seed)?;
        head.payload(frame.get(HEAD_BYTES..)?, seed)
            .map(|_| head.place)
    })
}

#[cfg(test)]
mod tests;
