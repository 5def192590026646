//! Reads the files of one core into its [`State`]. Start, compaction and the operator's commands
//! come here; it writes nothing.
//!
//! A torn batch may end the last segment that holds anything, no other: segments behind a tear
//! must be empty, because a batch is written only after the one before it was synced (I5).
//!
//! A segment without its header was never used if a start or a preparation was cut short, and was
//! emptied otherwise. [`CoreFiles`] says which ones were complete: those are refused. The last one
//! may be either; it is told as a [`Doubt`] where a crash hardly leaves it as it is.

use std::fmt;
use std::path::{Path, PathBuf};

use super::directory::{CoreFiles, Directory};
use super::fault::{Damage, JournalFault};
use super::frame;
use super::record::Record;
use super::replay::State;
use super::segment::{self, End};
use super::settings::JournalSettings;
use super::snapshot::{self, Line};
use crate::ledger::Ledger;

/// A torn batch that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tear {
    /// In which file.
    pub path: PathBuf,
    /// From where on.
    pub offset: u64,
}

/// A segment from which records may have been taken: a crash can leave one like it, but hardly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Which file.
    pub path: PathBuf,
    /// How long it is.
    pub bytes: u64,
    /// How long p99 makes one.
    pub reserved: u64,
    /// Its header is there.
    pub has_head: bool,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, bytes, reserved) = (self.path.display(), self.bytes, self.reserved);
        if self.has_head {
            write!(
                f,
                "segment {path} has {bytes} bytes, where p99 reserves {reserved}: its end was cut \
                 off, and payments that were there are gone"
            )
        } else {
            write!(
                f,
                "segment {path} is empty ({bytes} bytes, no header): nothing in it is known. A \
                 start that was cut short leaves one like it; else its payments are gone"
            )
        }
    }
}

/// A segment as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    path: PathBuf,
    index: u32,
    is_first: bool,
    bytes: u64,
    has_head: bool,
}

/// What reading found besides the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// The sequence that the next record would have.
    pub(crate) next: u64,
    pub(crate) tear: Option<Tear>,
    /// Records in segments.
    pub(crate) records: u64,
    pub(crate) segments: Vec<Seen>,
}

impl Loaded {
    /// Segments that are not as `settings` have them made. Those of a backup are shorter.
    pub(crate) fn doubts(&self, settings: &JournalSettings) -> impl Iterator<Item = Doubt> {
        self.segments.iter().filter_map(|seen| {
            let reserved = settings.reserved_bytes(seen.index);
            // The next segment while it is prepared has its size and no header for a while.
            let is_odd = seen.bytes < reserved || (seen.is_first && !seen.has_head);
            is_odd.then(|| Doubt {
                path: seen.path.clone(),
                bytes: seen.bytes,
                reserved,
                has_head: seen.has_head,
            })
        })
    }
}

/// Who is told of each thing that the files hold, in order.
pub(crate) trait Sink {
    /// A line of the snapshot.
    fn line(&mut self, line: Line<'_>) -> Result<(), JournalFault>;
    /// A record of a segment.
    fn record(&mut self, sequence: u64, record: &Record);
}

/// Fills a state, and leaves what the ledger of the snapshot holds to `chunk`.
#[derive(Debug)]
pub(crate) struct IntoState<'a, F> {
    pub(crate) state: &'a mut State,
    pub(crate) chunk: F,
}

impl<F: FnMut(&mut State, &[u8]) -> Result<(), JournalFault>> Sink for IntoState<'_, F> {
    fn line(&mut self, line: Line<'_>) -> Result<(), JournalFault> {
        match line {
            Line::Record(record) => self.state.apply(&record),
            Line::Settled(id, claim) => self.state.settle(id, claim),
            Line::Ledger(chunk) => return (self.chunk)(self.state, chunk),
        }
        Ok(())
    }

    fn record(&mut self, _sequence: u64, record: &Record) {
        self.state.apply(record);
    }
}

/// Reads snapshot and segments of one core.
pub(crate) fn load(
    dir: &Directory,
    files: &CoreFiles,
    sink: &mut impl Sink,
) -> Result<Loaded, JournalFault> {
    let footer = snapshot::read(&dir.path_of(&files.snapshot), &files.snapshot, |line| {
        sink.line(line)
    })?;
    let Some(first) = footer.covers.checked_add(1) else {
        return Err(JournalFault::Damaged {
            path: dir.path_of(&files.snapshot),
            offset: 0,
            what: Damage::Order,
        });
    };
    let mut next = first;
    let mut tear: Option<Tear> = None;
    let mut segments = Vec::new();
    for (number, identity) in files.segments.iter().enumerate() {
        let path = dir.path_of(identity);
        let end = segment::read(&path, identity, next, |sequence, record| {
            // Behind a tear nothing counts; what is there makes the whole journal refused.
            if tear.is_none() {
                sink.record(sequence, &record);
            }
        });
        if let Ok(End {
            has_head, bytes, ..
        }) = end
        {
            if !has_head && number < files.complete {
                let (offset, what) = (0, Damage::Emptied { bytes });
                return Err(JournalFault::Damaged { path, offset, what });
            }
            segments.push(Seen {
                path: path.clone(),
                index: identity.index,
                is_first: number == 0,
                bytes,
                has_head,
            });
        }
        if let Some(Tear { path, offset }) = tear {
            let is_empty = end
                .as_ref()
                .is_ok_and(|end| end.next == next && end.offset <= frame::FILE_HEAD_BYTES as u64);
            if !is_empty {
                return Err(JournalFault::Damaged {
                    path,
                    offset,
                    what: Damage::Record,
                });
            }
            tear = Some(Tear { path, offset });
            continue;
        }
        let end = end?;
        next = end.next;
        if end.is_torn {
            tear = Some(Tear {
                path,
                offset: end.offset,
            });
        }
    }
    Ok(Loaded {
        next,
        // A segment whose header is not whole was never used: there is no batch in it to be torn.
        tear: tear.filter(|tear| tear.offset > 0),
        records: next - first,
        segments,
    })
}

/// Reads everything of one core into a state, the ledger included.
pub(crate) fn load_whole(
    dir: &Directory,
    files: &CoreFiles,
    state: &mut State,
) -> Result<Loaded, JournalFault> {
    let path = dir.path_of(&files.snapshot);
    let chunk = |state: &mut State, chunk: &[u8]| absorb(&mut state.ledger, chunk, &path);
    load(dir, files, &mut IntoState { state, chunk })
}

/// Adds a chunk that came from `path`.
pub(crate) fn absorb(ledger: &mut Ledger, chunk: &[u8], path: &Path) -> Result<(), JournalFault> {
    let damaged = || JournalFault::Damaged {
        path: path.to_owned(),
        offset: 0,
        what: Damage::Content,
    };
    ledger.absorb(chunk).map_err(|_| damaged())
}
