//! From when on a journal knows every charge by its id, where it has forgotten some of a window.
//! Ids are forgotten in the order in which they settled, which is not that of `requestedAt`: one
//! old payment that settled late is known while all around it are forgotten. So the oldest id says
//! little, and a moment is a hint only after the journal was read from there on.

use std::path::Path;

use crate::clock::UnixMillis;
use crate::journal::account;
use crate::payment::Processor;

/// How often the window is halved to find from when on a journal knows all ids: of a day six
/// minutes are left then. Each time the journal is read once more.
const RECONCILE_HALVINGS_MAX: u32 = 8;

/// The moment, if there is one, for the window of which `oldest` is the oldest id. Books are not
/// read for it, and no word of the journal is kept.
pub(super) fn from_when(
    dir: &Path,
    window: (Option<UnixMillis>, Option<UnixMillis>),
    oldest: UnixMillis,
) -> Option<UnixMillis> {
    let is_known = |from: UnixMillis| {
        let told = account::account(dir, (Some(from), window.1), &mut |_| Ok(()));
        told.is_ok_and(|cores| {
            let mut all = Processor::ALL.into_iter();
            all.all(|processor| account::forgotten(&cores, processor).count == 0)
        })
    };
    // Where the seconds are whole, the first one behind it.
    let next = UnixMillis(whole_second(oldest.0.saturating_add(999)));
    let start = window.0.unwrap_or(UnixMillis(i64::MIN));
    let later = [oldest, next].into_iter().filter(|one| *one > start);
    if let Some(found) = later.into_iter().find(|one| is_known(*one)) {
        return Some(found);
    }
    let to = window.1?.0;
    let mut from = start.max(oldest).0;
    for _ in 0..RECONCILE_HALVINGS_MAX {
        from = whole_second(from.saturating_add(to.saturating_sub(from) / 2));
        if from < to && is_known(UnixMillis(from)) {
            return Some(UnixMillis(from));
        }
    }
    None
}

fn whole_second(at: i64) -> i64 {
    at.div_euclid(1_000).saturating_mul(1_000)
}
