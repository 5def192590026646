//! RECONCILE_EVERY, RECONCILE_ON_DOUBLE, UPSTREAM_A_BOOK and UPSTREAM_B_BOOK: how often the journal
//! is compared with the processors' own books, and where these are. A book is not read here.

use std::path::PathBuf;
use std::time::Duration;

use super::places;
use super::processors::ProcessorConfig;
use super::reader::Reader;
use super::upstream::{Origin, UpstreamUrl};
use super::values::{self, MASK};
use crate::limits;
use crate::payment::{Configured, PerProcessor, Processor};

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
    /// What this machine believes, for a book over https elsewhere than at its processor.
    pub authorities: Option<PathBuf>,
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
        if let Some(book) = books.get(processor) {
            reader.show(setting, &without_values(book));
        }
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
        authorities: places::usual_authorities(reader.lookup),
        settled: limits::RECONCILE_SETTLED,
    })
}

/// What p99 shows a processor goes to its book only where it goes anyway, or to a socket of this
/// host: not to any other place that a URL names, and not in the clear.
pub(super) fn check_credentials(
    reader: &mut Reader<'_>,
    reconcile: Option<&ReconcileConfig>,
    upstream: &Configured<ProcessorConfig>,
) {
    let Some(reconcile) = reconcile else { return };
    for (setting, processor) in BOOKS.into_iter().zip(Processor::ALL) {
        let (book, one) = (reconcile.books.get(processor), upstream.find(processor));
        let (Some(book), Some(one)) = (book, one) else {
            continue;
        };
        let is_foreign = book.starts_with("https://") && !is_own_https(book, one);
        reader.relation(
            !is_foreign || reconcile.authorities.is_some(),
            &[setting],
            "read without https: neither SSL_CERT_FILE nor this machine names authorities to \
             believe",
        );
        let Some(file) = &one.files.headers else {
            continue;
        };
        let is_told = origin(book).is_none_or(|asked| one.url.origin == asked);
        reader.relation(
            is_told,
            &[setting, file.setting],
            &format!(
                "at the processor's own scheme://host:port, a unix socket or a file, where {} is \
                 set: what that file holds would be sent elsewhere",
                file.setting
            ),
        );
    }
}

/// Where a book is asked for over TCP.
fn origin(book: &str) -> Option<Origin> {
    UpstreamUrl::split_authority(book).map(|(origin, _)| origin)
}

/// Whether a book is asked for at the processor's own https://host:port, where its certificate is
/// proven as in every other call.
#[must_use]
pub(crate) fn is_own_https(book: &str, one: &ProcessorConfig) -> bool {
    one.url.is_https() && origin(book).is_some_and(|asked| asked == one.url.origin)
}

/// A book's URL as it may be shown: a value in its query may be a token, its user has a password.
#[must_use]
pub fn without_values(book: &str) -> String {
    let is_url = !book.starts_with('/') && (book.contains("://") || book.starts_with("unix:"));
    if !is_url {
        return book.to_owned();
    }
    let (place, query) = match book.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (book, None),
    };
    let place = match (place.split_once("://"), place.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{MASK}@{host}"),
        (_, _) => place.to_owned(),
    };
    let Some(query) = query else {
        return place;
    };
    let shown = |pair: &str| match pair.split_once('=') {
        // These are filled in.
        Some((_, "{from}" | "{to}")) => pair.to_owned(),
        Some((name, _)) => format!("{name}={MASK}"),
        None => MASK.to_owned(),
    };
    let pairs: Vec<String> = query.split('&').map(shown).collect();
    format!("{place}?{}", pairs.join("&"))
}

/// Demands that claims are kept longer than payments are left out. Else nothing is both old enough
/// and known: each comparison would be one of nothing, and clean.
pub(super) fn check(config: Option<&ReconcileConfig>, kept: Duration, reader: &mut Reader<'_>) {
    reader.relation(
        config.is_none_or(|config| kept > config.settled),
        &["RECONCILE_EVERY", "CACHE_TTL_SECONDS"],
        "off with CACHE_TTL_SECONDS of up to 60: what is younger than a minute is not compared, \
         and what is older is forgotten",
    );
}

/// Whether the environment sets what only RECONCILE_EVERY reads.
pub(super) fn is_any_set(reader: &Reader<'_>) -> bool {
    let mut names = BOOKS.iter().chain(&["RECONCILE_ON_DOUBLE"]);
    names.any(|name| reader.is_set(name))
}

