//! `kill -9` and restart, again and again: the rounds of the kit at length.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::kit::report::Report;
use crate::kit::rounds::{self, Rounds};
use crate::kit::scratch::Scratch;

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[arg(long, default_value_t = 100)]
    rounds: u32,
    /// Least answers in each round
    #[arg(long, default_value_t = 2_000)]
    payments_per_round: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// always or os; in turn without it
    #[arg(long)]
    journal: Option<String>,
    /// processed or accepted; in turn without it
    #[arg(long)]
    ack: Option<String>,
    #[arg(long, default_value = "uring")]
    driver: String,
    /// 8 rounds
    #[arg(long)]
    quick: bool,
}

impl Options {
    fn rounds(&self) -> u32 {
        if self.quick { 8 } else { self.rounds }
    }

    pub(crate) fn longest(&self) -> Duration {
        Duration::from_secs(240 + u64::from(self.rounds()) * 6)
    }
}

pub(crate) fn run(options: &Options, binary: PathBuf) -> bool {
    let scratch = Scratch::new("kill").expect("a folder");
    let rounds = Rounds {
        rounds: options.rounds(),
        payments_per_round: options.payments_per_round,
        seed: options.seed,
        journal: options.journal.clone(),
        ack: options.ack.clone(),
        driver: options.driver.clone(),
    };
    let mut report = Report::default();
    rounds::play(&rounds, binary, &scratch, &mut report);
    let what = format!("kill, seed {}, {} rounds", options.seed, options.rounds());
    scratch.close(&report, &what)
}
