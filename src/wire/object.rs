//! Picks the members that a caller names out of one JSON object (RFC 8259).
//!
//! The whole text is checked: UTF-8 first, also inside members that no one asked for, then the
//! grammar to the last byte. A name that is asked for may occur once, however it is escaped;
//! parsers disagree about which of two would count, and two readings are two payments. Names that
//! no one asked for are ignored, repeated or not. An array is no object, though serde's derive
//! would read one.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::plain::read_plain;
use crate::limits;

/// Why a text is no object that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ObjectFault {
    /// Not UTF-8.
    NotUtf8,
    /// Not JSON, or JSON with something behind it.
    NotJson,
    /// JSON, but no object.
    NotAnObject,
    /// The member with this place in the list of names occurs twice.
    Repeated(usize),
    /// Nested deeper than [`limits::JSON_DEPTH_MAX`].
    TooDeep,
}

/// The JSON text of each member of `names` in the one object that `bytes` hold; `None` where the
/// member is absent. Texts carry no white space around them.
pub(super) fn read_object<'a, const N: usize>(
    bytes: &'a [u8],
    names: [&str; N],
) -> Result<[Option<&'a str>; N], ObjectFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| ObjectFault::NotUtf8)?;
    match read_plain(text, &names) {
        Some(values) => Ok(values),
        None => read_in_full(text, names),
    }
}

fn read_in_full<'a, const N: usize>(
    text: &'a str,
    names: [&str; N],
) -> Result<[Option<&'a str>; N], ObjectFault> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = reader.deserialize_map(Members { names }).and_then(|found| {
        reader.end()?;
        Ok(found)
    });
    match read {
        Ok(Found {
            fault: Some(fault), ..
        }) => Err(fault),
        Ok(Found { values, .. }) => Ok(values),
        Err(error) => Err(match error.classify() {
            Category::Data => ObjectFault::NotAnObject,
            Category::Io | Category::Syntax | Category::Eof => ObjectFault::NotJson,
        }),
    }
}

/// The text that a JSON string means. `None` for what is no string, or one that holds half a
/// surrogate pair, for which Unicode has no text.
pub(super) fn read_string(json: &str) -> Option<std::borrow::Cow<'_, str>> {
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inside.as_bytes()).is_some() {
        return serde_json::from_str(json).ok().map(std::borrow::Cow::Owned);
    }
    Some(std::borrow::Cow::Borrowed(inside))
}

struct Members<'n, const N: usize> {
    names: [&'n str; N],
}

struct Found<'a, const N: usize> {
    values: [Option<&'a str>; N],
    /// A fault that the grammar does not know. It waits for the end of the text, because text that
    /// is no JSON at all is the plainer thing to say.
    fault: Option<ObjectFault>,
}

impl<'a, const N: usize> Visitor<'a> for Members<'_, N> {
    type Value = Found<'a, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Found {
            values: [None; N],
            fault: None,
        };
        while let Some(place) = map.next_key_seed(Name(&self.names))? {
            let text = map.next_value::<&RawValue>()?.get();
            if is_too_deep(text) {
                found.fault = found.fault.or(Some(ObjectFault::TooDeep));
            }
            let Some(place) = place else { continue };
            if let Some(value) = found.values.get_mut(place)
                && value.replace(text).is_some()
            {
                found.fault = found.fault.or(Some(ObjectFault::Repeated(place)));
            }
        }
        Ok(found)
    }
}

/// Reads a member's name as its place in a list of names.
struct Name<'n>(&'n [&'n str]);

impl<'a> DeserializeSeed<'a> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == text))
    }
}

