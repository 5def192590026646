//! The table of settings: the one place that knows their names, units, defaults and ranges. It
//! feeds the reader, `--help`, `p99 check` and a test of README, and reads nothing itself.

use std::fmt;

use crate::limits;

/// One setting of the environment.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The variable's name.
    pub name: &'static str,
    /// What its number counts; empty for words and texts.
    pub unit: &'static str,
    /// What holds when the variable is not set.
    pub default: DefaultValue,
    /// What it may be.
    pub allowed: Allowed,
    /// What it does, in one line.
    pub help: &'static str,
    /// Its value is never printed.
    pub is_secret: bool,
}

/// What holds when a variable is not set.
#[derive(Clone, Copy, Debug)]
pub enum DefaultValue {
    /// This text, as if it had been set.
    Text(&'static str),
    /// Nothing: the start stops.
    Required,
    /// A value that follows from other settings; this says how.
    Derived(&'static str),
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Allowed {
    /// Decimal digits that mean a number of this range, both ends included.
    Whole {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// One of these words.
    Words(&'static [&'static str]),
    /// What this sentence says.
    Text(&'static str),
}

impl fmt::Display for DefaultValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Derived(text) => f.write_str(text),
            Self::Required => f.write_str("required"),
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Words(words) => write!(f, "one of {}", words.join(", ")),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Setting {
    const fn whole(name: &'static str, unit: &'static str, default: &'static str) -> Self {
        Self {
            name,
            unit,
            default: DefaultValue::Text(default),
            allowed: Allowed::Whole { min: 0, max: 0 },
            help: "",
            is_secret: false,
        }
    }

    const fn text(name: &'static str, default: DefaultValue, allowed: &'static str) -> Self {
        Self {
            default,
            allowed: Allowed::Text(allowed),
            ..Self::whole(name, "", "")
        }
    }

    const fn words(name: &'static str, words: &'static [&'static str]) -> Self {
        // The first word is the default, so that the two cannot drift apart.
        let default = match words {
            [first, ..] => DefaultValue::Text(first),
            [] => DefaultValue::Required,
        };
        Self {
            default,
            allowed: Allowed::Words(words),
            ..Self::whole(name, "", "")
        }
    }

    const fn from(mut self, min: u64, max: u64) -> Self {
        self.allowed = Allowed::Whole { min, max };
        self
    }

    const fn derived(mut self, how: &'static str) -> Self {
        self.default = DefaultValue::Derived(how);
        self
    }

    const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    const fn help(mut self, help: &'static str) -> Self {
        self.help = help;
        self
    }
}

const MS: &str = "ms";
const SECS: &str = "s";
const LISTEN_LIST: &str =
    "a list of address:port and unix:/path, each once, such as 0.0.0.0:9999,unix:/run/p99/p99.sock";
const URL: &str = "http[s]://host[:port][/base] or unix:/path[:/base], without a user or a query";
const PEM_FILE: &str = "a file of PEM, with https only";
const PEER_NAME: &str = "a host name or an address, with https only";
const URL_OR_NONE: &str =
    "http[s]://host[:port][/base] or unix:/path[:/base], without a user or a query; or none";

const NONE: DefaultValue = DefaultValue::Derived("none");
const AUTHORITIES: DefaultValue =
    DefaultValue::Derived("SSL_CERT_FILE, else the system's authorities");
const BESIDE: DefaultValue = DefaultValue::Derived("JOURNAL_DIR, else none");
const HOST: DefaultValue = DefaultValue::Derived("the URL's host");
const HEADERS_FILE: &str = "a file with one `Name: value` a line";
const BOOK: &str = "/path/of/a/file, http[s]://host[:port]/path or unix:/socket:/path, or none";

/// Every setting, in the order in which `--help` and README list them.
pub const SETTINGS: &[Setting] = &[
    Setting::whole("PORT", "", "9999")
        .from(0, 65_535)
        .help("port on 0.0.0.0; 0 takes a free one"),
    Setting::text("LISTEN", DefaultValue::Derived("0.0.0.0:PORT"), LISTEN_LIST)
        .help("where clients connect, instead of PORT"),
    Setting::whole("CORES", "cores", "")
        .derived("what CPU affinity and the cgroup quota allow")
        .from(1, limits::CORES_MAX as u64)
        .help("worker cores"),
    Setting::text("UPSTREAM_A_URL", DefaultValue::Required, URL)
        .help("processor A, `default`, the cheap one"),
    Setting::text("UPSTREAM_A_HEADERS_FILE", NONE, HEADERS_FILE)
        .help("headers of every request to A; read again when it changes, and after a 401"),
    Setting::text("UPSTREAM_A_TLS_CA", AUTHORITIES, PEM_FILE).help(
        "the authorities that are trusted for A; read again when it changes, as the next two are",
    ),
    Setting::text("UPSTREAM_A_TLS_CERT", NONE, PEM_FILE)
        .help("the client certificate for A, with its chain"),
    Setting::text("UPSTREAM_A_TLS_KEY", NONE, PEM_FILE).help("its key"),
    Setting::text("UPSTREAM_A_TLS_NAME", HOST, PEER_NAME)
        .help("the name that A's certificate must have, where that is not the URL's host"),
    Setting::text("UPSTREAM_A_BOOK", DefaultValue::Text("none"), BOOK)
        .help("A's list of its payments, for RECONCILE_EVERY; {from} and {to} are filled in"),
    Setting::text("UPSTREAM_B_URL", DefaultValue::Text("none"), URL_OR_NONE)
        .help("processor B, `fallback`, the expensive one; none: there is only A"),
    Setting::text("UPSTREAM_B_HEADERS_FILE", NONE, HEADERS_FILE).help("the same for B"),
    Setting::text("UPSTREAM_B_TLS_CA", AUTHORITIES, PEM_FILE).help("the same for B"),
    Setting::text("UPSTREAM_B_TLS_CERT", NONE, PEM_FILE).help("the same for B"),
    Setting::text("UPSTREAM_B_TLS_KEY", NONE, PEM_FILE).help("the same for B"),
    Setting::text("UPSTREAM_B_TLS_NAME", HOST, PEER_NAME).help("the same for B"),
    Setting::text("UPSTREAM_B_BOOK", DefaultValue::Text("none"), BOOK).help("the same for B"),
    Setting::text(
        "UPSTREAM_PAY_PATH",
        DefaultValue::Text("/payments"),
        "a path such as /payments: no slash at its end, no empty or dot segment, no query",
    )
    .help("path of payments at every processor"),
    Setting::words("UPSTREAM_500", &["ask", "unknown"])
        .help("after a processor's 500: a lookup says whether it charged; or nothing is proven"),
    Setting::text(
        "AUTH_HEADER_NAME",
        DefaultValue::Text("Authorization"),
        "a header name that neither HTTP nor p99 uses",
    )
    .help("the header that has AUTH_HEADER_VALUE"),
    Setting::text(
        "AUTH_HEADER_VALUE",
        DefaultValue::Derived("none"),
        "visible ASCII, inner spaces allowed, 1 to 1024 characters; unset for no auth",
    )
    .secret()
    .help("when set, every call but /healthz and /readyz needs it, else 401"),
    Setting::text(
        "AUTH_HEADER_VALUE_FILE",
        DefaultValue::Derived("none"),
        "a file with one or two values, one a line, while AUTH_HEADER_VALUE is unset",
    )
    .help("the same, kept out of the environment; each of two values is accepted"),
    Setting::words("AUTH_READS", &["on", "off"]).help(
        "off opens to all: GET /payments/{id}, /payments-summary, /metrics, /openapi.json, and on \
         ADMIN_LISTEN /admin/payments, /admin/payments/{id}/events, /status.json and /status.txt",
    ),
    Setting::whole("REQUEST_TIMEOUT_MS", MS, "50")
        .from(1, 60_000)
        .help("longest that a client waits for the outcome, then 202 pending"),
    Setting::whole("ATTEMPT_TIMEOUT_MS", MS, "")
        .derived("REQUEST_TIMEOUT_MS, with ACK=accepted 5000")
        .from(1, 600_000)
        .help("from an attempt's first byte until it counts as Unknown and as a failure"),
    Setting::whole("CONNECT_TIMEOUT_MS", MS, "250")
        .from(1, 60_000)
        .help("longest that connecting to a processor may take"),
    Setting::whole("SETTLE_TIMEOUT_MS", MS, "30000")
        .from(1, 3_600_000)
        .help("how long a late answer is still read on its connection"),
    Setting::whole("HEDGE_DELAY_MS", MS, "5")
        .from(0, 60_000)
        .help("least silence of a processor before a hedge to the same processor"),
    Setting::whole("CONCURRENCY_LIMIT", "clients", "2048")
        .from(1, 65_536)
        .help("clients that wait at once; beyond it 503"),
    Setting::text(
        "CB_FAIL_RATE",
        DefaultValue::Text("0.3"),
        "a share from 0.001 to 1",
    )
    .help("share of failures that opens a breaker"),
    Setting::whole("CB_MIN_SAMPLES", "attempts", "20")
        .from(1, 100_000)
        .help("fewest attempts in the window that can open a breaker"),
    Setting::whole("CB_OPEN_SECS", SECS, "5")
        .from(1, 300)
        .help("how long a breaker stays Open before it is HalfOpen"),
    Setting::whole("CB_WINDOW_SECS", SECS, "10")
        .from(1, 300)
        .help("over how long a breaker counts"),
    Setting::whole("CB_HALF_OPEN_PROBES", "attempts", "3")
        .from(1, limits::BREAKER_PROBES_MAX as u64)
        .help("attempts that a HalfOpen breaker lets through"),
    Setting::whole("CACHE_CAPACITY", "payments", "500000")
        .from(1, 100_000_000)
        .help("settled claims kept; the oldest settled go first, pending ones never"),
    Setting::whole("CACHE_TTL_SECONDS", SECS, "86400")
        .from(1, 31_536_000)
        .help("how long a settled claim is kept"),
    Setting::words("CACHE_FULL", &["forget", "refuse"])
        .help("beyond CACHE_CAPACITY: the oldest claim goes; or a new id is 503"),
    Setting::words("ROUTING", &["round_robin", "cheapest", "fastest"])
        .help("half and half by the id's hash; A while it works; lower recent latency"),
    Setting::whole("FALLBACK_AFTER_MS", MS, "0")
        .from(0, 86_400_000)
        .help("cheapest + accepted: how long a payment may wait for A before B may take it"),
    Setting::words("ACK", &["processed", "accepted"])
        .help("answer when charged; or 202 as soon as the payment is held"),
    Setting::whole("QUEUE_CAPACITY", "payments", "100000")
        .from(1, 10_000_000)
        .help("unsettled payments without a waiting client; full: 503 before claiming"),
    Setting::whole("UPSTREAM_CONCURRENCY", "attempts", "2048")
        .from(1, 65_536)
        .help("most attempts in flight per processor; how many there are adapts to its answers"),
    Setting::whole("POOL_MAX_IDLE", "connections", "")
        .derived("256 / CORES, rounded up")
        .from(0, 65_536)
        .help("idle connections kept per core and processor"),
    Setting::whole("POOL_IDLE_SECS", SECS, "30")
        .from(1, 3_600)
        .help("how long an idle connection to a processor is kept"),
    Setting::whole("UPSTREAM_RESOLVE_SECS", SECS, "10")
        .from(1, 3_600)
        .help("how often the processors' names are resolved again, at the least"),
    Setting::text(
        "JOURNAL_DIR",
        DefaultValue::Text("off"),
        "a directory, or off; no other word that switches, no ~, $, quotes or ..",
    )
    .help("where the journal lives; without it a restart forgets all"),
    Setting::words("JOURNAL_SYNC", &["always", "os"])
        .help("fdatasync per group commit; or survive a killed process only"),
    Setting::words("ANSWER_AFTER", &["intent", "verdict"])
        .help("a charge is answered once its Intent is durable; or once its Verdict is too"),
    Setting::text(
        "STORE",
        DefaultValue::Derived("none"),
        "postgres://user@host[:port][,host[:port]]/database?parameters (docs/SCALING.md)",
    )
    .secret()
    .help("a PostgreSQL that any number of equal instances share, instead of a journal"),
    Setting::words("STORE_PREPARE", &["on", "off"])
        .help("off: no statement is prepared, for poolers that cannot keep one"),
    Setting::text(
        "SHARD",
        DefaultValue::Text("1/1"),
        "number/count, from 1/1 to 33/33",
    )
    .help("which of a fixed number of instances this is; ids of the others are answered 421"),
    Setting::text(
        "PEERS",
        DefaultValue::Text("none"),
        "a list of http://host:port, each once, or none",
    )
    .help("every other shard; they are asked for sums and purges only"),
    Setting::text(
        "PEER_SECRET_FILE",
        DefaultValue::Derived("none"),
        "a file with one or two such values, one a line",
    )
    .help("the secret that shards show each other; with it they have no client limits"),
    Setting::text("ADMIN_LISTEN", DefaultValue::Text("off"), LISTEN_LIST).help(
        "moves /metrics, purge and peers' calls off the public port, and serves operators and the \
             live page; or off",
    ),
    Setting::text(
        "ADMIN_SECRET_FILE",
        DefaultValue::Derived("none"),
        "a file with one or two such values, one a line",
    )
    .help("the secret of operators who change something and do not come by a unix socket"),
    Setting::text("AUDIT_DIR", BESIDE, "a directory")
        .help("where audit.log is: payments that were not plain, and what operators did"),
    Setting::text(
        "RECONCILE_EVERY",
        DefaultValue::Text("off"),
        "off, or 1 to 604800 (s)",
    )
    .help("how often the journal is compared with the processors' books"),
    Setting::words("RECONCILE_ON_DOUBLE", &["pause", "tell"])
        .help("what becomes of a processor that charged a payment twice"),
    Setting::text(
        "RATE_LIMIT_RPS",
        DefaultValue::Text("off"),
        "off, or 1 to 1000000",
    )
    .help("requests per second and client address"),
    Setting::whole("RATE_LIMIT_BURST", "requests", "")
        .derived("RATE_LIMIT_RPS")
        .from(1, 1_000_000)
        .help("requests that an idle client may send at once"),
    Setting::text(
        "TRUSTED_PROXIES",
        DefaultValue::Text("none"),
        "a list of addresses and ranges such as 10.0.0.0/8, each once, or none",
    )
    .help("whose X-Forwarded-For counts"),
    Setting::whole("CONNECTIONS_PER_ADDRESS", "connections", "32768")
        .from(1, 32_768)
        .help("of one client; never more than half of all places; TRUSTED_PROXIES have no cap"),
    Setting::whole("HEADER_TIMEOUT_MS", MS, "5000")
        .from(1, 600_000)
        .help("longest that one request may take to arrive, then 408"),
    Setting::whole("IDLE_TIMEOUT_SECS", SECS, "75")
        .from(1, 86_400)
        .help("idle client connections close after it; keep it above the balancer's"),
    Setting::whole("MAX_BODY_BYTES", "bytes", "8192")
        .from(64, 1_048_576)
        .help("beyond it 413"),
    Setting::whole("DRAIN_DELAY_MS", MS, "3000")
        .from(0, 600_000)
        .help(
            "from SIGTERM to closed listeners; above the balancer's check interval x fall; four \
             times as long after a failed journal, so that a scrape sees why",
        ),
    Setting::whole("SHUTDOWN_GRACE_SECS", SECS, "10")
        .from(0, 3_600)
        .help("longest wait for payments in flight after that"),
    Setting::words("ALLOW_PURGE", &["false", "true"]).help("whether POST /purge-payments works"),
    Setting::words("ON_DUPLICATE", &["conflict", "replay"])
        .help("409; or the first answer again to a settled duplicate"),
    Setting::words("CORRELATION_ID", &["any", "uuid"])
        .help("1 to 64 of A-Z a-z 0-9 - . _ : ~; or a UUID"),
    Setting::text(
        "HEALTH_INTERVAL_MS",
        DefaultValue::Text("0"),
        "0 (off), or 5000 to 3600000",
    )
    .help("how often the processors' health is asked; their permit is one per 5 s for all"),
    Setting::whole("LEDGER_EXACT_HOURS", "hours", "24")
        .from(1, 744)
        .help("how long the ledger keeps milliseconds, then whole seconds; not with STORE"),
    Setting::text(
        "RUST_LOG",
        DefaultValue::Text("info"),
        "off, error, warn, info, debug or trace, or a list of target=level",
    )
    .help("what is logged to stderr"),
    Setting::words("LOG_FORMAT", &["text", "json"])
        .help("lines as text; or as one object of JSON each, for a log store"),
    Setting::words("CORE_DUMPS", &["off", "on"])
        .help("on: a crash leaves a core file and a debugger may attach: both show credentials"),
    Setting::words("MONOIO_FORCE_LEGACY_DRIVER", &["0", "1"])
        .help("1: epoll, also where io_uring is allowed"),
];

/// The setting of this name.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}
