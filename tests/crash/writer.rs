//! The journal alone, killed while it rotates and compacts. The parent runs this test's own binary
//! again as a writer with segments of 8 KiB, reads how many payments the writer says are durable,
//! kills it, and asks the journal how many there are: never fewer, and never one that no writer
//! appended. A payment is an Intent and its Verdict; every eighth one of each writer stays open.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use p99::testing::clock::{Mono, UnixMillis};
use p99::testing::config::JournalSync;
use p99::testing::journal::operator;
use p99::testing::journal::{self, Haste, JournalSettings, Progress, Record, Verdict};
use p99::testing::payment::{Cents, CoreCount, CorrelationId, Payment, Processor, UpstreamId};

use crate::kit::dice::{Dice, mix};
use crate::kit::scratch::Scratch;

const DIR: &str = "P99_CRASH_WRITER_DIR";
const ROUND: &str = "P99_CRASH_WRITER_ROUND";

/// Far beyond anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(600);

/// The moment of the first payment; a real date, so that the ledger keeps milliseconds.
const FIRST: UnixMillis = UnixMillis(1_752_150_896_000);

#[test]
fn a_journal_killed_while_it_rotates_and_compacts_keeps_all_that_was_durable() {
    if let Some(dir) = std::env::var_os(DIR) {
        write_until_killed(PathBuf::from(dir), wanted(ROUND).unwrap());
        return;
    }
    let mut dice = Dice::new(jiff::Timestamp::now().as_microsecond().unsigned_abs());
    let scratch = Scratch::new("crash-writer").unwrap();
    let dir = scratch.file("journal");
    let (mut settled, mut open) = (0, 0);
    let (rounds, began) = (wanted("CRASH_ROUNDS").unwrap_or(8), Instant::now());
    // On a slow machine a few more, until segments were filled and merged.
    for round in 0.. {
        if rounds <= round && 1_000 < settled {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "too slow: {settled}");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg(
                "writer::a_journal_killed_while_it_rotates_and_compacts_keeps_all_that_was_durable",
            )
            .env(DIR, &dir)
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = std::thread::spawn(move || {
            let mut said = (0, 0);
            for line in lines {
                let line = line.unwrap();
                if let Some((settled, open)) = line
                    .strip_prefix("durable ")
                    .and_then(|rest| rest.split_once(' '))
                {
                    said = (settled.parse().unwrap(), open.parse().unwrap());
                }
            }
            said
        });
        // Longer in each round: a slow machine needs some time to write anything.
        std::thread::sleep(Duration::from_millis(20 + dice.below(250) + round * 5));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().code(), None, "the writer failed");
        let said: (u64, u64) = reader.join().unwrap();
        if !dir.join("MANIFEST").exists() && settled + open == 0 {
            // Killed before its first start was done.
            continue;
        }
        let found = count(&dir);
        assert!(
            found.0 >= settled + said.0 && found.1 >= open + said.1,
            "{found:?} of ({settled}, {open}) + {said:?} in {}",
            dir.display()
        );
        (settled, open) = found;
    }
}

/// A number in the environment.
fn wanted(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Settled and open payments; panics on a journal that is damaged, odd or adds up wrong.
fn count(dir: &Path) -> (u64, u64) {
    let report = operator::verify(dir).unwrap();
    assert_eq!(report.oddities, 0);
    assert_eq!(report.totals.get(Processor::FALLBACK).count, 0);
    let settled = report.totals.get(Processor::DEFAULT);
    assert_eq!(
        u64::try_from(settled.cents).unwrap(),
        settled.count * 7,
        "{report:?}"
    );
    assert_eq!(report.settled, settled.count, "each id settled once");
    (settled.count, report.pending)
}

fn write_until_killed(dir: PathBuf, round: u64) {
    let cores = CoreCount(u16::try_from(1 + round % 3).unwrap());
    let settings = JournalSettings {
        claims_max: usize::MAX,
        segment_bytes: 8 << 10,
        compact_bytes_min: 12 << 10,
        ..JournalSettings::new(dir, JournalSync::Os, cores)
    };
    let started = journal::start(&settings, FIRST).unwrap();
    let builder = monoio::RuntimeBuilder::<monoio::FusionDriver>::new();
    let mut runtime = builder.enable_timer().build().unwrap();
    runtime.block_on(async {
        let mut writers = Vec::new();
        for core in started.cores {
            let (writer, task) = core.writer.open().unwrap();
            monoio::spawn(task.run(
                || Mono(0),
                |progress| {
                    assert!(matches!(progress, Progress::Durable { .. }), "{progress:?}");
                },
            ));
            writers.push(writer);
        }
        let mut said = (0_u64, 0_u64);
        for number in 0_u64.. {
            let [intent, verdict] = records(round, number);
            let owner = &writers[intent.id().unwrap().owner(cores).index()];
            owner.append(&intent, Haste::Now);
            if number % 8 == 7 {
                said.1 += 1;
            } else {
                owner.append(&verdict, Haste::Now);
                said.0 += 1;
            }
            if number % 5 != 0 {
                continue;
            }
            for writer in &writers {
                while writer.durable() < writer.last() {
                    monoio::time::sleep(Duration::from_micros(50)).await;
                }
            }
            let mut out = std::io::stdout().lock();
            writeln!(out, "durable {} {}", said.0, said.1).unwrap();
            out.flush().unwrap();
        }
    });
}

fn records(round: u64, number: u64) -> [Record; 2] {
    let id = UpstreamId((u128::from(mix(round + 1)) << 64) | u128::from(mix(number)));
    let amount = Cents(7);
    let requested_at = UnixMillis(FIRST.0 + i64::try_from(number).unwrap());
    let payment = Payment {
        id,
        correlation_id: CorrelationId::try_new(&id.to_string()).unwrap(),
        amount,
    };
    let processor = Processor::DEFAULT;
    let verdict = Verdict::Applied {
        processor,
        amount,
        requested_at,
    };
    let intent = Record::Intent {
        payment,
        processor,
        requested_at,
        accepted_at: None,
        address: None,
    };
    [intent, Record::Verdict { id, verdict }]
}
