//! What operators look at first, as one value: how much is paid and how fast, how each processor
//! is, what waits, and how full every bound is. `server` adds what it knows and writes it.
//!
//! Every number here is, or follows from, a metric of the page; a test holds the list of both.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Mono;
use crate::payment::{Configured, Outcome, Processor};

use super::cells::{Cell, Label};
use super::faults::Fault;
use super::rolling::{Recent, Rolling, Span};
use super::{BreakerReading, Changeable, ChangedSetting, JournalMode, Metrics, Reading};

/// How an instance is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstanceStatus {
    /// Whether `/readyz` answers 200 on every core.
    #[serde(skip)]
    pub is_ready: bool,
    /// Answers to payments: charged, accepted, refused (4xx), failed (5xx).
    pub payments: [Lately; 2],
    /// Every configured processor.
    pub processors: Vec<ProcessorStatus>,
    /// Payments that are not settled.
    pub pending: PendingStatus,
    /// What may be full.
    pub bounds: Vec<Bound>,
    /// None where there is no journal.
    pub journal: Option<JournalStatus>,
    /// None where there is no store.
    pub store: Option<StoreStatus>,
    /// What an operator has set anew.
    pub changed: Vec<ChangedSetting>,
}

/// What was counted in the last few seconds, or in the last minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lately {
    /// How long that was.
    pub span_ms: u64,
    /// How many, by kind.
    pub counts: [u64; 4],
    /// The latency that half of them did not exceed.
    pub p50_us: u64,
    /// The latency that 99 of 100 did not exceed.
    pub p99_us: u64,
}

/// How a processor is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessorStatus {
    /// Its name.
    pub name: &'static str,
    /// 0 Closed, 1 Open, 2 HalfOpen.
    pub breaker: u64,
    /// How long its breaker has been in this state.
    pub breaker_age_ms: u64,
    /// Whether an operator has paused it.
    pub paused: bool,
    /// Attempts: not sent, refused, applied, unknown.
    pub attempts: [Lately; 2],
    /// Attempts in flight.
    pub in_flight: u64,
    /// How many may be in flight now.
    pub limit: u64,
    /// How the last attempt that failed did so; empty before the first.
    pub fault: String,
    /// How long ago that was.
    pub fault_age_ms: Option<u64>,
}

/// What waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PendingStatus {
    /// Payments that are not settled.
    pub count: u64,
    /// Age of the oldest.
    pub oldest_ms: u64,
}

/// A bound, and how much of it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// The setting, or what the system calls it.
    pub name: String,
    /// How much is used.
    pub used: u64,
    /// How much there is.
    pub limit: u64,
}

/// How the journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct JournalStatus {
    /// When a record counts as durable: `os` or `always`.
    pub sync: &'static str,
    /// Of the syncs of the last minute.
    pub sync_p99_us: u64,
    /// Room on its disk.
    pub free_bytes: u64,
    /// What it has.
    pub disk_bytes: u64,
    /// Records appended and not durable yet.
    pub lag_records: u64,
    /// Cores whose next segment cannot be reserved.
    pub next_segment_missing: u64,
    /// Writes and syncs that failed.
    pub failures: u64,
}

/// How the store is, as this instance sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StoreStatus {
    /// Since a batch was sent that it acknowledged, on the core where that is longest.
    pub silence_ms: u64,
    /// Of the batches of the last minute.
    pub commit_p99_us: u64,
    /// Records that it has not acknowledged yet.
    pub lag_records: u64,
    /// Payments of this instance that are open there.
    pub open_payments: u64,
    /// Batches of which it had to be asked whether they were done.
    pub doubtful: u64,
    /// Writers of instances that went, which this one took over.
    pub adopted: u64,
    /// Writers that it has, its own and adopted ones.
    pub writers: u64,
    /// For how long the leases of its own writers last at least.
    pub lease_ms: u64,
    /// Connections and batches that failed.
    pub faults: u64,
}

impl Metrics {
    /// How the instance is now.
    #[must_use]
    pub fn status(&self, now: Mono, reading: &Reading) -> InstanceStatus {
        let payments = self.cores().map(|core| &core.payments_recent);
        InstanceStatus {
            is_ready: reading.is_serving && self.cores().all(|core| core.fit.get() == 1),
            payments: lately(payments, now),
            processors: self.processor_statuses(now, &reading.breakers),
            pending: PendingStatus {
                count: self.sum(|core| &core.payments_pending),
                oldest_ms: self.oldest_pending_us(now) / 1_000,
            },
            bounds: self.bounds(&reading.breakers),
            journal: self.journal_status(now),
            store: self.store_status(now),
            changed: self.settings.changed(),
        }
    }

    /// Age of the oldest payment that is not settled; 0 without any.
    pub(super) fn oldest_pending_us(&self, now: Mono) -> u64 {
        let arrived = self.cores().map(|core| core.oldest_pending.get());
        let oldest = arrived.filter(|time| *time > 0).min();
        oldest.map_or(0, |time| now.0.saturating_sub(time - 1))
    }

