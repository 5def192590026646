//! A payment as JSON: as a client sends it, and as a processor gets and stores it.
//!
//! Which fault counts when a body has several: first that it cannot be read at all, then the
//! fields in the order of the API's documentation. That keeps one body one answer.

use super::iso8601;
use super::object::{ObjectFault, read_object, read_string};
use crate::clock::UnixMillis;
use crate::payment::{AmountFault, Cents, CorrelationId, CorrelationIdFault, Payment, UpstreamId};

/// A member of `POST /payments` that p99 looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The client's id of the payment.
    CorrelationId,
    /// How much.
    Amount,
}

/// Why a body is no payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentFault {
    /// Some octets are no UTF-8.
    NotUtf8,
    /// Not JSON, or something stands behind it.
    NotJson,
    /// JSON of another kind.
    NotAnObject,
    /// The field occurs twice.
    Repeated(Field),
    /// Nested deeper than [`JSON_DEPTH_MAX`](crate::limits::JSON_DEPTH_MAX).
    TooDeep,
    /// The field is absent.
    Missing(Field),
    /// The field is no string (correlationId) or no number (amount).
    WrongType(Field),
    /// The id breaks its rule.
    CorrelationId(CorrelationIdFault),
    /// The amount breaks its rule.
    Amount(AmountFault),
}

impl PaymentFault {
    /// Whether the body as a whole could not be read (400), as opposed to a field of a readable
    /// object that breaks a rule (422).
    #[must_use]
    pub const fn is_unreadable(self) -> bool {
        match self {
            Self::NotUtf8
            | Self::NotJson
            | Self::NotAnObject
            | Self::Repeated(_)
            | Self::TooDeep => true,
            Self::Missing(_) | Self::WrongType(_) | Self::CorrelationId(_) | Self::Amount(_) => {
                false
            }
        }
    }

    /// What to tell the client.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::NotUtf8 => "the body is not UTF-8",
            Self::NotJson => "the body is not JSON",
            Self::NotAnObject => "the body is not a JSON object",
            Self::Repeated(Field::CorrelationId) => "correlationId occurs twice",
            Self::Repeated(Field::Amount) => "amount occurs twice",
            Self::TooDeep => "the body nests too deep",
            Self::Missing(Field::CorrelationId) => "correlationId is missing",
            Self::Missing(Field::Amount) => "amount is missing",
            Self::WrongType(Field::CorrelationId) => "correlationId is not a string",
            Self::WrongType(Field::Amount) => "amount is not a number",
            Self::CorrelationId(CorrelationIdFault::Length) => {
                "correlationId is not 1 to 64 characters long"
            }
            Self::CorrelationId(CorrelationIdFault::Octet) => {
                "correlationId has a character outside A-Z a-z 0-9 - . _ : ~"
            }
            Self::CorrelationId(CorrelationIdFault::NotUuid) => "correlationId is not a UUID",
            Self::Amount(AmountFault::NotANumber) => "amount is not a number",
            Self::Amount(AmountFault::NotPositive) => "amount is not greater than 0",
            Self::Amount(AmountFault::FractionOfACent) => "amount has more than 2 decimals",
            Self::Amount(AmountFault::TooLarge) => "amount is greater than 9999999999.99",
        }
    }
}

