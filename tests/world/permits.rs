//! Breakers as they are seen from outside: an Open one lets nothing through, a HalfOpen one few.

use p99::testing::breaker::State;
use p99::testing::clock::Now;
use p99::testing::events::AttemptRef;
use p99::testing::payment::Processor;

use crate::simulation::World;

impl World {
    pub(crate) fn look_at_breakers(&mut self, now: Now) {
        for processor in self.plan.settings.processors.all() {
            let breaker = self.processors.breaker(processor);
            let is_open = breaker.state(now.mono) == State::Open;
            *self.open.get_mut(processor) = is_open.then(|| breaker.generation());
        }
    }

    /// What a processor is given falls by trouble alone, and a late charge is none.
    pub(crate) fn check_limits(&mut self) {
        for processor in self.plan.settings.processors.all() {
            let limit = self.processors.limit(processor).get();
            let before = self.limits.get_mut(processor).replace(limit);
            let is_troubled = std::mem::take(self.troubled.get_mut(processor));
            assert!(
                is_troubled || before.is_none_or(|before| before <= limit),
                "{} gets {limit} after {before:?}, and nothing was wrong",
                processor.name()
            );
            if before.is_some_and(|before| before > limit) {
                self.seen.insert("less in flight".to_owned());
            }
        }
    }

    /// An attempt starts: the breaker allows it, and probes are few.
    pub(crate) fn check_permit(&mut self, core: usize, attempt: AttemptRef, processor: Processor) {
        let now = self.now(core);
        let breaker = self.processors.breaker(processor);
        let generation = breaker.generation();
        assert_ne!(
            *self.open.get(processor),
            Some(generation),
            "an attempt at {} although its breaker was Open all the time",
            processor.name()
        );
        if breaker.state(now.mono) != State::HalfOpen {
            return;
        }
        let ttl = u64::try_from(self.plan.breaker.probe_ttl.as_micros()).unwrap();
        let cores = &self.cores;
        let probes = self.probes.get_mut(processor);
        probes.retain(|(of, core, attempt, since)| {
            *of == generation && now.mono.0 < since + ttl && cores[*core].is_out(*attempt)
        });
        probes.push((generation, core, attempt, now.mono.0));
        let most = usize::try_from(self.plan.breaker.probes).unwrap();
        assert!(probes.len() <= most, "I8: {} probes at once", probes.len());
    }
}
