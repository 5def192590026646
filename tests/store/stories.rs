//! Payments' stories in a journal, and what a store must say of them.

use std::path::Path;
use std::time::Duration;

use p99::testing::clock::{Mono, UnixMillis};
use p99::testing::config::JournalSync;
use p99::testing::journal::{
    self, Fate, Haste, JournalSettings, Progress, Record, Started, Verdict,
};
use p99::testing::payment::{Cents, CoreCount, CorrelationId, Payment, Processor, UpstreamId};
use p99::testing::reactor::Reactor;

pub(crate) const A: Processor = Processor::DEFAULT;
const B: Processor = Processor::FALLBACK;
const CORES: CoreCount = CoreCount(2);
pub(crate) const WALL: UnixMillis = UnixMillis(1_752_150_896_000);
/// What the store must say of an id: cents, at, status, processor, first_sent, accepted_at.
pub(crate) type Facts = (u64, i64, i16, Option<Processor>, Option<i64>, Option<i64>);

fn payment(number: u32) -> Payment {
    let text = match number % 3 {
        0 => format!("order-{number}"),
        _ => {
            let spread = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced;
            UpstreamId(u128::from(number).wrapping_mul(spread)).to_string()
        }
    };
    let correlation_id = CorrelationId::try_new(&text).unwrap();
    Payment {
        id: correlation_id.upstream_id(),
        correlation_id,
        amount: Cents(u64::from(number) + 1),
    }
}

/// Payment `number`: its records, and what they come to.
pub(crate) fn story(number: u32) -> (UpstreamId, Vec<Record>, Option<Facts>) {
    let payment = payment(number);
    let Payment { id, amount, .. } = payment;
    let began = WALL.0 - 60_000 + i64::from(number) * 10;
    let at = |offset: i64| UnixMillis(began + offset);
    let accept = Record::Accept {
        payment,
        accepted_at: at(0),
    };
    let intent = |processor, offset| Record::Intent {
        payment,
        processor,
        requested_at: at(offset),
        accepted_at: None,
        address: Some("10.1.2.3:8080".parse().unwrap()),
    };
    let ends = |verdict| Record::Verdict { id, verdict };
    let refused = |fate| ends(Verdict::Refused { processor: A, fate });
    let applied = ends(Verdict::Applied {
        processor: A,
        amount,
        requested_at: at(1),
    });
    let foreign = ends(Verdict::Foreign {
        processor: A,
        amount,
        requested_at: at(3),
    });
    let (cents, first) = (amount.0, Some(began + 1));
    let facts = |offset, status, processor, first, accepted| {
        Some((cents, began + offset, status, processor, first, accepted))
    };
    let (records, facts) = match number % 10 {
        0 => (vec![intent(A, 1)], facts(1, 0, Some(A), first, None)),
        1 => (
            vec![accept, intent(A, 1)],
            facts(1, 1, Some(A), first, Some(began)),
        ),
        2 => (vec![accept], facts(0, 1, None, None, Some(began))),
        3 => (
            vec![accept, intent(A, 1), refused(Fate::Ended)],
            Some((cents, 0, 5, Some(A), None, None)),
        ),
        4 => (
            vec![intent(A, 1), foreign],
            facts(3, 4, Some(A), Some(began + 3), None),
        ),
        5 => (vec![intent(A, 1), refused(Fate::Freed)], None),
        6 => (
            vec![intent(A, 1), refused(Fate::Held), intent(B, 2)],
            facts(2, 0, Some(B), first, None),
        ),
        7 => (
            vec![accept, intent(A, 1), applied],
            facts(1, 3, Some(A), first, None),
        ),
        _ => (
            vec![intent(A, 1), applied],
            facts(1, 2, Some(A), first, None),
        ),
    };
    (id, records, facts)
}

pub(crate) fn settings(dir: &Path) -> JournalSettings {
    JournalSettings::new(dir.to_owned(), JournalSync::Os, CORES)
}

/// A journal of these records in `dir`.
pub(crate) fn write(dir: &Path, records: &[Record]) {
    let Started {
        cores: all, keeper, ..
    } = journal::start(&settings(dir), WALL).unwrap();
    Reactor::best().unwrap().run(async {
        let mut writers = Vec::new();
        for core in all {
            let (writer, task) = core.writer.open().unwrap();
            let durable =
                |progress| assert!(matches!(progress, Progress::Durable { .. }), "{progress:?}");
            monoio::spawn(task.run(|| Mono(0), durable));
            writers.push(writer);
        }
        for record in records {
            let owner = record.id().unwrap().owner(CORES);
            writers[owner.index()].append(record, Haste::Later);
        }
        for writer in &writers {
            writer.flush();
            while writer.durable() < writer.last() {
                monoio::time::sleep(Duration::from_micros(200)).await;
            }
        }
    });
    drop(keeper);
}
