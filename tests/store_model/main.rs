//! The protocol of the shared store, looked at exhaustively: every interleaving of two cores, two
//! ids and two processors within small bounds. docs/STORE_MODEL.md says what that proves and what
//! it does not.
//!
//! The seeded world samples long stories of the real code; this visits every state of a model of
//! the protocol. `state` says what there is, `moves` and `faults` what can happen, `store`, `cores`
//! and `outside` do it, `properties` says what must hold, `scenes` where nothing may break, and
//! `broken` which rule is missed by which property.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "what does not hold shall fail the test"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "how long an exploration took is printed, and decides nothing"
)]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "most matches ask for some of many kinds"
)]

mod broken;
mod cores;
mod explore;
mod faults;
mod moves;
mod outside;
mod plain;
mod properties;
mod scene;
mod scenes;
mod state;
mod store;
