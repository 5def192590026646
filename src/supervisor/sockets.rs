//! Listening sockets that were open before this process began: descriptors from 3 on, as many as
//! LISTEN_FDS says, if LISTEN_PID is this process (sd_listen_fds(3) describes it). The process that
//! holds them keeps the queue of waiting clients while one p99 ends and the next one starts, so a
//! restart refuses no connection.
//!
//! A name in LISTEN_FDNAMES says whom a socket is for: `public`, or `admin` for what ADMIN_LISTEN
//! would be. Any other name is refused, for a typing error would open the administrator's calls to
//! clients. A socket must be a listening stream over TCP or at the path of a unix socket, each
//! address once. They take the place of the setting of their role; the settings are told where they
//! are ([`PassedSockets::overlay`]), so that whatever reads LISTEN and ADMIN_LISTEN has one truth.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::{SupervisorFault, is_for_us, number};
use crate::config::ListenAddress;
use crate::limits;

/// The first descriptor that is passed.
const FIRST: RawFd = 3;
const PUBLIC: &str = "public";
const ADMIN: &str = "admin";
/// What systemd calls a socket that has no name.
const UNNAMED: &str = "unknown";

/// A listening socket, and where it listens.
#[derive(Debug)]
pub struct PassedSocket {
    /// Its address, as a setting would spell it.
    pub address: ListenAddress,
    /// The socket; not inherited by any further process.
    pub socket: Socket,
}

/// All that were passed, by whom they are for.
#[derive(Debug, Default)]
pub struct PassedSockets {
    /// For clients, instead of LISTEN and PORT.
    pub public: Vec<PassedSocket>,
    /// For administrators, instead of ADMIN_LISTEN.
    pub admin: Vec<PassedSocket>,
}

impl PassedSockets {
    /// Takes the sockets that the environment says were passed to this process. To be called once,
    /// before anything else opens a descriptor.
    ///
    /// # Errors
    /// A variable that cannot be understood, or a descriptor that is no such socket.
    pub fn take(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SupervisorFault> {
        let Some(count) = number("LISTEN_FDS", &lookup)? else {
            return Ok(Self::default());
        };
        if !is_for_us("LISTEN_PID", false, &lookup)? {
            return Ok(Self::default());
        }
        let most = 2 * limits::SETTING_LIST_MAX;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > most {
            return Err(SupervisorFault(format!(
                "LISTEN_FDS={count}, set by the supervisor: allowed are at most {most}"
            )));
        }
        let names = names(count, lookup("LISTEN_FDNAMES"))?;
        let mut passed = Self::default();
        for (fd, name) in (FIRST..).zip(&names) {
            let socket = passed_socket(fd).map_err(|why| {
                SupervisorFault(format!(
                    "descriptor {fd} ({name}), passed by the supervisor: {why}"
                ))
            })?;
            let of_role = if name == ADMIN {
                &mut passed.admin
            } else {
                &mut passed.public
            };
            of_role.push(socket);
        }
        Ok(passed)
    }

    /// What the setting `name` is, when the environment says `set`.
    #[must_use]
    pub fn overlay(&self, name: &str, set: Option<String>) -> Option<String> {
        match name {
            "LISTEN" if !self.public.is_empty() => Some(list(&self.public)),
            // Excluded by LISTEN.
            "PORT" if !self.public.is_empty() => None,
            "ADMIN_LISTEN" if !self.admin.is_empty() => Some(list(&self.admin)),
            _ => set,
        }
    }

    /// Those of `named`, where the settings say that clients connect, and administrators, at which
    /// no socket was passed although some were for that role: no one listens there.
    pub fn unheard<'a>(
        &'a self,
        [public, admin]: [&'a [ListenAddress]; 2],
    ) -> impl Iterator<Item = &'a ListenAddress> {
        let admin = Self::unheard_of_role(&self.admin, admin);
        Self::unheard_of_role(&self.public, public).chain(admin)
    }

    fn unheard_of_role<'a>(
        passed: &'a [PassedSocket],
        named: &'a [ListenAddress],
    ) -> impl Iterator<Item = &'a ListenAddress> {
        let is_heard = |wanted: &ListenAddress| {
            let mut addresses = passed.iter().map(|passed| &passed.address);
            passed.is_empty()
                || addresses.any(|address| match (address, wanted) {
                    // `[::]` hears IPv4 too, unless it is told not to; the port is what matters.
                    (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => {
                        one.port() == other.port()
                    }
                    (one, other) => one == other,
                })
        };
        named.iter().filter(move |wanted| !is_heard(wanted))
    }
}

fn list(sockets: &[PassedSocket]) -> String {
    let texts: Vec<String> = sockets
        .iter()
        .map(|passed| passed.address.to_string())
        .collect();
    texts.join(",")
}

