//! `p99 explain`: what happened to one payment, gathered from the instance that runs here, the
//! audit file and the journal. Part of the command, not of the library; `main` calls it. It decides
//! nothing and changes nothing.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use p99::command::audit;
use p99::command::config::{self, ConfigFault};
use p99::command::journal::operator;
use p99::command::payment::CorrelationId;
use p99::command::probe::{self, Question, Target};
use p99::command::timeline;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{complain, ctl, environment, fail, refuse, say};

/// `{"at":"2026-01-31T23:59:59.999Z"`
const MOMENT_BYTES: usize = 32;

/// What `GET /admin/payments/{id}/events` answers.
#[derive(Deserialize)]
struct Story<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

/// Where something may be known of a payment.
struct Places {
    instance: Option<Target>,
    headers: Vec<(String, String)>,
    audit: Option<PathBuf>,
    journal: Option<PathBuf>,
}

impl Places {
    /// Those that the settings and `url` name.
    ///
    /// # Errors
    /// What is wrong with them, in words for the operator.
    fn find(url: Option<&str>) -> Result<Self, String> {
        let told = |faults: Vec<ConfigFault>| config::tell_faults(&faults).trim_end().to_owned();
        let door = config::admin_door_from_lookup(environment).map_err(told)?;
        let places = Self {
            instance: ctl::target(&door, url)?,
            headers: ctl::credentials(&door),
            audit: config::audit_dir_from_lookup(environment).map_err(told)?,
            journal: config::journal_dir_from_lookup(environment).map_err(told)?,
        };
        // Without AUDIT_DIR the audit file is in JOURNAL_DIR.
        if places.instance.is_none() && places.audit.is_none() {
            let why = "there is nowhere to look: ADMIN_LISTEN, JOURNAL_DIR and AUDIT_DIR are off, \
                       and there is no --url";
            return Err(why.to_owned());
        }
        Ok(places)
    }
}

/// Prints what is known of the payment, one line of JSON each, oldest first.
pub(crate) fn explain(id: &str, url: Option<&str>) -> u8 {
    let Ok(id) = CorrelationId::try_new(id) else {
        return refuse(&format!("{id:?} is no correlationId"));
    };
    let places = match Places::find(url) {
        Ok(places) => places,
        Err(why) => return refuse(&why),
    };
    match look(&id, &places) {
        Ok(lines) => {
            for line in lines {
                say(&format!("{line}\n"));
            }
            0
        }
        Err(why) => fail(&why),
    }
}

/// Everything that is known; some.
///
/// # Errors
/// Nothing is, or a place cannot be read.
fn look(id: &CorrelationId, places: &Places) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    let mut asked = Vec::new();
    let mut is_running = false;
    if let Some(target) = &places.instance {
        match ask(id, target, &places.headers) {
            Ok(found) => {
                lines = found;
                asked.push(target.to_string());
                is_running = true;
            }
            Err(fault) if places.audit.is_none() => return Err(fault),
            Err(fault) => complain(&format!("{fault}; looking into the files alone\n")),
        }
    }
    if let Some(dir) = &places.audit {
        let place = format!("the audit file in {}", dir.display());
        let found = audit::read(dir, id.upstream_id());
        add(
            found.map_err(|fault| format!("{place}: {fault}"))?,
            &mut lines,
        );
        asked.push(place);
    }
    if let (Some(dir), false) = (&places.journal, is_running) {
        lines.extend(records_of(dir, id)?);
        asked.push(format!("the journal in {}", dir.display()));
    }
    if lines.is_empty() {
        let asked = asked.join(", ");
        return Err(format!(
            "nothing is remembered of this payment; asked: {asked}"
        ));
    }
    Ok(lines)
}

/// Adds what is not there yet, in the order of time. Every line begins with its moment.
fn add(found: Vec<String>, lines: &mut Vec<String>) {
    let known: HashSet<String> = lines.iter().cloned().collect();
    lines.extend(found.into_iter().filter(|line| !known.contains(line)));
    let moment = |line: &String| line.get(..MOMENT_BYTES).map(str::to_owned);
    lines.sort_by_key(moment);
}

/// What the instance remembers.
///
/// # Errors
/// It does not answer, or not with what it remembers.
fn ask(
    id: &CorrelationId,
    target: &Target,
    headers: &[(String, String)],
) -> Result<Vec<String>, String> {
    let path = format!("/admin/payments/{}/events", id.as_str());
    match probe::call(target, &Question::get(&path, headers)) {
        Ok((200, body)) => {
            let story: Story<'_> = serde_json::from_str(&body)
                .map_err(|fault| format!("{target} answers what is no story: {fault}"))?;
            let lines = story.events.iter().map(|one| one.get().to_owned());
            Ok(lines.collect())
        }
        Ok((404, body)) if body.contains(timeline::NOTHING) => Ok(Vec::new()),
        // Where clients call there is no such question, whatever is remembered.
        Ok((404, _)) => Err(format!("{target} is no ADMIN_LISTEN of p99")),
        Ok((status, body)) => Err(format!("{target} answers {status}: {body}")),
        Err(fault) => Err(format!("{target} does not answer: {fault}")),
    }
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
