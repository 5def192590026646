//! One core on a shared store: the machine of its own writer and those of the writers that it
//! adopted, and what they report as events of its owner. The driver performs their commands on
//! PostgreSQL, the simulated world on a model. Decides nothing about a payment; reads no clock.

use std::collections::VecDeque;

use crate::claims::{FirstAnswer, SettledClaim};
use crate::clock::{Boot, Now};
use crate::events::{StoreLine, Winner, WriterSlot};
use crate::journal::{self, Haste};
use crate::owner::{Owner, Restored};
use crate::payment::{Payment, Status};
use crate::store::{
    Adoption, Command, Machine, MachineTerms, Outcome, Question, Record, Reply, Report, Row,
    RowStatus, WriterId,
};

/// See the header of this file.
#[derive(Debug)]
pub struct Writers {
    terms: MachineTerms,
    own: Machine,
    adopted: Vec<Machine>,
    /// Adopted machines that have further pages, for which there was no room.
    unread: Vec<WriterSlot>,
    news: VecDeque<News>,
}

/// What is not for the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A question is answered.
    Answered {
        /// As [`Writers::ask`] numbered it.
        question: u64,
        /// What is answered.
        reply: Box<Reply>,
    },
    /// A batch became durable.
    Committed {
        /// How many ids it was about.
        size: usize,
        /// How long it took.
        took: std::time::Duration,
    },
    /// A writer of an instance that is gone is this core's now.
    Adopted(WriterId),
    /// The own writer is registered.
    Registered(WriterId),
    /// The store can be reached, or not.
    Reachable(bool),
    /// Nothing becomes durable any more: the process ends and says why.
    Ended(End),
}

/// Why nothing becomes durable any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Another instance has taken a writer over.
    Fenced(Option<WriterId>),
    /// The database has forgotten batches that it had acknowledged.
    WentBack {
        /// The batch that was acknowledged last.
        acknowledged: i64,
        /// The one that the database knows.
        found: i64,
        /// What was in those between, as far as it is remembered.
        ids: Vec<crate::payment::UpstreamId>,
    },
    /// The database did what p99 rules out.
    Broken(String),
}

impl Writers {
    /// A core that registers a writer of its own.
    #[must_use]
    pub fn new(terms: MachineTerms) -> Self {
        Self {
            own: Machine::new(terms.clone()),
            terms,
            adopted: Vec::new(),
            unread: Vec::new(),
            news: VecDeque::new(),
        }
    }

    /// The machine of `slot`.
    #[must_use]
    pub fn machine(&self, slot: WriterSlot) -> Option<&Machine> {
        match usize::from(slot.0).checked_sub(1) {
            None => Some(&self.own),
            Some(index) => self.adopted.get(index),
        }
    }

    fn machine_mut(&mut self, slot: WriterSlot) -> Option<&mut Machine> {
        match usize::from(slot.0).checked_sub(1) {
            None => Some(&mut self.own),
            Some(index) => self.adopted.get_mut(index),
        }
    }

    /// Every slot that there is.
    pub fn slots(&self) -> impl Iterator<Item = WriterSlot> + use<> {
        let count = u16::try_from(self.adopted.len()).unwrap_or(u16::MAX);
        (0..=count).map(WriterSlot)
    }

    // ---- what the owner says ----

    /// Takes a record of the owner's.
    pub fn append(&mut self, slot: WriterSlot, record: &journal::Record, haste: Haste) {
        let record = Record::of_journal(record);
        if let (Some(machine), Some(record)) = (self.machine_mut(slot), record) {
            machine.append(record, haste);
        }
    }

    /// Takes what the owner says to a store alone.
    pub fn append_line(&mut self, slot: WriterSlot, line: StoreLine, haste: Haste) {
        if let Some(machine) = self.machine_mut(slot) {
            machine.append(record_of(line), haste);
        }
    }

