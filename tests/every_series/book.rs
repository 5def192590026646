//! All pages that were seen: which series had two values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// See the header of this file.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<BTreeMap<String, Seen>>);

#[derive(Debug)]
struct Seen {
    first: String,
    has_moved: bool,
}

impl Book {
    /// Takes a page in.
    pub(crate) fn read(&self, page: &str) {
        let mut book = self.0.lock().unwrap();
        for (name, value) in samples(page) {
            let seen = book.entry(name.to_owned()).or_insert_with(|| Seen {
                first: value.to_owned(),
                has_moved: false,
            });
            seen.has_moved |= seen.first != value;
        }
    }

    /// Whether this series was seen with two values.
    pub(crate) fn has_moved(&self, name: &str) -> bool {
        let book = self.0.lock().unwrap();
        book.get(name).is_some_and(|seen| seen.has_moved)
    }

    /// What is wrong, compared with the series of a fresh page and those that are known to stand
    /// still.
    pub(crate) fn faults(&self, fresh: &str, still: &[(&str, &str)]) -> Vec<String> {
        let book = self.0.lock().unwrap();
        let fresh: BTreeSet<&str> = samples(fresh).map(|(name, _)| name).collect();
        let mut faults = Vec::new();
        for name in &fresh {
            let has_moved = book.get(*name).is_some_and(|seen| seen.has_moved);
            match (has_moved, still.iter().find(|entry| matches(entry.0, name))) {
                (false, None) => faults.push(format!("never moved: {name}")),
                (true, Some((entry, _))) => {
                    faults.push(format!("moved, and listed as still by {entry}: {name}"));
                }
                (true, None) | (false, Some(_)) => {}
            }
        }
        for name in book.keys().filter(|name| !fresh.contains(name.as_str())) {
            faults.push(format!("not on a fresh page: {name}"));
        }
        for (entry, reason) in still {
            assert!(!reason.is_empty());
            if !fresh.iter().any(|name| matches(entry, name)) {
                faults.push(format!("listed as still, and not on the page: {entry}"));
            }
        }
        faults
    }
}

/// Series and their values, without the buckets of histograms: which one a span falls into is luck
/// here, and a test beside the page fills each.
fn samples(page: &str) -> impl Iterator<Item = (&str, &str)> {
    page.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(name, _)| !name.contains("_bucket{"))
}

fn matches(entry: &str, name: &str) -> bool {
    match entry.strip_suffix('*') {
        Some(begin) => name.starts_with(begin),
        None => name == entry,
    }
}

#[test]
fn the_book_finds_each_fault() {
    let book = Book::default();
    book.read("a 0\nb 0\nc 7\n");
    book.read("# TYPE a counter\na 1\nb 0\nc 7\nd{x=\"y\"} 1\ne_bucket{le=\"1\"} 3\n");
    assert_eq!(
        book.faults(
            "a 0\nb 0\nc 7\n",
            &[("a", "why"), ("c*", "why"), ("z", "why")]
        ),
        [
            "moved, and listed as still by a: a",
            "never moved: b",
            "not on a fresh page: d{x=\"y\"}",
            "listed as still, and not on the page: z",
        ]
    );
    assert!(
        book.faults(
            "a 0\nd{x=\"y\"} 1\nb 0\nc 7",
            &[("b", "w"), ("c", "w"), ("d*", "w")]
        )
        .is_empty()
    );
}
