//! What an owner core writes down about a payment, and how that is spelled in bytes. Pure: `flow`
//! and `owner` decide which record comes next, `events` carries it, the writer frames and stores
//! it, `replay` gives it back its meaning.
//!
//! I5: every Accept or Intent ends in a Verdict. A Verdict says by itself what becomes of the
//! payment ([`Fate`]), so replay never has to guess what the owner knew. A payment with an
//! attempt of unknown outcome simply gets no Verdict: its last Intent stays open, which pins it
//! (I3).

use std::net::SocketAddr;

use super::codec::{self, Reader, Unreadable};
use crate::clock::UnixMillis;
use crate::payment::{Cents, Payment, Processor, UpstreamId};

/// Whether a record begins a write of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haste {
    /// Something waits for it: it is written as soon as the write under way has ended.
    Now,
    /// It shares the next write that something waits for, or that is asked for.
    Later,
}

/// One line of a payment's story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// The client is told 202 once this is durable: from here on the payment is never freed. Comes
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
        /// The payment's id.
        id: UpstreamId,
        /// How the payment ended.
        verdict: Verdict,
    },
    /// Ledger and settled claims were forgotten; pending payments stay.
    Purge {
        /// When it happened, in milliseconds since 1970.
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
    /// Charged earlier by another client: the id stays taken, the ledger does not change.
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
        /// The processor that it is about.
        processor: Processor,
        /// What becomes of the payment.
        fate: Fate,
    },
    /// No byte of the attempt reached the processor.
    NotSent {
        /// The processor that it is about.
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
/// All of the above.
const KINDS: std::ops::RangeInclusive<u8> = ACCEPT..=INTENT_AT_OF_PROMISED;

impl Record {
    /// Appends the record's payload; `frame` puts length, place and checksum around it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Accept {
                payment,
                accepted_at,
            } => {
                codec::write_kind(ACCEPT, out);
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
                let kind = match (accepted_at, address) {
                    (None, None) => INTENT,
                    (Some(_), None) => INTENT_OF_PROMISED,
                    (None, Some(_)) => INTENT_AT,
                    (Some(_), Some(_)) => INTENT_AT_OF_PROMISED,
                };
                codec::write_kind(kind, out);
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
                codec::write_kind(PURGE, out);
                codec::write_date(*at, out);
            }
        }
    }

    /// Reads a payload back.
    ///
    /// # Errors
    /// When it is of a kind or version that this release does not know, or no record of its kind.
    pub fn decode(payload: &[u8]) -> Result<Self, Unreadable> {
        let (envelope, mut reader) = Reader::open(payload, |kind| KINDS.contains(&kind))?;
        Self::fields(envelope.kind, &mut reader)
            .filter(|_| reader.may_end(envelope))
            .ok_or(Unreadable::Content)
    }

    fn fields(kind: u8, reader: &mut Reader<'_>) -> Option<Self> {
        Some(match kind {
            ACCEPT => Self::Accept {
                payment: reader.payment()?,
                accepted_at: reader.date()?,
            },
            INTENT | INTENT_OF_PROMISED | INTENT_AT | INTENT_AT_OF_PROMISED => Self::Intent {
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
            },
            PURGE => Self::Purge { at: reader.date()? },
            _ => Self::Verdict {
                id: reader.id()?,
                verdict: decode_verdict(kind, reader)?,
            },
        })
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
        codec::write_kind(kind, out);
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
pub(crate) mod tests;
