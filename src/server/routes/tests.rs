//! Which request is which call, and which rule refuses it first.

use super::super::queries::{Window, purge_query, summary_query};
use super::*;
use crate::clock::UnixMillis;
use crate::http::{HeadRules, parse_head};
use crate::pay::Scope;

#[test]
fn every_path_has_its_call_and_every_call_its_methods() {
    let rows = [
        ("/payments", Some(Call::Pay), "POST"),
        ("/purge-payments", Some(Call::Purge), "POST"),
        (
            "/admin/processors/default/confirm",
            Some(Call::Operate(Operation::Confirm(Processor::DEFAULT))),
            "POST",
        ),
        (
            "/admin/processors/fallback/pause",
            Some(Call::Operate(Operation::Pause(Processor::FALLBACK))),
            "POST",
        ),
        (
            "/admin/processors/default/resume",
            Some(Call::Operate(Operation::Resume(Processor::DEFAULT))),
            "POST",
        ),
        (
            "/admin/payments/a-1/resolve",
            Some(Call::Operate(Operation::Resolve)),
            "POST",
        ),
        ("/admin/payments//resolve", None, ""),
        ("/admin/payments", Some(Call::List), "GET, HEAD"),
        ("/admin/log", Some(Call::Operate(Operation::SetLog)), "POST"),
        ("/admin/processors/default/stop", None, ""),
        ("/admin/processors/other/confirm", None, ""),
        (
            "/admin/payments/a-1/events",
            Some(Call::Explain),
            "GET, HEAD",
        ),
        ("/admin/payments//events", None, ""),
        ("/admin/payments/a/b/events", None, ""),
        ("/admin/payments/a-1", None, ""),
        ("/admin/processors/default", None, ""),
        ("/payments/test-123", Some(Call::Find), "GET, HEAD"),
        ("/payments-summary", Some(Call::Summary), "GET, HEAD"),
        ("/", Some(Call::Live), "GET, HEAD"),
        ("/status.json", Some(Call::Status), "GET, HEAD"),
        ("/status.txt", Some(Call::StatusText), "GET, HEAD"),
        ("/metrics", Some(Call::Metrics), "GET, HEAD"),
        ("/openapi.json", Some(Call::Describe), "GET, HEAD"),
        ("/healthz", Some(Call::Alive), "GET, HEAD"),
        ("/readyz", Some(Call::Ready), "GET, HEAD"),
        ("/payments/", None, ""),
        ("/payments/a/b", None, ""),
        ("/Payments", None, ""),
        ("/status", None, ""),
        ("*", None, ""),
    ];
    for (path, call, allow) in rows {
        assert_eq!(place(path), call, "{path}");
        let refusal = call.and_then(|call| wrong_method(call, Method::Delete));
        assert_eq!(
            refusal.map(|reply| (reply.status, reply.field)),
            call.map(|_| (405, ("Allow", allow)))
        );
    }
}

#[test]
fn the_description_names_every_call_with_its_method_and_its_answers() {
    let text = include_str!("../openapi.json");
    let document: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths = document["paths"].as_object().unwrap();
    let mut described = Vec::new();
    for (path, operations) in paths {
        let path = path.replace("{id}", "a").replace("{name}", "default");
        let call = place(&path).unwrap_or_else(|| panic!("{path} is not served"));
        described.push(call);
        let operations = operations.as_object().unwrap();
        assert_eq!(operations.len(), 1, "{path}");
        for (method, operation) in operations {
            let known = match method.as_str() {
                "get" => Method::Get,
                "post" => Method::Post,
                other => panic!("{other}"),
            };
            assert_eq!(wrong_method(call, known), None, "{path}");
            let answers = operation["responses"].as_object().unwrap();
            let mut answers: Vec<u16> = answers.keys().map(|one| one.parse().unwrap()).collect();
            answers.push(405);
            if call == Call::Live {
                // The page itself shows nothing: what it asks for needs credentials.
                answers.push(401);
            }
            answers.sort_unstable();
            let known = call.route().statuses();
            if call.route() == Route::Admin {
                // Each of them has some of these, and 503 where it asks a core that is busy.
                let is_known = |one: &u16| known.contains(one) || *one == 503;
                assert!(answers.iter().all(is_known), "{path}: {answers:?}");
                continue;
            }
            assert_eq!(answers, known, "{path}");
        }
    }
    for call in [
        Call::Pay,
        Call::Find,
        Call::Summary,
        Call::Purge,
        Call::Explain,
        Call::Live,
        Call::Status,
        Call::StatusText,
        Call::List,
        Call::Operate(Operation::Confirm(Processor::DEFAULT)),
        Call::Operate(Operation::Pause(Processor::DEFAULT)),
        Call::Operate(Operation::Resume(Processor::DEFAULT)),
        Call::Operate(Operation::Resolve),
        Call::Operate(Operation::SetLog),
        Call::Metrics,
        Call::Describe,
        Call::Alive,
        Call::Ready,
    ] {
        assert!(described.contains(&call), "{call:?} is not described");
    }
    // Every reference leads somewhere.
    for (_, rest) in text
        .match_indices("\"$ref\": \"#")
        .map(|(at, found)| text.split_at(at + found.len()))
    {
        let target = rest.split('"').next().unwrap();
        assert!(document.pointer(target).is_some(), "{target}");
    }
}