    /// Has all that was appended written at once.
    pub fn flush(&mut self, slot: WriterSlot) {
        if let Some(machine) = self.machine_mut(slot) {
            machine.flush();
        }
    }

    /// Asks, behind all that was appended to the own writer.
    pub fn ask(&mut self, question: Question) -> u64 {
        self.own.ask(question)
    }

    /// Everything is to be written, and the leases to end with it.
    pub fn close(&mut self) {
        self.own.close();
        for machine in &mut self.adopted {
            machine.close();
        }
    }

    /// Whether nothing waits to be written.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let mut all = std::iter::once(&self.own).chain(&self.adopted);
        all.all(|one| one.durable() == one.last() || one.has_ended())
    }

    // ---- what is to be done at the database ----

    /// The next command of the machine of `slot`.
    pub fn next(&mut self, slot: WriterSlot, now: Boot) -> Option<Command> {
        self.machine_mut(slot)?.next(now)
    }

    /// When [`Writers::next`] may have something although nothing happened.
    #[must_use]
    pub fn wake_at(&self, slot: WriterSlot) -> Option<Boot> {
        self.machine(slot)?.wake_at()
    }

    /// What came of the last command of `slot`.
    pub fn outcome(&mut self, slot: WriterSlot, outcome: Outcome, now: Boot) {
        if let Some(machine) = self.machine_mut(slot) {
            machine.outcome(outcome, now);
        }
    }

    // ---- what is reported ----

    /// Tells `owner` what the machine of `slot` has to report first, if anything; the owner's
    /// actions are to be performed before the next one.
    pub fn tell(&mut self, slot: WriterSlot, owner: &mut Owner, now: Now) -> bool {
        self.turn_pages(owner);
        let Some(report) = self.machine_mut(slot).and_then(Machine::next_report) else {
            return false;
        };
        match report {
            Report::Ready { writer } => self.news.push_back(News::Registered(writer)),
            Report::Lost { id, .. } => owner.lost(id, now),
            Report::Known { id, row, .. } => owner.known_elsewhere(id, winner(row.as_ref()), now),
            Report::Durable {
                up_to,
                sent_at,
                size,
                took,
            } => {
                if slot == WriterSlot::OWN {
                    owner.set_away(false);
                }
                owner.acknowledged(slot, sent_at);
                owner.durable(slot, up_to, now);
                self.give_back(slot, owner);
                self.news.push_back(News::Committed { size, took });
            }
            Report::Answered { question, reply } => {
                let reply = Box::new(reply);
                self.news.push_back(News::Answered { question, reply });
            }
            Report::Expired(found) => self.own.adopt_one(&found),
            Report::Adopted(adoption) => self.begin(&adoption, owner, now),
            Report::Page { rows, is_last } => {
                for row in &rows {
                    owner.restore(&restored(row, slot), now);
                }
                if !is_last {
                    self.unread.push(slot);
                }
            }
            Report::Purged => owner.forget_settled(),
            Report::Unreachable { .. } => self.reach(slot, owner, false),
            Report::Reachable => self.reach(slot, owner, true),
            Report::Fenced => {
                let machine = self.machine(slot);
                // One that was adopted and never used holds nothing: its slot is given back.
                let is_used = machine.is_some_and(|one| one.acknowledged().is_some());
                if slot == WriterSlot::OWN || is_used {
                    self.end(owner, End::Fenced(machine.and_then(Machine::writer)));
                } else {
                    self.give_back(slot, owner);
                }
            }
            Report::WentBack {
                acknowledged,
                found,
                ids,
            } => {
                let end = End::WentBack {
                    acknowledged,
                    found,
                    ids,
                };
                self.end(owner, end);
            }
            Report::Broken(why) => self.end(owner, End::Broken(why)),
        }
        true
    }

    /// The next thing that is not for the owner.
    pub fn next_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    fn reach(&mut self, slot: WriterSlot, owner: &mut Owner, is_reachable: bool) {
        if slot == WriterSlot::OWN {
            owner.set_away(!is_reachable);
            self.news.push_back(News::Reachable(is_reachable));
        }
    }

    fn end(&mut self, owner: &mut Owner, end: End) {
        match &end {
            // What was durable is another's to go on with.
            End::Fenced(_) => owner.journal_failed(),
            End::WentBack { .. } | End::Broken(_) => owner.store_failed(),
        }
        self.news.push_back(News::Ended(end));
    }

    fn begin(&mut self, adoption: &Adoption, owner: &mut Owner, now: Now) {
        // Without a place its lease runs out again, and another core finds it.
        if let Some(slot) = owner.adopt() {
            let terms = MachineTerms {
                seed: self.terms.seed.wrapping_add(u64::from(slot.0)),
                is_lookout: false,
                now: now.boot,
                ..self.terms.clone()
            };
            let machine = Machine::adopted(terms, adoption);
            match self.machine_mut(slot) {
                Some(place) => *place = machine,
                None => self.adopted.push(machine),
            }
            self.news.push_back(News::Adopted(adoption.writer));
        }
    }

    /// An adopted writer whose payments are all settled ends, and makes room for others.
    fn give_back(&mut self, slot: WriterSlot, owner: &mut Owner) {
        if slot == WriterSlot::OWN {
            return;
        }
        let Some(machine) = self.machine_mut(slot) else {
            return;
        };
        let (has_ended, is_done) = (machine.has_ended(), machine.is_done());
        // One that ended with payments open is a store that failed: the process ends.
        if !(has_ended || is_done) || owner.needs(slot) {
            return;
        }
        if has_ended {
            owner.release(slot);
        } else {
            machine.close();
        }
    }

    /// There may be room for further pages now.
    fn turn_pages(&mut self, owner: &Owner) {
        while owner.has_room()
            && let Some(slot) = self.unread.pop()
        {
            if let Some(machine) = self.machine_mut(slot) {
                machine.want_page();
            }
        }
    }
}

