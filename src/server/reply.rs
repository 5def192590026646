//! What a client is told: the one place that chooses HTTP statuses and the words beside them.
//!
//! `routes` and `connection` pick a [`Reply`]; it is plain data, so the table of every answer of
//! the engine is tested without a socket. Writing it out allocates nothing in steady state.
//! Never says anything about a payment that the engine did not say.

use crate::claims::FirstAnswer;
use crate::events::Answer;
use crate::http::status;
use crate::http::{
    ConnectionField, DateText, Method, Persistence, RequestHead, ResponseHead, write_response,
};
use crate::pay::AskFault;
use crate::payment::{CorrelationId, Status};
use crate::server::PAYMENTS_PATH_PREFIX;
use crate::server::lifecycle::Readiness;
use crate::wire::{self, Charged, Problem};

/// Retry-After while CACHE_CAPACITY ids are known and CACHE_FULL refuses, in seconds: room comes
/// back as slowly as ids grow old.
const CACHE_FULL_RETRY_AFTER_SECS: u32 = 30;

/// The type of 422 for an id that is known with another amount.
const AMOUNT_DIFFERS: &str = "urn:p99:problem:amount-differs";

/// The type of 421: the balancer's layout is not this instance's.
const WRONG_SHARD: &str = "urn:p99:problem:wrong-shard";

pub(super) const JSON: &str = "application/json";
pub(super) const PROBLEM: &str = "application/problem+json";

/// The body of a reply whose text is known beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// JSON as it stands.
    Json(&'static [u8]),
    /// A problem (RFC 9457); its title is the status's own phrase.
    Problem {
        /// Empty for most: the status says it all.
        kind: &'static str,
        /// What this one is about.
        detail: &'static str,
        /// What it says about money.
        charged: Charged,
    },
}

/// One answer without its connection's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) text: Text,
    /// Seconds.
    pub(super) retry_after: Option<u32>,
    /// One field that says what would be taken, such as Allow for 405; its value is empty where
    /// there is none.
    pub(super) field: (&'static str, &'static str),
    /// The first answer to a payment, once more.
    pub(super) is_replayed: bool,
}

impl Reply {
    const fn json(status: u16, body: &'static [u8]) -> Self {
        Self {
            status,
            text: Text::Json(body),
            retry_after: None,
            field: ("", ""),
            is_replayed: false,
        }
    }

    /// A problem of this request alone: an earlier one with the same id may have charged.
    pub(super) const fn problem(status: u16, detail: &'static str) -> Self {
        Self::about(status, detail, Charged::Unknown)
    }

    /// A problem of a payment whose claim p99 held, and that no processor has.
    const fn not_charged(status: u16, detail: &'static str) -> Self {
        Self::about(status, detail, Charged::No)
    }

    const fn about(status: u16, detail: &'static str, charged: Charged) -> Self {
        let text = Text::Problem {
            kind: "",
            detail,
            charged,
        };
        Self {
            status,
            text,
            retry_after: None,
            field: ("", ""),
            is_replayed: false,
        }
    }

    /// A kind of problem that its status alone does not tell.
    const fn of_kind(mut self, name: &'static str) -> Self {
        if let Text::Problem { kind, .. } = &mut self.text {
            *kind = name;
        }
        self
    }

