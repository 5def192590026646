//! The threads of the cores from their first instruction to the last: pinned, named, agreed on one
//! driver. Called by the parent only; what happens on a core between is `server`'s matter.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use super::StartFault;
use crate::clock::{Clock, Start};
use crate::config::DriverChoice;
use crate::pay::{CoreBuilder, Failure, Setup};
use crate::payment::CoreId;
use crate::reactor::{Driver, Reactor};
use crate::server::lifecycle::Phase;
use crate::server::listen::{Bound, Listener};
use crate::server::{Common, Core, CoreEnd};

/// What a core thread says while it starts.
enum Word {
    /// It has this reactor.
    Has(Driver),
    /// It serves.
    Serves,
    /// It cannot.
    Fails(StartFault),
}

/// A core thread as long as it starts.
struct Starting {
    core: CoreId,
    thread: JoinHandle<CoreEnd>,
    words: Receiver<Word>,
    verdict: Sender<Verdict>,
}

/// What the cores run on together.
#[derive(Clone, Copy)]
enum Verdict {
    AsBuilt,
    Epoll,
}

pub(super) type Started = (Vec<(CoreId, JoinHandle<CoreEnd>)>, Driver);

/// Starts the threads, has them agree on one driver, and waits until all serve. A listening socket
/// that several cores share is blocking on io_uring and non-blocking on epoll, hence one driver.
pub(super) fn start_threads(
    setup: &Setup,
    builders: Vec<CoreBuilder>,
    bound: Bound,
    common: &Common,
) -> Result<Started, StartFault> {
    let mut starting = Vec::new();
    for (builder, listeners) in builders.into_iter().zip(bound.per_core) {
        starting.push(start_thread(setup, builder, listeners, common).map_err(StartFault::Kernel)?);
    }
    let mut drivers = Vec::new();
    for core in &starting {
        drivers.push(core.driver()?);
    }
    let is_mixed = drivers.iter().any(|driver| driver.name() != "io_uring");
    let verdict = if is_mixed {
        Verdict::Epoll
    } else {
        Verdict::AsBuilt
    };
    for core in &starting {
        // A thread that is gone says so below.
        let _is_heard = core.verdict.send(verdict).is_ok();
    }
    let fault = starting.iter().find_map(|core| core.serves().err());
    let threads: Vec<_> = starting
        .into_iter()
        .map(|core| (core.core, core.thread))
        .collect();
    if let Some(fault) = fault {
        common.lifecycle.advance(Phase::Closing);
        for (core, thread) in threads {
            let end = thread.join();
            log::debug!("core {} ended before it served: {end:?}", core.0);
        }
        return Err(fault);
    }
    common.lifecycle.advance(Phase::Serving);
    let driver = match verdict {
        Verdict::Epoll => Driver::Epoll,
        Verdict::AsBuilt => drivers.first().copied().unwrap_or(Driver::Epoll),
    };
    Ok((threads, driver))
}

impl Starting {
    fn driver(&self) -> Result<Driver, StartFault> {
        match self.words.recv() {
            Ok(Word::Has(driver)) => Ok(driver),
            Ok(Word::Fails(fault)) => Err(fault),
            Ok(Word::Serves) | Err(_) => Err(gone()),
        }
    }

    fn serves(&self) -> Result<(), StartFault> {
        match self.words.recv() {
            Ok(Word::Serves) => Ok(()),
            Ok(Word::Fails(fault)) => Err(fault),
            Ok(Word::Has(_)) | Err(_) => Err(gone()),
        }
    }
}

fn gone() -> StartFault {
    StartFault::Kernel(io::Error::other("a core's thread ended while it started"))
}

fn start_thread(
    setup: &Setup,
    builder: CoreBuilder,
    listeners: Vec<Listener>,
    common: &Common,
) -> io::Result<Starting> {
    let core = builder.core();
    let (say, words) = channel();
    let (verdict, hear) = channel();
    let common = common.clone();
    let choice = setup.config.driver;
    let start = setup.start;
    let main = move || {
        let end = run_core(
            CoreStart {
                choice,
                start,
                builder,
                listeners,
                say,
                hear,
            },
            &common,
        );
        common.lifecycle.end(core);
        end
    };
    let thread = thread::Builder::new()
        .name(format!("p99-core-{}", core.0))
        .spawn(main)?;
    Ok(Starting {
        core,
        thread,
        words,
        verdict,
    })
}

/// What a core thread is given.
struct CoreStart {
    choice: DriverChoice,
    start: Start,
    builder: CoreBuilder,
    listeners: Vec<Listener>,
    say: Sender<Word>,
    hear: Receiver<Verdict>,
}

/// One core's thread from its first to its last instruction.
fn run_core(core: CoreStart, common: &Common) -> CoreEnd {
    const FAILED: CoreEnd = CoreEnd {
        pending: 0,
        forgotten: 0,
        failure: Some(Failure::Broken),
    };
    pin(core.builder.core());
    let tell = |word| {
        // No one listens once a start has failed.
        let _is_heard = core.say.send(word).is_ok();
    };
    let reactor = match agree(core.choice, &core.hear, &tell) {
        Ok(Some(reactor)) => reactor,
        Ok(None) => return FAILED,
        Err(fault) => {
            tell(Word::Fails(StartFault::Kernel(fault)));
            return FAILED;
        }
    };
    let driver = reactor.driver();
    reactor.run(async {
        let id = core.builder.core();
        let runtime = match core.builder.open().await {
            Ok(runtime) => runtime,
            Err(fault) => {
                tell(Word::Fails(StartFault::Engine(fault)));
                return FAILED;
            }
        };
        common.lifecycle.beat(id, Clock::new(core.start).now().mono);
        tell(Word::Serves);
        Core::new(runtime, common.clone(), driver)
            .run(core.listeners)
            .await
    })
}

/// Builds this core's reactor, tells which it is, and hears which one all cores use.
fn agree(
    choice: DriverChoice,
    hear: &Receiver<Verdict>,
    tell: &impl Fn(Word),
) -> io::Result<Option<Reactor>> {
    let reactor = match choice {
        DriverChoice::Best => Reactor::best()?,
        DriverChoice::Epoll => Reactor::epoll()?,
    };
    tell(Word::Has(reactor.driver()));
    match hear.recv() {
        Ok(Verdict::AsBuilt) => Ok(Some(reactor)),
        Ok(Verdict::Epoll) if reactor.driver() == Driver::Epoll => Ok(Some(reactor)),
        Ok(Verdict::Epoll) => Reactor::epoll().map(Some),
        Err(_) => Ok(None),
    }
}

/// Binds this thread to one of the processors that the process may use.
fn pin(core: CoreId) {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    let processor = allowed.get(core.index().checked_rem(allowed.len()).unwrap_or(0));
    let is_pinned = processor.is_some_and(|processor| core_affinity::set_for_current(*processor));
    if !is_pinned {
        log::warn!("core {} is not pinned to a processor", core.0);
    }
}
