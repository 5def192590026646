//! One line a minute about all payments, instead of one for each turn of a breaker: what was
//! answered, how fast, what is pending, and how the processors are. A minute in which nothing
//! happened has none. Core 0 logs it for all.

use std::cell::Cell;
use std::time::Duration;

use log::kv::Value;

use super::CoreRuntime;
use crate::breaker::State;
use crate::clock::{Mono, Now};
use crate::logging;
use crate::metrics::{Metrics, Tally};
use crate::owner::Processors;
use crate::payment::{PerProcessor, ProcessorCount};

/// How often a line is logged about all payments: 1,440 a day of 300 bytes are 0.4 MB.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

/// What the last line was about.
#[derive(Debug, Default)]
pub(super) struct Summary {
    due: Cell<Mono>,
    tally: Cell<Tally>,
    /// How often each breaker had opened.
    opened: Cell<PerProcessor<u64>>,
}

/// The names and values of a line's fields, in their order.
type Fields = Vec<(String, Value<'static>)>;

impl CoreRuntime {
    /// Logs a line when one is due and there is something to tell.
    pub(super) fn summarise(&self, now: Now) {
        let shared = &self.shared;
        let count = self.config.upstream.count();
        let all = (&*shared.metrics, &*shared.processors);
        if let Some(fields) = self.summary.fields(now.mono, all, count) {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| (name.as_str(), value))
                .collect();
            logging::tell("p99::summary", "the last minute", &fields.as_slice());
        }
    }
}

