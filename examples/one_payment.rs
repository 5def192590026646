//! Takes COUNT payments through every room but the kernel's: `one_payment [COUNT]`.
//! `lab instructions` runs it under callgrind with two counts; the difference between
//! the two is what payments cost, without the start.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    reason = "a tool of the benchmarks: it may stop at whatever it does not expect"
)]

#[path = "../benches/rooms/one_payment.rs"]
mod one_payment;

// What p99 uses, so that an allocation per payment would cost what it costs there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let count = std::env::args()
        .nth(1)
        .map_or(1_000, |word| word.parse().expect("a count"));
    let mut path = one_payment::Path::new();
    for _ in 0..count {
        path.pay();
    }
}
