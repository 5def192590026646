//! The file of passwords that `passfile=` or PGPASSFILE names, as libpq reads it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::super::auth::Secret;
use super::super::files::read_text;

/// Longest file of passwords: some hundred lines.
const STORE_PASSWORD_FILE_BYTES_MAX: usize = 64 * 1024;

/// A line of a password file.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PasswordLine {
    /// Host, port, database, user; `*` is any.
    pub(super) of: [String; 4],
    pub(super) password: Secret,
}

/// Reads it; no one else may.
pub(super) fn password_lines(file: &Path) -> Result<Vec<PasswordLine>, String> {
    let text = read_text(file, STORE_PASSWORD_FILE_BYTES_MAX)?;
    let facts = std::fs::metadata(file).map_err(|fault| fault.to_string())?;
    // Where root hands a secret to a group, as Kubernetes does, that group may read it.
    let kept_from = if facts.uid() == 0 { 0o037 } else { 0o077 };
    if facts.mode() & kept_from != 0 {
        return Err("others may read it; chmod 600".to_owned());
    }
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fields = fields(line);
        let Ok([host, port, database, user, password]) = <[String; 5]>::try_from(fields) else {
            return Err(format!(
                "line {number} is not host:port:database:user:password"
            ));
        };
        lines.push(PasswordLine {
            of: [host, port, database, user],
            password: Secret::new(password),
        });
    }
    Ok(lines)
}

/// The parts between colons; a backslash takes the next character as it is.
fn fields(line: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, all.last_mut()) {
            (':', _) => all.push(String::new()),
            ('\\', Some(last)) => last.extend(chars.next()),
            (c, Some(last)) => last.push(c),
            (_, None) => {}
        }
    }
    all
}
