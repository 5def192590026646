//! When settled ids are forgotten: a small machine beside those of writers, one in each instance,
//! and one of them has the turn. Pure: it is told the time; `sweeping` performs its commands.
//!
//! An id is kept for CACHE_TTL_SECONDS after it *settled*, by the database's clock that dated its
//! settlement. The cut, in the database, is what may be forgotten: it follows that clock, and it
//! moves by at most the time that has passed here, on a clock that no one sets. So a database clock
//! that is wrong ahead forgets nothing early. Between two looks the two clocks must agree; where
//! they do not, nothing is swept until they do again, and that is said.
//!
//! The statements keep the rest: no open row, nothing that settled behind the cut, and no cut that
//! is younger than the kept time as the database's clock is at that moment.

use std::collections::VecDeque;
use std::time::Duration;

use super::exchange::{Answer, Command, Outcome, Sweep, Swept, Transaction};
use super::record::WriterId;
use crate::clock::Boot;
use crate::limits;
use crate::store::STORE_SWEEP_ROWS;

/// How often a sweeper looks whether ids are old enough to be forgotten.
const STORE_SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Between two sweeps when more was found than one takes: at most 10,000 ids a second are
/// forgotten, and a sweeper has its connection for itself.
const STORE_SWEEP_PAUSE: Duration = Duration::from_millis(50);
/// How far the database's clock may go from a sweeper's between two looks before it has jumped.
const STORE_CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// What a sweeper has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// So many ids were forgotten.
    Forgotten(u64),
    /// The database's clock went so many milliseconds further than time has passed here, or less
    /// far. Nothing is forgotten until it is back.
    ClockJumped(i64),
    /// It is back.
    ClockIsBack,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// A connection is to be opened, not before this.
    Down(Boot),
    Connecting,
    /// It is idle; nothing is sent before this.
    Up(Boot),
    /// A sweep is on its way since then.
    Sent(Boot),
}

/// Both clocks at one look; the database's was read between the two moments here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    sent: Boot,
    heard: Boot,
    database: i64,
}

/// What a sweeper knows since it has the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    /// The cut that time passing here counts from, and when it was read.
    base: i64,
    since: Boot,
    /// The last look at which both clocks agreed.
    agreed: Look,
    has_jumped: bool,
}

/// See the header of this file.
#[derive(Debug)]
pub struct Sweeper {
    nonce: i64,
    holder: String,
    keep: Duration,
    link: Link,
    turn: Option<Turn>,
    cut: Option<(i64, i64)>,
    bury: Option<WriterId>,
    failures: u32,
    news: VecDeque<News>,
}

impl Sweeper {
    /// One that keeps ids for `keep` after they settled. `nonce` is unlike that of every other one,
    /// `holder` names it to operators.
    #[must_use]
    pub const fn new(nonce: i64, holder: String, keep: Duration, now: Boot) -> Self {
        Self {
            nonce,
            holder,
            keep,
            link: Link::Down(now),
            turn: None,
            cut: None,
            bury: None,
            failures: 0,
            news: VecDeque::new(),
        }
    }

    /// The next command, if one is due. Its outcome must follow before the next one comes.
    pub fn next(&mut self, now: Boot) -> Option<Command> {
        match self.link {
            Link::Down(at) if now >= at => {
                self.link = Link::Connecting;
                Some(Command::Connect)
            }
            Link::Up(at) if now >= at => {
                self.link = Link::Sent(now);
                let sweep = Sweep {
                    nonce: self.nonce,
                    holder: self.holder.clone(),
                    keep: self.keep,
                    cut: self.cut.take(),
                    forgets: self.turn.is_some_and(|turn| !turn.has_jumped),
                    bury: self.bury.take(),
                };
                Some(Command::Transact(Box::new(Transaction::Sweep(sweep))))
            }
            Link::Down(_) | Link::Up(_) | Link::Connecting | Link::Sent(_) => None,
        }
    }

    /// When [`Sweeper::next`] has something, unless it waits for an outcome.
    #[must_use]
    pub const fn wake_at(&self) -> Option<Boot> {
        match self.link {
            Link::Down(at) | Link::Up(at) => Some(at),
            Link::Connecting | Link::Sent(_) => None,
        }
    }

