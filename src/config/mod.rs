//! From the environment's texts to one immutable, checked [`Config`].
//!
//! This room decides what each setting may be, which settings fit together and what holds when one
//! is missing. `main` calls it once at the start; everybody else is handed the result by reference.
//! It never reads the environment itself (the lookup is an argument, so a map tests it), opens no
//! file but those that hold credentials, never changes a value later and never shows a secret. A
//! bad value stops the start, and all faults are told together.

mod admin;
mod auth;
mod books;
mod changes;
mod files;
mod headers;
mod help;
mod parse;
mod places;
mod processors;
mod ranges;
mod reader;
mod settings;
mod shards;
mod spelling;
mod store;
mod upstream;
mod values;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use crate::limits;
use crate::logging::Format;
use crate::payment::{Configured, CoreCount};

pub use admin::{AdminDoor, admin_door_from_lookup};
pub use auth::AuthHeader;
pub(crate) use auth::{Secret, read_secret_file};
pub use books::without_values;
pub(crate) use books::{OnDouble, ReconcileConfig, is_own_https};
pub(crate) use changes::read_change;
pub use headers::read_headers_file;
pub use help::{help, report, tell_faults, warnings};
pub(crate) use places::HttpUrl;
pub use places::{ListenAddress, usual_authorities};
pub use processors::read_usual_authorities;
pub(crate) use processors::{Held, ProcessorConfig, UpstreamFiles};
pub use ranges::AddressRange;
pub use reader::ConfigFault;
pub(crate) use reader::InForce;
pub use settings::{Allowed, DefaultValue, SETTINGS, Setting};
pub(crate) use shards::Shards;
pub use spelling::{NearMiss, near_misses};
pub use store::{StoreConfig, StoreUrl, store_from_lookup};
pub(crate) use store::{StoreHost, StoreTls};
pub(crate) use upstream::{Origin, UpstreamUrl};
pub use values::{Ack, AnswerAfter, JournalSync, OnDuplicate, Routing, Upstream500};
pub(crate) use values::{
    BreakerConfig, CacheFull, CoreDumps, CorrelationIdRule, DriverChoice, JournalConfig,
    RateLimitConfig,
};

use reader::Reader;

/// Longest path of a unix socket: `sun_path` has 108 bytes and ends with a zero.
const UNIX_PATH_BYTES_MAX: usize = 107;
/// Longest file of certificates or a key. A machine's own list of authorities has 220 KB.
const PEM_BYTES_MAX: usize = 4 << 20;

