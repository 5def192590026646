//! Entries as lines of JSON, for `GET /admin/payments/{id}/events`, the audit file and `p99
//! explain`: one spelling, so that the same entry is the same text wherever it is read.

use std::fmt::{Display, Write as _};

use super::{Entry, Fact, Head, Purpose};
use crate::clock::UnixMillis;
use crate::events::{Answer, Lookup, Reason};
use crate::payment::{Cents, UpstreamId, write_cents};
use crate::wire;

/// Appends `entry` as one object, without a line end.
pub(crate) fn write_entry(entry: &Entry, out: &mut String) {
    let mut object = Object::begin(entry.at, entry.id, out);
    object.word("step", fact_name(entry.fact));
    match entry.fact {
        Fact::Restored { open } => {
            if let Some(processor) = open {
                object.word("open_at", processor.name());
            }
        }
        Fact::Waits { at } => object.word("for", at.name()),
        Fact::Promised => {}
        Fact::Sent { .. } => write_sent(entry.fact, &mut object),
        Fact::Ended {
            processor,
            outcome,
            reason,
            took_us,
        } => {
            object.word("processor", processor.name());
            object.word("outcome", outcome.name());
            object.text("reason", &reason_name(reason));
            object.number("took_us", took_us);
        }
        Fact::Asked { processor } => object.word("processor", processor.name()),
        Fact::LookedUp { processor, lookup } => {
            object.word("processor", processor.name());
            write_lookup(lookup, &mut object);
        }
        Fact::Pinned {
            processor,
            pause_ms,
        } => {
            object.word("processor", processor.name());
            object.number("again_in_ms", pause_ms);
        }
        Fact::Charged { processor, took_us } => {
            object.word("processor", processor.name());
            object.word("told", "as_usual");
            object.number("took_us", took_us);
        }
        Fact::Settled { status, processor } => {
            object.word("status", status.name());
            if let Some(processor) = processor {
                object.word("processor", processor.name());
            }
        }
        Fact::Resolved { is_charged } => {
            object.word("as", if is_charged { "applied" } else { "refused" });
        }
        Fact::Told { answer } => object.word("answer", answer_name(answer)),
    }
    object.end();
}

const fn fact_name(fact: Fact) -> &'static str {
    match fact {
        Fact::Restored { .. } => "restored",
        Fact::Waits { .. } => "waits",
        Fact::Promised => "promised",
        Fact::Sent { .. } => "sent",
        Fact::Ended { .. } => "attempt_ended",
        Fact::Asked { .. } => "lookup_sent",
        Fact::LookedUp { .. } => "lookup_answered",
        Fact::Pinned { .. } => "pinned",
        Fact::Charged { .. } => "charged",
        Fact::Settled { .. } => "settled",
        Fact::Resolved { .. } => "resolved_by_hand",
        Fact::Told { .. } => "told",
    }
}

fn write_sent(fact: Fact, object: &mut Object<'_>) {
    let Fact::Sent {
        processor,
        address,
        purpose,
        choice,
        waited_ms,
    } = fact
    else {
        return;
    };
    object.word("processor", processor.name());
    if let Some(address) = address {
        object.text("address", &address.to_string());
    }
    let attempt = match purpose {
        Purpose::First => "first",
        Purpose::Resend => "resend",
        Purpose::Hedge => "hedge",
    };
    object.word("attempt", attempt);
    object.word("because", choice.name());
    object.number("waited_ms", waited_ms);
}

fn write_lookup(lookup: Lookup, object: &mut Object<'_>) {
    match lookup {
        Lookup::Stored {
            requested_at,
            amount,
        } => {
            object.word("found", "stored");
            object.text("requested_at", &instant(requested_at));
            object.raw("amount", &money(amount));
        }
        Lookup::NotFound => object.word("found", "nothing"),
        Lookup::NoAnswer => object.word("found", "no_answer"),
    }
}

