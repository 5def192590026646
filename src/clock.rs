//! Time, as values. Every room below the driver is told the time; only [`Clock`] reads it.
//!
//! Four axes, because four questions differ:
//! - [`Mono`]: how long has it been? Deadlines, windows, TTLs. Never steps back.
//! - `run`: the same, less the time in which this core did not run. A container that throttles a
//!   core must not make its processors look slow, so attempts are timed on this axis.
//! - [`Boot`]: how old is what another process was told? Leases of the store.
//! - [`UnixMillis`]: what date is it? Only `requestedAt` and `Date` use it; a step back of wall
//!   time breaks nothing.

use std::cell::Cell;
use std::time::Duration;

/// A wake-up that comes this much late means that the core did not run (throttled or descheduled).
/// Below it lies ordinary scheduling noise.
const STALL_MIN: Duration = Duration::from_millis(5);

/// Microseconds of the monotonic clock since the process began; the same axis on every core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// The moment `span` later; saturates instead of wrapping.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z, as `requestedAt` carries them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The moment `span` earlier; saturates instead of wrapping.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(span))
    }
}

/// Microseconds of CLOCK_BOOTTIME, which runs on while the machine sleeps and is the same in every
/// process: leases are measured on it, since the others go on meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boot(pub u64);

impl Boot {
    /// Reads it.
    #[must_use]
    pub fn now() -> Self {
        Self(read_micros(libc::CLOCK_BOOTTIME))
    }

    /// The moment `span` later; saturates instead of wrapping.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// The moment from which a process counts, in microseconds of CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug)]
pub struct Start(u64);

/// One reading of every axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock.
    pub mono: Mono,
    /// The monotonic clock less the gaps in which this core did not run.
    pub run: Mono,
    /// The wall clock.
    pub wall: UnixMillis,
    /// The clock of leases; zero where the store is not used.
    pub boot: Boot,
}

/// The real clock of one core. Not `Sync`: each core notices its own gaps.
#[derive(Debug)]
pub struct Clock {
    start: Start,
    stalled_us: Cell<u64>,
    latest: Cell<Now>,
    has_leases: bool,
}

impl Clock {
    /// A clock that counts from `start`, which all cores of a process share.
    #[must_use]
    pub fn new(start: Start) -> Self {
        Self {
            start,
            stalled_us: Cell::new(0),
            latest: Cell::default(),
            has_leases: false,
        }
    }

    /// The same, and it reads the clock of leases too.
    #[must_use]
    pub fn with_leases(self) -> Self {
        Self {
            has_leases: true,
            ..self
        }
    }

    /// The present moment of the process: the `start` that every core's clock shares.
    #[must_use]
    pub fn process_start() -> Start {
        Start(read_micros(libc::CLOCK_MONOTONIC))
    }

    /// Reads every axis.
    #[must_use]
    pub fn now(&self) -> Now {
        let us = read_micros(libc::CLOCK_MONOTONIC).saturating_sub(self.start.0);
        let wall_ms = read_micros(libc::CLOCK_REALTIME) / 1_000;
        let now = Now {
            mono: Mono(us),
            run: Mono(us.saturating_sub(self.stalled_us.get())),
            wall: UnixMillis(i64::try_from(wall_ms).unwrap_or(i64::MAX)),
            boot: if self.has_leases {
                Boot::now()
            } else {
                Boot::default()
            },
        };
        self.latest.set(now);
        now
    }

    /// The last reading. A reading costs as much as a claim, so what follows from an event in the
    /// same turn takes the one that the event was told with.
    #[must_use]
    pub fn latest(&self) -> Now {
        self.latest.get()
    }

    /// Tells the clock that a wake-up planned for `due` came at `woken`. A delay beyond
    /// `STALL_MIN` is time in which this core did not run; it is taken off the run axis
    /// and returned.
    pub fn note_wake(&self, due: Mono, woken: Mono) -> Duration {
        let late = woken.since(due);
        if late < STALL_MIN {
            return Duration::ZERO;
        }
        self.stalled_us
            .set(self.stalled_us.get().saturating_add(micros(late)));
        late
    }
}

/// One of the kernel's clocks. What `Instant` and `SystemTime` do beside this costs as much again,
/// at every event.
#[allow(
    unsafe_code,
    reason = "the standard library has no name for one of these clocks"
)]
fn read_micros(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec, and `time` is one.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    // Neither is negative but for a date before 1970.
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds
        .saturating_mul(1_000_000)
        .saturating_add(nanos / 1_000)
}

fn micros(span: Duration) -> u64 {
    span.as_secs()
        .saturating_mul(1_000_000)
        .saturating_add(u64::from(span.subsec_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_leases_runs() {
        let before = Boot::now();
        assert!(before > Boot::default() && Boot::now() >= before);
        let later = before.after(Duration::from_secs(3));
        assert_eq!(later.since(before), Duration::from_secs(3));
        assert_eq!(before.since(later), Duration::ZERO);
    }

    #[test]
    fn a_late_wake_is_taken_off_the_run_axis_only() {
        let clock = Clock::new(Clock::process_start());
        assert_eq!(clock.note_wake(Mono(1_000), Mono(3_000)), Duration::ZERO);
        assert_eq!(
            clock.note_wake(Mono(1_000), Mono(51_000)),
            Duration::from_millis(50)
        );
        let now = clock.now();
        assert_eq!(now.run.0, now.mono.0.saturating_sub(50_000));
        assert_eq!(clock.latest(), now);
    }
}
