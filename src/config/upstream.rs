//! UPSTREAM_A_URL and UPSTREAM_B_URL: where a processor is.
//!
//! A place is `http://host[:port][/base]`, the same with `https://`, or `unix:/path[:/base]`; the
//! base goes before every path that p99 asks for. `upstream` connects there, `journal` remembers
//! the place of open Intents. A user or a password in it is refused: it would be shown wherever the
//! place is.

use std::fmt;
use std::path::PathBuf;

use super::places::{HttpUrl, ListenAddress, socket_path};
use super::shards::is_at;

/// Longest path of payments at a processor. With an id of 36 bytes the request head stays small.
const PAY_PATH_BYTES_MAX: usize = 256;

/// Where a processor is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamUrl {
    /// What is connected to.
    pub origin: Origin,
    /// What goes before every path: empty, or begins with a slash and does not end with one.
    pub base: String,
}

/// What is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A host and a port.
    Http(HttpUrl),
    /// The same, with a certificate that proves which host it is.
    Https(HttpUrl),
    /// The file of a socket on this machine.
    Unix(PathBuf),
}

impl Default for Origin {
    fn default() -> Self {
        Self::Http(HttpUrl::default())
    }
}

/// Where payments are posted below a processor's base, unless `UPSTREAM_PAY_PATH` says otherwise.
pub(super) const PAY_PATH: &str = "/payments";

/// Where http is when a URL names no port.
const HTTP_PORT: u16 = 80;
/// Where https is.
const HTTPS_PORT: u16 = 443;

impl UpstreamUrl {
    /// Reads `http://host[:port][/base]`, the same with `https://`, or `unix:/path[:/base]`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (origin, base) = if let Some(path) = text.strip_prefix("unix:") {
            let end = path.find(":/").unwrap_or(path.len());
            let (path, base) = path.split_at_checked(end)?;
            let base = base.strip_prefix(':').unwrap_or(base);
            (Origin::Unix(socket_path(path)?), base)
        } else {
            Self::split_authority(text)?
        };
        // One slash at the end says no more than none.
        let base = base.strip_suffix('/').unwrap_or(base);
        let base = match base {
            "" => String::new(),
            base => path(base)?,
        };
        Some(Self { origin, base })
    }

    /// The origin of a text that begins with `http://` or `https://`, and what is behind it: a path
    /// or nothing.
    #[must_use]
    pub fn split_authority(text: &str) -> Option<(Origin, &str)> {
        let (rest, port) = match scheme(text, "https://") {
            Some(rest) => (rest, HTTPS_PORT),
            None => (scheme(text, "http://")?, HTTP_PORT),
        };
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let url = HttpUrl::parse_authority(authority, Some(port))?;
        Some(match port {
            HTTPS_PORT => (Origin::Https(url), path),
            _ => (Origin::Http(url), path),
        })
    }

    /// The host and the port, where there are such.
    #[must_use]
    pub const fn http(&self) -> Option<&HttpUrl> {
        match &self.origin {
            Origin::Http(url) | Origin::Https(url) => Some(url),
            Origin::Unix(_) => None,
        }
    }

    /// Whether a certificate proves which host it is, whatever its address.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        matches!(self.origin, Origin::Https(_))
    }

    /// Whether it surely leads to `address`, where this instance listens: p99 would be told its own
    /// word about a payment.
    #[must_use]
    pub fn is_at(&self, address: &ListenAddress) -> bool {
        match (&self.origin, address) {
            (Origin::Unix(path), ListenAddress::Unix(own)) => path == own,
            (Origin::Http(url) | Origin::Https(url), _) => is_at(url, address),
            (Origin::Unix(_), ListenAddress::Tcp(_)) => false,
        }
    }

    /// The value of `Host`: without the port that goes without saying (RFC 9110, section 7.2).
    #[must_use]
    pub fn host_field(&self) -> String {
        match &self.origin {
            Origin::Http(url) if url.port == HTTP_PORT => url.bracketed_host(),
            Origin::Https(url) if url.port == HTTPS_PORT => url.bracketed_host(),
            Origin::Http(url) | Origin::Https(url) => url.authority(),
            Origin::Unix(_) => "localhost".to_owned(),
        }
    }

    /// The place as the journal remembers it. An Intent that is open there is never sent to
    /// another one.
    #[must_use]
    pub fn place(&self) -> String {
        let base = &self.base;
        match &self.origin {
            Origin::Http(url) => format!("{}{base}", url.authority()),
            Origin::Https(url) => format!("https://{}{base}", url.authority()),
            Origin::Unix(path) if base.is_empty() => format!("unix:{}", path.display()),
            Origin::Unix(path) => format!("unix:{}:{base}", path.display()),
        }
    }

    /// Whether both are spelled alike but for a dot at the end of the name.
    pub(super) fn is_spelled_like(&self, other: &Self) -> bool {
        let is_same_origin = match (&self.origin, &other.origin) {
            (Origin::Http(one), Origin::Http(other))
            | (Origin::Https(one), Origin::Https(other)) => one.is_spelled_like(other),
            (one, other) => one == other,
        };
        is_same_origin && self.base == other.base
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Http(_) => write!(f, "http://{}", self.place()),
            Origin::Https(_) | Origin::Unix(_) => f.write_str(&self.place()),
        }
    }
}

