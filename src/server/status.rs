//! How operators see an instance: one page that asks for `status.json` every two seconds, and the
//! same as text for curl and for browsers without scripts. Served on ADMIN_LISTEN alone.
//!
//! The page is one embedded file. Its scripts and styles are allowed by their hashes, which a test
//! computes; nothing else may run or be loaded. All it shows comes from `status.json`.

use std::fmt::Write as _;

use serde::Serialize;

use super::Core;
use super::lifecycle::Readiness;
use super::page::Page;
use crate::clock::Mono;
use crate::metrics::{Event, InstanceStatus, Lately, ProcessorStatus};
use crate::owner::Unsettled;
use crate::wire;

const PAGE: &[u8] = include_bytes!("status.html");
const POLICY: &[u8] = b"default-src 'none'; \
    script-src 'sha256-/698Jmaad2NwODttt2B+ldc3O/EGLxq1m25BOs0jykg='; \
    style-src 'sha256-/26kSM04uc481urxgqloBuKHeHQusQWwmm0odaHHpg4='; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What `/` answers.
pub(super) fn live_page() -> Page {
    Page {
        fields: &[
            ("Cache-Control", b"no-cache"),
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", b"nosniff"),
            ("Referrer-Policy", b"no-referrer"),
        ],
        ..Page::fresh("text/html; charset=utf-8", PAGE.to_vec())
    }
}

/// Everything that is shown.
#[derive(Debug, Serialize)]
pub(super) struct Overview {
    version: &'static str,
    uptime_ms: u64,
    ready: bool,
    /// Why it is not ready, or what is wrong with another shard; empty while all is well.
    why: String,
    #[serde(flatten)]
    status: InstanceStatus,
    oldest: Vec<Waiting>,
    /// The newest first.
    events: Vec<Happened>,
    shards: Vec<ShardStatus>,
    /// What went wrong with the store last.
    store_fault: Option<LastFault>,
}

/// What went wrong, and how long ago.
#[derive(Debug, Serialize)]
struct LastFault {
    age_ms: u64,
    what: String,
}

/// An unsettled payment.
#[derive(Debug, Serialize)]
struct Waiting {
    id: String,
    age_ms: u64,
    processor: &'static str,
    reason: &'static str,
    promised: bool,
}

/// One of the last events.
#[derive(Debug, Serialize)]
struct Happened {
    /// As a date.
    at: String,
    #[serde(flatten)]
    event: Event,
}

#[derive(Debug, Serialize)]
struct ShardStatus {
    place: String,
    state: &'static str,
}

impl Core {
    pub(super) async fn status(&self) -> Overview {
        let readiness = self.lifecycle.readiness(self.now().mono);
        let (status, oldest) = self.runtime.overview(self.is_serving()).await;
        let now = self.now().mono;
        let footing = self.runtime.footing();
        let failure = match (self.runtime.failure(), self.lifecycle.failure()) {
            (Some((_, why)), _) => Some(format!("nothing can be kept: {why}")),
            (None, Some(_)) => Some("nothing can be kept, another core knows why".to_owned()),
            (None, None) => None,
        };
        let why = match (failure, readiness) {
            // It drains then too, and this is why.
            (Some(failure), _) => failure,
            (None, Readiness::Starting) => "starting".to_owned(),
            (None, Readiness::Draining) => "draining".to_owned(),
            (None, Readiness::CoreStuck(core)) => format!("core {} does not run", core.0),
            (None, Readiness::Ready) if !footing.is_good() => footing.to_string(),
            (None, Readiness::Ready) if status.is_ready => {
                let elsewhere = footing.trouble();
                elsewhere.map_or(String::new(), |trouble| trouble.to_string())
            }
            (None, Readiness::Ready) if status.store.is_some() => {
                "the store does not answer every core".to_owned()
            }
            (None, Readiness::Ready) => {
                "the journal does not keep up, or has no room for its next segment".to_owned()
            }
        };
        Overview {
            version: env!("CARGO_PKG_VERSION"),
            uptime_ms: now.0 / 1_000,
            ready: status.is_ready,
            why,
            oldest: oldest.iter().map(|one| Waiting::new(one, now)).collect(),
            events: self.events(),
            shards: self.shards(),
            store_fault: self.runtime.store_fault().map(|(at, what)| LastFault {
                age_ms: u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX),
                what,
            }),
            status,
        }
    }

    fn events(&self) -> Vec<Happened> {
        let now = self.now();
        let events = self.runtime.events();
        let happened = |event: Event| {
            let mut date = Vec::new();
            wire::write_instant(now.wall.before(now.mono.since(event.at)), &mut date);
            Happened {
                at: String::from_utf8(date).unwrap_or_default(),
                event,
            }
        };
        events.into_iter().map(happened).collect()
    }

    /// None where this instance is alone.
    fn shards(&self) -> Vec<ShardStatus> {
        let mut shards: Vec<ShardStatus> = self
            .runtime
            .peer_answers()
            .map(|(place, answered)| ShardStatus {
                place,
                state: match answered {
                    None => "not asked yet",
                    Some(true) => "answers",
                    Some(false) => "no answer",
                },
            })
            .collect();
        if !shards.is_empty() {
            let own = ShardStatus {
                place: format!("this one, {}", self.runtime.config.shards.own),
                state: "answers",
            };
            shards.insert(0, own);
        }
        shards
    }
}

