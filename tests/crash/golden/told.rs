//! What a journal says, as text: what a start takes over from it, whatever CORES is now.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use p99::testing::clock::UnixMillis;
use p99::testing::config::JournalSync;
use p99::testing::journal::{self, JournalFault, JournalSettings, Restored, Sent};
use p99::testing::payment::{CoreCount, PerProcessor, Processor, Totals};

/// Starts on the journal in `dir` at `wall` and tells what was found.
pub(crate) fn tell(dir: &Path, cores: u16, wall: UnixMillis) -> Result<String, JournalFault> {
    let settings = JournalSettings {
        segment_bytes: 8192,
        ledger_exact: Duration::from_secs(24 * 3600),
        ..JournalSettings::new(dir.to_owned(), JournalSync::Os, CoreCount(cores))
    };
    let started = journal::start(&settings, wall)?;
    let report = &started.report;
    let mut text = String::new();
    let (tears, oddities) = (report.tears.len(), report.oddities);
    writeln!(text, "start {}", report.epoch).unwrap();
    writeln!(
        text,
        "records {} tears {tears} oddities {oddities}",
        report.records
    )
    .unwrap();
    writeln!(text, "ended with their process {}", report.ended).unwrap();
    for (number, id) in &started.met {
        writeln!(text, "met {number} at {id}").unwrap();
    }
    if let Some(totals) = totals(&started.cores, None) {
        write_totals("total", &totals, &mut text);
    }
    let mut lines = Vec::new();
    for core in &started.cores {
        for pending in &core.pending {
            let (id, accepted) = (pending.payment.id, pending.accepted_at.map(|at| at.0));
            let sent = |sent: &Sent| {
                let to = sent.address.map(|address| format!(" to {address}"));
                let to = to.unwrap_or_default();
                format!("{}@{}{to}", sent.processor.name(), sent.requested_at.0)
            };
            let open = pending.open.as_ref().map(sent);
            let earlier: Vec<_> = pending.earlier.iter().map(sent).collect();
            let (spelt, cents) = (
                pending.payment.correlation_id.as_str(),
                pending.payment.amount.0,
            );
            lines.push(format!(
                "pending {id} {spelt} {cents} accepted {accepted:?} open {open:?} \
                 earlier {earlier:?}\n"
            ));
        }
        for (id, claim) in &core.settled {
            let at = claim.requested_at.map(|at| at.0);
            let (status, cents) = (claim.status.name(), claim.amount.0);
            let by = claim.processor.map(Processor::name);
            let (first, counted) = (claim.first_answer, claim.counted);
            lines.push(format!(
                "settled {id} {status} {cents} by {by:?} at {at:?} {first:?} counted {counted}\n"
            ));
        }
    }
    lines.sort();
    text.extend(lines);
    let settled = started.cores.iter().flat_map(|core| &core.settled);
    let mut dates: Vec<_> = settled
        .filter_map(|(_, claim)| claim.requested_at)
        .collect();
    dates.sort_unstable();
    dates.dedup();
    for at in dates {
        match totals(&started.cores, Some(at)) {
            Some(totals) => write_totals(&format!("at {}", at.0), &totals, &mut text),
            None => writeln!(text, "at {} old", at.0).unwrap(),
        }
    }
    Ok(text)
}

/// Of that millisecond or of all time; `None` when only the second's sum is kept.
fn totals(cores: &[Restored], at: Option<UnixMillis>) -> Option<PerProcessor<Totals>> {
    let mut sum = PerProcessor::<Totals>::default();
    for core in cores {
        let part = core.ledger.totals(at, at).ok()?;
        for processor in Processor::ALL {
            sum.get_mut(processor).add(*part.get(processor));
        }
    }
    Some(sum)
}

fn write_totals(name: &str, totals: &PerProcessor<Totals>, text: &mut String) {
    write!(text, "{name}").unwrap();
    for processor in Processor::ALL {
        let Totals { count, cents } = *totals.get(processor);
        // The formats that knew two processors wrote these two, with payments or without.
        let is_of_two = matches!(processor.name(), "default" | "fallback");
        if count == 0 && !is_of_two {
            continue;
        }
        write!(text, " {} {count} {cents}", processor.name()).unwrap();
    }
    text.push('\n');
}
