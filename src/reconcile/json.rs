//! A book as JSON: an array of payments, as the simulated processor answers `GET /admin/payments`,
//! or one object a line. It is read as it comes, one payment at a time; what a payment holds
//! besides its id, amount and time is skipped.

use std::io::{BufRead, BufReader, Read};

use super::row::{BookFault, Row, Taker};
use crate::reconcile::RECONCILE_READ_BYTES;
use crate::reconcile::RECONCILE_ROW_BYTES_MAX;
use crate::wire::read_listed;

/// How far the text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outside {
    /// Nothing was read but space.
    Start,
    /// The array has begun.
    Opened,
    /// Behind an object of the array.
    Item,
    /// Behind the comma that promises another.
    Comma,
    /// Objects follow each other without an array.
    Lines,
    /// The array has ended.
    Done,
}

/// Within an object: how deep, and whether in a string.
#[derive(Clone, Copy, Debug, Default)]
struct Inside {
    depth: u32,
    is_string: bool,
    is_escaped: bool,
}

impl Inside {
    /// Takes the next byte; true when the object ends with it.
    fn ends(&mut self, byte: u8) -> bool {
        if self.is_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.is_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.is_string = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.depth == 0
    }
}

pub(super) fn read(source: impl Read, taker: &mut Taker<'_>) -> Result<(), BookFault> {
    let mut source = BufReader::with_capacity(RECONCILE_READ_BYTES, source);
    let mut outside = Outside::Start;
    let mut inside = Inside::default();
    let mut object = Vec::new();
    let mut number = 0_u64;
    loop {
        let bytes = source.fill_buf().map_err(BookFault::Io)?;
        if bytes.is_empty() {
            break;
        }
        let count = bytes.len();
        for byte in bytes {
            if inside.depth > 0 {
                object.push(*byte);
                if inside.ends(*byte) {
                    match payment(&object, number) {
                        Some(row) => taker.row(row)?,
                        None => taker.fault(number, "is no payment"),
                    }
                    object.clear();
                } else if object.len() >= RECONCILE_ROW_BYTES_MAX {
                    taker.fault(number, "is longer than any payment");
                    return Ok(());
                }
                continue;
            }
            outside = match (byte, outside) {
                (b' ' | b'\t' | b'\r' | b'\n', same) => same,
                (b'[', Outside::Start) => Outside::Opened,
                (b',', Outside::Item) => Outside::Comma,
                (b']', Outside::Opened | Outside::Item) => Outside::Done,
                (b'{', Outside::Opened | Outside::Comma) => Outside::Item,
                (b'{', Outside::Start | Outside::Lines) => Outside::Lines,
                (_, _) => {
                    taker.fault(number + 1, "is no list of payments");
                    return Ok(());
                }
            };
            if *byte == b'{' {
                number += 1;
                inside.ends(b'{');
                object.push(b'{');
            }
        }
        source.consume(count);
    }
    let is_open = matches!(outside, Outside::Opened | Outside::Item | Outside::Comma);
    if inside.depth > 0 || is_open {
        taker.fault(
            number,
            "is cut: the book ends within it, or within its list",
        );
    }
    Ok(())
}

fn payment(object: &[u8], line: u64) -> Option<Row> {
    let (id, amount, at) = read_listed(object)?;
    Some(Row {
        id,
        amount,
        at,
        line,
    })
}

#[cfg(test)]
mod tests {
    use super::super::book::tests::rows;

    const A: &str = "4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3";

    /// A time, and what no one asks for.
    const MORE: &str =
        r#""requestedAt":"2025-07-10T12:34:56.789Z","more":{"]":["}"]},"attempts":1"#;

    fn object(id: &str, amount: &str) -> String {
        format!(r#"{{"correlationId":"{id}","amount":{amount},{MORE}}}"#)
    }

    #[test]
    fn an_array_and_lines_say_the_same() {
        let (a, b) = (object(A, "19.9"), object("test-123", "\"0.05\""));
        let found = rows(format!("[{a},{b}]").as_bytes()).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].amount.0, found[1].amount.0), (1990, 5));
        assert_eq!(found[0].at.unwrap().0, 1_752_150_896_789);
        assert_eq!((found[0].line, found[1].line), (1, 2));
        for text in [
            format!(" [\r\n {a} ,\n{b}\n]\n"),
            format!("\n{a}\n{b}\n"),
            format!("\u{feff}{a}{b}"),
        ] {
            assert_eq!(rows(text.as_bytes()).as_ref(), Ok(&found), "{text}");
        }
        assert_eq!(rows(b"[]"), Ok(Vec::new()));
        for time in ["", r#","requestedAt":null"#] {
            let bare = format!(r#"[{{"correlationId":"{A}","amount":1{time}}}]"#);
            assert_eq!(rows(bare.as_bytes()).unwrap()[0].at, None);
        }
    }

    #[test]
    fn what_is_no_list_or_is_cut_is_named() {
        let a = object(A, "19.9");
        for (text, what) in [
            (format!("[{a}"), "line 1: is cut"),
            (format!("[{a},"), "line 1: is cut"),
            (a[..60].to_owned(), "line 1: is cut"),
            (format!("[{a},{{}}]"), "line 2: is no payment"),
            (
                format!("[{a},{}]", object(A, "19.999")),
                "line 2: is no payment",
            ),
            (format!("[{a}]]"), "line 2: is no list"),
            (format!("[{a},17]"), "line 2: is no list"),
            (format!("[{a},,{a}]"), "line 2: is no list"),
            (format!("[{a}{a}]"), "line 2: is no list"),
            (format!("[{a},]"), "line 2: is no list"),
            (r#"{"payments":[]}"#.to_owned(), "line 1: is no payment"),
            (
                format!("[{{\"x\":\"{}\"}}]", "y".repeat(70_000)),
                "line 1: is longer",
            ),
        ] {
            let fault = rows(text.as_bytes()).unwrap_err();
            assert!(fault.contains(what), "{fault}");
        }
    }
}
