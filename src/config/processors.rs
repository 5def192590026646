//! UPSTREAM_A_* and UPSTREAM_B_*: all that is set of one processor, and the files that these
//! settings name. A start and `p99 check` read and refuse them alike; `upstream` reads them again
//! by the same rules. What they hold is never shown.

use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::files;
use super::headers::{HeaderLines, read_headers_file};
use super::places;
use super::reader::Reader;
use super::upstream::{PAY_PATH, UpstreamUrl};
use crate::config::PEM_BYTES_MAX;
use crate::payment::Configured;
use crate::tls::{Material, MaterialFault, peer_name};

/// A processor's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessorConfig {
    /// `UPSTREAM_*_URL`.
    pub url: UpstreamUrl,
    /// The files that are read again while p99 runs.
    pub files: UpstreamFiles,
    /// What they held at the start.
    pub held: Held,
    /// Over https: the name or the address that its certificate must be for, the host of the URL
    /// or `UPSTREAM_*_TLS_NAME`.
    pub peer: Option<ServerName<'static>>,
}

impl ProcessorConfig {
    /// Where it is and which one is meant there, as journal and store remember it: an Intent that
    /// is open there is never sent to another one. A gateway may tell processors apart by the path,
    /// or by the name that TLS asks for, as well as by its own place. What goes without saying is
    /// left out, so that it reads as it always did.
    #[must_use]
    pub fn place(&self, pay_path: &str) -> String {
        let mut place = self.url.place();
        if pay_path != PAY_PATH {
            place.push_str(&format!(" path {pay_path}"));
        }
        let host = self.url.http().and_then(|url| peer_name(&url.host));
        if let Some(peer) = self
            .peer
            .as_ref()
            .filter(|peer| Some(*peer) != host.as_ref())
        {
            place.push_str(&format!(" as {}", peer.to_str()));
        }
        place
    }
}

/// The files of one processor's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamFiles {
    /// `UPSTREAM_*_HEADERS_FILE`.
    pub headers: Option<NamedFile>,
    /// Over https alone: the others' files mean nothing without it.
    pub tls: Option<TlsFiles>,
}

/// The files of a processor over https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// `UPSTREAM_*_TLS_CA`, or where this machine keeps the authorities that it believes.
    pub authorities: NamedFile,
    /// `UPSTREAM_*_TLS_CERT` and `UPSTREAM_*_TLS_KEY`.
    pub identity: Option<(NamedFile, NamedFile)>,
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
    /// For every session; always there over https.
    pub tls: Option<Arc<Material>>,
}

impl UpstreamFiles {
    /// All of them that are set.
    pub fn iter(&self) -> impl Iterator<Item = &NamedFile> {
        let tls = self.tls.iter().flat_map(TlsFiles::iter);
        self.headers.iter().chain(tls)
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
        let tls = self.tls.as_ref().map(TlsFiles::read).transpose()?;
        Ok(Held {
            headers,
            tls: tls.map(Arc::new),
        })
    }
}

/// Reads the authorities that every program of this machine believes, for a peer that no setting
/// has others for.
///
/// # Errors
/// There are none, or none that can be used.
pub fn read_usual_authorities(path: Option<&Path>) -> Result<Arc<Material>, String> {
    let path = path.ok_or("neither SSL_CERT_FILE nor this machine names authorities to believe")?;
    let in_words = |fault| match fault {
        MaterialFault::Authorities(why)
        | MaterialFault::Certificate(why)
        | MaterialFault::Key(why) => why,
    };
    let read = files::read_file(path, PEM_BYTES_MAX);
    let material = read.and_then(|pem| Material::read(&pem, None).map_err(in_words));
    material
        .map(Arc::new)
        .map_err(|why| format!("authorities in {}: {why}", path.display()))
}

impl TlsFiles {
    fn iter(&self) -> impl Iterator<Item = &NamedFile> {
        let identity = self.identity.iter().flat_map(|(chain, key)| [chain, key]);
        iter::once(&self.authorities).chain(identity)
    }

    fn read(&self) -> Result<Material, (&'static str, String)> {
        let bytes = |file: &NamedFile| {
            let read = files::read_file(&file.path, PEM_BYTES_MAX);
            read.map_err(|why| (file.setting, format!("a file of PEM; {why}")))
        };
        let authorities = bytes(&self.authorities)?;
        let identity = match &self.identity {
            None => None,
            Some((chain, key)) => Some((bytes(chain)?, bytes(key)?)),
        };
        let pair = identity.as_ref().map(|(chain, key)| (&**chain, &**key));
        Material::read(&authorities, pair).map_err(|fault| {
            let is_known = |pair: &(NamedFile, NamedFile)| (pair.0.setting, pair.1.setting);
            let (chain, key) = self.identity.as_ref().map_or(("", ""), is_known);
            let ca = self.authorities.setting;
            match fault {
                MaterialFault::Authorities(why) => (ca, format!("authorities in PEM; {why}")),
                MaterialFault::Certificate(why) => (chain, format!("a certificate in PEM; {why}")),
                MaterialFault::Key(why) => (key, format!("the certificate's key in PEM; {why}")),
            }
        })
    }
}

