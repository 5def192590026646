//! What a seed decides before anything happens: settings at the edge of their range, how many
//! cores, how slow the disk is, and what goes wrong besides the processors.

use std::ops::RangeInclusive;
use std::time::Duration;

use p99::testing::breaker::BreakerSettings;
use p99::testing::claims::Full;
use p99::testing::concurrency::Bounds;
use p99::testing::config::{Ack, AnswerAfter, OnDuplicate, Routing, Upstream500};
use p99::testing::owner::{Journalling, OwnerSettings};
use p99::testing::payment::{PROCESSORS_MAX, PerProcessor, Processor, ProcessorCount};

use crate::luck::Luck;

pub(crate) const MS: u64 = 1_000;
pub(crate) const SECOND: u64 = 1_000 * MS;

/// See the header of this file. Times are microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) settings: OwnerSettings,
    pub(crate) breaker: BreakerSettings,
    /// Most attempts in flight at one processor, for each core.
    pub(crate) slots: usize,
    is_crowd: bool,
    pub(crate) cores: u8,
    pub(crate) cores_after_restart: u8,
    pub(crate) ids: u64,
    /// Most requests with one id.
    pub(crate) posts_max: u64,
    /// The time in which clients come and faults happen; then all heals.
    pub(crate) span: u64,
    pub(crate) sync: RangeInclusive<u64>,
    pub(crate) mail: RangeInclusive<u64>,
    /// Hand-overs under way between two cores.
    pub(crate) mailbox_max: usize,
    /// Steps after which the process dies.
    pub(crate) crashes: Vec<u64>,
    pub(crate) torn_tails: bool,
    pub(crate) journal_fails: bool,
    pub(crate) purges: u64,
    pub(crate) stalls: u64,
    pub(crate) wall_steps: u64,
    pub(crate) foreign: u64,
    pub(crate) moods: u64,
    /// How often a processor's name changes what it leads to; none: there are no names.
    pub(crate) moves: u64,
    /// A processor that stays as bad as it is long after all else has healed.
    pub(crate) stubborn: Option<Processor>,
    /// A restart may come with other settings.
    pub(crate) settings_change: bool,
    /// Per processor: whether `GET /payments/{id}` is there.
    pub(crate) has_lookup: PerProcessor<bool>,
}

impl Plan {
    pub(crate) fn draw(luck: &mut Luck) -> Self {
        let ack = luck.pick(&[Ack::Processed, Ack::Accepted]);
        let journal = luck.weigh(&[(4, Journalling::On), (1, Journalling::Off)]);
        let is_crowd = luck.chance(30);
        let mut settings = settings(luck, ack, journal, is_crowd);
        let cores = if is_crowd { 1 } else { pick_cores(luck) };
        let is_journalled = journal == Journalling::On;
        let crashes = if is_journalled && luck.chance(80) {
            luck.within(1..=5)
        } else {
            0
        };
        let often = |luck: &mut Luck, percent, most| {
            if luck.chance(percent) {
                luck.within(1..=most)
            } else {
                0
            }
        };
        // Hedges are one in twenty attempts: a crowd at few processors makes them likely.
        let count = match is_crowd {
            true => luck.pick(&[1, 2]),
            false => luck.weigh(&[(6, 2), (1, 1), (1, 3), (1, PROCESSORS_MAX)]),
        };
        settings.processors = ProcessorCount::try_new(count).unwrap();
        let processors: Vec<_> = settings.processors.all().collect();
        Self {
            breaker: breaker(luck, &settings),
            slots: slots(luck, is_crowd),
            settings,
            is_crowd,
            cores,
            cores_after_restart: if luck.chance(50) {
                cores
            } else {
                pick_cores(luck)
            },
            ids: if is_crowd {
                luck.within(100..=200)
            } else {
                luck.within(2..=24)
            },
            posts_max: luck.pick(&[1, 2, 4]),
            span: luck.pick(&[SECOND / 4, SECOND, 4 * SECOND]),
            sync: {
                let (low, high) = luck.pick(&[(100, 200), (500, 5 * MS), (5 * MS, 60 * MS)]);
                low..=high
            },
            mail: 0..=luck.pick(&[20, 2 * MS, 20 * MS]),
            mailbox_max: luck.pick(&[1, 4, 64]),
            crashes: (0..crashes).map(|_| luck.within(1..=600)).collect(),
            torn_tails: luck.chance(50),
            journal_fails: is_journalled && luck.chance(10),
            purges: often(luck, 25, 2),
            stalls: often(luck, 30, 4),
            wall_steps: often(luck, 30, 3),
            foreign: often(luck, 30, 3),
            moods: luck.within(0..=6),
            moves: often(luck, 30, 4),
            stubborn: luck.chance(25).then(|| luck.pick(&processors)),
            settings_change: luck.chance(50),
            has_lookup: PerProcessor::from_fn(|_| luck.chance(75)),
        }
    }
}