    /// The next thing to tell.
    pub fn next_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// Takes the outcome of the command before.
    pub fn outcome(&mut self, outcome: Outcome, now: Boot) {
        let link = std::mem::replace(&mut self.link, Link::Up(now));
        match (link, outcome) {
            (Link::Sent(sent), Outcome::Acknowledged(Answer::Swept(swept))) => {
                self.failures = 0;
                let is_more = match swept {
                    Some(swept) => self.take(swept, sent, now),
                    None => {
                        self.turn = None;
                        false
                    }
                };
                let pause = if is_more {
                    STORE_SWEEP_PAUSE
                } else {
                    STORE_SWEEP_INTERVAL
                };
                self.link = Link::Up(now.after(pause));
            }
            (_, Outcome::Connected) => {}
            // Sent again or not, a sweep does nothing twice: it is made anew.
            (_, Outcome::NotDone { .. }) => self.link = Link::Up(now.after(self.pause())),
            (_, Outcome::Acknowledged(_) | Outcome::Unconnected(_) | Outcome::Doubtful(_)) => {
                self.link = Link::Down(now.after(self.pause()));
            }
        }
    }

    /// Nothing is urgent here: what failed is tried again after a second, or a look later.
    fn pause(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        limits::STORE_PAUSE_MAX * self.failures.min(60)
    }

    /// Whether the next sweep has something to do at once.
    fn take(&mut self, swept: Swept, sent: Boot, heard: Boot) -> bool {
        if swept.forgotten > 0 {
            self.news.push_back(News::Forgotten(swept.forgotten));
        }
        let look = Look {
            sent,
            heard,
            database: swept.now,
        };
        let keep = millis(self.keep);
        let oldest = swept.now.saturating_sub(keep);
        let mut turn = self.turn.unwrap_or_else(|| Turn {
            base: swept.cut.min(oldest),
            since: heard,
            agreed: look,
            has_jumped: false,
        });
        let apart = apart(turn.agreed, look);
        let has_jumped = apart.unsigned_abs() > STORE_CLOCK_TOLERANCE.as_millis() as u64;
        match (turn.has_jumped, has_jumped) {
            (false, true) => self.news.push_back(News::ClockJumped(apart)),
            (true, false) => self.news.push_back(News::ClockIsBack),
            (true, true) | (false, false) => {}
        }
        turn.has_jumped = has_jumped;
        if !has_jumped {
            turn.agreed = look;
        }
        self.turn = Some(turn);
        if has_jumped {
            return false;
        }
        let passed = turn.base.saturating_add(millis(sent.since(turn.since)));
        let to = oldest.min(passed).div_euclid(1_000).saturating_mul(1_000);
        self.cut = (to > swept.cut).then_some((swept.cut, to));
        self.bury = swept.dead;
        let is_full = swept.forgotten >= u64::from(STORE_SWEEP_ROWS);
        // A cut that follows the clock is moved with the next look; one that is behind, at once.
        is_full || swept.dead.is_some() || self.is_behind(swept.cut)
    }

    fn is_behind(&self, cut: i64) -> bool {
        let interval = millis(STORE_SWEEP_INTERVAL);
        self.cut.is_some_and(|(_, to)| to - cut >= interval / 2)
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// How many milliseconds the database's clock went further from one look to the next than time may
/// have passed here; negative when it went less far.
fn apart(before: Look, now: Look) -> i64 {
    let went = now.database.saturating_sub(before.database);
    let least = millis(now.sent.since(before.heard));
    let most = millis(now.heard.since(before.sent));
    if went > most {
        went - most
    } else {
        went.saturating_sub(least).min(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_agree_when_the_database_went_as_far_as_time_may_have_passed() {
        let look = |sent: u64, heard: u64, database| Look {
            sent: Boot(sent * 1_000),
            heard: Boot(heard * 1_000),
            database,
        };
        let before = look(1_000, 1_100, 50_000);
        for (now, expected) in [
            (look(61_000, 61_100, 109_900), 0),
            (look(61_000, 61_100, 110_100), 0),
            (look(61_000, 61_100, 110_101), 1),
            (look(61_000, 61_100, 109_899), -1),
            (look(61_000, 61_100, 50_000), -59_900),
            (look(61_000, 61_100, 1_000_000), 889_900),
        ] {
            assert_eq!(apart(before, now), expected, "{now:?}");
        }
    }

    #[test]
    fn what_fails_is_tried_later_and_later_and_made_anew() {
        let now = Boot(0);
        let mut sweeper = Sweeper::new(1, String::new(), Duration::from_secs(1), now);
        let (mut at, mut last) = (now, 0);
        for _ in 0..100 {
            let command = sweeper.next(at).unwrap();
            let outcome = match command {
                Command::Connect => Outcome::Unconnected("refused".to_owned()),
                Command::Transact(_) => panic!("there is no connection"),
            };
            sweeper.outcome(outcome, at);
            let wake = sweeper.wake_at().unwrap();
            let pause = wake.0 - at.0;
            assert!((last..=60_000_000).contains(&pause));
            (at, last) = (wake, pause);
        }
    }
}
