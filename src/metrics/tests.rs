//! The page as a whole: its grammar, its zeros, and sums over cores.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;

const NOW: Mono = Mono(10_000_000);

fn two() -> ProcessorCount {
    ProcessorCount::try_new(2).unwrap()
}

fn reading() -> Reading {
    Reading {
        breakers: Configured::new(two(), |_| BreakerReading::default()),
        is_serving: false,
    }
}

fn metrics(cores: u16) -> Metrics {
    let setup = MetricsSetup {
        processors: two(),
        cores: CoreCount(cores),
        started: UnixMillis(1_752_000_000_123),
        journal: JournalMode::Always,
        queue_capacity: 100_000,
        cache_capacity: 500_000,
        cache_ttl: Duration::from_secs(86_400),
        concurrency_limit: 2_048,
        upstream_concurrency: 256,
    };
    Metrics::new(setup)
}

fn page(metrics: &Metrics) -> String {
    let mut out = Vec::new();
    metrics.render(NOW, &reading(), &mut out);
    String::from_utf8(out).unwrap()
}

/// Every sample: its name with labels, and its value's text.
fn samples(page: &str) -> BTreeMap<String, String> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.map(|line| line.rsplit_once(' ').unwrap());
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn answered(route: Route, status: u16, millis: u64) -> Answered {
    Answered {
        route,
        status,
        took: Duration::from_millis(millis),
    }
}

#[test]
fn every_metric_has_one_help_and_type_and_every_series_is_there_once() {
    let page = page(&metrics(2));
    let mut families = BTreeSet::new();
    let mut family = "";
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split_once(' ').unwrap().0;
            assert!(families.insert(family), "{family} twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert_eq!(rest.split_once(' ').unwrap().0, family);
        } else {
            assert!(line.starts_with(family), "{line} under {family}");
        }
    }
    assert!(page.ends_with('\n'));
    let lines = page.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(samples(&page).len(), lines, "no series twice");
}

#[test]
fn every_label_value_is_there_at_zero_from_the_start() {
    let samples = samples(&page(&metrics(1)));
    for name in [
        "payments_latency_ms{quantile=\"0.5\"}",
        "payments_latency_ms{quantile=\"0.95\"}",
        "payments_latency_ms{quantile=\"0.99\"}",
        "payments_latency_ms{quantile=\"0.999\"}",
        "payments_ok",
        "payments_err{code=\"409\"}",
        "circuit_breaker_a_status",
        "circuit_breaker_b_status",
        "idempotency_cache_size",
        "idempotency_cache_hits",
        "p99_requests_total{route=\"payments\",status=\"200\"}",
        "p99_requests_total{route=\"other\",status=\"404\"}",
        "p99_request_duration_seconds_bucket{route=\"summary\",le=\"+Inf\"}",
        "p99_attempts_total{processor=\"fallback\",outcome=\"unknown\"}",
        "p99_attempt_duration_seconds_count{processor=\"default\"}",
        "p99_payments_pending_oldest_age_seconds",
        "p99_hedges_total{event=\"denied\"}",
        "p99_breaker_transitions_total{processor=\"default\",from=\"half_open\",to=\"closed\"}",
        "p99_shed_total{reason=\"mailbox_full\"}",
        "p99_journal_sync_duration_seconds_sum",
        "p99_driver_info{driver=\"epoll\"}",
        "p99_ready",
    ] {
        assert_eq!(samples.get(name).map(String::as_str), Some("0"), "{name}");
    }
    assert_eq!(
        samples
            .get("p99_ledger_amount{processor=\"default\"}")
            .unwrap(),
        "0.00"
    );
    assert_eq!(
        samples.get("p99_journal_info{sync=\"always\"}").unwrap(),
        "1"
    );
    assert_eq!(
        samples.get("process_start_time_seconds").unwrap(),
        "1752000000.123"
    );
}

