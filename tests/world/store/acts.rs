//! What an instance does, and the sums that it is asked for.

use std::collections::BTreeMap;

use p99::testing::events::{Action, Exchange};
use p99::testing::payment::Processor;
use p99::testing::shared::{End, News};
use p99::testing::store::{Question, Reply, Window};

use super::{Event, MS, SECOND, Set, TROUBLE};

impl Set {
    pub(super) fn see(&mut self, sight: &'static str) {
        *self.sights.entry(sight).or_default() += 1;
    }

    pub(super) fn is_trouble(&self) -> bool {
        self.time < TROUBLE
    }

    pub(super) fn take_news(&mut self, index: usize) -> bool {
        while let Some((_, writers)) = &mut self.instances[index].core
            && let Some(news) = writers.next_news()
        {
            match news {
                News::Answered { question, reply } => self.hear_sum(index, question, &reply),
                News::Adopted(_) => self.see("an adoption"),
                News::Ended(End::Fenced(_)) => {
                    self.see("a fenced instance");
                    self.die(index);
                    return false;
                }
                News::Ended(end) => panic!("{end:?}"),
                News::Reachable(false) => self.see("a store that is away"),
                News::Committed { .. } | News::Registered(_) | News::Reachable(true) => {}
            }
        }
        true
    }

    pub(super) fn act(&mut self, index: usize, action: Action) {
        let life = self.instances[index].life;
        match action {
            Action::Connect {
                attempt, processor, ..
            } => {
                self.instances[index].attempts.insert(attempt, processor);
                if let Some((owner, _)) = &mut self.instances[index].core {
                    owner.connecting(attempt);
                }
                if self.is_trouble() && self.luck.chance(2) {
                    self.see("a way to no processor");
                    let span = self.luck.within(50..=3 * SECOND);
                    self.instances[index].deaf_until = self.time + span;
                }
                let event = if self.instances[index].deaf_until > self.time {
                    Event::Exchanged(index, life, attempt, Exchange::NotSent)
                } else {
                    Event::Connected(index, life, attempt)
                };
                self.after(MS, event);
            }
            Action::Send {
                attempt,
                id,
                amount,
                requested_at,
                ..
            } => {
                let processor = self.instances[index].attempts[&attempt];
                if let Some(exchange) = self.charge(processor, id, (requested_at, amount)) {
                    self.after(80 * MS, Event::Exchanged(index, life, attempt, exchange));
                }
            }
            Action::Lookup {
                attempt,
                processor,
                id,
                ..
            } => {
                let lookup = self.look_up(processor, id);
                self.after(5 * MS, Event::LookedUp(index, life, attempt, lookup));
            }
            Action::Append(slot, haste) => {
                if let Some((owner, writers)) = &mut self.instances[index].core {
                    let record = owner.next_record().expect("one for each Append");
                    writers.append(slot, &record, haste);
                }
            }
            Action::AppendToStore(slot, line, haste) => {
                if let Some((_, writers)) = &mut self.instances[index].core {
                    writers.append_line(slot, line, haste);
                }
            }
            Action::Flush(slot) => {
                if let Some((_, writers)) = &mut self.instances[index].core {
                    writers.flush(slot);
                }
            }
            Action::Answer { to, answer } => self.hear(to, answer),
            Action::Tell => {
                if let Some((owner, _)) = &mut self.instances[index].core {
                    assert!(owner.next_telling().is_some(), "one for each Tell");
                }
            }
            Action::Abandon { .. } | Action::Close { .. } | Action::Note(_) => {}
        }
    }

    pub(super) fn ask_sum(&mut self) {
        let index = self.any_instance();
        let told = self.told_charged();
        let one = &mut self.instances[index];
        if one.awake_at > self.time {
            return;
        }
        if let Some((_, writers)) = &mut one.core {
            let number = writers.ask(Question::Sum(Window::ALL));
            one.asked.insert(number, told);
        }
        self.tell(index, |_, _, _| {});
    }

    pub(super) fn hear_sum(&mut self, index: usize, question: u64, reply: &Reply) {
        let Some(told) = self.instances[index].asked.remove(&question) else {
            return;
        };
        let Reply::Sums(sums) = reply else {
            self.see("no sum");
            return;
        };
        self.see("a sum");
        self.sums += 1;
        let count = Processor::ALL
            .iter()
            .map(|one| sums.charged.get(*one).count);
        let count = usize::try_from(count.sum::<u64>()).unwrap();
        let rows: usize = self.stores.iter().map(BTreeMap::len).sum();
        assert!(
            (told..=rows).contains(&count),
            "exact: a sum of {count}, with {told} told before and {rows} charged"
        );
    }
}