#[test]
fn with_a_door_for_administrators_each_door_has_its_own_calls() {
    let rows = [
        (Call::Pay, "", None, Some(404)),
        (Call::Find, "", None, None),
        (Call::Find, "scope=local", Some(403), None),
        (Call::Summary, "", None, None),
        (Call::Summary, "from=x&scope=local", Some(403), None),
        (Call::Summary, "sc%6fpe=%6cocal", Some(403), None),
        (Call::Summary, "scope=all", None, None),
        (Call::Purge, "", Some(404), None),
        (Call::Metrics, "", Some(404), None),
        (Call::Operate(Operation::SetLog), "", None, None),
        (Call::Alive, "", None, None),
        (Call::Ready, "", None, None),
    ];
    for (call, query, public, admin) in rows {
        let status = |role| wrong_listener(call, query, role).map(|reply| reply.status);
        assert_eq!(status(ListenerRole::Public), public, "{call:?} {query}");
        assert_eq!(status(ListenerRole::Admin), admin, "{call:?} {query}");
    }
}

#[test]
fn an_id_in_a_path_may_be_escaped() {
    let id = |path| id_in_path(path).map(|id| id.as_str().to_owned());
    assert_eq!(id("/payments/test-123").as_deref(), Some("test-123"));
    assert_eq!(id("/payments/a%3Ab%7e").as_deref(), Some("a:b~"));
    let id_of_admin = |path| id_in_admin_path(path).map(|id| id.as_str().to_owned());
    let path = "/admin/payments/a%3Ab/events";
    assert_eq!(id_of_admin(path).as_deref(), Some("a:b"));
    assert_eq!(id_of_admin("/admin/payments/%zz/events"), None);
    for path in [
        "/payments/a%2Fb",
        "/payments/%C3%A9",
        "/payments/%",
        "/payments/a%4",
        "/payments/",
    ] {
        assert_eq!(id(path), None, "{path}");
    }
}

#[test]
fn a_query_is_read_or_refused_by_the_name_of_its_parameter() {
    let (both, scope) =
        summary_query("to=2025-07-10T12:34:57Z&from=2025-07-10T12%3A34%3A56Z").unwrap();
    assert_eq!(both.from, Some(UnixMillis(1_752_150_896_000)));
    assert_eq!(both.to, Some(UnixMillis(1_752_150_897_000)));
    assert_eq!(scope, Scope::All);
    let open = Window {
        from: None,
        to: None,
    };
    assert_eq!(summary_query("").unwrap(), (open, Scope::All));
    assert_eq!(summary_query("scope=local").unwrap(), (open, Scope::Local));
    assert_eq!(purge_query("").unwrap(), Scope::All);
    assert_eq!(purge_query("scope=local").unwrap(), Scope::Local);
    let rows = [
        ("from=yesterday", "from is"),
        ("to=", "to is"),
        ("from=%zz", r#"\"from\" has a malformed"#),
        (
            "FROM=2026-01-01T00:00:00Z",
            r#"\"FROM\" is not known; known are from, to and scope"#,
        ),
        ("form=2026-01-01T00:00:00Z", r#"\"form\" is not known"#),
        ("since=2026-01-01T00:00:00Z", r#"\"since\" is not known"#),
        (
            "to=2025-07-10T00:00:00Z&to=2025-07-10T00:00:00Z",
            r#"\"to\" is given twice"#,
        ),
        ("scope=all", "scope is"),
        ("scope", "scope is"),
    ];
    for (query, expected) in rows {
        let page = summary_query(query).unwrap_err();
        let body = String::from_utf8(page.body).unwrap();
        assert_eq!(page.status, 400, "{query}");
        assert!(body.contains(expected), "{query}: {body}");
        assert!(body.contains(r#""charged":"unknown""#), "{body}");
    }
    for query in [
        "from=2026-01-01T00:00:00Z",
        "Scope=local",
        "scope=local&scope=local",
        "scope=",
    ] {
        assert_eq!(
            purge_query(query).map_err(|page| page.status),
            Err(400),
            "{query}"
        );
    }
}

#[test]
fn a_body_that_is_coded_or_of_another_kind_is_refused_with_what_is_taken() {
    let rows = [
        (Call::Pay, "", None),
        (Call::Pay, "Content-Encoding: identity\r\n", None),
        (
            Call::Pay,
            "Content-Encoding: gzip\r\n",
            Some("Accept-Encoding"),
        ),
        (
            Call::Purge,
            "Content-Encoding: br\r\n",
            Some("Accept-Encoding"),
        ),
        (Call::Purge, "", None),
        (Call::Purge, "Content-Type: text/plain\r\n", None),
        (Call::Pay, "Content-Type: text/plain\r\n", Some("Accept")),
        (Call::Find, "Content-Encoding: gzip\r\n", None),
        (Call::Alive, "Content-Encoding: gzip\r\n", None),
    ];
    for (call, fields, expected) in rows {
        let text = format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let head = parse_head(text.as_bytes(), &HeadRules::default());
        let reply = wrong_media(call, &head.unwrap().unwrap());
        let found = reply.map(|reply| (reply.status, reply.field.0));
        assert_eq!(found, expected.map(|name| (415, name)), "{call:?} {fields}");
    }
}