/// Reads the body of `POST /payments`. Members that are not asked for are ignored.
///
/// # Errors
/// The fault that counts first; see the head of this file.
pub fn read_payment(body: &[u8], demand_uuid: bool) -> Result<Payment, PaymentFault> {
    let [id, amount] = read_object(body, ["correlationId", "amount"]).map_err(unreadable)?;
    let id = id.ok_or(PaymentFault::Missing(Field::CorrelationId))?;
    let amount = amount.ok_or(PaymentFault::Missing(Field::Amount))?;
    if !id.starts_with('"') {
        return Err(PaymentFault::WrongType(Field::CorrelationId));
    }
    // A string without a text holds half a surrogate pair, which is outside the allowed set.
    let id = read_string(id).ok_or(PaymentFault::CorrelationId(CorrelationIdFault::Octet))?;
    let correlation_id = CorrelationId::try_new(&id).map_err(PaymentFault::CorrelationId)?;
    let id = match correlation_id.as_uuid() {
        Some(id) => id,
        None if demand_uuid => {
            return Err(PaymentFault::CorrelationId(CorrelationIdFault::NotUuid));
        }
        None => correlation_id.upstream_id(),
    };
    let amount = Cents::from_json_number(amount).map_err(|fault| match fault {
        // The text is JSON, so what is no number is a value of another type.
        AmountFault::NotANumber => PaymentFault::WrongType(Field::Amount),
        AmountFault::NotPositive | AmountFault::FractionOfACent | AmountFault::TooLarge => {
            PaymentFault::Amount(fault)
        }
    })?;
    Ok(Payment {
        id,
        correlation_id,
        amount,
    })
}

fn unreadable(fault: ObjectFault) -> PaymentFault {
    match fault {
        ObjectFault::NotUtf8 => PaymentFault::NotUtf8,
        ObjectFault::NotJson => PaymentFault::NotJson,
        ObjectFault::NotAnObject => PaymentFault::NotAnObject,
        ObjectFault::Repeated(0) => PaymentFault::Repeated(Field::CorrelationId),
        ObjectFault::Repeated(_) => PaymentFault::Repeated(Field::Amount),
        ObjectFault::TooDeep => PaymentFault::TooDeep,
    }
}

/// A payment as a processor gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamPayment {
    /// The same on every attempt (I2).
    pub id: UpstreamId,
    /// How much.
    pub amount: Cents,
    /// The same on a re-send after Unknown (I9).
    pub requested_at: UnixMillis,
}

const ID_PART: &[u8] = b"{\"correlationId\":\"";
const AMOUNT_PART: &[u8] = b"\",\"amount\":";
const TIME_PART: &[u8] = b",\"requestedAt\":\"";
const END_PART: &[u8] = b"\"}";

/// Appends the body that goes upstream.
pub fn write_upstream_payment(payment: &UpstreamPayment, out: &mut Vec<u8>) {
    out.extend_from_slice(ID_PART);
    out.extend_from_slice(payment.id.write(&mut [0; 36]).as_bytes());
    out.extend_from_slice(AMOUNT_PART);
    payment.amount.write(out);
    out.extend_from_slice(TIME_PART);
    iso8601::write_instant(payment.requested_at, out);
    out.extend_from_slice(END_PART);
}

/// How many octets [`write_upstream_payment`] appends, for a Content-Length that is written first.
#[must_use]
pub fn upstream_payment_bytes(amount: Cents) -> usize {
    let whole_digits = (amount.0 / 100).checked_ilog10().unwrap_or(0) + 1;
    let whole_digits = usize::try_from(whole_digits).unwrap_or_default();
    ID_PART.len()
        + 36
        + AMOUNT_PART.len()
        + whole_digits
        + ".00".len()
        + TIME_PART.len()
        + iso8601::INSTANT_BYTES
        + END_PART.len()
}

/// Reads what [`write_upstream_payment`] writes, in any spelling: the processor's side of it.
/// `None` is a body that a processor answers with 400.
#[must_use]
pub fn read_upstream_payment(body: &[u8]) -> Option<UpstreamPayment> {
    let names = ["correlationId", "amount", "requestedAt"];
    let [id, amount, requested_at] = read_object(body, names).ok()?;
    Some(UpstreamPayment {
        id: CorrelationId::try_new(&read_string(id?)?).ok()?.as_uuid()?,
        amount: Cents::from_json_number(amount?).ok()?,
        requested_at: iso8601::read_stored(&read_string(requested_at?)?)?,
    })
}

