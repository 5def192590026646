//! RECONCILE_EVERY, RECONCILE_ON_DOUBLE, UPSTREAM_A_BOOK and UPSTREAM_B_BOOK: how often the journal
//! is compared with the processors' own books, and where these are. A book is not read here.

use std::time::Duration;

use super::places::{self, HttpUrl};
use super::reader::Reader;
use super::values;
use crate::limits;
use crate::payment::{PerProcessor, Processor};

/// The settings of each processor's book, in the order of the processors.
const BOOKS: [&str; 2] = ["UPSTREAM_A_BOOK", "UPSTREAM_B_BOOK"];

/// `RECONCILE_ON_DOUBLE`: what becomes of a processor that charged a payment twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDouble {
    /// It is paused until an operator lets it go on.
    #[default]
    Pause,
    /// It is told, and goes on.
    Tell,
}

impl OnDouble {
    const WORDS: [(&'static str, Self); 2] = [("pause", Self::Pause), ("tell", Self::Tell)];
}

/// How the books are compared while p99 runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconcileConfig {
    /// `RECONCILE_EVERY`: from the end of one comparison to the next.
    pub every: Duration,
    /// `UPSTREAM_*_BOOK`: a file or a URL, for those that have one.
    pub books: PerProcessor<Option<String>>,
    /// `RECONCILE_ON_DOUBLE`.
    pub on_double: OnDouble,
    /// Payments younger than this are left out; no setting.
    pub settled: Duration,
}

/// Reads them; none while RECONCILE_EVERY is off. `has_second` is whether there is a processor B.
pub(super) fn read_reconcile(reader: &mut Reader<'_>, has_second: bool) -> Option<ReconcileConfig> {
    let every = reader.read("RECONCILE_EVERY", |text| match text {
        "off" => Some(None),
        number => values::number_within(number, 1, 604_800).map(Some),
    });
    let on_double = reader.word("RECONCILE_ON_DOUBLE", &OnDouble::WORDS);
    let mut books = PerProcessor::default();
    for (setting, processor) in BOOKS.into_iter().zip(Processor::ALL) {
        *books.get_mut(processor) = reader.read(setting, |text| match text {
            "none" => Some(None),
            place => is_book(place).then(|| Some(place.to_owned())),
        });
    }
    let [first, second] = BOOKS;
    reader.relation(
        has_second || !reader.is_set(second),
        &[second, "UPSTREAM_B_URL"],
        "unset while UPSTREAM_B_URL is none: there is no processor B",
    );
    let has_book = Processor::ALL.iter().any(|one| books.get(*one).is_some());
    reader.relation(
        every.is_none() || has_book,
        &["RECONCILE_EVERY", first, second],
        "off without UPSTREAM_A_BOOK and UPSTREAM_B_BOOK: there is nothing to compare with",
    );
    let Some(every) = every else {
        for name in [first, second, "RECONCILE_ON_DOUBLE"] {
            reader.mark_unused(name);
        }
        return None;
    };
    Some(ReconcileConfig {
        every: Duration::from_secs(u64::from(every)),
        books,
        on_double,
        settled: limits::RECONCILE_SETTLED,
    })
}

/// Whether the environment sets what only RECONCILE_EVERY reads.
pub(super) fn is_any_set(reader: &Reader<'_>) -> bool {
    let mut names = BOOKS.iter().chain(&["RECONCILE_ON_DOUBLE"]);
    names.any(|name| reader.is_set(name))
}

/// A file by its whole path, or a URL that is read without TLS.
fn is_book(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix("http://") {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic());
        return is_plain && HttpUrl::parse_authority(authority, Some(80)).is_some();
    }
    let socket = text
        .strip_prefix("unix:")
        .and_then(|rest| rest.split_once(":/"));
    match socket {
        Some((socket, path)) => {
            let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic());
            is_plain && places::socket_path(socket).is_some()
        }
        None => text.starts_with('/') && places::folder(text).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_is_a_file_or_a_url_without_tls() {
        for text in [
            "/var/lib/psp/charges.csv",
            "http://psp:8001/admin/payments",
            "http://psp/charges?from={from}&to={to}",
            "http://[::1]:80/",
            "http://psp",
            "unix:/run/psp.sock:/charges?from={from}",
        ] {
            assert!(is_book(text), "{text}");
        }
        for text in [
            "",
            "charges.csv",
            "https://psp/charges",
            "http://",
            "http://me:pw@psp/",
            "http://psp/a b",
            "unix:/run/psp.sock",
            "unix:psp.sock:/charges",
            "/var/../charges.csv",
        ] {
            assert!(!is_book(text), "{text}");
        }
    }

    fn told(settings: &[(&str, &str)]) -> Vec<String> {
        let lookup = |name: &str| {
            let usual = [("UPSTREAM_A_URL", "http://a"), ("JOURNAL_DIR", "/j")];
            let all = || settings.iter().chain(&usual);
            let found = all().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        match crate::config::Config::from_lookup_on(lookup, crate::payment::CoreCount(1)) {
            Ok(config) => config.warnings,
            Err(faults) => faults.iter().map(|fault| fault.name.to_owned()).collect(),
        }
    }

    #[test]
    fn what_makes_no_sense_together_is_refused_or_doubted() {
        let (every, a) = (("RECONCILE_EVERY", "60"), ("UPSTREAM_A_BOOK", "/a.csv"));
        let b = ("UPSTREAM_B_BOOK", "/b.csv");
        let on_double = ("RECONCILE_ON_DOUBLE", "tell");
        assert!(told(&[every, a, on_double]).is_empty());
        assert!(told(&[every, a, b, ("UPSTREAM_B_URL", "http://b")]).is_empty());
        for (settings, name) in [
            (&[every][..], "RECONCILE_EVERY"),
            (&[every, a, ("JOURNAL_DIR", "off")], "RECONCILE_EVERY"),
            (&[every, a, b], "UPSTREAM_B_BOOK"),
            (&[("RECONCILE_EVERY", "0"), a], "RECONCILE_EVERY"),
            (
                &[on_double],
                "RECONCILE_ON_DOUBLE and the books have no effect",
            ),
            (&[a], "RECONCILE_ON_DOUBLE and the books have no effect"),
        ] {
            let told = told(settings);
            assert_eq!(told.len(), 1, "{settings:?}: {told:?}");
            assert!(told.concat().starts_with(name), "{told:?}");
        }
    }
}
