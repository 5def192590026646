//! What can be wrong with a journal. A fault stops a start, or stops acceptance while running;
//! none is ever retried: after one failed sync no one knows what of the file is on the disk, and
//! the next sync would say "ok" (I5).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::codec::Unreadable;
use super::manifest::StoreId;
use crate::payment::{Processor, Shard};

/// A fault of the journal, with the file it lies in.
#[derive(Debug)]
pub enum JournalFault {
    /// The operating system refused: disk full, failed sync, no permission.
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// Another process holds the directory.
    Locked {
        /// Which directory.
        dir: PathBuf,
        /// The process that wrote itself into the lock file, as far as it is readable.
        holder: Option<u32>,
    },
    /// A directory or file that strangers could have written to, or that is not ours.
    Unsafe {
        /// The file that it is about.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Its permissions.
        mode: u32,
        /// What is wrong and what to do.
        why: &'static str,
    },
    /// A directory that holds other things than a journal.
    Foreign {
        /// Which directory.
        dir: PathBuf,
        /// One of these things.
        entry: String,
    },
    /// Open Intents are about processors that are elsewhere now.
    ProcessorsMoved {
        /// Which directory.
        dir: PathBuf,
        /// Every processor that is not where it was.
        moves: Vec<Move>,
    },
    /// More ids settled lately than may be kept, and none may be forgotten.
    TooManyClaims {
        /// Of one core.
        most: usize,
    },
    /// A file does not hold what was written to it.
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where reading stopped.
        offset: u64,
        /// In what way.
        what: Damage,
    },
    /// A file that the manifest or a later file needs is not there.
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// More records wait for the disk than memory is reserved for.
    Overrun,
    /// The payment is not pending, so it cannot be resolved by hand.
    NotPending,
    /// The payment's Intent is open: a client may have been told that it is charged.
    MayBeAcknowledged,
    /// The contents of this journal were taken over by another one.
    HandedOver {
        /// Which directory.
        dir: PathBuf,
    },
    /// The contents of this journal are in a shared store.
    Moved {
        /// Which directory.
        dir: PathBuf,
        /// Which store.
        store: StoreId,
    },
    /// It is a copy of a journal that may still be in use.
    Backup {
        /// Which directory.
        dir: PathBuf,
    },
    /// It is another shard's, or of a set of another size.
    OtherShard {
        /// Which directory.
        dir: PathBuf,
        /// Whose it is.
        was: Shard,
        /// What SHARD says.
        is: Shard,
    },
    /// One of the journal's own threads is gone.
    ThreadDied,
    /// The operating system lends the journal no thread.
    NoThread(io::Error),
}

/// A processor that is not where it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The processor that it is about.
    pub processor: Processor,
    /// `host:port` then, as far as the journal says.
    pub was: Option<String>,
    /// `host:port` now, if it is configured.
    pub is: Option<String>,
    /// Payments that may have been charged there.
    pub open: u64,
}

/// In what way a file is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The file's own header is wrong.
    FileHead,
    /// The file was in use, and has no header any more.
    Emptied {
        /// How long it is.
        bytes: u64,
    },
    /// A record is broken and it is not the torn end of the last batch.
    Record,
    /// A record is whole, yet not the one that should follow.
    Order,
    /// A record is whole, yet does not say what its kind demands.
    Content,
    /// A record is whole, and of a kind or version that only another release knows.
    Unknown {
        /// The number of its kind.
        kind: u8,
        /// Its version; 0 where none is written.
        version: u8,
    },
    /// A snapshot ends early or is broken.
    NoFooter,
    /// Something follows the end of a snapshot.
    BehindFooter,
    /// The manifest is not what was written.
    Manifest,
    /// The list of processors is not what was written.
    Processors,
    /// The list of marks is not what was written.
    Marks,
    /// The list of paused processors is not what was written.
    Pauses,
    /// The list of where they were is not what was written.
    PausePlaces,
}

impl JournalFault {
    /// Which file is damaged, and where. Beside a running instance damage counts when it is at the
    /// same place in a second reading: a segment may come into use between two files of the first.
    #[must_use]
    pub fn damaged_at(&self) -> Option<(PathBuf, u64)> {
        let Self::Damaged { path, offset, .. } = self else {
            return None;
        };
        Some((path.clone(), *offset))
    }

    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            error,
        }
    }
}

