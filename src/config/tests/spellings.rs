//! Values that nearly mean something: what no shell, compose file or tired operator may slip past
//! `p99 check`.

use super::*;

/// A good value of each setting that has no range of its own.
fn good(setting: &Setting) -> String {
    match setting.name {
        "LISTEN" | "ADMIN_LISTEN" => "127.0.0.1:81".to_owned(),
        "UPSTREAM_A_URL" => "http://a:8001".to_owned(),
        "UPSTREAM_B_URL" => "http://b:8002".to_owned(),
        "UPSTREAM_PAY_PATH" => "/payments".to_owned(),
        "AUTH_HEADER_NAME" => "X-Key".to_owned(),
        "AUTH_HEADER_VALUE" => "secret".to_owned(),
        "UPSTREAM_A_BOOK" | "UPSTREAM_B_BOOK" => "/book.csv".to_owned(),
        "RECONCILE_EVERY" => "off".to_owned(),
        "CB_FAIL_RATE" => "0.5".to_owned(),
        "AUDIT_DIR" | "JOURNAL_DIR" => "/journal".to_owned(),
        "STORE" => "postgres://p99@db/p99?sslmode=disable".to_owned(),
        "SHARD" => "1/1".to_owned(),
        "PEERS" => "none".to_owned(),
        "RATE_LIMIT_RPS" => "5".to_owned(),
        "TRUSTED_PROXIES" => "10.0.0.0/8".to_owned(),
        "HEALTH_INTERVAL_MS" => "5000".to_owned(),
        "RUST_LOG" => "info".to_owned(),
        name => match setting.allowed {
            Allowed::Whole { min, .. } => match setting.default {
                DefaultValue::Text(text) => text.to_owned(),
                DefaultValue::Required | DefaultValue::Derived(_) => min.max(1).to_string(),
            },
            Allowed::Words([first, ..]) => (*first).to_owned(),
            Allowed::Words([]) | Allowed::Text(_) => panic!("no good value of {name}"),
        },
    }
}

/// Blanks, quotes, signs and units around a good value: refused, or read as the good value.
#[test]
fn no_spelling_beside_a_good_one_means_something_else() {
    let spellings: [(&str, &str); 14] = [
        ("", ""),
        (" ", ""),
        ("", " "),
        ("", "\n"),
        ("\t", ""),
        ("", "\r"),
        ("\"", "\""),
        ("'", "'"),
        ("+", ""),
        ("=", ""),
        ("", ","),
        ("${", "}"),
        ("", ";"),
        ("", "\u{a0}"),
    ];
    for setting in SETTINGS {
        // A file is opened: see `access`.
        if setting.name.ends_with("_FILE") || setting.name.contains("_TLS_") {
            continue;
        }
        let text = good(setting);
        // A password may look like anything, and a header's name like nearly anything.
        let is_free = setting.is_secret || setting.name == "AUTH_HEADER_NAME";
        for (before, behind) in spellings {
            let odd = format!("{before}{text}{behind}");
            let Ok(config) = read(&[(setting.name, &odd)]) else {
                assert_ne!(odd, text, "{}", setting.name);
                continue;
            };
            let plain = read(&[(setting.name, &text)]).unwrap();
            // What is shown is the text itself; what is read must be the same.
            let read_as = |mut config: Config| {
                config.in_force.clear();
                config.log_filter = config.log_filter.trim().to_owned();
                format!("{config:?}")
            };
            let is_same = read_as(config) == read_as(plain);
            assert!(
                is_same || is_free,
                "{}={odd:?} means something else",
                setting.name
            );
        }
    }
}

#[test]
fn numbers_are_decimal_digits_and_words_are_spelled_as_listed() {
    for setting in SETTINGS {
        let odd: Vec<String> = match setting.allowed {
            Allowed::Whole { max, .. } => {
                let good = good(setting);
                let unit = |unit: &str| format!("{good}{unit}");
                vec![
                    "".to_owned(),
                    "-1".to_owned(),
                    format!("+{good}"),
                    format!("0x{good}"),
                    format!("{good}_0"),
                    format!("{good},0"),
                    format!("{good}.0"),
                    "1e3".to_owned(),
                    unit("s"),
                    unit("ms"),
                    unit("k"),
                    unit("%"),
                    (max + 1).to_string(),
                    "99999999999999999999999".to_owned(),
                    "\u{664}".to_owned(),
                    "off".to_owned(),
                ]
            }
            Allowed::Words(words) => {
                let upper = words.iter().map(|word| word.to_ascii_uppercase());
                let other = ["", "yes", "no", "enabled", "2", "none"].map(str::to_owned);
                let is_listed = |word: &String| !words.contains(&word.as_str());
                upper.chain(other).filter(is_listed).collect()
            }
            Allowed::Text(_) => Vec::new(),
        };
        for text in odd {
            let told = faults(&[(setting.name, &text)]);
            let [told] = told.as_slice() else {
                panic!("{}={text:?} gave {told:?}", setting.name)
            };
            let start = format!("{}={text:?}: allowed is ", setting.name);
            assert!(told.starts_with(&start), "{told}");
        }
    }
}