    pub(super) const fn after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// With a field that says what would be taken instead.
    pub(super) const fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.field = (name, value);
        self
    }

    const fn replayed(mut self) -> Self {
        self.is_replayed = true;
        self
    }

    /// What the client is told about its payment; none where it must hear nothing.
    pub(super) const fn to_payment(answer: Answer) -> Option<Self> {
        let reply = match answer {
            Answer::Charged => Self::json(200, wire::CHARGED),
            Answer::Accepted => Self::json(202, wire::ACCEPTED),
            Answer::Duplicate(Status::Pending) => {
                Self::json(409, wire::duplicate(Status::Pending)).after(1)
            }
            Answer::Duplicate(status) => Self::json(409, wire::duplicate(status)),
            Answer::Replayed(FirstAnswer::Answered200) => Self::json(200, wire::CHARGED).replayed(),
            // The first answer spoke about its own moment; this one says how it is by now.
            Answer::Replayed(FirstAnswer::Accepted202) => {
                Self::json(202, wire::ACCEPTED_AND_CHARGED).replayed()
            }
            Answer::AmountDiffers => {
                Self::problem(422, "the correlationId was first used with another amount")
                    .of_kind(AMOUNT_DIFFERS)
            }
            Answer::RefusedForGood => {
                Self::not_charged(422, "the processor refused the payment; it is not charged")
            }
            Answer::RefusedByAll => {
                Self::not_charged(502, "no processor took the payment; it is not charged")
            }
            Answer::Unavailable => Self::not_charged(
                503,
                "no processor could be tried; the payment is not charged",
            )
            .after(1),
            Answer::NotTried => Self::problem(
                503,
                "no processor could be tried; whether another instance has charged the id before \
                 was not asked",
            )
            .after(1),
            Answer::Overloaded => Self::problem(
                503,
                "too many payments at once; this request was not looked at",
            )
            .after(1),
            Answer::NoRoom => Self::problem(
                503,
                "no room for another id: every one that is known is kept for its time; this \
                 request was not looked at",
            )
            .after(CACHE_FULL_RETRY_AFTER_SECS),
            Answer::JournalDown => Self::problem(
                503,
                "nothing can be kept now: the journal failed, or the store does not answer; \
                     this request was not looked at",
            )
            .after(1),
            Answer::Silence => return None,
        };
        Some(reply)
    }

    /// Why a question has no answer.
    pub(super) const fn to_question(fault: AskFault) -> Self {
        match fault {
            // `Page::cut_second` names the boundary.
            AskFault::CutsOldSecond { .. } => Self::problem(422, "the window cuts an old second"),
            // `Page::gap` names the shard.
            AskFault::Peers(_) => Self::problem(503, "a shard did not answer").after(1),
            AskFault::PeerCutsOldSecond => Self::problem(
                422,
                "the window cuts a second whose milliseconds another shard has forgotten",
            ),
            AskFault::Unresolved => Self::problem(
                503,
                "a payment of this window was open when a process died and is not resolved yet",
            )
            .of_kind(wire::UNRESOLVED)
            .after(1),
            AskFault::Overloaded => Self::problem(503, "too many questions at once").after(1),
            AskFault::JournalDown => Self::problem(503, "the journal failed").after(1),
            AskFault::StoreAway => Self::problem(
                503,
                "the store cannot say for sure now: it does not answer, or a payment was open \
                 when an instance died and is not resolved yet",
            )
            .after(1),
        }
    }

    /// What `/readyz` says.
    pub(super) const fn to_probe(readiness: Readiness, is_fit: bool) -> Self {
        match readiness {
            Readiness::Ready if is_fit => Self::json(200, br#"{"status":"ready"}"#),
            Readiness::Ready => Self::about(
                503,
                "the journal does not keep up or has no room, or the store does not answer",
                Charged::Unsaid,
            ),
            Readiness::Starting => Self::about(503, "starting", Charged::Unsaid),
            Readiness::Draining => Self::about(503, "draining", Charged::Unsaid),
            Readiness::CoreStuck(_) => Self::about(503, "a core does not run", Charged::Unsaid),
        }
    }

    /// What `/readyz` says of an instance that ends by itself.
    pub(super) const FAILED: Self = Self::about(
        503,
        "nothing can be kept: the journal or the store failed, and this instance ends",
        Charged::Unsaid,
    );
    /// What `/openapi.json` says.
    pub(super) const DESCRIPTION: Self = Self::json(200, include_bytes!("openapi.json"));
    /// What `/healthz` says.
    pub(super) const ALIVE: Self = Self::json(200, br#"{"status":"alive"}"#);
    /// An id that another shard owns, whatever is asked of it. Never 404: it may be known there.
    pub(super) const WRONG_SHARD: Self = Self::problem(
        421,
        "the id belongs to another shard: nothing was looked up and nothing was charged here",
    )
    .of_kind(WRONG_SHARD);
    /// The answer to a purge.
    pub(super) const PURGED: Self = Self::json(200, wire::PURGED);
}

/// The connection's part of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseContext<'a> {
    pub(super) connection: ConnectionField,
    /// The request was HEAD.
    pub(super) is_head: bool,
    /// X-Request-Id and traceparent as the client sent them, empty where it did not.
    pub(super) request_id: &'a [u8],
    pub(super) trace_parent: &'a [u8],
    /// Whose place Location names; 202 only.
    pub(super) location: Option<&'a CorrelationId>,
}

