//! Amounts as spreadsheets and banks write them: `19.90`, `19,9`, `1.234,56`, `1,234.56`. What
//! could be read in two ways is refused, never guessed: `1.234` may be a thousand or a little more
//! than one. Digits become cents without a float (I7).

use crate::payment::Cents;

/// Reads one amount; the text says why it is none.
pub(super) fn read(text: &str) -> Result<Cents, &'static str> {
    const NONE: &str = "is no amount";
    let text = text.trim();
    let (whole, fraction) = match text.rfind(['.', ',']) {
        Some(at) => {
            let (whole, behind) = text.split_at(at);
            let (mark, fraction) = behind.split_at(1);
            match fraction.len() {
                0 => return Err(NONE),
                3 => return Err("may be thousands or a fraction: write two decimals"),
                _ if !whole.contains(mark) => (ungrouped(whole).ok_or(NONE)?, fraction),
                _ => return Err(NONE),
            }
        }
        None => (text.to_owned(), ""),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(&whole) || !is_digits(fraction) {
        return Err(NONE);
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let number = match fraction {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    };
    Cents::from_json_number(&number).map_err(|_| "is no amount of whole cents above zero")
}

/// The digits without the marks of their groups of three; none where a mark is elsewhere.
fn ungrouped(whole: &str) -> Option<String> {
    let Some(mark) = whole.chars().find(|one| matches!(one, '.' | ',')) else {
        return Some(whole.to_owned());
    };
    let mut groups = whole.split(mark);
    let first = groups.next()?;
    let is_grouped = (1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3);
    is_grouped.then(|| whole.replace(mark, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_the_same_cents() {
        for (text, cents) in [
            ("19.90", 1990),
            ("19,90", 1990),
            ("19.9", 1990),
            (" 19,9 ", 1990),
            ("19", 1900),
            ("0,01", 1),
            ("007,50", 750),
            ("1.234,56", 123_456),
            ("1,234.56", 123_456),
            ("12.345.678,90", 1_234_567_890),
            ("1234567.89", 123_456_789),
            ("19.9000", 1990),
        ] {
            assert_eq!(read(text), Ok(Cents(cents)), "{text}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for text in [
            "",
            "abc",
            "1.234",
            "1,234",
            "1.2.3",
            "1.23.456,7",
            "12,",
            ".50",
            "-1.00",
            "+1.00",
            "1e3",
            "0",
            "0,00",
            "19.9001",
            "1.234.56",
            "R$ 5,00",
            "1 234,50",
            "99999999999,00",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
