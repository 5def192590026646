//! The packed words of the breaker and the pure table of its transitions. Nothing here is shared
//! or atomic: the breaker loads a word, asks [`Word::after`] for the next one and swaps it in.

use std::time::Duration;

use super::{State, ceil_ms};
use crate::clock::Mono;

/// 46 bits of milliseconds last 2,231 years; later moments saturate.
const MS_BITS: u32 = 46;
/// The last moment that fits.
const MS_MAX: u64 = (1 << MS_BITS) - 1;
/// A generation lasts at least an Open of a second in two of three cases, so 65,536 of them take
/// hours, and no attempt lives that long.
const GENERATION_BITS: u32 = 16;
/// State of the breaker, or phase of a permit.
const TAG_BITS: u32 = 2;

const _: () = assert!(
    TAG_BITS + GENERATION_BITS + MS_BITS == u64::BITS,
    "a word is full"
);
const _: () = assert!(State::ALL.len() <= 1 << TAG_BITS, "every state has a tag");

/// What moves a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The window holds too many failures.
    Trip,
    /// Someone asked after the deadline.
    Elapsed,
    /// All probes of this generation succeeded.
    AllPassed,
    /// A probe failed.
    ProbeFailed,
    /// The processor asked for a rest.
    Rest(Duration),
}

/// The breaker's word, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) state: State,
    /// Counts transitions; wraps.
    pub(super) generation: u16,
    /// When Open ends; zero otherwise.
    pub(super) deadline_ms: u64,
}

impl Word {
    pub(super) const START: Self = Self {
        state: State::Closed,
        generation: 0,
        deadline_ms: 0,
    };

    pub(super) fn pack(self) -> u64 {
        pack(
            u64::from(self.state.gauge()),
            self.generation,
            self.deadline_ms,
        )
    }

    pub(super) fn unpack(word: u64) -> Self {
        let (tag, generation, deadline_ms) = unpack(word);
        let state = match tag {
            0 => State::Closed,
            1 => State::Open,
            _ => State::HalfOpen,
        };
        Self {
            state,
            generation,
            deadline_ms,
        }
    }

    /// The table of transitions. Nothing: this event changes nothing in this state.
    pub(super) fn after(self, event: Event, now: Mono, open: Duration) -> Option<Self> {
        let open_until = |span: Duration| ceil_ms(now.after(span)).min(MS_MAX);
        let to = |state: State, deadline_ms: u64| {
            Some(Self {
                state,
                generation: self.generation.wrapping_add(1),
                deadline_ms,
            })
        };
        match (self.state, event) {
            (State::Closed, Event::Trip) | (State::HalfOpen, Event::ProbeFailed) => {
                to(State::Open, open_until(open))
            }
            (State::Closed | State::HalfOpen, Event::Rest(span)) => {
                to(State::Open, open_until(span))
            }
            (State::Open, Event::Rest(span)) => {
                let deadline_ms = self.deadline_ms.max(open_until(span));
                (deadline_ms != self.deadline_ms).then_some(Self {
                    deadline_ms,
                    ..self
                })
            }
            (State::Open, Event::Elapsed) if self.deadline_ms <= now.0 / 1_000 => {
                to(State::HalfOpen, 0)
            }
            (State::HalfOpen, Event::AllPassed) => to(State::Closed, 0),
            // A probe's or a window's result of another state, or a clock that was not there yet.
            (State::Closed, Event::Elapsed | Event::AllPassed | Event::ProbeFailed)
            | (State::Open, Event::Trip | Event::Elapsed | Event::AllPassed | Event::ProbeFailed)
            | (State::HalfOpen, Event::Trip | Event::Elapsed) => None,
        }
    }
}

/// Where one probe permit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Given back unused.
    Free,
    /// A probe is on its way.
    Held,
    /// Its probe succeeded.
    Passed,
}

/// One probe permit's word, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) phase: Phase,
    /// Which generation granted it; in any other one it is free.
    pub(super) generation: u16,
    /// When its last holder loses it; stays after that holder settled, to know it by.
    pub(super) expiry_ms: u64,
}

impl Probe {
    pub(super) fn pack(self) -> u64 {
        let tag = match self.phase {
            Phase::Free => 0,
            Phase::Held => 1,
            Phase::Passed => 2,
        };
        pack(tag, self.generation, self.expiry_ms)
    }

    pub(super) fn unpack(word: u64) -> Self {
        let (tag, generation, expiry_ms) = unpack(word);
        let phase = match tag {
            0 => Phase::Free,
            1 => Phase::Held,
            _ => Phase::Passed,
        };
        Self {
            phase,
            generation,
            expiry_ms,
        }
    }

    pub(super) fn is_free(self, generation: u16, now_ms: u64) -> bool {
        let is_over = match self.phase {
            Phase::Free => true,
            Phase::Held => self.expiry_ms <= now_ms,
            Phase::Passed => false,
        };
        is_over || self.generation != generation
    }
}

fn pack(tag: u64, generation: u16, ms: u64) -> u64 {
    tag << (GENERATION_BITS + MS_BITS) | u64::from(generation) << MS_BITS | ms.min(MS_MAX)
}

fn unpack(word: u64) -> (u64, u16, u64) {
    let generation = (word >> MS_BITS) & u64::from(u16::MAX);
    let tag = word >> (GENERATION_BITS + MS_BITS);
    (tag, u16::try_from(generation).unwrap_or(0), word & MS_MAX)
}
