//! The files of the processors' settings, read again while p99 runs: a token that was renewed is in
//! use within seconds and needs no restart. One thread looks at them, so no core ever waits for a
//! disk; what changed reaches each core through a chain of generations.
//!
//! A file is read again when it is another one or has another time or size, after a 401 of its
//! processor (a server that hands out files may keep all of these), and on SIGHUP. One that is not
//! as it must be changes nothing: what was read last stays in use, and one line says why.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::clock::Mono;
use crate::config::{Config, Held, UpstreamFiles};
use crate::generations::Generations;
use crate::limits;
use crate::metrics::{FileReading, Metrics};
use crate::payment::{Configured, PerProcessor, Processor};

/// How often the processors' files are looked at. A token that is renewed a minute before its end
/// is in use in time, and each look costs one stat a file.
const FILES_LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Shortest pause between two readings, however many answers of 401 ask for one.
const FILES_READ_PAUSE: Duration = Duration::from_millis(500);

/// What the processors' files hold, as one holder knows it. A clone is another holder's.
#[derive(Clone, Debug)]
pub struct HeldFiles {
    held: Configured<Generations<Arc<Held>>>,
    watch: Arc<Watch>,
}

/// What the thread and those who ask it share.
#[derive(Debug, Default)]
struct Watch {
    /// Which processors' files are to be read again although they look the same.
    asked: PerProcessor<AtomicBool>,
    /// None while no file is set.
    thread: OnceLock<Thread>,
    /// Why handshakes failed: the reason's digest and, below, the second in which it was logged.
    told: PerProcessor<[AtomicU64; 8]>,
}

impl HeldFiles {
    /// What the files held when the settings were read.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let held = |processor| Arc::new(config.upstream.get(processor).held.clone());
        Self {
            held: Configured::new(config.upstream.count(), |processor| {
                Generations::new(held(processor))
            }),
            watch: Arc::default(),
        }
    }

    /// Starts the thread that looks at the files, if there are any. It ends when every other holder
    /// is gone.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(&self, config: &Config, metrics: &Arc<Metrics>) -> io::Result<()> {
        let files = |processor| config.upstream.get(processor).files.clone();
        let count = config.upstream.count();
        let files = Configured::new(count, files);
        if files.iter().all(|(_, files)| files.iter().next().is_none()) {
            return Ok(());
        }
        let looks = Configured::new(count, |processor| Look {
            stamps: stamps(files.get(processor)),
            told: None,
        });
        let worker = Worker {
            files,
            held: self.held.clone(),
            watch: Arc::downgrade(&self.watch),
            metrics: Arc::clone(metrics),
        };
        let started = thread::Builder::new()
            .name("p99-files".into())
            .spawn(move || worker.work(looks))?;
        let _ = self.watch.thread.set(started.thread().clone());
        Ok(())
    }

    /// The newest for `processor`.
    #[must_use]
    pub fn current(&self, processor: Processor) -> Arc<Held> {
        Arc::clone(&self.held.get(processor).current())
    }

    /// Moves on to the newest for `processor`, if there is a newer one.
    #[must_use]
    pub(super) fn refreshed(&self, processor: Processor) -> Option<Arc<Held>> {
        let held = self.held.get(processor);
        held.refresh().then(|| Arc::clone(&held.current()))
    }

    /// Has the files of `processor` read again soon: it refused p99's credentials.
    pub fn ask(&self, processor: Processor) {
        // Many answers ask at once; only the first wakes the thread.
        let asked = self.watch.asked.get(processor);
        if !asked.swap(true, Ordering::Relaxed)
            && let Some(thread) = self.watch.thread.get()
        {
            thread.unpark();
        }
    }
}

