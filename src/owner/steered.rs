//! What an operator has set instead of the owners' settings while p99 runs, on all cores at once.
//! The settings themselves stay as they are: they bound what may be set.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::{Owner, Processors};

/// What holds instead of the settings, on all cores.
#[derive(Debug)]
pub(super) struct Steered {
    /// Microseconds; [`u64::MAX`] is the setting.
    hedge_delay: AtomicU64,
    /// One core's share.
    waiting_max: AtomicUsize,
}

impl Default for Steered {
    fn default() -> Self {
        Self {
            hedge_delay: AtomicU64::new(u64::MAX),
            waiting_max: AtomicUsize::new(usize::MAX),
        }
    }
}

impl Processors {
    /// Hedges after this silence from now on, instead of what the settings say.
    pub fn set_hedge_delay(&self, span: Duration) {
        let span = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        self.steered.hedge_delay.store(span, Ordering::Relaxed);
    }

    /// Lets no more clients than this wait on one core from now on, nor more than the settings do.
    pub fn set_waiting_max(&self, clients: usize) {
        self.steered.waiting_max.store(clients, Ordering::Relaxed);
    }

    pub(super) fn waiting_max(&self, setting: usize) -> usize {
        setting.min(self.steered.waiting_max.load(Ordering::Relaxed))
    }

    fn hedge_delay(&self, setting: Duration) -> Duration {
        match self.steered.hedge_delay.load(Ordering::Relaxed) {
            u64::MAX => setting,
            span => Duration::from_micros(span),
        }
    }
}

impl Owner {
    /// The least silence before a hedge, or before another processor is thought of.
    pub(super) fn hedge_delay(&self) -> Duration {
        self.processors.hedge_delay(self.settings.hedge_delay)
    }
}
