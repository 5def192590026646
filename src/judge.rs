//! What an answer of a processor means (I3): the one table that turns a status into an outcome.
//! `owner` asks it after every exchange and every lookup; it touches nothing and knows no time.
//!
//! An attempt is judged here, never a payment: a payment is refused by a processor only when every
//! attempt that was ever sent there was, and `flow` counts those.

use crate::breaker::Verdict;
use crate::clock::UnixMillis;
use crate::config::Upstream500;
use crate::events::Lookup;
use crate::payment::Cents;

/// What one status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// 2xx: charged.
    Applied,
    /// 409, 422, 423, 425 and 500: the processor's own record must say.
    Ask(Question),
    /// 400 and the 4xx without a row of their own: the other processor would say the same.
    RefusedForGood,
    /// 429: refused, and that processor rests when it says for how long.
    RefusedResting,
    /// 401, 403, 404, 405: refused by a misconfiguration.
    RefusedBySetup,
    /// 408, 502, 503, 504, 3xx and whatever proves nothing. The processor itself never says 503:
    /// a gateway does, while the payment may be on its way behind it.
    Unknown,
}

/// Why the processor is asked for its record of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// 422, and 409, 423, 425, which mean the same elsewhere: the id is stored already, or a rule
    /// of the processor's was broken.
    WhyUnprocessable,
    /// 500: charged before it failed, or not.
    WhetherCharged,
}

/// Judges a fully read answer, for the payment and for the processor's breaker.
#[must_use]
pub(crate) const fn judge_status(status: u16, on_500: Upstream500) -> (Judgement, Verdict) {
    match (status, on_500) {
        (200..=299, _) => (Judgement::Applied, Verdict::Success),
        (409 | 422 | 423 | 425, _) => {
            (Judgement::Ask(Question::WhyUnprocessable), Verdict::Success)
        }
        (500, Upstream500::Ask) => (Judgement::Ask(Question::WhetherCharged), Verdict::Failure),
        (429, _) => (Judgement::RefusedResting, Verdict::Neither),
        (401 | 403..=405, _) => (Judgement::RefusedBySetup, Verdict::Failure),
        (408, _) => (Judgement::Unknown, Verdict::Failure),
        (400..=499, _) => (Judgement::RefusedForGood, Verdict::Neither),
        (_, Upstream500::Ask | Upstream500::Unknown) => (Judgement::Unknown, Verdict::Failure),
    }
}

/// What the processor's own record says about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// It stores our amount and, as precisely as it stores times, a `requestedAt` that we sent:
    /// charged by us with this one.
    Ours(UnixMillis),
    /// It stores another time or amount: charged by another client.
    Foreign(UnixMillis, Cents),
    /// It did not charge.
    NotCharged,
    /// It did not charge, and no other processor would.
    NotChargedForGood,
    /// No proof either way.
    Nothing,
}

/// What surrounds a lookup's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Circumstances {
    /// This GET has shown a charged id with 200 before, so its 404 means something.
    pub lookup_is_proven: bool,
    /// The GET was sent after the last answer of every attempt of the id there had been read, and
    /// nothing was sent since: no insert can come any more.
    pub covers_all: bool,
}

/// Judges what the GET showed; `ours` gives the time that we sent, if the stored time and amount
/// are those of an attempt of ours.
#[must_use]
pub(crate) fn judge_lookup(
    question: Question,
    lookup: Lookup,
    circumstances: Circumstances,
    ours: impl FnOnce(UnixMillis, Cents) -> Option<UnixMillis>,
) -> Evidence {
    match lookup {
        Lookup::Stored {
            requested_at,
            amount,
        } => match ours(requested_at, amount) {
            Some(sent) => Evidence::Ours(sent),
            None => Evidence::Foreign(requested_at, amount),
        },
        Lookup::NoAnswer => Evidence::Nothing,
        Lookup::NotFound if !circumstances.covers_all || !circumstances.lookup_is_proven => {
            Evidence::Nothing
        }
        Lookup::NotFound => match question {
            Question::WhyUnprocessable => Evidence::NotChargedForGood,
            Question::WhetherCharged => Evidence::NotCharged,
        },
    }
}

