//! What an answer of a processor means (I3): the one table that turns a status into an outcome.
//! `owner` asks it after every exchange and every lookup; it touches nothing and knows no time.
//!
//! An attempt is judged here, never a payment: a payment is refused by a processor only when every
//! attempt that was ever sent there was, and `flow` counts those.

use crate::breaker::Verdict;
use crate::clock::UnixMillis;
use crate::events::Lookup;

/// What one status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// 2xx: charged.
    Applied,
    /// 422, 500, 503: the processor's own record must say.
    Ask(Question),
    /// 400 and the 4xx without a row of their own: the other processor would say the same.
    RefusedForGood,
    /// 429: refused, and that processor rests.
    RefusedResting,
    /// 401, 403, 404, 405: refused by a fault of the set-up.
    RefusedBySetup,
    /// 408, 502, 504, 3xx and whatever proves nothing.
    Unknown,
}

/// Why the processor is asked for its record of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// 422: the id is stored already, or a rule of the processor's was broken.
    WhyUnprocessable,
    /// 500 or 503: charged before it failed, or not.
    WhetherCharged,
}

/// Judges a fully read answer, for the payment and for the processor's breaker.
#[must_use]
pub const fn judge_status(status: u16) -> (Judgement, Verdict) {
    match status {
        200..=299 => (Judgement::Applied, Verdict::Success),
        422 => (Judgement::Ask(Question::WhyUnprocessable), Verdict::Success),
        500 | 503 => (Judgement::Ask(Question::WhetherCharged), Verdict::Failure),
        429 => (Judgement::RefusedResting, Verdict::Failure),
        401 | 403..=405 => (Judgement::RefusedBySetup, Verdict::Failure),
        408 => (Judgement::Unknown, Verdict::Failure),
        400..=499 => (Judgement::RefusedForGood, Verdict::Neither),
        _ => (Judgement::Unknown, Verdict::Failure),
    }
}

/// What the processor's own record says about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// It stores a `requestedAt` that we sent: charged by us.
    Ours(UnixMillis),
    /// It stores another: charged earlier, by somebody else.
    Foreign(UnixMillis),
    /// It did not charge.
    NotCharged,
    /// It did not charge, and no other processor would.
    NotChargedForGood,
    /// No proof either way.
    Nothing,
}

/// What surrounds a lookup's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// This GET has shown a charged id with 200 before, so its 404 means something.
    pub lookup_is_proven: bool,
    /// Another attempt of the id is unanswered there: its insert may still come.
    pub others_unanswered: bool,
}

/// Judges what the GET showed.
#[must_use]
pub fn judge_lookup(
    question: Question,
    lookup: Lookup,
    circumstances: Circumstances,
    is_ours: impl FnOnce(UnixMillis) -> bool,
) -> Evidence {
    match lookup {
        Lookup::Stored { requested_at } if is_ours(requested_at) => Evidence::Ours(requested_at),
        Lookup::Stored { requested_at } => Evidence::Foreign(requested_at),
        Lookup::NoAnswer => Evidence::Nothing,
        Lookup::NotFound if circumstances.others_unanswered => Evidence::Nothing,
        Lookup::NotFound => match question {
            Question::WhyUnprocessable => Evidence::NotChargedForGood,
            Question::WhetherCharged if circumstances.lookup_is_proven => Evidence::NotCharged,
            Question::WhetherCharged => Evidence::Nothing,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_the_row_that_the_design_gives_it() {
        for status in 100..=599 {
            let expected = match status {
                200..=299 => (Judgement::Applied, Verdict::Success),
                422 => (Judgement::Ask(Question::WhyUnprocessable), Verdict::Success),
                429 => (Judgement::RefusedResting, Verdict::Failure),
                401 | 403 | 404 | 405 => (Judgement::RefusedBySetup, Verdict::Failure),
                500 | 503 => (Judgement::Ask(Question::WhetherCharged), Verdict::Failure),
                400..=499 if status != 408 => (Judgement::RefusedForGood, Verdict::Neither),
                _ => (Judgement::Unknown, Verdict::Failure),
            };
            assert_eq!(judge_status(status), expected, "{status}");
        }
    }

    #[test]
    fn a_404_of_the_lookup_proves_something_only_in_the_right_circumstances() {
        let judge = |question, lookup_is_proven, others_unanswered| {
            let circumstances = Circumstances {
                lookup_is_proven,
                others_unanswered,
            };
            judge_lookup(question, Lookup::NotFound, circumstances, |_| false)
        };
        let rows = [
            (Question::WhetherCharged, true, false, Evidence::NotCharged),
            (Question::WhetherCharged, false, false, Evidence::Nothing),
            (Question::WhetherCharged, true, true, Evidence::Nothing),
            (
                Question::WhyUnprocessable,
                true,
                false,
                Evidence::NotChargedForGood,
            ),
            (
                Question::WhyUnprocessable,
                false,
                false,
                Evidence::NotChargedForGood,
            ),
            (Question::WhyUnprocessable, true, true, Evidence::Nothing),
        ];
        for (question, proven, unanswered, expected) in rows {
            assert_eq!(
                judge(question, proven, unanswered),
                expected,
                "{question:?} {proven}"
            );
        }
    }

    #[test]
    fn a_stored_id_is_ours_only_with_a_time_that_we_sent() {
        let circumstances = Circumstances {
            lookup_is_proven: false,
            others_unanswered: true,
        };
        let stored = Lookup::Stored {
            requested_at: UnixMillis(7),
        };
        for question in [Question::WhyUnprocessable, Question::WhetherCharged] {
            let ours = judge_lookup(question, stored, circumstances, |at| at == UnixMillis(7));
            assert_eq!(ours, Evidence::Ours(UnixMillis(7)));
            let other = judge_lookup(question, stored, circumstances, |_| false);
            assert_eq!(other, Evidence::Foreign(UnixMillis(7)));
            let silent = judge_lookup(question, Lookup::NoAnswer, circumstances, |_| true);
            assert_eq!(silent, Evidence::Nothing);
        }
    }
}
