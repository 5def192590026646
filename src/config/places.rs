//! Texts that name a place: where to listen, whom to call, where files are. Each has the rules
//! that tell a name which was meant from one that slipped in, and what excludes what.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};

use super::values::digits;
use crate::config::UNIX_PATH_BYTES_MAX;

/// Longest host name (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and a port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Reads `address:port` or `unix:/path`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let Some(path) = text.strip_prefix("unix:") else {
            let mut address: SocketAddr = text.parse().ok()?;
            if let ip @ IpAddr::V4(_) = address.ip().to_canonical() {
                // `[::ffff:127.0.0.1]:80` is 127.0.0.1:80; a socket for IPv6 only cannot have it.
                address.set_ip(ip);
            }
            return (!address.ip().is_multicast()).then_some(Self::Tcp(address));
        };
        socket_path(path).map(Self::Unix)
    }

    /// Whether one process cannot listen on both. `[::]` has IPv6 only, so `0.0.0.0` may be beside
    /// it.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) => {
                let (ip, other_ip) = (one.ip(), other.ip());
                let is_wide = ip.is_unspecified() || other_ip.is_unspecified();
                one.port() == other.port()
                    && one.port() != 0
                    && (one == other || (is_wide && ip.is_ipv4() == other_ip.is_ipv4()))
            }
            (Self::Unix(one), Self::Unix(other)) => one == other,
            (Self::Tcp(_), Self::Unix(_)) | (Self::Unix(_), Self::Tcp(_)) => false,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The first two addresses, if any, of which one process can have only one: one of `wanted`, and
/// one before it or of `others`.
pub(super) fn clash<'a>(
    wanted: &'a [ListenAddress],
    others: &'a [ListenAddress],
) -> Option<(&'a ListenAddress, &'a ListenAddress)> {
    wanted.iter().enumerate().find_map(|(index, address)| {
        let mut before = wanted.iter().take(index).chain(others);
        before
            .find(|other| other.excludes(address))
            .map(|other| (address, other))
    })
}

/// A host and a port: a peer's place, and a part of a processor's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpUrl {
    /// A name in lower case or an IP address; an IPv6 one without its brackets. A dot at a name's
    /// end, which says that no search domain is added, is kept.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

impl HttpUrl {
    /// Reads `http://host:port`; a path, even `/`, a user or another scheme is refused.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let scheme = text
            .get(..7)
            .filter(|scheme| scheme.eq_ignore_ascii_case("http://"))?;
        Self::parse_authority(text.get(scheme.len()..)?, None)
    }

    /// Reads `host:port`, or `host` where `usual` says which port that means.
    pub(super) fn parse_authority(text: &str, usual: Option<u16>) -> Option<Self> {
        let (host, port) = match (text.rsplit_once(':'), usual) {
            // The last colon of an IPv6 address is no port's.
            (Some((_, behind)), Some(usual)) if behind.ends_with(']') => (text, usual),
            (Some((host, port)), _) => (host, u16::try_from(digits(port)?).ok()?),
            (None, usual) => (text, usual?),
        };
        if port == 0 {
            return None;
        }
        if let Some(inner) = host.strip_prefix('[') {
            let host = inner.strip_suffix(']')?;
            let address: std::net::Ipv6Addr = host.parse().ok()?;
            return Some(Self {
                host: address.to_string(),
                port,
            });
        }
        is_host(host).then(|| Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    /// Whether both are spelled alike but for a dot at the end of the name.
    pub(super) fn is_spelled_like(&self, other: &Self) -> bool {
        let plain = |url: &Self| url.host.trim_end_matches('.').to_owned();
        self.port == other.port && plain(self) == plain(other)
    }

    /// `host:port` as the `Host` header wants it.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.bracketed_host(), self.port)
    }

    /// The host alone, an IPv6 address in its brackets.
    pub(super) fn bracketed_host(&self) -> String {
        let host = &self.host;
        if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority())
    }
}

