//! What an operator may set anew while p99 runs (`p99 ctl set`): the settings' own names and
//! ranges, and what each was at the start. Everything else needs a restart.

use super::Config;
use super::settings::{self, Allowed};
use super::spelling::near_misses;
use super::values::{self, PerMille};

/// The settings that may change. What stands behind a bound of memory or descriptors may be lowered
/// and raised again up to what it was at the start.
pub(crate) const CHANGEABLE: [&str; 8] = [
    "CB_FAIL_RATE",
    "CB_MIN_SAMPLES",
    "CB_OPEN_SECS",
    "HEDGE_DELAY_MS",
    "CONCURRENCY_LIMIT",
    "UPSTREAM_CONCURRENCY",
    "RATE_LIMIT_RPS",
    "RATE_LIMIT_BURST",
];

/// Reads a new value: a number in the setting's unit; thousandths for CB_FAIL_RATE, and 0 for
/// RATE_LIMIT_RPS=off.
///
/// # Errors
/// Why not, in words for the operator.
pub(crate) fn read_change(name: &str, text: &str) -> Result<u64, String> {
    let setting = settings::find(name).filter(|_| CHANGEABLE.contains(&name));
    let Some(setting) = setting else {
        return Err(format!(
            "{}; while it runs may change: {}",
            why_not(name),
            CHANGEABLE.join(", ")
        ));
    };
    let value = match (name, setting.allowed) {
        ("CB_FAIL_RATE", _) => PerMille::parse(text).map(|share| u64::from(share.0)),
        ("RATE_LIMIT_RPS", _) if text == "off" => Some(0),
        ("RATE_LIMIT_RPS", _) => values::number_within(text, 1, 1_000_000).map(u64::from),
        (_, Allowed::Whole { min, max }) => {
            values::digits(text).filter(|number| (min..=max).contains(number))
        }
        (_, Allowed::Words(_) | Allowed::Text(_)) => None,
    };
    value.ok_or_else(|| format!("{name}={text:?}: allowed is {}", setting.allowed))
}

fn why_not(name: &str) -> String {
    if settings::find(name).is_some() {
        return format!("{name} needs a restart");
    }
    match near_misses([name.to_owned()]).first() {
        Some(miss) => format!("{name} is no setting, {} is one", miss.meant),
        None => format!("{name} is no setting"),
    }
}

impl Config {
    /// The value of each of `CHANGEABLE` at the start, as `read_change` would read it.
    #[must_use]
    pub fn changeable(&self) -> [(&'static str, u64); CHANGEABLE.len()] {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let millis = u64::try_from(self.hedge_delay.as_millis()).unwrap_or(u64::MAX);
        let rate = self.rate_limit.as_ref();
        let values = [
            u64::from(self.breaker.failure_rate.0),
            u64::from(self.breaker.samples_min),
            self.breaker.open.as_secs(),
            millis,
            number(self.concurrency_limit),
            number(self.upstream_concurrency),
            rate.map_or(0, |rate| u64::from(rate.per_second)),
            rate.map_or(1, |rate| u64::from(rate.burst)),
        ];
        let mut values = values.into_iter();
        CHANGEABLE.map(|name| (name, values.next().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_as_the_setting_is() {
        for (name, text, value) in [
            ("CB_FAIL_RATE", "0.3", Some(300)),
            ("CB_FAIL_RATE", "0", None),
            ("CB_OPEN_SECS", "300", Some(300)),
            ("CB_OPEN_SECS", "301", None),
            ("HEDGE_DELAY_MS", "0", Some(0)),
            ("HEDGE_DELAY_MS", "5ms", None),
            ("RATE_LIMIT_RPS", "off", Some(0)),
            ("RATE_LIMIT_RPS", "0", None),
            ("RATE_LIMIT_RPS", "100", Some(100)),
            ("RATE_LIMIT_BURST", "off", None),
            ("CORES", "2", None),
            ("CB_WINDOW_SECS", "10", None),
            ("hedge_delay_ms", "5", None),
        ] {
            let read = read_change(name, text);
            assert_eq!(
                read.as_ref().ok(),
                value.as_ref(),
                "{name}={text}: {read:?}"
            );
        }
        let told = read_change("CORES", "2").unwrap_err();
        assert!(
            told.contains("needs a restart") && told.contains("HEDGE_DELAY_MS"),
            "{told}"
        );
        for name in CHANGEABLE {
            assert!(settings::find(name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_holds_at_the_start_is_what_its_text_would_be_read_as() {
        let lookup = |name: &str| (name == "UPSTREAM_A_URL").then(|| "http://a".to_owned());
        let cores = crate::payment::CoreCount(1);
        let config = Config::from_lookup_on(lookup, cores).unwrap();
        for (name, value) in config.changeable() {
            let shown = config.in_force.iter().find(|one| one.name == name).unwrap();
            match read_change(name, &shown.text) {
                Ok(read) => assert_eq!(read, value, "{name}"),
                // Unused while RATE_LIMIT_RPS is off.
                Err(_) => assert_eq!((name, value), ("RATE_LIMIT_BURST", 1)),
            }
        }
    }
}
