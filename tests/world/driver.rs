//! The driver: what the owner asks for, performed against the model of sockets and disk.
use std::collections::BTreeSet;
use std::net::SocketAddr;

use p99::testing::breaker::State;
use p99::testing::clock::Now;
use p99::testing::events::{Action, AttemptRef, Exchange, Lookup, Note, WriterSlot};
use p99::testing::journal::{Haste, Record};
use p99::testing::payment::{Processor, Totals, UpstreamId};

use crate::disk::Disk;
use crate::machine::Link;
use crate::places::Store;
use crate::plan::MS;
use crate::simulation::{Event, World};
use crate::site::{Dial, Look};
use crate::story::Sent;

/// Where a connection leads, and whose books are there.
type Reached = Option<(Option<SocketAddr>, Store)>;

impl World {
    pub(crate) fn act(&mut self, core: usize, action: Action, now: Now) {
        match action {
            Action::Connect {
                attempt,
                processor,
                fresh,
                at,
            } => {
                let is_paused = *self.paused.get(processor);
                assert!(!is_paused, "{processor:?} is paused and gets nothing new");
                let reached = self.reach(processor, at);
                self.dial(core, attempt, (processor, fresh, reached), now);
            }
            Action::Abandon { attempt } => {
                let link = self.cores[core].links.remove(&attempt);
                assert!(
                    matches!(link, Some((_, Link::Dialling | Link::Ready))),
                    "I4: {attempt:?} is given back with {link:?}"
                );
            }
            Action::Send {
                attempt,
                id,
                amount,
                requested_at,
                trace: _,
            } => {
                let sent = Sent {
                    amount,
                    requested_at,
                };
                self.send(core, attempt, (id, sent), now);
            }
            Action::Lookup {
                attempt,
                processor,
                id,
                at,
            } => {
                let reached = self.reach(processor, at);
                self.look(core, attempt, (processor, id, reached));
            }
            Action::Close { attempt } => {
                self.cores[core].links.remove(&attempt);
            }
            Action::Append(_, haste) => {
                let record = self.cores[core].owner.next_record();
                self.append(core, (&record.expect("one for each Append"), haste), now);
            }
            Action::AppendToStore(..) => panic!("there is no store"),
            Action::Flush(_) => {
                if let Some(disk) = &mut self.cores[core].disk {
                    disk.flush();
                }
            }
            Action::Answer { to, answer } => self.answer(core, to, answer),
            Action::Note(note) => self.note(core, note),
            Action::Tell => {
                let telling = self.cores[core].owner.next_telling();
                assert!(telling.is_some(), "one for each Tell");
            }
        }
    }

    fn look(
        &mut self,
        core: usize,
        attempt: AttemptRef,
        (processor, id, reached): (Processor, UpstreamId, Reached),
    ) {
        let link = self.cores[core].links.remove(&attempt);
        let covered = match link {
            None => BTreeSet::new(),
            Some((_, Link::Answered(covered))) => covered,
            Some(other) => panic!("a lookup while {other:?}"),
        };
        let own = self.cores[core].places.get(&attempt).copied();
        let place = reached.or(own);
        let is_proven = place.is_some_and(|(_, store)| {
            let proven = self.proven.get(processor);
            proven.contains(&store)
        });
        let asking = Link::Asking {
            covered,
            id,
            is_proven,
        };
        self.cores[core].links.insert(attempt, (processor, asking));
        let machine = &mut self.cores[core];
        let look = match place {
            Some(place) => {
                machine.places.insert(attempt, place);
                let site = match place.1 {
                    Store::Own => self.sites.get(processor),
                    Store::Stranger => self.strangers.get(processor),
                };
                site.look(&mut self.luck)
            }
            None => Look::Useless(MS),
        };
        match look {
            Look::Honest { before, after } => {
                self.schedule(
                    before,
                    Event::Read {
                        core,
                        attempt,
                        after,
                    },
                );
            }
            Look::Useless(delay) => {
                let lookup = Lookup::NoAnswer;
                self.schedule(
                    delay,
                    Event::LookedUp {
                        core,
                        attempt,
                        lookup,
                    },
                );
            }
            Look::Nothing => {}
        }
    }

    fn dial(
        &mut self,
        core: usize,
        attempt: AttemptRef,
        (processor, is_fresh, reached): (Processor, bool, Reached),
        now: Now,
    ) {
        self.check_permit(core, attempt, processor);
        let dial = match reached {
            Some((_, store)) => {
                let site = match store {
                    Store::Own => self.sites.get(processor),
                    Store::Stranger => self.strangers.get(processor),
                };
                site.dial(&mut self.luck, is_fresh)
            }
            None => Dial::Failed(MS),
        };
        if let Some(place) = reached {
            self.cores[core].places.insert(attempt, place);
        }
        let link = match dial {
            Dial::Pooled => Link::Ready,
            Dial::Made(_) | Dial::Failed(_) => Link::Dialling,
        };
        let before = self.cores[core].links.insert(attempt, (processor, link));
        assert_eq!(before, None, "an attempt connects once");
        match dial {
            Dial::Pooled => {
                let address = self.cores[core].places[&attempt].0;
                self.cores[core].owner.connected(attempt, address, now);
                self.may_die(core, attempt);
            }
            Dial::Made(delay) => {
                self.cores[core].owner.connecting(attempt);
                self.schedule(
                    delay,
                    Event::Dialled {
                        core,
                        attempt,
                        is_made: true,
                    },
                );
            }
            Dial::Failed(delay) => {
                self.cores[core].owner.connecting(attempt);
                self.schedule(
                    delay,
                    Event::Dialled {
                        core,
                        attempt,
                        is_made: false,
                    },
                );
            }
        }
    }

