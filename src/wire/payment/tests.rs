//! Payments as clients spell them, as processors get them, and as processors show them.

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
            F::CorrelationId(CorrelationIdFault::Byte),
        ),
        (
            r#""\ud800""#,
            "1",
            F::CorrelationId(CorrelationIdFault::Byte),
        ),
        (r#""{$}""#, "1", F::CorrelationId(CorrelationIdFault::Byte)),
        (r#"".""#, "1", F::CorrelationId(CorrelationIdFault::Dots)),
        (
            r#""\u002e.""#,
            "1",
            F::CorrelationId(CorrelationIdFault::Dots),
        ),
        (
            r#""...""#,
            "1",
            F::CorrelationId(CorrelationIdFault::NotUuid),
        ),
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
    let id = CorrelationId::try_new(ID).unwrap().upstream_id();
    let read = |body: &str| read_stored(body.replace('$', ID).as_bytes(), id);
    let (at, amount) = (UnixMillis(1_752_150_896_120), Cents(199));
    for body in [
        r#"{"correlationId":"$","amount":1.99,"requestedAt":"2025-07-10T12:34:56.12Z"}"#,
        r#"{"amount":1.990,"requestedAt":"2025-07-10T12:34:56.12","id":7}"#,
        r#"{"amount":199e-2,"requestedAt":"2025-07-10T09:34:56.12-03:00"}"#,
        r#"{"amount":"1.99","requestedAt":"2025-07-10T12:34:56.12Z"}"#,
        r#"{"amount":1.99,"requestedAt":"2025-07-10T12:34:56.12Z","status":"processed"}"#,
        r#"{"amount":1.99,"requestedAt":"2025-07-10T12:34:56.12Z","status":"CHARGED"}"#,
        r#"{"amount":1.99,"requestedAt":"2025-07-10T12:34:56.12Z","status":null}"#,
    ] {
        assert_eq!(read(body), Some((at, amount)), "{body}");
    }
    for body in [
        "",
        "{}",
        "[]",
        r#"{"amount":1.99,"requestedAt":null}"#,
        r#"{"amount":1.99,"requestedAt":"now"}"#,
        r#"{"amount":"1,99","requestedAt":"2025-07-10T12:34:56.12Z"}"#,
        r#"{"amount":"","requestedAt":"2025-07-10T12:34:56.12Z"}"#,
        r#"{"requestedAt":"2025-07-10T12:34:56.12Z"}"#,
        r#"{"amount":1.999,"requestedAt":"2025-07-10T12:34:56.12Z"}"#,
        r#"{"correlationId":"x","amount":1.99,"requestedAt":"2025-07-10T12:34:56.12Z"}"#,
        r#"{"correlationId":7,"amount":1.99,"requestedAt":"2025-07-10T12:34:56.12Z"}"#,
        // What p99 says of a payment that it has sent: a balancer may lead back to it.
        r#"{"amount":1.99,"requestedAt":"2025-07-10T12:34:56.12Z","status":"pending"}"#,
        r#"{"amount":1.99,"requestedAt":"2025-07-10T12:34:56.12Z","status":"refused"}"#,
        // What a processor keeps of a payment that it has not charged, in words or without.
        r#"{"amount":1.99,"requestedAt":"2025-07-10T12:34:56.12Z","status":"PENDING"}"#,
        r#"{"amount":1.99,"requestedAt":"2025-07-10T12:34:56.12Z","status":"declined"}"#,
        r#"{"amount":1.99,"requestedAt":"2025-07-10T12:34:56.12Z","status":"authorized"}"#,
        r#"{"amount":1.99,"requestedAt":"2025-07-10T12:34:56.12Z","status":""}"#,
        r#"{"amount":1.99,"requestedAt":"2025-07-10T12:34:56.12Z","status":7}"#,
        r#"{"amount":1.99,"requestedAt":"2025-07-10T12:34:56.12Z","status":{"code":7}}"#,
    ] {
        assert_eq!(read(body), None, "{body}");
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
        prop_assert_eq!(read_stored(&out, payment.id), Some((requested_at, amount)));
        let read = read_payment(&out, true).unwrap();
        prop_assert_eq!((read.id, read.amount), (payment.id, amount));
    }

    #[test]
    fn no_body_is_too_odd_to_read(
        body in proptest::collection::vec(any::<u8>(), 0..60),
        cut in 0_usize..70,
        place in 0_usize..70,
        byte in any::<u8>(),
    ) {
        let _ = read_payment(&body, false);
        let mut near = format!(r#"{{"correlationId":"{ID}","amount":19.90}}"#).into_bytes();
        if let Some(there) = near.get_mut(place) {
            *there = byte;
        }
        near.truncate(cut);
        let _ = (read_payment(&near, true), read_upstream_payment(&near));
    }
}
