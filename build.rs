//! What `p99 --version` says of its build: the commit, the profile, the target and the compiler.
//!
//! The same sources give the same text: no time, no host name, no path. The commit is P99_COMMIT
//! where that is set (an image or a package is built without .git), else what git says of this
//! folder, else unknown. Without git, or outside of a repository, the build goes on. A development
//! build does not look: it would be made anew with every commit.

#![allow(
    clippy::print_stdout,
    reason = "Cargo reads what a build script prints"
)]

use std::env;
use std::path::Path;
use std::process::Command;

/// Sources that go into the binary; a change of one of them is no commit yet.
const SOURCES: [&str; 4] = ["src", "build.rs", "Cargo.toml", "Cargo.lock"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=P99_COMMIT");
    let profile = variable("PROFILE");
    let commit = match given_commit() {
        Some(commit) => commit,
        None if profile == "release" => git_commit().unwrap_or_else(|| "unknown".to_owned()),
        None => "not recorded".to_owned(),
    };
    let compiler = said_by(Command::new(variable("RUSTC")).arg("--version"));
    let compiler = compiler.unwrap_or_else(|| "rustc".to_owned());
    let compiler = compiler.split(" (").next().unwrap_or_default().to_owned();
    let target = variable("TARGET");
    println!("cargo::rustc-env=P99_BUILD=commit {commit}, {profile}, {target}, {compiler}");
}

/// P99_COMMIT, unless it is empty. Anything but a name of a commit is refused: it is printed.
fn given_commit() -> Option<String> {
    let commit = env::var("P99_COMMIT")
        .ok()
        .filter(|text| !text.is_empty())?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-+._".contains(&byte);
    if commit.len() <= 64 && commit.bytes().all(is_name) {
        return Some(commit);
    }
    println!("cargo::error=P99_COMMIT={commit:?}: allowed are 1 to 64 of A-Z a-z 0-9 - + . _");
    None
}

/// The commit of this folder, with `-dirty` where sources differ from it.
fn git_commit() -> Option<String> {
    // A folder that was unpacked inside of another project's repository is not of its commit.
    let top = git(&["rev-parse", "--show-prefix"])?;
    if !top.is_empty() {
        return None;
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    // Where a commit is noted. A file that is missing would have every build made anew.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let mut status = vec!["status", "--porcelain", "--"];
    status.extend(SOURCES);
    let is_clean = git(&status)?.is_empty();
    Some(format!("{commit}{}", if is_clean { "" } else { "-dirty" }))
}

fn git(arguments: &[&str]) -> Option<String> {
    said_by(Command::new("git").args(arguments))
}

/// What a command prints when it succeeds.
fn said_by(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}
