//! Which TLS sessions are lent to a payment, seen by a server that is played by hand: what p99 says
//! in the handshake, sessions that end or are spoken on too early, and files that change while a
//! connection comes to be.

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use p99::testing::cores::{Exit, Running};
use p99::testing::sim::{Simulator, SimulatorOptions};
use rustls::ServerConnection;
use rustls::server::{Acceptor, NoServerSessionStorage};
use socket2::SockRef;

use crate::certificates::{Authority, Issued, VERSIONS};
use crate::kit::client::{Client, DEADLINE, id, wait_until};
use crate::kit::payers::{pay_all, with_status};
use crate::kit::stack::{Told, metric, start_p99, tcp};
use crate::kit::start;
use crate::on_both_drivers_together;
use crate::tls_by_hand::{Peer, serve};
use crate::upstream::CHARGED;

on_both_drivers_together! {
    the_name_that_is_set_is_asked_for_and_checked,
    a_session_that_ends_with_its_handshake_is_none,
    what_is_said_with_the_handshake_is_no_answer,
    a_peer_that_goes_over_a_certificate_was_not_sent_to,
    a_peer_that_is_content_in_silence_is_paid,
    an_alert_about_a_certificate_after_the_charge_frees_nothing,
    an_answer_counts_although_an_alert_follows_in_the_same_read,
    a_connection_made_with_what_files_held_before_is_not_kept,
    a_bad_server_among_good_ones_is_one_line,
    a_key_is_in_no_word_of_a_check,
}

/// The peer is asked first, on one core.
const SETTINGS: [(&str, &str); 4] = [
    ("CORES", "1"),
    ("ROUTING", "cheapest"),
    ("HEDGE_DELAY_MS", "60000"),
    ("CB_MIN_SAMPLES", "100000"),
];

const LAST: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";

