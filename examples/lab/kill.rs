//! `kill -9` and restart, again and again: the rounds of the kit at length. The journal is on a
//! disk in a file, which is full now and then, where this machine lends one.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::disk::{self, Mount};
use crate::end_after;
use crate::kit::report::{Report, say};
use crate::kit::rounds::{self, Rounds};
use crate::kit::scratch::Scratch;

/// Rounds of a hundred keep some hundred MiB.
const DISK_MIB: u64 = 4_096;

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

    fn longest(&self) -> Duration {
        Duration::from_secs(240 + u64::from(self.rounds()) * 8)
    }
}

pub(crate) fn run(options: &Options, binary: PathBuf) -> bool {
    // Before there is another thread.
    let lent = disk::demand(&["mkfs.ext4"], "ext4");
    end_after(options.longest());
    let scratch = Scratch::new("kill").expect("a folder");
    let disk = lent.and_then(|()| {
        let image = scratch.file("image");
        disk::ext4(&image, DISK_MIB)?;
        Mount::image(&image, &scratch.file("disk"))
    });
    if let Err(reason) = &disk {
        say(&format!("no full disk in these rounds: {reason}"));
    }
    let disk = disk.ok();
    let rounds = Rounds {
        rounds: options.rounds(),
        payments_per_round: options.payments_per_round,
        seed: options.seed,
        journal: options.journal.clone(),
        ack: options.ack.clone(),
        driver: options.driver.clone(),
        disk: disk.as_ref().map(|disk| disk.path().to_owned()),
    };
    let mut report = Report::default();
    rounds::play(&rounds, binary, &scratch, &mut report);
    drop(disk);
    let what = format!("kill, seed {}, {} rounds", options.seed, options.rounds());
    scratch.close(&report, &what)
}
