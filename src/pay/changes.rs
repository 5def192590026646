//! What an operator sets anew while p99 runs: each change goes to what follows it, on all cores at
//! once, and is shown until it is taken back or p99 restarts. The rate limit is the server's: it
//! hands it in.

use std::time::Duration;

use super::CoreRuntime;
use crate::config::Config;
use crate::metrics::{About, Changeable, EventKind, Label, SettingsMetrics};
use crate::owner::{Processors, share};
use crate::rate_limit::RateLimit;

/// Shows what holds at the start.
pub(super) fn begin(config: &Config, settings: &SettingsMetrics) {
    for (name, value) in config.changeable() {
        if let Some(setting) = find(name) {
            settings.begin(setting, value);
        }
    }
}

fn find(name: &str) -> Option<Changeable> {
    let mut all = Changeable::ALL.iter();
    all.find(|setting| setting.name() == name).copied()
}

impl CoreRuntime {
    /// Has `value`, as `config::read_change` read it, hold for the setting `name` from now on.
    ///
    /// # Errors
    /// Why it does not, in words for the operator; nothing has changed.
    pub(crate) fn change(&self, name: &str, value: u64, rate: &RateLimit) -> Result<(), String> {
        let setting = find(name).ok_or_else(|| format!("{name} needs a restart"))?;
        let settings = &self.shared.metrics.settings;
        let most = settings.first(setting);
        let is_share = matches!(setting, Changeable::Clients | Changeable::Attempts);
        if is_share && value > most {
            return Err(format!(
                "{name}: at most {most} without a restart, as at the start"
            ));
        }
        let cores = self.config.cores;
        if is_share && value < u64::from(cores.0) {
            return Err(format!("{name}: at least CORES, {}", cores.0));
        }
        match setting {
            Changeable::Rate => {
                // A burst that no one set follows the rate, as in the settings.
                let (before, burst) = rate.get();
                let burst = if burst == before.max(1) {
                    narrow(value)
                } else {
                    burst
                };
                rate.set(narrow(value), burst);
                settings.show(Changeable::Burst, u64::from(rate.get().1));
            }
            Changeable::Burst => rate.set(rate.get().0, narrow(value)),
            Changeable::FailRate
            | Changeable::MinSamples
            | Changeable::OpenSecs
            | Changeable::HedgeDelay
            | Changeable::Clients
            | Changeable::Attempts => self.steer(setting, value),
        }
        settings.show(setting, value);
        let events = &self.shared.metrics.events;
        let about = About::Setting(setting);
        events.put(self.now().mono, EventKind::SettingChanged, about);
        Ok(())
    }

    fn steer(&self, setting: Changeable, value: u64) {
        let processors: &Processors = &self.shared.processors;
        let each = || {
            self.config
                .upstream
                .count()
                .all()
                .map(|one| (processors.breaker(one), one))
        };
        match setting {
            Changeable::FailRate => each().for_each(|(one, _)| one.set_failure_rate(narrow(value))),
            Changeable::MinSamples => {
                each().for_each(|(one, _)| one.set_min_samples(narrow(value)))
            }
            Changeable::OpenSecs => {
                each().for_each(|(one, _)| one.set_open(Duration::from_secs(value)));
            }
            Changeable::Attempts => {
                each().for_each(|(_, one)| processors.limit(one).set_most(narrow(value)));
            }
            Changeable::HedgeDelay => processors.set_hedge_delay(Duration::from_millis(value)),
            Changeable::Clients => {
                let all = usize::try_from(value).unwrap_or(usize::MAX);
                processors.set_waiting_max(share(all, self.config.cores));
            }
            Changeable::Rate | Changeable::Burst => {}
        }
    }
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
