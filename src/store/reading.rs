//! A transaction's answer out of what its statements returned. Pure; a row that is not as its
//! statement says is a fault of the connection, but for one that a question is about.

use super::batch::Batch;
use super::exchange::{Adoption, Answer, OpenAt, Reading, Reads, SumReading, Swept, Transaction};
use super::messages::{Fields, Misread, Output};
use super::parts::Parts;
use super::record::{Epoch, Row, RowStatus, WriterId};
use super::script::PURGE;
use crate::clock::UnixMillis;
use crate::limits;
use crate::payment::{Cents, CorrelationId, Processor, Totals, UpstreamId};

/// Whether the store registers no writer yet.
pub(super) fn is_importing(transaction: &Transaction, outputs: &[Output]) -> bool {
    let is_registration = matches!(transaction, Transaction::Register { .. });
    is_registration && outputs.get(1).is_some_and(|output| output.count == 0)
}

/// Whether it registers only writers of other processors.
pub(super) fn is_elsewhere(transaction: &Transaction, outputs: &[Output]) -> bool {
    let is_registration = matches!(transaction, Transaction::Register { .. });
    is_registration && outputs.get(2).is_some_and(|output| output.rows.is_empty())
}

/// What the statements of `transaction` returned, without BEGIN's and COMMIT's.
pub(super) fn answer(transaction: &Transaction, outputs: Vec<Output>) -> Result<Answer, Misread> {
    let mut outputs = outputs.into_iter().skip(1);
    let mut next = || outputs.next().ok_or(Misread);
    match transaction {
        Transaction::Register { .. } => {
            next()?;
            let mut row = next()?.rows.into_iter().next().ok_or(Misread)?;
            Ok(Answer::Registered {
                writer: WriterId(row.int4()?),
                epoch: Epoch(row.int8()?),
            })
        }
        Transaction::Batch { batch, reads } => batch_answer(batch, reads, &mut next),
        Transaction::Resolve { .. } => {
            let number = match next()?.rows.into_iter().next() {
                Some(mut row) => Some(row.int8()?),
                None => None,
            };
            let mine = id_rows(next()?)?;
            Ok(Answer::Resolved { number, mine })
        }
        Transaction::Sweep(sweep) => {
            let is_ours = next()?.count == 1;
            if sweep.cut.is_some() {
                next()?;
            }
            let forgotten = if sweep.forgets { next()?.count } else { 0 };
            let mut outputs = Vec::from_iter(std::iter::from_fn(|| next().ok()));
            // COMMIT's is the last one.
            outputs.pop();
            let standing = outputs.pop().and_then(|one| one.rows.into_iter().next());
            let Some(mut row) = standing.filter(|_| is_ours) else {
                return Ok(Answer::Swept(None));
            };
            Ok(Answer::Swept(Some(Swept {
                now: row.int8()?,
                cut: row.int8()?,
                forgotten,
                dead: row
                    .maybe_int8()?
                    .and_then(|one| i32::try_from(one).ok())
                    .map(WriterId),
            })))
        }
        Transaction::Adopt { writer, nonce, .. } => {
            let Some(mut row) = next()?.rows.into_iter().next() else {
                return Ok(Answer::Adopted(None));
            };
            Ok(Answer::Adopted(Some(Adoption {
                writer: *writer,
                epoch: Epoch(row.int8()?),
                number: row.int8()?,
                nonce: *nonce,
                open_since: row.maybe_int8()?,
            })))
        }
    }
}

fn id_rows(output: Output) -> Result<Vec<UpstreamId>, Misread> {
    let rows = output.rows.into_iter();
    rows.map(|mut row| row.uuid().map(UpstreamId)).collect()
}

fn batch_answer(
    batch: &Batch,
    reads: &Reads,
    next: &mut dyn FnMut() -> Result<Output, Misread>,
) -> Result<Answer, Misread> {
    let held = next()?.count == 1;
    let (mut freed, mut updated, mut won) = (0, 0, Vec::new());
    if !batch.freed.is_empty() {
        freed = next()?.count;
    }
    if !batch.claims.is_empty() {
        won = id_rows(next()?)?;
    }
    if !batch.updates.is_empty() {
        updated = next()?.count;
    }
    let silent = [
        !batch.counted().is_empty(),
        !batch.lingering.is_empty(),
        !batch.relieved.is_empty(),
        !batch.sums.is_empty(),
    ];
    let silent = silent.into_iter().filter(|is_there| *is_there).count();
    let purge = if batch.is_purge { PURGE.len() } else { 0 };
    for _ in 0..silent + purge {
        next()?;
    }
    Ok(Answer::Batch {
        held,
        freed,
        updated,
        won,
        reading: reading(reads, next)?,
    })
}

