//! The idempotency map of one core: is this id fresh, pending or settled?
//!
//! Called by the owner alone, which asks before it does anything for a payment (I1: an id has one
//! owner core, so this map has one writer and no lock). It decides nothing about payments and
//! reads no clock.
//!
//! - A *pending* claim is never evicted and has no TTL (I3): as long as no one knows how a payment
//!   ended, its id stays taken. How many there may be is bounded by the owner's settings.
//! - A *settled* claim is kept for the TTL, and at most `capacity` of them (I8): the oldest go
//!   first, in the order in which they settled.
//!
//! Memory, with the defaults on one core: 500,000 settled claims of 40 bytes are 19.1 MiB, the
//! index of 2^20 places of 8 bytes is 8 MiB; together 27.1 MiB. Nothing is allocated per claim
//! once that many have been seen, and no call but `forget_settled` takes time that grows with
//! their number: the index has no tombstones and so never rebuilds itself between two payments.

mod entry;
mod index;
mod map;

pub use entry::{FirstAnswer, SettledClaim};
pub use map::Claims;
pub(crate) use map::{Claim, Forgotten};

/// What happens to a claim that settles when there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The oldest settled claim goes.
    Forget,
    /// All stay for their TTL: the owner asks [`Claims::has_room`] before it takes a new id. Those
    /// that a journal brings back may be more than the capacity.
    Keep,
}
