//! Settings: no text of any variable ends the process; every fault names a variable of the table
//! and tells its value, but no secret; numbers and words are accepted exactly as the table says;
//! and what holds is accepted again as it is printed.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use p99::testing::config::{
    Allowed, Config, ConfigFault, SETTINGS, help, near_misses, report, tell_faults, warnings,
};
use p99::testing::payment::CoreCount;
use p99_fuzz::Input;

const SECRET: &str = "hunter2-hunter2";

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let mut set: BTreeMap<&str, String> = BTreeMap::from([
        ("UPSTREAM_A_URL", "http://a:1".to_owned()),
        ("UPSTREAM_B_URL", "http://b:1".to_owned()),
    ]);
    while !input.is_empty() {
        let setting = SETTINGS[usize::from(input.byte()) % SETTINGS.len()];
        // Some settings name files that would be read.
        if setting.name.ends_with("_FILE") {
            continue;
        }
        let text = String::from_utf8_lossy(input.piece()).into_owned();
        let text = if setting.is_secret {
            format!("{SECRET}{text}")
        } else {
            text
        };
        set.insert(setting.name, text);
    }
    match read(&set) {
        Err(faults) => check_faults(&faults, &set),
        Ok(config) => check_config(&config, &set),
    }
});

fn read(set: &BTreeMap<&str, String>) -> Result<Config, Vec<ConfigFault>> {
    Config::from_lookup_on(|name| set.get(name).cloned(), CoreCount(2))
}

fn check_faults(faults: &[ConfigFault], set: &BTreeMap<&str, String>) {
    assert!(!faults.is_empty(), "a refusal without a reason");
    for fault in faults {
        assert!(SETTINGS.iter().any(|setting| setting.name == fault.name));
        let text = fault.to_string();
        assert!(text.starts_with(fault.name) && !text.contains(SECRET));
        assert!(!fault.allowed.is_empty(), "{text}");
    }
    assert!(!tell_faults(faults).contains(SECRET));
    // One text alone is judged as the table says; relations between settings come on top.
    for setting in SETTINGS {
        let Some(text) = set.get(setting.name) else {
            continue;
        };
        if fits(&setting.allowed, text) == Some(false) {
            let is_named = faults.iter().any(|fault| fault.name == setting.name);
            assert!(is_named, "{}={text:?} is not named", setting.name);
        }
    }
}

fn check_config(config: &Config, set: &BTreeMap<&str, String>) {
    for setting in SETTINGS {
        let is_refused = set
            .get(setting.name)
            .is_some_and(|text| fits(&setting.allowed, text) == Some(false));
        assert!(!is_refused, "{} is accepted: {set:?}", setting.name);
    }
    let names: Vec<&str> = config.in_force.iter().map(|value| value.name).collect();
    let all: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
    assert_eq!(names, all);
    let page = report(
        config,
        &near_misses(set.keys().map(|name| (*name).to_owned())),
    );
    assert!(!page.contains(SECRET) && !format!("{config:?}").contains(SECRET));
    assert!(warnings(config, &[]).len() < 20 && help().contains("UPSTREAM_A_URL"));
    // What is printed may be set: nothing changes.
    let mut again = set.clone();
    for value in config.in_force.iter().filter(|value| value.is_set) {
        let is_shown = !value.text.starts_with("***") && value.text != "unused";
        if is_shown {
            again.insert(value.name, value.text.clone());
        }
    }
    let again = read(&again).expect("what is printed is accepted");
    assert_eq!(again.in_force, config.in_force);
}

/// Whether the table's own rule for one text holds; `None` where it is only a sentence.
fn fits(allowed: &Allowed, text: &str) -> Option<bool> {
    match allowed {
        Allowed::Whole { min, max } => {
            let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.trim_start_matches('0');
            let number = if number.is_empty() { "0" } else { number };
            let number: Option<u64> = number.parse().ok();
            Some(is_plain && number.is_some_and(|number| (*min..=*max).contains(&number)))
        }
        Allowed::Words(words) => Some(words.contains(&text)),
        Allowed::Text(_) => text.is_empty().then_some(false),
    }
}
