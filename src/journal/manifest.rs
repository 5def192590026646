//! The manifest: whose journal a directory holds, which snapshot of each core counts, and what it
//! has to do with other journals. One small text with one spelling, so that whatever reads
//! differently was not written by p99. `directory` stores it.

use std::collections::BTreeMap;
use std::fmt;

use super::seal::sealed;
use crate::clock::UnixMillis;
use crate::keys;
use crate::limits;
use crate::payment::{CoreId, Shard};

/// Cores of a journal: file names have three digits for them.
const CORES_MAX: u16 = 1_000;
/// Epochs and segments of an epoch; a million starts a day take six years to get there.
const NUMBER_MAX: u32 = u32::MAX / 2;

/// Tells one journal from all others, from its first start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalId(pub u64);

impl JournalId {
    /// One that no other journal has.
    pub(crate) fn fresh() -> Self {
        Self(keys::unlike_all())
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Tells one shared store from all others, from its making on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreId(pub u128);

impl StoreId {
    /// The id that `text` spells, with or without hyphens.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        u128::from_str_radix(&text.replace('-', ""), 16)
            .ok()
            .map(Self)
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Which snapshot of each core counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) id: JournalId,
    /// Counts the starts.
    pub(crate) epoch: u32,
    /// Per core, the number of its snapshot, which is that of the first segment behind it.
    pub(crate) firsts: Vec<u32>,
    /// Journals whose contents this one has taken over.
    pub(crate) absorbed: Vec<JournalId>,
    /// Which journal takes over, or has taken over, the contents of this one.
    pub(crate) handed_to: Option<JournalId>,
    /// Which shared store has, or gets, the contents of this one.
    pub(crate) moved_to: Option<StoreId>,
    /// When it was copied from a journal that may still be in use; none in a journal.
    pub(crate) backup: Option<UnixMillis>,
    /// Whose ids it is about.
    pub(crate) shard: Shard,
    /// The journals of the other shards, once they were met, by their number.
    pub(crate) met: BTreeMap<u16, JournalId>,
}

impl Manifest {
    /// That of a journal that was never started.
    pub(crate) fn empty() -> Self {
        Self {
            id: JournalId::fresh(),
            epoch: 0,
            firsts: Vec::new(),
            absorbed: Vec::new(),
            handed_to: None,
            moved_to: None,
            backup: None,
            shard: Shard::ONLY,
            met: BTreeMap::new(),
        }
    }

    /// Every core with its number.
    pub(crate) fn cores(&self) -> impl Iterator<Item = (CoreId, u32)> + '_ {
        (0..).map(CoreId).zip(self.firsts.iter().copied())
    }

    pub(super) fn write(&self) -> String {
        let mut text = format!("p99 journal 1\nid {}\nepoch {}\n", self.id, self.epoch);
        for (core, first) in self.cores() {
            text.push_str(&format!("core {} from {first}\n", core.0));
        }
        for id in &self.absorbed {
            text.push_str(&format!("absorbed {id}\n"));
        }
        if let Some(id) = self.handed_to {
            text.push_str(&format!("handed to {id}\n"));
        }
        // Earlier releases refuse a manifest with either of these lines, as they should.
        if let Some(id) = self.moved_to {
            text.push_str(&format!("moved to store {id}\n"));
        }
        if let Some(at) = self.backup {
            text.push_str(&format!("backup at {}\n", at.0));
        }
        // Without shards nothing is said of them: earlier releases read that.
        if !self.shard.is_only() {
            text.push_str(&format!("shard {}\n", self.shard));
        }
        for (number, id) in &self.met {
            text.push_str(&format!("met {number} at {id}\n"));
        }
        sealed(text)
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        (lines.next()? == "p99 journal 1").then_some(())?;
        let mut manifest = Self {
            id: JournalId::read(lines.next()?.strip_prefix("id ")?)?,
            epoch: lines.next()?.strip_prefix("epoch ")?.parse().ok()?,
            ..Self::empty()
        };
        for line in lines {
            if let Some(core) = line.strip_prefix("core ") {
                let (_, first) = core.split_once(" from ")?;
                manifest.firsts.push(first.parse().ok()?);
            } else if let Some(id) = line.strip_prefix("absorbed ") {
                manifest.absorbed.push(JournalId::read(id)?);
            } else if let Some(id) = line.strip_prefix("handed to ") {
                manifest.handed_to = Some(JournalId::read(id)?);
            } else if let Some(id) = line.strip_prefix("moved to store ") {
                manifest.moved_to = Some(StoreId::read(id)?);
            } else if let Some(at) = line.strip_prefix("backup at ") {
                manifest.backup = Some(UnixMillis(at.parse().ok()?));
            } else if let Some(shard) = line.strip_prefix("shard ") {
                manifest.shard = Shard::parse(shard)?;
            } else if let Some(met) = line.strip_prefix("met ") {
                let (number, id) = met.split_once(" at ")?;
                manifest
                    .met
                    .insert(number.parse().ok()?, JournalId::read(id)?);
            }
        }
        // More than any start writes, and numbers that the next step could not count on from.
        let is_sane = manifest.firsts.len() <= usize::from(CORES_MAX)
            && manifest.epoch < NUMBER_MAX
            && manifest.met.len() < usize::from(limits::SHARDS_MAX)
            && manifest.firsts.iter().all(|first| *first < NUMBER_MAX);
        is_sane.then_some(())?;
        // One spelling only: whatever reads differently was not written by us.
        (manifest.write() == text).then_some(manifest)
    }
}
