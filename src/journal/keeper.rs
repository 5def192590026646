//! The journal's one background thread: reserves the next segment of each core before it is
//! needed, and compacts sealed segments. It runs at the lowest priority, touches no core's memory
//! and decides nothing about payments. Cores talk to it by a channel, it answers by one-place
//! rings, so that no core ever waits for it unless the disk is slower than the load.
//!
//! A failed reservation (disk full) reaches the core, which stops acceptance. A failed compaction
//! is logged and counted and tried again after the next sealed segment: the old files still count.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::compaction;
use super::directory::{Directory, Manifest};
use super::fault::JournalFault;
use super::frame::Identity;
use super::segment::{self, Fill};
use super::settings::JournalSettings;
use super::writer::{Order, Prepared, WriterSeed};
use crate::clock::Clock;
use crate::config::JournalSync;
use crate::payment::CoreId;

/// What the keeper did, for metrics. Shared, relaxed.
#[derive(Debug, Default)]
pub struct KeeperStats {
    compactions: AtomicU64,
    compaction_failures: AtomicU64,
    snapshot_bytes: AtomicU64,
    sealed_bytes: AtomicU64,
}

impl KeeperStats {
    /// Snapshots that replaced segments.
    #[must_use]
    pub fn compactions(&self) -> u64 {
        self.compactions.load(Ordering::Relaxed)
    }

    /// Compactions that failed.
    #[must_use]
    pub fn compaction_failures(&self) -> u64 {
        self.compaction_failures.load(Ordering::Relaxed)
    }

    /// Size of all snapshots in use.
    #[must_use]
    pub fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes.load(Ordering::Relaxed)
    }

    /// Size of all sealed segments that no snapshot covers.
    #[must_use]
    pub fn sealed_bytes(&self) -> u64 {
        self.sealed_bytes.load(Ordering::Relaxed)
    }
}

/// The thread's handle. Dropping it ends the thread after what it is doing.
#[derive(Debug)]
pub struct Keeper {
    orders: Sender<Order>,
    thread: Option<JoinHandle<()>>,
    stats: Arc<KeeperStats>,
}

/// One core as the keeper sees it.
#[derive(Debug)]
struct Line {
    ring: rtrb::Producer<Prepared>,
    /// The segment that was prepared last.
    last: Identity,
    sealed_bytes: u64,
    snapshot_bytes: u64,
}

#[derive(Debug)]
struct Work {
    dir: Directory,
    manifest: Manifest,
    settings: JournalSettings,
    lines: Vec<Line>,
    stats: Arc<KeeperStats>,
}

impl Keeper {
    /// Starts the thread and returns each core's side of it. `firsts` are the segments in use and
    /// the sizes of the snapshots, by core.
    pub(crate) fn spawn(
        dir: Directory,
        manifest: Manifest,
        settings: &JournalSettings,
        (firsts, snapshots): (Vec<(Identity, File)>, Vec<u64>),
    ) -> Result<(Self, Vec<WriterSeed>), JournalFault> {
        let (orders, inbox) = channel();
        let stats = Arc::new(KeeperStats::default());
        let mut lines = Vec::new();
        let mut writers = Vec::new();
        for ((identity, file), snapshot_bytes) in firsts.into_iter().zip(snapshots) {
            let (ring, prepared) = rtrb::RingBuffer::new(1);
            lines.push(Line {
                ring,
                last: identity,
                sealed_bytes: 0,
                snapshot_bytes,
            });
            let path = dir.path_of(&identity);
            let orders = orders.clone();
            writers.push(WriterSeed {
                identity,
                file,
                path,
                prepared,
                orders,
                sync: settings.sync,
                first_bytes: settings.first_bytes(),
                segment_bytes: settings.segment_bytes,
            });
        }
        let settings = settings.clone();
        let mut work = Work {
            dir,
            manifest,
            settings,
            lines,
            stats: Arc::clone(&stats),
        };
        let run = move || work.run(&inbox);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(run);
        let thread = Some(thread.map_err(JournalFault::NoThread)?);
        Ok((
            Self {
                orders,
                thread,
                stats,
            },
            writers,
        ))
    }

    /// Its counters.
    #[must_use]
    pub fn stats(&self) -> Arc<KeeperStats> {
        Arc::clone(&self.stats)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let is_told = self.orders.send(Order::Stop).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| is_told)
            && thread.join().is_err()
        {
            log::error!("the journal's background thread had panicked");
        }
    }
}

impl Work {
    fn run(&mut self, inbox: &Receiver<Order>) {
        lower_priority();
        self.count();
        for index in 0..self.lines.len() {
            self.prepare(index);
        }
        while let Ok(order) = inbox.recv() {
            match order {
                Order::Sealed { identity, bytes } => {
                    let index = identity.core.index();
                    self.prepare(index);
                    if let Some(line) = self.lines.get_mut(index) {
                        line.sealed_bytes += bytes;
                    }
                    self.compact(identity);
                    self.count();
                }
                Order::Stop => return,
            }
        }
    }

    /// Reserves the segment behind the last one of the core.
    fn prepare(&mut self, index: usize) {
        let Some(line) = self.lines.get_mut(index) else {
            return;
        };
        let identity = Identity {
            index: line.last.index + 1,
            ..line.last
        };
        line.last = identity;
        let path = self.dir.path_of(&identity);
        let fill = match self.settings.sync {
            JournalSync::Always => Fill::Zeros,
            JournalSync::Os => Fill::Reserved,
        };
        let created = segment::create(&path, &identity, self.settings.segment_bytes, fill);
        let prepared = created.and_then(|file| self.dir.sync().map(|()| (identity, file)));
        if let Err(fault) = &prepared {
            log::error!("no next segment for core {}: {fault}", identity.core.0);
        }
        // The ring has room: the core took the last one before it sealed the one in use.
        if line.ring.push(prepared).is_err() {
            log::error!(
                "the segment prepared for core {} was not taken",
                identity.core.0
            );
        }
    }

    fn compact(&mut self, sealed: Identity) {
        let CoreId(core) = sealed.core;
        let Some(line) = self.lines.get_mut(sealed.core.index()) else {
            return;
        };
        if line.sealed_bytes < self.settings.compact_bytes_min.max(line.snapshot_bytes / 4) {
            return;
        }
        let wall = Clock::new(Clock::process_start()).now().wall;
        let until = sealed.index + 1;
        let settings = (&self.settings, wall);
        let done = compaction::compact(
            &self.dir,
            &mut self.manifest,
            (sealed.core, until),
            settings,
        );
        match done {
            Ok(bytes) => {
                log::info!("core {core}: segments before {until} are now a snapshot of {bytes} B");
                line.snapshot_bytes = bytes;
                line.sealed_bytes = 0;
                self.stats.compactions.fetch_add(1, Ordering::Relaxed);
            }
            Err(fault) => {
                log::error!("core {core}: compaction failed, old files stay: {fault}");
                self.stats
                    .compaction_failures
                    .fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn count(&self) {
        let sum = |of: fn(&Line) -> u64| self.lines.iter().map(of).sum();
        self.stats
            .snapshot_bytes
            .store(sum(|line| line.snapshot_bytes), Ordering::Relaxed);
        self.stats
            .sealed_bytes
            .store(sum(|line| line.sealed_bytes), Ordering::Relaxed);
    }
}

/// Nice 19 for this thread alone: compaction yields to every core thread, and is still scheduled.
fn lower_priority() {
    // SAFETY: no memory is passed; 0 names the calling thread on Linux.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) } != 0 {
        log::warn!(
            "the journal's thread keeps its priority: {}",
            std::io::Error::last_os_error()
        );
    }
}
