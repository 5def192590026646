//! `p99 reconcile`: what an operator asks, and what is printed. The comparing is the library's room
//! `reconcile`. Part of the command; `main` calls it, and it decides nothing.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | both sides agree; payments may be pending |
//! | 1 | something differs |
//! | 2 | it could not be done: bad arguments, a journal or a book that cannot be read whole |

use std::collections::HashSet;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use p99::command::config;
use p99::command::limits;
use p99::command::payment::{PerProcessor, Processor};
use p99::command::reconcile::report::{self, Form};
use p99::command::reconcile::{self, Access, Bounds, Place, ReconcileFault, Request};
use p99::command::wire::{Edge, read_edge};

use crate::{complain, environment, inspection, refuse};

/// The processors' own books.
#[derive(Clone, Debug, Args)]
pub(crate) struct Books {
    /// The book of a processor, `default` or `fallback`: a file or pipe of CSV or JSON, or a URL
    /// that lists its payments, in which {from} and {to} are filled in. Several of one processor
    /// are read as one book.
    #[arg(long, value_name = "NAME=URL|FILE")]
    processor: Vec<String>,
    /// Headers of the request to a processor's URL, such as its credentials: one `Name: value` a
    /// line.
    #[arg(long, value_name = "NAME=FILE")]
    headers_file: Vec<String>,
}

/// Where the books are, and what goes with a request to each processor.
pub(crate) type Found = (Vec<(Processor, Place)>, PerProcessor<Access>);

/// What is asked for.
#[derive(Clone, Debug, Args)]
pub(crate) struct Asked {
    #[command(flatten)]
    books: Books,
    /// The first requestedAt that is compared; without it, all that the journal knows.
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// The last one; without it, those older than a minute.
    #[arg(long, value_name = "DATE")]
    to: Option<String>,
    /// A journal's directory, once for each shard; without it, JOURNAL_DIR.
    #[arg(long, value_name = "DIR")]
    journal: Vec<PathBuf>,
    /// Writes the differences as comma-separated values, and the sums to stderr.
    #[arg(long)]
    csv: bool,
    /// Where files for sorting go, about 130 bytes for each payment.
    #[arg(long, value_name = "DIR")]
    temporary: Option<PathBuf>,
}

/// `p99 reconcile`
pub(crate) fn reconcile(asked: Asked) -> u8 {
    let form = if asked.csv { Form::Csv } else { Form::Table };
    let request = match request(asked) {
        Ok(request) => request,
        Err(fault) => return refuse(&fault),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    match compare(&request, form, &mut out) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(fault) => {
            // What was found until then is not all, but it is true.
            out.flush().unwrap_or_default();
            refuse(&fault.to_string())
        }
    }
}

/// Compares and prints; whether all is well.
fn compare(request: &Request, form: Form, out: &mut impl Write) -> Result<bool, ReconcileFault> {
    let mut has_head = false;
    let tally = reconcile::reconcile(request, &mut |difference| {
        if !std::mem::replace(&mut has_head, true) {
            report::write_head(form, out)?;
        }
        report::write_difference(form, difference, out)
    })?;
    let mut text = Vec::new();
    let mut write = || {
        report::write_tally(request, &tally, &mut text)?;
        match form {
            Form::Table => out.write_all(&std::mem::take(&mut text))?,
            Form::Csv if has_head => {}
            Form::Csv => report::write_head(form, out)?,
        }
        out.flush()
    };
    write().map_err(ReconcileFault::Output)?;
    complain(&String::from_utf8_lossy(&text));
    Ok(tally.is_clean())
}

impl Books {
    /// Reads what was written, and the files of headers.
    ///
    /// # Errors
    /// What is wrong, in words for the operator.
    pub(crate) fn find(&self) -> Result<Found, String> {
        let mut books = Vec::new();
        for text in &self.processor {
            let (processor, place) = named("--processor", text)?;
            books.push((processor, Place::parse(place)));
        }
        let mut access = PerProcessor::<Access>::default();
        for (processor, place) in &books {
            if place.is_https() && access.get(*processor).material.is_none() {
                let usual = config::usual_authorities(&environment);
                let read = config::read_usual_authorities(usual.as_deref())?;
                access.get_mut(*processor).material = Some(read);
            }
        }
        for text in &self.headers_file {
            let (processor, file) = named("--headers-file", text)?;
            if !books.iter().any(|(of, _)| *of == processor) {
                let name = processor.name();
                return Err(format!(
                    "--headers-file {text}: there is no --processor {name} for it"
                ));
            }
            let lines = config::read_headers_file(file.as_ref())
                .map_err(|fault| format!("--headers-file {file}: allowed is {fault}"))?;
            let lines = lines.iter();
            let lines = lines.map(|(name, value)| (name.to_owned(), value.to_vec()));
            access.get_mut(processor).headers = lines.collect();
        }
        Ok((books, access))
    }
}

fn request(asked: Asked) -> Result<Request, String> {
    let (books, access) = asked.books.find()?;
    if books.is_empty() {
        return Err("no --processor NAME=URL|FILE: there is nothing to compare with".to_owned());
    }
    let date = |name: &str, text: Option<&str>, edge| match text {
        None => Ok(None),
        Some(text) => read_edge(text, edge).map(Some).ok_or_else(|| {
            format!("{name} {text:?}: allowed is a date such as 2025-07-10T12:34:56.789Z")
        }),
    };
    let settled = crate::wall().before(limits::RECONCILE_SETTLED);
    let from = date("--from", asked.from.as_deref(), Edge::From)?;
    let to = date("--to", asked.to.as_deref(), Edge::To)?.unwrap_or(settled);
    if from.is_some_and(|from| from > to) {
        // Nothing is inside such a window, and nothing would differ in it.
        return Err(
            "--from is later than --to, or, without --to, less than a minute ago".to_owned(),
        );
    }
    demand_different(&asked.journal)?;
    Ok(Request {
        journals: match asked.journal.is_empty() {
            false => asked.journal,
            true => vec![journal_dir()?],
        },
        books,
        access,
        from,
        to: Some(to),
        temporary: asked.temporary.unwrap_or_else(std::env::temp_dir),
        entries_max: limits::RECONCILE_ENTRIES_MAX,
        bounds: Bounds::COMMAND,
    })
}

/// Each journal once: every payment of one that is read again would look charged twice.
fn demand_different(journals: &[PathBuf]) -> Result<(), String> {
    let mut known = HashSet::new();
    for dir in journals {
        // One that is not there is told when it is read.
        if dir.canonicalize().is_ok_and(|real| !known.insert(real)) {
            return Err(format!("--journal {} is named twice", dir.display()));
        }
    }
    Ok(())
}

/// `NAME=what`
fn named<'a>(option: &str, text: &'a str) -> Result<(Processor, &'a str), String> {
    text.split_once('=')
        .and_then(|(name, what)| Some((Processor::of_name(name)?, what)))
        .filter(|(_, what)| !what.is_empty())
        .ok_or_else(|| {
            let text = config::without_values(text);
            format!("{option} {text:?}: allowed is default=… or fallback=…, of a URL or a file")
        })
}

fn journal_dir() -> Result<PathBuf, String> {
    match config::journal_dir_from_lookup(environment) {
        Ok(Some(dir)) => Ok(dir),
        Ok(None) => Err(format!(
            "{}, and there is no --journal",
            inspection::no_journal_dir()
        )),
        Err(faults) => Err(config::tell_faults(&faults).trim_end().to_owned()),
    }
}
