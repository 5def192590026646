//! What documents say about the tree, and in which words.

use std::fs;

use super::tree::{files_below, root};

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
        let plain: String = text
            .to_lowercase()
            .chars()
            .map(|one| {
                if one.is_alphanumeric() || one == '_' {
                    one
                } else {
                    ' '
                }
            })
            .collect();
        let plain = format!(
            " {} ",
            plain.split_whitespace().collect::<Vec<_>>().join(" ")
        );
        for word in PRIVATE {
            assert!(!plain.contains(&format!(" {word} ")), "{name}: {word}");
        }
    }
}
