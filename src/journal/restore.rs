//! Makes a journal of a backup. Only `p99 journal restore` calls it, and only with the operator's
//! word that the original will never start again.
//!
//! A backup is older than the end of its original: it does not know what was charged since, and
//! what is open in it may have been charged meanwhile, at another processor too. The processors
//! know. So their books are joined with it before anything can start: a payment that a book has is
//! settled, whether it was pending in the backup or came after it. What no book has was not
//! charged, and may be sent. So a restored journal charges nothing again (I2) and its ledger is
//! whole (I6).
//!
//! What it forgets all the same: promises (202) that were made after the backup and not charged
//! yet, and ids that were refused for good since.
//!
//! A book is that of the whole set, a journal that of one shard: what is another's is left out, or
//! the sums of all shards would count it twice.
//!
//! The journal gets an id of its own: the other shards notice that it is not the one that they met.

use std::path::PathBuf;

use super::backup::BackupFault;
use super::directory::Directory;
use super::fault::JournalFault;
use super::manifest::{JournalId, Manifest};
use super::others;
use super::pauses;
use super::processors;
use super::record::{Record, Verdict};
use super::replay::{Pending, State};
use super::settings::JournalSettings;
use super::start::{StartReport, read_all, renew};
use crate::clock::UnixMillis;
use crate::payment::{
    Cents, CoreCount, CorrelationId, Payment, PerProcessor, Processor, ProcessorSet, Status,
    UpstreamId,
};

/// How long before a backup a payment may have got its `requestedAt` that is not in it: its Intent
/// was on its way to the disk. A sync of 5 s makes an instance not ready; twice that.
const JOURNAL_BACKUP_OVERLAP_MS: i64 = 10_000;

/// A backup that is being made a journal.
#[derive(Debug)]
pub struct Restoring {
    dir: Directory,
    manifest: Manifest,
    states: Vec<State>,
    /// When the backup began.
    taken_at: UnixMillis,
    /// What came of the books so far.
    report: RestoreReport,
    /// Rows that may be another shard's.
    unclear: Vec<Row>,
}

/// A row of a processor's book.
#[derive(Clone, Copy, Debug)]
struct Row {
    processor: Processor,
    id: UpstreamId,
    amount: Cents,
    at: UnixMillis,
}

/// What the books said about the backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Payments that were pending in the backup and are charged.
    pub settled: PerProcessor<u64>,
    /// Payments that came after the backup and were charged.
    pub added: PerProcessor<u64>,
    /// Rows of payments that another processor has charged as well: not added.
    pub elsewhere: u64,
    /// Rows of payments that had been refused. Those that may have come after the backup are added.
    pub refused: u64,
    /// Rows with another amount than the payment that was pending; the row's counts.
    pub amounts: u64,
    /// Rows of payments that are another shard's: not added.
    pub others: u64,
    /// Payments that are still pending, which no book has.
    pub pending: u64,
    /// Who was paused when the backup was taken, and is paused still.
    pub paused: ProcessorSet,
}

impl Restoring {
    /// Takes the backup in `settings.dir`.
    ///
    /// # Errors
    /// It is no backup, is damaged, or another process has it.
    pub fn open(settings: &JournalSettings) -> Result<Self, BackupFault> {
        let dir = Directory::lock(&settings.dir)?;
        let path = dir.manifest_path();
        let manifest = dir.manifest()?.ok_or(JournalFault::Missing { path })?;
        let taken_at = manifest.backup.ok_or(BackupFault::NoBackup)?;
        if let Some(store) = manifest.moved_to {
            let dir = settings.dir.clone();
            return Err(JournalFault::Moved { dir, store }.into());
        }
        let states = read_all(&dir, &manifest, settings, &mut StartReport::default())?;
        Ok(Self {
            dir,
            manifest,
            states,
            taken_at,
            report: RestoreReport::default(),
            unclear: Vec::new(),
        })
    }

    /// From when on books must have all payments: some seconds before the backup.
    #[must_use]
    pub fn books_from(&self) -> UnixMillis {
        let overlap = JOURNAL_BACKUP_OVERLAP_MS;
        UnixMillis(self.taken_at.0.saturating_sub(overlap))
    }

