//! A core's writers as its owner sees them: how many records each was given, who waits for which,
//! and how old the last word of the store is. There is one where there is a journal, and one more
//! for each that was adopted where there is a store.

use std::collections::VecDeque;

use super::attempts::Inquiry;
use super::{JournalStanding, Owner, held};
use crate::clock::{Boot, Mono, Now};
use crate::events::{Lookup, StoreLine, WriterSlot};
use crate::flow::{Flow, Stage};
use crate::limits;
use crate::table::Key;

/// Writers that one core looks after besides its own.
const STORE_ADOPTED_MAX: usize = 64;

/// See the header of this file.
#[derive(Debug)]
pub(super) struct Writers {
    pub(super) standing: JournalStanding,
    own: Writer,
    adopted: Vec<Writer>,
}

/// One writer.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// How many records were given out.
    pub(super) appended: u64,
    /// Payments that wait for a record, in order.
    waiting: VecDeque<(u64, Key)>,
    /// When records that nothing waits for must be written at the latest; `None` while all that was
    /// appended is being written anyhow.
    pub(super) flush_at: Option<Mono>,
    /// When the last batch that the store acknowledged was sent.
    acknowledged: Option<Boot>,
    /// The same of the first one.
    acknowledged_first: Option<Boot>,
    /// It was given back: another one may take its place.
    is_free: bool,
}

impl Writers {
    pub(super) fn new(standing: JournalStanding) -> Self {
        Self {
            standing,
            own: Writer::default(),
            adopted: Vec::new(),
        }
    }

    pub(super) fn get(&self, slot: WriterSlot) -> &Writer {
        match usize::from(slot.0).checked_sub(1) {
            None => &self.own,
            Some(index) => held(self.adopted.get(index)),
        }
    }

