//! I4: what a processor says while no request is out belongs to no request. Here one repeats its
//! answer to an earlier payment, the first part before the next payment and the rest after it.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use p99::testing::cores::Exit;
use rustls::SupportedProtocolVersion;

use crate::certificates::{Authority, VERSIONS};
use crate::kit::client::{Client, DEADLINE, id, wait_until};
use crate::kit::stack::{metric, start_p99, tcp};
use crate::on_both_drivers_together;
use crate::tls_by_hand::{Peer, serve};
use crate::upstream::CHARGED;

on_both_drivers_together! {
    what_arrives_unasked_begins_no_answer,
    over_tls_what_arrives_unasked_begins_no_answer,
    a_connection_with_a_part_of_a_record_is_not_lent,
}

/// The amount of the payment that is answered twice.
const TWICE: &str = "6.66";

/// How much of the second answer arrives before the next payment.
#[derive(Clone, Copy, Debug)]
enum Part {
    Text,
    /// Not even its record is whole.
    Record,
}

/// Answers every payment once, but one.
struct Repeater {
    part: Part,
    charged: Mutex<Vec<String>>,
    /// The client was told of the payment that is answered twice.
    told: Mutex<Receiver<()>>,
    has_begun: Sender<()>,
}

impl Repeater {
    fn play(&self, mut peer: Peer) {
        let mut rest = None;
        while let Some(request) = peer.request() {
            if let Some(rest) = rest.take() {
                // Whatever was asked now, this one does not charge it.
                peer.write(rest);
                continue;
            }
            if request.starts_with("GET") {
                peer.say(&self.stored(&request));
                continue;
            }
            self.charged.lock().unwrap().push(request.clone());
            peer.say(CHARGED);
            if request.contains(&format!(r#""amount":{TWICE},"#)) {
                self.told.lock().unwrap().recv().unwrap();
                rest = Some(self.begin_again(&mut peer).leak());
                peer.await_read();
                self.has_begun.send(()).unwrap();
            }
        }
    }

    /// Says a part of an answer; the rest.
    fn begin_again(&self, peer: &mut Peer) -> Vec<u8> {
        match self.part {
            Part::Text => {
                let (first, rest) = CHARGED.split_at(20);
                peer.say(first);
                peer.sealed(rest)
            }
            Part::Record => {
                let mut bytes = peer.sealed(CHARGED);
                let rest = bytes.split_off(20);
                peer.write(&bytes);
                rest
            }
        }
    }

    /// What was sent of the payment that a lookup asks for.
    fn stored(&self, lookup: &str) -> String {
        let (path, _) = lookup.split_once(" HTTP").unwrap();
        let (_, id) = path.rsplit_once('/').unwrap();
        let charged = self.charged.lock().unwrap();
        let payment = charged.iter().find(|request| request.contains(id)).unwrap();
        let (_, body) = payment.split_once("\r\n\r\n").unwrap();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

fn play(driver: &str, version: Option<&'static SupportedProtocolVersion>, part: Part) {
    let name = version.map_or_else(String::new, |one| format!("{:?}", one.version));
    let authority = Authority::new(&format!("unasked-{driver}-{name}-{part:?}"));
    let config = version.map(|version| authority.server("127.0.0.1", version, None));
    let (tell, told) = channel();
    let (has_begun, begun) = channel();
    let repeater = Arc::new(Repeater {
        part,
        charged: Mutex::default(),
        told: Mutex::new(told),
        has_begun,
    });
    let played = Arc::clone(&repeater);
    let url = serve(config, move |peer| played.play(peer));
    let file = authority.file();
    let mut settings = vec![
        ("CORES", "1"),
        ("ROUTING", "cheapest"),
        ("HEDGE_DELAY_MS", "60000"),
        ("CONNECT_TIMEOUT_MS", "20000"),
    ];
    settings.extend(version.map(|_| ("UPSTREAM_A_TLS_CA", file.as_str())));
    let running = start_p99([&url, "http://127.0.0.1:1"], driver, &settings);
    let mut client = Client::connect(tcp(&running.addresses()));
    assert_eq!(client.pay(id(1), "1").status, 200, "{name} {part:?}");
    // p99 asks once what a lookup here is worth; that must not come in between.
    let proven = r#"p99_lookups_total{processor="default",answer="stored"}"#;
    wait_until("the lookup is proven", || {
        metric(&client.get("/metrics").body, proven) >= 1.0
    });
    assert_eq!(client.pay(id(2), TWICE).status, 200, "{name} {part:?}");
    tell.send(()).unwrap();
    begun.recv_timeout(DEADLINE).unwrap();
    assert_eq!(client.pay(id(3), "3").status, 200, "{name} {part:?}");
    let charged = repeater.charged.lock().unwrap();
    let third = id(3).to_string();
    let times = charged.iter().filter(|one| one.contains(&third)).count();
    assert_eq!(times, 1, "{name} {part:?}: {charged:?}");
    drop((charged, client));
    assert_eq!(running.stop(), Exit::Clean);
}

fn what_arrives_unasked_begins_no_answer(driver: &str) {
    play(driver, None, Part::Text);
}

fn over_tls_what_arrives_unasked_begins_no_answer(driver: &str) {
    for (_, version) in VERSIONS {
        play(driver, Some(version), Part::Text);
    }
}

/// The record may be the beginning of an answer.
fn a_connection_with_a_part_of_a_record_is_not_lent(driver: &str) {
    for (_, version) in VERSIONS {
        play(driver, Some(version), Part::Record);
    }
}
