//! What is shown of the whole instance: the metrics page, and how operators see it. Every core
//! writes its gauges first, in a turn of its own; one that is stuck is shown as it last was.

use super::CoreRuntime;
use super::messages::{CoreRequest, Reply};
use crate::metrics::{BreakerReading, ClaimDropped, Event, InstanceStatus, Reading};
use crate::owner::Unsettled;
use crate::payment::{Configured, Processor};
use std::time::Duration;

/// How long the metrics page waits for a core to write its gauges; then it shows what that core
/// wrote last. A core that is silent for longer is shown as not ready anyway.
const SHOW_PATIENCE: Duration = Duration::from_secs(1);
/// How many of the oldest unsettled payments operators are shown: one screen.
const PENDING_SHOWN: usize = 20;

impl CoreRuntime {
    /// Appends the metrics page.
    pub(crate) async fn render_metrics(&self, is_serving: bool, out: &mut Vec<u8>) {
        self.gather_oldest(0).await;
        let now = self.now().mono;
        let reading = self.reading(is_serving);
        self.shared.metrics.render(now, &reading, out);
    }

    /// How the instance is, and its oldest unsettled payments, oldest first.
    pub(crate) async fn overview(&self, is_serving: bool) -> (InstanceStatus, Vec<Unsettled>) {
        let oldest = self.gather_oldest(PENDING_SHOWN).await;
        let status = self
            .shared
            .metrics
            .status(self.now().mono, &self.reading(is_serving));
        (status, oldest)
    }

    /// What happened last, the newest first.
    #[must_use]
    pub(crate) fn events(&self) -> Vec<Event> {
        self.shared.metrics.events.newest()
    }

    /// Has every core write its gauges, and gathers what is oldest of all.
    async fn gather_oldest(&self, count: usize) -> Vec<Unsettled> {
        let deadline = self.now().mono.after(SHOW_PATIENCE);
        let asked = self.ask_others_until(deadline, |key| CoreRequest::Show(key, count));
        self.show_gauges();
        let mut oldest = self.owner.borrow().oldest(count);
        for key in asked.unwrap_or_default() {
            if let Some(Reply::Shown(others)) = self.replies.take(key).await {
                oldest.extend(others);
            }
        }
        oldest.sort_unstable_by_key(|pending| pending.arrived);
        oldest.truncate(count);
        oldest
    }

    pub(super) fn show_gauges(&self) {
        let owner = self.owner.borrow();
        let gauges = owner.gauges();
        let metrics = &self.metrics;
        metrics.fit.set(u64::from(self.is_fit()));
        metrics.payments_pending.set_len(gauges.pending);
        metrics.clients_waiting.set_len(gauges.clients_waiting);
        metrics
            .queue_length
            .set_len(gauges.pending.saturating_sub(gauges.clients_waiting));
        metrics.claims_settled.set_len(gauges.settled_claims);
        let dropped = [
            (ClaimDropped::Expired, gauges.forgotten.expired),
            (ClaimDropped::Evicted, gauges.forgotten.evicted),
            (ClaimDropped::Purged, gauges.forgotten.purged),
        ];
        for (reason, count) in dropped {
            metrics.claims_dropped.get(reason).show(count);
        }
        metrics.late_reads.set_len(gauges.late);
        metrics.set_oldest_pending(gauges.oldest);
        let totals = owner.ledger_totals();
        for processor in Processor::ALL {
            metrics.set_ledger(processor, *totals.get(processor));
        }
        let held_back = owner.held_back();
        for (processor, _) in self.config.upstream.iter() {
            let held = *held_back.get(processor);
            metrics.payments_held_back.get(processor).set_len(held);
            metrics
                .attempts_in_flight
                .get(processor)
                .set_len(*gauges.in_flight.get(processor));
            let (idle, open) = self.upstream.connections(processor);
            metrics.upstream_idle.get(processor).set_len(idle);
            metrics.upstream_open.get(processor).set_len(open);
        }
        if let Some(store) = &self.store {
            store.show(metrics);
        }
        if let Some(writer) = &self.writer {
            metrics
                .journal_lag
                .set(writer.last().saturating_sub(writer.durable()));
            metrics.journal_disk_bytes.set(writer.disk().bytes());
            metrics.journal_free_bytes.set(writer.disk().free_bytes());
            metrics
                .journal_next_missing
                .set(u64::from(writer.disk().is_next_missing()));
        }
    }

    fn reading(&self, is_serving: bool) -> Reading {
        let now = self.now().mono;
        let breaker = |processor| {
            let breaker = self.shared.processors.breaker(processor);
            BreakerReading {
                state: u64::from(breaker.state(now).gauge()),
                limit: u64::from(self.shared.processors.limit(processor).get()),
                paused: u64::from(self.shared.processors.is_paused(processor)),
                since: breaker.since(now),
                transitions: breaker.transitions().map(|(_, count)| count),
            }
        };
        Reading {
            breakers: Configured::new(self.config.upstream.count(), breaker),
            is_serving,
        }
    }
}
