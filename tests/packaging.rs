//! What is installed beside the binary says what the binary does: the man page and the default
//! environment file are written from `--help` and the table of settings, the units name settings
//! that exist and spans that fit the defaults, and `--version` names the build.
//!
//! `P99_WRITE=1 cargo test --test packaging` writes both files anew.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "what goes wrong here shall fail the test"
)]

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use p99::testing::config::{Allowed, SETTINGS, Setting};

fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/debian/")).join(name)
}

/// Compares `name` with what it must be, or writes it where that is asked for.
fn is_in_step(name: &str, wanted: &str) {
    if std::env::var_os("P99_WRITE").is_some() {
        fs::write(file(name), wanted).unwrap();
    }
    let found = fs::read_to_string(file(name)).unwrap_or_default();
    let place = found.lines().zip(wanted.lines()).position(|(a, b)| a != b);
    assert!(
        found == wanted,
        "deploy/debian/{name} is not what it must be, first in line {:?}; \
         `P99_WRITE=1 cargo test --test packaging` writes it",
        place.map(|line| line + 1)
    );
}

fn said(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_p99"));
    let output = command.args(arguments).env_clear().output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every command that has none below it, in the order of `--help`.
fn commands(above: &[String], found: &mut Vec<Vec<String>>) {
    let mut words: Vec<&str> = above.iter().map(String::as_str).collect();
    words.push("--help");
    let text = said(&words);
    let Some((_, list)) = text.split_once("\nCommands:\n") else {
        found.push(above.to_vec());
        return;
    };
    let names = list.lines().take_while(|line| !line.is_empty());
    for name in names.map(|line| line.split_whitespace().next().unwrap()) {
        if name != "help" {
            commands(&[above, &[name.to_owned()]].concat(), found);
        }
    }
}

/// Text in which roff sees nothing of its own.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let lines = text.lines().map(|line| {
        let is_request = line.starts_with(['.', '\'']);
        format!("{}{line}", if is_request { "\\&" } else { "" })
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// One command's part of the man page.
fn command_part(words: &[String]) -> String {
    let mut all: Vec<&str> = words.iter().map(String::as_str).collect();
    all.push("--help");
    let text = said(&all);
    let (about, rest) = text.split_once("\n\nUsage: ").unwrap();
    let (usage, details) = rest.split_once('\n').unwrap();
    let mut part = format!(".TP\n.B {}\n{}.\n", plain(usage), plain(about.trim()));
    // All but the option that every command has, which comes last.
    let (details, _) = details.split_once("  -h, --help").unwrap();
    let details = details.trim_matches('\n').trim_end();
    if details != "Options:" {
        write!(part, ".IP\n.nf\n{}\n.fi\n", plain(details)).unwrap();
    }
    part
}

fn allowed(setting: &Setting) -> String {
    match setting.allowed {
        Allowed::Whole { min, max } => format!("{min} to {max}"),
        Allowed::Words(_) | Allowed::Text(_) => setting.allowed.to_string(),
    }
}

fn manual() -> String {
    let mut found = Vec::new();
    commands(&[], &mut found);
    assert!(found.len() >= 9, "{found:?}");
    let parts: String = found.iter().map(|words| command_part(words)).collect();
    let mut settings = String::new();
    for setting in SETTINGS {
        let unit = if setting.unit.is_empty() { "" } else { ", " };
        let Setting {
            name,
            unit: counts,
            default,
            help,
            ..
        } = setting;
        let head = plain(&format!("{name}{unit}{counts} [default: {default}]"));
        let text = plain(&format!("{help}\nAllowed: {}.", allowed(setting)));
        let text = text.replacen('\n', ".\n", 1);
        write!(settings, ".TP\n.B {head}\n{text}\n").unwrap();
    }
    let template = fs::read_to_string(file("p99.1.in")).unwrap();
    template
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@COMMANDS@\n", &parts)
        .replace("@SETTINGS@\n", &settings)
}

#[test]
fn the_man_page_has_every_command_and_setting() {
    is_in_step("p99.1", &manual());
}

#[test]
fn the_environment_file_has_every_setting_commented_out() {
    let mut text = String::from(
        "# Settings of p99, read by p99.service. `p99 check` says what holds, man p99 says more.\n\
         # Each line that begins with #NAME= shows a default; without a value it has none, or\n\
         # follows from others. One must be set: UPSTREAM_A_URL. The service sets JOURNAL_DIR to\n\
         # /var/lib/p99/journal, unless it is set here. Where p99.socket is active, it says where\n\
         # clients connect, and PORT or LISTEN tells `p99 health` the same.\n",
    );
    for setting in SETTINGS {
        let value = match setting.default {
            p99::testing::config::DefaultValue::Text(value) => value,
            p99::testing::config::DefaultValue::Required
            | p99::testing::config::DefaultValue::Derived(_) => "",
        };
        let default = setting.default;
        let default = if value.is_empty() {
            format!(" Default: {default}.")
        } else {
            String::new()
        };
        let unit = if setting.unit.is_empty() {
            String::new()
        } else {
            format!(" ({})", setting.unit)
        };
        let (name, help) = (setting.name, setting.help);
        write!(
            text,
            "\n# {help}{unit}.{default}\n# Allowed: {}.\n#{name}={value}\n",
            allowed(setting)
        )
        .unwrap();
    }
    is_in_step("p99.default", &text);
}

#[test]
fn the_units_fit_the_settings() {
    let read = |name: &str| fs::read_to_string(file(name)).unwrap();
    let service = read("p99.service");
    let value = |name: &str| {
        let mut lines = service.lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("{name} is not set"))
    };
    let default = |name: &str| -> u64 {
        let setting = SETTINGS
            .iter()
            .find(|setting| setting.name == name)
            .unwrap();
        setting.default.to_string().parse().unwrap()
    };
    let (set, _) = value("Environment").split_once('=').unwrap();
    assert!(SETTINGS.iter().any(|setting| setting.name == set), "{set}");
    let drain = default("DRAIN_DELAY_MS") / 1_000 * 4;
    let stop: u64 = value("TimeoutStopSec").parse().unwrap();
    assert!(stop > 2 * (drain + default("SHUTDOWN_GRACE_SECS")));
    assert_eq!(value("Type"), "notify");
    for call in ["io_uring_setup", "io_uring_enter", "io_uring_register"] {
        assert!(value("SystemCallFilter").contains(call), "{call}");
    }
    let socket = read("p99.socket");
    assert!(socket.contains(&format!("\nListenStream={}\n", default("PORT"))));
    for (text, name) in [(socket, "public"), (read("p99-admin.socket"), "admin")] {
        assert!(text.contains(&format!("\nFileDescriptorName={name}\n")));
        assert!(text.contains("\nService=p99.service\n"));
    }
}

