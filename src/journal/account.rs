//! What a journal says of every payment that it knows by its id, in bounded memory: nothing is
//! kept, each word goes to the caller as it is read. For reconciliation, on a stopped instance's
//! directory or beside a running one; it writes nothing.
//!
//! The ledger has all charges and few ids: settled ids are forgotten beyond `CACHE_CAPACITY` when
//! segments become a snapshot. So both sums are counted, that of the ledger and that of the charges
//! with an id, and a caller sees from them whether a window is whole.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::directory::Directory;
use super::fault::JournalFault;
use super::load::{self, Sink};
use super::record::{Fate, Record, Verdict};
use super::snapshot::Line;
use crate::claims::SettledClaim;
use crate::clock::UnixMillis;
use crate::ledger::Ledger;
use crate::payment::{Cents, PerProcessor, Processor, Status, Totals, UpstreamId};

/// Longer than any payment is old.
const FOR_EVER: Duration = Duration::from_secs(1 << 33);

/// What is said of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Charged by us.
    Charged,
    /// Charged by another client of the processor.
    Foreign,
    /// Refused for good after it was promised.
    Refused,
    /// Promised, sent, or waiting for another attempt: not settled.
    Open,
    /// It ended without a charge.
    Ended,
}

/// One word of the journal; the words of one id come in the order in which they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// Of which payment.
    pub id: UpstreamId,
    /// What the journal says of it.
    pub word: Word,
    /// At or from which processor, where that is known.
    pub processor: Option<Processor>,
    /// How much; zero where the record does not say it.
    pub amount: Cents,
    /// `requestedAt`, or when it was promised.
    pub at: Option<UnixMillis>,
}

/// What one core's files come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CoreAccount {
    /// The ledger's charges in the window.
    pub ledger: PerProcessor<Totals>,
    /// Those of them that were told with their id.
    pub told: PerProcessor<Totals>,
    /// The words before this many were forgotten by a purge, as far as they are about charges.
    pub purged: u64,
    /// How many words there were.
    pub words: u64,
    /// The oldest charge that a snapshot has with its id.
    pub oldest: Option<UnixMillis>,
}

/// The window's charges at `processor` that no core's files have with their id. The cores together:
/// after a change of CORES one of them may have the sums of ids that another one has.
#[must_use]
pub(crate) fn forgotten(cores: &[CoreAccount], processor: Processor) -> Totals {
    let (mut all, mut told) = (Totals::default(), Totals::default());
    for core in cores {
        all.add(*core.ledger.get(processor));
        told.add(*core.told.get(processor));
    }
    Totals {
        count: all.count.saturating_sub(told.count),
        cents: all.cents.saturating_sub(told.cents),
    }
}

/// Why a journal gives no account of itself.
#[derive(Debug)]
pub(crate) enum AccountFault {
    /// It cannot be read.
    Journal(JournalFault),
    /// A running instance replaced files meanwhile: read again.
    Replaced,
    /// The window cuts a second of which the ledger keeps the sum only; before this moment its ends
    /// must be whole seconds.
    Cut(UnixMillis),
    /// The taker of the words failed.
    Taker(io::Error),
}

/// Tells `each` all words of the journal in `dir`, core by core, and returns what each core's come
/// to in the window, whose ends are both inside.
///
/// # Errors
/// See [`AccountFault`]; words that were told before are to be forgotten.
pub(crate) fn account(
    dir: &Path,
    window: (Option<UnixMillis>, Option<UnixMillis>),
    each: &mut dyn FnMut(Told) -> io::Result<()>,
) -> Result<Vec<CoreAccount>, AccountFault> {
    let path = dir;
    let dir = Directory::peek(path);
    let manifest = dir.manifest().map_err(AccountFault::Journal)?;
    let manifest = manifest.ok_or_else(|| {
        AccountFault::Journal(JournalFault::Missing {
            path: dir.manifest_path(),
        })
    })?;
    let read = || {
        let mut cores = Vec::new();
        for files in dir.files(&manifest).map_err(AccountFault::Journal)? {
            let mut teller = Teller {
                window,
                each: &mut *each,
                account: CoreAccount::default(),
                fault: None,
            };
            let loaded = load::load(&dir, &files, &mut teller);
            match (teller.fault, loaded) {
                (Some(fault), _) => return Err(fault),
                (None, Err(fault)) => return Err(AccountFault::Journal(fault)),
                (None, Ok(_)) => cores.push(teller.account),
            }
        }
        Ok(cores)
    };
    let found = { read }();
    match found {
        Err(AccountFault::Journal(fault)) => match dir.manifest() {
            Ok(now) if now.as_ref() != Some(&manifest) => Err(AccountFault::Replaced),
            Ok(_) | Err(_) => Err(AccountFault::Journal(fault)),
        },
        found => found,
    }
}

