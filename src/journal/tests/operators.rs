//! What an operator sees and does.

use super::super::operator::{self, Resolution};
use super::*;

fn id_of(number: u32) -> UpstreamId {
    story(number)[0].id().unwrap()
}

#[test]
fn verify_and_pending_say_what_a_start_would_say() {
    let scratch = Scratch::new();
    assert_eq!(
        operator::verify(&scratch.0).unwrap(),
        operator::VerifyReport::default()
    );
    feed(start(&scratch.settings(2), WALL).unwrap(), &stories(0..40));
    let report = operator::verify(&scratch.0).unwrap();
    let facts = Facts::of_records(&stories(0..40).concat());
    assert_eq!((report.epoch, report.cores, report.oddities), (1, 2, 0));
    assert_eq!(report.totals, facts.totals);
    assert_eq!(report.pending, facts.pending.len() as u64);
    assert_eq!(report.settled, facts.settled.len() as u64);
    assert_eq!(report.records, stories(0..40).concat().len() as u64);
    let pending = operator::pending(&scratch.0).unwrap();
    assert_eq!(pending.len(), facts.pending.len());
    let mut text = Vec::new();
    operator::write_pending(&pending, WALL, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    for (line, pending) in text.lines().zip(&pending) {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["id"], pending.payment.id.to_string());
        assert!(value["ageMs"].as_i64().unwrap() > 0);
    }
}

#[test]
fn a_dump_is_one_line_of_json_for_each_record() {
    let scratch = Scratch::new();
    feed(start(&scratch.settings(2), WALL).unwrap(), &stories(0..16));
    let mut batches = stories(16..24);
    batches.push(vec![Record::Purge { at: WALL }]);
    feed(start(&scratch.settings(1), WALL).unwrap(), &batches);
    let mut text = Vec::new();
    operator::dump(&scratch.0, &mut text).unwrap();
    let lines: Vec<serde_json::Value> = String::from_utf8(text)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let count = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count();
    let numbered = lines
        .iter()
        .filter(|line| line["sequence"].is_u64())
        .count();
    assert_eq!(numbered, batches.concat().len());
    assert_eq!(count("purge"), 1);
    assert_eq!(
        count("settled"),
        Facts::of_records(&stories(0..16).concat()).settled.len()
    );
    assert!(count("ledger") > 0 && count("accept") > 0 && count("intent") > 0);
    let money = lines
        .iter()
        .find(|line| line["id"] == id_of(16).to_string())
        .unwrap();
    assert_eq!(money["amount"].to_string(), "1.13");
}

#[test]
fn resolving_by_hand_is_a_verdict_that_lasts() {
    let scratch = Scratch::new();
    // 2, 10 and 18 are open at a processor, 3 waits for any.
    let mut records: Vec<Record> = stories(0..20).concat();
    feed(start(&scratch.settings(2), WALL).unwrap(), &stories(0..20));
    let settings = scratch.settings(5);
    let resolve = |number, how| operator::resolve(&settings, id_of(number), how, WALL, || Ok(()));
    let was = resolve(2, Resolution::Applied).unwrap();
    assert_eq!(was.payment.id, id_of(2));
    let early = resolve(10, Resolution::Refused);
    assert!(matches!(early, Err(JournalFault::MayBeAcknowledged)));
    resolve(10, Resolution::RefusedAlthoughAcknowledged).unwrap();
    resolve(3, Resolution::Refused).unwrap();
    let Sent {
        processor,
        requested_at,
        ..
    } = was.open.unwrap();
    let Payment { id, amount, .. } = was.payment;
    let applied = Verdict::Applied {
        processor,
        amount,
        requested_at,
    };
    let refused = Verdict::Refused {
        processor: Processor::DEFAULT,
        fate: Fate::Ended,
    };
    records.push(Record::Verdict {
        id,
        verdict: applied,
    });
    records.push(Record::Verdict {
        id: id_of(10),
        verdict: refused,
    });
    records.push(Record::Verdict {
        id: id_of(3),
        verdict: refused,
    });
    let started = start(&scratch.settings(2), WALL).unwrap();
    assert_eq!(Facts::of_start(&started), Facts::of_records(&records));
    let locked = resolve(18, Resolution::Applied);
    assert!(matches!(locked, Err(JournalFault::Locked { .. })));
    drop(started);
    for (number, how) in [
        (2, Resolution::Applied),
        (0, Resolution::Refused),
        (999, Resolution::Refused),
        // No one has it, so no one can have charged it.
        (11, Resolution::Applied),
    ] {
        assert!(
            matches!(resolve(number, how), Err(JournalFault::NotPending)),
            "{number}"
        );
    }
}

#[test]
fn looking_does_not_need_the_lock() {
    let scratch = Scratch::new();
    let started = start(&scratch.settings(2), WALL).unwrap();
    operator::verify(&scratch.0).unwrap();
    operator::dump(&scratch.0, &mut Vec::new()).unwrap();
    drop(started);
}
