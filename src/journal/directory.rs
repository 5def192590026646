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

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::fault::{Damage, JournalFault};
use super::files;
use super::frame::{Identity, Kind};
use super::guard;
use super::hold;
use super::manifest::Manifest;

/// Files of one journal. 1,024 cores with a snapshot and 16 segments each, old and new epoch, are
/// 34,816; with more, compaction has failed for so long that a start is refused.
const JOURNAL_FILES_MAX: usize = 65_536;

const MANIFEST: &str = "MANIFEST";

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

/// The files of one core that count, in order.
#[derive(Clone, Debug)]
pub(crate) struct CoreFiles {
    pub(crate) snapshot: Identity,
    pub(crate) segments: Vec<Identity>,
    /// So many of the segments, from the first on, were complete before something else was made
    /// that is there: one that has no header was emptied.
    pub(crate) complete: usize,
}

impl Directory {
    /// Takes the directory for this process, creating it when it is not there.
    pub(crate) fn lock(path: &Path) -> Result<Self, JournalFault> {
        guard::make(path)?;
        let lock_path = path.join("LOCK");
        let io = |error| JournalFault::io(&lock_path, error);
        let mut lock = files::create_or_keep(&lock_path).map_err(io)?;
        let in_use = |holder| JournalFault::Locked {
            dir: path.to_owned(),
            holder,
        };
        match hold::lock(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let is_read = lock.take(32).read_to_string(&mut text).is_ok();
                let holder = text.trim().parse().ok().filter(|_| is_read);
                return Err(in_use(holder));
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
        let manifest = dir.manifest_path();
        match hold::lock_replaced(&manifest) {
            Ok(None) => {}
            Ok(Some(file)) => dir.hold(file),
            Err(TryLockError::WouldBlock) => return Err(in_use(None)),
            Err(TryLockError::Error(error)) => return Err(JournalFault::io(&manifest, error)),
        }
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
        file.try_lock().map_err(|fault| io(fault.into()))?;
        fs::rename(&fresh, self.manifest_path()).map_err(io)?;
        self.hold(file);
        self.sync()
    }

    /// What the small file of this name says, as `read` understands it; `None` where it is not
    /// there. Anything else than what was written is damage of the kind `what`.
    pub(crate) fn read_small<T>(
        &self,
        name: &str,
        what: Damage,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, JournalFault> {
        let path = self.path_to(name);
        let found = match files::read_text(&path) {
            Ok(text) => read(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            Err(error) => return Err(JournalFault::io(&path, error)),
        };
        let offset = 0;
        let damaged = JournalFault::Damaged { path, offset, what };
        found.map(Some).ok_or(damaged)
    }

    /// Replaces the small file of this name, durably.
    pub(crate) fn replace_small(&self, name: &str, text: &str) -> Result<(), JournalFault> {
        let fresh = self.path_to(&format!("{name}.new"));
        let io = |error| JournalFault::io(&fresh, error);
        let mut file = files::create_empty(&fresh).map_err(io)?;
        file.write_all(text.as_bytes()).map_err(io)?;
        file.sync_all().map_err(io)?;
        fs::rename(&fresh, self.path_to(name)).map_err(io)?;
        self.sync()
    }

    /// The files that count, core by core; a hole among the segments is refused.
    ///
    /// A core's next segment is made only behind the one before it, and the first of the next ones
    /// when the first ones of all cores are complete; a snapshot with a number takes the place of
    /// segments that another one followed. So what is there says which segments must be there too.
    pub(crate) fn files(&self, manifest: &Manifest) -> Result<Vec<CoreFiles>, JournalFault> {
        let mut all = self.identities()?;
        all.retain(|id| id.kind == Kind::Segment && id.epoch == manifest.epoch);
        all.sort_unstable();
        let has_begun =
            all.iter().any(|id| id.index > 0) || manifest.firsts.iter().any(|first| *first > 0);
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
            if has_begun && segments.is_empty() {
                let kind = Kind::Segment;
                let path = self.path_of(&Identity { kind, ..snapshot });
                return Err(JournalFault::Missing { path });
            }
            // Of a start that was cut short; one core after the other gets its first segment.
            let is_first_complete = has_begun || all.iter().any(|id| id.core > core);
            let before_last = segments.len().saturating_sub(1);
            cores.push(CoreFiles {
                snapshot,
                segments,
                complete: before_last.max(usize::from(is_first_complete)),
            });
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
            if found.len() > JOURNAL_FILES_MAX {
                return Err(io(io::Error::other("too many journal files")));
            }
        }
        Ok(found)
    }
}
