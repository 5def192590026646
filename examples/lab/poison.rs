//! A few ids that the cheap processor never answers, while it is well for everything else: they
//! must not keep new payments away from it. Prints its share of new payments in each second, from
//! its books.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use p99::testing::payment::UpstreamId;

use crate::kit::client::{Client, write_payment};
use crate::kit::liar::{Mood, WELL};
use crate::kit::process::{P99, Plan};
use crate::kit::report::{Report, say};
use crate::kit::scratch::Scratch;
use crate::kit::told::{Amount, Numbers};
use crate::kit::world::World;

/// The ids begin with it.
const POISON: &str = "dead0000-0000-4000-8000-0000000000";
/// All of the cheap processor is silent for so long.
const SILENT: Duration = Duration::from_secs(3);
/// Then it must have its share again within this.
const RECOVERY_SECS: usize = 15;
/// And keep it for so long.
const WATCHED_SECS: usize = 30;

const NUMBERS: Numbers = Numbers { seed: 7 };

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Ids that are never answered
    #[arg(long, default_value_t = 27)]
    ids: u32,
    /// New payments per second; few, so that a half-open breaker has more poisoned ids at hand
    #[arg(long, default_value_t = 5)]
    rate: u32,
    #[arg(long, default_value = "uring")]
    driver: String,
}

pub(crate) fn run(options: &Options, binary: &Path) -> bool {
    ["cheapest", "round_robin"]
        .map(|routing| play(options, binary, routing))
        .iter()
        .all(|is_kept| *is_kept)
}

fn play(options: &Options, binary: &Path, routing: &str) -> bool {
    let scratch = Scratch::new(&format!("poison-{routing}")).expect("a folder");
    let world = World::start(1, None).expect("two processors");
    let mut plan = plan(options, binary, &scratch, &world);
    plan.set("ROUTING", routing);
    let mut report = Report::default();
    let what = format!("poison, {routing}, {} ids", options.ids);
    let Some(p99) = P99::start(&plan, &mut report) else {
        return scratch.close(&report, &what);
    };
    let mut client = Client::connect(plan.address);
    let numbers = NUMBERS;
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
    // All at once, before a breaker opens; of two halves one belongs to the other processor.
    let ids = match routing {
        "cheapest" => options.ids,
        _ => options.ids * 2,
    };
    let senders: Vec<Client> = (0..ids)
        .map(|number| {
            let mut sender = Client::connect(plan.address);
            send(&mut sender, &format!("{POISON}{number:02x}"), numbers);
            sender
        })
        .collect();
    for mut sender in senders {
        sender.read().expect("an answer");
    }
    thread::sleep(SILENT);
    world.set([poisoned, WELL]);
    let shares = watch(&mut client, options.rate, &world);
    // Each is to have its own part: all of them, or half.
    let part = if routing == "cheapest" { 1_000 } else { 500 };
    let late = &shares[RECOVERY_SECS..];
    let mean = late.iter().sum::<u64>() / late.len() as u64;
    // Half and half is a matter of luck: three sigma of 150 payments are 12.2 %.
    let least = part * 95 / 100 - if part == 500 { 122 } else { 0 };
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
    scratch.close(&report, &what)
}

fn plan(options: &Options, binary: &Path, scratch: &Scratch, world: &World) -> Plan {
    let mut plan = world.plan(binary.to_owned(), scratch);
    plan.set_driver(&options.driver);
    plan.set("CORES", 2);
    plan
}

/// The share of A in each second, of 1,000 that were charged.
fn watch(client: &mut Client, rate: u32, world: &World) -> Vec<u64> {
    let numbers = NUMBERS;
    let began = Instant::now();
    let mut number = 1;
    let mut shares = Vec::new();
    for second in 0..RECOVERY_SECS + WATCHED_SECS {
        let ids: Vec<UpstreamId> = (0..rate)
            .map(|place| {
                let due =
                    Duration::from_secs(second as u64) + Duration::from_secs(1) * place / rate;
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
    send(client, id, numbers);
    client.read().expect("an answer");
}

fn send(client: &mut Client, id: &str, numbers: Numbers) {
    let mut request = Vec::new();
    write_payment(id, numbers.amount(0, Amount::Usual), &mut request);
    client.send_bytes(&request).expect("it listens");
}