/// Whether a member's value, already known to be JSON, nests too deep. `serde_json` skips values
/// with a loop and so has no bound of its own here.
fn is_too_deep(json: &str) -> bool {
    if !json.starts_with(['{', '[']) {
        return false;
    }
    // The object that is being read is the first level.
    let mut depth: usize = 1;
    let mut bytes = json.bytes();
    let mut in_string = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            // An escape stands in a string only; what it escapes is no quote that ends it.
            b'\\' => drop(bytes.next()),
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > limits::JSON_DEPTH_MAX {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece() -> impl Strategy<Value = String> {
        let usual = [
            "\"a\"",
            "\"b\"",
            "\"c\"",
            ":",
            ":",
            ":",
            ",",
            ",",
            " ",
            "\n",
            "\"x y\"",
            "\"\u{e9}\"",
            "0",
            "-1",
            "7",
            "19.90",
            "0.5",
            "1e2",
            "01",
            "1.",
            ".5",
            "null",
            "[1]",
            "{}",
            "\"\\u0061\"",
            "\"\\\"",
            "\"\t\"",
            "\"",
            "}",
            "{",
        ];
        let member =
            r#""(a|b|correlationId)" ?: ?("[a-z0-9 -]{0,20}"|[0-9]{1,3}(\.[0-9]{1,2})?),?"#;
        prop_oneof![
            prop::sample::select(usual.to_vec()).prop_map(str::to_owned),
            member
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_048))]

        #[test]
        fn what_is_plain_is_read_as_in_full(
            pieces in prop::collection::vec(piece(), 0..6),
            end in prop_oneof![4 => Just("}"), 1 => Just(""), 1 => Just("} "), 1 => Just("}x")],
        ) {
            let text = format!("{{{}{end}", pieces.concat());
            let trimmed = text.replace(",}", "}");
            for text in [text, trimmed] {
                if let Some(values) = read_plain(&text, &["a", "b"]) {
                    prop_assert_eq!(read_in_full(&text, ["a", "b"]), Ok(values), "{}", text);
                }
            }
        }
    }

    #[test]
    fn what_clients_send_is_plain() {
        let id = "\"4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3\"";
        for text in [
            format!("{{\"a\":{id},\"b\":19.90}}"),
            format!("{{ \"b\": 19.90, \"a\": {id} }}\n"),
        ] {
            assert_eq!(
                read_plain(&text, &["a", "b"]),
                Some([Some(id), Some("19.90")])
            );
        }
    }

    fn read(text: &str) -> Result<[Option<&str>; 2], ObjectFault> {
        read_object(text.as_bytes(), ["a", "b"])
    }

    #[test]
    fn members_are_found_whatever_stands_around_them() {
        assert_eq!(read("{}"), Ok([None, None]));
        assert_eq!(
            read(" {\"b\" :\n[1, 2] ,\t\"a\":\"x\"} \r\n"),
            Ok([Some("\"x\""), Some("[1, 2]")])
        );
        assert_eq!(
            read(r#"{"\u0061":1,"A":2,"c":{"a":3},"c":4}"#),
            Ok([Some("1"), None])
        );
        assert_eq!(read(r#"{"a":1e400}"#), Ok([Some("1e400"), None]));
    }

    #[test]
    fn nesting_has_a_bound_that_strings_do_not_count_towards() {
        let nested = |levels: usize| {
            format!(
                r#"{{"x":{}"]\"["{},"a":1}}"#,
                "[".repeat(levels),
                "]".repeat(levels)
            )
        };
        assert_eq!(
            read(&nested(limits::JSON_DEPTH_MAX - 1)),
            Ok([Some("1"), None])
        );
        assert_eq!(
            read(&nested(limits::JSON_DEPTH_MAX)),
            Err(ObjectFault::TooDeep)
        );
        assert_eq!(read(&nested(100_000)), Err(ObjectFault::TooDeep));
        assert_eq!(
            read(&format!(r#"{{"a":"{}"}}"#, "[{".repeat(500))).map(|_| ()),
            Ok(())
        );
    }

    #[test]
    fn what_is_no_object_says_why() {
        let rows: &[(&[u8], ObjectFault)] = &[
            (b"", ObjectFault::NotJson),
            (b"   ", ObjectFault::NotJson),
            (b"{", ObjectFault::NotJson),
            (b"{}x", ObjectFault::NotJson),
            (b"{}\0", ObjectFault::NotJson),
            (b"{}{}", ObjectFault::NotJson),
            (b"\xef\xbb\xbf{}", ObjectFault::NotJson),
            (b"{\"a\":1,}", ObjectFault::NotJson),
            (b"{a:1}", ObjectFault::NotJson),
            (b"{\"a\":1 /*c*/}", ObjectFault::NotJson),
            (b"{\"a\":NaN}", ObjectFault::NotJson),
            (b"{\"a\":01}", ObjectFault::NotJson),
            (b"{\"x\":\"\x01\"}", ObjectFault::NotJson),
            (b"{\"x\":\"\\u00g0\"}", ObjectFault::NotJson),
            (b"{\"x\":\"\\x\"}", ObjectFault::NotJson),
            (b"{\0\"\0a\0\"\0", ObjectFault::NotJson),
            (b"null", ObjectFault::NotAnObject),
            (b"[]", ObjectFault::NotAnObject),
            (b"[1,2]", ObjectFault::NotAnObject),
            (b"\"{}\"", ObjectFault::NotAnObject),
            (b"7", ObjectFault::NotAnObject),
            (b"{\"x\":\"\xed\xa0\x80\"}", ObjectFault::NotUtf8),
            (b"{\"x\":\"\xe2\x82\"}", ObjectFault::NotUtf8),
            (b"{\"a\":1,\"a\":1}", ObjectFault::Repeated(0)),
            (b"{\"b\":1,\"\\u0062\":2}", ObjectFault::Repeated(1)),
            (b"{\"b\":1,\"\\u0062\":2", ObjectFault::NotJson),
        ];
        for (bytes, fault) in rows {
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(read_object(bytes, ["a", "b"]), Err(*fault), "{text}");
        }
    }

    #[test]
    fn strings_are_unescaped_and_half_a_surrogate_pair_is_none() {
        assert_eq!(read_string(r#""plain""#).as_deref(), Some("plain"));
        assert_eq!(read_string(r#""\u0061\n""#).as_deref(), Some("a\n"));
        for no_string in [r#""\ud800""#, "1", "null", "{}", "\""] {
            assert_eq!(read_string(no_string), None, "{no_string}");
        }
    }
}
