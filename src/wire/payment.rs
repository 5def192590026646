//! A payment as JSON: as a client sends it, and as a processor gets and stores it.
//!
//! Which fault counts when a body has several: first that it cannot be read at all, then the
//! fields in the order of the API's documentation. That keeps one body one answer.

use std::borrow::Cow;

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
    /// Some bytes are no UTF-8.
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
            Self::CorrelationId(CorrelationIdFault::Byte) => {
                "correlationId has a character outside A-Z a-z 0-9 - . _ : ~"
            }
            Self::CorrelationId(CorrelationIdFault::Dots) => "correlationId is . or ..",
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
    let id = read_string(id).ok_or(PaymentFault::CorrelationId(CorrelationIdFault::Byte))?;
    let correlation_id = CorrelationId::try_new(&id).map_err(PaymentFault::CorrelationId)?;
    // No path can name these two: clients and proxies take them out (RFC 3986, section 5.2.4).
    // They are ids all the same, so that a journal which holds one is read.
    if matches!(&*id, "." | "..") {
        return Err(PaymentFault::CorrelationId(CorrelationIdFault::Dots));
    }
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
    out.extend_from_slice(&payment.id.spell());
    out.extend_from_slice(AMOUNT_PART);
    payment.amount.write(out);
    out.extend_from_slice(TIME_PART);
    iso8601::write_instant(payment.requested_at, out);
    out.extend_from_slice(END_PART);
}

/// How many bytes [`write_upstream_payment`] appends, for a Content-Length that is written first.
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

/// What a record's status may be, in any case, for the record to show a charge (docs/PROCESSOR.md).
const CHARGED: [&str; 12] = [
    "applied",
    "captured",
    "charged",
    "completed",
    "ok",
    "paid",
    "processed",
    "settled",
    "succeeded",
    "success",
    "successful",
    "done",
];

/// Reads a processor's record of `id` out of its answer to `GET {UPSTREAM_PAY_PATH}/{id}`:
/// `requestedAt` to the millisecond that it is in, and the amount, a number or its digits in a
/// string. `None` when the answer shows no such record, the one of another id, or one whose status
/// is none of [`CHARGED`]: a processor may keep what it has declined, and a balancer may lead back
/// to p99, which says so of a payment that is pending.
#[must_use]
pub(crate) fn read_stored(body: &[u8], id: UpstreamId) -> Option<(UnixMillis, Cents)> {
    let names = ["correlationId", "amount", "requestedAt", "status"];
    let [stored_id, amount, requested_at, status] = read_object(body, names).ok()?;
    if let Some(status) = status.filter(|text| *text != "null") {
        let status = read_string(status)?;
        let mut words = CHARGED.iter();
        words.find(|word| word.eq_ignore_ascii_case(&status))?;
    }
    if let Some(stored_id) = stored_id {
        let stored_id = CorrelationId::try_new(&read_string(stored_id)?).ok()?;
        if stored_id.as_uuid() != Some(id) {
            return None;
        }
    }
    let requested_at = iso8601::read_stored(&read_string(requested_at?)?)?;
    let digits = read_string(amount?).or_else(|| amount.map(Cow::Borrowed))?;
    Some((requested_at, Cents::from_json_number(&digits).ok()?))
}

/// Reads one payment of a list that a processor gives of its charges: id, amount (a number or its
/// digits in a string) and, if it is there, `requestedAt`. `None` when it is none.
#[must_use]
pub(crate) fn read_listed(object: &[u8]) -> Option<(UpstreamId, Cents, Option<UnixMillis>)> {
    let names = ["correlationId", "amount", "requestedAt"];
    let [id, amount, requested_at] = read_object(object, names).ok()?;
    let id = CorrelationId::try_new(&read_string(id?)?).ok()?;
    let digits = read_string(amount?).or_else(|| amount.map(Cow::Borrowed))?;
    let amount = Cents::from_json_number(&digits).ok()?;
    let requested_at = match requested_at.filter(|text| *text != "null") {
        Some(text) => Some(iso8601::read_stored(&read_string(text)?)?),
        None => None,
    };
    Some((id.upstream_id(), amount, requested_at))
}

#[cfg(test)]
mod tests;
