//! What is asked of an instance that runs: `p99 health`, and `p99 ctl` over its ADMIN_LISTEN. Both
//! read the settings of the instance beside them, so they are run where it is. `main` calls them;
//! they decide nothing.

use clap::Subcommand;
use p99::config::{self, Config};
use p99::probe::{self, Question, Target};
use p99::wire::{OperatorNote, write_operator_note};

use crate::{BAD_SETTINGS, complain, environment, fail, say, settings};

/// What is asked for.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Ctl {
    /// What concerns the processors.
    Processors {
        #[command(subcommand)]
        task: ProcessorTask,
    },
}

/// What is to become of a processor.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ProcessorTask {
    /// Says that the processor at its new address is the one that it was: payments in doubt are
    /// sent to it again. Wrong, and they may be charged twice.
    Confirm {
        /// `default` or `fallback`.
        name: String,
        /// Who says so; logged.
        #[arg(long)]
        operator: String,
        /// Why; logged.
        #[arg(long)]
        reason: String,
        /// `http://host:port` or `unix:/path`; without it, where ADMIN_LISTEN says.
        #[arg(long)]
        url: Option<String>,
    },
}

/// `p99 health`
pub(crate) fn health(url: Option<&str>) -> u8 {
    let target = match url {
        Some(text) => match Target::parse(text) {
            Some(target) => target,
            None => {
                complain(&format!(
                    "--url {text:?}: allowed is http://host:port or unix:/path\n"
                ));
                return BAD_SETTINGS;
            }
        },
        None => match config::listen_from_lookup(environment) {
            Ok(listen) => match listen.into_iter().next() {
                Some(address) => Target::Listener(address),
                None => return fail("LISTEN names no address"),
            },
            Err(faults) => {
                complain(&config::tell_faults(&faults));
                return BAD_SETTINGS;
            }
        },
    };
    match probe::ask_ready(&target) {
        Ok(200) => {
            say("ready\n");
            0
        }
        Ok(status) => fail(&format!("{target} is not ready: {status}")),
        Err(fault) => fail(&format!("{target} does not answer: {fault}")),
    }
}

/// `p99 ctl`
pub(crate) fn control(task: Ctl) -> u8 {
    let Ok(config) = settings(environment) else {
        return BAD_SETTINGS;
    };
    match ask(&config, task) {
        Ok(answer) => {
            say(&format!("{answer}\n"));
            0
        }
        Err(fault) => fail(&fault),
    }
}

/// Asks, and says what was answered.
///
/// # Errors
/// Why nothing came of it, in words for the operator.
fn ask(config: &Config, task: Ctl) -> Result<String, String> {
    let Ctl::Processors {
        task:
            ProcessorTask::Confirm {
                name,
                operator,
                reason,
                url,
            },
    } = task;
    let target = target(Some(config), url.as_deref())?
        .ok_or("ADMIN_LISTEN is off, and there is no --url")?;
    let mut body = Vec::new();
    write_operator_note(&OperatorNote { operator, reason }, &mut body);
    let path = format!("/admin/processors/{name}/confirm");
    let headers = credentials(Some(config));
    match probe::call(&target, &Question::post(&path, &headers, &body)) {
        Ok((200, answer)) => Ok(answer),
        Ok((status, answer)) => Err(format!("{target} answers {status}: {answer}")),
        Err(fault) => Err(format!("{target} does not answer: {fault}")),
    }
}

/// Whom to ask: `url`, else where ADMIN_LISTEN says; none where neither is given.
///
/// # Errors
/// `url` is none.
pub(crate) fn target(config: Option<&Config>, url: Option<&str>) -> Result<Option<Target>, String> {
    let here = config.and_then(|config| config.admin_listen.first());
    match url {
        Some(url) => Target::parse(url)
            .map(Some)
            .ok_or_else(|| format!("--url {url:?}: allowed is http://host:port or unix:/path")),
        None => Ok(here.cloned().map(Target::Listener)),
    }
}

/// The headers that the instance demands, as its settings beside this command have them.
pub(crate) fn credentials(config: Option<&Config>) -> Vec<(String, String)> {
    let auth = config.and_then(|config| config.auth.as_ref());
    let shown = auth.and_then(|auth| {
        let value = auth.values.first()?;
        Some((auth.name.clone(), value.reveal().to_owned()))
    });
    shown.into_iter().collect()
}