/// A name for each of `count` sockets.
fn names(count: usize, text: Option<String>) -> Result<Vec<String>, SupervisorFault> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(vec![PUBLIC.to_owned(); count]);
    };
    let names: Vec<String> = text.split(':').map(str::to_owned).collect();
    if names.len() != count {
        return Err(SupervisorFault(format!(
            "LISTEN_FDNAMES={text:?}, set by the supervisor, has {} names for {count} sockets",
            names.len()
        )));
    }
    match names
        .iter()
        .find(|name| ![PUBLIC, ADMIN, UNNAMED].contains(&name.as_str()))
    {
        Some(name) => Err(SupervisorFault(format!(
            "the supervisor passed a socket with the name {name:?}: allowed is public or admin \
             (FileDescriptorName= of its socket unit)"
        ))),
        None => Ok(names),
    }
}

/// The listening socket `fd`.
fn passed_socket(fd: RawFd) -> Result<PassedSocket, String> {
    // SAFETY: the call takes plain values, also where nothing is open.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err("nothing is open there".to_owned());
    }
    // SAFETY: it is open, and by the supervisor's word it is this process's own.
    let socket = Socket::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let kind = socket.r#type().map_err(|_| "it is no socket".to_owned())?;
    let told = |fault: std::io::Error| fault.to_string();
    let (domain, protocol) = (
        socket.domain().map_err(told)?,
        socket.protocol().map_err(told)?,
    );
    let is_stream = kind == Type::STREAM;
    let is_tcp = is_stream && protocol == Some(Protocol::TCP);
    let is_known = match domain {
        Domain::IPV4 | Domain::IPV6 => is_tcp,
        Domain::UNIX => is_stream,
        _ => false,
    };
    if !is_known {
        return Err("it is neither TCP nor a unix stream".to_owned());
    }
    if !socket.is_listener().map_err(told)? {
        return Err("it is a socket that does not listen".to_owned());
    }
    let address = address_of(&socket)?;
    socket.set_cloexec(true).map_err(told)?;
    Ok(PassedSocket { address, socket })
}

/// Where `socket` listens, read as a setting is.
fn address_of(socket: &Socket) -> Result<ListenAddress, String> {
    let address = socket.local_addr().map_err(|fault| fault.to_string())?;
    let text = match (address.as_socket(), address.as_pathname()) {
        (Some(address), _) => address.to_string(),
        (None, Some(path)) => format!("unix:{}", path.display()),
        (None, None) => return Err("its address is neither an IP address nor a path".to_owned()),
    };
    // Addresses are listed with commas between them.
    let address = ListenAddress::parse(&text).filter(|_| !text.contains(','));
    address.ok_or_else(|| format!("it listens on {text}, which LISTEN does not allow"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(pairs: &[(&str, &str)]) -> Result<PassedSockets, String> {
        let lookup = |name: &str| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        PassedSockets::take(lookup).map_err(|fault| fault.to_string())
    }

    #[test]
    fn nothing_is_taken_that_was_passed_to_another_process_or_to_none() {
        for pairs in [
            &[][..],
            &[("LISTEN_FDS", "1")],
            &[("LISTEN_FDS", "1"), ("LISTEN_PID", "1")],
            &[("LISTEN_PID", "what")],
        ] {
            let passed = take(pairs).unwrap();
            assert!(passed.public.is_empty() && passed.admin.is_empty());
            assert_eq!(passed.overlay("PORT", Some("1".into())), Some("1".into()));
        }
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let own = std::process::id().to_string();
        let own = ("LISTEN_PID", own.as_str());
        for (pairs, told) in [
            ([("LISTEN_FDS", "-1"), own], "LISTEN_FDS=\"-1\""),
            ([("LISTEN_FDS", ""), own], "LISTEN_FDS=\"\""),
            ([("LISTEN_FDS", "65"), own], "at most 64"),
            (
                [("LISTEN_FDS", "1"), ("LISTEN_PID", "me")],
                "LISTEN_PID=\"me\"",
            ),
        ] {
            let fault = take(&pairs).unwrap_err();
            assert!(fault.contains(told), "{fault}");
        }
        for (names, told) in [
            ("public", "1 names for 2"),
            ("public:admin:admin", "3 names for 2"),
            ("public:amdin", "\"amdin\": allowed is public or admin"),
            ("p99.socket:admin", "\"p99.socket\""),
        ] {
            let pairs = [("LISTEN_FDS", "2"), own, ("LISTEN_FDNAMES", names)];
            let fault = take(&pairs).unwrap_err();
            assert!(fault.contains(told), "{fault}");
        }
    }
}
