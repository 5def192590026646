//! What other processes may do to this one, and what a parent left to it: signals, the umask, and
//! looking into its memory.
//!
//! | signal | effect |
//! |---|---|
//! | SIGTERM, SIGQUIT, SIGPWR | an orderly stop; the last one is how some containers are told |
//! | SIGINT | the same; a second one ends the process at once |
//! | SIGHUP | the files of secrets and headers are read again, and RUST_LOG holds again |
//! | SIGUSR1, SIGUSR2 | a log line; other servers reopen logs or take over upon them |
//! | SIGPIPE, SIGXFSZ | ignored: the write that caused them fails, and says so where it was made |
//! | those of timers, limits and real time | ignored: they outlive exec, and ask p99 nothing |
//!
//! None but the first four ends the process: payments that are pending without a journal would be
//! lost with it. What a parent left blocked or ignored (`nohup`, a supervisor) does not matter.
//! `cores` calls this on the main thread, and `main` before any other thread exists.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;

use crate::config::CoreDumps;
use crate::logging;
use crate::pay::Setup;
use crate::payment::Processor;

/// Signals that ask for a stop.
const STOP: [i32; 4] = [SIGTERM, SIGQUIT, SIGINT, libc::SIGPWR];
/// Signals that would end the process, are sent to it for no reason of its own, and ask nothing.
const IGNORED: [i32; 8] = [
    libc::SIGPIPE,
    libc::SIGXFSZ,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGXCPU,
    libc::SIGIO,
    libc::SIGSTKFLT,
];

/// Lets every signal through, whatever the parent had blocked. Threads inherit it.
pub fn unblock_signals() {
    // SAFETY: the set is initialised by sigemptyset before it is read, and outlives both calls.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Has no signal end a start but those that ask for a stop, whatever the parent had pending; called
/// before [`unblock_signals`]. What they mean is heard once the settings are read.
pub fn ignore_until_heard() {
    // SAFETY: to ignore a signal needs no handler, so nothing of ours runs in one.
    unsafe {
        let real_time = libc::SIGRTMIN()..=libc::SIGRTMAX();
        let heard = [SIGHUP, SIGUSR1, SIGUSR2];
        for signal in IGNORED.into_iter().chain(heard).chain(real_time) {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
}

/// Takes from the umask what would keep p99 from the files that it makes: that is not asked of it,
/// and a journal that was made so could never be opened. What it keeps from others stays so.
pub fn use_own_files() {
    // SAFETY: both calls take plain values and cannot fail.
    unsafe {
        let given = libc::umask(0o077);
        libc::umask(given & 0o077);
    }
}

/// Keeps the environment and the memory, where the credentials are, from core files and from other
/// processes of the same user, unless `CORE_DUMPS` allows it.
pub(super) fn hide(core_dumps: CoreDumps) {
    if core_dumps == CoreDumps::On {
        return;
    }
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both take plain values; `none` outlives the call.
    let is_hidden = unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none) == 0
            && libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
    };
    if !is_hidden {
        let fault = io::Error::last_os_error();
        log::warn!("a crash may leave a core file with the credentials: {fault}");
    }
}

/// What was heard since the last look.
#[derive(Debug)]
pub(super) struct Signals {
    stop: Arc<AtomicBool>,
    /// Nothing is served yet: a stop signal ends the process at once.
    is_starting: Arc<AtomicBool>,
    hangup: Arc<AtomicBool>,
    others: [(&'static str, Arc<AtomicBool>); 2],
}

impl Signals {
    /// Begins to hear. Until [`Signals::leave_start`] a signal to stop ends the process at once.
    pub(super) fn hear() -> io::Result<Self> {
        let signals = Self {
            stop: Arc::default(),
            is_starting: Arc::new(AtomicBool::new(true)),
            hangup: Arc::default(),
            others: [("SIGUSR1", Arc::default()), ("SIGUSR2", Arc::default())],
        };
        ignore_until_heard();
        flag::register(SIGHUP, Arc::clone(&signals.hangup))?;
        for (signal, (_, flag)) in [SIGUSR1, SIGUSR2].into_iter().zip(&signals.others) {
            flag::register(signal, Arc::clone(flag))?;
        }
        for signal in STOP {
            flag::register_conditional_shutdown(signal, 0, Arc::clone(&signals.is_starting))?;
        }
        // A second Ctrl-C does not wait for the grace; the journal makes that safe.
        flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&signals.stop))?;
        for signal in STOP {
            flag::register(signal, Arc::clone(&signals.stop))?;
        }
        Ok(signals)
    }

    /// From now on a stop is an orderly one.
    pub(super) fn leave_start(&self) {
        self.is_starting.store(false, Ordering::Release);
    }

    /// Has signals to stop set `flag` themselves, so that it is seen at once.
    pub(super) fn stop_through(&self, flag: &Arc<AtomicBool>) -> io::Result<()> {
        for signal in STOP {
            flag::register(signal, Arc::clone(flag))?;
        }
        if self.stop.load(Ordering::Acquire) {
            flag.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Does what the signals since the last look ask for.
    pub(super) fn heed(&self, setup: &Setup) {
        if self.hangup.swap(false, Ordering::AcqRel) {
            read_again(setup);
        }
        for (name, flag) in &self.others {
            if flag.swap(false, Ordering::AcqRel) {
                log::info!("{name} has no meaning for p99; continuing");
            }
        }
    }
}

/// All that SIGHUP reads again. Settings come from the environment, which does not change while a
/// process runs.
fn read_again(setup: &Setup) {
    let secrets = [&setup.credentials, &setup.peer_secret, &setup.admin_secret];
    for secrets in secrets.into_iter().flatten() {
        match secrets.reload() {
            Ok(told) => log::info!("SIGHUP: {}: {told}", secrets.setting()),
            Err(why) => log::error!("SIGHUP: {why}; the values stay as they are"),
        }
    }
    for processor in Processor::ALL {
        setup.files.ask(processor);
    }
    // What an operator changed meanwhile ends here.
    let filter = &setup.config.log_filter;
    match logging::set_filter(filter) {
        Ok(()) => log::info!("SIGHUP: what is logged is RUST_LOG again: {filter}"),
        Err(why) => log::error!("SIGHUP: RUST_LOG={filter}: {why}"),
    }
    log::info!("SIGHUP: all other settings change with a restart only");
}
