//! The `p99_` set: base units, `_total` on counters, every label value there from the start, so
//! that `promtool check metrics` finds nothing to say.

use std::time::Duration;

use crate::clock::Mono;
use crate::logging;
use crate::payment::{Configured, Outcome, Processor};

use super::cells::{Cell, Label};
use super::met::Met;
use super::page::{Kind, Page};
use super::rolling::{Recent, Span};
use super::sums::PROCESSOR;
use super::{
    BreakerReading, Changeable, Driver, FileReading, JournalMode, Metrics, Reading, Route,
    StatusCode, Transition,
};

impl Metrics {
    pub(super) fn render_families(&self, now: Mono, reading: &Reading, page: &mut Page<'_>) {
        self.render_requests(page);
        self.render_payments(now, page);
        self.render_ledger(page);
        self.render_attempts(now, page);
        render_breakers(now, &reading.breakers, page);
        self.render_upstream(page);
        self.render_cores(page);
        self.render_journal(page);
        self.render_store(page);
        self.books.render(now, page);
        self.settings.render(page);
        self.render_instance(reading.is_serving, page);
        let help = "For how long an id is known after it settled, at the last minute's rate.";
        page.begin(Kind::Gauge, "p99_cache_reach_seconds", help);
        page.sample(&[], self.cache_reach(now).as_secs());
    }

    /// CACHE_TTL_SECONDS, or less where CACHE_CAPACITY is taken up sooner than that. The store
    /// keeps every id for its time.
    fn cache_reach(&self, now: Mono) -> Duration {
        let cores = self.cores().map(|core| &core.payments_recent);
        let recent = Recent::new(cores, Span::Minute, now);
        let taken = [Met::Charged, Met::Accepted].map(|met| recent.classes[met.index()]);
        let taken: u64 = taken.iter().sum();
        if self.setup.journal == JournalMode::Store || taken == 0 {
            return self.setup.cache_ttl;
        }
        let capacity = u128::try_from(self.setup.cache_capacity).unwrap_or(u128::MAX);
        let reach_us = capacity.saturating_mul(u128::from(recent.took_us)) / u128::from(taken);
        let reach = Duration::from_micros(u64::try_from(reach_us).unwrap_or(u64::MAX));
        reach.min(self.setup.cache_ttl)
    }

    fn render_requests(&self, page: &mut Page<'_>) {
        let help = "Requests answered, by route and status code.";
        page.begin(Kind::Counter, "p99_requests_total", help);
        let pairs = Route::ALL.iter().flat_map(|route| {
            let statuses = StatusCode::ALL.iter();
            statuses.map(move |status| (*route, *status))
        });
        for (route, status) in pairs {
            let count = self.sum(|core| core.requests.get(route).get(status));
            if count > 0 || status.is_of(route) {
                let labels = [("route", route.name()), ("status", status.name())];
                page.sample(&labels, count);
            }
        }
        let help = "Time from a request's first byte to its answer, by route.";
        page.begin(Kind::Histogram, "p99_request_duration_seconds", help);
        for route in Route::ALL {
            let histograms = self.cores().map(|core| core.request_duration.get(*route));
            page.histogram(Some(("route", route.name())), histograms);
        }
        let unanswered = "Requests that were read and got no answer, by reason.";
        let shed = "Payments answered 503 before they were claimed, by reason.";
        let limited = "Requests beyond a client's rate.";
        self.totals(
            page,
            ("p99_requests_unanswered_total", unanswered, "reason"),
            |core| &core.unanswered,
        );
        self.totals(page, ("p99_shed_total", shed, "reason"), |core| &core.sheds);
        self.total(page, ("p99_rate_limited_total", limited), |core| {
            &core.rate_limited
        });
        let unknown = "Requests under RATE_LIMIT_RPS whose client's address could not be told.";
        self.total(page, ("p99_clients_unknown_total", unknown), |core| {
            &core.clients_unknown
        });
        let open = "Open client connections.";
        let accepted = "Client connections accepted.";
        let failures = "Accepts that failed.";
        self.gauge(page, ("p99_connections_open", open), |core| {
            &core.connections_open
        });
        self.total(page, ("p99_connections_accepted_total", accepted), |core| {
            &core.connections_accepted
        });
        self.total(page, ("p99_accept_failures_total", failures), |core| {
            &core.accept_failures
        });
        let closed = "Client connections that ended, by reason.";
        self.totals(
            page,
            ("p99_connections_closed_total", closed, "reason"),
            |core| &core.connections_closed,
        );
    }

