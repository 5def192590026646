//! Clients and the rings between cores. A client posts once, to any core, and gets one answer or
//! sees its connection close when the process dies.

use p99::testing::clock::{Mono, UnixMillis};
use p99::testing::events::{Answer, Arrival, ReplyTo};
use p99::testing::payment::{Cents, CoreId, CorrelationId, Payment, Status, UpstreamId};
use p99::testing::table::Key;

use crate::plan::MS;
use crate::simulation::{Event, Letter, World};
use crate::story::Story;

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) payment: Payment,
    core: usize,
    pub(crate) state: Waits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    NotYet,
    /// For the owner core since this moment, when it has the payment.
    Waiting {
        owner: Option<(u64, u64)>,
    },
    /// The answer was given and is on its way.
    Told(Answer),
    Answered(Answer),
    /// The process died, or was not there.
    Closed,
}

impl World {
    /// Draws the ids and who comes with them.
    pub(crate) fn invite_clients(&mut self) {
        for _ in 0..self.plan.ids {
            let raw = u128::from(self.luck.next()) << 64 | u128::from(self.luck.next());
            let correlation_id = CorrelationId::try_new(&UpstreamId(raw).to_string()).unwrap();
            let amount = Cents(self.luck.within(1..=1_000_000));
            let id = correlation_id.upstream_id();
            let payment = Payment {
                id,
                correlation_id,
                amount,
            };
            self.ids.push(payment);
            self.stories.insert(id, Story::default());
            let first = self.luck.within(0..=self.plan.span);
            for post in 0..self.luck.within(1..=self.plan.posts_max) {
                let mut payment = payment;
                if post > 0 && self.luck.chance(20) {
                    payment.amount = Cents(self.luck.within(1..=1_000_000));
                }
                let at = match post {
                    0 => first,
                    _ if self.luck.chance(50) => first + self.luck.within(0..=20 * MS),
                    _ => self.luck.within(first..=self.plan.span),
                };
                let core = usize::try_from(self.luck.within(0..=11)).unwrap();
                self.schedule_at(at, Event::Post(self.clients.len()));
                self.clients.push(Client {
                    payment,
                    core,
                    state: Waits::NotYet,
                });
            }
        }
    }

    pub(crate) fn post(&mut self, client: usize) {
        let Client { payment, core, .. } = self.clients[client];
        // Once an id is forgotten by a purge nothing is promised about it any more.
        if self.cores.is_empty() || self.stories[&payment.id].is_purged {
            self.clients[client].state = Waits::Closed;
            return;
        }
        let core = core % self.cores.len();
        if self.time < self.cores[core].awake_at {
            self.schedule_at(self.cores[core].awake_at, Event::Post(client));
            return;
        }
        self.clients[client].core = core;
        self.clients[client].state = Waits::Waiting { owner: None };
        let owner = payment.id.owner(self.count()).index();
        if owner == core {
            self.arrive(client, owner);
            return;
        }
        let under_way = self.handed_over.entry((core, owner)).or_default();
        if *under_way >= self.plan.mailbox_max {
            self.clients[client].state = Waits::Answered(Answer::Overloaded);
            return;
        }
        *under_way += 1;
        self.hand_over(core, owner, Letter::Pay(client));
    }

    fn hand_over(&mut self, from: usize, to: usize, letter: Letter) {
        self.mail.entry((from, to)).or_default().push_back(letter);
        let delay = self.luck.within(self.plan.mail.clone());
        self.schedule(delay, Event::Mail { from, to });
    }

    pub(crate) fn take_mail(&mut self, from: usize, to: usize) {
        match self
            .mail
            .get_mut(&(from, to))
            .and_then(std::collections::VecDeque::pop_front)
        {
            Some(Letter::Pay(client)) => self.arrive(client, to),
            Some(Letter::Purge) => self.purge_core(to),
            None => panic!("a message for every word of it"),
        }
    }

