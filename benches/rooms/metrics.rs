//! Counting one payment, and the page that shows it.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use p99::testing::clock::Mono;
use p99::testing::metrics::{Answered, BreakerReading, Reading, Route};
use p99::testing::payment::{Configured, CoreId};

use crate::one_payment;

pub fn bench(criterion: &mut Criterion) {
    let config = one_payment::config();
    let metrics = one_payment::metrics(&config, 4);
    let core = metrics.core(CoreId(0)).expect("a core");
    let answered = Answered {
        route: Route::Payments,
        status: 200,
        took: Duration::from_micros(750),
    };
    let mut now = Mono(0);
    criterion.bench_function("metrics of one answer", |bencher| {
        bencher.iter(|| {
            now.0 += 50;
            core.answered(black_box(answered), now);
        });
    });
    let reading = Reading {
        breakers: Configured::new(config.upstream.count(), |_| BreakerReading::default()),
        is_serving: true,
    };
    let mut page = Vec::with_capacity(64 * 1024);
    criterion.bench_function("metrics page, 4 cores", |bencher| {
        bencher.iter(|| {
            page.clear();
            metrics.render(now, &reading, &mut page);
        });
    });
}
