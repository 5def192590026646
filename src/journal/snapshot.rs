//! A snapshot: one file that holds what all earlier records of one core lead to. It is made of
//! ordinary frames: the pending payments as the records that replay to them, the settled claims
//! oldest first, the ledger in parts, and a footer. Start and compaction write it, replay reads it.
//!
//! Without its footer, or with any frame damaged, it is no snapshot: the reader refuses it with
//! file and offset. It never comes into use half written, because the manifest names it only
//! after it was synced.
//!
//! The ledger goes past here chunk by chunk, so that compaction never holds more of it than one
//! chunk of the old snapshot and what the new segments add (I8).

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::codec::{self, Reader, Unreadable};
use super::fault::{Damage, JournalFault};
use super::files;
use super::frame::{self, Frames, Identity, Next, Place};
use super::record::Record;
use super::replay::State;
use crate::claims::{FirstAnswer, SettledClaim};
use crate::limits;
use crate::payment::{Processor, Status, UpstreamId};

/// Settled claims in one snapshot frame: 256 of at most 37 bytes are 9.3 KiB.
const JOURNAL_CLAIMS_PER_FRAME: usize = 256;

const SETTLED: u8 = 32;
const LEDGER_PART: u8 = 33;
const LEDGER_LAST_PART: u8 = 34;
const FOOTER: u8 = 35;

/// The last frame: that all before it are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footer {
    /// The last sequence of the core and epoch that the snapshot covers; 0 at a start.
    pub(crate) covers: u64,
    /// How many frames came before.
    pub(crate) frames: u64,
}

/// Something that a snapshot holds.
#[derive(Debug)]
pub(crate) enum Line<'a> {
    Record(Record),
    Settled(UpstreamId, SettledClaim),
    /// One chunk of the ledger in the ledger's own encoding.
    Ledger(&'a [u8]),
}

/// Writes one snapshot file.
#[derive(Debug)]
pub(crate) struct SnapshotWriter {
    out: BufWriter<File>,
    path: PathBuf,
    seed: u32,
    frames: u64,
    bytes: u64,
    buffer: Vec<u8>,
}

impl SnapshotWriter {
    pub(crate) fn create(path: &Path, identity: &Identity) -> Result<Self, JournalFault> {
        let file = files::create_empty(path).map_err(|error| JournalFault::io(path, error))?;
        let mut writer = Self {
            out: BufWriter::with_capacity(limits::JOURNAL_PART_BYTES, file),
            path: path.to_owned(),
            seed: identity.seed(),
            frames: 0,
            bytes: 0,
            buffer: Vec::new(),
        };
        writer.put(&identity.head())?;
        Ok(writer)
    }

    /// Writes pending payments and settled claims; the ledger follows by [`Self::ledger`].
    pub(crate) fn state(&mut self, state: &State) -> Result<(), JournalFault> {
        for pending in state.pending() {
            for record in pending.records() {
                self.frame(|out| record.encode(out))?;
            }
        }
        let mut group = Vec::with_capacity(JOURNAL_CLAIMS_PER_FRAME);
        let mut settled = state.settled();
        loop {
            group.extend(settled.by_ref().take(JOURNAL_CLAIMS_PER_FRAME));
            if group.is_empty() {
                return Ok(());
            }
            self.frame(|out| {
                codec::write_kind(SETTLED, out);
                for (id, claim) in group.drain(..) {
                    write_claim(id, &claim, out);
                }
            })?;
        }
    }

    /// Writes one chunk of the ledger, in as many frames as it needs.
    pub(crate) fn ledger(&mut self, chunk: &[u8]) -> Result<(), JournalFault> {
        let mut parts = chunk.chunks(limits::JOURNAL_PART_BYTES).peekable();
        while let Some(part) = parts.next() {
            let kind = if parts.peek().is_some() {
                LEDGER_PART
            } else {
                LEDGER_LAST_PART
            };
            self.frame(|out| {
                codec::write_kind(kind, out);
                out.extend_from_slice(part);
            })?;
        }
        Ok(())
    }

    /// Writes the footer, brings all of it to the disk and returns the size.
    pub(crate) fn finish(mut self, covers: u64) -> Result<u64, JournalFault> {
        let frames = self.frames;
        self.frame(|out| {
            codec::write_kind(FOOTER, out);
            codec::write_number(covers, out);
            codec::write_number(frames, out);
        })?;
        let synced = self
            .out
            .flush()
            .and_then(|()| self.out.get_ref().sync_all());
        synced.map_err(|error| JournalFault::io(&self.path, error))?;
        Ok(self.bytes)
    }

    fn frame(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), JournalFault> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        self.frames += 1;
        let place = Place {
            sequence: self.frames,
            position: 0,
        };
        let fits = frame::write(self.seed, place, &mut buffer, fill);
        let written = if fits {
            self.put(&buffer)
        } else {
            Err(JournalFault::io(
                &self.path,
                io::Error::from(io::ErrorKind::FileTooLarge),
            ))
        };
        self.buffer = buffer;
        written
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), JournalFault> {
        self.bytes += bytes.len() as u64;
        self.out
            .write_all(bytes)
            .map_err(|error| JournalFault::io(&self.path, error))
    }
}

