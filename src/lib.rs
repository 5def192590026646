//! p99: a payments proxy that gets every payment charged exactly once.

pub mod breaker;
pub mod claims;
pub mod clock;
pub mod config;
pub mod cores;
pub mod events;
pub mod http;
pub mod journal;
pub mod latency;
pub mod ledger;
pub mod limits;
pub mod logging;
pub mod mailbox;
pub mod metrics;
pub mod pay;
pub mod payment;
pub mod probe;
pub mod reactor;
pub mod server;
pub mod sim;
pub mod wheel;
pub mod wire;
