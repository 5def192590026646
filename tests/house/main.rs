//! The house rules that neither the compiler nor clippy knows: which room may use which, how long
//! a file may grow, what every file must say. Each rule is one test over the text of the tree.
//!
//! [`FLOORS`] is the one place that says who stands where; docs/ARCHITECTURE.md repeats it in
//! words and is compared with it. A rule stands here only when the whole tree keeps it.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a broken rule shall fail the test"
)]

#[path = "../kit/breaks.rs"]
mod breaks;
mod documents;
mod doors;
mod owner;
mod readme;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use tree::{Module, code_of, files_below, is_rust, modules, paths_in, root, rust_files, uses};

/// Every room of the library by floor. A room is a file of `src/` or a folder with all its files.
/// It may use rooms of strictly lower floors only, so circles cannot exist.
const FLOORS: &[&[&str]] = &[
    &["limits"],
    &["atomics", "clock", "generations", "keys", "table", "words"],
    &["payment", "http", "logging", "reactor", "tls"],
    &["wire", "config", "metrics"],
    &[
        "addresses",
        "breaker",
        "claims",
        "concurrency",
        "credentials",
        "descriptors",
        "latency",
        "ledger",
        "mailbox",
        "peers",
        "probe",
        "rate_limit",
        "supervisor",
        "wheel",
    ],
    &["journal", "route", "sockets"],
    &["reconcile", "store"],
    &["events"],
    &["judge", "timeline"],
    &["audit", "flow"],
    &["owner"],
    &["shared", "upstream"],
    &["pay"],
    &["server"],
    &["cores"],
];

/// The simulated processor stands outside the tower: it may use these, and no room may use it.
const WING: &str = "sim";
const WING_USES: &[&str] = &["limits", "clock", "payment"];

/// Folders whose `mod.rs` is a room of its own and not only a door: it uses its files, and they
/// extend its type. Everywhere else `mod.rs` declares, re-exports and holds what its files share.
const SPREAD: &[(&str, &str)] = &[
    ("cores", "the threads speak of the door's faults"),
    (
        "breaker",
        "one Breaker, the words of its settings beside it",
    ),
    ("config", "one Config, read by several files"),
    ("owner", "one Owner, its moves in several files"),
    ("pay", "one CoreRuntime, its errands in several files"),
    ("server", "one Core, its steps in several files"),
    ("sim", "one Simulator, and what its tasks share"),
    (
        "upstream",
        "one Upstream, the lives of its connections in several files",
    ),
];

/// A file has at most this many lines, tests included.
const LINES_MAX: usize = 400;

/// Longer files, and why each is one piece.
const LONG: &[(&str, &str)] = &[
    (
        "src/breaker/mod.rs",
        "a state machine in atomics: every move of its words in one file",
    ),
    (
        "src/flow.rs",
        "every question about where a payment may go is asked in one file (I2, I3)",
    ),
    ("src/owner/mod.rs", "the owner's doors and what they share"),
    (
        "tests/payments/api.rs",
        "every promise of the HTTP API, one test each",
    ),
];

/// A line of Rust has at most this many characters.
const WIDTH_MAX: usize = 100;

/// The files in which a float may be written: quantiles, shares and waits, never money (I7).
const FLOATS: &[&str] = &[];

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&room))
}

#[test]
fn every_room_stands_on_one_floor() {
    let rooms: BTreeSet<String> = modules()
        .into_keys()
        .map(|module| module[0].clone())
        .collect();
    let mut placed: Vec<&str> = FLOORS.concat();
    placed.push(WING);
    placed.sort_unstable();
    let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
    assert_eq!(placed, rooms);
}

