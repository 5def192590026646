//! What single requests are answered: README's tables of the API, row by row.

use p99::testing::clock::UnixMillis;
use p99::testing::payment::{CorrelationId, Processor, Totals, UpstreamId};
use p99::testing::sim::{Act, Fault, Moment, Window};
use p99::testing::wire;

use crate::kit::client::{Answer, id, patiently, payment, request};
use crate::kit::stack::Stack;
use crate::on_both_drivers;

const UUID: &str = "4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3";

fn upstream_id(text: &str) -> UpstreamId {
    CorrelationId::try_new(text).unwrap().upstream_id()
}

/// RFC 9457: the media type, and status and title as the status line has them.
fn assert_problem(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(
        answer.field("Content-Type"),
        Some("application/problem+json")
    );
    let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["status"], status);
    let title = problem["title"].as_str().unwrap();
    assert!(
        answer
            .head
            .starts_with(&format!("HTTP/1.1 {status} {title}\r\n")),
        "{title}: {}",
        answer.head
    );
    assert!(!problem["detail"].as_str().unwrap().is_empty());
    // Not charged is said of a payment that a processor refused, and of none else.
    let is_about_claim = matches!(status, 502) || answer.body.contains("not charged");
    let expected = if is_about_claim {
        serde_json::Value::Bool(false)
    } else {
        "unknown".into()
    };
    assert_eq!(problem["charged"], expected, "{}", answer.body);
}

on_both_drivers! {
    the_classic_example,
    one_processor_alone_works,
    payments_that_break_a_rule_are_refused_and_free,
    a_coded_body_and_an_id_of_dots_are_refused,
    two_spellings_of_one_uuid_are_one_payment,
    methods_and_paths_have_their_statuses,
    a_replayed_duplicate_gets_the_first_answer,
    a_purge_forgets_where_it_is_allowed,
    summary_windows_include_both_ends,
    trace_headers_go_there_and_back,
    refusals_have_the_statuses_that_the_design_gives_them,
    many_requests_on_one_connection_are_answered_in_order,
}

fn the_classic_example(driver: &str) {
    let stack = Stack::start(driver, &[]);
    let mut client = stack.client();
    let answer = client.pay("test-123", "20");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("Content-Type"), Some("application/json"));
    assert!(answer.field("Date").is_some());
    assert_eq!(
        answer.body,
        r#"{"message":"payment processed successfully"}"#
    );
    let again = client.pay("test-123", "20");
    assert_eq!(again.status, 409);
    assert_eq!(
        again.body,
        r#"{"message":"duplicate correlationId","status":"processed"}"#
    );
    let charged = upstream_id("test-123");
    assert_eq!(stack.attempts(charged), 1, "the duplicate went nowhere");
    let (processor, row) = match (stack.a.find(charged), stack.b.find(charged)) {
        (Some(row), None) => (Processor::DEFAULT, row),
        (None, Some(row)) => (Processor::FALLBACK, row),
        both => panic!("{both:?}"),
    };
    assert_eq!(row.amount.0, 2_000);
    let mut requested_at = Vec::new();
    wire::write_instant(row.requested_at, &mut requested_at);
    let found = client.get("/payments/test-123");
    assert_eq!(found.status, 200);
    assert_eq!(
        found.body,
        format!(
            concat!(
                r#"{{"correlationId":"test-123","amount":20.00,"status":"processed","#,
                r#""processor":"{}","requestedAt":"{}"}}"#
            ),
            processor.name(),
            String::from_utf8(requested_at).unwrap(),
        )
    );
    assert_problem(&client.get("/payments/test-124"), 404);
    stack.audit("classic", &[]);
    stack.stop();
}

