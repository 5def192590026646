//! Values out of a request target's query (RFC 3986, section 3.4), percent-decoded.
//!
//! `+` stays `+`: it is a plus sign in a URI, and an offset such as `+00:00` needs it. A name that
//! is asked for may occur once, because two different windows in one question have no one answer.

use std::borrow::Cow;

/// Why a query cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryFault {
    /// A `%` without two hexadecimal digits, or octets that are no UTF-8.
    BadEscape,
    /// The name occurs more than once.
    Repeated,
}

/// The value of `name` in `query`, which is what stands behind the `?`. A name without `=` has the
/// empty value.
///
/// # Errors
/// The fault, when the value cannot be read or is not the only one. Names and values that nobody
/// asks for are not judged.
pub fn query_value<'a>(query: &'a str, name: &str) -> Result<Option<Cow<'a, str>>, QueryFault> {
    let mut found = None;
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // An escaped letter is the same letter (RFC 3986, section 6.2.2.2).
        if key != name && decode(key).ok().as_deref() != Some(name) {
            continue;
        }
        if found.replace(decode(value)?).is_some() {
            return Err(QueryFault::Repeated);
        }
    }
    Ok(found)
}

fn decode(text: &str) -> Result<Cow<'_, str>, QueryFault> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut octets = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(octet) = octets.next() {
        if octet != b'%' {
            out.push(octet);
            continue;
        }
        let mut digit = || {
            octets.next().and_then(|octet| match octet {
                b'0'..=b'9' => Some(octet - b'0'),
                b'a'..=b'f' => Some(octet - b'a' + 10),
                b'A'..=b'F' => Some(octet - b'A' + 10),
                _ => None,
            })
        };
        match (digit(), digit()) {
            (Some(high), Some(low)) => out.push(high << 4 | low),
            (Some(_) | None, Some(_) | None) => return Err(QueryFault::BadEscape),
        }
    }
    String::from_utf8(out)
        .map(Cow::Owned)
        .map_err(|_| QueryFault::BadEscape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_found_and_decoded() {
        let rows = [
            ("", Ok(None)),
            ("to=1", Ok(None)),
            ("xfrom=1&fromx=2", Ok(None)),
            ("from", Ok(Some(""))),
            ("from=", Ok(Some(""))),
            ("from=a=b", Ok(Some("a=b"))),
            ("to=%zz&from=1", Ok(Some("1"))),
            ("%zz=3&from=1", Ok(Some("1"))),
            ("%66rom=1", Ok(Some("1"))),
            ("from=12%3A34%3a56", Ok(Some("12:34:56"))),
            ("from=1+02:00", Ok(Some("1+02:00"))),
            ("from=1%2B02:00", Ok(Some("1+02:00"))),
            ("from=1%2002:00", Ok(Some("1 02:00"))),
            ("from=%00", Ok(Some("\0"))),
            ("from=%c3%A9", Ok(Some("é"))),
            ("from=%", Err(QueryFault::BadEscape)),
            ("from=%4", Err(QueryFault::BadEscape)),
            ("from=%4g", Err(QueryFault::BadEscape)),
            ("from=%+4", Err(QueryFault::BadEscape)),
            ("from=%ff", Err(QueryFault::BadEscape)),
            ("from=1&from=1", Err(QueryFault::Repeated)),
            ("from=1&%66rom=2", Err(QueryFault::Repeated)),
        ];
        for (query, expected) in rows {
            let value = query_value(query, "from");
            assert_eq!(
                value,
                expected.map(|text| text.map(Cow::Borrowed)),
                "{query}"
            );
        }
    }

    proptest! {
        #[test]
        fn an_escaped_value_is_read_again(value in "\\PC{0,20}") {
            let escaped: String = value.bytes().map(|octet| format!("%{octet:02x}")).collect();
            let query = format!("a=1&v={escaped}");
            prop_assert_eq!(query_value(&query, "v"), Ok(Some(Cow::Owned(value))));
        }
    }
}
