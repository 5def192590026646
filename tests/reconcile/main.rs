//! `p99 reconcile` as a shell sees it: a running p99 against its processors' own lists, journals
//! that are written for the purpose against files, and ten planted differences among very many
//! payments (`planted`; `SOAK=1 cargo test --profile soak --test reconcile` has ten million).

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "what goes wrong here shall fail the test"
)]

mod again;
mod book;
#[path = "../kit/mod.rs"]
mod kit;
mod late;
mod planted;
mod restored;
mod sealed;

use std::process::{Command, Stdio};

use kit::children::Processors;
use kit::client::{Client, id, payment};
use kit::scratch::Scratch;
use p99::testing::payment::{Processor, UpstreamId};

use book::{Story, at, charge, name, open, write_journal};

/// Status, stdout and stderr.
fn reconcile(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_p99"))
        .arg("reconcile")
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// The arguments that name both processors' own lists, with what they ask for.
fn lists(processors: &Processors, scratch: &Scratch) -> Vec<String> {
    std::fs::write(scratch.file("token"), "X-Rinha-Token: 123\n").unwrap();
    let token = scratch.text("token");
    [
        ("default", processors.a.url()),
        ("fallback", processors.b.url()),
    ]
    .into_iter()
    .flat_map(|(name, url)| {
        [
            "--processor".to_owned(),
            format!("{name}={url}/admin/payments"),
            "--headers-file".to_owned(),
            format!("{name}={token}"),
        ]
    })
    .collect()
}

/// The driver that this run of the tests is about, as its setting has it.
fn driver() -> String {
    std::env::var("MONOIO_FORCE_LEGACY_DRIVER").unwrap_or_else(|_| "0".to_owned())
}

/// Kind and id of each line of `--csv`, in any order.
fn found(csv: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = csv
        .lines()
        .skip(1)
        .map(|line| {
            let mut fields = line.split(',');
            let mut next = || fields.next().unwrap().to_owned();
            (next(), next())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_running_p99_agrees_with_its_processors_until_one_is_charged_behind_its_back() {
    let processors = Processors::start();
    let scratch = Scratch::new("reconcile").unwrap();
    let journal = scratch.text("journal");
    // Half and half by the id's hash: both have some.
    let p99 = processors.p99(
        &driver(),
        &[("JOURNAL_DIR", &journal), ("JOURNAL_SYNC", "os")],
    );
    let mut client = Client::connect(p99.address);
    for number in 0..60 {
        assert_eq!(client.pay(id(number), "19.90").status, 200);
    }
    let lists = lists(&processors, &scratch);
    let lists = lists.iter().map(String::as_str);
    let mut arguments = vec!["--journal", &journal, "--to", "2100-01-01T00:00:00Z"];
    arguments.extend(lists);
    // The last Verdicts follow their answers within 50 ms; until then they are pending, which is
    // no difference.
    let (status, out, err) = reconcile(&arguments);
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert!(!out.contains("unchecked"), "{out}");
    let window = "window: from the beginning to 2100-01-01T00:00:00.000Z\nmatched default: ";
    assert!(out.contains(window), "{out}");

    let a = &processors.a;
    let behind = UpstreamId(77);
    let twice = (0..60).map(id).find(|id| a.find(*id).is_some()).unwrap();
    let pay = |url: String, id: UpstreamId| {
        let address = url.strip_prefix("http://").unwrap().parse().unwrap();
        let body =
            payment(id, "5.00").replace('}', r#","requestedAt":"2025-07-10T12:34:56.789Z"}"#);
        let status = Client::connect(address)
            .call("POST /payments", "", &body)
            .status;
        assert_eq!(status, 200);
    };
    pay(processors.a.url(), behind);
    pay(processors.b.url(), twice);
    let (status, out, err) = reconcile(&[&arguments[..], &["--csv"]].concat());
    assert_eq!(status, 1, "{err}");
    let expected = [("charged_at_two", twice), ("missing_here", behind)]
        .map(|(kind, id)| (kind.to_owned(), id.to_string()));
    // Both comparisons together may take less than 50 ms.
    let mut found = found(&out);
    found.retain(|(kind, _)| kind != "pending");
    assert_eq!(found, expected, "{out}");

    // Without its credentials a list is no empty list.
    let (status, out, err) = reconcile(&arguments[..6]);
    assert_eq!((status, out.as_str()), (2, ""));
    assert!(
        err.contains("default") && err.contains("answers 401"),
        "{err}"
    );
}

#[test]
fn what_a_purge_forgot_and_what_is_pending_is_told_apart() {
    let scratch = Scratch::new("reconcile").unwrap();
    let dir = scratch.file("journal");
    let mut story = Story::default();
    for number in 0..4 {
        story.extend(charge(number, Processor::DEFAULT));
    }
    story.purge();
    story.extend(charge(4, Processor::DEFAULT));
    story.extend(open(5, Processor::DEFAULT));
    write_journal(&dir, 1_000, story.records());
    let rows = (3..6)
        .map(|number| book::row(number, number))
        .collect::<String>();
    std::fs::write(scratch.file("a.csv"), format!("{}{rows}", book::HEAD)).unwrap();
    let list = format!("default={}", scratch.text("a.csv"));
    let journal = dir.to_str().unwrap();
    let (status, out, err) = reconcile(&["--journal", journal, "--processor", &list, "--csv"]);
    assert_eq!(status, 1, "{err}");
    let expected =
        [("missing_here", 3), ("pending", 5)].map(|(kind, number)| (kind.to_owned(), name(number)));
    assert_eq!(found(&out), expected, "{out}");
    assert!(
        err.contains("matched default: payments 1, amount 0.05"),
        "{err}"
    );

    let from = book::date(at(4));
    let later = ["--journal", journal, "--processor", &list, "--from", &from];
    let (status, out, err) = reconcile(&later);
    assert_eq!(
        (status, err.as_str()),
        (0, ""),
        "pending is no difference: {out}"
    );
    assert!(out.contains("pending: 1"), "{out}");
}

#[test]
fn a_window_whose_ids_are_forgotten_is_not_compared() {
    let scratch = Scratch::new("reconcile").unwrap();
    let dir = scratch.file("journal");
    let mut story = Story::default();
    for number in 0..200 {
        story.extend(charge(number, Processor::DEFAULT));
    }
    // A start keeps the newest ids of its capacity; one core has them all.
    write_journal(&dir, 50, story.records());
    write_journal(&dir, 50, Vec::new());
    let rows: String = (0..200).map(|number| book::row(number, number)).collect();
    std::fs::write(scratch.file("a.csv"), format!("{}{rows}", book::HEAD)).unwrap();
    let list = format!("default={}", scratch.text("a.csv"));
    let all = ["--journal", dir.to_str().unwrap(), "--processor", &list];
    let (status, out, err) = reconcile(&all);
    assert_eq!((status, out.as_str()), (2, ""), "{err}");
    assert!(
        err.contains("forgotten the ids of 150 payments of the window at default"),
        "{err}"
    );
    assert!(err.contains(&book::date(at(150))), "{err}");
    let from = book::date(at(150));
    let (status, out, err) = reconcile(&[&all[..], &["--from", &from]].concat());
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("matched default: payments 50"), "{out}");
}

#[test]
fn what_cannot_be_done_is_named_and_is_no_difference() {
    let scratch = Scratch::new("reconcile").unwrap();
    let dir = scratch.file("journal");
    write_journal(&dir, 50, charge(1, Processor::DEFAULT).to_vec());
    let row = book::row(1, 1);
    let cut = format!("{}{row}{}", book::HEAD, &row[..20]);
    std::fs::write(scratch.file("cut.csv"), cut).unwrap();
    std::fs::write(scratch.file("a.csv"), format!("{}{row}", book::HEAD)).unwrap();
    let named = |file: &str| format!("default={}", scratch.text(file));
    let (good, cut, none) = (named("a.csv"), named("cut.csv"), named("none.csv"));
    let journal = dir.to_str().unwrap();
    let nowhere = scratch.text("nowhere");
    for (arguments, what) in [
        (
            &["--journal", journal, "--processor", &cut][..],
            "cut.csv: line 3: has no line end",
        ),
        (
            &["--journal", journal, "--processor", &none],
            "none.csv: No such file",
        ),
        (
            &["--journal", &nowhere, "--processor", &good],
            "nowhere: No such file",
        ),
        (
            &["--journal", journal, "--processor", "third"],
            "--processor \"third\"",
        ),
        (
            &["--journal", journal, "--processor", &good, "--from", "noon"],
            "--from \"noon\"",
        ),
        (
            &["--journal", journal, "--processor", "default=https://me@a/"],
            "write http[s]://host[:port]/path",
        ),
        (
            &[
                "--journal",
                journal,
                "--processor",
                &good,
                "--temporary",
                "/proc/x",
            ],
            "/proc/x",
        ),
        (&["--processor", &good], "JOURNAL_DIR is not set"),
        (&["--journal", journal], "--processor"),
    ] {
        let (status, out, err) = reconcile(arguments);
        assert_eq!((status, out.as_str()), (2, ""), "{arguments:?}");
        assert!(err.contains(what), "{arguments:?}: {err}");
    }
    let (status, out, err) = reconcile(&["--journal", journal, "--processor", &good]);
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
}

/// Read twice, a journal would call every payment charged twice; and headers without a book would
/// go nowhere.
#[test]
fn a_journal_that_is_named_twice_and_headers_without_a_book_are_refused() {
    let scratch = Scratch::new("reconcile").unwrap();
    let dir = scratch.file("journal");
    write_journal(&dir, 50, charge(1, Processor::DEFAULT).to_vec());
    let book = format!("{}{}", book::HEAD, book::row(1, 1));
    std::fs::write(scratch.file("a.csv"), book).unwrap();
    std::fs::write(scratch.file("headers"), "token: hush\n").unwrap();
    let list = format!("default={}", scratch.text("a.csv"));
    let headers = format!("fallback={}", scratch.text("headers"));
    let journal = dir.to_str().unwrap();
    let again = format!("{journal}/../journal/.");
    let all = ["--journal", journal, "--processor", &list];
    for (more, why) in [
        (["--journal", journal], "is named twice"),
        (["--journal", &again], "is named twice"),
        (["--headers-file", &headers], "no --processor fallback"),
    ] {
        let (status, out, err) = reconcile(&[&all[..], &more].concat());
        assert_eq!((status, out.as_str()), (2, ""), "{more:?}: {err}");
        assert!(err.contains(why), "{more:?}: {err}");
    }
}

/// That both sides agree is no news where there was nothing to compare.
#[test]
fn a_comparison_of_nothing_says_so() {
    let scratch = Scratch::new("reconcile").unwrap();
    let dir = scratch.file("journal");
    write_journal(&dir, 50, charge(1, Processor::DEFAULT).to_vec());
    let book = format!("{}{}", book::HEAD, book::row(1, 1));
    std::fs::write(scratch.file("a.csv"), book).unwrap();
    let list = format!("default={}", scratch.text("a.csv"));
    let day = [
        "--from",
        "2020-01-01T00:00:00Z",
        "--to",
        "2020-01-02T00:00:00Z",
    ];
    let arguments = ["--journal", dir.to_str().unwrap(), "--processor", &list];
    let arguments = [&arguments[..], &day].concat();
    let told = "window: from 2020-01-01T00:00:00.000Z to 2020-01-02T00:00:00.000Z\n\
                matched default: payments 0, amount 0.00\n\
                charged_at_two: 0\n";
    let (status, out, _) = reconcile(&arguments);
    assert_eq!(status, 0, "{out}");
    assert!(out.starts_with(told), "{out}");
    let (status, _, err) = reconcile(&[&arguments[..], &["--csv"]].concat());
    assert_eq!(status, 0, "{err}");
    assert!(err.starts_with(told), "{err}");
}
