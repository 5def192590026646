//! The world: a virtual clock, an agenda of what will happen, clients, cores, disks and two odd
//! processors. Everything that happens is one event; after each of them the invariants are checked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use p99::testing::clock::UnixMillis;
use p99::testing::events::{Answer, AttemptRef, Exchange, Lookup};
use p99::testing::owner::Processors;
use p99::testing::payment::{CoreCount, Payment, PerProcessor, Processor, UpstreamId};

use crate::clients::Client;
use crate::luck::Luck;
use crate::machine::Machine;
use crate::places::{Change, Place, Store, first_places};
use crate::plan::{MS, Plan, SECOND};
use crate::site::{Fare, Mood, Site};
use crate::story::Story;

/// The wall clock when the world begins.
const DAWN: i64 = 1_752_150_896_000;

/// In this time all that was promised is settled once all has healed: the longest pause between
/// two re-sends is 37 s, and a payment may have to wait for another one's.
pub(crate) const HEALING: u64 = 120 * SECOND;

/// Something that will happen. What belongs to one process carries its number, and is nothing once
/// that process died.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// A client sends its request.
    Post(usize),
    /// A message is taken from the ring between two cores.
    Mail {
        from: usize,
        to: usize,
    },
    /// A reply is taken from the ring between two cores.
    Reply {
        from: usize,
        to: usize,
    },
    /// A connect ended.
    Dialled {
        core: usize,
        attempt: AttemptRef,
        is_made: bool,
    },
    /// A connection that was lent and not used dies.
    Died {
        core: usize,
        attempt: AttemptRef,
    },
    /// A processor begins to work on a request.
    Serve(usize),
    /// A request is stored long after everybody forgot it.
    LateInsert(usize),
    /// What a request led to reaches its core.
    Exchanged {
        core: usize,
        attempt: AttemptRef,
        exchange: Exchange,
    },
    /// A processor reads its store for a lookup.
    Read {
        core: usize,
        attempt: AttemptRef,
        after: u64,
    },
    /// What it said reaches its core.
    LookedUp {
        core: usize,
        attempt: AttemptRef,
        lookup: Lookup,
    },
    /// A batch is on the disk.
    Synced {
        core: usize,
    },
    /// The disk fails.
    SyncFailed {
        core: usize,
    },
    Mood(Processor, Mood),
    Move(Processor, Change),
    /// A processor's name is resolved again.
    Resolve(Processor),
    /// A human confirms a processor.
    Confirm(Processor),
    /// An operator pauses a processor, or lets it go on.
    Pause(Processor, bool),
    Foreign {
        processor: Processor,
        id: usize,
    },
    Purge,
    Stall {
        core: usize,
        span: u64,
    },
    StepWall(i64),
    Crash,
    Restart,
    Heal,
    /// The one processor that stayed bad heals, too.
    Relent(Processor),
}

/// What went to a processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) id: UpstreamId,
    pub(crate) processor: Processor,
    pub(crate) payment: crate::story::Sent,
    pub(crate) core: usize,
    pub(crate) attempt: AttemptRef,
    pub(crate) process: u32,
    pub(crate) fare: Fare,
    pub(crate) store: Store,
}

