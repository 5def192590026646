//! A few ids that the cheap processor never answers, while it is well for everything else: they must not
//! keep new payments away from it. Prints its share of new payments in each second, from its books.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use p99::payment::UpstreamId;

use crate::kit::client::{Client, write_payment};
use crate::kit::process::{self, P99, Plan, Scratch};
use crate::kit::report::{Report, say};
use crate::kit::told::{Amount, Numbers};
use crate::liar::{Mood, WELL};
use crate::storm::finish;
use crate::world::World;

/// The ids begin with it.
const POISON: &str = "dead0000-0000-4000-8000-0000000000";
/// All of the cheap processor is silent for so long.
const SILENT: Duration = Duration::from_secs(3);
/// Then it must have its share again within this.
const RECOVERY_SECS: usize = 15;
/// And keep it for so long.
const WATCHED_SECS: usize = 15;
const PER_SECOND: u32 = 200;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Ids that are never answered
    #[arg(long, default_value_t = 27)]
    ids: u32,
    #[arg(long, default_value = "uring")]
    driver: String,
}

pub(crate) fn run(options: &Options, binary: &PathBuf) -> bool {
    ["cheapest", "round_robin"]
        .map(|routing| play(options, binary, routing))
        .iter()
        .all(|is_kept| *is_kept)
}

fn play(options: &Options, binary: &PathBuf, routing: &str) -> bool {
    let scratch = Scratch::new(&format!("poison-{routing}")).expect("a folder");
    let world = World::start(1, None).expect("two processors");
    let mut plan = Plan {
        binary: binary.clone(),
        address: process::free_address().expect("a port"),
        hosts: None,
        settings: Vec::new(),
        log: scratch.file("p99.log"),
    };
    let [a, b] = world.urls();
    plan.set("UPSTREAM_A_URL", a);
    plan.set("UPSTREAM_B_URL", b);
    plan.set("ROUTING", routing);
    plan.set(
        "MONOIO_FORCE_LEGACY_DRIVER",
        u8::from(options.driver == "epoll"),
    );
    plan.set("CORES", 2);
    plan.set("DRAIN_DELAY_MS", 0);
    plan.set("RUST_LOG", "warn");
    let mut p99 = P99::spawn(&plan).expect("p99 can be started");
    p99.await_ready().expect("p99 is ready");
    let mut client = Client::connect(plan.address).expect("it listens");
    let numbers = Numbers { seed: 7 };
    // A charge that can be looked up, so that lookups are known to work.
    pay(&mut client, &numbers.id(0).to_string(), numbers);
    let poisoned = Mood {
        poison: POISON.as_bytes(),
        ..WELL
    };
    world.set([
        Mood {
            is_dead: true,
            ..poisoned
        },
        WELL,
    ]);
    for number in 0..options.ids {
        pay(&mut client, &format!("{POISON}{number:02x}"), numbers);
    }
    thread::sleep(SILENT);
    world.set([poisoned, WELL]);
    let mut report = Report::default();
    let shares = watch(&mut client, numbers, &world);
    // Each is to have its own part: all of them, or half.
    let part = if routing == "cheapest" { 1_000 } else { 500 };
    let late = &shares[RECOVERY_SECS..];
    let mean = late.iter().sum::<u64>() / late.len() as u64;
    // Half and half is a matter of luck: three sigma of 3,000 payments are 2.7 %.
    let least = part * 95 / 100 - if part == 500 { 27 } else { 0 };
    let text: Vec<_> = shares
        .iter()
        .map(|share| format!("{}", share / 10))
        .collect();
    report.row("share of A, % in each second", text.join(" "));
    report.row(format!("from second {RECOVERY_SECS} on, of 1,000"), mean);
    report.row("least", least);
    if mean < least {
        report.broke("poisoned ids starve no other payment", || {
            format!("{mean} of 1,000")
        });
    }
    drop(p99);
    finish(
        &report,
        &format!("poison, {routing}, {} ids", options.ids),
        scratch,
    )
}

/// The share of A in each second, of 1,000 that were charged.
fn watch(client: &mut Client, numbers: Numbers, world: &World) -> Vec<u64> {
    let began = Instant::now();
    let mut number = 1;
    let mut shares = Vec::new();
    for second in 0..RECOVERY_SECS + WATCHED_SECS {
        let ids: Vec<UpstreamId> = (0..PER_SECOND)
            .map(|place| {
                let due = Duration::from_secs(second as u64)
                    + Duration::from_secs(1) * place / PER_SECOND;
                thread::sleep(due.saturating_sub(began.elapsed()));
                let id = numbers.id(number);
                number += 1;
                pay(client, &id.to_string(), numbers);
                id
            })
            .collect();
        let charged = |side: usize| {
            let processor = &world.sides[side].processor;
            ids.iter()
                .filter(|id| processor.find(**id).is_some())
                .count() as u64
        };
        let (a, b) = (charged(0), charged(1));
        shares.push(a * 1_000 / (a + b).max(1));
    }
    say(&format!(
        "{number} payments in {} s",
        began.elapsed().as_secs()
    ));
    shares
}

fn pay(client: &mut Client, id: &str, numbers: Numbers) {
    let mut request = Vec::new();
    write_payment(id, numbers.amount(0, Amount::Usual), &mut request);
    client
        .send(&request)
        .and_then(|()| client.read())
        .expect("an answer");
}