fn of_peer(running: &Running, name: &str, label: &str) -> f64 {
    let page = Client::connect(tcp(&running.addresses()))
        .get("/metrics")
        .body;
    metric(&page, &format!(r#"{name}{{processor="default",{label}}}"#))
}

fn connects(running: &Running, result: &str) -> f64 {
    let label = format!(r#"result="{result}""#);
    of_peer(running, "p99_upstream_connects_total", &label)
}

/// Over TLS 1.3 a peer looks at p99's certificate when p99 may speak already, and its word for "no"
/// may be lost in a reset of the connection.
fn a_peer_that_goes_over_a_certificate_was_not_sent_to(driver: &str) {
    let authority = Authority::new(&format!("reset-{driver}"));
    let config = authority.server("127.0.0.1", VERSIONS[1].1, Some(&authority));
    let slow = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&slow);
    let url = serve(Some(config), move |mut peer| {
        let session = peer.session.as_mut().unwrap();
        while !session.wants_write() {
            session.read_tls(&mut peer.socket).unwrap();
            session.process_new_packets().unwrap();
        }
        let began = Instant::now();
        session.write_tls(&mut peer.socket).unwrap();
        // What p99 sends before it knows would be in its hands by now.
        thread::sleep(Duration::from_millis(15));
        SockRef::from(&peer.socket)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(peer);
        // p99 takes a silence of 100 ms for a yes: that is this machine's, and says nothing of it.
        if began.elapsed() > Duration::from_millis(80) {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let b = Simulator::start(SimulatorOptions::default()).unwrap();
    let file = authority.file();
    let settings = [&SETTINGS[..], &[("UPSTREAM_A_TLS_CA", file.as_str())]];
    let running = start_p99([&url, &b.url()], driver, &settings.concat());
    let told = pay_all(tcp(&running.addresses()), 4, 0..20);
    let slow = slow.load(Ordering::SeqCst);
    assert!(slow < 10, "{slow} of 20 say nothing");
    let is_at_b = |(id, word): &&_| *word == Told::Status(200) && b.find(*id).is_some();
    let at_b = told.iter().filter(is_at_b).count();
    assert!(at_b + slow >= 20, "{slow} were slow: {told:?}");
    let of_20 = f64::from(u32::try_from(20 - slow).unwrap());
    assert!(connects(&running, "handshake_failed") >= of_20);
    let unknown = of_peer(&running, "p99_attempts_total", r#"outcome="unknown""#);
    assert!(unknown <= 20.0 - of_20, "{unknown}, {slow} were slow");
}

/// It asks for a certificate, does without, and gives no ticket, so nothing says that it does.
fn a_peer_that_is_content_in_silence_is_paid(driver: &str) {
    let authority = Authority::new(&format!("silent-{driver}"));
    let mut config = authority.server("127.0.0.1", VERSIONS[1].1, Some(&authority));
    Arc::get_mut(&mut config).unwrap().send_tls13_tickets = 0;
    let url = serve(Some(config), |mut peer| {
        while peer.request().is_some() {
            peer.say(CHARGED);
        }
    });
    let issued = authority.issue("p99");
    let (file, certificate) = (authority.file(), authority.write("p99.pem", &issued.pem));
    let key = authority.write("p99-key.pem", &issued.key.serialize_pem());
    let settings = [
        &SETTINGS[..],
        &[
            ("UPSTREAM_A_TLS_CA", &file),
            ("UPSTREAM_A_TLS_CERT", &certificate),
            ("UPSTREAM_A_TLS_KEY", &key),
            ("CONNECT_TIMEOUT_MS", "20000"),
        ],
    ];
    let running = start_p99([&url, "http://127.0.0.1:1"], driver, &settings.concat());
    let told = pay_all(tcp(&running.addresses()), 2, 0..8);
    assert_eq!(with_status(&told, 200), 8, "{told:?}");
    assert!(connects(&running, "handshake_failed") < 1.0);
}

/// Where each payment is charged and then told `first`, with an alert about p99's certificate
/// behind it: all have this status, and none is charged by the other processor.
fn alert_after_the_charge(driver: &str, first: &'static str, status: u16) {
    // Who is told 202 waits for it. A busy machine may turn some away before they were sent.
    let (patience, away_max) = match status {
        202 => ("2000", 3),
        _ => ("20000", 0),
    };
    let authority = Authority::new(&format!("alert-{status}-{driver}"));
    let mut config = authority.server("127.0.0.1", VERSIONS[1].1, None);
    Arc::get_mut(&mut config).unwrap().enable_secret_extraction = true;
    let certificate_required = 116;
    let charged = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&charged);
    let url = serve(Some(config), move |mut peer| {
        let is_payment = |request: &String| request.starts_with("POST");
        if peer.request().as_ref().is_some_and(is_payment) {
            count.fetch_add(1, Ordering::SeqCst);
            peer.alert_behind(first, certificate_required);
        }
    });
    let b = Simulator::start(SimulatorOptions::default()).unwrap();
    let file = authority.file();
    let settings = [
        &SETTINGS[..],
        &[
            ("UPSTREAM_A_TLS_CA", file.as_str()),
            ("REQUEST_TIMEOUT_MS", patience),
            ("SHUTDOWN_GRACE_SECS", "0"),
        ],
    ];
    let running = start_p99([&url, &b.url()], driver, &settings.concat());
    let told = pay_all(tcp(&running.addresses()), 2, 0..6);
    let away = with_status(&told, 503);
    assert_eq!(with_status(&told, status) + away, 6, "{told:?}");
    assert!(away <= away_max, "{told:?}");
    assert!(charged.load(Ordering::SeqCst) >= 6 - away);
    assert_eq!(b.rows().len(), 0, "charged twice");
}

/// A peer may charge, and say only then that something is wrong with p99's part of the session.
fn an_alert_about_a_certificate_after_the_charge_frees_nothing(driver: &str) {
    alert_after_the_charge(driver, "", 202);
}

/// One read may bring both. A request that was answered was looked at, whatever follows.
fn an_answer_counts_although_an_alert_follows_in_the_same_read(driver: &str) {
    alert_after_the_charge(driver, CHARGED, 200);
}

/// Certificates for another name than the URL's host.
fn the_name_that_is_set_is_asked_for_and_checked(driver: &str) {
    for (number, (name, version)) in VERSIONS.into_iter().enumerate() {
        let authority = Authority::new(&format!("named-{driver}-{number}"));
        let config = authority.server("psp.example", version, None);
        let (sender, said) = channel();
        let url = serve(None, move |mut peer| {
            let mut hello = Acceptor::default();
            let accepted = loop {
                hello.read_tls(&mut peer.socket).unwrap();
                if let Some(accepted) = hello.accept().unwrap() {
                    break accepted;
                }
            };
            let hello = accepted.client_hello();
            let protocols: Vec<_> = hello.alpn().into_iter().flatten().collect();
            let protocols = protocols.concat();
            let name = hello.server_name().map(str::to_owned);
            sender.send((name, protocols)).unwrap();
            peer.session = accepted.into_connection(Arc::clone(&config)).ok();
            while peer.request().is_some() {
                peer.say(CHARGED);
            }
        });
        let file = authority.file();
        let named = [
            ("UPSTREAM_A_TLS_CA", file.as_str()),
            ("UPSTREAM_A_TLS_NAME", "psp.example"),
        ];
        let url = url.replace("http:", "https:");
        let settings = [&SETTINGS[..], &named].concat();
        let running = start_p99([&url, "http://127.0.0.1:1"], driver, &settings);
        let told = pay_all(tcp(&running.addresses()), 2, 0..8);
        assert_eq!(with_status(&told, 200), 8, "{name}: {told:?}");
        let expected = (Some("psp.example".to_owned()), b"http/1.1".to_vec());
        assert_eq!(said.recv_timeout(DEADLINE).unwrap(), expected, "{name}");
        assert_eq!(running.stop(), Exit::Clean);
    }
}

/// With TLS 1.2 the server has the last word of a handshake. Here `more` is behind it in the same
/// write, and the rest comes when p99 has read that; requests are read, and never answered.
fn charged_by_the_other(driver: &str, name: &str, more: fn(&mut Peer) -> (Vec<u8>, Vec<u8>)) {
    let authority = Authority::new(&format!("{name}-{driver}"));
    let mut config = (*authority.server("127.0.0.1", VERSIONS[0].1, None)).clone();
    // Where an earlier session goes on the last word is the client's.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    let url = serve(Some(Arc::new(config)), move |mut peer| {
        while let Some(session) = peer.session.as_mut().filter(|one| one.is_handshaking()) {
            session.read_tls(&mut peer.socket).unwrap();
            session.process_new_packets().unwrap();
            let is_last = !session.is_handshaking();
            let mut flight = peer.sealed("");
            let (now, later) = match is_last {
                true => more(&mut peer),
                false => Default::default(),
            };
            flight.extend(now);
            peer.write(&flight);
            if !later.is_empty() {
                peer.await_read();
                peer.write(&later);
            }
        }
        while peer.request().is_some() {}
        // Until p99 has ended it.
        let _ = std::io::copy(&mut peer.socket, &mut std::io::sink());
    });
    let b = Simulator::start(SimulatorOptions::default()).unwrap();
    let file = authority.file();
    let patience = [
        ("UPSTREAM_A_TLS_CA", file.as_str()),
        ("REQUEST_TIMEOUT_MS", "20000"),
        ("SHUTDOWN_GRACE_SECS", "0"),
    ];
    let settings = [&SETTINGS[..], &patience].concat();
    let running = start_p99([&url, &b.url()], driver, &settings);
    let told = pay_all(tcp(&running.addresses()), 2, 0..8);
    assert_eq!(with_status(&told, 200), 8, "{name}: {told:?}");
    assert_eq!(b.rows().len(), 8, "{name}");
    let unknown = of_peer(&running, "p99_attempts_total", r#"outcome="unknown""#);
    assert!(unknown < 1.0, "{name}: none is in doubt");
    assert!(connects(&running, "handshake_failed") >= 8.0, "{name}");
    assert!(connects(&running, "connected") < 1.0, "{name}");
    assert_eq!(running.stop(), Exit::Clean);
}

fn a_session_that_ends_with_its_handshake_is_none(driver: &str) {
    charged_by_the_other(driver, "ended", |peer| {
        peer.session.as_mut().unwrap().send_close_notify();
        (peer.sealed(""), Vec::new())
    });
}

fn what_is_said_with_the_handshake_is_no_answer(driver: &str) {
    charged_by_the_other(driver, "early", |peer| {
        let mut first = peer.sealed(CHARGED);
        let rest = first.split_off(20);
        (first, rest)
    });
}

/// The first connection, which the start makes for the pool, has its handshake when a renewed
/// certificate is in use already.
fn a_connection_made_with_what_files_held_before_is_not_kept(driver: &str) {
    let authority = Authority::new(&format!("between-{driver}"));
    let config = authority.server("127.0.0.1", VERSIONS[1].1, Some(&authority));
    let [old, new] = [(), ()].map(|()| authority.issue("p99.example"));
    let (go, gate) = sync_channel::<()>(1);
    let gate = Mutex::new(Some(gate));
    let (hold, held) = channel();
    let (sender, shown) = channel();
    let url = serve(Some(config), move |mut peer| {
        let first = gate.lock().unwrap().take();
        if let Some(gate) = first {
            hold.send(()).unwrap();
            gate.recv().unwrap();
        }
        while peer.request().is_some() {
            let session = peer.session.as_ref().unwrap();
            let certificates = session.peer_certificates().unwrap();
            sender.send(certificates[0].clone()).unwrap();
            peer.say(CHARGED);
        }
    });
    let write = |issued: &Issued| {
        let key = authority.write("key.pem", &issued.key.serialize_pem());
        (authority.write("cert.pem", &issued.pem), key)
    };
    let (certificate, key) = write(&old);
    let file = authority.file();
    let files = [
        ("UPSTREAM_A_TLS_CA", file.as_str()),
        ("UPSTREAM_A_TLS_CERT", &certificate),
        ("UPSTREAM_A_TLS_KEY", &key),
        ("CONNECT_TIMEOUT_MS", "20000"),
    ];
    let settings = [&SETTINGS[..], &files].concat();
    let running = start_p99([&url, "http://127.0.0.1:1"], driver, &settings);
    let mut client = Client::connect(tcp(&running.addresses()));
    let mut next = 0;
    let mut pay = || {
        next += 1;
        assert_eq!(client.pay(id(next), "1").status, 200);
        // A lookup shows the same as the payment before it.
        shown.try_iter().last().unwrap()
    };
    held.recv_timeout(DEADLINE).unwrap();
    assert_eq!(pay(), old.certificate);
    write(&new);
    wait_until("the new one is in use", || pay() == new.certificate);
    let before = connects(&running, "connected");
    go.send(()).unwrap();
    wait_until("the first one is connected", || {
        connects(&running, "connected") > before
    });
    assert_eq!(pay(), new.certificate);
    drop(client);
    assert_eq!(running.stop(), Exit::Clean);
}

/// Behind one address, so that every other connection fails.
fn a_bad_server_among_good_ones_is_one_line(driver: &str) {
    let (_, version) = VERSIONS[1];
    let authority = Authority::new(&format!("among-{driver}"));
    let configs = ["127.0.0.1", "psp.example"].map(|host| authority.server(host, version, None));
    let count = AtomicUsize::new(0);
    let url = serve(None, move |mut peer| {
        let turn = count.fetch_add(1, Ordering::SeqCst) % 2;
        peer.session = ServerConnection::new(Arc::clone(&configs[turn])).ok();
        if peer.request().is_some() {
            peer.say(LAST);
        }
    });
    let b = Simulator::start(SimulatorOptions::default()).unwrap();
    let file = authority.file();
    let settings = [&SETTINGS[..], &[("UPSTREAM_A_TLS_CA", file.as_str())]].concat();
    let url = url.replace("http:", "https:");
    let mut p99 = start::start([&url, &b.url()], driver, &settings);
    let told = pay_all(p99.address, 1, 0..20);
    assert_eq!(with_status(&told, 200), 20, "{told:?}");
    let page = Client::connect(p99.address).get("/metrics").body;
    let failed = r#"p99_upstream_connects_total{processor="default",result="handshake_failed"}"#;
    assert!(metric(&page, failed) >= 5.0, "{page}");
    p99.wait_for_line("TLS session");
    let log = p99.log();
    assert_eq!(log.matches("TLS session").count(), 1, "{log}");
    assert!(log.contains("is for another name"), "{log}");
    assert_eq!(p99.stop(), Some(0));
}

/// Where everything is well too.
fn a_key_is_in_no_word_of_a_check(driver: &str) {
    let authority = Authority::new(&format!("check-{driver}"));
    let issued = authority.issue("p99.example");
    let pem = issued.key.serialize_pem();
    let files = [
        ("UPSTREAM_A_TLS_CA", authority.file()),
        (
            "UPSTREAM_A_TLS_CERT",
            authority.write("cert.pem", &issued.pem),
        ),
        ("UPSTREAM_A_TLS_KEY", authority.write("key.pem", &pem)),
        ("UPSTREAM_A_URL", "https://127.0.0.1:1".to_owned()),
    ];
    let output = start::command(driver, &[])
        .arg("check")
        .envs(files)
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("UPSTREAM_A_TLS_KEY = /"), "{told}");
    let secret = pem.lines().filter(|line| !line.starts_with("-----END"));
    for line in secret {
        assert!(!told.contains(line), "{told}");
    }
}
