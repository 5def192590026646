//! The audit file: what happened to payments that were not plain, and what operators did, as lines
//! of JSON in `audit.log`, beside the journal or in AUDIT_DIR. A start goes on behind what is
//! there; at `AUDIT_FILE_BYTES_MAX` the file becomes `audit.1.log`, and so on, and the
//! oldest goes.
//!
//! Cores put entries into a bounded queue and never wait; one thread looks at it ten times a
//! second, spells them and writes them. What does not fit is counted, and the count is a line. No
//! write is synced: the journal knows what is charged, this file only why. A write that fails is
//! logged and changes nothing else.
//!
//! Its files are for the user alone that p99 runs as, as the journal's are; so is the directory,
//! where nothing else is in it.
//!
//! `pay` starts it and puts in what the owner tells; `p99 explain` reads the files.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::journal::{JournalFault, guard};
use crate::limits;
use crate::payment::UpstreamId;
use crate::timeline::{Entry, Head, write_entry, write_head};

/// Entries that wait for the audit file: each 8 to 16 bytes here and up to 150 where it points to,
/// so 0.7 MiB. With the next constant 40,960 a second at most, about 8 MB/s on the journal's disk.
const AUDIT_QUEUE_MAX: usize = 4_096;
/// How often the queue is emptied.
const AUDIT_INTERVAL: Duration = Duration::from_millis(100);
/// What waits in memory while the disk takes nothing; beyond it lines are left out, and counted.
const AUDIT_UNWRITTEN_BYTES_MAX: usize = 4 << 20;
/// Size at which the audit file is put aside: about 80,000 lines.
const AUDIT_FILE_BYTES_MAX: u64 = 16 << 20;
/// Files that are kept; with the size above they take 64 MiB of the journal's disk, and what one
/// interval adds.
const AUDIT_FILES_MAX: u32 = 4;

/// Locked by who writes here.
const LOCK: &str = "audit.lock";

/// What is written down.
#[derive(Debug)]
pub(crate) enum Item {
    /// Who a payment is that is not plain.
    Head(Box<Head>),
    /// A fact about it.
    Entry(Box<Entry>),
    /// A line that is spelled already, without its end.
    Line(String),
}

/// The cores' end of the queue. Its thread ends when this is dropped, and has written all by then.
#[derive(Debug)]
pub(crate) struct Audit {
    queue: Option<SyncSender<Item>>,
    left_out: Arc<AtomicU64>,
    /// How often the thread has emptied the queue and written what was in it.
    rounds: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Audit {
    /// Goes on with the file in `dir`, which is made where it is not there; a file in it is locked.
    ///
    /// # Errors
    /// The file or the thread cannot be had, or another process has it.
    pub(crate) fn start(dir: &Path) -> io::Result<Self> {
        let (queue, items) = sync_channel(AUDIT_QUEUE_MAX);
        let (left_out, rounds) = (Arc::default(), Arc::default());
        let mut writer = Writer::open(dir, Arc::clone(&left_out), Arc::clone(&rounds))?;
        let thread = thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&items))?;
        Ok(Self {
            queue: Some(queue),
            left_out,
            rounds,
            thread: Some(thread),
        })
    }

    /// The round after which all that was put in so far is written.
    #[must_use]
    pub(crate) fn next_round(&self) -> u64 {
        // The one that is under way may have looked already.
        self.rounds.load(Ordering::Acquire).saturating_add(2)
    }

    /// Whether that round is over; hurries the thread while it is not.
    #[must_use]
    pub(crate) fn is_past(&self, round: u64) -> bool {
        let is_past = self.rounds.load(Ordering::Acquire) >= round;
        if let (false, Some(thread)) = (is_past, &self.thread) {
            thread.thread().unpark();
        }
        is_past
    }

    /// Has `item` written down soon; false when there is no room for it.
    pub(crate) fn put(&self, item: Item) -> bool {
        let is_put = self
            .queue
            .as_ref()
            .is_some_and(|queue| queue.try_send(item).is_ok());
        if !is_put {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        is_put
    }
}

