//! Values out of a request target's query (RFC 3986, section 3.4), percent-decoded.
//!
//! `+` stays `+`: it is a plus sign in a URI, and an offset such as `+00:00` needs it. A name may
//! occur once, because two different windows in one question have no one answer; and a name that
//! is not known is a fault, because a misspelt `from` would be answered with the whole ledger.

use std::borrow::Cow;

/// Why a query cannot be read. Each names the parameter as the client spelled it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryFault<'a> {
    /// A `%` without two hexadecimal digits in its name or value, or bytes that are no UTF-8.
    BadEscape(&'a str),
    /// The name occurs more than once.
    Repeated(Cow<'a, str>),
    /// No such parameter is known.
    Unknown(Cow<'a, str>),
}

/// The values of `names` in `query`, which is what follows the `?`. A name without `=` has the
/// empty value; nothing between two `&` is no parameter.
///
/// # Errors
/// The first fault, when the query holds anything else.
pub fn read_query<'a, const N: usize>(
    query: &'a str,
    names: [&str; N],
) -> Result<[Option<Cow<'a, str>>; N], QueryFault<'a>> {
    let mut found = [const { None }; N];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // An escaped letter is the same letter (RFC 3986, section 6.2.2.2).
        let name = decode(key).ok_or(QueryFault::BadEscape(key))?;
        let place = names.iter().position(|known| *known == name);
        let Some(place) = place.and_then(|place| found.get_mut(place)) else {
            return Err(QueryFault::Unknown(name));
        };
        let value = decode(value).ok_or(QueryFault::BadEscape(key))?;
        if place.replace(value).is_some() {
            return Err(QueryFault::Repeated(name));
        }
    }
    Ok(found)
}

/// Whether `query` gives `name` this `value`, in whatever spelling and beside whatever else.
#[must_use]
pub fn query_has(query: &str, name: &str, value: &str) -> bool {
    query.split('&').any(|pair| {
        pair.split_once('=').is_some_and(|(key, given)| {
            decode(key).as_deref() == Some(name) && decode(given).as_deref() == Some(value)
        })
    })
}

fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || {
            bytes.next().and_then(|byte| match byte {
                b'0'..=b'9' => Some(byte - b'0'),
                b'a'..=b'f' => Some(byte - b'a' + 10),
                b'A'..=b'F' => Some(byte - b'A' + 10),
                _ => None,
            })
        };
        match (digit(), digit()) {
            (Some(high), Some(low)) => out.push(high << 4 | low),
            (Some(_) | None, Some(_) | None) => return None,
        }
    }
    String::from_utf8(out).map(Cow::Owned).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_found_and_decoded() {
        let rows = [
            ("", None),
            ("&&", None),
            ("to=1", None),
            ("from", Some("")),
            ("from=", Some("")),
            ("&from=1&", Some("1")),
            ("from=a=b", Some("a=b")),
            ("%66rom=1", Some("1")),
            ("from=12%3A34%3a56", Some("12:34:56")),
            ("from=1+02:00", Some("1+02:00")),
            ("from=1%2B02:00", Some("1+02:00")),
            ("from=1%2002:00", Some("1 02:00")),
            ("from=%00", Some("\0")),
            ("from=%c3%A9&to=2", Some("é")),
        ];
        for (query, expected) in rows {
            let [from, _] = read_query(query, ["from", "to"]).unwrap();
            assert_eq!(from.as_deref(), expected, "{query}");
        }
    }

    #[test]
    fn a_parameter_that_is_not_known_once_and_readable_is_named() {
        let unknown = |name| QueryFault::Unknown(Cow::Borrowed(name));
        let repeated = |name| QueryFault::Repeated(Cow::Borrowed(name));
        let rows = [
            ("FROM=1", unknown("FROM")),
            ("from=1&From=2", unknown("From")),
            ("xfrom=1", unknown("xfrom")),
            ("fromx=1", unknown("fromx")),
            ("form", unknown("form")),
            ("from%20=1", unknown("from ")),
            ("from[]=1", unknown("from[]")),
            ("from;to=1", unknown("from;to")),
            ("=1", unknown("")),
            ("from=1&from=1", repeated("from")),
            ("from=1&%66rom=2", repeated("from")),
            ("from&from", repeated("from")),
            ("%zz=3&from=1", QueryFault::BadEscape("%zz")),
            ("from=%", QueryFault::BadEscape("from")),
            ("from=%4", QueryFault::BadEscape("from")),
            ("from=%4g", QueryFault::BadEscape("from")),
            ("from=%+4", QueryFault::BadEscape("from")),
            ("from=%ff", QueryFault::BadEscape("from")),
        ];
        for (query, expected) in rows {
            assert_eq!(read_query(query, ["from", "to"]), Err(expected), "{query}");
        }
        assert_eq!(read_query("from=1", []), Err(unknown("from")));
    }

    #[test]
    fn a_pair_is_seen_in_every_spelling_and_company() {
        for query in [
            "scope=local",
            "x=%zz&scope=local&scope=x",
            "%73cope=loc%61l",
        ] {
            assert!(query_has(query, "scope", "local"), "{query}");
        }
        for query in [
            "",
            "scope",
            "scope=",
            "scope=locals",
            "Scope=local",
            "scope=local=1",
        ] {
            assert!(!query_has(query, "scope", "local"), "{query}");
        }
    }

    proptest! {
        #[test]
        fn an_escaped_value_is_read_again(value in "\\PC{0,20}") {
            let escaped: String = value.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let query = format!("a=1&v={escaped}");
            let [read, _] = read_query(&query, ["v", "a"]).unwrap();
            prop_assert_eq!(read, Some(Cow::Owned(value)));
        }

        #[test]
        fn no_query_is_too_odd_to_read(query in "\\PC{0,40}") {
            let _ = read_query(&query, ["from"]);
        }
    }
}
