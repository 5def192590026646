//! What an operator sends with a call that changes something: who it is, and why. Both are logged,
//! so both are needed, and neither may be longer than a line of a log.

use super::object::{read_object, read_string};
use crate::limits;

/// Who asked for a change, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorNote {
    /// A person, or what acts for one.
    pub operator: String,
    /// In the operator's own words.
    pub reason: String,
}

/// Reads `{"operator": "…", "reason": "…"}`.
#[must_use]
pub fn read_operator_note(body: &[u8]) -> Option<OperatorNote> {
    let [operator, reason] = read_object(body, ["operator", "reason"]).ok()?;
    Some(OperatorNote {
        operator: text(operator)?,
        reason: text(reason)?,
    })
}

/// Appends what [`read_operator_note`] reads.
pub fn write_operator_note(note: &OperatorNote, out: &mut Vec<u8>) {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let (operator, reason) = (quoted(&note.operator), quoted(&note.reason));
    out.extend_from_slice(format!(r#"{{"operator":{operator},"reason":{reason}}}"#).as_bytes());
}

fn text(json: Option<&str>) -> Option<String> {
    let text = read_string(json?)?;
    let text = text.trim();
    let fits = !text.is_empty() && text.len() <= limits::OPERATOR_TEXT_BYTES_MAX;
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_and_why_are_both_needed() {
        let long = "x".repeat(limits::OPERATOR_TEXT_BYTES_MAX + 1);
        let too_long = format!(r#"{{"operator":"ann","reason":"{long}"}}"#);
        for body in [
            "",
            "[]",
            "{}",
            r#"{"operator":"ann"}"#,
            r#"{"operator":"ann","reason":" "}"#,
            r#"{"operator":"ann","reason":7}"#,
            r#"{"operator":"ann","reason":"a","reason":"b"}"#,
            &too_long,
        ] {
            assert_eq!(read_operator_note(body.as_bytes()), None, "{body}");
        }
        let note = OperatorNote {
            operator: "ann".to_owned(),
            reason: "moved to \"rack 2\"\nby plan".to_owned(),
        };
        let mut body = Vec::new();
        write_operator_note(&note, &mut body);
        assert_eq!(read_operator_note(&body), Some(note));
    }
}
