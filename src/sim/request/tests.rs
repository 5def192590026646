//! Which call a request is, where its body ends, and what is no request.

use super::*;
use crate::clock::UnixMillis;

const ID: &str = "4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3";

fn head(text: &str) -> Result<Option<Head>, Unreadable> {
    Head::read(text.as_bytes())
}

fn call(line: &str) -> Call {
    head(&format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .unwrap()
        .unwrap()
        .call
}

#[test]
fn calls_are_told_by_method_and_path() {
    let id = wire::read_id(ID).unwrap();
    let rows = [
        ("POST /payments", Call::Pay),
        ("GET /payments", Call::WrongMethod),
        (&format!("GET /payments/{ID}"), Call::Lookup(id)),
        (
            &format!("GET /payments/{}", ID.to_uppercase()),
            Call::Lookup(id),
        ),
        ("GET /payments/test-123", Call::Unknown),
        ("GET /payments/service-health", Call::Health),
        ("GET /readyz", Call::Ready),
        ("POST /readyz", Call::WrongMethod),
        ("GET /admin/payments", Call::Admin(Admin::Rows)),
        (
            "GET /admin/payments-summary",
            Call::Admin(Admin::Summary(Some(Window::default()))),
        ),
        ("POST /admin/purge-payments", Call::Admin(Admin::Purge)),
        ("GET /admin/purge-payments", Call::WrongMethod),
        ("PUT /admin/configurations/token", Call::Admin(Admin::Token)),
        ("PUT /admin/configurations/delay", Call::Admin(Admin::Delay)),
        (
            "PUT /admin/configurations/failure",
            Call::Admin(Admin::Failure),
        ),
        (
            "PUT /admin/configurations/faults",
            Call::Admin(Admin::Faults),
        ),
        (
            "GET /admin/configurations/faults",
            Call::Admin(Admin::ListFaults),
        ),
        (
            "PUT /admin/configurations/refusing",
            Call::Admin(Admin::Refusing),
        ),
        ("GET /", Call::Unknown),
    ];
    for (line, expected) in rows {
        assert_eq!(call(line), expected, "{line}");
    }
}

#[test]
fn a_window_is_read_from_the_query() {
    let ends = |query: &str| {
        let call = call(&format!("GET /admin/payments-summary?{query}"));
        let Call::Admin(Admin::Summary(window)) = call else {
            panic!("{call:?}")
        };
        window.map(|window| (window.from, window.to))
    };
    let at = Some(UnixMillis(1_752_150_896_789));
    let encoded = "2025-07-10T12%3A34%3A56.789Z";
    assert_eq!(
        ends(&format!("from={encoded}&to=2025-07-10T12:34:56.789Z")),
        Some((at, at))
    );
    assert_eq!(ends(&format!("to={encoded}")), Some((None, at)));
    assert_eq!(ends("from=&to="), Some((None, None)));
    assert_eq!(ends("from=yesterday"), None);
    assert_eq!(ends("from=%zz"), None);
    assert_eq!(ends("from=%2"), None);
}

#[test]
fn heads_that_could_be_misread_are_refused() {
    let refused = [
        "",
        "Host: x\r\nHost: x\r\n",
        "Host: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        "Host: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Host: x\r\nTransfer-Encoding: gzip\r\n",
        "Host: x\r\nContent-Length: -1\r\n",
        "Host: x\r\nContent-Length: +1\r\n",
        "Host: x\r\nContent-Length: 65537\r\n",
        "Host : x\r\n",
    ];
    for lines in refused {
        assert_eq!(
            head(&format!("POST /payments HTTP/1.1\r\n{lines}\r\n")),
            Err(Unreadable)
        );
    }
    let endless = format!("GET / HTTP/1.1\r\nHost: {}", "x".repeat(SIM_HEAD_BYTES_MAX));
    assert_eq!(head(&endless), Err(Unreadable));
}

#[test]
fn a_part_of_a_request_is_no_error() {
    let text = format!("GET /payments/{ID} HTTP/1.1\r\nHost: x\r\n\r\n");
    for end in 0..text.len() {
        assert_eq!(Head::read(&text.as_bytes()[..end]), Ok(None), "{end}");
    }
}

#[test]
fn connection_and_expect_are_heeded() {
    let read = |version: &str, lines: &str| {
        let text = format!("POST /payments HTTP/{version}\r\nHost: x\r\n{lines}\r\n");
        let head = head(&text).unwrap().unwrap();
        (head.keeps_alive, head.awaits_continue)
    };
    assert_eq!(read("1.1", ""), (true, false));
    assert_eq!(read("1.0", ""), (false, false));
    assert_eq!(read("1.0", "Connection: keep-alive\r\n"), (true, false));
    assert_eq!(read("1.1", "Connection: x, Close\r\n"), (false, false));
    assert_eq!(read("1.1", "Expect: 100-continue\r\n"), (true, true));
}

#[test]
fn bodies_end_where_their_length_says() {
    let fixed = head("POST /payments HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n");
    let fixed = fixed.unwrap().unwrap();
    assert_eq!(fixed.body(b"ab"), Ok(None));
    assert_eq!(
        fixed.body(b"abcd"),
        Ok(Some((Cow::Borrowed(&b"abc"[..]), 3)))
    );
    let head = head("POST /payments HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    let head = head.unwrap().unwrap();
    let text = b"3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n";
    for end in 0..text.len() {
        assert_eq!(head.body(&text[..end]), Ok(None), "{end}");
    }
    let mut more = text.to_vec();
    more.extend_from_slice(b"GET");
    let (body, used) = head.body(&more).unwrap().unwrap();
    assert_eq!((&*body, used), (&b"abc0123456789"[..], text.len()));
    let refused: [&[u8]; 6] = [
        b"\r\n\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"000000001\r\n",
        b"3\r\nabcde",
        b"ffffffff\r\n",
    ];
    for bytes in refused {
        assert_eq!(head.body(bytes), Err(Unreadable), "{bytes:?}");
    }
}
