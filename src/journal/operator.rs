//! The journal seen from outside: `p99 journal verify`, `p99 journal dump`, `p99 pending` and
//! `p99 resolve`. `main` calls these. Three of them only look, also while an instance runs: a
//! batch that is just being written then shows as torn. `resolve` takes the lock, so it works on
//! a stopped instance only.
//!
//! What they say comes from the same replay as a start. Nothing here ever decides by itself how a
//! payment ended: that is the operator's word, and it stays in the journal as a Verdict (I5).

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::directory::{CoreFiles, Directory};
use super::fault::{JournalFault, Move};
use super::frame::{self, Identity, Place};
use super::line;
use super::load::{self, Doubt, Sink, Tear};
use super::manifest::Manifest;
use super::marks;
use super::processors::{self, Authorities};
use super::record::{Fate, Record, Verdict};
use super::replay::{Pending, State};
use super::settings::JournalSettings;
use super::snapshot::Line;
use super::start::{StartReport, read_all, start};
use crate::clock::UnixMillis;
use crate::config::JournalSync;
use crate::payment::{CoreCount, PerProcessor, Processor, Totals, UpstreamId};

/// What `p99 journal verify` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Counts the starts; 0 for a directory without a journal.
    pub epoch: u32,
    /// How many cores wrote it.
    pub cores: usize,
    /// Records in segments, behind the snapshots.
    pub records: u64,
    /// Payments that are pending.
    pub pending: u64,
    /// Settled claims that are known.
    pub settled: u64,
    /// What the ledger holds.
    pub totals: PerProcessor<Totals>,
    /// Torn batches at the end; no one had been told that they were durable.
    pub tears: Vec<Tear>,
    /// Segments from which records may have been taken.
    pub doubts: Vec<Doubt>,
    /// Inconsistent records; more than none is a fault of p99.
    pub oddities: u64,
}

/// How an operator settles a payment by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The processor did charge it.
    Applied,
    /// No one charged it, and no one will: `refused`, its id stays taken. Not for an open Intent:
    /// its client may have been told 200.
    Refused,
    /// The same, whatever its client may have been told.
    RefusedAlthoughAcknowledged,
}

impl Resolution {
    /// What the payment is from then on.
    #[must_use]
    pub const fn verdict(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Refused | Self::RefusedAlthoughAcknowledged => "refused",
        }
    }
}

/// Whether `dir` holds a journal; a directory that is not there is a fault.
///
/// # Errors
/// It cannot be read, or what it holds lost its manifest.
pub fn is_journal(dir: &Path) -> Result<bool, JournalFault> {
    Directory::peek(dir)
        .manifest()
        .map(|manifest| manifest.is_some())
}

/// Reads the whole journal in `dir` and says what it holds.
///
/// # Errors
/// The first damage, with file and offset.
pub fn verify(dir: &Path) -> Result<VerifyReport, JournalFault> {
    let sizes = JournalSettings::new(dir.to_owned(), JournalSync::Os, CoreCount(1));
    look(dir, |dir, manifest| {
        let mut report = VerifyReport {
            epoch: manifest.epoch,
            cores: manifest.firsts.len(),
            ..<_>::default()
        };
        for files in dir.files(manifest)? {
            let (state, loaded) = read(dir, &files)?;
            report.records += loaded.records;
            report.oddities += state.oddities();
            if manifest.backup.is_none() {
                report.doubts.extend(loaded.doubts(&sizes));
            }
            report.tears.extend(loaded.tear);
            report.pending += state.pending().iter().filter(|one| one.is_kept()).count() as u64;
            report.settled += state.settled().count() as u64;
            state.add_totals(&mut report.totals);
        }
        Ok(report)
    })
}

/// Every payment that is not settled, oldest first.
///
/// # Errors
/// The first damage, with file and offset.
pub fn pending(dir: &Path) -> Result<Vec<Pending>, JournalFault> {
    look(dir, |dir, manifest| {
        let mut all = Vec::new();
        for files in dir.files(manifest)? {
            let (state, _) = read(dir, &files)?;
            all.extend(
                state
                    .pending()
                    .into_iter()
                    .filter(|one| one.is_kept())
                    .cloned(),
            );
        }
        all.sort_by_key(Pending::began_at);
        Ok(all)
    })
}

