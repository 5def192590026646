//! What the processors do, what clients do and hear, and what must hold in the end.

use std::collections::BTreeMap;

use p99::testing::clock::UnixMillis;
use p99::testing::events::{Answer, Arrival, Exchange, Lookup, ReplyTo};
use p99::testing::payment::{Cents, CoreId, Processor, Status, UpstreamId};
use p99::testing::store::RowStatus;
use p99::testing::table::Key;

use super::{Event, LATE, MS, SECOND, STUBBORN, Set};

impl Set {
    fn is_bad(&self, processor: Processor) -> bool {
        self.is_trouble() || (self.time < STUBBORN && processor == self.stubborn)
    }

    /// What the processor does with a request; `None` for silence.
    pub(super) fn charge(
        &mut self,
        processor: Processor,
        id: UpstreamId,
        row: (UnixMillis, Cents),
    ) -> Option<Exchange> {
        let answered = |status| {
            Some(Exchange::Answered {
                status,
                retry_after_secs: None,
            })
        };
        if self.stores[processor.index()].contains_key(&id) {
            return answered(422);
        }
        let (is_charged, told) = if !self.is_bad(processor) {
            (true, answered(200))
        } else {
            let odd = [
                (true, None),
                (false, None),
                (true, Some(Exchange::Cut)),
                (false, Some(Exchange::Cut)),
                (true, answered(500)),
                (false, answered(500)),
                (false, answered(429)),
                (false, answered(400)),
                (true, answered(200)),
                (true, answered(200)),
            ];
            self.luck.pick(&odd)
        };
        if is_charged {
            self.store(processor, id, row);
        } else if told == Some(Exchange::Cut) || told.is_none() {
            // It may still be on its way.
            if self.luck.chance(30) {
                let after = self.luck.within(MS..=15 * SECOND);
                self.at(self.time + after, Event::Charge(processor, id, row));
            }
        }
        told
    }

    pub(super) fn charge_late(
        &mut self,
        processor: Processor,
        id: UpstreamId,
        row: (UnixMillis, Cents),
    ) {
        if !self.stores[processor.index()].contains_key(&id) {
            self.see("a late charge");
            self.store(processor, id, row);
        }
    }

    fn store(&mut self, processor: Processor, id: UpstreamId, row: (UnixMillis, Cents)) {
        let others = self.stores.iter().filter(|store| store.contains_key(&id));
        assert_eq!(others.count(), 0, "I2: {id} is charged by two processors");
        self.stores[processor.index()].insert(id, row);
    }

    pub(super) fn look_up(&mut self, processor: Processor, id: UpstreamId) -> Lookup {
        let is_deaf = self.is_bad(processor) && self.luck.chance(50);
        match self.stores[processor.index()].get(&id) {
            _ if is_deaf => Lookup::NoAnswer,
            Some((requested_at, amount)) => Lookup::Stored {
                requested_at: *requested_at,
                amount: *amount,
            },
            None => Lookup::NotFound,
        }
    }

    pub(super) fn any_instance(&mut self) -> usize {
        let index = self.luck.within(0..=self.instances.len() as u64 - 1);
        usize::try_from(index).unwrap()
    }

    pub(super) fn post(&mut self, client: usize) {
        let payment = self.payments[client];
        // Its id is free again, and may be charged once more.
        if self.forgotten.contains_key(&payment.id) {
            return;
        }
        let index = self.any_instance();
        let one = &self.instances[index];
        if one.core.is_none() {
            return self.after(20 * MS, Event::Post(client));
        }
        if one.awake_at > self.time {
            let awake_at = one.awake_at;
            return self.at(awake_at, Event::Post(client));
        }
        let key = Key {
            slot: u32::try_from(client).unwrap(),
            generation: 0,
        };
        let arrival = Arrival {
            payment,
            reply_to: ReplyTo {
                core: CoreId(0),
                key,
            },
            trace: None,
        };
        self.tell(index, |owner, _, now| owner.arrive(arrival, now));
    }

    pub(super) fn hear(&mut self, to: ReplyTo, answer: Answer) {
        let client = usize::try_from(to.key.slot).unwrap();
        let id = self.payments[client].id;
        let is_charged = self.stores.iter().any(|store| store.contains_key(&id));
        match answer {
            Answer::Charged => assert!(is_charged, "200 for what is not charged"),
            Answer::Duplicate(Status::Processed) => {
                self.see("a lost claim that was processed");
                assert!(is_charged, "processed, and it is not charged");
            }
            Answer::RefusedByAll | Answer::Unavailable | Answer::RefusedForGood => {
                assert!(!is_charged, "I3: {answer:?} although it is charged");
                assert_eq!(self.told[client], None, "I3: freed after a promise");
            }
            Answer::Duplicate(Status::Pending) => self.see("a lost claim that was pending"),
            Answer::Accepted
            | Answer::Duplicate(Status::Refused)
            | Answer::Replayed(_)
            | Answer::AmountDiffers
            | Answer::NotTried
            | Answer::Overloaded
            | Answer::NoRoom
            | Answer::JournalDown
            | Answer::Silence => {}
        }
        let told = &mut self.told[client];
        if matches!(answer, Answer::Charged | Answer::Accepted) && told.is_none() {
            *told = Some(answer);
        }
        // At the end everything is well, and whoever was told nothing asks again.
        let is_open = matches!(
            answer,
            Answer::Silence
                | Answer::JournalDown
                | Answer::Overloaded
                | Answer::NoRoom
                | Answer::NotTried
                | Answer::Unavailable
        );
        if is_open && self.time >= LATE {
            self.after(100 * MS, Event::Post(client));
        }
    }

    pub(super) fn told_charged(&self) -> usize {
        let told = self.told.iter();
        told.filter(|told| **told == Some(Answer::Charged)).count()
    }

    /// All is well for long.
    pub(super) fn judge(&mut self) {
        for (client, payment) in self.payments.iter().enumerate() {
            let charged: Vec<Processor> = [Processor::DEFAULT, Processor::FALLBACK]
                .into_iter()
                .filter(|one| self.stores[one.index()].contains_key(&payment.id))
                .collect();
            let now = self.database.rows.get(&payment.id).map(|row| row.row);
            let forgotten = self.forgotten.get(&payment.id).copied();
            // One that came back behind its retention finds the charge of before.
            let is_foreign = now.is_some_and(|row| row.status == RowStatus::Foreign);
            let row = if is_foreign {
                forgotten
            } else {
                now.or(forgotten)
            };
            let name = &payment.correlation_id;
            match row.map(|row| row.status) {
                Some(status) if status.is_counted() => {
                    assert_eq!(charged.len(), 1, "{name} is in the books once");
                    assert_eq!(row.unwrap().processor, charged.first().copied());
                }
                Some(RowStatus::Refused) => {
                    assert_eq!(charged.len(), 0, "{name} was refused and is charged");
                    assert_ne!(self.told[client], Some(Answer::Charged));
                }
                status => panic!("{name} has not settled: {status:?}, charged {charged:?}"),
            }
        }
        let rows: usize = self.stores.iter().map(BTreeMap::len).sum();
        let totals = self.database.totals();
        let counted: u64 = Processor::ALL
            .iter()
            .map(|one| totals.get(*one).count)
            .sum();
        assert_eq!(counted, rows as u64, "the rollup and both books agree");
        assert!(self.sums > 0, "a sum was to be had");
    }
}
