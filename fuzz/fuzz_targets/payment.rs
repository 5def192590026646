//! The body of `POST /payments` against `serde_json` and a second reading of numbers: accepted and
//! refused alike, to the kind of the fault, and the amount to the cent. What goes upstream is read
//! back as the same payment.
#![no_main]

use std::fmt;

use libfuzzer_sys::fuzz_target;
use p99::testing::clock::UnixMillis;
use p99::testing::limits;
use p99::testing::payment::{AmountFault, CorrelationIdFault};
use p99::testing::wire::{
    Field, PaymentFault, UpstreamPayment, read_payment, read_upstream_payment,
    write_upstream_payment,
};
use p99_fuzz::Input;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Id as text and amount in cents, or the fault; every 400 is one, as it is for the client.
type Expected = Result<(String, u64), PaymentFault>;

const UNREADABLE: PaymentFault = PaymentFault::NotJson;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let choice = input.byte();
    let demand_uuid = choice & 1 == 1;
    let body = input.rest();
    let read = read_payment(body, demand_uuid);
    let seen = match &read {
        Ok(payment) => Ok((payment.correlation_id.to_string(), payment.amount.0)),
        Err(fault) if fault.is_unreadable() => Err(UNREADABLE),
        Err(fault) => Err(*fault),
    };
    assert_eq!(seen, expected(body, demand_uuid));
    let Ok(payment) = read else { return };
    let uuid = uuid(payment.correlation_id.as_str());
    match uuid {
        Some(uuid) => assert_eq!(payment.id.0, uuid),
        None => assert_eq!(payment.id.0 >> 76 & 0xf, 5, "UUID version 5"),
    }
    assert_eq!(payment.correlation_id.upstream_id(), payment.id);
    let sent = UpstreamPayment {
        id: payment.id,
        amount: payment.amount,
        requested_at: UnixMillis(1_752_150_896_000 + i64::from(choice)),
    };
    let mut written = Vec::new();
    write_upstream_payment(&sent, &mut written);
    assert_eq!(read_upstream_payment(&written), Some(sent));
    assert_eq!(
        expected(&written, true),
        Ok((payment.id.to_string(), payment.amount.0))
    );
});

fn expected(body: &[u8], demand_uuid: bool) -> Expected {
    let text = std::str::from_utf8(body).map_err(|_| UNREADABLE)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = reader.deserialize_map(Members).map_err(|_| UNREADABLE)?;
    reader.end().map_err(|_| UNREADABLE)?;
    if depth(text) > limits::JSON_DEPTH_MAX {
        return Err(UNREADABLE);
    }
    let only = |name: &str, field| {
        let mut found = members.iter().filter(|(other, _)| other == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Ok(value.get()),
            (None, _) => Err(PaymentFault::Missing(field)),
            (Some(_), Some(_)) => Err(UNREADABLE),
        }
    };
    let (id, amount) = (
        only("correlationId", Field::CorrelationId),
        only("amount", Field::Amount),
    );
    if [id, amount].contains(&Err(UNREADABLE)) {
        return Err(UNREADABLE);
    }
    let (id, amount) = (id?, amount?);
    if !id.starts_with('"') {
        return Err(PaymentFault::WrongType(Field::CorrelationId));
    }
    let fault = |fault| Err(PaymentFault::CorrelationId(fault));
    let Ok(id) = serde_json::from_str::<String>(id) else {
        return fault(CorrelationIdFault::Byte);
    };
    if !(1..=64).contains(&id.len()) {
        return fault(CorrelationIdFault::Length);
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._:~".contains(c);
    if !id.chars().all(is_allowed) {
        return fault(CorrelationIdFault::Byte);
    }
    if id == "." || id == ".." {
        return fault(CorrelationIdFault::Dots);
    }
    if demand_uuid && uuid(&id).is_none() {
        return fault(CorrelationIdFault::NotUuid);
    }
    if !amount.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return Err(PaymentFault::WrongType(Field::Amount));
    }
    Ok((id, cents(amount).map_err(PaymentFault::Amount)?))
}

/// All members of one object, repeated ones too.
struct Members;

impl<'a> Visitor<'a> for Members {
    type Value = Vec<(String, &'a RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

/// How deep JSON nests, its strings left out.
fn depth(json: &str) -> usize {
    let (mut depth, mut most, mut string, mut escaped) = (0, 0, false, false);
    for c in json.chars() {
        match c {
            _ if std::mem::take(&mut escaped) => {}
            '\\' => escaped = true,
            '"' => string = !string,
            '{' | '[' if !string => {
                depth += 1;
                most = most.max(depth);
            }
            '}' | ']' if !string => depth -= 1,
            _ => {}
        }
    }
    most
}

/// A JSON number in cents: its digits without zeros at either end, and the power of ten of the
/// last one.
fn cents(number: &str) -> Result<u64, AmountFault> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i128 = exponent.parse().unwrap_or_else(|_| {
        let far = 1 << 100;
        if exponent.starts_with('-') { -far } else { far }
    });
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
    let significant = digits.trim_end_matches('0');
    let power = exponent - fraction.len() as i128 + (digits.len() - significant.len()) as i128 + 2;
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() || number.starts_with('-') {
        return Err(AmountFault::NotPositive);
    }
    if power < 0 {
        return Err(AmountFault::FractionOfACent);
    }
    if significant.len() as i128 + power > 12 {
        return Err(AmountFault::TooLarge);
    }
    let zeros = "0".repeat(usize::try_from(power).unwrap());
    Ok(format!("{significant}{zeros}").parse().unwrap())
}

/// The number that a hyphenated UUID spells.
fn uuid(text: &str) -> Option<u128> {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    let digits = text.replace('-', "");
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    (groups == [8, 4, 4, 4, 12] && is_hex).then(|| u128::from_str_radix(&digits, 16).unwrap())
}