/// Every setting, checked. The doc of each field names its variable; units and defaults stand in
/// [`SETTINGS`].
#[derive(Clone, Debug)]
pub struct Config {
    /// `LISTEN` or `PORT`: where clients connect; never empty.
    pub listen: Vec<ListenAddress>,
    /// `ADMIN_LISTEN`: where metrics, purge and peers' calls go instead; empty when off.
    pub admin_listen: Vec<ListenAddress>,
    /// `ADMIN_SECRET_FILE`: what operators show who do not come by a unix socket.
    pub admin_secret: Option<AuthHeader>,
    /// `CORES`: worker cores.
    pub cores: CoreCount,
    /// `MONOIO_FORCE_LEGACY_DRIVER`: which event loop a core uses.
    pub driver: DriverChoice,
    /// `UPSTREAM_A_*`, `UPSTREAM_B_*`.
    pub upstream: Configured<ProcessorConfig>,
    /// `UPSTREAM_PAY_PATH`: begins with a slash and does not end with one.
    pub pay_path: String,
    /// `AUTH_*`: what a client must send; `None` for no auth.
    pub auth: Option<AuthHeader>,
    /// `REQUEST_TIMEOUT_MS`: longest that a client waits for the outcome.
    pub request_timeout: Duration,
    /// `ATTEMPT_TIMEOUT_MS`: from an attempt's first byte to Unknown.
    pub attempt_timeout: Duration,
    /// `CONNECT_TIMEOUT_MS`: longest that connecting may take.
    pub connect_timeout: Duration,
    /// `SETTLE_TIMEOUT_MS`: how long a late answer is still read; at least `attempt_timeout`.
    pub settle_timeout: Duration,
    /// `HEDGE_DELAY_MS`: least silence before a hedge.
    pub hedge_delay: Duration,
    /// `CONCURRENCY_LIMIT`: clients that wait at once, over all cores.
    pub concurrency_limit: usize,
    /// `CB_*`: the breaker of each processor.
    pub breaker: BreakerConfig,
    /// `CACHE_CAPACITY`: settled claims kept, over all cores.
    pub cache_capacity: usize,
    /// `CACHE_TTL_SECONDS`: how long a settled claim is kept.
    pub cache_ttl: Duration,
    /// `ROUTING`.
    pub routing: Routing,
    /// `FALLBACK_AFTER_MS`: how long a payment may wait for A before B may take it.
    pub fallback_after: Duration,
    /// `ACK`.
    pub ack: Ack,
    /// `QUEUE_CAPACITY`: unsettled payments that no one waits for, over all cores.
    pub queue_capacity: usize,
    /// `UPSTREAM_CONCURRENCY`: most attempts in flight per processor, over all cores; at least one
    /// each.
    pub upstream_concurrency: usize,
    /// `POOL_MAX_IDLE`: idle connections kept per core and processor.
    pub pool_idle_max: usize,
    /// Connections on which a late answer is awaited, over all cores; no setting, but clipped to
    /// what the descriptors allow.
    pub late_reads_max: usize,
    /// `POOL_IDLE_SECS`: how long an idle connection is kept.
    pub pool_idle_timeout: Duration,
    /// `UPSTREAM_RESOLVE_SECS`: how often names are resolved again.
    pub resolve_interval: Duration,
    /// `JOURNAL_DIR`, `JOURNAL_SYNC`; `None` when off.
    pub journal: Option<JournalConfig>,
    /// `STORE`, `STORE_PREPARE`; `None` where nothing is shared.
    pub store: Option<StoreConfig>,
    /// `AUDIT_DIR`; the journal's where it is not set, `None` where there is none.
    pub audit_dir: Option<PathBuf>,
    /// `SHARD`, `PEERS`, `PEER_SECRET_FILE`.
    pub shards: Shards,
    /// `RECONCILE_*`, `UPSTREAM_*_BOOK`; `None` when off.
    pub reconcile: Option<ReconcileConfig>,
    /// `RATE_LIMIT_RPS`, `RATE_LIMIT_BURST`; `None` when off.
    pub rate_limit: Option<RateLimitConfig>,
    /// `TRUSTED_PROXIES`: whose X-Forwarded-For counts.
    pub trusted_proxies: Vec<AddressRange>,
    /// `CONNECTIONS_PER_ADDRESS`: open connections of one client address.
    pub connections_per_address: usize,
    /// `HEADER_TIMEOUT_MS`: longest that one request may take to arrive.
    pub header_timeout: Duration,
    /// `IDLE_TIMEOUT_SECS`: how long an idle client connection stays open.
    pub idle_timeout: Duration,
    /// `MAX_BODY_BYTES`.
    pub body_bytes_max: usize,
    /// `DRAIN_DELAY_MS`: from SIGTERM to closed listeners.
    pub drain_delay: Duration,
    /// `SHUTDOWN_GRACE_SECS`: longest wait for payments in flight after that.
    pub shutdown_grace: Duration,
    /// `ALLOW_PURGE`: whether `POST /purge-payments` works.
    pub allow_purge: bool,
    /// `ON_DUPLICATE`.
    pub on_duplicate: OnDuplicate,
    /// `ANSWER_AFTER`.
    pub answer_after: AnswerAfter,
    /// `CACHE_FULL`.
    pub cache_full: CacheFull,
    /// `UPSTREAM_500`.
    pub upstream_500: Upstream500,
    /// `CORRELATION_ID`.
    pub correlation_id: CorrelationIdRule,
    /// `HEALTH_INTERVAL_MS`: how often the processors' health is asked; `None` when off.
    pub health_interval: Option<Duration>,
    /// `LEDGER_EXACT_HOURS`: how long the ledger keeps milliseconds.
    pub ledger_exact: Duration,
    /// `RUST_LOG`: what is logged.
    pub log_filter: String,
    /// `LOG_FORMAT`.
    pub log_format: Format,
    /// `CORE_DUMPS`.
    pub core_dumps: CoreDumps,
    /// Every setting as it holds, in the order of [`SETTINGS`], secrets masked.
    pub in_force: Vec<InForce>,
    /// What is legal but surely not meant, one sentence each.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads every setting through `lookup`, on this machine.
    ///
    /// # Errors
    /// Every fault there is, not only the first.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<ConfigFault>> {
        Self::from_lookup_on(lookup, allowed_cores())
    }

    /// Reads every setting through `lookup`, as if the machine allowed `cores`.
    ///
    /// # Errors
    /// Every fault there is, not only the first.
    pub fn from_lookup_on(
        lookup: impl Fn(&str) -> Option<String>,
        cores: CoreCount,
    ) -> Result<Self, Vec<ConfigFault>> {
        let mut reader = Reader {
            lookup: &lookup,
            faults: Vec::new(),
            in_force: Vec::new(),
        };
        let mut config = Self::read(&mut reader, cores);
        config.check_relations(&mut reader);
        if !reader.faults.is_empty() {
            return Err(reader.faults);
        }
        config.warnings = config.doubts(&reader);
        config.in_force = reader.in_force;
        let place = |value: &InForce| SETTINGS.iter().position(|s| s.name == value.name);
        config.in_force.sort_by_key(place);
        Ok(config)
    }
}

