//! A row of a processor's book, what can be wrong with a book, and who takes its rows. The
//! readers of each form use these.

use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use crate::clock::{Clock, Mono, Start, UnixMillis};
use crate::limits;
use crate::payment::{Cents, UpstreamId};

/// Faulty lines that are named: enough to see what is wrong with all of them.
const RECONCILE_FAULTS_TOLD: usize = 10;

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

/// How far a book is read: one without end would be read for ever.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Rows of one book; `limits::RECONCILE_ROWS_MAX` but in tests.
    pub rows_max: u64,
    /// When all of them must have ended; none where someone waits who can end it.
    pub end: Option<End>,
}

impl Bounds {
    /// Those of a command.
    pub const COMMAND: Self = Self {
        rows_max: limits::RECONCILE_ROWS_MAX,
        end: None,
    };
}

/// A moment that comes.
#[derive(Clone, Copy, Debug)]
pub struct End {
    start: Start,
    span: Duration,
}

impl End {
    /// So long from now.
    #[must_use]
    pub fn after(span: Duration) -> Self {
        let start = Clock::process_start();
        Self { start, span }
    }

    /// # Errors
    /// It has come.
    pub(super) fn check(&self) -> io::Result<()> {
        if Clock::new(self.start).now().mono < Mono::default().after(self.span) {
            return Ok(());
        }
        let seconds = self.span.as_secs();
        let what = format!("is not read to its end within {seconds} s");
        Err(io::Error::new(io::ErrorKind::TimedOut, what))
    }
}

/// A book that is read until a moment.
pub(super) struct Timed<R> {
    pub(super) source: R,
    pub(super) end: Option<End>,
}

impl<R: Read> Read for Timed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.end.as_ref().map_or(Ok(()), End::check)?;
        self.source.read(out)
    }
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
    /// It has more rows than this: it may have no end.
    TooLong(u64),
    /// The taker of the rows failed.
    Taker(io::Error),
}

impl fmt::Display for BookFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) | Self::Taker(error) => error.fmt(f),
            Self::Answer(what) => f.write_str(what),
            Self::TooLong(rows) => {
                write!(f, "has more than {rows} rows: no book that ends is so long")
            }
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
    /// Rows that it may still have, of so many.
    rows_left: u64,
    rows_max: u64,
    count: u64,
    told: Vec<(u64, String)>,
}

impl<'a> Taker<'a> {
    pub(super) fn new(rows_max: u64, each: &'a mut dyn FnMut(Row) -> io::Result<()>) -> Self {
        Self {
            each,
            rows_left: rows_max,
            rows_max,
            count: 0,
            told: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, row: Row) -> Result<(), BookFault> {
        self.rows_left =
            (self.rows_left.checked_sub(1)).ok_or(BookFault::TooLong(self.rows_max))?;
        (self.each)(row).map_err(BookFault::Taker)
    }

    /// Line `line` is no payment; the first ones are kept.
    pub(super) fn fault(&mut self, line: u64, what: impl Into<String>) {
        self.count += 1;
        if self.told.len() < RECONCILE_FAULTS_TOLD {
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
