//! Compaction: the snapshot of one core and its sealed segments become a new snapshot. It is a
//! replay from files to a file (I6); the core's owner is not asked and nothing is locked. Only the
//! keeper's thread calls it.
//!
//! The ledger is the large part (5 bytes for each payment of the last day), so its old chunks go
//! from file to file one at a time; in memory are the claims, the pending payments and what the
//! segments add to the ledger (I8).

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::directory::{CoreFiles, Directory};
use super::fault::JournalFault;
use super::frame::{Identity, Kind};
use super::load::{self, IntoState};
use super::manifest::Manifest;
use super::replay::State;
use super::settings::JournalSettings;
use super::snapshot::{self, Line, SnapshotWriter};
use crate::clock::UnixMillis;
use crate::ledger::Ledger;
use crate::payment::CoreId;

/// Merges all segments of `core` before number `until`, which must be sealed. Returns the new
/// snapshot's size. On an error the old files still count.
pub(crate) fn compact(
    dir: &Directory,
    manifest: &mut Manifest,
    (core, until): (CoreId, u32),
    (settings, before): (&JournalSettings, UnixMillis),
) -> Result<u64, JournalFault> {
    let all = dir.files(manifest)?;
    let Some(found) = all.into_iter().nth(core.index()) else {
        return Ok(0);
    };
    let mut segments = found.segments;
    segments.retain(|segment| segment.index < until);
    let files = CoreFiles {
        snapshot: found.snapshot,
        complete: segments.len(),
        segments,
    };
    let mut state = State::new(settings.claims_max, settings.ledger_exact);
    let chunk = |_: &mut State, _: &[u8]| Ok(());
    let loaded = load::load(
        dir,
        &files,
        &mut IntoState {
            state: &mut state,
            chunk,
        },
    )?;
    if let Some(tear) = loaded.tear {
        let what = super::fault::Damage::Record;
        return Err(JournalFault::Damaged {
            path: tear.path,
            offset: tear.offset,
            what,
        });
    }
    let epoch = manifest.epoch;
    let identity = Identity {
        kind: Kind::Snapshot,
        epoch,
        core,
        index: until,
    };
    let path = dir.path_of(&identity);
    let merged = merge(
        &path,
        &identity,
        (dir, &files, &mut state),
        settings.ledger_exact,
        before,
    );
    let bytes = match merged.and_then(|writer| writer.finish(loaded.next - 1)) {
        Ok(bytes) => bytes,
        Err(fault) => {
            // No manifest names it yet, and its room is what others wait for.
            fs::remove_file(&path).unwrap_or_default();
            return Err(fault);
        }
    };
    let mut next = manifest.clone();
    if let Some(first) = next.firsts.get_mut(core.index()) {
        *first = until;
    }
    let switched = dir.switch(&next);
    // A switch that failed late may have happened all the same: what the disk says counts.
    if let Err(fault) = switched
        && dir.manifest()?.as_ref() != Some(&next)
    {
        fs::remove_file(&path).unwrap_or_default();
        return Err(fault);
    }
    *manifest = next;
    if let Err(fault) = dir.tidy(manifest) {
        log::warn!("files that no longer count are left until the next compaction: {fault}");
    }
    Ok(bytes)
}

/// Writes all but the end of the new snapshot.
fn merge(
    path: &Path,
    identity: &Identity,
    (dir, files, state): (&Directory, &CoreFiles, &mut State),
    exact: Duration,
    before: UnixMillis,
) -> Result<SnapshotWriter, JournalFault> {
    let mut writer = SnapshotWriter::create(path, identity)?;
    writer.state(state)?;
    if !state.is_purged() {
        let old = dir.path_of(&files.snapshot);
        snapshot::read(&old, &files.snapshot, |line| match line {
            Line::Ledger(chunk) => {
                let mut part = Ledger::new(exact);
                load::absorb(&mut part, chunk, &old)?;
                write_ledger(&mut writer, &mut part, before)
            }
            Line::Record(_) | Line::Settled(_, _) => Ok(()),
        })?;
    }
    write_ledger(&mut writer, &mut state.ledger, before)?;
    Ok(writer)
}

fn write_ledger(
    writer: &mut SnapshotWriter,
    ledger: &mut Ledger,
    before: UnixMillis,
) -> Result<(), JournalFault> {
    ledger.age_before(before, usize::MAX);
    for chunk in ledger.chunks() {
        writer.ledger(&chunk)?;
    }
    Ok(())
}
