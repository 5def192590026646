//! How often each client address may ask: `RATE_LIMIT_RPS` in the long run, `RATE_LIMIT_BURST` at
//! once. Shared by all cores; the server asks once for each request and answers 429.
//!
//! It is the generic cell rate algorithm: an address has one number, the moment at which its
//! budget is whole again (the theoretical arrival time, TAT). A request moves it on by one
//! interval and is refused when it would lie more than a burst ahead. An address whose moment has
//! passed is as good as one never seen, so forgetting it loses nothing, and a fixed table with no
//! clean-up is enough. Whose address it is behind a proxy, the server decides.
//!
//! IPv6 clients are told apart by their first 64 bits: a customer gets at least that much, and
//! a client that may choose the rest would have no limit. Clients whose address cannot be told
//! share one budget: a limit that lets them pass is none.
//!
//! Bounds (I8): [`limits::RATE_LIMIT_ADDRESSES`] words of eight bytes, eight to a cache line. When
//! all eight of a line are in use, the one that is nearest to a whole budget is forgotten early:
//! its address gains less than a burst.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::atomics::{AtomicU64, RandomState};
use crate::clock::Mono;
use crate::limits;

/// Words of a line; 64 bytes. With loom the table is one short line: all clients meet there.
const WAYS: usize = if cfg!(all(test, loom)) { 2 } else { 8 };
const LINES: usize = if cfg!(all(test, loom)) {
    1
} else {
    limits::RATE_LIMIT_ADDRESSES / WAYS
};
/// A word is the address's fingerprint (18 bits) and its moment in ticks. Two addresses share a
/// budget when fingerprint and line (13 bits) agree: one pair in two thousand million. Ticks are
/// not shorter than a microsecond, so 46 bits last 2.2 years and then wrap, which
/// [`Terms::ahead`] allows for.
const TICK_BITS: u32 = 46;
const TICK_MASK: u64 = (1 << TICK_BITS) - 1;

const _: () = assert!(
    LINES.is_power_of_two(),
    "a line is chosen by the low bits of a hash"
);

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The client with this address.
    At(IpAddr),
    /// One whose address cannot be told.
    Unknown,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct RateLimit {
    lines: Box<[CachePadded<[AtomicU64; WAYS]>]>,
    /// Keyed anew in each process, so that no one can choose addresses of one line.
    hasher: RandomState,
    /// Requests a second in the upper half, requests at once in the lower; both change together.
    rate: CachePadded<AtomicU64>,
}

/// What a rate means in ticks.
#[derive(Clone, Copy, Debug)]
struct Terms {
    ticks_per_second: u64,
    /// What one request costs.
    interval_ticks: u64,
    /// How far ahead the moment may lie for one more request.
    tolerance_ticks: u64,
}

