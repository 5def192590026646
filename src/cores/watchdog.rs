//! Whether a core is stuck: the main thread looks at each core's signs of life. Called by the
//! parent only, which ends the process.

use crate::clock::Mono;
use crate::cores::CORE_LOOKS_MAX;
use crate::payment::CoreId;
use crate::server::lifecycle::Lifecycle;

/// Counts how often each core was looked at without a sign of life since the last look. Looks and
/// not seconds, so that a process which was stopped or throttled as a whole is not given up.
pub(super) struct Watchdog {
    seen: Vec<(CoreId, Option<Mono>, u32)>,
}

impl Watchdog {
    pub(super) fn new(lifecycle: &Lifecycle) -> Self {
        Self {
            seen: lifecycle.core_ids().map(|core| (core, None, 0)).collect(),
        }
    }

    /// A core that was silent for too many looks.
    pub(super) fn stuck(&mut self, lifecycle: &Lifecycle) -> Option<CoreId> {
        for (core, seen, looks) in &mut self.seen {
            let beat = lifecycle.last_beat(*core);
            if beat != *seen || lifecycle.has_ended(*core) {
                *seen = beat;
                *looks = 0;
                continue;
            }
            *looks = looks.saturating_add(1);
            if *looks >= CORE_LOOKS_MAX {
                return Some(*core);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_given_up_after_too_many_looks_without_a_beat() {
        let lifecycle = Lifecycle::new(2);
        let mut watch = Watchdog::new(&lifecycle);
        let (well, stuck) = (CoreId(0), CoreId(1));
        lifecycle.beat(stuck, Mono(1));
        let mut looks = 0;
        let found = loop {
            looks += 1;
            lifecycle.beat(well, Mono(looks));
            if let Some(core) = watch.stuck(&lifecycle) {
                break core;
            }
        };
        assert_eq!(found, stuck);
        // The first look saw a beat.
        assert_eq!(looks, u64::from(CORE_LOOKS_MAX) + 1);
    }

    #[test]
    fn a_core_whose_thread_has_ended_is_no_stuck_core() {
        let lifecycle = Lifecycle::new(1);
        let mut watch = Watchdog::new(&lifecycle);
        lifecycle.end(CoreId(0));
        for _ in 0..=CORE_LOOKS_MAX {
            assert_eq!(watch.stuck(&lifecycle), None);
        }
    }
}
