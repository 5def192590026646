//! No answer ever belongs to another payment. Processors answer by the id itself (even: charged,
//! odd: 400), answer late or oddly, but
//! always (I3: one attempt that is never answered keeps a payment pending, whatever a later attempt
//! is told); clients leave at random. A status that does
//! not fit its id's parity would be another payment's. Descriptors and memory end where they began.

use std::net::SocketAddr;
use std::ops::Range;
use std::thread;
use std::time::Duration;

use p99::testing::payment::UpstreamId;
use p99::testing::sim::{
    Act, Deciding, Fault, Moment, Simulator, SimulatorHandle, SimulatorOptions,
};

use crate::chaos::Luck;
use crate::kit::client::{Client, id, payment, request, wait_until};
use crate::kit::payers::assert_few_unanswered;
use crate::kit::process::P99;
use crate::kit::stack::{Stack, count};
use crate::kit::start;
use crate::on_both_drivers;

const CLIENTS: usize = 48;

/// What one client saw.
#[derive(Debug, Default)]
struct Seen {
    charged: usize,
    refused: usize,
    accepted: Vec<UpstreamId>,
    unavailable: usize,
    unanswered: usize,
    left: usize,
    requests: usize,
}

/// One client's life: requests alone or several at once, and now and then it leaves early.
fn one_client(address: SocketAddr, numbers: Range<usize>, seed: u64) -> Seen {
    let mut luck = Luck(seed);
    let mut seen = Seen::default();
    let mut slot: Option<Client> = None;
    let mut next = numbers.start;
    while next < numbers.end {
        let client = slot.get_or_insert_with(|| Client::connect(address));
        let batch = 1 + usize::try_from(luck.below(4)).unwrap() * usize::from(luck.below(4) == 0);
        let batch = next..(next + batch).min(numbers.end);
        next = batch.end;
        let text: String = batch
            .clone()
            .map(|number| request("POST /payments", "", &payment(id(number), "1")))
            .collect();
        client.write(&text);
        seen.requests += batch.len();
        let is_leaving = luck.below(8) == 0;
        if is_leaving {
            client.set_patience(Duration::from_micros(luck.below(12_000)));
        }
        for number in batch.clone() {
            let is_even = id(number).0.is_multiple_of(2);
            match client.read().map(|answer| answer.status) {
                Ok(200) => {
                    assert!(is_even, "{number} is odd and was told 200");
                    seen.charged += 1;
                }
                Ok(422) => {
                    assert!(!is_even, "{number} is even and was told 422");
                    seen.refused += 1;
                }
                Ok(202) => seen.accepted.push(id(number)),
                // Neither processor could be tried in time: says nothing of the id.
                Ok(503) => seen.unavailable += 1,
                Ok(status) => panic!("{number} was told {status}"),
                Err(broken) if is_leaving || broken.is_unanswered() => {
                    let count = if is_leaving {
                        &mut seen.left
                    } else {
                        slot = None;
                        &mut seen.unanswered
                    };
                    *count += batch.end - number;
                    break;
                }
                Err(broken) => panic!("{number}: {broken:?}"),
            }
        }
        if is_leaving
            && let Some(client) = slot.take()
            && luck.below(2) == 0
        {
            client.reset();
        }
    }
    seen
}

fn crowd(address: SocketAddr, numbers: Range<usize>) -> Seen {
    let each = numbers.len() / CLIENTS;
    let seen: Vec<Seen> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let first = numbers.start + client * each;
                scope.spawn(move || one_client(address, first..first + each, first as u64))
            })
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    seen.into_iter().fold(Seen::default(), |mut all, one| {
        all.charged += one.charged;
        all.refused += one.refused;
        all.accepted.extend(one.accepted);
        all.unavailable += one.unavailable;
        all.unanswered += one.unanswered;
        all.left += one.left;
        all.requests += one.requests;
        all
    })
}

/// Waits until p99 holds no connection that it does not need.
fn quiet_descriptors(p99: &P99) -> usize {
    let mut last = usize::MAX;
    wait_until("descriptors are given back", || {
        // The idle pool empties within POOL_IDLE_SECS and a look every quarter of a second.
        thread::sleep(Duration::from_millis(1_600));
        let now = p99.descriptors();
        let is_steady = now == last;
        last = now;
        is_steady
    });
    last
}

