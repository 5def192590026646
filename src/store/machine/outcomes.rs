//! What came of a command, and what a core is told of it. Everything that is not clearly done or
//! clearly not done stays in doubt, and `sending` asks about it first.

use std::time::Duration;

use super::super::doubt;
use super::super::exchange::{Adoption, Answer, Outcome, Reading, Report};
use super::super::page::PageFrom;
use super::{Flight, Held, Link, Machine, Pages, Unfinished};
use crate::clock::Boot;
use crate::limits;
use crate::payment::UpstreamId;

impl Machine {
    /// Takes the outcome of the command before.
    pub fn outcome(&mut self, outcome: Outcome, now: Boot) {
        let link = std::mem::replace(&mut self.link, Link::Up(now));
        match (link, outcome) {
            (Link::Ended, _) => self.link = Link::Ended,
            (Link::Connecting, Outcome::Connected) => {}
            (Link::Connecting, _) => {
                self.fail(now);
                self.tell_unreachable();
            }
            (Link::Registering(nonce), Outcome::Acknowledged(answer)) => {
                self.registered(&answer, nonce);
            }
            (Link::Adopting(nonce), Outcome::Acknowledged(Answer::Adopted(adoption))) => {
                let adoption = adoption.map(|one| Adoption { nonce, ..one });
                self.reports.extend(adoption.map(Report::Adopted));
            }
            (Link::Sent(flight), Outcome::Acknowledged(answer)) => {
                self.acknowledge(flight, answer, now);
            }
            (Link::Resolving(flight, nonce), Outcome::Acknowledged(answer)) => {
                self.resolved(flight, nonce, answer, now);
            }
            (mut link, Outcome::NotDone { code, .. }) => {
                let is_conflict = doubt::is_conflict(code);
                if let Link::Sent(flight) = &mut link {
                    self.give_up_purge(flight, is_conflict, now);
                }
                self.keep(link, false);
                self.failures += 1;
                // A backend that this writer has left may keep its row for long.
                if self.failures > 2 && (!is_conflict || self.is_back(now)) {
                    self.tell_unreachable();
                }
                let pause = if is_conflict {
                    // Not in step with the other one.
                    Boot(now.0.saturating_add(self.nonce().unsigned_abs() % 4_000))
                } else {
                    now.after(pause(self.failures))
                };
                self.link = Link::Up(pause);
                self.reports.extend(self.questions.expire(now));
            }
            (link, _) => {
                if matches!(link, Link::Sent(_)) {
                    self.doubtful += 1;
                }
                self.keep(link, true);
                self.fail(now);
            }
        }
    }

    /// What is not finished stays so. What was read behind a batch is asked again by itself: it may
    /// be why the batch came to nothing.
    fn keep(&mut self, link: Link, is_doubtful: bool) {
        self.unfinished = match link {
            Link::Sent(mut flight) => {
                let given_up = self.questions.not_read(&mut flight.carried);
                self.reports.extend(given_up);
                if std::mem::take(&mut flight.reads).page.is_some() {
                    self.want_page();
                }
                if is_doubtful {
                    Unfinished::InDoubt(flight)
                } else {
                    Unfinished::Again(flight)
                }
            }
            Link::Resolving(flight, _) => Unfinished::InDoubt(flight),
            Link::Down(_)
            | Link::Up(_)
            | Link::Connecting
            | Link::Registering(_)
            | Link::Adopting(_)
            | Link::Ended => return,
        };
    }

    /// A purge that was not done goes out of its batch, which is sent again without: a server that
    /// ends it, each time anew, must not keep a writer from everything else. Where another
    /// transaction was in its way its question waits for another batch, but not for long.
    fn give_up_purge(&mut self, flight: &mut Flight, may_wait: bool, now: Boot) {
        if std::mem::take(&mut flight.batch.is_purge) {
            let told = self
                .questions
                .not_purged(&mut flight.carried, may_wait, now);
            self.reports.extend(told);
        }
    }

    /// The connection is gone, or there was none.
    fn fail(&mut self, now: Boot) {
        // The first time at once: a server that ends a connection mostly takes the next one.
        let at = match self.failures {
            0 => now,
            count => now.after(pause(count)),
        };
        self.failures += 1;
        self.link = Link::Down(at);
        if self.failures > 2 {
            self.tell_unreachable();
        }
        self.reports.extend(self.questions.expire(now));
    }

    fn tell_unreachable(&mut self) {
        if !self.is_unreachable {
            self.is_unreachable = true;
            let since = self.acknowledged.unwrap_or(self.terms.now);
            self.reports.push_back(Report::Unreachable { since });
        }
    }

    fn registered(&mut self, answer: &Answer, nonce: i64) {
        let Answer::Registered { writer, epoch } = *answer else {
            self.end(Report::Broken(
                "a registration was answered otherwise".to_owned(),
            ));
            return;
        };
        self.held = Some(Held {
            writer,
            epoch,
            number: 0,
            nonce,
        });
        // The first batch at once: its acknowledgement is what answers rest on.
        self.is_wanted = true;
        self.reports.push_back(Report::Ready { writer });
    }

