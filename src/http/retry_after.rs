//! Retry-After (RFC 9110, section 10.2.3): seconds, or a date in any of the three formats of
//! section 5.6.7. What cannot be read asks for no rest; a number beyond all bounds is the longest.
//! How long a rest may be is decided elsewhere.

use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::bytes;
use super::date::MONTHS;
use crate::clock::UnixMillis;

/// What the field asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// So many seconds from now.
    Seconds(u32),
    /// Until this date.
    At(UnixMillis),
}

impl RetryAfter {
    /// Reads the field's value.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes::trim(value)).ok()?;
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number {
            // Digits that fit in no number are a very long time.
            return Some(Self::Seconds(text.parse().unwrap_or(u32::MAX)));
        }
        read_date(text).map(Self::At)
    }

    /// In seconds from `now`, rounded up; none left when the date is over.
    #[must_use]
    pub fn seconds(self, now: UnixMillis) -> u32 {
        match self {
            Self::Seconds(seconds) => seconds,
            Self::At(date) => {
                let left = date.0.saturating_sub(now.0).max(0).unsigned_abs();
                u32::try_from(left.div_ceil(1_000)).unwrap_or(u32::MAX)
            }
        }
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT` or
/// `Sun Nov  6 08:49:37 1994`. The day of the week is not looked at.
fn read_date(text: &str) -> Option<UnixMillis> {
    let mut words = text.split_ascii_whitespace();
    let mut next = || words.next();
    let (day, month, year, clock) = match next()?.strip_suffix(',') {
        Some(_) => {
            let (first, second) = (next()?, next()?);
            let (day, month, year, clock) = match first.split_once('-') {
                Some((day, rest)) => {
                    let (month, year) = rest.split_once('-')?;
                    (day, month, full_year(number(year, 2)?), second)
                }
                None => (first, second, number(next()?, 4)?, next()?),
            };
            (next()? == "GMT").then_some((number(day, 2)?, month, year, clock))?
        }
        None => {
            let (month, day, clock) = (next()?, next()?, next()?);
            (
                number(day, day.len().min(2))?,
                month,
                number(next()?, 4)?,
                clock,
            )
        }
    };
    if next().is_some() {
        return None;
    }
    let month = MONTHS.iter().position(|name| *name == month.as_bytes())?;
    let month = i8::try_from(month).ok()?.checked_add(1)?;
    let mut parts = clock.split(':').map(|part| number(part, 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || second > 60 {
        return None;
    }
    // A leap second is the last one of its minute.
    let [day, hour, minute, second] =
        [day, hour, minute, second.min(59)].map(|part| i8::try_from(part).unwrap_or(-1));
    let date = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    // The last days of the year 9999 lie beyond what a timestamp can say.
    let at = Offset::UTC.to_timestamp(date);
    Some(UnixMillis(at.map_or(i64::MAX, |at| at.as_millisecond())))
}

/// Exactly so many digits.
fn number(text: &str, digits: usize) -> Option<i16> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// The century of a year with two digits: no server speaks of a time before 1970.
const fn full_year(year: i16) -> i16 {
    if year < 70 { 2000 + year } else { 1900 + year }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::date::imf_fixdate;

    const SUNDAY: UnixMillis = UnixMillis(784_111_777_000);

    #[test]
    fn seconds_and_all_three_kinds_of_date_are_read() {
        let at = |millis| Some(RetryAfter::At(UnixMillis(millis)));
        for (value, expected) in [
            ("5", Some(RetryAfter::Seconds(5))),
            (" 0 ", Some(RetryAfter::Seconds(0))),
            ("007", Some(RetryAfter::Seconds(7))),
            ("4294967295", Some(RetryAfter::Seconds(u32::MAX))),
            ("4294967296", Some(RetryAfter::Seconds(u32::MAX))),
            (
                "10000000000000000000000",
                Some(RetryAfter::Seconds(u32::MAX)),
            ),
            ("Sun, 06 Nov 1994 08:49:37 GMT", at(SUNDAY.0)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", at(SUNDAY.0)),
            ("Sun Nov  6 08:49:37 1994", at(SUNDAY.0)),
            ("Sun Nov 06 08:49:37 1994", at(SUNDAY.0)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", at(0)),
            ("Sat, 31 Dec 2016 23:59:60 GMT", at(1_483_228_799_000)),
            ("Tuesday, 01-Jan-69 00:00:00 GMT", at(3_124_224_000_000)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", at(i64::MAX)),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1 2", None),
            ("5, 10", None),
            ("", None),
            ("soon", None),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 32 Nov 1994 08:49:37 GMT", None),
            ("Sun, 30 Feb 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 24:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:61 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37:00 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT GMT", None),
            ("Sunday, 06-Nov-1994 08:49:37 GMT", None),
            ("Sun, -6 Nov 1994 08:49:37 GMT", None),
            ("Sun Nov  6 08:49:37", None),
            ("Sun, 06 Nov 99994 08:49:37 GMT", None),
        ] {
            assert_eq!(RetryAfter::read(value.as_bytes()), expected, "{value:?}");
        }
        assert_eq!(RetryAfter::read(b"\xff5"), None);
    }

    #[test]
    fn what_is_written_is_read_again() {
        for second in (0..4_000_000_000_i64).step_by(86_399 * 37) {
            let at = UnixMillis(second * 1_000);
            assert_eq!(
                RetryAfter::read(&imf_fixdate(at)),
                Some(RetryAfter::At(at)),
                "{second}"
            );
        }
    }

    #[test]
    fn a_date_is_a_span_from_now_rounded_up() {
        let at = RetryAfter::At(SUNDAY);
        for (now, expected) in [
            (SUNDAY.0 - 30_000, 30),
            (SUNDAY.0 - 29_001, 30),
            (SUNDAY.0, 0),
            (SUNDAY.0 + 1, 0),
            (i64::MIN, u32::MAX),
        ] {
            assert_eq!(at.seconds(UnixMillis(now)), expected, "{now}");
        }
        assert_eq!(RetryAfter::Seconds(7).seconds(SUNDAY), 7);
    }
}
