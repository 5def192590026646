//! The request line, its target and line ends.

use super::*;

#[test]
fn request_lines_are_accepted_or_refused_by_the_grammar() {
    let long_target = format!(
        "GET /{} HTTP/1.1",
        "a".repeat(limits::HTTP_TARGET_BYTES_MAX)
    );
    let full_target = format!(
        "GET /{} HTTP/1.1",
        "a".repeat(limits::HTTP_TARGET_BYTES_MAX - 1)
    );
    let long_method = format!(
        "{} / HTTP/1.1",
        "A".repeat(limits::HTTP_METHOD_BYTES_MAX + 1)
    );
    let rows = [
        ("GET / HTTP/1.1", 200),
        ("GET / HTTP/1.0", 200),
        ("GET / HTTP/1.2", 200),
        ("GET / HTTP/1.9", 200),
        ("GET / HTTP/0.9", 505),
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/3.7", 505),
        ("PRI * HTTP/2.0", 505),
        ("GET / HTTP/2", 400),
        ("GET / HTTP/1.10", 400),
        ("GET / HTTP/01.1", 400),
        ("GET / HTTP/1.", 400),
        ("GET / HTTP/.1", 400),
        ("GET / HTTP/+1.1", 400),
        ("GET / HTTP/1.1x", 400),
        ("GET / HTTP /1.1", 400),
        ("GET / HTTP/1 .1", 400),
        ("GET / http/1.1", 400),
        ("GET / Http/1.1", 400),
        ("GET / HTTPS/1.1", 400),
        ("GET / XHTTP/1.1", 400),
        ("GET / ICY/1.1", 400),
        ("GET / HTTP/\u{b9}.1", 400),
        ("GET /  HTTP/1.1", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        (" GET / HTTP/1.1", 400),
        ("GET\t/ HTTP/1.1", 400),
        ("GET /\tHTTP/1.1", 400),
        ("GET /\u{b}HTTP/1.1", 400),
        ("GET /\u{a0}HTTP/1.1", 400),
        ("GET /a b HTTP/1.1", 400),
        ("GET / x HTTP/1.1", 400),
        ("GET HTTP/1.1", 400),
        ("GET /", 400),
        ("GET", 400),
        ("G", 400),
        ("GE:T / HTTP/1.1", 400),
        ("GET\u{0} / HTTP/1.1", 400),
        ("\u{ef}\u{bb}\u{bf}GET / HTTP/1.1", 400),
        ("\u{16}\u{3}\u{1}\u{0}", 400),
        ("get / HTTP/1.1", 200),
        ("M-SEARCH / HTTP/1.1", 200),
        (&long_method, 501),
        ("CONNECT h:80 HTTP/1.1", 501),
        ("CONNECT / HTTP/1.1", 501),
        ("TRACE / HTTP/1.1", 200),
        (&long_target, 414),
        (&full_target, 200),
    ];
    for (line, expected) in rows {
        assert_eq!(status(&with_line(line)), expected, "{line:?}");
    }
}

#[test]
fn targets_are_read_by_their_form() {
    let rows = [
        ("GET", "/", "/", None),
        ("GET", "//evil/x", "//evil/x", None),
        ("GET", "/a?", "/a", Some("")),
        ("GET", "/a?b?c/d", "/a", Some("b?c/d")),
        (
            "GET",
            "/a;b=c,d!$&'()*+:@-._~",
            "/a;b=c,d!$&'()*+:@-._~",
            None,
        ),
        ("GET", "/%2f%00%fF", "/%2f%00%fF", None),
        ("GET", "/a/../b", "/a/../b", None),
        ("OPTIONS", "*", "*", None),
        ("OPTIONS", "/a", "/a", None),
        ("OPTIONS", "http://h", "*", None),
        ("GET", "http://h", "/", None),
        ("GET", "HTTP://other:81/a?b", "/a", Some("b")),
        ("GET", "http://h?b", "/", Some("b")),
        ("GET", "http://[::1]:80/a", "/a", None),
        ("GET", "/http://h/", "/http://h/", None),
    ];
    for (method, target, path, query) in rows {
        let raw = with_line(&format!("{method} {target} HTTP/1.1"));
        let head = head(&raw);
        assert_eq!(
            (head.path(raw.as_bytes()), head.query(raw.as_bytes())),
            (path, query),
            "{raw}"
        );
    }
}

#[test]
fn targets_of_no_form_are_refused() {
    for target in [
        "*",
        "*/a",
        "**",
        "a",
        "a/b",
        "?a",
        "h:80",
        "\\a",
        "%2fa",
        "//%",
        "/%",
        "/%1",
        "/%zz",
        "/%-1",
        "/%%41",
        "/a#b",
        "/a?b#c",
        "/a\"",
        "/<a>",
        "/a\\b",
        "/a^b",
        "/`",
        "/{a}",
        "/a|b",
        "/[a]",
        "/a?[b]",
        "/a?%g1",
        "/caf\u{e9}",
        "/a\u{7f}",
        "/a\u{1}",
        "/\u{0}",
        "http:/h/",
        "http:///a",
        "http://",
        "http://:80/",
        "http://u@h/",
        "http://u:p@h/",
        "http://h:x/",
        "http://h:99999/",
        "http://h#f",
        "http://h\\a/",
        "http://[::1/",
        "http://a,b/",
        "https://h/",
        "ftp://h/",
        "ws://h/",
        "javascript:a",
        "http://h/a|b",
        "http:h",
    ] {
        assert_eq!(
            status(&with_line(&format!("GET {target} HTTP/1.1"))),
            400,
            "{target:?}"
        );
    }
}

#[test]
fn line_ends_are_carriage_return_and_line_feed_only() {
    let rows = [
        ("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 200),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("\rGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("   \r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\rHost: h\r\r", 400),
        ("GET / HTTP/1.1\r\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\n\n", 400),
        ("GET / HTTP/1.1\r\n\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\n\rX", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nX: a\nContent-Length: 3\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\n\n", 400),
        ("GET /\r\n", 400),
    ];
    for (raw, expected) in rows {
        assert_eq!(status(raw), expected, "{raw:?}");
    }
}
