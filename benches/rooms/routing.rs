//! Who gets a payment: the breaker's permit and record, and the plan.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use p99::testing::breaker::{Breaker, BreakerSettings, Kind, Permit, State, Verdict};
use p99::testing::clock::Mono;
use p99::testing::config::{Ack, Routing};
use p99::testing::payment::{ProcessorCount, UpstreamId};
use p99::testing::route::{Rules, Situation, plan, prefer};

pub fn bench(criterion: &mut Criterion) {
    let breaker = Breaker::new(BreakerSettings {
        failure_per_mille: 300,
        min_samples: 20,
        open: Duration::from_secs(5),
        window: Duration::from_secs(10),
        probes: 3,
        probe_ttl: Duration::from_millis(50),
    });
    let mut now = Mono(0);
    criterion.bench_function("breaker permit", |bencher| {
        bencher.iter(|| breaker.permit(black_box(now), Kind::Fresh));
    });
    criterion.bench_function("breaker permit and record", |bencher| {
        bencher.iter(|| {
            now.0 += 50;
            let (Permit::Granted(ticket), _) = breaker.permit(now, Kind::Fresh) else {
                unreachable!("it is closed");
            };
            breaker.record(ticket, Verdict::Success, now)
        });
    });
    let rules = Rules {
        routing: Routing::RoundRobin,
        ack: Ack::Processed,
        patience: Duration::from_millis(5),
        fallback_after: Duration::ZERO,
    };
    let two = ProcessorCount::try_new(2).expect("two are allowed");
    criterion.bench_function("route", |bencher| {
        bencher.iter(|| {
            now.0 += 1;
            let id = UpstreamId(u128::from(now.0));
            let situation = Situation {
                preferred: prefer(rules.routing, id, two, |_| Duration::ZERO),
                breaker: State::Closed,
                up: two.set(),
                untried: two.set(),
                waited: Duration::ZERO,
            };
            plan(&rules, black_box(&situation))
        });
    });
}
