//! What a connection is for, and what its answer or its end says about that. `connection` calls it;
//! what it means for a payment is judged by the owner.

use super::Upstream;
use crate::events::{AttemptRef, Exchange, Lookup};
use crate::http::Answer;
use crate::payment::UpstreamId;
use crate::wire;

/// What a connection is for at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Job {
    /// No one's: idle, or its answer is wanted no more.
    #[default]
    None,
    /// Lent to this attempt, nothing written.
    Reserved(AttemptRef),
    /// This attempt's payment was handed to the kernel.
    Payment(AttemptRef),
    /// A lookup of this id for this attempt was handed to the kernel.
    Lookup(AttemptRef, UpstreamId),
}

/// Tells the sink what `answer` says about `job`.
pub(super) fn tell(upstream: &Upstream, job: Job, answer: &Answer, buffer: &[u8]) {
    let Some(sink) = upstream.sink.upgrade() else {
        return;
    };
    match job {
        // It ended before anything was asked.
        Job::None | Job::Reserved(_) => {}
        Job::Payment(attempt) => {
            upstream.unlink(attempt);
            let status = answer.head.status;
            let retry_after = answer.head.retry_after;
            let retry_after_secs = retry_after.map(|asked| asked.seconds(sink.wall()));
            sink.exchanged(
                attempt,
                Exchange::Answered {
                    status,
                    retry_after_secs,
                },
            );
        }
        Job::Lookup(attempt, id) => {
            upstream.unlink(attempt);
            let body = buffer.get(answer.body.clone()).unwrap_or_default();
            let stored = || wire::read_stored(body, id);
            let lookup = match answer.head.status {
                200 => stored().map_or(Lookup::NoAnswer, |(requested_at, amount)| Lookup::Stored {
                    requested_at,
                    amount,
                }),
                404 => Lookup::NotFound,
                _ => Lookup::NoAnswer,
            };
            sink.looked_up(attempt, lookup);
        }
    }
}

/// Tells the sink that `job` ends without an answer, a payment as `exchange` says.
pub(super) fn end(upstream: &Upstream, job: Job, exchange: Exchange) {
    let Some(sink) = upstream.sink.upgrade() else {
        return;
    };
    match job {
        Job::None => {}
        Job::Reserved(attempt) => {
            upstream.unlink(attempt);
            sink.exchanged(attempt, Exchange::NotSent);
        }
        Job::Payment(attempt) => {
            upstream.unlink(attempt);
            sink.exchanged(attempt, exchange);
        }
        Job::Lookup(attempt, _) => {
            upstream.unlink(attempt);
            sink.looked_up(attempt, Lookup::NoAnswer);
        }
    }
}
