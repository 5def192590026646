//! Queries of a request target: any text is read as a second, plain reading finds, and a value
//! that was escaped is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use p99::testing::wire::{query_has, read_query};

const NAMES: [&str; 3] = ["from", "to", "scope"];

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let read = read_query(&text, NAMES);
    let read = read.map(|values| values.map(|value| value.map(|text| text.into_owned())));
    match plain(&text) {
        Some(values) => assert_eq!(read, Ok(values), "{text}"),
        None => assert!(read.is_err(), "{text}"),
    }
    let escaped: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for query in [
        format!("to={escaped}"),
        format!("%74%6f={escaped}&from=1"),
        format!("&scope=&to={escaped}&"),
    ] {
        let [_, to, _] = read_query(&query, NAMES).unwrap();
        assert_eq!(to.as_deref(), Some(&*text));
        assert!(query_has(&query, "to", &text));
    }
});

/// The three values, or nothing where there is any fault.
fn plain(query: &str) -> Option<[Option<String>; 3]> {
    let mut values = [None, None, None];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let mut parts = pair.splitn(2, '=');
        let key = unescape(parts.next()?)?;
        let value = unescape(parts.next().unwrap_or(""))?;
        let place = NAMES.iter().position(|name| *name == key)?;
        if values[place].replace(value).is_some() {
            return None;
        }
    }
    Some(values)
}

fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}