/// Writes one line of JSON for each pending payment, with its age at `wall`.
///
/// # Errors
/// What `out` says.
pub fn write_pending(all: &[Pending], wall: UnixMillis, out: &mut impl Write) -> io::Result<()> {
    let mut text = Vec::new();
    for pending in all {
        text.clear();
        line::write_pending(pending, wall, &mut text);
        out.write_all(&text)?;
    }
    Ok(())
}

/// Writes one line of JSON for everything in the journal, in the order of each core.
///
/// # Errors
/// The first damage, after all that came before it was written; or what `out` says.
pub fn dump(dir: &Path, out: &mut impl Write) -> Result<(), JournalFault> {
    let path = dir;
    let dir = Directory::peek(dir);
    let Some(manifest) = dir.manifest()? else {
        return Ok(());
    };
    for files in dir.files(&manifest)? {
        let mut sink = IntoLines {
            files: &files,
            text: Vec::new(),
            out: &mut *out,
            error: None,
        };
        load::load(&dir, &files, &mut sink)?;
        if let Some(error) = sink.error {
            return Err(JournalFault::io(path, error));
        }
    }
    Ok(())
}

/// Settles `id` by hand in the journal of a stopped instance, durably, and returns the payment as
/// it was. `sign` keeps who says so and why; it is called once nothing but the disk is in the way.
///
/// # Errors
/// `sign` fails; an instance holds the directory; the journal is damaged; `id` is not pending, or
/// it is to be `Applied` and no processor has it, or `Refused` and its client may have been told
/// 200.
pub fn resolve(
    settings: &JournalSettings,
    id: UpstreamId,
    resolution: Resolution,
    wall: UnixMillis,
    sign: impl FnOnce() -> Result<(), JournalFault>,
) -> Result<Pending, JournalFault> {
    let cores = {
        let dir = Directory::lock(&settings.dir)?;
        let manifest = dir.manifest()?.ok_or(JournalFault::NotPending)?;
        u16::try_from(manifest.firsts.len()).unwrap_or(u16::MAX)
    };
    let settings = JournalSettings {
        cores: CoreCount(cores),
        ..settings.clone()
    };
    let mut started = start(&settings, wall)?;
    let core = started.cores.get_mut(id.owner(settings.cores).index());
    let core = core.ok_or(JournalFault::NotPending)?;
    let found = core.pending.iter().find(|pending| pending.payment.id == id);
    let found = found.ok_or(JournalFault::NotPending)?.clone();
    if resolution == Resolution::Refused && found.open.is_some() {
        return Err(JournalFault::MayBeAcknowledged);
    }
    let verdict = verdict(&found, resolution).ok_or(JournalFault::NotPending)?;
    let record = Record::Verdict { id, verdict };
    let seed = core.writer.identity.seed();
    let mut bytes = Vec::new();
    let place = Place {
        sequence: 1,
        position: 0,
    };
    frame::write(seed, place, &mut bytes, |out| record.encode(out));
    sign()?;
    core.writer.append_first(&bytes)?;
    log::warn!(
        "payment {id} was resolved by hand as {}",
        resolution.verdict()
    );
    Ok(found)
}

fn verdict(pending: &Pending, resolution: Resolution) -> Option<Verdict> {
    let amount = pending.payment.amount;
    match (resolution, pending.open) {
        (Resolution::Applied, Some(sent)) => Some(Verdict::Applied {
            processor: sent.processor,
            amount,
            requested_at: sent.requested_at,
        }),
        (Resolution::Applied, None) => None,
        (Resolution::Refused | Resolution::RefusedAlthoughAcknowledged, open) => {
            let last = open.as_ref().or_else(|| pending.earlier.last());
            let processor = last.map_or(Processor::DEFAULT, |sent| sent.processor);
            Some(Verdict::Refused {
                processor,
                fate: Fate::Ended,
            })
        }
    }
}

/// What the journal said before an operator's word about the processors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Where they were; `None` when that is not known.
    pub was: Option<Authorities>,
    /// Payments that may have been charged there.
    pub open: PerProcessor<u64>,
}

