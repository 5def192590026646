//! `kill -9` at random moments, restart, again and again; then the books must balance (I1 to I6).
//!
//! The real binary pays through two simulated processors that survive it, live in this process and
//! are slow, failing, cut and refusing at random, so that open Intents exist at every kill. Clients
//! send fresh ids, each other's ids, and what was never answered once more. Some kills fall
//! into the start itself; CORES changes from round to round. At the end the processors get well,
//! everything settles, and `audit` joins both processors' rows with every word that clients heard.
//!
//! `scripts/crash-test` runs more of it: `CRASH_ROUNDS` per scene, `CRASH_SCENE` for one of them
//! (0 to 3), `CRASH_SEED` for the same dice, `CRASH_LOG` for what p99 logs (`debug` tells each
//! attempt). A failure leaves journal and log.
//! `writer` does the same to the journal alone, with segments so small that kills meet rotation and
//! compaction.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and a process is waited for by the clock"
)]

#[path = "crash/audit.rs"]
mod audit;
#[path = "crash/clients.rs"]
mod clients;
#[path = "crash/dice.rs"]
mod dice;
#[path = "crash/instance.rs"]
mod instance;
#[path = "crash/writer.rs"]
mod writer;

use std::thread;
use std::time::Duration;

use p99::sim::{Act, Fault, Moment, Simulator, SimulatorHandle, SimulatorOptions};

use clients::Clients;
use dice::Dice;
use instance::{Instance, Scratch};

/// One way to run p99.
struct Scene {
    name: &'static str,
    settings: &'static [(&'static str, &'static str)],
}

const SCENES: [Scene; 4] = [
    Scene {
        name: "always, processed, round_robin",
        settings: &[("JOURNAL_SYNC", "always")],
    },
    Scene {
        name: "os, accepted, cheapest",
        settings: &[
            ("JOURNAL_SYNC", "os"),
            ("ACK", "accepted"),
            ("ROUTING", "cheapest"),
            ("FALLBACK_AFTER_MS", "300"),
            ("ATTEMPT_TIMEOUT_MS", "200"),
        ],
    },
    Scene {
        name: "always, accepted, round_robin",
        settings: &[
            ("JOURNAL_SYNC", "always"),
            ("ACK", "accepted"),
            ("ATTEMPT_TIMEOUT_MS", "150"),
        ],
    },
    Scene {
        name: "os, processed, cheapest",
        settings: &[("JOURNAL_SYNC", "os"), ("ROUTING", "cheapest")],
    },
];

#[test]
fn killed_at_any_moment_every_acknowledged_payment_is_charged_exactly_once() {
    // The usual test run has no time for the third and the fourth.
    let rounds = dice::wanted("CRASH_ROUNDS");
    let scenes = if rounds.is_none() {
        0..2
    } else {
        0..SCENES.len()
    };
    let only = dice::wanted("CRASH_SCENE").map(|only| usize::try_from(only).unwrap());
    for index in scenes.filter(|index| only.is_none_or(|only| only == *index)) {
        play(&SCENES[index], rounds.unwrap_or(3));
    }
}

fn play(scene: &Scene, rounds: u64) {
    let mut dice = Dice::for_test(scene.name);
    let scratch = Scratch::new();
    let processors = [(), ()].map(|()| Simulator::start(SimulatorOptions::default()).unwrap());
    let place = instance::Place::new(&scratch, &processors, scene.settings);
    let clients = Clients::start(place.socket(), dice.fork());
    let mut round = 0;
    while round < rounds {
        vex(&processors, &mut dice);
        let cores = 1 + dice.below(3);
        let instance = Instance::spawn(&place, cores);
        if dice.is_one_in(5) {
            // Into the start: an old epoch or a new one, never half of each.
            thread::sleep(Duration::from_millis(dice.below(40)));
            instance.kill();
            continue;
        }
        round += 1;
        let instance = instance.await_ready();
        clients.await_answers(20);
        thread::sleep(Duration::from_millis(dice.below(300)));
        vex(&processors, &mut dice);
        clients.await_answers(10);
        thread::sleep(Duration::from_millis(dice.below(300)));
        instance.kill();
    }
    for processor in &processors {
        heal(processor);
    }
    let instance = Instance::spawn(&place, 2).await_ready();
    clients.await_answers(50);
    let heard = clients.stop();
    audit::settle(&instance, &processors);
    let charged = audit::balance(&instance, &processors, &heard);
    assert_eq!(instance.stop(), Some(0), "a clean stop");
    place.verify_journal();
    charged.print(scene.name, rounds);
    assert!(
        charged.is_worth_a_look(),
        "too little happened to prove anything: {charged:?}"
    );
}

/// Gives both processors another mood.
fn vex(processors: &[SimulatorHandle; 2], dice: &mut Dice) {
    for processor in processors {
        heal(processor);
        processor.set_delay(Duration::from_millis(
            dice.one_of(&[0, 0, 3, 20, 45, 60, 120]),
        ));
        processor.set_failing(dice.is_one_in(6));
        let moods = [
            Fault::new(Moment::Answer, Act::Reset),
            Fault::new(Moment::Answer, Act::CutBody),
            Fault::new(Moment::Answer, Act::Pause(dice.below(150))),
            Fault::new(Moment::Answer, Act::Status(502)),
            Fault::new(Moment::Answer, Act::Stall),
            Fault::new(Moment::Body, Act::Reset),
            Fault::new(Moment::Body, Act::ResetChargeLater(dice.below(80))),
            Fault::new(Moment::Body, Act::Status(503)),
            Fault::new(Moment::Body, Act::StatusRetryAfter(429, 1)),
            Fault::new(Moment::Connect, Act::Close),
        ];
        for fault in moods {
            if dice.is_one_in(3) {
                let chance = u32::try_from(dice.below(200_000)).unwrap();
                processor.inject(fault.chance(chance, dice.next())).unwrap();
            }
        }
        if dice.is_one_in(10) {
            processor.set_refusing(true).unwrap();
            processor.reset_connections();
        }
    }
}

fn heal(processor: &SimulatorHandle) {
    processor.clear_faults();
    processor.set_delay(Duration::ZERO);
    processor.set_failing(false);
    processor.set_refusing(false).unwrap();
}
