//! A row of a processor's book, what can be wrong with a book, and who takes its rows. The
//! readers of each form use these.

use std::fmt;
use std::io;

use crate::clock::UnixMillis;
use crate::limits;
use crate::payment::{Cents, UpstreamId};

/// A payment that a processor charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which; a correlationId that is no UUID is what p99 makes of it.
    pub id: UpstreamId,
    /// How much.
    pub amount: Cents,
    /// `requestedAt`; none where the book does not say it.
    pub at: Option<UnixMillis>,
    /// The line of a CSV file; in JSON, the number of the payment.
    pub line: u64,
}

/// What is wrong with a book.
#[derive(Debug)]
pub enum BookFault {
    /// It could not be opened or read to its end.
    Io(io::Error),
    /// The answer is no book, in words.
    Answer(String),
    /// Lines that are no payments, the first of them with what is wrong.
    Lines {
        /// How many.
        count: u64,
        /// The first of them.
        told: Vec<(u64, String)>,
    },
    /// The taker of the rows failed.
    Taker(io::Error),
}

impl fmt::Display for BookFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) | Self::Taker(error) => error.fmt(f),
            Self::Answer(what) => f.write_str(what),
            Self::Lines { count, told } => {
                for (index, (line, what)) in told.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "; " };
                    write!(f, "{separator}line {line}: {what}")?;
                }
                match count.saturating_sub(told.len() as u64) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} lines more"),
                }
            }
        }
    }
}

/// Who takes rows, and what is wrong with them so far.
pub(super) struct Taker<'a> {
    each: &'a mut dyn FnMut(Row) -> io::Result<()>,
    count: u64,
    told: Vec<(u64, String)>,
}

impl<'a> Taker<'a> {
    pub(super) fn new(each: &'a mut dyn FnMut(Row) -> io::Result<()>) -> Self {
        Self {
            each,
            count: 0,
            told: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, row: Row) -> Result<(), BookFault> {
        (self.each)(row).map_err(BookFault::Taker)
    }

    /// Line `line` is no payment; the first ones are kept.
    pub(super) fn fault(&mut self, line: u64, what: impl Into<String>) {
        self.count += 1;
        if self.told.len() < limits::RECONCILE_FAULTS_TOLD {
            self.told.push((line, what.into()));
        }
    }

    /// Nothing follows.
    pub(super) fn finish(self) -> Result<(), BookFault> {
        match self.count {
            0 => Ok(()),
            count => Err(BookFault::Lines {
                count,
                told: self.told,
            }),
        }
    }
}
