//! Peers over https that are not the simulator's own side alone: another program's TLS, a processor
//! that moves, and more handshakes than any leak could hide behind.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use p99::testing::payment::UpstreamId;
use p99::testing::sim::{Act, Fault, Moment, Simulator, SimulatorOptions};

use crate::certificates::{Authority, Issued, VERSIONS, over_tls};
use crate::kit::client::{Client, id, patiently, wait_until};
use crate::kit::payers::{only_held, pay_all, with_status};
use crate::kit::stack::{Stack, Told, count, metric};
use crate::kit::start;
use crate::on_both_drivers_together;
use crate::places::{Names, Place};

on_both_drivers_together! {
    what_openssl_shows_and_is_not_believed_is_not_sent_to,
    over_https_a_processor_that_moves_is_known_by_its_name,
    over_https_a_stranger_at_a_new_address_gets_nothing,
    handshakes_leave_nothing_behind,
}

/// The peer is asked first, and as long as it takes on a busy machine; what it refuses trips its
/// breaker for good.
pub(crate) const PEER_FIRST: [(&str, &str); 5] = [
    ("ROUTING", "cheapest"),
    ("HEDGE_DELAY_MS", "60000"),
    ("CONNECT_TIMEOUT_MS", "20000"),
    ("CB_MIN_SAMPLES", "10"),
    ("CB_OPEN_SECS", "300"),
];

/// `openssl s_server`; ends with the test.
struct OpenSsl {
    child: Child,
    address: String,
}

