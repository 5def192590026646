//! What is asked of an instance that runs: `p99 health`, and `p99 ctl` over its ADMIN_LISTEN. Both
//! read of the settings of the instance beside them what they need to ask it, and no more. `main`
//! calls them; they decide nothing.

use std::io;

use clap::{Args, Subcommand};
use p99::command::config::{self, AdminDoor, AuthHeader, ListenAddress};
use p99::command::payment::CorrelationId;
use p99::command::probe::{self, Question, Target};
use p99::command::wire::OperatorNote;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::{BAD_SETTINGS, HandVerdict, complain, environment, fail, refuse, say};

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
    /// The name of the processor.
    #[arg(value_parser = ["default", "fallback"])]
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
        Some(text) => match read_url(text) {
            Ok(target) => target,
            Err(why) => return refuse(&why),
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
    let wish = match Wish::read(task) {
        Ok(wish) => wish,
        Err(why) => return refuse(&why),
    };
    let door = match config::admin_door_from_lookup(environment) {
        Ok(door) => door,
        Err(faults) => {
            complain(&config::tell_faults(&faults));
            return BAD_SETTINGS;
        }
    };
    let target = match target(&door, wish.url.as_deref()) {
        Ok(Some(target)) => target,
        Ok(None) => return refuse("ADMIN_LISTEN is off, and there is no --url"),
        Err(why) => return refuse(&why),
    };
    match wish.come_true(&target, &credentials(&door)) {
        Ok(text) => {
            say(&text);
            0
        }
        Err(fault) => fail(&fault),
    }
}

/// What is asked, of whom.
struct Wish {
    url: Option<String>,
    path: String,
    /// Of what changes something; without it, it is the list of what is pending.
    body: Option<String>,
}

impl Wish {
    /// # Errors
    /// What is wrong with the words of `task`.
    fn read(task: Ctl) -> Result<Self, String> {
        let (path, body, signed) = match task {
            Ctl::List { url } => {
                return Ok(Self {
                    url,
                    path: "/admin/payments".to_owned(),
                    body: None,
                });
            }
            Ctl::Resolve {
                id,
                verdict,
                although_acknowledged,
                signed,
            } => {
                // What is no id would make another path.
                let id = CorrelationId::try_new(&id)
                    .map_err(|_| format!("{id:?} is no correlationId"))?;
                let verdict = match verdict {
                    HandVerdict::Applied => "applied",
                    HandVerdict::Refused => "refused",
                };
                let body =
                    json!({ "verdict": verdict, "although_acknowledged": although_acknowledged });
                let path = format!("/admin/payments/{}/resolve", id.as_str());
                (path, body, signed)
            }
            Ctl::Processors { task } => {
                let (task, NamedTask { name, signed }) = match task {
                    ProcessorTask::Confirm(named) => ("confirm", named),
                    ProcessorTask::Pause(named) => ("pause", named),
                    ProcessorTask::Resume(named) => ("resume", named),
                };
                (
                    format!("/admin/processors/{name}/{task}"),
                    json!({}),
                    signed,
                )
            }
            Ctl::Set {
                setting,
                value,
                signed,
            } => {
                let body = json!({ "setting": setting, "value": value });
                ("/admin/settings".to_owned(), body, signed)
            }
            Ctl::Log { filter, signed } => {
                let body = json!({ "filter": filter });
                ("/admin/log".to_owned(), body, signed)
            }
        };
        Self::change(path, body, signed)
    }

    /// Something is to be changed.
    fn change(path: String, mut body: Value, signed: Signed) -> Result<Self, String> {
        let Signed {
            operator,
            reason,
            url,
        } = signed;
        read_note(&operator, &reason)?;
        if let Some(members) = body.as_object_mut() {
            members.insert("operator".to_owned(), json!(operator));
            members.insert("reason".to_owned(), json!(reason));
        }
        let body = Some(body.to_string());
        Ok(Self { url, path, body })
    }

    /// Asks the instance; what is to be said of its 200.
    ///
    /// # Errors
    /// Why nothing came of it, in words for the operator.
    fn come_true(&self, target: &Target, headers: &[(String, String)]) -> Result<String, String> {
        let question = match &self.body {
            Some(body) => Question::post(&self.path, headers, body.as_bytes()),
            None => Question::get(&self.path, headers),
        };
        let answer = match probe::call(target, &question) {
            Ok((200, answer)) => answer,
            Ok((status, answer)) => return Err(format!("{target} answers {status}: {answer}")),
            Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
                return Err(format!(
                    "{target} was asked and does not answer: it may have been done"
                ));
            }
            Err(fault) => return Err(format!("{target} does not answer: {fault}")),
        };
        match self.body {
            Some(_) => Ok(format!("{answer}\n")),
            None => lines_of(&answer),
        }
    }
}

/// What an instance says is pending. An amount stays the digits that it is: no float holds it (I7).
#[derive(Deserialize)]
struct Listed {
    pending: u64,
    oldest: Vec<Box<RawValue>>,
}

/// What is pending, one payment a line.
fn lines_of(answer: &str) -> Result<String, String> {
    let listed: Listed = serde_json::from_str(answer).map_err(|fault| fault.to_string())?;
    let mut text = String::new();
    for payment in &listed.oldest {
        text.push_str(payment.get());
        text.push('\n');
    }
    let (shown, count) = (listed.oldest.len(), listed.pending);
    if u64::try_from(shown).is_ok_and(|shown| shown < count) {
        complain(&format!(
            "{count} are pending, these are the oldest {shown}\n"
        ));
    }
    Ok(text)
}

/// Who says so, and why.
///
/// # Errors
/// What they may be.
pub(crate) fn read_note(operator: &str, reason: &str) -> Result<OperatorNote, String> {
    OperatorNote::try_new(operator, reason).ok_or_else(|| {
        "--operator and --reason: allowed is a text of 1 to 200 bytes each".to_owned()
    })
}

/// Whom to ask: `url`, else where ADMIN_LISTEN says; none where neither is given.
///
/// # Errors
/// `url` is none.
pub(crate) fn target(door: &AdminDoor, url: Option<&str>) -> Result<Option<Target>, String> {
    // A unix socket lets in who may open it; another place wants a secret too.
    let is_unix = |listener: &&ListenAddress| matches!(listener, ListenAddress::Unix(_));
    let of_settings = door
        .listen
        .iter()
        .find(is_unix)
        .or_else(|| door.listen.first());
    match url {
        Some(url) => read_url(url).map(Some),
        None => Ok(of_settings.cloned().map(Target::Listener)),
    }
}

fn read_url(text: &str) -> Result<Target, String> {
    Target::parse(text)
        .ok_or_else(|| format!("--url {text:?}: allowed is http://host:port or unix:/path"))
}

/// The headers that the instance demands, as its settings beside this command have them.
pub(crate) fn credentials(door: &AdminDoor) -> Vec<(String, String)> {
    let shown = |auth: &AuthHeader| {
        let value = auth.values.first()?;
        Some((auth.name.clone(), value.reveal().to_owned()))
    };
    door.secrets.iter().filter_map(shown).collect()
}
