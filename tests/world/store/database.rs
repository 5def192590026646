//! The way to the database and back, and what may happen on it.

use p99::testing::events::WriterSlot;
use p99::testing::store::{Command, Outcome, Transaction};

use super::{Event, Set, WALL};
use crate::plan::{MS, SECOND};

/// What the database's clock may show when all begins: the date, or an hour off either way.
pub(super) const CLOCKS: [u64; 3] = [
    WALL.unsigned_abs() * 1_000 - 3_600 * SECOND,
    WALL.unsigned_abs() * 1_000,
    WALL.unsigned_abs() * 1_000 + 3_600 * SECOND,
];

/// What becomes of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Fine,
    /// It never reaches the database.
    Lost,
    /// It is done, and no one hears of it.
    Unheard,
    /// No one hears of it, and it is done long after.
    Late,
    /// The database will not do it now.
    Refused,
    /// It is done, and its answer takes long.
    Slow,
    /// A wait for the standby was cancelled: success, with a notice, of what a failover loses.
    Noticed,
}

impl Set {
    pub(super) fn send(&mut self, index: usize, slot: WriterSlot, command: Command) {
        let life = self.instances[index].life;
        let waits = Some((index, life, slot));
        let heard = |outcome| Event::Heard(index, life, slot, Box::new(outcome));
        let transaction = match command {
            Command::Connect => {
                let is_away = self.is_trouble() && self.luck.chance(15);
                let outcome = if is_away {
                    Outcome::Unconnected("no route".to_owned())
                } else {
                    Outcome::Connected
                };
                let most = if is_away { 250 * MS } else { 2 * MS };
                return self.after(most, heard(outcome));
            }
            Command::Transact(transaction) => transaction,
        };
        let fate = if self.is_trouble() {
            self.luck.weigh(&[
                (85, Fate::Fine),
                (3, Fate::Lost),
                (3, Fate::Unheard),
                (3, Fate::Late),
                (3, Fate::Refused),
                (3, Fate::Slow),
                (2, Fate::Noticed),
            ])
        } else {
            Fate::Fine
        };
        let doubtful = || heard(Outcome::Doubtful("the connection ended".to_owned()));
        let patience = self.luck.pick(&[2 * MS, 100 * MS, SECOND]);
        match fate {
            Fate::Fine => self.after(3 * MS, Event::Perform(transaction, waits)),
            Fate::Slow => {
                let after = self.luck.within(MS..=5 * SECOND);
                self.at(self.time + after, Event::Perform(transaction, waits));
            }
            Fate::Noticed => {
                self.see("a notice behind COMMIT");
                let answer = self
                    .database
                    .clone()
                    .perform(&transaction, self.offset + self.time);
                self.after(
                    MS,
                    heard(p99::testing::store::model::behind_a_notice(answer)),
                );
            }
            Fate::Lost => {
                self.see("a commit that was lost");
                self.at(self.time + patience, doubtful());
            }
            Fate::Unheard => {
                self.see("a commit whose answer was lost");
                self.after(MS, Event::Perform(transaction, None));
                self.at(self.time + patience.max(MS), doubtful());
            }
            Fate::Late => {
                self.see("a copy that came late");
                let after = self.luck.within(MS..=8 * SECOND);
                self.at(self.time + after, Event::Perform(transaction, None));
                self.at(self.time + patience, doubtful());
            }
            Fate::Refused => {
                let (code, why) = (*b"40P01", "deadlock detected".to_owned());
                self.after(MS, heard(Outcome::NotDone { code, why }));
            }
        }
    }

    pub(super) fn perform(
        &mut self,
        transaction: &Transaction,
        waits: Option<(usize, u64, WriterSlot)>,
    ) {
        self.set_clock();
        let answer = self.database.perform(transaction, self.offset + self.time);
        self.note_settled();
        if let Some((index, life, slot)) = waits {
            let outcome = Box::new(Outcome::Acknowledged(answer));
            self.after(MS, Event::Heard(index, life, slot, outcome));
        }
    }
}
