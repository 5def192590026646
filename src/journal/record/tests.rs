//! Records are read back as they were written, for ever.

use proptest::prelude::*;

use super::*;
use crate::journal::start::JOURNAL_RECORD_BYTES_MAX;
use crate::limits;
use crate::payment::CorrelationId;

pub(crate) fn any_record() -> impl Strategy<Value = Record> {
    let date = || any::<i64>().prop_map(UnixMillis);
    let processor = || prop_oneof![Just(Processor::DEFAULT), Just(Processor::FALLBACK)];
    let fate = || prop_oneof![Just(Fate::Held), Just(Fate::Freed), Just(Fate::Ended)];
    let id = || any::<u128>().prop_map(UpstreamId);
    let address = || {
        proptest::option::of((any::<std::net::IpAddr>(), any::<u16>()).prop_map(SocketAddr::from))
    };
    let amount = || (0..=limits::AMOUNT_CENTS_MAX).prop_map(Cents);
    let payment = || {
        (id(), amount(), "[A-Za-z0-9._:~-]{1,64}", any::<bool>()).prop_map(
            |(id, amount, text, is_canonical)| {
                let text = if is_canonical { id.to_string() } else { text };
                Payment {
                    id,
                    amount,
                    correlation_id: CorrelationId::try_new(&text).unwrap(),
                }
            },
        )
    };
    let charge = || (processor(), amount(), date());
    let verdict = prop_oneof![
        charge().prop_map(|(processor, amount, requested_at)| Verdict::Applied {
            processor,
            amount,
            requested_at
        }),
        charge().prop_map(|(processor, amount, requested_at)| Verdict::Foreign {
            processor,
            amount,
            requested_at
        }),
        (processor(), fate()).prop_map(|(processor, fate)| Verdict::Refused { processor, fate }),
        (processor(), fate()).prop_map(|(processor, fate)| Verdict::NotSent { processor, fate }),
        Just(Verdict::Withdrawn),
    ];
    prop_oneof![
        (payment(), date()).prop_map(|(payment, accepted_at)| Record::Accept {
            payment,
            accepted_at
        }),
        (
            payment(),
            processor(),
            date(),
            proptest::option::of(date()),
            address()
        )
            .prop_map(|(payment, processor, requested_at, accepted_at, address)| {
                Record::Intent {
                    payment,
                    processor,
                    requested_at,
                    accepted_at,
                    address,
                }
            }),
        (id(), verdict).prop_map(|(id, verdict)| Record::Verdict { id, verdict }),
        date().prop_map(|at| Record::Purge { at }),
    ]
}

proptest! {
    #[test]
    fn every_record_is_read_back_as_it_was_written(record in any_record()) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        prop_assert_eq!(Record::decode(&bytes), Ok(record));
        for end in 0..bytes.len() {
            prop_assert!(Record::decode(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in any::<Vec<u8>>(), kind in 0_u8..14) {
        let mut payload = vec![kind];
        payload.extend_from_slice(&bytes);
        let _ = Record::decode(&payload);
    }
}

#[test]
fn the_usual_payment_costs_its_stated_size() {
    let id = UpstreamId(0x4a79_01b8_7d26_4d9d_aa19_4dc1_c7cf_60b3);
    let correlation_id = CorrelationId::try_new(&id.to_string()).unwrap();
    let payment = Payment {
        id,
        correlation_id,
        amount: Cents(1990),
    };
    let requested_at = UnixMillis(1_752_150_896_000);
    let processor = Processor::DEFAULT;
    let size = |record: Record| {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        bytes.len()
    };
    for (address, expected) in [
        (None, 28),
        (Some("10.1.2.3:8080"), 35),
        (Some("[2001:db8::1]:8080"), 47),
    ] {
        let address = address.map(|text| text.parse().unwrap());
        let intent = Record::Intent {
            payment,
            processor,
            requested_at,
            accepted_at: None,
            address,
        };
        assert_eq!(size(intent), expected, "{address:?}");
    }
    let verdict = Verdict::Applied {
        processor,
        amount: payment.amount,
        requested_at,
    };
    assert_eq!(size(Record::Verdict { id, verdict }), 27);
    assert_eq!(
        size(Record::Accept {
            payment,
            accepted_at: requested_at
        }),
        27
    );
}

#[test]
fn an_intent_without_an_address_reads_as_it_always_did() {
    // Written by the first release: kind, id, 19.90, no spelling, `default`, a date.
    let id = UpstreamId(0x4a79_01b8_7d26_4d9d_aa19_4dc1_c7cf_60b3);
    let mut bytes = vec![INTENT];
    bytes.extend_from_slice(&id.0.to_be_bytes());
    bytes.extend_from_slice(&[0xc6, 0x0f, 0, 1, 0x80, 0xb6, 0xa7, 0xc5, 0xfe, 0x65]);
    let Ok(Record::Intent {
        payment,
        address,
        requested_at,
        ..
    }) = Record::decode(&bytes)
    else {
        panic!("an Intent of the first release is read");
    };
    assert_eq!((payment.id, payment.amount), (id, Cents(1990)));
    assert_eq!(address, None);
    assert_eq!(requested_at, UnixMillis(1_752_150_896_000));
    // It has no envelope, so nothing may follow.
    bytes.push(0);
    assert_eq!(Record::decode(&bytes), Err(Unreadable::Content));
}

#[test]
fn the_longest_record_has_the_length_that_memory_is_reserved_for() {
    let payment = Payment {
        id: UpstreamId(u128::MAX),
        correlation_id: CorrelationId::try_new(&"x".repeat(64)).unwrap(),
        amount: Cents(limits::AMOUNT_CENTS_MAX),
    };
    let at = UnixMillis(253_402_300_799_999);
    let longest = Record::Intent {
        payment,
        processor: Processor::FALLBACK,
        requested_at: at,
        accepted_at: Some(at),
        address: Some(
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"
                .parse()
                .unwrap(),
        ),
    };
    let mut payload = Vec::new();
    longest.encode(&mut payload);
    assert_eq!(24 + payload.len() + 1, JOURNAL_RECORD_BYTES_MAX);
}
