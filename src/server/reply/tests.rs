//! One row for every answer of the engine.

use super::*;
use crate::clock::UnixMillis;
use crate::http::DateCache;

fn written(reply: &Reply, location: Option<&CorrelationId>) -> String {
    let (mut out, mut scratch, mut date) = (Vec::new(), Vec::new(), DateCache::default());
    let context = ResponseContext {
        connection: ConnectionField::Silent,
        is_head: false,
        request_id: b"r-1",
        trace_parent: b"",
        location,
    };
    let parts = ResponseParts {
        date: date.at(UnixMillis(0)),
        challenge: "Bearer realm=\"p99\"",
        scratch: &mut scratch,
    };
    write_reply(reply, &context, parts, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn every_answer_of_the_engine_has_its_status() {
    let rows = [
        (Answer::Charged, Some(200), None, false),
        (Answer::Accepted, Some(202), None, false),
        (
            Answer::Duplicate(Status::Pending),
            Some(409),
            Some(1),
            false,
        ),
        (Answer::Duplicate(Status::Processed), Some(409), None, false),
        (Answer::Duplicate(Status::Refused), Some(409), None, false),
        (
            Answer::Replayed(FirstAnswer::Answered200),
            Some(200),
            None,
            true,
        ),
        (
            Answer::Replayed(FirstAnswer::Accepted202),
            Some(202),
            None,
            true,
        ),
        (Answer::AmountDiffers, Some(422), None, false),
        (Answer::RefusedForGood, Some(422), None, false),
        (Answer::RefusedByAll, Some(502), None, false),
        (Answer::Unavailable, Some(503), Some(1), false),
        (Answer::NotTried, Some(503), Some(1), false),
        (Answer::Overloaded, Some(503), Some(1), false),
        (Answer::NoRoom, Some(503), Some(30), false),
        (Answer::JournalDown, Some(503), Some(1), false),
        (Answer::Silence, None, None, false),
    ];
    for (answer, status, retry_after, is_replayed) in rows {
        let reply = Reply::to_payment(answer);
        assert_eq!(reply.map(|reply| reply.status), status, "{answer:?}");
        assert_eq!(
            reply.and_then(|reply| reply.retry_after),
            retry_after,
            "{answer:?}"
        );
        assert_eq!(
            reply.is_some_and(|reply| reply.is_replayed),
            is_replayed,
            "{answer:?}"
        );
    }
}

#[test]
fn an_accepted_payment_is_told_where_to_look() {
    let id = CorrelationId::try_new("test-123").unwrap();
    let text = written(&Reply::to_payment(Answer::Accepted).unwrap(), Some(&id));
    assert!(text.starts_with("HTTP/1.1 202 Accepted\r\n"), "{text}");
    assert!(
        text.contains("\r\nLocation: /payments/test-123\r\n"),
        "{text}"
    );
    assert!(text.contains("\r\nX-Request-Id: r-1\r\n"), "{text}");
    assert!(!text.contains("traceparent"), "{text}");
    let text = written(&Reply::to_payment(Answer::Charged).unwrap(), Some(&id));
    assert!(!text.contains("Location"), "{text}");
}

#[test]
fn a_fault_is_a_problem_and_a_replay_says_that_it_is_one() {
    let text = written(
        &Reply::problem(405, "no")
            .with("Allow", "GET, HEAD")
            .after(3),
        None,
    );
    assert!(
        text.contains("\r\nContent-Type: application/problem+json\r\n"),
        "{text}"
    );
    assert!(text.contains("\r\nAllow: GET, HEAD\r\n"), "{text}");
    assert!(text.contains("\r\nRetry-After: 3\r\n"), "{text}");
    assert!(text.ends_with(
        r#"{"title":"Method Not Allowed","status":405,"detail":"no","charged":"unknown"}"#
    ));
    let replay = Reply::to_payment(Answer::Replayed(FirstAnswer::Answered200)).unwrap();
    assert!(written(&replay, None).contains("\r\nIdempotent-Replayed: true\r\n"));
}

#[test]
fn readiness_is_200_only_when_the_process_and_its_journal_are_well() {
    let rows = [
        (Readiness::Ready, true, 200),
        (Readiness::Ready, false, 503),
        (Readiness::Starting, true, 503),
        (Readiness::Draining, true, 503),
        (Readiness::CoreStuck(crate::payment::CoreId(1)), true, 503),
    ];
    for (readiness, is_fit, status) in rows {
        assert_eq!(
            Reply::to_probe(readiness, is_fit).status,
            status,
            "{readiness:?}"
        );
    }
}

#[test]
fn not_charged_is_said_only_of_a_payment_whose_claim_was_held() {
    let rows = [
        (Answer::RefusedForGood, r#""charged":false"#),
        (Answer::RefusedByAll, r#""charged":false"#),
        (Answer::Unavailable, r#""charged":false"#),
        (Answer::NotTried, r#""charged":"unknown""#),
        (Answer::Overloaded, r#""charged":"unknown""#),
        (Answer::NoRoom, r#""charged":"unknown""#),
        (Answer::JournalDown, r#""charged":"unknown""#),
        (Answer::AmountDiffers, r#""charged":"unknown""#),
    ];
    for (answer, expected) in rows {
        let text = written(&Reply::to_payment(answer).unwrap(), None);
        assert!(text.contains(expected), "{answer:?}: {text}");
        assert_eq!(
            text.contains("not charged"),
            expected.contains("false"),
            "{text}"
        );
    }
    let differs = written(&Reply::to_payment(Answer::AmountDiffers).unwrap(), None);
    let start = "{\"type\":\"urn:p99:problem:amount-differs\",\"title\":\"Unprocessable Content\"";
    assert!(differs.contains(start), "{differs}");
    for status in [
        400, 401, 404, 405, 408, 413, 414, 415, 417, 422, 429, 431, 501, 503, 505,
    ] {
        let text = written(&Reply::problem(status, "x"), None);
        assert!(text.ends_with(r#","charged":"unknown"}"#), "{text}");
    }
    let probe = written(&Reply::to_probe(Readiness::Starting, true), None);
    assert!(!probe.contains("charged"), "{probe}");
}

#[test]
fn every_401_says_how_to_authenticate_and_no_other_answer_does() {
    let field = "\r\nWWW-Authenticate: Bearer realm=\"p99\"\r\n";
    assert!(written(&Reply::problem(401, "x"), None).contains(field));
    assert!(!written(&Reply::problem(403, "x"), None).contains("WWW-Authenticate"));
    let coded = Reply::problem(415, "x").with("Accept-Encoding", "identity");
    assert!(written(&coded, None).contains("\r\nAccept-Encoding: identity\r\n"));
}
