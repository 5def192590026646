//! Every raw HTTP/1.1 case of `tests/data/http_cases.jsonl` against a live server, on both drivers:
//! by the table's own runner where there is a Python 3, and by a smaller check of our own
//! everywhere: no byte is taken for a request that is none, what must be served is served, and the
//! server is alive after each case.

use std::net::SocketAddr;
use std::process::Command;

use crate::kit::answer::statuses;
use crate::kit::client::Client;
use crate::kit::stack::{BEST, Stack};
use serde_json::Value;

const TABLE: &str = include_str!("../data/http_cases.jsonl");

fn driver_setting(driver: &'static str) -> [(&'static str, &'static str); 1] {
    [("MONOIO_FORCE_LEGACY_DRIVER", driver)]
}

/// The table's own runner; passes where there is no Python 3. It waits two seconds for an answer,
/// which a busy machine may need now and then; an answer that is wrong is not asked for again.
fn run_table(driver: &'static str) {
    let stack = Stack::start(BEST, &driver_setting(driver));
    let root = env!("CARGO_MANIFEST_DIR");
    let address = stack.address();
    let mut runner = Command::new("python3");
    runner
        .arg(format!("{root}/tests/http_cases.py"))
        .args([address.ip().to_string(), address.port().to_string()])
        .args(["--cases", &format!("{root}/tests/data/http_cases.jsonl")])
        .arg("--quiet");
    let has_passed = (0..3).any(|_| match runner.output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            let failed = text.lines().filter(|line| line.starts_with("FAIL "));
            let failed: Vec<&str> = failed.collect();
            let is_late = |line: &&str| line.contains(" 0 answers, ");
            let are_late = !failed.is_empty() && failed.iter().all(is_late);
            let why = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() || are_late, "{text}{why}");
            output.status.success()
        }
        // What Python would see, `check_table` sees for the most part.
        Err(fault) => {
            assert_eq!(fault.kind(), std::io::ErrorKind::NotFound, "{fault}");
            true
        }
    });
    assert!(has_passed, "no answer in time, three times");
    stack.stop();
}

#[test]
fn the_tables_runner_passes_on_the_best_driver() {
    run_table("0");
}

#[test]
fn the_tables_runner_passes_on_epoll() {
    run_table("1");
}

#[test]
fn every_case_is_answered_as_the_table_says_on_the_best_driver() {
    check_table("0");
}

#[test]
fn every_case_is_answered_as_the_table_says_on_epoll() {
    check_table("1");
}

fn check_table(driver: &'static str) {
    let stack = Stack::start(BEST, &driver_setting(driver));
    let cases: Vec<Value> = TABLE
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(cases.len() > 200, "the table is whole");
    let faults: Vec<String> = cases
        .iter()
        .enumerate()
        .filter_map(|(index, case)| {
            let fault = check(case, index, stack.address()).err()?;
            Some(format!("{}: {fault}", case["id"]))
        })
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    stack.stop();
}

fn check(case: &Value, index: usize, address: SocketAddr) -> Result<(), String> {
    let answered = exchange(&bytes(case, index), address);
    let statuses = statuses(&answered);
    let finals: Vec<u16> = statuses
        .iter()
        .copied()
        .filter(|status| *status >= 200)
        .collect();
    let most = case["maxn"]
        .as_u64()
        .or_else(|| case["n"].as_u64())
        .unwrap_or(1);
    if finals.len() > usize::try_from(most).unwrap() {
        return Err(format!(
            "{} answers, at most {most}: {finals:?}",
            finals.len()
        ));
    }
    if statuses
        .iter()
        .any(|status| allowed(case, "never").contains(status))
    {
        return Err(format!("a status that must not be used: {statuses:?}"));
    }
    if finals
        .first()
        .is_some_and(|status| allowed(case, "never_first").contains(status))
    {
        return Err(format!("accepted: {finals:?}"));
    }
    if case["absent"]
        .as_str()
        .is_some_and(|text| answered.contains(text))
    {
        return Err("the answer repeats what it must not".to_owned());
    }
    let is_right = match case["expect"].as_str().unwrap() {
        "accept" => is_accepted(case, &finals),
        "reject_400" => finals
            .first()
            .is_some_and(|status| *status == 400 || allowed(case, "also").contains(status)),
        "reject_any_4xx_or_close" => is_refused(case, &finals),
        _ => finals
            .iter()
            .all(|status| *status < 500 || matches!(status, 501 | 505)),
    };
    if is_right {
        Ok(())
    } else {
        Err(format!("{} but {finals:?}", case["expect"]))
    }
}

/// A list of statuses in a case.
fn allowed(case: &Value, key: &str) -> Vec<u16> {
    let list = case[key].as_array().into_iter().flatten();
    list.filter_map(Value::as_u64)
        .filter_map(|status| u16::try_from(status).ok())
        .collect()
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

/// Enough answers, each with a status that its place allows.
fn is_accepted(case: &Value, finals: &[u16]) -> bool {
    let least = case["min_n"]
        .as_u64()
        .or_else(|| case["n"].as_u64())
        .unwrap_or(1);
    let fits = |place: usize, status: u16| match case["status"][place].as_array() {
        Some(list) => list
            .iter()
            .any(|allowed| allowed.as_u64() == Some(u64::from(status))),
        None => is_success(status),
    };
    finals.len() >= usize::try_from(least).unwrap()
        && finals
            .iter()
            .enumerate()
            .all(|(place, status)| fits(place, *status))
}

/// No answer at all, or a refusal and nothing behind it that was taken for a request.
fn is_refused(case: &Value, finals: &[u16]) -> bool {
    let may_go_on = case["soft"].as_bool().unwrap_or(false) || case["maxn"].is_u64();
    match finals {
        [] => true,
        [first, rest @ ..] => !is_success(*first) && (rest.is_empty() || may_go_on),
    }
}

/// A case's bytes, with an id of its own.
fn bytes(case: &Value, index: usize) -> Vec<u8> {
    let mut text = case["raw"].as_str().unwrap().to_owned();
    for (key, mark) in [("fill", "@@FILL@@"), ("fill2", "@@FILL2@@")] {
        if let Some(unit) = case[key][0].as_str() {
            let count = usize::try_from(case[key][1].as_u64().unwrap()).unwrap();
            text = text.replace(mark, &unit.repeat(count));
        }
    }
    let id = format!("00000000-0000-4000-8000-{index:012}");
    // The table writes bytes as Latin-1.
    let text = text.replace("00000000-0000-4000-8000-000000000000", &id);
    text.chars()
        .map(|letter| u8::try_from(u32::from(letter)).unwrap())
        .collect()
}

/// Sends all, says that no more comes, and reads until the server closes. A case that is waited
/// for forever would fail here: the server must close after the end of the input.
fn exchange(bytes: &[u8], address: SocketAddr) -> String {
    let mut client = Client::connect(address);
    let mut reader = client.another();
    let answered = std::thread::spawn(move || {
        let mut answered = Vec::new();
        // A reset after a refusal is an end too; what came before it counts.
        let _end = reader.read_to_end(&mut answered);
        answered.iter().map(|byte| char::from(*byte)).collect()
    });
    // A server that has refused need not read the rest.
    if client.send_bytes(bytes).is_ok() {
        client.end_writing();
    }
    answered.join().unwrap()
}