    /// An unused connection may end while its Intent is being written.
    fn may_die(&mut self, core: usize, attempt: AttemptRef) {
        if !self.is_healed && self.luck.chance(4) {
            let delay = self.luck.within(10..=5 * MS);
            self.schedule(delay, Event::Died { core, attempt });
        }
    }

    pub(crate) fn dialled(&mut self, core: usize, attempt: AttemptRef, is_made: bool) {
        let Some((_, link)) = self.cores[core].links.get(&attempt) else {
            return;
        };
        if *link != Link::Dialling {
            return;
        }
        if is_made && self.is_still_there(core, attempt) {
            if let Some((_, link)) = self.cores[core].links.get_mut(&attempt) {
                *link = Link::Ready;
            }
            self.may_die(core, attempt);
            let address = self.cores[core].places[&attempt].0;
            self.tell_owner(core, |owner, now| owner.connected(attempt, address, now));
        } else {
            self.lose(core, attempt);
        }
    }

    pub(crate) fn died(&mut self, core: usize, attempt: AttemptRef) {
        if self.cores[core]
            .links
            .get(&attempt)
            .is_some_and(|(_, link)| *link == Link::Ready)
        {
            self.lose(core, attempt);
        }
    }

    fn lose(&mut self, core: usize, attempt: AttemptRef) {
        self.cores[core].links.remove(&attempt);
        self.tell_owner(core, |owner, now| {
            owner.exchanged(attempt, Exchange::NotSent, now)
        });
    }

    fn append(&mut self, core: usize, (record, haste): (&Record, Haste), now: Now) {
        let machine = &mut self.cores[core];
        assert!(
            !machine.has_failed,
            "I5: nothing is appended to a journal that failed"
        );
        machine
            .disk
            .as_mut()
            .expect("I5: there is a journal")
            .append(record, haste, now.mono);
        match record {
            Record::Intent {
                payment,
                requested_at,
                ..
            } => {
                let at = machine
                    .owner
                    .find(payment.id)
                    .and_then(|found| found.processor);
                assert!(
                    at.is_some() || *requested_at == now.wall,
                    "I9: minted with the Intent"
                );
                self.stories.get_mut(&payment.id).unwrap().minted = Some(*requested_at);
            }
            Record::Accept { .. } | Record::Verdict { .. } | Record::Purge { .. } => {}
        }
    }

    pub(crate) fn start_sync(&mut self, core: usize) {
        let machine = &mut self.cores[core];
        if machine.has_failed {
            return;
        }
        if machine.disk.as_mut().is_some_and(Disk::begin_batch) {
            let delay = self.luck.within(self.plan.sync.clone());
            let fails = self.plan.journal_fails && !self.is_healed && self.luck.chance(3);
            // Most batches find room in the segment in use.
            let has_no_room = self.is_disk_full() && self.luck.chance(30);
            if has_no_room {
                self.seen.insert("a disk that is full".to_owned());
            }
            let event = if fails || has_no_room {
                Event::SyncFailed { core }
            } else {
                Event::Synced { core }
            };
            self.schedule(delay, event);
        }
    }

    pub(crate) fn synced(&mut self, core: usize) {
        let up_to = self.cores[core].disk.as_mut().unwrap().end_batch();
        self.tell_owner(core, |owner, now| {
            owner.durable(WriterSlot::OWN, up_to, now)
        });
    }

    /// The process tells whom it may tell, and dies.
    pub(crate) fn sync_failed(&mut self, core: usize) {
        self.cores[core].has_failed = true;
        let delay = self.luck.within(MS..=200 * MS);
        self.schedule(delay, Event::Crash);
        self.tell_owner(core, |owner, _| owner.journal_failed());
    }

    fn note(&mut self, core: usize, note: Note) {
        let seen = match note {
            Note::AttemptEnded {
                outcome, reason, ..
            } => format!("{outcome:?} by {reason:?}"),
            Note::LateAnswer(_) => "a late answer".to_owned(),
            Note::LateReadDropped => "a late answer given up".to_owned(),
            Note::Duplicate(status) => format!("a duplicate of one {status:?}"),
            Note::Settled { status, .. } => format!("settled as {status:?}"),
            Note::Foreign { .. } => "charged by another client".to_owned(),
            Note::Shed(shed) => format!("shed for {shed:?}"),
            Note::Hedge(_, hedge) => format!("a hedge {hedge:?}"),
            Note::Resent(_) => "sent again".to_owned(),
            Note::LookedUp(..) => "looked up".to_owned(),
            Note::Move(..) => "a processor that moved".to_owned(),
            Note::Breaker(_, transition) => format!("{transition:?}"),
        };
        self.seen.insert(seen);
        if let Note::Breaker(processor, moved) = note
            && (moved.from, moved.to) == (State::Closed, State::Open)
        {
            *self.troubled.get_mut(processor) = true;
        }
        if let Note::Settled {
            id,
            status,
            processor,
            amount,
        } = note
        {
            self.stories.get_mut(&id).unwrap().settle(status);
            if let Some(processor) = processor {
                self.cores[core].charged.get_mut(processor).add(Totals {
                    count: 1,
                    cents: u128::from(amount.0),
                });
                self.check_charge(core, id, processor);
            }
        }
    }
}
