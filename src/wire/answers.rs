//! What p99 says in JSON when all is well: the message bodies of `POST /payments`,
//! `GET /payments/{id}` and the summary. What peers say is read here too, because it is the same
//! text. Refusals are `problem`'s.

use super::iso8601;
use super::object::read_object;
use super::problem::write_quoted;
use crate::payment::{
    CorrelationId, PaymentView, PerProcessor, Processor, Status, Totals, write_cents,
};

/// 200: charged.
pub const CHARGED: &[u8] = br#"{"message":"payment processed successfully"}"#;
/// 202: held, and going to be settled.
pub(crate) const ACCEPTED: &[u8] = br#"{"message":"payment accepted","status":"pending"}"#;
/// 202 again, `ON_DUPLICATE=replay`: charged by now.
pub(crate) const ACCEPTED_AND_CHARGED: &[u8] =
    br#"{"message":"payment accepted","status":"processed"}"#;
/// The answer to a purge.
pub(crate) const PURGED: &[u8] = br#"{"message":"all payments purged"}"#;

/// 409: the id is known already.
#[must_use]
pub(crate) const fn duplicate(status: Status) -> &'static [u8] {
    match status {
        Status::Pending => br#"{"message":"duplicate correlationId","status":"pending"}"#,
        Status::Processed => br#"{"message":"duplicate correlationId","status":"processed"}"#,
        Status::Refused => br#"{"message":"duplicate correlationId","status":"refused"}"#,
    }
}

