//! What an owner gives out: answers, notes, and records for the journal, each in the order in which
//! it was decided. Every other file of the owner ends here; nothing here decides.
//!
//! Keeps I5's order: a record that must be durable first stands before what follows from it.
use super::{JournalStanding, Owner, held};
use crate::breaker::Transition;
use crate::clock::{Mono, Now};
use crate::events::{Action, Answer, Note, ReplyTo, StoreLine, WriterSlot};
use crate::flow::Trail;
use crate::journal::{Haste, Record};
use crate::limits;
use crate::payment::Processor;
use crate::table::Key;

/// What is appended: a record, or what only a shared store has a word for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Line {
    Record(Record),
    OfStore(StoreLine),
}

impl From<Record> for Line {
    fn from(record: Record) -> Self {
        Self::Record(record)
    }
}

impl From<StoreLine> for Line {
    fn from(line: StoreLine) -> Self {
        Self::OfStore(line)
    }
}

impl Owner {
    pub(super) fn answer(&mut self, to: ReplyTo, answer: Answer) {
        self.actions.push_back(Action::Answer { to, answer });
    }

    pub(super) fn note(&mut self, note: Note) {
        self.actions.push_back(Action::Note(note));
    }

    pub(super) fn note_transition(&mut self, processor: Processor, transition: Option<Transition>) {
        if let Some(transition) = transition {
            self.note(Note::Breaker(processor, transition));
        }
    }

    /// Lets `token` fall due at `at`.
    pub(super) fn set_timer(&mut self, token: u32, at: Mono) {
        self.wheel.arm(token, at);
        self.set_alarm(at);
    }

    fn set_alarm(&mut self, at: Mono) {
        if self.alarm.is_none_or(|known| at < known) {
            self.alarm = Some(at);
        }
    }

    /// Appends `line` and all that was to be written later before it.
    pub(super) fn append(&mut self, writer: WriterSlot, line: impl Into<Line>) {
        self.journal.get_mut(writer).flush_at = None;
        self.append_with(writer, line.into(), Haste::Now);
    }

    /// Appends `line`, for which nothing waits: it shares a write that comes soon.
    pub(super) fn append_later(&mut self, writer: WriterSlot, line: impl Into<Line>, now: Now) {
        let flush_at = now.mono.after(limits::JOURNAL_LATER_MAX);
        let flush_at = *self
            .journal
            .get_mut(writer)
            .flush_at
            .get_or_insert(flush_at);
        self.set_alarm(flush_at);
        self.append_with(writer, line.into(), Haste::Later);
    }

    fn append_with(&mut self, writer: WriterSlot, line: Line, haste: Haste) {
        assert!(
            self.journal.standing == JournalStanding::On,
            "I5: no journal to append to"
        );
        self.journal.get_mut(writer).appended += 1;
        match line {
            Line::Record(record) => {
                self.records.push_back(record);
                self.actions.push_back(Action::Append(writer, haste));
            }
            Line::OfStore(line) => {
                let action = Action::AppendToStore(writer, line, haste);
                self.actions.push_back(action);
            }
        }
    }

    /// Has what was to be written later written, when its time has come.
    pub(super) fn flush(&mut self, now: Now) {
        if self.journal.flush_at().is_some_and(|at| at <= now.mono) {
            let due = self.journal.take_due(now.mono);
            self.actions.extend(due.into_iter().map(Action::Flush));
        }
    }

    /// Appends `line`; `on_written` follows for `key` when it is durable.
    pub(super) fn append_and_wait(&mut self, key: Key, line: impl Into<Line>) {
        let writer = held(self.flows.get(key)).writer;
        self.append(writer, line);
        let position = self.journal.wait(writer, key);
        let flow = held(self.flows.get_mut(key));
        // An earlier record of it may still be on its way; only the last one counts.
        flow.record = position;
        flow.trail = Trail::Written;
    }
}