/// Adds one line to the file of an instance that does not run, durably.
///
/// # Errors
/// The file cannot be had or written; another process writes it.
pub fn append(dir: &Path, line: &str) -> io::Result<()> {
    let mut writer = Writer::open(dir, Arc::default(), Arc::default())?;
    writer.text.extend_from_slice(line.as_bytes());
    writer.text.push(b'\n');
    writer.write()?;
    writer.file.sync_data()
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            thread.join().unwrap_or_default();
        }
    }
}

/// The thread's side.
struct Writer {
    dir: PathBuf,
    /// Locked: two that append would put one file aside twice.
    _held: File,
    file: File,
    bytes: u64,
    left_out: Arc<AtomicU64>,
    told_left_out: u64,
    rounds: Arc<AtomicU64>,
    /// What is not written yet; a file may hold the first part of its first line.
    text: Vec<u8>,
    is_inside_line: bool,
    is_sync_due: bool,
}

impl Writer {
    fn open(dir: &Path, left_out: Arc<AtomicU64>, rounds: Arc<AtomicU64>) -> io::Result<Self> {
        guard::make_shared(dir).map_err(untrusted)?;
        // Not the directory itself: every user who may read it may lock it.
        let lock = dir.join(LOCK);
        let held = options().read(true).write(true).create(true).open(&lock)?;
        demand_ours(&held, &lock)?;
        held.try_lock().map_err(|fault| match fault {
            TryLockError::WouldBlock => io::Error::other("another process writes it"),
            TryLockError::Error(fault) => fault,
        })?;
        for number in 1..AUDIT_FILES_MAX {
            let path = path(dir, number);
            match options().read(true).open(&path) {
                Err(fault) if fault.kind() == io::ErrorKind::NotFound => {}
                file => demand_ours(&file?, &path)?,
            }
        }
        let (file, bytes) = open_file(&path(dir, 0))?;
        Ok(Self {
            dir: dir.to_owned(),
            _held: held,
            file,
            bytes,
            left_out,
            told_left_out: 0,
            rounds,
            text: Vec::new(),
            is_inside_line: false,
            is_sync_due: false,
        })
    }

    fn run(&mut self, items: &Receiver<Item>) {
        loop {
            let is_over = self.gather(items);
            if let Err(fault) = self.write().and_then(|()| self.sync()) {
                log::error!("the audit file cannot be written: {fault}");
            }
            self.rounds.fetch_add(1, Ordering::Release);
            if is_over {
                return;
            }
            // Nothing wakes it but the end: a core that puts something in makes no system call.
            thread::park_timeout(AUDIT_INTERVAL);
        }
    }

    /// Spells what waits, behind what could not be written yet; true when no more can come.
    fn gather(&mut self, items: &Receiver<Item>) -> bool {
        let mut line = String::new();
        let is_over = loop {
            let is_full = self.text.len() >= AUDIT_UNWRITTEN_BYTES_MAX;
            match items.try_recv() {
                Ok(_) if is_full => {
                    self.left_out.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Ok(Item::Head(head)) => write_head(&head, &mut line),
                Ok(Item::Entry(entry)) => write_entry(&entry, &mut line),
                Ok(Item::Line(whole)) => {
                    line = whole;
                    self.is_sync_due = true;
                }
                Err(TryRecvError::Empty) => break false,
                Err(TryRecvError::Disconnected) => break true,
            }
            line.push('\n');
            self.text.extend_from_slice(line.as_bytes());
            line.clear();
        };
        let left_out = self.left_out.load(Ordering::Relaxed);
        let more = left_out - self.told_left_out;
        if more > 0 && self.text.len() < AUDIT_UNWRITTEN_BYTES_MAX {
            let line = format!("{{\"step\":\"left_out\",\"count\":{more}}}\n");
            self.text.extend_from_slice(line.as_bytes());
            self.told_left_out = left_out;
        }
        is_over
    }

    /// What an operator did outlives a power cut; there is little of it.
    fn sync(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.is_sync_due) {
            true => self.file.sync_data(),
            false => Ok(()),
        }
    }

