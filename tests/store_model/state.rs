//! What the world of the shared store consists of at one moment: the database, the cores that hold
//! writers, batches on their way, both processors, and what clients were told.
//!
//! Everything is small and copied whole; two states that are equal here behave alike. Nothing is
//! decided in this file.

pub(crate) const IDS: usize = 2;
pub(crate) const PROCESSORS: usize = 2;
/// Numbers of writers that can ever be given: two from the start, one for a later registration.
pub(crate) const WRITERS: usize = 3;
/// Two cores, and up to two that adopt or register.
pub(crate) const CORES: usize = 4;
/// Batches between the cores and the store.
pub(crate) const COPIES: usize = 3;

/// Time goes in steps of half a lease; ages stop at what anybody compares them with.
pub(crate) const HALF: u8 = 1;
pub(crate) const LEASE: u8 = 2;
pub(crate) const RETENTION: u8 = 2;

/// A set of ids, claims or processors.
pub(crate) type Mask = u8;

pub(crate) fn bit(index: usize) -> Mask {
    1 << index
}

/// What a batch says of one id. `claim` numbers the client's requests for this id, and with the
/// processor it names a `requestedAt`: no two claims send the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Record {
    #[default]
    Nothing,
    /// The claim with its first Intent, in one.
    Claim { processor: u8, claim: u8 },
    /// The claim alone, which promises.
    Accept { claim: u8 },
    /// An Intent for a row that is there.
    Intent { processor: u8 },
    /// The verdict Applied.
    Paid { processor: u8 },
    /// The verdict that frees the id.
    Free { is_adopter: bool },
    /// An adopter had a whole answer about the id: `payment.epoch` is set.
    Spoken,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) exists: bool,
    pub(crate) is_settled: bool,
    /// None: accepted without an Intent.
    pub(crate) processor: Option<u8>,
    pub(crate) claim: u8,
    pub(crate) writer: u8,
    pub(crate) epoch: u8,
    pub(crate) batch: u8,
    pub(crate) settled_batch: u8,
    /// Since `requestedAt`, and since the verdict.
    pub(crate) age: u8,
    pub(crate) settled_age: u8,
}