impl RateLimit {
    /// Allows `per_second` requests a second and `burst`, at least 1, at once; 0 a second is no
    /// limit.
    #[must_use]
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let line = || CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0)));
        Self {
            lines: (0..LINES).map(|_| line()).collect(),
            hasher: RandomState::default(),
            rate: CachePadded::new(AtomicU64::new(pack(per_second, burst))),
        }
    }

    /// Allows so much from now on. Every budget is whole again: what it was has no meaning under
    /// another rate.
    pub(crate) fn set(&self, per_second: u32, burst: u32) {
        let rate = pack(per_second, burst);
        if self.rate.swap(rate, Relaxed) != rate {
            let words = self.lines.iter().flat_map(|line| line.iter());
            words.for_each(|word| word.store(0, Relaxed));
        }
    }

    /// Requests a second, 0 without a limit; and how many at once.
    #[must_use]
    pub(crate) fn get(&self) -> (u32, u32) {
        let rate = self.rate.load(Relaxed);
        let half = |word: u64| u32::try_from(word & u64::from(u32::MAX)).unwrap_or(0);
        (half(rate >> 32), half(rate))
    }

    /// Whether there is a limit.
    #[must_use]
    pub(crate) fn is_on(&self) -> bool {
        self.get().0 > 0
    }

    /// Counts one request of `client`.
    ///
    /// # Errors
    /// It comes too early and was not counted; how long to wait.
    pub(crate) fn check(&self, client: Client, now: Mono) -> Result<(), Duration> {
        let (per_second, burst) = self.get();
        if per_second == 0 {
            return Ok(());
        }
        let terms = Terms::new(per_second, burst);
        let hash = self.hasher.hash_one(budget_of(client));
        let fingerprint = hash >> TICK_BITS;
        let index = usize::try_from(hash & TICK_MASK).unwrap_or(0) & (LINES - 1);
        let Some(line) = self.lines.get(index) else {
            return Ok(());
        };
        let now_ticks = terms.ticks(now);
        // Each failed swap is another core's success on this very line.
        for _ in 0..limits::RATE_LIMIT_TRIES_MAX {
            let Some((word, seen, ahead)) = find(terms, line, (fingerprint, now_ticks)) else {
                break;
            };
            if ahead > terms.tolerance_ticks {
                return Err(terms.span(ahead - terms.tolerance_ticks));
            }
            let moment = now_ticks.wrapping_add(ahead + terms.interval_ticks) & TICK_MASK;
            let next = fingerprint << TICK_BITS | moment;
            if word.compare_exchange(seen, next, Relaxed, Relaxed).is_ok() {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn pack(per_second: u32, burst: u32) -> u64 {
    u64::from(per_second) << 32 | u64::from(burst.max(1))
}

/// The word of `fingerprint`, or the one to overwrite with it; how far its moment lies ahead for
/// this address.
fn find(
    terms: Terms,
    line: &[AtomicU64; WAYS],
    (fingerprint, now_ticks): (u64, u64),
) -> Option<(&AtomicU64, u64, u64)> {
    let mut least: Option<(&AtomicU64, u64, u64)> = None;
    for word in line {
        let seen = word.load(Relaxed);
        let ahead = terms.ahead(seen, now_ticks);
        if seen >> TICK_BITS == fingerprint {
            return Some((word, seen, ahead));
        }
        if least.is_none_or(|(_, _, least)| ahead < least) {
            least = Some((word, seen, ahead));
        }
    }
    // The address that is nearest to a whole budget, if not beyond, makes room.
    least.map(|(word, seen, _)| (word, seen, 0))
}

impl Terms {
    /// Of a rate that is not 0.
    fn new(per_second: u32, burst: u32) -> Self {
        let per_second = u64::from(per_second.max(1));
        // A tick is a part of an interval, so that the rate is exact whatever it is; up to sixteen
        // parts make the wait exact enough.
        let interval_ticks = (1_000_000 / per_second).clamp(1, 16);
        Self {
            ticks_per_second: per_second * interval_ticks,
            interval_ticks,
            tolerance_ticks: u64::from(burst.max(1) - 1) * interval_ticks,
        }
    }

    /// How far the moment of `word` lies ahead. No moment is ever set further than a burst and a
    /// request ahead of some core's clock; what seems to be is long past.
    fn ahead(&self, word: u64, now_ticks: u64) -> u64 {
        let ahead = word.wrapping_sub(now_ticks) & TICK_MASK;
        let clocks_differ_by = self.ticks_per_second;
        let furthest = self.tolerance_ticks + self.interval_ticks + clocks_differ_by;
        if ahead <= furthest { ahead } else { 0 }
    }

    fn ticks(&self, now: Mono) -> u64 {
        let ticks = u128::from(now.0) * u128::from(self.ticks_per_second) / 1_000_000;
        u64::try_from(ticks & u128::from(TICK_MASK)).unwrap_or(0)
    }

    /// Rounded up. Enough, because "now" is not before its tick.
    fn span(&self, ticks: u64) -> Duration {
        Duration::from_micros((ticks * 1_000_000).div_ceil(self.ticks_per_second))
    }
}

/// Whose budget a request of `client` uses.
#[must_use]
pub(crate) fn budget_of(client: Client) -> u64 {
    let Client::At(address) = client else {
        // The prefix of multicast addresses (ff00::/8), from which nothing is sent.
        return u64::MAX;
    };
    match address.to_canonical() {
        // Such a prefix (0000::/32) is no one's in IPv6.
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or(0),
    }
}

#[cfg(all(test, loom))]
mod interleavings;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::sync::atomic::AtomicU32;

    use proptest::prelude::*;

    use super::*;

    const fn client(number: u32) -> Client {
        Client::At(IpAddr::V4(Ipv4Addr::from_bits(number)))
    }

    #[test]
    fn a_burst_passes_and_then_one_for_each_interval() {
        let limit = RateLimit::new(10, 3);
        let now = Mono(5_000_000);
        for _ in 0..3 {
            assert_eq!(limit.check(client(1), now), Ok(()));
        }
        let wait = limit.check(client(1), now).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert!(limit.check(client(1), Mono(5_090_000)).is_err());
        assert_eq!(limit.check(client(1), now.after(wait)), Ok(()));
        assert!(limit.check(client(1), now.after(wait)).is_err());
        assert_eq!(
            limit.check(client(2), now),
            Ok(()),
            "another client's budget is its own"
        );
    }

    #[test]
    fn every_rate_is_kept_exactly_in_the_long_run() {
        for per_second in [1, 3, 7, 60, 999, 70_000, 300_000, 1_000_000] {
            let limit = RateLimit::new(per_second, 2);
            let span_us = if per_second < 1_000 {
                20_000_000
            } else {
                100_000
            };
            let step = (250_000 / u64::from(per_second)).max(1);
            let allowed = (0..span_us)
                .step_by(usize::try_from(step).unwrap())
                .filter(|us| limit.check(client(1), Mono(*us)).is_ok())
                .count();
            let due = u64::from(per_second) * span_us / 1_000_000;
            let allowed = u64::try_from(allowed).unwrap();
            assert!(
                (due..=due + 2).contains(&allowed),
                "{per_second}: {allowed} of {due}"
            );
        }
    }

    #[test]
    fn the_wait_that_is_told_is_enough_and_not_much_too_long() {
        for (per_second, now) in [(1, 333_333), (7, 1_234_567), (16, 999_999), (70_000, 77)] {
            let limit = RateLimit::new(per_second, 1);
            assert_eq!(limit.check(client(1), Mono(now)), Ok(()));
            let wait = limit.check(client(1), Mono(now)).unwrap_err();
            assert!(
                limit.check(client(1), Mono(now).after(wait)).is_ok(),
                "{per_second}"
            );
            assert!(wait <= Duration::from_micros(1_000_000 / u64::from(per_second) + 1));
        }
    }

    #[test]
    fn addresses_are_told_apart_as_far_as_their_owner_cannot_choose_them() {
        let v6 = |text: &str| Client::At(IpAddr::V6(text.parse::<Ipv6Addr>().unwrap()));
        assert_eq!(
            budget_of(v6("2001:db8:1:2::1")),
            budget_of(v6("2001:db8:1:2:ffff::9"))
        );
        assert_ne!(
            budget_of(v6("2001:db8:1:2::1")),
            budget_of(v6("2001:db8:1:3::1"))
        );
        assert_eq!(
            budget_of(v6("::ffff:10.0.0.1")),
            budget_of(client(0x0a00_0001))
        );
        assert_ne!(budget_of(client(1)), budget_of(client(2)));
        for known in [client(0), client(u32::MAX), v6("::"), v6("2001:db8::1")] {
            assert_ne!(budget_of(Client::Unknown), budget_of(known));
        }
    }

    #[test]
    fn more_clients_than_words_still_pass_and_one_greedy_one_does_not() {
        let limit = RateLimit::new(1, 1);
        let clients = u32::try_from(limits::RATE_LIMIT_ADDRESSES).unwrap() * 2;
        let refused = (0..clients).filter(|number| limit.check(client(*number), Mono(1)).is_err());
        // About three share both line and fingerprint by accident.
        assert!(refused.count() < 100);
        assert!(limit.check(client(clients - 1), Mono(1)).is_err());
    }

    #[test]
    fn moments_that_wrapped_around_are_long_past() {
        let limit = RateLimit::new(1_000_000, 1_000_000);
        for now in [0, (1 << 46) - 1, 1 << 46, (1 << 46) + (1 << 45), u64::MAX] {
            assert_eq!(limit.check(client(1), Mono(now)), Ok(()), "at {now}");
        }
        assert_eq!(
            RateLimit::new(1, 1).check(client(1), Mono(u64::MAX)),
            Ok(())
        );
    }

    #[test]
    fn threads_together_get_exactly_one_burst() {
        const BURST: u32 = 10_000;
        let limit = RateLimit::new(10, BURST);
        let allowed = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..BURST {
                        let is_allowed = limit.check(client(7), Mono(1_000_000)).is_ok();
                        allowed.fetch_add(u32::from(is_allowed), Relaxed);
                    }
                });
            }
        });
        // A swap that failed too often lets its request pass; with four threads it does not.
        assert_eq!(allowed.load(Relaxed), BURST);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_does_what_a_bucket_of_tokens_does(
            per_second in 1..50_u32,
            burst in 1..10_u32,
            gaps in prop::collection::vec(0..40_u64, 1..200),
        ) {
            // Time in whole intervals' sixteenths, so that both sides are exact.
            let limit = RateLimit::new(per_second, burst);
            let mut tokens_16 = u64::from(burst) * 16;
            let mut now_16 = 160_u64;
            for gap in gaps {
                now_16 += gap;
                tokens_16 = (tokens_16 + gap).min(u64::from(burst) * 16);
                let now = Mono((now_16 * 1_000_000).div_ceil(u64::from(per_second) * 16));
                let expected = tokens_16 >= 16;
                tokens_16 -= if expected { 16 } else { 0 };
                prop_assert_eq!(limit.check(client(9), now).is_ok(), expected);
            }
        }
    }

    #[test]
    fn another_rate_holds_at_once_and_every_budget_is_whole() {
        let limit = RateLimit::new(0, 1);
        let now = Mono(5_000_000);
        let check = |_: &u32| limit.check(client(1), now).is_ok();
        let passed = || (0..100).take_while(check).count();
        assert_eq!(passed(), 100, "off");
        limit.set(10, 2);
        assert_eq!(limit.get(), (10, 2));
        assert_eq!(passed(), 2);
        // The same rate once more gives nothing.
        limit.set(10, 2);
        assert_eq!(passed(), 0);
        limit.set(1_000, 5);
        assert_eq!(passed(), 5);
        limit.set(0, 1);
        assert_eq!(passed(), 100);
    }
}
