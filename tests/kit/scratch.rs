//! A folder for one test or run. It goes with it, unless a promise was broken: then it is evidence.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::report::{Report, say};

#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("p99-{name}-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The same, as a setting has it.
    pub(crate) fn text(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    /// Leaves the folder where it is.
    pub(crate) fn keep(self) -> PathBuf {
        let path = self.0.clone();
        std::mem::forget(self);
        path
    }

    /// Prints the report; keeps the folder of a run that went wrong.
    pub(crate) fn close(self, report: &Report, what: &str) -> bool {
        let is_kept = report.print(what);
        if !is_kept {
            say(&format!("kept for a look: {}", self.keep().display()));
        }
        is_kept
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
