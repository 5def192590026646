//! One core's journal as a disk keeps it: records are bytes, become durable in batches and later,
//! and a crash loses what is not durable, or all but the beginning of the batch under way. What is
//! durable is replayed as it comes by the journal's own fold, and its sums once more by hand (I6).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use p99::testing::clock::{Mono, UnixMillis};
use p99::testing::journal::replay::State;
use p99::testing::journal::{Haste, Record, Verdict, date_of};
use p99::testing::ledger::Ledger;
use p99::testing::owner::OwnerSettings;
use p99::testing::payment::{Cents, PerProcessor, Processor, Status, Totals, UpstreamId};

use crate::luck::Luck;
use crate::plan::CLAIMS_MAX;

#[derive(Debug)]
pub(crate) struct Disk {
    /// What a start would find now.
    pub(crate) state: State,
    waiting: VecDeque<Vec<u8>>,
    appended: u64,
    durable: u64,
    /// The last record of the batch under way.
    batch: Option<u64>,
    /// Something waits for what was appended, or it was asked for.
    is_wanted: bool,
    /// When the oldest record was appended that no write has begun for.
    oldest: Option<Mono>,
    /// The sums that the journal began with, and what was charged since by hand.
    base: PerProcessor<Totals>,
    applied: BTreeMap<UpstreamId, (Processor, Cents)>,
}

impl Disk {
    /// A journal that begins with `state`.
    pub(crate) fn new(state: State) -> Self {
        let base = totals(&state.ledger);
        Self {
            state,
            waiting: VecDeque::new(),
            appended: 0,
            durable: 0,
            batch: None,
            is_wanted: false,
            oldest: None,
            base,
            applied: BTreeMap::new(),
        }
    }

    pub(crate) fn append(&mut self, record: &Record, haste: Haste, now: Mono) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        assert_eq!(
            Record::decode(&bytes).as_ref().ok(),
            Some(record),
            "a record is read back as it was written"
        );
        self.waiting.push_back(bytes);
        self.appended += 1;
        self.is_wanted |= haste == Haste::Now;
        self.oldest.get_or_insert(now);
    }

    /// What was appended shall be written.
    pub(crate) fn flush(&mut self) {
        self.is_wanted |= self.durable < self.appended;
    }

    /// For how long the oldest record has waited for a write that was never asked for.
    pub(crate) fn idle_for(&self, now: Mono) -> Duration {
        let oldest = self.oldest.filter(|_| !self.is_wanted);
        oldest.map_or(Duration::ZERO, |oldest| now.since(oldest))
    }

    /// Takes all that waits for the next batch. False when one is under way or nothing is wanted.
    pub(crate) fn begin_batch(&mut self) -> bool {
        if self.batch.is_some() || !self.is_wanted {
            return false;
        }
        self.is_wanted = false;
        self.oldest = None;
        self.batch = Some(self.appended);
        true
    }

    /// The batch is durable. Returns its last record.
    pub(crate) fn end_batch(&mut self) -> u64 {
        let up_to = self.batch.take().unwrap();
        self.keep(up_to);
        up_to
    }

    /// The process died. What is not durable is gone, but for the beginning of the batch that was
    /// being written.
    pub(crate) fn crash(mut self, luck: &mut Luck, torn_tails: bool) -> State {
        if let (Some(up_to), true) = (self.batch, torn_tails) {
            let kept = luck.within(self.durable..=up_to);
            self.keep(kept);
        }
        assert_eq!(
            totals(&self.state.ledger),
            self.by_hand(),
            "I6: the ledger is what the journal began with and the Applied verdicts since"
        );
        assert_eq!(
            self.state.oddities(),
            0,
            "I5: every record fits what came before it"
        );
        self.state
    }

    /// A Purge waits for the disk.
    pub(crate) fn is_purging(&self) -> bool {
        let mut waiting = self
            .waiting
            .iter()
            .filter_map(|bytes| Record::decode(bytes).ok());
        waiting.any(|record| matches!(record, Record::Purge { .. }))
    }

    pub(crate) fn settled(&self, id: UpstreamId) -> Option<Status> {
        let mut settled = self.state.settled();
        settled
            .find(|(known, _)| *known == id)
            .map(|(_, claim)| claim.status)
    }

    fn keep(&mut self, up_to: u64) {
        while self.durable < up_to {
            let bytes = self.waiting.pop_front().unwrap();
            let record = Record::decode(&bytes).unwrap();
            self.state.apply(&record);
            self.durable += 1;
            match record {
                Record::Verdict { id, verdict } => self.note(id, verdict),
                Record::Purge { .. } => {
                    self.base = PerProcessor::default();
                    self.applied.clear();
                }
                Record::Accept { .. } | Record::Intent { .. } => {}
            }
        }
    }

    fn note(&mut self, id: UpstreamId, verdict: Verdict) {
        if let Verdict::Applied {
            processor, amount, ..
        } = verdict
        {
            let before = self.applied.insert(id, (processor, amount));
            assert_eq!(before, None, "I6: {id} has two Applied verdicts");
        }
    }

    fn by_hand(&self) -> PerProcessor<Totals> {
        let mut sums = self.base;
        for (processor, amount) in self.applied.values() {
            sums.get_mut(*processor).add(Totals {
                count: 1,
                cents: u128::from(amount.0),
            });
        }
        sums
    }
}

/// All that a ledger holds.
pub(crate) fn totals(ledger: &Ledger) -> PerProcessor<Totals> {
    ledger.totals(None, None).unwrap()
}

/// A state without a past.
pub(crate) fn blank(settings: &OwnerSettings) -> State {
    State::new(CLAIMS_MAX, settings.ledger_exact)
}

/// What reading a snapshot of `state` gives, and the payments that it leaves open.
pub(crate) fn snapshot(state: &State, settings: &OwnerSettings) -> State {
    let mut copy = blank(settings);
    for pending in state.pending() {
        for record in pending.records() {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            copy.apply(&Record::decode(&bytes).unwrap());
        }
    }
    for (id, claim) in state.settled() {
        copy.settle(id, claim);
    }
    for chunk in state.ledger.chunks() {
        copy.ledger.absorb(&chunk).unwrap();
    }
    copy
}

/// Ages ledgers as a start does.
pub(crate) fn age(states: &mut [State], wall: UnixMillis) {
    let date = date_of(states, wall);
    for state in states {
        state.ledger.age_by(date, usize::MAX);
    }
}

/// The longest time that a record may wait for the disk: the batch under way, then its own; and
/// the same once more when a purge comes between and repeats it.
pub(crate) fn longest_wait(sync: u64) -> Duration {
    Duration::from_micros(4 * sync)
}
