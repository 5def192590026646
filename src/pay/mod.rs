//! The driver: one core's room. It tells the owner what happened and performs the actions that come
//! back with real connections, a real journal and real clocks; it decides nothing.
//!
//! - `mod.rs`: the room and its doors for the server;
//! - `builder.rs`: how it is built; `books.rs`: the comparison with the processors' books;
//!   `differences.rs`: what is kept of one;
//! - `drive.rs`: actions, messages and timers;
//! - `finding.rs`: what is known of one payment;
//! - `gather.rs`, `peers.rs`: sums and purges over all cores and peers; `steer.rs`, `changes.rs`:
//!   what operators ask;
//! - `overview.rs`: what is shown of the whole instance;
//! - `health.rs`: the optional health poll;
//! - `store.rs`: where records go to a shared store instead of a journal; `store_questions.rs`:
//!   what that is asked; `store_end.rs`: how that ends;
//! - `lines.rs`, `summary.rs`: what is logged of payments, of one and of all;
//! - `messages.rs`, `replies.rs`, `waker.rs`, `notes.rs`: what all of these use.
//!
//! Keeps I1 (a payment is handed whole to its owner core) and I5's order of deeds, which the owner
//! gives it.

mod ages;
mod books;
mod builder;
mod changes;
mod differences;
mod doubts;
mod drive;
mod finding;
mod gather;
mod guarantee;
mod health;
mod lines;
mod messages;
mod notes;
mod overview;
mod peers;
mod refusals;
mod replies;
mod steer;
mod store;
mod store_end;
mod store_questions;
mod summary;
mod waker;

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_utils::CachePadded;

pub(crate) use self::builder::CoreBuilder;
pub use self::builder::{Setup, authorities};
pub use self::steer::OperatorCall;
pub(crate) use self::steer::{Kept, SteerFault};

use self::builder::Shared;
use self::messages::{CoreRequest, KeyedReply, Reply};
use self::replies::Replies;
use self::store::Store;
use self::summary::Summary;
use self::waker::TimerWaker;
use crate::clock::{Clock, Mono, Now, UnixMillis};
use crate::config::Config;
use crate::credentials::Credentials;
use crate::events::{Answer, Arrival, ReplyTo, Trace, WriterSlot};
use crate::journal::Writer;
use crate::limits;
use crate::logging;
use crate::mailbox::Mailbox;
use crate::metrics::{CoreMetrics, HandOverFailure, ShedReason, Unanswered};
use crate::owner::Owner;
use crate::payment::{CoreId, Payment, Processor};
use crate::peers::{Gap, Peers};
use crate::upstream::{NameIndex, Names, Resolved, Upstream};

/// How long beyond REQUEST_TIMEOUT_MS an owner core may stay silent before the client's connection
/// is closed without an answer (I1).
const OWNER_SILENCE: Duration = Duration::from_secs(1);
/// The runtime's timers count in such steps.
const TIMER_STEP: Duration = Duration::from_millis(1);
/// A sync that takes longer turns readyz to 503.
const SYNC_SLOW: Duration = Duration::from_secs(5);

/// Whom a summary or a purge asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Nothing but who this instance is, and whether it could.
    Ask,
    /// This instance alone.
    Local,
    /// This instance and all PEERS.
    All,
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskFault {
    /// An edge of the window cuts a second whose milliseconds are gone.
    CutsOldSecond {
        /// The earliest moment that an edge may name exactly.
        boundary: UnixMillis,
    },
    /// A shard did not answer, or is not who it should be; a part is no sum.
    Peers(Gap),
    /// An edge of the window cuts a second whose milliseconds another shard has forgotten.
    PeerCutsOldSecond,
    /// The window touches an Intent that was open when a process died, here or at another shard,
    /// and its processor has not said yet what became of it.
    Unresolved,
    /// A bound was reached, or another core did not answer.
    Overloaded,
    /// The journal failed.
    JournalDown,
    /// The store could not say in time.
    StoreAway,
}

