//! The p99 command: reads the arguments and the environment, calls the room that does the work,
//! and turns what it says into an exit status. Nothing else prints, and nothing is decided here.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | done, or stopped cleanly |
//! | 1 | failed, or not healthy |
//! | 2 | bad arguments or settings |
//! | 3 | stopped, but payments were given up that nothing remembers |

mod backups;
mod comparison;
mod ctl;
mod demo;
mod explain;
mod inspection;
mod store_command;

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use p99::command::clock::{Clock, UnixMillis};
use p99::command::config::{self, Config, NearMiss};
use p99::command::cores::{self, Supervision};
use p99::command::journal;
use p99::command::logging;
use p99::command::pay::Setup;
use p99::command::sim::{Fee, SimulatorOptions};
use p99::command::supervisor::{Notifier, PassedSockets};

use crate::inspection::{HandTask, InspectionFault, JournalTask};

// Small buffers come and go on every core; this allocator keeps them apart by thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Version, commit and build; build.rs makes the second half.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("P99_BUILD"), ")");

const FAILED: u8 = 1;
const BAD_SETTINGS: u8 = 2;

/// A payments proxy that gets every payment charged exactly once.
///
/// Without a command it serves, as the environment says.
#[derive(Debug, Parser)]
#[command(name = "p99", version = VERSION)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts two processors and p99 in one process, ready for curl.
    Demo {
        /// Port of the processor `default`.
        #[arg(long, default_value_t = 8001)]
        default_port: u16,
        /// Port of the processor `fallback`.
        #[arg(long, default_value_t = 8002)]
        fallback_port: u16,
    },
    /// Runs a simulated payment processor alone.
    Processor {
        /// The port to listen on; 0 takes a free one.
        #[arg(long, default_value_t = 8001)]
        port: u16,
        /// The address to listen on.
        #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
        address: IpAddr,
        /// What it keeps of each payment, as a part of 1.
        #[arg(long, default_value = "0.05")]
        fee: Fee,
        /// What admin calls must send as X-Rinha-Token at first.
        #[arg(long, default_value = "123")]
        token: String,
    },
    /// Checks the settings and prints the effective ones, secrets masked.
    Check,
    /// Asks a running instance whether it is ready; status 0 when it is.
    Health {
        /// `http://host:port` or `unix:/path`; without it, where LISTEN or PORT says.
        #[arg(long)]
        url: Option<String>,
    },
    /// Asks something of a running instance, over its ADMIN_LISTEN.
    #[command(subcommand)]
    Ctl(ctl::Ctl),
    /// Says what happened to one payment, one line of JSON each: as the instance at ADMIN_LISTEN
    /// remembers it, and as the audit file in AUDIT_DIR has it; without an instance also the
    /// journal's records.
    Explain {
        /// The payment's correlationId.
        id: String,
        /// `http://host:port` or `unix:/path`; without it, where ADMIN_LISTEN says.
        #[arg(long)]
        url: Option<String>,
    },
    /// Lists the pending payments in JOURNAL_DIR, oldest first, one line of JSON each.
    Pending,
    /// Settles by hand a pending payment in JOURNAL_DIR that no processor will ever answer. The
    /// instance must be stopped.
    Resolve(HandTask),
    /// Makes, looks at or fills the shared PostgreSQL store that STORE names.
    #[command(subcommand)]
    Store(store_command::StoreTask),
    /// Looks into JOURNAL_DIR, or tells it that the processors have other names now.
    Journal {
        #[command(subcommand)]
        task: JournalTask,
    },
    /// Compares the journal with the processors' own books, payment by payment: status 0 when they
    /// agree, 1 when they differ, 2 when that could not be found out.
    Reconcile(comparison::Asked),
}

/// What an operator knows of a payment.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum HandVerdict {
    /// The processor charged it.
    Applied,
    /// The processor did not charge it and never will.
    Refused,
}

