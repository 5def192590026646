//! Two p99 are started at the same moment on one port, again and again: one of them must live, and
//! the other one must end and say why.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::kit::process::P99;
use crate::kit::report::Report;
use crate::kit::scratch::Scratch;
use crate::kit::world::World;

/// How long one of the two may take to give up.
const GIVE_UP_MAX: Duration = Duration::from_secs(8);

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[arg(long, default_value_t = 200)]
    pairs: u32,
    #[arg(long, default_value = "uring")]
    driver: String,
}

impl Options {
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_secs(60) + GIVE_UP_MAX * 2 * self.pairs
    }
}

pub(crate) fn run(options: &Options, binary: PathBuf) -> bool {
    let scratch = Scratch::new("twins").expect("a folder");
    let world = World::start(1, None).expect("two processors");
    let mut plan = world.plan(binary, &scratch);
    plan.set_driver(&options.driver);
    plan.set("CORES", 2);
    let mut report = Report::default();
    for pair in 0..options.pairs {
        let mut twins = [(), ()].map(|()| P99::spawn(&plan).expect("p99 can be started"));
        let began = Instant::now();
        let mut living = 2;
        while living == 2 && began.elapsed() < GIVE_UP_MAX {
            thread::sleep(Duration::from_millis(5));
            living = twins
                .iter_mut()
                .filter_map(|twin| twin.try_wait().is_none().then_some(()))
                .count();
        }
        let survivor = twins
            .iter_mut()
            .find_map(|twin| twin.try_wait().is_none().then_some(twin));
        match (living, survivor) {
            (1, Some(twin)) => {
                if let Err(fault) = twin.await_ready() {
                    report.broke("one of two lives", || format!("pair {pair}: {fault}"));
                }
            }
            (2, _) => report.broke("never both", || format!("pair {pair}")),
            _ => report.broke("one of two lives", || format!("pair {pair}: none does")),
        }
    }
    report.row("pairs", options.pairs);
    report.row_of("never both");
    report.row_of("one of two lives");
    scratch.close(&report, "twins")
}
