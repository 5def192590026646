//! Lines of the log about single payments that were not plain: who it is, what its client was told,
//! where it stands and why. What the owner says of them comes in as `timeline::Line`.

use log::kv::Value;

use crate::audit::{Audit, Item};
use crate::events::Answer;
use crate::logging;
use crate::payment::{Processor, Status};
use crate::timeline::{Line, Remark, Telling, answer_name, reason_name};

/// Logs what is a line, and has the rest written into the audit file, where there is one. What does
/// not fit is counted there.
pub(super) fn pass_on(telling: Option<Telling>, audit: Option<&Audit>) {
    match (telling, audit) {
        (Some(Telling::Line(line)), _) => log(&line),
        (Some(Telling::Head(head)), Some(audit)) => {
            audit.put(Item::Head(head));
        }
        (Some(Telling::Entry(entry)), Some(audit)) => {
            audit.put(Item::Entry(Box::new(entry)));
        }
        (Some(Telling::Head(_) | Telling::Entry(_)) | None, _) => {}
    }
}

/// Logs `line` at info.
fn log(line: &Line) {
    if log::max_level() < log::Level::Info {
        return;
    }
    let payment = &line.head.payment;
    let remarks: Vec<&str> = line.remarks.iter().map(Remark::name).collect();
    let reason = remarks.join(",");
    let id = payment.id.to_string();
    let took_us = u64::try_from(line.took.as_micros()).unwrap_or(u64::MAX);
    let last = line.last.map(reason_name);
    let processor = line.processor.map(Processor::name);
    let mut fields: Vec<(&str, Value<'_>)> = vec![
        ("correlationId", payment.correlation_id.as_str().into()),
        ("id", id.as_str().into()),
        ("status", line.status.name().into()),
        ("reason", reason.as_str().into()),
        ("attempts", line.attempts.into()),
        ("took_us", took_us.into()),
    ];
    if let Some(answer) = line.answer {
        fields.push(("answer", answer_name(answer).into()));
    }
    for (name, value) in [("processor", processor), ("last", last.as_deref())] {
        fields.extend(value.map(|value| (name, value.into())));
    }
    if let Some(trace) = &line.head.trace {
        for (name, value) in [
            ("request_id", &trace.request_id),
            ("traceparent", &trace.traceparent),
        ] {
            fields.extend(value.as_deref().map(|value| (name, value.into())));
        }
    }
    let first = line.remarks.iter().next();
    logging::tell_of_payment(
        first.map_or("plain", Remark::name),
        message(line),
        &fields.as_slice(),
    );
}

fn message(line: &Line) -> &'static str {
    match (line.answer, line.status) {
        (Some(Answer::Accepted), Status::Pending) => "payment is pending",
        (Some(Answer::Charged), _) => "payment was charged after trouble",
        (Some(_), _) => "payment was not charged",
        (None, _) => "payment was settled",
    }
}
