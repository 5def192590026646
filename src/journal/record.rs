//! What an owner core writes down about a payment, and how that is spelled in bytes. Pure: `flow`
//! and `owner` decide which record comes next, `events` carries it, the writer frames and stores
//! it, `replay` gives it back its meaning.
//!
//! I5: every Accept or Intent ends in a Verdict. A Verdict says by itself what becomes of the
//! payment ([`Fate`]), so replay never has to guess what the owner knew. A payment with an
//! attempt of unknown outcome simply gets no Verdict: its last Intent stays open, which pins it
//! (I3).

use std::net::SocketAddr;

use super::codec::{self, Reader};
use crate::clock::UnixMillis;
use crate::payment::{Cents, Payment, Processor, UpstreamId};

/// One line of a payment's story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// The client was told 202, or is about to be: from here on the payment is never freed. Comes
    /// before any Intent (`ACK=accepted`) or after one (the wait was over while it was sent).
    Accept {
        /// What was promised.
        payment: Payment,
        /// When; FALLBACK_AFTER_MS counts from here.
        accepted_at: UnixMillis,
    },
    /// Bytes may go to `processor` once this is durable. Closes an open Intent for the other
    /// processor. With the same processor and `requested_at` as the open one it is a re-send.
    Intent {
        /// What to charge.
        payment: Payment,
        /// By whom.
        processor: Processor,
        /// As it goes upstream (I9).
        requested_at: UnixMillis,
        /// When the client was promised it; `None` while nothing was promised.
        accepted_at: Option<UnixMillis>,
        /// The address that the bytes go to (I10). `None` in records of releases that did not
        /// write it, and where the processor has none.
        address: Option<SocketAddr>,
    },
    /// The payment's open attempt, or the payment itself, has ended.
    Verdict {
        /// Whose.
        id: UpstreamId,
        /// How.
        verdict: Verdict,
    },
    /// Ledger and settled claims were forgotten; pending payments stay.
    Purge {
        /// When.
        at: UnixMillis,
    },
}

/// How an attempt or a payment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Charged by us: it counts in the ledger (I6) and its id stays taken.
    Applied {
        /// By whom.
        processor: Processor,
        /// How much.
        amount: Cents,
        /// The `requestedAt` that was sent.
        requested_at: UnixMillis,
    },
    /// Charged earlier by somebody else: the id stays taken, the ledger does not change.
    Foreign {
        /// By whom.
        processor: Processor,
        /// How much we wanted to charge.
        amount: Cents,
        /// The `requestedAt` that the processor has stored.
        requested_at: UnixMillis,
    },
    /// The processor refused the payment: every attempt of it there was refused or never sent.
    Refused {
        /// Who.
        processor: Processor,
        /// What becomes of the payment.
        fate: Fate,
    },
    /// No byte of the attempt reached the processor.
    NotSent {
        /// Which.
        processor: Processor,
        /// What becomes of the payment.
        fate: Fate,
    },
    /// The payment ended before any byte of it was sent anywhere; its id is free again.
    Withdrawn,
}

/// What becomes of a payment whose attempt ended without a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Pending and not pinned: it waits for another attempt at either processor.
    Held,
    /// It ended, the client was told so, and the id is free again.
    Freed,
    /// It was promised by 202 and refused for good: settled as `refused`, the id stays taken.
    Ended,
}

const ACCEPT: u8 = 1;
const INTENT: u8 = 2;
const INTENT_OF_PROMISED: u8 = 3;
const APPLIED: u8 = 4;
const FOREIGN: u8 = 5;
const REFUSED: u8 = 6;
const NOT_SENT: u8 = 7;
const WITHDRAWN: u8 = 8;
const PURGE: u8 = 9;
/// An Intent with its address. The two kinds above stay readable for ever.
const INTENT_AT: u8 = 10;
const INTENT_AT_OF_PROMISED: u8 = 11;

impl Record {
    /// Appends the record's payload; `frame` puts length, place and checksum around it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Accept {
                payment,
                accepted_at,
            } => {
                out.push(ACCEPT);
                codec::write_payment(payment, out);
                codec::write_date(*accepted_at, out);
            }
            Self::Intent {
                payment,
                processor,
                requested_at,
                accepted_at,
                address,
            } => {
                out.push(match (accepted_at, address) {
                    (None, None) => INTENT,
                    (Some(_), None) => INTENT_OF_PROMISED,
                    (None, Some(_)) => INTENT_AT,
                    (Some(_), Some(_)) => INTENT_AT_OF_PROMISED,
                });
                codec::write_payment(payment, out);
                codec::write_processor(*processor, out);
                codec::write_date(*requested_at, out);
                if let Some(date) = accepted_at {
                    codec::write_date(*date, out);
                }
                if let Some(address) = address {
                    codec::write_address(*address, out);
                }
            }
            Self::Verdict { id, verdict } => encode_verdict(*id, *verdict, out),
            Self::Purge { at } => {
                out.push(PURGE);
                codec::write_date(*at, out);
            }
        }
    }

    /// Reads a payload back. `None` when it is not exactly one record.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        let record = match reader.byte()? {
            ACCEPT => Self::Accept {
                payment: reader.payment()?,
                accepted_at: reader.date()?,
            },
            kind @ (INTENT | INTENT_OF_PROMISED | INTENT_AT | INTENT_AT_OF_PROMISED) => {
                Self::Intent {
                    payment: reader.payment()?,
                    processor: reader.processor()?,
                    requested_at: reader.date()?,
                    accepted_at: match kind {
                        INTENT_OF_PROMISED | INTENT_AT_OF_PROMISED => Some(reader.date()?),
                        _ => None,
                    },
                    address: match kind {
                        INTENT_AT | INTENT_AT_OF_PROMISED => Some(reader.address()?),
                        _ => None,
                    },
                }
            }
            PURGE => Self::Purge { at: reader.date()? },
            kind => Self::Verdict {
                id: reader.id()?,
                verdict: decode_verdict(kind, &mut reader)?,
            },
        };
        reader.is_empty().then_some(record)
    }

    /// Whose record it is; `None` for a purge, which concerns the whole core.
    #[must_use]
    pub fn id(&self) -> Option<UpstreamId> {
        match self {
            Self::Accept { payment, .. } | Self::Intent { payment, .. } => Some(payment.id),
            Self::Verdict { id, .. } => Some(*id),
            Self::Purge { .. } => None,
        }
    }
}