#[test]
fn addresses_that_exclude_each_other_are_refused_before_the_start() {
    let rows: &[(&[(&str, &str)], &str)] = &[
        (&[("LISTEN", "0.0.0.0:9999,127.0.0.1:9999")], "LISTEN"),
        (&[("LISTEN", "127.0.0.1:9999,0.0.0.0:9999")], "LISTEN"),
        (&[("LISTEN", "[::]:80,[::1]:80")], "LISTEN"),
        (
            &[("LISTEN", "[::ffff:127.0.0.1]:80,127.0.0.1:80")],
            "LISTEN",
        ),
        (
            &[("LISTEN", "unix:/run/x.sock,unix:/run//./x.sock")],
            "LISTEN",
        ),
        (
            &[("LISTEN", "0.0.0.0:80"), ("ADMIN_LISTEN", "127.0.0.1:80")],
            "ADMIN_LISTEN",
        ),
        (&[("ADMIN_LISTEN", "127.0.0.1:9999")], "ADMIN_LISTEN"),
        (
            &[("PORT", "80"), ("ADMIN_LISTEN", "10.0.0.1:80")],
            "ADMIN_LISTEN",
        ),
        (&[("ADMIN_LISTEN", "127.0.0.1:1,0.0.0.0:1")], "ADMIN_LISTEN"),
        (
            &[("LISTEN", "unix:/x"), ("ADMIN_LISTEN", "unix:/x")],
            "ADMIN_LISTEN",
        ),
    ];
    for (settings, name) in rows {
        let told = faults(settings);
        let [told] = told.as_slice() else {
            panic!("{settings:?} gave {told:?}")
        };
        let (_, value) = settings.iter().find(|(set, _)| set == name).unwrap();
        assert!(
            told.starts_with(&format!("{name}={value:?}: allowed is ")),
            "{told}"
        );
    }
    for settings in [
        &[("LISTEN", "0.0.0.0:9999,[::]:9999")][..],
        &[("LISTEN", "127.0.0.1:9999,127.0.0.2:9999")],
        &[("LISTEN", "127.0.0.1:0"), ("ADMIN_LISTEN", "127.0.0.1:0")],
    ] {
        assert!(read(settings).is_ok(), "{settings:?}");
    }
}

#[test]
fn a_fault_shows_what_was_set_and_nothing_else() {
    let told = faults(&[("PORT", "80"), ("LISTEN", "0.0.0.0:81")]).concat();
    assert!(
        told.starts_with("PORT=\"80\": allowed is unset while"),
        "{told}"
    );
    let told = faults(&[("ATTEMPT_TIMEOUT_MS", "30001")]).concat();
    let start = "SETTLE_TIMEOUT_MS is not set and is \"30000\" by default: allowed is at least";
    assert!(told.starts_with(start), "{told}");
}

#[test]
fn two_names_of_one_processor_are_warned_about() {
    let config = read(&[("UPSTREAM_B_URL", "http://a.:8001")]).unwrap();
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert!(config.warnings.concat().contains("one server"));
}

#[test]
fn what_could_not_work_at_both_ends_is_refused() {
    let rows: &[(&str, &[&str])] = &[
        (
            "UPSTREAM_A_URL",
            &[
                "http://10.1:80",
                "http://1:80",
                "http://a..:80",
                "http://.:80",
                "http://0x7f.0x1:80",
            ],
        ),
        (
            "JOURNAL_DIR",
            &[
                "Off",
                "OFF",
                "none",
                "false",
                "~/journal",
                " /journal",
                "$DIR",
            ],
        ),
        (
            "LISTEN",
            &["unix:/run/", "unix:/run/../x", "224.0.0.1:80", "unix:/x\ny"],
        ),
        (
            "UPSTREAM_PAY_PATH",
            &[
                "/a//b",
                "/a/../b",
                "/./a",
                "/a%2",
                "/a%zz",
                "/a%+1b",
                "//",
                "/%2e%2e/a",
                "/a/%2E/b",
                "/a/.%2e",
                "/a/..%2Fb",
                "/a%2f%2Fb",
                "/%70ay",
                "/a%252e%252e/b",
                "/a%5c..%5cb",
                "/a%00",
                "/a%0d%0aX:b",
                "/a/..;x/b",
                "/a/;x/b",
            ],
        ),
    ];
    for (name, values) in rows {
        for value in *values {
            let told = faults(&[(name, value)]).concat();
            assert!(
                told.starts_with(&format!("{name}={value:?}: allowed is ")),
                "{told}"
            );
        }
    }
    for (name, value) in [
        ("UPSTREAM_A_URL", "http://name.:80"),
        ("JOURNAL_DIR", "./off"),
        ("UPSTREAM_PAY_PATH", "/a%2Fb/v1.0"),
        ("UPSTREAM_PAY_PATH", "/b%C3%A9/c%20d;v=1/..x"),
    ] {
        assert!(read(&[(name, value)]).is_ok(), "{name}={value}");
    }
}
