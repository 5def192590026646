//! Processors over https: each fault at each moment of a connection, in both versions; what is not
//! believed; what is renewed while p99 runs.

use std::sync::Arc;

use p99::testing::sim::{Act, Moment, Simulator};
use rustls::ServerConfig;

use crate::certificates::{Authority, VERSIONS, over_tls};
use crate::faults::{Leads, SETTINGS, run_rows};
use crate::kit::client::{Client, wait_until};
use crate::kit::payers::{pay_all, with_status};
use crate::kit::stack::{Stack, count, metric};
use crate::kit::start;
use crate::on_both_drivers_together;

on_both_drivers_together! {
    a_fault_before_the_first_byte_goes_to_the_other,
    a_fault_that_leaves_doubt_over_tls_stays_with_its_processor,
    what_is_not_believed_is_not_sent_to,
    a_client_certificate_is_shown_where_it_is_wanted,
    certificates_that_are_renewed_are_in_use,
}

#[rustfmt::skip]
const CLEAR: [(Moment, Act, Leads); 20] = [
    (Moment::Connect, Act::Pause(20), Leads::Through),
    (Moment::Connect, Act::Reset, Leads::ToTheOther),
    (Moment::Connect, Act::Close, Leads::ToTheOther),
    (Moment::Connect, Act::Stall, Leads::ToTheOther),
    (Moment::Handshake, Act::Pause(20), Leads::Through),
    (Moment::Handshake, Act::Reset, Leads::ToTheOther),
    (Moment::Handshake, Act::Close, Leads::ToTheOther),
    (Moment::Handshake, Act::CutHead, Leads::ToTheOther),
    (Moment::Handshake, Act::Garbage, Leads::ToTheOther),
    (Moment::Handshake, Act::Stall, Leads::ToTheOther),
    (Moment::Body, Act::Status(401), Leads::ToTheOther),
    (Moment::Body, Act::Status(500), Leads::ToTheOther),
    (Moment::Answer, Act::Drip(1), Leads::Through),
    (Moment::Answer, Act::Double, Leads::Through),
    (Moment::Answer, Act::Chunked, Leads::Through),
    (Moment::Answer, Act::Interim, Leads::Through),
    (Moment::Answer, Act::LastAnswer, Leads::Through),
    (Moment::Answer, Act::UntilClose, Leads::Through),
    (Moment::Answer, Act::CloseAfter, Leads::Through),
    (Moment::Answer, Act::ResetAfter, Leads::Through),
];

#[rustfmt::skip]
const UNCLEAR: [(Moment, Act, Leads); 15] = [
    (Moment::Head, Act::Reset, Leads::ToUnknown),
    (Moment::Head, Act::Close, Leads::ToUnknown),
    (Moment::Head, Act::Stall, Leads::ToUnknown),
    (Moment::Body, Act::Reset, Leads::ToUnknown),
    (Moment::Body, Act::Close, Leads::ToUnknown),
    (Moment::Body, Act::Stall, Leads::ToUnknown),
    (Moment::Body, Act::ResetChargeLater(300), Leads::ToUnknown),
    (Moment::Answer, Act::Reset, Leads::ToUnknown),
    (Moment::Answer, Act::Close, Leads::ToUnknown),
    (Moment::Answer, Act::Stall, Leads::ToUnknown),
    (Moment::Answer, Act::CutHead, Leads::ToUnknown),
    (Moment::Answer, Act::CutBody, Leads::ToUnknown),
    (Moment::Answer, Act::ResetBody, Leads::ToUnknown),
    (Moment::Answer, Act::Garbage, Leads::ToUnknown),
    // I4: without close_notify the end of an answer without a length may be anybody's.
    (Moment::Answer, Act::Truncate, Leads::ToUnknown),
];

/// Both processors over TLS, in one version.
fn stack(
    authority: &Authority,
    server: &Arc<ServerConfig>,
    driver: &str,
    settings: &[(&str, &str)],
) -> Stack {
    let [a, b] = [(), ()].map(|()| Simulator::start(over_tls(Arc::clone(server))).unwrap());
    let file = authority.file();
    let trusted = [
        ("UPSTREAM_A_TLS_CA", file.as_str()),
        ("UPSTREAM_B_TLS_CA", &file),
    ];
    let settings = [&trusted[..], settings].concat();
    Stack::before([a, b], driver, &settings)
}

