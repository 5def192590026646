//! UPSTREAM_*_HEADERS_FILE: what every request to a processor carries beside p99's own lines, its
//! credentials above all. One `Name: value` a line. What the file holds is never shown: a value is
//! a [`Secret`], and a fault names a line by its number.

use std::path::Path;

use super::auth::Secret;
use super::files::read_text;

/// Longest file with headers for a processor: a token of 4 KiB, its name, and some more lines. With
/// p99's own lines the head stays below the 8 KiB that servers take.
const UPSTREAM_HEADERS_BYTES_MAX: usize = 6 * 1024;

/// Names and values, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderLines(Vec<(String, Secret)>);

impl HeaderLines {
    /// Each name with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let lines = self.0.iter();
        lines.map(|(name, value)| (name.as_str(), value.reveal().as_bytes()))
    }

    /// Whether there is a line of this name, in any case of its letters.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(one, _)| one.eq_ignore_ascii_case(name))
    }
}

/// Names that say how a request is framed, or what p99 says of each payment. `Accept` and
/// `User-Agent` may be said in another way.
const TAKEN: &[&str] = &[
    "accept-encoding",
    "connection",
    "date",
    "expect",
    "host",
    // One value for all payments would make one payment of them.
    "idempotency-key",
    "keep-alive",
    "max-forwards",
    "proxy-connection",
    "range",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
];

/// Whole families of such names.
const TAKEN_PREFIXES: &[&str] = &["content-", "if-"];

/// What the file at `path` holds.
///
/// # Errors
/// What it must be and is not, without a word of what it holds.
pub fn read_headers_file(path: &Path) -> Result<HeaderLines, String> {
    let must = |what: String| format!("a file with one `Name: value` a line; {what}");
    let text = read_text(path, UPSTREAM_HEADERS_BYTES_MAX).map_err(must)?;
    let mut lines = HeaderLines::default();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty()) {
        let (name, value) = read_line(line).map_err(|why| must(format!("line {number} {why}")))?;
        if lines.has(&name) {
            return Err(must(format!("line {number} has the name of a line above")));
        }
        lines.0.push((name, value));
    }
    if lines.0.is_empty() {
        return Err(must("it is empty".to_owned()));
    }
    Ok(lines)
}

fn read_line(line: &str) -> Result<(String, Secret), &'static str> {
    let (name, value) = line.split_once(':').ok_or("has no colon")?;
    // A token of RFC 9110, section 5.6.2.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        return Err("does not begin with the name of a header and a colon");
    }
    let lower = name.to_ascii_lowercase();
    let is_taken = TAKEN.contains(&lower.as_str())
        || TAKEN_PREFIXES
            .iter()
            .any(|prefix| lower.starts_with(prefix));
    if is_taken {
        return Err("has a name that HTTP or p99 uses");
    }
    let value = value.trim_matches([' ', '\t']);
    let is_visible = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if value.is_empty() || !is_visible {
        return Err("has no value of visible ASCII with inner spaces");
    }
    Ok((name.to_owned(), Secret::new(value.to_owned())))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_holds_names_and_values_and_a_fault_tells_neither() {
        let path = std::env::temp_dir().join(format!("p99-headers-{}", std::process::id()));
        let good: [(&str, &[(&str, &str)]); 4] = [
            (
                "Authorization: Bearer hunter2\n",
                &[("Authorization", "Bearer hunter2")],
            ),
            ("X-Key:hunter2", &[("X-Key", "hunter2")]),
            (
                "\r\nX-Key: \t a b \r\n\r\naccept: a/b\r\n",
                &[("X-Key", "a b"), ("accept", "a/b")],
            ),
            (
                "User-Agent: x\nCookie: a=b; c=d",
                &[("User-Agent", "x"), ("Cookie", "a=b; c=d")],
            ),
        ];
        for (text, expected) in good {
            fs::write(&path, text).unwrap();
            let lines = read_headers_file(&path).unwrap();
            let shown: Vec<(&str, &str)> = lines
                .iter()
                .map(|(name, value)| (name, std::str::from_utf8(value).unwrap()))
                .collect();
            assert_eq!(shown, expected, "{text:?}");
            assert!(!format!("{lines:?}").contains("hunter2"), "{lines:?}");
        }
        let long = format!("X: {}", "y".repeat(UPSTREAM_HEADERS_BYTES_MAX));
        let bad: [(&[u8], &str); 14] = [
            (b"", "it is empty"),
            (b"\n\r\n", "it is empty"),
            (b"hunter2", "line 1 has no colon"),
            (b"X-Key: a\nhunter2", "line 2 has no colon"),
            (b": hunter2", "line 1 does not begin"),
            (b" X: hunter2", "line 1 does not begin"),
            (b"X : hunter2", "line 1 does not begin"),
            (b"X-Key:\n", "line 1 has no value"),
            (b"X-Key: hunter2\x01", "line 1 has no value"),
            (b"X-Key: hunter2\xff", "no text"),
            (b"Host: hunter2", "line 1 has a name that HTTP or p99 uses"),
            (b"idempotency-KEY: hunter2", "line 1 has a name that HTTP"),
            (
                b"X-Key: hunter2\nx-key: b",
                "line 2 has the name of a line above",
            ),
            (long.as_bytes(), "longer than"),
        ];
        for (text, expected) in bad {
            fs::write(&path, text).unwrap();
            let told = read_headers_file(&path).unwrap_err();
            assert!(told.contains(expected), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
        fs::remove_file(&path).unwrap();
        assert!(
            read_headers_file(&path)
                .unwrap_err()
                .contains("cannot be read")
        );
    }
}