impl Plan {
    /// Other settings, as an operator may choose them for a restart.
    pub(crate) fn change_settings(&mut self, luck: &mut Luck) {
        let ack = luck.pick(&[Ack::Processed, Ack::Accepted]);
        self.settings = OwnerSettings {
            processors: self.settings.processors,
            ..settings(luck, ack, self.settings.journal, self.is_crowd)
        };
        self.breaker = breaker(luck, &self.settings);
        self.slots = slots(luck, self.is_crowd);
    }

    /// What bounds the attempts of so many cores.
    pub(crate) fn bounds(&self, cores: u8) -> Bounds {
        Bounds::new(self.slots * usize::from(cores), u16::from(cores))
    }
}

fn breaker(luck: &mut Luck, settings: &OwnerSettings) -> BreakerSettings {
    BreakerSettings {
        failure_per_mille: 300,
        min_samples: luck.pick(&[1, 3, 20]),
        open: Duration::from_millis(luck.within(20..=400)),
        window: Duration::from_secs(luck.within(1..=10)),
        probes: luck.pick(&[1, 2, 3]),
        probe_ttl: settings.attempt_timeout,
    }
}

/// More than there are payments.
pub(crate) const CLAIMS_MAX: usize = 1_000;

fn slots(luck: &mut Luck, is_crowd: bool) -> usize {
    if is_crowd {
        luck.pick(&[4, 16, 64])
    } else {
        luck.pick(&[1, 2, 3, 4])
    }
}

fn pick_cores(luck: &mut Luck) -> u8 {
    luck.pick(&[1, 1, 2, 2, 3, 4])
}

fn settings(luck: &mut Luck, ack: Ack, journal: Journalling, is_crowd: bool) -> OwnerSettings {
    let ms = Duration::from_millis;
    let request_timeout = ms(luck.pick(&[10, 50, 300, 1_000]));
    let attempt_timeout = match ack {
        Ack::Processed if luck.chance(50) => request_timeout,
        Ack::Processed | Ack::Accepted => ms(luck.pick(&[20, 100, 600])),
    };
    let room = if is_crowd {
        200
    } else {
        luck.pick(&[1, 2, 4, 64])
    };
    let keeps_few = luck.chance(15);
    // A stream of its own: other worlds stay as they are.
    let is_forgetful = Luck::new(luck.clone().next()).chance(25);
    OwnerSettings {
        processors: ProcessorCount::try_new(2).unwrap(),
        ack,
        routing: luck.pick(&[Routing::RoundRobin, Routing::Cheapest, Routing::Fastest]),
        on_duplicate: luck.pick(&[OnDuplicate::Conflict, OnDuplicate::Replay]),
        upstream_500: luck.pick(&[Upstream500::Ask, Upstream500::Unknown]),
        request_timeout,
        attempt_timeout,
        settle_timeout: ms(luck.pick(&[200, 1_000, 3_000])),
        hedge_delay: ms(if is_crowd { 1 } else { luck.pick(&[1, 5, 20]) }),
        fallback_after: ms(luck.pick(&[0, 50, 2_000])),
        waiting_max: room,
        queue_max: if is_crowd {
            200
        } else {
            luck.pick(&[1, 2, 8, 64])
        },
        late_max: luck.pick(&[1, 2, 16]),
        claims_max: if keeps_few { 4 } else { CLAIMS_MAX },
        claims_ttl: Duration::from_secs(86_400),
        claims_full: if keeps_few { Full::Keep } else { Full::Forget },
        ledger_exact: Duration::from_secs(if is_forgetful { 2 } else { 86_400 }),
        identity: PerProcessor::default(),
        answer_after: luck.pick(&[AnswerAfter::Intent, AnswerAfter::Verdict]),
        journal,
    }
}