/// An image is built without tests, benches and examples, so the manifest may not name any there.
#[test]
fn the_image_is_built_from_what_is_copied() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let (dockerfile, context) = (read("Dockerfile"), read(".dockerignore"));
    for name in ["Cargo.toml", "Cargo.lock", "build.rs", "src"] {
        assert!(context.contains(&format!("\n!{name}\n")), "{name}");
        let mut copies = dockerfile.lines().filter(|line| line.starts_with("COPY "));
        assert!(copies.any(|line| line.contains(name)), "{name}");
    }
    let (_, rest) = dockerfile.split_once("awk '").unwrap();
    let (program, _) = rest.split_once("' Cargo.toml").unwrap();
    let output = Command::new("awk")
        .args([program, root.join("Cargo.toml").to_str().unwrap()])
        .output()
        .unwrap();
    let stripped = String::from_utf8(output.stdout).unwrap();
    let tables: Vec<&str> = stripped
        .lines()
        .filter(|line| line.starts_with('['))
        .collect();
    assert!(
        tables.iter().all(|line| !line.starts_with("[[")),
        "{tables:?}"
    );
    for table in [
        "[package]",
        "[features]",
        "[dependencies]",
        "[profile.release]",
    ] {
        assert!(tables.contains(&table), "{table}");
    }
}

