//! The simulated processor's JSON, both ways: what it accepts as a payment, a date, an admin call,
//! and what it answers. Pure text in, values out, and back; `processor` calls it. Amounts are read
//! and written by `money`.
//!
//! It is apart from p99's own `wire` on purpose: a simulator that shared the proxy's reader could
//! not notice that both are wrong.

use std::borrow::Cow;
use std::io::Write as _;
use std::str::FromStr;

use jiff::{Timestamp, civil, tz};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::money::{read_amount, write_cents, write_decimal};
use super::store::Row;
use crate::clock::UnixMillis;
use crate::payment::{Cents, CorrelationId, Totals, UpstreamId};

/// A fee per payment in millionths: 5 % is 50,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fee(pub u32);

impl Fee {
    /// All of the payment.
    const WHOLE: u32 = 1_000_000;
    /// Decimal places of [`Fee::WHOLE`].
    const PLACES: usize = 6;
}

impl FromStr for Fee {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("{text:?} is no fee: it is a part of 1, such as 0.05");
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
        if !is_digits(whole) || !is_digits(fraction) || fraction.len() > Self::PLACES {
            return Err(fault());
        }
        let millionths: u32 = format!("{fraction:0<6}").parse().map_err(|_| fault())?;
        whole
            .parse::<u32>()
            .ok()
            .and_then(|whole| whole.checked_mul(Self::WHOLE)?.checked_add(millionths))
            .filter(|fee| *fee <= Self::WHOLE)
            .map(Self)
            .ok_or_else(fault)
    }
}

/// A `POST /payments` that could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The primary key.
    pub id: UpstreamId,
    /// Rounded to cents.
    pub amount: Cents,
    /// To the millisecond.
    pub requested_at: UnixMillis,
}

/// Reads a payment; `None` is 400: no JSON, a field missing, an id that is no UUID, an amount
/// that is no number from 0 to the largest, a date that is none.
#[must_use]
pub(crate) fn read_order(body: &[u8]) -> Option<Order> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Text<'a> {
        #[serde(borrow)]
        correlation_id: Cow<'a, str>,
        #[serde(borrow)]
        amount: &'a RawValue,
        #[serde(borrow)]
        requested_at: Cow<'a, str>,
    }
    let text: Text<'_> = serde_json::from_slice(body).ok()?;
    Some(Order {
        id: read_id(&text.correlation_id)?,
        amount: read_amount(text.amount.get())?,
        requested_at: read_date(&text.requested_at)?,
    })
}

/// Reads a UUID in its hyphenated form.
#[must_use]
pub(crate) fn read_id(text: &str) -> Option<UpstreamId> {
    CorrelationId::try_new(text).ok()?.as_uuid()
}

/// Reads an ISO-8601 date with its offset; a part of a millisecond is dropped.
fn read_date(text: &str) -> Option<UnixMillis> {
    text.parse::<Timestamp>()
        .ok()
        .map(|date| UnixMillis(date.as_millisecond()))
}

/// Reads one end of a window: a date, in UTC when it names no offset.
#[must_use]
pub(crate) fn read_window_end(text: &str) -> Option<UnixMillis> {
    read_date(text).or_else(|| {
        let local = text.parse::<civil::DateTime>().ok()?;
        let date = tz::TimeZone::UTC.to_timestamp(local).ok()?;
        Some(UnixMillis(date.as_millisecond()))
    })
}

/// Reads the one field of an admin call's body; `None` is 400.
#[must_use]
pub(crate) fn read_field<'a, T: Deserialize<'a>>(name: &str, body: &'a [u8]) -> Option<T> {
    let fields: std::collections::HashMap<Cow<'a, str>, &'a RawValue> =
        serde_json::from_slice(body).ok()?;
    serde_json::from_str(fields.get(name)?.get()).ok()
}

