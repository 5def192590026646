//! `p99 journal backup` and `p99 journal restore`: what an operator asks, and in which words the
//! answer comes. The copying and the joining are the journal's, the books are `reconcile`'s. Part
//! of the command; `main` hands it the directory, and it decides nothing.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use p99::command::clock::UnixMillis;
use p99::command::journal::JournalFault;
use p99::command::journal::backup::{self, BackupFault};
use p99::command::journal::restore::{RestoreReport, Restoring};
use p99::command::payment::{PerProcessor, Processor};
use p99::command::reconcile::{BookFault, Bounds, Place, book};
use p99::command::wire::write_instant;

use crate::comparison::Books;
use crate::inspection::forget_nothing;

/// What `p99 journal restore` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct Restore {
    /// Says that the instance from which the backup came will never start again, on no disk.
    #[arg(long)]
    original_gone: bool,
    #[command(flatten)]
    books: Books,
    /// The journal of another shard, once for each of them: says whose a payment is that the books
    /// have under an id made of the client's. Needed only where ids are no UUIDs.
    #[arg(long, value_name = "DIR")]
    journal: Vec<PathBuf>,
    /// Restores without the processors' books. What was charged since the backup is forgotten, and
    /// may be charged again when its id comes again; refused while anything is pending.
    #[arg(long, conflicts_with = "processor")]
    without_books: bool,
}

/// Why there is no backup, or it was not restored.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The journal's own word.
    Backup(BackupFault),
    /// What is missing, in words.
    Asked(String),
    /// A book cannot be read.
    Book(Processor, Place, BookFault),
    /// No one reads on.
    Output(io::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backup(BackupFault::Journal(fault)) => fault.fmt(f),
            Self::Backup(BackupFault::Occupied) => {
                f.write_str("the directory for the backup holds something: name an empty one")
            }
            Self::Backup(BackupFault::NoBackup) => {
                f.write_str("JOURNAL_DIR is no backup: there is nothing to restore, start on it")
            }
            Self::Backup(BackupFault::Busy) => {
                f.write_str("the journal was compacted each time that it was opened: try again")
            }
            Self::Backup(BackupFault::Unclear { payments, id }) => write!(
                f,
                "the books have {payments} payments, such as {id}, that do not show which shard's \
                 they are, because the id is made of one that is no UUID: name the journals of all \
                 other shards, each with --journal DIR"
            ),
            Self::Backup(BackupFault::NotAnother(path)) => write!(
                f,
                "--journal {}: allowed is the journal, not a backup, of another shard of this set",
                path.display()
            ),
            Self::Backup(BackupFault::Forgotten(path)) => write!(
                f,
                "--journal {}: it has forgotten ids of payments charged since the backup, so it \
                 does not prove whose the others are",
                path.display()
            ),
            Self::Asked(what) => f.write_str(what),
            Self::Book(processor, place, fault) => {
                write!(f, "the book of {}, {place}: {fault}", processor.name())
            }
            Self::Output(fault) => fault.fmt(f),
        }
    }
}

impl From<BackupFault> for Fault {
    fn from(fault: BackupFault) -> Self {
        Self::Backup(fault)
    }
}

impl From<JournalFault> for Fault {
    fn from(fault: JournalFault) -> Self {
        Self::Backup(BackupFault::Journal(fault))
    }
}

impl From<io::Error> for Fault {
    fn from(fault: io::Error) -> Self {
        Self::Output(fault)
    }
}

/// `p99 journal backup`
pub(crate) fn backup(
    dir: &Path,
    to: &Path,
    wall: UnixMillis,
    out: &mut impl Write,
) -> Result<(), Fault> {
    let report = backup::backup(dir, to, wall)?;
    let (files, bytes, records) = (report.files, report.bytes, report.records);
    writeln!(
        out,
        "copied {files} files, {bytes} B, {records} records behind the snapshots; all of it was \
         read again"
    )?;
    for tear in &report.tears {
        let (path, offset) = (tear.path.display(), tear.offset);
        writeln!(
            out,
            "the last batch ends torn in {path}, offset {offset}: it was being written"
        )?;
    }
    writeln!(
        out,
        "it has every payment acknowledged before {}; nothing starts on it before `p99 journal \
         restore`",
        date(wall)
    )?;
    Ok(out.flush()?)
}