/// Runs `rows` in both versions. A row waits for most of its time, so the usual run gives each
/// version on each driver a quarter of them, and all four together have every row; SOAK gives each
/// all of them.
fn in_both_versions(
    (driver, name): (&str, &str),
    rows: &[(Moment, Act, Leads)],
    settings: &[(&str, &str)],
) {
    for (number, (_, version)) in VERSIONS.into_iter().enumerate() {
        let authority = Authority::new(&format!("{name}-{driver}-{number}"));
        let server = authority.server("127.0.0.1", version, None);
        let share = 2 * number + usize::from(driver == "0");
        let step = count(4, 1);
        let rows: Vec<_> = rows
            .iter()
            .skip(share % step)
            .step_by(step)
            .copied()
            .collect();
        run_rows(stack(&authority, &server, driver, settings), &rows);
    }
}

fn a_fault_before_the_first_byte_goes_to_the_other(driver: &str) {
    // A connect that is never answered ends at its deadline, and no other one may.
    let (stalled, clear) = CLEAR
        .into_iter()
        .partition::<Vec<_>, _>(|row| row.1 == Act::Stall);
    for (name, rows, patience) in [("clear", clear, "20000"), ("stalled", stalled, "4000")] {
        let settings = [&SETTINGS[..], &[("CONNECT_TIMEOUT_MS", patience)]].concat();
        in_both_versions((driver, name), &rows, &settings);
    }
}

fn a_fault_that_leaves_doubt_over_tls_stays_with_its_processor(driver: &str) {
    // Nearly every payment here has a handshake before it.
    let patience = [
        ("REQUEST_TIMEOUT_MS", "1000"),
        ("SETTLE_TIMEOUT_MS", "2000"),
    ];
    let settings = [&SETTINGS[..], &patience].concat();
    in_both_versions((driver, "unclear"), &UNCLEAR, &settings);
}

/// NotSent, one line that says why, and a failure for the breaker.
fn what_is_not_believed_is_not_sent_to(driver: &str) {
    let (_, version) = VERSIONS[1];
    let authority = Authority::new(&format!("believed-{driver}"));
    let stranger = Authority::new(&format!("stranger-{driver}"));
    let expired = {
        let issued = authority.issue_as("127.0.0.1", |params| {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        });
        let key = rustls::pki_types::PrivateKeyDer::try_from(issued.key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth();
        Arc::new(
            builder
                .with_single_cert(vec![issued.certificate], key)
                .unwrap(),
        )
    };
    for (server, reason) in [
        (
            authority.server("psp.example", version, None),
            "is for another name",
        ),
        (
            stranger.server("127.0.0.1", version, None),
            "by no authority that is believed",
        ),
        (expired, "has expired"),
        (
            authority.server("127.0.0.1", version, Some(&authority)),
            "demands a client certificate",
        ),
    ] {
        let a = Simulator::start(over_tls(server)).unwrap();
        let b = Simulator::start(p99::testing::sim::SimulatorOptions::default()).unwrap();
        let file = authority.file();
        let settings = [
            ("UPSTREAM_A_TLS_CA", file.as_str()),
            ("ROUTING", "cheapest"),
            ("HEDGE_DELAY_MS", "60000"),
            ("CONNECT_TIMEOUT_MS", "20000"),
            ("CB_MIN_SAMPLES", "20"),
            ("CB_OPEN_SECS", "300"),
        ];
        let mut p99 = start::start([&a.url(), &b.url()], driver, &settings);
        let told = pay_all(p99.address, 4, 0..60);
        assert_eq!(with_status(&told, 200), 60, "{reason}: {}", p99.log());
        assert_eq!((a.rows().len(), b.rows().len()), (0, 60), "{reason}");
        assert!(a.all_attempts().is_empty(), "{reason}");
        let page = Client::connect(p99.address).get("/metrics").body;
        let open = r#"p99_breaker_state{processor="default"}"#;
        assert!(metric(&page, open) >= 1.0, "{reason}: the breaker is open");
        let unknown = r#"p99_attempts_total{processor="default",outcome="unknown"}"#;
        assert!(metric(&page, unknown) < 1.0, "{reason}: none is in doubt");
        p99.wait_for_line(reason);
        let log = p99.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains(reason)).collect();
        // Two cores may fail in the same moment.
        assert!((1..=2).contains(&lines.len()), "{reason}: {log}");
        assert!(lines[0].contains("default at 127.0.0.1:"), "{log}");
        assert_eq!(p99.stop(), Some(0));
    }
}

