//! Which seeds, the settings of every shard, and the breakers of one process.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use p99::testing::breaker::BreakerSettings;
use p99::testing::claims::Full;
use p99::testing::concurrency::Bounds;
use p99::testing::config::{Ack, AnswerAfter, OnDuplicate, Routing, Upstream500};
use p99::testing::owner::{Journalling, OwnerSettings, Processors};
use p99::testing::payment::{PerProcessor, ProcessorCount};

use crate::luck::Luck;

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A quarter of those that the world of one instance has by the same variables: they are longer.
pub(crate) fn seeds() -> Range<u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse::<u64>().ok())
    };
    let first = number("WORLD_FIRST").unwrap_or(0);
    first..first + number("WORLD_SEEDS").map_or(64, |seeds| seeds.div_ceil(4))
}

pub(crate) fn settings(luck: &mut Luck) -> OwnerSettings {
    let ms = Duration::from_millis;
    OwnerSettings {
        processors: ProcessorCount::try_new(2).unwrap(),
        ack: luck.pick(&[Ack::Processed, Ack::Accepted]),
        routing: luck.pick(&[Routing::RoundRobin, Routing::Cheapest]),
        on_duplicate: OnDuplicate::Conflict,
        upstream_500: Upstream500::Ask,
        request_timeout: ms(50),
        attempt_timeout: ms(50),
        settle_timeout: ms(200),
        hedge_delay: ms(5),
        fallback_after: Duration::ZERO,
        waiting_max: 100,
        queue_max: 100,
        late_max: 8,
        claims_max: 1_000,
        claims_ttl: DAY,
        claims_full: Full::Forget,
        ledger_exact: DAY,
        identity: PerProcessor::default(),
        answer_after: luck.pick(&[AnswerAfter::Intent, AnswerAfter::Verdict]),
        journal: Journalling::On,
    }
}

pub(crate) fn processors() -> Arc<Processors> {
    let breaker = BreakerSettings {
        failure_per_mille: 300,
        min_samples: 10,
        open: Duration::from_millis(100),
        window: Duration::from_secs(1),
        probes: 1,
        probe_ttl: Duration::from_millis(50),
    };
    Arc::new(Processors::new(
        ProcessorCount::try_new(2).unwrap(),
        breaker,
        Bounds::new(8, 1),
    ))
}
