//! A processor as it may really behave: a store with a primary key, and a mood that says how each
//! request fares. Whatever it answers, a request may be stored before, after, or long after; only
//! what the contract calls a refusal never is.

use std::collections::BTreeMap;

use p99::testing::clock::UnixMillis;
use p99::testing::config::Upstream500;
use p99::testing::payment::{Cents, UpstreamId};

use crate::luck::Luck;
use crate::plan::{MS, SECOND};

/// A stored payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) amount: Cents,
    /// As its processor stores times.
    pub(crate) requested_at: UnixMillis,
    /// As it was sent.
    pub(crate) sent: UnixMillis,
    /// Charged by p99; else another client's.
    pub(crate) is_ours: bool,
}

#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) rows: BTreeMap<UpstreamId, Row>,
    pub(crate) mood: Mood,
    pub(crate) has_lookup: bool,
    /// What it answers to an id that it has.
    pub(crate) known: u16,
    precision: Precision,
}

/// How a processor stores times: to so many milliseconds, rounded or cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Precision {
    Cut(i64),
    Rounded(i64),
}

/// How a processor fares at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Fine,
    Slow,
    Down,
    Failing,
    Busy,
    Cutting,
    Gateway,
    BadSetup,
    Refusing,
    Silent,
    Chaos,
}

pub(crate) const MOODS: [Mood; 11] = [
    Mood::Fine,
    Mood::Slow,
    Mood::Down,
    Mood::Failing,
    Mood::Busy,
    Mood::Cutting,
    Mood::Gateway,
    Mood::BadSetup,
    Mood::Refusing,
    Mood::Silent,
    Mood::Chaos,
];

/// When a request is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Insert {
    Never,
    Now,
    /// Although its connection is gone or its answer was another.
    After(u64),
}

/// What comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// 200, or 422 when it is stored already.
    Honest,
    Status(u16, Option<u32>),
    Cut,
    Nothing,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fare {
    pub(crate) insert: Insert,
    pub(crate) reply: Reply,
    /// Until the request is worked on, and from then to the reply.
    pub(crate) before: u64,
    pub(crate) after: u64,
}

/// What becomes of a connect.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dial {
    Pooled,
    Made(u64),
    Failed(u64),
}

/// What becomes of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Honest { before: u64, after: u64 },
    Useless(u64),
    Nothing,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Charge,
    Late,
    VeryLate,
    Never,
    Cut,
    Failure,
    Busy,
    Gateway,
    BadSetup,
    Refusal,
}

impl Site {
    pub(crate) fn new(has_lookup: bool, luck: &mut Luck) -> Self {
        let span = luck.pick(&[1, 1, 10, 1_000]);
        Self {
            rows: BTreeMap::new(),
            mood: Mood::Fine,
            has_lookup,
            known: luck.pick(&[422, 422, 409, 423, 425]),
            precision: if luck.chance(50) {
                Precision::Cut(span)
            } else {
                Precision::Rounded(span)
            },
        }
    }

    /// The time that it stores where `sent` was sent.
    pub(crate) fn stored(&self, UnixMillis(sent): UnixMillis) -> UnixMillis {
        UnixMillis(match self.precision {
            Precision::Cut(span) => sent.div_euclid(span) * span,
            Precision::Rounded(span) => (sent + span / 2).div_euclid(span) * span,
        })
    }

    pub(crate) fn dial(&self, luck: &mut Luck, is_fresh: bool) -> Dial {
        let failing = match self.mood {
            Mood::Down => 95,
            Mood::Chaos | Mood::Cutting => 20,
            Mood::Slow | Mood::Silent => 5,
            Mood::Fine
            | Mood::Failing
            | Mood::Busy
            | Mood::Gateway
            | Mood::BadSetup
            | Mood::Refusing => 0,
        };
        if luck.chance(failing) {
            let quick = luck.chance(60);
            return Dial::Failed(if quick {
                luck.within(50..=2 * MS)
            } else {
                250 * MS
            });
        }
        if !is_fresh && luck.chance(60) {
            return Dial::Pooled;
        }
        let slow = matches!(self.mood, Mood::Slow | Mood::Chaos) && luck.chance(30);
        Dial::Made(if slow {
            luck.within(MS..=200 * MS)
        } else {
            luck.within(50..=MS)
        })
    }