fn reading(
    reads: &Reads,
    next: &mut dyn FnMut() -> Result<Output, Misread>,
) -> Result<Reading, Misread> {
    let mut reading = Reading::default();
    if !reads.rows.is_empty() {
        for fields in next()?.rows {
            let (id, row) = id_and_row(fields)?;
            match row {
                Ok(row) => reading.rows.push(row),
                // A row that an operator changed ends no connection: it would be asked for on
                // the next one again, and nothing that rides with it would be written.
                Err(Misread) => reading.unreadable.push((id, not_ours(id))),
            }
        }
    }
    if reads.open {
        reading.open = open(next()?)?;
    }
    for window in &reads.sums {
        let mut sums = SumReading {
            open: open(next()?)?,
            ..SumReading::default()
        };
        let parts = Parts::of(*window);
        for _ in parts.whole.iter().flatten() {
            add(next()?, &mut sums)?;
        }
        for _ in parts.edges.iter().flatten() {
            add(next()?, &mut sums)?;
            let mut row = next()?.rows.into_iter().next().ok_or(Misread)?;
            let boundary = UnixMillis(row.int8()?);
            if row.int4()? != 0 {
                sums.cut = Some(boundary);
            }
        }
        reading.sums.push(sums);
    }
    for _ in &reads.holders {
        let row = next()?.rows.into_iter().next();
        let holder = row.map(|mut row| row.text()?.ok_or(Misread));
        reading.holders.push(holder.transpose()?);
    }
    if reads.expired {
        let expired = next()?.rows.into_iter();
        let expired = expired.map(|mut row| Ok((WriterId(row.int4()?), Epoch(row.int8()?))));
        reading.expired = expired.collect::<Result<_, Misread>>()?;
    }
    if reads.page.is_some() {
        let page = next()?.rows;
        let most = usize::try_from(limits::STORE_PAGE_ROWS).unwrap_or(usize::MAX);
        reading.is_last_page = page.len() <= most;
        for fields in page.into_iter().take(most) {
            match id_and_row(fields)? {
                (_, Ok(row)) => reading.page.push(row),
                (id, Err(Misread)) => reading.unreadable.push((id, not_ours(id))),
            }
        }
    }
    if reads.purges {
        let mut row = next()?.rows.into_iter().next().ok_or(Misread)?;
        reading.purges = Some(row.int8()?);
    }
    Ok(reading)
}

fn processor(number: Option<i16>) -> Result<Option<Processor>, Misread> {
    let Some(number) = number else {
        return Ok(None);
    };
    let index = usize::try_from(number).map_err(|_| Misread)?;
    Processor::of_index(index).map(Some).ok_or(Misread)
}

fn add(output: Output, sums: &mut SumReading) -> Result<(), Misread> {
    for mut row in output.rows {
        let processor = processor(row.int2()?)?.ok_or(Misread)?;
        let count = u64::try_from(row.int8()?).map_err(|_| Misread)?;
        let cents = row.text()?.and_then(|text| text.parse().ok());
        sums.charged.get_mut(processor).add(Totals {
            count,
            cents: cents.ok_or(Misread)?,
        });
    }
    Ok(())
}

fn open(output: Output) -> Result<Vec<OpenAt>, Misread> {
    output.rows.into_iter().map(open_at).collect()
}

fn open_at(mut row: Fields) -> Result<OpenAt, Misread> {
    Ok(OpenAt {
        writer: WriterId(row.int4()?),
        batch: row.int8()?,
        whole: row.int8()?,
        count: u64::try_from(row.int8()?).map_err(|_| Misread)?,
        is_unheard: row.int4()? != 0,
    })
}

fn not_ours(id: UpstreamId) -> String {
    format!("the row of {id} is not as p99 writes it")
}

fn id_and_row(mut fields: Fields) -> Result<(UpstreamId, Result<Row, Misread>), Misread> {
    let id = UpstreamId(fields.uuid()?);
    Ok((id, row(id, fields)))
}

fn row(id: UpstreamId, mut row: Fields) -> Result<Row, Misread> {
    let amount = Cents(u64::try_from(row.int8()?).map_err(|_| Misread)?);
    let at = UnixMillis(row.int8()?);
    let accepted_at = row.maybe_int8()?.map(UnixMillis);
    let epoch = Epoch(row.int8()?);
    let writer = WriterId(row.int4()?);
    let processor = processor(row.int2()?)?;
    let status = row.int2()?.and_then(RowStatus::of_number).ok_or(Misread)?;
    let spelling = row.text()?.unwrap_or_else(|| id.to_string());
    let address = match row.text()? {
        Some(text) => Some(text.parse().map_err(|_| Misread)?),
        None => None,
    };
    Ok(Row {
        id,
        correlation_id: CorrelationId::try_new(&spelling).map_err(|_| Misread)?,
        amount,
        status,
        processor,
        at,
        first_sent: row.maybe_int8()?.map(UnixMillis),
        accepted_at,
        address,
        writer,
        epoch,
        writer_epoch: Epoch(row.int8()?),
        writer_batch: row.int8()?,
        writer_whole: row.int8()?,
        is_expired: row.int4()? != 0,
    })
}
