//! A start: takes the directory, reads all cores' files whatever CORES was then, hands each
//! payment to the core that owns its id now (I1), writes one fresh snapshot per core, switches the
//! manifest and deletes what it no longer names. A crash at any step leaves either the old epoch
//! whole or the new one; a start that fails changes nothing that counts.
//!
//! `cores` calls it once, before any core runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::directory::{CoreFiles, Directory};
use super::distribution;
use super::fault::{Damage, JournalFault};
use super::frame::{Identity, Kind};
use super::keeper::Keeper;
use super::load::{self, Doubt, Tear};
use super::manifest::{JournalId, Manifest};
use super::marks;
use super::processors;
use super::replay::{Oddity, Pending, State};
use super::segment::{self, Fill};
use super::settings::JournalSettings;
use super::snapshot::SnapshotWriter;
use super::writer::WriterSeed;
use crate::claims::SettledClaim;
use crate::clock::UnixMillis;
use crate::ledger::Ledger;
use crate::payment::{CoreId, UpstreamId};
use crate::peers::Marks;

/// Longest frame of an owner's record: a header of 24 bytes, a mark, and a payload of 123, which
/// the Intent of a promised payment with a spelling of 64 bytes and an IPv6 address has. A core
/// that takes up payments from a journal may append one of these for each of them at once, beyond
/// [`crate::limits::JOURNAL_BUFFER_BYTES_MAX`]: no setting of today bounds how many there are.
pub(super) const JOURNAL_RECORD_BYTES_MAX: usize = 148;

/// A journal that is open for writing.
#[derive(Debug)]
pub struct Started {
    /// What each core starts from, by its number.
    pub cores: Vec<Restored>,
    /// The background thread; keep it as long as cores write.
    pub keeper: Keeper,
    /// What was found.
    pub report: StartReport,
    /// Which journal it is.
    pub id: JournalId,
    /// The journals of other shards, by their number, as far as they were met.
    pub met: BTreeMap<u16, JournalId>,
    /// How far they are.
    pub marks: Arc<Marks>,
}

/// What one core starts from.
#[derive(Debug)]
pub struct Restored {
    /// Settled payments.
    pub ledger: Ledger,
    /// Settled claims, oldest first.
    pub settled: Vec<(UpstreamId, SettledClaim)>,
    /// Payments to go on with, in the order in which they began.
    pub pending: Vec<Pending>,
    /// To be opened on the core's own thread.
    pub writer: WriterSeed,
}

/// What a start found, for the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartReport {
    /// Counts the starts.
    pub epoch: u32,
    /// Records that were replayed besides the snapshots.
    pub records: u64,
    /// Payments that are pending.
    pub pending: u64,
    /// Settled claims that are known.
    pub settled: u64,
    /// Payments that were promised to no one and sent to no one: they ended with their process.
    pub ended: u64,
    /// Torn batches that were cut; no one had been told that they were durable.
    pub tears: Vec<Tear>,
    /// Segments from which records may have been taken.
    pub doubts: Vec<Doubt>,
    /// Inconsistent records; more than none is a fault of p99.
    pub oddities: u64,
    /// The first of them.
    pub told_oddities: Vec<Oddity>,
}

/// Opens the journal. `wall` ages the ledger.
///
/// # Errors
/// The directory is in use, cannot be written, or holds damage: see [`JournalFault`].
pub fn start(settings: &JournalSettings, wall: UnixMillis) -> Result<Started, JournalFault> {
    let dir = Directory::lock(&settings.dir)?;
    let mut report = StartReport::default();
    let old = manifest_for(&dir, settings)?;
    let marks = marks::load(&dir, old.as_ref())?;
    let olds = match &old {
        Some(manifest) => read_all(&dir, manifest, settings, &mut report)?,
        None => Vec::new(),
    };
    let before = olds.iter().filter_map(State::dropped).max();
    let mut states = distributed(olds, settings)?;
    let date = distribution::date_of(&states, wall);
    let dropped = states.iter().filter_map(State::dropped).max().max(before);
    if let (Some(kept), Some(dropped)) = (settings.claims_kept, dropped)
        && dropped >= date.before(kept)
    {
        return Err(JournalFault::TooManyClaims {
            most: settings.claims_max,
        });
    }
    for state in &mut states {
        state.ledger.age_by(date, usize::MAX);
        report.ended += state.end_unkept();
    }
    if let Some(now) = &settings.processors {
        processors::check(&dir, &states, now)?;
    }
    let (manifest, snapshot_bytes) = renew(&dir, old, &states)?;
    let epoch = manifest.epoch;
    report.epoch = epoch;
    let mut firsts = Vec::new();
    for core in (0..settings.cores.0.max(1)).map(CoreId) {
        let identity = Identity {
            kind: Kind::Segment,
            epoch,
            core,
            index: 0,
        };
        let path = dir.path_of(&identity);
        let file = segment::create(&path, &identity, settings.first_bytes(), Fill::Reserved)?;
        let file = segment::for_writing(&path, file, settings.sync)?;
        firsts.push((identity, file));
    }
    dir.sync()?;
    let (id, met) = (manifest.id, manifest.met.clone());
    marks::begin(&dir, &manifest, &marks)?;
    let marks = Arc::new(marks);
    let kept = (manifest, Arc::clone(&marks));
    let (keeper, writers) = Keeper::spawn(dir, kept, (settings, date), (firsts, snapshot_bytes))?;
    let cores = states.into_iter().zip(writers);
    let cores = cores
        .map(|(state, writer)| restore(state, writer, &mut report))
        .collect();
    Ok(Started {
        cores,
        keeper,
        report,
        id,
        met,
        marks,
    })
}