impl Waiting {
    fn new(unsettled: &Unsettled, now: Mono) -> Self {
        Self {
            id: unsettled.id.as_str().to_owned(),
            age_ms: millis(now.0.saturating_sub(unsettled.arrived.0)),
            processor: unsettled.processor.map_or("", |processor| processor.name()),
            reason: unsettled.reason,
            promised: unsettled.is_promised,
        }
    }
}

const fn millis(micros: u64) -> u64 {
    micros / 1_000
}

impl Overview {
    pub(super) fn json(&self) -> Page {
        let body = serde_json::to_vec(self).unwrap_or_default();
        Page::fresh(super::reply::JSON, body)
    }

    pub(super) fn text(&self) -> Page {
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = self.write(&mut text);
        Page::fresh("text/plain; charset=utf-8", text.into_bytes())
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let state = if self.ready { "ready" } else { "NOT READY" };
        let because = if self.why.is_empty() { "" } else { ": " };
        writeln!(out, "p99 {} {state}{because}{}", self.version, self.why)?;
        writeln!(out, "up {}", span(self.uptime_ms))?;
        let kinds = ["charged", "accepted", "refused (4xx)", "failed (5xx)"];
        writeln!(out, "\npayments")?;
        self.status
            .payments
            .iter()
            .try_for_each(|lately| write_lately(lately, kinds, out))?;
        for processor in &self.status.processors {
            write_processor(processor, out)?;
        }
        self.write_pending(out)?;
        for one in &self.status.changed {
            let (name, now, first) = (one.name, &one.now, &one.first);
            writeln!(out, "\nset by an operator: {name}={now} instead of {first}")?;
        }
        writeln!(out, "\nbounds")?;
        for bound in &self.status.bounds {
            let share = bound.used.saturating_mul(100) / bound.limit.max(1);
            let (name, used, limit) = (&bound.name, bound.used, bound.limit);
            writeln!(out, "  {share:>3} %  {name}: {used} of {limit}")?;
        }
        if let Some(journal) = &self.status.journal {
            writeln!(out, "\njournal, JOURNAL_SYNC={}", journal.sync)?;
            writeln!(out, "  sync p99 of a minute {} us", journal.sync_p99_us)?;
            let (free, taken) = (journal.free_bytes, journal.disk_bytes);
            writeln!(out, "  {free} bytes free, {taken} taken")?;
            let (lag, failures) = (journal.lag_records, journal.failures);
            writeln!(out, "  {lag} records not durable yet, {failures} failures")?;
            if journal.next_segment_missing > 0 {
                writeln!(
                    out,
                    "  THE NEXT SEGMENT CANNOT BE RESERVED: is the disk full?"
                )?;
            }
        }
        if let Some(store) = &self.status.store {
            let silence = span(store.silence_ms);
            writeln!(out, "\nstore, acknowledged a batch {silence} ago")?;
            writeln!(out, "  commit p99 of a minute {} us", store.commit_p99_us)?;
            let (open, lag) = (store.open_payments, store.lag_records);
            writeln!(out, "  {open} open payments, {lag} records not durable yet")?;
            let (doubtful, adopted) = (store.doubtful, store.adopted);
            writeln!(
                out,
                "  {doubtful} batches were in doubt, {adopted} writers adopted"
            )?;
            let (writers, lease) = (store.writers, span(store.lease_ms));
            writeln!(out, "  {writers} writers, leases for {lease}")?;
            let faults = store.faults;
            writeln!(out, "  {faults} connections or batches failed")?;
        }
        if let Some(fault) = &self.store_fault {
            writeln!(out, "  {} ago: {}", span(fault.age_ms), fault.what)?;
        }
        if !self.shards.is_empty() {
            writeln!(out, "\nshards")?;
        }
        for shard in &self.shards {
            writeln!(out, "  {}: {}", shard.place, shard.state)?;
        }
        writeln!(out, "\nevents, the newest first")?;
        for Happened { at, event } in &self.events {
            let about = if event.about.is_empty() { "" } else { ": " };
            writeln!(out, "  {at} {}{about}{}", event.what, event.about)?;
        }
        Ok(())
    }

