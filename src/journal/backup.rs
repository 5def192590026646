//! Copies a journal while its instance runs, without stopping it and without asking it. Only `p99
//! journal backup` calls it.
//!
//! What is copied is what a power cut at one moment would have left, core by core: cores share no
//! id, so they need no common moment. A core's files are append-only, and a batch is written only
//! after the one before it was synced. So a copy is a beginning of what was written if nothing is
//! in it whose forerunner is missing, and that is kept in two ways:
//!
//! - A file is copied up to where it was written when its copying began, not further.
//! - A core's segments are copied from the last one to the first: what comes into one of them
//!   while a later one is read is missing nowhere.
//!
//! All files of one manifest are opened before any is copied, and the manifest is read again behind
//! that, so a compaction takes nothing away. Everything that was durable before the backup began is
//! in it: those records were in these files. The end of a core's last batch may be torn, as after a
//! power cut.
//!
//! The copy's manifest says that it is a backup, and a start refuses that: two instances on one
//! history would both send what is open, each to the processor that it thinks best (I2). `restore`
//! makes a journal of it.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::directory::{CoreFiles, Directory};
use super::fault::JournalFault;
use super::files;
use super::frame::Identity;
use super::load::{self, Sink, Tear};
use super::manifest::Manifest;
use super::pauses;
use super::record::Record;
use super::snapshot::Line;
use crate::clock::UnixMillis;
use crate::journal::JOURNAL_SCAN_BYTES;
use crate::payment::UpstreamId;

/// How often a backup opens the files of a running instance anew because a compaction came between.
/// One takes 64 MiB of new records at least, opening takes milliseconds.
const JOURNAL_BACKUP_TRIES_MAX: u32 = 10;

/// Files beside the manifest that are copied whole; each is replaced whole. Who is paused holds for
/// no moment of the journal: what is said when the backup begins, or later.
const TEXTS: [&str; 3] = ["PROCESSORS", "PAUSED", "PAUSED-AT"];

/// Why there is no backup.
#[derive(Debug)]
pub enum BackupFault {
    /// The journal, or the copy, says so.
    Journal(JournalFault),
    /// The directory for the copy holds something.
    Occupied,
    /// The directory is no backup: nothing is to be restored.
    NoBackup,
    /// The instance compacted its journal each time that its files were opened.
    Busy,
    /// Books of a set have payments whose shard they do not show.
    Unclear {
        /// How many.
        payments: u64,
        /// One of them.
        id: UpstreamId,
    },
    /// The directory is no journal in use of another shard of the set.
    NotAnother(PathBuf),
    /// Another shard's journal knows charges since the backup by their sum only.
    Forgotten(PathBuf),
}

impl From<JournalFault> for BackupFault {
    fn from(fault: JournalFault) -> Self {
        Self::Journal(fault)
    }
}

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupReport {
    /// Files of records.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records in segments, behind the snapshots.
    pub records: u64,
    /// Torn batches at the end; no one had been told that they were durable.
    pub tears: Vec<Tear>,
}

