//! Is a payment charged once when a shard stops, pauses, dies or comes back, behind haproxy.cfg?
//!
//! Two shards with journals, two processors and the HAProxy that is shipped. In a story clients pay
//! while something happens to a shard: each id is sent by two clients at once, now and then again
//! while the story goes on, and again `--later` seconds after it. Then both processors' books are
//! joined with what the clients were told: one charge for each id over both, every acknowledged one
//! charged, sums equal, and never a fault at a shard to which nothing happened. `--payments` has so
//! many paid while shards are killed and deployed, and plays nothing else.
//!
//! - `stand`: what scenes and stories are played on; `crowd`: its clients; `judge`: what must hold;
//! - `scenes`, `stories`, `load`: what happens.
//!
//! Needs haproxy and python3.

mod crowd;
mod judge;
mod load;
mod scenes;
mod stand;
mod stories;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;

use crate::balancer;
use crate::kit::report::{Report, say};
use crate::kit::scratch::Scratch;

use stand::Stand;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Seconds after which every id is sent once more; 75 is the full length, about ten minutes
    #[arg(long, default_value_t = 3)]
    later: u64,
    /// Only those whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Has so many requests paid instead
    #[arg(long)]
    payments: Option<u32>,
}

impl Options {
    pub(crate) fn longest(&self) -> Duration {
        let load = u64::from(self.payments.unwrap_or_default()) / 500;
        Duration::from_secs(900 + 10 * self.later + load)
    }
}

/// Whether all went as it must; nothing without haproxy or python3.
pub(crate) fn run(options: &Options, binary: &Path) -> Option<bool> {
    for (program, word) in [("haproxy", "-v"), ("python3", "--version")] {
        let mut command = Command::new(program);
        command.env("PATH", balancer::PATH).arg(word);
        if command.stdout(Stdio::null()).status().is_err() {
            say(&format!("skipped: needs {program}"));
            return None;
        }
    }
    if let Some(payments) = options.payments {
        let scratch = Scratch::new("shards").expect("a folder");
        let report = load::play(&mut Stand::start(binary, &scratch, &[]), payments);
        return Some(scratch.close(&report, &format!("shards, {payments} payments")));
    }
    let mut report = Report::default();
    for (name, play) in scenes::SCENES {
        one(options, name, &mut report, |scratch| {
            play(&mut Stand::start(binary, scratch, &[]))
        });
    }
    let later = Duration::from_secs(options.later);
    for story in stories::STORIES {
        one(options, story.name, &mut report, |scratch| {
            story.tell(&mut Stand::start(binary, scratch, story.settings), later)
        });
    }
    Some(report.print("shards"))
}

/// Plays one of them, if it was asked for, in a folder of its own.
fn one(options: &Options, name: &str, report: &mut Report, play: impl FnOnce(&Scratch) -> String) {
    if !name.contains(&options.only) {
        return;
    }
    let scratch = Scratch::new("shards").expect("a folder");
    say(&format!("... {name}"));
    match catch_unwind(AssertUnwindSafe(|| play(&scratch))) {
        Ok(told) => report.row(name, format!("ok  {told}")),
        // What it did not find as it must be was printed by the panic.
        Err(_) => report.broke("every scene and story goes as it must", || {
            format!("{name}, kept for a look: {}", scratch.keep().display())
        }),
    }
}
