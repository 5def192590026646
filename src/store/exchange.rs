//! The grammar of the store: what a core asks ([`Question`]) and is told ([`Report`]), what is to
//! be done about it at the database ([`Command`]), and what came of that ([`Outcome`]). The machine
//! stands between; a connection to PostgreSQL performs commands, and so can a model of it.

use std::time::Duration;

use super::batch::Batch;
use super::page::PageFrom;
use super::record::{Epoch, Row, WriterId};
use crate::clock::{Boot, UnixMillis};
use crate::ledger::CutsOldSecond;
use crate::payment::{PerProcessor, Totals, UpstreamId, WindowSums};

/// What a core wants to know or to have done, beside its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// What is known of an id, once its writer has written everything that it had answered by now.
    Find(UpstreamId),
    /// Who has this writer, in words for an operator.
    Holder(WriterId),
    /// What was charged in a window, the same.
    Sum(Window),
    /// Forget everything that is settled, the same.
    Purge,
}

/// A window of time; both ends are inside. Milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first one.
    pub from: i64,
    /// The last one.
    pub to: i64,
}

impl Window {
    /// All time.
    pub const ALL: Self = Self {
        from: 0,
        to: i64::MAX,
    };
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The row of the id, if it has one.
    Found(Option<Row>),
    /// Who has the writer, if there is one.
    Holder(Option<String>),
    /// What was charged. `pending` counts the open payments of the window at all instances.
    Sums(WindowSums),
    /// An edge of the window lies in a second of which only the sum is kept.
    Cut(CutsOldSecond),
    /// It is forgotten.
    Purged,
    /// No true answer could be had in time: 503.
    Unavailable,
}

/// What a core is told. In the order in which it is to be heard: a claim's loss always comes before
/// the `Durable` that covers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The writer is registered: records may be appended.
    Ready {
        /// Its number.
        writer: WriterId,
    },
    /// The claim in the record of this sequence was lost: the id is another's. No byte may leave
    /// for it; what is known of it follows as `Known`. Records of the id that were appended up to
    /// now are void.
    Lost {
        /// Which record claimed.
        sequence: u64,
        /// Which id.
        id: UpstreamId,
    },
    /// What the winner of a lost id wrote.
    Known {
        /// Which record had claimed.
        sequence: u64,
        /// Which id.
        id: UpstreamId,
        /// Its row. None when it was freed meanwhile: the id may be claimed again. None also
        /// where it cannot be read: such a claim is lost again, until it is given up.
        row: Option<Row>,
    },
    /// Every record up to this sequence that is not lost is durable.
    Durable {
        /// The last of them.
        up_to: u64,
        /// When the first byte of their batch was sent. Half a lease after it an answer of 200
        /// is no longer covered, and no Intent's bytes may begin to leave.
        sent_at: Boot,
        /// How many ids the batch was about.
        size: usize,
        /// How long it took.
        took: Duration,
    },
    /// A question is answered.
    Answered {
        /// The number that the question got.
        question: u64,
        /// What is answered.
        reply: Reply,
    },
    /// These writers' leases are over, and they have open payments.
    Expired(Vec<(WriterId, Epoch)>),
    /// The writer that was to be adopted is this core's: give it a machine of its own.
    Adopted(Adoption),
    /// Open payments of an adopted writer.
    Page {
        /// Some of them.
        rows: Vec<Row>,
        /// Whether there are no more.
        is_last: bool,
    },
    /// Some instance has purged: what is remembered of settled ids is to be forgotten.
    Purged,
    /// No batch can be made.
    Unreachable {
        /// When the last one that was acknowledged was sent; when the machine began, if none was.
        since: Boot,
    },
    /// One was acknowledged again.
    Reachable,
    /// Another instance has this writer. Nothing more becomes durable: the core takes nothing in,
    /// sends nothing, and ends.
    Fenced,
    /// The database has forgotten what it had acknowledged (a standby that was not synchronous
    /// took over). Nothing more becomes durable.
    WentBack {
        /// The batch that was acknowledged last.
        acknowledged: i64,
        /// The batch that the database knows.
        found: i64,
        /// What was claimed, changed or freed between them, as far as it is remembered.
        ids: Vec<UpstreamId>,
    },
    /// The database did what p99 rules out. Nothing more becomes durable.
    Broken(String),
}

/// A writer that was adopted, as its row was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// The writer that it is about.
    pub writer: WriterId,
    /// Its new epoch.
    pub epoch: Epoch,
    /// Its last batch.
    pub number: i64,
    /// The nonce that its row has now.
    pub nonce: i64,
    /// The least `at` of its open rows that do not linger.
    pub open_since: Option<i64>,
}

/// What is to be done at the database. One at a time: the next one comes after its [`Outcome`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// End the connection, if there is one, and open another where writing is possible.
    Connect,
    /// Perform this in one transaction.
    Transact(Box<Transaction>),
}

