//! What operators ask of a running instance: the oldest pending payments of all cores, one settled
//! by hand by its owner core, a processor paused on all cores. The owner decides; here it is asked,
//! and what it did is durable before the operator is told.

use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, OnceLock, PoisonError};
use std::thread;

use super::messages::{CoreRequest, Reply};
use super::refusals::Refusals;
use super::{AskFault, CoreRuntime, Shared, authorities};
use crate::audit::Item;
use crate::clock::{Now, UnixMillis};
use crate::events::ReplyTo;
use crate::journal::operator::Resolution;
use crate::journal::{self, Authorities};
use crate::limits;
use crate::metrics::{About, EventKind};
use crate::owner::{PendingView, Unresolvable};
use crate::pay::SYNC_SLOW;
use crate::pay::TIMER_STEP;
use crate::payment::{CorrelationId, Processor, UpstreamId};
use crate::wire::{self, OperatorNote};

/// Bytes of a refused call's path that are told: the longest good one has 89.
const REFUSED_PATH_BYTES_MAX: usize = 128;

/// Why an operator's call came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SteerFault {
    /// The payment cannot be settled by hand.
    Unresolvable(Unresolvable),
    /// Another instance has it: which, in the store's words.
    Elsewhere(String),
    /// The owner core did not answer in time: whether it was settled can be asked.
    Busy,
    /// Whether another instance has it could not be asked.
    StoreAway,
}

/// Whether a pause holds after a restart too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It is written down.
    Yes,
    /// There is no journal to keep it beside.
    NoJournal,
    /// Nor is there a place in the store: other instances know nothing of it.
    OnlyHere,
    /// Why it could not be written down.
    Failed(String),
}

/// What an operator did, or tried to do.
#[derive(Clone, Copy, Debug)]
pub struct OperatorCall<'a> {
    /// The path, which names what was asked for.
    pub path: &'a str,
    /// Who and why, where the call said so.
    pub note: Option<&'a OperatorNote>,
    /// The payment that it is about.
    pub id: Option<&'a CorrelationId>,
    /// What was answered.
    pub status: u16,
    /// In words.
    pub result: &'a str,
}

