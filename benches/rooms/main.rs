//! What each room costs by itself, in nanoseconds. `cargo bench` runs all, `cargo bench -- claims`
//! one. Times drift with the machine: compare only runs of one hour on one machine, and use
//! `lab instructions` for what must not grow.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    reason = "benchmarks stop at whatever they do not expect"
)]

mod claims;
mod http;
mod mailbox;
mod metrics;
mod one_payment;
mod routing;
mod wire;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// Under a minute for all of them together.
fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_000))
}

fn whole_path(criterion: &mut Criterion) {
    let mut path = one_payment::Path::new();
    criterion.bench_function("one payment, all rooms", |bencher| {
        bencher.iter(|| path.pay())
    });
}

criterion_group! {
    name = rooms;
    config = short();
    targets = http::bench, wire::bench, claims::bench, routing::bench, mailbox::bench,
        metrics::bench, whole_path
}
criterion_main!(rooms);
