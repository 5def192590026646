//! The process dies, and another one starts from what the disks kept, perhaps with other cores.
use std::sync::Arc;
use std::time::Duration;

use p99::testing::claims::Claims;
use p99::testing::events::WriterSlot;
use p99::testing::journal::distribute;
use p99::testing::journal::replay::State;
use p99::testing::owner::{Owner, Processors, Restored};
use p99::testing::payment::{CoreCount, PerProcessor, Processor, Status, Totals};

use crate::clients::Waits;
use crate::disk::{self, Disk};
use crate::machine::Machine;
use crate::plan::{MS, SECOND};
use crate::simulation::{Event, Letter, World};
use crate::story::Story;

impl World {
    pub(crate) fn crash(&mut self) {
        if self.cores.is_empty() {
            return;
        }
        self.tell(|world| format!("---- process {} dies ----", world.process));
        let torn_tails = self.plan.torn_tails;
        // No one was told that it was done, and it may be on some disks and not on others.
        self.is_purge_torn |= self.cores.iter().any(Machine::is_purging)
            || self
                .mail
                .values()
                .flatten()
                .any(|letter| matches!(letter, Letter::Purge));
        for machine in std::mem::take(&mut self.cores) {
            let disk = machine.disk.expect("only a journal survives");
            self.remains.push(disk.crash(&mut self.luck, torn_tails));
        }
        self.process += 1;
        self.mail.clear();
        self.replies.clear();
        self.handed_over.clear();
        self.proven = PerProcessor::default();
        self.probes = PerProcessor::default();
        for client in &mut self.clients {
            if matches!(client.state, Waits::Waiting { .. } | Waits::Told(_)) {
                client.state = Waits::Closed;
            }
        }
        let longest = self.luck.pick(&[0, 50 * MS, 3 * SECOND]);
        let delay = self.luck.within(0..=longest);
        self.schedule(delay, Event::Restart);
    }

    pub(crate) fn restart(&mut self) {
        if self.plan.settings_change {
            self.plan.change_settings(&mut self.luck);
            self.seen.insert("other settings".to_owned());
        }
        let settings = self.plan.settings;
        let count = CoreCount(u16::from(self.plan.cores_after_restart));
        self.plan.cores_after_restart = self.luck.pick(&[1, 2, 3, 4]);
        let remains = std::mem::take(&mut self.remains);
        let before = sum(&remains);
        let mut states = distribute(remains, count, || disk::blank(&settings)).unwrap();
        assert_eq!(
            sum(&states),
            before,
            "I6: a restart moves the ledger, no more"
        );
        self.processors = Arc::new(Processors::new(
            self.plan.settings.processors,
            self.plan.breaker,
            self.plan.bounds(u8::try_from(count.0).unwrap()),
        ));
        for processor in self.plan.settings.processors.all() {
            let is_paused = *self.paused.get(processor);
            self.processors.set_paused(processor, is_paused);
        }
        self.limits = PerProcessor::default();
        self.crash_at = self.plan.crashes.pop().map(|after| self.steps + after);
        let process = self.process;
        self.seen.insert("a restart".to_owned());
        disk::age(&mut states, self.wall());
        let mut pendings = Vec::new();
        for mut state in states {
            state.end_unkept();
            let disk = Disk::new(disk::snapshot(&state, &settings));
            pendings.push(state.pending().into_iter().cloned().collect::<Vec<_>>());
            self.cores.push(self.revive(state, disk));
        }
        self.begin_resolving();
        if self.process != process {
            return;
        }
        for (core, pending) in pendings.into_iter().enumerate() {
            for one in pending {
                let restored = Restored {
                    payment: one.payment,
                    address: one.open.and_then(|sent| sent.address),
                    accepted_at: one.accepted_at,
                    open: one.open.map(|sent| (sent.processor, sent.requested_at)),
                    earlier: one.earlier.iter().map(|sent| sent.requested_at).collect(),
                    writer: WriterSlot::OWN,
                };
                assert!(
                    restored.accepted_at.is_some() || restored.open.is_some(),
                    "a start takes up a payment that no client counts on: {restored:?}"
                );
                self.cores[core].restored += 1;
                if let Some(open) = one.open {
                    let story = self.stories.get_mut(&one.payment.id).unwrap();
                    story.minted = Some(open.requested_at);
                    story.reopen();
                }
                self.tell(|_| format!("    core {core}: {restored:?}"));
                if !self.tell_owner(core, |owner, now| owner.restore(&restored, now)) {
                    return;
                }
            }
        }
        assert_eq!(process, self.process);
        self.undo_purges();
        self.check_memory();
        self.hear_of_the_past();
    }

    /// A purge that was not durable forgot nothing. One that was durable up to its own record may
    /// have forgotten what had settled right before it, before anybody heard of either.
    fn undo_purges(&mut self) {
        let count = self.count();
        for (id, story) in &mut self.stories {
            let core = id.owner(count).index();
            let is_known = self.cores[core].owner.find(*id).is_some();
            // By us or, where p99 had learnt of it, by another client.
            let is_row = |one: &Processor| {
                let books = [self.sites.get(*one), self.strangers.get(*one)];
                books.iter().any(|site| site.rows.contains_key(id))
            };
            let is_charged = Processor::ALL.iter().any(is_row);
            let is_over = is_charged || story.is_refused();
            if self.is_purge_torn && is_over && !is_known && !story.is_charged {
                *story = Story::default();
                story.is_purged = true;
            }
            story.is_purged &= !is_known;
        }
    }

    fn revive(&self, state: State, disk: Disk) -> Machine {
        let settings = self.plan.settings;
        let mut claims =
            Claims::new(settings.claims_max, settings.claims_ttl).when_full(settings.claims_full);
        let now = p99::testing::clock::Mono(self.time);
        for (id, claim) in state.settled() {
            assert!(claim.status != Status::Pending);
            assert!(
                claims.restore(id, claim, Duration::ZERO, now),
                "an id is settled once"
            );
        }
        let charged = disk::totals(&state.ledger);
        let processors = Arc::clone(&self.processors);
        let owner = Owner::with_past(settings, processors, claims, state.ledger);
        let mut machine = Machine::new(owner, Some(disk));
        machine.charged = charged;
        machine.tick_at = Some(self.time);
        machine
    }
}

fn sum(states: &[State]) -> PerProcessor<Totals> {
    let mut sums = PerProcessor::<Totals>::default();
    for state in states {
        let part = disk::totals(&state.ledger);
        for processor in Processor::ALL {
            sums.get_mut(processor).add(*part.get(processor));
        }
    }
    sums
}