fn money(amount: Cents) -> String {
    let mut digits = Vec::new();
    write_cents(u128::from(amount.0), &mut digits);
    String::from_utf8_lossy(&digits).into_owned()
}

/// Appends the entries of one payment, oldest first, as an array. The first one says when the
/// payment came, or that what was before it is forgotten.
pub(crate) fn write_story(entries: &[Entry], out: &mut String) {
    out.push('[');
    if let Some(first) = entries.first() {
        let waited = if let Fact::Sent { waited_ms, .. } = first.fact {
            i64::from(waited_ms)
        } else {
            0
        };
        let is_first = first.previous == 0;
        let at = UnixMillis(first.at.0.saturating_sub(waited));
        let mut object = Object::begin(if is_first { at } else { first.at }, first.id, out);
        let name = if is_first { "claimed" } else { "forgotten" };
        object.word("step", name);
        object.end();
    }
    for entry in entries {
        out.push(',');
        write_entry(entry, out);
    }
    out.push(']');
}

/// Appends who a payment is as one object, without a line end.
pub(crate) fn write_head(head: &Head, out: &mut String) {
    let mut object = Object::begin(head.at, head.payment.id, out);
    object.word("step", "payment");
    object.text("correlationId", head.payment.correlation_id.as_str());
    object.raw("amount", &money(head.payment.amount));
    if let Some(trace) = &head.trace {
        for (name, value) in [
            ("request_id", &trace.request_id),
            ("traceparent", &trace.traceparent),
        ] {
            if let Some(value) = value {
                object.text(name, value);
            }
        }
    }
    object.end();
}

/// What a client was told, in a word or two.
#[must_use]
pub(crate) const fn answer_name(answer: Answer) -> &'static str {
    match answer {
        Answer::Charged => "charged",
        Answer::Accepted => "accepted",
        Answer::Duplicate(_) => "duplicate",
        Answer::Replayed(_) => "replayed",
        Answer::AmountDiffers => "amount_differs",
        Answer::RefusedForGood => "refused_for_good",
        Answer::RefusedByAll => "refused_by_all",
        Answer::Unavailable => "unavailable",
        Answer::NotTried => "not_tried",
        Answer::Overloaded => "overloaded",
        Answer::NoRoom => "no_room",
        Answer::JournalDown => "journal_down",
        Answer::Silence => "nothing",
    }
}

/// Why an attempt ended, in a word or two.
#[must_use]
pub(crate) fn reason_name(reason: Reason) -> String {
    match reason {
        Reason::Status(status) => format!("status_{status}"),
        Reason::NoConnection => "no_connection".to_owned(),
        Reason::Cut => "cut".to_owned(),
        Reason::Timeout => "timeout".to_owned(),
        Reason::Abandoned => "abandoned".to_owned(),
    }
}

fn instant(at: UnixMillis) -> String {
    let mut text = Vec::new();
    wire::write_instant(at, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// One object in the making. Writing to a String never fails.
struct Object<'a>(&'a mut String);

impl<'a> Object<'a> {
    fn begin(at: UnixMillis, id: UpstreamId, out: &'a mut String) -> Self {
        write!(out, r#"{{"at":"{}","id":"{id}""#, instant(at)).unwrap_or_default();
        Self(out)
    }

    /// A value that needs no escapes.
    fn word(&mut self, name: &str, value: &str) {
        write!(self.0, r#","{name}":"{value}""#).unwrap_or_default();
    }

    fn text(&mut self, name: &str, value: &str) {
        let value = serde_json::to_string(value).unwrap_or_default();
        self.raw(name, &value);
    }

    fn number(&mut self, name: &str, value: impl Display) {
        write!(self.0, r#","{name}":{value}"#).unwrap_or_default();
    }

    /// A value that is JSON already.
    fn raw(&mut self, name: &str, value: &str) {
        self.number(name, value);
    }

    fn end(self) {
        self.0.push('}');
    }
}

#[cfg(test)]
mod tests;
