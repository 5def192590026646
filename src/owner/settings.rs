//! The settings that an owner follows, one core's share of each bound worked out once.

use std::time::Duration;

use crate::breaker::BreakerSettings;
use crate::claims::Full;
use crate::concurrency::Bounds;
use crate::config::{Ack, AnswerAfter, CacheFull, Config, OnDuplicate, Routing, Upstream500};
use crate::payment::{CoreCount, PerProcessor, ProcessorCount};
use crate::route::Rules;

/// See the header of this file.
#[derive(Clone, Copy, Debug)]
pub struct OwnerSettings {
    /// How many processors there are.
    pub processors: ProcessorCount,
    /// ACK.
    pub ack: Ack,
    /// ROUTING.
    pub routing: Routing,
    /// ON_DUPLICATE.
    pub on_duplicate: OnDuplicate,
    /// UPSTREAM_500.
    pub upstream_500: Upstream500,
    /// REQUEST_TIMEOUT_MS.
    pub request_timeout: Duration,
    /// ATTEMPT_TIMEOUT_MS.
    pub attempt_timeout: Duration,
    /// SETTLE_TIMEOUT_MS.
    pub settle_timeout: Duration,
    /// HEDGE_DELAY_MS.
    pub hedge_delay: Duration,
    /// FALLBACK_AFTER_MS.
    pub fallback_after: Duration,
    /// This core's share of CONCURRENCY_LIMIT.
    pub waiting_max: usize,
    /// This core's share of QUEUE_CAPACITY.
    pub queue_max: usize,
    /// This core's share of the late reads.
    pub late_max: usize,
    /// This core's share of CACHE_CAPACITY.
    pub claims_max: usize,
    /// CACHE_TTL_SECONDS.
    pub claims_ttl: Duration,
    /// CACHE_FULL; always [`Full::Forget`] where a store keeps the ids.
    pub claims_full: Full,
    /// LEDGER_EXACT_HOURS.
    pub ledger_exact: Duration,
    /// How each processor is known as the one that a payment went to (I10).
    pub identity: PerProcessor<Identity>,
    /// ANSWER_AFTER.
    pub answer_after: AnswerAfter,
    /// JOURNAL_DIR is set: nothing is sent, told or promised before a record of it is durable (I5).
    pub journal: Journalling,
}

/// What tells one processor from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// Its address, as long as the name shows it.
    #[default]
    ByAddress,
    /// The name that its certificate proves, at any address.
    ByName,
}

/// Whether records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journalling {
    /// No JOURNAL_DIR: memory only.
    Off,
    /// Every record is awaited but the Verdict of a charge, unless ANSWER_AFTER says so.
    On,
    /// STORE is set: likewise, but an id may be another instance's, another instance may take over
    /// what is here, and the store may be away for a while.
    Store,
}

impl OwnerSettings {
    /// One core's share of `config`.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let share = |total: usize| share(total, config.cores);
        Self {
            processors: config.upstream.count(),
            ack: config.ack,
            routing: config.routing,
            on_duplicate: config.on_duplicate,
            upstream_500: config.upstream_500,
            request_timeout: config.request_timeout,
            attempt_timeout: config.attempt_timeout,
            settle_timeout: config.settle_timeout,
            hedge_delay: config.hedge_delay,
            fallback_after: config.fallback_after,
            waiting_max: share(config.concurrency_limit),
            queue_max: share(config.queue_capacity),
            late_max: share(config.late_reads_max),
            claims_max: share(config.cache_capacity),
            claims_ttl: config.cache_ttl,
            claims_full: match (config.cache_full, &config.store) {
                (CacheFull::Refuse, None) => Full::Keep,
                (CacheFull::Refuse, Some(_)) | (CacheFull::Forget, _) => Full::Forget,
            },
            ledger_exact: config.ledger_exact,
            identity: PerProcessor::from_fn(|processor| match config.upstream.find(processor) {
                Some(one) if one.url.is_https() => Identity::ByName,
                Some(_) | None => Identity::ByAddress,
            }),
            answer_after: config.answer_after,
            journal: match (&config.store, &config.journal) {
                (Some(_), _) => Journalling::Store,
                (None, Some(_)) => Journalling::On,
                (None, None) => Journalling::Off,
            },
        }
    }

    /// Whether other instances work on the same payments.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.journal == Journalling::Store
    }

    /// What routing needs of them.
    #[must_use]
    pub const fn rules(&self) -> Rules {
        Rules {
            routing: self.routing,
            ack: self.ack,
            patience: self.hedge_delay,
            fallback_after: self.fallback_after,
        }
    }
}

/// An equal share of `total` for each of `cores`, rounded up and never zero.
#[must_use]
pub(crate) fn share(total: usize, cores: CoreCount) -> usize {
    total.div_ceil(usize::from(cores.0.max(1))).max(1)
}

/// What bounds the attempts in flight at each processor, by `config`.
#[must_use]
pub fn concurrency_bounds(config: &Config) -> Bounds {
    Bounds::new(config.upstream_concurrency, config.cores.0)
}

/// The breakers' settings in `config`.
#[must_use]
pub fn breaker_settings(config: &Config) -> BreakerSettings {
    BreakerSettings {
        failure_per_mille: config.breaker.failure_rate.0,
        min_samples: config.breaker.samples_min,
        open: config.breaker.open,
        window: config.breaker.window,
        probes: config.breaker.half_open_probes,
        probe_ttl: config.attempt_timeout,
    }
}
