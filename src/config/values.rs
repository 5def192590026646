//! The types of settings that are more than a number, each with the rule that its text must keep.
//! They are made once at the start and never change. Nothing here reads the environment.

use std::path::PathBuf;
use std::time::Duration;

use crate::limits;

/// What is shown in the place of a secret.
pub(super) const MASK: &str = "******";

/// A share in thousandths, so that no float decides when a breaker opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PerMille(pub u16);

impl PerMille {
    /// Reads `0.3`, `0.300` or `1`: more than 0, at most 1, at most three decimals.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        if fraction.len() > 3 {
            return None;
        }
        let thousandths = digits(&format!("{fraction:0<3}"))?;
        digits(fraction)?;
        let share = digits(whole)?
            .checked_mul(1_000)?
            .checked_add(thousandths)?;
        u16::try_from(share)
            .ok()
            .filter(|share| (1..=1_000).contains(share))
            .map(Self)
    }
}

/// `ROUTING`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Routing {
    /// Half and half by a bit of the id's hash.
    #[default]
    RoundRobin,
    /// A while it works.
    Cheapest,
    /// The processor with the lower recent latency.
    Fastest,
}

impl Routing {
    /// Its words.
    pub(super) const WORDS: [(&str, Self); 3] = [
        ("round_robin", Self::RoundRobin),
        ("cheapest", Self::Cheapest),
        ("fastest", Self::Fastest),
    ];
}

/// `ACK`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// Answer when charged.
    #[default]
    Processed,
    /// 202 as soon as the payment is held; settle behind.
    Accepted,
}

impl Ack {
    /// Its words.
    pub(super) const WORDS: [(&str, Self); 2] =
        [("processed", Self::Processed), ("accepted", Self::Accepted)];
}

/// `ON_DUPLICATE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDuplicate {
    /// 409.
    #[default]
    Conflict,
    /// A settled duplicate with the same amount gets the first answer again.
    Replay,
}

impl OnDuplicate {
    /// Its words.
    pub(super) const WORDS: [(&str, Self); 2] =
        [("conflict", Self::Conflict), ("replay", Self::Replay)];
}

/// `UPSTREAM_500`: what a processor's own 500 proves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upstream500 {
    /// The processor's record says whether it charged.
    #[default]
    Ask,
    /// Nothing: a gateway says it too, or the insert may come later.
    Unknown,
}

impl Upstream500 {
    /// Its words.
    pub(super) const WORDS: [(&str, Self); 2] = [("ask", Self::Ask), ("unknown", Self::Unknown)];
}

/// `CACHE_FULL`: what becomes of a new id when `CACHE_CAPACITY` settled ones are known, none of
/// them older than `CACHE_TTL_SECONDS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheFull {
    /// It is taken, and the oldest is forgotten.
    #[default]
    Forget,
    /// It is answered 503.
    Refuse,
}

impl CacheFull {
    /// Its words.
    pub(super) const WORDS: [(&str, Self); 2] =
        [("forget", Self::Forget), ("refuse", Self::Refuse)];
}

/// `ANSWER_AFTER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerAfter {
    /// A charge is told once its Intent is durable: a crash before its Verdict is finds it again.
    #[default]
    Intent,
    /// Once its Verdict is durable too.
    Verdict,
}

impl AnswerAfter {
    /// Its words.
    pub(super) const WORDS: [(&str, Self); 2] =
        [("intent", Self::Intent), ("verdict", Self::Verdict)];
}

/// `CORRELATION_ID`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CorrelationIdRule {
    /// 1 to 64 of the allowed characters.
    #[default]
    Any,
    /// A UUID.
    Uuid,
}

impl CorrelationIdRule {
    /// Its words.
    pub(super) const WORDS: [(&str, Self); 2] = [("any", Self::Any), ("uuid", Self::Uuid)];
}

/// `JOURNAL_SYNC`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JournalSync {
    /// One fdatasync per group commit.
    #[default]
    Always,
    /// Written, not synced: survives a killed process only.
    Os,
}

impl JournalSync {
    /// Its words.
    pub(super) const WORDS: [(&str, Self); 2] = [("always", Self::Always), ("os", Self::Os)];

    /// Its name in settings, logs and metric labels.
    #[cfg(test)]
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Os => "os",
        }
    }
}

/// `MONOIO_FORCE_LEGACY_DRIVER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// io_uring where the kernel allows it, else epoll.
    #[default]
    Best,
    /// epoll.
    Epoll,
}

impl DriverChoice {
    /// Its words.
    pub(super) const WORDS: [(&str, Self); 2] = [("0", Self::Best), ("1", Self::Epoll)];
}

/// `CORE_DUMPS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CoreDumps {
    /// The process cannot be looked into, and leaves nothing when it crashes.
    #[default]
    Off,
    /// As the system allows it.
    On,
}

impl CoreDumps {
    /// Its words.
    pub(super) const WORDS: [(&str, Self); 2] = [("off", Self::Off), ("on", Self::On)];
}

/// The journal, when there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    /// The directory of all its files.
    pub dir: PathBuf,
    /// When a record counts as durable.
    pub sync: JournalSync,
}

/// The breaker of each processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Share of failures that opens it.
    pub failure_rate: PerMille,
    /// Fewest attempts in the window that can open it.
    pub samples_min: u32,
    /// How long it stays Open.
    pub open: Duration,
    /// Over how long it counts.
    pub window: Duration,
    /// Attempts that HalfOpen lets through.
    pub half_open_probes: u32,
}

/// The rate limit per client address, when there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitConfig {
    /// Requests per second.
    pub per_second: u32,
    /// Requests that an idle client may send at once.
    pub burst: u32,
}

/// Decimal digits and nothing else: no sign, no blank, no underscore.
pub(super) fn digits(text: &str) -> Option<u64> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

/// Such digits that mean a number of this range, both ends included.
pub(super) fn number_within(text: &str, min: u32, max: u32) -> Option<u32> {
    let number = u32::try_from(digits(text)?).ok()?;
    (min..=max).contains(&number).then_some(number)
}

/// A list without doubles and of bounded length; blanks around its commas are allowed.
pub(super) fn list<T: PartialEq>(text: &str, item: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let mut items = Vec::new();
    for part in text.split(',') {
        let item = item(part.trim())?;
        if items.contains(&item) || items.len() >= limits::SETTING_LIST_MAX {
            return None;
        }
        items.push(item);
    }
    Some(items)
}

pub(super) fn list_or<T: PartialEq>(
    nothing: &str,
    text: &str,
    item: impl Fn(&str) -> Option<T>,
) -> Option<Vec<T>> {
    if text == nothing {
        Some(Vec::new())
    } else {
        list(text, item)
    }
}
