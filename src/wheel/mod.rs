//! The timers of one core: a hashed wheel with slots of a millisecond.
//!
//! The owner arms one timer for each token (its own slab index), cancels or re-arms it, and at its
//! next tick gets the tokens that are due. Arming, cancelling and re-arming are O(1) and allocate
//! nothing once the highest token has been seen. No clock is read here and nothing is called back:
//! which wait a token stands for, and whether a late timer still means anything, its owner knows.
//!
//! A timer never fires early, and at most 1 ms late as seen by `expire`. Entries further away than
//! one turn of the wheel stay in their slot for another round. A two-level bitmap of occupied slots
//! finds the next one in a handful of loads, so that an idle core can sleep until then.
//! Bounds (I8): as many tokens as the owner's tables have places, 16 bytes each; [`WHEEL_SLOTS`]
//! slots. The tables may hold more than any setting allows now: what a journal brought back was
//! taken in under the settings of an earlier start.

mod bitmap;

#[cfg(test)]
mod tests;

use self::bitmap::{Bitmap, WHEEL_SLOTS};
use crate::clock::Mono;

/// No token.
const NONE: u32 = u32::MAX;
/// The time of a timer that is not armed.
const UNARMED: u64 = u64::MAX;

/// One token's timer: a link of its slot's circular list while armed.
#[derive(Clone, Copy, Debug)]
struct Timer {
    /// When it is due, in whole milliseconds rounded up; [`UNARMED`] otherwise.
    at_ms: u64,
    before: u32,
    behind: u32,
}

