//! ADMIN_SECRET_FILE: what shows that a call which changes something comes from an operator.

use super::auth::{AuthHeader, read_secret_of};
use super::reader::Reader;

/// Carries the value.
const SECRET_HEADER: &str = "x-p99-admin-secret";

pub(super) fn read_admin_secret(reader: &mut Reader<'_>) -> Option<AuthHeader> {
    read_secret_of(reader, "ADMIN_SECRET_FILE", SECRET_HEADER)
}
