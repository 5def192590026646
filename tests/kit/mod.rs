//! What tests and runs against p99 stand on, once for all of them: a blocking HTTP client, p99 with
//! its processors in this process (`stack`) and as a process of its own (`process`), clients, what
//! they were told, and the auditor that joins it with both processors' books. For long runs there
//! are luck from a seed and gateways that lie. Every integration test and `examples/lab` use it.
//!
//! Nothing here knows what p99 should have done with a payment, but for the auditor; and that one
//! believes the processors' books and no counter of p99's.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "each crate uses a part of it; what may not happen in a test fails it by a panic"
)]

pub(crate) mod answer;
pub(crate) mod audit;
pub(crate) mod balancer;
pub(crate) mod ballast;
pub(crate) mod breaks;
pub(crate) mod children;
pub(crate) mod client;
pub(crate) mod crowd;
pub(crate) mod dice;
mod exchange;
pub(crate) mod faketime;
pub(crate) mod liar;
mod listener;
pub(crate) mod load;
pub(crate) mod operator;
pub(crate) mod payers;
pub(crate) mod places;
pub(crate) mod postgres;
mod proc;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod rounds;
pub(crate) mod scratch;
pub(crate) mod stack;
pub(crate) mod start;
pub(crate) mod states;
pub(crate) mod store_race;
pub(crate) mod told;
pub(crate) mod wire;
pub(crate) mod world;
