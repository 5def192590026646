//! What is asked of an instance that runs: `p99 health`, and `p99 ctl` over its ADMIN_LISTEN. Both
//! read the settings of the instance beside them, so they are run where it is. `main` calls them;
//! they decide nothing.

use std::io;

use clap::{Args, Subcommand};
use p99::config::{self, AuthHeader, Config};
use p99::payment::CorrelationId;
use p99::probe::{self, Question, Target};
use serde_json::{Value, json};

use crate::{BAD_SETTINGS, HandVerdict, complain, environment, fail, say, settings};

/// What is asked for.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Ctl {
    /// Lists the oldest pending payments, one line of JSON each: since when, where, and why.
    List {
        /// `http://host:port` or `unix:/path`; without it, where ADMIN_LISTEN says.
        #[arg(long)]
        url: Option<String>,
    },
    /// Settles by hand a pending payment of which no attempt is in flight. Its id stays taken.
    Resolve {
        /// The payment's correlationId.
        id: String,
        /// What is known to have happened.
        verdict: HandVerdict,
        /// Refuses also what was open when a process ended, though its client may have been told
        /// 200.
        #[arg(long)]
        although_acknowledged: bool,
        #[command(flatten)]
        signed: Signed,
    },
    /// What concerns the processors.
    Processors {
        #[command(subcommand)]
        task: ProcessorTask,
    },
    /// Has another value of a setting hold until a restart: of breakers, hedges, concurrency and
    /// rate limits.
    Set {
        /// Such as `HEDGE_DELAY_MS`; what may change is told when another one is named.
        setting: String,
        /// As the setting spells it.
        value: String,
        #[command(flatten)]
        signed: Signed,
    },
    /// Logs what FILTER lets through, as RUST_LOG spells it, until SIGHUP or a restart.
    Log {
        /// Such as `info` or `info,p99::pay=debug`.
        filter: String,
        #[command(flatten)]
        signed: Signed,
    },
}

/// What is to become of a processor, `default` or `fallback`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ProcessorTask {
    /// Says that the processor at its new address is the one that it was: payments in doubt are
    /// sent to it again. Wrong, and they may be charged twice.
    Confirm(NamedTask),
    /// Sends it no new payment and nothing again, also after a restart; lookups go on.
    Pause(NamedTask),
    /// Sends to it again.
    Resume(NamedTask),
}

/// A task of one processor.
#[derive(Args, Clone, Debug)]
pub(crate) struct NamedTask {
    /// `default` or `fallback`.
    name: String,
    #[command(flatten)]
    signed: Signed,
}

/// Who asks for a change, why, and of whom.
#[derive(Args, Clone, Debug)]
pub(crate) struct Signed {
    /// Who says so; logged, and kept in the audit file.
    #[arg(long)]
    operator: String,
    /// Why; logged, and kept in the audit file.
    #[arg(long)]
    reason: String,
    /// `http://host:port` or `unix:/path`; without it, where ADMIN_LISTEN says.
    #[arg(long)]
    url: Option<String>,
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
    let done = match task {
        Ctl::List { url } => list(&config, url.as_deref()),
        Ctl::Resolve {
            id,
            verdict,
            although_acknowledged,
            signed,
        } => resolve(&config, &id, (verdict, although_acknowledged), &signed),
        Ctl::Processors { task } => {
            let (task, NamedTask { name, signed }) = match task {
                ProcessorTask::Confirm(named) => ("confirm", named),
                ProcessorTask::Pause(named) => ("pause", named),
                ProcessorTask::Resume(named) => ("resume", named),
            };
            let path = format!("/admin/processors/{name}/{task}");
            change(&config, &path, json!({}), &signed)
        }
        Ctl::Set {
            setting,
            value,
            signed,
        } => {
            let body = json!({ "setting": setting, "value": value });
            change(&config, "/admin/settings", body, &signed)
        }
        Ctl::Log { filter, signed } => {
            change(&config, "/admin/log", json!({ "filter": filter }), &signed)
        }
    };
    match done {
        Ok(text) => {
            say(&text);
            0
        }
        Err(fault) => fail(&fault),
    }
}

fn resolve(
    config: &Config,
    id: &str,
    (verdict, although_acknowledged): (HandVerdict, bool),
    signed: &Signed,
) -> Result<String, String> {
    // What is no id would make another path.
    let id = CorrelationId::try_new(id).map_err(|_| format!("{id:?} is no correlationId"))?;
    let verdict = match verdict {
        HandVerdict::Applied => "applied",
        HandVerdict::Refused => "refused",
    };
    let body = json!({ "verdict": verdict, "although_acknowledged": although_acknowledged });
    let path = format!("/admin/payments/{}/resolve", id.as_str());
    change(config, &path, body, signed)
}

/// Lists what is pending, one payment a line.
fn list(config: &Config, url: Option<&str>) -> Result<String, String> {
    let headers = credentials(Some(config));
    let answer = ask(config, url, &Question::get("/admin/payments", &headers))?;
    let read: Value = serde_json::from_str(&answer).map_err(|fault| fault.to_string())?;
    let oldest = read.get("oldest").and_then(Value::as_array);
    let mut text = String::new();
    for payment in oldest.into_iter().flatten() {
        text.push_str(&format!("{payment}\n"));
    }
    let shown = oldest.map_or(0, Vec::len);
    let count = read.get("pending").and_then(Value::as_u64).unwrap_or(0);
    if u64::try_from(shown).is_ok_and(|shown| shown < count) {
        complain(&format!(
            "{count} are pending, these are the oldest {shown}\n"
        ));
    }
    Ok(text)
}

/// Has something changed, and says what was answered.
fn change(config: &Config, path: &str, body: Value, signed: &Signed) -> Result<String, String> {
    let mut body = body;
    if let Some(members) = body.as_object_mut() {
        members.insert("operator".to_owned(), json!(signed.operator));
        members.insert("reason".to_owned(), json!(signed.reason));
    }
    let (headers, body) = (credentials(Some(config)), body.to_string());
    let question = Question::post(path, &headers, body.as_bytes());
    let answer = ask(config, signed.url.as_deref(), &question)?;
    Ok(format!("{answer}\n"))
}

/// Asks the instance, and returns the body of its 200.
///
/// # Errors
/// Why nothing came of it, in words for the operator.
fn ask(config: &Config, url: Option<&str>, question: &Question<'_>) -> Result<String, String> {
    let target = target(Some(config), url)?.ok_or("ADMIN_LISTEN is off, and there is no --url")?;
    match probe::call(&target, question) {
        Ok((200, answer)) => Ok(answer),
        Ok((status, answer)) => Err(format!("{target} answers {status}: {answer}")),
        Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => Err(format!(
            "{target} was asked and does not answer: it may have been done"
        )),
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
    let secrets = config.map(|config| [&config.auth, &config.admin_secret]);
    let shown = |auth: &AuthHeader| {
        let value = auth.values.first()?;
        Some((auth.name.clone(), value.reveal().to_owned()))
    };
    let secrets = secrets.into_iter().flatten().flatten();
    secrets.filter_map(shown).collect()
}
