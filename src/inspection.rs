//! `p99 pending`, `p99 resolve` and `p99 journal`: what an operator asks of a journal, and in which
//! words the answer comes. The reading and the verdict are `journal::operator`'s; `backups` has the
//! words about those.
//!
//! Part of the command, not of the library. It writes to what `main` hands it and decides nothing:
//! how a payment ended is the operator's word, and the journal keeps it (I5).

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use p99::command::audit;
use p99::command::clock::UnixMillis;
use p99::command::config::{self, JournalSync};
use p99::command::journal::operator::{self, Resolution, VerifyReport};
use p99::command::journal::{Authorities, JournalFault, JournalSettings};
use p99::command::logging::{self, Format};
use p99::command::pay::OperatorCall;
use p99::command::payment::{CoreCount, CorrelationId, PerProcessor, Totals};
use p99::command::wire::OperatorNote;

use crate::{BAD_SETTINGS, HandVerdict, complain, environment, fail, inspect, settings, wall};
use crate::{backups, ctl, refuse};

/// What `p99 journal` is asked for.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum JournalTask {
    /// Reads every record and says what they come to, or what is wrong.
    Verify,
    /// Prints every record, one line of JSON each.
    Dump,
    /// Says that UPSTREAM_A_URL and UPSTREAM_B_URL, as they are set now, are the processors that
    /// the journal is about, under other names. The instance must be stopped.
    AcceptUpstreams,
    /// Copies the journal, also while its instance runs, into a directory that is empty or not
    /// there. The copy does not start before it is restored.
    Backup {
        /// Where the copy goes.
        dir: PathBuf,
    },
    /// Makes JOURNAL_DIR, a backup, a journal that starts: what the processors charged since it was
    /// taken is added to it from their books.
    Restore(backups::Restore),
    /// Forgets which journals the other shards had, after one of them lost its disk. Every shard
    /// that knew it needs this; the instance must be stopped.
    ForgetShards,
}

/// `p99 journal`
pub(crate) fn journal(task: JournalTask) -> u8 {
    let out = &mut io::stdout().lock();
    match task {
        JournalTask::Verify => inspect(|dir| verify(dir, out)),
        JournalTask::Dump => inspect(|dir| dump(dir, out)),
        JournalTask::AcceptUpstreams => {
            let Ok(config) = settings(environment) else {
                return BAD_SETTINGS;
            };
            let now = p99::command::pay::authorities(&config);
            inspect(|dir| accept_upstreams(dir, &now, out))
        }
        JournalTask::Backup { dir: to } => inspect(|dir| {
            demand_journal(dir)?;
            backups::backup(dir, &to, wall(), out).map_err(InspectionFault::Backup)
        }),
        JournalTask::Restore(asked) => inspect(|dir| {
            demand_journal(dir)?;
            backups::restore(dir, &asked, out).map_err(InspectionFault::Backup)
        }),
        JournalTask::ForgetShards => inspect(|dir| forget_shards(dir, out)),
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum InspectionFault {
    /// The directory holds no journal, so a question about it is about the wrong directory.
    NoJournal {
        /// Where it was looked for.
        dir: PathBuf,
        /// What it is instead.
        why: &'static str,
    },
    /// The journal's own word.
    Journal(JournalFault),
    /// The journal holds inconsistent records.
    Odd(u64),
    /// There is no backup, or it was not restored.
    Backup(backups::Fault),
    /// No one reads on.
    Output(io::Error),
}

impl fmt::Display for InspectionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoJournal { dir, why } => write!(f, "{}: {why}", dir.display()),
            Self::Journal(fault) => fault.fmt(f),
            Self::Odd(count) => write!(f, "{count} inconsistent records; that is a fault of p99"),
            Self::Backup(fault) => fault.fmt(f),
            Self::Output(fault) => fault.fmt(f),
        }
    }
}

impl From<JournalFault> for InspectionFault {
    fn from(fault: JournalFault) -> Self {
        Self::Journal(fault)
    }
}

