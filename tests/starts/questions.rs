//! What `p99 explain` and `p99 ctl` make of settings, addresses and words that do not fit: what
//! they need is read without the rest, and what is not understood is refused before anything is
//! asked. And what `p99 check` finds in the journal's directory.

use std::net::TcpListener;

use crate::command_line::{Serving, run};
use crate::kit::scratch::Scratch;

/// An instance with a pending payment, before a processor that never answers.
struct Held {
    serving: Serving,
    _silent: TcpListener,
    scratch: Scratch,
}

impl Held {
    const ID: &str = "Held-1";

    fn start(name: &str) -> Self {
        let scratch = Scratch::new(name).unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let journal = scratch.text("journal");
        let secret = scratch.text("secret");
        std::fs::write(&secret, "hush\n").unwrap();
        let admin = format!("unix:{}", scratch.text("admin.sock"));
        let settings = [
            ("UPSTREAM_A_URL", url.as_str()),
            ("JOURNAL_DIR", &journal),
            ("ADMIN_LISTEN", &admin),
            ("AUTH_HEADER_VALUE_FILE", &secret),
            ("AUTH_HEADER_NAME", "token"),
            ("REQUEST_TIMEOUT_MS", "1000"),
            ("DRAIN_DELAY_MS", "0"),
            ("SHUTDOWN_GRACE_SECS", "0"),
        ];
        let serving = Serving::start(&scratch.text("p99.sock"), &settings);
        let body = format!(r#"{{"correlationId":"{}","amount":19.90}}"#, Self::ID);
        serving.hold("token: hush\r\n", &body);
        Self {
            serving,
            _silent: silent,
            scratch,
        }
    }

    fn admin(&self) -> String {
        format!("unix:{}", self.scratch.text("admin.sock"))
    }

    fn public(&self) -> String {
        format!("unix:{}", self.scratch.text("p99.sock"))
    }
}

#[test]
fn explain_needs_no_setting_of_processors() {
    let held = Held::start("explain-alone");
    let (admin, secret) = (held.admin(), held.scratch.text("secret"));
    let settings = [
        ("ADMIN_LISTEN", admin.as_str()),
        ("AUTH_HEADER_VALUE_FILE", &secret),
        ("AUTH_HEADER_NAME", "token"),
    ];
    let (status, text, stderr) = run(&["explain", Held::ID], &settings);
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(text.contains(r#""step":"claimed""#), "{text}");
    // Nothing known is a word about the places that were asked.
    let (status, _, stderr) = run(&["explain", "other-1"], &settings);
    assert_eq!(status, 1);
    assert!(
        stderr.contains("nothing is remembered") && stderr.contains(&admin),
        "{stderr}"
    );
    // With a fault of what it needs, nothing is asked.
    let (status, text, stderr) = run(&["explain", Held::ID], &[("ADMIN_LISTEN", "9998x")]);
    assert_eq!((status, text.as_str()), (2, ""));
    assert!(stderr.contains("ADMIN_LISTEN"), "{stderr}");
    // Neither of both would be a "nothing" that no one said.
    let (status, _, stderr) = run(&["explain", Held::ID], &[]);
    assert_eq!(status, 2);
    for name in ["ADMIN_LISTEN", "JOURNAL_DIR", "--url"] {
        assert!(stderr.contains(name), "{name}: {stderr}");
    }
    assert_eq!(held.serving.p99.stop(), Some(0));
}

#[test]
fn the_clients_port_is_no_witness_of_nothing() {
    let held = Held::start("explain-public");
    let (journal, public) = (held.scratch.text("journal"), held.public());
    let settings = [("JOURNAL_DIR", journal.as_str())];
    let (status, text, stderr) = run(&["explain", Held::ID, "--url", &public], &settings);
    assert!(stderr.contains("is no ADMIN_LISTEN"), "{stderr}");
    assert_eq!(status, 0, "{stderr}");
    assert!(text.contains(r#""kind":"intent""#), "{text}");
}

#[test]
fn ctl_with_a_url_needs_no_setting_of_processors() {
    let held = Held::start("ctl-alone");
    let (admin, secret) = (held.admin(), held.scratch.text("secret"));
    let auth = [
        ("AUTH_HEADER_VALUE_FILE", secret.as_str()),
        ("AUTH_HEADER_NAME", "token"),
    ];
    let (status, lines, stderr) = run(&["ctl", "list", "--url", &admin], &auth);
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(lines.contains(Held::ID), "{lines}");
    let with_admin = [&auth[..], &[("ADMIN_LISTEN", admin.as_str())]].concat();
    let (status, lines, stderr) = run(&["ctl", "list"], &with_admin);
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(lines.contains(Held::ID), "{lines}");
    // What is no setting needs no restart.
    for (name, told) in [
        ("HEDGE", "HEDGE is no setting; while it runs may change:"),
        (
            "cb_open_secs",
            "cb_open_secs is no setting, CB_OPEN_SECS is one; while it runs",
        ),
        ("CORES", "CORES needs a restart; while it runs may change:"),
    ] {
        let words = [
            "ctl",
            "set",
            name,
            "5",
            "--operator",
            "ann",
            "--reason",
            "b",
        ];
        let (status, _, stderr) = run(&words, &with_admin);
        assert_eq!(status, 1, "{stderr}");
        assert!(stderr.contains(told), "{stderr}");
    }
}

/// What is wrong with the words or the settings is told with status 2, before anything is asked.
#[test]
fn bad_words_are_told_apart_from_what_failed() {
    let by = |words: &[&'static str]| {
        let signed = ["--operator", "ann", "--reason", "a drill"];
        [words, &signed].concat()
    };
    let admin = ("ADMIN_LISTEN", "unix:/nowhere/admin.sock");
    let dir = ("JOURNAL_DIR", "/nowhere");
    let unsigned = ["--operator", "", "--reason", "a drill"];
    for (words, setting, why) in [
        (vec!["ctl", "list", "--url", "foo"], None, "--url \"foo\""),
        (vec!["ctl", "list"], None, "ADMIN_LISTEN"),
        (vec!["explain", "a b"], Some(dir), "\"a b\""),
        (
            vec!["explain", "a", "--url", "foo"],
            Some(dir),
            "--url \"foo\"",
        ),
        (
            [&["resolve", "a", "applied"], &unsigned[..]].concat(),
            Some(dir),
            "--operator",
        ),
        (
            [&["ctl", "resolve", "a", "applied"], &unsigned[..]].concat(),
            Some(admin),
            "--operator",
        ),
        (
            by(&["ctl", "resolve", "a b", "applied"]),
            Some(admin),
            "a b",
        ),
        (
            by(&["ctl", "processors", "pause", "A"]),
            Some(admin),
            "default, fallback",
        ),
    ] {
        let settings: Vec<_> = setting.into_iter().collect();
        let (status, stdout, stderr) = run(&words, &settings);
        assert_eq!((status, stdout.as_str()), (2, ""), "{words:?}: {stderr}");
        assert!(stderr.contains(why), "{words:?}: {stderr}");
    }
    // One that does not answer has failed.
    assert_eq!(run(&["ctl", "list"], &[admin]).0, 1);
}

#[test]
fn an_address_that_cannot_be_had_is_told_with_its_setting() {
    let scratch = Scratch::new("listen-fault").unwrap();
    let good = format!("unix:{}", scratch.text("p99.sock"));
    let none = "unix:/nowhere/p99.sock";
    for (listen, admin, setting) in [
        (good.as_str(), none, "ADMIN_LISTEN"),
        (none, "off", "LISTEN or PORT"),
    ] {
        let settings = [
            ("UPSTREAM_A_URL", "http://127.0.0.1:1"),
            ("LISTEN", listen),
            ("ADMIN_LISTEN", admin),
        ];
        let (status, _, stderr) = run(&[], &settings);
        assert_eq!(status, 1, "{stderr}");
        let told = format!("cannot listen on {none} ({setting}): ");
        assert!(stderr.contains(&told), "{told}: {stderr}");
    }
}

#[test]
fn check_looks_at_the_journals_directory_and_changes_nothing() {
    let scratch = Scratch::new("check").unwrap();
    let check = |dir: &str| {
        let settings = [
            ("UPSTREAM_A_URL", "http://127.0.0.1:1"),
            ("JOURNAL_DIR", dir),
        ];
        let (status, _, stderr) = run(&["check"], &settings);
        (status, stderr)
    };
    let (home, file) = (scratch.text("home"), scratch.text("file"));
    assert_eq!(check(&home).0, 0);
    assert!(!std::path::Path::new(&home).exists(), "check makes nothing");
    std::fs::create_dir(&home).unwrap();
    assert_eq!(check(&home).0, 0);
    std::fs::write(format!("{home}/letters"), "").unwrap();
    std::fs::write(&file, "").unwrap();
    for (dir, word) in [(&home, "letters"), (&file, "not a directory")] {
        let (status, stderr) = check(dir);
        assert_eq!(status, 2, "{stderr}");
        assert!(stderr.contains(&format!("JOURNAL_DIR={dir}")), "{stderr}");
        assert!(stderr.contains(word), "{stderr}");
    }
    assert_eq!(std::fs::read_dir(&home).unwrap().count(), 1);
}
