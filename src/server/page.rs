//! Answers whose body is made for the one request: sums, metrics, and problems that name what they
//! are about. `calls` makes them where a [`super::reply::Reply`] would not do.

use super::reply::{JSON, PROBLEM, ResponseContext, ResponseParts, title};
use crate::clock::UnixMillis;
use crate::http::{ResponseHead, write_response};
use crate::peers::{Footing, Gap, Trouble};
use crate::wire::{self, Charged, Problem};

/// A body that was made for this one answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    /// Seconds.
    pub(super) retry_after: Option<u32>,
    pub(super) body: Vec<u8>,
    /// `X-P99-Pending-In-Window`; empty for none.
    pub(super) pending: Vec<u8>,
    /// More fields.
    pub(super) fields: &'static [(&'static str, &'static [u8])],
}

impl Page {
    pub(super) const fn json(body: Vec<u8>) -> Self {
        Self {
            status: 200,
            content_type: JSON,
            retry_after: None,
            body,
            pending: Vec::new(),
            fields: &[],
        }
    }

    /// Made for this moment: kept by no cache.
    pub(super) fn fresh(content_type: &'static str, body: Vec<u8>) -> Self {
        Self {
            content_type,
            fields: &[("Cache-Control", b"no-store")],
            ..Self::json(body)
        }
    }

    /// A summary, beside which `pending` more payments may have been charged.
    pub(super) fn summary(body: Vec<u8>, pending: u64) -> Self {
        Self {
            pending: itoa::Buffer::new().format(pending).into(),
            ..Self::json(body)
        }
    }

    /// 422: an edge of the window cuts a second older than `boundary`; never rounded in silence.
    pub(super) fn cut_second(boundary: UnixMillis) -> Self {
        let mut detail = b"before ".to_vec();
        wire::write_instant(boundary, &mut detail);
        detail.extend_from_slice(b" from and to must name whole seconds: from .000, to .999");
        Self::problem(422, &String::from_utf8_lossy(&detail))
    }

    /// 503: what all shards together would say is not known, and because of which one.
    pub(super) fn gap(gap: Gap) -> Self {
        let mut page = Self::problem(503, &gap.to_string());
        page.retry_after = Some(1);
        page
    }

    /// 503: a payment that this instance may have no say about. Another one may have charged it.
    pub(super) fn stopped(footing: Footing) -> Self {
        let mut page = Self::problem(503, &format!("{footing}; this request was not looked at"));
        page.retry_after = Some(1);
        page
    }

    /// The same as a probe's answer, which says nothing about money.
    pub(super) fn unready(footing: Footing) -> Self {
        let mut page = Self::problem_about(503, &footing.to_string(), Charged::Unsaid);
        page.retry_after = Some(1);
        page
    }

    /// It takes payments, and another shard is not what it should be.
    pub(super) fn ready_although(trouble: Trouble) -> Self {
        Self::json(format!(r#"{{"status":"ready","detail":"{trouble}"}}"#).into_bytes())
    }

    /// A problem whose detail was made for it.
    pub(super) fn problem(status: u16, detail: &str) -> Self {
        Self::problem_about(status, detail, Charged::Unknown)
    }

    fn problem_about(status: u16, detail: &str, charged: Charged) -> Self {
        let problem = Problem {
            kind: "",
            title: title(status),
            status,
            detail,
            charged,
        };
        let mut body = Vec::new();
        wire::write_problem(&problem, &mut body);
        Self {
            status,
            content_type: PROBLEM,
            retry_after: None,
            body,
            pending: Vec::new(),
            fields: &[],
        }
    }
}

/// Appends `page` to `out`.
pub(super) fn write_page(
    page: &Page,
    context: &ResponseContext<'_>,
    parts: &ResponseParts<'_>,
    out: &mut Vec<u8>,
) {
    let mut extra = vec![
        ("X-Request-Id", context.request_id),
        ("traceparent", context.trace_parent),
        ("X-P99-Pending-In-Window", &page.pending),
    ];
    extra.extend_from_slice(page.fields);
    let head = ResponseHead {
        content_type: page.content_type,
        retry_after: page.retry_after,
        connection: context.connection,
        extra: &extra,
        ..ResponseHead::new(page.status, parts.date)
    };
    write_response(out, &head, &page.body, context.is_head);
}