#[test]
fn a_room_uses_only_rooms_of_lower_floors() {
    let mut climbs = Vec::new();
    for (module, used) in uses() {
        for target in used.iter().filter(|target| target[0] != module[0]) {
            let is_fine = if module[0] == WING {
                WING_USES.contains(&target[0].as_str())
            } else {
                floor_of(&target[0]).is_some_and(|floor| Some(floor) < floor_of(&module[0]))
            };
            if !is_fine {
                climbs.push(format!("{} uses {}", module.join("::"), target.join("::")));
            }
        }
    }
    assert!(climbs.is_empty(), "{climbs:#?}");
}

#[test]
fn only_the_command_and_tests_know_the_simulator() {
    for (name, text) in files_below("src", is_rust) {
        let is_allowed = matches!(
            name.as_str(),
            "src/main.rs" | "src/demo.rs" | "src/lib.rs" | "src/testing.rs"
        );
        if !is_allowed && !name.starts_with("src/sim/") {
            assert!(!code_of(&text).contains("sim::"), "{name}");
        }
    }
}

/// The simulator shares p99's types, but no code of it that reads, writes or adds up money: what is
/// wrong in both would look right.
#[test]
fn the_simulator_has_its_own_code_for_money() {
    let shared = ["Cents", "CorrelationId", "Totals", "UpstreamId"];
    for (name, text) in files_below("src/sim", is_rust) {
        let code = code_of(&text);
        for path in paths_in(&code) {
            if let [_, room, noun, ..] = &path[..]
                && room == "payment"
            {
                assert!(shared.contains(&noun.as_str()), "{name} uses {noun}");
            }
        }
        for call in ["from_json_number", "amount.write(", "totals.add("] {
            assert!(!code.contains(call), "{name} calls {call}");
        }
    }
}

/// Files of one folder form no circle among themselves.
#[test]
fn no_file_of_a_folder_needs_one_that_needs_it() {
    let uses = uses();
    let beside = |module: &Module| -> Vec<Module> {
        let parent = &module[..module.len() - 1];
        let of_folder = |other: &&Module| other.len() == module.len() && other.starts_with(parent);
        uses[module].iter().filter(of_folder).cloned().collect()
    };
    let all: Vec<&Module> = uses.keys().filter(|module| module.len() > 1).collect();
    for start in &all {
        let mut seen = BTreeSet::new();
        let mut next = beside(start);
        while let Some(module) = next.pop() {
            assert_ne!(&module, *start, "{module:?} is in a circle with {seen:?}");
            if seen.insert(module.clone()) {
                next.extend(beside(&module));
            }
        }
    }
}

/// A door stands half a floor under its files, unless it is a room that is spread over them.
#[test]
fn a_door_uses_none_of_its_files() {
    let uses = uses();
    let mut spread = BTreeSet::new();
    for (module, used) in &uses {
        let inside = |target: &&Module| target.len() > module.len() && target.starts_with(module);
        let files: Vec<&Module> = used.iter().filter(inside).collect();
        let is_back = |file: &&&Module| uses[**file].contains(module);
        if files.iter().any(|file| is_back(&file)) {
            spread.insert(module.join("::"));
        }
    }
    let listed: BTreeSet<String> = SPREAD.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(spread, listed);
}

#[test]
fn a_file_over_400_lines_has_a_reason() {
    let long: BTreeSet<String> = rust_files()
        .into_iter()
        .filter(|(_, text)| text.lines().count() > LINES_MAX)
        .map(|(name, _)| name)
        .collect();
    let listed: BTreeSet<String> = LONG.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(long, listed);
}