on_both_drivers! {
    every_answer_belongs_to_its_payment,
}

/// A processor that answers by the id, and oddly.
fn processor(seed: u64) -> SimulatorHandle {
    let sim = Simulator::start(SimulatorOptions {
        deciding: Deciding::ByParity,
        ..Default::default()
    })
    .unwrap();
    let oddities = [
        (Moment::Answer, Act::Double, 20_000),
        (Moment::Answer, Act::Pause(120), 10_000),
        (Moment::Answer, Act::Drip(0), 10_000),
        (Moment::Answer, Act::Chunked, 50_000),
        (Moment::Answer, Act::Interim, 20_000),
        (Moment::Answer, Act::LastAnswer, 10_000),
        (Moment::Body, Act::Pause(60), 5_000),
    ];
    for (row, (moment, act, per_million)) in (0_u64..).zip(oddities) {
        let fault = Fault::new(moment, act).chance(per_million, seed + row);
        sim.inject(fault).unwrap();
    }
    sim
}

/// Payments, and what is open once nothing is left to do: descriptors and KiB of memory.
fn run(p99: &P99, numbers: Range<usize>) -> (Seen, usize, u64) {
    let seen = crowd(p99.address, numbers);
    settle(p99, &seen.accepted);
    (seen, quiet_descriptors(p99), p99.resident_kib())
}

fn every_answer_belongs_to_its_payment(driver: &str) {
    let sims = [processor(0), processor(100)];
    let urls = sims.each_ref().map(SimulatorHandle::url);
    let settings = [
        ("REQUEST_TIMEOUT_MS", "50"),
        ("SETTLE_TIMEOUT_MS", "30000"),
        // On a busy machine both breakers may open, and then there is no answer to mix up.
        ("CB_MIN_SAMPLES", "100000"),
        ("CACHE_CAPACITY", "2000"),
        ("POOL_IDLE_SECS", "1"),
        ("DRAIN_DELAY_MS", "0"),
        // The address is read from the log.
        ("RUST_LOG", "p99::cores=info,error"),
    ];
    let p99 = start::start([&urls[0], &urls[1]], driver, &settings);
    // What a process takes once and keeps: arenas, buffers, tables.
    let warm = CLIENTS * count(50, 600);
    let (_, descriptors_before, kib_before) = run(&p99, 0..warm);
    let requests = CLIENTS * count(200, 1_000_000 / CLIENTS + 1);
    let (seen, descriptors, kib) = run(&p99, warm..warm + requests);
    eprintln!(
        "{} requests, 200 even {}, 422 odd {}, 202 {}, 503 {}, left {}: 0 mixed up; \
         descriptors {descriptors_before} -> {descriptors}, resident {kib_before} -> {kib} KiB",
        seen.requests,
        seen.charged,
        seen.refused,
        seen.accepted.len(),
        seen.unavailable,
        seen.left,
    );
    assert_eq!(seen.requests, requests);
    let page = Client::connect(p99.address).get("/metrics").body;
    assert_few_unanswered(seen.unanswered, requests, &page);
    assert!(seen.charged > 0 && seen.refused > 0 && seen.left > 0);
    // One connection more or less may be on its way out at either look.
    assert!(descriptors <= descriptors_before + 4);
    // 5 bytes of ledger for each payment, and what the allocator keeps.
    let ledger_kib = requests as u64 * 8 / 1024;
    assert!(kib <= kib_before + ledger_kib + 16 * 1024);
    assert_eq!(p99.stop(), Some(0));
    let mut ids: Vec<_> = sims
        .iter()
        .flat_map(SimulatorHandle::rows)
        .map(|row| row.id)
        .collect();
    let charged = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), charged, "nobody was charged twice");
    assert!(ids.iter().all(|id| id.0.is_multiple_of(2)));
}

/// Those that were told 202 end as their parity says. Settled claims are few here, so an id that
/// is not known any more has settled.
fn settle(p99: &P99, accepted: &[UpstreamId]) {
    let mut client = Client::connect(p99.address);
    for id in accepted {
        let mut state = String::new();
        wait_until(&format!("{id} settles"), || {
            state = Stack::state_of(&mut client, *id);
            state != "pending"
        });
        let expected = if id.0.is_multiple_of(2) {
            "processed"
        } else {
            "refused"
        };
        assert!(state.is_empty() || state == expected, "{id}: {state}");
    }
}