impl<'a> ResponseContext<'a> {
    /// For the answer to `head`, whose bytes begin `bytes`.
    pub(super) fn new(head: &RequestHead, bytes: &'a [u8], is_leaving: bool) -> Self {
        let connection = match head.persistence {
            Persistence::Close => ConnectionField::Close,
            Persistence::KeepAlive | Persistence::KeepAliveTold if is_leaving => {
                ConnectionField::Close
            }
            Persistence::KeepAlive => ConnectionField::Silent,
            Persistence::KeepAliveTold => ConnectionField::KeepAlive,
        };
        Self {
            connection,
            is_head: head.method == Method::Head,
            request_id: head
                .request_id
                .map(|span| span.of(bytes))
                .unwrap_or_default(),
            trace_parent: head
                .trace_parent
                .map(|span| span.of(bytes))
                .unwrap_or_default(),
            location: None,
        }
    }

    /// For the last words to a client whose request could not be read.
    pub(super) const fn closing() -> Self {
        Self {
            connection: ConnectionField::Close,
            is_head: false,
            request_id: b"",
            trace_parent: b"",
            location: None,
        }
    }
}

/// What every answer is written with.
#[derive(Debug)]
pub(super) struct ResponseParts<'a> {
    pub(super) date: &'a DateText,
    /// WWW-Authenticate, for 401.
    pub(super) challenge: &'a str,
    /// Lent for the text of a problem.
    pub(super) scratch: &'a mut Vec<u8>,
}

/// Appends `reply` to `out`.
pub(super) fn write_reply(
    reply: &Reply,
    context: &ResponseContext<'_>,
    parts: ResponseParts<'_>,
    out: &mut Vec<u8>,
) {
    let ResponseParts {
        date,
        challenge,
        scratch,
    } = parts;
    let (content_type, body) = match reply.text {
        Text::Json(body) => (JSON, body),
        Text::Problem {
            kind,
            detail,
            charged,
        } => {
            let problem = Problem {
                kind,
                title: title(reply.status),
                status: reply.status,
                detail,
                charged,
            };
            scratch.clear();
            wire::write_problem(&problem, scratch);
            (PROBLEM, scratch.as_slice())
        }
    };
    // RFC 9110, section 15.5.2: a 401 says how to authenticate.
    let (name, value) = match reply.status {
        401 => ("WWW-Authenticate", challenge),
        _ => reply.field,
    };
    let location = context.location.filter(|_| reply.status == 202);
    let head = ResponseHead {
        content_type,
        connection: context.connection,
        retry_after: reply.retry_after,
        location: location.map_or(["", ""], |id| [PAYMENTS_PATH_PREFIX, id.as_str()]),
        extra: &[
            (name, value.as_bytes()),
            ("X-Request-Id", context.request_id),
            ("traceparent", context.trace_parent),
            (
                "Idempotent-Replayed",
                if reply.is_replayed { b"true" } else { b"" },
            ),
        ],
        ..ResponseHead::new(reply.status, date)
    };
    write_response(out, &head, body, context.is_head);
}

/// A problem's title: the phrase of its status.
pub(super) fn title(code: u16) -> &'static str {
    let status = status::find(code);
    assert!(status.is_some(), "a status of ours is in the table");
    status.map_or("", |status| status.phrase)
}

#[cfg(test)]
mod tests;
