//! What is asked of the store beside records. Pure.
//!
//! Payments wait for what rides with their batch. So a sum is read at most twice, at first and when
//! its barrier has passed, and of sums over other windows only a few at a time.

use std::collections::VecDeque;
use std::time::Duration;

use super::barrier::{Barrier, Place, others};
use super::exchange::{OpenAt, Question, Reading, Reads, Reply, Report, SumReading, Window};
use super::record::{Row, WriterId};
use crate::clock::Boot;
use crate::ledger::CutsOldSecond;
use crate::payment::{UpstreamId, WindowSums};

/// Questions that wait for one core's batches; one more is answered as unavailable at once.
pub(super) const STORE_QUESTIONS_MAX: usize = 4_096;
/// Questions that one batch carries.
const STORE_QUESTIONS_A_BATCH: usize = 256;
/// Windows that one batch adds up: payments wait for what their batch reads.
const STORE_SUMS_A_BATCH: usize = 4;
/// How long a sum or a purge waits for the batches of other writers; then it is 503.
const STORE_SUM_PATIENCE: Duration = Duration::from_secs(1);
/// How long a question about one id waits for its writer; then what was read last is answered.
const STORE_FIND_PATIENCE: Duration = Duration::from_millis(100);
/// Pause before what has to be read again is read again.
pub(super) const STORE_ASK_AGAIN: Duration = Duration::from_millis(5);

/// A question that waits.
#[derive(Debug)]
struct Waiting {
    number: u64,
    what: What,
    /// It may be asked in a batch that holds the records up to here.
    behind: u64,
    /// When it was asked first.
    since: Option<Boot>,
    barrier: Barrier,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// The winner of a claim that this record lost.
    Winner {
        sequence: u64,
        id: UpstreamId,
    },
    Find(UpstreamId),
    Holder(WriterId),
    Sum(Window),
    /// Every other writer first; then the purge itself may ride in a batch.
    BeforePurge,
    Purge,
}

/// See the header of this file.
#[derive(Debug, Default)]
pub(super) struct Questions {
    waiting: VecDeque<Waiting>,
    last: u64,
    /// When those that were asked already may be asked again.
    again_at: Option<Boot>,
}

/// Which questions a batch carries, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    rows: Vec<(u64, UpstreamId)>,
    /// Those whose barrier alone is looked at.
    barriers: Vec<u64>,
    /// Each with the place of its window.
    sums: Vec<(u64, usize)>,
    holders: Vec<u64>,
    purge: Option<u64>,
}

/// Whether a batch that reads all this may carry `one`, too.
fn has_room(reads: &Reads, one: &Waiting) -> bool {
    let What::Sum(window) = one.what else {
        return true;
    };
    reads.sums.len() < STORE_SUMS_A_BATCH || one.barrier.is_closed() || reads.sums.contains(&window)
}

impl Questions {
    /// Takes a question behind the record `behind`.
    pub(super) fn ask(&mut self, question: Question, behind: u64) -> u64 {
        let what = match question {
            Question::Find(id) => What::Find(id),
            Question::Holder(writer) => What::Holder(writer),
            Question::Sum(window) => What::Sum(window),
            Question::Purge => What::BeforePurge,
        };
        self.push(what, behind)
    }

    /// Asks who won the id that the record of this sequence claimed.
    pub(super) fn ask_winner(&mut self, sequence: u64, id: UpstreamId) {
        self.push(What::Winner { sequence, id }, 0);
    }

    pub(super) fn are_too_many(&self) -> bool {
        self.waiting.len() > STORE_QUESTIONS_MAX
    }

    /// Answers one question as unavailable, and no other: least of all those about winners.
    pub(super) fn refuse(&mut self, number: u64) -> Option<Report> {
        self.end(number, Reply::Unavailable)
    }

    fn push(&mut self, what: What, behind: u64) -> u64 {
        self.last += 1;
        self.waiting.push_back(Waiting {
            number: self.last,
            what,
            behind,
            since: None,
            barrier: Barrier::default(),
        });
        self.last
    }

    /// When a batch is to be made for their sake, if any waits.
    pub(super) fn due(&self) -> Option<Boot> {
        // A purge waits for more than its barrier.
        let is_ready = |one: &Waiting| one.barrier.has_passed() && one.what != What::Purge;
        let is_due = |one: &Waiting| one.since.is_none() || is_ready(one);
        if self.waiting.iter().any(is_due) {
            return Some(Boot::default());
        }
        self.waiting.front().and(self.again_at)
    }

