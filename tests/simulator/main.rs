//! The processor simulator over real sockets, line by line of its contract. Every wait has a
//! deadline and none is a sleep: what takes time is waited for by looking at the simulator.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these are tests"
)]

mod client;
mod contract;
mod crowd;
mod faults;
