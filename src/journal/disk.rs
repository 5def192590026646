//! How one core's journal stands on the disk: the keeper writes it down, the core shows it. Atomics
//! only, relaxed: nothing is decided by the order in which they are seen.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// See the header of this file.
#[derive(Debug, Default)]
pub struct CoreDisk {
    bytes: AtomicU64,
    free_bytes: AtomicU64,
    is_next_missing: AtomicBool,
}

impl CoreDisk {
    /// What snapshot and segments take, reserved room included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// What is free on the file system for whom p99 runs as, when it was looked at last.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn set_free_bytes(&self, bytes: u64) {
        self.free_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Whether the segment behind the one in use could not be reserved; it is tried again until it
    /// can or is needed.
    #[must_use]
    pub fn is_next_missing(&self) -> bool {
        self.is_next_missing.load(Ordering::Relaxed)
    }

    pub(crate) fn next_is_missing(&self, is_missing: bool) {
        self.is_next_missing.store(is_missing, Ordering::Relaxed);
    }
}

/// What the keeper did, for tests. Shared, relaxed.
#[derive(Debug, Default)]
pub struct KeeperStats {
    pub(super) compactions: AtomicU64,
    pub(super) compaction_failures: AtomicU64,
}

impl KeeperStats {
    /// Snapshots that replaced segments.
    #[must_use]
    pub fn compactions(&self) -> u64 {
        self.compactions.load(Ordering::Relaxed)
    }

    /// Compactions that failed.
    #[cfg(test)]
    #[must_use]
    pub fn compaction_failures(&self) -> u64 {
        self.compaction_failures.load(Ordering::Relaxed)
    }
}
