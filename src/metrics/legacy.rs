//! The names that earlier versions of the proxy had and dashboards know. They break Prometheus'
//! naming rules (units, `_total`), so they stand apart from the `p99_` set and get no company.

use crate::clock::Mono;
use crate::payment::{Configured, Processor};

use super::cells::{Cell, Label};
use super::page::{Kind, Page};
use super::rolling::{Recent, Span};
use super::{BreakerReading, Metrics, Route, StatusCode};

/// The quantiles of `payments_latency_ms`, in thousandths.
const QUANTILES: [(&str, u64); 4] = [("0.5", 500), ("0.95", 950), ("0.99", 990), ("0.999", 999)];

impl Metrics {
    pub(super) fn render_legacy(
        &self,
        now: Mono,
        breakers: &Configured<BreakerReading>,
        page: &mut Page<'_>,
    ) {
        self.render_latency(now, page);
        let answers =
            |code: StatusCode| self.sum(|core| core.requests.get(Route::Payments).get(code));
        let (good, bad): (Vec<StatusCode>, Vec<StatusCode>) =
            StatusCode::ALL.iter().partition(|code| code.is_success());
        page.begin(Kind::Counter, "payments_ok", "Payments answered with 2xx.");
        page.sample(&[], good.into_iter().map(answers).sum());
        page.begin(
            Kind::Counter,
            "payments_err",
            "Payments answered otherwise, by status code.",
        );
        for code in bad {
            let count = answers(code);
            if count > 0 || code.is_of(Route::Payments) {
                page.sample(&[("code", code.name())], count);
            }
        }
        for (processor, name) in [
            (Processor::DEFAULT, "circuit_breaker_a_status"),
            (Processor::FALLBACK, "circuit_breaker_b_status"),
        ] {
            if let Some(breaker) = breakers.find(processor) {
                page.begin(Kind::Gauge, name, "0 Closed, 1 Open, 2 HalfOpen.");
                page.sample(&[], breaker.state);
            }
        }
        let size = self.sum(|core| &core.claims_settled) + self.sum(|core| &core.payments_pending);
        page.begin(
            Kind::Gauge,
            "idempotency_cache_size",
            "Ids known, settled and pending.",
        );
        page.sample(&[], size);
        let hits = crate::payment::Status::ALL.iter();
        let hits = hits
            .map(|status| self.sum(|core| core.duplicates.get(*status)))
            .sum();
        page.begin(
            Kind::Counter,
            "idempotency_cache_hits",
            "Payments whose id was known.",
        );
        page.sample(&[], hits);
    }

    fn render_latency(&self, now: Mono, page: &mut Page<'_>) {
        let recent = Recent::new(
            self.cores().map(|core| &core.payments_recent),
            Span::Minute,
            now,
        );
        let help = "Latency of POST /payments: quantiles of the last 60 s, sum and count of all.";
        page.begin(Kind::Summary, "payments_latency_ms", help);
        for (text, per_mille) in QUANTILES {
            page.millis("", &[("quantile", text)], recent.quantile_us(per_mille));
        }
        let durations = || {
            self.cores()
                .map(|core| core.request_duration.get(Route::Payments))
        };
        let sum = durations().map(|histogram| histogram.sum_us.get()).sum();
        let count = durations()
            .flat_map(|histogram| &histogram.buckets)
            .map(Cell::get)
            .sum();
        page.millis("_sum", &[], sum);
        page.suffixed("_count", count);
    }
}
