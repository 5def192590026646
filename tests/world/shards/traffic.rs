//! What the processors do, what the balancer and its clients do, and what must hold of it.

use std::collections::{BTreeMap, BTreeSet};

use p99::testing::clock::UnixMillis;
use p99::testing::events::{Answer, Arrival, Exchange, ReplyTo};
use p99::testing::owner::Owner;
use p99::testing::payment::{
    Cents, CoreId, Payment, PerProcessor, Processor, Status, Totals, UpstreamId,
};
use p99::testing::table::Key;
use p99::testing::wire::Introduction;

use super::{Event, Instance, MS, STUBBORN, Set, TROUBLE};

impl Set {
    pub(super) fn is_bad(&self, processor: Processor) -> bool {
        let is_stubborn = self.time < STUBBORN && processor == self.stubborn;
        self.time < TROUBLE || is_stubborn || self.is_dead(processor)
    }

    /// It takes what it is sent, and is never heard again.
    pub(super) fn is_dead(&self, processor: Processor) -> bool {
        self.is_for_ever && self.time >= TROUBLE && processor == self.stubborn
    }

    /// The payments that wait for the word of one that is not heard again.
    pub(super) fn pinned(&self) -> impl Iterator<Item = UpstreamId> {
        let owners = self.instances.iter().filter_map(|one| one.owner.as_ref());
        let flows = owners.flat_map(Owner::unsettled);
        let pinned = flows.filter(|flow| flow.pinned().is_some_and(|at| self.is_dead(at)));
        pinned.map(|flow| flow.payment.id)
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
            let never_heals = self.time >= TROUBLE;
            let odd = [
                (true, None),
                (false, None),
                (true, Some(Exchange::Cut)),
                (false, Some(Exchange::Cut)),
                (true, answered(500)),
                (false, answered(500)),
                (false, answered(429)),
                (true, answered(200)),
            ];
            self.luck.pick(&odd[..if never_heals { 4 } else { 8 }])
        };
        if is_charged {
            let others = self.stores.iter().filter(|store| store.contains_key(&id));
            assert_eq!(others.count(), 0, "I2: {id} is charged by two processors");
            self.stores[processor.index()].insert(id, row);
        }
        told
    }

    /// The balancer sends it anywhere; a shard that is not its own says 421, and the client sends
    /// the same id again.
    pub(super) fn post(&mut self, client: usize) {
        let payment = self.payments[client];
        let index = self.luck.within(0..=self.instances.len() as u64 - 1);
        let index = usize::try_from(index).unwrap();
        let one = &self.instances[index];
        if one.owner.is_none() || !one.shard.owns(&payment.correlation_id) {
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
        self.tell(index, |owner, now| owner.arrive(arrival, now));
        self.look(client);
    }

    pub(super) fn hear(&mut self, to: ReplyTo, answer: Answer) {
        let client = usize::try_from(to.key.slot).unwrap();
        let id = self.payments[client].id;
        let is_charged = self.stores.iter().any(|store| store.contains_key(&id));
        match answer {
            Answer::Charged | Answer::Duplicate(Status::Processed) => assert!(is_charged),
            Answer::RefusedByAll | Answer::Unavailable | Answer::RefusedForGood => {
                assert!(!is_charged, "{answer:?} although it is charged");
            }
            Answer::Accepted
            | Answer::Duplicate(Status::Pending | Status::Refused)
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
    }

    /// `GET`: 421 of the others, and the owner knows what was acknowledged.
    fn look(&self, client: usize) {
        let Payment {
            id, correlation_id, ..
        } = self.payments[client];
        if self.told[client].is_none() {
            return;
        }
        for one in &self.instances {
            if let Some(owner) = one
                .owner
                .as_ref()
                .filter(|_| one.shard.owns(&correlation_id))
            {
                assert!(
                    owner.find(id).is_some(),
                    "404 for {correlation_id}, acknowledged"
                );
            }
        }
    }

    /// One shard adds up all of them, as `pay` does.
    pub(super) fn sum(&mut self) {
        let own = self.luck.within(0..=self.instances.len() as u64 - 1);
        let own = usize::try_from(own).unwrap();
        let time = self.time;
        let answer = |one: &Instance| -> Option<(Introduction, PerProcessor<Totals>)> {
            let owner = one.owner.as_ref().filter(|_| one.awake_at <= time)?;
            Some((one.peers.introduce(), owner.sums(None, None).ok()?.charged))
        };
        let Some((_, mut sum)) = answer(&self.instances[own]) else {
            return;
        };
        let others = (0..self.instances.len()).filter(|index| *index != own);
        let round: Vec<_> = others.map(|index| answer(&self.instances[index])).collect();
        let said: Vec<_> = round
            .iter()
            .map(|one| one.clone().map(|(who, _)| who))
            .collect();
        if self.instances[own].peers.meet(&said, &[]).1.is_err() {
            assert!(round.iter().any(Option::is_none), "all are there");
            return;
        }
        for (_, totals) in round.iter().flatten() {
            for processor in Processor::ALL {
                sum.get_mut(processor).add(*totals.get(processor));
            }
        }
        let count: u64 = Processor::ALL.iter().map(|one| sum.get(*one).count).sum();
        let charged = self
            .told
            .iter()
            .filter(|told| **told == Some(Answer::Charged));
        let rows: usize = self.stores.iter().map(BTreeMap::len).sum();
        assert!(
            (charged.count() as u64..=rows as u64).contains(&count),
            "a sum of {count} is no sum over all shards"
        );
    }

    /// Hours later, and all is well that will be.
    pub(super) fn judge(&mut self) {
        let pinned: BTreeSet<_> = self.pinned().collect();
        for client in 0..self.payments.len() {
            self.look(client);
            let Payment {
                id, correlation_id, ..
            } = self.payments[client];
            let rows = self
                .stores
                .iter()
                .filter(|store| store.contains_key(&id))
                .count();
            let owner = self
                .instances
                .iter()
                .find(|one| one.shard.owns(&correlation_id))
                .unwrap();
            let found = owner.owner.as_ref().unwrap().find(id);
            let status = found.map(|found| found.status);
            if pinned.contains(&id) {
                assert_eq!(status, Some(Status::Pending), "{correlation_id}");
                assert!(rows <= 1);
                continue;
            }
            assert_eq!(
                rows, 1,
                "{correlation_id} was repeated until it was charged"
            );
            assert_eq!(status, Some(Status::Processed), "{correlation_id} settles");
        }
        let ledger: u64 = self
            .instances
            .iter()
            .filter_map(|one| Some(one.owner.as_ref()?.ledger_totals()))
            .map(|totals| {
                Processor::ALL
                    .iter()
                    .map(|one| totals.get(*one).count)
                    .sum::<u64>()
            })
            .sum();
        let settled = self.payments.len() - pinned.len();
        assert_eq!(ledger, settled as u64, "both books agree");
    }
}
