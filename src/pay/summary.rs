//! One line a minute about all payments, instead of one for each turn of a breaker: what was
//! answered, how fast, what is pending, and how the processors are. A minute in which nothing
//! happened has none. Core 0 logs it for all.

use std::cell::Cell;

use log::kv::Value;

use super::CoreRuntime;
use crate::breaker::State;
use crate::clock::{Mono, Now};
use crate::limits;
use crate::logging;
use crate::metrics::Tally;
use crate::payment::PerProcessor;

/// What the last line was about.
#[derive(Debug, Default)]
pub(super) struct Summary {
    due: Cell<Mono>,
    tally: Cell<Tally>,
    /// How often each breaker had opened.
    opened: Cell<PerProcessor<u64>>,
}

impl CoreRuntime {
    /// Logs a line when one is due and there is something to tell.
    pub(super) fn summarise(&self, now: Now) {
        let summary = &self.summary;
        if now.mono < summary.due.get() {
            return;
        }
        let is_first = summary.due.get() == Mono::default();
        summary.due.set(now.mono.after(limits::SUMMARY_INTERVAL));
        let metrics = &self.shared.metrics;
        let count = self.config.upstream.count();
        let mut opened = PerProcessor::default();
        for processor in count.all() {
            let breaker = self.shared.processors.breaker(processor);
            let to_open = breaker.transitions().into_iter();
            let to_open = to_open.filter(|(moved, _)| moved.to == State::Open);
            *opened.get_mut(processor) = to_open.map(|(_, count)| count).sum();
        }
        let now_all = metrics.tally();
        let done = now_all.since(summary.tally.replace(now_all));
        let before = summary.opened.replace(opened);
        let pending = metrics.pending();
        if is_first || (done == Tally::default() && opened == before && pending == 0) {
            return;
        }
        let [median, p99] = metrics.latencies_us(now.mono);
        let names: Vec<[String; 2]> = count
            .all()
            .map(|one| ["breaker", "opened"].map(|what| format!("{}_{what}", one.name())))
            .collect();
        let mut fields: Vec<(&str, Value<'_>)> = vec![
            ("payments", done.answered.into()),
            ("charged", done.charged.into()),
            ("accepted", done.accepted.into()),
            ("duplicates", done.duplicates.into()),
            ("refused", done.refused.into()),
            ("unavailable", done.unavailable.into()),
            ("pending", pending.into()),
            ("p50_us", median.into()),
            ("p99_us", p99.into()),
        ];
        for (processor, [breaker, times]) in count.all().zip(&names) {
            let state = self.shared.processors.breaker(processor).state(now.mono);
            let state = match state {
                State::Closed => "closed",
                State::Open => "open",
                State::HalfOpen => "half_open",
            };
            let more = opened.get(processor) - before.get(processor);
            fields.push((breaker, state.into()));
            fields.push((times, more.into()));
        }
        logging::tell("p99::summary", "the last minute", &fields.as_slice());
    }
}