impl OpenSsl {
    fn start(authority: &Authority, issued: &Issued, more: &[&str]) -> Self {
        let certificate = authority.write("server.pem", &issued.pem);
        let key = authority.write("server-key.pem", &issued.key.serialize_pem());
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-www"])
            .args(["-cert", &certificate, "-key", &key])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is needed");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned))
            .expect("it says where it listens");
        Self { child, address }
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One version on each driver, both under SOAK: a row takes seconds.
fn versions(driver: &str) -> &'static [&'static str] {
    match (count(1, 2), driver) {
        (2, _) => &["-tls1_2", "-tls1_3"],
        (_, "0") => &["-tls1_3"],
        (_, _) => &["-tls1_2"],
    }
}

fn what_openssl_shows_and_is_not_believed_is_not_sent_to(driver: &str) {
    let authority = Authority::new(&format!("openssl-{driver}"));
    let stranger = Authority::new(&format!("openssl-stranger-{driver}"));
    let b = Simulator::start(SimulatorOptions::default()).unwrap();
    let expired = || {
        authority.issue_as("127.0.0.1", |params| {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        })
    };
    let file = authority.file();
    let wanted = ["-Verify", "1", "-verify_return_error", "-CAfile", &file];
    let mut first = 0;
    for version in versions(driver) {
        let rows = [
            (
                authority.issue("psp.example"),
                &[][..],
                "its certificate is for another name",
            ),
            (
                stranger.issue("127.0.0.1"),
                &[],
                "is by no authority that is believed",
            ),
            (expired(), &[], "its certificate has expired"),
            (
                authority.issue("127.0.0.1"),
                &wanted,
                ": no TLS session: it ",
            ),
        ];
        for (issued, more, reason) in rows {
            let peer = OpenSsl::start(&authority, &issued, &[&[*version], more].concat());
            let url = format!("https://{}", peer.address);
            let settings = [&PEER_FIRST[..], &[("UPSTREAM_A_TLS_CA", file.as_str())]].concat();
            let mut p99 = start::start([&url, &b.url()], driver, &settings);
            let told = pay_all(p99.address, 4, first..first + 30);
            first += 30;
            p99.wait_for_line(reason);
            let log = p99.log();
            // With TLS 1.3 the server says what it thinks of the client's certificate after its own
            // handshake: nothing is sent before that word.
            let elsewhere = with_status(&told, 200);
            assert_eq!(elsewhere, 30, "{version} {reason}: {log}");
            let charged = told.iter().filter(|(id, _)| b.find(*id).is_some());
            assert_eq!(charged.count(), elsewhere, "{reason}");
            let page = Client::connect(p99.address).get("/metrics").body;
            let open = r#"p99_breaker_state{processor="default"}"#;
            assert!(metric(&page, open) >= 1.0, "{version} {reason}: {log}");
            let unknown = r#"p99_attempts_total{processor="default",outcome="unknown"}"#;
            assert!(metric(&page, unknown) < 1.0, "{version} {reason}: {log}");
            let lines = log.matches(reason).count();
            assert!((1..=2).contains(&lines), "{version} {reason}: {log}");
            assert_eq!(p99.stop(), Some(0));
        }
    }
}

/// p99 before A as https://proc-a, and B; and where A is.
fn moving(driver: &str, authority: &Authority) -> (Stack, Names, Place) {
    let server = authority.server("proc-a", VERSIONS[1].1, None);
    let a = Simulator::start(over_tls(server)).unwrap();
    let b = Simulator::start(SimulatorOptions::default()).unwrap();
    let place = Place::new(a.address());
    let names = Names::of(&[place.address()], &[b.address()]);
    let file = authority.file();
    let settings = [
        ("UPSTREAM_A_URL", "https://proc-a"),
        ("UPSTREAM_A_TLS_CA", file.as_str()),
        ("UPSTREAM_RESOLVE_SECS", "1"),
        ("REQUEST_TIMEOUT_MS", "3000"),
        ("CONNECT_TIMEOUT_MS", "20000"),
        ("ROUTING", "cheapest"),
        ("HEDGE_DELAY_MS", "60000"),
        ("CB_FAIL_RATE", "1"),
        ("CB_MIN_SAMPLES", "100000"),
    ];
    let running = names.start_p99(driver, &settings);
    (Stack::of(running, [a, b]), names, place)
}

/// Payments that A has swallowed.
fn swallowed(stack: &Stack) -> Vec<(UpstreamId, Told)> {
    let swallow = Fault::new(Moment::Body, Act::Stall);
    stack.a.inject(swallow).unwrap();
    let told = only_held(pay_all(stack.address(), 8, 0..8));
    stack.a.clear_faults();
    told
}

/// The payments were never stored, so no lookup could prove the new address.
fn over_https_a_processor_that_moves_is_known_by_its_name(driver: &str) {
    let authority = Authority::new(&format!("moves-{driver}"));
    let (stack, names, mut place) = moving(driver, &authority);
    let told = swallowed(&stack);
    let fresh = Place::new(stack.a.address());
    names.set(&[fresh.address()], &[stack.b.address()]);
    place.close();
    stack.audit("after the move", &told);
    let rows = (stack.a.rows().len(), stack.b.rows().len());
    assert_eq!(rows, (told.len(), 0));
    stack.stop();
}

/// Its certificate is by the right authority, and for another name.
fn over_https_a_stranger_at_a_new_address_gets_nothing(driver: &str) {
    let authority = Authority::new(&format!("stranger-moves-{driver}"));
    let (stack, names, mut place) = moving(driver, &authority);
    let server = authority.server("proc-c", VERSIONS[1].1, None);
    let stranger = Simulator::start(over_tls(server)).unwrap();
    let mut told = swallowed(&stack);
    let count = told.len();
    names.set(&[stranger.address()], &[stack.b.address()]);
    place.close();
    let failed = r#"p99_upstream_connects_total{processor="default",result="handshake_failed"}"#;
    let tries = f64::from(u32::try_from(count).unwrap());
    wait_until("the new address is tried", || stack.metric(failed) >= tries);
    // What is new was not sent there either, so the other processor may have it.
    let mut client = stack.client();
    for id in (100..108).map(id) {
        let answer = patiently("B has it", || client.pay(id, "1"));
        assert_eq!(answer.status, 200, "{answer:?}");
        told.push((id, Told::Status(200)));
    }
    assert_eq!(stack.b.rows().len(), 8);
    assert!(stranger.all_attempts().is_empty() && stranger.rows().is_empty());
    // A comes back.
    place.open(stack.a.address());
    names.set(&[place.address()], &[stack.b.address()]);
    stack.audit("after the stranger", &told);
    let rows = (stack.a.rows().len(), stack.b.rows().len());
    assert_eq!(rows, (count, 8));
    drop(client);
    stack.stop();
    assert!(stranger.all_attempts().is_empty());
}

fn handshakes_leave_nothing_behind(driver: &str) {
    for (number, (_, version)) in VERSIONS.into_iter().enumerate() {
        let authority = Authority::new(&format!("many-{driver}-{number}"));
        let a = Simulator::start(over_tls(authority.server("127.0.0.1", version, None))).unwrap();
        // Each connection ends with its first answer.
        a.inject(Fault::new(Moment::Answer, Act::LastAnswer))
            .unwrap();
        let file = authority.file();
        let settings = [
            ("UPSTREAM_A_TLS_CA", file.as_str()),
            ("HEDGE_DELAY_MS", "60000"),
            // A busy machine must not make a failure of a handshake.
            ("CONNECT_TIMEOUT_MS", "20000"),
        ];
        let p99 = start::start([&a.url(), "none"], driver, &settings);
        let payments = count(50, 5_000);
        let pay = |first: usize| {
            let told = pay_all(p99.address, 8, first..first + payments);
            assert_eq!(with_status(&told, 200), payments, "{}", p99.log());
            wait_until("every connection has ended", || a.connections() == 0);
            (p99.descriptors(), p99.resident_kib())
        };
        let (_, _) = pay(0);
        let (descriptors, memory) = pay(payments);
        let (_, memory_later) = pay(2 * payments);
        // Clients that have left may still be on their way out.
        wait_until("descriptors are given back", || {
            p99.descriptors() <= descriptors + 2
        });
        // The ids that are remembered take 60 bytes each; a session would take 10 KiB.
        let grown = memory_later.saturating_sub(memory);
        let most = 2_048 + u64::try_from(payments).unwrap();
        assert!(grown < most, "{payments} handshakes took {grown} KiB");
        assert_eq!(p99.stop(), Some(0));
    }
}