/// `{"message": …}`; `text` holds nothing that JSON escapes.
#[must_use]
pub(crate) fn message(text: &str) -> Vec<u8> {
    format!(r#"{{"message":"{text}"}}"#).into_bytes()
}

/// What an admin call changed, in numbers or bools as JSON writes them.
#[must_use]
pub(crate) fn changed(config: &str, was: impl ToString, is: impl ToString) -> Vec<u8> {
    let (was, is) = (was.to_string(), is.to_string());
    format!(r#"{{"config":"{config}","was":{was},"is":{is}}}"#).into_bytes()
}

/// `GET /payments/service-health`.
#[must_use]
pub(crate) fn health(failing: bool, delay_ms: u64) -> Vec<u8> {
    format!(r#"{{"failing":{failing},"minResponseTime":{delay_ms}}}"#).into_bytes()
}

/// `GET /payments/{id}`.
#[must_use]
pub(crate) fn found(row: Row) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write_row(row, &mut out);
    out.push(b'}');
    out
}

/// `GET /admin/payments`: every row with its attempts.
#[must_use]
pub(crate) fn rows(rows: impl Iterator<Item = Row>) -> Vec<u8> {
    let mut out = b"[".to_vec();
    for row in rows {
        if out.len() > 1 {
            out.push(b',');
        }
        write_row(row, &mut out);
        out.extend_from_slice(b",\"attempts\":");
        out.extend_from_slice(itoa::Buffer::new().format(row.attempts).as_bytes());
        out.push(b'}');
    }
    out.push(b']');
    out
}

/// `GET /admin/payments-summary`.
#[must_use]
pub(crate) fn summary(totals: Totals, fee: Fee) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(b"{\"totalRequests\":");
    out.extend_from_slice(itoa::Buffer::new().format(totals.count).as_bytes());
    out.extend_from_slice(b",\"totalAmount\":");
    write_cents(totals.cents, &mut out);
    out.extend_from_slice(b",\"totalFee\":");
    // Cents times millionths: eight decimals.
    write_decimal(totals.cents.saturating_mul(u128::from(fee.0)), 8, &mut out);
    out.extend_from_slice(b",\"feePerTransaction\":");
    write_decimal(u128::from(fee.0), Fee::PLACES, &mut out);
    out.push(b'}');
    out
}

/// Writes a row up to its closing brace.
fn write_row(row: Row, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"correlationId\":\"");
    out.extend_from_slice(&row.id.spell());
    out.extend_from_slice(b"\",\"amount\":");
    write_cents(u128::from(row.amount.0), out);
    out.extend_from_slice(b",\"requestedAt\":\"");
    let date = Timestamp::from_millisecond(row.requested_at.0).unwrap_or(Timestamp::UNIX_EPOCH);
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{date:.3}");
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3";

    #[test]
    fn a_body_that_cannot_be_read_is_no_order() {
        let good = format!(
            r#"{{"correlationId":"{ID}","amount":19.9,"requestedAt":"2025-07-10T12:34:56.789Z"}}"#
        );
        let order = read_order(good.as_bytes()).unwrap();
        assert_eq!(order.id.to_string(), ID);
        assert_eq!(
            (order.amount, order.requested_at),
            (Cents(1990), UnixMillis(1_752_150_896_789))
        );
        let upper = good.replace(ID, &ID.to_uppercase());
        assert_eq!(
            read_order(upper.as_bytes()),
            Some(order),
            "one UUID, two spellings"
        );
        let offset = good.replace("12:34:56.789Z", "14:34:56.7891+02:00");
        assert_eq!(read_order(offset.as_bytes()), Some(order));
        let more = good.replace('{', r#"{"more":[1],"#);
        assert_eq!(
            read_order(more.as_bytes()),
            Some(order),
            "unknown fields are ignored"
        );
        for (from, to) in [
            (ID, "test-123"),
            (ID, "4a7901b87d264d9daa194dc1c7cf60b3"),
            ("correlationId", "id"),
            ("amount", "sum"),
            ("requestedAt", "at"),
            ("19.9", "\"19.9\""),
            ("2025-07-10T12:34:56.789Z", "yesterday"),
            ("2025-07-10T12:34:56.789Z", "2025-07-10T12:34:56"),
            ("}", ""),
            ("}", "}}"),
        ] {
            assert_eq!(
                read_order(good.replace(from, to).as_bytes()),
                None,
                "{from} -> {to}"
            );
        }
        assert_eq!(read_order(b""), None);
        assert_eq!(read_order(b"\xff"), None);
    }

    #[test]
    fn fees_are_parts_of_one() {
        let rows = [
            ("0.05", Some(50_000)),
            ("0.15", Some(150_000)),
            ("0", Some(0)),
            ("1", Some(1_000_000)),
            ("0.000001", Some(1)),
            ("0.0000001", None),
            ("1.000001", None),
            ("5 %", None),
            ("-1", None),
            (".5", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(text.parse().ok(), expected.map(Fee), "{text}");
        }
    }

    #[test]
    fn a_summary_has_exact_sums() {
        let text = |count, cents, fee| {
            String::from_utf8(summary(Totals { count, cents }, Fee(fee))).unwrap()
        };
        assert_eq!(
            text(3, 5970, 50_000),
            r#"{"totalRequests":3,"totalAmount":59.70,"totalFee":2.985,"feePerTransaction":0.05}"#
        );
        assert_eq!(
            text(0, 0, 1_000_000),
            r#"{"totalRequests":0,"totalAmount":0.00,"totalFee":0.00,"feePerTransaction":1.00}"#
        );
    }

    #[test]
    fn rows_are_written_as_they_are_read() {
        let row = Row {
            id: read_id(ID).unwrap(),
            amount: Cents(1990),
            requested_at: UnixMillis(1_752_150_896_000),
            attempts: 2,
        };
        let one = format!(
            r#"{{"correlationId":"{ID}","amount":19.90,"requestedAt":"2025-07-10T12:34:56.000Z"}}"#
        );
        assert_eq!(String::from_utf8(found(row)).unwrap(), one);
        let listed = one.replace('}', r#","attempts":2}"#);
        let all = String::from_utf8(rows([row, row].into_iter())).unwrap();
        assert_eq!(all, format!("[{listed},{listed}]"));
        assert_eq!(rows(std::iter::empty()), b"[]");
    }

    #[test]
    fn a_window_end_without_an_offset_is_utc() {
        assert_eq!(
            read_window_end("2025-07-10T12:34:56.789"),
            Some(UnixMillis(1_752_150_896_789))
        );
        assert_eq!(
            read_window_end("2025-07-10T12:34:56.789Z"),
            Some(UnixMillis(1_752_150_896_789))
        );
        assert_eq!(read_window_end("soon"), None);
    }

    #[test]
    fn admin_bodies_have_one_field_of_one_type() {
        assert_eq!(read_field("delay", br#"{"delay":100}"#), Some(100_u64));
        assert_eq!(read_field("failure", br#"{"failure":true}"#), Some(true));
        assert_eq!(
            read_field("token", br#"{"token":"x\u0041"}"#),
            Some("xA".to_owned())
        );
        assert_eq!(read_field::<u64>("delay", br#"{"delay":-1}"#), None);
        assert_eq!(read_field::<u64>("delay", br#"{"delay":true}"#), None);
        assert_eq!(read_field::<u64>("delay", br#"{"other":1}"#), None);
        assert_eq!(read_field::<u64>("delay", b"delay=1"), None);
    }
}
