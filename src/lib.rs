//! p99: a payments proxy that gets every payment charged exactly once.
//!
//! In the order in which a payment meets them:
//!
//! - [`cores`] starts one pinned thread per core on its [`reactor`], watches them and stops them;
//! - [`server`] accepts clients and reads requests: [`http`] knows bytes, [`wire`] knows text;
//! - [`pay`] hands the payment to the core that owns its id ([`mailbox`]) and, there, performs what
//!   the owner asks for;
//! - [`owner`] decides, as a pure state machine of [`events`]: [`claims`] knows the id, [`route`]
//!   wishes for a processor, [`flow`] says whether it may get the payment, [`breaker`],
//!   [`concurrency`] and `latency` know how it is, `wheel` keeps the times;
//! - [`upstream`] sends it and reads the answer, over [`tls`] where it must, and [`judge`] says
//!   what that proves;
//! - [`journal`] keeps what must survive, or [`store`] does for several instances, [`ledger`] what
//!   was charged; [`sockets`] are how processors and store are reached;
//! - [`payment`] has the nouns, [`clock`] the times, [`keys`] the random keys, [`table`] the
//!   places, `generations` what is replaced while p99 runs, [`limits`] every bound, [`config`]
//!   the settings, [`metrics`] and [`logging`] what is told, [`supervisor`] what
//!   systemd passes to p99, [`timeline`] and [`audit`] what happened to single payments,
//!   [`probe`] and
//!   [`rate_limit`] their small tasks.
//!
//! [`reconcile`] compares a journal with the processors' books, beside all that.
//!
//! [`sim`] is the processor to test and show all of it with. docs/ARCHITECTURE.md has the floors
//! and what may use what; docs/INVARIANTS.md has the promises I1 to I9 that comments cite.

pub mod addresses;
mod atomics;
pub mod audit;
pub mod breaker;
pub mod claims;
pub mod clock;
pub mod concurrency;
pub mod config;
pub mod cores;
pub mod credentials;
pub mod descriptors;
pub mod events;
pub mod flow;
mod generations;
pub mod http;
pub mod journal;
pub mod judge;
pub mod keys;
mod latency;
pub mod ledger;
pub mod limits;
pub mod logging;
pub mod mailbox;
pub mod metrics;
pub mod owner;
pub mod pay;
pub mod payment;
pub mod peers;
pub mod probe;
pub mod rate_limit;
pub mod reactor;
pub mod reconcile;
pub mod route;
pub mod server;
pub mod shared;
pub mod sim;
pub mod sockets;
pub mod store;
pub mod supervisor;
pub mod table;
pub mod timeline;
pub mod tls;
pub mod upstream;
mod wheel;
pub mod wire;
mod words;
