//! ADMIN_LISTEN and ADMIN_SECRET_FILE: where operators call, and what shows that a call which
//! changes something comes from one.

use super::auth::{AuthHeader, read_auth, read_secret_of};
use super::places::ListenAddress;
use super::reader::{ConfigFault, Reader};
use super::values::list_or;

/// Carries the value.
const SECRET_HEADER: &str = "x-p99-admin-secret";

/// All that is needed to ask the instance beside a command as an operator.
#[derive(Clone, Debug)]
pub struct AdminDoor {
    /// `ADMIN_LISTEN`; empty when off.
    pub listen: Vec<ListenAddress>,
    /// What a call must show, as far as it is set.
    pub secrets: Vec<AuthHeader>,
}

/// `ADMIN_LISTEN`, `AUTH_*` and `ADMIN_SECRET_FILE` alone.
///
/// # Errors
/// What is wrong with these.
pub fn admin_door_from_lookup(
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<AdminDoor, Vec<ConfigFault>> {
    super::read_alone(&lookup, |reader| AdminDoor {
        listen: read_admin_listen(reader),
        secrets: [read_auth(reader), read_admin_secret(reader)]
            .into_iter()
            .flatten()
            .collect(),
    })
}

pub(super) fn read_admin_listen(reader: &mut Reader<'_>) -> Vec<ListenAddress> {
    reader.read("ADMIN_LISTEN", |text| {
        list_or("off", text, ListenAddress::parse)
    })
}

pub(super) fn read_admin_secret(reader: &mut Reader<'_>) -> Option<AuthHeader> {
    read_secret_of(reader, "ADMIN_SECRET_FILE", SECRET_HEADER)
}
