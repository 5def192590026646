//! One reconciliation from its beginning to its end: the books are read first, then the journals,
//! then both are sorted and joined. In this order a payment that is charged meanwhile is at least
//! pending here, since its Intent is durable before its bytes leave (I5): it is never called
//! missing.

use std::io;
use std::path::PathBuf;

use super::book::{self, Place};
use super::entry::{Entry, Said};
use super::fault::ReconcileFault;
use super::join::{Difference, Join, Tally, Terms};
use super::known;
use super::row::{BookFault, Bounds};
use super::sort::Sorter;
use super::web::Access;
use crate::clock::UnixMillis;
use crate::journal::account::{self, AccountFault, CoreAccount, Told, Word};
use crate::limits;
use crate::payment::{PerProcessor, Processor};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Journal directories: one, or those of all shards.
    pub journals: Vec<PathBuf>,
    /// The books; several of one processor are read as one.
    pub books: Vec<(Processor, Place)>,
    /// What goes with a request to a processor.
    pub access: PerProcessor<Access>,
    /// The first `requestedAt` that is compared.
    pub from: Option<UnixMillis>,
    /// The last one.
    pub to: Option<UnixMillis>,
    /// Where files for sorting go.
    pub temporary: PathBuf,
    /// How many entries are sorted at a time; [`limits::RECONCILE_ENTRIES_MAX`] but in tests.
    pub entries_max: usize,
    /// How far a book is read.
    pub bounds: Bounds,
}

/// Which words of the journals a purge made void: those in the range that settled a payment.
type Purged = Vec<std::ops::Range<u64>>;

/// Compares, and hands each difference to `each` in the order of the ids.
///
/// # Errors
/// Why it could not be done; what was handed on until then is not all.
pub fn reconcile(
    request: &Request,
    each: &mut impl FnMut(&Difference) -> io::Result<()>,
) -> Result<Tally, ReconcileFault> {
    let mut sorter = Sorter::new(&request.temporary, request.entries_max);
    let mut books = PerProcessor::default();
    for (processor, place) in &request.books {
        *books.get_mut(*processor) = true;
        read_book(request, (*processor, place), &mut sorter)?;
    }
    let mut order = 0;
    let mut purged = Purged::new();
    for dir in &request.journals {
        let cores = read_journal(request, dir, (&mut sorter, order))?;
        demand_ids(request, dir, &cores)?;
        for core in cores {
            if core.purged > 0 {
                purged.push(order..order + core.purged);
            }
            order += core.words;
        }
    }
    let mut join = Join::new(Terms {
        books,
        from: request.from,
        to: request.to,
    });
    let mut merge = sorter.finish().map_err(ReconcileFault::Sort)?;
    while let Some(packed) = merge.next().map_err(ReconcileFault::Sort)? {
        // Nothing else was pushed.
        let Some(mut entry) = Entry::unpack(&packed) else {
            continue;
        };
        let is_settled = matches!(entry.said, Said::Charged | Said::Foreign | Said::Refused);
        if is_settled && purged.iter().any(|range| range.contains(&entry.order)) {
            // Forgotten, and not pending either.
            entry.said = Said::Ended;
        }
        join.take(entry, each).map_err(ReconcileFault::Output)?;
    }
    join.finish(each).map_err(ReconcileFault::Output)?;
    Ok(join.tally)
}

fn read_book(
    request: &Request,
    (processor, place): (Processor, &Place),
    sorter: &mut Sorter,
) -> Result<(), ReconcileFault> {
    let access = request.access.get(processor);
    let window = (request.from, request.to);
    let read = book::read(place, access, window, request.bounds, &mut |row| {
        let entry = Entry {
            id: row.id,
            said: Said::Booked,
            order: row.line,
            processor: Some(processor),
            amount: row.amount,
            at: row.at,
        };
        sorter.push(entry.pack())
    });
    read.map_err(|fault| match fault {
        BookFault::Taker(error) => ReconcileFault::Sort(error),
        fault @ (BookFault::Io(_)
        | BookFault::Answer(_)
        | BookFault::TooLong(_)
        | BookFault::Lines { .. }) => ReconcileFault::Book {
            processor,
            place: place.clone(),
            fault,
        },
    })
}

fn read_journal(
    request: &Request,
    dir: &std::path::Path,
    (sorter, before): (&mut Sorter, u64),
) -> Result<Vec<CoreAccount>, ReconcileFault> {
    let mark = sorter.mark().map_err(ReconcileFault::Sort)?;
    let mut seen = None;
    for _ in 0..limits::RECONCILE_READINGS_MAX {
        sorter.rewind(mark);
        let mut order = before;
        let window = (request.from, request.to);
        let told = account::account(dir, window, &mut |told| {
            let entry = entry_of(&told, order);
            order += 1;
            sorter.push(entry.pack())
        });
        match told {
            Ok(cores) => return Ok(cores),
            Err(AccountFault::Replaced) => {}
            Err(AccountFault::Journal(fault)) => match fault.damaged_at() {
                place @ Some(_) if place != seen => seen = place,
                Some(_) | None => return Err(ReconcileFault::Journal(fault)),
            },
            Err(AccountFault::Cut(boundary)) => return Err(ReconcileFault::Cut(boundary)),
            Err(AccountFault::Taker(error)) => return Err(ReconcileFault::Sort(error)),
        }
    }
    Err(ReconcileFault::Replaced)
}

fn entry_of(told: &Told, order: u64) -> Entry {
    Entry {
        id: told.id,
        said: match told.word {
            Word::Charged => Said::Charged,
            Word::Foreign => Said::Foreign,
            Word::Refused => Said::Refused,
            Word::Open => Said::Open,
            Word::Ended => Said::Ended,
        },
        order,
        processor: told.processor,
        amount: told.amount,
        at: told.at,
    }
}

/// A window is compared only when the journal knows every charge of it by its id.
fn demand_ids(
    request: &Request,
    dir: &std::path::Path,
    cores: &[CoreAccount],
) -> Result<(), ReconcileFault> {
    for processor in Processor::ALL {
        let forgotten = account::forgotten(cores, processor);
        if forgotten.count > 0 {
            // The youngest of the cores' oldest; often all are known from there on.
            let oldest = cores.iter().filter_map(|core| core.oldest).max();
            let window = (request.from, request.to);
            return Err(ReconcileFault::Forgotten {
                processor,
                payments: forgotten,
                known_from: oldest.and_then(|oldest| known::from_when(dir, window, oldest)),
            });
        }
    }
    Ok(())
}
