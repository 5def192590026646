//! The whole table from the outside: defaults, every kind of fault, relations and masks.

#![allow(clippy::too_many_lines, reason = "tables are long and flat")]

use std::collections::HashMap;

use super::*;

mod access;
mod shards;
mod spellings;

const CORES: CoreCount = CoreCount(2);
const UPSTREAMS: [(&str, &str); 2] = [
    ("UPSTREAM_A_URL", "http://a:8001"),
    ("UPSTREAM_B_URL", "http://b:8002"),
];

fn read(settings: &[(&str, &str)]) -> Result<Config, Vec<ConfigFault>> {
    let map: HashMap<&str, &str> = UPSTREAMS.iter().chain(settings).copied().collect();
    Config::from_lookup_on(|name| map.get(name).map(|text| (*text).to_owned()), CORES)
}

fn faults(settings: &[(&str, &str)]) -> Vec<String> {
    read(settings)
        .err()
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn defaults_are_those_of_the_table() {
    let config = read(&[]).unwrap();
    assert_eq!(
        config.listen,
        [ListenAddress::Tcp("0.0.0.0:9999".parse().unwrap())]
    );
    assert!(config.admin_listen.is_empty() && config.shards.peers.is_empty());
    assert_eq!(config.cores, CORES);
    assert_eq!(
        config
            .upstream
            .iter()
            .map(|(_, one)| one.url.to_string())
            .collect::<Vec<_>>(),
        UPSTREAMS.map(|row| row.1)
    );
    assert_eq!(config.pay_path, "/payments");
    assert_eq!(config.auth, None);
    assert_eq!(
        (config.request_timeout, config.attempt_timeout),
        (ms(50), ms(50))
    );
    assert_eq!(
        (config.connect_timeout, config.settle_timeout),
        (ms(250), ms(30_000))
    );
    assert_eq!(
        (config.hedge_delay, config.concurrency_limit),
        (ms(5), 2_048)
    );
    assert_eq!(config.breaker.failure_rate, values::PerMille(300));
    assert_eq!(
        (config.breaker.samples_min, config.breaker.half_open_probes),
        (20, 3)
    );
    assert_eq!(
        (config.breaker.open, config.breaker.window),
        (ms(5_000), ms(10_000))
    );
    assert_eq!(
        (config.cache_capacity, config.cache_ttl),
        (500_000, ms(86_400_000))
    );
    assert_eq!(
        (config.routing, config.ack),
        (Routing::RoundRobin, Ack::Processed)
    );
    assert_eq!(
        (config.fallback_after, config.queue_capacity),
        (ms(0), 100_000)
    );
    assert_eq!(
        (config.upstream_concurrency, config.pool_idle_max),
        (2_048, 128)
    );
    assert_eq!((config.journal.clone(), config.rate_limit), (None, None));
    assert_eq!(
        (config.header_timeout, config.idle_timeout),
        (ms(5_000), ms(75_000))
    );
    assert_eq!(
        (config.body_bytes_max, config.pool_idle_timeout),
        (8_192, ms(30_000))
    );
    assert_eq!(
        (config.drain_delay, config.shutdown_grace),
        (ms(3_000), ms(10_000))
    );
    assert_eq!(
        (config.allow_purge, config.on_duplicate),
        (false, OnDuplicate::Conflict)
    );
    assert_eq!(config.correlation_id, CorrelationIdRule::Any);
    assert_eq!(
        (config.health_interval, config.ledger_exact),
        (None, ms(86_400_000))
    );
    assert_eq!(
        (config.log_filter.as_str(), config.driver),
        ("info", DriverChoice::Best)
    );
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn defaults_that_follow_from_others_do() {
    let timeout = |settings| read(settings).unwrap().attempt_timeout;
    assert_eq!(timeout(&[("REQUEST_TIMEOUT_MS", "700")]), ms(700));
    assert_eq!(
        timeout(&[("ACK", "accepted"), ("REQUEST_TIMEOUT_MS", "700")]),
        ms(5_000)
    );
    assert_eq!(
        timeout(&[("ACK", "accepted"), ("ATTEMPT_TIMEOUT_MS", "9")]),
        ms(9)
    );
    assert_eq!(
        read(&[("CORES", "3")]).unwrap().pool_idle_max,
        86,
        "256 / 3, rounded up"
    );
    let limit = read(&[("RATE_LIMIT_RPS", "100")])
        .unwrap()
        .rate_limit
        .unwrap();
    assert_eq!((limit.per_second, limit.burst), (100, 100));
}

#[test]
fn words_and_lists_are_read() {
    let config = read(&[
        ("LISTEN", "127.0.0.1:0, unix:/run/p99.sock,[::1]:80"),
        ("ADMIN_LISTEN", "127.0.0.1:9998"),
        ("SHARD", "2/3"),
        ("PEERS", "http://p99-1:9999,http://[::1]:9999"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,::1"),
        ("ROUTING", "fastest"),
        ("JOURNAL_DIR", "/journal"),
        ("JOURNAL_SYNC", "os"),
        ("AUTH_HEADER_NAME", "X-Api-Key"),
        ("AUTH_HEADER_VALUE", "let me in"),
        ("CB_FAIL_RATE", "0.005"),
        ("RUST_LOG", "warn,p99::pay=debug"),
    ])
    .unwrap();
    let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["127.0.0.1:0", "unix:/run/p99.sock", "[::1]:80"]);
    assert_eq!(config.admin_listen.len(), 1);
    assert_eq!(
        config.shards.peers.get(1).unwrap().to_string(),
        "http://[::1]:9999"
    );
    assert_eq!(config.shards.peers.get(1).unwrap().host, "::1");
    assert!(
        config
            .trusted_proxies
            .iter()
            .any(|range| range.contains([10, 2, 3, 4].into()))
    );
    assert!(
        !config
            .trusted_proxies
            .iter()
            .any(|range| range.contains([11, 2, 3, 4].into()))
    );
    assert_eq!(config.routing, Routing::Fastest);
    assert_eq!(config.journal.unwrap().sync, JournalSync::Os);
    let auth = config.auth.unwrap();
    assert_eq!(
        (auth.name.as_str(), auth.values.first().unwrap().reveal()),
        ("x-api-key", "let me in")
    );
    assert!(auth.guards_reads && auth.file.is_none());
    assert_eq!(config.breaker.failure_rate, values::PerMille(5));
}

#[test]
fn a_bad_value_is_named_with_what_is_allowed() {
    let rows: &[(&str, &[&str])] = &[
        (
            "PORT",
            &[
                "", "65536", "-1", "+1", " 80", "80 ", "http", "0x50", "9_999",
            ],
        ),
        ("CORES", &["0", "65", "two", "1.5"]),
        (
            "LISTEN",
            &[
                "",
                "9999",
                "localhost:9999",
                "unix:",
                "unix:p99.sock",
                "0.0.0.0:1,",
                "0.0.0.0:1,0.0.0.0:1",
                "0.0.0.0:65536",
            ],
        ),
        (
            "UPSTREAM_A_URL",
            &[
                "",
                "a:8001",
                "ftp://a:8001",
                "http://a:0",
                "http://a:8001//",
                "unix:a.sock",
                "http://a:8001?x",
                "http://u:p@a:8001",
                "http://:8001",
                "http://a b:8001",
                "http://[::1:8001",
                "http://a..b:1",
                "http://a:8001\u{FFFD}",
            ],
        ),
        (
            "UPSTREAM_PAY_PATH",
            &["", "payments", "/", "/payments/", "/a?b", "/a b", "/a\r\nb"],
        ),
        (
            "AUTH_HEADER_NAME",
            &["", "X Key", "Content-Length", "host", "Ä"],
        ),
        ("AUTH_HEADER_VALUE", &["", " x", "x ", "a\nb", "ä"]),
        (
            "AUTH_HEADER_VALUE_FILE",
            &["", "/nowhere/at/all", "/", "/dev/null"],
        ),
        ("AUTH_READS", &["", "true", "OFF"]),
        ("REQUEST_TIMEOUT_MS", &["0", "60001", "50ms", "1e3"]),
        (
            "CB_FAIL_RATE",
            &[
                "0", "0.0", "1.001", "2", "0.0001", "30%", "-0.3", ".", "1.", ".3",
            ],
        ),
        ("CB_MIN_SAMPLES", &["0"]),
        ("CACHE_CAPACITY", &["0", "99999999999999999999"]),
        ("ROUTING", &["", "roundrobin", "Cheapest"]),
        ("ACK", &["accept"]),
        ("JOURNAL_DIR", &[""]),
        ("SHARD", &["", "x", "0/2", "3/2", "2", "1/34"]),
        (
            "PEERS",
            &["", "p99-2:9999", "http://a:1,http://a:1", "none,http://a:1"],
        ),
        ("RATE_LIMIT_RPS", &["", "0", "1000001", "on"]),
        (
            "TRUSTED_PROXIES",
            &[
                "",
                "10.0.0.0/33",
                "10.0.0.0/",
                "haproxy",
                "::ffff:10.0.0.0/95",
            ],
        ),
        ("MAX_BODY_BYTES", &["63", "1048577"]),
        ("ALLOW_PURGE", &["yes", "TRUE", "1"]),
        ("HEALTH_INTERVAL_MS", &["1", "4999", "off"]),
        ("RUST_LOG", &["", "verbose", "p99=loud", "=info"]),
    ];
    for (name, values) in rows {
        for value in *values {
            let faults = faults(&[(name, value)]);
            let told = faults.first().cloned().unwrap_or_default();
            assert_eq!(faults.len(), 1, "{name}={value:?} gave {faults:?}");
            assert!(told.starts_with(&format!("{name}=")), "{told}");
            assert!(told.contains("allowed is"), "{told}");
        }
    }
    let told = faults(&[("REQUEST_TIMEOUT_MS", "5o")]).concat();
    let wanted = "REQUEST_TIMEOUT_MS=\"5o\": allowed is a whole number from 1 to 60000 (ms)";
    assert_eq!(told, wanted);
}

#[test]
fn every_fault_is_told_at_once() {
    let none = Config::from_lookup_on(|_| None, CORES).unwrap_err();
    let names: Vec<&str> = none.iter().map(|fault| fault.name).collect();
    assert_eq!(names, ["UPSTREAM_A_URL"]);
    let three = faults(&[("PORT", "x"), ("ACK", "y"), ("REQUEST_TIMEOUT_MS", "z")]);
    assert_eq!(three.len(), 3, "{three:?}");
}

#[test]
fn settings_that_do_not_fit_together_are_refused() {
    let rows: &[(&[(&str, &str)], &str)] = &[
        (&[("PORT", "80"), ("LISTEN", "0.0.0.0:81")], "PORT"),
        (&[("UPSTREAM_B_URL", "http://A:8001")], "UPSTREAM_B_URL"),
        (&[("SETTLE_TIMEOUT_MS", "49")], "SETTLE_TIMEOUT_MS"),
        (&[("ATTEMPT_TIMEOUT_MS", "30001")], "SETTLE_TIMEOUT_MS"),
        (&[("IDLE_TIMEOUT_SECS", "4")], "IDLE_TIMEOUT_SECS"),
        (&[("UPSTREAM_CONCURRENCY", "1")], "UPSTREAM_CONCURRENCY"),
        (&[("CONCURRENCY_LIMIT", "1")], "CONCURRENCY_LIMIT"),
        (&[("QUEUE_CAPACITY", "1")], "QUEUE_CAPACITY"),
        (&[("CACHE_CAPACITY", "1")], "CACHE_CAPACITY"),
        (&[("POOL_MAX_IDLE", "2049")], "POOL_MAX_IDLE"),
        (&[("ADMIN_LISTEN", "0.0.0.0:9999")], "ADMIN_LISTEN"),
        (&[("UPSTREAM_A_URL", "http://[::1]:9999")], "UPSTREAM_A_URL"),
        (
            &[("UPSTREAM_B_URL", "http://127.0.0.1:9999/b")],
            "UPSTREAM_B_URL",
        ),
    ];
    for (settings, name) in rows {
        let faults = read(settings).unwrap_err();
        let names: Vec<&str> = faults.iter().map(|fault| fault.name).collect();
        assert_eq!(names, [*name], "{settings:?}");
    }
    for (name, enough) in [("SETTLE_TIMEOUT_MS", "50"), ("UPSTREAM_CONCURRENCY", "2")] {
        assert!(read(&[(name, enough)]).is_ok(), "equal, one for each core");
    }
}

#[test]
fn settings_without_effect_are_warned_about() {
    let rows: &[&[(&str, &str)]] = &[
        &[("AUTH_HEADER_NAME", "X-Key")],
        &[("FALLBACK_AFTER_MS", "10")],
        &[("JOURNAL_SYNC", "os")],
        &[("RATE_LIMIT_BURST", "5")],
        &[("ACK", "accepted")],
        &[("AUTH_READS", "off")],
        &[("RATE_LIMIT_RPS", "1"), ("LISTEN", "0.0.0.0:1,unix:/x")],
        &[("TRUSTED_PROXIES", "10.1.2.3/8")],
    ];
    for settings in rows {
        assert_eq!(read(settings).unwrap().warnings.len(), 1, "{settings:?}");
    }
}

#[test]
fn a_secret_is_shown_nowhere() {
    let config = read(&[("AUTH_HEADER_VALUE", "hunter2")]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let fault = faults(&[("AUTH_HEADER_VALUE", " hunter2")]).concat();
    assert!(
        !fault.contains("hunter2") && fault.contains("******"),
        "{fault}"
    );
    for (name, url) in [
        ("UPSTREAM_A_URL", "http://me:hunter2@a:8001"),
        ("UPSTREAM_A_URL", "http://a:8001/pay?token=hunter2"),
        ("UPSTREAM_A_URL", "https://a:8001/#hunter2"),
        (
            "UPSTREAM_A_URL",
            "https://me:hunter2@a:8001?x=me@b&y=hunter2",
        ),
        ("PEERS", "http://a:8001?hunter2,http://b:8001?hunter2"),
    ] {
        let fault = faults(&[(name, url)]).concat();
        assert!(
            !fault.contains("hunter2") && fault.contains("a:8001"),
            "{fault}"
        );
    }
}

#[test]
fn every_setting_of_the_table_is_read_and_shown_in_its_order() {
    for settings in [&[][..], &[("LISTEN", "0.0.0.0:80")][..]] {
        let config = read(settings).unwrap();
        let shown: Vec<&str> = config.in_force.iter().map(|value| value.name).collect();
        let table: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(shown, table);
    }
    let config = read(&[("LISTEN", "0.0.0.0:80")]).unwrap();
    assert_eq!(config.in_force.first().unwrap().text, "unused");
}

#[test]
fn every_setting_explains_itself() {
    for setting in SETTINGS {
        assert!(!setting.help.is_empty(), "{}", setting.name);
        assert!(!setting.default.to_string().is_empty(), "{}", setting.name);
        if let Allowed::Whole { min, max } = setting.allowed {
            assert!(min < max, "{}", setting.name);
        }
    }
}
