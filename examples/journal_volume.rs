//! Fills a journal as fast as the disk takes it and says what it costs: bytes a payment, disk at
//! its largest, compactions, and how long a start takes afterwards. The arithmetic that it checks
//! stands at `limits::JOURNAL_COMPACT_BYTES_MIN`.
//!
//! `cargo run --release --example journal_volume --
//! DIR [PAYMENTS] [PER_SECOND] [CORES] [os|always]`
//!
//! The payments carry `requestedAt` as if they had come at PER_SECOND until now, so that a week at
//! a tenth of the rate (60,480,000 at 100/s) shows the shape of a week in minutes. The directory
//! must be empty, and is left for `p99 journal verify`.

use std::cell::Cell;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use p99::testing::clock::{Clock, UnixMillis};
use p99::testing::config::JournalSync;
use p99::testing::journal::{self, Haste, JournalSettings, Progress, Record, Verdict, Writer};
use p99::testing::payment::{
    Cents, CoreCount, CorrelationId, Payment, Processor, Totals, UpstreamId,
};

/// Appended before anybody waits: what a busy core has in one batch.
const BATCH: u64 = 500;

type Fault = Box<dyn std::error::Error>;

struct Load {
    payments: u64,
    per_second: u64,
    first: UnixMillis,
}

impl Load {
    /// An Intent and its Verdict, as most payments have them.
    fn records(&self, number: u64) -> Result<[Record; 2], Fault> {
        // Ids are well mixed, as UUIDs are; 99.9 % of the payments go to the first processor.
        let id = UpstreamId(u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced));
        let correlation_id = CorrelationId::try_new(&id.to_string()).map_err(|_| "an odd id")?;
        let amount = Cents(1990 + number % 100);
        let payment = Payment {
            id,
            correlation_id,
            amount,
        };
        let is_rare = number.is_multiple_of(1_000);
        let processor = if is_rare {
            Processor::FALLBACK
        } else {
            Processor::DEFAULT
        };
        let after = i64::try_from(number.saturating_mul(1_000) / self.per_second)?;
        let requested_at = UnixMillis(self.first.0.saturating_add(after));
        let verdict = Verdict::Applied {
            processor,
            amount,
            requested_at,
        };
        Ok([
            Record::Intent {
                payment,
                processor,
                requested_at,
                accepted_at: None,
                address: None,
            },
            Record::Verdict { id, verdict },
        ])
    }
}

fn main() -> Result<(), Fault> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(
        arguments
            .next()
            .ok_or("usage: DIR [PAYMENTS] [PER_SECOND] [CORES] [os|always]")?,
    );
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |text| text.parse());
    let (payments, per_second, cores) = (number(2_000_000)?, number(1_000)?.max(1), number(2)?);
    let cores = CoreCount(u16::try_from(cores)?);
    let sync = match arguments.next().as_deref() {
        Some("always") => JournalSync::Always,
        Some("os") | None => JournalSync::Os,
        Some(_) => return Err("os or always".into()),
    };
    let clock = Clock::new(Clock::process_start());
    let span = i64::try_from(payments.saturating_mul(1_000) / per_second)?;
    let first = UnixMillis(clock.now().wall.0.saturating_sub(span));
    let load = Load {
        payments,
        per_second,
        first,
    };
    let mut settings = JournalSettings::new(dir, sync, cores);
    settings.claims_max /= usize::from(cores.0.max(1));

    let begun = clock.now().mono;
    let peak = fill(&settings, &load, &clock)?;
    let took = clock.now().mono.since(begun);
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "filled: {payments} payments in {took:.1?}; disk at its largest {peak} B"
    )?;

    let begun = clock.now().mono;
    let started = journal::start(&settings, clock.now().wall)?;
    let took = clock.now().mono.since(begun);
    let mut sum = Totals::default();
    for core in &started.cores {
        let totals = core
            .ledger
            .totals(None, None)
            .map_err(|_| "no window cuts a second")?;
        Processor::ALL
            .iter()
            .for_each(|processor| sum.add(*totals.get(*processor)));
    }
    writeln!(out, "started again in {took:.1?}: {:?}", started.report)?;
    writeln!(
        out,
        "ledger: {} payments; disk {} B",
        sum.count,
        size_of(&settings.dir)?
    )?;
    if sum.count == payments {
        Ok(())
    } else {
        Err("payments were lost".into())
    }
}

/// Writes all payments and returns the largest size that the directory was seen at.
fn fill(settings: &JournalSettings, load: &Load, clock: &Clock) -> Result<u64, Fault> {
    let started = journal::start(settings, clock.now().wall)?;
    let stats = started.keeper.stats();
    let written = Rc::new(Cell::new(0_u64));
    let has_failed = Rc::new(Cell::new(false));
    let mut peak = 0;
    let builder = monoio::RuntimeBuilder::<monoio::FusionDriver>::new();
    let result: Result<(), Fault> = builder.enable_timer().build()?.block_on(async {
        let mut writers = Vec::new();
        for core in started.cores {
            let (writer, task) = core.writer.open()?;
            let (told, failed) = (Rc::clone(&written), Rc::clone(&has_failed));
            let begun = Clock::process_start();
            let _task = monoio::spawn(async move {
                let clock = Clock::new(begun);
                let report = |progress| match progress {
                    Progress::Durable { bytes, .. } => told.set(told.get() + bytes as u64),
                    Progress::Failed(fault) => {
                        failed.set(true);
                        // The exit status says it too.
                        let _ = writeln!(io::stderr(), "failed: {fault}");
                    }
                };
                task.run(|| clock.now().mono, report).await;
            });
            writers.push(writer);
        }
        for number in 0..load.payments {
            for record in load.records(number)? {
                let owner = record.id().map_or(0, |id| id.owner(settings.cores).index());
                writers
                    .get(owner)
                    .ok_or("no such core")?
                    .append(&record, Haste::Now);
            }
            if number % BATCH == 0 {
                wait(&writers, &has_failed).await?;
            }
            if number % 100_000 == 0 {
                peak = peak.max(size_of(&settings.dir)?);
            }
        }
        wait(&writers, &has_failed).await?;
        Ok(())
    });
    result?;
    drop(started.keeper);
    let bytes = written.get();
    writeln!(
        io::stdout().lock(),
        "journal: {bytes} B for {} payments; {stats:?}",
        load.payments
    )?;
    Ok(peak)
}

async fn wait(writers: &[Writer], has_failed: &Cell<bool>) -> Result<(), Fault> {
    for writer in writers {
        while writer.durable() < writer.last() {
            monoio::time::sleep(Duration::ZERO).await;
            if has_failed.get() {
                return Err("the journal failed".into());
            }
        }
    }
    Ok(())
}

fn size_of(dir: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        // A file that compaction just deleted counts nothing.
        sum += entry?.metadata().map_or(0, |file| file.len());
    }
    Ok(sum)
}
