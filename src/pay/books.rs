//! RECONCILE_EVERY: compares the journal with the processors' own books again and again, as
//! `p99 reconcile` does it, on a thread of its own, since it waits for files and processors. What
//! differs is counted, and told once in the log and in the audit file. A processor that charged a
//! payment twice, or beside the one that the journal expects it of, is paused, unless
//! RECONCILE_ON_DOUBLE says otherwise.
//!
//! What was told before is not told again, and no one is paused for it again: an operator who lets
//! a processor go on has seen it. The audit file remembers that over a restart.
//!
//! A charge that the journal has and the book has not may have been made between the two readings.
//! It counts when a second reading misses it too. That one only takes back: what the first one
//! found of double charges stands, whatever becomes of the second.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::differences::{DOUBLES, Found, Told, is_doubtful};
use super::{Kept, OperatorCall, Setup, Shared, authorities};
use crate::audit::{self, Item};
use crate::clock::{Clock, Mono, Now, UnixMillis};
use crate::config::{self, Config, OnDouble, ProcessorConfig, ReconcileConfig};
use crate::limits;
use crate::metrics::{About, BookDifference, EventKind, Label};
use crate::payment::{CorrelationId, PerProcessor, Processor, UpstreamId};
use crate::reconcile::{
    self, Access, Bounds, Difference, End, Kind, Place, ReconcileFault, Request,
};
use crate::wire::{self, OperatorNote};

/// How long the books of one comparison of RECONCILE_EVERY may take.
const RECONCILE_TIME_MAX: Duration = Duration::from_secs(3_600);
/// The same in intervals: who compares every minute wants to hear of a slow book within ten.
const RECONCILE_TIME_INTERVALS: u32 = 10;
/// How far back RECONCILE_EVERY looks each time: whatever is in doubt is settled within a day.
const RECONCILE_REACH: Duration = Duration::from_secs(24 * 3_600);
/// When it compares first, or earlier: one that is restarted every day compares nevertheless.
const RECONCILE_FIRST: Duration = Duration::from_secs(60);
/// How often its thread looks whether the process stops.
const RECONCILE_LOOK: Duration = Duration::from_secs(1);

/// The step of the audit file's lines.
const STEP: &str = "books_differ";

/// The thread's side.
struct Comparison {
    config: Arc<Config>,
    settings: ReconcileConfig,
    dir: PathBuf,
    /// No reason for what the cores share to stay.
    shared: Weak<Shared>,
    clock: Clock,
    told: Told,
    /// Whether it was told that ids of the window are forgotten.
    is_narrow: bool,
}

/// Begins to compare, where RECONCILE_EVERY is set.
///
/// # Errors
/// There is no thread.
pub(super) fn start(setup: &Setup, shared: &Arc<Shared>) -> Result<(), String> {
    let config = Arc::clone(&setup.config);
    let (Some(settings), Some(journal)) = (config.reconcile.clone(), config.journal.clone()) else {
        return Ok(());
    };
    shared.metrics.books.begin(settings.every);
    let (shared, start) = (Arc::downgrade(shared), setup.start);
    let run = move || {
        let comparison = Comparison {
            told: told_before(
                config.audit_dir.as_deref().unwrap_or(&journal.dir),
                Clock::new(start).now().mono,
            ),
            clock: Clock::new(start),
            dir: journal.dir,
            config,
            settings,
            shared,
            is_narrow: false,
        };
        comparison.run();
    };
    let thread = thread::Builder::new().name("books".to_owned()).spawn(run);
    thread
        .map(drop)
        .map_err(|fault| format!("cannot start the comparison with the books: {fault}"))
}

