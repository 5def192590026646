//! The families about what is kept: the journal, or the shared store instead of it.

use super::cells::{Cell, Counter, Gauge, Histogram, Label};
use super::page::{Kind, Page};
use super::{JournalMode, Metrics};
use crate::limits;

/// What one core counts of the shared store.
#[derive(Debug, Default)]
pub struct StoreMetrics {
    /// How long each batch to the store took, from when it was made.
    pub commit_duration: Histogram,
    /// Ids that these batches were about.
    pub ids: Counter,
    /// Batches of which it had to be asked whether they were done.
    pub doubtful: Counter,
    /// Writers of other instances that were adopted.
    pub adopted: Counter,
    /// Connections and batches that failed.
    pub faults: Counter,
    /// Writers that this core has, its own and adopted ones.
    pub writers: Gauge,
    /// Records that the store has not acknowledged yet.
    pub lag: Gauge,
    /// Open payments in the store of this core's writers.
    pub open_rows: Gauge,
    /// Microseconds since the last batch was sent that the store acknowledged.
    pub silence_us: Gauge,
}

impl Metrics {
    /// Microseconds since the last batch was sent that the store acknowledged, on the core where
    /// that is longest.
    pub(super) fn store_silence_us(&self) -> u64 {
        let silence = self.cores().map(|core| core.store.silence_us.get());
        silence.max().unwrap_or_default()
    }

    /// Microseconds for which the leases of all cores' own writers last at least: each batch that
    /// the store acknowledges renews them from when it was sent. 0 without a store.
    pub(super) fn store_lease_us(&self) -> u64 {
        if self.setup.journal != JournalMode::Store {
            return 0;
        }
        let lease = u64::try_from(limits::STORE_LEASE.as_micros()).unwrap_or(u64::MAX);
        lease.saturating_sub(self.store_silence_us())
    }

    pub(super) fn render_journal(&self, page: &mut Page<'_>) {
        let help = "1 for when a journal record counts as durable.";
        page.begin(Kind::Gauge, "p99_journal_info", help);
        for mode in JournalMode::ALL {
            page.sample(
                &[("sync", mode.name())],
                u64::from(*mode == self.setup.journal),
            );
        }
        let records = "Records appended to the journal.";
        let bytes = "Bytes appended to the journal.";
        let failures = "Journal writes and syncs that failed.";
        let lag = "Journal records appended and not durable yet.";
        let disk = "Size of the journal on disk.";
        self.total(page, ("p99_journal_records_total", records), |core| {
            &core.journal_records
        });
        self.total(page, ("p99_journal_bytes_total", bytes), |core| {
            &core.journal_bytes
        });
        self.total(page, ("p99_journal_failures_total", failures), |core| {
            &core.journal_failures
        });
        self.gauge(page, ("p99_journal_lag_records", lag), |core| {
            &core.journal_lag
        });
        self.gauge(page, ("p99_journal_disk_bytes", disk), |core| {
            &core.journal_disk_bytes
        });
        let help = "Room on the journal's disk; 0 without a journal.";
        page.begin(Kind::Gauge, "p99_journal_free_bytes", help);
        page.sample(&[], self.journal_free());
        let missing = "Cores whose next journal segment cannot be reserved; full disk?";
        self.gauge(
            page,
            ("p99_journal_next_segment_missing", missing),
            |core| &core.journal_next_missing,
        );
        let help = "How long each sync of the journal took.";
        page.begin(Kind::Histogram, "p99_journal_sync_duration_seconds", help);
        let histograms: Vec<&Histogram> = self
            .cores()
            .map(|core| &core.journal_sync_duration)
            .collect();
        page.histogram(None, histograms.into_iter());
    }

    /// All zero without a store.
    pub(super) fn render_store(&self, page: &mut Page<'_>) {
        let ids = "Ids that were written to the store, each once in a batch.";
        let doubtful = "Batches of which the store had to be asked whether they were done.";
        let adopted = "Writers of instances that are gone, adopted by this one.";
        let lag = "Records that the store has not acknowledged yet.";
        let open = "Open payments in the store that this instance's writers have.";
        self.total(page, ("p99_store_ids_total", ids), |core| &core.store.ids);
        self.total(
            page,
            ("p99_store_doubtful_batches_total", doubtful),
            |core| &core.store.doubtful,
        );
        self.total(page, ("p99_store_adopted_writers_total", adopted), |core| {
            &core.store.adopted
        });
        let faults = "Connections to the store, and batches, that failed.";
        self.total(page, ("p99_store_faults_total", faults), |core| {
            &core.store.faults
        });
        let writers = "Writers in the store that this instance has, its own and adopted ones.";
        self.gauge(page, ("p99_store_writers", writers), |core| {
            &core.store.writers
        });
        let help = "How long the lease of the instance's own writers lasts at least.";
        page.begin(Kind::Gauge, "p99_store_lease_seconds", help);
        page.seconds(&[], self.store_lease_us());
        self.gauge(page, ("p99_store_lag_records", lag), |core| &core.store.lag);
        self.gauge(page, ("p99_store_open_payments", open), |core| {
            &core.store.open_rows
        });
        let help = "Since the last batch was sent that the store acknowledged, on the core where \
                    that is longest.";
        page.begin(Kind::Gauge, "p99_store_silence_seconds", help);
        page.seconds(&[], self.store_silence_us());
        let help = "How long each batch to the store took.";
        page.begin(Kind::Histogram, "p99_store_commit_duration_seconds", help);
        let histograms: Vec<&Histogram> = self
            .cores()
            .map(|core| &core.store.commit_duration)
            .collect();
        page.histogram(None, histograms.into_iter());
    }
}