/// Whether `host` is a name, perhaps with a dot at its end, or an IPv4 address. What ends in a
/// number is an address or nothing: a resolver would read `10.1` and `0x7f.1` in its own way.
pub(super) fn is_host(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(plain)
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = |label: &str| {
        let hexadecimal = label
            .strip_prefix("0x")
            .or_else(|| label.strip_prefix("0X"));
        digits(label).is_some()
            || hexadecimal.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    name.len() <= HOST_BYTES_MAX
        && name.split('.').all(is_label)
        && (!is_number(last) || host.parse::<std::net::Ipv4Addr>().is_ok())
}

/// Words with which other programs switch a setting off or on. As a directory one of them would be
/// made without a word, and the operator would believe something else.
const SWITCHES: [&str; 14] = [
    "off", "on", "none", "no", "yes", "false", "true", "null", "nil", "0", "1", "disabled",
    "enabled", "default",
];

/// A directory: no word that means something else.
pub(super) fn folder(text: &str) -> Option<PathBuf> {
    let is_switch = SWITCHES.iter().any(|word| word.eq_ignore_ascii_case(text));
    (!is_switch && !text.contains("://"))
        .then(|| file_path(text))
        .flatten()
}

/// The file of a unix socket.
pub(super) fn socket_path(text: &str) -> Option<PathBuf> {
    let fits = text.len() <= UNIX_PATH_BYTES_MAX && !text.ends_with('/');
    (text.starts_with('/') && fits)
        .then(|| file_path(text))
        .flatten()
}

/// A path as a file system has it. Blanks at its ends, quotes around it, `~`, `$`, a comma or a
/// semicolon behind it are left over from a shell or a file that was read in another way; behind
/// `..` two paths of one file look different.
fn file_path(text: &str) -> Option<PathBuf> {
    let is_odd = |c: char| c.is_control() || matches!(c, '$' | '"' | '\'');
    let path = Path::new(text);
    let has_parent = path.components().any(|part| part == Component::ParentDir);
    let begins = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_');
    let is_plain = text.trim() == text && text.starts_with(begins) && !text.ends_with([',', ';']);
    (is_plain && !text.contains(is_odd) && !has_parent).then(|| path.to_owned())
}

/// Where machines keep the authorities that they believe: Debian and Alpine, Fedora, openSUSE, and
/// the BSDs.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The file of authorities that every program of this machine believes.
#[must_use]
pub fn usual_authorities(lookup: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let told = lookup("SSL_CERT_FILE").filter(|path| !path.is_empty());
    told.map(PathBuf::from).or_else(|| {
        let usual = AUTHORITIES.iter().map(PathBuf::from);
        usual.into_iter().find(|path| path.is_file())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_exclude_each_other_are_known() {
        let rows = [
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "0.0.0.0:1", true),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:1", "[::]:1", false),
            ("[::]:1", "[::1]:1", true),
            ("[::]:1", "127.0.0.1:1", false),
            ("[::ffff:127.0.0.1]:1", "0.0.0.0:1", true),
            ("[0:0::1]:1", "[::1]:1", true),
            ("unix:/run/p99.sock", "unix:/run//./p99.sock", true),
            ("unix:/run/a", "unix:/run/b", false),
            ("unix:/run/a", "127.0.0.1:1", false),
        ];
        for (one, other, excludes) in rows {
            let [first, second] = [one, other].map(|text| ListenAddress::parse(text).unwrap());
            assert_eq!(first.excludes(&second), excludes, "{one} {other}");
            let list = [first, second];
            assert_eq!(clash(&list, &[]).is_some(), excludes);
            let [first, second] = &list;
            let beside = clash(std::slice::from_ref(first), std::slice::from_ref(second));
            assert_eq!(beside.is_some(), excludes);
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_nothing_between() {
        for host in ["a", "a.", "a.b.", "A-1_x", "10.0.0.1", "1a", "0x", "a.1b"] {
            assert_eq!(is_host(host), host != "0x", "{host}");
        }
        for host in [
            "",
            ".",
            "a..",
            ".a",
            "10.1",
            "10.0.0.1.",
            "10.0.0.256",
            "a.1",
            "0x7f.0x1",
            "1",
        ] {
            assert!(!is_host(host), "{host}");
        }
        let longest = format!("{}.", vec!["a".repeat(49); 5].join("."));
        assert!(is_host(&longest));
        let url = |text| HttpUrl::parse(text).unwrap();
        assert_eq!(url("http://Name.:80").to_string(), "http://name.:80");
        assert!(url("http://name.:80").is_spelled_like(&url("HTTP://NAME:80")));
        assert!(!url("http://name:80").is_spelled_like(&url("http://name:81")));
    }

    #[test]
    fn a_folder_is_no_switch_and_no_leftover_of_a_shell() {
        for text in [
            "/var/lib/p99",
            "journal",
            "./off",
            "/off",
            "a b",
            "/data/x.y-z_1",
        ] {
            assert_eq!(folder(text), Some(PathBuf::from(text)));
        }
        for text in [
            "",
            "off",
            "Off",
            "OFF",
            "none",
            "None",
            "false",
            "0",
            "disabled",
            "true",
            " /a",
            "/a ",
            "~/journal",
            "$HOME/journal",
            "\"/a\"",
            "/a,",
            "/a;",
            "=/a",
            "+/a",
            "'/a'",
            "/a\n",
            "file:///a",
            "/a/../b",
        ] {
            assert_eq!(folder(text), None, "{text:?}");
        }
    }
}
