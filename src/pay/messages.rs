//! What cores say to each other (I1). A question reserves its reply's place in the asker's table
//! and in the mailbox, so a reply always finds room; one that comes too late finds no place and is
//! dropped.

use crate::clock::UnixMillis;
use crate::events::{Answer, Arrival, Finding};
use crate::journal::operator::Resolution;
use crate::owner::{PendingView, SumFault, Unresolvable, Unsettled};
use crate::payment::{UpstreamId, WindowSums};
use crate::store;
use crate::table::Key;
use crate::timeline::Entry;

/// From one core to another. Each carries the place of its reply.
#[derive(Debug)]
pub(super) enum CoreRequest {
    /// A payment for its owner core.
    Arrive(Arrival),
    /// What is known of this id?
    Find(Key, UpstreamId),
    /// What happened to this id?
    Explain(Key, UpstreamId),
    /// What was charged in this window, both ends included?
    Sum(Key, Option<UnixMillis>, Option<UnixMillis>),
    /// Which payments are pending?
    List(Key),
    /// Settle this one by hand.
    Resolve(Key, UpstreamId, Resolution),
    /// Forget the ledger and the settled claims.
    Purge(Key),
    /// Write your gauges: the page is about to be read. And so many of the oldest payments.
    Show(Key, usize),
}

/// One core's sums, or why nothing exact can be said.
pub(super) type Sums = Result<Box<WindowSums>, SumFault>;

/// The reply to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// To a payment.
    Answer(Answer),
    /// To a question about an id.
    Found(Finding),
    /// To a question about what happened to an id.
    Facts(Vec<Entry>),
    /// To a question about a window.
    Sums(Sums),
    /// The oldest pending payments, and how many there are.
    Pending(Vec<PendingView>, usize),
    /// To a resolution by hand: settled and written down, or why not.
    Resolved(Result<(), Unresolvable>),
    /// To a purge: forgotten, and written down.
    Purged,
    /// What was to be written before the answer may never be: that is not known.
    Unkept,
    /// To a question to the store.
    Store(Box<store::Reply>),
    /// To a page: the gauges are written, and these are the oldest payments.
    Shown(Vec<Unsettled>),
}

/// A reply on its way to the place that was reserved for it.
pub(super) type KeyedReply = (Key, Reply);
