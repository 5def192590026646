//! Two or three equal instances on a shared store, before two processors. Any client's id goes to
//! any of them, also twice at once. Instances die between any two steps or stand still for longer
//! than their lease; commits are lost before and after, answered late, or a copy of them comes when
//! no one waits for it any more; the database's clock jumps. One processor stays bad for long.
//!
//! What must hold: an id is charged once over all processors, what was acknowledged settles, nobody
//! is told "not charged" of what is charged, and a sum holds all that was told before it was asked.

mod acts;
mod database;
mod seeds;
mod sweeps;
mod traffic;

use std::collections::BTreeMap;

use p99::testing::clock::{Boot, Mono, Now, UnixMillis};
use p99::testing::events::{Answer, AttemptRef, Exchange, Lookup, WriterSlot};
use p99::testing::owner::{Journalling, Owner, OwnerSettings};
use p99::testing::payment::{Cents, CorrelationId, Payment, Processor, UpstreamId};
use p99::testing::shared::Writers;
use p99::testing::store::model::Model;
use p99::testing::store::{MachineTerms, Outcome, Row, Sweeper, Transaction};

use self::database::CLOCKS;
use crate::luck::Luck;
use crate::plan::{MS, SECOND};
use crate::shards::plan::{processors, settings};

/// Until then things break; then all but the stubborn processor is well; then that one, too.
const TROUBLE: u64 = 20 * SECOND;
const STUBBORN: u64 = 40 * SECOND;
/// Everything has settled by then, and is asked for once more.
const LATE: u64 = 90 * SECOND;
const END: u64 = 95 * SECOND;
/// The date when all begins.
const WALL: i64 = 1_752_150_896_000;
/// The clock of leases began long before.
const BOOTED: u64 = 1_000_000_000;

#[derive(Clone, Debug)]
enum Event {
    /// The client sends its payment to any instance.
    Post(usize),
    Connected(usize, u64, AttemptRef),
    Exchanged(usize, u64, AttemptRef, Exchange),
    LookedUp(usize, u64, AttemptRef, Lookup),
    /// Bytes that were on their way for long.
    Charge(Processor, UpstreamId, (UnixMillis, Cents)),
    /// A transaction reaches the database; who waits for its answer, if anyone does.
    Perform(Box<Transaction>, Option<(usize, u64, WriterSlot)>),
    /// What an instance hears of its command.
    Heard(usize, u64, WriterSlot, Box<Outcome>),
    Tick(usize, u64),
    /// The same for its sweeper.
    Swept(usize, u64, Box<Outcome>),
    SweepTick(usize, u64),
    Start(usize),
    Sum,
}

struct Instance {
    /// None while it is down.
    core: Option<(Owner, Writers)>,
    /// Counts its lives: what belongs to an earlier one is lost.
    life: u64,
    attempts: BTreeMap<AttemptRef, Processor>,
    /// It stands still until then.
    awake_at: u64,
    /// It reaches no processor until then.
    deaf_until: u64,
    tick_at: Option<u64>,
    sweeper: Option<Sweeper>,
    /// Sums that it was asked for, and how many had been told 200 by then.
    asked: BTreeMap<u64, usize>,
}

struct Set {
    luck: Luck,
    settings: OwnerSettings,
    time: u64,
    number: u64,
    events: BTreeMap<(u64, u64), Event>,
    instances: Vec<Instance>,
    payments: Vec<Payment>,
    /// What the client was told first that counts: 200 or 202.
    told: Vec<Option<Answer>>,
    stores: [BTreeMap<UpstreamId, (UnixMillis, Cents)>; 2],
    stubborn: Processor,
    database: Model,
    /// What the database's clock showed when this began, as it is set now.
    offset: u64,
    /// Whether it is never set anew.
    is_steady: bool,
    /// When each id settled, and what was forgotten of it since.
    settled: BTreeMap<UpstreamId, u64>,
    forgotten: BTreeMap<UpstreamId, Row>,
    sums: usize,
    sights: BTreeMap<&'static str, u64>,
}

