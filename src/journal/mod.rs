//! The journal: what survives a crash. One chain of append-only files per core holds every
//! payment's Accept, Intent and Verdict and every Purge (I5, I6).
//!
//! In street order: [`record`] is what an owner writes down, `codec` and `frame` spell it,
//! `settings` say how it is kept, `segment` (by `blocks`) and `snapshot` are the files, `directory`
//! and its `manifest` say which of them count, `marks` how far a shard's journal is, [`replay`]
//! gives them their meaning, [`start`] brings an instance up, `writer` appends, `keeper` and
//! `compaction` keep the disk bounded, `disk` shows how it stands, and [`operator`], [`account`],
//! [`backup`] and [`restore`] (with `others`) serve those who come from outside. Nothing here
//! decides about a payment; a failure is reported, never repaired in silence.

pub(crate) mod account;
pub(crate) mod backup;
mod blocks;
mod codec;
mod compaction;
mod directory;
mod disk;
mod distribution;
mod fault;
mod files;
mod frame;
pub(crate) mod guard;
mod hold;
mod keeper;
mod line;
mod load;
mod manifest;
mod marks;
pub(crate) mod moving;
pub(crate) mod operator;
mod others;
pub(crate) mod pauses;
mod processors;
pub(crate) mod record;
pub(crate) mod replay;
pub(crate) mod restore;
mod seal;
mod segment;
mod settings;
mod settled;
mod snapshot;
mod start;
#[doc(hidden)]
pub(crate) mod testing;
mod writer;

pub use distribution::{date_of, distribute};
pub use fault::JournalFault;
pub(crate) use fault::Move;
pub use guard::look_at;
pub(crate) use keeper::Keeper;
pub use manifest::{JournalId, StoreId};
pub use processors::Authorities;
pub(crate) use processors::moves;
pub use record::{Fate, Haste, Record, Verdict};
pub use replay::{Pending, Sent};
pub use settings::JournalSettings;
pub use start::{Restored, Started, start};
pub(crate) use writer::WriterTask;
pub use writer::{Progress, Writer};

#[cfg(test)]
mod tests;

/// Bytes that are looked at together behind the last record, on the stack.
const JOURNAL_SCAN_BYTES: usize = 32 << 10;
/// A buffer that a burst made larger than this is given back.
const JOURNAL_BUFFER_BYTES_KEPT: usize = 1 << 20;