/// A file by its whole path, or a URL.
fn is_book(text: &str) -> bool {
    let is_url = !text.starts_with('/');
    if is_url
        && text
            .replace("{from}", "")
            .replace("{to}", "")
            .contains(['{', '}'])
    {
        return false;
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        let plain = |path: &str| path.bytes().all(|byte| byte.is_ascii_graphic());
        return UpstreamUrl::split_authority(text).is_some_and(|(_, path)| plain(path));
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
    fn a_book_is_a_file_or_a_url() {
        for text in [
            "/var/lib/psp/charges.csv",
            "http://psp:8001/admin/payments",
            "http://psp/charges?from={from}&to={to}",
            "http://[::1]:80/",
            "http://psp",
            "https://psp/charges?from={from}",
            "unix:/run/psp.sock:/charges?from={from}",
        ] {
            assert!(is_book(text), "{text}");
        }
        for text in [
            "",
            "charges.csv",
            "http://",
            "https://me:pw@psp/",
            "http://me:pw@psp/",
            "http://psp/a b",
            "http://psp/charges?from={frm}",
            "unix:/run/psp.sock",
            "unix:psp.sock:/charges",
            "/var/../charges.csv",
        ] {
            assert!(!is_book(text), "{text}");
        }
    }

    #[test]
    fn a_book_is_shown_without_its_secrets() {
        for (book, shown) in [
            (
                "http://u:pw@h/x?key=k&from={from}",
                "http://******@h/x?key=******&from={from}",
            ),
            ("http://h/x", "http://h/x"),
            ("/a/u@h?key=k", "/a/u@h?key=k"),
        ] {
            assert_eq!(without_values(book), shown);
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
        assert!(told(&[every, a, ("CACHE_TTL_SECONDS", "61")]).is_empty());
        for (settings, name) in [
            (&[every][..], "RECONCILE_EVERY"),
            (&[every, a, ("JOURNAL_DIR", "off")], "RECONCILE_EVERY"),
            (&[every, a, b], "UPSTREAM_B_BOOK"),
            (&[("RECONCILE_EVERY", "0"), a], "RECONCILE_EVERY"),
            (&[every, a, ("CACHE_TTL_SECONDS", "60")], "RECONCILE_EVERY"),
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

    #[test]
    fn credentials_go_to_the_upstream_itself_or_to_a_socket() {
        let dir = std::env::temp_dir().join(format!("p99-books-{}", std::process::id()));
        std::fs::write(&dir, "X-Token: t\n").unwrap();
        let file = ("UPSTREAM_A_HEADERS_FILE", dir.to_str().unwrap());
        let every = ("RECONCILE_EVERY", "60");
        let url = ("UPSTREAM_A_URL", "http://Psp:8001");
        for (book, is_good) in [
            ("http://psp:8001/list", true),
            ("unix:/run/psp.sock:/list", true),
            ("/list.csv", true),
            ("http://psp/list", false),
            ("http://psp.:8001/list", false),
            ("http://other:8001/list", false),
        ] {
            let book = ("UPSTREAM_A_BOOK", book);
            let found = told(&[url, every, book, file]);
            let expected: &[&str] = if is_good { &[] } else { &["UPSTREAM_A_BOOK"] };
            assert_eq!(found, expected, "{book:?}");
            assert_eq!(told(&[url, every, book]), [""; 0], "{book:?}");
        }
        for (book, is_good) in [
            ("https://psp:8001/list", true),
            ("https://psp/list", false),
            ("http://psp:8001/list", false),
        ] {
            let url = ("UPSTREAM_A_URL", "https://psp:8001");
            let found = told(&[url, every, ("UPSTREAM_A_BOOK", book), file]);
            assert_eq!(found.is_empty(), is_good, "{book}: {found:?}");
        }
        // What leaves the upstream over TLS must not leave in the clear, whatever the host is.
        let tls = ("UPSTREAM_A_URL", "https://psp:8001");
        let book = ("UPSTREAM_A_BOOK", "http://psp:8001/list");
        assert_eq!(told(&[tls, every, book, file]), ["UPSTREAM_A_BOOK"]);
        std::fs::remove_file(dir).unwrap();
    }

    #[test]
    fn the_values_of_a_books_query_are_not_shown() {
        for book in [
            "http://psp/list?token=abcxyz&from={from}",
            "unix:/run/psp.sock:/list?token=abcxyz",
        ] {
            let lookup = |name: &str| match name {
                "UPSTREAM_A_URL" => Some("http://a".to_owned()),
                "JOURNAL_DIR" => Some("/j".to_owned()),
                "RECONCILE_EVERY" => Some("60".to_owned()),
                "UPSTREAM_A_BOOK" => Some(book.to_owned()),
                _ => None,
            };
            let cores = crate::payment::CoreCount(1);
            let config = crate::config::Config::from_lookup_on(lookup, cores).unwrap();
            let mut shown = config.in_force.iter();
            let shown = &shown
                .find(|one| one.name == "UPSTREAM_A_BOOK")
                .unwrap()
                .text;
            let (start, _) = book.split_once("abc").unwrap();
            assert!(shown.starts_with(start), "{shown}");
            assert!(!shown.contains("xyz"), "{shown}");
            let place = crate::reconcile::Place::parse(book).to_string();
            assert!(
                place.starts_with(start) && !place.contains("xyz"),
                "{place}"
            );
            let asked = config
                .reconcile
                .unwrap()
                .books
                .get(Processor::DEFAULT)
                .clone();
            assert_eq!(asked.as_deref(), Some(book), "what is asked has them");
        }
        // Nor where it is refused.
        let lookup = |name: &str| {
            (name == "UPSTREAM_A_BOOK").then(|| "unix:psp.sock:/list?token=abcxyz".to_owned())
        };
        let faults = crate::config::Config::from_lookup_on(lookup, crate::payment::CoreCount(1));
        let faults = faults.unwrap_err();
        assert!(faults.iter().any(|one| one.name == "UPSTREAM_A_BOOK"));
        assert!(!format!("{faults:?}").contains("xyz"), "{faults:?}");
    }
}