fn main() -> ExitCode {
    cores::use_own_files();
    let command = Arguments::command().after_help(config::help());
    let arguments = match Arguments::from_arg_matches(&command.get_matches()) {
        Ok(arguments) => arguments,
        Err(fault) => fault.exit(),
    };
    if arguments.command.is_none() {
        cores::ignore_until_heard();
    }
    cores::unblock_signals();
    let code = match arguments.command {
        None => serve(),
        Some(Command::Demo {
            default_port,
            fallback_port,
        }) => run_demo(default_port, fallback_port),
        Some(Command::Processor {
            port,
            address,
            fee,
            token,
        }) => {
            let listen = SocketAddr::new(address, port);
            demo::processor(SimulatorOptions {
                listen,
                fee,
                token,
                ..SimulatorOptions::default()
            })
        }
        Some(Command::Check) => check(),
        Some(Command::Health { url }) => ctl::health(url.as_deref()),
        Some(Command::Ctl(task)) => ctl::control(task),
        Some(Command::Explain { id, url }) => explain::explain(&id, url.as_deref()),
        Some(Command::Store(task)) => store_command::store(task),
        Some(Command::Pending) => {
            inspect(|dir| inspection::pending(dir, wall(), &mut io::stdout().lock()))
        }
        Some(Command::Resolve(task)) => inspection::resolve(&task),
        Some(Command::Journal { task }) => inspection::journal(task),
        Some(Command::Reconcile(asked)) => comparison::reconcile(asked),
    };
    logging::flush();
    ExitCode::from(code)
}

/// `p99`
fn serve() -> u8 {
    // Before anything else opens a descriptor.
    let sockets = PassedSockets::take(environment);
    let notifier = Notifier::from_lookup(environment);
    let (sockets, notifier) = match (sockets, notifier) {
        (Ok(sockets), Ok(notifier)) => (sockets, notifier),
        (Err(fault), _) | (_, Err(fault)) => {
            complain(&format!("{fault}\n"));
            return BAD_SETTINGS;
        }
    };
    let lookup = |name: &str| sockets.overlay(name, environment(name));
    let Ok(config) = settings(lookup) else {
        return BAD_SETTINGS;
    };
    if let Err(code) = start_logging(&config) {
        return code;
    }
    let is_set = |name| environment(name).is_some();
    let public =
        (is_set("LISTEN") || is_set("PORT")).then(|| config::listen_from_lookup(environment));
    let public = public.and_then(Result::ok).unwrap_or_default();
    let admin = config::admin_door_from_lookup(environment).map_or(Vec::new(), |door| door.listen);
    for address in sockets.unheard([&public, &admin]) {
        log::warn!("no socket was passed for {address}: p99 does not listen there");
    }
    run(config, Supervision { notifier, sockets }, |_| ())
}

/// `p99 demo`
fn run_demo(default_port: u16, fallback_port: u16) -> u8 {
    let demo = match demo::Demo::start([default_port, fallback_port]) {
        Ok(demo) => demo,
        Err(fault) => return fail(&format!("the demo cannot start: {fault}")),
    };
    let lookup = |name: &str| {
        let given = demo.lookup(name).or_else(|| environment(name));
        given.or_else(|| demo::Demo::fallback(name))
    };
    let Ok(config) = settings(lookup) else {
        return BAD_SETTINGS;
    };
    if let Err(code) = start_logging(&config) {
        return code;
    }
    run(config, Supervision::default(), |config| {
        say(&demo.welcome(config));
    })
}

/// Serves until a signal asks to stop. `on_ready` is called once clients are served.
fn run(config: Config, supervision: Supervision, on_ready: impl FnOnce(&Config)) -> u8 {
    let format = config.log_format;
    let setup = Setup::new(config);
    match cores::serve(&setup, supervision, || on_ready(&setup.config)) {
        Ok(exit) => exit.code(),
        Err(fault) if format == logging::Format::Json => {
            log::error!("{fault}");
            FAILED
        }
        Err(fault) => fail(&fault.to_string()),
    }
}

/// `p99 check`
fn check() -> u8 {
    let Ok(config) = settings(environment) else {
        return BAD_SETTINGS;
    };
    if let Some(journal) = &config.journal
        && let Err(fault) = journal::look_at(&journal.dir)
    {
        return refuse(&format!("JOURNAL_DIR={}: {fault}", journal.dir.display()));
    }
    say(&config::report(&config, &misspelt()));
    0
}

