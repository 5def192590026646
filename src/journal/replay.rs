//! The meaning of the records: one pure fold from a core's records to what its owner knew. Start,
//! compaction, the operator's commands and the tests all use it, so that there is one answer to
//! "what does this journal say" (I6). It opens no file and never fails: a record that fits
//! nothing is counted as odd and does what it says by itself.
//!
//! - Accept opens a payment that is never freed; it may also follow an Intent.
//! - Intent opens an attempt. An Intent for the other processor closes the one before it; the same
//!   processor and `requestedAt` is a re-send. Only an id's last Intent can be open (I5).
//! - A Verdict closes the attempt and says what becomes of the payment.
//! - Purge forgets ledger and settled claims; pending payments stay.
//!
//! An id that is settled and gets an Accept or Intent again had been forgotten by its owner.

use std::net::SocketAddr;
use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashMap;

use super::record::{Fate, Record, Verdict};
use super::settled::Settled;
use crate::claims::{FirstAnswer, SettledClaim};
use crate::clock::UnixMillis;
use crate::keys;
use crate::ledger::Ledger;
use crate::limits;
use crate::payment::{
    CoreCount, CoreId, Payment, PerProcessor, Processor, Status, Totals, UpstreamId,
};

/// Sends of a pending payment that replay remembers besides the open one, as the owner does: a
/// processor's stored `requestedAt` is compared with them.
const JOURNAL_EARLIER_MAX: usize = 4;

/// One send of a payment, as its Intent has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Where to.
    pub processor: Processor,
    /// With which `requestedAt`.
    pub requested_at: UnixMillis,
    /// To which address, where the journal says so (I10).
    pub address: Option<SocketAddr>,
}

impl Sent {
    /// Whether the other one is the same send, perhaps repeated at another address.
    fn is_same(&self, other: &Self) -> bool {
        (self.processor, self.requested_at) == (other.processor, other.requested_at)
    }
}

/// A payment that is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// What to charge.
    pub payment: Payment,
    /// When the client was promised it. `None` with an open Intent means that a 202 may have gone
    /// out all the same: its Accept need not be durable before it, so treat it as promised.
    pub accepted_at: Option<UnixMillis>,
    /// The open Intent: the payment is pinned to that processor (I3).
    pub open: Option<Sent>,
    /// What went out before `open` and ended without a charge, oldest first, at most
    /// `JOURNAL_EARLIER_MAX`.
    pub earlier: Vec<Sent>,
    /// Counts the payments of one journal in the order in which they began.
    order: u64,
}

impl Pending {
    /// Whether the payment outlives a restart. One that was promised to no one and is open at no
    /// processor ends with its process: nothing was charged and its client got no answer.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.accepted_at.is_some() || self.open.is_some()
    }

    /// When it began, for its age: the promise, else the first send.
    #[must_use]
    pub fn began_at(&self) -> Option<UnixMillis> {
        let first_sent = self
            .earlier
            .first()
            .or(self.open.as_ref())
            .map(|sent| sent.requested_at);
        self.accepted_at.or(first_sent)
    }

    /// The shortest story that replays to this payment.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let accept = self.accepted_at.map(|accepted_at| Record::Accept {
            payment: self.payment,
            accepted_at,
        });
        let intent = |sent: &Sent| Record::Intent {
            payment: self.payment,
            processor: sent.processor,
            requested_at: sent.requested_at,
            accepted_at: None,
            address: sent.address,
        };
        let close = match (self.open, self.earlier.last()) {
            (None, Some(sent)) => Some(Record::Verdict {
                id: self.payment.id,
                verdict: Verdict::Refused {
                    processor: sent.processor,
                    fate: Fate::Held,
                },
            }),
            (Some(_), _) | (None, None) => None,
        };
        let sends = self.earlier.iter().chain(&self.open).map(intent);
        accept.into_iter().chain(sends).chain(close)
    }

    fn close(&mut self) {
        let Some(sent) = self.open.take() else { return };
        self.earlier.retain(|other| !other.is_same(&sent));
        self.earlier.push(sent);
        if self.earlier.len() > JOURNAL_EARLIER_MAX {
            self.earlier.remove(0);
        }
    }
}