impl Summary {
    /// What a line says when one is due and there is something to tell.
    fn fields(
        &self,
        now: Mono,
        (metrics, processors): (&Metrics, &Processors),
        count: ProcessorCount,
    ) -> Option<Fields> {
        if now < self.due.get() {
            return None;
        }
        let is_first = self.due.get() == Mono::default();
        self.due.set(now.after(SUMMARY_INTERVAL));
        let mut opened = PerProcessor::default();
        for processor in count.all() {
            let breaker = processors.breaker(processor);
            let to_open = breaker.transitions().into_iter();
            let to_open = to_open.filter(|(moved, _)| moved.to == State::Open);
            *opened.get_mut(processor) = to_open.map(|(_, count)| count).sum();
        }
        let now_all = metrics.tally();
        let done = now_all.since(self.tally.replace(now_all));
        let before = self.opened.replace(opened);
        let pending = metrics.pending();
        if is_first || (done == Tally::default() && opened == before && pending == 0) {
            return None;
        }
        let [median, p99] = metrics.latencies_us(now);
        let of_all = [
            ("payments", done.answered),
            ("charged", done.charged),
            ("accepted", done.accepted),
            ("duplicates", done.duplicates),
            ("refused", done.refused),
            ("unavailable", done.unavailable),
            ("pending", pending),
        ];
        // The window of the latencies is a little shorter: it may have seen none of these.
        let latencies = [("p50_us", median), ("p99_us", p99)];
        let latencies = latencies.into_iter().filter(|_| p99 > 0);
        let mut fields: Fields = of_all
            .into_iter()
            .chain(latencies)
            .map(|(name, number)| (name.to_owned(), number.into()))
            .collect();
        for processor in count.all() {
            let state = match processors.breaker(processor).state(now) {
                State::Closed => "closed",
                State::Open => "open",
                State::HalfOpen => "half_open",
            };
            let more = opened.get(processor) - before.get(processor);
            let name = processor.name();
            fields.push((format!("{name}_breaker"), state.into()));
            fields.push((format!("{name}_opened"), more.into()));
        }
        Some(fields)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::breaker::BreakerSettings;
    use crate::clock::UnixMillis;
    use crate::concurrency::Bounds;
    use crate::metrics::{Answered, JournalMode, MetricsSetup, Route};
    use crate::payment::{CoreCount, CoreId, Processor};

    /// What the summary reads, and the time.
    struct Minutes {
        summary: Summary,
        metrics: Metrics,
        processors: Processors,
        now: Mono,
    }

    fn two() -> ProcessorCount {
        ProcessorCount::try_new(2).unwrap()
    }

    impl Minutes {
        fn begin() -> Self {
            let metrics = Metrics::new(MetricsSetup {
                processors: two(),
                cores: CoreCount(2),
                started: UnixMillis(0),
                journal: JournalMode::Off,
                queue_capacity: 1,
                cache_capacity: 1,
                cache_ttl: Duration::from_secs(86_400),
                concurrency_limit: 1,
                upstream_concurrency: 1,
            });
            let breakers = BreakerSettings {
                failure_per_mille: 500,
                min_samples: 1,
                open: Duration::from_secs(5),
                window: Duration::from_secs(10),
                probes: 1,
                probe_ttl: Duration::from_secs(1),
            };
            let mut minutes = Self {
                summary: Summary::default(),
                metrics,
                processors: Processors::new(two(), breakers, Bounds::new(1, 2)),
                now: Mono(5_000_000),
            };
            assert_eq!(minutes.look(), None, "the start of the process");
            minutes
        }

        /// What a line says now.
        fn look(&mut self) -> Option<String> {
            let all = (&self.metrics, &self.processors);
            let fields = self.summary.fields(self.now, all, two())?;
            let words: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            Some(words.join(" "))
        }

        /// The same at the end of this minute; a moment earlier there is none.
        fn end(&mut self) -> Option<String> {
            self.now = Mono(self.summary.due.get().0 - 1);
            assert_eq!(self.look(), None, "it is not due");
            self.now = self.summary.due.get();
            self.look()
        }

        fn answer(&self, core: u16, statuses: &[u16]) {
            for status in statuses {
                let answer = Answered {
                    route: Route::Payments,
                    status: *status,
                    took: Duration::from_millis(2),
                };
                let at = self.now.after(SUMMARY_INTERVAL / 2);
                self.metrics
                    .core(CoreId(core))
                    .unwrap()
                    .answered(answer, at);
            }
        }

        fn set_pending(&self, count: usize) {
            let core = self.metrics.core(CoreId(1)).unwrap();
            core.payments_pending.set_len(count);
        }
    }

    const CALM: &str = " default_breaker=closed default_opened=0 \
                        fallback_breaker=closed fallback_opened=0";
    const NONE: &str = "payments=0 charged=0 accepted=0 duplicates=0 refused=0 unavailable=0";

    #[test]
    fn a_minute_says_what_was_answered_in_it_by_all_cores() {
        let mut minutes = Minutes::begin();
        minutes.answer(0, &[200, 200, 202, 409, 422]);
        minutes.answer(1, &[200, 502, 503, 503, 503, 400]);
        minutes.set_pending(7);
        let line = minutes.end().unwrap();
        let (counts, rest) = line.split_once(" p50_us=").unwrap();
        assert_eq!(
            counts,
            "payments=11 charged=3 accepted=1 duplicates=1 refused=2 unavailable=3 pending=7"
        );
        let (latencies, breakers) = rest.split_at(rest.find(" default").unwrap());
        let (median, p99) = latencies.split_once(" p99_us=").unwrap();
        for latency in [median, p99] {
            let micros: u64 = latency.parse().unwrap();
            assert!((1_800..2_200).contains(&micros), "{line}");
        }
        assert_eq!(breakers, CALM);
        // What was said is not said again.
        minutes.answer(0, &[409]);
        let line = minutes.end().unwrap();
        let rest = "payments=1 charged=0 accepted=0 duplicates=1 refused=0 unavailable=0 pending=7";
        assert!(line.starts_with(rest), "{line}");
    }

    #[test]
    fn a_minute_in_which_nothing_happened_has_no_line() {
        let mut minutes = Minutes::begin();
        assert_eq!(minutes.end(), None);
        minutes.set_pending(1);
        let waits = format!("{NONE} pending=1{CALM}");
        assert_eq!(minutes.end().as_deref(), Some(&*waits), "it waits");
        assert_eq!(minutes.end().as_deref(), Some(&*waits), "it still does");
        minutes.set_pending(0);
        assert_eq!(minutes.end(), None);
        // What a breaker did meanwhile is told with the minute in which it did.
        let breaker = minutes.processors.breaker(Processor::FALLBACK);
        let at = minutes.now.after(SUMMARY_INTERVAL / 2);
        let moved = breaker.rest(breaker.generation(), Duration::from_secs(60), at);
        assert_eq!(moved.unwrap().to, State::Open);
        let line = format!(
            "{NONE} pending=0 default_breaker=closed default_opened=0 \
             fallback_breaker=open fallback_opened=1"
        );
        assert_eq!(minutes.end().as_deref(), Some(&*line));
        assert_eq!(
            minutes.end(),
            None,
            "it stays open, and that is not told again"
        );
    }
}
