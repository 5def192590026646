//! The tree as text: its files, the modules of the library, and which of them use which.
//!
//! Paths are read from the code itself: whatever begins with `crate`, `super` or `self`, in `use`
//! declarations and elsewhere. Comments and tests do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder`, with its path from the root, in order.
pub(crate) fn files_below(
    folder: &str,
    wanted: impl Fn(&str) -> bool + Copy,
) -> Vec<(String, String)> {
    fn walk(path: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(path).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    found.sort();
    let name = |path: &PathBuf| {
        let name = path.strip_prefix(root()).unwrap();
        name.to_str().unwrap().to_owned()
    };
    found
        .iter()
        .map(|path| (name(path), path))
        .filter(|(name, _)| wanted(name))
        .map(|(name, path)| (name, fs::read_to_string(path).unwrap()))
        .collect()
}

pub(crate) fn is_rust(name: &str) -> bool {
    name.ends_with(".rs")
}

pub(crate) fn rust_files() -> Vec<(String, String)> {
    let folders = ["src", "tests", "benches", "examples"];
    folders
        .into_iter()
        .flat_map(|folder| files_below(folder, is_rust))
        .collect()
}

/// A module of the library, as its path: `journal::keeper` is `["journal", "keeper"]`.
pub(crate) type Module = Vec<String>;

/// Every module of the library but tests, with its code, and whether it is a `mod.rs`.
pub(crate) fn modules() -> BTreeMap<Module, (String, bool)> {
    let mut all = BTreeMap::new();
    for (name, text) in files_below("src", is_rust) {
        let path = name.strip_prefix("src/").unwrap();
        let path = path.strip_suffix(".rs").unwrap();
        let mut module: Module = path.split('/').map(str::to_owned).collect();
        let is_door = module.last().is_some_and(|last| last == "mod");
        if is_door {
            module.pop();
        }
        let is_test = |part: &String| part == "tests" || part == "stress";
        let is_command = matches!(
            path,
            "main"
                | "backups"
                | "comparison"
                | "ctl"
                | "demo"
                | "explain"
                | "inspection"
                | "store_command"
        );
        let is_list = path == "lib" || path == "testing";
        if !module.iter().any(is_test) && !is_command && !is_list {
            all.insert(module, (code_of(&text), is_door));
        }
    }
    all
}

/// The text without comments and without the tests at its end.
pub(crate) fn code_of(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        if line == "mod tests {" {
            break;
        }
        if !line.trim_start().starts_with("//") {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// Every path that begins with `crate`, `super` or `self` in `code`, its braces multiplied out.
pub(crate) fn paths_in(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            expand(&code[at..], &[], &mut found);
        }
    }
    found
}

/// Reads one use tree or path at the start of `text`; returns what is left.
fn expand<'a>(text: &'a str, prefix: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = prefix.to_vec();
    let mut rest = text.trim_start();
    loop {
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        path.push(rest[..end].to_owned());
        rest = &rest[end..];
        let Some(more) = rest.strip_prefix("::") else {
            found.push(path);
            return rest;
        };
        rest = more.trim_start();
        if let Some(mut list) = rest.strip_prefix('{') {
            loop {
                list = expand(list, &path, found).trim_start();
                // What stands behind a name up to the comma or brace: `as other`.
                let end = list.find([',', '}']).unwrap_or(list.len());
                let was_last = list[end..].starts_with('}');
                list = list.get(end + 1..).unwrap_or_default().trim_start();
                if was_last || list.is_empty() {
                    return list;
                }
                if let Some(after) = list.strip_prefix('}') {
                    return after;
                }
            }
        }
    }
}

/// The module that `path`, written in `module`, leads to.
fn resolve(path: &[String], module: &Module, all: &BTreeMap<Module, (String, bool)>) -> Module {
    let mut at = if path[0] == "crate" {
        Vec::new()
    } else {
        module.clone()
    };
    let mut best = Vec::new();
    for part in path {
        match part.as_str() {
            "crate" | "self" => {}
            "super" => {
                at.pop();
            }
            name => at.push(name.to_owned()),
        }
        if all.contains_key(&at) {
            best.clone_from(&at);
        }
    }
    best
}

/// Whether `code` holds `path` at the beginning of a path.
fn names(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

/// Which module uses which other ones.
pub(crate) fn uses() -> BTreeMap<Module, BTreeSet<Module>> {
    let all = modules();
    let mut uses = BTreeMap::new();
    for (module, (code, is_door)) in &all {
        let mut found: BTreeSet<Module> = BTreeSet::new();
        for path in paths_in(code) {
            let target = resolve(&path, module, &all);
            if !target.is_empty() && target != *module {
                found.insert(target);
            }
        }
        if *is_door {
            // A door names its own files without `self` too; what it re-exports it does not use.
            let is_re_export = |line: &str| {
                ["pub use ", "pub(crate) use "]
                    .iter()
                    .any(|start| line.starts_with(start))
            };
            let own = code.lines().filter(|line| !is_re_export(line));
            let own: String = own.flat_map(|line| [line, "\n"]).collect();
            let is_inside =
                |other: &&Module| other.len() == module.len() + 1 && other.starts_with(module);
            for file in all.keys().filter(is_inside) {
                let name = file.last().expect("a module has a name");
                if names(&own, &format!("{name}::")) {
                    found.insert(file.clone());
                }
            }
        }
        uses.insert(module.clone(), found);
    }
    uses
}