/// One transaction.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all of them are batches, and they are boxed"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transaction {
    /// A new writer, with a number that was never used.
    Register {
        /// Who has it, for operators.
        holder: String,
        /// The first nonce of its row.
        nonce: i64,
    },
    /// A batch, and reads behind it in the same transaction.
    Batch {
        /// What is written.
        batch: Batch,
        /// What is read.
        reads: Reads,
    },
    /// What became of a batch: writes a new nonce, so that no copy of it can apply any more, and
    /// says how far the writer is.
    Resolve {
        /// The writer that it is about.
        writer: WriterId,
        /// Under which fence.
        epoch: Epoch,
        /// The batch in doubt.
        number: i64,
        /// The nonce to write.
        nonce: i64,
        /// What it claimed, in order.
        claims: Vec<UpstreamId>,
    },
    /// Takes a writer over whose lease has ended.
    Adopt {
        /// The writer that it is about.
        writer: WriterId,
        /// The epoch that it was found in.
        epoch: Epoch,
        /// The nonce to write.
        nonce: i64,
        /// Who takes it.
        holder: String,
    },
    /// Forgets what settled long ago, if it is this sweeper's turn.
    Sweep(Sweep),
}

/// What a sweeper wants done; see `sweeper`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Unlike that of every other sweeper: who has the turn has it in the row of writer 0.
    pub nonce: i64,
    /// Who it is, for operators.
    pub holder: String,
    /// How long an id is kept after it settled.
    pub keep: Duration,
    /// Moves the cut from here to there; milliseconds since 1970 on the database's clock.
    pub cut: Option<(i64, i64)>,
    /// Whether ids are forgotten.
    pub forgets: bool,
    /// A writer that ended long ago and has no payments: its sums become writer 0's.
    pub bury: Option<WriterId>,
}

/// What is read behind a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// The rows of these ids.
    pub rows: Vec<UpstreamId>,
    /// Which writers have open rows, whenever from.
    pub open: bool,
    /// What was charged and what is open in these windows.
    pub sums: Vec<Window>,
    /// Who has these writers.
    pub holders: Vec<WriterId>,
    /// Writers whose lease is over.
    pub expired: bool,
    /// Open rows of the batch's writer.
    pub page: Option<PageFrom>,
    /// How often anything was purged.
    pub purges: bool,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The rows that were asked for and are there.
    pub rows: Vec<Row>,
    /// Those of them that are not as p99 writes them, and that in words for the operator.
    pub unreadable: Vec<(UpstreamId, String)>,
    /// Writers that have open rows, where that was asked.
    pub open: Vec<OpenAt>,
    /// One for each window.
    pub sums: Vec<SumReading>,
    /// One for each writer whose holder was asked for.
    pub holders: Vec<Option<String>>,
    /// Writers whose lease is over.
    pub expired: Vec<(WriterId, Epoch)>,
    /// A page.
    pub page: Vec<Row>,
    /// Whether nothing of its kind is behind the page.
    pub is_last_page: bool,
    /// How often anything was purged, where that was asked.
    pub purges: Option<i64>,
}

/// What came of a sweep, and how things stand behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The database's clock, in milliseconds since 1970.
    pub now: i64,
    /// What settled before this may be forgotten; in a store that was never swept, what had
    /// settled so long before it was made.
    pub cut: i64,
    /// How many ids were forgotten.
    pub forgotten: u64,
    /// A writer to bury.
    pub dead: Option<WriterId>,
}

/// A window as one transaction saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SumReading {
    /// What was charged.
    pub charged: PerProcessor<Totals>,
    /// Writers that have open rows in it.
    pub open: Vec<OpenAt>,
    /// From when on milliseconds are kept, where an edge lies in an older second with payments.
    pub cut: Option<UnixMillis>,
}

/// One writer's open rows in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenAt {
    /// The writer that it is about.
    pub writer: WriterId,
    /// How far it had come.
    pub batch: i64,
    /// Its last batch that held all that it had answered by then.
    pub whole: i64,
    /// How many.
    pub count: u64,
    /// Whether it is dead, or was adopted and one of them not asked about since: its client may
    /// have been told 200.
    pub is_unheard: bool,
}

/// What came of a command.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all of them are answers of batches"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is a connection to a server that writes.
    Connected,
    /// There is none.
    Unconnected(String),
    /// It was done, and the server said so without any reservation.
    Acknowledged(Answer),
    /// It was certainly not done, and the connection can be used again.
    NotDone {
        /// The SQLSTATE.
        code: [u8; 5],
        /// What the server says.
        why: String,
    },
    /// It may have been done. The connection is closed.
    Doubtful(String),
}

impl Outcome {
    /// What went wrong, in words for the operator.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        match self {
            Self::Acknowledged(Answer::Batch { reading, .. }) => {
                let unreadable = reading.unreadable.first();
                unreadable.map(|(_, why)| why.as_str())
            }
            Self::Connected | Self::Acknowledged(_) => None,
            Self::Unconnected(why) | Self::NotDone { why, .. } | Self::Doubtful(why) => Some(why),
        }
    }
}

/// What an acknowledged transaction says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of a registration.
    Registered {
        /// The new writer.
        writer: WriterId,
        /// Its epoch.
        epoch: Epoch,
    },
    /// Of a batch.
    Batch {
        /// Whether the fence held. Else nothing was written and nothing read is to be believed.
        held: bool,
        /// How many rows were deleted.
        freed: u64,
        /// How many were changed.
        updated: u64,
        /// The claims that were won, in any order.
        won: Vec<UpstreamId>,
        /// What was read.
        reading: Reading,
    },
    /// Of a doubt.
    Resolved {
        /// The writer's batch; `None` when the writer is not ours any more.
        number: Option<i64>,
        /// Which claims of the batch in doubt are rows of it.
        mine: Vec<UpstreamId>,
    },
    /// Of an adoption; `None` when another one was faster, or the lease is not over.
    Adopted(Option<Adoption>),
    /// Of a sweep; `None` when another sweeper has the turn.
    Swept(Option<Swept>),
}
