//! The store on real PostgreSQL: `p99 store`, login and TLS, a writer's batches, and writers that
//! race while their connections are ended. Without PostgreSQL each test is skipped by its name.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "what goes wrong here shall fail the test, and a process is waited for by the clock"
)]

mod adopting;
#[path = "../every_series/book.rs"]
#[allow(dead_code, reason = "what the other crate asks of it")]
mod book;
mod by_hand;
mod command;
mod heard;
mod import;
#[path = "../kit/mod.rs"]
mod kit;
mod login;
mod processors;
mod race;
mod series;
mod serving;
mod standby;
mod stories;
mod sweeping;
mod unreadable;
mod writing;

use kit::postgres::Cluster;
use kit::scratch::Scratch;
use p99::testing::config::StoreUrl;

use p99::testing::store::StorePlace;

fn place(store: &str) -> StorePlace {
    let url = StoreUrl::parse(store, &|_| None);
    let url = url.unwrap_or_else(|faults| panic!("{store}: {faults:?}"));
    StorePlace::new(url, true)
}

/// A cluster whose schema is made and takes payments.
fn filled(scratch: &Scratch, settings: &[&str]) -> Cluster {
    let cluster = Cluster::new(scratch, "pg", settings);
    cluster.make_schema();
    cluster
}