struct Teller<'a> {
    window: (Option<UnixMillis>, Option<UnixMillis>),
    each: &'a mut dyn FnMut(Told) -> io::Result<()>,
    account: CoreAccount,
    /// The first.
    fault: Option<AccountFault>,
}

impl Teller<'_> {
    fn tell(&mut self, told: Told) {
        self.account.words += 1;
        if self.fault.is_none() {
            self.fault = (self.each)(told).err().map(AccountFault::Taker);
        }
    }

    fn holds(&self, at: UnixMillis) -> bool {
        let (from, to) = self.window;
        from.is_none_or(|from| from <= at) && to.is_none_or(|to| at <= to)
    }

    /// A charge of which the id is known.
    fn charged(&mut self, processor: Processor, amount: Cents, at: UnixMillis) -> Option<Totals> {
        let one = Totals {
            count: 1,
            cents: u128::from(amount.0),
        };
        let is_inside = self.holds(at);
        if is_inside {
            self.account.told.get_mut(processor).add(one);
        }
        is_inside.then_some(one)
    }

    fn settled(&mut self, id: UpstreamId, claim: &SettledClaim) {
        let word = match claim.status {
            Status::Processed if claim.counted => Word::Charged,
            Status::Processed => Word::Foreign,
            Status::Refused | Status::Pending => Word::Refused,
        };
        if let (Word::Charged, Some(processor), Some(at)) =
            (word, claim.processor, claim.requested_at)
        {
            self.charged(processor, claim.amount, at);
            self.account.oldest = self
                .account
                .oldest
                .map_or(Some(at), |old| Some(old.min(at)));
        }
        self.tell(Told {
            id,
            word,
            processor: claim.processor,
            amount: claim.amount,
            at: claim.requested_at,
        });
    }

    fn take(&mut self, record: &Record) {
        let told = match *record {
            Record::Accept {
                payment,
                accepted_at,
            } => Told {
                id: payment.id,
                word: Word::Open,
                processor: None,
                amount: payment.amount,
                at: Some(accepted_at),
            },
            Record::Intent {
                payment,
                processor,
                requested_at,
                ..
            } => Told {
                id: payment.id,
                word: Word::Open,
                processor: Some(processor),
                amount: payment.amount,
                at: Some(requested_at),
            },
            Record::Verdict { id, verdict } => self.ended(id, verdict),
            Record::Purge { at: _ } => {
                self.account.ledger = PerProcessor::default();
                self.account.told = PerProcessor::default();
                self.account.purged = self.account.words;
                return;
            }
        };
        self.tell(told);
    }

    fn ended(&mut self, id: UpstreamId, verdict: Verdict) -> Told {
        let told = |word, processor, amount, at| Told {
            id,
            word,
            processor,
            amount,
            at,
        };
        match verdict {
            Verdict::Applied {
                processor,
                amount,
                requested_at,
            } => {
                if let Some(one) = self.charged(processor, amount, requested_at) {
                    self.account.ledger.get_mut(processor).add(one);
                }
                told(Word::Charged, Some(processor), amount, Some(requested_at))
            }
            Verdict::Foreign {
                processor,
                amount,
                requested_at,
            } => told(Word::Foreign, Some(processor), amount, Some(requested_at)),
            Verdict::Refused { processor, fate } | Verdict::NotSent { processor, fate } => {
                let word = match fate {
                    Fate::Held => Word::Open,
                    Fate::Freed => Word::Ended,
                    Fate::Ended => Word::Refused,
                };
                told(word, Some(processor), Cents(0), None)
            }
            Verdict::Withdrawn => told(Word::Ended, None, Cents(0), None),
        }
    }
}

impl Sink for Teller<'_> {
    fn line(&mut self, line: Line<'_>) -> Result<(), JournalFault> {
        match line {
            Line::Record(record) => self.take(&record),
            Line::Settled(id, claim) => self.settled(id, &claim),
            Line::Ledger(chunk) => {
                // Nothing ages here: what the chunk has by the second stays so.
                let mut part = Ledger::new(FOR_EVER);
                load::absorb(&mut part, chunk, Path::new("the snapshot"))?;
                match part.totals(self.window.0, self.window.1) {
                    Ok(totals) => {
                        for processor in Processor::ALL {
                            let sum = self.account.ledger.get_mut(processor);
                            sum.add(*totals.get(processor));
                        }
                    }
                    Err(cut) => {
                        self.fault.get_or_insert(AccountFault::Cut(cut.boundary));
                    }
                }
            }
        }
        Ok(())
    }

    fn record(&mut self, _sequence: u64, record: &Record) {
        self.take(record);
    }
}
