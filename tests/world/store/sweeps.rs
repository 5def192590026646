//! Each instance's sweeper: what it forgets was kept long enough, by the world's own time.

use std::time::Duration;

use p99::testing::store::{Command, Outcome, SweepNews, Sweeper, Transaction};

use super::database::CLOCKS;
use super::{Event, MS, SECOND, Set, TROUBLE};

/// How long an id is kept after it settled: less than the stubborn processor is bad for, and what
/// it charges late is as old as all other payments.
const KEEP: u64 = 30 * SECOND;

impl Set {
    /// Sweepers of those who are up when the trouble ends; a clock that is set then has been seen.
    pub(super) fn begin_sweeping(&mut self, index: usize) {
        let (life, at) = (self.instances[index].life, TROUBLE - 2 * SECOND);
        let keep = Duration::from_micros(KEEP);
        let nonce = i64::try_from(index).unwrap() + 1;
        let begun = self.now().boot;
        let sweeper = Sweeper::new(nonce, format!("instance {index}"), keep, begun);
        self.instances[index].sweeper = Some(sweeper);
        self.at(at, Event::SweepTick(index, life));
    }

    pub(super) fn sweep(&mut self, index: usize) {
        let (now, life) = (self.now().boot, self.instances[index].life);
        let Some(sweeper) = &mut self.instances[index].sweeper else {
            return;
        };
        match sweeper.next(now) {
            Some(Command::Connect) => {
                let connected = Box::new(Outcome::Connected);
                self.after(2 * MS, Event::Swept(index, life, connected));
            }
            Some(Command::Transact(transaction)) => self.perform_sweep(index, &transaction),
            None => {
                let wake = sweeper.wake_at().map(|at| at.0 - now.0);
                if let Some(pause) = wake {
                    let at = self.time + pause.max(MS);
                    self.at(at, Event::SweepTick(index, life));
                }
            }
        }
    }

    pub(super) fn hear_sweep(&mut self, index: usize, outcome: Outcome) {
        let now = self.now().boot;
        let Some(sweeper) = &mut self.instances[index].sweeper else {
            return;
        };
        sweeper.outcome(outcome, now);
        let mut told = Vec::new();
        while let Some(news) = sweeper.next_news() {
            told.push(news);
        }
        for news in told {
            match news {
                SweepNews::Forgotten(_) => self.see("an id that was kept long enough"),
                SweepNews::ClockJumped(_) => self.see("no sweep, as a clock jumped"),
                SweepNews::ClockIsBack => {}
            }
        }
        self.sweep(index);
    }

    fn perform_sweep(&mut self, index: usize, transaction: &Transaction) {
        let before = self.database.rows.clone();
        let answer = self.database.perform(transaction, self.offset + self.time);
        for (id, row) in before {
            if self.database.rows.contains_key(&id) {
                continue;
            }
            assert!(!row.row.status.is_open(), "an open row was forgotten");
            let kept = self.time - self.settled[&id];
            assert!(
                kept >= KEEP,
                "{id} was forgotten {kept} us after it settled"
            );
            self.forgotten.insert(id, row.row);
        }
        let life = self.instances[index].life;
        let outcome = Box::new(Outcome::Acknowledged(answer));
        self.after(3 * MS, Event::Swept(index, life, outcome));
    }

    /// What settled by now, by the world's own time.
    pub(super) fn note_settled(&mut self) {
        for (id, row) in &self.database.rows {
            if !row.row.status.is_open() {
                self.settled.entry(*id).or_insert(self.time);
            }
        }
    }

    /// The database's clock is set anew, or not.
    pub(super) fn set_clock(&mut self) {
        if self.is_steady {
            return;
        }
        // A clock that jumps back makes leases last, and what they hold wait, as long as that.
        if !self.is_trouble() {
            self.offset = CLOCKS[2];
        } else if self.luck.chance(1) && self.luck.chance(20) {
            self.see("a clock that jumped");
            self.offset = self.luck.pick(&CLOCKS);
        }
    }
}
