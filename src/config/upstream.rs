//! UPSTREAM_A_* and UPSTREAM_B_*: where a processor is and how it is reached.
//!
//! A place is `http://host[:port][/base]` or `unix:/path[:/base]`; the base goes before every path
//! that p99 asks for. `upstream` connects there, `journal` remembers the place of open Intents.
//! A user or a password in it is refused: it would be shown wherever the place is.

use std::fmt;
use std::path::PathBuf;

use super::files;
use super::headers::{HeaderLines, read_headers_file};
use super::places::{HttpUrl, socket_path};
use super::reader::Reader;
use crate::limits;
use crate::payment::Configured;

/// A processor's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessorConfig {
    /// `UPSTREAM_*_URL`.
    pub url: UpstreamUrl,
    /// The files that are read again while p99 runs.
    pub files: UpstreamFiles,
    /// What they held at the start.
    pub held: Held,
}

/// The files of one processor's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamFiles {
    /// `UPSTREAM_*_HEADERS_FILE`.
    pub headers: Option<NamedFile>,
}

/// A setting that names a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The setting.
    pub setting: &'static str,
    /// What it says.
    pub path: PathBuf,
}

/// What the files of one processor hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// For every request.
    pub headers: HeaderLines,
}

impl UpstreamFiles {
    /// All of them that are set.
    pub fn iter(&self) -> impl Iterator<Item = &NamedFile> {
        self.headers.iter()
    }

    /// Reads all of them.
    ///
    /// # Errors
    /// Which setting is at fault, and what its file must be; never what it holds.
    pub fn read(&self) -> Result<Held, (&'static str, String)> {
        let headers = match &self.headers {
            None => HeaderLines::default(),
            Some(file) => read_headers_file(&file.path).map_err(|why| (file.setting, why))?,
        };
        Ok(Held { headers })
    }
}

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
    /// The file of a socket on this machine.
    Unix(PathBuf),
}

impl Default for Origin {
    fn default() -> Self {
        Self::Http(HttpUrl::default())
    }
}

/// Where http is when a URL names no port.
const HTTP_PORT: u16 = 80;

impl UpstreamUrl {
    /// Reads `http://host[:port][/base]` or `unix:/path[:/base]`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (origin, base) = if let Some(path) = text.strip_prefix("unix:") {
            let end = path.find(":/").unwrap_or(path.len());
            let (path, base) = path.split_at_checked(end)?;
            let base = base.strip_prefix(':').unwrap_or(base);
            (Origin::Unix(socket_path(path)?), base)
        } else {
            let rest = scheme(text, "http://")?;
            let end = rest.find('/').unwrap_or(rest.len());
            let (authority, base) = rest.split_at_checked(end)?;
            let url = HttpUrl::parse_authority(authority, Some(HTTP_PORT))?;
            (Origin::Http(url), base)
        };
        // One slash at the end says no more than none.
        let base = base.strip_suffix('/').unwrap_or(base);
        let base = match base {
            "" => String::new(),
            base => path(base)?,
        };
        Some(Self { origin, base })
    }

    /// The host and the port, where there are such.
    #[must_use]
    pub const fn http(&self) -> Option<&HttpUrl> {
        match &self.origin {
            Origin::Http(url) => Some(url),
            Origin::Unix(_) => None,
        }
    }

    /// The value of `Host`: without the port that goes without saying (RFC 9110, section 7.2).
    #[must_use]
    pub fn host_field(&self) -> String {
        match &self.origin {
            Origin::Http(url) if url.port == HTTP_PORT => url.bracketed_host(),
            Origin::Http(url) => url.authority(),
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
            Origin::Unix(path) if base.is_empty() => format!("unix:{}", path.display()),
            Origin::Unix(path) => format!("unix:{}:{base}", path.display()),
        }
    }

    /// Whether both are spelled alike but for a dot at the end of the name.
    pub(super) fn is_spelled_like(&self, other: &Self) -> bool {
        let is_same_origin = match (&self.origin, &other.origin) {
            (Origin::Http(one), Origin::Http(other)) => one.is_spelled_like(other),
            (one, other) => one == other,
        };
        is_same_origin && self.base == other.base
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Http(_) => write!(f, "http://{}", self.place()),
            Origin::Unix(_) => f.write_str(&self.place()),
        }
    }
}

/// Processor A, and B where it is set.
pub(super) fn read_processors(reader: &mut Reader<'_>) -> Configured<ProcessorConfig> {
    let a = reader.read("UPSTREAM_A_URL", UpstreamUrl::parse);
    let b = reader.read("UPSTREAM_B_URL", |text| match text {
        "none" => Some(None),
        url => UpstreamUrl::parse(url).map(Some),
    });
    let mut all = vec![read_files(reader, a, "UPSTREAM_A_HEADERS_FILE")];
    match b {
        Some(url) => all.push(read_files(reader, url, "UPSTREAM_B_HEADERS_FILE")),
        None => reader.relation(
            !reader.is_set("UPSTREAM_B_HEADERS_FILE"),
            &["UPSTREAM_B_HEADERS_FILE", "UPSTREAM_B_URL"],
            "unset while UPSTREAM_B_URL is none: there is no processor B",
        ),
    }
    Configured::try_from_vec(all).unwrap_or_else(|| Configured::of_one(ProcessorConfig::default()))
}

fn read_files(reader: &mut Reader<'_>, url: UpstreamUrl, headers: &'static str) -> ProcessorConfig {
    let headers = named_file(reader, headers);
    let files = UpstreamFiles { headers };
    let held = files.read().unwrap_or_else(|(setting, why)| {
        reader.relation(false, &[setting], &why);
        Held::default()
    });
    ProcessorConfig { url, files, held }
}

fn named_file(reader: &mut Reader<'_>, setting: &'static str) -> Option<NamedFile> {
    let path = reader.read(setting, |text| files::path(text).map(Some));
    path.map(|path| NamedFile { setting, path })
}

/// What is behind `scheme`, in any case of its letters.
fn scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// A path that is the same to every gateway on the way: a slash before each segment, none at the
/// end, no empty and no dot segment, no query.
pub(super) fn path(text: &str) -> Option<String> {
    let fits = text.len() <= limits::PAY_PATH_BYTES_MAX;
    let is_end = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '~' | ')');
    let ends = text.starts_with('/') && text.ends_with(is_end);
    // The path characters of RFC 3986, section 3.3; escapes are taken as they are.
    let plain =
        |octet: u8| octet.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&octet);
    let is_escape = |rest: &str| {
        let mut two = rest.bytes().take(2);
        rest.len() >= 2 && two.all(|byte| byte.is_ascii_hexdigit())
    };
    let escapes = text.split('%').skip(1).all(is_escape);
    // What a gateway on the way would make another path of.
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..");
    let segments = text.split('/').skip(1).all(is_segment);
    (fits && ends && text.bytes().all(plain) && escapes && segments).then(|| text.to_owned())
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
    fn a_place_in_the_journal_is_what_it_was_before_there_were_bases() {
        let place = |text| UpstreamUrl::parse(text).unwrap().place();
        assert_eq!(place("http://a:8001"), "a:8001");
        assert_eq!(place("http://a"), "a:80");
        assert_ne!(place("http://a/x"), place("http://a/y"));
        assert_ne!(place("unix:/a:/x"), place("unix:/a"));
    }
}
