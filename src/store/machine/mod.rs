//! One writer's loop as a machine: records and questions go in, commands to the database come out,
//! and what came of them becomes reports. Pure: it is told the time, and random numbers are a seed.
//! `writer` performs its commands on PostgreSQL, a test on a model.
//!
//! One transaction is in flight. What comes meanwhile is the next batch. A batch is sent until it
//! is known to be applied, under a new nonce each time, and the row of the writer must have the
//! nonce before: no older copy of it can apply any more. Whatever is not clearly done or clearly
//! not done is resolved by a write of its own, whose acknowledgement proves that what it saw is
//! kept.

mod outcomes;
mod sending;

use std::collections::VecDeque;
use std::time::Duration;

use super::batch::Batch;
use super::exchange::{Adoption, Question, Reads, Report};
use super::history::History;
use super::page::PageFrom;
use super::questions::{Carried, Questions};
use super::record::{Epoch, Record, WriterId};
use super::rows::OwnRows;
use crate::clock::Boot;
use crate::journal::Haste;
use crate::limits;
use crate::payment::UpstreamId;

/// Longest pause between two batches of a writer that has open rows, or records that wait: sums at
/// other instances wait for two batches.
pub(super) const STORE_HEARTBEAT_OPEN: Duration = Duration::from_millis(50);
/// Records that wait for the store: QUEUE_CAPACITY (100,000 by default) payments with a verdict and
/// a next Intent each. Beyond it the core stops.
const STORE_QUEUE_MAX: usize = 262_144;

/// What a machine is made of.
#[derive(Clone, Debug)]
pub struct MachineTerms {
    /// Who has the writer, for operators: a host and a process.
    pub holder: String,
    /// For nonces; unlike that of every other machine.
    pub seed: u64,
    /// Whether it looks for writers whose lease is over.
    pub is_lookout: bool,
    /// When it begins.
    pub now: Boot,
}

/// The writer that a machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    writer: WriterId,
    epoch: Epoch,
    /// The last batch that is known to be applied.
    number: i64,
    /// The nonce that its row has.
    nonce: i64,
}

/// A batch on its way.
#[derive(Clone, Debug)]
struct Flight {
    batch: Batch,
    reads: Reads,
    carried: Carried,
    /// The last record in it.
    up_to: u64,
    /// Its claims and the records that made them, in the order of ids.
    claims: Vec<(UpstreamId, u64)>,
    size: usize,
    /// When it was made, and when it was sent last.
    made_at: Boot,
    sent_at: Boot,
}

#[derive(Clone, Debug)]
enum Link {
    /// A connection is to be opened, not before this.
    Down(Boot),
    Connecting,
    /// The connection is idle; nothing is sent before this.
    Up(Boot),
    Registering(i64),
    Adopting(i64),
    Sent(Box<Flight>),
    Resolving(Box<Flight>, i64),
    /// Nothing more.
    Ended,
}

/// What is to be sent before anything new.
#[derive(Debug)]
enum Unfinished {
    Nothing,
    /// It was not done.
    Again(Box<Flight>),
    /// It may have been done.
    InDoubt(Box<Flight>),
}

/// Pages of an adopted writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pages {
    from: PageFrom,
    /// The least `at` of its open rows that do not linger.
    since: Option<i64>,
    is_wanted: bool,
}

/// See the header of this file.
#[derive(Debug)]
pub struct Machine {
    terms: MachineTerms,
    link: Link,
    unfinished: Unfinished,
    held: Option<Held>,
    queue: VecDeque<(u64, Record)>,
    last: u64,
    durable: u64,
    is_wanted: bool,
    /// When the oldest record that waits was seen.
    waiting_since: Option<Boot>,
    rows: OwnRows,
    questions: Questions,
    history: History,
    pages: Option<Pages>,
    adoptions: VecDeque<(WriterId, Epoch)>,
    look_at: Boot,
    /// When and what was read last of purges.
    purges_at: Boot,
    purges: Option<i64>,
    is_closing: bool,
    /// When the last batch that was acknowledged was sent.
    acknowledged: Option<Boot>,
    /// When anything was sent last.
    sent_at: Boot,
    /// Connects and transactions that came to nothing, in a row.
    failures: u32,
    is_unreachable: bool,
    /// A page held a row that is not as p99 writes it.
    has_unreadable: bool,
    doubtful: u64,
    reports: VecDeque<Report>,
}

impl Machine {
    /// One that registers a writer of its own.
    #[must_use]
    pub fn new(terms: MachineTerms) -> Self {
        Self::with(terms, None, None)
    }

    /// One for a writer that was adopted.
    #[must_use]
    pub fn adopted(terms: MachineTerms, adoption: &Adoption) -> Self {
        let held = Held {
            writer: adoption.writer,
            epoch: adoption.epoch,
            number: adoption.number,
            nonce: adoption.nonce,
        };
        let pages = Pages {
            from: PageFrom::START,
            since: adoption.open_since,
            is_wanted: true,
        };
        let mut machine = Self::with(terms, Some(held), Some(pages));
        machine.rows = OwnRows::new(adoption.open_since);
        machine
    }