/// A record that contradicts those before it. More than none is a fault of p99.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oddity {
    /// What the journal says.
    pub record: Record,
    /// What it was said about, if it was pending.
    pub about: Option<Pending>,
}

/// What the records of one core lead to.
#[derive(Debug)]
pub struct State {
    /// Settled payments by processor and time.
    pub ledger: Ledger,
    pending: HashMap<UpstreamId, Pending, RandomState>,
    settled: Settled,
    begun: u64,
    is_purged: bool,
    oddities: u64,
    /// The first of them, at most [`limits::JOURNAL_ODDITIES_TOLD`].
    told: Vec<Oddity>,
}

impl State {
    /// An empty state that keeps at most `claims_max` settled claims and the ledger's milliseconds
    /// for `exact`.
    #[must_use]
    pub fn new(claims_max: usize, exact: Duration) -> Self {
        Self {
            ledger: Ledger::new(exact),
            pending: HashMap::with_hasher(keys::hasher()),
            settled: Settled::new(claims_max),
            begun: 0,
            is_purged: false,
            oddities: 0,
            told: Vec::new(),
        }
    }

    /// Takes the next record of the core.
    pub fn apply(&mut self, record: &Record) {
        match *record {
            Record::Accept {
                payment,
                accepted_at,
            } => self.promise(payment, accepted_at),
            Record::Intent {
                payment,
                processor,
                requested_at,
                accepted_at,
                address,
            } => {
                let pending = self.open(payment);
                pending.accepted_at = pending.accepted_at.or(accepted_at);
                let sent = Sent {
                    processor,
                    requested_at,
                    address,
                };
                if !pending.open.is_some_and(|open| open.is_same(&sent)) {
                    pending.close();
                }
                // Refused and sent again within one millisecond: it is open once more.
                pending.earlier.retain(|other| !other.is_same(&sent));
                pending.open = Some(sent);
            }
            Record::Verdict { id, verdict } => self.close(id, verdict),
            Record::Purge { at: _ } => {
                self.ledger.clear();
                self.settled.clear();
                self.is_purged = true;
            }
        }
    }

    /// Adds what the ledger holds to `sum`.
    pub fn add_totals(&self, sum: &mut PerProcessor<Totals>) {
        // Without edges no window can cut an old second.
        let totals = self.ledger.totals(None, None).unwrap_or_default();
        for processor in Processor::ALL {
            sum.get_mut(processor).add(*totals.get(processor));
        }
    }

    /// Payments that are not settled, in the order in which they began.
    #[must_use]
    pub fn pending(&self) -> Vec<&Pending> {
        let mut all: Vec<&Pending> = self.pending.values().collect();
        all.sort_unstable_by_key(|pending| pending.order);
        all
    }

    /// The payment, if it is not settled.
    #[must_use]
    pub fn find_pending(&self, id: UpstreamId) -> Option<&Pending> {
        self.pending.get(&id)
    }

    /// The claim of the payment, if it is settled and known.
    pub(crate) fn find_settled(&self, id: UpstreamId) -> Option<SettledClaim> {
        self.settled.find(id)
    }