/// Takes the operator's word that the processors at `now` are those that the journal of a stopped
/// instance is about.
///
/// # Errors
/// An instance holds the directory; it holds no journal or a damaged one.
pub fn accept_upstreams(
    settings: &JournalSettings,
    now: &Authorities,
) -> Result<Accepted, JournalFault> {
    let dir = Directory::lock(&settings.dir)?;
    let manifest = dir.manifest()?.ok_or_else(|| JournalFault::Missing {
        path: dir.manifest_path(),
    })?;
    let states = read_all(&dir, &manifest, settings, &mut StartReport::default())?;
    // One that is broken says nothing; it is written anew.
    let was = processors::read(&dir).unwrap_or_default();
    let open = processors::open(&states);
    // No word makes a processor reachable that the settings do not name.
    let unreachable = |one: &Move| one.is.is_none() && one.open > 0;
    let moves = processors::moves(was.as_ref(), now, &open);
    if moves.iter().any(unreachable) {
        return Err(JournalFault::ProcessorsMoved {
            dir: settings.dir.clone(),
            moves,
        });
    }
    processors::write(&dir, now)?;
    Ok(Accepted { was, open })
}

/// Takes the operator's word that the journals of other shards may be others from now on: a disk
/// was lost. The instance is stopped. Returns how many were known.
///
/// # Errors
/// An instance holds the directory; it holds no journal or a damaged one.
pub fn forget_shards(path: &Path) -> Result<usize, JournalFault> {
    let dir = Directory::lock(path)?;
    let mut manifest = dir.manifest()?.ok_or_else(|| JournalFault::Missing {
        path: dir.manifest_path(),
    })?;
    let met = std::mem::take(&mut manifest.met);
    marks::forget(&dir)?;
    dir.switch(&manifest)?;
    Ok(met.len())
}

/// Runs `what` on a directory that may be in use. When a file vanished because the manifest was
/// switched meanwhile, or damage was seen for the first time at its place, it runs again.
fn look<T: Default>(
    path: &Path,
    what: impl Fn(&Directory, &Manifest) -> Result<T, JournalFault>,
) -> Result<T, JournalFault> {
    let dir = Directory::peek(path);
    let mut manifest = dir.manifest()?;
    let mut seen = None;
    loop {
        let Some(current) = &manifest else {
            return Ok(T::default());
        };
        let found = what(&dir, current);
        let now = dir.manifest()?;
        let damaged = found.as_ref().err().and_then(JournalFault::damaged_at);
        let is_new = damaged.is_some() && damaged != seen;
        if found.is_ok() || (now == manifest && !is_new) {
            return found;
        }
        (manifest, seen) = (now, damaged);
    }
}

fn read(dir: &Directory, files: &CoreFiles) -> Result<(State, load::Loaded), JournalFault> {
    // The ledger is not aged here, and nothing is forgotten.
    let mut state = State::new(usize::MAX, Duration::from_secs(24 * 3600));
    let loaded = load::load_whole(dir, files, &mut state)?;
    Ok((state, loaded))
}

#[derive(Debug)]
struct IntoLines<'a, W> {
    files: &'a CoreFiles,
    text: Vec<u8>,
    out: &'a mut W,
    /// The first that `out` said.
    error: Option<io::Error>,
}

impl<W: Write> IntoLines<'_, W> {
    fn put(&mut self, write: impl FnOnce(&Identity, &mut Vec<u8>)) {
        self.text.clear();
        write(&self.files.snapshot, &mut self.text);
        if self.error.is_none() {
            self.error = self.out.write_all(&self.text).err();
        }
    }
}

impl<W: Write> Sink for IntoLines<'_, W> {
    fn line(&mut self, line: Line<'_>) -> Result<(), JournalFault> {
        self.put(|identity, out| match line {
            Line::Record(record) => line::write_record(identity, None, &record, out),
            Line::Settled(id, claim) => line::write_settled(identity, id, &claim, out),
            Line::Ledger(chunk) => line::write_ledger(identity, chunk.len(), out),
        });
        Ok(())
    }

    fn record(&mut self, sequence: u64, record: &Record) {
        self.put(|identity, out| line::write_record(identity, Some(sequence), record, out));
    }
}