impl From<io::Error> for InspectionFault {
    fn from(fault: io::Error) -> Self {
        Self::Output(fault)
    }
}

impl InspectionFault {
    /// The reader went away, as `head` does: no fault of anybody.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        let (Self::Output(error) | Self::Journal(JournalFault::Io { error, .. })) = self else {
            return false;
        };
        error.kind() == io::ErrorKind::BrokenPipe
    }
}

/// `p99 pending`: one line of JSON for each payment that is not settled, oldest first.
pub(crate) fn pending(
    dir: &Path,
    wall: UnixMillis,
    out: &mut impl Write,
) -> Result<(), InspectionFault> {
    demand_journal(dir)?;
    let mut out = BufWriter::new(out);
    operator::write_pending(&operator::pending(dir)?, wall, &mut out)?;
    Ok(out.flush()?)
}

/// `p99 journal dump`: one line of JSON for each record.
fn dump(dir: &Path, out: &mut impl Write) -> Result<(), InspectionFault> {
    demand_journal(dir)?;
    let mut out = BufWriter::new(out);
    operator::dump(dir, &mut out)?;
    Ok(out.flush()?)
}

/// `p99 journal verify`: what the journal holds, after every record was read.
fn verify(dir: &Path, out: &mut impl Write) -> Result<(), InspectionFault> {
    demand_journal(dir)?;
    let report = operator::verify(dir)?;
    out.write_all(&in_words(&report))?;
    out.flush()?;
    match report.oddities {
        0 => Ok(()),
        count => Err(InspectionFault::Odd(count)),
    }
}

fn in_words(report: &VerifyReport) -> Vec<u8> {
    let mut text = format!(
        "start {}, cores {}, records behind the snapshots {}\npending {}, settled ids {}\n",
        report.epoch, report.cores, report.records, report.pending, report.settled
    )
    .into_bytes();
    write_totals(&report.totals, &mut text);
    for tear in &report.tears {
        let (path, offset) = (tear.path.display(), tear.offset);
        text.extend(format!("torn batch at the end of {path}, offset {offset}: ").bytes());
        text.extend(b"the next start cuts it; no client was told that it was durable\n");
    }
    for doubt in &report.doubts {
        text.extend(format!("warning: {doubt}\n").bytes());
    }
    text
}

fn write_totals(totals: &PerProcessor<Totals>, text: &mut Vec<u8>) {
    for (processor, totals) in totals.shown() {
        let (name, count) = (processor.name(), totals.count);
        text.extend(format!("{name}: payments {count}, amount ").bytes());
        p99::command::payment::write_cents(totals.cents, text);
        text.push(b'\n');
    }
}

/// `p99 resolve`
#[derive(Args, Clone, Debug)]
pub(crate) struct HandTask {
    /// The payment's correlationId.
    id: String,
    /// What is known to have happened.
    verdict: HandVerdict,
    /// Refuses also what was open when the process ended, though its client may have been told 200.
    #[arg(long)]
    although_acknowledged: bool,
    /// Who says so; kept in the audit file.
    #[arg(long)]
    operator: String,
    /// Why; kept in the audit file.
    #[arg(long)]
    reason: String,
}

/// `p99 resolve`
pub(crate) fn resolve(task: &HandTask) -> u8 {
    let note = match ctl::read_note(&task.operator, &task.reason) {
        Ok(note) => note,
        Err(why) => return refuse(&why),
    };
    let Ok(id) = CorrelationId::try_new(&task.id) else {
        return refuse(&format!("{:?} is no correlationId", task.id));
    };
    if let Err(fault) = logging::start("warn", Format::Text) {
        return fail(&format!("cannot log: {fault}"));
    }
    let resolution = match task.verdict {
        HandVerdict::Applied => Resolution::Applied,
        HandVerdict::Refused if task.although_acknowledged => {
            Resolution::RefusedAlthoughAcknowledged
        }
        HandVerdict::Refused => Resolution::Refused,
    };
    let audit_dir = match config::audit_dir_from_lookup(environment) {
        Ok(dir) => dir,
        Err(faults) => {
            complain(&config::tell_faults(&faults));
            return BAD_SETTINGS;
        }
    };
    inspect(|dir| {
        let signed = (&note, audit_dir.as_deref().unwrap_or(dir));
        let out = &mut io::stdout().lock();
        settle(dir, (&id, resolution), signed, wall(), out)
    })
}

