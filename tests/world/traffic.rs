//! What goes to the processors and comes back: the model of both sides of a connection.

use p99::testing::clock::Now;
use p99::testing::events::{AttemptRef, Exchange, Lookup};
use p99::testing::payment::{Processor, UpstreamId};

use crate::machine::Link;
use crate::places::Store;
use crate::simulation::{Event, Request, World};
use crate::site::{Insert, Reply, Row};
use crate::story::Sent;

impl World {
    pub(crate) fn send(
        &mut self,
        core: usize,
        attempt: AttemptRef,
        (id, sent): (UpstreamId, Sent),
        now: Now,
    ) {
        let (processor, link) = self.cores[core].links[&attempt].clone();
        assert_eq!(link, Link::Ready, "only an unused connection is written to");
        if !self.is_healed && self.luck.chance(1) {
            // The kernel says that the connection is gone before it takes a byte.
            self.cores[core].links.remove(&attempt);
            self.cores[core]
                .owner
                .exchanged(attempt, Exchange::NotSent, now);
            return;
        }
        let (address, store) = self.cores[core].places[&attempt];
        self.check_intent(core, id, (processor, address), sent);
        self.check_place(id, processor, store);
        let number = self.requests.len();
        let story = self.stories.get_mut(&id).unwrap();
        if self.cores[core].disk.is_none() && !story.has_unresolved(processor) {
            story.minted = Some(now.wall);
        }
        story.send(number, (processor, self.plan.moves > 0), sent);
        let on_500 = self.plan.settings.upstream_500;
        let site = match store {
            Store::Own => self.sites.get(processor),
            Store::Stranger => self.strangers.get(processor),
        };
        let fare = site.fare(on_500, &mut self.luck);
        self.tell(|_| format!("    request {number}: {fare:?}"));
        self.requests.push(Request {
            id,
            processor,
            payment: sent,
            core,
            attempt,
            process: self.process,
            fare,
            store,
        });
        self.cores[core]
            .links
            .insert(attempt, (processor, Link::Sent(number)));
        self.schedule(fare.before, Event::Serve(number));
    }

    /// The processor works on a request, whether or not anybody still waits for it.
    pub(crate) fn serve(&mut self, number: usize) {
        let Request {
            fare,
            core,
            attempt,
            process,
            ..
        } = self.requests[number];
        let request = self.requests[number];
        let known = self.site(request.processor, request.store).known;
        let is_new = match fare.insert {
            Insert::Never => true,
            Insert::Now => self.insert(number),
            Insert::After(delay) => {
                self.schedule(delay, Event::LateInsert(number));
                true
            }
        };
        let exchange = match fare.reply {
            Reply::Honest => Exchange::Answered {
                status: if is_new { 200 } else { known },
                retry_after_secs: None,
            },
            Reply::Status(status, retry_after_secs) => Exchange::Answered {
                status,
                retry_after_secs,
            },
            Reply::Cut => Exchange::Cut,
            Reply::Nothing => return,
        };
        if process == self.process {
            self.schedule(
                fare.after,
                Event::Exchanged {
                    core,
                    attempt,
                    exchange,
                },
            );
        }
    }

    /// A request is stored, unless its id is.
    pub(crate) fn insert(&mut self, number: usize) -> bool {
        let Request {
            id,
            processor,
            payment,
            store,
            ..
        } = self.requests[number];
        let Sent {
            amount,
            requested_at,
        } = payment;
        let is_ours = |at: Processor, store: Store| {
            let row = self.site(at, store).rows.get(&id);
            row.is_some_and(|row| row.is_ours)
        };
        let is_here = |one: (Processor, Store)| one == (processor, store);
        let is_charged_there = Processor::ALL
            .into_iter()
            .flat_map(|at| [(at, Store::Own), (at, Store::Stranger)])
            .any(|one| !is_here(one) && is_ours(one.0, one.1));
        let row = Row {
            amount,
            requested_at: self.site(processor, store).stored(requested_at),
            sent: requested_at,
            is_ours: true,
        };
        let is_new = self.site_mut(processor, store).insert(id, row);
        assert!(
            !(is_new && is_charged_there),
            "I2: {id} is charged at two processors"
        );
        is_new
    }

    pub(crate) fn exchanged(&mut self, core: usize, attempt: AttemptRef, exchange: Exchange) {
        let Some((processor, Link::Sent(request))) = self.cores[core].links.get(&attempt).cloned()
        else {
            return;
        };
        self.cores[core].links.remove(&attempt);
        let id = self.requests[request].id;
        if let Exchange::Answered { status, .. } = exchange {
            *self.troubled.get_mut(processor) |= status == 429;
            let story = self.stories.get_mut(&id).unwrap();
            let on_500 = self.plan.settings.upstream_500;
            if let Some(covered) = story.answered(request, processor, (status, on_500)) {
                let link = Link::Answered(covered);
                self.cores[core].links.insert(attempt, (processor, link));
            }
        }
        if !self.tell_owner(core, |owner, now| owner.exchanged(attempt, exchange, now)) {
            return;
        }
        let links = &mut self.cores[core].links;
        if matches!(links.get(&attempt), Some((_, Link::Answered(_)))) {
            links.remove(&attempt);
        }
    }

    /// The processor looks an id up; what it says then stays said.
    pub(crate) fn read(&mut self, core: usize, attempt: AttemptRef, after: u64) {
        let Some((processor, Link::Asking { id, .. })) =
            self.cores[core].links.get(&attempt).cloned()
        else {
            return;
        };
        let (_, store) = self.cores[core].places[&attempt];
        let site = self.site(processor, store);
        let row = site.rows.get(&id).filter(|_| site.has_lookup);
        let lookup = row.map_or(Lookup::NotFound, |row| Lookup::Stored {
            requested_at: row.requested_at,
            amount: row.amount,
        });
        self.schedule(
            after,
            Event::LookedUp {
                core,
                attempt,
                lookup,
            },
        );
    }

    pub(crate) fn looked_up(&mut self, core: usize, attempt: AttemptRef, lookup: Lookup) {
        let Some((
            processor,
            Link::Asking {
                covered,
                id,
                is_proven,
            },
        )) = self.cores[core].links.get(&attempt).cloned()
        else {
            return;
        };
        self.cores[core].links.remove(&attempt);
        let read = self.cores[core].places.get(&attempt).map(|place| place.1);
        let requests = &self.requests;
        let is_read = |request: &usize| Some(requests[*request].store) == read;
        match lookup {
            Lookup::Stored { .. } => self.proven.get_mut(processor).extend(read),
            // It speaks of the books that it was read from, and of no others.
            Lookup::NotFound if is_proven && covered.iter().all(is_read) => {
                let story = self.stories.get_mut(&id).unwrap();
                story.not_found(&covered, processor);
            }
            Lookup::NotFound | Lookup::NoAnswer => {}
        }
        self.tell_owner(core, |owner, now| owner.looked_up(attempt, lookup, now));
    }
}
