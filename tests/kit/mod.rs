//! What runs against the real binary stand on: luck from a seed, a blocking HTTP client, a handle
//! of the p99 process, what clients were told, and the auditor that joins it with both processors'
//! books. `examples/lab` uses all of it.
//!
//! Nothing here knows what p99 should have done with a payment, but for the auditor; and that one
//! believes the processors' books and no counter of p99's.

pub(crate) mod audit;
pub(crate) mod breaks;
pub(crate) mod client;
pub(crate) mod crowd;
pub(crate) mod dice;
mod exchange;
pub(crate) mod liar;
mod listener;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod rounds;
pub(crate) mod states;
pub(crate) mod told;
pub(crate) mod world;