    /// The purge that is next, if one is: it goes alone. All records before it are durable, since
    /// it was asked before already.
    pub(super) fn carry_purge(&self) -> Option<Carried> {
        let purge = self.waiting.iter().find(|one| one.what == What::Purge)?;
        Some(Carried {
            purge: Some(purge.number),
            ..Carried::default()
        })
    }

    /// Those that a batch with all records up to `up_to` carries; none that purges.
    pub(super) fn carry(&mut self, up_to: u64, now: Boot, reads: &mut Reads) -> Carried {
        let mut carried = Carried::default();
        let mut count = 0;
        for one in &mut self.waiting {
            if one.behind > up_to || count >= STORE_QUESTIONS_A_BATCH {
                continue;
            }
            if one.what == What::Purge || !has_room(reads, one) {
                continue;
            }
            count += 1;
            one.since = one.since.or(Some(now));
            match one.what {
                What::Winner { id, .. } | What::Find(id) => {
                    carried.rows.push((one.number, id));
                    reads.rows.push(id);
                }
                What::Holder(writer) => {
                    carried.holders.push(one.number);
                    reads.holders.push(writer);
                }
                What::Sum(_) if one.barrier.is_closed() => {
                    carried.barriers.push(one.number);
                    reads.open = true;
                }
                What::Sum(window) => {
                    let known = reads.sums.iter().position(|other| *other == window);
                    let place = known.unwrap_or(reads.sums.len());
                    if known.is_none() {
                        reads.sums.push(window);
                    }
                    carried.sums.push((one.number, place));
                }
                What::BeforePurge => {
                    carried.barriers.push(one.number);
                    reads.open = true;
                }
                What::Purge => {}
            }
        }
        reads.rows.sort_unstable();
        reads.rows.dedup();
        carried
    }

    /// A batch of writer `own` that carried some was acknowledged.
    pub(super) fn read(
        &mut self,
        carried: &Carried,
        reading: &Reading,
        own: WriterId,
        now: Boot,
    ) -> Vec<Report> {
        let mut reports = Vec::new();
        for (number, id) in &carried.rows {
            let row = reading.rows.iter().find(|row| row.id == *id);
            let is_unreadable = reading.unreadable.iter().any(|(one, _)| one == id);
            reports.extend(if is_unreadable {
                self.unread(*number)
            } else {
                self.found(*number, row, own, now)
            });
        }
        for number in &carried.barriers {
            reports.extend(self.came_further(*number, &reading.open, own, now));
        }
        for (number, place) in &carried.sums {
            if let Some(sums) = reading.sums.get(*place) {
                reports.extend(self.summed(*number, sums, own, now));
            }
        }
        for (number, holder) in carried.holders.iter().zip(&reading.holders) {
            reports.extend(self.end(*number, Reply::Holder(holder.clone())));
        }
        reports.extend(self.purged(carried));
        self.again_at = Some(now.after(STORE_ASK_AGAIN));
        reports
    }

    /// A purge that was in doubt was done.
    pub(super) fn purged(&mut self, carried: &Carried) -> Option<Report> {
        carried
            .purge
            .and_then(|number| self.end(number, Reply::Purged))
    }

    /// A purge was not done. Unless something was in its way that passes, it is given up; and so it
    /// is when it has waited for long.
    pub(super) fn not_purged(
        &mut self,
        carried: &mut Carried,
        may_wait: bool,
        now: Boot,
    ) -> Option<Report> {
        let number = carried.purge.take()?;
        let one = self.waiting.iter().find(|one| one.number == number)?;
        if may_wait && !late(one, now, STORE_SUM_PATIENCE) {
            return None;
        }
        self.end(number, Reply::Unavailable)
    }

    /// The batch came to nothing, or its answer was not heard. Ids and holders are
    /// asked for again; a sum, or what is open, may be what took too long, so it is given up.
    pub(super) fn not_read(&mut self, carried: &mut Carried) -> Vec<Report> {
        carried.rows.clear();
        carried.holders.clear();
        let sums = std::mem::take(&mut carried.sums);
        let barriers = std::mem::take(&mut carried.barriers);
        let sums = sums.into_iter().map(|(number, _)| number);
        sums.chain(barriers)
            .filter_map(|number| self.end(number, Reply::Unavailable))
            .collect()
    }

