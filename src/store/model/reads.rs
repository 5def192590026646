//! What is read behind a batch.

use super::{Model, ModelRow, ModelWriter};
use crate::limits;
use crate::store::batch::Batch;
use crate::store::exchange::{Reading, Reads};
use crate::store::page::PageFrom;
use crate::store::record::{Row, WriterId};

impl Model {
    pub(super) fn seen(&self, model: &ModelRow, now: u64) -> Row {
        let writer = self.writers.get(&model.row.writer);
        Row {
            writer_epoch: writer.map_or(model.row.epoch, |writer| writer.epoch),
            writer_batch: writer.map_or(0, |writer| writer.batch),
            writer_whole: writer.map_or(0, |writer| writer.whole),
            is_expired: writer.is_none_or(|writer| writer.lease_until < now),
            ..model.row
        }
    }

    pub(super) fn read(&self, batch: &Batch, reads: &Reads, now: u64) -> Reading {
        let found = reads.rows.iter().filter_map(|id| self.rows.get(id));
        let words = |row: &ModelWriter| format!("epoch {}", row.epoch.0);
        let holder = |one: &WriterId| self.writers.get(one).map(words);
        let mut reading = Reading {
            rows: found.map(|row| self.seen(row, now)).collect(),
            sums: reads.sums.iter().map(|one| self.sum(*one, now)).collect(),
            open: Vec::from_iter(reads.open.then(|| self.open(now)).into_iter().flatten()),
            holders: reads.holders.iter().map(holder).collect(),
            purges: reads.purges.then_some(self.purges),
            ..Reading::default()
        };
        if reads.expired {
            let expired = self.writers.iter().filter(|(writer, row)| {
                let lingers = self.lingering.iter().any(|(other, _)| other == *writer);
                row.lease_until < now && (row.open_since.is_some() || lingers)
            });
            reading.expired = expired.map(|(writer, row)| (*writer, row.epoch)).collect();
        }
        if let Some(from) = reads.page {
            self.page(batch.writer, from, now, &mut reading);
        }
        reading
    }

    fn page(&self, writer: WriterId, from: PageFrom, now: u64, reading: &mut Reading) {
        let open = self
            .rows
            .values()
            .filter(|row| row.row.writer == writer && row.row.status.is_open());
        let mut open: Vec<Row> = open.map(|row| self.seen(row, now)).collect();
        match from {
            PageFrom::Lingering(id) => {
                open.retain(|row| row.id >= id && self.lingering.contains(&(writer, row.id)));
                open.sort_by_key(|row| row.id);
            }
            PageFrom::Place(at, id) => {
                open.retain(|row| (row.at, row.id) >= (at, id));
                open.sort_by_key(|row| (row.at, row.id));
            }
        }
        let most = usize::try_from(limits::STORE_PAGE_ROWS).unwrap_or(usize::MAX);
        reading.is_last_page = open.len() <= most;
        open.truncate(most);
        reading.page = open;
    }
}
