//! The audit file: what happened to payments that were not plain, and what operators did, as lines
//! of JSON in `audit.log`, beside the journal or in AUDIT_DIR. A start goes on behind what is
//! there; at [`limits::AUDIT_FILE_BYTES_MAX`] the file becomes `audit.1.log`, and so on, and the
//! oldest goes.
//!
//! Cores put entries into a bounded queue and never wait; one thread looks at it ten times a
//! second, spells them and writes them. What does not fit is counted, and the count is a line. No
//! write is synced: the journal knows what is charged, this file only why. A write that fails is
//! logged and changes nothing else.
//!
//! `pay` starts it and puts in what the owner tells; `p99 explain` reads the files.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};

use crate::limits;
use crate::payment::UpstreamId;
use crate::timeline::{Entry, Head, write_entry, write_head};

/// What is written down.
#[derive(Debug)]
pub enum Item {
    /// Who a payment is that is not plain.
    Head(Box<Head>),
    /// A fact about it.
    Entry(Box<Entry>),
    /// A line that is spelled already, without its end.
    Line(String),
}

/// The cores' end of the queue. Its thread ends when this is dropped, and has written all by then.
#[derive(Debug)]
pub struct Audit {
    queue: Option<SyncSender<Item>>,
    left_out: Arc<AtomicU64>,
    /// How often the thread has emptied the queue and written what was in it.
    rounds: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Audit {
    /// Goes on with the file in `dir`, which is made where it is not there, and locked.
    ///
    /// # Errors
    /// The file or the thread cannot be had, or another process has it.
    pub fn start(dir: &Path) -> io::Result<Self> {
        let (queue, items) = sync_channel(limits::AUDIT_QUEUE_MAX);
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
    pub fn next_round(&self) -> u64 {
        // The one that is under way may have looked already.
        self.rounds.load(Ordering::Acquire).saturating_add(2)
    }

    /// Whether that round is over; hurries the thread while it is not.
    #[must_use]
    pub fn is_past(&self, round: u64) -> bool {
        let is_past = self.rounds.load(Ordering::Acquire) >= round;
        if let (false, Some(thread)) = (is_past, &self.thread) {
            thread.thread().unpark();
        }
        is_past
    }

    /// Has `item` written down soon; false when there is no room for it.
    pub fn put(&self, item: Item) -> bool {
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
    text: String,
}

impl Writer {
    fn open(dir: &Path, left_out: Arc<AtomicU64>, rounds: Arc<AtomicU64>) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(fault) if fault.kind() != io::ErrorKind::AlreadyExists => return Err(fault),
            Ok(()) | Err(_) => {}
        }
        let held = File::open(dir)?;
        held.try_lock().map_err(|fault| match fault {
            TryLockError::WouldBlock => io::Error::other("another process writes it"),
            TryLockError::Error(fault) => fault,
        })?;
        let (file, bytes) = open_file(&path(dir, 0))?;
        Ok(Self {
            dir: dir.to_owned(),
            _held: held,
            file,
            bytes,
            left_out,
            told_left_out: 0,
            rounds,
            text: String::new(),
        })
    }

    fn run(&mut self, items: &Receiver<Item>) {
        loop {
            let is_over = self.gather(items);
            if !self.text.is_empty()
                && let Err(fault) = self.write()
            {
                log::error!("the audit file cannot be written: {fault}");
            }
            self.rounds.fetch_add(1, Ordering::Release);
            if is_over {
                return;
            }
            // Nothing wakes it but the end: a core that puts something in makes no system call.
            thread::park_timeout(limits::AUDIT_INTERVAL);
        }
    }

    /// Spells what waits; true when no more can come.
    fn gather(&mut self, items: &Receiver<Item>) -> bool {
        self.text.clear();
        let left_out = self.left_out.load(Ordering::Relaxed);
        let is_over = loop {
            match items.try_recv() {
                Ok(Item::Head(head)) => write_head(&head, &mut self.text),
                Ok(Item::Entry(entry)) => write_entry(&entry, &mut self.text),
                Ok(Item::Line(line)) => self.text.push_str(&line),
                Err(TryRecvError::Empty) => break false,
                Err(TryRecvError::Disconnected) => break true,
            }
            self.text.push('\n');
        };
        let more = left_out - self.told_left_out;
        if more > 0 {
            self.text
                .push_str(&format!("{{\"step\":\"left_out\",\"count\":{more}}}\n"));
            self.told_left_out = left_out;
        }
        is_over
    }

    fn write(&mut self) -> io::Result<()> {
        if self.bytes >= limits::AUDIT_FILE_BYTES_MAX {
            self.rotate()?;
        }
        self.file.write_all(self.text.as_bytes())?;
        let written = u64::try_from(self.text.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(written);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (0..limits::AUDIT_FILES_MAX - 1).rev() {
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

/// The file to append to, and how long it is. A line that a crash cut is ended.
fn open_file(path: &Path) -> io::Result<(File, u64)> {
    let mut file = options().read(true).append(true).create(true).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
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
/// [`limits::AUDIT_ANSWER_LINES_MAX`] of them, the newest.
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
pub fn read_step(dir: &Path, step: &str) -> io::Result<Vec<String>> {
    lines_with(dir, &format!("\"step\":\"{step}\""))
}

fn lines_with(dir: &Path, wanted: &str) -> io::Result<Vec<String>> {
    let mut found = VecDeque::new();
    for number in (0..limits::AUDIT_FILES_MAX).rev() {
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
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("p99-audit-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn line(id: u128, text: &str) -> Item {
        Item::Line(format!(r#"{{"id":"{}","text":"{text}"}}"#, UpstreamId(id)))
    }

    #[test]
    fn a_start_goes_on_behind_what_is_there_and_a_cut_line_ends() {
        let dir = Dir::new("start");
        let audit = Audit::start(&dir.0).unwrap();
        assert!(audit.put(line(1, "a")) && audit.put(line(2, "b")));
        let fault = Audit::start(&dir.0).unwrap_err();
        assert!(fault.to_string().contains("another process"), "{fault}");
        drop(audit);
        let file = path(&dir.0, 0);
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let mut cut = OpenOptions::new().append(true).open(&file).unwrap();
        cut.write_all(br#"{"id":"0000"#).unwrap();
        let audit = Audit::start(&dir.0).unwrap();
        audit.put(line(1, "c"));
        drop(audit);
        let texts: Vec<String> = read(&dir.0, UpstreamId(1)).unwrap();
        let told = |text: &str| texts.iter().any(|line| line.contains(text));
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(told(r#""text":"a""#) && told(r#""text":"c""#), "{texts:?}");
    }

    #[test]
    fn files_are_bounded_in_size_and_number() {
        let dir = Dir::new("rotation");
        let left_out = Arc::new(AtomicU64::new(0));
        let mut writer = Writer::open(&dir.0, left_out, Arc::default()).unwrap();
        for round in 0..=limits::AUDIT_FILES_MAX {
            writer.text = format!("{{\"id\":\"{}\",\"round\":{round}}}\n", UpstreamId(3));
            writer.write().unwrap();
            writer.bytes = limits::AUDIT_FILE_BYTES_MAX;
        }
        assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 4);
        let kept = read(&dir.0, UpstreamId(3)).unwrap();
        let rounds: Vec<bool> = (1..)
            .zip(&kept)
            .map(|(round, line)| line.contains(&format!("\"round\":{round}")))
            .collect();
        assert_eq!(
            rounds, [true; 4],
            "the oldest went, and the order is kept: {kept:?}"
        );
    }

    #[test]
    fn what_does_not_fit_is_counted_and_no_one_waits() {
        let (queue, items) = sync_channel(2);
        let left_out = Arc::new(AtomicU64::new(0));
        let audit = Audit {
            queue: Some(queue),
            left_out: Arc::clone(&left_out),
            rounds: Arc::default(),
            thread: None,
        };
        let put: Vec<bool> = (0..5).map(|id| audit.put(line(id, "x"))).collect();
        assert_eq!(put, [true, true, false, false, false]);
        let dir = Dir::new("full");
        let mut writer = Writer::open(&dir.0, left_out, Arc::default()).unwrap();
        assert!(!writer.gather(&items));
        assert!(
            writer
                .text
                .ends_with("{\"step\":\"left_out\",\"count\":3}\n")
        );
        drop(audit);
        assert!(writer.gather(&items), "no more can come");
        assert!(writer.text.is_empty());
    }

    #[test]
    fn a_link_in_its_place_is_refused() {
        let dir = Dir::new("link");
        symlink("/dev/null", path(&dir.0, 0)).unwrap();
        assert!(Audit::start(&dir.0).is_err());
    }
}
