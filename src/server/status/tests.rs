//! The page may run and be styled by what is in it and by nothing else, and shows no number that
//! the metrics page does not have.

use super::*;

/// What stands between this tag and its end, the only one of its kind.
fn inside(tag: &str) -> &'static str {
    let page = std::str::from_utf8(PAGE).unwrap();
    let (_, rest) = page.split_once(&format!("<{tag}>")).unwrap();
    let (inside, rest) = rest.split_once(&format!("</{tag}>")).unwrap();
    assert!(!rest.contains(&format!("<{tag}")), "one {tag} only");
    inside
}

fn sha256_base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let suite = suite.tls13().unwrap();
    let hash = suite.common.hash_provider.hash(text.as_bytes());
    let digit = |bits: u32| char::from(DIGITS[usize::try_from(bits & 63).unwrap()]);
    let mut out = String::new();
    for three in hash.as_ref().chunks(3) {
        let byte = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        out.extend([18, 12, 6, 0].map(|shift| digit(bits >> shift)));
        out.truncate(out.len() - (3 - three.len()));
        out.push_str(&"=="[..3 - three.len()]);
    }
    out
}

#[test]
fn the_policy_allows_the_page_as_it_is_and_nothing_else() {
    let policy = std::str::from_utf8(POLICY).unwrap();
    for (what, tag) in [("script-src", "script"), ("style-src", "style")] {
        let wanted = format!("{what} 'sha256-{}';", sha256_base64(inside(tag)));
        assert!(policy.contains(&wanted), "{wanted} is not in {policy}");
    }
    let page = std::str::from_utf8(PAGE).unwrap();
    for outside in [
        "http:",
        "https:",
        "//",
        " style=",
        " onclick=",
        "@import",
        "url(",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains(r#"<noscript><p>This page needs its script; <a href="/status.txt">"#));
}

#[test]
fn spans_are_said_with_two_units() {
    for (ms, text) in [
        (0, "0.0 s"),
        (59_940, "59.9 s"),
        (61_000, "1 min 1 s"),
        (3_660_000, "1 h 1 min"),
        (90_000_000, "1 d 1 h"),
    ] {
        assert_eq!(span(ms), text);
    }
}