impl Set {
    fn new(seed: u64) -> Self {
        let mut luck = Luck::new(seed);
        let mut settings = settings(&mut luck);
        settings.journal = Journalling::Store;
        let instance = |_| Instance {
            core: None,
            life: 0,
            attempts: BTreeMap::new(),
            awake_at: 0,
            deaf_until: 0,
            tick_at: None,
            sweeper: None,
            asked: BTreeMap::new(),
        };
        let payment = |number: u64| {
            let correlation_id = CorrelationId::try_new(&format!("{seed}-{number}")).unwrap();
            Payment {
                id: correlation_id.upstream_id(),
                correlation_id,
                amount: Cents(100 + number),
            }
        };
        let payments: Vec<Payment> = (0..luck.within(4..=24)).map(payment).collect();
        let mut set = Self {
            settings,
            time: 0,
            number: 0,
            events: BTreeMap::new(),
            instances: (0..luck.within(2..=3)).map(instance).collect(),
            told: vec![None; payments.len()],
            payments,
            stores: Default::default(),
            stubborn: luck.pick(&[Processor::DEFAULT, Processor::FALLBACK]),
            database: Model {
                made: WALL,
                ..Model::default()
            },
            offset: CLOCKS[1],
            is_steady: luck.chance(50),
            settled: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            sums: 0,
            sights: BTreeMap::new(),
            luck,
        };
        for index in 0..set.instances.len() {
            set.start(index);
        }
        for client in 0..set.payments.len() {
            for _ in 0..set.luck.within(1..=4) {
                let at = set.luck.within(50 * MS..=TROUBLE);
                set.at(at, Event::Post(client));
            }
            set.at(LATE, Event::Post(client));
        }
        for part in 1..=20 {
            set.at(part * LATE / 20, Event::Sum);
        }
        set.at(END - SECOND, Event::Sum);
        set
    }

    fn at(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.events.insert((at.max(self.time), self.number), event);
    }

    fn after(&mut self, most: u64, event: Event) {
        let span = self.luck.within(50..=most);
        self.at(self.time + span, event);
    }

    fn now(&self) -> Now {
        let mono = Mono(self.time);
        let wall = UnixMillis(WALL + i64::try_from(self.time / 1_000).unwrap());
        Now {
            mono,
            run: mono,
            wall,
            boot: Boot(BOOTED + self.time),
        }
    }

    fn run(&mut self) {
        while let Some(((at, _), event)) = self.events.pop_first() {
            if at > END {
                break;
            }
            self.time = self.time.max(at);
            self.play(event);
        }
        self.judge();
    }

    fn play(&mut self, event: Event) {
        let index = match &event {
            Event::Post(client) => return self.post(*client),
            Event::Sum => return self.ask_sum(),
            Event::Start(index) => return self.start(*index),
            Event::Charge(processor, id, row) => return self.charge_late(*processor, *id, *row),
            Event::Perform(transaction, waits) => return self.perform(transaction, *waits),
            Event::Connected(index, life, ..)
            | Event::Exchanged(index, life, ..)
            | Event::LookedUp(index, life, ..)
            | Event::Heard(index, life, ..)
            | Event::Swept(index, life, ..)
            | Event::SweepTick(index, life)
            | Event::Tick(index, life) => {
                if self.instances[*index].life != *life {
                    return;
                }
                *index
            }
        };
        let awake_at = self.instances[index].awake_at;
        if awake_at > self.time {
            return self.at(awake_at, event);
        }
        match event {
            Event::Connected(_, _, attempt) => {
                self.tell(index, |owner, _, now| owner.connected(attempt, None, now));
            }
            Event::Exchanged(_, _, attempt, exchange) => {
                self.tell(index, |owner, _, now| {
                    owner.exchanged(attempt, exchange, now)
                });
            }
            Event::LookedUp(_, _, attempt, lookup) => {
                self.tell(index, |owner, _, now| owner.looked_up(attempt, lookup, now));
            }
            Event::Heard(_, _, slot, outcome) => {
                self.tell(index, |_, writers, now| {
                    writers.outcome(slot, *outcome, now.boot)
                });
            }
            Event::Tick(..) => {
                self.instances[index].tick_at = None;
                self.tell(index, |owner, _, now| {
                    owner.tick(now);
                });
            }
            Event::Swept(.., outcome) => self.hear_sweep(index, *outcome),
            Event::SweepTick(..) => self.sweep(index),
            Event::Post(_)
            | Event::Sum
            | Event::Start(_)
            | Event::Charge(..)
            | Event::Perform(..) => {}
        }
    }

