//! How the last attempt at a processor failed, as one word that a core writes and every core reads.

use std::fmt;

use crate::clock::Mono;

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It was answered with this status.
    Status(u16),
    /// No connection, or one that was dead before the first byte.
    NoConnection,
    /// The connection ended, or bytes came that are no answer, after bytes went out.
    Cut,
    /// No answer in time.
    Timeout,
}

/// A status code needs ten bits; the microseconds above them last for centuries.
const BITS: u32 = 10;

impl Fault {
    /// This fault now. Never zero.
    pub(super) fn pack(self, now: Mono) -> u64 {
        let code = match self {
            Self::NoConnection => 1,
            Self::Cut => 2,
            Self::Timeout => 3,
            Self::Status(status) => u64::from(status).clamp(4, (1 << BITS) - 1),
        };
        now.0 << BITS | code
    }

    /// What [`Self::pack`] made; `None` of zero.
    pub(super) fn unpack(word: u64) -> Option<(Mono, Self)> {
        let code = u16::try_from(word & ((1 << BITS) - 1)).unwrap_or(0);
        let fault = match code {
            0 => return None,
            1 => Self::NoConnection,
            2 => Self::Cut,
            3 => Self::Timeout,
            status => Self::Status(status),
        };
        Some((Mono(word >> BITS), fault))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "answered {status}"),
            Self::NoConnection => f.write_str("no connection"),
            Self::Cut => f.write_str("connection cut, or no HTTP answer, after bytes were sent"),
            Self::Timeout => f.write_str("no answer within ATTEMPT_TIMEOUT_MS"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_as_it_was_written() {
        let faults = [
            Fault::Status(503),
            Fault::Status(401),
            Fault::NoConnection,
            Fault::Cut,
            Fault::Timeout,
        ];
        for fault in faults {
            let word = fault.pack(Mono(77));
            assert_eq!(Fault::unpack(word), Some((Mono(77), fault)));
        }
        assert_eq!(Fault::unpack(0), None);
        assert_ne!(Fault::NoConnection.pack(Mono(0)), 0);
    }
}
