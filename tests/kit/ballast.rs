//! A file that takes the room of a file system until it is dropped.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(crate) struct Ballast(PathBuf);

impl Ballast {
    /// Takes all of it but about `left` bytes.
    pub(crate) fn take(folder: &Path, left: u64) -> io::Result<Self> {
        let path = folder.join("ballast");
        let file = File::create_new(&path)?;
        let ballast = Self(path);
        let mut length = 0;
        for part in [1 << 30, 1 << 24, 1 << 18, 1 << 12] {
            while reserve(&file, length, part)? {
                length += part;
            }
        }
        let left = i64::try_from(left).map_err(io::Error::other)?;
        let length = u64::try_from(length - left).unwrap_or(0);
        file.set_len(length)?;
        Ok(ballast)
    }
}

/// False where there is no room for it.
fn reserve(file: &File, from: i64, length: i64) -> io::Result<bool> {
    // SAFETY: the descriptor is open as long as `file`, and no memory is passed.
    if unsafe { libc::fallocate(file.as_raw_fd(), 0, from, length) } == 0 {
        return Ok(true);
    }
    let fault = io::Error::last_os_error();
    match fault.raw_os_error() {
        Some(libc::ENOSPC) => Ok(false),
        _ => Err(fault),
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        // What is gone takes no room either.
        let _ = std::fs::remove_file(&self.0);
    }
}