impl Row {
    pub(crate) fn is_open(&self) -> bool {
        self.exists && !self.is_settled
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Writer {
    pub(crate) epoch: u8,
    pub(crate) batch: u8,
    pub(crate) nonce: u8,
    /// Since `lease_until` was set.
    pub(crate) age: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Database {
    pub(crate) rows: [Row; IDS],
    pub(crate) writers: [Writer; WRITERS],
    pub(crate) next_writer: u8,
    pub(crate) rollup: [u8; PROCESSORS],
    /// Settled rows that retention has deleted; the rollup keeps them.
    pub(crate) swept: [u8; PROCESSORS],
}

/// One batch on its way to the store, or its answer on the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Batch {
    /// The core that waits for the answer; None once it has given the connection up.
    pub(crate) core: Option<u8>,
    pub(crate) writer: u8,
    pub(crate) epoch: u8,
    pub(crate) batch: u8,
    pub(crate) nonce: u8,
    /// The nonce that the row must still have.
    pub(crate) after: u8,
    pub(crate) records: [Record; IDS],
    pub(crate) at: Transit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Transit {
    OnItsWay,
    /// In an open transaction that holds the locks of its rows.
    Open,
    Answered {
        has_applied: bool,
        won: Mask,
        with_notice: bool,
    },
}

/// The batch that a core waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sent {
    pub(crate) records: [Record; IDS],
    pub(crate) age: u8,
    pub(crate) wait: Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wait {
    Answer,
    /// The connection ended, or the answer proves nothing: ask.
    Doubt,
    /// Certainly not applied: the same batch again.
    Again,
}

/// How far a core is with one id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    #[default]
    Idle,
    Claiming,
    /// Accepted, without an Intent.
    Parked,
    /// The Intent is durable, no byte has left.
    Ready,
    /// The clock was read and allows it, no byte has left (only where the two are not one step).
    Checked,
    Sent,
    Answered(Answer),
    /// Bytes went out and no answer proves anything: the same again, there.
    Unknown,
    /// Another processor's Intent is with the store.
    Changing,
    /// The verdict that frees is with the store.
    Freeing,
    /// The verdict Applied is with the store.
    Settling,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Applied,
    Refused,
    /// Known with another time: another client's charge.
    Foreign,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Flow {
    pub(crate) step: Step,
    pub(crate) processor: u8,
    pub(crate) claim: u8,
    /// Processors that have refused the payment, every attempt of it.
    pub(crate) refused: Mask,
    /// An attempt at this processor has no answer.
    pub(crate) is_doubtful: bool,
    pub(crate) is_waiting: bool,
    pub(crate) is_promised: bool,
    /// An Intent that was open when this core adopted the row.
    pub(crate) is_adopted: bool,
    pub(crate) has_spoken: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    #[default]
    Gone,
    Up,
    Fenced,
}

/// One core as the holder of one writer. A core that adopts is a second holder: what the two share
/// in a process (a crash) is less than what they may do here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Core {
    pub(crate) life: Life,
    pub(crate) is_adopter: bool,
    pub(crate) writer: u8,
    pub(crate) epoch: u8,
    pub(crate) batch: u8,
    pub(crate) nonce: u8,
    /// Since the last acknowledged batch was sent.
    pub(crate) age: u8,
    /// Since its epoch was acknowledged.
    pub(crate) epoch_age: u8,
    pub(crate) forming: [Record; IDS],
    pub(crate) sent: Option<Sent>,
    pub(crate) flows: [Flow; IDS],
}

/// A summary that was asked for and read once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub(crate) told: Mask,
    /// Ids whose rows were open at the first read, and their writers' batches then.
    pub(crate) open: Mask,
    pub(crate) writers: [u8; IDS],
    pub(crate) batches: [u8; IDS],
    /// What was charged then, where that is what the answer says.
    pub(crate) charged: Mask,
}

/// What may still go wrong or come: how often each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    pub(crate) requests: [u8; IDS],
    /// Steps of time while something else could happen.
    pub(crate) steps: u8,
    pub(crate) crashes: u8,
    /// Connections to the store that end: before, after, or with the copy still on its way.
    pub(crate) losses: u8,
    pub(crate) delays: u8,
    pub(crate) refusals: u8,
    /// Answers of a processor that are cut, and processors that are silent.
    pub(crate) cuts: u8,
    pub(crate) silences: u8,
    /// Clients whose time is up.
    pub(crate) deadlines: u8,
    pub(crate) questions: u8,
    pub(crate) registrations: u8,
    pub(crate) sweeps: u8,
    /// Standbys that fall behind, and then failovers.
    pub(crate) lags: u8,
    pub(crate) failovers: u8,
    /// Jumps of the database's clock past every lease.
    pub(crate) jumps: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) database: Database,
    /// What the standby has, while it is behind.
    pub(crate) standby: Option<Database>,
    pub(crate) cores: [Core; CORES],
    pub(crate) copies: [Option<Batch>; COPIES],
    /// The claim that was charged, by processor and id.
    pub(crate) charged: [[Option<u8>; IDS]; PROCESSORS],
    /// Claims whose bytes may still reach a processor, and that no one waits for.
    pub(crate) strays: [[Mask; IDS]; PROCESSORS],
    pub(crate) question: Option<Question>,
    pub(crate) told_200: Mask,
    pub(crate) told_202: Mask,
    /// By id: claims whose client was told that it was not charged.
    pub(crate) denied: [Mask; IDS],
    /// Ids that retention has forgotten: not asked for again.
    pub(crate) forgotten: Mask,
    pub(crate) budget: Budget,
    /// Properties that the last move has broken.
    pub(crate) broken: u16,
}
