//! The invariants, as far as they can be seen from outside: after every event, at every answer and
//! every send, after a restart, and when all has healed.

use std::net::SocketAddr;

use p99::testing::clock::UnixMillis;
use p99::testing::events::Answer;
use p99::testing::journal::Pending;
use p99::testing::ledger::CutsOldSecond;
use p99::testing::owner::SumFault;
use p99::testing::payment::{PerProcessor, Processor, Status, Totals, UpstreamId};

use crate::clients::Waits;
use crate::places::Store;
use crate::simulation::World;
use crate::story::Sent;

impl World {
    /// Bounds and sums of one core (I6, I8).
    pub(crate) fn check_core(&self, core: usize) {
        let settings = &self.plan.settings;
        let machine = &self.cores[core];
        let gauges = machine.owner.gauges();
        for processor in Processor::ALL {
            assert!(
                *gauges.in_flight.get(processor) <= self.plan.slots + self.plan.slots / 4 + 1,
                "I8: {gauges:?}"
            );
        }
        assert!(gauges.late <= settings.late_max, "I8: {gauges:?}");
        assert!(
            gauges.clients_waiting <= settings.waiting_max,
            "I8: {gauges:?}"
        );
        let most = settings.queue_max + settings.waiting_max + machine.restored;
        assert!(gauges.pending <= most, "I8: {gauges:?}");
        let waiting = machine
            .owner
            .unsettled()
            .filter(|flow| flow.waiter.is_some());
        assert_eq!(
            waiting.count(),
            gauges.clients_waiting,
            "I8: clients are counted"
        );
        assert_eq!(
            machine.owner.ledger_totals(),
            machine.charged,
            "I6: the ledger grows with charges alone"
        );
        self.check_haste(core);
    }

    /// Bytes leave: the Intent that says so is durable (I5), and its owner holds the id (I1).
    pub(crate) fn check_intent(
        &self,
        core: usize,
        id: UpstreamId,
        (at, address): (Processor, Option<SocketAddr>),
        sent: Sent,
    ) {
        assert_eq!(
            id.owner(self.count()).index(),
            core,
            "I1: only the owner sends"
        );
        let machine = &self.cores[core];
        let found = machine.owner.find(id);
        assert!(
            found.is_some_and(|found| found.status == Status::Pending),
            "I1: what is sent is claimed"
        );
        let Some(disk) = &machine.disk else { return };
        let pending = disk.state.find_pending(id);
        let open = pending.and_then(|pending| pending.open);
        assert!(
            open.is_some_and(|open| {
                (open.processor, open.requested_at) == (at, sent.requested_at)
                    && (address.is_none() || open.address == address)
            }),
            "I5: bytes go to {} and the disk says {pending:?}",
            at.name()
        );
        assert_eq!(
            pending.map(|one| one.payment.amount),
            Some(sent.amount),
            "I5: the amount"
        );
    }

    /// A client is told: what it may now count on is true, and durable with a journal.
    pub(crate) fn check_answer(&self, core: usize, id: UpstreamId, answer: Answer) {
        let machine = &self.cores[core];
        let story = &self.stories[&id];
        let found = machine.owner.find(id);
        let is_row = |is_ours: bool| {
            let row = |one: Processor| self.row(one, id);
            Processor::ALL
                .into_iter()
                .filter_map(row)
                .any(|row| !is_ours || row.is_ours)
        };
        let pending = machine
            .disk
            .as_ref()
            .map(|disk| disk.state.find_pending(id));
        let settled = machine.disk.as_ref().map(|disk| disk.settled(id));
        match answer {
            Answer::Charged => {
                assert!(is_row(true), "200 for a payment that nobody charged");
                self.check_early(core, id, "200");
            }
            Answer::Accepted => {
                let is_promised = |one: &Pending| one.accepted_at.is_some();
                let is_kept = pending.is_none_or(|one| one.is_some_and(is_promised));
                let is_settled = settled.is_some_and(|settled| settled.is_some());
                assert!(
                    is_kept || is_settled,
                    "I5: 202 before its promise is durable"
                );
            }
            Answer::Duplicate(Status::Processed) | Answer::Replayed(_) => {
                assert!(
                    is_row(false),
                    "409 processed for a payment that nobody charged"
                );
                self.check_early(core, id, "409 processed");
            }
            Answer::Duplicate(Status::Refused) => {
                assert!(!is_row(true), "409 refused for a payment that was charged");
            }
            Answer::RefusedForGood | Answer::RefusedByAll | Answer::Unavailable => {
                assert!(!is_row(true), "{answer:?} for a payment that was charged");
                assert_eq!(found, None, "{answer:?} frees the id");
                assert!(
                    pending.is_none_or(|pending| pending.is_none()),
                    "I5: {answer:?} while the disk would take it up again: {pending:?}"
                );
            }
            Answer::NotTried => panic!("{answer:?} without a store"),
            Answer::Silence | Answer::JournalDown => {
                assert!(machine.has_failed, "{answer:?} although the journal works");
            }
            Answer::Overloaded | Answer::NoRoom => {
                assert_eq!(found, None, "{answer:?} is said before claiming");
            }
            Answer::Duplicate(Status::Pending) => {
                assert!(found.is_some(), "409 pending for an id that is not known");
            }
            Answer::AmountDiffers => {
                assert!(story.settled.is_some() || found.is_some());
            }
        }
    }

