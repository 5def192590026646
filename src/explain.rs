//! `p99 explain`: what happened to one payment, gathered from the instance that runs here, the
//! audit file and the journal. Part of the command, not of the library; `main` calls it. It decides
//! nothing and changes nothing.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use p99::audit;
use p99::config::{self, Config};
use p99::journal::operator;
use p99::payment::CorrelationId;
use p99::probe::{self, Question, Target};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{BAD_SETTINGS, complain, ctl, environment, fail, say};

/// `{"at":"2026-01-31T23:59:59.999Z"`
const MOMENT_BYTES: usize = 32;

/// What `GET /admin/payments/{id}/events` answers.
#[derive(Deserialize)]
struct Story<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

/// Prints what is known of the payment, one line of JSON each, oldest first.
pub(crate) fn explain(id: &str, url: Option<&str>) -> u8 {
    let Ok(correlation_id) = CorrelationId::try_new(id) else {
        return fail(&format!("{id:?} is no correlationId"));
    };
    let dirs = config::journal_dir_from_lookup(environment)
        .and_then(|journal| Ok((journal, config::audit_dir_from_lookup(environment)?)));
    let (journal, audit) = match dirs {
        Ok(dirs) => dirs,
        Err(faults) => {
            complain(&config::tell_faults(&faults));
            return BAD_SETTINGS;
        }
    };
    let asked = match ask(&correlation_id, url) {
        Ok(asked) => asked,
        Err(fault) => {
            complain(&format!("{fault}; looking into the files alone\n"));
            None
        }
    };
    let is_running = asked.is_some();
    let mut lines = asked.unwrap_or_default();
    let mut records = Vec::new();
    if let Some(dir) = &audit {
        match audit::read(dir, correlation_id.upstream_id()) {
            Ok(found) => add(found, &mut lines),
            Err(fault) => return fail(&format!("the audit file in {}: {fault}", dir.display())),
        }
    }
    if let (Some(dir), false) = (&journal, is_running) {
        match records_of(dir, &correlation_id) {
            Ok(found) => records = found,
            Err(fault) => return fail(&fault),
        }
    }
    if lines.is_empty() && records.is_empty() {
        return fail("nothing is remembered of this payment");
    }
    for line in lines.iter().chain(&records) {
        say(&format!("{line}\n"));
    }
    0
}

/// Adds what is not there yet, in the order of time. Every line begins with its moment.
fn add(found: Vec<String>, lines: &mut Vec<String>) {
    let known: HashSet<String> = lines.iter().cloned().collect();
    lines.extend(found.into_iter().filter(|line| !known.contains(line)));
    let moment = |line: &String| line.get(..MOMENT_BYTES).map(str::to_owned);
    lines.sort_by_key(moment);
}

/// What the instance here remembers; none where there is no way to ask it, or it knows nothing.
///
/// # Errors
/// It does not answer, or not with what it remembers.
fn ask(id: &CorrelationId, url: Option<&str>) -> Result<Option<Vec<String>>, String> {
    let config = Config::from_lookup(environment).ok();
    let Some(target) = ctl::target(config.as_ref(), url)? else {
        return Ok(None);
    };
    let headers = ctl::credentials(config.as_ref());
    let path = format!("/admin/payments/{}/events", id.as_str());
    match probe::call(&target, &Question::get(&path, &headers)) {
        Ok((200, body)) => {
            let story: Story<'_> = serde_json::from_str(&body)
                .map_err(|fault| format!("{target} answers what is no story: {fault}"))?;
            let lines = story.events.iter().map(|one| one.get().to_owned());
            Ok(Some(lines.collect()))
        }
        Ok((404, _)) => Ok(Some(Vec::new())),
        Ok((status, body)) => Err(told(&target, status, &body)),
        Err(fault) => Err(format!("{target} does not answer: {fault}")),
    }
}

fn told(target: &Target, status: u16, body: &str) -> String {
    format!("{target} answers {status}: {body}")
}

/// The journal's records of the payment, in the order in which they were written.
fn records_of(dir: &Path, id: &CorrelationId) -> Result<Vec<String>, String> {
    let mut found = Records {
        wanted: format!("\"id\":\"{}\"", id.upstream_id()),
        rest: Vec::new(),
        lines: Vec::new(),
    };
    operator::dump(dir, &mut found).map_err(|fault| fault.to_string())?;
    Ok(found.lines)
}

/// Keeps the lines that name one payment.
struct Records {
    wanted: String,
    rest: Vec<u8>,
    lines: Vec<String>,
}

impl io::Write for Records {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = memchr::memchr(b'\n', &self.rest) {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            if memchr::memmem::find(&line, self.wanted.as_bytes()).is_some() {
                let text = String::from_utf8_lossy(line.trim_ascii_end());
                self.lines.push(text.into_owned());
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
