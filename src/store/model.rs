//! A store without PostgreSQL: the tables as maps, each transaction as what its statements say. For
//! tests of machines and for the simulated world; nothing of p99 itself uses it. Its driver
//! decides which transactions reach it, when, how often, and whose answers get back.

mod reads;
mod sums;
mod sweeps;

use std::collections::{BTreeMap, BTreeSet};

use super::batch::{Batch, Change, Claim, Pin, Update};
use super::doubt::{Ended, Told};
use super::exchange::{Adoption, Answer, Outcome, Reading, Reads, Transaction};
use super::parts::hour_of;
use super::record::{Epoch, Row, RowStatus, WriterId};
use crate::limits;
use crate::payment::{CorrelationId, Processor, Totals, UpstreamId};

/// A writer's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelWriter {
    /// Counts who held it.
    pub epoch: Epoch,
    /// Its last batch.
    pub batch: i64,
    /// The last one that held all that it had answered by then.
    pub whole: i64,
    /// What its last write wrote.
    pub nonce: i64,
    /// When its lease ends, on the database's clock in microseconds.
    pub lease_until: u64,
    /// The least `at` of its open rows.
    pub open_since: Option<i64>,
}

/// A payment's row, and the batches that claimed and settled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelRow {
    /// What a read shows, but for its writer's state.
    pub row: Row,
    /// The batch that claimed it.
    pub batch: i64,
    /// The batch that settled it.
    pub settled_batch: Option<i64>,
    /// When, on the database's clock in microseconds.
    pub settled_at: Option<u64>,
}

/// See the header of this file.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Payments.
    pub rows: BTreeMap<UpstreamId, ModelRow>,
    /// Writers.
    pub writers: BTreeMap<WriterId, ModelWriter>,
    /// Sums by writer, processor and second.
    pub rollup: BTreeMap<(WriterId, Processor, i64), Totals>,
    /// Open rows that linger.
    pub lingering: BTreeSet<(WriterId, UpstreamId)>,
    /// How many writers there ever were.
    pub registered: i32,
    /// How often it was purged.
    pub purges: i64,
    /// Which sweeper has the turn, and until when on the database's clock.
    pub turn: (i64, u64),
    /// When it was made: milliseconds on the database's clock.
    pub made: i64,
    /// What settled before may be forgotten, the same; `None` until it was swept.
    pub cut: Option<i64>,
    /// From when on every charge has its row.
    pub exact_from: i64,
}

/// What is heard of `answer` when its COMMIT was answered with a notice of warning.
#[must_use]
pub fn behind_a_notice(answer: Answer) -> Outcome {
    let warning = Told {
        code: *b"01000",
        text: "canceling wait for synchronous replication due to user request".to_owned(),
    };
    let ended = Ended::Ready {
        status: b'I',
        has_committed: true,
        warning: Some(warning),
        error: None,
    };
    let done: Result<(), Outcome> = ended.judge().into();
    done.map_or_else(|outcome| outcome, |()| Outcome::Acknowledged(answer))
}

impl Model {
    /// Performs `transaction` as a whole, at `now` of the database's clock.
    pub fn perform(&mut self, transaction: &Transaction, now: u64) -> Answer {
        match transaction {
            Transaction::Register { nonce, .. } => {
                self.registered += 1;
                let writer = WriterId(self.registered);
                let epoch = Epoch(1);
                self.writers.insert(
                    writer,
                    ModelWriter {
                        epoch,
                        batch: 0,
                        whole: 0,
                        nonce: *nonce,
                        lease_until: lease(now),
                        open_since: None,
                    },
                );
                Answer::Registered { writer, epoch }
            }
            Transaction::Batch { batch, reads } => self.batch(batch, reads, now),
            Transaction::Resolve {
                writer,
                epoch,
                number,
                nonce,
                claims,
            } => self.resolve((*writer, *epoch), *number, *nonce, claims),
            Transaction::Adopt {
                writer,
                epoch,
                nonce,
                ..
            } => Answer::Adopted(self.adopt(*writer, *epoch, *nonce, now)),
            Transaction::Sweep(sweep) => Answer::Swept(self.sweep(sweep, now)),
        }
    }

    fn batch(&mut self, batch: &Batch, reads: &Reads, now: u64) -> Answer {
        let held = self.writers.get_mut(&batch.writer).filter(|row| {
            let is = (row.epoch, row.batch + 1, row.nonce);
            is == (batch.epoch, batch.number, batch.expected)
        });
        let Some(row) = held else {
            return Answer::Batch {
                held: false,
                freed: 0,
                updated: 0,
                won: Vec::new(),
                reading: Reading::default(),
            };
        };
        row.batch = batch.number;
        let whole = [row.whole, batch.number];
        row.whole = whole[usize::from(batch.is_whole)];
        row.nonce = batch.nonce;
        row.open_since = batch.open_since;
        row.lease_until = if batch.is_last { now } else { lease(now) };
        let freed = batch.freed.iter().filter(|id| self.free(batch, **id));
        let freed = freed.collect::<Vec<_>>().len() as u64;
        let updated = batch.updates.iter();
        let updated = updated
            .filter(|update| self.update(batch, update, now))
            .count() as u64;
        let claims = batch.claims.iter();
        let won: Vec<UpstreamId> = claims
            .filter(|claim| self.claim(batch, claim, now))
            .map(|claim| claim.id)
            .collect();
        for id in batch.counted() {
            self.count(batch, id);
        }
        let writer = batch.writer;
        for sum in &batch.sums {
            let totals = Totals {
                count: sum.count.unsigned_abs(),
                cents: sum.cents.unsigned_abs().into(),
            };
            self.rollup
                .insert((writer, sum.processor, sum.second), totals);
        }
        self.lingering
            .extend(batch.lingering.iter().map(|id| (writer, *id)));
        for id in &batch.relieved {
            self.lingering.remove(&(writer, *id));
        }
        if batch.is_purge {
            self.purge(now);
        }
        Answer::Batch {
            held: true,
            freed,
            updated,
            won,
            reading: self.read(batch, reads, now),
        }
    }

