//! Problems (RFC 9457): what p99 says in JSON when it refuses, and what that means for money.
//!
//! A client must never read "not charged" where p99 does not know: a refusal of one request says
//! nothing of an earlier one with the same id. `server::reply` chooses what is said.

use super::object::{read_object, read_string};

/// What a problem says about money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charged {
    /// p99 held the id's claim, and no processor has the payment: the id is free.
    No,
    /// The problem is about this request alone; an earlier one with the same id may have charged.
    Unknown,
    /// No payment is spoken of.
    Unsaid,
}

/// A problem (RFC 9457).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Problem<'a> {
    /// Empty for `about:blank`, which is left out: the title is the status's own phrase then.
    pub kind: &'a str,
    /// The phrase of the status.
    pub title: &'a str,
    /// The same as in the status line.
    pub status: u16,
    /// What this one is about.
    pub detail: &'a str,
    /// What it says about money.
    pub charged: Charged,
}

/// The kind of a problem: the window cannot be summed up until what was open in it is resolved.
/// Clients may wait for that, and shards tell it from a peer that fails.
pub(crate) const UNRESOLVED: &str = "urn:p99:problem:window-unresolved";

/// Whether `body` is a problem of the kind [`UNRESOLVED`].
#[must_use]
pub(crate) fn is_unresolved(body: &[u8]) -> bool {
    let kind = read_object(body, ["type"]).ok();
    let kind = kind.and_then(|[kind]| read_string(kind?));
    kind.is_some_and(|kind| kind == UNRESOLVED)
}

/// Appends `problem`.
pub(crate) fn write_problem(problem: &Problem<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    if !problem.kind.is_empty() {
        out.extend_from_slice(b"\"type\":");
        write_quoted(problem.kind, out);
        out.push(b',');
    }
    out.extend_from_slice(b"\"title\":");
    write_quoted(problem.title, out);
    out.extend_from_slice(b",\"status\":");
    out.extend_from_slice(itoa::Buffer::new().format(problem.status).as_bytes());
    out.extend_from_slice(b",\"detail\":");
    write_quoted(problem.detail, out);
    out.extend_from_slice(match problem.charged {
        Charged::No => br#","charged":false}"#,
        Charged::Unknown => br#","charged":"unknown"}"#,
        Charged::Unsaid => b"}",
    });
}

/// Appends `text` as a JSON string.
pub(super) fn write_quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=0x1f => {
                let hex = |half: u8| {
                    if half < 10 {
                        b'0' + half
                    } else {
                        b'a' + half - 10
                    }
                };
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[hex(byte >> 4), hex(byte & 0xf)]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::super::object::{read_object, read_string};
    use super::*;
    use proptest::prelude::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_problem_says_what_it_knows_about_money() {
        let problem = Problem {
            kind: "",
            title: "Unprocessable Content",
            status: 422,
            detail: "amount is \"0\"\n",
            charged: Charged::Unsaid,
        };
        let start =
            r#""title":"Unprocessable Content","status":422,"detail":"amount is \"0\"\u000a""#;
        for (kind, charged, before, after) in [
            ("", Charged::Unsaid, "", ""),
            ("", Charged::No, "", r#","charged":false"#),
            (
                "urn:x",
                Charged::Unknown,
                r#""type":"urn:x","#,
                r#","charged":"unknown""#,
            ),
        ] {
            let problem = Problem {
                kind,
                charged,
                ..problem
            };
            assert_eq!(
                text(|out| write_problem(&problem, out)),
                format!("{{{before}{start}{after}}}")
            );
        }
    }

    proptest! {
        #[test]
        fn problems_are_json_whatever_their_detail(detail in any::<String>()) {
            let problem = Problem {
                kind: "",
                title: "Bad Request",
                status: 400,
                detail: &detail,
                charged: Charged::Unknown,
            };
            let body = text(|out| write_problem(&problem, out));
            let [read] = read_object(body.as_bytes(), ["detail"]).unwrap();
            prop_assert_eq!(read_string(read.unwrap()).unwrap(), detail);
        }
    }
}
