//! Stories of one id, as records and as what a batch makes of them.

use super::*;
use crate::clock::UnixMillis;
use crate::payment::{Cents, CorrelationId, Payment, Processor};

const A: Processor = Processor::DEFAULT;
const B: Processor = Processor::FALLBACK;

fn payment(number: u128) -> Payment {
    let id = UpstreamId(number);
    Payment {
        id,
        correlation_id: CorrelationId::try_new(&id.to_string()).unwrap(),
        amount: Cents(1_990),
    }
}

fn accept(number: u128) -> Record {
    Record::Accept {
        payment: payment(number),
        accepted_at: UnixMillis(5),
    }
}

fn intent(number: u128, processor: Processor, at: i64) -> Record {
    Record::Intent {
        payment: payment(number),
        processor,
        requested_at: UnixMillis(at),
        accepted_at: None,
        address: None,
    }
}

fn verdict(number: u128, verdict: Verdict) -> Record {
    let id = UpstreamId(number);
    Record::Verdict { id, verdict }
}

fn applied(number: u128, at: i64) -> Record {
    verdict(
        number,
        Verdict::Applied {
            processor: A,
            amount: Cents(1_990),
            requested_at: UnixMillis(at),
        },
    )
}

fn refused(number: u128, fate: Fate) -> Record {
    let processor = A;
    verdict(number, Verdict::Refused { processor, fate })
}

/// The batch that `records` make, and how many of them are in it.
fn gathered(records: &[Record], ours: &[u128]) -> (Batch, usize) {
    let mut builder = Builder::default();
    let mut count = 0;
    for record in records {
        let is_ours = ours.contains(&record.id().0);
        if builder.take(record, is_ours) == Taken::EndsBatch {
            break;
        }
        count += 1;
    }
    (builder.build(), count)
}

#[test]
fn what_is_new_is_claimed_in_the_order_of_ids() {
    let (batch, count) = gathered(&[intent(3, A, 7), accept(1), intent(2, B, 8)], &[]);
    assert_eq!(count, 3);
    let claims: Vec<_> = batch
        .claims
        .iter()
        .map(|one| (one.id.0, one.processor, one.at.0, one.status))
        .collect();
    let expected = [
        (1, None, 5, RowStatus::Promised),
        (2, Some(B), 8, RowStatus::Open),
        (3, Some(A), 7, RowStatus::Open),
    ];
    assert_eq!(claims, expected);
    assert!(batch.updates.is_empty() && batch.freed.is_empty());
    assert!(batch.claims.iter().all(|one| one.correlation_id.is_none()));
}

#[test]
fn another_spelling_is_kept() {
    let correlation_id = CorrelationId::try_new("order:7").unwrap();
    let payment = Payment {
        id: correlation_id.upstream_id(),
        correlation_id,
        amount: Cents(1),
    };
    let record = Record::Accept {
        payment,
        accepted_at: UnixMillis(1),
    };
    let (batch, _) = gathered(&[record], &[]);
    assert_eq!(batch.claims[0].correlation_id.as_deref(), Some("order:7"));
}

#[test]
fn a_promise_and_a_first_intent_are_one_row_in_either_order() {
    for records in [[accept(1), intent(1, A, 9)], [intent(1, A, 9), accept(1)]] {
        let (batch, count) = gathered(&records, &[]);
        assert_eq!(count, 2);
        let [claim] = &batch.claims[..] else {
            panic!("{batch:?}")
        };
        assert_eq!(claim.status, RowStatus::Promised);
        assert_eq!((claim.processor, claim.at.0), (Some(A), 9));
        assert_eq!(claim.accepted_at, Some(UnixMillis(5)));
    }
}

#[test]
fn what_follows_a_claim_waits_until_it_is_won() {
    for next in [
        applied(1, 9),
        refused(1, Fate::Freed),
        refused(1, Fate::Held),
        verdict(1, Verdict::Withdrawn),
        intent(1, B, 10),
        Record::Heard { id: UpstreamId(1) },
    ] {
        let (batch, count) = gathered(&[intent(1, A, 9), next, intent(2, A, 9)], &[]);
        assert_eq!((count, batch.claims.len()), (1, 1), "{next:?}");
    }
}

#[test]
fn rows_of_ours_change_or_go() {
    let held = (Change::None, Pin::Nowhere);
    let rows: [(&[Record], (Change, Pin)); 8] = [
        (&[applied(1, 9)], (Change::Charged, Pin::To(A))),
        (
            &[accept(1), applied(1, 9)],
            (Change::ChargedAfterPromise, Pin::To(A)),
        ),
        (&[accept(1)], (Change::Promised, Pin::Same)),
        (&[refused(1, Fate::Held)], held),
        (
            &[refused(1, Fate::Held), intent(1, B, 10)],
            (Change::None, Pin::To(B)),
        ),
        (
            &[accept(1), refused(1, Fate::Held), intent(1, B, 10)],
            (Change::Promised, Pin::To(B)),
        ),
        (
            &[refused(1, Fate::Ended)],
            (Change::Settled(RowStatus::Refused), Pin::Same),
        ),
        (
            &[verdict(
                1,
                Verdict::Foreign {
                    processor: B,
                    amount: Cents(1),
                    requested_at: UnixMillis(4),
                },
            )],
            (Change::Settled(RowStatus::Foreign), Pin::To(B)),
        ),
    ];
    for (records, expected) in rows {
        let (batch, count) = gathered(records, &[1]);
        assert_eq!(count, records.len(), "{records:?}");
        let [update] = &batch.updates[..] else {
            panic!("{batch:?}")
        };
        assert_eq!((update.change, update.processor), expected, "{records:?}");
        assert!(batch.claims.is_empty() && batch.freed.is_empty());
        let is_counted = matches!(expected.0, Change::Charged | Change::ChargedAfterPromise);
        assert_eq!(!batch.counted().is_empty(), is_counted);
    }
}

#[test]
fn a_freed_id_may_be_claimed_again_in_the_same_batch() {
    for free in [
        refused(1, Fate::Freed),
        verdict(1, Verdict::Withdrawn),
        verdict(
            1,
            Verdict::NotSent {
                processor: A,
                fate: Fate::Freed,
            },
        ),
    ] {
        let (batch, count) = gathered(&[accept(1), free, intent(1, B, 10), free], &[1]);
        assert_eq!(count, 3, "the last one follows a claim");
        assert_eq!(batch.freed, [UpstreamId(1)]);
        assert_eq!(batch.claims[0].processor, Some(B));
        assert!(batch.updates.is_empty());
    }
}

#[test]
fn nothing_follows_an_end_in_the_same_batch() {
    let by_hand = Record::ByHand {
        id: UpstreamId(1),
        charged: Some((B, UnixMillis(4))),
    };
    for end in [applied(1, 9), refused(1, Fate::Ended), by_hand] {
        let (batch, count) = gathered(&[end, intent(1, A, 10)], &[1]);
        assert_eq!((count, batch.updates.len()), (1, 1), "{end:?}");
    }
}
