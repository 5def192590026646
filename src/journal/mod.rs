//! The journal: what survives a crash. One append-only file chain per core holds every payment's
//! Accept, Intent, Verdict and every Purge (I5, I6).

mod codec;
pub mod record;

pub use record::{Fate, Record, Verdict};
