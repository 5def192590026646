//! Peers that are not who they should be: who is stopped by it, who goes on, and how an operator
//! ends it. And the moment at a start before any peer was asked.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::kit::client::{Client, payment, wait_until};
use crate::kit::scratch::Scratch;
use crate::kit::stack::{BEST, Stack};
use crate::kit::start::{binary, free_port};
use crate::peers::{SUMMARY, ids_of, pay, read, start};
use crate::{ask, post};

fn is_ready(stack: &Stack) -> bool {
    read(stack, "/readyz").0 == 200
}

fn has_sum(stack: &Stack) -> bool {
    read(stack, SUMMARY).0 == 200
}

/// Whether it has met the other one.
fn knows_both(stack: &Stack) -> bool {
    let (_, body) = read(stack, &format!("{SUMMARY}?scope=ask"));
    !body.contains("null")
}

fn await_meeting(stacks: [&Stack; 2]) {
    for stack in stacks {
        wait_until("they meet", || has_sum(stack) && knows_both(stack));
    }
}

/// A payment of `id` and its lookup are 503, which says nothing about money; else what was said.
fn refuses(stack: &Stack, id: &str) -> Result<(), String> {
    let mut client = Client::connect(stack.address());
    let (status, head, body) = ask(&mut client, &post("/payments", "", &payment(id, "19.90")));
    let (got_status, found) = read(stack, &format!("/payments/{id}"));
    let is_refused = (status, got_status) == (503, 503)
        && head.contains("\r\nRetry-After: 1\r\n")
        && [&body, &found]
            .iter()
            .all(|body| body.contains(r#""charged":"unknown""#));
    let told = || format!("{head}{body}, never denied: {found}");
    is_refused.then_some(()).ok_or_else(told)
}

fn assert_stopped(stack: &Stack, id: &str) {
    refuses(stack, id).unwrap_or_else(|told| panic!("{told}"));
}

/// Starts one that refuses all of these from its first moment on. Where the other one gave it no
/// answer in time, as on a busy machine, it takes payments, and is started anew.
fn start_stopped(ids: &[String], start: impl Fn(usize) -> Stack) -> Stack {
    for turn in 0..5 {
        let stack = start(turn);
        let refused = ids.iter().try_for_each(|id| refuses(&stack, id));
        let Err(told) = refused else {
            return stack;
        };
        let failed = stack.metric(r#"p99_peer_calls_total{result="failed"}"#);
        assert!(failed > 0.0, "{told}");
        let _ = stack.end();
    }
    panic!("the other one never answered in time");
}

/// Both are stopped, since each may be the wrong one.
#[test]
fn who_claims_the_shard_of_another_is_named() {
    for shards in [["1/2", "1/2"], ["2/2", "2/2"], ["1/2", "2/3"]] {
        let port = free_port();
        let third = format!("http://127.0.0.1:{}", free_port());
        let own = format!("http://127.0.0.1:{port}");
        let more = [("PEERS", format!("{own},{third}"))];
        let more = more.each_ref().map(|(name, value)| (*name, value.as_str()));
        let first = start(shards[0], [port, free_port()], None, &[]);
        let urls = first.urls();
        let is_larger = shards[1].ends_with('3');
        let peers: &[(&str, &str)] = if is_larger { &more } else { &[] };
        let second = start(shards[1], [free_port(), port], Some(&urls), peers);
        wait_until("it is not ready", || {
            let (status, body) = read(&second, "/readyz");
            let words = if is_larger {
                "of another size"
            } else {
                "claimed by two"
            };
            assert!(
                !body.contains("charged\":"),
                "a probe asks of no payment: {body}"
            );
            status == 503 && body.contains(words)
        });
        assert_eq!(read(&second, SUMMARY).0, 503);
        let (number, count) = shards[1].split_once('/').unwrap();
        let (number, count) = (number.parse().unwrap(), count.parse().unwrap());
        assert_stopped(&second, &ids_of(number, count).next().unwrap());
        let _ = (first.end(), second.end());
    }
}

/// A shard that comes back on another journal would take ids as new that it has charged: it takes
/// none. The other one names it and goes on with its own, until an operator lets go of the old.
#[test]
fn a_shard_that_lost_its_journal_takes_no_payment_until_the_others_forget_it() {
    let scratch = Scratch::new("journals").unwrap();
    let journals = ["a", "b", "c"].map(|name| scratch.text(name));
    let ports = [free_port(), free_port()];
    let processors = Stack::start(BEST, &[]);
    let urls = processors.urls();
    let first = |journal: &str| start("1/2", ports, Some(&urls), &[("JOURNAL_DIR", journal)]);
    let second = |journal: &str| {
        let ports = [ports[1], ports[0]];
        start("2/2", ports, Some(&urls), &[("JOURNAL_DIR", journal)])
    };
    let [one, right] = [first(&journals[0]), second(&journals[1])];
    await_meeting([&one, &right]);
    let (mine, others) = (ids_of(2, 2).take(40), ids_of(1, 2));
    let mine: Vec<String> = mine.collect();
    let mut others = others.skip(1);
    assert_eq!(pay(&right, &mine[0], "").0, 200);
    let _ = right.end();
    // The charged one, and some that never came.
    let wrong = start_stopped(&mine, |turn| second(&format!("{}-{turn}", journals[2])));
    let named = "shard 2 has another journal than it had";
    wait_until("it is named", || read(&wrong, "/readyz").1.contains(named));
    assert!(!is_ready(&wrong));
    wait_until("the other one says it, and is ready", || {
        let (status, body) = read(&one, "/readyz");
        assert_eq!(status, 200, "{body}");
        body.contains(named)
    });
    let other = others.next().unwrap();
    assert_eq!(pay(&one, &other, "").0, 200, "its own go on");
    assert_eq!(read(&one, &format!("/payments/{other}")).0, 200);
    for (stack, ready) in [(&one, "\np99_ready 1\n"), (&wrong, "\np99_ready 0\n")] {
        assert!(!has_sum(stack));
        assert!(read(stack, "/metrics").1.contains(ready));
    }
    assert_stopped(&wrong, &mine[0]);
    // The disk is lost for good, and an operator says so.
    let _ = one.end();
    let copy = scratch.text("copy");
    copy_folder(&journals[0], &copy);
    let mut forget = Command::new(binary());
    let forget = forget.args(["journal", "forget-shards"]).env_clear();
    let told = forget.env("JOURNAL_DIR", &copy).output().unwrap();
    assert!(told.status.success(), "{told:?}");
    let one = first(&copy);
    for stack in [&one, &wrong] {
        wait_until("all is well again", || is_ready(stack) && has_sum(stack));
    }
    assert_eq!(pay(&wrong, &mine[1], "").0, 200);
    let _ = (one.end(), wrong.end(), processors.end());
}

/// The setting was lost, not the disk: without a journal it knows as little as on an empty one.
#[test]
fn a_shard_that_lost_its_journal_dir_takes_no_payment() {
    let scratch = Scratch::new("unset").unwrap();
    let journals = ["a", "b"].map(|name| scratch.text(name));
    let ports = [free_port(), free_port()];
    let one = start("1/2", ports, None, &[("JOURNAL_DIR", &journals[0])]);
    let urls = one.urls();
    let second = |more: &[(&str, &str)]| start("2/2", [ports[1], ports[0]], Some(&urls), more);
    let right = second(&[("JOURNAL_DIR", &journals[1])]);
    await_meeting([&one, &right]);
    let mine: Vec<String> = ids_of(2, 2).take(40).collect();
    assert_eq!(pay(&right, &mine[0], "").0, 200);
    let _ = right.end();
    let bare = start_stopped(&mine, |_| second(&[]));
    let named = "shard 2 has another journal than it had";
    for stack in [&bare, &one] {
        wait_until("it is named", || read(stack, "/readyz").1.contains(named));
    }
    assert!(!is_ready(&bare) && is_ready(&one));
    let _ = (bare.end(), one.end());
}

/// What was named is well again as soon as the right journal is back.
#[test]
fn a_shard_with_its_own_journal_again_goes_on() {
    let scratch = Scratch::new("journals").unwrap();
    let journals = ["a", "b", "c"].map(|name| scratch.text(name));
    let ports = [free_port(), free_port()];
    let first = start("1/2", ports, None, &[("JOURNAL_DIR", &journals[0])]);
    let urls = first.urls();
    let second = |journal: &str| {
        let ports = [ports[1], ports[0]];
        start("2/2", ports, Some(&urls), &[("JOURNAL_DIR", journal)])
    };
    let right = second(&journals[1]);
    await_meeting([&first, &right]);
    let _ = right.end();
    // Of the same process, so its lock lasts: it comes back on a copy.
    let copy = scratch.text("copy");
    copy_folder(&journals[1], &copy);
    let wrong = second(&journals[2]);
    wait_until("it is named", || {
        read(&first, "/readyz").1.contains("another journal")
    });
    let _ = wrong.end();
    let right = second(&copy);
    for stack in [&first, &right] {
        wait_until("all is well again", || {
            is_ready(stack) && has_sum(stack) && !read(stack, "/readyz").1.contains("journal")
        });
    }
    assert_eq!(pay(&right, &ids_of(2, 2).next().unwrap(), "").0, 200);
    let _ = (first.end(), right.end());
}

/// The mark that it says of shard 2.
fn mark_of_second(stack: &Stack) -> String {
    let (_, body) = read(stack, &format!("{SUMMARY}?scope=ask"));
    let marks = body.split_once("\"marks\":[").map(|(_, marks)| marks);
    let second = marks.and_then(|marks| marks.split([',', ']']).nth(1));
    second.unwrap_or_default().to_owned()
}

/// An old copy has the journal's name, and has forgotten what was charged since it was made.
#[test]
fn a_shard_on_an_old_copy_of_its_journal_takes_no_payment_however_often_it_starts() {
    let scratch = Scratch::new("old-copy").unwrap();
    let ports = [free_port(), free_port()];
    let one = start("1/2", ports, None, &[("JOURNAL_DIR", &scratch.text("one"))]);
    let urls = one.urls();
    let second = |name: &str| {
        let ports = [ports[1], ports[0]];
        let journal = scratch.text(name);
        start("2/2", ports, Some(&urls), &[("JOURNAL_DIR", &journal)])
    };
    // Of the same process, so the lock of each lasts: a restart is one on a copy.
    let copy = |from: &str, to: &str| copy_folder(&scratch.text(from), &scratch.text(to));
    let right = second("a");
    await_meeting([&one, &right]);
    let _ = right.end();
    copy("a", "old-0");
    // Two quick restarts, which are no reason to stop.
    copy("a", "b");
    let _ = second("b").end();
    copy("b", "c");
    let right = second("c");
    await_meeting([&one, &right]);
    let mine: Vec<String> = ids_of(2, 2).take(40).collect();
    assert_eq!(pay(&right, &mine[0], "").0, 200);
    wait_until("the other one knows how far it is", || {
        let said = [&one, &right].map(mark_of_second);
        said[0] == said[1] && said[0] != "null"
    });
    let _ = right.end();
    let named = "shard 2 has another journal than it had";
    let mut old = "old-0".to_owned();
    for round in 1..4 {
        let name = |turn: usize| format!("old-{round}-{turn}");
        let last = std::cell::Cell::new(0);
        let wrong = start_stopped(&mine, |turn| {
            last.set(turn);
            copy(&old, &name(turn));
            second(&name(turn))
        });
        for stack in [&wrong, &one] {
            wait_until("it is named", || read(stack, "/readyz").1.contains(named));
        }
        assert!(!is_ready(&wrong) && is_ready(&one));
        assert!(!has_sum(&wrong) && !has_sum(&one));
        let _ = wrong.end();
        old = name(last.get());
    }
    copy("c", "d");
    let right = second("d");
    for stack in [&one, &right] {
        wait_until("all is well again", || is_ready(stack) && has_sum(stack));
    }
    assert_eq!(pay(&right, &mine[1], "").0, 200);
    let _ = (right.end(), one.end());
}

fn copy_folder(from: &str, to: &str) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, Path::new(to).join(path.file_name().unwrap())).unwrap();
    }
}

/// Peers say at a start whether this is the right journal; one that hangs is waited for, a second
/// and no longer.
#[test]
fn a_start_asks_the_others_once_before_it_takes_payments() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent = silent.local_addr().unwrap().port();
    let mut ids = ids_of(1, 2);
    for _ in 0..20 {
        let began = Instant::now();
        let shard = start("1/2", [free_port(), silent], None, &[]);
        let refused = refuses(&shard, &ids.next().unwrap());
        let (status, body) = read(&shard, "/readyz");
        // On a busy machine the second may be over before anything was asked of it.
        if began.elapsed() > Duration::from_millis(900) {
            let _ = shard.end();
            continue;
        }
        assert_eq!(refused, Ok(()));
        assert!(status == 503 && body.contains("not asked yet"), "{body}");
        wait_until("it takes payments", || {
            pay(&shard, &ids.next().unwrap(), "").0 == 200
        });
        let took = began.elapsed();
        assert!(took < Duration::from_secs(4), "{took:?}");
        assert!(is_ready(&shard));
        let _ = shard.end();
        return;
    }
    panic!("no start was quick enough to be looked at");
}
