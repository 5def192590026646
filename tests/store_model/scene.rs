//! What one exploration is told: how much may happen, which rules are broken on purpose, and which
//! properties are looked at.

use crate::state::{Budget, State, Writer};

/// The rules of the store, each of which can be broken. What is broken says the variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A batch does not look at the epoch of its writer's row.
    NoFence,
    /// The statements of a batch are not bound to the nonce of this send.
    NoNonce,
    /// A batch does not ask for the nonce that the doubt statement wrote.
    NoNonceOfDoubt,
    /// Success with a WARNING is success.
    NoticeIsSuccess,
    /// A connection that ends before the answer means that nothing was written.
    DoubtIsNotDone,
    /// After a refusal the adopter goes to the other processor.
    AdopterChangesProcessor,
    /// After a lookup's 404 the adopter frees the id.
    FreedOnAdopted404,
    /// A 200 does not look at the age of the last acknowledged batch.
    LateTwoHundred,
    /// Bytes leave without a look at the age of the last acknowledged batch.
    LateBytes,
    /// That age counts from the acknowledgement instead of from the send.
    AgeFromAnswer,
    /// Retention deletes by `requestedAt` alone.
    RetentionByRequestedAt,
    /// A registration takes a number whose row is empty and expired, from epoch 1.
    WriterNumbersReused,
    /// A summary does not wait for open rows of live writers.
    NoBarrier,
    /// It waits for one batch.
    BarrierOfOne,
    /// It reads what is charged before what is open.
    ChargedReadFirst,
    /// It does not ask whether the processor has spoken about an adopted id.
    SumBeforeSpoken,
    /// A lookup right after the adoption counts as the processor's word.
    SpokenAtOnce,
    /// The rollup counts a batch's parameters instead of the rows it settled.
    RollupFromParameters,
    /// Verdicts settle rows whatever their status is.
    VerdictOnSettled,
    /// Not a rule of p99's: commits are acknowledged before the standby has them.
    AsynchronousStandby,
    /// Not a rule of p99's: a core may stop between reading its clock and writing the bytes.
    PauseBeforeWrite,
}

/// What must hold. The names are those of docs/INVARIANTS.md where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Property {
    /// I2, I3: no id is charged by two processors.
    ChargedOnce,
    /// I5: a claim that was told "not charged" is charged never.
    Denied,
    /// I5: what was told 200 or 202 is in the end charged by exactly one, and settled so.
    Promised,
    /// Exact: a sum has every charge that was told 200 before the question.
    Exact,
    /// I6: a settled row, and a 200, is a charge of that processor.
    Charged,
    /// I3: an id is freed by its own live writer alone.
    Freed,
    /// I5: no old owner says 200 for an answer that it read after the adoption.
    OldOwner,
    /// A batch has effects once.
    BatchOnce,
    /// I6: the rollup is the sum of the settled rows.
    Rollup,
    /// A number of a writer is given once.
    WriterOnce,
    /// I5: no Accept and no Intent of an old epoch gets in.
    Fenced,
    /// An Intent that a core believes durable is in the store, under its writer (I1: one owner).
    Believed,
    /// A verdict meets an open row.
    VerdictOnOpen,
    /// Once the processor has spoken about an adopted id, no bytes of the old owner leave.
    Spoken,
    /// Whatever happened, every row is settled or freed when nothing fails any more.
    Resolved,
}

pub(crate) const PROPERTIES: [Property; 15] = [
    Property::ChargedOnce,
    Property::Denied,
    Property::Promised,
    Property::Exact,
    Property::Charged,
    Property::Freed,
    Property::OldOwner,
    Property::BatchOnce,
    Property::Rollup,
    Property::WriterOnce,
    Property::Fenced,
    Property::Believed,
    Property::VerdictOnOpen,
    Property::Spoken,
    Property::Resolved,
];

impl Property {
    pub(crate) fn bit(self) -> u16 {
        1 << self as u16
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) budget: Budget,
    /// `ACK=accepted`: the claim comes first, its Intent later.
    pub(crate) is_accepting: bool,
    /// Transactions take their locks in one step and commit in another.
    pub(crate) has_locks: bool,
    /// Adopters ask the processor for its record.
    pub(crate) has_lookups: bool,
    pub(crate) broken: u32,
    /// The properties that are looked at; 0 stands for all.
    pub(crate) only: u16,
}

impl Scene {
    pub(crate) fn breaks(&self, rule: Broken) -> bool {
        self.broken & (1 << rule as u32) != 0
    }

    pub(crate) fn with(mut self, rules: &[Broken]) -> Self {
        for &rule in rules {
            self.broken |= 1 << rule as u32;
        }
        self
    }

    pub(crate) fn only(mut self, property: Property) -> Self {
        self.only = property.bit();
        self
    }

    /// The properties that this scene looks at.
    pub(crate) fn properties(&self) -> u16 {
        let mut all = if self.only == 0 { u16::MAX } else { self.only };
        if self.budget.jumps > 0 {
            // An adoption that comes before the lease is over is known to the database alone.
            all &= !Property::OldOwner.bit();
        }
        all
    }

    /// Two cores, each with its writer, and nothing else.
    pub(crate) fn start(&self) -> State {
        let mut state = State {
            budget: self.budget,
            ..State::default()
        };
        for writer in 0..2 {
            state.register(writer);
        }
        state
    }
}

impl State {
    /// A new writer with this number on a core of its own.
    pub(crate) fn register(&mut self, writer: u8) {
        use crate::state::{Core, Life};
        let free = self.cores.iter_mut().find(|core| core.life == Life::Gone);
        let core = free.expect("a place for one more core");
        *core = Core {
            life: Life::Up,
            writer,
            epoch: 1,
            ..Core::default()
        };
        self.database.writers[usize::from(writer)] = Writer {
            epoch: 1,
            ..Writer::default()
        };
        self.database.next_writer = self.database.next_writer.max(writer + 1);
    }
}
