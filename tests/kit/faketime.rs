//! Another time for a process, by libfaketime, that can change while it runs.

use std::fs;
use std::path::{Path, PathBuf};

use super::scratch::Scratch;

/// More than any test sets it ahead.
const BEHIND_SECS: i64 = 7_200;

/// See the header of this file.
pub(crate) struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    pub(crate) fn find(scratch: &Scratch) -> Option<Self> {
        let library = Path::new("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1");
        let clock = Self {
            library: library.to_owned(),
            file: scratch.file("clock"),
        };
        clock.turn(0);
        library.exists().then_some(clock)
    }

    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }

    /// Sets it so far from its usual time, which is always behind the machine's: in a signal
    /// handler that interrupts a wait libfaketime shows the machine's time, and a PostgreSQL that
    /// is ahead of it has no timeout of a lock or a statement that comes.
    pub(crate) fn turn(&self, seconds: i64) {
        let seconds = seconds - BEHIND_SECS;
        fs::write(&self.file, format!("{seconds:+}\n")).unwrap();
    }
}