/// The names of one processor's settings.
struct Names {
    url: &'static str,
    headers: &'static str,
    ca: &'static str,
    cert: &'static str,
    key: &'static str,
    name: &'static str,
}

const NAMES: [Names; 2] = [
    Names {
        url: "UPSTREAM_A_URL",
        headers: "UPSTREAM_A_HEADERS_FILE",
        ca: "UPSTREAM_A_TLS_CA",
        cert: "UPSTREAM_A_TLS_CERT",
        key: "UPSTREAM_A_TLS_KEY",
        name: "UPSTREAM_A_TLS_NAME",
    },
    Names {
        url: "UPSTREAM_B_URL",
        headers: "UPSTREAM_B_HEADERS_FILE",
        ca: "UPSTREAM_B_TLS_CA",
        cert: "UPSTREAM_B_TLS_CERT",
        key: "UPSTREAM_B_TLS_KEY",
        name: "UPSTREAM_B_TLS_NAME",
    },
];

/// Processor A, and B where it is set.
pub(super) fn read_processors(reader: &mut Reader<'_>) -> Configured<ProcessorConfig> {
    let [a, b] = &NAMES;
    let url = reader.read(a.url, UpstreamUrl::parse);
    let mut all = vec![read_processor(reader, url, a)];
    let url = reader.read(b.url, |text| match text {
        "none" => Some(None),
        url => UpstreamUrl::parse(url).map(Some),
    });
    match url {
        Some(url) => all.push(read_processor(reader, url, b)),
        None => refuse_settings(reader, b),
    }
    Configured::try_from_vec(all).unwrap_or_else(|| Configured::of_one(ProcessorConfig::default()))
}

/// Settings of a processor that there is not. Each is read all the same: it is told what is wrong
/// with it where the URL itself is at fault.
fn refuse_settings(reader: &mut Reader<'_>, names: &Names) {
    for setting in [names.headers, names.ca, names.cert, names.key] {
        let _: Option<NamedFile> = named_file(reader, setting);
    }
    let _: Option<ServerName<'_>> = reader.read(names.name, |text| peer_name(text).map(Some));
    for setting in [names.headers, names.ca, names.cert, names.key, names.name] {
        let rule = format!("unset while {} is none: there is no processor B", names.url);
        let holds = !reader.is_set(setting);
        reader.relation(holds, &[setting, names.url], &rule);
    }
}

fn read_processor(reader: &mut Reader<'_>, url: UpstreamUrl, names: &Names) -> ProcessorConfig {
    let headers = named_file(reader, names.headers);
    let [ca, chain, key] = [names.ca, names.cert, names.key].map(|name| named_file(reader, name));
    let name = reader.read(names.name, |text| peer_name(text).map(Some));
    for setting in [names.ca, names.cert, names.key, names.name] {
        let holds = url.is_https() || !reader.is_set(setting);
        let rule = format!("unset while {} is not https", names.url);
        reader.relation(holds, &[setting, names.url], &rule);
    }
    for (is_alone, setting, other) in [
        (chain.is_some() && key.is_none(), names.cert, names.key),
        (key.is_some() && chain.is_none(), names.key, names.cert),
    ] {
        let rule = format!("unset while {other} is not set: a certificate and its key go together");
        reader.relation(!is_alone, &[setting, names.cert, names.key], &rule);
    }
    let Some(host) = url.http().filter(|_| url.is_https()) else {
        let files = UpstreamFiles { headers, tls: None };
        return with_files(reader, url, files, None);
    };
    let peer = name.or_else(|| peer_name(&host.host));
    let rule = format!("a host that a certificate can have, or {} set", names.name);
    reader.relation(peer.is_some(), &[names.url, names.name], &rule);
    let tls = ca.or_else(|| usual_authorities(reader, names.ca));
    let rule = "set: neither SSL_CERT_FILE nor this machine names authorities to believe";
    reader.relation(tls.is_some(), &[names.ca, names.url], rule);
    let tls = tls.map(|authorities| TlsFiles {
        authorities,
        identity: chain.zip(key),
    });
    with_files(reader, url, UpstreamFiles { headers, tls }, peer)
}

fn with_files(
    reader: &mut Reader<'_>,
    url: UpstreamUrl,
    files: UpstreamFiles,
    peer: Option<ServerName<'static>>,
) -> ProcessorConfig {
    let held = files.read().unwrap_or_else(|(setting, why)| {
        reader.relation(false, &[setting], &why);
        Held::default()
    });
    ProcessorConfig {
        url,
        files,
        held,
        peer,
    }
}

/// The file of authorities that every program of this machine believes.
fn usual_authorities(reader: &Reader<'_>, setting: &'static str) -> Option<NamedFile> {
    let path = places::usual_authorities(reader.lookup)?;
    Some(NamedFile { setting, path })
}