impl HeldFiles {
    /// Whether no core has told within [`limits::LOG_WINDOW`] that a handshake with `processor`
    /// fails for this reason: every payment would.
    pub(super) fn is_news(&self, processor: Processor, why: &str, now: Mono) -> bool {
        let digest = u64::from(crc32fast::hash(why.as_bytes()));
        let second = |told: u64| told & u64::from(u32::MAX);
        // From 1 on: a place that was never used is older than any.
        let seconds = second(now.since(Mono::default()).as_secs().saturating_add(1));
        let told = self.watch.told.get(processor).iter();
        let told = told.map(|place| (place, place.load(Ordering::Relaxed)));
        let known = told.clone().find(|(_, told)| told >> 32 == digest);
        // The oldest one goes where there are many.
        let oldest = || told.min_by_key(|(_, told)| second(*told));
        let Some((place, before)) = known.or_else(oldest) else {
            return true;
        };
        let age = seconds.wrapping_sub(second(before));
        let is_told = before >> 32 == digest && age < limits::LOG_WINDOW.as_secs();
        let after = digest << 32 | seconds;
        let (order, lost) = (Ordering::Relaxed, Ordering::Relaxed);
        !is_told && place.compare_exchange(before, after, order, lost).is_ok()
    }
}

/// The thread's part.
struct Worker {
    files: Configured<UpstreamFiles>,
    held: Configured<Generations<Arc<Held>>>,
    watch: Weak<Watch>,
    metrics: Arc<Metrics>,
}

/// What the thread saw of one processor's files.
#[derive(Debug, Default)]
struct Look {
    stamps: Vec<Option<Stamp>>,
    /// What was logged about them, so that a fault that lasts is one line.
    told: Option<String>,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Worker {
    fn work(self, mut looks: Configured<Look>) {
        loop {
            thread::sleep(FILES_READ_PAUSE);
            thread::park_timeout(FILES_LOOK_INTERVAL - FILES_READ_PAUSE);
            let Some(watch) = self.watch.upgrade() else {
                return;
            };
            for processor in self.files.count().all() {
                let asked = watch.asked.get(processor).swap(false, Ordering::Relaxed);
                self.look(processor, looks.get_mut(processor), asked);
            }
        }
    }

    fn look(&self, processor: Processor, look: &mut Look, asked: bool) {
        let files = self.files.get(processor);
        let stamps = stamps(files);
        if stamps == look.stamps && !asked {
            return;
        }
        look.stamps = stamps;
        let readings = self.metrics.file_readings.get(processor);
        let held = self.held.get(processor);
        match files.read() {
            Ok(read) if *held.current().as_ref() == read => look.told = None,
            Ok(read) => {
                // This thread alone publishes.
                let _ = held.publish(Arc::new(read));
                let names: Vec<&str> = files.iter().map(|file| file.setting).collect();
                log::info!("{}: read again and in use", names.join(", "));
                readings.get(FileReading::Changed).increment();
                look.told = None;
            }
            Err((setting, why)) => {
                readings.get(FileReading::Refused).increment();
                let told = format!("{setting}: must be {why}; what it held before stays in use");
                if look.told.as_ref() != Some(&told) {
                    log::error!("{told}");
                    look.told = Some(told);
                }
            }
        }
    }
}

fn stamps(files: &UpstreamFiles) -> Vec<Option<Stamp>> {
    files.iter().map(|file| stamp(&file.path)).collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_reason_is_news_once_in_a_window() {
        let url = |name: &str| (name == "UPSTREAM_A_URL").then(|| "http://a".to_owned());
        let files = HeldFiles::new(&Config::from_lookup(url).unwrap());
        let processor = files.held.count().all().next().unwrap();
        let news = |why: &str, second: u64| {
            let now = Mono::default().after(Duration::from_secs(second));
            files.is_news(processor, why, now)
        };
        for (why, second, expected) in [
            ("it has expired", 0, true),
            ("it has expired", 0, false),
            ("it is for another name", 1, true),
            ("it has expired", 59, false),
            ("it is for another name", 60, false),
            ("it has expired", 60, true),
            ("it has expired", 119, false),
            ("it is for another name", 119, true),
            ("it has expired", 10_000, true),
        ] {
            assert_eq!(news(why, second), expected, "{why} at {second}");
        }
    }
}