    fn write_pending(&self, out: &mut String) -> std::fmt::Result {
        let pending = self.status.pending;
        let oldest = span(pending.oldest_ms);
        writeln!(out, "\npending: {}, the oldest for {oldest}", pending.count)?;
        for one in &self.oldest {
            let promised = if one.promised { ", promised" } else { "" };
            let (id, age) = (&one.id, span(one.age_ms));
            writeln!(
                out,
                "  {id} {age} {} {}{promised}",
                one.processor, one.reason
            )?;
        }
        Ok(())
    }
}

fn write_processor(processor: &ProcessorStatus, out: &mut String) -> std::fmt::Result {
    let breaker = match processor.breaker {
        0 => "closed",
        1 => "OPEN",
        _ => "half open",
    };
    let since = span(processor.breaker_age_ms);
    writeln!(out, "\nprocessor {}", processor.name)?;
    writeln!(out, "  breaker {breaker} for {since}")?;
    if processor.paused {
        writeln!(out, "  PAUSED by an operator")?;
    }
    let (used, limit) = (processor.in_flight, processor.limit);
    writeln!(out, "  {used} in flight of {limit}")?;
    let kinds = ["not sent", "refused", "applied", "unknown"];
    for lately in &processor.attempts {
        write_lately(lately, kinds, out)?;
    }
    match processor.fault_age_ms {
        Some(age) => writeln!(out, "  last error {} ago: {}", span(age), processor.fault),
        None => Ok(()),
    }
}

/// Rates with one digit behind the point, and latencies.
fn write_lately(lately: &Lately, kinds: [&str; 4], out: &mut String) -> std::fmt::Result {
    write!(out, "  last {} s:", lately.span_ms / 1_000)?;
    for (kind, count) in kinds.into_iter().zip(lately.counts) {
        let tenths = count.saturating_mul(10_000) / lately.span_ms.max(1);
        write!(out, " {}.{}/s {kind},", tenths / 10, tenths % 10)?;
    }
    writeln!(out, " p50 {} us, p99 {} us", lately.p50_us, lately.p99_us)
}

/// A span as people say it: its two largest units.
fn span(ms: u64) -> String {
    let (seconds, minutes, hours) = (ms / 1_000, ms / 60_000, ms / 3_600_000);
    match hours / 24 {
        0 if minutes == 0 => format!("{seconds}.{} s", ms % 1_000 / 100),
        0 if hours == 0 => format!("{minutes} min {} s", seconds % 60),
        0 => format!("{hours} h {} min", minutes % 60),
        days => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests;