fn encode_verdict(id: UpstreamId, verdict: Verdict, out: &mut Vec<u8>) {
    let open = |kind, out: &mut Vec<u8>| {
        out.push(kind);
        codec::write_id(id, out);
    };
    match verdict {
        Verdict::Applied {
            processor,
            amount,
            requested_at,
        }
        | Verdict::Foreign {
            processor,
            amount,
            requested_at,
        } => {
            let is_ours = matches!(verdict, Verdict::Applied { .. });
            open(if is_ours { APPLIED } else { FOREIGN }, out);
            codec::write_processor(processor, out);
            codec::write_number(amount.0, out);
            codec::write_date(requested_at, out);
        }
        Verdict::Refused { processor, fate } | Verdict::NotSent { processor, fate } => {
            let is_refusal = matches!(verdict, Verdict::Refused { .. });
            open(if is_refusal { REFUSED } else { NOT_SENT }, out);
            codec::write_processor(processor, out);
            out.push(match fate {
                Fate::Held => 1,
                Fate::Freed => 2,
                Fate::Ended => 3,
            });
        }
        Verdict::Withdrawn => open(WITHDRAWN, out),
    }
}

fn decode_verdict(kind: u8, reader: &mut Reader<'_>) -> Option<Verdict> {
    if kind == WITHDRAWN {
        return Some(Verdict::Withdrawn);
    }
    let processor = reader.processor()?;
    let mut fate = || match reader.byte()? {
        1 => Some(Fate::Held),
        2 => Some(Fate::Freed),
        3 => Some(Fate::Ended),
        _ => None,
    };
    match kind {
        REFUSED => Some(Verdict::Refused {
            processor,
            fate: fate()?,
        }),
        NOT_SENT => Some(Verdict::NotSent {
            processor,
            fate: fate()?,
        }),
        APPLIED => Some(Verdict::Applied {
            processor,
            amount: reader.amount()?,
            requested_at: reader.date()?,
        }),
        FOREIGN => Some(Verdict::Foreign {
            processor,
            amount: reader.amount()?,
            requested_at: reader.date()?,
        }),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits;
    use crate::payment::CorrelationId;

    pub(crate) fn any_record() -> impl Strategy<Value = Record> {
        let date = || any::<i64>().prop_map(UnixMillis);
        let processor = || prop_oneof![Just(Processor::Default), Just(Processor::Fallback)];
        let fate = || prop_oneof![Just(Fate::Held), Just(Fate::Freed), Just(Fate::Ended)];
        let id = || any::<u128>().prop_map(UpstreamId);
        let address = || {
            proptest::option::of(
                (any::<std::net::IpAddr>(), any::<u16>()).prop_map(SocketAddr::from),
            )
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
            (processor(), fate())
                .prop_map(|(processor, fate)| Verdict::Refused { processor, fate }),
            (processor(), fate())
                .prop_map(|(processor, fate)| Verdict::NotSent { processor, fate }),
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
                .prop_map(
                    |(payment, processor, requested_at, accepted_at, address)| Record::Intent {
                        payment,
                        processor,
                        requested_at,
                        accepted_at,
                        address
                    }
                ),
            (id(), verdict).prop_map(|(id, verdict)| Record::Verdict { id, verdict }),
            date().prop_map(|at| Record::Purge { at }),
        ]
    }

    proptest! {
        #[test]
        fn every_record_is_read_back_as_it_was_written(record in any_record()) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            prop_assert_eq!(Record::decode(&bytes), Some(record));
            for end in 0..bytes.len() {
                prop_assert_eq!(Record::decode(&bytes[..end]), None);
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
        let processor = Processor::Default;
        let size = |record: Record| {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            bytes.len()
        };
        for (address, expected) in [
            (None, 27),
            (Some("10.1.2.3:8080"), 34),
            (Some("[2001:db8::1]:8080"), 46),
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
        assert_eq!(size(Record::Verdict { id, verdict }), 26);
        assert_eq!(
            size(Record::Accept {
                payment,
                accepted_at: requested_at
            }),
            26
        );
    }

    #[test]
    fn an_intent_without_an_address_reads_as_it_always_did() {
        // Written by the first release: kind, id, 19.90, no spelling, `default`, a date.
        let id = UpstreamId(0x4a79_01b8_7d26_4d9d_aa19_4dc1_c7cf_60b3);
        let mut bytes = vec![INTENT];
        bytes.extend_from_slice(&id.0.to_be_bytes());
        bytes.extend_from_slice(&[0xc6, 0x0f, 0, 1, 0x80, 0xb6, 0xa7, 0xc5, 0xfe, 0x65]);
        let Some(Record::Intent {
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
        let mut again = Vec::new();
        Record::decode(&bytes).unwrap().encode(&mut again);
        assert_eq!(again, bytes);
    }
}