    fn found(
        &mut self,
        number: u64,
        row: Option<&Row>,
        own: WriterId,
        now: Boot,
    ) -> Option<Report> {
        let one = self.waiting.iter_mut().find(|one| one.number == number)?;
        let found = Reply::Found(row.copied());
        if let What::Winner { sequence, id } = one.what {
            self.waiting.retain(|one| one.number != number);
            let row = row.copied();
            return Some(Report::Known { sequence, id, row });
        }
        let open = row.filter(|row| row.status.is_open() && row.writer != own);
        let at = open.map(Place::of_row).into_iter().collect();
        let is_late = late(one, now, STORE_FIND_PATIENCE);
        if one.barrier.passes(at) || is_late {
            return self.end(number, found);
        }
        None
    }

    /// The row is there, and cannot be read. Who lost a claim to it is told as if it were gone: it
    /// loses again, and gives up after a few times. Nothing is freed or charged by that, since the
    /// row keeps its id.
    fn unread(&mut self, number: u64) -> Option<Report> {
        let one = self.waiting.iter().find(|one| one.number == number)?;
        if let What::Winner { sequence, id } = one.what {
            self.waiting.retain(|one| one.number != number);
            let row = None;
            return Some(Report::Known { sequence, id, row });
        }
        self.end(number, Reply::Unavailable)
    }

    fn summed(
        &mut self,
        number: u64,
        sums: &SumReading,
        own: WriterId,
        now: Boot,
    ) -> Option<Report> {
        let one = self.waiting.iter_mut().find(|one| one.number == number)?;
        let is_unheard = sums.open.iter().any(|open| open.is_unheard);
        let is_late = late(one, now, STORE_SUM_PATIENCE);
        if let Some(boundary) = sums.cut {
            return self.end(number, Reply::Cut(CutsOldSecond { boundary }));
        }
        if is_unheard {
            return self.end(number, Reply::Unavailable);
        }
        if one.barrier.passes(others(&sums.open, own)) {
            let pending = sums.open.iter().map(|open| open.count).sum();
            let charged = sums.charged;
            return self.end(number, Reply::Sums(WindowSums { charged, pending }));
        }
        if is_late {
            return self.end(number, Reply::Unavailable);
        }
        None
    }

    /// The barrier of a sum that was read once, or of a purge. That one comes once all others have
    /// passed it, whatever was heard of their rows: it forgets none that is open.
    fn came_further(
        &mut self,
        number: u64,
        open: &[OpenAt],
        own: WriterId,
        now: Boot,
    ) -> Option<Report> {
        let one = self.waiting.iter_mut().find(|one| one.number == number)?;
        if one.barrier.passes(others(open, own)) {
            if one.what == What::BeforePurge {
                one.what = What::Purge;
            }
            return None;
        }
        late(one, now, STORE_SUM_PATIENCE)
            .then(|| self.end(number, Reply::Unavailable))
            .flatten()
    }

    fn end(&mut self, number: u64, reply: Reply) -> Option<Report> {
        let before = self.waiting.len();
        self.waiting.retain(|one| one.number != number);
        (self.waiting.len() < before).then_some(Report::Answered {
            question: number,
            reply,
        })
    }

    /// No batch can be made: what has waited for too long is told so.
    pub(super) fn expire(&mut self, now: Boot) -> Vec<Report> {
        let mut reports = Vec::new();
        self.waiting.retain_mut(|one| {
            one.since = one.since.or(Some(now));
            let is_kept =
                matches!(one.what, What::Winner { .. }) || !late(one, now, STORE_SUM_PATIENCE);
            if !is_kept {
                reports.push(Report::Answered {
                    question: one.number,
                    reply: Reply::Unavailable,
                });
            }
            is_kept
        });
        reports
    }

    /// No batch will ever be made again.
    pub(super) fn end_all(&mut self) -> Vec<Report> {
        let ended = self.waiting.drain(..);
        ended
            .filter(|one| !matches!(one.what, What::Winner { .. }))
            .map(|one| Report::Answered {
                question: one.number,
                reply: Reply::Unavailable,
            })
            .collect()
    }
}

fn late(one: &Waiting, now: Boot, patience: Duration) -> bool {
    one.since.is_some_and(|since| now.since(since) >= patience)
}

#[cfg(test)]
mod tests;
