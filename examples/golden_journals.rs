//! Writes the journals of `tests/data/journals`: the real writer, keeper and start make them, and
//! `tests/crash/golden.rs` says what they are for. Run it once when the format has changed, with a
//! prefix that no earlier version used, and commit what it writes; never write an old one again.
//!
//! `cargo run --example golden_journals -- PREFIX`
//!
//! `cargo run --example golden_journals -- PREFIX NAME DIR` packs the journal of a real instance.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a tool for the tests, which ends at the first surprise"
)]

#[path = "../tests/crash/golden/told.rs"]
mod told;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use p99::testing::clock::{Mono, UnixMillis};
use p99::testing::config::JournalSync;
use p99::testing::journal::{
    self, Fate, Haste, JournalId, JournalSettings, Progress, Record, Sent, Started, Verdict,
};
use p99::testing::payment::{
    Cents, Configured, CoreCount, CorrelationId, Payment, Processor, Shard, UpstreamId,
};

/// Bytes of a journal in one line of text.
const LINE_BYTES: usize = 48;

const WALL: UnixMillis = UnixMillis(1_752_150_896_000);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let work = std::env::temp_dir().join(format!("p99-golden-{}", std::process::id()));
    match arguments.as_slice() {
        [prefix] => make_all(prefix, &work),
        [prefix, name, dir] => keep(prefix, name, Path::new(dir)),
        _ => panic!("PREFIX [NAME DIR]"),
    }
    fs::remove_dir_all(&work).unwrap_or_default();
}

fn make_all(prefix: &str, work: &Path) {
    let dir = |name: &str| work.join(name);
    let mut batches = stories(0..150);
    batches.push(vec![Record::Purge { at: WALL }]);
    batches.extend(stories(150..220));
    run(&dir("compacted"), 3, JournalSync::Os, &batches);
    keep(prefix, "compacted", &dir("compacted"));

    run(&dir("restarted"), 2, JournalSync::Always, &stories(0..24));
    run(&dir("restarted"), 3, JournalSync::Always, &stories(24..48));
    keep(prefix, "restarted", &dir("restarted"));

    run(
        &dir("torn"),
        1,
        JournalSync::Os,
        &[stories(0..16).concat(), stories(16..40).concat()],
    );
    tear(&dir("torn").join("00000001-000-000000.segment"));
    keep(prefix, "torn", &dir("torn"));

    run(&dir("fresh"), 2, JournalSync::Os, &stories(0..24));
    run(&dir("fresh"), 2, JournalSync::Os, &[]);
    keep(prefix, "fresh", &dir("fresh"));

    shard(&dir("shard"));
    run(&dir("shard"), 2, JournalSync::Os, &stories(0..24));
    keep(prefix, "shard", &dir("shard"));
}

/// The journal of shard 2 of 3, which has met the others and knows where its processors are.
fn shard(dir: &Path) {
    let authorities = ["proc-a:8080", "10.1.2.3:8080"].map(str::to_owned);
    let settings = JournalSettings {
        shard: Some(Shard::parse("2/3").unwrap()),
        processors: Configured::try_from_vec(authorities.to_vec()),
        ..settings(dir, 2, JournalSync::Os)
    };
    let started = journal::start(&settings, WALL).unwrap();
    for number in [1, 3] {
        started
            .keeper
            .met(number, JournalId(u64::from(number) * 1_000));
    }
}

fn settings(dir: &Path, cores: u16, sync: JournalSync) -> JournalSettings {
    JournalSettings {
        claims_max: 1_000,
        ledger_exact: Duration::from_secs(24 * 3600),
        segment_bytes: 8192,
        compact_bytes_min: 4096,
        ..JournalSettings::new(dir.to_owned(), sync, CoreCount(cores))
    }
}

/// Appends each batch at once, each record at its owner's core.
fn run(dir: &Path, cores: u16, sync: JournalSync, batches: &[Vec<Record>]) {
    let started = journal::start(&settings(dir, cores, sync), WALL).unwrap();
    let Started {
        cores: all, keeper, ..
    } = started;
    let mut runtime = monoio::RuntimeBuilder::<monoio::FusionDriver>::new()
        .with_entries(256)
        .enable_timer()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut writers = Vec::new();
        for core in all {
            let (writer, task) = core.writer.open().unwrap();
            monoio::spawn(task.run(
                || Mono(0),
                |progress| assert!(matches!(progress, Progress::Durable { .. }), "{progress:?}"),
            ));
            writers.push(writer);
        }
        for batch in batches {
            for record in batch {
                let owner = record.id().map(|id| id.owner(CoreCount(cores)).index());
                for (index, writer) in writers.iter().enumerate() {
                    if owner.is_none_or(|owner| owner == index) {
                        writer.append(record, Haste::Now);
                    }
                }
            }
            for writer in &writers {
                while writer.durable() < writer.last() {
                    monoio::time::sleep(Duration::from_micros(50)).await;
                }
            }
        }
    });
    drop(keeper);
}

