//! How far this journal is, and how far those of other shards were when they were heard last: the
//! file `MARKS` of a shard's journal, beside the manifest. What it means is said in `peers::Marks`.
//!
//! ```text
//! p99 marks 1
//! journal 0123456789abcdef
//! own 0000000112345678
//! own 000000029abcdef0
//! met 1 at fedcba9876543210 as 0000000700c0ffee
//! checksum 1f2e3d4c
//! ```
//!
//! A version that does not know the file leaves it alone, so it may be about another journal than
//! the manifest's, or about shards that were forgotten or met with others since: what does not
//! name the journals of today does not count. Its syncs are those of the manifest, whatever
//! JOURNAL_SYNC says. Without shards there is no such file.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::directory::Directory;
use super::fault::{Damage, JournalFault};
use super::manifest::{JournalId, Manifest};
use super::seal::sealed;
use crate::clock::Mono;
use crate::keys;
use crate::payment::Shard;
use crate::peers::{MARKS_KEPT, Mark, Marks};

const MARKS: &str = "MARKS";
const HEAD: &str = "p99 marks 1\n";
/// How often a journal that is in use gets a mark. A copy that is older than this is noticed, and a
/// write of some KiB with three syncs costs nothing this seldom.
const MARK_INTERVAL: Duration = Duration::from_secs(60);

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Text {
    journal: JournalId,
    /// Oldest first, without a gap.
    own: Vec<Mark>,
    met: BTreeMap<u16, (JournalId, Mark)>,
}

impl Text {
    fn write(&self) -> String {
        let mut text = format!("{HEAD}journal {}\n", self.journal);
        for mark in &self.own {
            text.push_str(&format!("own {:016x}\n", mark.0));
        }
        for (number, (id, mark)) in &self.met {
            text.push_str(&format!("met {number} at {id} as {:016x}\n", mark.0));
        }
        sealed(text)
    }

    fn read(text: &str) -> Option<Self> {
        let mut lines = text.strip_prefix(HEAD)?.lines();
        let mark = |text| u64::from_str_radix(text, 16).ok().map(Mark);
        let mut found = Self {
            journal: JournalId::read(lines.next()?.strip_prefix("journal ")?)?,
            own: Vec::new(),
            met: BTreeMap::new(),
        };
        for line in lines {
            if let Some(own) = line.strip_prefix("own ") {
                found.own.push(mark(own)?);
            } else if let Some(met) = line.strip_prefix("met ") {
                let (number, rest) = met.split_once(" at ")?;
                let (id, at) = rest.split_once(" as ")?;
                let met = (JournalId::read(id)?, mark(at)?);
                found.met.insert(number.parse().ok()?, met);
            }
        }
        // One spelling only: whatever reads differently was not written by us.
        (found.write() == text).then_some(found)
    }
}

/// Gives the journal the next mark, and keeps what was heard of others. No one knows it before it
/// is durable.
fn advance(dir: &Directory, manifest: &Manifest, marks: &Marks) -> Result<(), JournalFault> {
    let next = marks.newest().next(keys::unlike_all());
    let mut own = marks.own();
    own.push(next);
    let heard = (1..).zip(marks.heard()).filter(|(_, mark)| mark.0 > 0);
    let met = heard.filter_map(|(number, mark)| {
        let id = manifest.met.get(&number)?;
        Some((number, (*id, mark)))
    });
    let text = Text {
        journal: manifest.id,
        own: own.split_off(own.len().saturating_sub(MARKS_KEPT)),
        met: met.collect(),
    };
    dir.replace_small(MARKS, &text.write())?;
    marks.advance(next);
    Ok(())
}

/// Lets go of the marks of others, as the manifest does of their journals.
pub(crate) fn forget(dir: &Directory) -> Result<(), JournalFault> {
    let Some(mut text) = dir.read_small(MARKS, Damage::Marks, Text::read)? else {
        return Ok(());
    };
    text.met.clear();
    dir.replace_small(MARKS, &text.write())
}

/// What the journal knows. A start asks before it changes anything.
pub(crate) fn load(dir: &Directory, manifest: Option<&Manifest>) -> Result<Marks, JournalFault> {
    let Some(manifest) = manifest.filter(|manifest| !manifest.shard.is_only()) else {
        return Ok(Marks::new(Shard::ONLY, [], []));
    };
    let found = dir
        .read_small(MARKS, Damage::Marks, Text::read)?
        .filter(|text| text.journal == manifest.id);
    let (own, met) = found.map(|text| (text.own, text.met)).unwrap_or_default();
    let heard = met.into_iter().filter_map(|(number, (id, mark))| {
        let is_it = manifest.met.get(&number) == Some(&id);
        is_it.then_some((number, mark))
    });
    Ok(Marks::new(manifest.shard, own, heard))
}

/// The mark of this start.
pub(crate) fn begin(
    dir: &Directory,
    manifest: &Manifest,
    marks: &Marks,
) -> Result<(), JournalFault> {
    if manifest.shard.is_only() {
        return Ok(());
    }
    advance(dir, manifest, marks)
}

/// Gives a journal that is in use its marks.
#[derive(Debug)]
pub(crate) struct Marking {
    marks: Arc<Marks>,
    due: Mono,
}

impl Marking {
    pub(crate) fn new(marks: Arc<Marks>, now: Mono) -> Self {
        Self {
            marks,
            due: now.after(MARK_INTERVAL),
        }
    }

    /// The next one is due now: there is something to keep.
    pub(crate) const fn hurry(&mut self, now: Mono) {
        self.due = now;
    }

    /// Gives it one when it is due, unless this may be the wrong journal.
    pub(crate) fn go_on(&mut self, dir: &Directory, manifest: &Manifest, now: Mono) {
        if manifest.shard.is_only() || now < self.due || !self.marks.is_well() {
            return;
        }
        self.due = now.after(MARK_INTERVAL);
        if let Err(fault) = advance(dir, manifest, &self.marks) {
            log::error!("the journal gets no mark, so that copies of it look alike: {fault}");
        }
    }
}