    fn own_open(&mut self, batch: &Batch, id: UpstreamId) -> Option<&mut ModelRow> {
        self.rows
            .get_mut(&id)
            .filter(|row| row.row.writer == batch.writer && row.row.status.is_open())
    }

    fn free(&mut self, batch: &Batch, id: UpstreamId) -> bool {
        let is_there = self.own_open(batch, id).is_some();
        if is_there {
            self.rows.remove(&id);
        }
        is_there
    }

    fn update(&mut self, batch: &Batch, update: &Update, now: u64) -> bool {
        let Some(model) = self.own_open(batch, update.id) else {
            return false;
        };
        let row = &mut model.row;
        let was_promised = row.status == RowStatus::Promised;
        row.status = match update.change {
            Change::None => row.status,
            Change::Promised => RowStatus::Promised,
            Change::Charged if !was_promised => RowStatus::Charged,
            Change::Charged | Change::ChargedAfterPromise => RowStatus::ChargedAfterPromise,
            Change::Settled(status) => status,
        };
        row.at = update.at.unwrap_or(row.at);
        // Nothing of an earlier holder's is out.
        let is_first = row.processor.is_none() && matches!(update.processor, Pin::To(_));
        row.processor = match update.processor {
            Pin::Same => row.processor,
            Pin::Nowhere => None,
            Pin::To(processor) => Some(processor),
        };
        row.address = update.address.or(row.address);
        row.accepted_at = row.accepted_at.or(update.accepted_at);
        if matches!(update.processor, Pin::To(_)) {
            row.first_sent = row.first_sent.or(update.at);
        }
        if update.was_heard || update.change.is_end() || is_first {
            row.epoch = batch.epoch;
        }
        if update.change.is_end() {
            (model.settled_batch, model.settled_at) = (Some(batch.number), Some(now));
        }
        true
    }

    fn claim(&mut self, batch: &Batch, claim: &Claim, now: u64) -> bool {
        if self.rows.contains_key(&claim.id) {
            return false;
        }
        let spelling = claim.correlation_id.clone();
        let spelling = spelling.unwrap_or_else(|| claim.id.to_string());
        let Ok(correlation_id) = CorrelationId::try_new(&spelling) else {
            return false;
        };
        let row = Row {
            id: claim.id,
            correlation_id,
            amount: claim.amount,
            status: claim.status,
            processor: claim.processor,
            at: claim.at,
            first_sent: claim.first_sent,
            accepted_at: claim.accepted_at,
            address: claim.address,
            writer: batch.writer,
            epoch: batch.epoch,
            writer_epoch: batch.epoch,
            writer_batch: batch.number,
            writer_whole: 0,
            is_expired: false,
        };
        let is_settled = !claim.status.is_open();
        let settled_batch = is_settled.then_some(batch.number);
        let settled_at = is_settled.then_some(now);
        let batch = batch.number;
        self.rows.insert(
            claim.id,
            ModelRow {
                row,
                batch,
                settled_batch,
                settled_at,
            },
        );
        true
    }

    fn count(&mut self, batch: &Batch, id: UpstreamId) {
        let Some(model) = self.rows.get(&id) else {
            return;
        };
        let row = &model.row;
        let is_ours = row.writer == batch.writer && model.settled_batch == Some(batch.number);
        if let Some(processor) = row.processor.filter(|_| is_ours && row.status.is_counted()) {
            let second = row.at.0 / 1_000;
            for second in [second, hour_of(second)] {
                let key = (batch.writer, processor, second);
                add(self.rollup.entry(key).or_default(), row);
            }
        }
    }

    fn resolve(
        &mut self,
        (writer, epoch): (WriterId, Epoch),
        number: i64,
        nonce: i64,
        claims: &[UpstreamId],
    ) -> Answer {
        let row = self.writers.get_mut(&writer);
        let number = row.filter(|row| row.epoch == epoch).map(|row| {
            row.nonce = nonce;
            (row.batch, number)
        });
        let is_mine = |id: &&UpstreamId| {
            let row = self.rows.get(id);
            row.is_some_and(|row| {
                row.row.writer == writer && number.is_some_and(|(_, asked)| row.batch == asked)
            })
        };
        Answer::Resolved {
            number: number.map(|(is, _)| is),
            mine: claims.iter().filter(is_mine).copied().collect(),
        }
    }

    fn adopt(&mut self, writer: WriterId, epoch: Epoch, nonce: i64, now: u64) -> Option<Adoption> {
        let row = self.writers.get_mut(&writer)?;
        if row.epoch != epoch || row.lease_until >= now {
            return None;
        }
        row.epoch = Epoch(epoch.0 + 1);
        row.nonce = nonce;
        row.lease_until = lease(now);
        Some(Adoption {
            writer,
            epoch: row.epoch,
            number: row.batch,
            nonce,
            open_since: row.open_since,
        })
    }
}

fn add(totals: &mut Totals, row: &Row) {
    totals.count += 1;
    totals.cents += u128::from(row.amount.0);
}

const fn lease(now: u64) -> u64 {
    now.saturating_add(limits::STORE_LEASE.as_secs() * 1_000_000)
}
