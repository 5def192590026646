//! The small alphabet of the journal's payloads: the envelope of each, bytes, LEB128 numbers,
//! zigzag dates and ids. `record` and `snapshot` spell their records with it. Reading takes
//! hostile bytes: whatever they hold, the answer is a value or an error, never a panic (I8:
//! nothing here allocates by what a length claims).
//!
//! The envelope is kind and version; the frame around it has the length. Two rules keep one step
//! back to the release before possible: a field is only ever added at the end, and readers skip
//! what follows the fields that they know; what changes the meaning of a record gets a new version
//! or kind, which readers refuse, and which a release must be able to read before one writes it.

use std::net::{IpAddr, SocketAddr};

use crate::clock::UnixMillis;
use crate::limits;
use crate::payment::{Cents, CorrelationId, Payment, Processor, UpstreamId};

/// Set in the first byte of a payload with an envelope. Releases before it wrote the kind alone,
/// always below 64, and nothing may follow what they wrote.
const ENVELOPED: u8 = 0x80;
/// The version that every kind has until one changes its meaning.
const VERSION: u8 = 1;

/// What a payload is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) kind: u8,
    /// 0 where there is no envelope.
    version: u8,
}

/// Why a payload is not read, though it is what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// A kind, or a version of a known kind, that this release does not know.
    Unknown {
        /// The number of its kind.
        kind: u8,
        /// The version of that kind; 0 where none is written.
        version: u8,
    },
    /// It is not what its kind and version demand.
    Content,
}

/// Bytes that are read from the front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Reads `payload` up to its fields, if this release knows `kinds` and the version.
    ///
    /// # Errors
    /// `Content` for no bytes at all, else `Unknown`.
    pub(crate) fn open(
        payload: &'a [u8],
        kinds: impl FnOnce(u8) -> bool,
    ) -> Result<(Envelope, Self), Unreadable> {
        let mut reader = Self::new(payload);
        let first = reader.byte().ok_or(Unreadable::Content)?;
        let kind = first & !ENVELOPED;
        let version = match first & ENVELOPED {
            0 => 0,
            _ => reader.byte().ok_or(Unreadable::Content)?,
        };
        if version > VERSION || (version == 0 && first != kind) || !kinds(kind) {
            return Err(Unreadable::Unknown { kind, version });
        }
        Ok((Envelope { kind, version }, reader))
    }

    /// Whether the fields may end here: what follows them was added by a later release.
    pub(crate) fn may_end(&self, envelope: Envelope) -> bool {
        envelope.version > 0 || self.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let placed = bits << shift;
            if placed >> shift != bits {
                return None;
            }
            value |= placed;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn date(&mut self) -> Option<UnixMillis> {
        let folded = self.number()?;
        let magnitude = i64::try_from(folded >> 1).ok()?;
        Some(UnixMillis(if folded & 1 == 0 {
            magnitude
        } else {
            !magnitude
        }))
    }

    /// No more than any payment can have: what is read here is packed into fewer bits later.
    pub(crate) fn amount(&mut self) -> Option<Cents> {
        let cents = self.number()?;
        (cents <= limits::AMOUNT_CENTS_MAX).then_some(Cents(cents))
    }

    pub(crate) fn id(&mut self) -> Option<UpstreamId> {
        let bytes = self.bytes(16)?.try_into().ok()?;
        Some(UpstreamId(u128::from_be_bytes(bytes)))
    }

    pub(crate) fn processor(&mut self) -> Option<Processor> {
        let number = usize::from(self.byte()?);
        Processor::of_index(number.checked_sub(1)?)
    }

    pub(crate) fn address(&mut self) -> Option<SocketAddr> {
        let ip: IpAddr = match self.byte()? {
            4 => <[u8; 4]>::try_from(self.bytes(4)?).ok()?.into(),
            6 => <[u8; 16]>::try_from(self.bytes(16)?).ok()?.into(),
            _ => return None,
        };
        let port = u16::from_be_bytes(self.bytes(2)?.try_into().ok()?);
        Some(SocketAddr::new(ip, port))
    }

    pub(crate) fn payment(&mut self) -> Option<Payment> {
        let id = self.id()?;
        let amount = self.amount()?;
        let length = usize::from(self.byte()?);
        let correlation_id = if length == 0 {
            CorrelationId::try_new(std::str::from_utf8(&id.spell()).ok()?).ok()?
        } else {
            CorrelationId::try_new(std::str::from_utf8(self.bytes(length)?).ok()?).ok()?
        };
        Some(Payment {
            id,
            correlation_id,
            amount,
        })
    }
}

/// Begins a payload of `kind`.
pub(crate) fn write_kind(kind: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[kind | ENVELOPED, VERSION]);
}

pub(crate) fn write_number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

pub(crate) fn write_date(date: UnixMillis, out: &mut Vec<u8>) {
    let folded = ((date.0 << 1) ^ (date.0 >> 63)).cast_unsigned();
    write_number(folded, out);
}

pub(crate) fn write_id(id: UpstreamId, out: &mut Vec<u8>) {
    out.extend_from_slice(&id.0.to_be_bytes());
}

/// Its index and one: 0 is kept for none.
pub(crate) fn write_processor(processor: Processor, out: &mut Vec<u8>) {
    out.push(processor.number().saturating_add(1));
}

/// Its family, its bytes and the port; the scope of a link-local address is not kept.
pub(crate) fn write_address(address: SocketAddr, out: &mut Vec<u8>) {
    match address.ip() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

/// The client's spelling is left out when it is the canonical text of the id, which saves 36 of
/// about 90 bytes for nearly every payment.
pub(crate) fn write_payment(payment: &Payment, out: &mut Vec<u8>) {
    write_id(payment.id, out);
    write_number(payment.amount.0, out);
    let text = payment.correlation_id.as_str();
    if text.as_bytes() == payment.id.spell() {
        out.push(0);
        return;
    }
    out.push(u8::try_from(text.len()).unwrap_or(0));
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A claim packs it into 48 bits, and asserts that it fits.
    #[test]
    fn an_amount_that_no_payment_can_have_is_not_read() {
        for (cents, is_read) in [
            (limits::AMOUNT_CENTS_MAX, true),
            (limits::AMOUNT_CENTS_MAX + 1, false),
            (1 << 56, false),
            (u64::MAX, false),
        ] {
            let mut bytes = Vec::new();
            write_number(cents, &mut bytes);
            assert_eq!(Reader::new(&bytes).amount().is_some(), is_read, "{cents}");
        }
    }
}