/// Why nothing more becomes durable here, so that the process must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The journal, a core or a thread failed; or the store did what p99 rules out.
    Broken,
    /// Another instance has taken over what this one has in the store.
    Fenced,
    /// The store has forgotten what it had acknowledged.
    StoreWentBack,
}

/// The name of a processor was never resolved, so there is no address to confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unresolved;

/// Everything of one core.
pub(crate) struct CoreRuntime {
    /// The settings.
    pub config: Arc<Config>,
    /// What clients must show; none where anybody may call.
    pub credentials: Option<Credentials>,
    /// What shards show each other; none where that is not demanded.
    pub peer_secret: Option<Credentials>,
    /// What operators show who change something.
    pub admin_secret: Option<Credentials>,
    /// This core's clock.
    pub clock: Clock,
    /// Which core this is.
    pub core: CoreId,
    /// This core's counters.
    pub metrics: Arc<CachePadded<CoreMetrics>>,
    shared: Arc<Shared>,
    owner: RefCell<Owner>,
    upstream: Rc<Upstream>,
    mailbox: Mailbox<CoreRequest, KeyedReply>,
    names: RefCell<Names>,
    resolved: Resolved,
    replies: Replies,
    /// What this core knows of the other shards.
    peers: RefCell<Peers>,
    /// Rounds over all peers that are under way.
    peer_rounds: Cell<usize>,
    summary: Summary,
    waker: TimerWaker,
    writer: Option<Writer>,
    /// Where there is one, there is no journal.
    store: Option<Store>,
    performing: Cell<Performing>,
    /// Replies that wait for a record: whose, how many must be durable, who asked, what to say.
    awaiting: RefCell<Vec<(WriterSlot, u64, ReplyTo, Reply)>>,
    /// Why the journal or the store failed, once it has.
    failure: OnceCell<(Failure, String)>,
}

/// Whether the owner's actions are being performed: what they cause is performed in the same go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Performing {
    No,
    Yes,
}

/// Prepares every core's part, in the order of cores, and begins what runs beside them. Nothing
/// serves yet, so a fault here is a clean refusal to start.
///
/// # Errors
/// What stops the start, in words for the operator.
pub(crate) fn prepare(setup: &Setup) -> Result<Vec<CoreBuilder>, String> {
    let builders = builder::prepare(setup)?;
    if let Some(first) = builders.first() {
        changes::begin(&setup.config, &first.shared().metrics.settings);
        books::start(setup, first.shared())?;
    }
    Ok(builders)
}

impl fmt::Debug for CoreRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoreRuntime")
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

impl CoreRuntime {
    /// The present moment.
    #[must_use]
    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    /// The moment of the last event on this core.
    #[must_use]
    pub(crate) fn latest(&self) -> Now {
        self.clock.latest()
    }

    /// Has `payment`, which came at `now`, charged, and says what the client is told. Never drop it
    /// unanswered.
    pub(crate) async fn pay(
        &self,
        payment: Payment,
        trace: Option<Arc<Trace>>,
        now: Now,
    ) -> Answer {
        let owner = payment.id.owner(self.config.cores);
        let key = self.reserve(now.mono);
        let reply_to = ReplyTo {
            core: self.core,
            key,
        };
        let arrival = Arrival {
            payment,
            reply_to,
            trace,
        };
        if owner == self.core {
            self.arrive(arrival, now);
        } else {
            self.metrics.hand_overs.increment();
            if self
                .mailbox
                .hand_over(owner, CoreRequest::Arrive(arrival))
                .is_err()
            {
                self.replies.release(key);
                self.metrics
                    .hand_over_failures
                    .get(HandOverFailure::MailboxFull)
                    .increment();
                self.metrics.sheds.get(ShedReason::MailboxFull).increment();
                return Answer::Overloaded;
            }
        }
        let (answer, unanswered) = match self.replies.take(key).await {
            Some(Reply::Answer(Answer::Silence)) => (Answer::Silence, Unanswered::JournalFailed),
            Some(Reply::Answer(answer)) => return answer,
            // No word in time: its owner alone knows, so the client gets none either.
            Some(_) | None => (Answer::Silence, Unanswered::OwnerSilent),
        };
        self.metrics.unanswered.get(unanswered).increment();
        answer
    }