/// Appends the answer to `GET /payments/{id}`, with `id` as the client spelled it. What is not
/// known yet is null.
pub(crate) fn write_found(id: &CorrelationId, found: &PaymentView, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"correlationId\":\"");
    // No byte that an id may have needs an escape in JSON.
    out.extend_from_slice(id.as_str().as_bytes());
    out.extend_from_slice(b"\",\"amount\":");
    found.amount.write(out);
    out.extend_from_slice(b",\"status\":\"");
    out.extend_from_slice(found.status.name().as_bytes());
    out.extend_from_slice(b"\",\"processor\":");
    match found.processor {
        Some(processor) => write_quoted(processor.name(), out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"requestedAt\":");
    match found.requested_at {
        Some(at) => {
            out.push(b'"');
            iso8601::write_instant(at, out);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

/// What a processor says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    /// Payments would be answered with 500.
    pub failing: bool,
    /// The least time that an answer takes now, in milliseconds.
    pub response_ms_min: u64,
}

/// Reads a processor's answer to `GET {UPSTREAM_PAY_PATH}/service-health`.
#[must_use]
pub(crate) fn read_health(body: &[u8]) -> Option<Health> {
    let [failing, response] = read_object(body, ["failing", "minResponseTime"]).ok()?;
    let failing = match failing? {
        "true" => true,
        "false" => false,
        _ => return None,
    };
    Some(Health {
        failing,
        response_ms_min: response?.parse().ok()?,
    })
}

/// Appends the answer to `GET /payments-summary`.
pub(crate) fn write_summary(totals: &PerProcessor<Totals>, out: &mut Vec<u8>) {
    write_totals(totals, out);
    out.push(b'}');
}

/// The same without its last brace.
pub(super) fn write_totals(totals: &PerProcessor<Totals>, out: &mut Vec<u8>) {
    let mut separator = b'{';
    for (processor, Totals { count, cents }) in totals.shown() {
        out.push(separator);
        separator = b',';
        write_quoted(processor.name(), out);
        out.extend_from_slice(b":{\"totalRequests\":");
        out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
        out.extend_from_slice(b",\"totalAmount\":");
        write_cents(cents, out);
        out.push(b'}');
    }
}

/// Reads what `write_summary` wrote at a peer, cent by cent (I7). `None` for anything else: a
/// sum that cannot be read whole is no sum.
#[must_use]
pub fn read_summary(body: &[u8]) -> Option<PerProcessor<Totals>> {
    let parts = read_object(body, Processor::ALL.map(Processor::name)).ok()?;
    let mut totals = PerProcessor::<Totals>::default();
    for (processor, part) in Processor::ALL.into_iter().zip(parts) {
        let part = match part {
            None if !totals.is_always_shown(processor) => continue,
            part => part?,
        };
        let [count, amount] =
            read_object(part.as_bytes(), ["totalRequests", "totalAmount"]).ok()?;
        *totals.get_mut(processor) = Totals {
            count: count?.parse().ok()?,
            cents: read_cents(amount?)?,
        };
    }
    Some(totals)
}

/// A JSON number with at most two decimals and no exponent, in cents. Unlike one payment's amount
/// it may be zero, or more than one payment may be.
fn read_cents(number: &str) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let of_a_cent = match fraction.len() {
        0 => 0,
        1 => fraction.parse::<u8>().ok()? * 10,
        2 => fraction.parse::<u8>().ok()?,
        _ => return None,
    };
    whole
        .parse::<u128>()
        .ok()?
        .checked_mul(100)?
        .checked_add(u128::from(of_a_cent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMillis;
    use crate::limits;
    use crate::payment::Cents;
    use crate::wire::object::read_string;
    use proptest::prelude::*;

    const STATUSES: [Status; 3] = [Status::Pending, Status::Processed, Status::Refused];

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// Reads what `write_found` wrote.
    fn read_found(body: &[u8]) -> Option<PaymentView> {
        let names = ["amount", "status", "processor", "requestedAt"];
        let [amount, status, processor, requested_at] = read_object(body, names).ok()?;
        let status = read_string(status?)?;
        let processor = match processor? {
            "null" => None,
            name => {
                let name = read_string(name)?;
                Some(Processor::of_name(&name)?)
            }
        };
        let requested_at = match requested_at? {
            "null" => None,
            text => Some(iso8601::read_stored(&read_string(text)?)?),
        };
        Some(PaymentView {
            status: STATUSES.into_iter().find(|known| known.name() == status)?,
            amount: Cents::from_json_number(amount?).ok()?,
            processor,
            requested_at,
        })
    }

    #[test]
    fn a_processors_health_is_read_or_is_no_news() {
        let read = |body: &str| read_health(body.as_bytes());
        let health = |failing, response_ms_min| {
            Some(Health {
                failing,
                response_ms_min,
            })
        };
        assert_eq!(
            read(r#"{"failing":true,"minResponseTime":100}"#),
            health(true, 100)
        );
        assert_eq!(
            read(r#"{"minResponseTime":0,"failing":false,"x":1}"#),
            health(false, 0)
        );
        for body in ["", "{}", "null", r#"{"failing":1,"minResponseTime":0}"#] {
            assert_eq!(read(body), None, "{body}");
        }
    }

    #[test]
    fn answers_are_what_the_api_promises() {
        let id = CorrelationId::try_new("test-123").unwrap();
        let pending = PaymentView {
            status: Status::Pending,
            amount: Cents(1990),
            processor: None,
            requested_at: None,
        };
        let processed = PaymentView {
            status: Status::Processed,
            processor: Some(Processor::FALLBACK),
            requested_at: Some(UnixMillis(1_752_150_896_007)),
            ..pending
        };
        assert_eq!(
            text(|out| write_found(&id, &pending, out)),
            concat!(
                r#"{"correlationId":"test-123","amount":19.90,"status":"pending","#,
                r#""processor":null,"requestedAt":null}"#
            )
        );
        assert_eq!(
            text(|out| write_found(&id, &processed, out)),
            concat!(
                r#"{"correlationId":"test-123","amount":19.90,"status":"processed","#,
                r#""processor":"fallback","requestedAt":"2025-07-10T12:34:56.007Z"}"#
            )
        );
        let totals = PerProcessor::of_first([
            Totals {
                count: 3,
                cents: 5970,
            },
            Totals::default(),
        ]);
        assert_eq!(
            text(|out| write_summary(&totals, out)),
            concat!(
                r#"{"default":{"totalRequests":3,"totalAmount":59.70},"#,
                r#""fallback":{"totalRequests":0,"totalAmount":0.00}}"#
            )
        );
        for status in STATUSES {
            let body = std::str::from_utf8(duplicate(status)).unwrap();
            assert!(body.ends_with(&format!("\"status\":\"{}\"}}", status.name())));
        }
    }

    #[test]
    fn a_summary_that_is_not_whole_is_none() {
        let part = |amount: &str| format!(r#"{{"totalRequests":1,"totalAmount":{amount}}}"#);
        let both =
            |amount: &str| format!(r#"{{"default":{},"fallback":{}}}"#, part(amount), part("1"));
        assert_eq!(read_summary(both("0.1").as_bytes()).unwrap().0[0].cents, 10);
        for amount in [
            "-1",
            "1e2",
            "0.001",
            "\"1\"",
            "null",
            "99999999999999999999999999999999999999",
        ] {
            assert_eq!(read_summary(both(amount).as_bytes()), None, "{amount}");
        }
        for body in ["", "{}", "[]", &format!(r#"{{"default":{}}}"#, part("1"))] {
            assert_eq!(read_summary(body.as_bytes()), None, "{body}");
        }
    }

    proptest! {
        #[test]
        fn summaries_are_read_again(
            counts in any::<[u64; 2]>(),
            cents in any::<[u64; 2]>(),
        ) {
            let [first, second] = cents.map(|cents| u128::from(cents) * 1_000);
            let totals = PerProcessor::of_first([
                Totals { count: counts[0], cents: first + 7 },
                Totals { count: counts[1], cents: second },
            ]);
            let body = text(|out| write_summary(&totals, out));
            prop_assert_eq!(read_summary(body.as_bytes()), Some(totals));
        }

        #[test]
        fn findings_are_read_again(
            cents in 1..=limits::AMOUNT_CENTS_MAX,
            place in 0_usize..3,
            processor in proptest::option::of(0_usize..2),
            at in proptest::option::of(0_i64..253_402_200_000_000),
        ) {
            let found = PaymentView {
                status: STATUSES[place],
                amount: Cents(cents),
                processor: processor.map(|place| Processor::ALL[place]),
                requested_at: at.map(UnixMillis),
            };
            let id = CorrelationId::try_new("a").unwrap();
            let body = text(|out| write_found(&id, &found, out));
            prop_assert_eq!(read_found(body.as_bytes()), Some(found));
        }
    }
}
