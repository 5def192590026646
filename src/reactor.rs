//! The event loop of one core: which kernel interface it stands on, and how it is set up.
//!
//! The ring's setup decides what a request costs (measured on Linux 6.18, CPU microseconds per
//! relayed request: default ring 25.2, epoll 19.8, coop_taskrun + single_issuer 20.0, with
//! defer_taskrun 17.8), so the cheap setup is tried first and each refusal falls back one step:
//! fewer entries when RLIMIT_MEMLOCK refuses, fewer flags on an older kernel, then epoll.
//!
//! Called by `cores`, once per core thread. Never decides for a core alone: all cores of a process
//! run the same driver, because listening sockets that they share must be blocking for io_uring
//! and non-blocking for epoll. Never drops a runtime: operations may still be in flight, and what
//! they point to must stay (the kernel would write into freed memory).

use std::fmt;
use std::future::Future;
use std::io;

use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, Runtime, RuntimeBuilder};

/// Entries of a core's submission queue. One wait submits all that was queued since the last, so a
/// queue of 1,024 holds what 1,024 connections want in one turn; a full queue is flushed early,
/// not refused. 1,024 entries fit in 512 KiB of locked memory (Linux 6.18).
const RING_ENTRIES_MAX: u32 = 1_024;
/// The smallest ring that is tried under a tight RLIMIT_MEMLOCK; monoio takes no smaller one.
const RING_ENTRIES_MIN: u32 = 256;

/// How a ring is set up, most expensive promise first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingSetup {
    /// `coop_taskrun` + `single_issuer` + `defer_taskrun` (Linux 6.1).
    Deferred,
    /// `coop_taskrun` + `single_issuer` (Linux 6.0).
    Cooperative,
    /// No flags.
    Plain,
}

impl RingSetup {
    const ALL: [Self; 3] = [Self::Deferred, Self::Cooperative, Self::Plain];

    fn builder(self) -> io_uring::Builder {
        let mut builder = io_uring::IoUring::builder();
        match self {
            Self::Deferred => {
                builder
                    .setup_coop_taskrun()
                    .setup_single_issuer()
                    .setup_defer_taskrun();
            }
            Self::Cooperative => {
                builder.setup_coop_taskrun().setup_single_issuer();
            }
            Self::Plain => {}
        }
        builder
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Deferred => "coop_taskrun, single_issuer, defer_taskrun",
            Self::Cooperative => "coop_taskrun, single_issuer",
            Self::Plain => "no flags",
        }
    }
}

/// What a reactor stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Completions from a ring.
    IoUring {
        /// Entries of its submission queue.
        entries: u32,
        /// Its flags.
        setup: RingSetup,
    },
    /// Readiness from epoll.
    Epoll,
}

impl Driver {
    /// Its name in the log's and the metric's label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::IoUring { .. } => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IoUring { entries, setup } => {
                write!(f, "io_uring ({entries} entries, {})", setup.name())
            }
            Self::Epoll => f.write_str("epoll"),
        }
    }
}

enum Loop {
    IoUring(Runtime<TimeDriver<IoUringDriver>>),
    Epoll(Runtime<TimeDriver<LegacyDriver>>),
}

/// One core's event loop. It belongs to the thread that built it.
pub struct Reactor {
    inner: Loop,
    driver: Driver,
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("driver", &self.driver)
            .finish_non_exhaustive()
    }
}

impl Reactor {
    /// The best reactor that this kernel grants: io_uring, else epoll.
    /// `MONOIO_FORCE_LEGACY_DRIVER=1` asks for epoll at once.
    ///
    /// # Errors
    /// What refused epoll too.
    pub fn best() -> io::Result<Self> {
        // Also false when `MONOIO_FORCE_LEGACY_DRIVER` says so, or an operation is missing.
        if !monoio::utils::detect_uring() {
            return Self::epoll();
        }
        Self::ring().or_else(|fault| {
            log::warn!("io_uring is there but refused every ring: {fault}; falling back to epoll");
            Self::epoll()
        })
    }

    /// A reactor on epoll.
    ///
    /// # Errors
    /// What `epoll_create` or `eventfd` said.
    pub fn epoll() -> io::Result<Self> {
        let runtime = RuntimeBuilder::<LegacyDriver>::new()
            .with_entries(RING_ENTRIES_MAX)
            .enable_timer()
            .build()?;
        Ok(Self {
            inner: Loop::Epoll(runtime),
            driver: Driver::Epoll,
        })
    }

    /// The cheapest ring that the kernel grants.
    fn ring() -> io::Result<Self> {
        let mut last_fault = None;
        for setup in RingSetup::ALL {
            let mut entries = RING_ENTRIES_MAX;
            while entries >= RING_ENTRIES_MIN {
                let built = RuntimeBuilder::<IoUringDriver>::new()
                    .with_entries(entries)
                    .uring_builder(setup.builder())
                    .enable_timer()
                    .build();
                match built {
                    Ok(runtime) => {
                        let driver = Driver::IoUring { entries, setup };
                        return Ok(Self {
                            inner: Loop::IoUring(runtime),
                            driver,
                        });
                    }
                    // An unknown flag: no number of entries helps.
                    Err(fault) if fault.raw_os_error() == Some(libc::EINVAL) => {
                        last_fault = Some(fault);
                        break;
                    }
                    Err(fault) => last_fault = Some(fault),
                }
                entries /= 2;
            }
        }
        Err(last_fault.unwrap_or_else(|| io::ErrorKind::Unsupported.into()))
    }

    /// What it stands on.
    #[must_use]
    pub const fn driver(&self) -> Driver {
        self.driver
    }

    /// Runs `future` to its end on this thread. What else was spawned stops where it stands, and
    /// its memory is kept: the kernel may still own parts of it.
    pub fn run<F: Future>(self, future: F) -> F::Output {
        match self.inner {
            Loop::IoUring(mut runtime) => {
                let output = runtime.block_on(future);
                std::mem::forget(runtime);
                output
            }
            Loop::Epoll(mut runtime) => {
                let output = runtime.block_on(future);
                std::mem::forget(runtime);
                output
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sleep_on(reactor: Reactor) -> u32 {
        reactor.run(async {
            monoio::time::sleep(Duration::from_millis(1)).await;
            7
        })
    }

    #[test]
    fn the_best_reactor_and_epoll_both_run_timers() {
        assert_eq!(sleep_on(Reactor::best().unwrap()), 7);
        let epoll = Reactor::epoll().unwrap();
        assert_eq!(epoll.driver().name(), "epoll");
        assert_eq!(sleep_on(epoll), 7);
    }

    #[test]
    fn where_io_uring_is_allowed_the_cheap_setup_comes_first() {
        if let Driver::IoUring { entries, .. } = Reactor::best().unwrap().driver() {
            assert!(entries >= RING_ENTRIES_MIN, "{entries}");
            assert!(entries <= RING_ENTRIES_MAX, "{entries}");
        }
    }
}
