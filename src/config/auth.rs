//! AUTH_*: which header a client must send, and the values that it may hold.
//!
//! A value comes from the environment or from a file, which is read here so that a start and
//! `p99 check` refuse a bad one alike; `credentials` reads it again by the same rules. No value is
//! ever shown: [`Secret`] has no text but a mask.

use std::fmt;
use std::path::{Path, PathBuf};

use super::files::{path, read_text};
use super::reader::Reader;
use super::values::MASK;

/// Longest name of the header that carries the password.
const AUTH_NAME_BYTES_MAX: usize = 64;
/// Longest password in a header; it must fit in a request head beside everything else.
const AUTH_VALUE_BYTES_MAX: usize = 1_024;
/// Longest file with passwords: two of them with their line ends are 2,052 bytes.
const AUTH_FILE_BYTES_MAX: usize = 4_096;

/// A text that no log, page or panic may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the compare and for peers.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// What a client must send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthHeader {
    /// The setting that `file` is the value of.
    pub setting: &'static str,
    /// `AUTH_HEADER_NAME`, in lower case.
    pub name: String,
    /// `AUTH_HEADER_VALUE`, or one or two of AUTH_HEADER_VALUE_FILE; never empty.
    pub values: Vec<Secret>,
    /// `AUTH_HEADER_VALUE_FILE`, where the values came from.
    pub file: Option<PathBuf>,
    /// `AUTH_READS`: whether calls that only read need it too.
    pub guards_reads: bool,
}

/// Headers that HTTP, a proxy on the way or p99 itself reads or writes: as a password one of them
/// would break requests, be taken off on the way, or be shown in logs and answers.
const TAKEN: &[&str] = &[
    "age",
    "allow",
    "cache-control",
    "connection",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "forwarded",
    "from",
    "host",
    "idempotency-key",
    "idempotent-replayed",
    "keep-alive",
    "last-modified",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "range",
    "referer",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-real-ip",
    "x-request-id",
];

/// Whole families of such headers.
const TAKEN_PREFIXES: &[&str] = &[
    "accept",
    "access-control-",
    "content-",
    "if-",
    "proxy-",
    "sec-",
    "x-forwarded-",
    "x-p99-",
];

pub(super) fn read_auth(reader: &mut Reader<'_>) -> Option<AuthHeader> {
    let name = reader.read("AUTH_HEADER_NAME", header_name);
    let value = reader.read("AUTH_HEADER_VALUE", |text| secret(text).map(Some));
    let file = reader.read("AUTH_HEADER_VALUE_FILE", |text| path(text).map(Some));
    let guards_reads = reader.word("AUTH_READS", &[("on", true), ("off", false)]);
    reader.relation(
        !(reader.is_set("AUTH_HEADER_VALUE") && file.is_some()),
        &["AUTH_HEADER_VALUE_FILE"],
        "unset while AUTH_HEADER_VALUE is set: only one of both can hold the values",
    );
    if file.is_some() && value.is_none() {
        reader.mark_unused("AUTH_HEADER_VALUE");
    }
    let values = match (&file, value) {
        (Some(path), _) => match read_secret_file(path) {
            Ok(values) => values,
            Err(why) => {
                reader.relation(false, &["AUTH_HEADER_VALUE_FILE"], &why);
                Vec::new()
            }
        },
        (None, value) => value.into_iter().collect(),
    };
    (!values.is_empty()).then_some(AuthHeader {
        setting: "AUTH_HEADER_VALUE_FILE",
        name,
        values,
        file,
        guards_reads,
    })
}

/// The secret in the file that `setting` names, carried by `header`.
pub(super) fn read_secret_of(
    reader: &mut Reader<'_>,
    setting: &'static str,
    header: &str,
) -> Option<AuthHeader> {
    let file = reader.read(setting, |text| path(text).map(Some))?;
    match read_secret_file(&file) {
        Ok(values) => Some(AuthHeader {
            setting,
            name: header.to_owned(),
            values,
            file: Some(file),
            guards_reads: true,
        }),
        Err(why) => {
            reader.relation(false, &[setting], &why);
            None
        }
    }
}

fn header_name(text: &str) -> Option<String> {
    let name = text.to_ascii_lowercase();
    // A token of RFC 9110, section 5.6.2.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let fits = (1..=AUTH_NAME_BYTES_MAX).contains(&name.len());
    let is_taken = TAKEN.contains(&name.as_str())
        || TAKEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    (fits && name.bytes().all(plain) && !is_taken).then_some(name)
}