    /// An operator says that the processor at its present addresses is the one that payments in
    /// doubt went to (I10). Returns these addresses.
    ///
    /// # Errors
    /// It has none.
    pub(crate) fn confirm(&self, processor: Processor) -> Result<String, Unresolved> {
        let listing = self.names.borrow().listing(NameIndex::of(processor));
        if listing.listed.is_empty() {
            return Err(Unresolved);
        }
        let addresses = listing
            .listed
            .iter()
            .map(|listed| listed.address.to_string());
        self.shared.processors.confirm(processor, listing.number);
        Ok(addresses.collect::<Vec<_>>().join(", "))
    }

    /// Why the journal or the store failed on this core; none while it has not.
    #[must_use]
    pub(crate) fn failure(&self) -> Option<(Failure, &str)> {
        let failure = self.failure.get();
        failure.map(|(failure, why)| (*failure, why.as_str()))
    }

    /// Whether this core may take payments: its journal syncs in time and has room to go on, or
    /// the store answers every core.
    #[must_use]
    pub(crate) fn is_fit(&self) -> bool {
        let since = self.writer.as_ref().and_then(Writer::syncing_since);
        let now = self.now().mono;
        let is_short = self.writer.as_ref().is_some_and(Writer::is_short);
        let is_away = self.store.is_some() && self.is_store_silent();
        !self.has_failed()
            && !is_short
            && !is_away
            && since.is_none_or(|since| now.since(since) < SYNC_SLOW)
    }

    /// Whether the process must stop: the journal failed for good.
    #[must_use]
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.get().is_some()
    }

    /// Payments of this core that are not settled.
    #[must_use]
    pub(crate) fn pending_payments(&self) -> usize {
        self.owner.borrow().pending()
    }

    /// Ends this core's work: waits until what was appended is durable. Returns how many pending
    /// payments nothing remembers; each was logged.
    pub(crate) async fn close(&self) -> usize {
        self.shared.has_ended.store(true, Ordering::Relaxed);
        self.shared.take_refusals(self.now());
        if let Some(audit) = &self.shared.audit {
            let round = audit.next_round();
            let end = self.now().mono.after(limits::LOG_FLUSH_TIME_MAX);
            while !audit.is_past(round) && self.now().mono < end {
                monoio::time::sleep(TIMER_STEP).await;
            }
        }
        if let Some(store) = &self.store {
            self.close_store(store).await;
            return 0;
        }
        if let Some(writer) = &self.writer {
            writer.flush();
            while writer.durable() < writer.last() && !self.has_failed() {
                monoio::time::sleep(Duration::from_millis(1)).await;
            }
            self.tell_unwritten(writer.durable());
            return 0;
        }
        let owner = self.owner.borrow();
        // Each of them is told, however many there are.
        logging::be_patient();
        for flow in owner.unsettled() {
            log::error!(
                "payment={} id={} is pending at exit and nothing will remember it (pinned to {})",
                flow.payment.correlation_id,
                flow.payment.id,
                flow.pinned().map_or("none", Processor::name)
            );
        }
        owner.pending()
    }

    /// After the journal has failed: which payments it does not have as they are now.
    fn tell_unwritten(&self, durable: u64) {
        if !self.has_failed() {
            return;
        }
        logging::be_patient();
        let owner = self.owner.borrow();
        for flow in owner.unsettled().filter(|flow| flow.record > durable) {
            log::error!(
                "payment={} id={} is pending at exit and its last record did not reach the disk \
                 (pinned to {})",
                flow.payment.correlation_id,
                flow.payment.id,
                flow.pinned().map_or("none", Processor::name)
            );
        }
    }

    fn reserve(&self, now: Mono) -> crate::table::Key {
        self.replies.reserve(self.reply_deadline(now))
    }

    /// When another core has answered what is asked now, if it answers at all.
    fn reply_deadline(&self, now: Mono) -> Mono {
        let span = self.config.request_timeout.saturating_add(OWNER_SILENCE);
        now.after(span)
    }
}