fn at_root(name: &str) -> String {
    fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// What is not scraped has no alert: a static target for one instance, its name for many.
#[test]
fn every_instance_of_the_stack_is_scraped() {
    let (stack, prometheus) = (
        at_root("compose.yaml"),
        at_root("monitoring/prometheus.yml"),
    );
    let (_, services) = stack.split_once("\nservices:\n").unwrap();
    let lines: Vec<&str> = services.lines().collect();
    let is_instance = |pair: &&[&str]| pair[1] == "    <<: *shard";
    let instances = lines.windows(2).filter(is_instance);
    let names: Vec<&str> = instances
        .map(|pair| pair[0].trim().trim_end_matches(':'))
        .collect();
    assert_eq!(names, ["p99-1", "p99-2", "p99-store"]);
    for name in names {
        let alone = format!("\"{name}:9998\"");
        let many = format!("{{names: [{name}], type: A, port: 9998,");
        assert!(
            prometheus.contains(&alone) || prometheus.contains(&many),
            "{name}"
        );
    }
}

/// `p99 ctl` in a container takes the first address, a socket that needs no secret; the other one
/// is what Prometheus and peers are told.
#[test]
fn operators_reach_every_instance_of_the_stack() {
    let stack = at_root("compose.yaml");
    let admin = "\n  ADMIN_LISTEN: unix:/var/lib/p99/admin.sock,0.0.0.0:9998\n";
    let (_, settings) = stack.split_once("\nx-settings: &settings\n").unwrap();
    let (settings, _) = settings.split_once("\n\n").unwrap();
    assert!(settings.contains(admin));
    let (_, services) = stack.split_once("\nservices:\n").unwrap();
    let instances = services.split("    <<: *shard\n").skip(1);
    for instance in instances {
        let (instance, _) = instance.split_once("\n\n").unwrap();
        let is_told = ["      <<: *settings\n", "      <<: [*settings, *journal]\n"]
            .iter()
            .any(|told| instance.contains(told));
        assert!(is_told, "{instance}");
        assert!(instance.contains(":/var/lib/p99\"") || instance.contains("\"/var/lib/p99:"));
        if let Some((_, peers)) = instance.split_once("PEERS: ") {
            assert!(peers.lines().next().unwrap().ends_with(":9998"));
        }
    }
}

/// The lines of a block of YAML that are its own, by its name and its anchor, wherever it is.
fn block<'a>(text: &'a str, header: &str) -> Vec<&'a str> {
    let mut lines = text.lines();
    let found = lines.find(|line| line.trim_start() == header);
    let found = found.unwrap_or_else(|| panic!("no {header}"));
    let indent = found.len() - found.trim_start().len() + 2;
    let is_deeper = |line: &&str| line.trim().is_empty() || line.starts_with(&" ".repeat(indent));
    let own = lines.take_while(is_deeper);
    let own = own.filter(|line| !line[indent.min(line.len())..].starts_with(' '));
    own.map(str::trim).collect()
}

/// The value of `key` in a service, or in what is merged into it.
fn value_of(text: &str, header: &str, key: &str) -> Option<String> {
    let lines = block(text, header);
    let own = lines.iter().find_map(|line| line.strip_prefix(key));
    own.map(|value| value.trim().to_owned()).or_else(|| {
        let merged = lines.iter().find_map(|line| line.strip_prefix("<<: *"))?;
        let anchor = format!(": &{merged}");
        let header = text.lines().find(|line| line.ends_with(&anchor))?;
        value_of(text, header.trim(), key)
    })
}

/// `docker compose up -d --build` builds what it starts, with compose 1.29 too, which builds only
/// the services that say how.
#[test]
fn every_service_of_the_stack_that_is_p99_says_how_it_is_built() {
    let stack = at_root("compose.yaml");
    let (_, services) = stack.split_once("\nservices:\n").unwrap();
    let (services, _) = services.split_once("\nvolumes:\n").unwrap();
    let headers = services.lines().filter(|line| {
        let name = line.strip_prefix("  ").unwrap_or_default();
        name.starts_with(|first: char| first.is_ascii_lowercase()) && name.contains(':')
    });
    let mut built = 0;
    for header in headers.map(str::trim) {
        if value_of(&stack, header, "image:").as_deref() == Some("p99:latest") {
            let how = value_of(&stack, header, "build:");
            assert!(how.is_some(), "{header} is not built");
            built += 1;
        }
    }
    assert_eq!(
        built, 7,
        "three instances, two processors, two tasks of the store"
    );
}

/// What the environment holds is seen by all who may inspect a container: secrets come as files.
#[test]
fn no_environment_of_a_stack_holds_a_secret() {
    for name in ["compose.yaml", "compose.rinha.yaml", "compose.tls.yaml"] {
        let text = at_root(name);
        let told = text.lines().filter(|line| !line.trim().starts_with('#'));
        for word in told.flat_map(|line| line.split([' ', '"', '\''])) {
            // `NAME: value`, or `- NAME=value`.
            let word = word.trim_start_matches(['{', '[']);
            let equals = word.split_once('=').map(|(set, _)| set);
            let set = word.strip_suffix(':').or(equals).unwrap_or_default();
            let is_secret = ["PASSWORD", "SECRET", "TOKEN", "AUTH_HEADER_VALUE"]
                .iter()
                .any(|secret| set.contains(secret));
            assert!(!is_secret || set.ends_with("_FILE"), "{name}: {word}");
            if let Some((_, rest)) = word.split_once("://") {
                let place = rest.split('/').next().unwrap();
                let user = place.rsplit_once('@').map_or("", |(user, _)| user);
                assert!(!user.contains(':'), "{name}: {word}");
            }
        }
    }
}

#[test]
fn the_version_says_commit_and_build() {
    let text = said(&["--version"]);
    let start = concat!("p99 ", env!("CARGO_PKG_VERSION"), " (commit ");
    assert!(text.starts_with(start), "{text}");
    for part in [", debug, ", ", release, "] {
        if let Some((_, rest)) = text.split_once(part) {
            assert!(rest.contains(", rustc 1."), "{text}");
            return;
        }
    }
    panic!("{text}");
}