/// Gives what the cores of an earlier start left to those of `settings`.
pub(crate) fn distributed(
    olds: Vec<State>,
    settings: &JournalSettings,
) -> Result<Vec<State>, JournalFault> {
    let empty = || State::new(settings.claims_max, settings.ledger_exact);
    distribution::distribute(olds, settings.cores, empty).map_err(|_| {
        // Its own chunks: only a fault of the ledger can come here.
        JournalFault::Damaged {
            path: settings.dir.clone(),
            offset: 0,
            what: Damage::Content,
        }
    })
}

/// Demands that what the manifest names is nowhere else: no other journal took it over, and it is
/// no backup.
pub(crate) fn demand_original(dir: &Path, manifest: &Manifest) -> Result<(), JournalFault> {
    let dir = dir.to_owned();
    if manifest.handed_to.is_some() {
        return Err(JournalFault::HandedOver { dir });
    }
    if manifest.backup.is_some() {
        return Err(JournalFault::Backup { dir });
    }
    Ok(())
}

/// The manifest to go on from, if this instance may: its contents are nowhere else, and it is its
/// shard's. A fresh journal becomes its shard's.
fn manifest_for(
    dir: &Directory,
    settings: &JournalSettings,
) -> Result<Option<Manifest>, JournalFault> {
    let Some(manifest) = dir.manifest()? else {
        return Ok(settings.shard.map(|shard| Manifest {
            shard,
            ..Manifest::empty()
        }));
    };
    demand_original(&settings.dir, &manifest)?;
    let dir = settings.dir.clone();
    if let Some(store) = manifest.moved_to {
        return Err(JournalFault::Moved { dir, store });
    }
    let was = manifest.shard;
    match settings.shard.filter(|is| *is != was) {
        Some(is) => Err(JournalFault::OtherShard { dir, was, is }),
        None => Ok(Some(manifest)),
    }
}

/// Reads every core of the old epoch, each on a thread of its own: a start waits for the largest.
pub(crate) fn read_all(
    dir: &Directory,
    manifest: &Manifest,
    settings: &JournalSettings,
    report: &mut StartReport,
) -> Result<Vec<State>, JournalFault> {
    let all = dir.files(manifest)?;
    let read = |files: &CoreFiles| {
        let mut state = State::new(settings.claims_max, settings.ledger_exact);
        load::load_whole(dir, files, &mut state).map(|loaded| (state, loaded))
    };
    let read = &read;
    let results: Vec<_> = std::thread::scope(|scope| {
        let spawn = |files| std::thread::Builder::new().spawn_scoped(scope, move || read(files));
        // All of them first, so that they read at the same time.
        let threads: Vec<_> = all.iter().map(spawn).collect();
        threads
            .into_iter()
            .map(
                |thread| match thread.map_err(JournalFault::NoThread)?.join() {
                    Ok(read) => read,
                    Err(_) => Err(JournalFault::ThreadDied),
                },
            )
            .collect()
    });
    let mut states = Vec::new();
    for result in results {
        let (state, loaded) = result?;
        report.records += loaded.records;
        report.oddities += state.oddities();
        report
            .told_oddities
            .extend_from_slice(state.told_oddities());
        // A backup has no more of a file than is used.
        if manifest.backup.is_none() {
            report.doubts.extend(loaded.doubts(settings));
        }
        report.tears.extend(loaded.tear);
        states.push(state);
    }
    Ok(states)
}

/// Makes `states` what the journal holds: a snapshot of each core in a new epoch, then the manifest
/// that names them, then the old files go. Returns the snapshots' sizes.
pub(crate) fn renew(
    dir: &Directory,
    old: Option<Manifest>,
    states: &[State],
) -> Result<(Manifest, Vec<u64>), JournalFault> {
    let old = old.unwrap_or_else(Manifest::empty);
    let epoch = old.epoch + 1;
    let mut sizes = Vec::new();
    for (core, state) in (0..).map(CoreId).zip(states) {
        let identity = Identity {
            kind: Kind::Snapshot,
            epoch,
            core,
            index: 0,
        };
        sizes.push(write_snapshot(dir, &identity, state)?);
    }
    let manifest = Manifest {
        epoch,
        firsts: vec![0; states.len()],
        ..old
    };
    dir.switch(&manifest)?;
    dir.tidy(&manifest)?;
    Ok((manifest, sizes))
}

fn write_snapshot(
    dir: &Directory,
    identity: &Identity,
    state: &State,
) -> Result<u64, JournalFault> {
    let mut writer = SnapshotWriter::create(&dir.path_of(identity), identity)?;
    writer.state(state)?;
    for chunk in state.ledger.chunks() {
        writer.ledger(&chunk)?;
    }
    writer.finish(0)
}

fn restore(state: State, mut writer: WriterSeed, report: &mut StartReport) -> Restored {
    let settled: Vec<_> = state.settled().collect();
    let pending: Vec<Pending> = state.pending().into_iter().cloned().collect();
    let promises = pending.len().saturating_mul(JOURNAL_RECORD_BYTES_MAX);
    writer.buffer_bytes_max = writer.buffer_bytes_max.saturating_add(promises);
    report.pending += pending.len() as u64;
    report.settled += settled.len() as u64;
    Restored {
        ledger: state.ledger,
        settled,
        pending,
        writer,
    }
}