/// Does `what` with JOURNAL_DIR.
fn inspect(what: impl FnOnce(&Path) -> Result<(), InspectionFault>) -> u8 {
    let dir = match config::journal_dir_from_lookup(environment) {
        Ok(Some(dir)) => dir,
        Ok(None) => {
            let must = "it must be the directory of the journal";
            return refuse(&format!("{}: {must}", inspection::no_journal_dir()));
        }
        Err(faults) => {
            complain(&config::tell_faults(&faults));
            return BAD_SETTINGS;
        }
    };
    match what(&dir) {
        Ok(()) => 0,
        Err(fault) if fault.is_closed_pipe() => 0,
        Err(fault @ InspectionFault::NoJournal { .. }) => fail(&format!("JOURNAL_DIR={fault}")),
        Err(fault) => fail(&fault.to_string()),
    }
}

/// What date it is.
fn wall() -> UnixMillis {
    Clock::new(Clock::process_start()).now().wall
}

/// The settings, or their faults on stderr.
fn settings(lookup: impl Fn(&str) -> Option<String>) -> Result<Config, ()> {
    Config::from_lookup(lookup).map_err(|faults| complain(&config::tell_faults(&faults)))
}

fn start_logging(config: &Config) -> Result<(), u8> {
    logging::start(&config.log_filter, config.log_format)
        .map_err(|fault| fail(&format!("cannot log: {fault}")))?;
    for warning in config::warnings(config, &misspelt()) {
        log::warn!("{warning}");
    }
    Ok(())
}

/// A variable of the environment. Bytes that are no UTF-8 become U+FFFD, which no setting allows.
fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|text| text.to_string_lossy().into_owned())
}

fn misspelt() -> Vec<NearMiss> {
    config::near_misses(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
}

/// Prints to stdout. That a reader has closed it is no fault.
fn say(text: &str) {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .unwrap_or_default();
}

/// Prints to stderr.
fn complain(text: &str) {
    io::stderr().write_all(text.as_bytes()).unwrap_or_default();
}

/// Says what is wrong with the arguments or settings.
fn refuse(text: &str) -> u8 {
    complain(&format!("p99: {text}\n"));
    BAD_SETTINGS
}

/// Says why it failed.
fn fail(text: &str) -> u8 {
    complain(&format!("p99: {text}\n"));
    FAILED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_is_understood() {
        for line in [
            "p99",
            "p99 demo",
            "p99 processor --port 8001 --fee 0.15",
            "p99 check",
            "p99 health --url http://127.0.0.1:9999",
            "p99 explain order-1 --url unix:/run/p99/admin.sock",
            "p99 ctl list",
            "p99 ctl resolve order-1 refused --although-acknowledged --operator a --reason b",
            "p99 ctl processors pause default --operator ann --reason double",
            "p99 ctl log debug --operator ann --reason look",
            "p99 pending",
            "p99 resolve test-123 applied --operator ann --reason seen",
            "p99 resolve test-123 refused --although-acknowledged --operator a --reason b",
            "p99 journal verify",
            "p99 journal dump",
            "p99 journal accept-upstreams",
            "p99 journal forget-shards",
            "p99 journal backup /copy",
            "p99 journal restore --original-gone --processor default=a.csv",
            "p99 reconcile --processor default=a.csv --processor fallback=http://b/list --csv",
            "p99 store migrate --role p99",
            "p99 store check",
            "p99 store import --done",
        ] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for line in [
            "p99 serve",
            "p99 resolve test-123 --operator ann --reason seen",
            "p99 resolve test-123 applied --operator ann",
            "p99 ctl processors pause default --operator ann",
            "p99 resolve x maybe",
            "p99 journal",
            "p99 store",
            "p99 store import",
        ] {
            assert!(
                Arguments::try_parse_from(line.split(' ')).is_err(),
                "{line}"
            );
        }
    }
}
