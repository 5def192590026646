//! The circuit breaker of one processor, shared by all cores through an `Arc`.
//!
//! Decides whether an attempt may go to its processor: always while Closed, never while Open, and
//! while HalfOpen only with one of a few probe permits. The owners ask for permits and record how
//! attempts ended; the metrics read states and transitions. It reads no clock, takes no lock, and
//! knows neither payments nor what an HTTP status means (`flow` judges that, I3).
//!
//! One atomic word holds state, generation and deadline, so that every transition is one
//! compare-and-swap. Each probe permit is a word of its own beside it, because each has its own
//! expiry and its own holder; a permit word carries the generation that granted it, so a
//! transition voids all permits of the generation before without touching them. The `counts`
//! ring carries the generation too. Whatever a late result of an older generation says, nothing
//! changes. Bounds (I8): [`limits::BREAKER_PROBES_MAX`] permits and ten buckets, no allocation
//! after the start.

mod counts;
mod terms;
mod word;

#[cfg(all(test, loom))]
mod interleavings;
#[cfg(test)]
mod stress;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod turns;

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use crossbeam_utils::CachePadded;

pub use self::terms::{BreakerSettings, Kind, Permit, State, Verdict};
pub(crate) use self::terms::{Ticket, Transition};

use self::counts::Counts;
use self::word::{Event, Phase, Probe, Word};
use crate::atomics::{AtomicU32, AtomicU64};
use crate::clock::Mono;
use crate::limits;

/// Longest rest that a processor's Retry-After may ask for.
const REST_MAX: Duration = Duration::from_secs(60);
/// While HalfOpen, a payment without a permit asks again after this: any core's result may have
/// moved the breaker. Shorter burns turns, longer lets payments wait although the processor works.
const BREAKER_ASK_AGAIN: Duration = Duration::from_millis(20);
/// How long after one asked, payments that were never sent to a processor are believed to go on
/// coming: at one payment a second they still get its probes before pinned ones take them all. So
/// long do pinned payments alone wait for the second permit of a round.
const BREAKER_FRESH_HOPE: Duration = Duration::from_secs(1);

/// No HalfOpen round: beyond every generation.
const NO_ROUND: u32 = u32::MAX;
/// From one HalfOpen round to the next one but one: each goes by way of Open.
const TWO_ROUNDS: u16 = 4;

/// See the head of this file.
#[derive(Debug)]
pub struct Breaker {
    /// As it was made.
    settings: BreakerSettings,
    /// What of it an operator may change.
    failure_per_mille: AtomicU32,
    min_samples: AtomicU32,
    open_ms: AtomicU64,
    /// Read for every attempt, written by transitions only: no other data shares its line.
    word: CachePadded<AtomicU64>,
    /// Written for every result of a Closed breaker.
    counts: CachePadded<Counts>,
    /// One word for each of `settings.probes` permits. Cold but for the moments of HalfOpen.
    probes: Box<[AtomicU64]>,
    /// Until when (ms) Fresh leaves one permit to a pinned payment that was refused. It passes by
    /// itself, so a pinned payment that vanishes blocks no other.
    pinned_hope_ms: CachePadded<AtomicU64>,
    /// Until when (ms) a payment that was never sent there is believed to wait: pinned ones then
    /// share the permits with it.
    fresh_hope_ms: CachePadded<AtomicU64>,
    /// The generation of the last HalfOpen round in which a pinned payment got its permit while
    /// fresh ones waited; [`NO_ROUND`] before the first.
    pinned_round: CachePadded<AtomicU32>,
    /// When (ms) the state changed last.
    changed_ms: AtomicU64,
    /// In the order of [`Transition::ALL`].
    transitions: [AtomicU64; Transition::ALL.len()],
}

