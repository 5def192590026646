//! `p99 store`: what an operator asks of the shared store, and in which words the answer comes. The
//! work is `store::operator`'s. Part of the command, not of the library.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use p99::command::config::{self, Config, StoreConfig};
use p99::command::journal::moving::Moving;
use p99::command::reactor::Reactor;
use p99::command::store::import::{self, Imported};
use p99::command::store::{StorePlace, operator, processors};

use crate::inspection::{demand_journal, forget_nothing};
use crate::{BAD_SETTINGS, FAILED, complain, environment, fail, say};

/// What `p99 store` is asked for.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum StoreTask {
    /// Makes or upgrades the schema in STORE, as a role that may do so, and gives the role of the
    /// instances its rights and settings.
    Migrate {
        /// The role that the instances log in as.
        #[arg(long, default_value = "p99")]
        role: String,
    },
    /// Says whether an instance can run with STORE, and what is missing.
    Check,
    /// Says that UPSTREAM_A_URL and UPSTREAM_B_URL, as they are set now, are the processors that
    /// STORE is about, under other names. All instances must be stopped.
    AcceptUpstreams,
    /// Brings the journal of a stopped instance into STORE, before any instance takes payments
    /// there; the journal starts no more. May be repeated: what is there already is not added
    /// again.
    #[group(required = true, multiple = false)]
    Import {
        /// The directory of the journal.
        #[arg(long)]
        journal: Option<PathBuf>,
        /// Says that nothing is left to import: from then on instances take payments.
        #[arg(long)]
        done: bool,
    },
}

/// `p99 store`
pub(crate) fn store(task: StoreTask) -> u8 {
    let store = match config::store_from_lookup(environment) {
        Ok(Some(store)) => store,
        Ok(None) => {
            complain("STORE is not set: it must be postgres://user@host/database\n");
            return BAD_SETTINGS;
        }
        Err(faults) => {
            complain(&config::tell_faults(&faults));
            return BAD_SETTINGS;
        }
    };
    match perform(store, task) {
        Ok(code) => code,
        Err(fault) => fail(&fault),
    }
}

fn perform(store: StoreConfig, task: StoreTask) -> Result<u8, String> {
    let place = StorePlace::new(store.url, false);
    let reactor = Reactor::best().map_err(|fault| fault.to_string())?;
    let lines = match task {
        StoreTask::Migrate { role } => reactor.run(operator::migrate(&place, &role))?,
        StoreTask::Import {
            journal: Some(journal),
            ..
        } => match import_journal(&place, reactor, &journal)? {
            Imported::Whole(lines) => lines,
            Imported::Contradicted(lines) => {
                for line in &lines {
                    say(&format!("{line}\n"));
                }
                return Err(format!(
                    "the store says something else of {} ids, so nothing of this journal was \
                     imported",
                    lines.len()
                ));
            }
        },
        StoreTask::AcceptUpstreams => {
            let shown = |name: &str| environment(name).filter(|_| name != "STORE");
            let config = Config::from_lookup(shown);
            let config = config.map_err(|faults| config::tell_faults(&faults))?;
            let now = p99::command::pay::authorities(&config);
            let moves = reactor.run(processors::accept(&place, &now))?;
            let lines = moves.iter().map(ToString::to_string);
            lines.chain(["accepted".to_owned()]).collect()
        }
        StoreTask::Import { journal: None, .. } => reactor.run(operator::finish_import(&place))?,
        StoreTask::Check => {
            let found = reactor.run(operator::check(&place))?;
            for fact in &found.facts {
                say(&format!("{fact}\n"));
            }
            for warning in &found.warnings {
                complain(&format!("WARNING: {warning}\n"));
            }
            let mut faults = found.faults.iter().chain(&found.waits).peekable();
            let code = if faults.peek().is_some() { FAILED } else { 0 };
            for fault in faults {
                complain(&format!("p99: {fault}\n"));
            }
            return Ok(code);
        }
    };
    for line in lines {
        say(&format!("{line}\n"));
    }
    Ok(0)
}

fn import_journal(place: &StorePlace, reactor: Reactor, dir: &Path) -> Result<Imported, String> {
    demand_journal(dir).map_err(|fault| fault.to_string())?;
    let moving = Moving::open(&forget_nothing(dir));
    let mut moving = moving.map_err(|fault| fault.to_string())?;
    reactor.run(import::import(place, &mut moving))
}
