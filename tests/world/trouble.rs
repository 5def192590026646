//! What goes wrong besides what the processors do to each request: moods, foreign charges, purges,
//! stalls, steps of the wall clock. In the end all heals.

use p99::payment::Processor;

use crate::plan::MS;
use crate::simulation::{Event, World};
use crate::site::{MOODS, Mood};

impl World {
    pub(crate) fn stall(&mut self, core: usize, span: u64) {
        if let Some(machine) = self.cores.get_mut(core) {
            machine.awake_at = self.time.max(machine.awake_at) + span;
            machine.stalled_in_all += span;
            machine.unnoticed += span;
        }
    }

    pub(crate) fn plan_trouble(&mut self) {
        let span = self.plan.span;
        for _ in 0..self.plan.moods {
            let at = self.luck.within(0..=span);
            let processor = self.luck.pick(&Processor::ALL);
            let mood = self.luck.pick(&MOODS);
            self.schedule_at(at, Event::Mood(processor, mood));
        }
        for _ in 0..self.plan.foreign {
            let at = self.luck.within(0..=span);
            let processor = self.luck.pick(&Processor::ALL);
            let id = self.luck.within(0..=self.plan.ids - 1);
            let id = usize::try_from(id).unwrap();
            self.schedule_at(at, Event::Foreign { processor, id });
            let held_at = self.luck.within(0..=at);
            if self.plan.has_peer {
                self.schedule_at(held_at, Event::Hold(id));
            }
        }
        for _ in 0..self.plan.purges {
            let at = self.luck.within(0..=span);
            self.schedule_at(at, Event::Purge);
        }
        for _ in 0..self.plan.stalls {
            let at = self.luck.within(0..=span);
            let core = self.luck.within(0..=u64::from(self.plan.cores) - 1);
            let core = usize::try_from(core).unwrap();
            let span = self.luck.within(5 * MS..=400 * MS);
            self.schedule_at(at, Event::Stall { core, span });
        }
        for _ in 0..self.plan.wall_steps {
            let at = self.luck.within(0..=span);
            let step = i64::try_from(self.luck.within(0..=20_000)).unwrap() - 15_000;
            self.schedule_at(at, Event::StepWall(step));
        }
        self.schedule_at(span + 1, Event::Heal);
    }

    pub(crate) fn heal(&mut self) {
        self.is_healed = true;
        self.crash_at = None;
        for processor in Processor::ALL {
            let site = self.sites.get_mut(processor);
            site.mood = Mood::Fine;
            site.has_lookup = true;
        }
        // A disk that failed ends its process, healed or not.
        if self.cores.iter().any(|core| core.has_failed) {
            self.crash();
        }
    }
}