    fn arrive(&mut self, client: usize, core: usize) {
        let Client {
            payment,
            core: accepting,
            ..
        } = self.clients[client];
        if self.stories[&payment.id].is_purged {
            self.clients[client].state = Waits::Closed;
            return;
        }
        let reply_to = ReplyTo {
            core: CoreId(u16::try_from(accepting).unwrap()),
            key: Key {
                slot: u32::try_from(client).unwrap(),
                generation: self.process,
            },
        };
        let machine = &self.cores[core];
        let owner = Some((self.time, machine.stalled_in_all));
        self.clients[client].state = Waits::Waiting { owner };
        if machine.owner.find(payment.id).is_none() {
            self.stories.get_mut(&payment.id).unwrap().settled = None;
        }
        let arrival = Arrival {
            payment,
            reply_to,
            trace: None,
        };
        self.tell(|_| {
            format!(
                "    client {client}: {} of {:?}",
                payment.id, payment.amount
            )
        });
        self.tell_owner(core, |owner, now| owner.arrive(arrival, now));
    }

    /// The owner on `core` answers.
    pub(crate) fn answer(&mut self, core: usize, to: ReplyTo, answer: Answer) {
        let client = usize::try_from(to.key.slot).unwrap();
        assert_eq!(
            to.key.generation, self.process,
            "an answer to a client of this process"
        );
        let Waits::Waiting {
            owner: Some((since, stalled)),
        } = self.clients[client].state
        else {
            panic!(
                "client {client} is answered {answer:?} while {:?}",
                self.clients[client].state
            );
        };
        let stalled = self.cores[core].stalled_in_all - stalled;
        let patience = self.plan.settings.request_timeout;
        let disk = crate::disk::longest_wait(*self.plan.sync.end());
        let latest = Mono(since + stalled).after(patience + disk).0 + 2 * MS;
        assert!(
            self.time <= latest,
            "client {client} waited {} us, more than {} us",
            self.time - since,
            latest - since
        );
        self.clients[client].state = Waits::Told(answer);
        self.seen.insert(format!("answered {answer:?}"));
        let id = self.clients[client].payment.id;
        self.check_answer(core, id, answer);
        self.stories.get_mut(&id).unwrap().told(answer);
        let accepting = to.core.index();
        if accepting == core {
            self.clients[client].state = Waits::Answered(answer);
        } else {
            self.replies
                .entry((core, accepting))
                .or_default()
                .push_back((client, answer));
            let delay = self.luck.within(self.plan.mail.clone());
            self.schedule(
                delay,
                Event::Reply {
                    from: core,
                    to: accepting,
                },
            );
        }
    }

    pub(crate) fn take_reply(&mut self, from: usize, to: usize) {
        let reply = self
            .replies
            .get_mut(&(from, to))
            .and_then(std::collections::VecDeque::pop_front);
        let (client, answer) = reply.unwrap();
        *self.handed_over.get_mut(&(to, from)).unwrap() -= 1;
        self.clients[client].state = Waits::Answered(answer);
    }

    /// Someone has all cores forget what is settled.
    pub(crate) fn purge(&mut self) {
        if self.cores.is_empty() {
            return;
        }
        for core in 0..self.cores.len() {
            self.hand_over(0, core, Letter::Purge);
        }
    }

    fn purge_core(&mut self, core: usize) {
        for payment in &self.ids {
            let found = self.cores[core].owner.find(payment.id);
            if found.is_some_and(|found| found.status != Status::Pending) {
                self.stories.get_mut(&payment.id).unwrap().is_purged = true;
            }
        }
        self.is_purge_torn |= self.cores[core].has_failed;
        self.cores[core].charged = p99::testing::payment::PerProcessor::default();
        let lives = self.tell_owner(core, |owner, now| {
            owner.purge(now);
        });
        // The record of it may not have reached the disk, while other cores' did.
        self.is_purge_torn |= !lives;
    }

    /// The wall clock says this when another client charges: long ago, so never ours.
    pub(crate) fn long_ago(&mut self) -> UnixMillis {
        UnixMillis(self.wall().0 - 10_000_000 - i64::try_from(self.luck.within(0..=1_000)).unwrap())
    }
}
