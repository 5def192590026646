//! Journals and books that are made for a test: payment `number` has an id, an amount and a time
//! that follow from its number, here as there.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use p99::testing::clock::{Mono, UnixMillis};
use p99::testing::config::JournalSync;
use p99::testing::journal::{self, Haste, JournalSettings, Progress, Record, Verdict};
use p99::testing::payment::{Cents, CoreCount, CorrelationId, Payment, Processor, UpstreamId};
use p99::testing::wire::write_instant;

/// The first payment's time; the others follow by the millisecond.
const FIRST: i64 = 1_752_150_896_000;

/// The columns of [`row`]: as a spreadsheet of this half of the world writes them.
pub(crate) const HEAD: &str = "\u{feff}requestedAt;amount;correlationId;fee\r\n";

/// Ids are well mixed, as UUIDs are.
pub(crate) fn id(number: u64) -> UpstreamId {
    UpstreamId(u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

pub(crate) fn name(number: u64) -> String {
    id(number).to_string()
}

pub(crate) fn at(number: u64) -> UnixMillis {
    UnixMillis(FIRST + i64::try_from(number).unwrap())
}

pub(crate) fn date(at: UnixMillis) -> String {
    let mut out = Vec::new();
    write_instant(at, &mut out);
    String::from_utf8(out).unwrap()
}

fn cents(number: u64) -> u64 {
    1 + number % 10_000
}

/// Payment `number` as the book has it, with the amount of payment `priced`.
pub(crate) fn row(number: u64, priced: u64) -> String {
    let cents = cents(priced);
    let (whole, part) = (cents / 100, cents % 100);
    format!(
        "{};{whole},{part:02};{};0,01\r\n",
        date(at(number)),
        name(number)
    )
}

/// Payment `number`, sent and not answered.
pub(crate) fn open(number: u64, processor: Processor) -> [Record; 1] {
    let id = id(number);
    let payment = Payment {
        id,
        correlation_id: CorrelationId::try_new(&id.to_string()).unwrap(),
        amount: Cents(cents(number)),
    };
    [Record::Intent {
        payment,
        processor,
        requested_at: at(number),
        accepted_at: None,
        address: None,
    }]
}

/// Payment `number`, charged.
pub(crate) fn charge(number: u64, processor: Processor) -> [Record; 2] {
    let [intent] = open(number, processor);
    let verdict = Verdict::Applied {
        processor,
        amount: Cents(cents(number)),
        requested_at: at(number),
    };
    [
        intent,
        Record::Verdict {
            id: id(number),
            verdict,
        },
    ]
}

/// Records in a row.
#[derive(Debug, Default)]
pub(crate) struct Story(Vec<Record>);

impl Story {
    pub(crate) fn extend(&mut self, records: impl IntoIterator<Item = Record>) {
        self.0.extend(records);
    }

    pub(crate) fn purge(&mut self) {
        self.0.push(Record::Purge { at: at(0) });
    }

    pub(crate) fn records(self) -> Vec<Record> {
        self.0
    }
}

/// Starts on the journal of one core in `dir` and appends these.
pub(crate) fn write_journal(
    dir: &Path,
    claims_max: usize,
    records: impl IntoIterator<Item = Record>,
) {
    let settings = JournalSettings {
        claims_max,
        // Seldom: each one reads all claims.
        compact_bytes_min: 256 << 20,
        ..JournalSettings::new(dir.to_owned(), JournalSync::Os, CoreCount(1))
    };
    let mut started = journal::start(&settings, at(0)).unwrap();
    let core = started.cores.remove(0);
    let builder = monoio::RuntimeBuilder::<monoio::FusionDriver>::new();
    let mut runtime = builder.enable_timer().build().unwrap();
    runtime.block_on(async {
        let (writer, task) = core.writer.open().unwrap();
        let durable = Rc::new(Cell::new(0));
        let told = Rc::clone(&durable);
        monoio::spawn(task.run(
            || Mono(0),
            move |progress| match progress {
                Progress::Durable { up_to, .. } => told.set(up_to),
                Progress::Failed(fault) => panic!("{fault}"),
            },
        ));
        for (index, record) in records.into_iter().enumerate() {
            writer.append(&record, Haste::Now);
            // What a busy core has in one batch.
            while index % 1_000 == 999 && durable.get() < writer.last() {
                monoio::time::sleep(Duration::ZERO).await;
            }
        }
        while durable.get() < writer.last() {
            monoio::time::sleep(Duration::ZERO).await;
        }
    });
    drop(started.keeper);
}
