//! The owner's files call those below them and never back, and what cannot happen there ends the
//! process instead of being passed over.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{code_of, files_below, is_rust};

/// Early returns from the owner's files that do nothing: each is about something that may be gone
/// for a good reason.
const SILENT_RETURNS_MAX: usize = 12;

/// The code of the owner's files, without tests, by file.
fn files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for (name, text) in files_below("src/owner", is_rust) {
        if name.ends_with("tests.rs") {
            continue;
        }
        let code = code_of(&text);
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap();
        files.insert(name, code.to_owned());
    }
    assert!(files.len() > 10, "{files:?}");
    files
}

/// The methods of `Owner` that `code` has.
fn methods_of(code: &str) -> impl Iterator<Item = &str> {
    let blocks = code.split("\nimpl Owner {\n").skip(1);
    let inside = blocks.map(|block| block.split("\n}\n").next().unwrap_or(block));
    inside.flat_map(str::lines).filter_map(|line| {
        let (indent, rest) = line.split_once("fn ")?;
        let is_method = line.starts_with("    ") && !indent.contains(['(', '='].as_slice())
            || matches!(indent.trim(), "pub(super)" | "pub(crate)");
        let name = rest.split(['(', '<']).next()?;
        is_method.then_some(name)
    })
}

#[test]
fn no_two_files_of_the_owner_call_each_other() {
    let files = files();
    let home: BTreeMap<&str, &str> = files
        .iter()
        .flat_map(|(name, code)| methods_of(code).map(|method| (method, name.as_str())))
        .collect();
    assert!(home.len() > 80, "{home:?}");
    let mut calls: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (name, code) in &files {
        let joined: String = code.split_whitespace().collect();
        for (method, target) in &home {
            if *target != name && joined.contains(&format!("self.{method}(")) {
                calls.insert((name, target));
            }
        }
    }
    assert!(calls.len() > 20, "{calls:?}");
    // Files from the lowest up: one that calls a file which is not below yet has to wait. What can
    // never be placed is part of a circle.
    let mut placed: BTreeSet<&str> = BTreeSet::new();
    loop {
        let before = placed.len();
        for name in files.keys() {
            let is_based = |(_, target): &&(&str, &str)| !placed.contains(target);
            let mut missing = calls
                .iter()
                .filter(|(from, _)| from == name)
                .filter(is_based);
            if missing.next().is_none() {
                placed.insert(name);
            }
        }
        if placed.len() == before {
            break;
        }
    }
    let circle: Vec<_> = calls
        .iter()
        .filter(|(from, to)| !placed.contains(from) && !placed.contains(to))
        .collect();
    assert!(circle.is_empty(), "{circle:?}");
}

#[test]
fn the_owner_passes_over_little_in_silence() {
    let mut silent = Vec::new();
    for (name, code) in files() {
        let joined: Vec<&str> = code.split_whitespace().collect();
        let found = joined
            .windows(4)
            .filter(|words| *words == ["else", "{", "return;", "};"])
            .count();
        silent.extend(std::iter::repeat_n(name, found));
    }
    assert!(silent.len() <= SILENT_RETURNS_MAX, "{silent:?}");
}