/// Settles a payment by hand and says what it was. Who says so and why stands in the
/// audit file before it is done.
fn settle(
    dir: &Path,
    (id, resolution): (&CorrelationId, Resolution),
    (note, audit_dir): (&OperatorNote, &Path),
    wall: UnixMillis,
    out: &mut impl Write,
) -> Result<(), InspectionFault> {
    demand_journal(dir)?;
    let verdict = resolution.verdict();
    let sign = || {
        let call = OperatorCall {
            path: "p99 resolve",
            note: Some(note),
            id: Some(id),
            status: 200,
            result: verdict,
        };
        audit::append(audit_dir, &call.line(wall)).map_err(|error| JournalFault::Io {
            path: audit_dir.to_owned(),
            error,
        })
    };
    let settings = forget_nothing(dir);
    let was = operator::resolve(&settings, id.upstream_id(), resolution, wall, sign)?;
    writeln!(out, "resolved by hand as {verdict}; it was:")?;
    operator::write_pending(&[was], wall, out)?;
    Ok(out.flush()?)
}

/// `p99 journal accept-upstreams`: takes the operator's word about where the processors are, and
/// says what is open where.
fn accept_upstreams(
    dir: &Path,
    now: &Authorities,
    out: &mut impl Write,
) -> Result<(), InspectionFault> {
    demand_journal(dir)?;
    let accepted = operator::accept_upstreams(&forget_nothing(dir), now)?;
    for (processor, is) in now.iter() {
        let name = processor.name();
        let was = accepted.was.as_ref().and_then(|was| was.find(processor));
        let was = was.map(String::as_str);
        let (was, open) = (was.unwrap_or("unknown"), accepted.open.get(processor));
        writeln!(
            out,
            "{name}: was {was}, is {is}; payments open there: {open}"
        )?;
    }
    writeln!(
        out,
        "accepted: what is open is asked about and sent again at these addresses"
    )?;
    Ok(out.flush()?)
}

/// `p99 journal forget-shards`: the next start takes the journals of the others as it finds them.
fn forget_shards(dir: &Path, out: &mut impl Write) -> Result<(), InspectionFault> {
    demand_journal(dir)?;
    let count = operator::forget_shards(dir)?;
    writeln!(out, "forgot the journals of {count} other shards")?;
    Ok(out.flush()?)
}

/// What an operator's command rewrites must not forget anything, whatever the instance's settings
/// are; the instance's own next start trims.
pub(crate) fn forget_nothing(dir: &Path) -> JournalSettings {
    JournalSettings {
        claims_max: usize::MAX,
        ledger_exact: LEDGER_EXACT_MAX,
        ..JournalSettings::new(dir.to_owned(), JournalSync::Always, CoreCount(1))
    }
}

/// The most that `LEDGER_EXACT_HOURS` can be.
const LEDGER_EXACT_MAX: Duration = Duration::from_secs(744 * 3_600);

/// Why there is no JOURNAL_DIR.
pub(crate) fn no_journal_dir() -> &'static str {
    if environment("JOURNAL_DIR").is_some() {
        "JOURNAL_DIR is off"
    } else {
        "JOURNAL_DIR is not set"
    }
}

pub(crate) fn demand_journal(dir: &Path) -> Result<(), InspectionFault> {
    let none = |why| {
        let dir = dir.to_owned();
        Err(InspectionFault::NoJournal { dir, why })
    };
    match std::fs::metadata(dir) {
        Ok(found) if !found.is_dir() => return none("no directory"),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return none("no such directory"),
        Ok(_) | Err(_) => {}
    }
    if operator::is_journal(dir)? {
        Ok(())
    } else {
        none("holds no journal")
    }
}
