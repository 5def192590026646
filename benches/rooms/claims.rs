//! The idempotency map with 500,000 settled claims in it, its default capacity.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use p99::testing::claims::{Claims, FirstAnswer, SettledClaim};
use p99::testing::clock::{Mono, UnixMillis};
use p99::testing::payment::{Cents, Processor, Status, UpstreamId};

const CAPACITY: usize = 500_000;
const TTL: Duration = Duration::from_secs(86_400);

const CLAIM: SettledClaim = SettledClaim {
    status: Status::Processed,
    amount: Cents(1_990),
    processor: Some(Processor::DEFAULT),
    requested_at: Some(UnixMillis(1_752_150_896_000)),
    first_answer: FirstAnswer::Answered200,
    counted: true,
};

/// Ids spread like UUIDs, so that lookups miss the cache as they do in life.
fn id(number: u64) -> UpstreamId {
    let low = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    UpstreamId(u128::from(low) << 64 | u128::from(number))
}

fn insert(claims: &mut Claims, number: u64) {
    claims.hold(id(number), 7);
    claims.settle(id(number), CLAIM, Mono(number));
}

fn full() -> Claims {
    let mut claims = Claims::new(CAPACITY, TTL);
    (0..CAPACITY as u64).for_each(|number| insert(&mut claims, number));
    claims
}

pub fn bench(criterion: &mut Criterion) {
    let mut claims = full();
    let mut next = CAPACITY as u64;
    criterion.bench_function("claims insert, the oldest goes", |bencher| {
        bencher.iter(|| {
            insert(&mut claims, next);
            next += 1;
        });
    });
    let oldest = next - CAPACITY as u64;
    let mut step = 0;
    criterion.bench_function("claims duplicate", |bencher| {
        bencher.iter(|| {
            step = (step + 7_919) % CAPACITY as u64;
            black_box(claims.look(id(oldest + step)))
        });
    });
    criterion.bench_function("claims fresh", |bencher| {
        bencher.iter(|| {
            step += 1;
            black_box(claims.look(id(step << 32)))
        });
    });
    // Each round forgets 100 expired claims and brings as many new ones; both are counted.
    let mut claims = full();
    let mut next = CAPACITY as u64;
    let late = Mono(u64::try_from(TTL.as_micros()).unwrap() * 2);
    criterion.bench_function("claims expiry of 100, and 100 inserts", |bencher| {
        bencher.iter(|| {
            assert_eq!(claims.expire(late, 100), 100);
            for _ in 0..100 {
                insert(&mut claims, next);
                next += 1;
            }
        });
    });
}