/// The files of one manifest, open.
struct Opened {
    manifest: Manifest,
    /// Per core the snapshot, then the segments.
    cores: Vec<(CoreFiles, Vec<(Identity, File)>)>,
    /// What is said beside the manifest.
    texts: Vec<(&'static str, String)>,
}

/// Copies the journal in `from` to `to`, which is empty or not there, and reads the copy once.
/// `wall` is when the backup begins.
///
/// # Errors
/// See [`BackupFault`]; what was copied until then has no manifest, so nothing starts on it.
pub fn backup(from: &Path, to: &Path, wall: UnixMillis) -> Result<BackupReport, BackupFault> {
    backup_with((from, to), wall, &mut |_| ())
}

/// The same; `copied` hears the bytes of each file behind it, for tests that write meanwhile.
pub(super) fn backup_with(
    (from, to): (&Path, &Path),
    wall: UnixMillis,
    copied: &mut dyn FnMut(u64),
) -> Result<BackupReport, BackupFault> {
    let opened = open(&Directory::peek(from))?;
    match fs::read_dir(to) {
        Ok(entries) => {
            if entries.count() > 0 {
                return Err(BackupFault::Occupied);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(JournalFault::io(to, error).into()),
    }
    let target = Directory::lock(to)?;
    let mut report = BackupReport::default();
    for (_, files) in &opened.cores {
        for (identity, file) in files.iter().rev() {
            let path = target.path_of(identity);
            let bytes = copy(file, &path).map_err(|error| JournalFault::io(&path, error))?;
            report.files += 1;
            report.bytes += bytes;
            copied(bytes);
        }
    }
    for (name, text) in &opened.texts {
        let path = target.path_to(name);
        let write = || {
            let mut file = files::create_new(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(|error| JournalFault::io(&path, error))?;
    }
    // Read again, as the records are.
    pauses::read(to)?;
    for (files, _) in &opened.cores {
        let loaded = load::load(&target, files, &mut Nothing)?;
        report.records += loaded.records;
        report.tears.extend(loaded.tear);
    }
    target.switch(&Manifest {
        // The backup of a backup is as old as that one.
        backup: opened.manifest.backup.or(Some(wall)),
        ..opened.manifest
    })?;
    Ok(report)
}

/// Opens all files that count at one moment.
fn open(dir: &Directory) -> Result<Opened, BackupFault> {
    for _ in 0..JOURNAL_BACKUP_TRIES_MAX {
        let path = dir.manifest_path();
        let manifest = dir.manifest()?.ok_or(JournalFault::Missing { path })?;
        let opened = open_all(dir, &manifest);
        if dir.manifest()?.as_ref() == Some(&manifest) {
            let mut texts = Vec::new();
            for name in TEXTS {
                match files::read_text(&dir.path_to(name)) {
                    Ok(text) => texts.push((name, text)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(JournalFault::io(&dir.path_to(name), error).into()),
                }
            }
            return Ok(Opened {
                cores: opened?,
                manifest,
                texts,
            });
        }
    }
    Err(BackupFault::Busy)
}

type OpenCore = (CoreFiles, Vec<(Identity, File)>);

fn open_all(dir: &Directory, manifest: &Manifest) -> Result<Vec<OpenCore>, JournalFault> {
    let mut cores = Vec::new();
    for files in dir.files(manifest)? {
        let names = std::iter::once(&files.snapshot).chain(&files.segments);
        let open = |identity: &Identity| {
            let path = dir.path_of(identity);
            let file = files::read(&path).map_err(|error| JournalFault::io(&path, error))?;
            Ok((*identity, file))
        };
        let opened = names.map(open).collect::<Result<Vec<_>, JournalFault>>()?;
        cores.push((files, opened));
    }
    Ok(cores)
}

/// Copies what is written now, without the zeros that are reserved behind it.
fn copy(from: &File, to: &Path) -> io::Result<u64> {
    let end = written_end(from)?;
    let mut to = files::create_new(to)?;
    let mut source = from;
    source.seek(SeekFrom::Start(0))?;
    let copied = io::copy(&mut source.take(end), &mut to)?;
    if copied < end {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    to.sync_all()?;
    Ok(copied)
}

/// Behind which no byte is set: nothing of a later batch is copied when it comes meanwhile.
fn written_end(file: &File) -> io::Result<u64> {
    let mut block = [0; JOURNAL_SCAN_BYTES];
    let (mut at, mut end) = (0, 0);
    loop {
        let count = file.read_at(&mut block, at)?;
        if count == 0 {
            return Ok(end);
        }
        let read = block.get(..count).unwrap_or_default();
        if let Some(last) = read.iter().rposition(|byte| *byte != 0) {
            end = at + last as u64 + 1;
        }
        at += count as u64;
    }
}

/// Looks at every record and keeps none.
struct Nothing;

impl Sink for Nothing {
    fn line(&mut self, _line: Line<'_>) -> Result<(), JournalFault> {
        Ok(())
    }

    fn record(&mut self, _sequence: u64, _record: &Record) {}
}
