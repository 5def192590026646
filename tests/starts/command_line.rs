//! The commands as a shell sees them: exit status, stdout, stderr. The built binary runs with an
//! environment of its own; it listens on unix sockets in a scratch folder, so no port is taken.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::kit::client::{Answer, Client, held, wait_until};
use crate::kit::process::P99;
use crate::kit::scratch::Scratch;

/// p99 with these settings and no others, but for the driver that the whole run is about.
fn p99(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_p99"));
    command.args(arguments).env_clear();
    if let Some(driver) = std::env::var_os("MONOIO_FORCE_LEGACY_DRIVER") {
        command.env("MONOIO_FORCE_LEGACY_DRIVER", driver);
    }
    command
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Status, stdout and stderr of a command that ends by itself.
pub(crate) fn run(arguments: &[&str], settings: &[(&str, &str)]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = p99(arguments, settings).output().unwrap();
    (
        status.code().unwrap(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

/// A serving instance on a unix socket; killed when it is dropped.
pub(crate) struct Serving {
    pub(crate) p99: P99,
    socket: String,
}

impl Serving {
    pub(crate) fn start(socket: &str, settings: &[(&str, &str)]) -> Self {
        let listen = format!("unix:{socket}");
        let mut command = p99(&[], settings);
        command.env("LISTEN", &listen).stdout(Stdio::null());
        let mut p99 = P99::of(command);
        wait_until("it gets ready", || {
            assert_eq!(p99.try_wait(), None, "it did not start");
            run(&["health", "--url", &listen], &[]).0 == 0
        });
        Self {
            p99,
            socket: socket.to_owned(),
        }
    }

    /// The status and the body of one call.
    pub(crate) fn call(&self, request_line: &str, body: &str) -> (u16, String) {
        let answer = self.ask(request_line, "", body);
        (answer.status, answer.body)
    }

    /// Sends a payment that no processor answers.
    pub(crate) fn hold(&self, headers: &str, body: &str) {
        held(|| self.ask("POST /payments", headers, body));
    }

    fn ask(&self, line: &str, headers: &str, body: &str) -> Answer {
        Client::connect_unix(&self.socket).call(line, headers, body)
    }
}

#[test]
fn check_prints_the_settings_and_hides_secrets() {
    let (status, text, _) = run(
        &["check"],
        &[
            ("UPSTREAM_A_URL", "http://127.0.0.1:1"),
            ("UPSTREAM_B_URL", "http://127.0.0.1:2"),
            ("AUTH_HEADER_VALUE", "Bearer hush"),
        ],
    );
    assert_eq!(status, 0);
    assert!(text.contains("UPSTREAM_A_URL") && text.contains("http://127.0.0.1:1"));
    assert!(!text.contains("hush"));
}

#[test]
fn a_bad_setting_stops_every_command_that_needs_it_with_all_faults_at_once() {
    for command in [&["check"] as &[&str], &[]] {
        let (status, stdout, stderr) = run(command, &[("CORES", "0"), ("PORT", "http")]);
        assert_eq!((status, stdout.as_str()), (2, ""), "{command:?}");
        for name in ["CORES", "PORT", "UPSTREAM_A_URL"] {
            assert!(stderr.contains(name), "{name} in {stderr}");
        }
    }
}

#[test]
fn health_of_nobody_is_a_failure() {
    let scratch = Scratch::new("cli").unwrap();
    let url = format!("unix:{}", scratch.text("nobody.sock"));
    assert_eq!(run(&["health", "--url", &url], &[]).0, 1);
    assert_eq!(run(&["health", "--url", "ftp://x"], &[]).0, 2);
}

const JOURNAL_COMMANDS: [&[&str]; 4] = [
    &["pending"],
    &[
        "resolve",
        "test-123",
        "applied",
        "--operator",
        "ann",
        "--reason",
        "seen",
    ],
    &["journal", "verify"],
    &["journal", "dump"],
];

#[test]
fn the_journals_commands_need_a_journal() {
    let scratch = Scratch::new("cli").unwrap();
    let (nowhere, file) = (scratch.text("nowhere"), scratch.text("file"));
    std::fs::write(&file, "").unwrap();
    let empty = scratch.path().to_str().unwrap();
    for command in JOURNAL_COMMANDS {
        for (settings, why) in [
            (&[] as &[_], "is not set"),
            (&[("JOURNAL_DIR", "off")], "JOURNAL_DIR is off"),
        ] {
            let (status, stdout, stderr) = run(command, settings);
            assert_eq!((status, stdout.as_str()), (2, ""), "{command:?}");
            assert!(stderr.contains("JOURNAL_DIR"), "{stderr}");
            assert!(stderr.contains(why), "{stderr}");
        }
        for (dir, why) in [
            (nowhere.as_str(), "no such directory"),
            (file.as_str(), "no directory"),
            (empty, "holds no journal"),
        ] {
            let (status, stdout, stderr) = run(command, &[("JOURNAL_DIR", dir)]);
            assert_eq!((status, stdout.as_str()), (1, ""), "{command:?} {dir}");
            let told = format!("JOURNAL_DIR={dir}: {why}");
            assert!(stderr.contains(&told), "{told}: {stderr}");
        }
    }
    assert!(!Path::new(&nowhere).exists(), "looking created a directory");
    assert!(!scratch.file("LOCK").exists(), "looking left a lock");
    let (status, _, stderr) = run(&signed("not an id", "applied"), &[("JOURNAL_DIR", empty)]);
    assert_eq!(status, 2);
    assert!(stderr.contains("not an id"), "{stderr}");
}

/// `p99 resolve`, as an operator signs it.
fn signed<'a>(id: &'a str, verdict: &'a str) -> [&'a str; 7] {
    [
        "resolve",
        id,
        verdict,
        "--operator",
        "ann",
        "--reason",
        "the bank says so",
    ]
}

/// Who resolved it and why stands in the audit file, once.
fn demand_signature(scratch: &Scratch) {
    let audit = std::fs::read_to_string(scratch.file("journal/audit.log")).unwrap();
    let told: Vec<_> = audit
        .lines()
        .filter(|line| line.contains("p99 resolve"))
        .collect();
    let [line] = told[..] else { panic!("{audit}") };
    assert!(
        line.contains("\"operator\":\"ann\",\"reason\":\"the bank says so\""),
        "{line}"
    );
}

/// One payment goes out to a processor that never answers, the instance dies, and an operator who
/// knows better settles it by hand. I3 (it stays pending), I5 (it outlives the crash), I6.
#[test]
fn a_payment_without_an_answer_is_found_and_resolved_by_hand() {
    let scratch = Scratch::new("cli").unwrap();
    // The kernel takes the connections and the bytes; no one reads them.
    let silent = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let urls = silent
        .each_ref()
        .map(|listener| format!("http://{}", listener.local_addr().unwrap()));
    let (dir, socket) = (scratch.text("journal"), scratch.text("p99.sock"));
    let settings = [
        ("UPSTREAM_A_URL", urls[0].as_str()),
        ("UPSTREAM_B_URL", urls[1].as_str()),
        ("JOURNAL_DIR", dir.as_str()),
        ("CORES", "2"),
        ("ROUTING", "cheapest"),
        ("HEDGE_DELAY_MS", "60000"),
        // Longer than the disk may take for the Intent: else it is 503, and not charged.
        ("REQUEST_TIMEOUT_MS", "1000"),
        ("DRAIN_DELAY_MS", "0"),
        ("SHUTDOWN_GRACE_SECS", "0"),
    ];
    let journal = [("JOURNAL_DIR", dir.as_str())];

    let serving = Serving::start(&socket, &settings);
    let body = r#"{"correlationId":"Held-1","amount":19.90}"#;
    serving.hold("", body);

    // Looking is allowed while it runs, settling is not.
    let (status, lines, stderr) = run(&["pending"], &journal);
    assert_eq!((status, stderr.as_str()), (0, ""));
    let pending: serde_json::Value = serde_json::from_str(&lines).unwrap();
    assert_eq!(pending["correlationId"], "Held-1");
    assert_eq!(pending["amount"].to_string(), "19.9");
    assert_eq!(pending["processor"], "default");
    let (status, _, stderr) = run(&signed("Held-1", "applied"), &journal);
    assert_eq!(status, 1);
    assert!(stderr.contains("in use"), "{stderr}");
    serving.p99.kill().unwrap();

    let (status, text, _) = run(&["journal", "verify"], &journal);
    assert_eq!(status, 0);
    assert!(text.contains("pending 1, settled ids 0"), "{text}");
    let (status, _, stderr) = run(&signed("somebody-else", "applied"), &journal);
    assert_eq!(status, 1);
    assert!(stderr.contains("not pending"), "{stderr}");

    // It was open when the process was killed: its client may have been told that it is charged.
    let (status, _, stderr) = run(&signed("Held-1", "refused"), &journal);
    assert_eq!(status, 1);
    assert!(stderr.contains("--although-acknowledged"), "{stderr}");
    let (status, text, stderr) = run(&signed("Held-1", "applied"), &journal);
    assert_eq!(status, 0, "{stderr}");
    assert!(text.contains("resolved by hand as applied") && text.contains("Held-1"));
    assert!(
        stderr.contains("resolved by hand as applied"),
        "not loud: {stderr}"
    );
    assert!(!stderr.contains('{'), "no word of the code's: {stderr}");
    demand_signature(&scratch);
    assert_eq!(run(&["pending"], &journal).1, "");
    let (status, dump, _) = run(&["journal", "dump"], &journal);
    assert_eq!(status, 0);
    for line in dump.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    assert!(dump.contains(r#""verdict":"applied""#), "{dump}");

    let serving = Serving::start(&socket, &settings);
    let (status, found) = serving.call("GET /payments/Held-1", "");
    assert_eq!(status, 200, "{found}");
    assert!(found.contains(r#""status":"processed""#), "{found}");
    let (_, summary) = serving.call("GET /payments-summary", "");
    assert!(
        summary.contains(r#""totalRequests":1,"totalAmount":19.90"#),
        "{summary}"
    );
    assert_eq!(serving.call("POST /payments", body).0, 409);
    assert_eq!(serving.p99.stop(), Some(0));
}

/// The steps in lines of JSON, in their order.
fn steps(text: &str) -> Vec<String> {
    let step = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let name = line.get("step").or_else(|| line.get("kind"));
        name.and_then(|name| name.as_str()).unwrap().to_owned()
    };
    text.lines().map(step).collect()
}

#[test]
fn a_payment_is_explained_while_it_runs_and_after_it_was_killed() {
    let scratch = Scratch::new("cli-explain").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let (dir, socket) = (scratch.text("journal"), scratch.text("p99.sock"));
    let admin = format!("unix:{}", scratch.text("admin.sock"));
    let settings = [
        ("UPSTREAM_A_URL", url.as_str()),
        ("JOURNAL_DIR", dir.as_str()),
        ("ADMIN_LISTEN", admin.as_str()),
        ("CORES", "2"),
        ("REQUEST_TIMEOUT_MS", "1000"),
        ("DRAIN_DELAY_MS", "0"),
        ("SHUTDOWN_GRACE_SECS", "0"),
    ];
    let serving = Serving::start(&socket, &settings);
    let body = r#"{"correlationId":"Held-1","amount":19.90}"#;
    serving.hold("", body);
    let mut text = String::new();
    wait_until("the attempt is given up", || {
        let (status, lines, stderr) = run(&["explain", "Held-1"], &settings);
        assert_eq!((status, stderr.as_str()), (0, ""));
        text = lines;
        text.contains(r#""step":"pinned""#)
    });
    let running = steps(&text);
    assert_eq!(running[..2], ["claimed", "sent"], "{text}");
    for step in ["attempt_ended", "pinned", "told"] {
        assert!(running.iter().any(|one| one == step), "{step}: {text}");
    }
    let (status, _, stderr) = run(&["explain", "Held-2"], &settings);
    assert_eq!(status, 1);
    assert!(stderr.contains("nothing is remembered"), "{stderr}");
    wait_until("the audit file has it", || {
        let text = std::fs::read_to_string(format!("{dir}/audit.log")).unwrap_or_default();
        text.contains(r#""answer":"accepted""#) && text.contains(r#""correlationId":"Held-1""#)
    });
    serving.p99.kill().unwrap();

    // What a start adds does not erase it.
    let serving = Serving::start(&socket, &settings);
    wait_until("the start is in the audit file", || {
        let text = std::fs::read_to_string(format!("{dir}/audit.log")).unwrap();
        text.contains(r#""step":"restored""#)
    });
    serving.p99.kill().unwrap();
    let (status, text, stderr) = run(&["explain", "Held-1"], &settings);
    assert_eq!(status, 0, "{stderr}");
    assert!(stderr.contains("looking into the files alone"), "{stderr}");
    let stopped = steps(&text);
    for step in ["payment", "sent", "told", "restored", "intent"] {
        assert!(stopped.iter().any(|one| one == step), "{step}: {text}");
    }
    let (status, text, _) = run(&["explain", "Held-1"], &[("JOURNAL_DIR", dir.as_str())]);
    assert_eq!((status, steps(&text)), (0, stopped));
}

#[test]
fn an_operator_steers_it_from_a_shell() {
    let scratch = Scratch::new("cli-ctl").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let (dir, socket) = (scratch.text("journal"), scratch.text("p99.sock"));
    let admin = format!("unix:{}", scratch.text("admin.sock"));
    let settings = [
        ("UPSTREAM_A_URL", url.as_str()),
        ("JOURNAL_DIR", dir.as_str()),
        ("ADMIN_LISTEN", admin.as_str()),
        ("REQUEST_TIMEOUT_MS", "500"),
        ("SETTLE_TIMEOUT_MS", "500"),
        ("DRAIN_DELAY_MS", "0"),
    ];
    let ctl = |words: &[&str]| {
        let signed = ["--operator", "ann", "--reason", "a drill"];
        let signed = if words == ["list"] { &[][..] } else { &signed };
        run(&[&["ctl"], words, signed].concat(), &settings)
    };
    let serving = Serving::start(&socket, &settings);
    let body = r#"{"correlationId":"Held-1","amount":19.90}"#;
    serving.hold("", body);
    let (status, text, stderr) = ctl(&["processors", "pause", "default"]);
    assert_eq!(status, 0, "{stderr}");
    assert!(text.contains("is paused"), "{text}");
    let (_, lines, _) = ctl(&["list"]);
    let pending: serde_json::Value = serde_json::from_str(&lines).unwrap();
    assert_eq!(pending["correlationId"], "Held-1");
    let (status, _, stderr) = ctl(&["resolve", "Held-2", "refused"]);
    assert_eq!(status, 1);
    assert!(
        stderr.contains("no payment with this id is known"),
        "{stderr}"
    );
    wait_until("nothing of it is in flight", || {
        let (status, _, stderr) = ctl(&["resolve", "Held-1", "refused"]);
        assert!(status == 0 || stderr.contains("in flight"), "{stderr}");
        status == 0
    });
    assert_eq!(ctl(&["list"]).1, "");
    let (_, found) = serving.call("GET /payments/Held-1", "");
    assert!(found.contains(r#""status":"refused""#), "{found}");
    let (status, _, stderr) = ctl(&["log", "info,foo=bar"]);
    assert_eq!(status, 1);
    let told = "filter \\\"info,foo=bar\\\": allowed is off, error, warn, info, debug or trace";
    assert!(stderr.contains(told), "{stderr}");
    assert_eq!(ctl(&["log", "debug"]).0, 0);
    assert_eq!(serving.p99.stop(), Some(0));
    // One that is stopped is told apart from one that refuses.
    let (status, _, stderr) = ctl(&["processors", "resume", "default"]);
    assert_eq!(status, 1);
    assert!(stderr.contains("does not answer"), "{stderr}");
}
