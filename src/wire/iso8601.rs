//! The text of time: ISO-8601 as RFC 3339 profiles it.
//!
//! Written for every payment (`requestedAt`), so writing is plain arithmetic without a library or
//! an allocation. Read for summaries and lookups only, so reading is jiff's.
//!
//! A text may name a moment between two milliseconds. The ledger knows whole milliseconds, so the
//! edge of a window moves inward to the first or last one that the window holds; nothing is
//! rounded into it.

use std::borrow::Cow;
use std::ops::Range;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;

use crate::clock::UnixMillis;

/// Length of what [`write_instant`] appends.
pub(crate) const INSTANT_BYTES: usize = 24;

/// 0000-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z: what four digits of a year can say.
const WRITABLE: [i64; 2] = [-62_167_219_200_000, 253_402_300_799_999];

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// Which end of a window a text names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The window holds this moment and later ones.
    From,
    /// The window holds this moment and earlier ones.
    To,
}

/// Appends `2025-07-10T12:34:56.000Z`. Moments outside the years 0 to 9999, which no clock of
/// ours shows, are written as the nearest one inside.
pub fn write_instant(at: UnixMillis, out: &mut Vec<u8>) {
    let [first, last] = WRITABLE;
    let millis = at.0.clamp(first, last);
    let (year, month, day) = civil_from_days(millis.div_euclid(86_400_000));
    let in_day = u32::try_from(millis.rem_euclid(86_400_000)).unwrap_or_default();
    let (seconds, milli) = (in_day / 1_000, in_day % 1_000);
    let (minutes, [s0, s1]) = (seconds / 60, two_digits(seconds % 60));
    let ([h0, h1], [m0, m1]) = (two_digits(minutes / 60), two_digits(minutes % 60));
    let ([_, f0], [f1, f2]) = (two_digits(milli / 100), two_digits(milli % 100));
    let ([y0, y1], [y2, y3]) = (two_digits(year / 100), two_digits(year % 100));
    let ([o0, o1], [d0, d1]) = (two_digits(month), two_digits(day));
    out.extend_from_slice(&[
        y0, y1, y2, y3, b'-', o0, o1, b'-', d0, d1, b'T', h0, h1, b':', m0, m1, b':', s0, s1, b'.',
        f0, f1, f2, b'Z',
    ]);
}

/// Reads one end of a window: date, time and `Z` or an offset, with up to nine digits of a second.
/// The `+` of an offset may have become a space, as form encoding has it. A leap second is behind
/// all of the second before it and before all of the next one: no clock of ours shows it.
#[must_use]
pub fn read_edge(text: &str, edge: Edge) -> Option<UnixMillis> {
    let text = match text.rsplit_once(' ') {
        // A space further left stands between date and time (RFC 3339, section 5.6).
        Some((moment, offset)) if moment.len() > "2025-07-10".len() => {
            Cow::Owned(format!("{moment}+{offset}"))
        }
        Some(_) | None => Cow::Borrowed(text),
    };
    let nanos = moment(&text)?;
    let nanos = match (is_leap(&text), edge) {
        (false, _) => nanos,
        (true, Edge::From) => second_of(nanos).checked_add(NANOS_PER_SECOND)?,
        (true, Edge::To) => second_of(nanos).checked_add(NANOS_PER_SECOND - 1)?,
    };
    match edge {
        Edge::From => millis(nanos.checked_add(999_999)?),
        Edge::To => millis(nanos),
    }
}

/// The nanoseconds since 1970 of a date, a time and an offset. Counted from the civil date: a
/// `Timestamp` ends two days before the year 9999 does, so that every offset still fits.
fn moment(text: &str) -> Option<i128> {
    const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    // Years of more digits, which begin with a sign, are not RFC 3339's.
    text.starts_with(|first: char| first.is_ascii_digit())
        .then_some(())?;
    let pieces = Pieces::parse(text).ok()?;
    let civil = DateTime::from_parts(pieces.date(), pieces.time()?);
    let offset = i128::from(pieces.to_numeric_offset()?.seconds());
    // Nor is an offset of a day or more.
    (offset.abs() < 86_400).then_some(())?;
    let offset = offset.checked_mul(NANOS_PER_SECOND)?;
    civil.duration_since(EPOCH).as_nanos().checked_sub(offset)
}

/// Whether the time of day in a readable `text` has sixty seconds, which are read as 59.
fn is_leap(text: &str) -> bool {
    let time = time_of_day(text).and_then(|place| text.get(place));
    let digits = time.into_iter().flat_map(str::bytes);
    let digits = digits.filter(u8::is_ascii_digit);
    digits.skip("HHMM".len()).eq(*b"60")
}

/// Where the time of day is in `text`, as far as its whole seconds.
fn time_of_day(text: &str) -> Option<Range<usize>> {
    let start = text.find(['T', 't', ' '])?.checked_add(1)?;
    let is_behind = |letter: char| !letter.is_ascii_digit() && letter != ':';
    let rest = text.get(start..)?;
    let length = rest.find(is_behind).unwrap_or(rest.len());
    Some(start..start.checked_add(length)?)
}

