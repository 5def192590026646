//! The rooms of the library are closed: what is outside uses what two lists name, item by item.

use std::fs;

use super::tree::{code_of, files_below, is_rust, root};

/// The lists: what the command uses, and what tests, examples, benches and fuzz targets may use.
const LISTS: [&str; 2] = ["command", "testing"];

fn read(name: &str) -> String {
    code_of(&fs::read_to_string(root().join(name)).unwrap())
}

/// An open module makes all of its public items look used, called or not.
#[test]
fn the_library_opens_nothing_but_its_lists() {
    let code = read("src/lib.rs");
    let open = code.lines().filter_map(|line| {
        let name = line.strip_prefix("pub mod ")?;
        name.split([' ', ';']).next()
    });
    let mut open: Vec<&str> = open.collect();
    open.sort_unstable();
    assert_eq!(open, LISTS);
    for list in [code, read("src/testing.rs")] {
        assert!(!list.contains("::*"), "a whole room is listed");
    }
}

/// What only tests may use is used by tests only, and the command's list by the command only.
#[test]
fn each_list_has_its_users() {
    for (name, text) in files_below("src", is_rust) {
        let code = code_of(&text);
        for list in LISTS {
            assert!(!code.contains(&format!("crate::{list}::")), "{name}");
        }
        assert!(!code.contains("p99::testing"), "{name}");
    }
    for folder in [
        "tests",
        "benches",
        "examples",
        "fuzz/src",
        "fuzz/fuzz_targets",
    ] {
        for (name, text) in files_below(folder, is_rust) {
            let is_this = name == "tests/house/doors.rs";
            assert!(
                is_this || !code_of(&text).contains("p99::command"),
                "{name}"
            );
        }
    }
}