    fn render_payments(&self, now: Mono, page: &mut Page<'_>) {
        let pending = "Payments not settled yet.";
        let queue = "Unsettled payments without a waiting client.";
        let waiting = "Clients that wait for an outcome.";
        let settled = "Settled ids that are remembered.";
        self.gauge(page, ("p99_payments_pending", pending), |core| {
            &core.payments_pending
        });
        self.gauge(page, ("p99_queue_length", queue), |core| &core.queue_length);
        self.gauge(page, ("p99_clients_waiting", waiting), |core| {
            &core.clients_waiting
        });
        self.gauge(page, ("p99_claims_settled", settled), |core| {
            &core.claims_settled
        });
        let help = "Age of the oldest payment that is not settled yet.";
        page.begin(Kind::Gauge, "p99_payments_pending_oldest_age_seconds", help);
        page.seconds(&[], self.oldest_pending_us(now));
        let duplicates = "Payments whose id was known, by its status.";
        let dropped = "Settled ids that were forgotten, by reason.";
        self.totals(
            page,
            ("p99_duplicates_total", duplicates, "status"),
            |core| &core.duplicates,
        );
        self.totals(
            page,
            ("p99_claims_dropped_total", dropped, "reason"),
            |core| &core.claims_dropped,
        );
    }

    /// Processors that are configured, or that earlier settings charged at.
    fn with_ledger(&self) -> impl Iterator<Item = Processor> {
        let configured = self.setup.processors.set();
        let is_shown = move |one: &Processor| {
            configured.has(*one) || self.sum(|core| &core.ledger.get(*one).payments) > 0
        };
        Processor::ALL.into_iter().filter(is_shown)
    }

    fn render_ledger(&self, page: &mut Page<'_>) {
        page.begin(
            Kind::Gauge,
            "p99_ledger_payments",
            "Payments in the ledger, by processor.",
        );
        for processor in self.with_ledger() {
            let count = self.sum(|core| &core.ledger.get(processor).payments);
            page.sample(&[(PROCESSOR, processor.name())], count);
        }
        page.begin(
            Kind::Gauge,
            "p99_ledger_amount",
            "Money in the ledger, by processor.",
        );
        for processor in self.with_ledger() {
            let cents = self.sum(|core| &core.ledger.get(processor).cents);
            page.money(&[(PROCESSOR, processor.name())], cents);
        }
    }

