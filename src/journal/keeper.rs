//! The journal's one background thread: reserves the next segment of each core before it is
//! needed, and compacts sealed segments. It runs at the lowest priority, touches no core's memory
//! and decides nothing about payments. Cores talk to it by a channel, it answers by one-place
//! rings, so that no core ever waits for it unless the disk is slower than the load.
//!
//! A fault that may pass (a full disk, no descriptor left) is never final here: a reservation is
//! tried again every second until it works, and shown meanwhile ([`CoreDisk::is_next_missing`]); a
//! compaction is tried again with growing pauses, the old files still count. Only the core that
//! *needs* a segment and finds none has it tried once more, hears the fault, and stops acceptance.

use std::fs::{self, File};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::compaction;
use super::directory::Directory;
use super::disk::{CoreDisk, KeeperStats};
use super::fault::JournalFault;
use super::files;
use super::frame::Identity;
use super::manifest::{JournalId, Manifest};
use super::marks::Marking;
use super::segment::{self, Fill};
use super::settings::JournalSettings;
use super::writer::{Order, Prepared, WriterSeed};
use crate::clock::{Clock, Mono, UnixMillis};
use crate::config::JournalSync;
use crate::ledger::Horizon;
use crate::limits;
use crate::payment::CoreId;
use crate::peers::Marks;

/// How often the keeper tries again to reserve a segment that could not be had. A second is short
/// against the minutes that a segment lasts, and one failed `fallocate` costs microseconds.
const JOURNAL_RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How often a fault that lasts is logged.
const JOURNAL_FAULT_TOLD_EVERY: Duration = Duration::from_secs(60);

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
    /// The segment that was prepared last, and is in the ring or in use.
    last: Identity,
    /// A segment must be prepared behind it.
    is_owed: bool,
    /// When a failed preparation was logged, so that it is not logged every second.
    told_at: Option<Mono>,
    sealed_bytes: u64,
    /// The segment up to which all are sealed.
    sealed_until: u32,
    snapshot_bytes: u64,
    /// What its segments have reserved, and what of it is sealed.
    reserved_bytes: u64,
    reserved_sealed: u64,
    /// After a compaction failed: when to try again, and the pause after that.
    again: Option<(Mono, Duration)>,
    disk: Arc<CoreDisk>,
}

#[derive(Debug)]
struct Work {
    dir: Directory,
    manifest: Manifest,
    marking: Marking,
    settings: JournalSettings,
    lines: Vec<Line>,
    stats: Arc<KeeperStats>,
    clock: Clock,
    horizon: Horizon,
}

