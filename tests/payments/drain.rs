//! A stop under load, as an orchestrator does it: SIGTERM to the real binary. And what a journal
//! keeps over a stop and over a kill.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use p99::testing::payment::UpstreamId;
use p99::testing::sim::{Act, Fault, Moment};

use crate::kit::children::Processors;
use crate::kit::client::{Broken, Client, held, id, patiently, payment, wait_until};
use crate::kit::payers::{amount, pay_again, pay_all, with_status};
use crate::kit::process::P99;
use crate::kit::scratch::Scratch;
use crate::kit::stack::{Stack, Told, count};
use crate::on_both_drivers_together;

/// Clients that pay until no one listens any more, or until they are told to stop.
struct Load {
    next: AtomicUsize,
    answered: AtomicUsize,
    is_over: AtomicBool,
}

impl Load {
    fn new() -> Self {
        Self {
            next: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    fn run(&self, p99: &P99, clients: usize, meanwhile: impl FnOnce()) -> Vec<(UpstreamId, Told)> {
        thread::scope(|scope| {
            let address = p99.address;
            let clients: Vec<_> = (0..clients)
                .map(|_| scope.spawn(move || self.one_client(address)))
                .collect();
            meanwhile();
            clients
                .into_iter()
                .flat_map(|client| client.join().unwrap())
                .collect()
        })
    }

    fn one_client(&self, address: std::net::SocketAddr) -> Vec<(UpstreamId, Told)> {
        let mut told = Vec::new();
        let mut slot = None;
        while !self.is_over.load(Ordering::Relaxed) {
            let client = match slot.take() {
                Some(client) => client,
                None => match Client::try_connect(address) {
                    Ok(client) => client,
                    Err(_) => break,
                },
            };
            let mut client: Client = client;
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            client.send("POST /payments", "", &payment(id(number), &amount(number)));
            let word = match client.read() {
                Ok(answer) => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    if answer.field("Connection") != Some("close") {
                        slot = Some(client);
                    }
                    Told::Status(answer.status)
                }
                Err(broken) => Told::Nothing(broken),
            };
            told.push((id(number), word));
        }
        told
    }

    fn wait_for_answers(&self, count: usize) {
        wait_until("clients are answered", || {
            self.answered.load(Ordering::Relaxed) >= count
        });
    }
}

on_both_drivers_together! {
    a_stop_under_load_loses_nobody,
    readiness_ends_with_the_signal_and_service_goes_on,
    a_client_that_waits_is_answered_after_the_listeners_are_closed,
    what_is_pending_at_the_end_without_a_journal_is_told,
    what_is_pending_at_the_end_with_a_journal_is_settled_after_the_restart,
    a_killed_process_goes_on_where_it_was,
}

/// A client without an answer is one whose request was never read: no processor has heard of
/// it. Everybody else was answered.
fn a_stop_under_load_loses_nobody(driver: &str) {
    for round in 0..count(2, 20) {
        let processors = Processors::start();
        for sim in [&processors.a, &processors.b] {
            sim.set_delay(Duration::from_millis(20));
        }
        let mut p99 = processors.p99(driver, &[("DRAIN_DELAY_MS", "300")]);
        let load = Load::new();
        let told = load.run(&p99, 24, || {
            load.wait_for_answers(count(200, 1_000));
            p99.signal(libc::SIGTERM);
        });
        assert_eq!(p99.wait().code(), Some(0), "{}", p99.log());
        let mut unanswered = 0;
        for (id, word) in &told {
            if let Told::Nothing(broken) = word {
                unanswered += 1;
                assert!(
                    matches!(broken, Broken::Reset | Broken::Closed { bytes: 0 }),
                    "{id}: an answer was cut: {broken:?}"
                );
                assert_eq!(
                    processors.attempts(*id),
                    0,
                    "{id} had been read: {broken:?}"
                );
            } else {
                assert_eq!(*word, Told::Status(200), "{id}");
            }
        }
        processors.audit(&told);
        eprintln!(
            "stop {round}: {} payments, {} answered 200 and charged once, {unanswered} never read",
            told.len(),
            told.len() - unanswered,
        );
    }
}

fn readiness_ends_with_the_signal_and_service_goes_on(driver: &str) {
    let processors = Processors::start();
    let mut p99 = processors.p99(driver, &[("DRAIN_DELAY_MS", "8000")]);
    let mut client = Client::connect(p99.address);
    let before = patiently("it is ready", || client.get("/readyz"));
    assert_eq!((before.status, before.field("Connection")), (200, None));
    p99.signal(libc::SIGTERM);
    wait_until("readyz says so", || {
        let answer = Client::connect(p99.address).get("/readyz");
        answer.status == 503
    });
    let answer = client.pay(id(0), "1");
    assert_eq!(
        answer.status, 200,
        "the listener is open, the balancer not told yet"
    );
    assert_eq!(answer.field("Connection"), Some("close"));
    assert_eq!(client.read(), Err(Broken::Closed { bytes: 0 }));
    let answer = Client::connect(p99.address).get("/healthz");
    assert_eq!(
        (answer.status, answer.field("Connection")),
        (200, Some("close"))
    );
    assert_eq!(p99.wait().code(), Some(0));
    assert!(Client::try_connect(p99.address).is_err());
}

fn a_client_that_waits_is_answered_after_the_listeners_are_closed(driver: &str) {
    let processors = Processors::start();
    for sim in [&processors.a, &processors.b] {
        sim.set_delay(Duration::from_secs(5));
    }
    let mut p99 = processors.p99(
        driver,
        &[("DRAIN_DELAY_MS", "0"), ("HEDGE_DELAY_MS", "60000")],
    );
    let mut clients: Vec<_> = (0..8).map(|_| Client::connect(p99.address)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send("POST /payments", "", &payment(id(number), "1"));
    }
    wait_until("all are at work", || {
        (0..8).all(|number| processors.attempts(id(number)) == 1)
    });
    p99.signal(libc::SIGTERM);
    for client in &mut clients {
        let answer = client.read().unwrap();
        assert_eq!(
            (answer.status, answer.field("Connection")),
            (200, Some("close"))
        );
    }
    assert_eq!(p99.wait().code(), Some(0));
}

fn what_is_pending_at_the_end_without_a_journal_is_told(driver: &str) {
    let processors = Processors::start();
    for sim in [&processors.a, &processors.b] {
        sim.inject(Fault::new(Moment::Body, Act::Stall)).unwrap();
    }
    let mut p99 = processors.p99(
        driver,
        &[
            ("REQUEST_TIMEOUT_MS", "1000"),
            ("DRAIN_DELAY_MS", "0"),
            ("SHUTDOWN_GRACE_SECS", "1"),
        ],
    );
    held(|| Client::connect(p99.address).pay("test-123", "20"));
    p99.signal(libc::SIGTERM);
    assert_eq!(p99.wait().code(), Some(3), "acknowledged and forgotten");
    wait_until("its id is logged", || {
        p99.log()
            .lines()
            .any(|line| line.contains("ERROR") && line.contains("test-123"))
    });
}

fn what_is_pending_at_the_end_with_a_journal_is_settled_after_the_restart(driver: &str) {
    let processors = Processors::start();
    let scratch = Scratch::new("stop").unwrap();
    let folder = scratch.text("journal");
    let settings = [
        ("REQUEST_TIMEOUT_MS", "1000"),
        ("DRAIN_DELAY_MS", "0"),
        ("SHUTDOWN_GRACE_SECS", "1"),
        ("JOURNAL_DIR", folder.as_str()),
    ];
    for sim in [&processors.a, &processors.b] {
        sim.inject(Fault::new(Moment::Body, Act::Stall)).unwrap();
    }
    let p99 = processors.p99(driver, &settings);
    // A disk that stands still turns a payment away before it is sent, or leaves it in doubt.
    let mut told = Vec::new();
    for first in (0..200).step_by(20) {
        told.extend(pay_all(p99.address, 20, first..first + 20));
        if with_status(&told, 202) > 0 {
            break;
        }
    }
    assert!(with_status(&told, 202) > 0, "{told:?} {}", p99.log());
    assert_eq!(p99.stop(), Some(0), "the journal remembers");
    for sim in [&processors.a, &processors.b] {
        sim.clear_faults();
    }
    let p99 = processors.p99(driver, &settings);
    let mut client = Client::connect(p99.address);
    for (id, word) in &told {
        let states: &[&str] = match word {
            Told::Status(202) => &["processed"],
            Told::Status(_) => &[""],
            Told::Nothing(_) => &["processed", ""],
        };
        wait_until("it settles", || {
            states.contains(&&*Stack::state_of(&mut client, *id))
        });
        if *word == Told::Status(202) {
            assert_eq!(pay_again(&mut client, *id).status, 409);
        }
    }
    processors.audit(&told);
    drop(client);
    assert_eq!(p99.stop(), Some(0));
}

/// I5, end to end: killed again and again under load, p99 charges nothing twice and loses
/// nothing that it acknowledged.
fn a_killed_process_goes_on_where_it_was(driver: &str) {
    let processors = Processors::start();
    for (seed, sim) in [&processors.a, &processors.b].into_iter().enumerate() {
        sim.set_delay(Duration::from_millis(5));
        let lost = Fault::new(Moment::Answer, Act::Reset);
        sim.inject(lost.chance(50_000, seed as u64)).unwrap();
    }
    let scratch = Scratch::new("kill").unwrap();
    let folder = scratch.text("journal");
    let settings = [
        ("JOURNAL_DIR", folder.as_str()),
        ("REQUEST_TIMEOUT_MS", "500"),
    ];
    let load = Load::new();
    let mut told = Vec::new();
    for _ in 0..count(3, 30) {
        let mut p99 = processors.p99(driver, &settings);
        let before = load.answered.load(Ordering::Relaxed);
        told.extend(load.run(&p99, 16, || {
            load.wait_for_answers(before + count(100, 300));
            p99.signal(libc::SIGKILL);
        }));
        assert_eq!(p99.wait().code(), None);
    }
    let p99 = processors.p99(driver, &settings);
    let mut client = Client::connect(p99.address);
    for (id, word) in &told {
        wait_until(&format!("{id} settles after {word:?}"), || {
            Stack::state_of(&mut client, *id) != "pending"
        });
    }
    processors.audit(&told);
    let known = told
        .iter()
        .filter(|(id, _)| Stack::state_of(&mut client, *id) == "processed");
    let charged = told.iter().filter(|(id, _)| processors.charges(*id) == 1);
    let (known, charged) = (known.count(), charged.count());
    eprintln!(
        "{} payments over kills: {charged} charged once, {known} known, 0 twice",
        told.len()
    );
    assert_eq!(known, charged, "I6: what was charged is in the ledger");
    drop(client);
    assert_eq!(p99.stop(), Some(0));
}