fn record_of(line: StoreLine) -> Record {
    match line {
        StoreLine::ByHand { id, charged } => Record::ByHand { id, charged },
        StoreLine::Heard { id } => Record::Heard { id },
    }
}

/// What a row says to one who lost its claim to it.
fn winner(row: Option<&Row>) -> Winner {
    match row {
        None => Winner::Gone,
        Some(row) if row.status.is_open() => Winner::Pending { amount: row.amount },
        Some(row) => Winner::Settled(settled(row)),
    }
}

/// A settled row as a core remembers it.
fn settled(row: &Row) -> SettledClaim {
    let status = match row.status.in_api() {
        Status::Refused => Status::Refused,
        Status::Pending | Status::Processed => Status::Processed,
    };
    let first_answer = match row.status {
        RowStatus::Charged | RowStatus::ChargedByHand | RowStatus::Foreign => {
            FirstAnswer::Answered200
        }
        RowStatus::Open
        | RowStatus::Promised
        | RowStatus::ChargedAfterPromise
        | RowStatus::Refused
        | RowStatus::RefusedByHand => FirstAnswer::Accepted202,
    };
    SettledClaim {
        status,
        amount: row.amount,
        processor: row.processor,
        requested_at: (status == Status::Processed).then_some(row.at),
        first_answer,
        counted: row.status.is_counted(),
    }
}

/// An open row as its new owner takes it up.
fn restored(row: &Row, writer: WriterSlot) -> Restored {
    let is_promised = row.status == RowStatus::Promised;
    Restored {
        payment: Payment {
            id: row.id,
            correlation_id: row.correlation_id,
            amount: row.amount,
        },
        accepted_at: is_promised.then(|| row.accepted_at.unwrap_or(row.at)),
        open: row.processor.map(|processor| (processor, row.at)),
        address: row.address,
        earlier: row
            .first_sent
            .filter(|first| *first != row.at)
            .into_iter()
            .collect(),
        writer,
    }
}

#[cfg(test)]
mod tests;