fn named_file(reader: &mut Reader<'_>, setting: &'static str) -> Option<NamedFile> {
    let path = reader.read(setting, |text| files::path(text).map(Some));
    path.map(|path| NamedFile { setting, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the faults of these settings say; `CA` and `KEY` in them are files of a certificate and
    /// of a key.
    fn faults(settings: &[(&str, &str)]) -> String {
        let made = rcgen::generate_simple_self_signed(["psp".to_owned()]).unwrap();
        let thread = format!("{:?}", std::thread::current().id());
        let path = |name: &str| {
            let name = format!("p99-config-{name}-{}-{thread}", std::process::id());
            std::env::temp_dir().join(name)
        };
        std::fs::write(path("CA"), made.cert.pem()).unwrap();
        std::fs::write(path("KEY"), made.signing_key.serialize_pem()).unwrap();
        let lookup = |name: &str| {
            let given = settings.iter().find(|(key, _)| *key == name);
            let usual = match name {
                "UPSTREAM_A_URL" => Some("https://psp"),
                "UPSTREAM_B_URL" => Some("http://b"),
                _ => None,
            };
            match given.map(|(_, value)| *value).or(usual)? {
                file @ ("CA" | "KEY") => Some(path(file).display().to_string()),
                text => Some(text.to_owned()),
            }
        };
        let read = crate::config::Config::from_lookup_on(lookup, crate::payment::CoreCount(1));
        let told = read.err().unwrap_or_default();
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        for name in ["CA", "KEY"] {
            std::fs::remove_file(path(name)).unwrap();
        }
        told.join("\n")
    }

    #[test]
    fn what_https_needs_is_demanded_and_means_nothing_without_it() {
        let ca = ("UPSTREAM_A_TLS_CA", "CA");
        let (cert, key) = (("UPSTREAM_A_TLS_CERT", "CA"), ("UPSTREAM_A_TLS_KEY", "KEY"));
        let good: [&[(&str, &str)]; 5] = [
            &[ca],
            &[("SSL_CERT_FILE", "CA")],
            &[ca, cert, key],
            &[ca, ("UPSTREAM_A_TLS_NAME", "other.psp")],
            &[("UPSTREAM_A_URL", "https://10.0.0.1"), ca],
        ];
        for settings in good {
            assert_eq!(faults(settings), "", "{settings:?}");
        }
        let bad: [(&[(&str, &str)], &str); 9] = [
            (&[("SSL_CERT_FILE", "/nowhere")], "UPSTREAM_A_TLS_CA"),
            (&[("UPSTREAM_A_TLS_CA", "/nowhere")], "UPSTREAM_A_TLS_CA"),
            (&[("UPSTREAM_A_TLS_CA", "KEY")], "UPSTREAM_A_TLS_CA"),
            (&[ca, cert], "UPSTREAM_A_TLS_CERT"),
            (&[ca, key], "UPSTREAM_A_TLS_KEY"),
            (
                &[ca, cert, ("UPSTREAM_A_TLS_KEY", "CA")],
                "UPSTREAM_A_TLS_KEY",
            ),
            (
                &[ca, ("UPSTREAM_A_TLS_CERT", "KEY"), key],
                "UPSTREAM_A_TLS_CERT",
            ),
            (&[ca, ("UPSTREAM_A_TLS_NAME", "a b")], "UPSTREAM_A_TLS_NAME"),
            (&[ca, ("UPSTREAM_B_TLS_NAME", "b")], "UPSTREAM_B_TLS_NAME"),
        ];
        for (settings, name) in bad {
            let told = faults(settings);
            assert!(told.starts_with(name), "{settings:?}: {told}");
            assert_eq!(told.lines().count(), 1, "{told}");
            assert!(!told.contains("BEGIN"), "{told}");
        }
        let rule = "unset while UPSTREAM_A_TLS_KEY is not set";
        assert!(faults(&[ca, cert]).contains(rule));
    }

    #[test]
    fn a_processor_is_meant_by_its_place_the_path_and_the_name_that_tls_asks_for() {
        let place = |url: &str, name: Option<&str>, pay_path: &str| {
            let url = UpstreamUrl::parse(url).unwrap();
            let host = url.http().map(|url| url.host.clone()).unwrap_or_default();
            let https = url.is_https().then(|| peer_name(&host)).flatten();
            let peer = name.map_or(https, peer_name);
            let config = ProcessorConfig {
                url,
                peer,
                ..ProcessorConfig::default()
            };
            config.place(pay_path)
        };
        let usual = "/payments";
        assert_eq!(place("http://a:80", None, usual), "a:80");
        assert_eq!(place("https://a/x", None, usual), "https://a:443/x");
        assert_eq!(place("https://a", Some("a"), usual), "https://a:443");
        let named = place("https://a", Some("psp"), usual);
        assert_eq!(named, "https://a:443 as psp");
        assert_eq!(place("http://a", None, "/x"), "a:80 path /x");
        assert_eq!(place("unix:/s:/b", None, usual), "unix:/s:/b");
    }

    #[test]
    fn what_is_wrong_beside_a_wrong_url_is_told_with_it() {
        let names = ["UPSTREAM_B_URL", "UPSTREAM_B_TLS_CERT"];
        let told = faults(&[
            ("SSL_CERT_FILE", "CA"),
            (names[0], "ftp://b"),
            (names[1], ""),
        ]);
        assert!(names.iter().all(|name| told.contains(name)), "{told}");
    }
}