impl fmt::Display for JournalFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "journal file {}: {error}", path.display()),
            Self::Locked { dir, holder } => {
                write!(
                    f,
                    "journal directory {} is in use by another process",
                    dir.display()
                )?;
                match holder {
                    Some(pid) => write!(f, " (pid {pid})"),
                    None => Ok(()),
                }
            }
            Self::Unsafe {
                path,
                owner,
                mode,
                why,
            } => write!(
                f,
                "the journal does not trust {} (owner {owner}, mode {mode:04o}): {why}",
                path.display()
            ),
            Self::Foreign { dir, entry } => write_foreign(dir, entry, f),
            Self::ProcessorsMoved { dir, moves } => write_moves(dir, moves, f),
            Self::Damaged { path, offset, what } => {
                let path = path.display();
                if matches!(what, Damage::Unknown { .. }) {
                    return write!(f, "journal file {path} has {what} (offset {offset})");
                }
                write!(
                    f,
                    "journal file {path} is damaged at offset {offset}: {what}"
                )
            }
            Self::TooManyClaims { most } => write_too_many(*most, f),
            Self::Missing { path } => write!(f, "journal file {} is missing", path.display()),
            Self::Overrun => f.write_str("the journal's buffer is full: the disk does not keep up"),
            Self::NotPending => f.write_str("the payment is not pending"),
            Self::MayBeAcknowledged => f.write_str(
                "the payment was open at its processor when the process ended, so its client may \
                 have been told 200; if it is refused all the same, add --although-acknowledged",
            ),
            Self::HandedOver { dir } => write!(
                f,
                "what the journal {} held was taken over by another one and counts there",
                dir.display()
            ),
            Self::Moved { dir, store } => write!(
                f,
                "what the journal {} held was moved to the store {store} and goes on there: set \
                 STORE, or name another JOURNAL_DIR for a new journal",
                dir.display()
            ),
            Self::Backup { dir } => write_backup(dir, f),
            Self::OtherShard { dir, was, is } => write!(
                f,
                "the journal {} is that of shard {was}, and SHARD={is} now: set SHARD={was}, or \
                 give this instance the journal of shard {is}. The number of shards is fixed; a \
                 set of another size begins with empty journals and knows none of these ids",
                dir.display()
            ),
            Self::ThreadDied => f.write_str("a thread of the journal has ended"),
            Self::NoThread(error) => write!(f, "cannot start a thread of the journal: {error}"),
        }
    }
}

fn write_backup(dir: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "{} is a backup: started beside its original it would send what that one sends, perhaps to \
         another processor. When the original will never start again, run `p99 journal restore`",
        dir.display()
    )
}

fn write_foreign(dir: &Path, entry: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "the directory {} holds {entry:?}, which is not p99's: it is left as it is; name an empty \
         one, or one below it, which p99 then makes itself",
        dir.display()
    )
}

fn write_moves(dir: &Path, moves: &[Move], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "the journal {} is about other processors: ",
        dir.display()
    )?;
    for one in moves {
        write!(f, "{one}; ")?;
    }
    f.write_str(
        "set UPSTREAM_A_URL and UPSTREAM_B_URL as they were, or, if the same processor has another \
         name now, run `p99 journal accept-upstreams` once with the new settings",
    )
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, open) = (self.processor.name(), self.open);
        let (was, is) = (place(&self.was), place(&self.is));
        write!(
            f,
            "{name} was {was} and is {is} now, {open} payments are open there"
        )
    }
}

fn write_too_many(most: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "it knows more than {most} ids a core that settled within CACHE_TTL_SECONDS, and with \
         CACHE_FULL=refuse none may be forgotten: raise CACHE_CAPACITY"
    )
}

/// Where a processor was or is.
pub(crate) fn place(authority: &Option<String>) -> &str {
    authority.as_deref().unwrap_or("not configured")
}

impl std::error::Error for JournalFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } | Self::NoThread(error) => Some(error),
            Self::Locked { .. }
            | Self::Unsafe { .. }
            | Self::Foreign { .. }
            | Self::ProcessorsMoved { .. }
            | Self::Damaged { .. }
            | Self::Missing { .. }
            | Self::TooManyClaims { .. }
            | Self::Overrun
            | Self::NotPending
            | Self::MayBeAcknowledged
            | Self::HandedOver { .. }
            | Self::Moved { .. }
            | Self::Backup { .. }
            | Self::OtherShard { .. }
            | Self::ThreadDied => None,
        }
    }
}

impl From<Unreadable> for Damage {
    fn from(why: Unreadable) -> Self {
        match why {
            Unreadable::Unknown { kind, version } => Self::Unknown { kind, version },
            Unreadable::Content => Self::Content,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FileHead => "the file's header is wrong",
            Self::Emptied { bytes } => {
                return write!(
                    f,
                    "it was in use and has no header any more ({bytes} bytes are left), so the \
                     payments that it held are gone; bring it back, or restore a backup"
                );
            }
            Self::Record => "a record is broken",
            Self::Order => "a record is missing or repeated",
            Self::Content => "a record does not say what its kind demands",
            Self::Unknown { kind, version } => {
                return write!(
                    f,
                    "a record of kind {kind}, version {version}, which this release does not \
                     know; start the newer release that wrote it"
                );
            }
            Self::NoFooter => "the snapshot is broken or ends early",
            Self::BehindFooter => "something follows the end of the snapshot",
            Self::Manifest => "the manifest is broken",
            Self::Processors => {
                "the list of processors is broken; `p99 journal accept-upstreams` writes it anew"
            }
            Self::Marks => {
                "the list of marks is broken; remove the file, and say `p99 journal forget-shards` \
                 at the other shards"
            }
            Self::Pauses => {
                "the list of paused processors is broken; remove the file, and none is paused"
            }
            Self::PausePlaces => {
                "the list of where paused processors were is broken; remove the file, and pauses \
                 stay with their roles"
            }
        })
    }
}