/// Where the second of this nanosecond begins.
fn second_of(nanos: i128) -> i128 {
    nanos - nanos.rem_euclid(NANOS_PER_SECOND)
}

/// Reads a moment that a processor stored; without an offset it is UTC, as their contract says. A
/// text without seconds names no moment that could be compared with one that was sent. Digits
/// behind the ninth are dropped, and a moment is the millisecond that it is a microsecond short of:
/// a binary fraction of a second is not exact.
#[must_use]
pub(crate) fn read_stored(text: &str) -> Option<UnixMillis> {
    const BINARY_ERROR_NANOS: i128 = 1_000;
    let time = time_of_day(text)?;
    let (whole, rest) = text.split_at_checked(time.end)?;
    let digits = text.get(time)?.bytes().filter(u8::is_ascii_digit);
    if digits.count() < "HHMMSS".len() {
        return None;
    }
    let text = match rest.strip_prefix(['.', ',']) {
        Some(fraction) => {
            let offset = fraction.trim_start_matches(|digit: char| digit.is_ascii_digit());
            let digits = fraction.strip_suffix(offset)?;
            let kept = digits.get(..9).unwrap_or(digits);
            Cow::Owned(format!("{whole}.{kept}{offset}"))
        }
        None => Cow::Borrowed(text),
    };
    let timestamp = text.parse::<Timestamp>().ok().or_else(|| {
        let civil = text.parse::<DateTime>().ok()?;
        Offset::UTC.to_timestamp(civil).ok()
    })?;
    millis(timestamp.as_nanosecond().checked_add(BINARY_ERROR_NANOS)?)
}

fn millis(nanos: i128) -> Option<UnixMillis> {
    i64::try_from(nanos.div_euclid(1_000_000))
        .ok()
        .map(UnixMillis)
}

/// The two decimal digits of a number below 100.
fn two_digits(number: u32) -> [u8; 2] {
    [number / 10, number % 10].map(|digit| b'0' + u8::try_from(digit).unwrap_or_default())
}