/// What is behind `scheme`, in any case of its letters.
fn scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// A path that is the same to every gateway on the way: a slash before each segment, none at the
/// end, no empty and no dot segment, no query, whether its escapes are decoded or not.
pub(super) fn path(text: &str) -> Option<String> {
    let fits = text.len() <= PAY_PATH_BYTES_MAX;
    let is_end = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '~' | ')');
    let ends = text.starts_with('/') && text.ends_with(is_end);
    // The path characters of RFC 3986, section 3.3.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte);
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => decoded.push(escaped(bytes.next()?, bytes.next()?)?),
            byte if plain(byte) => decoded.push(byte),
            _ => return None,
        }
    }
    // What a gateway on the way would make another path of. Some end a segment at its semicolon.
    let is_segment = |segment: &[u8]| {
        let name = segment.split(|byte| *byte == b';').next();
        !matches!(name, None | Some(b"" | b"." | b".."))
    };
    let mut segments = decoded.split(|byte| *byte == b'/').skip(1);
    (fits && ends && segments.all(is_segment)).then(|| text.to_owned())
}

/// What two digits behind a `%` mean, unless some program on the way would write it otherwise: a
/// letter, a digit or a dot, which need no escape (RFC 3986, section 6.2.2.2); a `%`, behind which
/// a second decoding would find another escape; a backslash, which some take for a slash; or what
/// ends a text.
fn escaped(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = u8::try_from(digit(high)? << 4 | digit(low)?).ok()?;
    let is_free = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_read_otherwise = byte.is_ascii_control() || matches!(byte, b'%' | b'\\');
    (!is_free && !is_read_otherwise).then_some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_host_or_a_socket_and_a_base() {
        // What is set, what it is, its Host.
        let rows = [
            ("http://Psp:8080", "http://psp:8080", "psp:8080"),
            ("HTTP://psp", "http://psp:80", "psp"),
            ("http://psp/", "http://psp:80", "psp"),
            ("http://psp:80/v2", "http://psp:80/v2", "psp"),
            ("http://psp:81/a/b/", "http://psp:81/a/b", "psp:81"),
            ("https://Psp", "https://psp:443", "psp"),
            ("https://psp:443/a", "https://psp:443/a", "psp"),
            ("HTTPS://psp:80", "https://psp:80", "psp:80"),
            ("http://psp:443", "http://psp:443", "psp:443"),
            ("http://[::1]/a", "http://[::1]:80/a", "[::1]"),
            ("http://[::1]:81", "http://[::1]:81", "[::1]:81"),
            ("http://10.0.0.1", "http://10.0.0.1:80", "10.0.0.1"),
            ("unix:/run/a.sock", "unix:/run/a.sock", "localhost"),
            ("unix:/run/a.sock:/", "unix:/run/a.sock", "localhost"),
            ("unix:/run/a.sock:/v2", "unix:/run/a.sock:/v2", "localhost"),
            ("unix:/run/a:b.sock", "unix:/run/a:b.sock", "localhost"),
        ];
        for (text, expected, host) in rows {
            let url = UpstreamUrl::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((&*url.to_string(), &*url.host_field()), (expected, host));
            assert_eq!(UpstreamUrl::parse(expected), Some(url), "{expected}");
        }
        for text in [
            "",
            "psp",
            "psp:80",
            "ftp://psp",
            "http:/psp",
            "http://",
            "http:///a",
            "http://:80",
            "http://psp:0",
            "http://psp:",
            "http://psp:80a",
            "http://psp:65536",
            "http://me:pw@psp",
            "http://psp?x",
            "http://psp#x",
            "http://psp/a?x",
            "http://psp/a#x",
            "http://psp//",
            "http://psp/a//",
            "http://psp//a",
            "http://psp/a/../b",
            "http://psp/a b",
            "http://psp/%zz",
            "http://psp/%2e%2e",
            "http://psp/a%2F..%2Fb",
            "http://::1",
            "http://[::1",
            "http://[::1]x",
            "unix:",
            "unix:/",
            "unix:a.sock",
            "unix:/run/",
            "unix:/run/../a",
            "unix:/run/a.sock://",
            "unix:/run/a.sock:/a//b",
            "unix:/run/a.sock:/a?x",
        ] {
            assert_eq!(UpstreamUrl::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_place_at_which_p99_itself_listens_is_known() {
        for (url, own, is_at) in [
            ("http://127.0.0.1:9999", "0.0.0.0:9999", true),
            ("http://127.1.2.3:9999/base", "0.0.0.0:9999", true),
            ("http://localhost.:9999", "[::]:9999", true),
            ("http://0.0.0.0:9999", "0.0.0.0:9999", true),
            ("https://10.0.0.1:9999", "10.0.0.1:9999", true),
            ("unix:/run/p99.sock:/v1", "unix:/run/p99.sock", true),
            ("http://127.0.0.1:9998", "0.0.0.0:9999", false),
            ("http://127.0.0.1:9999", "10.0.0.1:9999", false),
            ("http://other:9999", "0.0.0.0:9999", false),
            ("unix:/run/psp.sock", "unix:/run/p99.sock", false),
            ("unix:/run/p99.sock", "0.0.0.0:80", false),
        ] {
            let own = match own.strip_prefix("unix:") {
                Some(path) => ListenAddress::Unix(path.into()),
                None => ListenAddress::Tcp(own.parse().unwrap()),
            };
            let url = UpstreamUrl::parse(url).unwrap();
            assert_eq!(url.is_at(&own), is_at, "{url:?} {own}");
        }
    }

    #[test]
    fn a_place_in_the_journal_is_what_it_was_before_there_were_bases() {
        let place = |text| UpstreamUrl::parse(text).unwrap().place();
        assert_eq!(place("http://a:8001"), "a:8001");
        assert_eq!(place("http://a"), "a:80");
        assert_eq!(place("https://a"), "https://a:443");
        assert_ne!(place("http://a/x"), place("http://a/y"));
        assert_ne!(place("unix:/a:/x"), place("unix:/a"));
    }
}
