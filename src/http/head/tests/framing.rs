//! Where the message ends and whether another may follow.

use super::*;

#[test]
fn content_length_is_one_decimal_number() {
    let rows = [
        ("0", Ok(Framing::Length(0))),
        ("71", Ok(Framing::Length(71))),
        ("\t 71 \t", Ok(Framing::Length(71))),
        ("00071", Ok(Framing::Length(71))),
        ("18446744073709551615", Ok(Framing::Length(u64::MAX))),
        ("18446744073709551616", Err(413)),
        ("18446744073709551687", Err(413)),
        ("99999999999999999999999999999999999999999", Err(413)),
        ("", Err(400)),
        ("  ", Err(400)),
        ("-1", Err(400)),
        ("+1", Err(400)),
        ("-0", Err(400)),
        ("0x10", Err(400)),
        ("1f", Err(400)),
        ("1.0", Err(400)),
        ("1e1", Err(400)),
        ("1_0", Err(400)),
        ("1 0", Err(400)),
        ("5, 5", Err(400)),
        ("5,5", Err(400)),
        ("5,", Err(400)),
        (",5", Err(400)),
        ("5;", Err(400)),
        ("\"5\"", Err(400)),
        ("five", Err(400)),
        ("\u{a0}5", Err(400)),
        ("5\u{a0}", Err(400)),
        ("\u{b9}", Err(400)),
        ("\u{b}5", Err(400)),
        ("5\u{0}", Err(400)),
        ("5\r\nContent-Length: 5", Err(400)),
        ("5\r\nContent-Length: 6", Err(400)),
        ("5\r\ncontent-length:", Err(400)),
        ("0\r\nX: y\r\nCONTENT-LENGTH: 5", Err(400)),
        ("5\r\n Content-Length: 6", Err(400)),
        ("5\r\nTransfer-Encoding: chunked", Err(400)),
        ("0\r\nTransfer-Encoding: chunked", Err(400)),
        ("5\r\nTransfer-Encoding: gzip, chunked", Err(400)),
        ("5\r\nTransfer-Encoding: identity", Err(400)),
        ("5\r\nTransfer-Encoding:", Err(400)),
    ];
    for (value, expected) in rows {
        let raw = with_fields(&format!("Content-Length: {value}\r\n"));
        let found = parse(&raw)
            .map(|head| head.unwrap().framing)
            .map_err(|fault| fault.status);
        assert_eq!(found, expected, "{value:?}");
    }
    assert_eq!(head(&with_fields("")).framing, Framing::None);
    assert_eq!(
        head(&with_fields("Content_Length: 5\r\n")).framing,
        Framing::None
    );
}

#[test]
fn transfer_encoding_is_chunked_and_nothing_else() {
    let rows = [
        ("chunked", 200),
        ("CHUNKED", 200),
        ("\tchunked \t", 200),
        ("", 400),
        (" ", 400),
        ("identity", 400),
        ("gzip", 400),
        ("xchunked", 400),
        ("chunkedx", 400),
        ("chunk ed", 400),
        ("x chunked", 400),
        ("chunked x", 400),
        ("chunked;q=1", 400),
        ("chunked;", 400),
        ("\"chunked\"", 400),
        ("'chunked'", 400),
        ("chunked, chunked", 400),
        ("chunked, gzip", 400),
        ("chunked, identity", 400),
        ("chunked,", 400),
        (",chunked", 400),
        ("chunked\r\nTransfer-Encoding: chunked", 400),
        ("chunked\r\nTransfer-Encoding: gzip", 400),
        ("chunked\r\nTransfer-Encoding:", 400),
        ("chunked\r\n , gzip", 400),
        ("\r\n chunked", 400),
        ("gzip, chunked", 501),
        ("identity, chunked", 501),
        ("gzip\r\nTransfer-Encoding: chunked", 501),
        ("gzip, chunked, chunked", 400),
        ("\u{b}chunked", 400),
        ("chunked\u{c}", 400),
        ("chunked\u{0}", 400),
        ("\u{a0}chunked", 400),
        ("\u{ff}chunked", 400),
        ("chunked\u{85}", 400),
        ("chunked\r\nContent-Length: 5", 400),
    ];
    for (value, expected) in rows {
        let raw = with_fields(&format!("Transfer-Encoding: {value}\r\n"));
        assert_eq!(status(&raw), expected, "{value:?}");
        if expected == 200 {
            assert_eq!(head(&raw).framing, Framing::Chunked, "{value:?}");
        }
    }
    let old = "POST /p HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(status(old), 400, "HTTP/1.0 knows no transfer coding");
    let lookalikes =
        "Transfer_Encoding: chunked\r\nTE: trailers\r\nX-Transfer-Encoding: chunked\r\n";
    assert_eq!(head(&with_fields(lookalikes)).framing, Framing::None);
}

#[test]
fn the_connection_lasts_by_version_and_options() {
    use Persistence::{Close, KeepAlive, KeepAliveTold};
    let rows = [
        ("1.1", "", KeepAlive),
        ("1.1", "Connection: keep-alive\r\n", KeepAlive),
        ("1.1", "Connection: foo\r\nConnection: close\r\n", Close),
        ("1.1", "Connection: CLOSE\r\n", Close),
        ("1.1", "Connection: foo ,\tclose, bar\r\n", Close),
        ("1.1", "Connection: ,,close\r\n", Close),
        ("1.1", "Connection: close, keep-alive\r\n", Close),
        (
            "1.1",
            "Connection: keep-alive\r\nConnection: close\r\n",
            Close,
        ),
        ("1.1", "Connection: closed\r\n", KeepAlive),
        ("1.1", "Connection: not close\r\n", KeepAlive),
        ("1.1", "Connection:\r\n", KeepAlive),
        ("1.1", "Proxy-Connection: close\r\n", KeepAlive),
        ("1.2", "", KeepAlive),
        ("1.0", "", Close),
        ("1.0", "Connection: Keep-Alive\r\n", KeepAliveTold),
        ("1.0", "Connection: keep-alive, close\r\n", Close),
        ("1.0", "Connection: foo\r\n", Close),
    ];
    for (version, fields, expected) in rows {
        let raw = format!("GET / HTTP/{version}\r\nHost: h\r\n{fields}\r\n");
        assert_eq!(head(&raw).persistence, expected, "{version} {fields:?}");
    }
}
