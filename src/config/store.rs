//! STORE: where the shared PostgreSQL is, who p99 is there, and how it is spoken to.
//!
//! `postgres://user[:password]@host[:port][,host[:port]]/database?parameter=value&...`, as libpq
//! has it, with the parameters below and no others. A host may be the folder of a unix socket, as
//! `%2Frun%2Fpostgresql` or by `host=/run/postgresql`. The password is in the URL, or in a file of
//! lines `host:port:database:user:password` (`passfile=`, or PGPASSFILE); it is never shown.

mod passwords;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::auth::Secret;
use super::files;
use super::places::{is_host, usual_authorities};
use super::reader::{ConfigFault, Reader};
use super::values::digits;
use crate::config::PEM_BYTES_MAX;
use crate::config::UNIX_PATH_BYTES_MAX;
use crate::tls::{Material, MaterialFault};
use passwords::{PasswordLine, password_lines};

/// Hosts that STORE may name.
const STORE_HOSTS_MAX: usize = 16;

/// How a connection to the store is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreTls {
    /// TLS, with a certificate for the host by an authority that is believed.
    #[default]
    VerifyFull,
    /// TLS with any certificate: only who merely listens is kept out.
    Require,
    /// None.
    Disable,
}

/// One server of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreHost {
    /// A name or an address, and a port.
    Tcp(String, u16),
    /// The folder of its unix socket, and the port in the socket's name.
    Unix(PathBuf, u16),
}

/// Where the store is.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl {
    /// Who p99 is there.
    pub user: String,
    /// Servers, tried in this order; one of them writes.
    pub hosts: Vec<StoreHost>,
    /// The database.
    pub database: String,
    /// How the way there is protected.
    pub tls: StoreTls,
    /// What the file of the authorities that are believed holds; a machine's own where none was
    /// named.
    pub authorities: Option<Arc<Material>>,
    password: Option<Secret>,
    lines: Vec<PasswordLine>,
}

const FORM: &str = "postgres://user@host[:port][,host[:port]]/database with the parameters \
                    sslmode, \
                    sslrootcert, target_session_attrs, passfile and host";
/// Where PostgreSQL listens when a URL names no port.
const PORT: u16 = 5_432;

/// STORE and STORE_PREPARE.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Where it is.
    pub url: StoreUrl,
    /// Whether statements are prepared; not through a pooler that cannot keep them.
    pub is_prepared: bool,
}