fn a_client_certificate_is_shown_where_it_is_wanted(driver: &str) {
    for (number, (_, version)) in VERSIONS.into_iter().enumerate() {
        let authority = Authority::new(&format!("shown-{driver}-{number}"));
        let server = authority.server("127.0.0.1", version, Some(&authority));
        let issued = authority.issue("p99.example");
        let certificate = authority.write("cert.pem", &issued.pem);
        let key = authority.write("key.pem", &issued.key.serialize_pem());
        let settings = [
            ("UPSTREAM_A_TLS_CERT", certificate.as_str()),
            ("UPSTREAM_A_TLS_KEY", &key),
            ("UPSTREAM_B_TLS_CERT", &certificate),
            ("UPSTREAM_B_TLS_KEY", &key),
        ];
        let stack = stack(&authority, &server, driver, &settings);
        let told = pay_all(stack.address(), 8, 0..64);
        assert_eq!(with_status(&told, 200), 64);
        stack.audit("with a client certificate", &told);
        assert!(!stack.a.rows().is_empty() && !stack.b.rows().is_empty());
        stack.stop();
    }
}

/// The authority that vouches for A is replaced by another one, and then p99's own certificate.
fn certificates_that_are_renewed_are_in_use(driver: &str) {
    let (_, version) = VERSIONS[1];
    let [old, new] = ["old", "new"].map(|name| Authority::new(&format!("{name}-{driver}")));
    let a = Simulator::start(over_tls(new.server("127.0.0.1", version, Some(&new)))).unwrap();
    let file = old.file();
    let shown = |by: &Authority| {
        let issued = by.issue("p99.example");
        old.write("key.pem", &issued.key.serialize_pem());
        old.write("cert.pem", &issued.pem)
    };
    let certificate = shown(&old);
    let key = old.path("key.pem").display().to_string();
    let settings = [
        ("UPSTREAM_A_TLS_CA", file.as_str()),
        ("UPSTREAM_A_TLS_CERT", &certificate),
        ("UPSTREAM_A_TLS_KEY", &key),
        ("CONNECT_TIMEOUT_MS", "20000"),
        ("ROUTING", "cheapest"),
        ("HEDGE_DELAY_MS", "60000"),
        ("CB_FAIL_RATE", "1"),
        ("CB_MIN_SAMPLES", "100000"),
    ];
    let p99 = start::start([&a.url(), "http://127.0.0.1:1"], driver, &settings);
    let mut client = Client::connect(p99.address);
    let mut next = 0;
    let mut pay = || {
        next += 1;
        client.pay(crate::kit::client::id(next), "1").status
    };
    assert_eq!(pay(), 503, "A is not believed, and B is not there");
    old.write("ca.pem", &new.pem());
    wait_until("A is believed", || {
        pay();
        p99.log().contains("refuses the handshake")
    });
    assert!(a.rows().is_empty() && a.all_attempts().is_empty());
    shown(&new);
    wait_until("A believes p99", || pay() == 200);
    // A key that does not fit its certificate changes nothing.
    old.write("key.pem", &old.issue("p99.example").key.serialize_pem());
    wait_until("it is refused", || {
        p99.log().contains("what it held before stays in use")
    });
    a.reset_connections();
    wait_until("the old one is in use", || pay() == 200);
    let log = p99.log();
    assert!(
        log.contains("UPSTREAM_A_TLS_KEY: must be the certificate's key"),
        "{log}"
    );
    assert!(!log.contains("PRIVATE"), "{log}");
    drop(client);
    assert_eq!(p99.stop(), Some(0));
}
