//! What was found, in words: a table for people, comma-separated values for programs, and the sums
//! at the end. Amounts are written digit by digit (I7).

use std::io::{self, Write};

use super::fault::date;
use super::join::{Difference, Kind, Tally};
use super::run::Request;
use crate::payment::{Cents, Processor, Totals, write_cents};

/// How the differences are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Aligned, for reading.
    Table,
    /// RFC 4180, with a header.
    Csv,
}

const COLUMNS: [&str; 8] = [
    "kind",
    "correlationId",
    "processor",
    "other",
    "amountHere",
    "amountThere",
    "requestedAt",
    "lines",
];
/// An id has 36, a date 24; the rest is what the longest name and a usual amount take.
const WIDTHS: [usize; 8] = [15, 36, 9, 9, 12, 12, 24, 0];

/// Writes the names of the columns.
///
/// # Errors
/// What `out` says.
pub fn write_head(form: Form, out: &mut impl Write) -> io::Result<()> {
    write_line(form, COLUMNS.map(str::to_owned), out)
}

/// Writes one difference.
///
/// # Errors
/// What `out` says.
pub fn write_difference(form: Form, one: &Difference, out: &mut impl Write) -> io::Result<()> {
    let name = |processor: Option<Processor>| processor.map_or("", Processor::name).to_owned();
    let lines: Vec<String> = one.lines.iter().flatten().map(u64::to_string).collect();
    let fields = [
        one.kind.name().to_owned(),
        one.id.to_string(),
        name(one.processor),
        name(one.other),
        one.here.map(amount).unwrap_or_default(),
        one.there.map(amount).unwrap_or_default(),
        one.at.map(date).unwrap_or_default(),
        lines.join(" "),
    ];
    write_line(form, fields, out)
}

fn write_line(form: Form, fields: [String; 8], out: &mut impl Write) -> io::Result<()> {
    let mut line = String::new();
    for (index, (field, width)) in fields.iter().zip(WIDTHS).enumerate() {
        match form {
            // No field of ours holds a comma, a quote or a line end.
            Form::Csv => line.push_str(if index == 0 { "" } else { "," }),
            Form::Table => line.push_str(if index == 0 { "" } else { "  " }),
        }
        match form {
            Form::Csv => line.push_str(field),
            Form::Table => line.push_str(&format!("{field:width$}")),
        }
    }
    writeln!(out, "{}", line.trim_end_matches(' '))
}

/// Writes of which window how many of each there were. That nothing matched is written too: that
/// both sides agree says little then.
///
/// # Errors
/// What `out` says.
pub fn write_tally(request: &Request, tally: &Tally, out: &mut impl Write) -> io::Result<()> {
    let [from, to] = [(request.from, "the beginning"), (request.to, "the end")]
        .map(|(edge, all)| edge.map_or_else(|| all.to_owned(), date));
    writeln!(out, "window: from {from} to {to}")?;
    for processor in Processor::ALL {
        if request.books.iter().any(|(of, _)| *of == processor) {
            write_sum("matched", (processor, tally.matched.get(processor)), out)?;
        }
    }
    for processor in Processor::ALL {
        let totals = tally.unchecked.get(processor);
        if totals.count > 0 {
            let what = "not checked, as there is no book of";
            write_sum(what, (processor, totals), out)?;
        }
    }
    for kind in Kind::ALL {
        writeln!(out, "{}: {}", kind.name(), tally.of(kind))?;
    }
    Ok(())
}

fn write_sum(
    what: &str,
    (processor, totals): (Processor, &Totals),
    out: &mut impl Write,
) -> io::Result<()> {
    let mut cents = Vec::new();
    write_cents(totals.cents, &mut cents);
    let cents = String::from_utf8(cents).unwrap_or_default();
    let (name, count) = (processor.name(), totals.count);
    writeln!(out, "{what} {name}: payments {count}, amount {cents}")
}

fn amount(amount: Cents) -> String {
    let mut out = Vec::new();
    amount.write(&mut out);
    String::from_utf8(out).unwrap_or_default()
}