    pub(crate) fn fare(&self, on_500: Upstream500, luck: &mut Luck) -> Fare {
        use Kind::{BadSetup, Busy, Charge, Cut, Failure, Gateway, Late, Never, Refusal, VeryLate};
        let kind = match self.mood {
            Mood::Fine => Charge,
            Mood::Slow => luck.weigh(&[(3, Charge), (5, Late), (2, VeryLate)]),
            Mood::Down => luck.weigh(&[(1, Charge), (3, Cut)]),
            Mood::Failing => luck.weigh(&[(1, Charge), (8, Failure)]),
            Mood::Busy => luck.weigh(&[(1, Charge), (8, Busy)]),
            Mood::Cutting => luck.weigh(&[(2, Charge), (8, Cut)]),
            Mood::Gateway => luck.weigh(&[(1, Charge), (8, Gateway)]),
            Mood::BadSetup => BadSetup,
            Mood::Refusing => luck.weigh(&[(2, Charge), (6, Refusal)]),
            Mood::Silent => luck.weigh(&[(2, Charge), (8, Never)]),
            Mood::Chaos => luck.weigh(&[
                (4, Charge),
                (3, Late),
                (1, VeryLate),
                (2, Never),
                (3, Cut),
                (3, Failure),
                (3, Busy),
                (2, Gateway),
                (1, BadSetup),
                (2, Refusal),
            ]),
        };
        fare_of(kind, on_500, luck)
    }

    pub(crate) fn look(&self, luck: &mut Luck) -> Look {
        let honest = Look::Honest {
            before: luck.within(20..=MS),
            after: luck.within(20..=MS),
        };
        let slow = Look::Honest {
            before: luck.within(0..=300 * MS),
            after: luck.within(0..=300 * MS),
        };
        let useless = Look::Useless(luck.within(20..=10 * MS));
        match self.mood {
            Mood::Fine => honest,
            Mood::Slow => slow,
            Mood::Down | Mood::Silent => luck.weigh(&[(1, honest), (2, Look::Nothing)]),
            Mood::Chaos | Mood::Cutting | Mood::Gateway | Mood::Failing => {
                luck.weigh(&[(5, honest), (2, slow), (2, useless), (1, Look::Nothing)])
            }
            Mood::Busy | Mood::BadSetup | Mood::Refusing => {
                luck.weigh(&[(3, honest), (1, useless)])
            }
        }
    }

    /// Stores what p99 sent; false when the id is there already.
    pub(crate) fn insert(&mut self, id: UpstreamId, row: Row) -> bool {
        let is_new = !self.rows.contains_key(&id);
        self.rows.entry(id).or_insert(row);
        is_new
    }
}

fn fare_of(kind: Kind, on_500: Upstream500, luck: &mut Luck) -> Fare {
    let (insert, reply) = match kind {
        Kind::Charge | Kind::Late | Kind::VeryLate => (Insert::Now, Reply::Honest),
        Kind::Never => (maybe(luck), Reply::Nothing),
        Kind::Cut => (maybe(luck), Reply::Cut),
        Kind::Failure => {
            // A 500 that is not the processor's last word: the contract of UPSTREAM_500=ask
            // excludes it.
            let insert = match on_500 {
                Upstream500::Ask => luck.pick(&[Insert::Never, Insert::Now]),
                Upstream500::Unknown => maybe(luck),
            };
            (insert, Reply::Status(500, None))
        }
        Kind::Busy => {
            let rest = luck.pick(&[None, Some(0), Some(1), Some(2)]);
            (Insert::Never, Reply::Status(429, rest))
        }
        Kind::Gateway => {
            let status = luck.pick(&[408, 502, 503, 503, 504, 302, 501, 599]);
            (maybe(luck), Reply::Status(status, None))
        }
        Kind::BadSetup => {
            let status = luck.pick(&[401, 403, 404, 405]);
            (Insert::Never, Reply::Status(status, None))
        }
        Kind::Refusal => {
            let status = luck.pick(&[400, 409, 418, 422, 422, 423, 425]);
            (Insert::Never, Reply::Status(status, None))
        }
    };
    let is_slow = luck.chance(10);
    let after = match (kind, is_slow) {
        (Kind::Late, _) => luck.within(5 * MS..=900 * MS),
        (Kind::VeryLate, _) => luck.within(SECOND..=6 * SECOND),
        (_, true) => luck.within(MS..=200 * MS),
        (_, false) => luck.within(20..=3 * MS),
    };
    Fare {
        insert,
        reply,
        before: luck.within(10..=2 * MS),
        after,
    }
}

fn maybe(luck: &mut Luck) -> Insert {
    let later = luck.within(MS..=4 * SECOND);
    luck.weigh(&[
        (1, Insert::Never),
        (1, Insert::Now),
        (1, Insert::After(later)),
    ])
}