impl Breaker {
    /// A Closed breaker.
    #[must_use]
    pub fn new(settings: BreakerSettings) -> Self {
        let probes = settings.probes.clamp(1, limits::BREAKER_PROBES_MAX);
        Self {
            settings: BreakerSettings { probes, ..settings },
            failure_per_mille: AtomicU32::new(u32::from(settings.failure_per_mille.max(1))),
            min_samples: AtomicU32::new(settings.min_samples.max(1)),
            open_ms: AtomicU64::new(ceil_ms(Mono::default().after(settings.open))),
            word: CachePadded::new(AtomicU64::new(Word::START.pack())),
            counts: CachePadded::new(Counts::new(settings.window)),
            probes: (0..probes).map(|_| AtomicU64::new(0)).collect(),
            pinned_hope_ms: CachePadded::new(AtomicU64::new(0)),
            fresh_hope_ms: CachePadded::new(AtomicU64::new(0)),
            pinned_round: CachePadded::new(AtomicU32::new(NO_ROUND)),
            changed_ms: AtomicU64::new(0),
            transitions: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Opens at this share of failures from now on, 1 to 1,000 of 1,000.
    pub fn set_failure_rate(&self, per_mille: u32) {
        self.failure_per_mille.store(per_mille.max(1), Relaxed);
    }

    /// Opens on no fewer attempts from now on.
    pub fn set_min_samples(&self, samples: u32) {
        self.min_samples.store(samples.max(1), Relaxed);
    }

    /// Stays Open for so long from now on; an Open that has begun keeps its end.
    pub fn set_open(&self, span: Duration) {
        let span = ceil_ms(Mono::default().after(span));
        self.open_ms.store(span, Relaxed);
    }

    /// Asks for the right to make one attempt. The first question after the end of Open makes the
    /// breaker HalfOpen.
    pub fn permit(&self, now: Mono, kind: Kind) -> (Permit, Option<Transition>) {
        let mut transition = None;
        loop {
            let word = self.load();
            match word.state {
                State::Closed => {
                    let ticket = Ticket {
                        generation: word.generation,
                        probe: Ticket::NO_PROBE,
                        expiry_ms: 0,
                    };
                    return (Permit::Granted(ticket), transition);
                }
                State::Open if now_ms(now) < word.deadline_ms => {
                    let until = Mono(word.deadline_ms.saturating_mul(1_000));
                    self.hope_for(kind, until);
                    return (Permit::Refused { until }, transition);
                }
                State::Open => {
                    // The new round is fresh payments' at first: those that had another processor
                    // to go to did not ask meanwhile.
                    self.hope_for(Kind::Fresh, now);
                    transition = self
                        .advance(word.generation, Event::Elapsed, now)
                        .or(transition);
                }
                State::HalfOpen => {
                    if let Some(permit) = self.probe_permit(word, now, kind) {
                        return (permit, transition);
                    }
                }
            }
        }
    }

    /// Tells how the attempt of `ticket` ended.
    pub fn record(&self, ticket: Ticket, verdict: Verdict, now: Mono) -> Option<Transition> {
        let word = self.load();
        if word.generation != ticket.generation {
            return None;
        }
        if ticket.is_probe() {
            return self.record_probe(ticket, verdict, now);
        }
        let failed = match verdict {
            Verdict::Success => false,
            Verdict::Failure => true,
            Verdict::Neither => return None,
        };
        self.counts.add(ticket.generation, failed, now);
        if !self.counts.has_failures() {
            return None;
        }
        let (successes, failures) = self.counts.sum(ticket.generation, now);
        self.must_trip(successes, failures)
            .then(|| self.advance(ticket.generation, Event::Trip, now))
            .flatten()
    }

    /// Takes back a ticket whose attempt was not made, or says nothing.
    #[cfg(test)]
    pub fn give_back(&self, ticket: Ticket, now: Mono) {
        let none = self.record(ticket, Verdict::Neither, now);
        debug_assert!(
            none.is_none(),
            "an attempt that was not made moves no breaker"
        );
    }

    /// A 429 with Retry-After, heard by an attempt of `generation`: the processor rests for
    /// `span`, at most `REST_MAX`, whatever the counts say. Never shortens an Open that
    /// lasts longer; a zero span is no rest, and what an older generation hears changes nothing.
    pub fn rest(&self, generation: u16, span: Duration, now: Mono) -> Option<Transition> {
        if span.is_zero() {
            return None;
        }
        let span = span.min(REST_MAX);
        loop {
            let word = self.load();
            if word.generation != generation {
                return None;
            }
            let next = word.after(Event::Rest(span), now, self.open())?;
            if self.swap(word, next) {
                return self.note(word, next, now);
            }
        }
    }

    /// The state as it governs the next question: an Open whose time is over reads HalfOpen.
    #[must_use]
    pub fn state(&self, now: Mono) -> State {
        let word = self.load();
        match word.state {
            State::Open if word.deadline_ms <= now_ms(now) => State::HalfOpen,
            State::Closed | State::Open | State::HalfOpen => word.state,
        }
    }

    /// Since when it is in the state that [`Self::state`] tells.
    #[must_use]
    pub fn since(&self, now: Mono) -> Mono {
        let word = self.load();
        let ms = match word.state {
            State::Open if word.deadline_ms <= now_ms(now) => word.deadline_ms,
            State::Closed | State::Open | State::HalfOpen => self.changed_ms.load(SeqCst),
        };
        Mono(ms.saturating_mul(1_000))
    }

    /// How many probe permits are free. Closed knows no bound: `u32::MAX`.
    #[cfg(test)]
    #[must_use]
    pub fn probes_free(&self, now: Mono) -> u32 {
        let word = self.load();
        match (word.state, self.state(now)) {
            (State::Closed, _) => u32::MAX,
            (State::Open, State::HalfOpen) => self.settings.probes,
            (State::Open, State::Closed | State::Open) => 0,
            (State::HalfOpen, _) => self.free_in(word.generation, now_ms(now)),
        }
    }

    /// Counts transitions, whatever the state; wraps. A ticket of another generation is void.
    #[must_use]
    pub fn generation(&self) -> u16 {
        self.load().generation
    }

    /// Successes and failures in the window of the present Closed generation.
    #[cfg(test)]
    #[must_use]
    pub fn counted(&self, now: Mono) -> (u64, u64) {
        self.counts.sum(self.load().generation, now)
    }

    /// How often each transition has happened.
    #[must_use]
    pub fn transitions(&self) -> [(Transition, u64); Transition::ALL.len()] {
        let mut all = Transition::ALL.map(|transition| (transition, 0));
        for ((_, count), counter) in all.iter_mut().zip(&self.transitions) {
            *count = counter.load(SeqCst);
        }
        all
    }

    fn must_trip(&self, successes: u64, failures: u64) -> bool {
        let samples = successes + failures;
        samples >= u64::from(self.min_samples.load(Relaxed))
            && failures * 1_000 >= samples * u64::from(self.failure_per_mille.load(Relaxed))
    }

    fn open(&self) -> Duration {
        Duration::from_millis(self.open_ms.load(Relaxed))
    }

    fn load(&self) -> Word {
        Word::unpack(self.word.load(SeqCst))
    }

    fn swap(&self, from: Word, to: Word) -> bool {
        self.word
            .compare_exchange(from.pack(), to.pack(), SeqCst, SeqCst)
            .is_ok()
    }

    /// Applies `event` if the breaker is still in `generation`.
    fn advance(&self, generation: u16, event: Event, now: Mono) -> Option<Transition> {
        loop {
            let word = self.load();
            if word.generation != generation {
                return None;
            }
            let next = word.after(event, now, self.open())?;
            if self.swap(word, next) {
                return self.note(word, next, now);
            }
        }
    }

    fn note(&self, from: Word, to: Word, now: Mono) -> Option<Transition> {
        if from.state == to.state {
            return None;
        }
        let transition = Transition {
            from: from.state,
            to: to.state,
        };
        let index = Transition::ALL
            .iter()
            .position(|known| *known == transition);
        assert!(
            index.is_some(),
            "the table of transitions knows every one that `after` makes"
        );
        self.changed_ms.store(now_ms(now), SeqCst);
        if let Some(counter) = index.and_then(|index| self.transitions.get(index)) {
            counter.fetch_add(1, SeqCst);
        }
        Some(transition)
    }

    fn free_in(&self, generation: u16, now_ms: u64) -> u32 {
        let is_free =
            |permit: &&AtomicU64| Probe::unpack(permit.load(SeqCst)).is_free(generation, now_ms);
        u32::try_from(self.probes.iter().filter(is_free).count()).unwrap_or(u32::MAX)
    }

    /// One try for a permit of the HalfOpen `word`; nothing when the word moved on meanwhile.
    fn probe_permit(&self, word: Word, now: Mono, kind: Kind) -> Option<Permit> {
        let now_ms = now_ms(now);
        let spare = match kind {
            Kind::Pinned => 0,
            Kind::Fresh => {
                self.hope_for(Kind::Fresh, now);
                let is_awaited = now_ms < self.pinned_hope_ms.load(SeqCst);
                u32::from(is_awaited && self.pinned_turn(word.generation).is_some())
            }
        };
        if self.free_in(word.generation, now_ms) > spare && self.may_probe(kind, word, now_ms) {
            for (place, permit) in (0_u8..).zip(self.probes.iter()) {
                let seen = permit.load(SeqCst);
                if !Probe::unpack(seen).is_free(word.generation, now_ms) {
                    continue;
                }
                // "Another generation" may be a newer one when this thread slept. Its holder saw
                // the newer word, so after reading the permit we would see that word too.
                if self.load() != word {
                    return None;
                }
                let expiry_ms = ceil_ms(now.after(self.settings.probe_ttl)).max(now_ms + 1);
                let held = Probe {
                    generation: word.generation,
                    phase: Phase::Held,
                    expiry_ms,
                };
                if permit
                    .compare_exchange(seen, held.pack(), SeqCst, SeqCst)
                    .is_ok()
                {
                    let generation = word.generation;
                    return Some(Permit::Granted(Ticket {
                        generation,
                        probe: place,
                        expiry_ms,
                    }));
                }
            }
        }
        if self.load() != word {
            return None;
        }
        // Another core's record may free or end this at any moment: ask again soon.
        let until = now.after(BREAKER_ASK_AGAIN);
        self.hope_for(kind, until);
        Some(Permit::Refused { until })
    }

    /// A payment asks, or was told to come back, at `until`: until a little later it counts.
    fn hope_for(&self, kind: Kind, until: Mono) {
        let (hope_ms, span) = match kind {
            Kind::Pinned => (&self.pinned_hope_ms, BREAKER_ASK_AGAIN),
            Kind::Fresh => (&self.fresh_hope_ms, BREAKER_FRESH_HOPE),
        };
        let hoped_ms = ceil_ms(until.after(span));
        if hope_ms.load(SeqCst) < hoped_ms {
            hope_ms.fetch_max(hoped_ms, SeqCst);
        }
    }

    /// Whether `kind` may take a free permit of `word`. While payments wait that were never sent
    /// there, pinned ones get one permit in two rounds: a few ids that the processor never answers
    /// would else take every permit of every round.
    fn may_probe(&self, kind: Kind, word: Word, now_ms: u64) -> bool {
        if kind == Kind::Fresh || self.fresh_hope_ms.load(SeqCst) <= now_ms {
            return true;
        }
        self.pinned_turn(word.generation).is_some_and(|last| {
            let this = u32::from(word.generation);
            self.pinned_round
                .compare_exchange(last, this, SeqCst, SeqCst)
                .is_ok()
        })
    }

    /// The round that a pinned payment would follow, if a permit of `generation` is its turn.
    fn pinned_turn(&self, generation: u16) -> Option<u32> {
        let last = self.pinned_round.load(SeqCst);
        let is_turn =
            u16::try_from(last).map_or(true, |last| generation.wrapping_sub(last) >= TWO_ROUNDS);
        is_turn.then_some(last)
    }

    fn record_probe(&self, ticket: Ticket, verdict: Verdict, now: Mono) -> Option<Transition> {
        let Ticket {
            generation,
            probe,
            expiry_ms,
        } = ticket;
        let permit = self.probes.get(usize::from(probe))?;
        let held = Probe {
            generation,
            phase: Phase::Held,
            expiry_ms,
        };
        let settle = |phase: Phase| {
            let settled = Probe { phase, ..held };
            permit
                .compare_exchange(held.pack(), settled.pack(), SeqCst, SeqCst)
                .is_ok()
        };
        match verdict {
            Verdict::Neither => {
                settle(Phase::Free);
                None
            }
            Verdict::Success => {
                let all_passed = settle(Phase::Passed)
                    && self.probes.iter().all(|permit| {
                        let probe = Probe::unpack(permit.load(SeqCst));
                        probe.generation == generation && probe.phase == Phase::Passed
                    });
                all_passed
                    .then(|| self.advance(generation, Event::AllPassed, now))
                    .flatten()
            }
            Verdict::Failure => {
                // A permit that expired and went to another holder: this late failure still counts.
                // Settled or given back before: this ticket has spoken.
                let seen = Probe::unpack(permit.load(SeqCst));
                let ttl_ms = u64::try_from(self.settings.probe_ttl.as_millis()).unwrap_or(u64::MAX);
                let is_settled = if seen.expiry_ms == expiry_ms {
                    seen.phase != Phase::Held
                } else {
                    seen.expiry_ms < expiry_ms.saturating_add(ttl_ms)
                };
                (!is_settled)
                    .then(|| self.advance(generation, Event::ProbeFailed, now))
                    .flatten()
            }
        }
    }
}

/// Whole milliseconds, rounded down: a deadline is never believed to be over too early.
const fn now_ms(now: Mono) -> u64 {
    now.0 / 1_000
}

/// Whole milliseconds, rounded up.
const fn ceil_ms(at: Mono) -> u64 {
    at.0.div_ceil(1_000)
}