    fn render_attempts(&self, now: Mono, page: &mut Page<'_>) {
        let help = "Ended attempts, by processor and outcome.";
        page.begin(Kind::Counter, "p99_attempts_total", help);
        for (processor, outcome) in self.pairs::<Outcome>() {
            let labels = [(PROCESSOR, processor.name()), ("outcome", outcome.name())];
            page.sample(
                &labels,
                self.sum(|core| core.attempts.get(processor).get(outcome)),
            );
        }
        let help = "Time from an attempt's first byte to its end, by processor.";
        page.begin(Kind::Histogram, "p99_attempt_duration_seconds", help);
        for processor in self.setup.processors.all() {
            let histograms = self
                .cores()
                .map(|core| core.attempt_duration.get(processor));
            page.histogram(Some((PROCESSOR, processor.name())), histograms);
        }
        let help = "How long ago an attempt failed last, by processor; 0 before the first.";
        page.begin(Kind::Gauge, "p99_attempt_fault_age_seconds", help);
        for processor in self.setup.processors.all() {
            let fault = self.last_fault(processor);
            let age = fault.map_or(0, |(at, _)| now.0.saturating_sub(at.0));
            page.seconds(&[(PROCESSOR, processor.name())], age);
        }
        let in_flight = "Attempts in flight, by processor.";
        let late = "Answers read after their attempt had become Unknown, by processor.";
        let resends = "Attempts that repeat one with unknown outcome, by processor.";
        let hedges = "Hedges, by what became of them.";
        let reads = "Connections on which a late answer is awaited.";
        let dropped = "Late answers given up because too many were awaited.";
        self.gauges(
            page,
            ("p99_attempts_in_flight", in_flight, PROCESSOR),
            |core| &core.attempts_in_flight,
        );
        self.totals(page, ("p99_late_answers_total", late, PROCESSOR), |core| {
            &core.late_answers
        });
        self.gauge(page, ("p99_late_reads", reads), |core| &core.late_reads);
        self.total(page, ("p99_late_reads_dropped_total", dropped), |core| {
            &core.late_reads_dropped
        });
        self.totals(page, ("p99_resends_total", resends, PROCESSOR), |core| {
            &core.resends
        });
        self.totals(page, ("p99_hedges_total", hedges, "event"), |core| {
            &core.hedges
        });
        let lookups = "Lookups of an id at a processor, by answer.";
        self.totals2(page, ("p99_lookups_total", lookups, "answer"), |core| {
            &core.lookups
        });
    }

    fn render_upstream(&self, page: &mut Page<'_>) {
        let connects = "Connections to processors that were tried, by result.";
        let open = "Open connections to processors, idle ones included.";
        let idle = "Idle connections to processors.";
        let name = "p99_upstream_connects_total";
        self.totals2(page, (name, connects, "result"), |core| &core.connects);
        self.gauges(
            page,
            ("p99_upstream_connections_open", open, PROCESSOR),
            |core| &core.upstream_open,
        );
        self.gauges(
            page,
            ("p99_upstream_connections_idle", idle, PROCESSOR),
            |core| &core.upstream_idle,
        );
        let held = "Payments in doubt that wait until their processor's address is listed again, \
                    proven or confirmed.";
        self.gauges(page, ("p99_payments_held_back", held, PROCESSOR), |core| {
            &core.payments_held_back
        });
        let help = "Name resolutions that failed, by processor.";
        page.begin(Kind::Counter, "p99_resolution_failures_total", help);
        for processor in self.setup.processors.all() {
            let failures = self.resolution_failures.get(processor).get();
            page.sample(&[(PROCESSOR, processor.name())], failures);
        }
        let help =
            "Readings of a processor's files that found something else or a fault, by result.";
        page.begin(Kind::Counter, "p99_upstream_file_readings_total", help);
        for (processor, result) in self.pairs::<FileReading>() {
            let labels = [(PROCESSOR, processor.name()), ("result", result.name())];
            let count = self.file_readings.get(processor).get(result).get();
            page.sample(&labels, count);
        }
        let help = "Calls to peers, by result.";
        self.totals(page, ("p99_peer_calls_total", help, "result"), |core| {
            &core.peer_calls
        });
    }

    fn render_cores(&self, page: &mut Page<'_>) {
        let hand_overs = "Payments handed to their owner core.";
        let failures = "Hand-overs that came to nothing, by reason.";
        self.total(page, ("p99_hand_overs_total", hand_overs), |core| {
            &core.hand_overs
        });
        self.totals(
            page,
            ("p99_hand_over_failures_total", failures, "reason"),
            |core| &core.hand_over_failures,
        );
        let help = "Turns of each core's event loop; one that does not turn is stuck.";
        page.begin(Kind::Counter, "p99_core_turns_total", help);
        self.each_core(|number, core| page.sample(&[("core", number)], core.turns.get()));
        let help = "Gaps in which a core wanted to run and could not.";
        page.begin(Kind::Counter, "p99_core_stalls_total", help);
        self.each_core(|number, core| page.sample(&[("core", number)], core.stalls.get()));
        let help = "The length of these gaps.";
        page.begin(Kind::Counter, "p99_core_stalled_seconds_total", help);
        self.each_core(|number, core| page.seconds(&[("core", number)], core.stalled_us.get()));
        page.begin(
            Kind::Gauge,
            "p99_driver_info",
            "1 for the event loop that the cores run on.",
        );
        for driver in Driver::ALL {
            let cores = self.sum(|core| core.driver.get(*driver));
            page.sample(&[("driver", driver.name())], cores.min(1));
        }
    }

