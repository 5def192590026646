//! TRUSTED_PROXIES: addresses and ranges of them.
//!
//! An IPv4 range may be spelled in IPv6 form, as a socket for both shows it: `::ffff:10.0.0.0/104`
//! is 10.0.0.0/8. `server::clients` asks whether an address is in one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::values::digits;

/// Bits of `::ffff:0:0/96` before the IPv4 address.
const MAPPED_BITS: u32 = 96;

/// An address or a range of addresses, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    /// The first one; no bit behind the prefix is set.
    first: IpAddr,
    prefix: u32,
}

impl AddressRange {
    /// Reads an address, or an address, a slash and how many of its bits count. The other bits may
    /// be anything. A range that reaches beyond the IPv4 addresses in IPv6 form is none: neither
    /// family is what its text says.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(digits(prefix)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = width(address);
        let prefix = match prefix {
            Some(prefix) => u32::try_from(prefix)
                .ok()
                .filter(|prefix| *prefix <= width)?,
            None => width,
        };
        let (address, prefix) = match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(inner)) => {
                (IpAddr::V4(inner), prefix.checked_sub(MAPPED_BITS)?)
            }
            (address, _) => (address, prefix),
        };
        let first = first(address, prefix);
        Some(Self { first, prefix })
    }

    /// Whether `address` is in the range. An IPv4 address in IPv6 form counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && first(address, self.prefix) == self.first
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == width(self.first) {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}/{}", self.first, self.prefix)
        }
    }
}

const fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// `address` without what is behind its first `prefix` bits.
fn first(address: IpAddr, prefix: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX
                .checked_shl(32_u32.saturating_sub(prefix))
                .unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX
                .checked_shl(128_u32.saturating_sub(prefix))
                .unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

/// What each entry of `list` was read as, where that is not what it says: bits behind the prefix
/// were set, which looks like another range than was meant.
pub(super) fn shortened(list: &str) -> Vec<(String, AddressRange)> {
    let entry = |text: &str| {
        let range = AddressRange::parse(text)?;
        let (address, _) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        (address.to_canonical() != range.first).then(|| (text.to_owned(), range))
    };
    list.split(',').map(str::trim).filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_their_addresses_and_no_others() {
        let rows = [
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("10.0.0.0/8", "::ffff:10.9.9.9", true),
            ("10.9.9.9/8", "10.1.2.3", true),
            ("10.0.0.0/31", "10.0.0.1", true),
            ("10.0.0.0/31", "10.0.0.2", false),
            ("::ffff:10.0.0.0/104", "10.9.9.9", true),
            ("::ffff:10.0.0.0/104", "::ffff:10.9.9.9", true),
            ("::ffff:10.0.0.0/104", "11.0.0.1", false),
            ("::ffff:10.0.0.0/104", "::1", false),
            ("::FFFF:a00:0/104", "10.9.9.9", true),
            ("::ffff:0:0/96", "1.2.3.4", true),
            ("::ffff:0.0.0.0/96", "::1", false),
            ("::ffff:10.1.2.3", "10.1.2.3", true),
            ("::ffff:10.1.2.3/128", "10.1.2.4", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "1.2.3.4", false),
            ("2001:db8::1", "2001:db8::1", true),
        ];
        for (range, address, holds) in rows {
            let range = AddressRange::parse(range).unwrap();
            assert_eq!(
                range.contains(address.parse().unwrap()),
                holds,
                "{range} {address}"
            );
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            "10.0.0/8",
            "10.0.0.0:80",
            "haproxy",
            "::/129",
            "[::1]",
            "fe80::1%eth0",
            "::ffff:10.0.0.0/95",
            "::ffff:0:0/0",
        ] {
            assert_eq!(AddressRange::parse(text), None, "{text}");
        }
    }

    #[test]
    fn bits_behind_the_prefix_are_noticed() {
        let told = shortened("10.1.2.3/8, 10.0.0.0/8,1.2.3.4,::1/64,::ffff:10.0.0.1/104");
        let told: Vec<String> = told
            .iter()
            .map(|(text, range)| format!("{text} {range}"))
            .collect();
        let expected = [
            "10.1.2.3/8 10.0.0.0/8",
            "::1/64 ::/64",
            "::ffff:10.0.0.1/104 10.0.0.0/8",
        ];
        assert_eq!(told, expected);
    }
}
