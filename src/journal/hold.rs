//! How files of the journal are locked (`flock`): at once, or a moment later. A process that was
//! killed is taken apart by the kernel, which holds its locks until then. `directory` locks LOCK
//! and the manifest, and says what it means that one cannot be had.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::files;

/// How often a journal that is in use is tried again, and the pause between two tries: 2 s. A
/// killed process of 100 MB was seen to hold its lock 50 ms longer on a busy machine; a second
/// instance on one journal is a mistake that shall be heard of soon.
const JOURNAL_LOCK_TRIES_MAX: u32 = 100;
/// See [`JOURNAL_LOCK_TRIES_MAX`].
const JOURNAL_LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Locks the file as long as it is open.
///
/// # Errors
/// `WouldBlock`: another process keeps it locked.
pub(super) fn lock(file: &File) -> Result<(), TryLockError> {
    let mut tries = 0;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if tries < JOURNAL_LOCK_TRIES_MAX => {
                tries += 1;
                thread::sleep(JOURNAL_LOCK_PAUSE);
            }
            end => return end,
        }
    }
}

/// Opens and locks the file at `path`, which its holder may replace by rename at any moment; `None`
/// where there is none.
///
/// # Errors
/// As [`lock`], and when it cannot be opened.
pub(super) fn lock_replaced(path: &Path) -> Result<Option<File>, TryLockError> {
    for _ in 0..=JOURNAL_LOCK_TRIES_MAX {
        let file = match files::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(TryLockError::Error)?,
        };
        match file.try_lock() {
            Ok(()) if is_at(&file, path) => return Ok(Some(file)),
            Ok(()) | Err(TryLockError::WouldBlock) => thread::sleep(JOURNAL_LOCK_PAUSE),
            Err(fault) => return Err(fault),
        }
    }
    Err(TryLockError::WouldBlock)
}

/// Whether `path` still names the open file.
fn is_at(file: &File, path: &Path) -> bool {
    let named = fs::symlink_metadata(path).map(|found| found.ino());
    named.ok() == file.metadata().map(|found| found.ino()).ok()
}
