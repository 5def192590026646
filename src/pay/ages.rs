//! How long ago the claims settled that a journal brings back. Pure.
//!
//! A journal has no date of settling, only of when each payment was sent. What settled behind
//! another one is no older than that one was sent; and unless a core sent nothing meanwhile, a
//! payment settles within `CLAIM_SETTLES_WITHIN` of the newest one before it.

use std::time::Duration;

use crate::claims::Full;
use crate::clock::UnixMillis;
use crate::owner::OwnerSettings;

/// Within so long of the newest payment that was sent before it a payment settles, unless its core
/// sent nothing meanwhile: by this the age of a claim is told that a journal brings back.
const CLAIM_SETTLES_WITHIN: Duration = Duration::from_secs(3_600);

/// See the header of this file.
#[derive(Debug)]
pub(super) struct Ages {
    full: Full,
    /// Up to when the journal's own payments say that time has passed.
    date: UnixMillis,
    newest: Option<UnixMillis>,
}

impl Ages {
    /// `newest` is the date of the journal's last payment. A wall clock that is ahead of it proves
    /// nothing.
    pub(super) fn new(
        settings: &OwnerSettings,
        newest: Option<UnixMillis>,
        wall: UnixMillis,
    ) -> Self {
        Self {
            full: settings.claims_full,
            date: newest.map_or(wall, |newest| newest.min(wall)),
            newest: None,
        }
    }

    /// The age of the next claim. Where the oldest goes for want of room, all are as good as new,
    /// so that none goes by a date that may be wrong; where all stay for their time they have it
    /// once, and not again with every start.
    pub(super) fn next(&mut self, requested_at: Option<UnixMillis>) -> Duration {
        self.newest = self.newest.max(requested_at);
        let (Full::Keep, Some(newest)) = (self.full, self.newest) else {
            return Duration::ZERO;
        };
        let age = u64::try_from(self.date.0.saturating_sub(newest.0)).unwrap_or(0);
        Duration::from_millis(age).saturating_sub(CLAIM_SETTLES_WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const HOUR: i64 = 3_600_000;

    fn ages(full: &str, newest: Option<i64>, wall: i64) -> Ages {
        let lookup = |name: &str| match name {
            "UPSTREAM_A_URL" => Some("http://a".to_owned()),
            "CACHE_FULL" => Some(full.to_owned()),
            _ => None,
        };
        let config = Config::from_lookup(lookup).unwrap();
        let newest = newest.map(UnixMillis);
        Ages::new(&OwnerSettings::of(&config), newest, UnixMillis(wall))
    }

    fn told(ages: &mut Ages, dates: &[Option<i64>]) -> Vec<u64> {
        let age = |date: &Option<i64>| ages.next(date.map(UnixMillis)).as_secs() / 3_600;
        dates.iter().map(age).collect()
    }

    #[test]
    fn a_claim_is_as_old_as_the_newest_before_it_less_an_hour() {
        let dates = [
            None,
            Some(0),
            Some(10 * HOUR),
            Some(5 * HOUR),
            None,
            Some(20 * HOUR),
        ];
        let at = |full, newest, wall| told(&mut ages(full, newest, wall), &dates);
        let day = Some(20 * HOUR);
        assert_eq!(at("refuse", day, 20 * HOUR), [0, 19, 9, 9, 9, 0]);
        assert_eq!(
            at("refuse", day, 90 * HOUR),
            [0, 19, 9, 9, 9, 0],
            "a stop is no age"
        );
        assert_eq!(at("refuse", day, 15 * HOUR), [0, 14, 4, 4, 4, 0]);
        assert_eq!(at("forget", day, 20 * HOUR), [0; 6]);
    }
}
