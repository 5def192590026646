//! Text on the wire: JSON both ways, ISO-8601 both ways, values of a query. Here bytes become
//! nouns and nouns become bytes; nothing is decided but whether a text can be read.
//!
//! Callers: server (client side), upstream (processor side), peers, sim.
//!
//! Hostile bytes come in here, so every reader is total: it answers with a value or a fault, in
//! time linear in the text, and never panics. It never touches a float (I7): an amount goes from
//! digits to integer cents. The usual payment is read and written without an allocation.
//!
//! Inside: `object` picks members from one JSON object; `iso8601` is the text of time; `payment`,
//! `answers` and `query` stand on these two and not on each other.

mod answers;
mod iso8601;
mod object;
mod operator;
mod payment;
mod peers;
mod plain;
mod problem;
mod query;

pub(crate) use answers::{
    ACCEPTED, ACCEPTED_AND_CHARGED, PURGED, duplicate, read_health, write_found, write_summary,
};
pub use answers::{CHARGED, read_summary};
pub(crate) use iso8601::read_stored as read_stored_moment;
pub use iso8601::{Edge, read_edge, write_instant};
pub use operator::OperatorNote;
pub(crate) use operator::{NoteFault, read_change, read_filter, read_operator_note, read_verdict};
pub use payment::{
    Field, PaymentFault, UpstreamPayment, read_payment, read_upstream_payment,
    upstream_payment_bytes, write_upstream_payment,
};
pub(crate) use payment::{read_listed, read_stored};
pub use peers::Introduction;
pub(crate) use peers::{read_introduction, read_shard_sums, write_shard_summary};
pub(crate) use problem::{Charged, Problem, UNRESOLVED, is_unresolved, write_problem};
pub(crate) use query::QueryFault;
pub use query::{query_has, read_query};
