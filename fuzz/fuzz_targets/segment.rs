//! A segment of the journal, whole or damaged in one way: what is read is always a prefix of what
//! was written. A cut and an unwritten sector of the last batch are a torn end; a flipped bit, a
//! hole before a later batch, a frame that moved and another core's file are refused.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use p99::testing::journal::{JournalFault, Record};
use p99::testing::journal::{SegmentBytes, SegmentEnd, read_segment, segment};
use p99_fuzz::{Input, records, scratch_file};

static PATH: LazyLock<PathBuf> = LazyLock::new(|| scratch_file("segment"));
const EPOCH: u32 = 7;
const SECTOR: usize = 512;
/// The reserved rest of the file.
const ZEROS: usize = 1_500;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let damage = input.byte();
    let place = usize::try_from(input.number::<3>()).unwrap();
    let value = input.number::<2>();
    let mut batches: Vec<Vec<Record>> = vec![Vec::new()];
    while !input.is_empty() {
        if input.byte() & 3 == 0 && batches.last().is_some_and(|batch| !batch.is_empty()) {
            batches.push(Vec::new());
        }
        batches
            .last_mut()
            .unwrap()
            .push(records::record(&mut input));
    }
    let written = Written {
        file: segment(EPOCH, &batches),
        records: batches.concat(),
        last_batch: batches.last().map_or(0, Vec::len),
    };
    match damage % 7 {
        0 => written.is_whole(&written.file.bytes),
        1 => written.cut(place),
        2 => written.flip(place),
        3 => written.unwritten_sectors(place, 1 + usize::from(damage >> 5)),
        4 => written.overwrite(place, value),
        5 => written.move_frames(place, damage >> 4 & 1 == 0),
        _ => written.of_another(),
    }
});

type Read = (Vec<Record>, Result<SegmentEnd, JournalFault>);

/// A segment and what is in it.
struct Written {
    file: SegmentBytes,
    records: Vec<Record>,
    /// How many records its last batch has.
    last_batch: usize,
}