    /// Payments that are pending in the backup.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.states
            .iter()
            .map(|state| state.pending().len() as u64)
            .sum()
    }

    /// The processors whose books are needed: those that the journal was about.
    ///
    /// # Errors
    /// The list of them cannot be read.
    pub fn processors(&self) -> Result<ProcessorSet, BackupFault> {
        if let Some(authorities) = processors::read(&self.dir)? {
            let all = authorities.iter().map(|(processor, _)| processor);
            return Ok(all.fold(ProcessorSet::NONE, ProcessorSet::with));
        }
        let mut totals = PerProcessor::default();
        self.states
            .iter()
            .for_each(|state| state.add_totals(&mut totals));
        let all = totals.shown().map(|(processor, _)| processor);
        Ok(all.fold(ProcessorSet::NONE, ProcessorSet::with))
    }

    /// A processor's book has this payment.
    pub fn take(&mut self, processor: Processor, id: UpstreamId, amount: Cents, at: UnixMillis) {
        let row = Row {
            processor,
            id,
            amount,
            at,
        };
        match self.is_own(id, at) {
            Some(true) => self.join(row),
            Some(false) => self.report.others += 1,
            None => self.unclear.push(row),
        }
    }

    /// What the journal knows is its own; for the rest the id must say it, or nothing is known.
    fn is_own(&self, id: UpstreamId, at: UnixMillis) -> Option<bool> {
        let knows =
            |state: &State| state.find_settled(id).is_some() || state.find_pending(id).is_some();
        // Older ones are added to no journal.
        if at < self.books_from() || self.states.iter().any(knows) {
            return Some(true);
        }
        self.manifest.shard.owns_upstream(id)
    }

    /// Decides about the rows that do not show whose they are. The journals are those of all other
    /// shards, which had written down what they sent before a book could have it: what none of
    /// them knows is this one's. Without all of them nothing is decided.
    ///
    /// # Errors
    /// One of them is not that of another shard, cannot be read, or has forgotten ids.
    pub fn ask_others(&mut self, journals: &[PathBuf]) -> Result<(), BackupFault> {
        if self.unclear.is_empty() {
            return Ok(());
        }
        let from = self.books_from();
        let Some(known) = others::known(self.manifest.shard, journals, from)? else {
            return Ok(());
        };
        for row in std::mem::take(&mut self.unclear) {
            match known.contains(&row.id) {
                true => self.report.others += 1,
                false => self.join(row),
            }
        }
        Ok(())
    }

    fn join(&mut self, row: Row) {
        let Row {
            processor,
            id,
            amount,
            at,
        } = row;
        let cores = CoreCount(u16::try_from(self.states.len()).unwrap_or(u16::MAX));
        let from = self.books_from();
        let Some(state) = self.states.get_mut(id.owner(cores).index()) else {
            return;
        };
        if let Some(claim) = state.find_settled(id) {
            let is_elsewhere = claim.counted && claim.processor != Some(processor);
            self.report.elsewhere += u64::from(is_elsewhere);
            // An id that was refused may have been forgotten, sent again and charged.
            let is_contradicted = claim.status == Status::Refused;
            self.report.refused += u64::from(is_contradicted);
            if !is_contradicted || at < from {
                return;
            }
        }
        let count = match state.find_pending(id) {
            Some(pending) => {
                self.report.amounts += u64::from(pending.payment.amount != amount);
                &mut self.report.settled
            }
            // What is older and not known was settled and forgotten long ago.
            None if at < from => return,
            None => &mut self.report.added,
        };
        *count.get_mut(processor) += 1;
        let requested_at = state
            .find_pending(id)
            .and_then(|pending| sent_at(pending, processor, at))
            .unwrap_or(at);
        if state.find_pending(id).is_none()
            && let Ok(correlation_id) = CorrelationId::try_new(&id.to_string())
        {
            state.apply(&Record::Intent {
                payment: Payment {
                    id,
                    correlation_id,
                    amount,
                },
                processor,
                requested_at,
                accepted_at: None,
                address: None,
            });
        }
        state.apply(&Record::Verdict {
            id,
            verdict: Verdict::Applied {
                processor,
                amount,
                requested_at,
            },
        });
    }

    /// Makes it a journal, durably. Nothing may be sent that a book could still show: those books
    /// were taken after the original had ended and what it had sent was answered.
    ///
    /// # Errors
    /// It is not known whose some payments are, or the disk says so; it is a backup still, or a
    /// journal already.
    pub fn finish(self) -> Result<RestoreReport, BackupFault> {
        if let Some(row) = self.unclear.first() {
            return Err(BackupFault::Unclear {
                payments: self.unclear.len() as u64,
                id: row.id,
            });
        }
        let mut report = self.report;
        let kept = |state: &State| state.pending().iter().filter(|one| one.is_kept()).count();
        report.pending = self.states.iter().map(|state| kept(state) as u64).sum();
        // Before the switch: a start refuses what cannot be read.
        report.paused = pauses::read(&self.dir.path_to(""))?;
        let manifest = Manifest {
            id: JournalId::fresh(),
            backup: None,
            ..self.manifest
        };
        renew(&self.dir, Some(manifest), &self.states)?;
        Ok(report)
    }
}

/// The `requestedAt` that was sent to the processor, when the book has it rounded.
fn sent_at(pending: &Pending, processor: Processor, at: UnixMillis) -> Option<UnixMillis> {
    let mut sends = pending.open.iter().chain(&pending.earlier);
    let is_it = |sent: i64| sent.abs_diff(at.0) <= 1_000;
    sends
        .find(|sent| sent.processor == processor && is_it(sent.requested_at.0))
        .map(|sent| sent.requested_at)
}
