//! Why there is no reconciliation. Each names what is to be done or where to look: a comparison
//! that leaves something out would look like one that is clean.

use std::fmt;
use std::io;

use super::book::Place;
use super::row::BookFault;
use crate::clock::UnixMillis;
use crate::journal::JournalFault;
use crate::payment::{Processor, Totals};
use crate::wire::write_instant;

/// See the header of this file.
#[derive(Debug)]
pub enum ReconcileFault {
    /// A journal cannot be read.
    Journal(JournalFault),
    /// A running instance replaced files each time that they were read.
    Replaced,
    /// The window cuts a second of which the journal keeps the sum only.
    Cut(UnixMillis),
    /// The journal knows payments of the window by their sum only.
    Forgotten {
        /// At which processor.
        processor: Processor,
        /// How many.
        payments: Totals,
        /// From when on all ids are known, if that was found.
        known_from: Option<UnixMillis>,
    },
    /// A book cannot be read.
    Book {
        /// The processor that it is about.
        processor: Processor,
        /// Where it is.
        place: Place,
        /// What is wrong.
        fault: BookFault,
    },
    /// What goes with a request to a processor cannot be read.
    Access {
        /// To which.
        processor: Processor,
        /// What is wrong with the file.
        why: String,
    },
    /// Files for sorting cannot be written.
    Sort(io::Error),
    /// What was found cannot be written.
    Output(io::Error),
}

impl fmt::Display for ReconcileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal(fault) => fault.fmt(f),
            Self::Replaced => {
                f.write_str("the journal was compacted each time that it was read: try again")
            }
            Self::Cut(boundary) => write!(
                f,
                "before {} the ledger keeps whole seconds: write --from and --to as whole seconds, \
                 such as 12:00:00.000 and 12:59:59.999",
                date(*boundary)
            ),
            Self::Forgotten {
                processor,
                payments,
                known_from,
            } => {
                let (name, count) = (processor.name(), payments.count);
                write!(
                    f,
                    "the journal has forgotten the ids of {count} payments of the window at {name} \
                     and knows their sum only: raise CACHE_CAPACITY for the next time"
                )?;
                match known_from {
                    Some(from) => {
                        let from = date(*from);
                        write!(f, ", and now take --from {from}, behind which it knows all")
                    }
                    None => Ok(()),
                }
            }
            Self::Book {
                processor,
                place,
                fault,
            } => write!(f, "the book of {}, {place}: {fault}", processor.name()),
            Self::Access { processor, why } => {
                write!(f, "what goes with a request to {}: {why}", processor.name())
            }
            Self::Sort(error) => write!(f, "sorting: {error}"),
            Self::Output(error) => error.fmt(f),
        }
    }
}

/// A moment as text.
pub(super) fn date(at: UnixMillis) -> String {
    let mut out = Vec::new();
    write_instant(at, &mut out);
    String::from_utf8(out).unwrap_or_default()
}