    fn render_instance(&self, is_serving: bool, page: &mut Page<'_>) {
        let setup = &self.setup;
        for (name, help, limit) in [
            (
                "p99_queue_capacity",
                "QUEUE_CAPACITY.",
                setup.queue_capacity,
            ),
            (
                "p99_cache_capacity",
                "CACHE_CAPACITY.",
                setup.cache_capacity,
            ),
            (
                "p99_concurrency_limit",
                "CONCURRENCY_LIMIT, as it holds.",
                self.setting_in_force(Changeable::Clients),
            ),
            (
                "p99_upstream_concurrency",
                "UPSTREAM_CONCURRENCY, as it holds.",
                self.setting_in_force(Changeable::Attempts),
            ),
            ("p99_cores", "Worker cores.", self.cores.len()),
        ] {
            page.begin(Kind::Gauge, name, help);
            page.sample(&[], u64::try_from(limit).unwrap_or(u64::MAX));
        }
        let help = "1 while /readyz answers 200 on every core.";
        page.begin(Kind::Gauge, "p99_ready", help);
        let is_fit = self.cores().all(|core| core.fit.get() == 1);
        page.sample(&[], u64::from(is_serving && is_fit));
        let help = "Log lines dropped because their writer was behind.";
        page.begin(Kind::Counter, "p99_log_lines_dropped_total", help);
        page.sample(&[], logging::lines_dropped());
        page.begin(
            Kind::Gauge,
            "p99_build_info",
            "1, with the version of this build.",
        );
        page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    }
}

fn render_breakers(now: Mono, breakers: &Configured<BreakerReading>, page: &mut Page<'_>) {
    let help = "0 Closed, 1 Open, 2 HalfOpen, by processor.";
    page.begin(Kind::Gauge, "p99_breaker_state", help);
    for (processor, breaker) in breakers.iter() {
        page.sample(&[(PROCESSOR, processor.name())], breaker.state);
    }
    let help = "How long the breaker has been in this state, by processor.";
    page.begin(Kind::Gauge, "p99_breaker_state_age_seconds", help);
    for (processor, breaker) in breakers.iter() {
        let age = now.0.saturating_sub(breaker.since.0);
        page.seconds(&[(PROCESSOR, processor.name())], age);
    }
    let help = "Attempts that may be in flight now, by processor; adapts to its answers.";
    page.begin(Kind::Gauge, "p99_attempts_in_flight_limit", help);
    for (processor, breaker) in breakers.iter() {
        page.sample(&[(PROCESSOR, processor.name())], breaker.limit);
    }
    let help = "1 while an operator has paused the processor.";
    page.begin(Kind::Gauge, "p99_processor_paused", help);
    for (processor, breaker) in breakers.iter() {
        page.sample(&[(PROCESSOR, processor.name())], breaker.paused);
    }
    let help = "Transitions of the breakers.";
    page.begin(Kind::Counter, "p99_breaker_transitions_total", help);
    for (processor, breaker) in breakers.iter() {
        for (transition, count) in Transition::ALL.iter().zip(breaker.transitions) {
            let (from, to) = transition.ends();
            page.sample(
                &[(PROCESSOR, processor.name()), ("from", from), ("to", to)],
                count,
            );
        }
    }
}