#[test]
fn cores_are_added_up() {
    let metrics = metrics(2);
    for (number, core) in metrics.cores().enumerate() {
        core.answered(answered(Route::Payments, 200, 3), NOW);
        core.answered(answered(Route::Payments, 503, 3), NOW);
        core.answered(answered(Route::Summary, 299, 3), NOW);
        core.attempt_ended(
            Processor::DEFAULT,
            Outcome::Applied,
            Duration::from_millis(30),
            NOW,
        );
        core.attempt_ended(Processor::DEFAULT, Outcome::NotSent, Duration::ZERO, NOW);
        core.set_ledger(
            Processor::FALLBACK,
            Totals {
                count: 2,
                cents: 1_995,
            },
        );
        core.set_oldest_pending(Some(Mono(4_000_000 + u64::try_from(number).unwrap())));
        core.set_driver(Driver::Epoll);
        core.duplicates.get(Status::Pending).increment();
        core.stalled(Duration::from_millis(7));
    }
    let samples = samples(&page(&metrics));
    for (name, value) in [
        ("payments_ok", "2"),
        ("payments_err{code=\"503\"}", "2"),
        ("payments_latency_ms_count", "4"),
        ("payments_latency_ms_sum", "12"),
        ("idempotency_cache_hits", "2"),
        ("p99_requests_total{route=\"payments\",status=\"200\"}", "2"),
        (
            "p99_requests_total{route=\"summary\",status=\"other\"}",
            "2",
        ),
        (
            "p99_request_duration_seconds_bucket{route=\"payments\",le=\"0.0025\"}",
            "0",
        ),
        (
            "p99_request_duration_seconds_bucket{route=\"payments\",le=\"0.005\"}",
            "4",
        ),
        (
            "p99_request_duration_seconds_bucket{route=\"payments\",le=\"+Inf\"}",
            "4",
        ),
        (
            "p99_attempts_total{processor=\"default\",outcome=\"applied\"}",
            "2",
        ),
        (
            "p99_attempt_duration_seconds_count{processor=\"default\"}",
            "2",
        ),
        (
            "p99_attempt_duration_seconds_sum{processor=\"default\"}",
            "0.06",
        ),
        ("p99_ledger_payments{processor=\"fallback\"}", "4"),
        ("p99_ledger_amount{processor=\"fallback\"}", "39.90"),
        ("p99_payments_pending_oldest_age_seconds", "6"),
        ("p99_driver_info{driver=\"epoll\"}", "1"),
        ("p99_driver_info{driver=\"io_uring\"}", "0"),
        ("p99_core_stalled_seconds_total{core=\"1\"}", "0.007"),
    ] {
        assert_eq!(samples.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[test]
fn breakers_are_shown_in_both_name_sets() {
    let reading = BreakerReading {
        state: 2,
        limit: 32,
        since: Mono(0),
        paused: 1,
        transitions: [4, 3, 2, 1],
    };
    let mut out = Vec::new();
    let breakers = Configured::try_from_vec(vec![BreakerReading::default(), reading]).unwrap();
    let reading = Reading {
        breakers,
        is_serving: false,
    };
    metrics(1).render(NOW, &reading, &mut out);
    let samples = samples(&String::from_utf8(out).unwrap());
    assert_eq!(samples.get("circuit_breaker_b_status").unwrap(), "2");
    assert_eq!(
        samples
            .get("p99_breaker_state{processor=\"fallback\"}")
            .unwrap(),
        "2"
    );
    let paused = "p99_processor_paused{processor=\"fallback\"}";
    assert_eq!(samples.get(paused).unwrap(), "1");
    let name =
        "p99_breaker_transitions_total{processor=\"fallback\",from=\"half_open\",to=\"open\"}";
    assert_eq!(samples.get(name).unwrap(), "1");
}

#[test]
fn labels_know_their_own_places() {
    fn check<L: Label>() {
        let names: BTreeSet<&str> = L::ALL.iter().map(|value| value.name()).collect();
        assert_eq!(names.len(), L::ALL.len(), "{names:?}");
        for (place, value) in L::ALL.iter().enumerate() {
            assert_eq!(value.index(), place, "{}", value.name());
        }
    }
    check::<Route>();
    check::<StatusCode>();
    check::<HedgeEvent>();
    check::<ShedReason>();
    check::<Transition>();
    check::<Processor>();
    check::<Outcome>();
    check::<Status>();
    assert_eq!(StatusCode::new(503).name(), "503");
    assert_eq!(StatusCode::new(299).name(), "other");
}

/// Run only where promtool is installed: it is the judge of the `p99_` set.
#[test]
fn promtool_finds_nothing_in_the_p99_set() {
    use std::io::Write;
    use std::process::{Command, Stdio};

    let page = page(&metrics(2));
    let ours: String = page
        .lines()
        .filter(|line| {
            let name = line
                .trim_start_matches("# HELP ")
                .trim_start_matches("# TYPE ");
            name.starts_with("p99_") || name.starts_with("process_")
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else { return };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(ours.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&told), "");
    assert!(output.status.success());
}

#[test]
fn every_bucket_of_a_histogram_moves() {
    let metrics = metrics(1);
    let ends = cells::BUCKET_ENDS_US.into_iter().chain([u64::MAX]);
    for end in ends {
        metrics.cores().for_each(|core| {
            core.journal_sync_duration
                .record(Duration::from_micros(end))
        });
    }
    let page = page(&metrics);
    let counts: Vec<u64> = page
        .lines()
        .filter(|line| line.starts_with("p99_journal_sync_duration_seconds_bucket"))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
        .collect();
    let expected: Vec<u64> = (1..=17).collect();
    assert_eq!(counts, expected, "one more in each");
}

#[test]
fn a_minute_is_what_came_since_the_last_one() {
    let metrics = metrics(2);
    let answer = |core: u16, status, millis| {
        let answered = Answered {
            route: Route::Payments,
            status,
            took: Duration::from_millis(millis),
        };
        metrics.core(CoreId(core)).unwrap().answered(answered, NOW);
    };
    answer(0, 200, 2);
    let before = metrics.tally();
    for (core, status) in [
        (0, 200),
        (1, 200),
        (1, 202),
        (0, 409),
        (0, 422),
        (1, 502),
        (1, 503),
        (0, 401),
    ] {
        answer(core, status, 2);
    }
    let expected = Tally {
        answered: 8,
        charged: 2,
        accepted: 1,
        duplicates: 1,
        refused: 2,
        unavailable: 1,
    };
    assert_eq!(metrics.tally().since(before), expected);
    let [median, p99] = metrics.latencies_us(NOW);
    assert!(
        (1_900..2_200).contains(&median) && median == p99,
        "{median} {p99}"
    );
}
