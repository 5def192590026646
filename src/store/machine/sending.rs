//! What is to be sent next: a registration, an adoption, a doubt, or a batch of the records that
//! wait. `outcomes` says what comes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::batch::Batch;
use super::super::exchange::{Command, Reads, Transaction};
use super::super::gather::{Builder, Taken};
use super::super::questions::Carried;
use super::super::record::{Epoch, WriterId};
use super::{Flight, Link, Machine, Unfinished};
use crate::clock::Boot;
use crate::payment::UpstreamId;
use crate::store::STORE_BATCH_IDS_MAX;

/// How often a core looks for writers whose lease is over.
const STORE_LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How often a writer asks whether another instance has purged.
const STORE_PURGES_INTERVAL: Duration = Duration::from_secs(1);

impl Machine {
    /// The next command, if one is due. Its outcome must follow before the next one comes.
    pub fn next(&mut self, now: Boot) -> Option<Command> {
        if !self.queue.is_empty() {
            self.waiting_since = self.waiting_since.or(Some(now));
        }
        match self.link {
            Link::Down(at) if now >= at => {
                self.link = Link::Connecting;
                Some(Command::Connect)
            }
            Link::Up(at) if now >= at => self.transact(now),
            Link::Down(_)
            | Link::Up(_)
            | Link::Connecting
            | Link::Registering(_)
            | Link::Adopting(_)
            | Link::Sent(_)
            | Link::Resolving(..)
            | Link::Ended => None,
        }
    }

    fn transact(&mut self, now: Boot) -> Option<Command> {
        let transaction = match std::mem::replace(&mut self.unfinished, Unfinished::Nothing) {
            Unfinished::InDoubt(flight) => self.resolve(flight),
            Unfinished::Again(flight) => self.send(*flight, now)?,
            Unfinished::Nothing => match self.held {
                None => self.register(),
                Some(_) if self.due() > now => return None,
                Some(_) => match self.adoptions.pop_front() {
                    Some((writer, epoch)) => self.take_over(writer, epoch),
                    None => {
                        let flight = self.gather(now);
                        self.send(flight, now)?
                    }
                },
            },
        };
        self.sent_at = now;
        Some(Command::Transact(Box::new(transaction)))
    }

    pub(super) fn nonce(&mut self) -> i64 {
        // SplitMix64 (Vigna, public domain).
        self.terms.seed = self.terms.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.terms.seed;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)).cast_signed()
    }

    fn register(&mut self) -> Transaction {
        let nonce = self.nonce();
        self.link = Link::Registering(nonce);
        Transaction::Register {
            holder: self.terms.holder.clone(),
            nonce,
        }
    }

    fn take_over(&mut self, writer: WriterId, epoch: Epoch) -> Transaction {
        let nonce = self.nonce();
        self.link = Link::Adopting(nonce);
        Transaction::Adopt {
            writer,
            epoch,
            nonce,
            holder: self.terms.holder.clone(),
        }
    }

    fn resolve(&mut self, flight: Box<Flight>) -> Transaction {
        let nonce = self.nonce();
        let transaction = Transaction::Resolve {
            writer: flight.batch.writer,
            epoch: flight.batch.epoch,
            number: flight.batch.number,
            nonce,
            claims: flight.batch.claimed(),
        };
        self.link = Link::Resolving(flight, nonce);
        transaction
    }

    fn send(&mut self, mut flight: Flight, now: Boot) -> Option<Transaction> {
        let held = self.held?;
        flight.batch.writer = held.writer;
        flight.batch.epoch = held.epoch;
        flight.batch.number = held.number + 1;
        flight.batch.expected = held.nonce;
        flight.batch.nonce = self.nonce();
        flight.sent_at = now;
        let transaction = Transaction::Batch {
            batch: flight.batch.clone(),
            reads: flight.reads.clone(),
        };
        self.link = Link::Sent(Box::new(flight));
        Some(transaction)
    }

    /// The records that wait, as far as one batch takes them.
    fn gather(&mut self, now: Boot) -> Flight {
        if let Some(carried) = self.questions.carry_purge() {
            return self.purge(carried, now);
        }
        let (builder, claiming, up_to) = self.take_records();
        self.is_wanted &= !self.queue.is_empty();
        self.waiting_since = None;
        let size = builder.len();
        let mut batch = builder.build();
        self.rows.apply(&mut batch, now);
        let mut reads = Reads::default();
        let carried = self.questions.carry(up_to, now, &mut reads);
        batch.is_whole = self.queue.is_empty();
        batch.is_last = self.is_closing && batch.is_whole;
        if self.terms.is_lookout && now >= self.look_at {
            reads.expired = true;
            let jitter = self.nonce().unsigned_abs() % 500_000;
            let next = now.after(STORE_LOOK_INTERVAL);
            self.look_at = Boot(next.0.saturating_add(jitter));
        }
        if now >= self.purges_at {
            reads.purges = true;
            self.purges_at = now.after(STORE_PURGES_INTERVAL);
        }
        if let Some(pages) = self.pages.as_mut().filter(|pages| pages.is_wanted) {
            pages.is_wanted = false;
            reads.page = Some(pages.from);
        }
        let sequence = |id| claiming.get(id).copied();
        let claims = batch.claims.iter();
        let claims = claims.filter_map(|claim| Some((claim.id, sequence(&claim.id)?)));
        Flight {
            claims: claims.collect(),
            batch,
            reads,
            carried,
            up_to,
            size,
            made_at: now,
            sent_at: now,
        }
    }

    /// A purge by itself: it may take long, and a record that went with it would be in doubt for
    /// as long.
    fn purge(&mut self, carried: Carried, now: Boot) -> Flight {
        let mut batch = Batch {
            is_purge: true,
            ..Batch::default()
        };
        self.rows.apply(&mut batch, now);
        Flight {
            claims: Vec::new(),
            batch,
            reads: Reads::default(),
            carried,
            up_to: self.durable,
            size: 0,
            made_at: now,
            sent_at: now,
        }
    }

    /// Takes records into a batch. Returns it, the sequences of those that may have claimed, and
    /// the last sequence.
    fn take_records(&mut self) -> (Builder, BTreeMap<UpstreamId, u64>, u64) {
        let mut builder = Builder::default();
        let mut claiming = BTreeMap::new();
        let mut up_to = self.durable;
        while let Some((sequence, record)) = self.queue.front() {
            let (sequence, id) = (*sequence, record.id());
            let is_ours = self.rows.has(id);
            let is_full = builder.len() >= STORE_BATCH_IDS_MAX && !builder.has(id);
            // Anything else is about a claim that was lost, and void.
            if is_ours || builder.has(id) || record.may_claim() {
                if is_full || builder.take(record, is_ours) == Taken::EndsBatch {
                    break;
                }
                if record.may_claim() {
                    claiming.entry(id).or_insert(sequence);
                } else {
                    claiming.remove(&id);
                }
            }
            up_to = sequence;
            self.queue.pop_front();
        }
        if self.queue.is_empty() {
            // A lost claim may have taken what was behind out of the queue.
            up_to = self.last;
        }
        (builder, claiming, up_to)
    }
}
