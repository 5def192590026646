//! What operators see first has no number that the metrics page does not have.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::clock::UnixMillis;
use crate::metrics::{Answered, MetricsSetup, Route};
use crate::payment::{CoreCount, CoreId, ProcessorCount};

/// Each number, and the metric that it is or follows from.
const NUMBERS: &[(&str, &str)] = &[
    ("bounds.limit", "p99_queue_capacity"),
    ("bounds.used", "p99_queue_length"),
    ("journal.disk_bytes", "p99_journal_disk_bytes"),
    ("journal.failures", "p99_journal_failures_total"),
    ("journal.free_bytes", "p99_journal_free_bytes"),
    ("journal.lag_records", "p99_journal_lag_records"),
    (
        "journal.next_segment_missing",
        "p99_journal_next_segment_missing",
    ),
    ("journal.sync_p99_us", "p99_journal_sync_duration_seconds"),
    ("payments.counts", "p99_requests_total"),
    ("payments.p50_us", "p99_request_duration_seconds"),
    ("payments.p99_us", "p99_request_duration_seconds"),
    ("payments.span_ms", "process_start_time_seconds"),
    ("pending.count", "p99_payments_pending"),
    (
        "pending.oldest_ms",
        "p99_payments_pending_oldest_age_seconds",
    ),
    ("processors.attempts.counts", "p99_attempts_total"),
    ("processors.attempts.p50_us", "p99_attempt_duration_seconds"),
    ("processors.attempts.p99_us", "p99_attempt_duration_seconds"),
    ("processors.attempts.span_ms", "process_start_time_seconds"),
    ("processors.breaker", "p99_breaker_state"),
    ("processors.breaker_age_ms", "p99_breaker_state_age_seconds"),
    ("processors.fault_age_ms", "p99_attempt_fault_age_seconds"),
    ("processors.in_flight", "p99_attempts_in_flight"),
    ("processors.limit", "p99_attempts_in_flight_limit"),
    ("store.adopted", "p99_store_adopted_writers_total"),
    ("store.commit_p99_us", "p99_store_commit_duration_seconds"),
    ("store.doubtful", "p99_store_doubtful_batches_total"),
    ("store.faults", "p99_store_faults_total"),
    ("store.lag_records", "p99_store_lag_records"),
    ("store.lease_ms", "p99_store_lease_seconds"),
    ("store.open_payments", "p99_store_open_payments"),
    ("store.silence_ms", "p99_store_silence_seconds"),
    ("store.writers", "p99_store_writers"),
];

/// What each bound is a part of, and what it is.
const BOUNDS: &[(&str, &str, &str)] = &[
    ("QUEUE_CAPACITY", "p99_queue_length", "p99_queue_capacity"),
    (
        "CONCURRENCY_LIMIT",
        "p99_clients_waiting",
        "p99_concurrency_limit",
    ),
    ("CACHE_CAPACITY", "p99_claims_settled", "p99_cache_capacity"),
    (
        "UPSTREAM_CONCURRENCY, default",
        "p99_attempts_in_flight",
        "p99_upstream_concurrency",
    ),
    (
        "UPSTREAM_CONCURRENCY, fallback",
        "p99_attempts_in_flight",
        "p99_upstream_concurrency",
    ),
    ("file descriptors", "process_open_fds", "process_max_fds"),
];

const NOW: Mono = Mono(8_000_000);

fn metrics(journal: JournalMode) -> Metrics {
    Metrics::new(MetricsSetup {
        cores: CoreCount(2),
        started: UnixMillis(1_000),
        journal,
        queue_capacity: 10,
        processors: ProcessorCount::try_new(2).unwrap(),
        cache_capacity: 20,
        cache_ttl: Duration::from_secs(86_400),
        concurrency_limit: 30,
        upstream_concurrency: 40,
    })
}

fn reading() -> Reading {
    let breaker = |_| BreakerReading {
        state: 1,
        limit: 32,
        paused: 0,
        since: Mono(6_500_000),
        transitions: [1, 0, 0, 0],
    };
    Reading {
        breakers: Configured::new(ProcessorCount::try_new(2).unwrap(), breaker),
        is_serving: true,
    }
}

fn numbers(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Number(_) => {
            found.insert(path.to_owned());
        }
        Value::Array(all) => all.iter().for_each(|one| numbers(one, path, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                numbers(value, &format!("{path}{dot}{name}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[test]
fn every_number_is_a_metric_too() {
    let mut found = BTreeSet::new();
    for journal in [JournalMode::Always, JournalMode::Store] {
        let metrics = metrics(journal);
        let core = metrics.core(CoreId(1)).unwrap();
        core.attempt_failed(Processor::DEFAULT, Fault::Cut, NOW);
        let status = metrics.status(NOW, &reading());
        numbers(&serde_json::to_value(&status).unwrap(), "", &mut found);
        has_each_family(&metrics, &status);
    }
    let known: BTreeSet<String> = NUMBERS.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(found, known);
}

fn has_each_family(metrics: &Metrics, status: &InstanceStatus) {
    let shown: Vec<&str> = status
        .bounds
        .iter()
        .map(|bound| bound.name.as_str())
        .collect();
    assert_eq!(
        shown,
        BOUNDS.iter().map(|(name, ..)| *name).collect::<Vec<_>>()
    );
    let mut page = Vec::new();
    metrics.render(NOW, &reading(), &mut page);
    let page = String::from_utf8(page).unwrap();
    let families = NUMBERS.iter().map(|(_, family)| family);
    let families = families.chain(BOUNDS.iter().flat_map(|(_, used, limit)| [used, limit]));
    for family in families {
        assert!(page.contains(&format!("# TYPE {family} ")), "{family}");
    }
}

#[test]
fn what_was_counted_lately_is_told_by_kind_with_its_latencies() {
    let metrics = metrics(JournalMode::Always);
    let core = metrics.core(CoreId(0)).unwrap();
    for status in [200, 200, 202, 409, 503] {
        let took = Duration::from_millis(4);
        let route = Route::Payments;
        core.answered(
            Answered {
                route,
                status,
                took,
            },
            NOW,
        );
    }
    core.attempt_ended(
        Processor::FALLBACK,
        Outcome::Unknown,
        Duration::from_millis(90),
        NOW,
    );
    core.attempt_ended(Processor::FALLBACK, Outcome::NotSent, Duration::ZERO, NOW);
    core.attempt_failed(Processor::FALLBACK, Fault::Timeout, Mono(7_000_000));
    core.fit.set(1);
    let status = metrics.status(NOW, &reading());
    assert!(!status.is_ready, "the other core is not");
    let [moments, minute] = status.payments;
    assert_eq!(
        (moments.counts, minute.counts),
        ([2, 1, 1, 1], [2, 1, 1, 1])
    );
    assert_eq!((moments.span_ms, minute.span_ms), (8_000, 8_000));
    assert!(moments.p99_us.abs_diff(4_000) < 200, "{moments:?}");
    let [default, fallback] = &status.processors[..] else {
        panic!("{status:?}");
    };
    assert_eq!((default.fault.as_str(), default.fault_age_ms), ("", None));
    assert_eq!(fallback.attempts[0].counts, [1, 0, 0, 1]);
    assert!(
        fallback.attempts[0].p50_us.abs_diff(90_000) < 3_000,
        "the one that was sent"
    );
    assert_eq!(fallback.fault, "no answer within ATTEMPT_TIMEOUT_MS");
    assert_eq!(
        (fallback.fault_age_ms, fallback.breaker_age_ms),
        (Some(1_000), 1_500)
    );
}
