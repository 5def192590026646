//! The store: what survives on a PostgreSQL that several equal instances share. It is to a core
//! what the journal is, and a little more, since an id may be another instance's.
//!
//! # The face towards a core
//!
//! A core has one [`Machine`] for its own writer, and one more for each writer that it adopted.
//! Each is on a connection of its own. The core says:
//!
//! - `append(record, haste) -> sequence`, as to the journal. Records of an id come in the order of
//!   its story; the first one of an id (Accept or Intent) claims it;
//! - `ask(question) -> number` for [`Question::Find`], [`Question::Sum`] and [`Question::Purge`];
//!   the answer covers all records appended before, and every verdict that any live instance had
//!   answered before;
//! - `adopt(writer, epoch)` for one of [`Report::Expired`], `want_page()` on the machine of an
//!   adopted writer, `close()` at a stop;
//! - `acknowledged() -> Option<Boot>`: when the last acknowledged batch was sent. **An early 200
//!   and the first byte of an Intent need `Boot::now().since(that) < limits::STORE_FRESH`**, read
//!   after the processor's answer was read, and before the write.
//!
//! and it is told, in this order where one batch has several of them:
//!
//! - [`Report::Lost`]: the claim of that record failed. No byte may leave, the attempt's connection
//!   and slot are given back, records of the id that were appended so far are void. The client is
//!   answered at [`Report::Known`], which follows with the winner's row: 409 processed, pending or
//!   refused, a replay, or 422 for another amount. Known with no row: it was freed meanwhile;
//!   append the claim again, twice at most, then 503;
//! - [`Report::Durable`]: as the journal's. Bytes of an Intent that is not lost may leave, a 202 of
//!   an Accept that is not lost may be told;
//! - [`Report::Purged`]: forget what is remembered of settled ids;
//! - [`Report::Answered`], [`Report::Expired`], [`Report::Adopted`], [`Report::Page`];
//! - [`Report::Unreachable`] and [`Report::Reachable`]: no batch can be made meanwhile; fresh ids
//!   are 503, what is durable goes on;
//! - [`Report::Fenced`], [`Report::WentBack`], [`Report::Broken`]: nothing more becomes durable,
//!   for ever. The process ends with a status of its own and registers new writers when it starts
//!   again.
//!
//! An adopted row is sent again to its processor with its id, amount and `at`, and nothing else;
//! one without a processor is routed freely. When its processor has spoken about its id without
//! settling it, the core appends [`Record::Heard`], and sums stop to wait for it.
//!
//! # Files
//!
//! Pure: `record` and `batch` are what is written, `gather` makes one of the other, `rows` knows
//! the writer's open rows, `questions` what is asked and the barrier of it, `history` what was
//! acknowledged, `doubt` what counts as done, `facts` what a journal comes to, `sweeper` when what
//! settled is forgotten, `exchange` the grammar of all this, `machine` the loop; `model` is a store
//! for tests.

use std::time::Duration;

mod barrier;
mod batch;
mod connection;
mod doubt;
mod exchange;
mod executor;
mod facts;
mod gather;
mod history;
pub(crate) mod import;
mod login;
mod machine;
mod messages;
#[doc(hidden)]
pub(crate) mod model;
pub(crate) mod operator;
mod page;
mod parts;
mod pen;
mod place;
pub(crate) mod processors;
mod questions;
mod reading;
mod record;
mod resolve;
mod rows;
mod schema;
mod script;
mod sql;
pub(crate) mod sweeper;
mod sweeping;
mod talk;
mod writer;

pub use connection::Connection;
pub use exchange::{
    Adoption, Answer, Command, Outcome, Question, Reply, Report, Sweep, Swept, Transaction, Window,
};
pub(crate) use executor::Executor;
pub use machine::{Machine, MachineTerms};
pub use place::StorePlace;
pub use record::{Epoch, Record, Row, RowStatus, WriterId};
pub use sweeper::{News as SweepNews, Sweeper};
pub(crate) use sweeping::sweep;
pub use writer::Writer;

#[cfg(test)]
mod tests;

/// Ids of one batch. At 256 a commit takes 4 ms (PostgreSQL 15, two cores); twice that is a burst.
const STORE_BATCH_IDS_MAX: usize = 512;
/// How long one address of STORE may take to be reached, and one name to be resolved.
const STORE_HOST_TIMEOUT: Duration = Duration::from_millis(250);
/// Ids that one sweep forgets: 6 us each on the server, so batches wait for some 3 ms at most.
const STORE_SWEEP_ROWS: u32 = 500;
/// How long a sweeper has its turn after its last sweep: two looks, and it is never hurried.
const STORE_SWEEP_TURN: Duration = Duration::from_secs(150);
