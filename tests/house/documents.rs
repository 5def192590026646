//! What documents say about the tree, and in which words.

use std::fs;

use super::tree::{files_below, is_rust, root};

/// docs/ARCHITECTURE.md says which files a typical change touches.
#[test]
fn every_file_that_a_change_goes_to_exists() {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let (_, table) = text.split_once("## Where does this change go").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.contains('`')).collect();
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows.into_iter().filter(|row| row.starts_with('|')) {
        for file in row.split('`').skip(1).step_by(2) {
            assert!(root().join(file).is_file(), "{file} of {row}");
        }
    }
}

/// docs/OPERATIONS.md says of each alert how urgent it is and how long it waits.
#[test]
fn every_alert_is_explained_as_its_rule_is() {
    let rules = fs::read_to_string(root().join("monitoring/p99.rules.yml")).unwrap();
    let text = fs::read_to_string(root().join("docs/OPERATIONS.md")).unwrap();
    let (_, table) = text.split_once("\n## Alerts\n").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let mut rows: Vec<&str> = rows
        .map(|row| row.rsplitn(2, " | ").last().unwrap())
        .collect();
    let mut expected: Vec<String> = rules
        .split("- alert: ")
        .skip(1)
        .map(|rule| {
            let field = |name| {
                let (_, rest) = rule.split_once(name)?;
                rest.split(['\n', '}']).next()
            };
            let name = rule.lines().next().unwrap();
            let severity = field("labels: {severity: ").unwrap();
            let wait = field("\n        for: ").unwrap_or("-");
            format!("| `{name}` | {severity} | {wait}")
        })
        .collect();
    rows.sort_unstable();
    expected.sort_unstable();
    assert!(expected.len() > 30, "{expected:?}");
    assert_eq!(rows, expected);
}

/// Words that only p99 uses for what the trade has a name for.
#[test]
fn documents_have_no_private_words() {
    const PRIVATE: [&str; 12] = [
        "octet",
        "octets",
        "dear",
        "dearer",
        "whoever",
        "nobody",
        "somebody",
        "virtues",
        "inkwell",
        "the tower",
        "fitted nothing",
        "as they hold",
    ];
    let docs = files_below("docs", |name| name.ends_with(".md"));
    let more = ["README.md", "CHANGELOG.md", "SECURITY.md"].map(|name| {
        (
            name.to_owned(),
            fs::read_to_string(root().join(name)).unwrap(),
        )
    });
    for (name, text) in docs.into_iter().chain(more) {
        has_none_of(&PRIVATE, &name, &text);
    }
}

/// A docstring says what a value means, and never just `Why.`
#[test]
fn docstrings_are_sentences() {
    const BARE: [&str; 10] = [
        "So", "There", "Why", "Which", "Whose", "Who", "Where", "When", "How", "What",
    ];
    for (name, text) in files_below("src", is_rust) {
        let docs = text
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("/// "));
        let mut words = docs.filter_map(|doc| doc.strip_suffix('.'));
        let bare = words.find(|word| BARE.contains(word));
        // The end of a sentence over two lines begins with a small letter.
        assert_eq!(bare, None, "{name}");
    }
}

/// Comments and log lines of p99 itself say who: a client, an instance, a core.
#[test]
fn sources_say_bytes_and_whom_they_mean() {
    const VAGUE: [&str; 5] = ["octet", "octets", "whoever", "nobody", "somebody"];
    for (name, text) in files_below("src", is_rust) {
        // What the standard library calls the bytes of an address.
        has_none_of(&VAGUE, &name, &text.replace(".octets()", ""));
    }
}

fn has_none_of(words: &[&str], name: &str, text: &str) {
    let is_mark = |one: char| !one.is_alphanumeric() && one != '_';
    let plain = text.to_lowercase().replace(is_mark, " ");
    let plain: Vec<&str> = plain.split_whitespace().collect();
    let plain = format!(" {} ", plain.join(" "));
    for word in words {
        assert!(!plain.contains(&format!(" {word} ")), "{name}: {word}");
    }
}

/// Bounds are told by the ends of their names, those of `limits` by their place (I8).
#[test]
fn every_bound_is_explained() {
    let ends = [
        "_MAX",
        "_MIN",
        "_KEPT",
        "_WITHIN",
        "_PAUSE",
        "_INTERVAL",
        "_TIMEOUT",
    ];
    let (mut count, mut unexplained) = (0, Vec::new());
    for (name, text) in files_below("src", is_rust) {
        let is_bound = |constant: &str| {
            let is_shared = name == "src/limits.rs" && constant != "_";
            is_shared || ends.iter().any(|end| constant.ends_with(end))
        };
        let lines = text.lines().zip(text.lines().skip(1));
        for (before, line) in lines.filter(|(_, line)| !line.starts_with(' ')) {
            let rest = line.split_once("const ").map(|(_, rest)| rest);
            let constant = rest.and_then(|rest| rest.split_once(':'));
            if let Some((constant, _)) = constant.filter(|(constant, _)| is_bound(constant)) {
                count += 1;
                if !before.starts_with("///") {
                    unexplained.push(format!("{name}: {constant}"));
                }
            }
        }
    }
    assert!(unexplained.is_empty(), "{unexplained:?}");
    assert!(count > 150, "only {count} were found");
}
