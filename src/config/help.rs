//! The settings in words: for `--help`, and as they hold for `p99 check`. Text only; `main` prints.

use std::fmt::Write;

use super::settings::{Allowed, SETTINGS, Setting};
use super::{Config, ConfigFault, NearMiss};

/// Every setting with unit, default, meaning and what is allowed.
#[must_use]
pub fn help() -> String {
    let mut text = String::from("Settings (environment variables):\n");
    for setting in SETTINGS {
        text.push_str(&setting_help(setting));
    }
    text.push_str("\nA value outside what is allowed stops the start; an empty value is one.");
    text
}

fn setting_help(setting: &Setting) -> String {
    let Setting {
        name,
        unit,
        default,
        help,
        allowed,
        ..
    } = setting;
    let unit = if unit.is_empty() {
        String::new()
    } else {
        format!(", {unit}")
    };
    let allowed = match allowed {
        Allowed::Whole { min, max } => format!("{min} to {max}"),
        Allowed::Words(_) | Allowed::Text(_) => allowed.to_string(),
    };
    format!("  {name}{unit} [default: {default}]\n      {help}\n      Allowed: {allowed}\n")
}

/// Every setting as it holds, secrets masked, and what is doubtful about them.
#[must_use]
pub fn report(config: &Config, near_misses: &[NearMiss]) -> String {
    let mut text = String::new();
    for value in &config.in_force {
        let is_number = value.text.bytes().all(|byte| byte.is_ascii_digit());
        let unit = super::settings::find(value.name).map_or("", |setting| setting.unit);
        let unit = if is_number { unit } else { "" };
        let origin = if value.is_set { "" } else { "  (default)" };
        let line = format!("{} = {} {unit}", value.name, value.text);
        push_line(&mut text, &format!("{}{origin}", line.trim_end()));
    }
    for warning in warnings(config, near_misses) {
        push_line(&mut text, &format!("warning: {warning}"));
    }
    text
}

/// What is legal but surely not meant, one sentence each.
#[must_use]
pub fn warnings(config: &Config, near_misses: &[NearMiss]) -> Vec<String> {
    let misses = near_misses.iter().map(|miss| {
        format!(
            "{} is no setting and has no effect; is {} meant?",
            miss.name, miss.meant
        )
    });
    config.warnings.iter().cloned().chain(misses).collect()
}

/// All faults, one a line.
#[must_use]
pub fn tell_faults(faults: &[ConfigFault]) -> String {
    let mut text = String::new();
    faults
        .iter()
        .for_each(|fault| push_line(&mut text, &fault.to_string()));
    text
}

fn push_line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    writeln!(text, "{line}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use crate::config::near_misses;
    use crate::payment::CoreCount;

    use super::*;

    #[test]
    fn help_names_every_setting_with_unit_and_default() {
        let help = help();
        for setting in SETTINGS {
            let unit = if setting.unit.is_empty() { "" } else { ", " };
            let head = format!("  {}{unit}{} [default: ", setting.name, setting.unit);
            assert!(
                help.contains(&format!("{head}{}]\n", setting.default)),
                "{head}"
            );
        }
    }

    /// A row of README's table of settings.
    fn readme_row(setting: &Setting) -> String {
        let Setting {
            name,
            unit,
            default,
            help,
            allowed,
            ..
        } = setting;
        let allowed = allowed.to_string().replace("a whole number from ", "");
        format!("| `{name}` | {unit} | {default} | {help} | {allowed} |").replace("|  |", "| |")
    }

    #[test]
    fn readme_lists_every_setting_as_the_table_has_it() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        let readme = std::fs::read_to_string(path).unwrap();
        let rows: Vec<String> = SETTINGS.iter().map(readme_row).collect();
        let rows = rows.join("\n");
        assert!(
            readme.contains(&rows),
            "README's table of settings must be:\n{rows}\n"
        );
    }

    #[test]
    fn the_report_shows_what_holds_and_hides_secrets() {
        let lookup = |name: &str| match name {
            "UPSTREAM_A_URL" => Some("http://a:1".to_owned()),
            "UPSTREAM_B_URL" => Some("http://b:2".to_owned()),
            "AUTH_HEADER_VALUE" => Some("hunter2".to_owned()),
            "CORES" => Some("3".to_owned()),
            _ => None,
        };
        let config = Config::from_lookup_on(lookup, CoreCount(8)).unwrap();
        let report = report(&config, &near_misses(["PEER".to_owned()]));
        for line in [
            "UPSTREAM_A_URL = http://a:1\n",
            "AUTH_HEADER_VALUE = ******\n",
            "CORES = 3 cores\n",
            "REQUEST_TIMEOUT_MS = 50 ms  (default)\n",
            "ATTEMPT_TIMEOUT_MS = 50 ms  (default)\n",
            "LISTEN = 0.0.0.0:9999  (default)\n",
            "warning: PEER is no setting and has no effect; is PEERS meant?\n",
        ] {
            assert!(report.contains(line), "{line} in {report}");
        }
        assert!(!report.contains("hunter2"));
    }
}
