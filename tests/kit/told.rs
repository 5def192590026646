//! What clients asked for and what they were told, one entry a request. Ids and amounts follow from
//! a seed and a number, so a million of them need no list.

use p99::testing::payment::{Cents, UpstreamId};

use super::client::Answer;
use super::dice::mix;

/// The payments of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    pub(crate) seed: u64,
}

impl Numbers {
    pub(crate) const fn id(self, number: u32) -> UpstreamId {
        let low = mix(mix(self.seed) ^ number as u64);
        UpstreamId(((mix(self.seed) as u128) << 64) | low as u128)
    }

    pub(crate) const fn amount(self, number: u32, kind: Amount) -> Cents {
        let usual = 1 + number as u64 % 5_000;
        match kind {
            Amount::Usual => Cents(usual),
            Amount::Other => Cents(usual + 10_000),
        }
    }
}

/// A client that mixes up its own payments sends a known id with another amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    Usual,
    Other,
}

/// What one request was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// 200.
    Charged,
    /// 202.
    Held,
    /// 409, processed: a yes.
    KnownCharged,
    /// 409, pending or refused: says nothing new.
    Known,
    /// "It is not charged, and the id is free".
    NotCharged(u16),
    /// An answer that speaks of this request only.
    ThisRequest(u16),
    /// The connection ended without an answer.
    Silence,
    /// The client went away before the answer came.
    Left,
}

impl Word {
    pub(crate) fn of(answer: &Answer, amount: Amount) -> Self {
        let has = |text: &[u8]| memchr::memmem::find(answer.body.as_bytes(), text).is_some();
        match answer.status {
            200 => Self::Charged,
            202 => Self::Held,
            409 if has(br#""status":"processed""#) => Self::KnownCharged,
            409 => Self::Known,
            status => match claim(answer.body.as_bytes()) {
                Some(b"false") => Self::NotCharged(status),
                Some(_) => Self::ThisRequest(status),
                // A version whose problems have no such member says it by the status. An amount
                // that differs is told by 422 too, and says nothing of the payment.
                None if status == 422 && amount == Amount::Other => Self::ThisRequest(status),
                None if matches!(status, 422 | 502 | 503) => Self::NotCharged(status),
                None => Self::ThisRequest(status),
            },
        }
    }

    /// Whether the client may count on the charge.
    pub(crate) const fn is_acknowledged(self) -> bool {
        matches!(self, Self::Charged | Self::Held | Self::KnownCharged)
    }

    /// Whether a request that was told this may have led to a charge.
    pub(crate) const fn may_have_charged(self) -> bool {
        match self {
            Self::Charged | Self::Held | Self::ThisRequest(_) | Self::Silence | Self::Left => true,
            Self::KnownCharged | Self::Known | Self::NotCharged(_) => false,
        }
    }
}

/// The member `charged` of a problem: `false` or `"unknown"`.
fn claim(body: &[u8]) -> Option<&[u8]> {
    let at = memchr::memmem::find(body, br#""charged""#)? + br#""charged""#.len();
    let value = body.get(at..)?.trim_ascii_start().strip_prefix(b":")?;
    let value = value.trim_ascii_start();
    let end = value.iter().position(|byte| matches!(byte, b',' | b'}'));
    Some(value[..end.unwrap_or(value.len())].trim_ascii())
}

/// One request and what came of it; when it was sent, in milliseconds since the run began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) number: u32,
    pub(crate) word: Word,
    pub(crate) amount: Amount,
    pub(crate) sent_ms: u32,
}
