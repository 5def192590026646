//! Segments: the append-only files of one core. Here they are created and read; `writer` appends.
//!
//! A new segment is preallocated, its header synced and its name made durable by the directory's
//! sync before the first record may go in. With JOURNAL_SYNC=always its zeros are written too, so
//! that a later sync has data alone to bring to the disk and not that a block is now in use;
//! `blocks` says what that saves. Zeros behind the tail are never records.
//!
//! Reading is strict (I5): only the end of a core's last batch may be torn. A segment without its
//! header reads as empty here; `load` knows of which ones that cannot be.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::blocks;
use super::fault::{Damage, JournalFault};
use super::files;
use super::frame::{self, Frames, Identity, Next, Rest};
use super::record::Record;
use crate::config::JournalSync;
use crate::journal::JOURNAL_SCAN_BYTES;
use crate::limits;

/// What is written behind the header of a new segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Space that the file system promised: quick to make.
    Reserved,
    /// Zeros on the disk: a sync behind them is cheaper.
    Zeros,
}

/// Creates the segment with `size` bytes. The caller syncs the directory.
pub(crate) fn create(
    path: &Path,
    identity: &Identity,
    size: u64,
    fill: Fill,
) -> Result<File, JournalFault> {
    let io = |error| JournalFault::io(path, error);
    let file = files::create_new(path).map_err(io)?;
    reserve(&file, size).map_err(io)?;
    if fill == Fill::Zeros {
        write_zeros(&file, size).map_err(io)?;
    }
    file.write_all_at(&identity.head(), 0).map_err(io)?;
    file.sync_all().map_err(io)?;
    Ok(file)
}

/// The segment as its core writes to it: `file` itself for the page cache, else another open file
/// that passes it by.
pub(crate) fn for_writing(
    path: &Path,
    file: File,
    sync: JournalSync,
) -> Result<File, JournalFault> {
    match sync {
        JournalSync::Os => Ok(file),
        JournalSync::Always => blocks::open(path).map_err(|error| JournalFault::io(path, error)),
    }
}

/// Writes zeros over the whole file, and syncs each part: a core's own sync waits behind one.
fn write_zeros(file: &File, size: u64) -> io::Result<()> {
    let zeros = vec![0; limits::JOURNAL_PART_BYTES];
    let mut at = 0;
    while at < size {
        let count = zeros
            .len()
            .min(usize::try_from(size - at).unwrap_or(usize::MAX));
        file.write_all_at(zeros.get(..count).unwrap_or(&zeros), at)?;
        file.sync_data()?;
        at += count as u64;
    }
    Ok(())
}

/// Gives the file its size and, where the file system can, its blocks: disk full shows here and
/// not in the middle of a batch.
fn reserve(file: &File, size: u64) -> io::Result<()> {
    let length = libc::off_t::try_from(size).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open as long as `file`, and no memory is passed.
    if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::ENOSYS) => file.set_len(size),
        _ => Err(error),
    }
}

/// How reading a segment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The sequence that the next record must have.
    pub(crate) next: u64,
    /// Where the records end.
    pub(crate) offset: u64,
    /// A torn batch was cut off here.
    pub(crate) is_torn: bool,
    /// Its header is there. Without it the segment holds nothing.
    pub(crate) has_head: bool,
    /// How long the file is.
    pub(crate) bytes: u64,
}

/// Reads the records of the segment at `path`, the first of which must have the sequence `next`.
pub(crate) fn read(
    path: &Path,
    identity: &Identity,
    mut next: u64,
    mut each: impl FnMut(u64, Record),
) -> Result<End, JournalFault> {
    let io = |error| JournalFault::io(path, error);
    let damaged = |offset, what| JournalFault::Damaged {
        path: path.to_owned(),
        offset,
        what,
    };
    let file = files::read(path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    let mut source = BufReader::with_capacity(limits::JOURNAL_PART_BYTES, &file);
    let mut head = Vec::new();
    source
        .by_ref()
        .take(frame::FILE_HEAD_BYTES as u64)
        .read_to_end(&mut head)
        .map_err(io)?;
    if head != identity.head() {
        // A crash between creating the file and syncing its header leaves a part of it, and no
        // record: those come only after the sync.
        source.read_to_end(&mut head).map_err(io)?;
        let expected = identity.head();
        let part = expected
            .iter()
            .zip(&head)
            .take_while(|(one, other)| one == other)
            .count();
        if head.iter().skip(part).all(|byte| *byte == 0) {
            return Ok(End {
                next,
                offset: 0,
                is_torn: !head.is_empty(),
                has_head: false,
                bytes,
            });
        }
        return Err(damaged(0, Damage::FileHead));
    }
    drop(source);
    let mut offset = frame::FILE_HEAD_BYTES as u64;
    loop {
        (&file).seek(SeekFrom::Start(offset)).map_err(io)?;
        let source = BufReader::with_capacity(limits::JOURNAL_PART_BYTES, &file);
        let mut frames = Frames::behind(offset, source, identity.seed());
        while let Next::Frame(place, payload) = frames.next().map_err(io)? {
            if place.sequence != next {
                return Err(damaged(offset, Damage::Order));
            }
            let record = Record::decode(payload).map_err(|why| damaged(offset, why.into()))?;
            each(next, record);
            next = next
                .checked_add(1)
                .ok_or_else(|| damaged(offset, Damage::Order))?;
            offset = frames.offset();
        }
        let rest = rest_of(&file, offset).map_err(io)?;
        let is_torn = match frame::judge_rest(&rest, offset, next, identity.seed()) {
            Rest::Clean => false,
            Rest::Torn => true,
            // Its owner wrote on between the two readings: the rest begins with what was missing.
            Rest::Damaged if frame::begins_with_frame(&rest, identity.seed()) => continue,
            Rest::Damaged => return Err(damaged(offset, Damage::Record)),
        };
        return Ok(End {
            next,
            offset,
            is_torn,
            has_head: true,
            bytes,
        });
    }
}

/// What is written from `offset` on.
fn rest_of(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let mut rest = Vec::new();
    let end = written_end(file, offset)?;
    let mut source = file;
    source.seek(SeekFrom::Start(offset))?;
    source.take(end - offset).read_to_end(&mut rest)?;
    Ok(rest)
}

/// Behind which no byte is set any more; `offset` when none is from there on. By whole blocks,
/// as most of a segment is the zeros that were reserved.
fn written_end(file: &File, offset: u64) -> io::Result<u64> {
    let zeros = [0; JOURNAL_SCAN_BYTES];
    let mut block = zeros;
    let (mut at, mut end) = (offset, offset);
    loop {
        let count = file.read_at(&mut block, at)?;
        if count == 0 {
            return Ok(end);
        }
        at += count as u64;
        if block.get(..count) != zeros.get(..count) {
            end = at;
        }
    }
}