/// What earlier processes have told. Of each kind of double charge the newest
/// [`limits::AUDIT_ANSWER_LINES_MAX`] lines are read, so that no number of other differences hides
/// one. What is further back, or in a file that is no longer kept, is told once more, and its
/// processor paused once more: an operator looks twice, and no money is lost.
fn told_before(dir: &std::path::Path, now: Mono) -> Told {
    let mut told = Told::default();
    let doubles = DOUBLES.map(|kind| format!(r#"{STEP}","kind":"{}"#, kind.name()));
    for step in doubles.iter().map(String::as_str).chain([STEP]) {
        let lines = audit::read_step(dir, step).unwrap_or_else(|fault| {
            log::error!("the audit file cannot be read, so differences are told again: {fault}");
            Vec::new()
        });
        for (id, kind) in lines.iter().filter_map(|line| read_line(line)) {
            told.before(id, kind, now);
        }
    }
    told
}

impl Comparison {
    fn run(mut self) {
        let mut due = self.clock.now().mono;
        due = due.after(self.settings.every.min(RECONCILE_FIRST));
        loop {
            while self.clock.now().mono < due {
                if self.is_over() {
                    return;
                }
                thread::park_timeout(RECONCILE_LOOK.min(self.settings.every));
            }
            let found = self.compare(self.clock.now().wall);
            // From its end on: however long it takes, processors are asked no more often.
            due = self.clock.now().mono.after(self.settings.every);
            let Some(shared) = self.shared.upgrade() else {
                return;
            };
            match found {
                Ok((found, second)) => {
                    self.tell_doubles(&shared, &found);
                    match second {
                        None => self.tell(&shared, &found),
                        Some(fault) => log::error!("the books cannot be compared: {fault}"),
                    }
                }
                Err(fault) => log::error!("the books cannot be compared: {fault}"),
            }
        }
    }

    /// How far back is compared.
    fn reach(&self) -> Duration {
        RECONCILE_REACH.min(self.config.cache_ttl)
    }

    fn is_over(&self) -> bool {
        let shared = self.shared.upgrade();
        shared.is_none_or(|shared| shared.has_ended.load(Ordering::Relaxed))
    }

    /// What differs, and why the second reading failed, if it did.
    fn compare(
        &mut self,
        now: UnixMillis,
    ) -> Result<(Found, Option<ReconcileFault>), ReconcileFault> {
        let mut request = self.request(whole_second(now.before(self.reach())), now)?;
        let mut first = match self.read(&request) {
            // Ids beyond CACHE_CAPACITY: what is left is compared.
            Err(ReconcileFault::Forgotten {
                known_from: Some(from),
                ..
            }) => {
                if !std::mem::replace(&mut self.is_narrow, true) {
                    let from = date(from);
                    log::warn!("ids are forgotten: the books are compared from {from} on only");
                }
                request.from = Some(from);
                self.read(&request)?
            }
            found => {
                let found = found?;
                self.is_narrow = false;
                found
            }
        };
        let doubtful = first.doubtful();
        if doubtful.is_empty() {
            return Ok((first, None));
        }
        let mut again = BTreeMap::new();
        let second = self.each(&request, |one| {
            if is_doubtful(one.kind) && doubtful.contains(&one.id) {
                again.insert(one.id, *one);
            }
        });
        match second {
            Ok(()) => first.take_back(&again),
            Err(fault) => return Ok((first, Some(fault))),
        }
        Ok((first, None))
    }

    fn request(&self, from: UnixMillis, now: UnixMillis) -> Result<Request, ReconcileFault> {
        let mut books = Vec::new();
        let mut access = PerProcessor::default();
        for (processor, upstream) in self.config.upstream.iter() {
            let Some(book) = self.settings.books.get(processor) else {
                continue;
            };
            let place = Place::parse(book);
            if matches!(place, Place::Web(_)) {
                let found = self.access(book, upstream);
                *access.get_mut(processor) =
                    found.map_err(|why| ReconcileFault::Access { processor, why })?;
            }
            books.push((processor, place));
        }
        Ok(Request {
            journals: vec![self.dir.clone()],
            books,
            access,
            from: Some(from),
            to: Some(now.before(self.settings.settled)),
            temporary: std::env::temp_dir(),
            entries_max: limits::RECONCILE_ENTRIES_MAX,
            bounds: Bounds {
                rows_max: limits::RECONCILE_ROWS_MAX,
                end: Some(End::after(
                    self.settings
                        .every
                        .saturating_mul(RECONCILE_TIME_INTERVALS)
                        .min(RECONCILE_TIME_MAX),
                )),
            },
        })
    }

    /// What goes with a request for a book: its processor's own files where it is asked for there.
    fn access(&self, book: &str, one: &ProcessorConfig) -> Result<Access, String> {
        let held = one.files.read();
        let held = held.map_err(|(setting, why)| format!("{setting}: {why}"))?;
        let lines = held.headers.iter();
        let headers = lines.map(|(name, value)| (name.to_owned(), value.to_vec()));
        let mut access = Access {
            headers: headers.collect(),
            ..Access::default()
        };
        if config::is_own_https(book, one) {
            access.material = held.tls;
            access.name.clone_from(&one.peer);
        } else if Place::parse(book).is_https() {
            let usual = config::read_usual_authorities(self.settings.authorities.as_deref());
            access.material = Some(usual?);
        }
        Ok(access)
    }

    fn read(&self, request: &Request) -> Result<Found, ReconcileFault> {
        let mut found = Found::default();
        self.each(request, |one| found.take(one, &self.told))?;
        Ok(found)
    }

    fn each(
        &self,
        request: &Request,
        mut each: impl FnMut(&Difference),
    ) -> Result<(), ReconcileFault> {
        let is_alone = self.config.shards.own.count() == 1;
        reconcile::reconcile(request, &mut |one| {
            // Of several shards, another one may have charged it.
            let is_ours = is_alone || one.kind != Kind::MissingHere;
            if one.kind != Kind::Pending && is_ours {
                each(one);
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Tells all of a comparison that was read to its end.
    fn tell(&mut self, shared: &Shared, found: &Found) {
        self.tell_each(shared, &found.others);
        self.told.tell_others(found);
        let metrics = &shared.metrics.books;
        for kind in BookDifference::ALL {
            let count = found.counts.get(kind.name()).copied().unwrap_or(0);
            metrics.differences.get(*kind).set(count);
        }
        metrics.compared(self.clock.now().mono);
    }

    fn tell_doubles(&mut self, shared: &Shared, found: &Found) {
        self.tell_each(shared, &found.doubles);
        let now = self.clock.now().mono;
        self.told.tell_doubles(found, now, self.reach());
    }

    fn tell_each(&self, shared: &Shared, kept: &[Difference]) {
        let now = self.clock.now();
        for one in kept {
            if self.told.has(one) {
                continue;
            }
            if self.settings.on_double == OnDouble::Pause {
                self.pause(shared, one, now);
            }
            let about = one.processor.map_or(About::Instance, About::Processor);
            shared
                .metrics
                .events
                .put(now.mono, EventKind::BooksDiffer, about);
            let (kind, id) = (one.kind.name(), one.id.to_string());
            let processor = one.processor.map_or("none", Processor::name);
            log::error!(kind, id, processor; "the journal and the processors' books differ");
            if let Some(audit) = &shared.audit {
                // Without room it is counted there, and told again after a restart.
                let _is_put = audit.put(Item::Line(write_line(one, now.wall)));
            }
        }
    }

    /// Pauses who charged `one` too often.
    fn pause(&self, shared: &Shared, one: &Difference, now: Now) {
        let all = self.config.upstream.count();
        for processor in all.set().intersection(one.doubled) {
            if shared.processors.is_paused(processor) {
                continue;
            }
            shared.processors.set_paused(processor, true);
            let (status, result) = match shared.keep_pauses(&self.dir, &authorities(&self.config)) {
                Kept::Yes => (200, "paused until an operator lets it go on".to_owned()),
                Kept::NoJournal | Kept::OnlyHere => (200, "paused until a restart".to_owned()),
                Kept::Failed(why) => (503, format!("paused until a restart: {why}")),
            };
            let note = OperatorNote {
                operator: "RECONCILE_ON_DOUBLE".to_owned(),
                reason: format!("{} {}", one.kind.name(), one.id),
            };
            let call = OperatorCall {
                path: &format!("/admin/processors/{}/pause", processor.name()),
                note: Some(&note),
                id: None,
                status,
                result: &result,
            };
            shared.note_operator(&call, now);
        }
    }
}

fn date(at: UnixMillis) -> String {
    let mut date = Vec::new();
    wire::write_instant(at, &mut date);
    String::from_utf8_lossy(&date).into_owned()
}

/// The beginning of its second: older ones the ledger keeps whole.
fn whole_second(at: UnixMillis) -> UnixMillis {
    UnixMillis(at.0.div_euclid(1_000).saturating_mul(1_000))
}

/// A difference as a line of the audit file; no text in it needs an escape.
fn write_line(one: &Difference, now: UnixMillis) -> String {
    let name = |processor: Option<Processor>| match processor {
        Some(processor) => format!("\"{}\"", processor.name()),
        None => "null".to_owned(),
    };
    format!(
        r#"{{"at":"{}","id":"{}","step":"{STEP}","kind":"{}","processor":{},"other":{}}}"#,
        date(now),
        one.id,
        one.kind.name(),
        name(one.processor),
        name(one.other),
    )
}

/// Reads what [`write_line`] writes.
fn read_line(line: &str) -> Option<(UpstreamId, Kind)> {
    let read: serde_json::Value = serde_json::from_str(line).ok()?;
    let id = CorrelationId::try_new(read.get("id")?.as_str()?).ok()?;
    let kind = read.get("kind")?.as_str()?;
    let kind = Kind::ALL.into_iter().find(|one| one.name() == kind)?;
    Some((id.upstream_id(), kind))
}
