//! Every entry is one line of JSON, whatever a client sent.

use std::sync::Arc;

use super::*;
use crate::events::Trace;
use crate::payment::{CorrelationId, Outcome, Payment, Processor, Status};
use crate::timeline::{Choice, Recent};

/// `fact` as it is told, without its moment and id.
fn told(fact: Fact) -> String {
    let mut recent = Recent::default();
    recent.push(UpstreamId(1), UnixMillis(1_800_000_000_120), fact, 0);
    let mut text = String::new();
    write_entry(&recent.find(UpstreamId(1))[0], &mut text);
    let _: serde_json::Value = serde_json::from_str(&text).unwrap();
    let start = r#"{"at":"2027-01-15T08:00:00.120Z","id":"00000000-0000-0000-0000-000000000001","#;
    text.strip_prefix(start).unwrap().to_owned()
}

#[test]
#[allow(clippy::too_many_lines, reason = "one row for each fact")]
fn every_fact_is_one_object() {
    let processor = Processor::DEFAULT;
    let sent = Fact::Sent {
        processor,
        address: Some(([10, 0, 0, 1], 80).into()),
        purpose: Purpose::First,
        choice: Choice::Tried,
        waited_ms: 3,
    };
    let ended = Fact::Ended {
        processor,
        outcome: Outcome::Unknown,
        reason: Reason::Status(503),
        took_us: 900,
    };
    let stored = Lookup::Stored {
        requested_at: UnixMillis(1_800_000_000_000),
        amount: Cents(1990),
    };
    let status = Status::Refused;
    let answer = Answer::Accepted;
    let rows = [
        (
            Fact::Restored {
                open: Some(processor),
            },
            r#""step":"restored","open_at":"default"}"#,
        ),
        (
            Fact::Waits { at: processor },
            r#""step":"waits","for":"default"}"#,
        ),
        (Fact::Promised, r#""step":"promised"}"#),
        (
            sent,
            concat!(
                r#""step":"sent","processor":"default","address":"10.0.0.1:80","#,
                r#""attempt":"first","because":"preferred_was_tried","waited_ms":3}"#
            ),
        ),
        (
            ended,
            concat!(
                r#""step":"attempt_ended","processor":"default","#,
                r#""outcome":"unknown","reason":"status_503","took_us":900}"#
            ),
        ),
        (
            Fact::Asked { processor },
            r#""step":"lookup_sent","processor":"default"}"#,
        ),
        (
            Fact::LookedUp {
                processor,
                lookup: stored,
            },
            concat!(
                r#""step":"lookup_answered","processor":"default","found":"stored","#,
                r#""requested_at":"2027-01-15T08:00:00.000Z","amount":19.90}"#
            ),
        ),
        (
            Fact::LookedUp {
                processor,
                lookup: Lookup::NotFound,
            },
            concat!(
                r#""step":"lookup_answered","processor":"default","#,
                r#""found":"nothing"}"#
            ),
        ),
        (
            Fact::Pinned {
                processor,
                pause_ms: 1_000,
            },
            r#""step":"pinned","processor":"default","again_in_ms":1000}"#,
        ),
        (
            Fact::Charged {
                processor,
                took_us: 1_500,
            },
            r#""step":"charged","processor":"default","told":"as_usual","took_us":1500}"#,
        ),
        (
            Fact::Settled {
                status,
                processor: None,
            },
            r#""step":"settled","status":"refused"}"#,
        ),
        (
            Fact::Resolved { is_charged: false },
            r#""step":"resolved_by_hand","as":"refused"}"#,
        ),
        (
            Fact::Told { answer },
            r#""step":"told","answer":"accepted"}"#,
        ),
    ];
    for (fact, expected) in rows {
        assert_eq!(told(fact), expected);
    }
}

#[test]
fn a_story_begins_with_the_claim_as_long_as_it_is_remembered() {
    let mut recent = Recent::default();
    let id = UpstreamId(1);
    let sent = Fact::Sent {
        processor: Processor::DEFAULT,
        address: None,
        purpose: Purpose::First,
        choice: Choice::Preferred,
        waited_ms: 120,
    };
    let first = recent.push(id, UnixMillis(1_800_000_000_120), sent, 0);
    recent.push(id, UnixMillis(1_800_000_000_125), Fact::Promised, first);
    let told = |entries: &[Entry]| -> Vec<(String, String)> {
        let mut text = String::new();
        write_story(entries, &mut text);
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        let text = |one: &serde_json::Value| one.as_str().unwrap().to_owned();
        let all = read.as_array().unwrap().iter();
        all.map(|one| (text(&one["at"]), text(&one["step"])))
            .collect()
    };
    let all = recent.find(id);
    let pair = |at: &str, step: &str| (format!("2027-01-15T08:00:00.{at}Z"), step.to_owned());
    let [claimed, sent, promised] =
        [("000", "claimed"), ("120", "sent"), ("125", "promised")].map(|(at, step)| pair(at, step));
    assert_eq!(told(&all), [claimed, sent, promised.clone()]);
    assert_eq!(told(&all[1..]), [pair("125", "forgotten"), promised]);
    assert!(told(&[]).is_empty());
}

#[test]
fn what_a_client_sent_is_escaped() {
    let correlation_id = CorrelationId::try_new("order-1").unwrap();
    let head = Head {
        payment: Payment {
            id: UpstreamId(1),
            correlation_id,
            amount: Cents(5),
        },
        trace: Some(Arc::new(Trace {
            request_id: Some("a\"b".to_owned()),
            traceparent: None,
        })),
        at: UnixMillis(0),
    };
    let mut text = String::new();
    write_head(&head, &mut text);
    let read: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(read["request_id"], "a\"b");
    assert_eq!(read["correlationId"], "order-1");
    assert_eq!(read["amount"].to_string(), "0.05");
    assert_eq!(read.get("traceparent"), None);
}
