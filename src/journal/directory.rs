//! The journal's directory: who may use it (one process, by the lock), which files count (by the
//! manifest) and how a change of both is made durable.
//!
//! ```text
//! LOCK                        flock, as MANIFEST; holds the pid of its holder
//! MANIFEST                    whose journal, epoch, per core the number of its snapshot; shards
//! 00000003-001-000002.snapshot   epoch 3, core 1: all before segment 2
//! 00000003-001-000002.segment    the records since
//! ```
//!
//! A manifest is replaced by rename after all that it names was synced. Whatever it does not name
//! is left over from a step that did not finish, or that did and did not tidy up: never read.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::fault::{Damage, JournalFault};
use super::files;
use super::frame::{Identity, Kind};
use super::guard;
use crate::clock::UnixMillis;
use crate::keys;
use crate::limits;
use crate::payment::{CoreId, Shard};

const MANIFEST: &str = "MANIFEST";
/// Cores of a journal: file names have three digits for them.
const CORES_MAX: u16 = 1_000;
/// Epochs and segments of an epoch; a million starts a day take six years to get there.
const NUMBER_MAX: u32 = u32::MAX / 2;

/// The directory, held by this process until it is dropped.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// The lock lasts as long as the open file; absent for those who only look.
    _lock: Option<File>,
    /// The manifest that counts, locked too: who removes LOCK, because it seems to be left over,
    /// does not get in.
    held: Mutex<Option<File>>,
}

/// Tells one journal from all others, from its first start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalId(pub u64);

impl JournalId {
    /// One that no other journal has.
    pub(crate) fn fresh() -> Self {
        Self(keys::unlike_all())
    }