    pub(super) fn get_mut(&mut self, slot: WriterSlot) -> &mut Writer {
        match usize::from(slot.0).checked_sub(1) {
            None => &mut self.own,
            Some(index) => held(self.adopted.get_mut(index)),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Writer> {
        std::iter::once(&self.own).chain(&self.adopted)
    }

    /// When the earliest of what was to be written later must be written.
    pub(super) fn flush_at(&self) -> Option<Mono> {
        self.all().filter_map(|one| one.flush_at).min()
    }

    /// Those whose time to write has come; each is named once.
    pub(super) fn take_due(&mut self, now: Mono) -> Vec<WriterSlot> {
        let mut due = Vec::new();
        let all = std::iter::once(&mut self.own).chain(&mut self.adopted);
        for (number, writer) in (0..).zip(all) {
            if writer.flush_at.take_if(|at| *at <= now).is_some() {
                due.push(WriterSlot(number));
            }
        }
        due
    }

    /// The next one of those who wait for a record up to `up_to`.
    pub(super) fn next_durable(&mut self, slot: WriterSlot, up_to: u64) -> Option<(u64, Key)> {
        let waiting = &mut self.get_mut(slot).waiting;
        let (position, _) = waiting.front()?;
        if *position > up_to {
            return None;
        }
        waiting.pop_front()
    }

    /// `key` waits for the last record that was given out.
    pub(super) fn wait(&mut self, slot: WriterSlot, key: Key) -> u64 {
        let writer = self.get_mut(slot);
        writer.waiting.push_back((writer.appended, key));
        writer.appended
    }

    /// No record will become durable any more.
    pub(super) fn forget_waiting(&mut self) {
        for writer in std::iter::once(&mut self.own).chain(&mut self.adopted) {
            writer.waiting.clear();
            writer.flush_at = None;
        }
    }
}

impl Owner {
    /// The store acknowledged a batch of `writer` that was sent then.
    pub fn acknowledged(&mut self, writer: WriterSlot, sent_at: Boot) {
        let writer = self.journal.get_mut(writer);
        writer.acknowledged = Some(sent_at);
        writer.acknowledged_first.get_or_insert(sent_at);
    }

    /// Makes room for a writer that was adopted; `None` when there are too many.
    pub fn adopt(&mut self) -> Option<WriterSlot> {
        let adopted = &mut self.journal.adopted;
        let free = adopted.iter().position(|one| one.is_free);
        let index = free.unwrap_or(adopted.len());
        if index >= STORE_ADOPTED_MAX {
            return None;
        }
        match adopted.get_mut(index) {
            Some(place) => *place = Writer::default(),
            None => adopted.push(Writer::default()),
        }
        u16::try_from(index + 1).ok().map(WriterSlot)
    }

    /// Whether a payment that is not settled has this writer.
    #[must_use]
    pub fn needs(&self, writer: WriterSlot) -> bool {
        self.flows.iter().any(|(_, flow)| flow.writer == writer)
    }

    /// An adopted writer that is not needed has ended: its place is another one's.
    pub fn release(&mut self, writer: WriterSlot) {
        self.journal.get_mut(writer).is_free = true;
    }

    /// The processor of `key` was asked about its id, and that settled nothing. Where the payment
    /// was adopted, sums wait until it is known whether the client of its former owner may have
    /// been told 200. No answer was told after half a lease of the first batch here, so what is
    /// shown of a question that was sent later says so. It changes nothing else: the payment keeps
    /// its processor and its id.
    pub(super) fn hear(&mut self, key: Key, inquiry: Inquiry, lookup: Lookup, now: Now) {
        let is_word = match lookup {
            Lookup::Stored { .. } => true,
            // Without the route a 404 is about the path and not about the payment.
            Lookup::NotFound => inquiry.is_proven,
            Lookup::NoAnswer => false,
        };
        let is_due = |flow: &&Flow| {
            let is_ending = matches!(flow.stage(), Stage::WritingVerdict { .. });
            let is_open = flow.pinned().is_some() && !is_ending;
            let adopted = self.journal.get(flow.writer).acknowledged_first;
            let is_late =
                adopted.is_some_and(|at| inquiry.asked_at.since(at) > limits::STORE_FRESH);
            flow.writer != WriterSlot::OWN && is_open && is_late && !flow.was_heard
        };
        let due = self.flows.get(key).filter(is_due);
        let due = due.map(|flow| (flow.writer, flow.payment.id));
        if let Some((writer, id)) = due
            && is_word
            && self.journal.standing == JournalStanding::On
        {
            held(self.flows.get_mut(key)).was_heard = true;
            self.append_later(writer, StoreLine::Heard { id }, now);
        }
    }

    /// Whether no other instance can have taken over what `writer` has, for all that is known: then
    /// an answer of 200 is covered before its verdict is, and an Intent's bytes may begin to leave.
    /// A journal is no one else's.
    pub(super) fn is_covered_by_lease(&self, writer: WriterSlot, now: Now) -> bool {
        if !self.settings.is_shared() {
            return true;
        }
        let acknowledged = self.journal.get(writer).acknowledged;
        acknowledged.is_some_and(|sent_at| now.boot.since(sent_at) < limits::STORE_FRESH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key {
        slot: 7,
        generation: 1,
    };

    #[test]
    fn each_writer_counts_its_own_records() {
        let mut writers = Writers::new(JournalStanding::On);
        writers.adopted.push(Writer::default());
        let other = WriterSlot(1);
        writers.get_mut(WriterSlot::OWN).appended = 3;
        writers.get_mut(other).appended = 1;
        assert_eq!(writers.wait(WriterSlot::OWN, KEY), 3);
        assert_eq!(writers.wait(other, KEY), 1);
        assert_eq!(writers.next_durable(WriterSlot::OWN, 2), None);
        assert_eq!(writers.next_durable(other, 1), Some((1, KEY)));
        assert_eq!(writers.next_durable(other, 1), None);
        assert_eq!(writers.next_durable(WriterSlot::OWN, 3), Some((3, KEY)));
    }

    #[test]
    fn what_is_late_is_written_once() {
        let mut writers = Writers::new(JournalStanding::On);
        writers.adopted.push(Writer::default());
        writers.get_mut(WriterSlot(1)).flush_at = Some(Mono(5));
        assert_eq!(writers.flush_at(), Some(Mono(5)));
        assert_eq!(writers.take_due(Mono(4)), []);
        assert_eq!(writers.take_due(Mono(5)), [WriterSlot(1)]);
        assert_eq!(writers.take_due(Mono(6)), []);
        assert_eq!(writers.flush_at(), None);
    }
}
