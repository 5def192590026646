//! Where a process stands between start and exit, and whether each core still runs: the one piece
//! of state that the main thread and all cores share besides counters.
//!
//! The main thread moves the phase forward (`cores`); connections read it for `/readyz` and
//! `Connection: close`; each core beats here, so that a stuck core is seen by the others. A stop
//! signal is seen at once through `stop_flag`, even before the main thread has woken up.
//! Never looks at the processors: readiness is about this process alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::clock::Mono;
use crate::pay::Failure;
use crate::payment::CoreId;

/// A core that was not seen for this long makes the process unready. Eight sweeps: a throttled
/// container loses at most one period of 100 ms at a time.
const CORE_SILENCE_MAX: Duration = Duration::from_secs(2);

/// The phases of a process, in order; there is no way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not every core serves yet.
    Starting,
    /// All cores serve.
    Serving,
    /// Asked to stop: listeners are open, answers carry `Connection: close`, `/readyz` is 503.
    Draining,
    /// Listeners empty their queues and close; idle connections close; payments finish.
    Closing,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Starting, Self::Serving, Self::Draining, Self::Closing];

    const fn code(self) -> u8 {
        match self {
            Self::Starting => 0,
            Self::Serving => 1,
            Self::Draining => 2,
            Self::Closing => 3,
        }
    }
}

/// What `/readyz` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// 200.
    Ready,
    /// 503: not every core serves yet.
    Starting,
    /// 503: on the way out.
    Draining,
    /// 503: this core has not run for a while, or its thread has ended.
    CoreStuck(CoreId),
}

/// One core's part. Padded: each core writes its own line only.
#[derive(Debug, Default)]
struct CoreState {
    /// [`Mono`] of the last beat; 0 until the core serves.
    beat_us: AtomicU64,
    /// Open connections of this core.
    connections: AtomicU32,
    /// While closing: nothing is left to do here.
    is_quiet: AtomicBool,
    is_ended: AtomicBool,
}

/// Shared by the main thread and all cores.
#[derive(Debug)]
pub struct Lifecycle {
    phase: AtomicU8,
    /// Set by the signal handler itself.
    stop_flag: Arc<AtomicBool>,
    cores: Box<[CachePadded<CoreState>]>,
    /// What broke that only a new process mends, as [`code`]; 0 while nothing did.
    failure: AtomicU8,
    connections: AtomicUsize,
}

