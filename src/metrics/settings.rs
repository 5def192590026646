//! The settings that an operator may change while p99 runs: what they were at the start, and what
//! holds now. What changes one shows it here.

use serde::Serialize;

use super::cells::{By, Cell, Gauge, Label};
use super::labels::label;
use super::page::{Kind, Page};

label! {
    /// A setting that an operator may change while p99 runs.
    pub Changeable {
        /// The share of failures that opens a breaker, in thousandths.
        FailRate = "CB_FAIL_RATE",
        /// Fewest attempts that open one.
        MinSamples = "CB_MIN_SAMPLES",
        /// How long it stays Open, in seconds.
        OpenSecs = "CB_OPEN_SECS",
        /// Least silence before a hedge, in milliseconds.
        HedgeDelay = "HEDGE_DELAY_MS",
        /// Clients that wait at once.
        Clients = "CONCURRENCY_LIMIT",
        /// Most attempts in flight per processor.
        Attempts = "UPSTREAM_CONCURRENCY",
        /// Requests a second and client address; 0 is off.
        Rate = "RATE_LIMIT_RPS",
        /// Requests at once.
        Burst = "RATE_LIMIT_BURST",
    }
}

type BySetting = By<Changeable, Gauge, { Changeable::COUNT }>;

/// See the header of this file.
#[derive(Debug, Default)]
pub struct SettingsMetrics {
    first: BySetting,
    now: BySetting,
}

/// A setting that is not what it was at the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedSetting {
    /// Its name.
    pub name: &'static str,
    /// What it was, as it is set.
    pub first: String,
    /// What holds.
    pub now: String,
}

/// A value as it is set.
fn spell(setting: Changeable, value: u64) -> String {
    match setting {
        Changeable::FailRate => format!("{}.{:03}", value / 1_000, value % 1_000),
        Changeable::Rate if value == 0 => "off".to_owned(),
        Changeable::MinSamples
        | Changeable::OpenSecs
        | Changeable::HedgeDelay
        | Changeable::Clients
        | Changeable::Attempts
        | Changeable::Rate
        | Changeable::Burst => value.to_string(),
    }
}

impl SettingsMetrics {
    /// This holds at the start.
    pub fn begin(&self, setting: Changeable, value: u64) {
        self.first.get(setting).set(value);
        self.show(setting, value);
    }

    /// This holds from now on.
    pub fn show(&self, setting: Changeable, value: u64) {
        self.now.get(setting).set(value);
    }

    /// What holds.
    #[must_use]
    pub fn now(&self, setting: Changeable) -> u64 {
        self.now.get(setting).get()
    }

    /// What was at the start.
    #[must_use]
    pub fn first(&self, setting: Changeable) -> u64 {
        self.first.get(setting).get()
    }

    /// Those that are not what they were.
    pub(super) fn changed(&self) -> Vec<ChangedSetting> {
        let all = Changeable::ALL.iter().copied();
        let changed = all.filter(|setting| self.first(*setting) != self.now(*setting));
        changed
            .map(|setting| ChangedSetting {
                name: setting.name(),
                first: spell(setting, self.first(setting)),
                now: spell(setting, self.now(setting)),
            })
            .collect()
    }

    pub(super) fn render(&self, page: &mut Page<'_>) {
        let help = "What holds of the settings that may change while p99 runs, in their units; 0 \
                    is off.";
        page.begin(Kind::Gauge, "p99_setting_in_force", help);
        for setting in Changeable::ALL {
            let labels = [("setting", setting.name())];
            match setting {
                Changeable::FailRate => page.thousandths(&labels, self.now(*setting)),
                Changeable::MinSamples
                | Changeable::OpenSecs
                | Changeable::HedgeDelay
                | Changeable::Clients
                | Changeable::Attempts
                | Changeable::Rate
                | Changeable::Burst => page.sample(&labels, self.now(*setting)),
            }
        }
        let help = "1 while an operator's value holds instead of the setting's.";
        page.begin(Kind::Gauge, "p99_setting_changed", help);
        for setting in Changeable::ALL {
            let is_changed = self.first(*setting) != self.now(*setting);
            page.sample(&[("setting", setting.name())], u64::from(is_changed));
        }
    }
}