/// What one header field can hold as it is, without a doubt about its ends.
fn secret(text: &str) -> Option<Secret> {
    let fits = (1..=AUTH_VALUE_BYTES_MAX).contains(&text.len()) && text.trim() == text;
    let plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    (fits && plain).then(|| Secret::new(text.to_owned()))
}

/// The one or two values in the file at `path`, one a line; empty lines are passed over.
///
/// # Errors
/// What the file must be and is not, without a word of what it holds.
pub(crate) fn read_secret_file(path: &Path) -> Result<Vec<Secret>, String> {
    let must = |what: &str| format!("a file with one or two values, one a line; {what}");
    let text = read_text(path, AUTH_FILE_BYTES_MAX).map_err(|why| must(&why))?;
    let mut values = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty()) {
        let value = secret(line).ok_or_else(|| {
            must(&format!(
                "line {number} is not 1 to {} characters of visible ASCII with inner spaces",
                AUTH_VALUE_BYTES_MAX
            ))
        })?;
        values.push(value);
    }
    match values.len() {
        0 => Err(must("it is empty")),
        1 | 2 => Ok(values),
        count => Err(must(&format!("it has {count} values"))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn names_that_http_or_p99_use_are_refused() {
        for name in [
            "Authorization",
            "X-Api-Key",
            "x-key",
            "Api-Token",
            "X-Rinha-Token",
        ] {
            assert_eq!(header_name(name), Some(name.to_ascii_lowercase()));
        }
        for name in [
            "Host",
            "traceparent",
            "TraceState",
            "X-Request-ID",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-P99-Anything",
            "Retry-After",
            "Content-Encoding",
            "Content-Digest",
            "Accept",
            "Accept-Encoding",
            "Proxy-Authorization",
            "WWW-Authenticate",
            "Idempotent-Replayed",
            "Location",
            "Allow",
            "Cookie",
            "If-Match",
            "TE",
            "",
            "X Key",
            "X:Key",
            "\u{c4}",
        ] {
            assert_eq!(header_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_file_holds_one_or_two_values_and_nothing_else() {
        let dir = std::env::temp_dir().join(format!("p99-auth-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("values");
        let long = "x".repeat(AUTH_VALUE_BYTES_MAX);
        let good: [(&str, &[&str]); 6] = [
            ("one", &["one"]),
            ("one\n", &["one"]),
            ("Bearer one\r\ntwo\r\n", &["Bearer one", "two"]),
            ("one\n\n\ntwo\n\n", &["one", "two"]),
            (&format!("{long}\n{long}\n"), &[&long, &long]),
            ("#one", &["#one"]),
        ];
        for (text, expected) in good {
            fs::write(&path, text).unwrap();
            let values = read_secret_file(&path).unwrap();
            let values: Vec<&str> = values.iter().map(Secret::reveal).collect();
            assert_eq!(values, expected, "{text:?}");
        }
        let bad: [(&[u8], &str); 9] = [
            (b"", "it is empty"),
            (b"\n\r\n", "it is empty"),
            (b"a\nb\nc\n", "it has 3 values"),
            (b"hunter2 \n", "line 1 is not"),
            (b"a\n\thunter2\n", "line 2 is not"),
            (b"\xef\xbb\xbfhunter2", "line 1 is not"),
            (b"hunter2\xff", "no text"),
            (format!("{long}x").leak().as_bytes(), "line 1 is not"),
            ("y\n".repeat(10_000).leak().as_bytes(), "longer than"),
        ];
        for (text, expected) in bad {
            fs::write(&path, text).unwrap();
            let told = read_secret_file(&path).unwrap_err();
            assert!(
                told.contains(expected) && !told.contains("hunter2"),
                "{told}"
            );
        }
        assert!(
            read_secret_file(&dir)
                .unwrap_err()
                .contains("no regular file")
        );
        let told = read_secret_file(&dir.join("nowhere")).unwrap_err();
        assert!(told.contains("cannot be read: No such file"), "{told}");
        assert!(read_secret_file(Path::new("/dev/zero")).is_err());
        fs::remove_dir_all(dir).unwrap();
    }
}