/// From one core to another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Letter {
    Pay(usize),
    Purge,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) luck: Luck,
    /// Microseconds since the world began.
    pub(crate) time: u64,
    pub(crate) wall_step: i64,
    agenda: BTreeMap<(u64, u32, u64), (u32, Event)>,
    events: u64,
    /// Counts the processes; events of an earlier one are nothing.
    pub(crate) process: u32,
    /// Actions performed and events told, in all.
    pub(crate) steps: u64,
    pub(crate) crash_at: Option<u64>,
    /// How many attempts might be in flight, when that was looked at last.
    pub(crate) limits: PerProcessor<Option<u32>>,
    /// A processor said 429 or tripped its breaker since.
    pub(crate) troubled: PerProcessor<bool>,
    pub(crate) is_healed: bool,
    /// From when until when there is no room on the disk.
    pub(crate) full: Option<(u64, u64)>,
    /// What an operator has paused, and the next process finds paused.
    pub(crate) paused: PerProcessor<bool>,
    /// When the last thing heals.
    pub(crate) healed_at: u64,
    /// The process died in the middle of a purge.
    pub(crate) is_purge_torn: bool,
    pub(crate) processors: Arc<Processors>,
    /// The breakers that were Open when the event under way began, by their generation.
    pub(crate) open: PerProcessor<Option<u16>>,
    /// Probes that may still hold their permit: generation, core, attempt, since when.
    pub(crate) probes: PerProcessor<Vec<(u16, usize, AttemptRef, u64)>>,
    pub(crate) cores: Vec<Machine>,
    pub(crate) sites: PerProcessor<Site>,
    /// Other processors, which get their names for a while.
    pub(crate) strangers: PerProcessor<Site>,
    pub(crate) places: PerProcessor<Place>,
    /// A lookup has shown a charged id since the process began.
    pub(crate) proven: PerProcessor<Vec<Store>>,
    pub(crate) requests: Vec<Request>,
    pub(crate) clients: Vec<Client>,
    pub(crate) ids: Vec<Payment>,
    pub(crate) stories: BTreeMap<UpstreamId, Story>,
    pub(crate) mail: BTreeMap<(usize, usize), VecDeque<Letter>>,
    pub(crate) replies: BTreeMap<(usize, usize), VecDeque<(usize, Answer)>>,
    /// Hand-overs without a reply yet.
    pub(crate) handed_over: BTreeMap<(usize, usize), usize>,
    /// What the disks of a process that died left behind.
    pub(crate) remains: Vec<p99::testing::journal::replay::State>,
    /// What happened at least once, so that a world in which nothing goes wrong is noticed.
    pub(crate) seen: BTreeSet<String>,
    /// The last things that happened, when someone wants to read them.
    pub(crate) trace: Option<VecDeque<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, is_traced: bool) -> Self {
        let mut luck = Luck::new(seed);
        let plan = Plan::draw(&mut luck);
        let bounds = plan.bounds(plan.cores);
        let processors = Processors::new(plan.settings.processors, plan.breaker, bounds);
        let processors = Arc::new(processors);
        let sites = PerProcessor::from_fn(|one| Site::new(*plan.has_lookup.get(one), &mut luck));
        let strangers = PerProcessor::from_fn(|_| Site::new(true, &mut luck));
        let mut world = Self {
            sites,
            strangers,
            places: first_places(),
            plan,
            luck,
            time: 0,
            wall_step: 0,
            agenda: BTreeMap::new(),
            events: 0,
            process: 0,
            steps: 0,
            crash_at: None,
            is_healed: false,
            full: None,
            paused: PerProcessor::default(),
            healed_at: 0,
            is_purge_torn: false,
            processors,
            open: PerProcessor::default(),
            probes: PerProcessor::default(),
            limits: PerProcessor::default(),
            troubled: PerProcessor::default(),
            cores: Vec::new(),
            proven: PerProcessor::default(),
            requests: Vec::new(),
            clients: Vec::new(),
            ids: Vec::new(),
            stories: BTreeMap::new(),
            mail: BTreeMap::new(),
            replies: BTreeMap::new(),
            handed_over: BTreeMap::new(),
            remains: Vec::new(),
            seen: BTreeSet::new(),
            trace: is_traced.then(VecDeque::new),
        };
        world.tell(|world| format!("{:#?}", world.plan));
        world.crash_at = world.plan.crashes.pop();
        world.cores = (0..world.plan.cores)
            .map(|_| Machine::first(&world))
            .collect();
        world.begin_resolving();
        world.invite_clients();
        world.plan_trouble();
        world
    }

    /// Lets the seed's life happen, then heals everything and settles what is open.
    pub(crate) fn run(&mut self) {
        while self.step() {}
        self.check_end();
    }

    pub(crate) fn schedule(&mut self, delay: u64, event: Event) {
        let at = self.time + delay;
        self.schedule_at(at, event);
    }

    pub(crate) fn schedule_at(&mut self, at: u64, event: Event) {
        // What happens at the same time happens in any order.
        let order = u32::try_from(self.luck.next() >> 32).unwrap();
        self.events += 1;
        self.agenda
            .insert((at, order, self.events), (self.process, event));
    }

    pub(crate) fn wall(&self) -> UnixMillis {
        let now = i64::try_from(self.time / MS).unwrap();
        UnixMillis(DAWN + now + self.wall_step)
    }

    pub(crate) fn count(&self) -> CoreCount {
        CoreCount(u16::try_from(self.cores.len()).unwrap())
    }

    pub(crate) fn tell(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.trace.is_none() {
            return;
        }
        let line = format!("{:>10} us  {}", self.time, line(self));
        let trace = self.trace.as_mut().unwrap();
        trace.push_back(line);
        if trace.len() > 2_000 {
            trace.pop_front();
        }
    }

    /// The next thing happens. False when nothing is left to happen.
    fn step(&mut self) -> bool {
        let tick = self
            .cores
            .iter()
            .enumerate()
            .filter_map(|(core, machine)| Some((machine.wakes_at()?, core)))
            .min();
        let first = self.agenda.first_key_value().map(|(key, _)| key.0);
        match (tick, first) {
            (None, None) => return false,
            (Some((at, core)), None) => self.tick(at, core),
            (Some((at, core)), Some(first)) if at < first => self.tick(at, core),
            (_, Some(_)) => {
                let ((at, _, _), (process, event)) = self.agenda.pop_first().unwrap();
                self.time = self.time.max(at);
                self.happen(process, event);
            }
        }
        assert!(
            self.time < self.healed_at + HEALING,
            "payments are still unsettled two minutes after all healed: {:?}",
            self.unsettled()
        );
        true
    }

    fn happen(&mut self, process: u32, event: Event) {
        if let Some(core) = core_of(event) {
            if process != self.process {
                return;
            }
            // A core that does not run takes it up when it runs again.
            let awake_at = self.cores[core].awake_at;
            if self.time < awake_at {
                self.schedule_at(awake_at, event);
                return;
            }
        }
        self.tell(|_| format!("{event:?}"));
        match event {
            Event::Post(client) => self.post(client),
            Event::Mail { from, to } => self.take_mail(from, to),
            Event::Reply { from, to } => self.take_reply(from, to),
            Event::Dialled {
                core,
                attempt,
                is_made,
            } => self.dialled(core, attempt, is_made),
            Event::Died { core, attempt } => self.died(core, attempt),
            Event::Serve(request) => self.serve(request),
            Event::LateInsert(request) => {
                self.insert(request);
            }
            Event::Exchanged {
                core,
                attempt,
                exchange,
            } => self.exchanged(core, attempt, exchange),
            Event::Read {
                core,
                attempt,
                after,
            } => self.read(core, attempt, after),
            Event::LookedUp {
                core,
                attempt,
                lookup,
            } => self.looked_up(core, attempt, lookup),
            Event::Synced { core } => self.synced(core),
            Event::SyncFailed { core } => self.sync_failed(core),
            Event::Mood(processor, mood) => self.sites.get_mut(processor).mood = mood,
            Event::Move(processor, change) => self.change(processor, change),
            Event::Resolve(processor) => self.resolve(processor),
            Event::Confirm(processor) => self.confirm(processor),
            Event::Pause(processor, is_paused) => self.pause(processor, is_paused),
            Event::Foreign { processor, id } => self.plant(processor, id),
            Event::Purge => self.purge(),
            Event::Stall { core, span } => self.stall(core, span),
            Event::StepWall(span) => self.wall_step += span,
            Event::Crash => self.crash(),
            Event::Restart if self.is_disk_full() => self.start_later(),
            Event::Restart => self.restart(),
            Event::Heal => self.heal(),
            Event::Relent(stubborn) => self.relent(stubborn),
        }
    }
}

/// The core that an event needs.
fn core_of(event: Event) -> Option<usize> {
    match event {
        Event::Mail { to, .. } | Event::Reply { to, .. } => Some(to),
        Event::Dialled { core, .. }
        | Event::Died { core, .. }
        | Event::Exchanged { core, .. }
        | Event::Read { core, .. }
        | Event::LookedUp { core, .. }
        | Event::Synced { core }
        | Event::SyncFailed { core } => Some(core),
        Event::Post(_)
        | Event::Serve(_)
        | Event::LateInsert(_)
        | Event::Mood(..)
        | Event::Move(..)
        | Event::Resolve(_)
        | Event::Confirm(_)
        | Event::Pause(..)
        | Event::Foreign { .. }
        | Event::Purge
        | Event::Stall { .. }
        | Event::StepWall(_)
        | Event::Crash
        | Event::Restart
        | Event::Heal
        | Event::Relent(_) => None,
    }
}
