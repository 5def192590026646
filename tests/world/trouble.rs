//! What goes wrong besides what the processors do to each request: moods, foreign charges, purges,
//! stalls, steps of the wall clock. In the end all heals.

use p99::testing::owner::Journalling;
use p99::testing::payment::Processor;

use crate::luck::Luck;
use crate::plan::{MS, SECOND};
use crate::simulation::{Event, HEALING, World};
use crate::site::{MOODS, Mood, Row};

impl World {
    pub(crate) fn stall(&mut self, core: usize, span: u64) {
        if let Some(machine) = self.cores.get_mut(core) {
            machine.awake_at = self.time.max(machine.awake_at) + span;
            machine.stalled_in_all += span;
            machine.unnoticed += span;
            if span >= SECOND {
                self.seen.insert("a process that is stopped".to_owned());
            }
        }
    }

    pub(crate) fn pick_processor(&mut self) -> Processor {
        let all: Vec<_> = self.plan.settings.processors.all().collect();
        self.luck.pick(&all)
    }

    pub(crate) fn plan_trouble(&mut self) {
        let span = self.plan.span;
        for _ in 0..self.plan.moods {
            let at = self.luck.within(0..=span);
            let processor = self.pick_processor();
            let mood = self.luck.pick(&MOODS);
            self.schedule_at(at, Event::Mood(processor, mood));
        }
        for _ in 0..self.plan.foreign {
            let at = self.luck.within(0..=span);
            let processor = self.pick_processor();
            let id = self.luck.within(0..=self.plan.ids - 1);
            let id = usize::try_from(id).unwrap();
            self.schedule_at(at, Event::Foreign { processor, id });
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
        if self.luck.chance(10) {
            // The whole process is stopped and goes on seconds later.
            let at = self.luck.within(0..=span);
            let stopped = self.luck.within(SECOND..=5 * SECOND);
            for core in 0..usize::from(self.plan.cores) {
                self.schedule_at(
                    at,
                    Event::Stall {
                        core,
                        span: stopped,
                    },
                );
            }
        }
        self.plan_full_disk();
        for _ in 0..self.plan.wall_steps {
            let at = self.luck.within(0..=span);
            let step = i64::try_from(self.luck.within(0..=20_000)).unwrap() - 15_000;
            self.schedule_at(at, Event::StepWall(step));
        }
        // Forty days ahead or behind for some seconds, then right again. A process that starts
        // meanwhile, and finds payments dated meanwhile, has nothing to tell it better.
        let crashes = self.crash_at.is_some() || !self.plan.crashes.is_empty();
        let is_one_process = !crashes && !self.plan.journal_fails && self.full.is_none();
        if is_one_process && self.luck.chance(20) {
            let days = 40 * 86_400_000 * if self.luck.chance(70) { 1 } else { -1 };
            let at = self.luck.within(0..=span);
            self.schedule_at(at, Event::StepWall(days));
            self.schedule_at(at + 3_500 * MS, Event::StepWall(-days));
            self.seen.insert("a clock that is far off".to_owned());
        }
        self.plan_moves();
        self.plan_pauses();
        self.schedule_at(span + 1, Event::Heal);
        self.healed_at = span;
        if let Some(stubborn) = self.plan.stubborn {
            self.healed_at = span + HEALING;
            self.schedule_at(self.healed_at, Event::Relent(stubborn));
        }
    }

    /// An operator pauses a processor in one of eight worlds, and lets it go on some time later,
    /// at the latest when all heals. A stream of its own: the other worlds stay as they are.
    fn plan_pauses(&mut self) {
        let mut luck = Luck::new(self.luck.clone().next());
        if !luck.next().is_multiple_of(8) {
            return;
        }
        let all: Vec<_> = self.plan.settings.processors.all().collect();
        let processor = luck.pick(&all);
        let at = luck.within(0..=self.plan.span);
        let span = luck.within(MS..=self.plan.span);
        self.schedule_at(at, Event::Pause(processor, true));
        self.schedule_at(at + span, Event::Pause(processor, false));
    }

    /// In one of eight worlds the disk is full for a while, and has room again at the latest when
    /// all heals. A stream of its own, as above.
    fn plan_full_disk(&mut self) {
        let mut luck = Luck::new(!self.luck.clone().next());
        if self.plan.settings.journal == Journalling::Off || !luck.next().is_multiple_of(8) {
            return;
        }
        let from = luck.within(0..=self.plan.span);
        let until = from + luck.within(MS..=4 * SECOND);
        self.full = Some((from, until.min(self.plan.span)));
    }

    /// A batch that needs a next segment finds none, and a start cannot create its first ones.
    pub(crate) fn is_disk_full(&self) -> bool {
        let is_within = |(from, until)| (from..until).contains(&self.time);
        !self.is_healed && self.full.is_some_and(is_within)
    }

    /// A start on a full disk fails, and is tried again.
    pub(crate) fn start_later(&mut self) {
        self.seen.insert("a start on a full disk".to_owned());
        self.schedule(50 * MS, Event::Restart);
    }

    pub(crate) fn pause(&mut self, processor: Processor, is_paused: bool) {
        if is_paused && self.is_healed {
            return;
        }
        if is_paused {
            self.seen.insert("a processor is paused".to_owned());
        }
        *self.paused.get_mut(processor) = is_paused;
        self.processors.set_paused(processor, is_paused);
    }

    /// Another client charges an id.
    pub(crate) fn plant(&mut self, processor: Processor, id: usize) {
        let payment = self.ids[id];
        let row = Row {
            amount: payment.amount,
            requested_at: self.long_ago(),
            sent: self.long_ago(),
            is_ours: false,
        };
        self.sites.get_mut(processor).insert(payment.id, row);
    }

    /// In all this time one processor stayed bad: everything that may be charged by the other one
    /// was, and what is left had bytes sent to the bad one.
    pub(crate) fn relent(&mut self, stubborn: Processor) {
        let unsettled = self
            .cores
            .iter()
            .flat_map(|machine| machine.owner.unsettled());
        for flow in unsettled {
            let story = &self.stories[&flow.payment.id];
            // After a restart p99 cannot know that the bytes of an open Intent never left, and
            // after a move it may not believe a refusal that was one.
            let is_unsure = self.process > 0 || self.plan.moves > 0;
            let may_be_there = story.has_unresolved(stubborn) || is_unsure;
            let is_only_one = self.plan.settings.processors.get() == 1;
            assert!(
                is_only_one || may_be_there && flow.pinned() == Some(stubborn),
                "{flow:?} waits for a processor that does not have it"
            );
        }
        self.seen.insert("one processor stayed bad".to_owned());
        self.heal_site(stubborn);
    }

    fn heal_site(&mut self, processor: Processor) {
        let site = self.sites.get_mut(processor);
        site.mood = Mood::Fine;
        site.has_lookup = true;
    }

    pub(crate) fn heal(&mut self) {
        self.is_healed = true;
        for processor in self.plan.settings.processors.all() {
            self.pause(processor, false);
        }
        self.crash_at = None;
        self.heal_names();
        for processor in self.plan.settings.processors.all() {
            if self.plan.stubborn != Some(processor) {
                self.heal_site(processor);
            }
        }
        // A disk that failed ends its process, healed or not.
        if self.cores.iter().any(|core| core.has_failed) {
            self.crash();
        }
    }
}
