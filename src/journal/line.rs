//! Records as lines of JSON, for people. No field needs escaping: ids have a small alphabet and
//! all other text is ours. Money is written digit by digit (I7).

use super::frame::Identity;
use super::record::{Fate, Record, Verdict};
use super::replay::{Pending, Sent};
use crate::claims::SettledClaim;
use crate::clock::UnixMillis;
use crate::payment::{Cents, Payment, Processor, UpstreamId};
use crate::wire::write_instant;

/// One object, closed when it is dropped off by [`Self::end`].
struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self {
            out,
            is_empty: true,
        }
    }

    fn raw(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        write(self.out);
    }

    fn text(&mut self, name: &str, value: &str) {
        self.raw(name, |out| {
            out.push(b'"');
            out.extend_from_slice(value.as_bytes());
            out.push(b'"');
        });
    }

    fn number(&mut self, name: &str, value: impl itoa::Integer) {
        self.raw(name, |out| {
            out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes())
        });
    }

    fn date(&mut self, name: &str, date: UnixMillis) {
        self.raw(name, |out| {
            out.push(b'"');
            write_instant(date, out);
            out.push(b'"');
        });
    }

    fn amount(&mut self, amount: Cents) {
        self.raw("amount", |out| amount.write(out));
    }

    fn payment(&mut self, payment: &Payment) {
        self.text("id", &payment.id.to_string());
        self.text("correlationId", payment.correlation_id.as_str());
        self.amount(payment.amount);
    }

    fn sent(&mut self, processor: Processor, requested_at: UnixMillis) {
        self.text("processor", processor.name());
        self.date("requestedAt", requested_at);
    }

    fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }
}

fn open<'a>(
    identity: &Identity,
    sequence: Option<u64>,
    kind: &str,
    out: &'a mut Vec<u8>,
) -> Object<'a> {
    let mut object = Object::new(out);
    object.number("epoch", identity.epoch);
    object.number("core", identity.core.0);
    if let Some(sequence) = sequence {
        object.number("sequence", sequence);
    }
    object.text("kind", kind);
    object
}

/// A record of a segment, or, without a sequence, of a snapshot.
pub(crate) fn write_record(
    identity: &Identity,
    sequence: Option<u64>,
    record: &Record,
    out: &mut Vec<u8>,
) {
    let object = match record {
        Record::Accept {
            payment,
            accepted_at,
        } => {
            let mut object = open(identity, sequence, "accept", out);
            object.payment(payment);
            object.date("acceptedAt", *accepted_at);
            object
        }
        Record::Intent {
            payment,
            processor,
            requested_at,
            accepted_at,
            address,
        } => {
            let mut object = open(identity, sequence, "intent", out);
            object.payment(payment);
            object.sent(*processor, *requested_at);
            if let Some(date) = accepted_at {
                object.date("acceptedAt", *date);
            }
            if let Some(address) = address {
                object.text("address", &address.to_string());
            }
            object
        }
        Record::Verdict { id, verdict } => {
            let mut object = open(identity, sequence, "verdict", out);
            object.text("id", &id.to_string());
            write_verdict(*verdict, &mut object);
            object
        }
        Record::Purge { at } => {
            let mut object = open(identity, sequence, "purge", out);
            object.date("at", *at);
            object
        }
    };
    object.end();
}

fn write_verdict(verdict: Verdict, object: &mut Object<'_>) {
    let name = match verdict {
        Verdict::Applied { .. } => "applied",
        Verdict::Foreign { .. } => "foreign",
        Verdict::Refused { .. } => "refused",
        Verdict::NotSent { .. } => "not_sent",
        Verdict::Withdrawn => "withdrawn",
    };
    object.text("verdict", name);
    match verdict {
        Verdict::Applied {
            processor,
            amount,
            requested_at,
        }
        | Verdict::Foreign {
            processor,
            amount,
            requested_at,
        } => {
            object.sent(processor, requested_at);
            object.amount(amount);
        }
        Verdict::Refused { processor, fate } | Verdict::NotSent { processor, fate } => {
            object.text("processor", processor.name());
            object.text(
                "payment",
                match fate {
                    Fate::Held => "held",
                    Fate::Freed => "freed",
                    Fate::Ended => "ended",
                },
            );
        }
        Verdict::Withdrawn => {}
    }
}

pub(crate) fn write_settled(
    identity: &Identity,
    id: UpstreamId,
    claim: &SettledClaim,
    out: &mut Vec<u8>,
) {
    let mut object = open(identity, None, "settled", out);
    object.text("id", &id.to_string());
    object.text("status", claim.status.name());
    object.amount(claim.amount);
    if let Some(processor) = claim.processor {
        object.text("processor", processor.name());
    }
    if let Some(date) = claim.requested_at {
        object.date("requestedAt", date);
    }
    object.raw("counted", |out| {
        out.extend_from_slice(claim.counted.to_string().as_bytes())
    });
    object.end();
}

pub(crate) fn write_ledger(identity: &Identity, bytes: usize, out: &mut Vec<u8>) {
    let mut object = open(identity, None, "ledger", out);
    object.number("bytes", bytes);
    object.end();
}

/// A pending payment with its age in whole milliseconds.
pub(crate) fn write_pending(pending: &Pending, wall: UnixMillis, out: &mut Vec<u8>) {
    let mut object = Object::new(out);
    object.payment(&pending.payment);
    if let Some(Sent {
        processor,
        requested_at,
        address,
    }) = pending.open
    {
        object.sent(processor, requested_at);
        if let Some(address) = address {
            object.text("address", &address.to_string());
        }
    }
    if let Some(date) = pending.accepted_at {
        object.date("acceptedAt", date);
    }
    if let Some(began) = pending.began_at() {
        object.number("ageMs", wall.0.saturating_sub(began.0).max(0));
    }
    object.end();
}