/// Only A is set: what it refuses finds no other, and what it charged is all there is.
fn one_processor_alone_works(driver: &str) {
    let settings = [("UPSTREAM_B_URL", "none"), ("ROUTING", "round_robin")];
    let stack = Stack::start(driver, &settings);
    let mut client = stack.client();
    for number in 0..20 {
        let answer = client.pay(format!("alone-{number}"), "1");
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    assert_eq!(stack.a.totals(Window::default()).count, 20);
    assert_eq!(stack.summary(""), stack.charged(Window::default()));
    let page = client.get("/metrics").body;
    assert!(
        page.contains("p99_breaker_state{processor=\"default\"}"),
        "{page}"
    );
    assert!(!page.contains("fallback"), "{page}");
    stack
        .a
        .inject(Fault::new(Moment::Body, Act::Status(401)))
        .unwrap();
    assert_problem(&client.pay("refused", "1"), 502);
    stack.a.clear_faults();
    assert_eq!(client.pay("refused", "1").status, 200, "the id was freed");
    stack.audit("alone", &[]);
    stack.stop();
}

fn payments_that_break_a_rule_are_refused_and_free(driver: &str) {
    let stack = Stack::start(driver, &[("MAX_BODY_BYTES", "256")]);
    let mut client = stack.client();
    let longest = "x".repeat(64);
    let too_long = "x".repeat(65);
    let rows = [
        (400, "{".to_owned()),
        (400, "[]".to_owned()),
        (400, "nonsense".to_owned()),
        (
            400,
            r#"{"correlationId":"a","correlationId":"a","amount":1}"#.to_owned(),
        ),
        (400, format!("{} trailing", payment("a", "1"))),
        (422, r#"{"amount":1}"#.to_owned()),
        (422, r#"{"correlationId":"a"}"#.to_owned()),
        (422, r#"{"correlationId":7,"amount":1}"#.to_owned()),
        (422, payment("", "1")),
        (422, payment("a b", "1")),
        (422, payment("a/b", "1")),
        (422, payment(".", "1")),
        (422, payment("..", "1")),
        (
            422,
            r#"{"correlationId":"\u002e\u002E","amount":1}"#.to_owned(),
        ),
        (422, payment(&too_long, "1")),
        (422, payment("a", "0")),
        (422, payment("a", "-1")),
        (422, payment("a", "1.001")),
        (422, payment("a", "10000000000")),
        (422, payment("a", "\"1\"")),
        (422, payment("a", "null")),
        (413, payment("a", &format!("1.00{}", " ".repeat(300)))),
    ];
    for (status, body) in rows {
        let answer = client.call("POST /payments", "", &body);
        assert_problem(&answer, status);
        if answer.field("Connection") == Some("close") {
            client = stack.client();
        }
    }
    assert_eq!(
        stack.summary(""),
        p99::testing::payment::PerProcessor::default()
    );
    for (name, amount) in [
        (longest.as_str(), "9999999999.99"),
        ("A.b_c:d~e-9", "0.01"),
        (UUID, "1e1"),
        ("a", "1.50"),
    ] {
        assert_eq!(client.pay(name, amount).status, 200, "{name} {amount}");
    }
    let extra = r#"{"note":{"a":[1]},"correlationId":"b","amount":1.0,"more":null}"#;
    assert_eq!(client.call("POST /payments", "", extra).status, 200);
    let cents: u128 = stack
        .charged(Window::default())
        .0
        .iter()
        .map(|one| one.cents)
        .sum();
    assert_eq!(
        cents,
        999_999_999_999 + 1 + 1_000 + 150 + 100,
        "to the cent"
    );
    stack.audit("rules", &[]);
    stack.stop();
}

fn a_coded_body_and_an_id_of_dots_are_refused(driver: &str) {
    let stack = Stack::start(driver, &[]);
    let mut client = stack.client();
    let answer = client.call(
        "POST /payments",
        "Content-Type: text/plain\r\n",
        &payment("a", "1"),
    );
    assert_problem(&answer, 415);
    assert_eq!(answer.field("Accept"), Some("application/json"));
    for coding in [
        "gzip",
        "identity, br",
        "GZIP",
        "identity\r\nContent-Encoding: deflate",
    ] {
        let field = format!("Content-Encoding: {coding}\r\n");
        let answer = client.call("POST /payments", &field, &payment("a", "1"));
        assert_problem(&answer, 415);
        assert_eq!(answer.field("Accept-Encoding"), Some("identity"));
    }
    for path in ["/payments/..", "/payments/%2e%2E", "/payments/."] {
        assert_problem(&client.get(path), 404);
    }
    assert_eq!(
        stack.summary(""),
        p99::testing::payment::PerProcessor::default()
    );
    let plain = "Content-Encoding:\r\nContent-Encoding: identity\r\n";
    let answer = client.call("POST /payments", plain, &payment("...", "1"));
    assert_eq!(answer.status, 200);
    stack.stop();
}

fn two_spellings_of_one_uuid_are_one_payment(driver: &str) {
    let stack = Stack::start(driver, &[("CORRELATION_ID", "uuid")]);
    let mut client = stack.client();
    assert_problem(&client.pay("test-123", "20"), 422);
    assert_eq!(client.pay(UUID, "20").status, 200);
    assert_eq!(client.pay(UUID.to_uppercase(), "20").status, 409);
    assert_eq!(stack.attempts(upstream_id(UUID)), 1);
    assert_eq!(
        client
            .get(&format!("/payments/{}", UUID.to_uppercase()))
            .status,
        200
    );
    stack.stop();
}

fn methods_and_paths_have_their_statuses(driver: &str) {
    let stack = Stack::start(driver, &[]);
    let mut client = stack.client();
    for (line, allow) in [
        ("GET /payments", "POST"),
        ("PUT /payments", "POST"),
        ("DELETE /payments/x", "GET, HEAD"),
        ("POST /payments-summary", "GET, HEAD"),
        ("POST /metrics", "GET, HEAD"),
        ("GET /purge-payments", "POST"),
    ] {
        let answer = client.call(line, "", "");
        assert_problem(&answer, 405);
        assert_eq!(answer.field("Allow"), Some(allow), "{line}");
    }
    for line in [
        "GET /",
        "GET /payments/",
        "GET /payments/a/b",
        "POST /payment",
    ] {
        assert_problem(&client.call(line, "", ""), 404);
    }
    for path in ["/healthz", "/readyz", "/payments-summary", "/metrics"] {
        let full = patiently(path, || client.get(path));
        let head = patiently(path, || {
            client.send(&format!("HEAD {path}"), "", "");
            client.read_head().unwrap()
        });
        assert_eq!((full.status, head.status), (200, 200), "{path}");
        if path != "/metrics" {
            assert_eq!(head.field("Content-Length"), full.field("Content-Length"));
        }
    }
    stack.stop();
}

fn a_replayed_duplicate_gets_the_first_answer(driver: &str) {
    let stack = Stack::start(driver, &[("ON_DUPLICATE", "replay")]);
    let mut client = stack.client();
    let first = client.pay("a", "20");
    assert_eq!(
        (first.status, first.field("Idempotent-Replayed")),
        (200, None)
    );
    let again = client.pay("a", "20.00");
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(again.field("Idempotent-Replayed"), Some("true"));
    assert_problem(&client.pay("a", "20.01"), 422);
    assert_eq!(stack.attempts(upstream_id("a")), 1);
    stack.audit("replay", &[]);
    stack.stop();
}

fn a_purge_forgets_where_it_is_allowed(driver: &str) {
    let stack = Stack::start(driver, &[]);
    assert_problem(&stack.client().call("POST /purge-payments", "", ""), 403);
    stack.stop();
    let stack = Stack::start(driver, &[("ALLOW_PURGE", "true")]);
    let mut client = stack.client();
    for query in [
        "?Scope=local",
        "?from=2026-01-01T00:00:00Z",
        "?scope=local&scope=local",
    ] {
        let answer = client.call(&format!("POST /purge-payments{query}"), "", "");
        assert_problem(&answer, 400);
    }
    for number in 0..20 {
        assert_eq!(client.pay(id(number), "1").status, 200);
    }
    assert_eq!(client.call("POST /purge-payments", "", "").status, 200);
    assert_eq!(
        stack.summary(""),
        p99::testing::payment::PerProcessor::default()
    );
    stack.a.purge();
    stack.b.purge();
    for number in 0..20 {
        assert_eq!(client.get(&format!("/payments/{}", id(number))).status, 404);
        assert_eq!(client.pay(id(number), "1").status, 200, "its id is free");
    }
    stack.audit("purge", &[]);
    stack.stop();
}

fn summary_windows_include_both_ends(driver: &str) {
    let stack = Stack::start(driver, &[]);
    let mut client = stack.client();
    for number in 0..40 {
        assert_eq!(client.pay(id(number), "1.25").status, 200);
    }
    let mut times: Vec<_> = stack
        .a
        .rows()
        .into_iter()
        .chain(stack.b.rows())
        .map(|row| row.requested_at)
        .collect();
    times.sort_unstable();
    let text = |at: UnixMillis| {
        let mut out = Vec::new();
        wire::write_instant(at, &mut out);
        String::from_utf8(out).unwrap()
    };
    for from in [times[0], times[13], UnixMillis(times[20].0 + 1)] {
        for to in [times[13], UnixMillis(times[20].0 - 1), times[39]] {
            let window = Window {
                from: Some(from),
                to: Some(to),
            };
            let query = format!("?from={}&to={}", text(from), text(to));
            assert_eq!(
                stack.summary(&query),
                charged_between(&stack, from, to),
                "{query}"
            );
            if from <= to {
                assert_eq!(stack.summary(&query), stack.charged(window), "{query}");
            }
        }
    }
    let only_to = stack.summary(&format!("?to={}", text(times[13])));
    assert_eq!(only_to, charged_between(&stack, UnixMillis(0), times[13]));
    for (bad, named) in [
        ("?from=yesterday", "from is"),
        ("?to=2025-13-01T00:00:00Z", "to is"),
        ("?scope=all", "scope is"),
        ("?FROM=2026-01-01T00:00:00Z", "FROM"),
        ("?form=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", "form"),
        (
            "?from=2026-01-01T00:00:00Z&from=2026-01-01T00:00:00Z",
            "from",
        ),
    ] {
        let answer = client.get(&format!("/payments-summary{bad}"));
        assert_problem(&answer, 400);
        assert!(answer.body.contains(named), "{}", answer.body);
    }
    let all = stack.summary("");
    for query in [
        "?to=9999-12-31T23:59:59.999Z",
        "?to=9999-12-31T23:59:59Z&from=0000-01-01T00:00:00Z",
        "?to=9999-12-31T23:59:59.999999999-23:59",
        "?&from=0000-01-01T00:00:00%2B23:59&",
    ] {
        assert_eq!(stack.summary(query), all, "{query}");
    }
    assert_eq!(
        stack.summary("?from=9999-12-31T23:59:59.9999Z"),
        p99::testing::payment::PerProcessor::default()
    );
    stack.stop();
}

fn trace_headers_go_there_and_back(driver: &str) {
    let stack = Stack::start(driver, &[]);
    let mut client = stack.client();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = format!("X-Request-Id: abc-1\r\ntraceparent: {parent}\r\n");
    let answers = [
        client.call("POST /payments", &headers, &payment("a", "1")),
        client.call("POST /payments", &headers, &payment("a", "1")),
        client.call("POST /payments", &headers, "{"),
        client.call("GET /payments/a", &headers, ""),
        client.call("GET /payments-summary", &headers, ""),
    ];
    assert_eq!(
        answers.each_ref().map(|answer| answer.status),
        [200, 409, 400, 200, 200]
    );
    for answer in answers {
        assert_eq!(
            answer.field("X-Request-Id"),
            Some("abc-1"),
            "{}",
            answer.head
        );
        assert_eq!(answer.field("traceparent"), Some(parent));
    }
    assert_eq!(client.pay("b", "1").field("X-Request-Id"), None);
    stack.stop();
}

fn refusals_have_the_statuses_that_the_design_gives_them(driver: &str) {
    let settings = [
        ("CB_OPEN_SECS", "1"),
        ("ROUTING", "cheapest"),
        ("HEDGE_DELAY_MS", "60000"),
    ];
    let stack = Stack::start(driver, &settings);
    let mut client = stack.client();
    // 400 of a processor: the other one would say the same.
    stack
        .a
        .inject(Fault::new(Moment::Body, Act::Status(400)))
        .unwrap();
    assert_problem(&client.pay(id(0), "1"), 422);
    assert_eq!((stack.a.attempts(id(0)), stack.b.attempts(id(0))), (1, 0));
    stack.a.clear_faults();
    assert_eq!(client.pay(id(0), "1").status, 200, "its id is free");
    // Refused by both.
    for sim in [&stack.a, &stack.b] {
        sim.inject(Fault::new(Moment::Body, Act::Status(401)))
            .unwrap();
    }
    assert_problem(&client.pay(id(1), "1"), 502);
    assert_eq!((stack.a.attempts(id(1)), stack.b.attempts(id(1))), (1, 1));
    for sim in [&stack.a, &stack.b] {
        sim.clear_faults();
    }
    assert_eq!(client.pay(id(1), "1").status, 200, "its id is free");
    stack.audit("refusals", &[]);
    stack.stop();
}

fn many_requests_on_one_connection_are_answered_in_order(driver: &str) {
    let stack = Stack::start(driver, &[]);
    let mut client = stack.client();
    let mut text = String::new();
    for number in 0..50 {
        text += &request("POST /payments", "", &payment(id(number / 2), "1"));
        text += &request("GET /healthz", "", "");
    }
    client.write(&text);
    for number in 0..50 {
        let expected = if number % 2 == 0 { 200 } else { 409 };
        assert_eq!(client.read().unwrap().status, expected, "{number}");
        assert_eq!(client.read().unwrap().body, r#"{"status":"alive"}"#);
    }
    stack.audit("pipelined", &[]);
    stack.stop();
}

fn charged_between(
    stack: &Stack,
    from: UnixMillis,
    to: UnixMillis,
) -> p99::testing::payment::PerProcessor<Totals> {
    let sum = |rows: Vec<p99::testing::sim::Row>| {
        let mut totals = Totals::default();
        for row in rows {
            if from <= row.requested_at && row.requested_at <= to {
                totals.count += 1;
                totals.cents += u128::from(row.amount.0);
            }
        }
        totals
    };
    p99::testing::payment::PerProcessor::of_first([sum(stack.a.rows()), sum(stack.b.rows())])
}
