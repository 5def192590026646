//! What tests and load runs believe: the processor simulator over real sockets, line by line of its
//! contract, and the judge of load runs (`load_audit`). Every wait has a
//! deadline and none is a sleep: what takes time is waited for by looking at the simulator.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "these are tests"
)]

mod caller;
mod contract;
mod crowd;
mod faults;
#[path = "../kit/mod.rs"]
mod kit;
mod load_audit;
