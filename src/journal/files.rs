//! How the journal opens its files: for its owner alone whatever the umask says, never through a
//! link that was put in place of one, and not inherited by any child. Nothing else in this room
//! opens a file.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::fault::JournalFault;

/// Bytes of a text file that are read: a thousand cores and many journals taken over.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// What owner, group and others may do with a file.
pub(crate) const FILE_MODE: u32 = 0o600;
/// The same for the directory.
pub(crate) const DIRECTORY_MODE: u32 = 0o700;

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // Close-on-exec is what the library sets by itself.
    options.custom_flags(libc::O_NOFOLLOW).mode(FILE_MODE);
    options
}

/// An existing file, to read it.
pub(crate) fn read(path: &Path) -> io::Result<File> {
    options().read(true).open(path)
}

/// An existing file, to write into it.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    options().write(true).open(path)
}

/// The same with more flags of open(2).
pub(crate) fn append_with(path: &Path, flags: libc::c_int) -> io::Result<File> {
    options()
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | flags)
        .open(path)
}

/// A file that must not be there yet.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    options().read(true).write(true).create_new(true).open(path)
}

/// An empty file, whatever was there.
pub(crate) fn create_empty(path: &Path) -> io::Result<File> {
    options().write(true).create(true).truncate(true).open(path)
}

/// A file that is made when it is not there, and kept as it is otherwise.
pub(crate) fn create_or_keep(path: &Path) -> io::Result<File> {
    options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

/// The directory itself. Its last name may be a link, as operators use them.
pub(crate) fn directory(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY)
        .open(path)
}

/// Makes names in the directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), JournalFault> {
    let synced = directory(path).and_then(|dir| dir.sync_all());
    synced.map_err(|error| JournalFault::io(path, error))
}

/// Whether p99 may make files in the directory.
pub(crate) fn demand_writable(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let wanted = libc::R_OK | libc::W_OK | libc::X_OK;
    // SAFETY: the path ends with a zero, and lives as long as the call.
    match unsafe { libc::access(path.as_ptr(), wanted) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What p99 may still write to the file system that holds `path`.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: an all-zero statvfs is a valid one.
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a zero, and both places live as long as the call.
    if unsafe { libc::statvfs(path.as_ptr(), &raw mut found) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// A small text file. What is longer than any that is written reads as damaged.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = read(path)?;
    file.take(TEXT_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}