/// Whether a processor that was sent `sent` may show it as `stored`: it keeps milliseconds, or
/// tenths, hundredths or whole seconds, rounded or cut, or rounds to 1/300 s as SQL Server's
/// `datetime` does. Coarser than a second proves nothing.
#[must_use]
pub(crate) fn is_stored_as(sent: UnixMillis, stored: UnixMillis) -> bool {
    let in_hundredth = sent.0.rem_euclid(10);
    let third = match in_hundredth {
        0 | 1 => 0,
        2..=4 => 3,
        5..=8 => 7,
        _ => 10,
    };
    if stored.0 == sent.0.saturating_sub(in_hundredth).saturating_add(third) {
        return true;
    }
    [1, 10, 100, 1_000].into_iter().any(|precision: i64| {
        let cut = sent.0.saturating_sub(sent.0.rem_euclid(precision));
        let rounded = match sent.0.rem_euclid(precision).saturating_mul(2) >= precision {
            true => cut.saturating_add(precision),
            false => cut,
        };
        stored.0 == cut || stored.0 == rounded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_the_row_that_the_design_gives_it() {
        for on_500 in [Upstream500::Ask, Upstream500::Unknown] {
            for status in 100..=599 {
                let expected = match status {
                    200..=299 => (Judgement::Applied, Verdict::Success),
                    409 | 422 | 423 | 425 => {
                        (Judgement::Ask(Question::WhyUnprocessable), Verdict::Success)
                    }
                    429 => (Judgement::RefusedResting, Verdict::Neither),
                    401 | 403 | 404 | 405 => (Judgement::RefusedBySetup, Verdict::Failure),
                    500 if on_500 == Upstream500::Ask => {
                        (Judgement::Ask(Question::WhetherCharged), Verdict::Failure)
                    }
                    400..=499 if status != 408 => (Judgement::RefusedForGood, Verdict::Neither),
                    _ => (Judgement::Unknown, Verdict::Failure),
                };
                assert_eq!(judge_status(status, on_500), expected, "{status}");
            }
        }
    }

    #[test]
    fn a_404_of_the_lookup_proves_something_only_in_the_right_circumstances() {
        let judge = |question, lookup_is_proven, covers_all| {
            let circumstances = Circumstances {
                lookup_is_proven,
                covers_all,
            };
            judge_lookup(question, Lookup::NotFound, circumstances, |_, _| None)
        };
        let rows = [
            (Question::WhetherCharged, Evidence::NotCharged),
            (Question::WhyUnprocessable, Evidence::NotChargedForGood),
        ];
        for (question, proof) in rows {
            assert_eq!(judge(question, true, true), proof);
            for (proven, covers_all) in [(false, true), (true, false), (false, false)] {
                let evidence = judge(question, proven, covers_all);
                assert_eq!(evidence, Evidence::Nothing, "{question:?}");
            }
        }
    }

    #[test]
    fn a_stored_id_is_ours_only_where_time_and_amount_are() {
        let circumstances = Circumstances {
            lookup_is_proven: false,
            covers_all: false,
        };
        let (requested_at, amount) = (UnixMillis(7), Cents(5));
        let stored = Lookup::Stored {
            requested_at,
            amount,
        };
        for question in [Question::WhyUnprocessable, Question::WhetherCharged] {
            let ours = judge_lookup(question, stored, circumstances, |at, cents| {
                (at == requested_at && cents == amount).then_some(UnixMillis(8))
            });
            assert_eq!(ours, Evidence::Ours(UnixMillis(8)));
            let other = judge_lookup(question, stored, circumstances, |_, _| None);
            assert_eq!(other, Evidence::Foreign(requested_at, amount));
            let silent = judge_lookup(question, Lookup::NoAnswer, circumstances, |at, _| Some(at));
            assert_eq!(silent, Evidence::Nothing);
        }
    }

    #[test]
    fn a_time_may_be_stored_down_to_whole_seconds() {
        let rows = [
            (12_345, 12_345, true),
            (12_345, 12_340, true),
            (12_345, 12_350, true),
            (12_345, 12_300, true),
            (12_345, 12_000, true),
            (12_345, 13_000, false),
            (12_500, 13_000, true),
            (12_999, 13_000, true),
            (12_345, 12_346, false),
            (12_345, 12_344, false),
            (12_345, 12_400, false),
            (12_345, 0, false),
            (12_345, 10_000, false),
            (12_345, 12_347, true),
            (12_349, 12_350, true),
            (12_341, 12_340, true),
            (12_342, 12_343, true),
            (12_343, 12_347, false),
            (12_348, 12_347, true),
            (12_340, 12_337, false),
            (12_340, 12_350, false),
            (12_341, 12_350, false),
            (-1, -1_000, true),
            (-1, 0, true),
            (i64::MAX, i64::MAX, true),
            (i64::MIN, i64::MIN, true),
        ];
        for (sent, stored, expected) in rows {
            let is_same = is_stored_as(UnixMillis(sent), UnixMillis(stored));
            assert_eq!(is_same, expected, "{sent} as {stored}");
        }
    }
}
