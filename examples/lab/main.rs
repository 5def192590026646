//! The lab: adversarial runs against the real binary, too long for a test. Each subcommand prints a
//! table and a verdict and ends with status 0 (every promise kept), 1 (one was broken) or 77 (this
//! machine does not lend what the run needs).
//!
//! It judges by the simulated processors' books and by what clients were told, never by p99's own
//! counters. The binary is the one beside it in target/, or `P99_BIN`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::exit,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a tool: it reads real time, and may stop at what it does not expect"
)]

mod adaptive;
mod audit;
mod balancer;
mod disk;
mod drivers;
mod gauge;
mod hedging;
mod instances;
mod instructions;
mod journal_cost;
mod kill;
#[path = "../../tests/kit/mod.rs"]
mod kit;
mod metrics;
mod poison;
mod power;
mod prove;
mod selectors;
mod shards;
mod store_cost;
mod store_storm;
mod storm;
mod sync;
mod twins;

use std::path::PathBuf;
use std::process::exit;
use std::thread;
use std::time::Duration;

use clap::{Parser, Subcommand};

use kit::report::say;

/// A promise was broken, or the run did not end.
const BROKEN: i32 = 1;
/// The machine does not lend what is needed.
const SKIPPED: i32 = 77;

#[derive(Parser, Debug)]
#[command(about = "Adversarial runs against the real p99 binary")]
struct Arguments {
    #[command(subcommand)]
    run: Run,
}

#[derive(Subcommand, Debug)]
enum Run {
    /// Payments and repeats while processors, gateways, connections and names misbehave
    Storm(storm::Options),
    /// kill -9 and restart, again and again
    Kill(kill::Options),
    /// The disk as it is when its power goes: is all on it that was acknowledged?
    PowerCut(power::Options),
    /// One sync fails: does p99 stop at once, and lose nothing?
    SyncFailure(sync::Options),
    /// io_uring where it is allowed, epoll where it is refused
    Drivers,
    /// What a processor gets that is slow and willing, and one that sheds
    Adaptive(adaptive::Options),
    /// What 2 % late answers cost with hedging and without
    Hedging(hedging::Options),
    /// What JOURNAL_SYNC=os and always cost beside no journal
    JournalCost(journal_cost::Options),
    /// Equal instances on one PostgreSQL: killed, paused, cut off, failed over
    Instances(instances::Options),
    /// Do the instructions of one payment stay below their limits?
    Instructions(instructions::Options),
    /// Breaks one rule after the other: does the world test notice?
    ProveWorld(prove::Options),
    /// Was every promise kept in a load run that another program drove?
    Audit(audit::Options),
    /// Is every metric of the alerts and the dashboard exported?
    Metrics,
    /// Becomes the command, without io_uring
    #[command(hide = true)]
    RefuseIoUring {
        #[arg(trailing_var_arg = true)]
        command: Vec<String>,
    },
    /// Ids that one processor never answers
    Poison(poison::Options),
    /// Is a payment charged once when a shard behind HAProxy stops, pauses, dies or is upgraded?
    Shards(shards::Options),
    /// What a payment costs PostgreSQL, in batches and one by one
    StoreCost(store_cost::Options),
    /// Writers race on a PostgreSQL that is killed, frozen and slow: is each claim one writer's?
    StoreStorm(store_storm::Options),
    /// Two started at once on one port
    Twins(twins::Options),
}

/// The binary beside this one.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("P99_BIN") {
        return path.into();
    }
    let lab = std::env::current_exe().expect("its own path");
    let folder = lab.parent().and_then(std::path::Path::parent);
    folder.expect("target/PROFILE/examples/lab").join("p99")
}

/// Whatever hangs: the run ends, and with it p99.
fn end_after(longest: Duration) {
    thread::spawn(move || {
        thread::sleep(longest);
        say(&format!("BROKEN: not done within {} s", longest.as_secs()));
        exit(BROKEN);
    });
}

fn main() {
    let arguments = Arguments::parse();
    let binary = binary();
    if !binary.exists() {
        say(&format!(
            "skipped: {} is missing; build it first",
            binary.display()
        ));
        exit(SKIPPED);
    }
    let is_kept = match &arguments.run {
        Run::Storm(options) => {
            end_after(options.longest());
            storm::run(options, binary)
        }
        Run::Kill(options) => Some(kill::run(options, binary)),
        Run::PowerCut(options) => power::run(options, &binary),
        Run::SyncFailure(options) => sync::run(options, binary),
        Run::Drivers => Some(drivers::run(&binary)),
        Run::Adaptive(options) => Some(adaptive::run(options, &binary)),
        Run::Hedging(options) => Some(hedging::run(options, &binary)),
        Run::JournalCost(options) => Some(journal_cost::run(options, &binary)),
        Run::Instances(options) => {
            end_after(options.longest());
            instances::run(options, binary)
        }
        Run::Instructions(options) => instructions::run(options, &binary),
        Run::ProveWorld(options) => Some(prove::run(options)),
        Run::Audit(options) => Some(audit::run(options)),
        Run::Metrics => Some(metrics::run(&binary)),
        Run::RefuseIoUring { command } => {
            let fault = drivers::refuse_and_become(command);
            say(&format!("{command:?}: {fault}"));
            Some(false)
        }
        Run::Poison(options) => {
            end_after(Duration::from_secs(180));
            Some(poison::run(options, &binary))
        }
        Run::Shards(options) => {
            end_after(options.longest());
            shards::run(options, &binary)
        }
        Run::StoreCost(options) => store_cost::run(options, &binary),
        Run::StoreStorm(options) => {
            end_after(options.longest());
            store_storm::run(options)
        }
        Run::Twins(options) => {
            end_after(options.longest());
            Some(twins::run(options, binary))
        }
    };
    match is_kept {
        Some(true) => {}
        Some(false) => exit(BROKEN),
        None => exit(SKIPPED),
    }
}
