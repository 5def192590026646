//! Doors into the journal's files for the fuzz targets: writes and reads one segment or snapshot
//! with the code that a running instance uses. Nothing in the library calls it.

use std::path::Path;
use std::time::Duration;

use super::fault::JournalFault;
use super::frame::{self, Identity, Kind, Place};
use super::load;
use super::record::Record;
use super::replay::State;
use super::segment;
use super::snapshot::{self, Line, SnapshotWriter};
use crate::payment::CoreId;

/// The bytes of a segment, and where each of its records ends.
#[derive(Clone, Debug)]
pub struct SegmentBytes {
    /// As they are in the file, without the reserved zeros.
    pub bytes: Vec<u8>,
    /// In the order of the records; the first entry is the end of the file's header.
    pub ends: Vec<usize>,
}

/// How reading a segment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentEnd {
    /// Where the records end.
    pub offset: u64,
    /// A torn batch was cut off there.
    pub is_torn: bool,
}

fn identity(kind: Kind, epoch: u32) -> Identity {
    Identity {
        kind,
        epoch,
        core: CoreId(1),
        index: 0,
    }
}

/// Spells `batches` as a segment of `epoch`.
#[must_use]
pub fn segment(epoch: u32, batches: &[Vec<Record>]) -> SegmentBytes {
    let identity = identity(Kind::Segment, epoch);
    let mut bytes = identity.head().to_vec();
    let mut ends = vec![bytes.len()];
    let mut sequence = 0;
    for batch in batches {
        for (position, record) in (0..).zip(batch) {
            sequence += 1;
            let place = Place { sequence, position };
            frame::write(identity.seed(), place, &mut bytes, |out| record.encode(out));
            ends.push(bytes.len());
        }
    }
    SegmentBytes { bytes, ends }
}

/// Reads the segment of `epoch` at `path` and hands each record to `each`.
///
/// # Errors
/// As at a start.
pub fn read_segment(
    path: &Path,
    epoch: u32,
    mut each: impl FnMut(Record),
) -> Result<SegmentEnd, JournalFault> {
    let identity = identity(Kind::Segment, epoch);
    let end = segment::read(path, &identity, 1, |_, record| each(record))?;
    Ok(SegmentEnd {
        offset: end.offset,
        is_torn: end.is_torn,
    })
}

/// Writes `state` as a snapshot to `path`.
///
/// # Errors
/// As a compaction.
pub fn write_snapshot(path: &Path, state: &State) -> Result<(), JournalFault> {
    let mut writer = SnapshotWriter::create(path, &identity(Kind::Snapshot, 1))?;
    writer.state(state)?;
    for chunk in state.ledger.chunks() {
        writer.ledger(&chunk)?;
    }
    writer.finish(0).map(|_| ())
}

/// The bytes of a snapshot whose frames hold `payloads`, whatever they are.
#[must_use]
pub fn snapshot(payloads: &[&[u8]]) -> Vec<u8> {
    let identity = identity(Kind::Snapshot, 1);
    let mut bytes = identity.head().to_vec();
    for (sequence, payload) in (1..).zip(payloads) {
        let place = Place {
            sequence,
            position: 0,
        };
        frame::write(identity.seed(), place, &mut bytes, |out| {
            out.extend_from_slice(payload);
        });
    }
    bytes
}

/// Reads the snapshot at `path` into a new state.
///
/// # Errors
/// As at a start.
pub fn read_snapshot(
    path: &Path,
    claims_max: usize,
    exact: Duration,
) -> Result<State, JournalFault> {
    let mut state = State::new(claims_max, exact);
    snapshot::read(path, &identity(Kind::Snapshot, 1), |line| {
        match line {
            Line::Record(record) => state.apply(&record),
            Line::Settled(id, claim) => state.settle(id, claim),
            Line::Ledger(chunk) => return load::absorb(&mut state.ledger, chunk, path),
        }
        Ok(())
    })?;
    Ok(state)
}
