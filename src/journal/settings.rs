//! How a journal is kept: what `start`, the keeper, compaction and the operator are told. Made once
//! from the configuration; nothing here reads a file.

use std::path::PathBuf;
use std::time::Duration;

use super::processors::Authorities;
use crate::config::JournalSync;
use crate::limits;
use crate::payment::{CoreCount, Shard};

/// Size of each core's first segment after a start, which does not wait for zeros to be written:
/// 10,000 payments.
const JOURNAL_FIRST_SEGMENT_BYTES: u64 = 1 << 20;

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct JournalSettings {
    /// `JOURNAL_DIR`.
    pub dir: PathBuf,
    /// `JOURNAL_SYNC`.
    pub sync: JournalSync,
    /// How many cores there are now.
    pub cores: CoreCount,
    /// Settled claims that each core keeps.
    pub claims_max: usize,
    /// For how long none of them may be forgotten for want of room; `None` where they may.
    pub claims_kept: Option<Duration>,
    /// `LEDGER_EXACT_HOURS`.
    pub ledger_exact: Duration,
    /// Where the processors are; `None` for those who send nothing.
    pub processors: Option<Authorities>,
    /// `SHARD`; `None` for those who leave it as it is.
    pub shard: Option<Shard>,
    /// Size of a segment; `limits::JOURNAL_SEGMENT_BYTES` but in tests.
    pub segment_bytes: u64,
    /// See `limits::JOURNAL_COMPACT_BYTES_MIN`; smaller in tests.
    pub compact_bytes_min: u64,
}

impl JournalSettings {
    /// The usual sizes for a journal in `dir`.
    #[must_use]
    pub fn new(dir: PathBuf, sync: JournalSync, cores: CoreCount) -> Self {
        Self {
            dir,
            sync,
            cores,
            claims_max: 500_000,
            claims_kept: None,
            ledger_exact: Duration::from_secs(24 * 3600),
            processors: None,
            shard: None,
            segment_bytes: SEGMENT_BYTES,
            compact_bytes_min: COMPACT_BYTES_MIN,
        }
    }

    /// Size of a core's first segment.
    pub(crate) fn first_bytes(&self) -> u64 {
        self.segment_bytes.min(JOURNAL_FIRST_SEGMENT_BYTES)
    }

    /// Size of a core's segment with this number.
    pub(crate) fn reserved_bytes(&self, index: u32) -> u64 {
        match index {
            0 => self.first_bytes(),
            _ => self.segment_bytes,
        }
    }
}

/// With the feature `small-segments` a run of seconds rotates and compacts; only tests have it.
const SEGMENT_BYTES: u64 = if cfg!(feature = "small-segments") {
    16 << 10
} else {
    limits::JOURNAL_SEGMENT_BYTES
};
/// See [`limits::JOURNAL_COMPACT_BYTES_MIN`]; small where a test wants many segments.
const COMPACT_BYTES_MIN: u64 = if cfg!(feature = "small-segments") {
    16 << 10
} else {
    limits::JOURNAL_COMPACT_BYTES_MIN
};
