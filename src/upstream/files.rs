//! The files of the processors' settings, read again while p99 runs: a token that was renewed is in
//! use within seconds and needs no restart. One thread looks at them, so no core ever waits for a
//! disk; what changed reaches each core through a chain of generations.
//!
//! A file is read again when it is another one or has another time or size, after a 401 of its
//! processor (a server that hands out files may keep all of these), and on SIGHUP. One that is not
//! as it must be changes nothing: what was read last stays in use, and one line says why.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, Thread};

use crate::config::{Config, Held, UpstreamFiles};
use crate::generations::Generations;
use crate::limits;
use crate::metrics::{FileReading, Metrics};
use crate::payment::{Configured, PerProcessor, Processor};

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
    /// What the last failed handshake was logged as; zero after an answer.
    handshakes: PerProcessor<AtomicU64>,
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
    /// `processor` answered over TLS, or a handshake with it failed for a reason. One that fails as
    /// the last one did on any core is not logged again: every payment would.
    pub(super) fn note_handshake(
        &self,
        processor: Processor,
        failed: Option<(SocketAddr, &String)>,
    ) {
        let digest = |(_, why): (SocketAddr, &String)| {
            u64::from(crc32fast::hash(why.as_bytes())).saturating_add(1)
        };
        let now = failed.map_or(0, digest);
        let last = self.watch.handshakes.get(processor);
        if last.load(Ordering::Relaxed) == now || last.swap(now, Ordering::Relaxed) == now {
            return;
        }
        let name = processor.name();
        match failed {
            Some((address, why)) => log::warn!("{name} at {address}: no TLS session: {why}"),
            None => log::info!("{name}: TLS sessions succeed"),
        }
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
            thread::sleep(limits::FILES_READ_PAUSE);
            thread::park_timeout(limits::FILES_LOOK_INTERVAL - limits::FILES_READ_PAUSE);
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
