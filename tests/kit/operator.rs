//! What an operator of the tests shows: the secret in a file, and the header that carries it.

use super::scratch::Scratch;

/// Carries the secret.
pub(crate) const KEY: &str = "X-P99-Admin-Secret: hunter2\r\n";
/// Who and why.
pub(crate) const NOTE: &str = r#"{"operator":"ann","reason":"by plan"}"#;

/// A file for ADMIN_SECRET_FILE.
pub(crate) fn secret_file(scratch: &Scratch) -> String {
    std::fs::write(scratch.file("secret"), "hunter2\n").expect("it can be written");
    scratch.text("secret")
}
