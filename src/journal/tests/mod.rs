//! The journal as its callers see it: files on a disk, one test folder for each question.

mod backup;
mod cores;
mod damage;
mod emptied;
mod guard;
mod live;
mod marks;
mod operators;
mod processors;
mod restored;
mod running;
mod shards;
mod versions;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::replay::{Sent, State};
use super::start::StartReport;
use super::*;
use crate::claims::SettledClaim;
use crate::clock::{Mono, UnixMillis};
use crate::config::JournalSync;
use crate::ledger::Ledger;
use crate::payment::{
    Cents, Configured, CoreCount, CorrelationId, Payment, PerProcessor, Processor, Totals,
    UpstreamId,
};

const WALL: UnixMillis = UnixMillis(1_752_150_896_000);

/// A directory of its own for one test, gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        // A file system in memory where there is one: these tests sync a lot.
        let shared = Path::new("/dev/shm");
        if shared.is_dir() {
            Self::below(shared)
        } else {
            Self::on_disk()
        }
    }

    fn on_disk() -> Self {
        Self::below(&std::env::temp_dir())
    }

    fn below(root: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("p99-journal-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn settings(&self, cores: u16) -> JournalSettings {
        JournalSettings {
            segment_bytes: 8192,
            claims_max: 1_000,
            ..JournalSettings::new(self.0.clone(), JournalSync::Os, CoreCount(cores))
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    // io_uring where the kernel allows it, else epoll.
    let builder = monoio::RuntimeBuilder::<monoio::FusionDriver>::new();
    builder
        .with_entries(256)
        .enable_timer()
        .build()
        .unwrap()
        .block_on(future)
}

/// Appends each batch at once, each record at its owner's core, and waits until all is durable.
fn feed(started: Started, batches: &[Vec<Record>]) {
    let cores = CoreCount(u16::try_from(started.cores.len()).unwrap());
    block_on(async {
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
        for batch in batches {
            for record in batch {
                match record.id() {
                    Some(id) => {
                        writers[id.owner(cores).index()].append(record, Haste::Now);
                    }
                    None => writers.iter().for_each(|writer| {
                        writer.append(record, Haste::Now);
                    }),
                }
            }
            for writer in &writers {
                while writer.durable() < writer.last() {
                    monoio::time::sleep(Duration::from_micros(50)).await;
                }
            }
        }
    });
    drop(started.keeper);
}

/// What a journal says, in a form that two of them can be compared by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    totals: PerProcessor<Totals>,
    pending: BTreeSet<String>,
    settled: BTreeSet<String>,
}

impl Facts {
    fn gather<'a>(
        ledgers: impl Iterator<Item = &'a Ledger>,
        pending: impl Iterator<Item = Pending>,
        settled: impl Iterator<Item = (UpstreamId, SettledClaim)>,
    ) -> Self {
        let mut totals = PerProcessor::<Totals>::default();
        for ledger in ledgers {
            let part = ledger.totals(None, None).unwrap();
            for processor in Processor::ALL {
                totals.get_mut(processor).add(*part.get(processor));
            }
        }
        let one = |one: &Pending| {
            let Pending {
                payment,
                accepted_at,
                open,
                earlier,
                ..
            } = one;
            format!("{payment:?} {accepted_at:?} {open:?} {earlier:?}")
        };
        Self {
            totals,
            pending: pending
                .filter(Pending::is_kept)
                .map(|pending| one(&pending))
                .collect(),
            settled: settled.map(|claim| format!("{claim:?}")).collect(),
        }
    }

    fn of_records<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut state = State::new(1_000, Duration::from_secs(24 * 3600));
        records.into_iter().for_each(|record| state.apply(record));
        Self::of_states(&[state])
    }

    fn of_states(states: &[State]) -> Self {
        Self::gather(
            states.iter().map(|state| &state.ledger),
            states
                .iter()
                .flat_map(|state| state.pending().into_iter().cloned()),
            states.iter().flat_map(State::settled),
        )
    }

    fn of_start(started: &Started) -> Self {
        Self::gather(
            started.cores.iter().map(|core| &core.ledger),
            started
                .cores
                .iter()
                .flat_map(|core| core.pending.iter().cloned()),
            started
                .cores
                .iter()
                .flat_map(|core| core.settled.iter().copied()),
        )
    }

    /// Reads without changing anything.
    fn of_dir(path: &Path) -> Result<Self, JournalFault> {
        let dir = directory::Directory::peek(path);
        let Some(manifest) = dir.manifest()? else {
            return Ok(Self::of_states(&[]));
        };
        let settings = JournalSettings::new(path.to_owned(), JournalSync::Os, CoreCount(1));
        let mut report = StartReport::default();
        start::read_all(&dir, &manifest, &settings, &mut report)
            .map(|states| Self::of_states(&states))
    }
}

/// The story of payment `number`: every kind of ending and of not ending comes up.
fn story(number: u32) -> Vec<Record> {
    let text = match number % 3 {
        0 => format!("order-{number}"),
        _ => UpstreamId(u128::from(number) << 70).to_string(),
    };
    let correlation_id = CorrelationId::try_new(&text).unwrap();
    let id = correlation_id.upstream_id();
    let amount = Cents(u64::from(number) * 7 + 1);
    let payment = Payment {
        id,
        correlation_id,
        amount,
    };
    let at = |offset: i64| UnixMillis(WALL.0 - 60_000 + i64::from(number) * 10 + offset);
    let accept = Record::Accept {
        payment,
        accepted_at: at(0),
    };
    let intent = |sent: Sent| Record::Intent {
        payment,
        processor: sent.processor,
        requested_at: sent.requested_at,
        accepted_at: None,
        address: sent.address,
    };
    let first = Sent {
        processor: Processor::DEFAULT,
        requested_at: at(1),
        address: None,
    };
    let second = Sent {
        processor: Processor::FALLBACK,
        requested_at: at(2),
        address: None,
    };
    let verdict = |verdict| Record::Verdict { id, verdict };
    let applied = |Sent {
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
    let refused = |fate| {
        verdict(Verdict::Refused {
            processor: first.processor,
            fate,
        })
    };
    match number % 8 {
        0 => vec![intent(first), applied(first)],
        1 => vec![accept, intent(first), applied(first)],
        2 => vec![intent(first)],
        3 => vec![accept],
        4 => vec![
            intent(first),
            refused(Fate::Held),
            intent(second),
            applied(second),
        ],
        5 => vec![accept, intent(first), refused(Fate::Held)],
        6 => vec![intent(first), accept, refused(Fate::Ended)],
        _ => vec![intent(first), refused(Fate::Freed)],
    }
}

fn stories(numbers: std::ops::Range<u32>) -> Vec<Vec<Record>> {
    numbers.map(story).collect()
}