impl Keeper {
    /// Starts the thread and returns each core's side of it. `firsts` are the segments in use and
    /// the sizes of the snapshots, by core; `date` is up to when the journal's payments go.
    pub(crate) fn spawn(
        dir: Directory,
        (manifest, marks): (Manifest, Arc<Marks>),
        (settings, date): (&JournalSettings, UnixMillis),
        (firsts, snapshots): (Vec<(Identity, File)>, Vec<u64>),
    ) -> Result<(Self, Vec<WriterSeed>), JournalFault> {
        let (orders, inbox) = channel();
        let stats = Arc::new(KeeperStats::default());
        let mut lines = Vec::new();
        let mut writers = Vec::new();
        for ((identity, file), snapshot_bytes) in firsts.into_iter().zip(snapshots) {
            let (ring, prepared) = rtrb::RingBuffer::new(1);
            let disk = Arc::new(CoreDisk::default());
            lines.push(Line {
                ring,
                last: identity,
                is_owed: true,
                told_at: None,
                sealed_bytes: 0,
                sealed_until: 0,
                snapshot_bytes,
                reserved_bytes: settings.first_bytes(),
                reserved_sealed: 0,
                again: None,
                disk: Arc::clone(&disk),
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
                buffer_bytes_max: limits::JOURNAL_BUFFER_BYTES_MAX,
                disk,
            });
        }
        let settings = settings.clone();
        let clock = Clock::new(Clock::process_start());
        let mut horizon = Horizon::new(settings.ledger_exact.as_secs().saturating_add(1));
        horizon.remember(date, clock.now());
        let mut work = Work {
            dir,
            manifest,
            marking: Marking::new(marks, clock.now().mono),
            settings,
            lines,
            stats: Arc::clone(&stats),
            clock,
            horizon,
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

    /// Has it written down that shard `number` has the journal `id`.
    pub fn met(&self, number: u16, id: JournalId) {
        if self.orders.send(Order::Met { number, id }).is_err() {
            log::error!("the journal's background thread has ended");
        }
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
        loop {
            self.prepare_all();
            self.compact_again();
            self.show();
            let now = self.clock.now().mono;
            self.marking.go_on(&self.dir, &self.manifest, now);
            match inbox.recv_timeout(JOURNAL_RETRY_PAUSE) {
                Ok(Order::Sealed { identity, bytes }) => self.sealed(identity, bytes),
                Ok(Order::Need { core }) => self.need(core),
                Ok(Order::Met { number, id }) => self.met(number, id),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn sealed(&mut self, identity: Identity, bytes: u64) {
        let index = identity.core.index();
        let size = self.settings.reserved_bytes(identity.index);
        if let Some(line) = self.lines.get_mut(index) {
            line.is_owed = true;
            line.sealed_bytes += bytes;
            line.sealed_until = identity.index + 1;
            line.reserved_sealed += size;
        }
        self.prepare(index).unwrap_or_default();
        self.compact(index);
    }

    /// Writes down which journal shard `number` has.
    fn met(&mut self, number: u16, id: JournalId) {
        let mut next = self.manifest.clone();
        next.met.insert(number, id);
        match self.dir.switch(&next) {
            Ok(()) => {
                self.manifest = next;
                self.marking.hurry(self.clock.now().mono);
            }
            Err(fault) => log::error!("the journal does not keep whose journal {id} is: {fault}"),
        }
    }

    /// The core has nowhere to write: now or never.
    fn need(&mut self, core: CoreId) {
        if let Err(fault) = self.prepare(core.index())
            && let Some(line) = self.lines.get_mut(core.index())
        {
            line.ring.push(Err(fault)).unwrap_or_default();
        }
    }

    /// What is owed is tried again each time that the keeper wakes up; a fault was shown.
    fn prepare_all(&mut self) {
        for index in 0..self.lines.len() {
            self.prepare(index).unwrap_or_default();
        }
    }

    /// Reserves the segment behind the last one of the core, if one is owed.
    fn prepare(&mut self, index: usize) -> Result<(), JournalFault> {
        let Some(line) = self.lines.get_mut(index).filter(|line| line.is_owed) else {
            return Ok(());
        };
        let identity = Identity {
            index: line.last.index + 1,
            ..line.last
        };
        let path = self.dir.path_of(&identity);
        let core = identity.core.0;
        let prepared = prepare(&self.dir, &identity, &self.settings);
        let now = self.clock.now().mono;
        line.disk.next_is_missing(prepared.is_err());
        match prepared {
            Ok(file) => {
                if line.told_at.take().is_some() {
                    log::info!("core {core} has a next segment again");
                }
                line.is_owed = false;
                line.last = identity;
                line.reserved_bytes += self.settings.segment_bytes;
                // The ring has room: the core took the last one before it sealed the one in use.
                if line.ring.push(Ok((identity, file))).is_err() {
                    log::error!("the segment prepared for core {core} was not taken");
                }
                Ok(())
            }
            Err(fault) => {
                // What is there of it takes room from others, and its name from the next try.
                fs::remove_file(&path).unwrap_or_default();
                let is_due = line
                    .told_at
                    .is_none_or(|told| now.since(told) >= JOURNAL_FAULT_TOLD_EVERY);
                if is_due {
                    line.told_at = Some(now);
                    log::error!(
                        "no next segment for core {core}, p99 stops taking payments when this one \
                         is full; tried again every second: {fault}"
                    );
                }
                Err(fault)
            }
        }
    }

    /// Tries failed compactions again when their pause is over, and looks at the clocks.
    fn compact_again(&mut self) {
        let now = self.clock.now();
        self.horizon.look(now);
        for index in 0..self.lines.len() {
            let again = self.lines.get(index).and_then(|line| line.again);
            if again.is_some_and(|(at, _)| at <= now.mono) {
                self.compact(index);
            }
        }
    }

    fn compact(&mut self, index: usize) {
        let now = self.clock.now();
        let before = self.horizon.look(now);
        let Some(line) = self.lines.get_mut(index) else {
            return;
        };
        if line.sealed_bytes < self.settings.compact_bytes_min.max(line.snapshot_bytes / 4) {
            return;
        }
        let (core, until) = (line.last.core, line.sealed_until);
        let settings = (&self.settings, before);
        let done = compaction::compact(&self.dir, &mut self.manifest, (core, until), settings);
        let core = core.0;
        match done {
            Ok(bytes) => {
                log::info!("core {core}: segments before {until} are now a snapshot of {bytes} B");
                line.snapshot_bytes = bytes;
                line.sealed_bytes = 0;
                line.reserved_bytes = line.reserved_bytes.saturating_sub(line.reserved_sealed);
                line.reserved_sealed = 0;
                line.again = None;
                self.stats.compactions.fetch_add(1, Ordering::Relaxed);
            }
            Err(fault) => {
                let pause = line
                    .again
                    .map_or(limits::JOURNAL_COMPACT_PAUSE, |(_, last)| {
                        last.saturating_mul(2)
                            .min(limits::JOURNAL_COMPACT_PAUSE_MAX)
                    });
                line.again = Some((now.mono.after(pause), pause));
                log::error!(
                    "core {core}: compaction failed, old files stay, tried again in {pause:?}: \
                     {fault}"
                );
                self.stats
                    .compaction_failures
                    .fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn show(&self) {
        // Where it cannot be asked, nothing is free as far as anyone can tell.
        let free = files::free_bytes(&self.dir.path_to("")).unwrap_or_default();
        for line in &self.lines {
            line.disk.set_free_bytes(free);
            line.disk
                .set_bytes(line.snapshot_bytes.saturating_add(line.reserved_bytes));
        }
    }
}

/// Creates the segment, and opens it as its core will write to it: no descriptor is asked for when
/// it comes into use.
fn prepare(
    dir: &Directory,
    identity: &Identity,
    settings: &JournalSettings,
) -> Result<File, JournalFault> {
    let path = dir.path_of(identity);
    let fill = match settings.sync {
        JournalSync::Always => Fill::Zeros,
        JournalSync::Os => Fill::Reserved,
    };
    let file = segment::create(&path, identity, settings.segment_bytes, fill)?;
    dir.sync()?;
    segment::for_writing(&path, file, settings.sync)
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
