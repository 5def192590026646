//! What an owner notes, as metrics and log lines. Nothing here changes what happens.

use crate::breaker;
use crate::clock::Mono;
use crate::events::{Hedge, Lookup, Move, Note, Reason, Shed};
use crate::metrics::{
    About, CoreMetrics, EventKind, Events, Fault, HedgeEvent, LookupAnswer, ShedReason,
};
use crate::payment::{Outcome, Processor};

/// Shows `note` among the last events, where it is one.
pub(super) fn show(events: &Events, note: &Note, now: Mono) {
    let (kind, processor) = match *note {
        Note::Breaker(processor, breaker::Transition { to, .. }) => {
            let kind = match to {
                breaker::State::Open => EventKind::BreakerOpened,
                breaker::State::HalfOpen => EventKind::BreakerHalfOpen,
                breaker::State::Closed => EventKind::BreakerClosed,
            };
            (kind, processor)
        }
        Note::Move(processor, _) => (EventKind::Moved, processor),
        Note::AttemptEnded { .. }
        | Note::LateAnswer(_)
        | Note::LateReadDropped
        | Note::Duplicate(_)
        | Note::Settled { .. }
        | Note::Foreign { .. }
        | Note::Shed(_)
        | Note::Hedge(..)
        | Note::Resent(_)
        | Note::LookedUp(..) => return,
    };
    events.put(now, kind, About::Processor(processor));
}

/// Counts `note`, and logs it where it is worth a line: what is unusual at `warn`, what an operator
/// would ask about one payment at `debug`.
pub(super) fn count(metrics: &CoreMetrics, note: &Note, now: Mono) {
    match *note {
        Note::AttemptEnded {
            id,
            processor,
            outcome,
            reason,
            took,
        } => {
            metrics.attempt_ended(processor, outcome, took, now);
            if let Some(fault) = fault_of(outcome, reason) {
                metrics.attempt_failed(processor, fault, now);
            }
            let name = processor.name();
            if let Reason::Status(status @ (401 | 403..=405)) = reason {
                log::error!("misconfiguration: {name} answers {status}; check its URL and path");
            }
            if outcome != Outcome::Applied {
                log::debug!(
                    "payment={id} processor={name} outcome={} reason={reason:?} took_us={}",
                    outcome.name(),
                    took.as_micros()
                );
            }
        }
        Note::LateAnswer(processor) => metrics.late_answers.get(processor).increment(),
        Note::LateReadDropped => metrics.late_reads_dropped.increment(),
        Note::Duplicate(status) => metrics.duplicates.get(status).increment(),
        Note::Settled { .. } => {}
        Note::Foreign { id, processor } => {
            log::warn!(
                "payment={id} was charged at {} by another client",
                processor.name()
            );
        }
        Note::Shed(shed) => {
            let reason = match shed {
                Shed::Concurrency => ShedReason::ConcurrencyLimit,
                Shed::Queue => ShedReason::QueueFull,
                Shed::Cache => ShedReason::CacheFull,
                Shed::Journal => ShedReason::JournalDown,
                Shed::Unavailable => ShedReason::Unavailable,
            };
            metrics.sheds.get(reason).increment();
        }
        Note::Hedge(processor, hedge) => count_hedge(metrics, processor, hedge),
        Note::Resent(processor) => metrics.resends.get(processor).increment(),
        Note::LookedUp(processor, lookup) => {
            let answer = match lookup {
                Lookup::Stored { .. } => LookupAnswer::Stored,
                Lookup::NotFound => LookupAnswer::NotFound,
                Lookup::NoAnswer => LookupAnswer::NoAnswer,
            };
            metrics.lookups.get(processor).get(answer).increment();
        }
        Note::Move(processor, step) => tell_of_move(processor, step),
        Note::Breaker(processor, breaker::Transition { from, to }) => {
            // The summary of each minute says how often it opened.
            log::debug!("breaker processor={} {from:?} -> {to:?}", processor.name());
        }
    }
}

/// What is worth showing as a processor's last fault; none where it did its part.
fn fault_of(outcome: Outcome, reason: Reason) -> Option<Fault> {
    match reason {
        Reason::Status(status) => (outcome != Outcome::Applied).then_some(Fault::Status(status)),
        Reason::NoConnection => Some(Fault::NoConnection),
        Reason::Cut => Some(Fault::Cut),
        Reason::Timeout => Some(Fault::Timeout),
        Reason::Abandoned => None,
    }
}

fn count_hedge(metrics: &CoreMetrics, processor: Processor, hedge: Hedge) {
    let event = match hedge {
        Hedge::Fired => HedgeEvent::Fired,
        Hedge::Won => HedgeEvent::Won,
        Hedge::Lost => HedgeEvent::Lost,
        Hedge::Denied => HedgeEvent::Denied,
    };
    metrics.hedges.get(event).increment();
    log::trace!("hedge processor={} {hedge:?}", processor.name());
}

/// What an operator must hear when a processor is at another address.
fn tell_of_move(processor: Processor, step: Move) {
    let name = processor.name();
    match step {
        Move::Unproven { from, to } => {
            let from = from.map_or_else(String::new, |from| from.to_string());
            log::warn!(
                "processor {name} moved from {from} to {to}: payments in doubt wait until it shows \
                 one of them there, or until `p99 ctl processors confirm {name}`"
            );
        }
        Move::Proven { at } => log::warn!(
            "processor {name} at {at} is the one that payments in doubt went to: it stores one"
        ),
    }
}