/// Reads the snapshot at `path` and hands each line to `each`.
pub(crate) fn read(
    path: &Path,
    identity: &Identity,
    mut each: impl FnMut(Line<'_>) -> Result<(), JournalFault>,
) -> Result<Footer, JournalFault> {
    let io = |error| JournalFault::io(path, error);
    let file = match files::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(JournalFault::Missing {
                path: path.to_owned(),
            });
        }
        other => other.map_err(io)?,
    };
    let mut source = BufReader::with_capacity(limits::JOURNAL_PART_BYTES, file);
    let mut head = [0; frame::FILE_HEAD_BYTES];
    let damaged = |offset, what| JournalFault::Damaged {
        path: path.to_owned(),
        offset,
        what,
    };
    source.read_exact(&mut head).map_err(|error| {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            damaged(0, Damage::FileHead)
        } else {
            io(error)
        }
    })?;
    if head != identity.head() {
        return Err(damaged(0, Damage::FileHead));
    }
    let mut frames = Frames::new(source, identity.seed());
    let mut chunk = Vec::new();
    let mut count = 0;
    loop {
        let offset = frames.offset();
        let Next::Frame(place, payload) = frames.next().map_err(io)? else {
            return Err(damaged(offset, Damage::NoFooter));
        };
        if place.sequence != count + 1 {
            return Err(damaged(offset, Damage::Order));
        }
        let line = decode(payload, &mut chunk, &mut each);
        if let Some(footer) = line.map_err(|why| damaged(offset, why.into()))?? {
            if footer.frames != count {
                return Err(damaged(offset, Damage::Order));
            }
            return frames
                .is_at_end()
                .map_err(io)?
                .then_some(footer)
                .ok_or_else(|| damaged(offset, Damage::BehindFooter));
        }
        count += 1;
    }
}

type Decoded = Result<Option<Footer>, JournalFault>;

/// Hands on what one frame holds, if it is a snapshot's frame.
fn decode(
    payload: &[u8],
    chunk: &mut Vec<u8>,
    each: &mut impl FnMut(Line<'_>) -> Result<(), JournalFault>,
) -> Result<Decoded, Unreadable> {
    let own = |kind| (SETTLED..=FOOTER).contains(&kind);
    let Ok((envelope, mut reader)) = Reader::open(payload, own) else {
        let record = Record::decode(payload)?;
        return Ok(each(Line::Record(record)).map(|()| None));
    };
    let handed = match envelope.kind {
        SETTLED => {
            while !reader.is_empty() {
                let (id, claim) = read_claim(&mut reader).ok_or(Unreadable::Content)?;
                if let Err(fault) = each(Line::Settled(id, claim)) {
                    return Ok(Err(fault));
                }
            }
            Ok(())
        }
        LEDGER_PART => {
            chunk.extend_from_slice(reader.rest());
            if chunk.len() > limits::LEDGER_CHUNK_BYTES_MAX {
                return Err(Unreadable::Content);
            }
            Ok(())
        }
        LEDGER_LAST_PART => {
            chunk.extend_from_slice(reader.rest());
            let handed = each(Line::Ledger(chunk));
            chunk.clear();
            handed
        }
        _ => {
            let footer = read_footer(&mut reader).filter(|_| reader.may_end(envelope));
            return footer
                .map(|footer| Ok(Some(footer)))
                .ok_or(Unreadable::Content);
        }
    };
    Ok(handed.map(|()| None))
}

fn read_footer(reader: &mut Reader<'_>) -> Option<Footer> {
    Some(Footer {
        covers: reader.number()?,
        frames: reader.number()?,
    })
}

const HAS_DATE: u8 = 1;
const IS_REFUSED: u8 = 2;
const IS_COUNTED: u8 = 4;
const WAS_ACCEPTED: u8 = 8;
/// Four bits: 0 is none, else the index of the processor and one.
const PROCESSOR: u8 = 0xf0;
const PROCESSOR_SHIFT: u32 = 4;

fn write_claim(id: UpstreamId, claim: &SettledClaim, out: &mut Vec<u8>) {
    let when = |is: bool, flag: u8| if is { flag } else { 0 };
    let processor = claim.processor.map_or(0, |one| one.number() + 1) << PROCESSOR_SHIFT;
    codec::write_id(id, out);
    out.push(
        when(claim.requested_at.is_some(), HAS_DATE)
            | when(claim.status == Status::Refused, IS_REFUSED)
            | when(claim.counted, IS_COUNTED)
            | when(claim.first_answer == FirstAnswer::Accepted202, WAS_ACCEPTED)
            | processor,
    );
    codec::write_number(claim.amount.0, out);
    if let Some(date) = claim.requested_at {
        codec::write_date(date, out);
    }
}

fn read_claim(reader: &mut Reader<'_>) -> Option<(UpstreamId, SettledClaim)> {
    let id = reader.id()?;
    let flags = reader.byte()?;
    let has = |flag| flags & flag != 0;
    let claim = SettledClaim {
        status: if has(IS_REFUSED) {
            Status::Refused
        } else {
            Status::Processed
        },
        amount: reader.amount()?,
        processor: match (flags & PROCESSOR) >> PROCESSOR_SHIFT {
            0 => None,
            number => Some(Processor::of_index(usize::from(number) - 1)?),
        },
        requested_at: if has(HAS_DATE) {
            Some(reader.date()?)
        } else {
            None
        },
        first_answer: if has(WAS_ACCEPTED) {
            FirstAnswer::Accepted202
        } else {
            FirstAnswer::Answered200
        },
        counted: has(IS_COUNTED),
    };
    Some((id, claim))
}
