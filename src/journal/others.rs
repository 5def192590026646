//! Which ids the other shards' journals know, for a restore: a processor's book shows an id that is
//! no UUID by one that was made of it, which does not tell whose it is. It reads beside running
//! instances and writes nothing.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::account::{self, AccountFault, CoreAccount};
use super::backup::BackupFault;
use super::directory::Directory;
use super::fault::JournalFault;
use crate::clock::UnixMillis;
use crate::limits;
use crate::payment::{Processor, Shard, UpstreamId};

/// What the journals of all shards but `own` know of the ids that hide their text, with every
/// charge from `from` on. None when one of them is missing.
pub(super) fn known(
    own: Shard,
    journals: &[PathBuf],
    from: UnixMillis,
) -> Result<Option<HashSet<UpstreamId>>, BackupFault> {
    let mut numbers = BTreeSet::new();
    let mut ids = HashSet::new();
    for path in journals {
        numbers.insert(number_of(own, path)?);
        ids.extend(read(path, from)?);
    }
    let is_whole = numbers.len() + 1 == usize::from(own.count());
    Ok(is_whole.then_some(ids))
}

/// Which shard's it is. A backup would not know what was charged since, nor does a journal from
/// which a store went on.
fn number_of(own: Shard, path: &Path) -> Result<u16, BackupFault> {
    let manifest = Directory::peek(path).manifest()?;
    let used = manifest.filter(|one| one.backup.is_none() && one.moved_to.is_none());
    used.map(|one| one.shard)
        .filter(|shard| shard.count() == own.count() && shard.number() != own.number())
        .map(Shard::number)
        .ok_or_else(|| BackupFault::NotAnother(path.to_owned()))
}

fn read(path: &Path, from: UnixMillis) -> Result<HashSet<UpstreamId>, BackupFault> {
    // Older seconds the ledger keeps whole.
    let from = UnixMillis(from.0.div_euclid(1_000).saturating_mul(1_000));
    let mut fault = BackupFault::Busy;
    for _ in 0..limits::RECONCILE_READINGS_MAX {
        let mut ids = HashSet::new();
        let told = account::account(path, (Some(from), None), &mut |told| {
            if told.id.may_be_derived() {
                ids.insert(told.id);
            }
            Ok(())
        });
        fault = match told {
            Ok(cores) if is_whole(&cores) => return Ok(ids),
            Ok(_) | Err(AccountFault::Cut(_)) => {
                return Err(BackupFault::Forgotten(path.to_owned()));
            }
            Err(AccountFault::Replaced) => BackupFault::Busy,
            // A running instance may have been about to write it.
            Err(AccountFault::Journal(fault)) => fault.into(),
            Err(AccountFault::Taker(error)) => JournalFault::io(path, error).into(),
        };
    }
    Err(fault)
}

/// Whether every charge of the window was told with its id.
fn is_whole(cores: &[CoreAccount]) -> bool {
    let mut all = Processor::ALL.into_iter();
    all.all(|processor| account::forgotten(cores, processor).count == 0)
}