/// Reads `requestedAt` out of a processor's answer to `GET {UPSTREAM_PAY_PATH}/{id}`, to the
/// millisecond that it lies in. `None` when the answer shows none.
#[must_use]
pub fn read_stored_requested_at(body: &[u8]) -> Option<UnixMillis> {
    let [requested_at] = read_object(body, ["requestedAt"]).ok()?;
    iso8601::read_stored(&read_string(requested_at?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use proptest::prelude::*;

    const ID: &str = "4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3";

    /// `$` stands for a good id.
    fn fault(body: &str) -> Option<PaymentFault> {
        read_payment(body.replace('$', ID).as_bytes(), true).err()
    }

    #[test]
    fn payments_are_read_in_every_spelling() {
        let rows = [
            (r#"{"correlationId":"$","amount":19.90}"#, 1990),
            (
                " \t\r\n{ \"amount\"\t: 19.9 ,\r\n\"correlationId\" :\n\"$\" } \n",
                1990,
            ),
            (r#"{"correlation\u0049d":"$","\u0061mount":1.99e1}"#, 1990),
            (
                r#"{"x":{"amount":1},"correlationId":"$","amount":1,"y":[[1e999,"\ud800"]]}"#,
                100,
            ),
            (
                r#"{"correlationId":"\u0034a7901b8-7d26-4D9D-AA19-4dc1c7cf60b3","amount":1}"#,
                100,
            ),
        ];
        for (body, cents) in rows {
            let payment = read_payment(body.replace('$', ID).as_bytes(), true).unwrap();
            assert_eq!(
                (payment.id.to_string().as_str(), payment.amount.0),
                (ID, cents),
                "{body}"
            );
        }
        let payment = read_payment(br#"{"correlationId":"test-123","amount":1}"#, false).unwrap();
        assert_eq!(payment.correlation_id.as_str(), "test-123");
        assert_eq!(payment.id, payment.correlation_id.upstream_id(), "I2");
    }

    #[test]
    fn a_body_that_cannot_be_read_is_unreadable_before_any_rule() {
        use PaymentFault as F;
        let [id, amount] = [Field::CorrelationId, Field::Amount];
        let deep = format!(
            r#"{{"correlationId":{}1{}}}"#,
            "[".repeat(200),
            "]".repeat(200)
        );
        let rows = [
            (r#"{"correlationId":"$","amount":0"#, F::NotJson),
            (r#"{"correlationId":"$","amount":19.90}x"#, F::NotJson),
            (r#"{"correlationId":"$","amount":1_000}"#, F::NotJson),
            (r#"{"correlationId":"$","amount":-Infinity}"#, F::NotJson),
            ("\u{feff}{\"correlationId\":\"$\",\"amount\":1}", F::NotJson),
            (r#"["$",19.90]"#, F::NotAnObject),
            (r#"[{"correlationId":"$","amount":19.90}]"#, F::NotAnObject),
            (
                r#"{"correlationId":"$","amount":1,"amount":2}"#,
                F::Repeated(amount),
            ),
            (
                r#"{"correlationId":"$","correlation\u0049d":"$","amount":1}"#,
                F::Repeated(id),
            ),
            (
                r#"{"correlationId":null,"correlationId":"$"}"#,
                F::Repeated(id),
            ),
            (&deep, F::TooDeep),
        ];
        for (body, expected) in rows {
            assert_eq!(fault(body), Some(expected), "{body}");
        }
    }

    #[test]
    fn each_rule_has_its_fault_and_the_first_broken_one_counts() {
        use PaymentFault as F;
        let [id, amount] = [Field::CorrelationId, Field::Amount];
        for (body, expected) in [
            ("{}", F::Missing(id)),
            (r#"{"amount":1}"#, F::Missing(id)),
            (r#"{"correlationId":"$"}"#, F::Missing(amount)),
            (r#"{"correlationId":"","Amount":1}"#, F::Missing(amount)),
        ] {
            assert_eq!(fault(body), Some(expected), "{body}");
        }
        let long = "1".repeat(5_000);
        let rows = [
            ("null", "1", F::WrongType(id)),
            ("7", "-1", F::WrongType(id)),
            (r#"["$"]"#, "1", F::WrongType(id)),
            (r#""""#, "1", F::CorrelationId(CorrelationIdFault::Length)),
            (
                r#""a\u0000""#,
                "1",
                F::CorrelationId(CorrelationIdFault::Octet),
            ),
            (
                r#""\ud800""#,
                "1",
                F::CorrelationId(CorrelationIdFault::Octet),
            ),
            (r#""{$}""#, "1", F::CorrelationId(CorrelationIdFault::Octet)),
            (
                r#""$0""#,
                "1",
                F::CorrelationId(CorrelationIdFault::NotUuid),
            ),
            (r#""$""#, r#""1""#, F::WrongType(amount)),
            (r#""$""#, "null", F::WrongType(amount)),
            (r#""$""#, "{}", F::WrongType(amount)),
            (r#""$""#, "0", F::Amount(AmountFault::NotPositive)),
            (r#""$""#, "-0.0", F::Amount(AmountFault::NotPositive)),
            (r#""$""#, "-19.90", F::Amount(AmountFault::NotPositive)),
            (r#""$""#, "1e-400", F::Amount(AmountFault::FractionOfACent)),
            (r#""$""#, "1e400", F::Amount(AmountFault::TooLarge)),
            (r#""$""#, &long, F::Amount(AmountFault::TooLarge)),
        ];
        for (id, amount, expected) in rows {
            let body = format!(r#"{{"correlationId":{id},"amount":{amount}}}"#);
            assert_eq!(fault(&body), Some(expected), "{body}");
        }
    }

    #[test]
    fn unreadable_bodies_are_told_from_broken_rules() {
        let unreadable = |body: &[u8]| read_payment(body, false).unwrap_err().is_unreadable();
        assert!(unreadable(b""));
        assert!(unreadable(
            b"{\"correlationId\":\"a\",\"amount\":1,\"x\":\"\xe2\x82\"}"
        ));
        assert!(unreadable(br#"{"amount":0,"amount":0}"#));
        assert!(!unreadable(b"{}"));
        assert!(!unreadable(br#"{"correlationId":"a","amount":0}"#));
    }

    #[test]
    fn stored_times_are_found() {
        let body = br#"{"correlationId":"x","amount":1.0,"requestedAt":"2025-07-10T12:34:56.12Z"}"#;
        assert_eq!(
            read_stored_requested_at(body),
            Some(UnixMillis(1_752_150_896_120))
        );
        for body in [
            "",
            "{}",
            r#"{"requestedAt":null}"#,
            r#"{"requestedAt":"now"}"#,
            "[]",
        ] {
            assert_eq!(read_stored_requested_at(body.as_bytes()), None, "{body}");
        }
    }

    proptest! {
        #[test]
        fn what_goes_upstream_is_read_again(
            id in any::<u128>(),
            cents in 1..=limits::AMOUNT_CENTS_MAX,
            shift in 0_u32..40,
            at in 0_i64..253_402_200_000_000,
        ) {
            let amount = Cents((cents >> shift).max(1));
            let requested_at = UnixMillis(at);
            let payment = UpstreamPayment { id: UpstreamId(id), amount, requested_at };
            let mut out = Vec::new();
            write_upstream_payment(&payment, &mut out);
            prop_assert_eq!(out.len(), upstream_payment_bytes(amount));
            prop_assert_eq!(read_upstream_payment(&out), Some(payment));
            prop_assert_eq!(read_stored_requested_at(&out), Some(requested_at));
            let read = read_payment(&out, true).unwrap();
            prop_assert_eq!((read.id, read.amount), (payment.id, amount));
        }

        #[test]
        fn no_body_is_too_odd_to_read(
            body in proptest::collection::vec(any::<u8>(), 0..60),
            cut in 0_usize..70,
            place in 0_usize..70,
            octet in any::<u8>(),
        ) {
            let _ = read_payment(&body, false);
            let mut near = format!(r#"{{"correlationId":"{ID}","amount":19.90}}"#).into_bytes();
            if let Some(there) = near.get_mut(place) {
                *there = octet;
            }
            near.truncate(cut);
            let _ = (read_payment(&near, true), read_upstream_payment(&near));
        }
    }
}
