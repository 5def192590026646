//! Does the world test have teeth? Breaks one rule after the other and expects it to notice.
//!
//! Each break of breaks.txt is a small edit of a copy of the tree; the copy's world test must then
//! fail. The unbroken copy must pass. The copy and its build stay in target/prove-world, so that
//! only p99 itself is built again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use clap::Args;

use crate::kit::breaks::{self, Break};
use crate::kit::report::{Report, say};

const LIST: &str = include_str!("breaks.txt");
/// The unbroken copy plays these.
const WELL_SEEDS: u32 = 256;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Only breaks whose name contains one of these
    words: Vec<String>,
    /// Name the breaks, see whether each finds its place, and stop
    #[arg(long)]
    list: bool,
    /// Seeds for each break
    #[arg(long, default_value_t = 2_000)]
    seeds: u32,
}

pub(crate) fn run(options: &Options) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_meant = |one: &Break| {
        let words = &options.words;
        words.is_empty() || words.iter().any(|word| one.name.contains(word))
    };
    let chosen: Vec<Break> = breaks::read(LIST).into_iter().filter(is_meant).collect();
    let mut report = Report::default();
    for one in &chosen {
        if options.list {
            say(&format!("{:28} {}", one.name, one.meaning));
        }
        if let Err(fault) = one.apply(root) {
            report.broke("every break finds its place", || fault);
        }
    }
    if !options.list && report.is_kept() {
        prove(root, &chosen, options.seeds, &mut report);
    }
    report.print(&format!("prove-world, {} breaks", chosen.len()))
}

fn prove(root: &Path, chosen: &[Break], seeds: u32, report: &mut Report) {
    let place = Place::new(root);
    place.restore();
    match place.play(Which::All, WELL_SEEDS) {
        Played::Passed => say("ok        the unbroken tree passes"),
        Played::Failed(said) => {
            report.broke("the unbroken tree passes", || said);
            return;
        }
    }
    for one in chosen {
        place.restore();
        for (name, text) in one.apply(&place.copy).expect("it found its place before") {
            fs::write(place.copy.join(name), text).expect("the copy");
        }
        let began = Instant::now();
        match place.play(Which::of(one), seeds) {
            Played::Passed => {
                report.broke("the world notices", || {
                    format!("{}: {}", one.name, one.meaning)
                });
                say(&format!("MISSED    {}: {}", one.name, one.meaning));
            }
            Played::Failed(said) => {
                let seconds = began.elapsed().as_secs();
                say(&format!(
                    "noticed   {} ({seconds} s): {}",
                    one.name,
                    first_words(&said)
                ));
            }
        }
    }
    place.restore();
}

/// Which worlds are played.
#[derive(Clone, Copy, Debug)]
enum Which {
    All,
    /// That of the shared store alone.
    Store,
}

impl Which {
    fn of(one: &Break) -> Self {
        if one.name.starts_with("store-") {
            Self::Store
        } else {
            Self::All
        }
    }
}

enum Played {
    Passed,
    /// What it said.
    Failed(String),
}

/// The copy and its build.
struct Place {
    root: PathBuf,
    copy: PathBuf,
    build: PathBuf,
}

impl Place {
    fn new(root: &Path) -> Self {
        let place = root.join("target/prove-world");
        Self {
            root: root.to_owned(),
            copy: place.join("tree"),
            build: place.join("build"),
        }
    }

    /// The files that git knows or would add, as they are now. Equal files keep their time, so that
    /// cargo builds only what differs.
    fn restore(&self) {
        let words = [
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ];
        let output = Command::new("git")
            .args(words)
            .current_dir(&self.root)
            .output();
        let output = output.expect("git");
        let names = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_file = |name: &&str| !name.is_empty() && self.root.join(name).is_file();
        let wanted: BTreeSet<PathBuf> = names
            .split('\0')
            .filter(is_file)
            .map(PathBuf::from)
            .collect();
        for name in &wanted {
            let (old, new) = (self.root.join(name), self.copy.join(name));
            let text = fs::read(old).expect("a file of the tree");
            if fs::read(&new).ok().as_ref() != Some(&text) {
                fs::create_dir_all(new.parent().expect("a folder")).expect("the copy");
                fs::write(new, text).expect("the copy");
            }
        }
        let mut folders = vec![self.copy.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("the copy").flatten() {
                let path = entry.path();
                let name = path.strip_prefix(&self.copy).expect("below it");
                if path.is_dir() {
                    folders.push(path);
                } else if !wanted.contains(name) {
                    fs::remove_file(path).expect("the copy");
                }
            }
        }
    }

    fn cargo(&self, which: Which, seeds: u32, more: &[&str]) -> Output {
        let only: &[&str] = match which {
            Which::All => &[],
            Which::Store => &["store::"],
        };
        Command::new("cargo")
            .args(["test", "--quiet", "--test", "world"])
            .args(only)
            .args(more)
            .current_dir(&self.copy)
            .env("CARGO_TARGET_DIR", &self.build)
            .env("WORLD_SEEDS", seeds.to_string())
            // Longer ones.
            .env("STORE_SEEDS", (seeds / 4).max(1).to_string())
            .env("RUST_BACKTRACE", "0")
            .env_remove("WORLD_SEED")
            .output()
            .expect("cargo")
    }

    /// Runs the copy's world test.
    fn play(&self, which: Which, seeds: u32) -> Played {
        let text = |output: Output| {
            let said = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&said).into_owned()
        };
        let built = self.cargo(which, seeds, &["--no-run"]);
        assert!(
            built.status.success(),
            "the broken copy does not build:\n{}",
            text(built)
        );
        let played = self.cargo(which, seeds, &[]);
        if played.status.success() {
            Played::Passed
        } else {
            Played::Failed(text(played))
        }
    }
}

/// The first invariant that a seed broke, in its own words.
fn first_words(said: &str) -> String {
    let story = said
        .split_once("WORLD_SEED=")
        .or_else(|| said.split_once("panicked at "))
        .map_or(said, |(_, story)| story);
    let mut lines = story.lines().filter(|line| !line.trim().is_empty());
    let (head, words) = (
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
    );
    let head = head.split(": panicked").next().unwrap_or_default();
    format!(
        "seed {head}: {}",
        words.chars().take(90).collect::<String>()
    )
}