    /// What the disk does not take stays, from the very byte on, for the next time.
    fn write(&mut self) -> io::Result<()> {
        if self.bytes >= AUDIT_FILE_BYTES_MAX && !self.is_inside_line {
            self.rotate()?;
        }
        while !self.text.is_empty() {
            let count = match self.file.write(&self.text) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => count,
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => continue,
                Err(fault) => return Err(fault),
            };
            let rest = self.text.split_off(count.min(self.text.len()));
            self.is_inside_line = self.text.last() != Some(&b'\n');
            self.text = rest;
            self.bytes = self
                .bytes
                .saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (0..AUDIT_FILES_MAX - 1).rev() {
            match fs::rename(path(&self.dir, number), path(&self.dir, number + 1)) {
                Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(fault),
                Ok(()) | Err(_) => {}
            }
        }
        (self.file, self.bytes) = open_file(&path(&self.dir, 0))?;
        Ok(())
    }
}

/// The `number`-th file, 0 being the newest.
fn path(dir: &Path, number: u32) -> PathBuf {
    match number {
        0 => dir.join("audit.log"),
        number => dir.join(format!("audit.{number}.log")),
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // Through no link, and without waiting for the other end of a pipe.
    options
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .mode(0o600);
    options
}

/// What the journal's guard says of a directory, in words that fit one of its own.
fn untrusted(fault: JournalFault) -> io::Error {
    let JournalFault::Unsafe {
        path,
        owner,
        mode,
        why,
    } = fault
    else {
        return io::Error::other(fault.to_string());
    };
    not_safe(&path, (owner, mode), why)
}

fn not_safe(path: &Path, (owner, mode): (u32, u32), why: &str) -> io::Error {
    let path = path.display();
    io::Error::other(format!(
        "{path} is not trusted (owner {owner}, mode {mode:04o}): {why}"
    ))
}

/// Demands that no one else could have written to this file, and that no one else reads in it which
/// payments there were.
fn demand_ours(file: &File, path: &Path) -> io::Result<()> {
    let found = file.metadata()?;
    let mode = found.mode() & 0o7777;
    let why = if !found.is_file() {
        "it is no regular file: look at who put it there"
    } else if found.uid() != guard::us() {
        "it belongs to another user than p99 runs as: see who put it there, then chown or move it"
    } else if mode & 0o077 != 0 {
        "others may use it: look at what is in it, then chmod 600"
    } else {
        return Ok(());
    };
    Err(not_safe(path, (found.uid(), mode), why))
}

/// The file to append to, and how long it is. A line that a crash cut is ended.
fn open_file(path: &Path) -> io::Result<(File, u64)> {
    let mut file = options().read(true).append(true).create(true).open(path)?;
    demand_ours(&file, path)?;
    let bytes = file.seek(SeekFrom::End(0))?;
    if bytes > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != [b'\n'] {
            file.write_all(b"\n")?;
        }
    }
    Ok((file, bytes))
}

/// Every line in `dir` that is about `id`, oldest first, but not more than
/// `limits::AUDIT_ANSWER_LINES_MAX` of them, the newest.
///
/// # Errors
/// A file is there and cannot be read.
pub fn read(dir: &Path, id: UpstreamId) -> io::Result<Vec<String>> {
    lines_with(dir, &format!("\"id\":\"{id}\""))
}

/// The same of the lines with this step, whatever payments they are about.
///
/// # Errors
/// A file is there and cannot be read.
pub(crate) fn read_step(dir: &Path, step: &str) -> io::Result<Vec<String>> {
    lines_with(dir, &format!("\"step\":\"{step}\""))
}

fn lines_with(dir: &Path, wanted: &str) -> io::Result<Vec<String>> {
    let mut found = VecDeque::new();
    for number in (0..AUDIT_FILES_MAX).rev() {
        let file = match options().read(true).open(path(dir, number)) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        let mut lines = BufReader::new(file);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            if memchr::memmem::find(&line, wanted.as_bytes()).is_some() {
                found.push_back(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
                if found.len() > limits::AUDIT_ANSWER_LINES_MAX {
                    found.pop_front();
                }
            }
            line.clear();
        }
    }
    Ok(found.into())
}

#[cfg(test)]
mod tests;