#[test]
fn lines_are_not_too_long() {
    for (name, text) in rust_files() {
        for (number, line) in (1..).zip(text.lines()) {
            // A raw string that stands alone cannot be broken.
            if line.trim_start().starts_with("r#\"") {
                continue;
            }
            let width = line.chars().count();
            assert!(width <= WIDTH_MAX, "{name}:{number} has {width} characters");
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for (name, text) in rust_files() {
        assert!(text.starts_with("//! "), "{name} has no header");
    }
}

#[test]
fn no_float_comes_near_money() {
    for (name, text) in files_below("src", is_rust) {
        let code = code_of(&text);
        let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        let has_float = words.any(|word| word == "f64" || word == "f32");
        assert_eq!(has_float, FLOATS.contains(&name.as_str()), "{name}");
    }
}

/// Nothing leads out of the repository, and no question waits in a comment.
#[test]
fn nothing_points_outside_or_waits_to_be_done() {
    let forbidden = [
        concat!("/wo", "rk/"),
        concat!("../sha", "red"),
        concat!("DESIGN", ".md"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
    ];
    let folders = [
        "src",
        "tests",
        "benches",
        "examples",
        "scripts",
        "docs",
        "monitoring",
        "deploy",
    ];
    let in_folders = folders
        .into_iter()
        .flat_map(|folder| files_below(folder, |name| !name.contains("__pycache__")));
    let at_top = [
        "README.md",
        "CHANGELOG.md",
        "Cargo.toml",
        "justfile",
        "Dockerfile",
        ".ci/run",
    ]
    .into_iter()
    .map(|name| {
        (
            name.to_owned(),
            fs::read_to_string(root().join(name)).unwrap(),
        )
    });
    for (name, text) in in_folders.chain(at_top) {
        for word in forbidden {
            assert!(!text.contains(word), "{name} has {word}");
        }
    }
}

/// docs/ARCHITECTURE.md lists the floors as `| 4 | breaker, claims |`.
#[test]
fn the_architecture_lists_the_floors_as_they_are() {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let mut listed = Vec::new();
    for line in text.lines() {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (Some(floor), Some(rooms)) = (cells.next(), cells.next()) else {
            continue;
        };
        if floor.parse() == Ok(listed.len()) {
            let rooms = rooms
                .split(", ")
                .map(|room| room.trim_matches('`').to_owned());
            listed.push(rooms.collect::<Vec<_>>());
        }
    }
    let floors: Vec<Vec<String>> = FLOORS
        .iter()
        .map(|floor| floor.iter().map(|room| (*room).to_owned()).collect())
        .collect();
    assert_eq!(listed, floors);
}

/// docs/INVARIANTS.md names tests as `file: name_of_the_test`; each must be there.
#[test]
fn every_test_that_the_invariants_name_exists() {
    let text = fs::read_to_string(root().join("docs/INVARIANTS.md")).unwrap();
    let files: BTreeMap<String, String> = rust_files().into_iter().collect();
    let mut count = 0;
    for line in text.lines() {
        let Some((file, test)) = line
            .strip_prefix("- `")
            .and_then(|line| line.split('`').next())
            .and_then(|line| line.split_once(": "))
        else {
            continue;
        };
        let code = files.get(file).unwrap_or_else(|| panic!("no {file}"));
        assert!(
            code.contains(&format!("fn {test}(")),
            "{file} has no {test}"
        );
        count += 1;
    }
    assert!(count > 18, "only {count} tests are named");
    for number in 1..=9 {
        let heading = format!("## I{number} ");
        assert!(text.contains(&heading), "{heading}");
    }
}

/// `lab prove-world` edits the tree; each of its texts must be there exactly once.
#[test]
fn every_deliberate_fault_finds_its_place() {
    let text = fs::read_to_string(root().join("examples/lab/breaks.txt")).unwrap();
    let all = breaks::read(&text);
    assert!(all.len() > 20, "only {} are listed", all.len());
    assert!(all.iter().all(|one| !one.meaning.is_empty()));
    let faults: Vec<String> = all
        .iter()
        .filter_map(|one| one.apply(root()).err())
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn paths_are_multiplied_out() {
    let code = "use crate::a::{self, b::{C, D as E}, f};\nlet x = super::g::h();";
    let mut found: Vec<String> = paths_in(code).iter().map(|path| path.join("::")).collect();
    found.sort();
    let expected = [
        "crate::a::b::C",
        "crate::a::b::D",
        "crate::a::f",
        "crate::a::self",
        "super::g::h",
    ];
    assert_eq!(found, expected);
}