/// `LISTEN` or `PORT` alone: all that `p99 health` needs to find the instance beside it.
///
/// # Errors
/// What is wrong with these two.
pub fn listen_from_lookup(
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Vec<ListenAddress>, Vec<ConfigFault>> {
    read_alone(&lookup, parse::read_listen)
}

/// Whether `text` can be RUST_LOG.
///
/// # Errors
/// What it may be.
pub(crate) fn check_log_filter(text: &str) -> Result<(), String> {
    let allowed = settings::find("RUST_LOG").map_or(Allowed::Text(""), |one| one.allowed);
    match parse::log_filter(text) {
        Some(_) => Ok(()),
        None => Err(format!("{text:?}: allowed is {allowed}")),
    }
}

/// `JOURNAL_DIR` alone: all that the commands which look into a journal need.
///
/// # Errors
/// What is wrong with it.
pub fn journal_dir_from_lookup(
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Option<PathBuf>, Vec<ConfigFault>> {
    read_alone(&lookup, parse::read_journal_dir)
}

/// `AUDIT_DIR` alone, or `JOURNAL_DIR` in its place.
///
/// # Errors
/// What is wrong with them.
pub fn audit_dir_from_lookup(
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Option<PathBuf>, Vec<ConfigFault>> {
    read_alone(&lookup, |reader| {
        let journal = parse::read_journal_dir(reader);
        parse::read_audit_dir(reader, journal)
    })
}

fn read_alone<T>(
    lookup: &dyn Fn(&str) -> Option<String>,
    read: impl FnOnce(&mut Reader<'_>) -> T,
) -> Result<T, Vec<ConfigFault>> {
    let mut reader = Reader {
        lookup,
        faults: Vec::new(),
        in_force: Vec::new(),
    };
    let value = read(&mut reader);
    if reader.faults.is_empty() {
        Ok(value)
    } else {
        Err(reader.faults)
    }
}

/// What the affinity mask and the cgroup's quota (version 1 and 2) allow, at least 1. A quota of
/// 1.5 allows one: two busy cores would be throttled together in every period.
#[must_use]
pub(crate) fn allowed_cores() -> CoreCount {
    let allowed = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    CoreCount(u16::try_from(allowed.min(limits::CORES_MAX)).unwrap_or(1))
}
