//! Records of the journal, made from the choices of an input. Ids repeat, so that records meet.

use std::net::SocketAddr;

use p99::testing::clock::UnixMillis;
use p99::testing::journal::{Fate, Record, Verdict};
use p99::testing::limits;
use p99::testing::payment::{Cents, CorrelationId, Payment, Processor, UpstreamId};

use crate::Input;

/// One record of any kind.
pub fn record(input: &mut Input<'_>) -> Record {
    let choice = input.byte();
    let processor = Processor::ALL[usize::from(choice >> 7)];
    let fate = [Fate::Held, Fate::Freed, Fate::Ended][usize::from(choice >> 4) % 3];
    match choice & 0xf {
        0..=2 => Record::Accept {
            payment: payment(input),
            accepted_at: date(input),
        },
        3..=5 => Record::Intent {
            payment: payment(input),
            processor,
            address: address(input),
            requested_at: date(input),
            accepted_at: (choice & 0x40 != 0).then(|| date(input)),
        },
        6 => Record::Purge { at: date(input) },
        7 => verdict(input, |_| Verdict::Withdrawn),
        8 | 9 => verdict(input, |_| Verdict::Refused { processor, fate }),
        10 => verdict(input, |_| Verdict::NotSent { processor, fate }),
        11 => verdict(input, |input| Verdict::Foreign {
            processor,
            amount: amount(input),
            requested_at: date(input),
        }),
        _ => verdict(input, |input| Verdict::Applied {
            processor,
            amount: amount(input),
            requested_at: date(input),
        }),
    }
}

fn verdict(input: &mut Input<'_>, make: impl FnOnce(&mut Input<'_>) -> Verdict) -> Record {
    Record::Verdict {
        id: payment(input).id,
        verdict: make(input),
    }
}

/// One of few ids, spelled as a name or as a UUID.
fn payment(input: &mut Input<'_>) -> Payment {
    let choice = input.byte();
    let text = match choice >> 6 {
        0 => format!("p-{}", choice & 7),
        1 => "~".repeat(usize::from(choice & 63) + 1),
        2 => UpstreamId(u128::from(choice) << 99).to_string(),
        _ => UpstreamId(u128::from(choice) * 0x0101_0101)
            .to_string()
            .to_uppercase(),
    };
    let correlation_id = CorrelationId::try_new(&text).unwrap();
    Payment {
        id: correlation_id.upstream_id(),
        correlation_id,
        amount: amount(input),
    }
}

/// None, as a release before addresses wrote it, or one of either family.
fn address(input: &mut Input<'_>) -> Option<SocketAddr> {
    let choice = input.byte();
    let port = u16::from(choice) * 257;
    match choice & 3 {
        0 => None,
        1 => Some(SocketAddr::from(([choice; 16], port))),
        _ => Some(SocketAddr::from(([127, 0, 0, choice], port))),
    }
}

/// Mostly a small amount, sometimes any that a payment may have: no other is ever written.
fn amount(input: &mut Input<'_>) -> Cents {
    Cents(match input.byte() {
        255 => input.number::<8>() % (limits::AMOUNT_CENTS_MAX + 1),
        small => u64::from(small) * 99 + 1,
    })
}

/// Mostly within one hour, sometimes any moment.
fn date(input: &mut Input<'_>) -> UnixMillis {
    UnixMillis(match input.byte() {
        255 => input.number::<8>().cast_signed(),
        small => 1_752_150_896_000 + i64::from(small) * 14_007,
    })
}