/// `p99 journal restore`
pub(crate) fn restore(dir: &Path, asked: &Restore, out: &mut impl Write) -> Result<(), Fault> {
    if !asked.original_gone {
        return Err(Fault::Asked(
            "say --original-gone: two instances on one history charge payments twice, so the \
             original must never start again"
                .to_owned(),
        ));
    }
    let (books, access) = asked.books.find().map_err(Fault::Asked)?;
    let mut restoring = Restoring::open(&forget_nothing(dir))?;
    demand_books(&restoring, asked.without_books, &books)?;
    let from = restoring.books_from();
    for (processor, place) in &books {
        let window = (Some(from), None);
        let mut take = |row: book::Row| {
            let at = row.at.ok_or_else(|| {
                let line = row.line;
                io::Error::other(format!(
                    "line {line}: without requestedAt it proves nothing"
                ))
            })?;
            restoring.take(*processor, row.id, row.amount, at);
            Ok(())
        };
        book::read(
            place,
            access.get(*processor),
            window,
            Bounds::COMMAND,
            &mut take,
        )
        .map_err(|fault| Fault::Book(*processor, place.clone(), fault))?;
    }
    // Behind the books: what they have was in its journal before.
    restoring.ask_others(&asked.journal)?;
    let report = restoring.finish()?;
    write_report(&report, out)?;
    if asked.without_books {
        writeln!(out, "what was charged since {} is forgotten", date(from))?;
    }
    writeln!(out, "restored; still pending: {}", report.pending)?;
    Ok(out.flush()?)
}

/// What the books had that the backup did not.
fn write_report(report: &RestoreReport, out: &mut impl Write) -> io::Result<()> {
    write_counts("were pending and are charged", &report.settled, out)?;
    write_counts("came after the backup and are charged", &report.added, out)?;
    if report.elsewhere > 0 {
        let count = report.elsewhere;
        writeln!(
            out,
            "{count} payments are in two books: see `p99 reconcile`"
        )?;
    }
    if report.refused > 0 {
        let count = report.refused;
        writeln!(
            out,
            "{count} payments that had been refused are in a book: see `p99 reconcile`"
        )?;
    }
    if report.others > 0 {
        let count = report.others;
        writeln!(out, "{count} payments are those of other shards: left out")?;
    }
    if report.amounts > 0 {
        let count = report.amounts;
        writeln!(
            out,
            "{count} pending payments were charged with another amount"
        )?;
    }
    for processor in report.paused {
        let name = processor.name();
        writeln!(
            out,
            "{name}: paused, as in the backup, until an operator lets it go on"
        )?;
    }
    Ok(())
}

/// Each processor that may have charged what the backup does not know must say what it charged.
fn demand_books(
    restoring: &Restoring,
    without_books: bool,
    books: &[(Processor, Place)],
) -> Result<(), Fault> {
    let pending = restoring.pending();
    if without_books {
        return match pending {
            0 => Ok(()),
            pending => Err(Fault::Asked(format!(
                "{pending} payments are pending in the backup and may be charged by now: only the \
                 processors' books can tell"
            ))),
        };
    }
    let needed = restoring.processors()?;
    let is_there = |processor| books.iter().any(|(one, _)| *one == processor);
    let missing = Processor::ALL
        .into_iter()
        .find(|processor| needed.has(*processor) && !is_there(*processor));
    match missing {
        None => Ok(()),
        Some(processor) => Err(Fault::Asked(format!(
            "--processor {}=URL|FILE is missing: what this processor has charged since {} is not \
             in the backup",
            processor.name(),
            date(restoring.books_from())
        ))),
    }
}

fn write_counts(what: &str, counts: &PerProcessor<u64>, out: &mut impl Write) -> io::Result<()> {
    for processor in Processor::ALL {
        let count = *counts.get(processor);
        if count > 0 {
            writeln!(out, "{}: {count} payments {what}", processor.name())?;
        }
    }
    Ok(())
}

fn date(at: UnixMillis) -> String {
    let mut out = Vec::new();
    write_instant(at, &mut out);
    String::from_utf8(out).unwrap_or_default()
}