    /// A start, the first or another: nothing is remembered but in the store.
    fn start(&mut self, index: usize) {
        let now = self.now();
        let one = &mut self.instances[index];
        let seed = u64::try_from(index).unwrap() * 1_000_003 + one.life * 7_919 + 17;
        let terms = MachineTerms {
            holder: format!("instance {index}, life {}", one.life),
            seed,
            is_lookout: true,
            now: now.boot,
        };
        one.core = Some((Owner::new(self.settings, processors()), Writers::new(terms)));
        one.attempts.clear();
        one.asked.clear();
        one.tick_at = None;
        self.tell(index, |owner, _, now| {
            owner.tick(now);
        });
        self.begin_sweeping(index);
    }

    fn tell(&mut self, index: usize, event: impl FnOnce(&mut Owner, &mut Writers, Now)) {
        let now = self.now();
        let Some((owner, writers)) = &mut self.instances[index].core else {
            return;
        };
        event(owner, writers, now);
        let life = self.instances[index].life;
        if !self.perform_actions(index) {
            return;
        }
        let mut slots: Vec<WriterSlot> = Vec::new();
        if let Some((_, writers)) = &self.instances[index].core {
            slots.extend(writers.slots());
        }
        for slot in slots {
            loop {
                let Some((owner, writers)) = &mut self.instances[index].core else {
                    return;
                };
                if !writers.tell(slot, owner, now) {
                    break;
                }
                if !self.perform_actions(index) || !self.take_news(index) {
                    return;
                }
            }
            while let Some((_, writers)) = &mut self.instances[index].core
                && let Some(command) = writers.next(slot, now.boot)
            {
                self.send(index, slot, command);
            }
        }
        if self.is_trouble() && self.luck.chance(1) && self.luck.chance(30) {
            let pause = self.luck.pick(&[20 * MS, SECOND, 4 * SECOND, 12 * SECOND]);
            self.see(if pause > 6 * SECOND {
                "a pause longer than the lease"
            } else {
                "a pause"
            });
            self.instances[index].awake_at = self.time + pause;
        }
        self.plan_tick(index, life);
    }

    /// Whether the instance lives on.
    fn perform_actions(&mut self, index: usize) -> bool {
        while let Some(action) = self.instances[index]
            .core
            .as_mut()
            .and_then(|(owner, _)| owner.next_action())
        {
            if self.is_trouble() && self.luck.chance(1) && self.luck.chance(20) {
                self.see("a crash");
                self.die(index);
                return false;
            }
            self.act(index, action);
        }
        self.instances[index].core.is_some()
    }

    fn plan_tick(&mut self, index: usize, life: u64) {
        let time = self.time;
        let one = &mut self.instances[index];
        let Some((owner, writers)) = &one.core else {
            return;
        };
        let slots = writers.slots();
        let wakes = slots.filter_map(|slot| writers.wake_at(slot));
        let wake = wakes.map(|at| at.0.saturating_sub(BOOTED)).min();
        let next = owner.next_timer().map(|at| at.0);
        let waiting = (owner.pending() > 0).then_some(time + 100 * MS);
        if let Some(at) = [next, wake, waiting].into_iter().flatten().min()
            && one.tick_at.is_none_or(|tick| at < tick)
        {
            let at = at.max(time + MS);
            one.tick_at = Some(at);
            self.at(at, Event::Tick(index, life));
        }
    }

    fn die(&mut self, index: usize) {
        let one = &mut self.instances[index];
        one.life += 1;
        one.core = None;
        one.awake_at = 0;
        self.after(SECOND, Event::Start(index));
    }
}
