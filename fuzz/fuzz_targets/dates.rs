//! Moments: what is written is read back (by jiff too), and every RFC 3339 text is read as a
//! second calculation says, both edges of a window. Other texts may be read or not; never do the
//! edges of one moment contradict each other.
#![no_main]

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use p99::testing::clock::UnixMillis;
use p99::testing::http::date::imf_fixdate;
use p99::testing::wire::{Edge, read_edge, write_instant};
use p99_fuzz::Input;

const YEAR_0: i64 = -62_167_219_200_000;
const YEAR_9999_END: i64 = 253_402_300_799_999;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    write_and_read(input.number::<8>().cast_signed());
    write_and_read(input.number::<6>().cast_signed() - (1 << 47));
    let text = String::from_utf8_lossy(input.rest());
    let edges = [Edge::From, Edge::To].map(|edge| read_edge(&text, edge));
    if let Some(nanos) = nanos_of(&text) {
        let millis = |nanos: i128| Some(UnixMillis(i64::try_from(nanos).unwrap()));
        let from = millis((nanos + 999_999).div_euclid(1_000_000));
        let to = millis(nanos.div_euclid(1_000_000));
        // A moment of the year before 0 or after 9999 in UTC may be refused.
        let is_in_range =
            |at: &Option<UnixMillis>| at.is_some_and(|at| (YEAR_0..=YEAR_9999_END).contains(&at.0));
        if is_in_range(&from) && is_in_range(&to) {
            assert_eq!(edges, [from, to], "{text}");
        }
    }
    if let [Some(from), Some(to)] = edges {
        assert!(to <= from && from.0 - to.0 <= 1, "{text}");
    }
});

fn write_and_read(at: i64) {
    let mut text = Vec::new();
    write_instant(UnixMillis(at), &mut text);
    let text = String::from_utf8(text).unwrap();
    let at = at.clamp(YEAR_0, YEAR_9999_END);
    for edge in [Edge::From, Edge::To] {
        assert_eq!(read_edge(&text, edge), Some(UnixMillis(at)), "{text}");
    }
    // jiff keeps the last day of 9999 free for offsets.
    if at >= YEAR_9999_END - 86_400_000 * 2 {
        return;
    }
    let read: Timestamp = text.parse().unwrap();
    assert_eq!(read.as_millisecond(), at, "{text}");
    let date = imf_fixdate(UnixMillis(at));
    let date = std::str::from_utf8(&date).unwrap();
    let read = DateTime::strptime("%a, %d %b %Y %H:%M:%S GMT", date).unwrap();
    let read = read.to_zoned(TimeZone::UTC).unwrap().timestamp();
    assert_eq!(read.as_second(), at.div_euclid(1_000), "{date}");
}

/// Nanoseconds since 1970 of a text in RFC 3339's own form; nothing for every other text, and
/// none for a leap second, of which programs think differently.
fn nanos_of(text: &str) -> Option<i128> {
    let bytes = text.as_bytes();
    let number = |from: usize, count: usize| -> Option<i128> {
        let digits = bytes.get(from..from + count)?;
        let is_plain = digits.iter().all(u8::is_ascii_digit);
        is_plain.then(|| std::str::from_utf8(digits).unwrap().parse().unwrap())
    };
    let is = |at: usize, any_of: &[u8]| bytes.get(at).is_some_and(|byte| any_of.contains(byte));
    let separators = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let mut at = 19;
    let mut fraction = 0;
    if is(at, b".") {
        let digits = bytes[at + 1..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        if !(1..=9).contains(&digits) {
            return None;
        }
        fraction = number(at + 1, digits)? * 10_i128.pow(9 - u32::try_from(digits).unwrap());
        at += 1 + digits;
    }
    let offset = match &bytes[at..] {
        [b'Z' | b'z'] => 0,
        // A plus sign may have become a space.
        [sign @ (b'+' | b'-' | b' '), _, _, b':', _, _] => {
            let (hours, minutes) = (number(at + 1, 2)?, number(at + 4, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 60 + minutes;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let february = if is_leap { 29 } else { 28 };
    let days = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let index = usize::try_from(month - 1).ok()?;
    let fits = separators
        && (1..=*days.get(index)?).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !fits {
        return None;
    }
    let years_before: i128 = (0..year)
        .map(|y| {
            if y % 4 == 0 && (y % 100 != 0 || y % 400 == 0) {
                366
            } else {
                365
            }
        })
        .sum();
    let day_of_year = days[..index].iter().sum::<i128>() + day - 1;
    // Days from 0000-01-01 to 1970-01-01.
    let days = years_before + day_of_year - 719_528;
    let seconds = days * 86_400 + hour * 3_600 + (minute - offset) * 60 + second;
    Some(seconds * 1_000_000_000 + fraction)
}