/// STORE and STORE_PREPARE, if the first is set.
///
/// # Errors
/// Everything that is wrong with them, and what is allowed. No fault shows a password.
pub fn store_from_lookup(
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Option<StoreConfig>, Vec<ConfigFault>> {
    let mut reader = Reader {
        lookup: &lookup,
        faults: Vec::new(),
        in_force: Vec::new(),
    };
    let store = read_store(&mut reader);
    if reader.faults.is_empty() {
        Ok(store)
    } else {
        Err(reader.faults)
    }
}

pub(super) fn read_store(reader: &mut Reader<'_>) -> Option<StoreConfig> {
    let lookup = reader.lookup;
    let mut wanted = Vec::new();
    let url = reader.read("STORE", |text| {
        let url = StoreUrl::parse(text, lookup);
        url.map_err(|rules| wanted = rules).ok().map(Some)
    });
    if let Some(fault) = reader.faults.last_mut()
        && !wanted.is_empty()
    {
        fault.allowed = wanted.join("; ");
    }
    let is_prepared = reader.word("STORE_PREPARE", &[("on", true), ("off", false)]);
    match &url {
        Some(url) => reader.show("STORE", &url.to_string()),
        None => reader.mark_unused("STORE_PREPARE"),
    }
    url.map(|url| StoreConfig { url, is_prepared })
}

impl StoreUrl {
    /// Reads the URL, and the file that it names.
    ///
    /// # Errors
    /// What is allowed, for each part that breaks it.
    pub fn parse(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<String>> {
        let rest = ["postgres://", "postgresql://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme));
        let Some(rest) = rest.filter(|_| text.chars().all(|c| c.is_ascii_graphic())) else {
            return Err(vec![FORM.to_owned()]);
        };
        let mut faults = Vec::new();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match user.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (user, None),
        };
        let mut url = Self {
            user: name(user, "a user before @", &mut faults),
            hosts: Vec::new(),
            database: name(
                database,
                "a database behind the hosts, as in /p99",
                &mut faults,
            ),
            tls: StoreTls::default(),
            authorities: None,
            password: None,
            lines: Vec::new(),
        };
        if let Some(password) = password {
            match unescaped(password).filter(|text| !text.is_empty()) {
                Some(text) => url.password = Some(Secret::new(text)),
                None => faults.push("a password in %-escapes, or none".to_owned()),
            }
        }
        let mut parameters = Parameters::default();
        parameters.read(query, &mut faults);
        url.tls = parameters.tls;
        let hosts = parameters.host.as_deref().unwrap_or(hosts);
        url.take_hosts(hosts, &mut faults);
        url.take_files(parameters, lookup, &mut faults);
        if faults.is_empty() {
            Ok(url)
        } else {
            Err(faults)
        }
    }

    fn take_hosts(&mut self, text: &str, faults: &mut Vec<String>) {
        for one in text.split(',') {
            match host(one) {
                Some(host) => self.hosts.push(host),
                // Without an @ a password is where a host should be, so it is not shown.
                None => {
                    faults.push("hosts as name, name:port, [address]:port or %2Ffolder".to_owned());
                }
            }
        }
        if self.hosts.len() > STORE_HOSTS_MAX {
            faults.push(format!("at most {} hosts", STORE_HOSTS_MAX));
        }
    }

    fn take_files(
        &mut self,
        parameters: Parameters,
        lookup: &dyn Fn(&str) -> Option<String>,
        faults: &mut Vec<String>,
    ) {
        let has_tcp = self
            .hosts
            .iter()
            .any(|host| matches!(host, StoreHost::Tcp(..)));
        if self.tls == StoreTls::VerifyFull && has_tcp {
            let file = parameters.authorities.or_else(|| usual_authorities(lookup));
            match read_authorities(file.as_deref()) {
                Ok(material) => self.authorities = Some(Arc::new(material)),
                Err(why) => faults.push(format!("sslrootcert=/file of authorities in PEM; {why}")),
            }
        } else if parameters.authorities.is_some() {
            faults.push("sslrootcert with sslmode=verify-full only".to_owned());
        }
        let file = parameters
            .password_file
            .or_else(|| lookup("PGPASSFILE").map(PathBuf::from));
        if let Some(file) = file {
            match password_lines(&file) {
                Ok(lines) => self.lines = lines,
                Err(why) => faults.push(format!("a password file; {}: {why}", file.display())),
            }
        }
    }

    /// The password for `host`.
    #[must_use]
    pub fn password(&self, host: &StoreHost) -> Option<&Secret> {
        if let Some(password) = &self.password {
            return Some(password);
        }
        let (name, port) = match host {
            StoreHost::Tcp(name, port) => (name.clone(), port),
            StoreHost::Unix(folder, port) => (folder.display().to_string(), port),
        };
        let is = [
            name,
            port.to_string(),
            self.database.clone(),
            self.user.clone(),
        ];
        let fits = |line: &&PasswordLine| {
            let mut both = line.of.iter().zip(&is);
            both.all(|(wanted, is)| wanted == "*" || wanted == is)
        };
        self.lines.iter().find(fits).map(|line| &line.password)
    }
}

/// What the file of the authorities holds; the fault says why not.
fn read_authorities(file: Option<&Path>) -> Result<Material, String> {
    let file = file.ok_or("neither SSL_CERT_FILE nor this machine names any")?;
    let named = |why: String| format!("{}: {why}", file.display());
    let pem = files::read_file(file, PEM_BYTES_MAX).map_err(named)?;
    Material::read(&pem, None).map_err(|fault| match fault {
        MaterialFault::Authorities(why)
        | MaterialFault::Certificate(why)
        | MaterialFault::Key(why) => named(why),
    })
}

/// What is behind `?`.
#[derive(Debug, Default)]
struct Parameters {
    tls: StoreTls,
    authorities: Option<PathBuf>,
    password_file: Option<PathBuf>,
    host: Option<String>,
}

impl Parameters {
    fn read(&mut self, query: &str, faults: &mut Vec<String>) {
        let mut known = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            if known.contains(&name) {
                faults.push(format!("each parameter once, and {name} is there twice"));
            }
            known.push(name);
            self.take(name, &unescaped(value).unwrap_or_default(), faults);
        }
    }

    fn take(&mut self, name: &str, value: &str, faults: &mut Vec<String>) {
        let path = || Some(PathBuf::from(value)).filter(|path| path.is_absolute());
        match name {
            "sslmode" => match value {
                "verify-full" => self.tls = StoreTls::VerifyFull,
                "require" => self.tls = StoreTls::Require,
                "disable" => self.tls = StoreTls::Disable,
                _ => faults.push("sslmode=verify-full, require or disable".to_owned()),
            },
            "sslrootcert" => {
                self.authorities = path();
                if self.authorities.is_none() {
                    faults.push("sslrootcert=/file".to_owned());
                }
            }
            "passfile" => {
                self.password_file = path();
                if self.password_file.is_none() {
                    faults.push("passfile=/file".to_owned());
                }
            }
            "target_session_attrs" if value == "read-write" => {}
            "target_session_attrs" => faults.push("target_session_attrs=read-write".to_owned()),
            "host" if value.starts_with('/') => self.host = Some(value.replace('/', "%2F")),
            "host" => faults.push("host=/folder of a unix socket".to_owned()),
            other => faults.push(format!("{FORM}; {other:?} is none of them")),
        }
    }
}

fn name(text: &str, wanted: &str, faults: &mut Vec<String>) -> String {
    let is_name = |text: &String| {
        (1..=63).contains(&text.len()) && !text.contains(|c: char| c.is_control() || c == '/')
    };
    unescaped(text).filter(is_name).unwrap_or_else(|| {
        faults.push(wanted.to_owned());
        String::new()
    })
}

fn host(text: &str) -> Option<StoreHost> {
    let (host, port) = match text.rsplit_once(':') {
        Some((_, behind)) if behind.ends_with(']') => (text, PORT),
        Some((host, port)) => (host, u16::try_from(digits(port)?).ok()?),
        None => (text, PORT),
    };
    if port == 0 {
        return None;
    }
    if let Some(inner) = host.strip_prefix('[') {
        let address: std::net::Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        return Some(StoreHost::Tcp(address.to_string(), port));
    }
    let host = unescaped(host)?;
    if host.starts_with('/') {
        let fits = host.len() + ".s.PGSQL.65535".len() < UNIX_PATH_BYTES_MAX;
        return fits.then(|| StoreHost::Unix(PathBuf::from(host), port));
    }
    is_host(&host).then(|| StoreHost::Tcp(host.to_ascii_lowercase(), port))
}

/// `text` without its %-escapes.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Display for StoreHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(folder, port) => write!(f, "{}/.s.PGSQL.{port}", folder.display()),
        }
    }
}

/// Without any password.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        let (user, hosts) = (&self.user, hosts.join(","));
        write!(f, "postgres://{user}@{hosts}/{}", self.database)
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
