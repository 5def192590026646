//! The settled payments of one core by processor and `requestedAt`: what a summary adds up.
//!
//! Called by the owner: `add` when a payment is known to be charged by us (I6), `totals` for a
//! summary, `age` now and then, `chunks` and `absorb` for the journal's snapshots. It knows no ids
//! and reads no clock; whether a payment counts is decided elsewhere.
//!
//! - I7: sums are integers, wide enough for anything that can be added up.
//! - I9: the millisecond that was sent is kept, both ends of a window are inside it, and payments
//!   may arrive in any order.
//! - Payments age by the monotonic clock (`horizon`): a wall clock that steps changes no window.
//! - Nothing is ever rounded. What is older than LEDGER_EXACT_HOURS is kept by whole seconds; a
//!   window whose edge cuts such a second, and payments lie in it, is refused with the boundary
//!   from which on milliseconds are kept. A second without payments can be cut: both halves of
//!   nothing are nothing.
//!
//! How it is kept, and what it costs per core (I8):
//! - *Open*: the seconds that payments arrive for now, as plain cells: 8 seconds of 1,000
//!   milliseconds of 64 bytes, 512 KB. A payment touches one cell and allocates nothing.
//! - *Exact*: a second that another one has pushed out, as a list of (millisecond, processor,
//!   count, cents) in 3 to 5 bytes each. Payments of one millisecond share an entry, so a second
//!   has at most 2,000 entries whatever the rate. 1,000 payments/s on one core, half and half, fill
//!   787 of them with 3.7 bytes: 2.9 KB a second, 252 MB in 24 hours. 100 payments/s: 35 MB. Where
//!   that is too much, LEDGER_EXACT_HOURS=1 makes it 10 MB.
//! - *Old*: an hour as a list of (second, processor, count, cents) in about 6 bytes each: at most
//!   43 KB an hour, 32 MB for a month in which both processors charge in every second.
//!
//! Hours and seconds carry their sums, so a window over a month reads 744 hours and decodes two.

mod book;
mod chunk;
mod horizon;
mod hour;
mod list;
mod open;
mod window;

pub use book::Ledger;
pub(crate) use chunk::ChunkFault;
pub(crate) use horizon::Horizon;
pub use window::CutsOldSecond;
