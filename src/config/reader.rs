//! Takes settings one by one from the lookup, checks each against its row of the table, and keeps
//! every fault, so that one start shows them all. After a fault it goes on with a placeholder that
//! no one sees: the configuration is only handed out when there was no fault.

use std::fmt;
use std::time::Duration;

use super::settings::{self, Allowed, DefaultValue, Setting};
use super::values::{MASK, digits};

/// One reason not to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// The setting.
    pub name: &'static str,
    /// What was set, masked when secret, or what follows from other settings; `None` when it is
    /// missing.
    pub value: Option<String>,
    /// Whether the environment set it.
    pub is_set: bool,
    /// What is allowed.
    pub allowed: String,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) if self.is_set => {
                write!(f, "{}={value:?}: allowed is {}", self.name, self.allowed)
            }
            Some(value) => write!(
                f,
                "{} is not set and is {value:?} by default: allowed is {}",
                self.name, self.allowed
            ),
            None => write!(f, "{} is not set: it must be {}", self.name, self.allowed),
        }
    }
}

/// A setting's value as it holds, for `p99 check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The setting.
    pub name: &'static str,
    /// Its text, masked when secret.
    pub text: String,
    /// Whether the environment set it.
    pub is_set: bool,
}

pub(super) struct Reader<'a> {
    pub(super) lookup: &'a dyn Fn(&str) -> Option<String>,
    pub(super) faults: Vec<ConfigFault>,
    pub(super) in_force: Vec<InForce>,
}

impl Reader<'_> {
    /// A value whose default stands in the table.
    pub(super) fn read<T: Default>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        self.read_or(name, None, parse)
    }

    /// A value whose default is `derived` from other settings.
    pub(super) fn read_or<T: Default>(
        &mut self,
        name: &'static str,
        derived: Option<String>,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        let Some(setting) = settings::find(name) else {
            self.fault(name, None, "in the table of settings".to_owned());
            return T::default();
        };
        let set = (self.lookup)(name);
        let is_set = set.is_some();
        let Some(text) = set.or(derived).or_else(|| default_text(setting)) else {
            if matches!(setting.default, DefaultValue::Required) {
                self.fault(name, None, allowed(setting));
            } else {
                self.note(setting, setting.default.to_string(), is_set);
            }
            return T::default();
        };
        // A lookup replaces bytes that are no UTF-8; such a value was not what someone meant.
        let value = if text.contains(char::REPLACEMENT_CHARACTER) {
            None
        } else {
            parse(&text)
        };
        match value {
            Some(value) => {
                self.note(
                    setting,
                    if setting.is_secret {
                        MASK.to_owned()
                    } else {
                        text
                    },
                    is_set,
                );
                value
            }
            None => {
                self.fault(name, Some(shown(setting, &text)), allowed(setting));
                T::default()
            }
        }
    }

    /// A number within its range.
    pub(super) fn whole(&mut self, name: &'static str) -> u64 {
        self.whole_or(name, None)
    }

    /// A number within its range, else `derived`.
    pub(super) fn whole_or(&mut self, name: &'static str, derived: Option<u64>) -> u64 {
        let range = settings::find(name).map(|setting| setting.allowed);
        self.read_or(name, derived.map(|number| number.to_string()), |text| {
            let number = digits(text)?;
            match range? {
                Allowed::Whole { min, max } => (min..=max).contains(&number).then_some(number),
                Allowed::Words(_) | Allowed::Text(_) => None,
            }
        })
    }

    /// A number that counts things in memory.
    pub(super) fn count(&mut self, name: &'static str) -> usize {
        usize::try_from(self.whole(name)).unwrap_or(usize::MAX)
    }

    /// A number that fits in 32 bits, as its range says.
    pub(super) fn small(&mut self, name: &'static str) -> u32 {
        u32::try_from(self.whole(name)).unwrap_or(u32::MAX)
    }

    pub(super) fn millis(&mut self, name: &'static str) -> Duration {
        Duration::from_millis(self.whole(name))
    }

    pub(super) fn seconds(&mut self, name: &'static str) -> Duration {
        Duration::from_secs(self.whole(name))
    }

    /// One of `words`, as the table has them.
    pub(super) fn word<T: Default + Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> T {
        self.read(name, |text| {
            words
                .iter()
                .find(|(word, _)| *word == text)
                .map(|(_, value)| *value)
        })
    }

    /// Says that `name` as it holds breaks a rule about several settings, unless one of `names`
    /// was at fault by itself already.
    pub(super) fn relation(&mut self, holds: bool, names: &[&'static str], rule: &str) {
        let Some(name) = names.first().copied() else {
            return;
        };
        if holds || self.faults.iter().any(|fault| names.contains(&fault.name)) {
            return;
        }
        // What the environment says, also where another setting replaces it.
        let set = settings::find(name)
            .zip((self.lookup)(name))
            .map(|(setting, text)| shown(setting, &text));
        let value = set.or_else(|| self.text(name));
        self.fault(name, value, rule.to_owned());
    }

    /// The text of `name` as it holds.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.in_force
            .iter()
            .find(|value| value.name == name)
            .map(|value| value.text.clone())
    }

    /// Says in `p99 check` that another setting replaces `name`.
    pub(super) fn mark_unused(&mut self, name: &str) {
        self.show(name, "unused");
    }

    /// What `p99 check` shows of `name`.
    pub(super) fn show(&mut self, name: &str, text: &str) {
        if let Some(value) = self.in_force.iter_mut().find(|value| value.name == name) {
            text.clone_into(&mut value.text);
        }
    }

    /// Whether the environment set `name`.
    pub(super) fn is_set(&self, name: &str) -> bool {
        (self.lookup)(name).is_some()
    }

    fn fault(&mut self, name: &'static str, value: Option<String>, allowed: String) {
        let is_set = self.is_set(name);
        self.faults.push(ConfigFault {
            name,
            value,
            is_set,
            allowed,
        });
    }

    fn note(&mut self, setting: &Setting, text: String, is_set: bool) {
        self.in_force.push(InForce {
            name: setting.name,
            text,
            is_set,
        });
    }
}

/// What a fault says about `setting`.
fn allowed(setting: &Setting) -> String {
    match setting.unit {
        "" => setting.allowed.to_string(),
        unit => format!("{} ({unit})", setting.allowed),
    }
}

/// What a fault may show: no secret, and no password or token that someone put into a URL.
fn shown(setting: &Setting, text: &str) -> String {
    if setting.is_secret {
        return MASK.to_owned();
    }
    let start = text
        .find("://")
        .or_else(|| text.starts_with("unix:").then_some(0));
    let query = start.and_then(|at| text.get(at..));
    let query = query.and_then(|url| url.find(['?', '#']).and_then(|at| url.get(at + 1..)));
    let hidden = query.filter(|query| !query.is_empty()).map(|query| {
        let before = text.strip_suffix(query).unwrap_or_default();
        format!("{before}{MASK}")
    });
    let text = hidden.as_deref().unwrap_or(text);
    match text.rsplit_once('@') {
        Some((_, behind)) => format!("{MASK}@{behind}"),
        None => text.to_owned(),
    }
}

fn default_text(setting: &Setting) -> Option<String> {
    match setting.default {
        DefaultValue::Text(text) => Some(text.to_owned()),
        DefaultValue::Required | DefaultValue::Derived(_) => None,
    }
}