    /// Room on the journal's disk, which all cores share; 0 without a journal.
    pub(super) fn journal_free(&self) -> u64 {
        let seen = self.cores().map(|core| core.journal_free_bytes.get());
        seen.max().unwrap_or_default()
    }

    /// The last attempt at `processor` that failed, on any core.
    pub(super) fn last_fault(&self, processor: Processor) -> Option<(Mono, Fault)> {
        let words = self
            .cores()
            .map(|core| core.last_fault.get(processor).get());
        Fault::unpack(words.max().unwrap_or_default())
    }

    fn processor_statuses(
        &self,
        now: Mono,
        breakers: &Configured<BreakerReading>,
    ) -> Vec<ProcessorStatus> {
        let status = |(processor, breaker): (Processor, &BreakerReading)| {
            let attempts = self.cores().map(|core| core.attempts_recent.get(processor));
            let fault = self.last_fault(processor);
            ProcessorStatus {
                name: processor.name(),
                breaker: breaker.state,
                breaker_age_ms: millis(now.since(breaker.since)),
                paused: breaker.paused > 0,
                attempts: lately(attempts, now),
                in_flight: self.sum(|core| core.attempts_in_flight.get(processor)),
                limit: breaker.limit,
                fault: fault.map_or_else(String::new, |(_, fault)| fault.to_string()),
                fault_age_ms: fault.map(|(at, _)| millis(now.since(at))),
            }
        };
        breakers.iter().map(status).collect()
    }

    fn bounds(&self, breakers: &Configured<BreakerReading>) -> Vec<Bound> {
        let setup = &self.setup;
        let bound = |name: &str, used, limit: usize| Bound {
            name: name.to_owned(),
            used,
            limit: u64::try_from(limit).unwrap_or(u64::MAX),
        };
        let mut bounds = vec![
            bound(
                "QUEUE_CAPACITY",
                self.sum(|core| &core.queue_length),
                setup.queue_capacity,
            ),
            bound(
                "CONCURRENCY_LIMIT",
                self.sum(|core| &core.clients_waiting),
                self.setting_in_force(Changeable::Clients),
            ),
            bound(
                "CACHE_CAPACITY",
                self.sum(|core| &core.claims_settled),
                setup.cache_capacity,
            ),
        ];
        for (processor, _) in breakers.iter() {
            bounds.push(bound(
                &format!("UPSTREAM_CONCURRENCY, {}", processor.name()),
                self.sum(|core| core.attempts_in_flight.get(processor)),
                self.setting_in_force(Changeable::Attempts),
            ));
        }
        let (used, limit) = self.process.descriptors();
        bounds.push(Bound {
            name: "file descriptors".to_owned(),
            used,
            limit,
        });
        bounds
    }

    fn journal_status(&self, now: Mono) -> Option<JournalStatus> {
        if [JournalMode::Off, JournalMode::Store].contains(&self.setup.journal) {
            return None;
        }
        Some(JournalStatus {
            sync: self.setup.journal.name(),
            sync_p99_us: self.forced_p99_us(now),
            free_bytes: self.journal_free(),
            disk_bytes: self.sum(|core| &core.journal_disk_bytes),
            lag_records: self.sum(|core| &core.journal_lag),
            next_segment_missing: self.sum(|core| &core.journal_next_missing),
            failures: self.sum(|core| &core.journal_failures),
        })
    }

    fn store_status(&self, now: Mono) -> Option<StoreStatus> {
        (self.setup.journal == JournalMode::Store).then(|| StoreStatus {
            silence_ms: self.store_silence_us() / 1_000,
            commit_p99_us: self.forced_p99_us(now),
            lag_records: self.sum(|core| &core.store.lag),
            open_payments: self.sum(|core| &core.store.open_rows),
            doubtful: self.sum(|core| &core.store.doubtful),
            adopted: self.sum(|core| &core.store.adopted),
            writers: self.sum(|core| &core.store.writers),
            lease_ms: self.store_lease_us() / 1_000,
            faults: self.sum(|core| &core.store.faults),
        })
    }

    fn forced_p99_us(&self, now: Mono) -> u64 {
        let recent = self.cores().map(|core| &core.forced_recent);
        Recent::new(recent, Span::Minute, now).quantile_us(990)
    }
}

/// Of moments and of a minute.
fn lately<'a>(cores: impl Iterator<Item = &'a Rolling> + Clone, now: Mono) -> [Lately; 2] {
    [Span::Moments, Span::Minute].map(|span| {
        let recent = Recent::new(cores.clone(), span, now);
        Lately {
            span_ms: recent.took_us / 1_000,
            counts: recent.classes,
            p50_us: recent.quantile_us(500),
            p99_us: recent.quantile_us(990),
        }
    })
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The order in which attempts are counted, for whom reads [`ProcessorStatus::attempts`].
const _: () = assert!(
    matches!(
        <Outcome as Label>::ALL,
        [
            Outcome::NotSent,
            Outcome::Refused,
            Outcome::Applied,
            Outcome::Unknown
        ]
    ),
    "the documented order"
);

#[cfg(test)]
mod tests;
