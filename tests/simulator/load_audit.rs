//! Does the judge of load runs see every broken promise? One made-up run for each of them.

use crate::kit::load::{self, Charge, Latency, Run, Sum};
use crate::kit::report::Report;
use serde_json::value::RawValue;

fn id(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn sent(number: u32, cents: u64, status: u16, origin: &str) -> String {
    format!("P {} {cents} {status} {origin}\n", id(number))
}

fn row_of(correlation_id: String, amount: &str) -> Charge {
    Charge {
        correlation_id,
        amount: RawValue::from_string(amount.to_owned()).unwrap(),
        attempts: 1,
    }
}

fn row(number: u32, amount: &str) -> Charge {
    row_of(id(number), amount)
}

/// A run that ended well with these charges.
fn run(default: Vec<Charge>, fallback: Vec<Charge>) -> Run {
    let charged = [default, fallback];
    let sum = |rows: &Vec<Charge>| -> Sum {
        let cents = rows
            .iter()
            .map(|row| load::cents(row.amount.get()).unwrap());
        (rows.len() as u64, cents.sum())
    };
    let sums = charged.each_ref().map(sum);
    Run {
        charged,
        windows: vec![Some([[(3, 30), (0, 0)]; 3])],
        settled: sums,
        at_end: sums,
        result: Latency {
            p50_ms: 1.0,
            p99_ms: 2.0,
            max_ms: 3.0,
        },
    }
}

fn judged(records: &str, run: &Run) -> Report {
    let mut report = Report::default();
    load::judge(records, run, &mut report);
    report
}

/// This promise and no other is broken.
fn breaks(records: &str, run: &Run, promise: &'static str) {
    let report = judged(records, run);
    assert!(report.has_broken(promise), "{report:?}");
    assert_eq!(report.promises(), [promise], "{report:?}");
}

#[test]
fn a_clean_run_has_no_fault() {
    let statuses = [200, 202, 503, 0];
    let lines = (0..)
        .zip(statuses)
        .map(|(number, status)| sent(number, 1990, status, "-"));
    let records = lines.collect::<String>() + "noise\n";
    let run = run(
        vec![row(0, "19.90"), row(3, "19.90")],
        vec![row(1, "19.90")],
    );
    let report = judged(&records, &run);
    assert!(report.is_kept(), "{report:?}");
    let lag = report.value("lag at the end");
    assert_eq!(lag, Some("-1"), "the timed-out one was charged as well");
    assert_eq!(report.value("no answer"), Some("1"));
}

#[test]
fn an_id_at_both_processors_is_a_double_charge() {
    let records = sent(0, 1990, 200, "-") + &sent(1, 1990, 0, "-");
    let run = run(vec![row(0, "19.90")], vec![row(0, "19.90")]);
    breaks(&records, &run, load::BOTH);
}

#[test]
fn an_acknowledged_id_must_be_charged() {
    for status in [200, 202] {
        let records = sent(0, 1990, status, "-");
        breaks(&records, &run(vec![], vec![]), load::UNCHARGED);
    }
}

#[test]
fn a_refusal_must_not_be_charged() {
    let own = [400, 421, 422, 502, 503].map(|status| (status, "-"));
    for (status, origin) in own.into_iter().chain([(503, "haproxy")]) {
        let records = sent(0, 1990, status, origin);
        breaks(&records, &run(vec![row(0, "19.90")], vec![]), load::REFUSED);
    }
}

#[test]
fn what_promises_nothing_may_be_charged() {
    for (status, origin) in [
        (0, "-"),
        (409, "-"),
        (502, "haproxy"),
        (504, "haproxy"),
        (503, "unsure"),
    ] {
        let report = judged(
            &sent(0, 1990, status, origin),
            &run(vec![row(0, "19.90")], vec![]),
        );
        assert!(report.is_kept(), "{status} {origin}: {report:?}");
    }
}

#[test]
fn a_refused_id_may_be_paid_later() {
    let records = sent(0, 1990, 503, "-") + &sent(0, 1990, 200, "-");
    assert!(judged(&records, &run(vec![row(0, "19.90")], vec![])).is_kept());
}

#[test]
fn two_acknowledgements_of_one_id_are_a_fault_in_any_spelling() {
    let upper = "ABCDEF00-0000-4000-8000-000000000000";
    let lower = upper.to_lowercase();
    let records = format!("P {upper} 1990 200 -\nP {lower} 1990 202 -\n");
    breaks(
        &records,
        &run(vec![row_of(lower, "19.90")], vec![]),
        load::TWICE,
    );
}

#[test]
fn the_amount_must_be_the_one_that_was_sent() {
    let records = sent(0, 1991, 200, "-");
    breaks(&records, &run(vec![row(0, "19.90")], vec![]), load::AMOUNT);
}

#[test]
fn strangers_are_a_fault() {
    let records = sent(0, 1990, 200, "-") + &sent(1, 1990, 0, "-");
    let run = run(vec![row(0, "19.90"), row(2, "19.90")], vec![]);
    breaks(&records, &run, load::STRANGER);
}

#[test]
fn a_summary_that_differed_is_a_fault_and_costs_a_third() {
    let records = sent(0, 10_000, 200, "-");
    let mut run = run(vec![row(0, "100.00")], vec![]);
    let net = |run: &Run| format!("{:.0}", load::net(run));
    assert_eq!(net(&run), "11210");
    let looks = |ours| [[(3, 30), (0, 0)], [ours, (0, 0)], [(3, 30), (0, 0)]];
    run.windows = vec![Some(looks((3, 30))), Some(looks((3, 31))), None];
    breaks(&records, &run, load::DIFFERED);
    assert_eq!(net(&run), "7885");
}

#[test]
fn the_last_summary_must_be_what_was_charged() {
    let mut run = run(vec![row(0, "19.90")], vec![]);
    run.settled = [(1, 1989), (0, 0)];
    breaks(&sent(0, 1990, 200, "-"), &run, load::LAST);
}

#[test]
fn more_payments_than_asked_for_disqualify() {
    let mut run = run(vec![row(0, "19.90")], vec![]);
    run.settled = [(2, 3980), (0, 0)];
    let report = judged(&sent(0, 1990, 200, "-"), &run);
    assert!(report.has_broken(load::TOO_MANY), "{report:?}");
}

#[test]
fn an_empty_run_is_a_fault() {
    breaks("", &run(vec![], vec![]), load::EMPTY);
}

#[test]
fn a_summary_between_two_looks_is_consistent() {
    let rows = [
        ([(3, 30), (3, 30), (3, 30)], true),
        ([(3, 30), (4, 40), (5, 50)], true),
        ([(3, 30), (3, 31), (3, 30)], false),
        ([(3, 30), (2, 20), (3, 30)], false),
        ([(3, 30), (4, 40), (3, 30)], false),
        ([(3, 30), (6, 60), (5, 50)], false),
        ([(3, 30), (4, 60), (5, 50)], false),
    ];
    for (looks, expected) in rows {
        let other = (7, 70);
        let default = looks.map(|look| [look, other]);
        let fallback = looks.map(|look| [other, look]);
        assert_eq!(load::is_consistent(&default), expected, "{looks:?}");
        assert_eq!(load::is_consistent(&fallback), expected, "{looks:?}");
    }
}

#[test]
fn money_is_read_exactly() {
    let rows = [
        ("19.90", Some(1990)),
        ("\"0.1\"", Some(10)),
        ("7", Some(700)),
        ("1.500", Some(150)),
        ("0.001", None),
        ("x", None),
    ];
    for (text, expected) in rows {
        assert_eq!(load::cents(text), expected, "{text}");
    }
}