impl OperatorCall<'_> {
    /// Its line in the audit file.
    #[must_use]
    pub fn line(&self, at: UnixMillis) -> String {
        let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let (operator, reason) = who_and_why(self);
        let id = self
            .id
            .map_or_else(String::new, |id| format!(r#""id":"{}","#, id.upstream_id()));
        format!(
            r#"{{"at":"{}",{id}"step":"operator","path":{},"operator":{},"reason":{},"status":{},"result":{}}}"#,
            date(at),
            quoted(self.path),
            quoted(operator),
            quoted(reason),
            self.status,
            quoted(self.result)
        )
    }
}

impl CoreRuntime {
    /// Settles a payment by hand, durably.
    ///
    /// # Errors
    /// Why it is not, or may not be.
    pub(crate) async fn resolve(
        &self,
        id: UpstreamId,
        resolution: Resolution,
    ) -> Result<(), SteerFault> {
        let done = self.resolve_at_owner(id, resolution).await;
        match &self.store {
            Some(store) if done == Err(SteerFault::Unresolvable(Unresolvable::Unknown)) => {
                Err(self.why_not_here(store, id).await)
            }
            Some(_) | None => done,
        }
    }

    async fn resolve_at_owner(
        &self,
        id: UpstreamId,
        resolution: Resolution,
    ) -> Result<(), SteerFault> {
        let owner = id.owner(self.config.cores);
        let key = self.reserve(self.now().mono);
        let to = ReplyTo {
            core: self.core,
            key,
        };
        if owner == self.core {
            self.resolve_here(to, id, resolution);
        } else {
            let request = CoreRequest::Resolve(key, id, resolution);
            if self.mailbox.hand_over(owner, request).is_err() {
                self.replies.release(key);
                return Err(SteerFault::Busy);
            }
        }
        match self.replies.take(key).await {
            Some(Reply::Resolved(result)) => result.map_err(SteerFault::Unresolvable),
            Some(_) | None => Err(SteerFault::Busy),
        }
    }

    /// Settles a payment of this core; `to` hears of it once that is written down.
    pub(super) fn resolve_here(&self, to: ReplyTo, id: UpstreamId, resolution: Resolution) {
        let now = self.now();
        match self.tell(now, |owner| owner.resolve(id, resolution, now)) {
            Ok(written) => self.reply_when_durable(written, to, Reply::Resolved(Ok(()))),
            Err(why) => self.give(to, Reply::Resolved(Err(why))),
        }
    }

    /// Pauses `processor` on all cores, or lets it go on, at once; then writes that down.
    pub(crate) async fn set_paused(&self, processor: Processor, is_paused: bool) -> Kept {
        self.shared.processors.set_paused(processor, is_paused);
        let Some(journal) = &self.config.journal else {
            return match self.store {
                Some(_) => Kept::OnlyHere,
                None => Kept::NoJournal,
            };
        };
        let written = self.write_pauses(journal.dir.clone());
        let end = self.now().mono.after(SYNC_SLOW);
        loop {
            if let Some(kept) = written.get() {
                return kept.clone();
            }
            if self.now().mono >= end {
                return Kept::Failed("the disk does not answer".to_owned());
            }
            monoio::time::sleep(TIMER_STEP).await;
        }
    }

    /// Has a thread write down which processors are paused by then: a core must not wait for a
    /// disk. One after the other, so that the last one writes what holds.
    fn write_pauses(&self, dir: PathBuf) -> Arc<OnceLock<Kept>> {
        let written = Arc::new(OnceLock::new());
        let (shared, told) = (Arc::clone(&self.shared), Arc::clone(&written));
        let places = authorities(&self.config);
        let write = move || {
            told.get_or_init(|| shared.keep_pauses(&dir, &places));
        };
        let thread = thread::Builder::new().name("pauses".to_owned());
        if let Err(fault) = thread.spawn(write) {
            written.get_or_init(|| Kept::Failed(fault.to_string()));
        }
        written
    }

    /// The oldest pending payments of all cores, and how many there are.
    ///
    /// # Errors
    /// A core did not answer.
    pub(crate) async fn list(&self) -> Result<(Vec<PendingView>, usize), AskFault> {
        let asked = self.ask_others(CoreRequest::List)?;
        let now = self.now();
        let (mut views, mut count) = self.owner.borrow().list(now);
        let mut result = Ok(());
        for key in asked {
            // Every place is emptied, whatever the others said.
            match self.replies.take(key).await {
                Some(Reply::Pending(more, all)) => {
                    views.extend(more);
                    count = count.saturating_add(all);
                }
                Some(_) | None => result = Err(AskFault::Overloaded),
            }
        }
        result?;
        views.sort_by_key(|view| std::cmp::Reverse(view.age));
        views.truncate(limits::PENDING_SHOWN_MAX);
        Ok((views, count))
    }

    /// Logs an operator's call, and writes it into the audit file.
    pub(crate) fn note_operator(&self, call: &OperatorCall<'_>) {
        self.shared.note_operator(call, self.now());
    }

    /// The same of a call that was refused before it was known to be an operator's.
    pub(crate) fn note_refused(&self, path: &str, id: Option<&CorrelationId>, status: u16) {
        self.shared.note_refused((path, id), status, self.now());
    }
}

impl Shared {
    /// Writes down which of the processors at `places` are paused by now. Waits for the disk.
    pub(super) fn keep_pauses(&self, dir: &Path, places: &Authorities) -> Kept {
        let _turn = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        let all = places.iter().map(|(processor, _)| processor);
        let paused = all.filter(|one| self.processors.is_paused(*one)).collect();
        match journal::pauses::write(dir, paused, places) {
            Ok(()) => Kept::Yes,
            Err(fault) => Kept::Failed(fault.to_string()),
        }
    }

    pub(super) fn note_operator(&self, call: &OperatorCall<'_>, now: Now) {
        if let Some((kind, about)) = event_of(call) {
            self.metrics.events.put(now.mono, kind, about);
        }
        let (operator, reason) = who_and_why(call);
        let OperatorCall {
            path,
            status,
            result,
            ..
        } = *call;
        log::warn!(path, status, operator, reason, result; "an operator's call");
        self.write_down(call.line(now.wall));
    }

    fn write_down(&self, line: String) {
        if let Some(audit) = &self.audit
            && !audit.put(Item::Line(line))
        {
            log::error!("the audit file has no room for the call above");
        }
    }

    fn note_refused(&self, (path, id): (&str, Option<&CorrelationId>), status: u16, now: Now) {
        self.end_refusals(now);
        let admitted = self.refusals().admit(now.mono);
        let path = shortened(path);
        let call = OperatorCall {
            path,
            note: None,
            id,
            status,
            result: "refused before it was read",
        };
        if let Some((kind, about)) = event_of(&call).filter(|_| admitted.event) {
            self.metrics.events.put(now.mono, kind, about);
        }
        if admitted.line {
            // A place of its own: its budget in the log is not that of what operators did.
            log::warn!(path, status; "a call to operators' listener was refused");
            self.write_down(call.line(now.wall));
        }
    }

    /// Tells how many refused calls the last minute left out, if it is over.
    pub(super) fn end_refusals(&self, now: Now) {
        let left_out = self.refusals().end(now.mono);
        self.tell_refusals(left_out, now);
    }

    /// The same at the end of the process.
    pub(super) fn take_refusals(&self, now: Now) {
        let left_out = self.refusals().take();
        self.tell_refusals(left_out, now);
    }

    fn tell_refusals(&self, count: u64, now: Now) {
        if count == 0 {
            return;
        }
        log::warn!(count; "more calls to operators' listener were refused");
        let at = date(now.wall);
        self.write_down(format!(
            r#"{{"at":"{at}","step":"operators_refused","count":{count}}}"#
        ));
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As much of a path as is told of a refused call: anyone may write a long one.
fn shortened(path: &str) -> &str {
    let ends = (0..=REFUSED_PATH_BYTES_MAX).rev();
    let mut ends = ends.filter_map(|end| path.get(..end));
    match path.len() > REFUSED_PATH_BYTES_MAX {
        true => ends.next().unwrap_or_default(),
        false => path,
    }
}

fn who_and_why<'a>(call: &OperatorCall<'a>) -> (&'a str, &'a str) {
    call.note.map_or(("", ""), |note| {
        (note.operator.as_str(), note.reason.as_str())
    })
}

fn date(at: UnixMillis) -> String {
    let mut date = Vec::new();
    wire::write_instant(at, &mut date);
    String::from_utf8_lossy(&date).into_owned()
}

/// What a call is among the last events; none where what it changed has said so itself.
fn event_of(call: &OperatorCall<'_>) -> Option<(EventKind, About)> {
    let mut parts = call.path.rsplit('/');
    let task = parts.next().unwrap_or_default();
    let about = parts.next().and_then(Processor::of_name);
    let about = about.map_or(About::Instance, About::Processor);
    let kind = match (call.status, task) {
        // It holds, though only until a restart.
        (200 | 503, "pause") => EventKind::Paused,
        (200 | 503, "resume") => EventKind::Resumed,
        (200, "confirm") => EventKind::Confirmed,
        (200, "resolve") => EventKind::Resolved,
        (200, "purge-payments") => EventKind::Purged,
        (200, "settings") => return None,
        (200, _) => EventKind::LogChanged,
        (_, _) => EventKind::CallRefused,
    };
    Some((kind, about))
}