    fn acknowledge(&mut self, flight: Box<Flight>, answer: Answer, now: Boot) {
        let Answer::Batch {
            held,
            freed,
            updated,
            won,
            reading,
        } = answer
        else {
            self.end(Report::Broken("a batch was answered otherwise".to_owned()));
            return;
        };
        if !held {
            // An earlier copy of it, or another instance: asking says which.
            self.doubtful += 1;
            self.keep(Link::Sent(flight), true);
            return;
        }
        let (wanted, changed) = (flight.batch.freed.len(), flight.batch.updates.len());
        if (freed, updated) != (wanted as u64, changed as u64) {
            self.end(Report::Broken(format!(
                "batch {} should free {wanted} and change {changed} rows, and did {freed} and \
                 {updated}",
                flight.batch.number
            )));
            return;
        }
        self.applied(&flight, &won, flight.batch.nonce);
        let is_back = self.is_back(now);
        self.durable_now(&flight, now);
        let own = flight.batch.writer;
        let answered = self.questions.read(&flight.carried, &reading, own, now);
        self.reports.extend(answered);
        if is_back {
            self.look_at = now.after(limits::STORE_LOOK_GRACE);
        } else if !reading.expired.is_empty() {
            let expired = reading.expired.clone();
            self.reports.push_back(Report::Expired(expired));
        }
        if let Some(purges) = reading.purges {
            let before = self.purges.replace(purges);
            if before.is_some_and(|before| before < purges) {
                self.reports.push_back(Report::Purged);
            }
        }
        if let Some(from) = flight.reads.page {
            self.turn_page(from, reading, now);
        }
        if flight.batch.is_last {
            self.link = Link::Ended;
        }
    }

    fn resolved(&mut self, mut flight: Box<Flight>, nonce: i64, answer: Answer, now: Boot) {
        let Answer::Resolved { number, mine } = answer else {
            self.end(Report::Broken("a doubt was answered otherwise".to_owned()));
            return;
        };
        let wanted = flight.batch.number;
        match number {
            None => self.end(Report::Fenced),
            Some(number) if number == wanted => {
                self.applied(&flight, &mine, nonce);
                self.durable_now(&flight, now);
                let purged = self.questions.purged(&flight.carried);
                self.reports.extend(purged);
                if flight.batch.is_last {
                    self.link = Link::Ended;
                }
            }
            Some(number) if number + 1 == wanted => {
                if let Some(held) = &mut self.held {
                    held.nonce = nonce;
                }
                self.give_up_purge(&mut flight, true, now);
                self.unfinished = Unfinished::Again(flight);
            }
            Some(found) if found < wanted => {
                let ids = self.history.since(found);
                self.end(Report::WentBack {
                    acknowledged: wanted - 1,
                    found,
                    ids,
                });
            }
            Some(found) => self.end(Report::Broken(format!(
                "the writer's row is at batch {found}, and {wanted} was the last one sent"
            ))),
        }
    }

    /// The batch is applied, and of its claims these were won.
    fn applied(&mut self, flight: &Flight, won: &[UpstreamId], nonce: i64) {
        if let Some(held) = &mut self.held {
            held.number = flight.batch.number;
            held.nonce = nonce;
        }
        self.history.note(&flight.batch);
        let mut won = won.to_vec();
        won.sort_unstable();
        for (id, sequence) in &flight.claims {
            if won.binary_search(id).is_ok() {
                continue;
            }
            let (id, sequence) = (*id, *sequence);
            self.rows.lose(id);
            self.queue.retain(|(_, record)| record.id() != id);
            self.questions.ask_winner(sequence, id);
            self.reports.push_back(Report::Lost { sequence, id });
        }
    }

    /// Whether the store was away, for all that this writer knows: then the leases of those are
    /// over too who are about to renew them.
    fn is_back(&self, now: Boot) -> bool {
        let is_old = |sent_at: Boot| now.since(sent_at) >= limits::STORE_FRESH;
        self.acknowledged.is_none_or(is_old)
    }

    fn durable_now(&mut self, flight: &Flight, now: Boot) {
        self.failures = 0;
        self.acknowledged = Some(flight.sent_at);
        self.durable = flight.up_to;
        if std::mem::take(&mut self.is_unreachable) {
            self.reports.push_back(Report::Reachable);
        }
        self.reports.push_back(Report::Durable {
            up_to: flight.up_to,
            sent_at: flight.sent_at,
            size: flight.size,
            took: now.since(flight.made_at),
        });
    }

    /// The page that began at `from` was read.
    fn turn_page(&mut self, from: PageFrom, reading: Reading, now: Boot) {
        let is_lingering = matches!(from, PageFrom::Lingering(_));
        // What cannot be read stays open: this writer keeps its lease and is never done.
        self.has_unreadable |= !reading.unreadable.is_empty();
        let last = reading.page.last().filter(|_| !reading.is_last_page);
        let behind = last.and_then(|row| from.behind(row));
        let mut rows = reading.page;
        rows.retain(|row| !self.rows.has(row.id));
        for row in &rows {
            self.rows.adopt(row, is_lingering, now);
        }
        let since = self.pages.and_then(|pages| pages.since);
        let others = since.filter(|_| is_lingering).map(PageFrom::since);
        let next = behind.or(others);
        let is_last = next.is_none();
        self.pages = next.map(|from| Pages {
            from,
            since,
            // There is room for what was not used.
            is_wanted: rows.is_empty(),
        });
        if is_last && !self.has_unreadable {
            self.rows.end_pages();
        }
        if is_last || !rows.is_empty() {
            self.reports.push_back(Report::Page { rows, is_last });
        }
    }

    pub(super) fn end(&mut self, report: Report) {
        self.link = Link::Ended;
        self.unfinished = Unfinished::Nothing;
        self.queue.clear();
        self.reports.extend(self.questions.end_all());
        self.reports.push_back(report);
    }
}

/// The pause after this many failures in a row.
fn pause(failures: u32) -> Duration {
    let doubled = 1_u32 << failures.saturating_sub(1).min(8);
    (limits::STORE_PAUSE_FIRST * doubled).min(limits::STORE_PAUSE_MAX)
}