impl Lifecycle {
    /// A process with `cores` cores.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        let mut states = Vec::new();
        states.resize_with(cores, CachePadded::<CoreState>::default);
        Self {
            phase: AtomicU8::new(Phase::Starting.code()),
            stop_flag: Arc::new(AtomicBool::new(false)),
            cores: states.into_boxed_slice(),
            failure: AtomicU8::new(0),
            connections: AtomicUsize::new(0),
        }
    }

    /// The flag that a signal handler sets.
    #[must_use]
    pub fn stop_flag(&self) -> &Arc<AtomicBool> {
        &self.stop_flag
    }

    /// Asks for a stop, as a signal does.
    pub fn ask_to_stop(&self) {
        self.stop_flag.store(true, Ordering::Release);
    }

    /// Asks for a stop, and for an exit status that says why.
    pub fn fail(&self, failure: Failure) {
        // The first one is why.
        let (order, code) = (Ordering::AcqRel, code(failure));
        let _ = (self.failure).compare_exchange(0, code, order, Ordering::Acquire);
        self.ask_to_stop();
    }

    /// Why the stop is a failure, if it is one.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        let found = self.failure.load(Ordering::Acquire);
        let all = [Failure::Broken, Failure::Fenced, Failure::StoreWentBack];
        all.into_iter().find(|one| code(*one) == found)
    }

    /// Whether a stop was asked for.
    #[must_use]
    pub fn is_asked_to_stop(&self) -> bool {
        self.stop_flag.load(Ordering::Acquire)
    }

    /// Where the process stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let code = self.phase.load(Ordering::Acquire);
        let phase = Phase::ALL.into_iter().find(|phase| phase.code() == code);
        let phase = phase.unwrap_or(Phase::Closing);
        if self.is_asked_to_stop() {
            phase.max(Phase::Draining)
        } else {
            phase
        }
    }

    /// Moves forward to `phase`; a step back is ignored.
    pub fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase.code(), Ordering::AcqRel);
    }

    /// Whether answers shall carry `Connection: close`.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.phase() >= Phase::Draining
    }

    /// `core` runs.
    pub fn beat(&self, core: CoreId, now: Mono) {
        if let Some(state) = self.cores.get(core.index()) {
            state.beat_us.store(now.0.max(1), Ordering::Release);
        }
    }

    /// How often `core` has been seen running, as a value that changes with every beat.
    #[must_use]
    pub fn last_beat(&self, core: CoreId) -> Option<Mono> {
        let beat = self
            .cores
            .get(core.index())?
            .beat_us
            .load(Ordering::Acquire);
        (beat != 0).then_some(Mono(beat))
    }

    /// While closing: whether `core` has nothing left to do.
    pub fn tell_quiet(&self, core: CoreId, is_quiet: bool) {
        if let Some(state) = self.cores.get(core.index()) {
            state.is_quiet.store(is_quiet, Ordering::Release);
        }
    }

    /// Whether no core has anything left to do, so that no one can hand anything over any more.
    #[must_use]
    pub fn is_all_quiet(&self) -> bool {
        let is_done = |state: &CachePadded<CoreState>| {
            state.is_quiet.load(Ordering::Acquire) || state.is_ended.load(Ordering::Acquire)
        };
        self.connections() == 0 && self.cores.iter().all(is_done)
    }

    /// `core`'s thread is over, whatever the reason.
    pub fn end(&self, core: CoreId) {
        if let Some(state) = self.cores.get(core.index()) {
            state.is_ended.store(true, Ordering::Release);
        }
    }

    /// Whether `core`'s thread is over.
    #[must_use]
    pub fn has_ended(&self, core: CoreId) -> bool {
        self.cores
            .get(core.index())
            .is_none_or(|state| state.is_ended.load(Ordering::Acquire))
    }

    /// All cores.
    pub fn core_ids(&self) -> impl Iterator<Item = CoreId> + use<> {
        let count = u16::try_from(self.cores.len()).unwrap_or(u16::MAX);
        (0..count).map(CoreId)
    }

    /// Whether traffic should be sent here.
    #[must_use]
    pub fn readiness(&self, now: Mono) -> Readiness {
        match self.phase() {
            Phase::Draining | Phase::Closing => return Readiness::Draining,
            Phase::Starting => return Readiness::Starting,
            Phase::Serving => {}
        }
        let mut stuck = self.core_ids();
        stuck
            .find(|core| self.has_ended(*core) || self.is_silent(*core, now))
            .map_or(Readiness::Ready, Readiness::CoreStuck)
    }

    /// Whether every core has run a moment ago, or has ended in order; also while stopping.
    #[must_use]
    pub fn is_alive(&self, now: Mono) -> bool {
        let mut cores = self.core_ids();
        cores.all(|core| {
            if self.has_ended(core) {
                self.phase() >= Phase::Closing
            } else {
                !self.is_silent(core, now)
            }
        })
    }

    fn is_silent(&self, core: CoreId, now: Mono) -> bool {
        let silence = self.last_beat(core).map(|beat| now.since(beat));
        silence.is_none_or(|span| span > CORE_SILENCE_MAX)
    }

    /// Counts a connection of `core`.
    pub fn admit(&self, core: CoreId) {
        self.connections.fetch_add(1, Ordering::AcqRel);
        if let Some(state) = self.cores.get(core.index()) {
            state.connections.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// It is gone.
    pub fn release(&self, core: CoreId) {
        let before = self.connections.fetch_sub(1, Ordering::AcqRel);
        assert!(before > 0, "I8: every release follows one admit");
        if let Some(state) = self.cores.get(core.index()) {
            state.connections.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Open connections of the process.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// Open connections of `core`.
    #[cfg(test)]
    #[must_use]
    pub fn connections_of(&self, core: CoreId) -> u32 {
        self.cores
            .get(core.index())
            .map_or(0, |state| state.connections.load(Ordering::Acquire))
    }
}

const fn code(failure: Failure) -> u8 {
    match failure {
        Failure::Broken => 1,
        Failure::Fenced => 2,
        Failure::StoreWentBack => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serving(cores: usize) -> Lifecycle {
        let lifecycle = Lifecycle::new(cores);
        lifecycle.advance(Phase::Serving);
        for core in lifecycle.core_ids() {
            lifecycle.beat(core, Mono(1));
        }
        lifecycle
    }

    #[test]
    fn it_is_ready_only_while_it_serves_and_every_core_beats() {
        assert_eq!(Lifecycle::new(1).readiness(Mono(0)), Readiness::Starting);
        let lifecycle = serving(2);
        let late = Mono(2).after(CORE_SILENCE_MAX);
        assert_eq!(lifecycle.readiness(Mono(2)), Readiness::Ready);
        lifecycle.beat(CoreId(0), late);
        assert_eq!(lifecycle.readiness(late), Readiness::CoreStuck(CoreId(1)));
        lifecycle.beat(CoreId(1), late);
        assert_eq!(lifecycle.readiness(late), Readiness::Ready);
        lifecycle.end(CoreId(1));
        assert_eq!(lifecycle.readiness(late), Readiness::CoreStuck(CoreId(1)));
    }

    #[test]
    fn it_is_alive_while_every_core_beats_or_has_ended_in_order() {
        assert!(!Lifecycle::new(1).is_alive(Mono(0)), "no core has begun");
        let lifecycle = serving(2);
        let late = Mono(2).after(CORE_SILENCE_MAX);
        assert!(lifecycle.is_alive(Mono(2)));
        lifecycle.beat(CoreId(0), late);
        assert!(!lifecycle.is_alive(late), "the other one is stuck");
        lifecycle.end(CoreId(1));
        assert!(!lifecycle.is_alive(late), "a core may not end by itself");
        lifecycle.advance(Phase::Closing);
        assert!(lifecycle.is_alive(late));
        lifecycle.beat(CoreId(0), Mono(1));
        assert!(!lifecycle.is_alive(late), "stuck while it stops");
    }

    #[test]
    fn a_stop_is_seen_before_the_main_thread_acts_and_phases_never_go_back() {
        let lifecycle = serving(1);
        assert!(!lifecycle.is_leaving());
        lifecycle.ask_to_stop();
        assert_eq!(lifecycle.phase(), Phase::Draining);
        assert_eq!(lifecycle.readiness(Mono(2)), Readiness::Draining);
        lifecycle.advance(Phase::Closing);
        lifecycle.advance(Phase::Serving);
        assert_eq!(lifecycle.phase(), Phase::Closing);
    }

    #[test]
    fn the_first_failure_is_why_it_stops() {
        let lifecycle = serving(1);
        assert_eq!(lifecycle.failure(), None);
        for failure in [Failure::Fenced, Failure::Broken, Failure::StoreWentBack] {
            lifecycle.fail(failure);
            assert_eq!(lifecycle.failure(), Some(Failure::Fenced));
        }
        assert!(lifecycle.is_asked_to_stop());
    }

    #[test]
    fn connections_are_counted_by_core_and_together() {
        let lifecycle = serving(2);
        lifecycle.admit(CoreId(0));
        lifecycle.admit(CoreId(1));
        lifecycle.release(CoreId(1));
        assert_eq!(
            (lifecycle.connections(), lifecycle.connections_of(CoreId(0))),
            (1, 1)
        );
    }

    #[test]
    fn all_is_quiet_when_no_core_has_work_and_no_connection_is_open() {
        let lifecycle = serving(2);
        lifecycle.tell_quiet(CoreId(0), true);
        assert!(!lifecycle.is_all_quiet());
        lifecycle.end(CoreId(1));
        assert!(lifecycle.is_all_quiet());
        lifecycle.admit(CoreId(0));
        assert!(!lifecycle.is_all_quiet());
    }
}