    fn with(terms: MachineTerms, held: Option<Held>, pages: Option<Pages>) -> Self {
        let now = terms.now;
        Self {
            terms,
            link: Link::Down(now),
            unfinished: Unfinished::Nothing,
            held,
            queue: VecDeque::new(),
            last: 0,
            durable: 0,
            is_wanted: false,
            waiting_since: None,
            rows: OwnRows::new(None),
            questions: Questions::default(),
            history: History::default(),
            pages,
            adoptions: VecDeque::new(),
            look_at: now,
            purges_at: now,
            purges: None,
            is_closing: false,
            acknowledged: None,
            sent_at: now,
            failures: 0,
            is_unreachable: false,
            has_unreadable: false,
            doubtful: 0,
            reports: VecDeque::new(),
        }
    }

    // ---- what a core says ----

    /// Takes a record and returns its sequence, from 1 on.
    pub fn append(&mut self, record: Record, haste: Haste) -> u64 {
        self.last += 1;
        self.is_wanted |= haste == Haste::Now;
        if self.queue.len() >= STORE_QUEUE_MAX {
            self.end(Report::Broken("too many records wait".to_owned()));
        } else if !matches!(self.link, Link::Ended) {
            self.queue.push_back((self.last, record));
        }
        self.last
    }

    /// Has all that was appended written at once.
    pub fn flush(&mut self) {
        self.is_wanted |= !self.queue.is_empty();
    }

    /// Asks, behind all records that were appended; the answer has the number that is returned.
    pub fn ask(&mut self, question: Question) -> u64 {
        let number = self.questions.ask(question, self.last);
        if matches!(self.link, Link::Ended) {
            self.reports.extend(self.questions.end_all());
        } else if self.questions.are_too_many() {
            self.reports.extend(self.questions.refuse(number));
        }
        number
    }

    /// Takes over one of these writers, whose lease is over: any, so that one that cannot be had
    /// keeps no one from the others.
    pub fn adopt_one(&mut self, found: &[(WriterId, Epoch)]) {
        let count = u64::try_from(found.len()).unwrap_or(u64::MAX);
        let any = self.nonce().unsigned_abs().checked_rem(count);
        let place = any.and_then(|any| usize::try_from(any).ok());
        let one = place.and_then(|place| found.get(place));
        self.adoptions.extend(one.copied());
    }

    /// There is room for the next page of an adopted writer.
    pub fn want_page(&mut self) {
        if let Some(pages) = &mut self.pages {
            pages.is_wanted = true;
        }
    }

    /// Everything is to be written, and the lease to end with it. Records of open payments may not
    /// follow.
    pub fn close(&mut self) {
        self.is_closing = true;
        let is_idle = matches!(self.link, Link::Down(_) | Link::Up(_));
        if self.held.is_none() && is_idle {
            self.link = Link::Ended;
        }
    }

    // ---- what it knows ----

    /// The next thing to tell the core.
    pub fn next_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// When the last batch that was acknowledged was sent.
    #[must_use]
    pub const fn acknowledged(&self) -> Option<Boot> {
        self.acknowledged
    }

    /// Up to which sequence all is durable.
    #[must_use]
    pub const fn durable(&self) -> u64 {
        self.durable
    }

    /// The sequence of the last record appended.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Its writer, once it has one.
    #[must_use]
    pub fn writer(&self) -> Option<WriterId> {
        self.held.map(|held| held.writer)
    }

    /// How many open rows its writer has.
    #[must_use]
    pub fn open_rows(&self) -> usize {
        self.rows.len()
    }

    /// How many batches were in doubt.
    #[must_use]
    pub const fn doubtful(&self) -> u64 {
        self.doubtful
    }

    /// Whether an adopted writer has nothing left: every open row was read and is settled.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let has_none = self.pages.is_none() && self.rows.len() == 0 && !self.has_unreadable;
        has_none && self.durable == self.last
    }

    /// Whether nothing more comes of it.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.link, Link::Ended)
    }

    /// When [`Machine::next`] may have something although nothing happened.
    #[must_use]
    pub fn wake_at(&self) -> Option<Boot> {
        match &self.link {
            Link::Down(at) => Some(*at),
            Link::Up(at) => match (&self.unfinished, self.held) {
                (Unfinished::Nothing, Some(_)) => Some(self.due().max(*at)),
                _ => Some(*at),
            },
            Link::Connecting
            | Link::Registering(_)
            | Link::Adopting(_)
            | Link::Sent(_)
            | Link::Resolving(..)
            | Link::Ended => None,
        }
    }

    /// When the next batch is to be made.
    fn due(&self) -> Boot {
        let is_page_wanted = self.pages.is_some_and(|pages| pages.is_wanted);
        let is_adoption_wanted = !self.adoptions.is_empty();
        if self.is_wanted || self.is_closing || is_page_wanted || is_adoption_wanted {
            return Boot::default();
        }
        let has_open = self.rows.len() > 0;
        let pause = if has_open {
            STORE_HEARTBEAT_OPEN
        } else {
            limits::STORE_HEARTBEAT
        };
        let beat = self.sent_at.after(pause);
        let waits = self
            .waiting_since
            .map(|since| since.after(STORE_HEARTBEAT_OPEN));
        let asked = self.questions.due();
        [waits, asked].into_iter().flatten().fold(beat, Boot::min)
    }
}