impl Timer {
    const IDLE: Self = Self {
        at_ms: UNARMED,
        before: NONE,
        behind: NONE,
    };
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Wheel {
    timers: Vec<Timer>,
    /// The first token of each slot, or [`NONE`].
    heads: Box<[u32]>,
    occupied: Bitmap,
    armed_count: usize,
    /// The last millisecond that was looked at. No armed timer is due before it.
    cursor_ms: u64,
    /// Whether something was armed for that same millisecond since. Without this a timer of a later
    /// round in the cursor's slot would look due for ever, and its core would spin.
    is_overdue: bool,
}

impl Default for Wheel {
    fn default() -> Self {
        Self::new()
    }
}

impl Wheel {
    /// A wheel without timers, at the start of time.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self {
            timers: Vec::new(),
            heads: vec![NONE; WHEEL_SLOTS].into_boxed_slice(),
            occupied: Bitmap::new(),
            armed_count: 0,
            cursor_ms: 0,
            is_overdue: false,
        }
    }

    /// Lets `token` fall due at `at`, instead of when it was armed for before. A moment that has
    /// passed falls due with the next `expire`.
    pub(crate) fn arm(&mut self, token: u32, at: Mono) {
        self.cancel(token);
        let index = place(token);
        if self.timers.len() <= index {
            self.timers.resize(index + 1, Timer::IDLE);
        }
        let at_ms = at.0.div_ceil(1_000).max(self.cursor_ms);
        self.is_overdue |= at_ms == self.cursor_ms;
        self.link(token, at_ms);
        self.armed_count += 1;
    }

    /// Disarms `token`; nothing happens when it is not armed.
    pub(crate) fn cancel(&mut self, token: u32) {
        if self.is_armed(token) {
            self.unlink(token);
            self.armed_count -= 1;
        }
    }

    /// Whether `token` is going to fall due.
    #[must_use]
    pub(crate) fn is_armed(&self, token: u32) -> bool {
        self.timer(token).at_ms != UNARMED
    }

    /// How many timers are armed.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn armed_count(&self) -> usize {
        self.armed_count
    }

    /// Appends the tokens that are due to `due`, about in order of their time, and disarms them.
    pub(crate) fn expire(&mut self, now: Mono, due: &mut Vec<u32>) {
        let now_ms = (now.0 / 1_000).max(self.cursor_ms);
        let last = now_ms.min(self.cursor_ms.saturating_add(ROUND_MS - 1));
        let mut next = self.cursor_ms;
        // Each slot at most once: after a sleep of a whole round or more one turn sees them all.
        while let Some(at_ms) = self.next_occupied(next).filter(|at_ms| *at_ms <= last) {
            self.expire_slot(slot(at_ms), now_ms, due);
            next = at_ms + 1;
        }
        self.cursor_ms = now_ms;
        self.is_overdue = false;
    }

    /// When to call `expire` next. Never late; early when only timers of a later round wait in
    /// that slot, which costs one needless look in 16 s.
    #[must_use]
    pub(crate) fn next(&self) -> Option<Mono> {
        let from_ms = self.cursor_ms.saturating_add(u64::from(!self.is_overdue));
        self.next_occupied(from_ms)
            .map(|at_ms| Mono(at_ms.saturating_mul(1_000)))
    }

    /// The first millisecond from `from_ms` on, within one round, whose slot holds anything.
    fn next_occupied(&self, from_ms: u64) -> Option<u64> {
        let from = slot(from_ms);
        let found = self.occupied.first_from(from)?;
        let ahead = found.wrapping_sub(from) % WHEEL_SLOTS;
        Some(from_ms.saturating_add(u64::try_from(ahead).unwrap_or(0)))
    }

    fn expire_slot(&mut self, slot: usize, now_ms: u64, due: &mut Vec<u32>) {
        let Some(head) = self.heads.get(slot).copied().filter(|head| *head != NONE) else {
            return;
        };
        let tail = self.timer(head).before;
        let mut token = head;
        loop {
            let Timer { at_ms, behind, .. } = self.timer(token);
            if at_ms <= now_ms {
                self.cancel(token);
                due.push(token);
            }
            if token == tail {
                return;
            }
            token = behind;
        }
    }

    fn timer(&self, token: u32) -> Timer {
        self.timers
            .get(place(token))
            .copied()
            .unwrap_or(Timer::IDLE)
    }

    fn change(&mut self, token: u32, change: impl FnOnce(&mut Timer)) {
        if let Some(timer) = self.timers.get_mut(place(token)) {
            change(timer);
        }
    }

    /// Puts `token` at the end of its slot's list.
    fn link(&mut self, token: u32, at_ms: u64) {
        let slot = slot(at_ms);
        let Some(head) = self.heads.get_mut(slot) else {
            return;
        };
        let first = *head;
        if first == NONE {
            *head = token;
            self.occupied.set(slot);
            self.change(token, |timer| {
                *timer = Timer {
                    at_ms,
                    before: token,
                    behind: token,
                }
            });
            return;
        }
        let last = self.timer(first).before;
        self.change(token, |timer| {
            *timer = Timer {
                at_ms,
                before: last,
                behind: first,
            }
        });
        self.change(last, |timer| timer.behind = token);
        self.change(first, |timer| timer.before = token);
    }

    fn unlink(&mut self, token: u32) {
        let Timer {
            at_ms,
            before,
            behind,
        } = self.timer(token);
        let slot = slot(at_ms);
        self.change(before, |timer| timer.behind = behind);
        self.change(behind, |timer| timer.before = before);
        self.change(token, |timer| *timer = Timer::IDLE);
        let Some(head) = self.heads.get_mut(slot).filter(|head| **head == token) else {
            return;
        };
        if behind == token {
            *head = NONE;
            self.occupied.clear(slot);
        } else {
            *head = behind;
        }
    }
}

/// One turn of the wheel.
#[allow(clippy::as_conversions, reason = "a constant of five digits")]
const ROUND_MS: u64 = WHEEL_SLOTS as u64;

fn slot(at_ms: u64) -> usize {
    usize::try_from(at_ms % ROUND_MS).unwrap_or(0)
}

fn place(token: u32) -> usize {
    usize::try_from(token).unwrap_or(usize::MAX)
}