    fn read(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
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
            backup: None,
            shard: Shard::ONLY,
            met: BTreeMap::new(),
        }
    }

    /// Every core with its number.
    pub(crate) fn cores(&self) -> impl Iterator<Item = (CoreId, u32)> + '_ {
        (0..).map(CoreId).zip(self.firsts.iter().copied())
    }

    fn write(&self) -> String {
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
        // Earlier releases refuse a manifest with this line, as they should.
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
        let checksum = crc32fast::hash(text.as_bytes());
        text.push_str(&format!("checksum {checksum:08x}\n"));
        text
    }

    fn read(text: &str) -> Option<Self> {
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

/// The files of one core that count, in order.
#[derive(Clone, Debug)]
pub(crate) struct CoreFiles {
    pub(crate) snapshot: Identity,
    pub(crate) segments: Vec<Identity>,
}

impl Directory {
    /// Takes the directory for this process, creating it when it is not there.
    pub(crate) fn lock(path: &Path) -> Result<Self, JournalFault> {
        guard::make(path)?;
        let lock_path = path.join("LOCK");
        let io = |error| JournalFault::io(&lock_path, error);
        let mut lock = files::create_or_keep(&lock_path).map_err(io)?;
        match patiently(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let is_read = lock.take(32).read_to_string(&mut text).is_ok();
                let holder = text.trim().parse().ok().filter(|_| is_read);
                return Err(JournalFault::Locked {
                    dir: path.to_owned(),
                    holder,
                });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        lock.set_len(0).map_err(io)?;
        writeln!(lock, "{}", std::process::id()).map_err(io)?;
        let dir = Self {
            path: path.to_owned(),
            _lock: Some(lock),
            held: Mutex::default(),
        };
        let names = dir
            .identities()?
            .into_iter()
            .map(|identity| identity.name());
        guard::close_files(path, names)?;
        dir.hold_manifest()?;
        Ok(dir)
    }

    /// Looks at a directory that may be in use. Files may vanish while they are read.
    pub(crate) fn peek(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            _lock: None,
            held: Mutex::default(),
        }
    }

    /// Locks the manifest, if there is one. A fault of it is told where it is read; where files
    /// cannot be locked, LOCK could not be either.
    fn hold_manifest(&self) -> Result<(), JournalFault> {
        let path = self.manifest_path();
        for _ in 0..=limits::JOURNAL_LOCK_TRIES_MAX {
            let Ok(file) = files::read(&path) else {
                return Ok(());
            };
            let is_free = !matches!(file.try_lock(), Err(TryLockError::WouldBlock));
            // Its holder may have replaced it meanwhile.
            let named = fs::symlink_metadata(&path).map(|found| found.ino());
            if is_free && named.ok() == file.metadata().map(|found| found.ino()).ok() {
                self.hold(file);
                return Ok(());
            }
            thread::sleep(limits::JOURNAL_LOCK_PAUSE);
        }
        Err(JournalFault::Locked {
            dir: self.path.clone(),
            holder: None,
        })
    }

    fn hold(&self, manifest: File) {
        let held = self.held.lock();
        *held.unwrap_or_else(PoisonError::into_inner) = Some(manifest);
    }

    pub(crate) fn path_of(&self, identity: &Identity) -> PathBuf {
        self.path.join(identity.name())
    }

    pub(crate) fn path_to(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn manifest_path(&self) -> PathBuf {
        self.path.join(MANIFEST)
    }

    /// The manifest, or `None` in a directory that no start has finished with. Segments without a
    /// manifest are refused: it was lost, and starting anew would forget what they hold.
    pub(crate) fn manifest(&self) -> Result<Option<Manifest>, JournalFault> {
        let path = self.manifest_path();
        match files::read_text(&path) {
            Ok(text) => Manifest::read(&text)
                .map(Some)
                .ok_or(JournalFault::Damaged {
                    path,
                    offset: 0,
                    what: Damage::Manifest,
                }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let segments = self
                    .identities()?
                    .into_iter()
                    .any(|id| id.kind == Kind::Segment);
                if segments {
                    Err(JournalFault::Missing { path })
                } else {
                    Ok(None)
                }
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(JournalFault::Damaged {
                    path,
                    offset: 0,
                    what: Damage::Manifest,
                })
            }
            Err(error) => Err(JournalFault::io(&path, error)),
        }
    }

    /// Replaces the manifest. All that it names must have been synced.
    pub(crate) fn switch(&self, manifest: &Manifest) -> Result<(), JournalFault> {
        self.sync()?;
        let fresh = self.path.join("MANIFEST.new");
        let io = |error| JournalFault::io(&fresh, error);
        let mut file = files::create_empty(&fresh).map_err(io)?;
        file.write_all(manifest.write().as_bytes()).map_err(io)?;
        file.sync_all().map_err(io)?;
        let _is_locked = file.try_lock();
        fs::rename(&fresh, self.manifest_path()).map_err(io)?;
        self.hold(file);
        self.sync()
    }

    /// The files that count, core by core; a hole among the segments is refused.
    pub(crate) fn files(&self, manifest: &Manifest) -> Result<Vec<CoreFiles>, JournalFault> {
        let mut all = self.identities()?;
        all.retain(|id| id.kind == Kind::Segment && id.epoch == manifest.epoch);
        all.sort_unstable();
        let mut cores = Vec::new();
        for (core, first) in manifest.cores() {
            let epoch = manifest.epoch;
            let snapshot = Identity {
                kind: Kind::Snapshot,
                epoch,
                core,
                index: first,
            };
            let ours = all
                .iter()
                .filter(|id| id.core == core && id.index >= first)
                .copied();
            let segments: Vec<Identity> = ours.collect();
            for (expected, found) in (first..).zip(&segments) {
                if found.index != expected {
                    let missing = Identity {
                        index: expected,
                        ..*found
                    };
                    return Err(JournalFault::Missing {
                        path: self.path_of(&missing),
                    });
                }
            }
            cores.push(CoreFiles { snapshot, segments });
        }
        Ok(cores)
    }

    /// Deletes every journal file that `manifest` does not count. Others are left alone.
    pub(crate) fn tidy(&self, manifest: &Manifest) -> Result<(), JournalFault> {
        for identity in self.identities()? {
            let first = manifest.firsts.get(identity.core.index());
            let counts = identity.epoch == manifest.epoch
                && first.is_some_and(|first| match identity.kind {
                    Kind::Segment => identity.index >= *first,
                    Kind::Snapshot => identity.index == *first,
                });
            if !counts {
                let path = self.path_of(&identity);
                fs::remove_file(&path).map_err(|error| JournalFault::io(&path, error))?;
            }
        }
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<(), JournalFault> {
        files::sync_directory(&self.path)
    }

    fn identities(&self) -> Result<Vec<Identity>, JournalFault> {
        let io = |error| JournalFault::io(&self.path, error);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            found.extend(name.to_str().and_then(Identity::from_name));
            if found.len() > limits::JOURNAL_FILES_MAX {
                return Err(io(io::Error::other("too many journal files")));
            }
        }
        Ok(found)
    }
}

/// Locks the file, unless another process keeps it locked: one that was killed holds its lock until
/// the kernel has taken all of it apart, and is to be replaced at once.
fn patiently(lock: &File) -> Result<(), TryLockError> {
    let mut tries = 0;
    loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if tries < limits::JOURNAL_LOCK_TRIES_MAX => {
                tries += 1;
                thread::sleep(limits::JOURNAL_LOCK_PAUSE);
            }
            end => return end,
        }
    }
}