impl Written {
    /// Reads `bytes` with zeros behind them; what comes out is a prefix, whatever they are.
    fn read(&self, bytes: &[u8], zeros: usize) -> Read {
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len() + zeros, 0);
        std::fs::write(&*PATH, &bytes).unwrap();
        let mut found = Vec::new();
        let end = read_segment(&PATH, EPOCH, |record| found.push(record));
        assert!(self.records.starts_with(&found), "another record is read");
        if let Ok(end) = &end
            && end.offset > 0
        {
            let expected = self.file.ends[found.len()];
            assert_eq!(end.offset, expected as u64, "where the records end");
        }
        (found, end)
    }

    fn is_whole(&self, bytes: &[u8]) {
        for zeros in [0, ZEROS] {
            let (found, end) = self.read(bytes, zeros);
            assert_eq!(found.len(), self.records.len());
            assert!(!end.unwrap().is_torn);
        }
    }

    /// Ends the file early, or leaves it unwritten from there on.
    fn cut(&self, place: usize) {
        let bytes = &self.file.bytes;
        let at = place % (bytes.len() + 1);
        let ends = &self.file.ends;
        let whole = ends
            .iter()
            .filter(|end| **end <= at)
            .count()
            .saturating_sub(1);
        let (found, end) = self.read(&bytes[..at], 0);
        assert_eq!(found.len(), whole);
        let end = end.expect("a cut is a torn end");
        assert_eq!(end.is_torn, at > 0 && !ends.contains(&at));
    }

    fn flip(&self, place: usize) {
        if self.records.is_empty() {
            return;
        }
        let mut bytes = self.file.bytes.clone();
        let at = (place >> 3) % bytes.len();
        bytes[at] ^= 1 << (place & 7);
        for zeros in [0, ZEROS] {
            let (_, end) = self.read(&bytes, zeros);
            assert!(end.is_err(), "a flipped bit is taken for a torn end");
        }
    }

    /// Sectors that did not reach the disk, from the first that the last batch touches on.
    fn unwritten_sectors(&self, place: usize, count: usize) {
        // Without records there is only the header, and a file without one is empty.
        if self.records.is_empty() {
            return;
        }
        let ends = &self.file.ends;
        let batch_start = ends[self.records.len() - self.last_batch];
        let mut bytes = self.file.bytes.clone();
        let sectors = bytes.len().div_ceil(SECTOR);
        let first = place % sectors;
        let hole = first * SECTOR..((first + count) * SECTOR).min(bytes.len());
        let in_last_batch = hole.end > batch_start;
        // What was durable before the last batch is in the same sector and stays.
        let start = if in_last_batch {
            hole.start.max(batch_start)
        } else {
            hole.start
        };
        bytes[start..hole.end].fill(0);
        if bytes == self.file.bytes {
            return self.is_whole(&bytes);
        }
        let (found, end) = self.read(&bytes, ZEROS);
        if in_last_batch {
            let whole = ends.iter().filter(|end| **end <= start).count() - 1;
            let end = end.expect("an unwritten sector is a torn end");
            assert_eq!(found.len(), whole, "all before the hole is kept");
            assert_eq!(
                end.is_torn,
                start < hole.end && bytes[ends[whole]..].iter().any(|b| *b != 0)
            );
        } else {
            assert!(
                end.is_err(),
                "a hole before a later batch is taken for a torn end"
            );
        }
    }

    /// Two neighbouring bytes become others: found, or it is the very last byte that fell to zero.
    fn overwrite(&self, place: usize, value: u64) {
        if self.records.is_empty() {
            return;
        }
        let mut bytes = self.file.bytes.clone();
        let at = place % (bytes.len() - 1);
        let value = u16::try_from(value).unwrap().to_be_bytes();
        if bytes[at..at + 2] == value {
            return self.is_whole(&bytes);
        }
        bytes[at..at + 2].copy_from_slice(&value);
        let (found, end) = self.read(&bytes, ZEROS);
        let before = self.file.ends.iter().filter(|end| **end <= at + 1).count();
        assert!(found.len() < before.max(1), "the damaged record is read");
        let batch_start = self.file.ends[self.records.len() - self.last_batch];
        if at + 1 < batch_start {
            assert!(
                end.is_err(),
                "damage before the last batch is taken for a torn end"
            );
        }
    }

    /// One frame is left out, or comes a second time in place of the next.
    fn move_frames(&self, place: usize, leave_out: bool) {
        let ends = &self.file.ends;
        if self.records.len() < 2 {
            return;
        }
        let index = place % (self.records.len() - 1);
        let (start, end) = (ends[index], ends[index + 1]);
        let bytes = &self.file.bytes;
        let bytes = if leave_out {
            [&bytes[..start], &bytes[end..]].concat()
        } else {
            [&bytes[..end], &bytes[start..end], &bytes[end..]].concat()
        };
        let (_, end) = self.read(&bytes, ZEROS);
        assert!(end.is_err(), "a frame that moved is accepted");
    }

    /// Frames of an earlier start, behind our own file's header.
    fn of_another(&self) {
        let one = |record: &Record| vec![*record];
        let batches: Vec<Vec<Record>> = self.records.iter().map(one).collect();
        let other = segment(EPOCH - 1, &batches).bytes;
        let head_bytes = self.file.ends[0];
        let bytes = [&self.file.bytes[..head_bytes], &other[head_bytes..]].concat();
        let (found, end) = self.read(&bytes, ZEROS);
        assert!(found.is_empty(), "another start's record is read");
        assert_eq!(end.is_err(), !self.records.is_empty());
        let (found, end) = self.read(&other, ZEROS);
        assert!(
            found.is_empty() && end.is_err(),
            "another start's file is read"
        );
    }
}
