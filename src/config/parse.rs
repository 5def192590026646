//! Reads every setting into [`Config`] and checks the rules about several settings at once. The
//! texts' own rules stand here and in `values`; collecting faults is the reader's part.

use std::path::PathBuf;
use std::time::Duration;

use crate::limits;
use crate::logging::Format;
use crate::payment::{CoreCount, Processor};

use super::Config;
use super::admin::{read_admin_listen, read_admin_secret};
use super::auth::read_auth;
use super::books::{self, read_reconcile};
use super::places::{self, HttpUrl, ListenAddress};
use super::processors;
use super::ranges::{self, AddressRange};
use super::reader::Reader;
use super::shards::Shards;
use super::store::read_store;
use super::upstream;
use super::values::{self, BreakerConfig, JournalConfig};
use super::values::{
    Ack, AnswerAfter, CacheFull, CoreDumps, CorrelationIdRule, DriverChoice, JournalSync,
    OnDuplicate,
};
use super::values::{PerMille, RateLimitConfig, Routing, Upstream500};

/// Idle connections to a processor over all cores, unless POOL_MAX_IDLE says another number: a
/// burst that needed more opens them again. 256 of them hold 1 MiB.
const POOL_IDLE_MAX: usize = 256;

impl Config {
    pub(super) fn read(reader: &mut Reader<'_>, allowed_cores: CoreCount) -> Self {
        let cores = reader.whole_or("CORES", Some(u64::from(allowed_cores.0)));
        let cores = CoreCount(u16::try_from(cores).unwrap_or(1).max(1));
        let ack = reader.word("ACK", &Ack::WORDS);
        let request_timeout = reader.millis("REQUEST_TIMEOUT_MS");
        let upstream_concurrency = reader.count("UPSTREAM_CONCURRENCY");
        let upstream = processors::read_processors(reader);
        let journal = read_journal(reader);
        Self {
            listen: read_listen(reader),
            admin_listen: read_admin_listen(reader),
            admin_secret: read_admin_secret(reader),
            cores,
            driver: reader.word("MONOIO_FORCE_LEGACY_DRIVER", &DriverChoice::WORDS),
            reconcile: read_reconcile(reader, upstream.find(Processor::FALLBACK).is_some()),
            upstream,
            pay_path: reader.read("UPSTREAM_PAY_PATH", upstream::path),
            auth: read_auth(reader),
            request_timeout,
            attempt_timeout: read_attempt_timeout(reader, ack, request_timeout),
            connect_timeout: reader.millis("CONNECT_TIMEOUT_MS"),
            settle_timeout: reader.millis("SETTLE_TIMEOUT_MS"),
            hedge_delay: reader.millis("HEDGE_DELAY_MS"),
            concurrency_limit: reader.count("CONCURRENCY_LIMIT"),
            breaker: read_breaker(reader),
            cache_capacity: reader.count("CACHE_CAPACITY"),
            cache_ttl: reader.seconds("CACHE_TTL_SECONDS"),
            routing: reader.word("ROUTING", &Routing::WORDS),
            fallback_after: reader.millis("FALLBACK_AFTER_MS"),
            ack,
            queue_capacity: reader.count("QUEUE_CAPACITY"),
            upstream_concurrency,
            pool_idle_max: read_pool_idle_max(reader, upstream_concurrency, cores),
            late_reads_max: limits::LATE_READS_MAX,
            pool_idle_timeout: reader.seconds("POOL_IDLE_SECS"),
            resolve_interval: reader.seconds("UPSTREAM_RESOLVE_SECS"),
            audit_dir: read_audit_dir(reader, journal.as_ref().map(|one| one.dir.clone())),
            journal,
            store: read_store(reader),
            shards: Shards::read(reader),
            rate_limit: read_rate_limit(reader),
            trusted_proxies: reader.read("TRUSTED_PROXIES", |text| {
                values::list_or("none", text, AddressRange::parse)
            }),
            connections_per_address: reader.count("CONNECTIONS_PER_ADDRESS"),
            header_timeout: reader.millis("HEADER_TIMEOUT_MS"),
            idle_timeout: reader.seconds("IDLE_TIMEOUT_SECS"),
            body_bytes_max: reader.count("MAX_BODY_BYTES"),
            drain_delay: reader.millis("DRAIN_DELAY_MS"),
            shutdown_grace: reader.seconds("SHUTDOWN_GRACE_SECS"),
            allow_purge: reader.word("ALLOW_PURGE", &[("false", false), ("true", true)]),
            on_duplicate: reader.word("ON_DUPLICATE", &OnDuplicate::WORDS),
            answer_after: reader.word("ANSWER_AFTER", &AnswerAfter::WORDS),
            cache_full: reader.word("CACHE_FULL", &CacheFull::WORDS),
            upstream_500: reader.word("UPSTREAM_500", &Upstream500::WORDS),
            correlation_id: reader.word("CORRELATION_ID", &CorrelationIdRule::WORDS),
            health_interval: reader.read("HEALTH_INTERVAL_MS", health_interval),
            ledger_exact: reader.seconds("LEDGER_EXACT_HOURS") * 3_600,
            core_dumps: reader.word("CORE_DUMPS", &CoreDumps::WORDS),
            log_filter: reader.read("RUST_LOG", log_filter),
            log_format: reader.word("LOG_FORMAT", &Format::WORDS),
            in_force: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The rules about several settings at once. Each rule's first name is the one to change.
    pub(super) fn check_relations(&self, reader: &mut Reader<'_>) {
        reader.relation(
            !(reader.is_set("PORT") && reader.is_set("LISTEN")),
            &["PORT", "LISTEN"],
            "unset while LISTEN is set: only one of both can say where to listen",
        );
        books::check(self.reconcile.as_ref(), self.cache_ttl, reader);
        let fallback = self.upstream.find(Processor::FALLBACK);
        reader.relation(
            fallback.is_none_or(|b| b.url != self.upstream.get(Processor::DEFAULT).url),
            &["UPSTREAM_B_URL", "UPSTREAM_A_URL"],
            "another processor than UPSTREAM_A_URL",
        );
        reader.relation(
            self.settle_timeout >= self.attempt_timeout,
            &[
                "SETTLE_TIMEOUT_MS",
                "ATTEMPT_TIMEOUT_MS",
                "REQUEST_TIMEOUT_MS",
            ],
            "at least ATTEMPT_TIMEOUT_MS: a late answer is read after it",
        );
        reader.relation(
            self.idle_timeout >= self.header_timeout,
            &["IDLE_TIMEOUT_SECS", "HEADER_TIMEOUT_MS"],
            "at least HEADER_TIMEOUT_MS",
        );
        // Shares of all cores: each core needs at least one.
        let cores = usize::from(self.cores.0);
        for (name, number) in [
            ("UPSTREAM_CONCURRENCY", self.upstream_concurrency),
            ("CONCURRENCY_LIMIT", self.concurrency_limit),
            ("QUEUE_CAPACITY", self.queue_capacity),
            ("CACHE_CAPACITY", self.cache_capacity),
        ] {
            let rule = "at least CORES: every core gets its share";
            reader.relation(number >= cores, &[name, "CORES"], rule);
        }
        reader.relation(
            self.pool_idle_max <= self.upstream_concurrency,
            &["POOL_MAX_IDLE", "UPSTREAM_CONCURRENCY"],
            "at most UPSTREAM_CONCURRENCY: more can never be idle",
        );
        reader.relation(
            self.reconcile.is_none() || self.journal.is_some(),
            &["RECONCILE_EVERY", "JOURNAL_DIR"],
            "off without JOURNAL_DIR: there is no ledger to compare the books with",
        );
        books::check_credentials(reader, self.reconcile.as_ref(), &self.upstream);
        for (name, is_used) in [
            ("JOURNAL_DIR", self.journal.is_some()),
            ("SHARD", !self.shards.own.is_only()),
            ("PEERS", !self.shards.peers.is_empty()),
        ] {
            let rule = "unset while STORE is set: the store keeps what a journal keeps, and its \
                        instances are equal (docs/SCALING.md)";
            let is_both = self.store.is_some() && is_used;
            reader.relation(!is_both, &[name, "STORE"], rule);
        }
        self.check_places(reader);
    }

    /// No address twice: neither to listen on nor to ask.
    fn check_places(&self, reader: &mut Reader<'_>) {
        let with_admin = places::clash(&self.admin_listen, &self.listen);
        for (clash, names) in [
            (places::clash(&self.listen, &[]), &["LISTEN"][..]),
            (with_admin, &["ADMIN_LISTEN", "LISTEN", "PORT"]),
        ] {
            let rule = clash.map(|(address, other)| {
                format!("addresses that exclude no other: {address} cannot be had beside {other}")
            });
            reader.relation(rule.is_none(), names, &rule.unwrap_or_default());
        }
        let listen = [&self.listen[..], &self.admin_listen];
        let names = ["UPSTREAM_A_URL", "UPSTREAM_B_URL"];
        for (name, (_, one)) in names.into_iter().zip(self.upstream.iter()) {
            let mut all = listen.iter().copied().flatten();
            let own = all.find(|address| one.url.is_at(address));
            let rule = own.map(|own| format!("a processor: this instance itself listens on {own}"));
            let names = &[name, "LISTEN", "ADMIN_LISTEN", "PORT"];
            reader.relation(rule.is_none(), names, &rule.unwrap_or_default());
        }
        let upstream = self.upstream.iter().filter_map(|(_, one)| one.url.http());
        let processors: Vec<&HttpUrl> = upstream.collect();
        self.shards.check(reader, &listen, &processors);
    }

    /// What is legal but surely not meant.
    pub(super) fn doubts(&self, reader: &Reader<'_>) -> Vec<String> {
        let waits_for_a = self.routing == Routing::Cheapest && self.ack == Ack::Accepted;
        let is_socket = |address: &ListenAddress| matches!(address, ListenAddress::Unix(_));
        let has_socket = self.listen.iter().any(is_socket);
        let a = self.upstream.get(Processor::DEFAULT);
        let b = self.upstream.find(Processor::FALLBACK);
        let auth = self.auth.as_ref();
        let is_guarded = auth.is_some_and(|auth| auth.guards_reads || self.allow_purge);
        let rules = [
            (
                b.is_some_and(|b| a.url.is_spelled_like(&b.url)),
                "UPSTREAM_A_URL and UPSTREAM_B_URL differ in a dot only: probably one server",
            ),
            (
                reader.is_set("AUTH_HEADER_NAME") && self.auth.is_none(),
                "AUTH_HEADER_NAME is set but AUTH_HEADER_VALUE is not: no client must authenticate",
            ),
            (
                reader.is_set("AUTH_READS") && self.auth.is_none(),
                "AUTH_READS has no effect without AUTH_HEADER_VALUE",
            ),
            (
                self.admin_secret.is_some() && self.admin_listen.is_empty(),
                "ADMIN_SECRET_FILE has no effect without ADMIN_LISTEN",
            ),
            (
                self.reconcile.is_none() && books::is_any_set(reader),
                "RECONCILE_ON_DOUBLE and the books have no effect without RECONCILE_EVERY",
            ),
            (
                self.rate_limit.is_some() && has_socket && self.trusted_proxies.is_empty(),
                "RATE_LIMIT_RPS: all clients of a unix socket share one budget while \
                 TRUSTED_PROXIES names no proxy whose X-Forwarded-For counts",
            ),
            (
                reader.is_set("LEDGER_EXACT_HOURS") && self.store.is_some(),
                "LEDGER_EXACT_HOURS has no effect with STORE, which keeps milliseconds for \
                 CACHE_TTL_SECONDS",
            ),
            (
                self.cache_full == CacheFull::Refuse && self.store.is_some(),
                "CACHE_FULL has no effect with STORE, which keeps every id for CACHE_TTL_SECONDS",
            ),
            (
                !self.fallback_after.is_zero() && !waits_for_a,
                "FALLBACK_AFTER_MS has no effect without ROUTING=cheapest and ACK=accepted",
            ),
            (
                self.ack == Ack::Accepted && self.journal.is_none() && self.store.is_none(),
                "ACK=accepted without JOURNAL_DIR or STORE: a restart loses payments that clients \
                 were told are accepted",
            ),
        ];
        let plain = rules
            .into_iter()
            .filter(|(doubt, _)| *doubt)
            .map(|(_, text)| text.to_owned());
        let proxies = reader.text("TRUSTED_PROXIES").unwrap_or_default();
        let shortened = ranges::shortened(&proxies)
            .into_iter()
            .map(|(text, range)| format!("TRUSTED_PROXIES: {text} is read as {range}"));
        let has_journal = self.journal.is_some();
        let purges_there = self.allow_purge && !self.admin_listen.is_empty();
        plain
            .chain(self.shards.doubts(has_journal, is_guarded, purges_there))
            .chain(self.without_effect(reader))
            .chain(shortened)
            .collect()
    }

    /// Settings that count only beside another one, which is not set.
    fn without_effect(&self, reader: &Reader<'_>) -> Vec<String> {
        let all = [
            ("JOURNAL_SYNC", self.journal.is_none(), "JOURNAL_DIR"),
            (
                "RATE_LIMIT_BURST",
                self.rate_limit.is_none(),
                "RATE_LIMIT_RPS",
            ),
            ("STORE_PREPARE", self.store.is_none(), "STORE"),
        ];
        all.into_iter()
            .filter(|(name, is_idle, _)| *is_idle && reader.is_set(name))
            .map(|(name, _, of)| format!("{name} has no effect without {of}"))
            .collect()
    }
}

pub(super) fn read_listen(reader: &mut Reader<'_>) -> Vec<ListenAddress> {
    let port = reader.whole("PORT");
    if reader.is_set("LISTEN") {
        reader.mark_unused("PORT");
    }
    let derived = format!("0.0.0.0:{port}");
    reader.read_or("LISTEN", Some(derived), |text| {
        values::list(text, ListenAddress::parse)
    })
}

fn read_attempt_timeout(reader: &mut Reader<'_>, ack: Ack, request: Duration) -> Duration {
    let derived = match ack {
        Ack::Processed => u64::try_from(request.as_millis()).unwrap_or(u64::MAX),
        Ack::Accepted => 5_000,
    };
    // A request timeout at fault has left zero; it shall not cause a second fault here.
    Duration::from_millis(reader.whole_or("ATTEMPT_TIMEOUT_MS", Some(derived.max(1))))
}

fn read_breaker(reader: &mut Reader<'_>) -> BreakerConfig {
    BreakerConfig {
        failure_rate: reader.read("CB_FAIL_RATE", PerMille::parse),
        samples_min: reader.small("CB_MIN_SAMPLES"),
        open: reader.seconds("CB_OPEN_SECS"),
        window: reader.seconds("CB_WINDOW_SECS"),
        half_open_probes: reader.small("CB_HALF_OPEN_PROBES"),
    }
}

fn read_pool_idle_max(reader: &mut Reader<'_>, concurrency: usize, cores: CoreCount) -> usize {
    let all = concurrency.min(POOL_IDLE_MAX);
    let share = all.div_ceil(usize::from(cores.0.max(1)));
    let number = reader.whole_or("POOL_MAX_IDLE", Some(u64::try_from(share).unwrap_or(0)));
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub(super) fn read_journal_dir(reader: &mut Reader<'_>) -> Option<PathBuf> {
    reader.read("JOURNAL_DIR", |text| match text {
        "off" => Some(None),
        dir => places::folder(dir).map(Some),
    })
}

/// `journal` is where it is unless AUDIT_DIR says otherwise.
pub(super) fn read_audit_dir(reader: &mut Reader<'_>, journal: Option<PathBuf>) -> Option<PathBuf> {
    let dir = reader.read("AUDIT_DIR", |text| places::folder(text).map(Some));
    dir.or(journal)
}

fn read_journal(reader: &mut Reader<'_>) -> Option<JournalConfig> {
    let dir = read_journal_dir(reader);
    let sync = reader.word("JOURNAL_SYNC", &JournalSync::WORDS);
    if dir.is_none() {
        reader.mark_unused("JOURNAL_SYNC");
    }
    dir.map(|dir| JournalConfig { dir, sync })
}

fn read_rate_limit(reader: &mut Reader<'_>) -> Option<RateLimitConfig> {
    let per_second = reader.read("RATE_LIMIT_RPS", |text| match text {
        "off" => Some(None),
        number => values::number_within(number, 1, 1_000_000).map(Some),
    });
    let derived = per_second.map(u64::from);
    let burst = u32::try_from(reader.whole_or("RATE_LIMIT_BURST", derived)).unwrap_or(u32::MAX);
    if per_second.is_none() {
        reader.mark_unused("RATE_LIMIT_BURST");
    }
    per_second.map(|per_second| RateLimitConfig { per_second, burst })
}

fn health_interval(text: &str) -> Option<Option<Duration>> {
    match text {
        "0" => Some(None),
        // Below 5 s the processors' own permit (one per 5 s for all callers) would answer 429.
        number => values::number_within(number, 5_000, 3_600_000)
            .map(|millis| Some(Duration::from_millis(u64::from(millis)))),
    }
}

/// What RUST_LOG may be: levels, and targets with a level each. A bare word that is no level would
/// be a target to the filter, and all else would be silent.
pub(super) fn log_filter(text: &str) -> Option<String> {
    let is_level = |word: &str| {
        ["off", "error", "warn", "info", "debug", "trace"]
            .iter()
            .any(|level| level.eq_ignore_ascii_case(word))
    };
    let is_target = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_:-".contains(&byte))
    };
    let is_rule = |rule: &str| match rule.split_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(rule),
    };
    text.split(',')
        .all(|rule| is_rule(rule.trim()))
        .then(|| text.to_owned())
}
