//! Reads the files that settings name. Bounded, and never waiting: a pipe or a device in a file's
//! place must not hold up a start.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// All of the file at `path`.
///
/// # Errors
/// Why it cannot be had, without a word of what it holds.
pub(super) fn read_file(path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
    let unread = |fault: std::io::Error| format!("it cannot be read: {fault}");
    // Without O_NONBLOCK a pipe without a writer would hold up the start for ever.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(unread)?;
    if !file.metadata().map_err(unread)?.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let most = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(unread)?;
    if bytes.len() > bytes_max {
        return Err(format!("it is longer than {most} bytes"));
    }
    Ok(bytes)
}

/// The same for a file of text.
///
/// # Errors
/// As [`read_file`], or it is no text.
pub(super) fn read_text(path: &Path, bytes_max: usize) -> Result<String, String> {
    String::from_utf8(read_file(path, bytes_max)?)
        .map_err(|_| "it holds bytes that are no text".to_owned())
}

/// A path that can name a file.
pub(super) fn path(text: &str) -> Option<PathBuf> {
    let is_path = !text.is_empty() && !text.contains('\0');
    is_path.then(|| PathBuf::from(text))
}
