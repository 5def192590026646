//! A backup of a p99 under load, restored after its original was killed: it has every payment that
//! was acknowledged before the backup began, every charge since by the processors' books, and
//! charges nothing again.

use std::collections::HashSet;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use p99::testing::payment::UpstreamId;

use super::kit::children::Processors;
use super::kit::client::{Client, id, wait_until};
use super::kit::scratch::Scratch;
use super::{driver, lists, reconcile};

fn p99(arguments: &[&str], journal: &str) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_p99"))
        .args(arguments)
        .env_clear()
        .env("JOURNAL_DIR", journal)
        .env("UPSTREAM_A_URL", "http://127.0.0.1:1")
        .env("LISTEN", "127.0.0.1:0")
        .output()
        .unwrap();
    (
        status.code().unwrap(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

/// Pays on four connections until it is told to stop; what was acknowledged is in the list.
fn pay_on(address: std::net::SocketAddr, told: &Mutex<Vec<UpstreamId>>, is_over: &AtomicBool) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::connect(address);
                while !is_over.load(Ordering::Acquire) {
                    let id = id(next.fetch_add(1, Ordering::Relaxed));
                    let status = client.pay(id, "19.90").status;
                    // A busy machine may have it turned away.
                    if [200, 202].contains(&status) {
                        told.lock().unwrap().push(id);
                    }
                }
            });
        }
    });
}

/// Nothing starts on the copy, and nothing is restored on half a word.
fn restore(processors: &Processors, scratch: &Scratch, copy: &str) {
    let (status, _, err) = p99(&[], copy);
    assert!(status == 1 && err.contains("is a backup"), "{err}");
    let (status, _, err) = p99(&["journal", "restore"], copy);
    assert!(status == 1 && err.contains("--original-gone"), "{err}");
    let gone = ["journal", "restore", "--original-gone"];
    let (status, _, err) = p99(&gone, copy);
    let missing = "--processor default=URL|FILE is missing";
    assert!(status == 1 && err.contains(missing), "{err}");
    let (status, _, err) = p99(&[&gone[..], &["--without-books"]].concat(), copy);
    let pending = "are pending in the backup";
    assert!(status == 1 && err.contains(pending), "{err}");
    let books = lists(processors, scratch);
    let books: Vec<&str> = books.iter().map(String::as_str).collect();
    let (status, out, err) = p99(&[&gone[..], &books[..]].concat(), copy);
    assert_eq!((status, err.as_str()), (0, ""));
    let added = "came after the backup and are charged";
    assert!(out.contains(added), "{out}");
}

#[test]
fn a_backup_under_load_is_restored_with_all_that_was_charged_and_charges_nothing_again() {
    let processors = Processors::start();
    // Half of the payments are answered 202 and are pending for a while.
    processors.b.set_delay(Duration::from_millis(150));
    let scratch = Scratch::new("restored").unwrap();
    let (journal, copy) = (scratch.text("journal"), scratch.text("copy"));
    let settings = [
        ("JOURNAL_DIR", journal.as_str()),
        ("REQUEST_TIMEOUT_MS", "50"),
        ("ATTEMPT_TIMEOUT_MS", "20000"),
    ];
    let original = processors.p99(&driver(), &settings);
    let told = Mutex::new(Vec::new());
    let is_over = AtomicBool::new(false);
    let count = || told.lock().unwrap().len();
    let before = std::thread::scope(|scope| {
        scope.spawn(|| pay_on(original.address, &told, &is_over));
        wait_until("some were paid", || count() >= 100);
        let before: HashSet<UpstreamId> = told.lock().unwrap().iter().copied().collect();
        let (status, out, err) = p99(&["journal", "backup", &copy], &journal);
        wait_until("more were paid", || count() >= before.len() + 100);
        is_over.store(true, Ordering::Release);
        assert_eq!((status, err.as_str()), (0, ""));
        assert!(out.contains("acknowledged before"), "{out}");
        before
    });
    original.kill().unwrap();
    let is_quiet = |one: &p99::testing::sim::SimulatorHandle| one.in_flight().0 == 0;
    wait_until("what was sent was answered", || {
        is_quiet(&processors.a) && is_quiet(&processors.b)
    });

    restore(&processors, &scratch, &copy);
    processors.b.set_delay(Duration::ZERO);
    let restored = processors.p99(&driver(), &[("JOURNAL_DIR", &copy)]);
    let mut client = Client::connect(restored.address);
    let all = told.into_inner().unwrap();
    let later = all.iter().filter(|id| !before.contains(id)).take(200);
    for id in before.iter().chain(later) {
        // Before the backup it was a promise; after it, only what was charged is known.
        if before.contains(id) || processors.charges(*id) > 0 {
            wait_until("it is known as charged", || {
                let answer = client.get(&format!("/payments/{id}"));
                assert_eq!(answer.status, 200, "{id} is forgotten");
                answer.body.contains(r#""status":"processed""#)
            });
        }
        let status = client.pay(*id, "19.90").status;
        assert!([200, 409].contains(&status), "{status}");
        assert_eq!(processors.charges(*id), 1, "{id}");
    }
    assert!(all.iter().all(|id| processors.charges(*id) <= 1));
    let books = lists(&processors, &scratch);
    let books: Vec<&str> = books.iter().map(String::as_str).collect();
    let to = ["--journal", &copy, "--to", "2100-01-01T00:00:00Z"];
    let (status, out, err) = reconcile(&[&to[..], &books[..]].concat());
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert_eq!(restored.stop(), Some(0));
}
