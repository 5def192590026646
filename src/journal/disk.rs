//! How one core's journal stands on the disk: the keeper writes it down, the core shows it. Atomics
//! only, relaxed: nothing is decided by the order in which they are seen.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// See the header of this file.
#[derive(Debug, Default)]
pub(crate) struct CoreDisk {
    bytes: AtomicU64,
    free_bytes: AtomicU64,
    is_next_missing: AtomicBool,
}

impl CoreDisk {
    /// What snapshot and segments take, reserved room included.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// What is free on the disk for whom p99 runs as, when it was looked at last.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn set_free_bytes(&self, bytes: u64) {
        self.free_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Whether the segment behind the one in use could not be reserved when it was last tried.
    pub(crate) fn is_next_missing(&self) -> bool {
        self.is_next_missing.load(Ordering::Relaxed)
    }

    pub(crate) fn next_is_missing(&self, is_missing: bool) {
        self.is_next_missing.store(is_missing, Ordering::Relaxed);
    }
}

/// What is free on the disk of `path` for whom p99 runs as; none where the kernel does not say. It
/// may block: for the keeper alone.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut found = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with a zero, and the kernel fills what it is lent.
    let found = unsafe {
        if libc::statvfs(path.as_ptr(), found.as_mut_ptr()) != 0 {
            return None;
        }
        found.assume_init()
    };
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}
