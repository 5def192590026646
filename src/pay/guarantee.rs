//! How far "exactly once" reaches with these settings, in the one line of a start that says so.

use crate::config::{CacheFull, Config, JournalSync};

/// Payments a second that are shown beside the rate from which on ids are forgotten.
const EXAMPLE_RATE: u64 = 1_000;

/// What survives what, and for how long an id is known.
pub(super) fn line(config: &Config) -> String {
    format!("exactly once: {}; {}", survival(config), memory(config))
}

fn survival(config: &Config) -> &'static str {
    let sync = config.journal.as_ref().map(|journal| journal.sync);
    match (&config.store, sync) {
        (Some(_), _) => "what is acknowledged is in the store and outlives this machine",
        (None, Some(JournalSync::Always)) => "what is acknowledged survives a power cut",
        (None, Some(JournalSync::Os)) => {
            "what is acknowledged survives a kill, and not a power cut (JOURNAL_SYNC=os)"
        }
        (None, None) => "until the process ends, which forgets all (no JOURNAL_DIR, no STORE)",
    }
}

fn memory(config: &Config) -> String {
    let ttl = config.cache_ttl.as_secs().max(1);
    let time = span(ttl);
    if config.store.is_some() {
        return format!("an id is known for {time} after it settled");
    }
    let capacity = u64::try_from(config.cache_capacity).unwrap_or(u64::MAX);
    let rate = tenths(capacity, ttl);
    let bound = format!("an id is known for {time} after it settled up to {rate} payments/s");
    let example = span((capacity / EXAMPLE_RATE).min(ttl));
    match config.cache_full {
        CacheFull::Forget => format!("{bound}, for {example} at {EXAMPLE_RATE}/s"),
        CacheFull::Refuse => format!("{bound}, beyond that new ids are 503 (CACHE_FULL=refuse)"),
    }
}

fn span(secs: u64) -> String {
    match secs {
        3_600.. => format!("{} h", tenths(secs, 3_600)),
        secs => format!("{secs} s"),
    }
}

fn tenths(number: u64, of: u64) -> String {
    let tenths = number.saturating_mul(10) / of;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_survives_and_for_how_long_ids_are_known() {
        let usual = "an id is known for 24.0 h after it settled up to 5.7 payments/s";
        for (settings, expected) in [
            (
                &[][..],
                format!(
                    "exactly once: until the process ends, which forgets all (no JOURNAL_DIR, no \
                     STORE); {usual}, for 500 s at 1000/s"
                ),
            ),
            (
                &[("JOURNAL_DIR", "/j"), ("CACHE_FULL", "refuse")],
                format!(
                    "exactly once: what is acknowledged survives a power cut; {usual}, beyond \
                     that new ids are 503 (CACHE_FULL=refuse)"
                ),
            ),
            (
                &[("JOURNAL_DIR", "/j"), ("JOURNAL_SYNC", "os")],
                format!(
                    "exactly once: what is acknowledged survives a kill, and not a power cut \
                     (JOURNAL_SYNC=os); {usual}, for 500 s at 1000/s"
                ),
            ),
            (
                &[
                    ("STORE", "postgres://p99@db/p99"),
                    ("CACHE_TTL_SECONDS", "90"),
                ],
                "exactly once: what is acknowledged is in the store and outlives this machine; an \
                 id is known for 90 s after it settled"
                    .to_owned(),
            ),
        ] {
            let lookup = |name: &str| {
                let given = settings.iter().find(|(key, _)| *key == name);
                let usual = (name == "UPSTREAM_A_URL").then_some("http://a");
                given.map(|(_, value)| *value).or(usual).map(str::to_owned)
            };
            let config = Config::from_lookup(lookup).unwrap();
            assert_eq!(line(&config), expected);
        }
    }
}