/// Year, month and day of a count of days since 1970-01-01. Counted from 0000-03-01, so that the
/// leap day is the last of its year and months have a pattern of 153 days in five.
fn civil_from_days(days: i64) -> (u32, u32, u32) {
    // In a span of 400 years more, so that nothing is negative.
    let days = u32::try_from(days + 719_468 + 146_097).unwrap_or_default();
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let year = era * 400 + year_of_era;
    let (year, month) = if month_from_march < 10 {
        (year, month_from_march + 3)
    } else {
        (year + 1, month_from_march - 9)
    };
    (year.saturating_sub(400), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(at: i64) -> String {
        let mut out = Vec::new();
        write_instant(UnixMillis(at), &mut out);
        assert_eq!(out.len(), INSTANT_BYTES);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn instants_are_written_in_one_form() {
        let rows = [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (1_752_150_896_007, "2025-07-10T12:34:56.007Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
            (i64::MIN, "0000-01-01T00:00:00.000Z"),
        ];
        for (at, text) in rows {
            assert_eq!(written(at), text);
        }
    }

    const FIRST: i64 = WRITABLE[0];
    const LAST: i64 = WRITABLE[1];
    const DAY_LESS_A_MINUTE: i64 = 86_340_000;
    const LATER: i64 = LAST + DAY_LESS_A_MINUTE;
    const EARLIER: i64 = LAST - DAY_LESS_A_MINUTE;
    const BEFORE: i64 = FIRST - DAY_LESS_A_MINUTE;
    const AHEAD: i64 = 1_752_150_896_000 - DAY_LESS_A_MINUTE;
    /// 2017-01-01T00:00:00Z, before which there was a leap second.
    const NEW_YEAR: i64 = 1_483_228_800_000;
    const YEAR_ONE: i64 = -62_135_596_800_000;

    #[test]
    fn edges_move_inward_to_whole_milliseconds() {
        let base = 1_752_150_896_000;
        let rows = [
            ("2025-07-10T12:34:56Z", Some((base, base))),
            ("2025-07-10T12:34:56.000Z", Some((base, base))),
            ("2025-07-10t12:34:56.5z", Some((base + 500, base + 500))),
            ("2025-07-10T12:34:56.0001Z", Some((base + 1, base))),
            ("2025-07-10T12:34:56.000999999Z", Some((base + 1, base))),
            ("2025-07-10T12:34:56.001000000Z", Some((base + 1, base + 1))),
            ("2025-07-10T09:34:56-03:00", Some((base, base))),
            ("2025-07-10T12:34:56+00:00", Some((base, base))),
            ("2025-07-10T12:34:56 00:00", Some((base, base))),
            ("2025-07-10 13:34:56 01:00", Some((base, base))),
            ("2025-07-10 12:34:56Z", Some((base, base))),
            ("1969-12-31T23:59:59.9999Z", Some((0, -1))),
            ("9999-12-31T23:59:59.999Z", Some((LAST, LAST))),
            ("9999-12-31T23:59:59.9999Z", Some((LAST + 1, LAST))),
            ("9999-12-31T23:59:59Z", Some((LAST - 999, LAST - 999))),
            ("9999-12-31T23:59:59.999-23:59", Some((LATER, LATER))),
            ("9999-12-31T23:59:59.999+23:59", Some((EARLIER, EARLIER))),
            ("0001-01-01T00:00:00Z", Some((YEAR_ONE, YEAR_ONE))),
            ("0000-01-01T00:00:00Z", Some((FIRST, FIRST))),
            ("0000-01-01T00:00:00+23:59", Some((BEFORE, BEFORE))),
            ("9999-12-31T23:59:59.999", None),
            ("9999-13-31T23:59:59Z", None),
            ("10000-01-01T00:00:00Z", None),
            ("99999-01-01T00:00:00Z", None),
            ("-000001-01-01T00:00:00Z", None),
            ("+002025-07-10T12:34:56Z", None),
            ("2025-07-10T12:34:56+25:00", None),
            ("2025-07-10T12:34:56-24:00", None),
            ("2025-07-10T12:34:56+23:59", Some((AHEAD, AHEAD))),
            ("2016-12-31T23:59:60Z", Some((NEW_YEAR, NEW_YEAR - 1))),
            ("2016-12-31T23:59:60.5Z", Some((NEW_YEAR, NEW_YEAR - 1))),
            ("2017-01-01t05:29:60+05:30", Some((NEW_YEAR, NEW_YEAR - 1))),
            ("2016-12-31 23:59:60 00:00", Some((NEW_YEAR, NEW_YEAR - 1))),
            (
                "2016-12-31T23:59:59.60Z",
                Some((NEW_YEAR - 400, NEW_YEAR - 400)),
            ),
            ("2016-12-31T23:59:61Z", None),
            ("2025-07-10T12:34:56Z[+60]", None),
            ("2025-07-10T12:34:56Z[Etc/GMT-60]", Some((base, base))),
            ("-0001-01-01T00:00:00Z", None),
            ("2025-07-10T12:34:56+99:00", None),
            ("2025-07-10T12:34:56Z[Europe/Berlin]", Some((base, base))),
            ("2025-07-10T12:34:56", None),
            ("2025-07-10", None),
            ("2025-02-29T00:00:00Z", None),
            ("2025-07-10T24:00:00Z", None),
            ("2025-07-10T12:34:56.Z", None),
            ("2025-07-10T12:34:56.0000000001Z", None),
            ("1752150896", None),
            ("notadate", None),
            ("", None),
            (" ", None),
            ("\0", None),
            ("2025-07-10T12:34:56Zé", None),
        ];
        for (text, expected) in rows {
            let from = read_edge(text, Edge::From).map(|at| at.0);
            let to = read_edge(text, Edge::To).map(|at| at.0);
            assert_eq!(from.zip(to), expected, "{text:?}");
        }
    }

    #[test]
    fn stored_moments_need_no_offset() {
        for text in ["2025-07-10T12:34:56.123", "2025-07-10T12:34:56.1230000Z"] {
            assert_eq!(
                read_stored(text),
                Some(UnixMillis(1_752_150_896_123)),
                "{text}"
            );
        }
        assert_eq!(read_stored("yesterday"), None);
    }

    #[test]
    fn stored_moments_are_read_as_programs_write_them() {
        for text in [
            "2025-07-10 12:34:56.123+00",
            "2025-07-10t12:34:56,123z",
            "2025-07-10T18:04:56.123+05:30",
            "2025-07-10T12:34:56.123000000000Z",
            "2025-07-10T12:34:56.1230000000",
            "20250710T123456.123Z",
            // A binary fraction of a second is a little above or below.
            "2025-07-10T12:34:56.122999Z",
            "2025-07-10T12:34:56.123000192Z",
        ] {
            let read = read_stored(text);
            assert_eq!(read, Some(UnixMillis(1_752_150_896_123)), "{text}");
        }
    }

    #[test]
    fn a_stored_moment_without_seconds_is_none() {
        for text in [
            "2025-07-10",
            "2025-07-10T12",
            "2025-07-10T12:34",
            "2025-07-10T12:34Z",
            "2025-07-10T1234Z",
            "2025-07-10 12:34+00:00",
            "10/07/2025 12:34:56",
            "1752150896123",
            "",
        ] {
            assert_eq!(read_stored(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(at in WRITABLE[0]..=WRITABLE[1]) {
            let text = written(at);
            prop_assert_eq!(read_edge(&text, Edge::From), Some(UnixMillis(at)));
            prop_assert_eq!(read_edge(&text, Edge::To), Some(UnixMillis(at)));
        }

        #[test]
        fn no_text_is_too_odd_to_read(text in "\\PC{0,40}") {
            let _ = (read_edge(&text, Edge::From), read_stored(&text));
        }
    }
}