    /// p99 counts a payment: the processor stores the same amount and time.
    pub(crate) fn check_charge(&self, core: usize, id: UpstreamId, processor: Processor) {
        let found = self.cores[core].owner.find(id).unwrap();
        let row = self.row(processor, id);
        let row =
            row.unwrap_or_else(|| panic!("{id} is counted and {} has no row", processor.name()));
        assert!(row.is_ours, "{id} is counted, but somebody else charged it");
        assert_eq!(
            found.amount, row.amount,
            "I6: the ledger has the processor's amount"
        );
        assert_eq!(found.requested_at, Some(row.sent), "I9: and its time");
        assert_eq!(
            (found.status, found.processor),
            (Status::Processed, Some(processor))
        );
    }

    /// After a restart: what was written down without anybody hearing of it happened.
    pub(crate) fn hear_of_the_past(&mut self) {
        for payment in self.ids.clone() {
            let core = payment.id.owner(self.count()).index();
            let Some(found) = self.cores[core].owner.find(payment.id) else {
                continue;
            };
            let is_counted = |row: &crate::site::Row| row.is_ours;
            let at = found.processor;
            let row = at.and_then(|one| self.row(one, payment.id));
            match (found.status, row) {
                (Status::Processed, Some(row)) if is_counted(&row) => {
                    self.check_charge(core, payment.id, at.unwrap());
                }
                (Status::Processed, Some(_)) | (Status::Pending | Status::Refused, _) => {}
                (Status::Processed, None) => panic!("{found:?}, but nobody charged {payment:?}"),
            }
            if found.status != Status::Pending {
                self.stories
                    .get_mut(&payment.id)
                    .unwrap()
                    .settle(found.status);
            }
        }
    }

    /// After a restart: nothing that anybody counts on is missing.
    pub(crate) fn check_memory(&self) {
        for (id, story) in &self.stories {
            if story.is_purged {
                continue;
            }
            let core = id.owner(self.count()).index();
            let found = self.cores[core].owner.find(*id);
            let status = found.map(|found| found.status);
            // A crash before its verdict was durable finds it open again.
            let is_open = found.is_some_and(|found| {
                let at = found.processor.filter(|_| found.status == Status::Pending);
                at.is_some_and(|at| self.row(at, *id).is_some())
            });
            if story.is_charged {
                assert!(
                    status == Some(Status::Processed) || is_open,
                    "{id} was told 200 and is {found:?}"
                );
                self.check_sum(*id);
            }
            if story.is_promised {
                assert!(status.is_some(), "{id} was told 202 and is forgotten");
            }
            if let Some(settled) = story
                .settled
                .filter(|settled| *settled == Status::Processed)
            {
                assert!(
                    status == Some(settled) || is_open,
                    "{id} was settled and is {found:?}"
                );
            }
            for processor in Processor::ALL {
                let is_pinned = found.is_some_and(|found| {
                    found.status == Status::Processed || found.processor == Some(processor)
                });
                assert!(
                    is_pinned || !story.has_unresolved(processor),
                    "I3: {id} may still be charged at {} and is {found:?}",
                    processor.name()
                );
            }
        }
    }

    pub(crate) fn unsettled(&self) -> Vec<String> {
        let flows = self
            .cores
            .iter()
            .flat_map(|machine| machine.owner.unsettled());
        flows.map(|flow| format!("{flow:?}")).collect()
    }

