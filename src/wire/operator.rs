//! What an operator sends with a call that changes something: who it is and why, which are logged
//! and kept, so both are needed and neither may be longer than a line of a log; and what is to be
//! done, where the path does not say it.

use super::object::{read_object, read_string};

/// Longest name and longest reason that an operator gives; both go into one line of the log.
const OPERATOR_TEXT_BYTES_MAX: usize = 200;

/// Who asked for a change, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorNote {
    /// A person, or what acts for one.
    pub operator: String,
    /// In the operator's own words.
    pub reason: String,
}

impl OperatorNote {
    /// None where one of both is empty or too long.
    #[must_use]
    pub fn try_new(operator: &str, reason: &str) -> Option<Self> {
        let (operator, reason) = fitting(operator).zip(fitting(reason))?;
        Some(Self { operator, reason })
    }
}

/// Why a body is no operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoteFault {
    /// It is no object of JSON, or names a member twice.
    NotAnObject,
    /// Operator or reason is missing, empty or too long.
    Missing,
}

/// Reads `{"operator": "…", "reason": "…"}`; other members are passed over.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_operator_note(body: &[u8]) -> Result<OperatorNote, NoteFault> {
    let members = read_object(body, ["operator", "reason"]);
    let [operator, reason] = members.map_err(|_| NoteFault::NotAnObject)?;
    let note = text(operator).zip(text(reason));
    let (operator, reason) = note.ok_or(NoteFault::Missing)?;
    Ok(OperatorNote { operator, reason })
}

/// Reads what became of a payment: `"verdict"` is `"applied"` or `"refused"`, whose
/// `"although_acknowledged"` may be true. The first is whether it was charged, the second that.
#[must_use]
pub(crate) fn read_verdict(body: &[u8]) -> Option<(bool, bool)> {
    let names = ["verdict", "although_acknowledged"];
    let [verdict, although] = read_object(body, names).ok()?;
    let although = match although {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return None,
    };
    match read_string(verdict?)?.as_ref() {
        "applied" => Some((true, false)),
        "refused" => Some((false, although)),
        _ => None,
    }
}

/// Reads which setting is to be what: `"setting"` and `"value"`.
#[must_use]
pub(crate) fn read_change(body: &[u8]) -> Option<(String, String)> {
    let [setting, value] = read_object(body, ["setting", "value"]).ok()?;
    text(setting).zip(text(value))
}

/// Reads what is to be logged: `"filter"`, as RUST_LOG spells it.
#[must_use]
pub(crate) fn read_filter(body: &[u8]) -> Option<String> {
    let [filter] = read_object(body, ["filter"]).ok()?;
    text(filter)
}

fn text(json: Option<&str>) -> Option<String> {
    fitting(&read_string(json?)?)
}

fn fitting(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = !text.is_empty() && text.len() <= OPERATOR_TEXT_BYTES_MAX;
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_and_why_are_both_needed() {
        let long = "x".repeat(OPERATOR_TEXT_BYTES_MAX + 1);
        let too_long = format!(r#"{{"operator":"ann","reason":"{long}"}}"#);
        for (body, fault) in [
            ("", NoteFault::NotAnObject),
            ("[]", NoteFault::NotAnObject),
            ("{}", NoteFault::Missing),
            (r#"{"operator":"ann"}"#, NoteFault::Missing),
            (r#"{"operator":"ann","reason":" "}"#, NoteFault::Missing),
            (r#"{"operator":"ann","reason":7}"#, NoteFault::Missing),
            (
                r#"{"operator":"ann","reason":"a","reason":"b"}"#,
                NoteFault::NotAnObject,
            ),
            (&too_long, NoteFault::Missing),
        ] {
            assert_eq!(read_operator_note(body.as_bytes()), Err(fault), "{body}");
        }
        let body = r#"{"x":1,"operator":" ann ","reason":"moved to \"rack 2\"\nby plan"}"#;
        let note = OperatorNote {
            operator: "ann".to_owned(),
            reason: "moved to \"rack 2\"\nby plan".to_owned(),
        };
        assert_eq!(read_operator_note(body.as_bytes()), Ok(note));
    }

    #[test]
    fn a_verdict_is_one_of_two_words() {
        #[rustfmt::skip]
        let rows = [
            (r#"{"verdict":"applied"}"#, Some((true, false))),
            (r#"{"verdict":"refused","although_acknowledged":false}"#, Some((false, false))),
            (r#"{"verdict":"refused","although_acknowledged":true}"#, Some((false, true))),
            (r#"{"verdict":"refused","although_acknowledged":"yes"}"#, None),
            (r#"{"verdict":"charged"}"#, None),
            (r#"{"verdict":true}"#, None),
            ("{}", None),
        ];
        for (body, expected) in rows {
            assert_eq!(read_verdict(body.as_bytes()), expected, "{body}");
        }
        let filter = read_filter(br#"{"filter":"info,p99::pay=debug"}"#);
        assert_eq!(filter.as_deref(), Some("info,p99::pay=debug"));
        assert_eq!(read_filter(b"{}"), None);
        let change = read_change(br#"{"setting":"HEDGE_DELAY_MS","value":"5"}"#);
        let expected = ("HEDGE_DELAY_MS".to_owned(), "5".to_owned());
        assert_eq!(change, Some(expected));
        assert_eq!(
            read_change(br#"{"setting":"HEDGE_DELAY_MS","value":5}"#),
            None
        );
    }
}
