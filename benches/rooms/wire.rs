//! JSON of payments, both ways.

use std::hint::black_box;

use criterion::Criterion;
use p99::testing::clock::UnixMillis;
use p99::testing::payment::{Cents, UpstreamId};
use p99::testing::wire::{UpstreamPayment, read_payment, write_upstream_payment};

pub fn bench(criterion: &mut Criterion) {
    let bodies = [
        (
            "a UUID",
            r#"{"correlationId":"4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3","amount":19.90}"#,
        ),
        (
            "another id",
            r#"{"correlationId":"order:1234567890","amount":19.90}"#,
        ),
        (
            "unknown fields",
            r#"{"v":[1,{"a":"b"}],"correlationId":"4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3","amount":1.99e1,"note":"x"}"#,
        ),
    ];
    for (name, body) in bodies {
        criterion.bench_function(&format!("payment JSON, {name}"), |bencher| {
            bencher.iter(|| read_payment(black_box(body.as_bytes()), false));
        });
    }
    let payment = UpstreamPayment {
        id: UpstreamId(0x4a79_01b8_7d26_4d9d_aa19_4dc1_c7cf_60b3),
        amount: Cents(1_990),
        requested_at: UnixMillis(1_752_150_896_000),
    };
    let mut out = Vec::with_capacity(256);
    criterion.bench_function("upstream payment writing", |bencher| {
        bencher.iter(|| {
            out.clear();
            write_upstream_payment(black_box(&payment), &mut out);
        });
    });
}
