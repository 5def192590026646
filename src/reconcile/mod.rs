//! Reconciliation: p99's journal against the processors' own books, payment by payment. Every
//! charge that one side has and the other has not, every other amount, every id that two processors
//! charged is named, and nothing is changed.
//!
//! In street order: `web` fetches a book, [`book`] opens it, `csv` and `json` read its `row`s,
//! `amount` reads their money, `entry` is one thing that is said of an id, `sort` brings all of
//! them into the order of the ids in files, [`join`] compares what meets, `known` says which window
//! a journal knows whole, [`run`] leads from one to the other, and [`report`] writes what was
//! found. Memory is bounded whatever the number of payments (I8): at any time there is one buffer
//! to sort and one id to compare. Money is cents throughout (I7).
//!
//! The command calls it; it never runs in a core.

mod amount;
pub(crate) mod book;
mod csv;
mod entry;
mod fault;
pub(crate) mod join;
mod json;
mod known;
pub(crate) mod report;
mod row;
pub(crate) mod run;
mod sort;
mod web;

pub use book::Place;
pub use fault::ReconcileFault;
pub(crate) use join::Difference;
pub use join::Kind;
pub(crate) use row::End;
pub use row::{BookFault, Bounds};
pub use run::{Request, reconcile};
pub use web::Access;

/// What is read of a sorted file, a book or an answer at one time.
const RECONCILE_READ_BYTES: usize = 64 << 10;
/// Longest row of a book: the longest id, amount and date take 150 bytes, so a longer one is a
/// quote that nothing closes.
const RECONCILE_ROW_BYTES_MAX: usize = 64 << 10;