    /// Nothing is left to happen, all has healed.
    pub(crate) fn check_end(&mut self) {
        assert_eq!(
            self.unsettled(),
            Vec::<String>::new(),
            "all is settled in the end"
        );
        for client in &self.clients {
            assert!(
                matches!(client.state, Waits::Answered(_) | Waits::Closed),
                "every client gets its answer: {client:?}"
            );
        }
        for (id, story) in &self.stories {
            assert!(!story.is_promised, "{id} was told 202 and never settled");
        }
        for machine in &self.cores {
            let gauges = machine.owner.gauges();
            assert_eq!(
                gauges.in_flight,
                PerProcessor::default(),
                "I8: slots came back"
            );
            assert_eq!(
                (gauges.late, gauges.clients_waiting),
                (0, 0),
                "I8: nobody waits"
            );
        }
        self.check_books();
        if self.plan.crashes.is_empty() && self.cores.first().is_some_and(|one| one.disk.is_none())
        {
            return;
        }
        let before = self.memory();
        let sums = self.sums(None, None);
        self.plan.crashes.clear();
        self.crash();
        self.restart();
        assert_eq!(
            self.memory(),
            before,
            "a restart changes nothing that is known"
        );
        assert_eq!(self.sums(None, None), sums, "I6: nor the ledger");
    }

    /// The ledger is what the processors charged for us, in every window of time, unless a purge
    /// forgot some of it.
    fn check_books(&mut self) {
        let mut charged = Vec::new();
        for processor in Processor::ALL {
            let rows = [Store::Own, Store::Stranger]
                .map(|store| &self.site(processor, store).rows)
                .into_iter()
                .flatten();
            for (id, row) in rows {
                let story = &self.stories[id];
                if !row.is_ours || story.is_purged {
                    continue;
                }
                assert_eq!(
                    story.settled,
                    Some(Status::Processed),
                    "{id} is charged and p99 does not say so"
                );
                charged.push((processor, *row));
            }
        }
        if self.is_purge_torn {
            return;
        }
        let mut windows = vec![(None, None)];
        for _ in 0..8.min(charged.len()) {
            let (from, to) = (self.luck.pick(&charged).1, self.luck.pick(&charged).1);
            windows.push((Some(from.sent), Some(to.sent)));
            windows.push((Some(from.sent), Some(from.sent)));
            windows.push((Some(whole(from.sent, 0)), Some(whole(to.sent, 999))));
        }
        for (from, to) in windows {
            let mut expected = PerProcessor::<Totals>::default();
            let is_inside = |at| from.is_none_or(|from| from <= at) && to.is_none_or(|to| at <= to);
            for (processor, row) in charged.iter().filter(|(_, row)| is_inside(row.sent)) {
                expected.get_mut(*processor).add(Totals {
                    count: 1,
                    cents: u128::from(row.amount.0),
                });
            }
            match self.sums(from, to) {
                Ok(sums) => assert_eq!(
                    sums, expected,
                    "I6: the ledger is what was charged for us from {from:?} to {to:?}"
                ),
                Err(SumFault::CutsOldSecond(CutsOldSecond { boundary })) => {
                    let cuts = |edge: Option<UnixMillis>, last| {
                        edge.is_some_and(|edge| edge < boundary && whole(edge, last) != edge)
                    };
                    assert!(
                        cuts(from, 0) || cuts(to, 999),
                        "{from:?} to {to:?} are whole seconds, or younger than {boundary:?}"
                    );
                    self.seen.insert("an old second that is cut".to_owned());
                }
                Err(SumFault::Unresolved) => panic!("all is settled"),
            }
        }
    }

    fn sums(
        &self,
        from: Option<UnixMillis>,
        to: Option<UnixMillis>,
    ) -> Result<PerProcessor<Totals>, SumFault> {
        let mut sums = PerProcessor::<Totals>::default();
        for machine in &self.cores {
            let totals = machine.owner.sums(from, to)?.charged;
            for processor in Processor::ALL {
                sums.get_mut(processor).add(*totals.get(processor));
            }
        }
        Ok(sums)
    }

    fn memory(&self) -> Vec<(UpstreamId, Option<p99::testing::payment::PaymentView>)> {
        let find = |id: UpstreamId| {
            let core = id.owner(self.count()).index();
            self.cores[core].owner.find(id)
        };
        self.ids
            .iter()
            .map(|payment| (payment.id, find(payment.id)))
            .collect()
    }
}

/// This millisecond of its second.
fn whole(at: UnixMillis, millisecond: i64) -> UnixMillis {
    UnixMillis(at.0.div_euclid(1_000) * 1_000 + millisecond)
}
