//! The external merge sort: entries come in any order and in any number, and go out in the order of
//! their bytes. In memory are one buffer, or one small reader for each sorted run (I8); the runs
//! are files without a name, for the owner alone, gone with the process.

use crate::reconcile::RECONCILE_READ_BYTES;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::entry::{BYTES, Packed};
use crate::keys;

/// Sorted files that are merged at the end, each with a reader of RECONCILE_READ_BYTES: 4 MiB. More
/// are merged in two rounds.
const RECONCILE_RUNS_MAX: usize = 64;
/// So many sorted files that were merged equally often become one: 200 million entries are in at
/// most 30 files.
const RECONCILE_RUNS_MERGED: usize = 16;

/// Takes entries.
#[derive(Debug)]
pub(super) struct Sorter {
    /// Where runs are written.
    dir: PathBuf,
    buffer: Vec<Packed>,
    entries_max: usize,
    runs: Vec<Run>,
    /// Runs before this one are behind a mark, and stay as they are.
    marked: usize,
}

/// A sorted file.
#[derive(Debug)]
struct Run {
    file: File,
    /// How often its entries were merged.
    level: u32,
}

impl Sorter {
    /// One that sorts `entries_max` entries at a time.
    pub(super) fn new(dir: &Path, entries_max: usize) -> Self {
        Self {
            dir: dir.to_owned(),
            buffer: Vec::new(),
            entries_max: entries_max.max(1),
            runs: Vec::new(),
            marked: 0,
        }
    }

    pub(super) fn push(&mut self, entry: Packed) -> io::Result<()> {
        if self.buffer.len() == self.entries_max {
            self.spill()?;
        }
        // Exactly what is needed: growing by doubling would hold the old buffer beside the new.
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(self.entries_max);
        }
        self.buffer.push(entry);
        Ok(())
    }

    /// How far it is: what comes later can be taken back.
    pub(super) fn mark(&mut self) -> io::Result<usize> {
        self.spill()?;
        self.marked = self.runs.len();
        Ok(self.marked)
    }

    /// Forgets all that came since the mark.
    pub(super) fn rewind(&mut self, mark: usize) {
        self.buffer.clear();
        self.runs.truncate(mark);
        self.marked = mark;
    }

    /// All entries in order.
    pub(super) fn finish(mut self) -> io::Result<Merge> {
        self.spill()?;
        // Its room is what the readers need.
        self.buffer = Vec::new();
        while self.runs.len() > RECONCILE_RUNS_MAX {
            let some = self.runs.drain(..RECONCILE_RUNS_MAX).collect();
            let merged = self.merge(some)?;
            self.runs.push(merged);
        }
        Merge::new(self.runs)
    }

    /// One file of several.
    fn merge(&self, some: Vec<Run>) -> io::Result<Run> {
        let level = some.iter().map(|run| run.level).max().unwrap_or(0) + 1;
        let mut file = BufWriter::new(temporary(&self.dir)?);
        let mut merge = Merge::new(some)?;
        while let Some(entry) = merge.next()? {
            file.write_all(&entry)?;
        }
        let file = file.into_inner()?;
        Ok(Run { file, level })
    }

    /// Merges the last files while enough of them were merged equally often: each is an open
    /// descriptor, and so each entry is written anew once for each level only.
    fn merge_last(&mut self) -> io::Result<()> {
        while let Some(start) = self.runs.len().checked_sub(RECONCILE_RUNS_MERGED) {
            let last = self.runs.get(start..).unwrap_or_default();
            let level = last.last().map(|run| run.level);
            if start < self.marked || last.iter().any(|run| Some(run.level) != level) {
                return Ok(());
            }
            let last = self.runs.split_off(start);
            let merged = self.merge(last)?;
            self.runs.push(merged);
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.buffer.sort_unstable();
        let mut file = BufWriter::new(temporary(&self.dir)?);
        for entry in &self.buffer {
            file.write_all(entry)?;
        }
        let file = file.into_inner()?;
        self.runs.push(Run { file, level: 0 });
        self.buffer.clear();
        self.merge_last()
    }
}

