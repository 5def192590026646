//! How one line is spelled: as text, `time LEVEL target message name=value …`, or as an object of
//! JSON with the same parts. Pure: the time is an argument, nothing is written anywhere.
//!
//! No value can forge a second line or a second field: control characters are escaped, and in text
//! what has a space, a quote or an equals sign is quoted.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use log::Record;
use log::kv::{self, Key, Value, VisitSource};

/// Longest line; the rest is cut. A line with two ids and a header value takes under 400 bytes.
const LOG_LINE_BYTES_MAX: usize = 2_048;

/// `LOG_FORMAT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For eyes and grep.
    #[default]
    Text,
    /// One object a line, for a log store.
    Json,
}

impl Format {
    /// Its words.
    pub(crate) const WORDS: [(&str, Self); 2] = [("text", Self::Text), ("json", Self::Json)];
}

/// `record` as one line with its end, cut to what one line may take.
pub(super) fn line_of(format: Format, time: Timestamp, record: &Record<'_>) -> String {
    let mut out = String::new();
    // Writing to a String never fails; a value that fails to print itself ends the line early.
    let written = match format {
        Format::Text => write_text(time, record, &mut out),
        Format::Json => write_json(time, record, &mut out),
    };
    written.unwrap_or_default();
    if out.len() > LOG_LINE_BYTES_MAX {
        out = cut(format, time, record, &out);
    }
    out.push('\n');
    out
}

/// What is too long: as much text as fits; of an object of JSON, a part of which would be none,
/// the beginning of its message.
fn cut(format: Format, time: Timestamp, record: &Record<'_>, line: &str) -> String {
    let start = |text: &str, most: usize| {
        let fits = |(at, one): &(usize, char)| at.saturating_add(one.len_utf8()) <= most;
        let mut start: String = text
            .char_indices()
            .take_while(fits)
            .map(|(_, one)| one)
            .collect();
        start.push_str("...");
        start
    };
    match format {
        Format::Text => start(line, LOG_LINE_BYTES_MAX),
        Format::Json => {
            // One byte becomes at most six.
            let message = start(&record.args().to_string(), LOG_LINE_BYTES_MAX / 8);
            let mut out = String::new();
            let mut builder = Record::builder();
            builder.level(record.level()).target(record.target());
            let args = format_args!("{message}");
            write_json(time, &builder.args(args).build(), &mut out).unwrap_or_default();
            out
        }
    }
}

fn write_text(time: Timestamp, record: &Record<'_>, out: &mut String) -> fmt::Result {
    let (level, target) = (record.level(), record.target());
    write!(out, "{time:.3} {level:<5} {target} ")?;
    write!(Clean(out), "{}", record.args())?;
    each_field(record, |name, value| {
        let text = value.to_string();
        let is_plain =
            |one: char| !one.is_whitespace() && !one.is_control() && !"\"=".contains(one);
        if !text.is_empty() && text.chars().all(is_plain) {
            write!(out, " {name}={text}")
        } else {
            write!(out, " {name}={}", quoted(&text))
        }
    })
}

fn write_json(time: Timestamp, record: &Record<'_>, out: &mut String) -> fmt::Result {
    let (level, target) = (record.level(), quoted(record.target()));
    let message = quoted(&record.args().to_string());
    write!(
        out,
        r#"{{"time":"{time:.3}","level":"{level}","target":{target},"message":{message}"#
    )?;
    each_field(record, |name, value| {
        write!(out, ",{}:", quoted(name))?;
        match (value.to_u64(), value.to_i64(), value.to_bool()) {
            (Some(number), _, _) => write!(out, "{number}"),
            (_, Some(number), _) => write!(out, "{number}"),
            (_, _, Some(is_so)) => write!(out, "{is_so}"),
            (None, None, None) => out.write_str(&quoted(&value.to_string())),
        }
    })?;
    out.write_str("}")
}

fn each_field(
    record: &Record<'_>,
    write: impl FnMut(&str, &Value<'_>) -> fmt::Result,
) -> fmt::Result {
    struct Each<F>(F);
    impl<'kvs, F: FnMut(&str, &Value<'_>) -> fmt::Result> VisitSource<'kvs> for Each<F> {
        fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
            (self.0)(key.as_str(), &value).map_err(kv::Error::from)
        }
    }
    let visited = record.key_values().visit(&mut Each(write));
    visited.map_err(|_| fmt::Error)
}

/// `text` as a string of JSON.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// Writes without line ends and other control characters.
struct Clean<'a>(&'a mut String);

impl fmt::Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for one in text.chars() {
            if one.is_control() {
                write!(self.0, "{}", one.escape_default())?;
            } else {
                self.0.push(one);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use log::Level;

    use super::*;

    fn told(format: Format, message: &str, fields: &[(&str, Value<'_>)]) -> String {
        let time = Timestamp::from_millisecond(1_800_000_000_120).unwrap();
        let args = format_args!("{message}");
        let mut builder = Record::builder();
        builder.level(Level::Info).target("p99::payment");
        line_of(
            format,
            time,
            &builder.args(args).key_values(&fields).build(),
        )
    }

    #[test]
    fn both_formats_say_the_same() {
        let fields = [
            ("correlationId", Value::from("a-1")),
            ("attempts", Value::from(2_u32)),
            ("reason", Value::from("moved to \"rack 2\"\n")),
            ("empty", Value::from("")),
            ("late", Value::from(true)),
        ];
        assert_eq!(
            told(Format::Text, "payment settled", &fields),
            "2027-01-15T08:00:00.120Z INFO  p99::payment payment settled correlationId=a-1 \
             attempts=2 reason=\"moved to \\\"rack 2\\\"\\n\" empty=\"\" late=true\n"
        );
        let json = told(Format::Json, "payment settled", &fields);
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        let expected = serde_json::json!({
            "time": "2027-01-15T08:00:00.120Z",
            "level": "INFO",
            "target": "p99::payment",
            "message": "payment settled",
            "correlationId": "a-1",
            "attempts": 2,
            "reason": "moved to \"rack 2\"\n",
            "empty": "",
            "late": true,
        });
        assert_eq!(read, expected);
    }

    #[test]
    fn nothing_forges_a_second_line_or_field() {
        let forged = "paid\n2025-01-01 ERROR forged\r\u{1b}[31mé";
        let field = [("id", Value::from("x outcome=charged\n{"))];
        let text = told(Format::Text, forged, &field);
        assert_eq!(
            text.split_once("payment ").unwrap().1,
            "paid\\n2025-01-01 ERROR forged\\r\\u{1b}[31mé id=\"x outcome=charged\\n{\"\n"
        );
        let json = told(Format::Json, forged, &field);
        assert_eq!(json.lines().count(), 1, "{json}");
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["message"], forged);
        assert_eq!(read["id"], "x outcome=charged\n{");
    }

    #[test]
    fn a_line_is_of_bounded_length_and_json_stays_json() {
        let long = "\u{1}é".repeat(LOG_LINE_BYTES_MAX);
        let field = [("reason", Value::from(long.as_str()))];
        let text = told(Format::Text, "short", &field);
        assert!(text.len() <= LOG_LINE_BYTES_MAX + 4, "{}", text.len());
        assert!(text.ends_with("...\n"));
        for (message, field) in [("short", &field[..]), (&long, &[])] {
            let json = told(Format::Json, message, field);
            assert!(json.len() <= LOG_LINE_BYTES_MAX, "{}", json.len());
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert!(read["message"].as_str().unwrap().ends_with("..."));
        }
    }
}