    /// Settled claims, oldest first.
    pub fn settled(&self) -> impl Iterator<Item = (UpstreamId, SettledClaim)> + '_ {
        self.settled.iter()
    }

    /// Forgets the payments that end with their process, see [`Pending::is_kept`], and says how
    /// many they were. A start must: their ids are free, and the next payment with one of them may
    /// have another amount.
    pub fn end_unkept(&mut self) -> u64 {
        let before = self.pending.len();
        self.pending.retain(|_, pending| pending.is_kept());
        (before - self.pending.len()) as u64
    }

    /// Inconsistent records: a verdict about an unknown payment, a promised one freed.
    #[must_use]
    pub fn oddities(&self) -> u64 {
        self.oddities
    }

    /// The first of them, for the log.
    #[must_use]
    pub fn told_oddities(&self) -> &[Oddity] {
        &self.told
    }

    /// Whether a Purge was among the records: what a ledger held before them is forgotten.
    pub(crate) fn is_purged(&self) -> bool {
        self.is_purged
    }

    /// Adds a settled claim of a snapshot, in the snapshot's order. One whose id is pending is odd:
    /// what is pending stays so, because a claim that is wrongly settled frees no one of a doubt.
    pub fn settle(&mut self, id: UpstreamId, claim: SettledClaim) {
        if self.pending.contains_key(&id) {
            self.oddities = self.oddities.saturating_add(1);
            return;
        }
        self.settled.insert(id, claim);
    }

    /// The date of the newest settled payment that there was no room for.
    pub(crate) const fn dropped(&self) -> Option<UnixMillis> {
        self.settled.dropped()
    }

    /// Adds a pending payment of another state, behind those that are here.
    pub fn adopt(&mut self, pending: &Pending) {
        for record in pending.records() {
            self.apply(&record);
        }
    }

    /// Whether this core owns every id that is here.
    pub(super) fn is_all_of(&self, core: u16, cores: CoreCount) -> bool {
        let settled = self.settled.iter().map(|(id, _)| id);
        let mut ids = self.pending.keys().copied().chain(settled);
        ids.all(|id| id.owner(cores) == CoreId(core))
    }

    fn promise(&mut self, payment: Payment, accepted_at: UnixMillis) {
        let pending = self.open(payment);
        pending.accepted_at = pending.accepted_at.or(Some(accepted_at));
    }

    fn open(&mut self, payment: Payment) -> &mut Pending {
        self.settled.remove(payment.id);
        let order = self.begun;
        self.begun = self.begun.saturating_add(1);
        self.pending.entry(payment.id).or_insert(Pending {
            payment,
            accepted_at: None,
            open: None,
            earlier: Vec::new(),
            order,
        })
    }

    fn close(&mut self, id: UpstreamId, verdict: Verdict) {
        let about = self.pending.get(&id).cloned();
        let is_promised = |pending: &Pending| pending.accepted_at.is_some();
        let first_answer = match about.as_ref().is_some_and(is_promised) {
            true => FirstAnswer::Accepted202,
            false => FirstAnswer::Answered200,
        };
        let is_odd = match verdict {
            Verdict::Applied {
                processor,
                amount,
                requested_at,
            }
            | Verdict::Foreign {
                processor,
                amount,
                requested_at,
            } => {
                let counted = matches!(verdict, Verdict::Applied { .. });
                if counted {
                    self.ledger.add(processor, requested_at, amount);
                }
                let claim = SettledClaim {
                    status: Status::Processed,
                    amount,
                    processor: Some(processor),
                    requested_at: Some(requested_at),
                    first_answer,
                    counted,
                };
                self.settled.insert(id, claim);
                // Someone else's charge may be learnt of before anything of ours was written.
                self.pending.remove(&id).is_none() && counted
            }
            Verdict::Refused { processor, fate } => self.end(id, Some(processor), fate),
            Verdict::NotSent { processor: _, fate } => self.end(id, None, fate),
            // Also after an Accept that came too late for its client to hear of it.
            Verdict::Withdrawn => self.pending.remove(&id).is_none(),
        };
        if is_odd {
            self.oddities = self.oddities.saturating_add(1);
            if self.told.len() < limits::JOURNAL_ODDITIES_TOLD {
                let record = Record::Verdict { id, verdict };
                self.told.push(Oddity { record, about });
            }
        }
    }

    /// Ends the attempt of a payment that was not charged. `true` when that is odd.
    fn end(&mut self, id: UpstreamId, refused_by: Option<Processor>, fate: Fate) -> bool {
        match fate {
            Fate::Held => match self.pending.get_mut(&id) {
                None => true,
                Some(pending) => {
                    let is_elsewhere = refused_by.is_some_and(|processor| {
                        pending.open.is_some_and(|sent| sent.processor != processor)
                    });
                    match refused_by {
                        Some(_) => pending.close(),
                        None => pending.open = None,
                    }
                    is_elsewhere
                }
            },
            Fate::Freed => self
                .pending
                .remove(&id)
                .is_none_or(|was| was.accepted_at.is_some()),
            Fate::Ended => {
                let Some(was) = self.pending.remove(&id) else {
                    return true;
                };
                let claim = SettledClaim {
                    status: Status::Refused,
                    amount: was.payment.amount,
                    processor: refused_by,
                    requested_at: None,
                    first_answer: FirstAnswer::Accepted202,
                    counted: false,
                };
                self.settled.insert(id, claim);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
