//! What to do after a transaction: the one place that says what counts as done. Pure.
//!
//! Done is only CommandComplete of COMMIT and ReadyForQuery, idle, without any notice of warning: a
//! cancelled wait for a synchronous standby answers success with one (01000), though nothing was
//! replicated. Certainly not done is what the server refused before COMMIT's own answer, in words
//! that leave the connection usable. Everything else may have been done.

use super::exchange::Outcome;

/// What a transaction's answer was like, whatever was in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// ReadyForQuery came.
    Ready {
        /// Its status: idle, in a transaction, in a failed one.
        status: u8,
        /// Whether COMMIT was answered with its own tag.
        has_committed: bool,
        /// The first notice that is a warning: its SQLSTATE and text.
        warning: Option<Told>,
        /// The first error, and whether it came before COMMIT's own turn.
        error: Option<(Told, Severity)>,
    },
    /// The connection ended, was too slow, or said something that it must not say.
    Cut(String),
}

/// What a server says in an error or a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The SQLSTATE.
    pub(super) code: [u8; 5],
    /// The text.
    pub(super) text: String,
}

/// How an error ends what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// The statement was refused, before COMMIT had its turn.
    BeforeCommit,
    /// COMMIT itself was refused, or the connection ends with it.
    AtCommit,
}

/// How sure it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sure {
    /// It was done.
    Done,
    /// It was not done, and the connection is usable after a ROLLBACK.
    NotDone(Told),
    /// It may have been done; the connection must be closed.
    Neither(String),
}

impl Ended {
    /// What it proves.
    #[must_use]
    pub(super) fn judge(&self) -> Sure {
        let (status, has_committed, warning, error) = match self {
            Self::Cut(why) => return Sure::Neither(why.clone()),
            Self::Ready {
                status,
                has_committed,
                warning,
                error,
            } => (*status, *has_committed, warning, error),
        };
        match (error, warning, has_committed, status) {
            (None, None, true, b'I') => Sure::Done,
            (Some((told, Severity::BeforeCommit)), _, false, b'E' | b'I' | b'T')
                if is_refusal(told.code) =>
            {
                Sure::NotDone(told.clone())
            }
            (Some((told, _)), ..) => Sure::Neither(told.to_string()),
            (None, Some(told), ..) => Sure::Neither(format!("success with a warning: {told}")),
            (None, None, ..) => Sure::Neither("COMMIT was not answered as it must be".to_owned()),
        }
    }
}

/// Whether a server that says so goes on to serve this connection as one that may write: not one
/// that is read only (25), is being stopped (57P), or has a fault of its own (XX, 58).
fn is_refusal(code: [u8; 5]) -> bool {
    !(code.starts_with(b"25")
        || code.starts_with(b"57P")
        || code.starts_with(b"XX")
        || code.starts_with(b"58")
        || code.starts_with(b"08")
        || &code == b"40003")
}

/// Whether the same transaction is sent again at once: it was in another one's way.
#[must_use]
pub(super) fn is_conflict(code: [u8; 5]) -> bool {
    matches!(&code, b"40001" | b"40P01" | b"55P03")
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = String::from_utf8_lossy(&self.code);
        write!(f, "{} ({code})", self.text)
    }
}

impl From<Sure> for Result<(), Outcome> {
    fn from(sure: Sure) -> Self {
        match sure {
            Sure::Done => Ok(()),
            Sure::NotDone(Told { code, text }) => Err(Outcome::NotDone { code, why: text }),
            Sure::Neither(why) => Err(Outcome::Doubtful(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: &str) -> Told {
        Told {
            code: code.as_bytes().try_into().unwrap(),
            text: "said".to_owned(),
        }
    }

    fn ready(
        status: u8,
        has_committed: bool,
        warning: Option<&str>,
        error: Option<(&str, Severity)>,
    ) -> Ended {
        Ended::Ready {
            status,
            has_committed,
            warning: warning.map(told),
            error: error.map(|(code, severity)| (told(code), severity)),
        }
    }

    #[test]
    fn done_is_only_what_was_answered_without_reservation() {
        use Severity::{AtCommit, BeforeCommit};
        let rows = [
            ("done", ready(b'I', true, None, None)),
            // A cancelled wait for the synchronous standby.
            ("doubt", ready(b'I', true, Some("01000"), None)),
            ("doubt", ready(b'T', true, None, None)),
            ("doubt", ready(b'E', true, None, None)),
            ("doubt", ready(b'I', false, None, None)),
            (
                "not",
                ready(b'E', false, None, Some(("40001", BeforeCommit))),
            ),
            (
                "not",
                ready(b'E', false, None, Some(("40P01", BeforeCommit))),
            ),
            (
                "not",
                ready(b'E', false, None, Some(("55P03", BeforeCommit))),
            ),
            (
                "not",
                ready(b'E', false, None, Some(("57014", BeforeCommit))),
            ),
            (
                "not",
                ready(b'E', false, None, Some(("53100", BeforeCommit))),
            ),
            (
                "not",
                ready(b'E', false, Some("01000"), Some(("23514", BeforeCommit))),
            ),
            ("doubt", ready(b'I', false, None, Some(("40001", AtCommit)))),
            (
                "doubt",
                ready(b'I', false, None, Some(("40003", BeforeCommit))),
            ),
            (
                "doubt",
                ready(b'E', false, None, Some(("57P01", BeforeCommit))),
            ),
            (
                "doubt",
                ready(b'E', false, None, Some(("25006", BeforeCommit))),
            ),
            (
                "doubt",
                ready(b'E', false, None, Some(("XX000", BeforeCommit))),
            ),
            (
                "doubt",
                ready(b'I', true, None, Some(("40001", BeforeCommit))),
            ),
            ("doubt", Ended::Cut("end of file".to_owned())),
        ];
        for (expected, ended) in rows {
            let is = match ended.judge() {
                Sure::Done => "done",
                Sure::NotDone(_) => "not",
                Sure::Neither(_) => "doubt",
            };
            assert_eq!(is, expected, "{ended:?}");
        }
        assert!(is_conflict(*b"40001") && is_conflict(*b"40P01") && !is_conflict(*b"53100"));
    }
}
