//! One core: its owner, its clock and what its attempts hold. The process may die between any two
//! steps, a step being an event told or an action performed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use p99::testing::clock::{Mono, Now, UnixMillis};
use p99::testing::events::{Action, AttemptRef};
use p99::testing::limits;
use p99::testing::owner::{Journalling, Owner};
use p99::testing::payment::{PerProcessor, Processor, Totals, UpstreamId};

use crate::disk::{self, Disk};
use crate::places::Store;
use crate::plan::MS;
use crate::simulation::World;

/// What an attempt holds, as the driver knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Dialling,
    Ready,
    /// This request is out.
    Sent(usize),
    /// It was answered, and the owner may ask at once what that means for these requests.
    Answered(BTreeSet<usize>),
    /// The processor is asked about this id.
    Asking {
        /// The requests that its 404 may prove absent.
        covered: BTreeSet<usize>,
        id: UpstreamId,
        /// The processor's GET had shown a charged id before.
        is_proven: bool,
    },
}

#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) owner: Owner,
    pub(crate) links: BTreeMap<AttemptRef, (Processor, Link)>,
    /// Where the connections of attempts lead.
    pub(crate) places: BTreeMap<AttemptRef, (Option<SocketAddr>, Store)>,
    pub(crate) disk: Option<Disk>,
    pub(crate) has_failed: bool,
    /// When the owner wants to be told the time.
    pub(crate) tick_at: Option<u64>,
    /// The core does not run before this.
    pub(crate) awake_at: u64,
    /// Time in which it did not run: in all, taken off the run axis, and not yet taken off.
    pub(crate) stalled_in_all: u64,
    stalled: u64,
    pub(crate) unnoticed: u64,
    /// Ticks in a row that did nothing and left something due.
    overdue: u32,
    /// What the ledger must hold.
    pub(crate) charged: PerProcessor<Totals>,
    /// Payments that came with a restart; the queue's bound does not know them.
    pub(crate) restored: usize,
}

impl Machine {
    pub(crate) fn first(world: &World) -> Self {
        let settings = world.plan.settings;
        let disk = match settings.journal {
            Journalling::On => Some(Disk::new(disk::blank(&settings))),
            Journalling::Off | Journalling::Store => None,
        };
        Self::new(Owner::new(settings, Arc::clone(&world.processors)), disk)
    }

    pub(crate) fn new(owner: Owner, disk: Option<Disk>) -> Self {
        Self {
            owner,
            links: BTreeMap::new(),
            places: BTreeMap::new(),
            disk,
            has_failed: false,
            tick_at: Some(0),
            awake_at: 0,
            stalled_in_all: 0,
            stalled: 0,
            unnoticed: 0,
            overdue: 0,
            charged: PerProcessor::default(),
            restored: 0,
        }
    }

    pub(crate) fn wakes_at(&self) -> Option<u64> {
        self.tick_at.map(|at| at.max(self.awake_at))
    }

    /// Whether the attempt holds what its breaker lent it: one that was answered does only once its
    /// owner asks what that means.
    pub(crate) fn is_out(&self, attempt: AttemptRef) -> bool {
        let link = self.links.get(&attempt);
        link.is_some_and(|(_, link)| !matches!(link, Link::Answered(_)))
    }

    pub(crate) fn is_purging(&self) -> bool {
        self.disk.as_ref().is_some_and(Disk::is_purging)
    }

    fn now(&self, time: u64, wall: UnixMillis) -> Now {
        Now {
            mono: Mono(time),
            run: Mono(time.saturating_sub(self.stalled)),
            wall,
            ..Now::default()
        }
    }
}

impl World {
    pub(crate) fn now(&self, core: usize) -> Now {
        self.cores[core].now(self.time, self.wall())
    }

    pub(crate) fn tick(&mut self, at: u64, core: usize) {
        self.time = self.time.max(at);
        let machine = &mut self.cores[core];
        // The driver notices a gap when its own timer comes late, after other events.
        machine.stalled += std::mem::take(&mut machine.unnoticed);
        let now = self.now(core);
        self.look_at_breakers(now);
        let due = self.cores[core].owner.tick(now);
        let steps = self.steps;
        if !self.perform(core, now) {
            return;
        }
        // `perform` counts one more step than there were actions.
        let is_idle = self.steps == steps + 1;
        let machine = &mut self.cores[core];
        let next = machine.owner.next_timer();
        let is_overdue = next.is_some_and(|next| next <= now.mono);
        machine.overdue = if is_overdue && is_idle {
            machine.overdue + 1
        } else {
            0
        };
        assert!(
            machine.overdue < 4,
            "I8: a timer that stays due makes the core spin"
        );
        let house = now.mono.after(limits::HOUSEKEEPING_INTERVAL);
        let is_empty = machine.owner.pending() == 0;
        let alarm = machine.owner.take_alarm();
        let due = [due, alarm, (!is_empty).then_some(house)];
        machine.tick_at = due
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.0.max(now.mono.0 + MS));
        self.check_core(core);
        self.check_limits();
    }

    /// Tells the owner something and performs what comes of it. False when the process died.
    pub(crate) fn tell_owner(&mut self, core: usize, event: impl FnOnce(&mut Owner, Now)) -> bool {
        let now = self.now(core);
        self.look_at_breakers(now);
        event(&mut self.cores[core].owner, now);
        let lives = self.perform(core, now);
        if lives {
            let machine = &mut self.cores[core];
            let alarm = machine.owner.take_alarm().map(|at| at.0);
            machine.tick_at = [machine.tick_at, alarm].into_iter().flatten().min();
            if machine.tick_at.is_none() && machine.owner.pending() > 0 {
                machine.tick_at = Some(now.mono.after(limits::HOUSEKEEPING_INTERVAL).0);
            }
            self.check_core(core);
            self.check_limits();
        }
        lives
    }

    pub(crate) fn perform(&mut self, core: usize, now: Now) -> bool {
        let process = self.process;
        loop {
            self.steps += 1;
            if self.crash_at.is_some_and(|at| at <= self.steps) {
                self.crash_at = None;
                self.crash();
            }
            if self.process != process || self.cores.is_empty() {
                return false;
            }
            let Some(action) = self.cores[core].owner.next_action() else {
                break;
            };
            if matches!(action, Action::Tell) {
                // What operators are told moves no moment at which the process may die.
                self.steps -= 1;
            }
            self.tell(|_| format!("    core {core}: {action:?}"));
            self.act(core, action, now);
        }
        self.start_sync(core);
        true
    }
}