/// Reads sorted runs as one.
#[derive(Debug)]
pub(super) struct Merge {
    runs: Vec<BufReader<File>>,
    heads: BinaryHeap<Reverse<(Packed, usize)>>,
}

impl Merge {
    fn new(runs: Vec<Run>) -> io::Result<Self> {
        let mut merge = Self {
            runs: Vec::new(),
            heads: BinaryHeap::new(),
        };
        for Run { mut file, .. } in runs {
            file.rewind()?;
            merge
                .runs
                .push(BufReader::with_capacity(RECONCILE_READ_BYTES, file));
        }
        (0..merge.runs.len()).try_for_each(|index| merge.refill(index))?;
        Ok(merge)
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Packed>> {
        let Some(Reverse((entry, index))) = self.heads.pop() else {
            return Ok(None);
        };
        self.refill(index)?;
        Ok(Some(entry))
    }

    fn refill(&mut self, index: usize) -> io::Result<()> {
        let Some(run) = self.runs.get_mut(index) else {
            return Ok(());
        };
        let mut entry = [0; BYTES];
        match run.read_exact(&mut entry) {
            Ok(()) => self.heads.push(Reverse((entry, index))),
            // Runs hold whole entries only.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// A file that no one else can open: its name is gone at once.
fn temporary(dir: &Path) -> io::Result<File> {
    let path = dir.join(format!("p99-reconcile-{:016x}", keys::unlike_all()));
    let named = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("temporary file {}: {error}", path.display()),
        )
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(named)?;
    fs::remove_file(&path).map_err(named)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64) -> Packed {
        // Scattered, each once.
        let mut entry = [0; BYTES];
        entry[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        entry[8..16].copy_from_slice(&number.to_be_bytes());
        entry
    }

    fn drain(sorter: Sorter) -> Vec<Packed> {
        let mut merge = sorter.finish().unwrap();
        std::iter::from_fn(|| merge.next().unwrap()).collect()
    }

    #[test]
    fn any_number_of_runs_comes_out_in_order() {
        // None, less than a buffer, a buffer, several runs, and more runs than are merged at once.
        for count in [0, 3, 8, 9, 100, 8 * RECONCILE_RUNS_MAX as u64 + 50] {
            let mut sorter = Sorter::new(&std::env::temp_dir(), 8);
            (0..count).for_each(|number| sorter.push(entry(number)).unwrap());
            let mut expected: Vec<Packed> = (0..count).map(entry).collect();
            expected.sort_unstable();
            assert_eq!(drain(sorter), expected, "{count}");
        }
    }

    #[test]
    fn however_many_there_are_few_files_are_open() {
        let mut sorter = Sorter::new(&std::env::temp_dir(), 1);
        for number in 0..5_000 {
            sorter.push(entry(number)).unwrap();
            assert!(sorter.runs.len() <= 64, "{number}");
        }
    }

    #[test]
    fn what_came_since_a_mark_is_taken_back() {
        let mut sorter = Sorter::new(&std::env::temp_dir(), 4);
        (0..6).for_each(|number| sorter.push(entry(number)).unwrap());
        let mark = sorter.mark().unwrap();
        // Merged more than once, beyond the mark alone.
        (6..3_000).for_each(|number| sorter.push(entry(number)).unwrap());
        sorter.rewind(mark);
        sorter.push(entry(30)).unwrap();
        let mut expected: Vec<Packed> = (0..6).chain([30]).map(entry).collect();
        expected.sort_unstable();
        assert_eq!(drain(sorter), expected);
    }

    #[test]
    fn a_folder_that_takes_no_file_is_named() {
        let mut sorter = Sorter::new(Path::new("/proc/nowhere"), 1);
        sorter.push(entry(1)).unwrap();
        let fault = sorter.push(entry(2)).unwrap_err();
        assert!(fault.to_string().contains("/proc/nowhere"), "{fault}");
    }
}
