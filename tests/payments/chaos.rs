//! Everything at once: both processors lie at random at every moment, clients leave at random,
//! then all heals. Whatever happened, the audit holds.

use std::net::SocketAddr;
use std::ops::Range;
use std::thread;
use std::time::Duration;

use p99::testing::payment::UpstreamId;
use p99::testing::sim::{Act, Fault, Moment, Route};

use crate::kit::client::{Broken, Client, id, payment};
use crate::kit::payers::{amount, assert_few_unanswered, with_status};
use crate::kit::stack::{Stack, Told, count};
use crate::on_both_drivers_together;

/// SplitMix64: the same seed gives the same luck.
pub(crate) struct Luck(pub(crate) u64);

impl Luck {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[rustfmt::skip]
const LIES: [(Moment, Act); 22] = [
    (Moment::Connect, Act::Reset), (Moment::Connect, Act::Close), (Moment::Connect, Act::Pause(30)),
    (Moment::Head, Act::Reset), (Moment::Head, Act::Status(503)), (Moment::Head, Act::Close),
    (Moment::Body, Act::Reset), (Moment::Body, Act::Status(500)), (Moment::Body, Act::Status(502)),
    (Moment::Body, Act::Status(401)), (Moment::Body, Act::ResetChargeLater(400)),
    (Moment::Body, Act::Pause(300)), (Moment::Body, Act::StatusRetryAfter(429, 0)),
    (Moment::Answer, Act::Reset), (Moment::Answer, Act::CutHead), (Moment::Answer, Act::CutBody),
    (Moment::Answer, Act::Double), (Moment::Answer, Act::Garbage),
    (Moment::Answer, Act::Status(500)), (Moment::Answer, Act::Pause(300)),
    (Moment::Answer, Act::CloseAfter),
    (Moment::Answer, Act::Drip(1)),
];

fn one_client(address: SocketAddr, numbers: Range<usize>, seed: u64) -> Vec<(UpstreamId, Told)> {
    let mut luck = Luck(seed);
    let mut told = Vec::new();
    let mut slot: Option<Client> = None;
    for number in numbers {
        let client = slot.get_or_insert_with(|| Client::connect(address));
        client.send("POST /payments", "", &payment(id(number), &amount(number)));
        let is_leaving = luck.below(10) == 0;
        if is_leaving {
            client.set_patience(Duration::from_millis(luck.below(40)));
        }
        let word = match client.read() {
            Ok(answer) => Told::Status(answer.status),
            Err(broken) => Told::Nothing(broken),
        };
        let is_unanswered = matches!(word, Told::Nothing(broken) if broken.is_unanswered());
        if is_leaving && let Some(client) = slot.take() {
            if luck.below(2) == 0 {
                client.reset();
            }
        } else if is_unanswered {
            slot = None;
        } else {
            assert!(matches!(word, Told::Status(_)), "{number}: {word:?}");
        }
        told.push((id(number), word));
    }
    told
}

fn storm(driver: &str, settings: &[(&str, &str)], seed: u64) {
    let patience = [
        ("REQUEST_TIMEOUT_MS", "100"),
        ("CONNECT_TIMEOUT_MS", "250"),
        ("SETTLE_TIMEOUT_MS", "1000"),
        ("CB_OPEN_SECS", "1"),
    ];
    let stack = Stack::start(driver, &[&patience, settings].concat());
    for (place, sim) in [&stack.a, &stack.b].into_iter().enumerate() {
        for (row, (moment, act)) in LIES.into_iter().enumerate() {
            let luck = seed ^ (place as u64 * 1_000 + row as u64);
            sim.inject(Fault::new(moment, act).chance(15_000, luck))
                .unwrap();
        }
        let lookup = Fault::new(Moment::Body, Act::Reset).on(Route::Lookup);
        sim.inject(lookup.chance(100_000, seed)).unwrap();
    }
    let (address, clients) = (stack.address(), 32);
    let each = count(40, 2_000);
    let mut told: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|client| {
                let numbers = client * each..(client + 1) * each;
                scope.spawn(move || one_client(address, numbers, seed + client as u64))
            })
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    told.sort_unstable_by_key(|(id, _)| *id);
    for sim in [&stack.a, &stack.b] {
        sim.clear_faults();
    }
    stack.audit(&format!("storm {seed}"), &told);
    let is_unanswered =
        |(_, word): &&_| matches!(word, Told::Nothing(broken) if broken.is_unanswered());
    let unanswered = told.iter().filter(is_unanswered).count();
    let page = stack.client().get("/metrics").body;
    assert_few_unanswered(unanswered, told.len(), &page);
    let left = told
        .iter()
        .filter(|(_, word)| *word == Told::Nothing(Broken::Silence));
    eprintln!(
        "storm {seed}: {} payments, 0 charged twice; \
         200: {}, 202: {}, 422: {}, 502: {}, 503: {}, left: {}",
        told.len(),
        with_status(&told, 200),
        with_status(&told, 202),
        with_status(&told, 422),
        with_status(&told, 502),
        with_status(&told, 503),
        left.count(),
    );
    stack.stop();
}

on_both_drivers_together! {
    half_and_half,
    the_cheap_one_first,
    the_fast_one_first_on_four_cores,
    settled_behind_the_answer,
}

fn half_and_half(driver: &str) {
    storm(driver, &[("ROUTING", "round_robin")], 1);
}

fn the_cheap_one_first(driver: &str) {
    storm(driver, &[("ROUTING", "cheapest")], 2);
}

fn the_fast_one_first_on_four_cores(driver: &str) {
    storm(driver, &[("ROUTING", "fastest"), ("CORES", "4")], 3);
}

fn settled_behind_the_answer(driver: &str) {
    storm(
        driver,
        &[("ACK", "accepted"), ("ATTEMPT_TIMEOUT_MS", "100")],
        4,
    );
}