/// What a power cut leaves of a batch: its last sector was never written.
fn tear(segment: &Path) {
    let mut bytes = fs::read(segment).unwrap();
    let end = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let sector = (end - 1) / 512 * 512;
    bytes[sector..end].fill(0);
    fs::write(segment, bytes).unwrap();
}

fn keep(prefix: &str, name: &str, dir: &Path) {
    write(prefix, &format!("{name}.txt"), &pack(dir));
    // A start changes what it reads, so it gets a copy.
    let copy = dir.with_extension("copy");
    fs::create_dir_all(&copy).unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    write(
        prefix,
        &format!("{name}.says.txt"),
        &told::tell(&copy, 2, WALL).unwrap(),
    );
    fs::remove_dir_all(&copy).unwrap();
}

/// A journal directory as one text: for each of its files a line with name and size, then its bytes
/// in hexadecimal without the zeros at the end, most of which were only reserved. The lock says
/// nothing and is left out.
fn pack(dir: &Path) -> String {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "LOCK")
        .collect();
    names.sort();
    let mut text = String::new();
    for name in names {
        let bytes = fs::read(dir.join(&name)).unwrap();
        writeln!(text, "file {name} {}", bytes.len()).unwrap();
        let kept = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
        for line in bytes[..kept].chunks(LINE_BYTES) {
            for byte in line {
                write!(text, "{byte:02x}").unwrap();
            }
            text.push('\n');
        }
    }
    text
}

fn write(prefix: &str, name: &str, text: &str) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/journals");
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join(format!("{prefix}-{name}")), text).unwrap();
}

fn stories(numbers: std::ops::Range<u32>) -> Vec<Vec<Record>> {
    numbers.map(story).collect()
}

/// The story of payment `number`: every kind of record, of ending and of not ending comes up.
fn story(number: u32) -> Vec<Record> {
    let text = match number % 3 {
        0 => format!("order-{number}"),
        _ => UpstreamId(u128::from(number) << 70 | 7).to_string(),
    };
    let correlation_id = CorrelationId::try_new(&text).unwrap();
    let id = correlation_id.upstream_id();
    let amount = Cents(u64::from(number) * 131 + 1);
    let payment = Payment {
        id,
        correlation_id,
        amount,
    };
    let at = |offset: i64| UnixMillis(WALL.0 - 60_000 + i64::from(number) * 10 + offset);
    tell(number, payment, at)
}

/// What happens to it.
fn tell(number: u32, payment: Payment, at: impl Fn(i64) -> UnixMillis) -> Vec<Record> {
    let Payment { id, amount, .. } = payment;
    let accept = Record::Accept {
        payment,
        accepted_at: at(0),
    };
    let intent = |sent: Sent, accepted_at| Record::Intent {
        payment,
        processor: sent.processor,
        requested_at: sent.requested_at,
        accepted_at,
        address: sent.address,
    };
    let [first, second] =
        [(Processor::DEFAULT, 1), (Processor::FALLBACK, 2)].map(|(processor, offset)| Sent {
            processor,
            requested_at: at(offset),
            address: (offset == 2).then(|| "10.1.2.3:8080".parse().unwrap()),
        });
    let verdict = |verdict| Record::Verdict { id, verdict };
    let charged = |Sent {
                       processor,
                       requested_at,
                       ..
                   }: Sent| {
        verdict(Verdict::Applied {
            processor,
            amount,
            requested_at,
        })
    };
    let processor = first.processor;
    let refused = |fate| verdict(Verdict::Refused { processor, fate });
    let unsent = |fate| verdict(Verdict::NotSent { processor, fate });
    let foreign = Verdict::Foreign {
        processor: second.processor,
        amount,
        requested_at: at(-500),
    };
    match number % 13 {
        0 => vec![intent(first, None), charged(first)],
        1 => vec![accept, intent(first, None), charged(first)],
        2 => vec![intent(first, None)],
        3 => vec![accept],
        4 => vec![
            intent(first, None),
            refused(Fate::Held),
            intent(second, None),
            charged(second),
        ],
        5 => vec![accept, intent(first, None), refused(Fate::Held)],
        6 => vec![intent(first, None), accept, refused(Fate::Ended)],
        7 => vec![intent(first, None), refused(Fate::Freed)],
        8 => vec![
            accept,
            intent(first, None),
            unsent(Fate::Held),
            intent(second, Some(at(0))),
        ],
        9 => vec![accept, intent(second, Some(at(0))), verdict(foreign)],
        10 => vec![accept, verdict(Verdict::Withdrawn)],
        11 => vec![intent(first, None), refused(Fate::Held)],
        _ => vec![intent(first, None), unsent(Fate::Freed)],
    }
}
