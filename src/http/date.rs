//! The Date field: a wall time as IMF-fixdate (RFC 9110 section 5.6.7), and a cache of the text,
//! since it changes once a second and is written with every answer.

use jiff::Timestamp;
use jiff::tz::Offset;

use crate::clock::UnixMillis;

/// `Sun, 06 Nov 1994 08:49:37 GMT`
pub(crate) type DateText = [u8; 29];

const DAYS: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
pub(super) const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// `at` as IMF-fixdate. A time outside the years 0 to 9999 gives the epoch: a clock that is so
/// wrong must not break the answer.
#[must_use]
pub fn imf_fixdate(at: UnixMillis) -> DateText {
    let second = at.0.div_euclid(1_000);
    let time = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut date = Offset::UTC.to_datetime(time);
    if date.year() < 0 {
        date = Offset::UTC.to_datetime(Timestamp::UNIX_EPOCH);
    }
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    let day = date.weekday().to_monday_zero_offset();
    let month = date.month().saturating_sub(1);
    put(&mut text, 0, name(&DAYS, day));
    put(&mut text, 5, &two_digits(date.day()));
    put(&mut text, 8, name(&MONTHS, month));
    let (century, year) = (date.year().div_euclid(100), date.year().rem_euclid(100));
    put(
        &mut text,
        12,
        &two_digits(i8::try_from(century).unwrap_or_default()),
    );
    put(
        &mut text,
        14,
        &two_digits(i8::try_from(year).unwrap_or_default()),
    );
    put(&mut text, 17, &two_digits(date.hour()));
    put(&mut text, 20, &two_digits(date.minute()));
    put(&mut text, 23, &two_digits(date.second()));
    text
}

fn name<const COUNT: usize>(names: &[&'static [u8; 3]; COUNT], index: i8) -> &'static [u8] {
    let index = usize::try_from(index).unwrap_or_default();
    names.get(index).map_or(b"Jan", |name| name.as_slice())
}

fn two_digits(number: i8) -> [u8; 2] {
    let number = number.unsigned_abs() % 100;
    [
        b'0'.saturating_add(number / 10),
        b'0'.saturating_add(number % 10),
    ]
}

fn put(text: &mut DateText, at: usize, part: &[u8]) {
    for (to, from) in text.iter_mut().skip(at).zip(part) {
        *to = *from;
    }
}

/// The text of the present second, formatted anew only when the second changes.
#[derive(Clone, Debug)]
pub struct DateCache {
    second: i64,
    text: DateText,
}

impl Default for DateCache {
    fn default() -> Self {
        Self {
            second: 0,
            text: imf_fixdate(UnixMillis(0)),
        }
    }
}

impl DateCache {
    /// The text for `now`.
    pub fn at(&mut self, now: UnixMillis) -> &DateText {
        let second = now.0.div_euclid(1_000);
        if second != self.second {
            self.second = second;
            self.text = imf_fixdate(now);
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_time_is_written_as_imf_fixdate() {
        for (millis, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400_999, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_752_150_896_000, "Thu, 10 Jul 2025 12:34:56 GMT"),
            (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
            (i64::MAX, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (i64::MIN, "Thu, 01 Jan 1970 00:00:00 GMT"),
        ] {
            assert_eq!(
                imf_fixdate(UnixMillis(millis)),
                *expected.as_bytes(),
                "{millis}"
            );
        }
    }

    #[test]
    fn the_cached_text_follows_the_second_back_and_forth() {
        let mut cache = DateCache::default();
        for millis in [0, 999, 1_000, 784_111_777_123, 5] {
            assert_eq!(
                *cache.at(UnixMillis(millis)),
                imf_fixdate(UnixMillis(millis))
            );
        }
    }
}
