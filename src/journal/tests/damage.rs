//! Cut at every byte, flipped at every byte: never a panic, never a wrong total.

use super::super::fault::Damage;
use super::super::frame::{FILE_HEAD_BYTES, HEAD_BYTES};
use super::super::operator;
use super::*;

/// One core's journal with a few batches, and the facts after each record.
struct Sample {
    scratch: Scratch,
    segment: PathBuf,
    snapshot: PathBuf,
    /// Where each record ends in the segment, the header's end first, with the facts up to there.
    prefixes: Vec<(usize, Facts)>,
}

impl Sample {
    fn new() -> Self {
        let scratch = Scratch::new();
        // The first epoch gives the snapshot of the second one something to hold.
        let before = stories(100..108);
        feed(start(&scratch.settings(1), WALL).unwrap(), &before);
        let batches = stories(0..8);
        feed(start(&scratch.settings(1), WALL).unwrap(), &batches);
        let mut records: Vec<Record> = before.concat();
        let mut prefixes = vec![(FILE_HEAD_BYTES, Facts::of_records(&records))];
        let mut end = FILE_HEAD_BYTES;
        for record in batches.concat() {
            let mut payload = Vec::new();
            record.encode(&mut payload);
            end += HEAD_BYTES + payload.len() + 1;
            records.push(record);
            prefixes.push((end, Facts::of_records(&records)));
        }
        let segment = scratch.0.join("00000002-000-000000.segment");
        let snapshot = scratch.0.join("00000002-000-000000.snapshot");
        Self {
            scratch,
            segment,
            snapshot,
            prefixes,
        }
    }

    fn end(&self) -> usize {
        self.prefixes.last().unwrap().0
    }

    fn whole(&self) -> &Facts {
        &self.prefixes.last().unwrap().1
    }

    fn read(&self) -> Result<Facts, JournalFault> {
        Facts::of_dir(&self.scratch.0)
    }

    /// A copy of the directory in which the file at `path` holds `bytes`.
    fn copy_with(&self, path: &Path, bytes: &[u8]) -> Scratch {
        let copy = Scratch::new();
        for name in [
            self.segment.as_path(),
            &self.snapshot,
            Path::new("MANIFEST"),
        ] {
            let from = self.scratch.0.join(name);
            let to = copy.0.join(from.file_name().unwrap());
            if from == path {
                fs::write(to, bytes).unwrap();
            } else {
                fs::copy(from, to).unwrap();
            }
        }
        copy
    }
}

#[test]
fn cut_at_any_byte_a_segment_reads_as_the_records_before_it() {
    let sample = Sample::new();
    assert_eq!(sample.read().unwrap(), *sample.whole());
    let bytes = fs::read(&sample.segment).unwrap();
    for cut in FILE_HEAD_BYTES..=sample.end() + 1 {
        let whole_records = sample.prefixes.iter().rev().find(|(end, _)| *end <= cut);
        let (_, expected) = whole_records.unwrap_or(&sample.prefixes[0]);
        // A shorter file, and a file whose later sectors were never written.
        fs::write(&sample.segment, &bytes[..cut]).unwrap();
        assert_eq!(sample.read().unwrap(), *expected, "cut at {cut}");
        let mut zeroed = bytes[..cut].to_vec();
        zeroed.resize(bytes.len(), 0);
        fs::write(&sample.segment, &zeroed).unwrap();
        assert_eq!(sample.read().unwrap(), *expected, "zeros from {cut}");
    }
}

#[test]
fn a_flipped_byte_in_a_segment_is_refused_with_file_and_offset() {
    let sample = Sample::new();
    let bytes = fs::read(&sample.segment).unwrap();
    for place in 0..sample.end() + 40 {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << (place % 8);
        fs::write(&sample.segment, &flipped).unwrap();
        match sample.read() {
            Err(JournalFault::Damaged { path, offset, .. }) => {
                assert_eq!(path, sample.segment);
                assert!(offset <= place as u64, "{place}: {offset}");
            }
            Err(other) => panic!("{place}: {other}"),
            // Behind the records there is nothing to lose.
            Ok(facts) => {
                assert!(place >= sample.end(), "{place} went unnoticed");
                assert_eq!(facts, *sample.whole());
            }
        }
    }
}

#[test]
fn a_flipped_or_missing_byte_in_a_snapshot_or_the_manifest_is_refused() {
    let sample = Sample::new();
    for path in [sample.snapshot.clone(), sample.scratch.0.join("MANIFEST")] {
        let bytes = fs::read(&path).unwrap();
        for place in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 0x20;
            fs::write(&path, &flipped).unwrap();
            assert!(
                matches!(sample.read(), Err(JournalFault::Damaged { .. })),
                "{place}"
            );
            fs::write(&path, &bytes[..place]).unwrap();
            assert!(
                matches!(sample.read(), Err(JournalFault::Damaged { .. })),
                "{place}"
            );
        }
        fs::write(&path, &bytes).unwrap();
    }
    assert_eq!(sample.read().unwrap(), *sample.whole());
}

#[test]
fn a_missing_file_is_refused_by_name() {
    let sample = Sample::new();
    for path in [sample.snapshot.clone(), sample.scratch.0.join("MANIFEST")] {
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        match sample.read() {
            Err(JournalFault::Missing { path: named }) => assert_eq!(named, path),
            other => panic!("{other:?}"),
        }
        fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn a_tear_before_a_segment_with_records_is_damage() {
    let scratch = Scratch::new();
    let settings = JournalSettings {
        segment_bytes: 600,
        ..scratch.settings(1)
    };
    feed(start(&settings, WALL).unwrap(), &stories(0..16));
    let first = scratch.0.join("00000001-000-000000.segment");
    assert!(scratch.0.join("00000001-000-000002.segment").exists());
    let bytes = fs::read(&first).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    fs::write(&first, &bytes[..end - 3]).unwrap();
    match Facts::of_dir(&scratch.0) {
        Err(JournalFault::Damaged {
            path,
            what: Damage::Record,
            ..
        }) => assert_eq!(path, first),
        other => panic!("{other:?}"),
    }
    // Without the records that were cut off, the next segment does not follow.
    fs::write(&first, &bytes[..FILE_HEAD_BYTES]).unwrap();
    assert!(matches!(
        Facts::of_dir(&scratch.0),
        Err(JournalFault::Damaged {
            what: Damage::Order,
            ..
        })
    ));
    fs::remove_file(&first).unwrap();
    assert!(matches!(
        Facts::of_dir(&scratch.0),
        Err(JournalFault::Missing { .. })
    ));
}

/// A stop, or a crash, in the middle of preparing a segment.
#[test]
fn a_segment_that_was_not_prepared_to_its_end_is_no_torn_batch() {
    let sample = Sample::new();
    let next = sample.scratch.0.join("00000002-000-000001.segment");
    let head = fs::read(&next).unwrap()[..FILE_HEAD_BYTES].to_vec();
    for written in [0, 1, FILE_HEAD_BYTES - 1] {
        for size in [written, 8192] {
            let mut bytes = head[..written].to_vec();
            bytes.resize(size, 0);
            fs::write(&next, &bytes).unwrap();
            let report = operator::verify(&sample.scratch.0).unwrap();
            assert_eq!(report.tears, [], "{written} of {size}");
            assert_eq!(sample.read().unwrap(), *sample.whole());
        }
    }
    // One that was used has its header.
    let mut bytes = head;
    bytes.extend([7; 20]);
    bytes.resize(8192, 0);
    fs::write(&next, &bytes).unwrap();
    let report = operator::verify(&sample.scratch.0).unwrap();
    assert_eq!(report.tears.len(), 1);
}

#[test]
fn a_torn_start_leaves_the_old_epoch_or_the_new_one() {
    let sample = Sample::new();
    // Files of a next epoch that no manifest names, as a start leaves them that was killed.
    fs::write(
        sample.scratch.0.join("00000003-000-000000.snapshot"),
        b"half",
    )
    .unwrap();
    fs::write(sample.scratch.0.join("MANIFEST.new"), b"p99 jour").unwrap();
    let started = start(&sample.scratch.settings(1), WALL).unwrap();
    assert_eq!(Facts::of_start(&started), *sample.whole());
    assert_eq!(started.report.epoch, 3);
    drop(started);
    assert_eq!(sample.read().unwrap(), *sample.whole());
}

/// The same through a real start, which writes: it refuses and changes nothing that counts, or it
/// starts with what was there.
#[test]
fn a_start_on_any_flipped_or_cut_byte_refuses_or_tells_the_truth() {
    let sample = Sample::new();
    let manifest = sample.scratch.0.join("MANIFEST");
    let files = [
        (sample.segment.clone(), sample.end() + 40),
        (sample.snapshot.clone(), usize::MAX),
        (manifest, usize::MAX),
    ];
    for (path, end) in files {
        let bytes = fs::read(&path).unwrap();
        // Every byte is read above; a start takes milliseconds, so here is every fourth.
        for place in (0..bytes.len().min(end)).step_by(4) {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << (place % 8);
            for changed in [flipped, bytes[..place].to_vec()] {
                let scratch = sample.copy_with(&path, &changed);
                let case = format!("{} at {place} of {end}", path.display());
                match start(&scratch.settings(1), WALL) {
                    Ok(started) => {
                        let facts = Facts::of_start(&started);
                        let is_known = sample.prefixes.iter().any(|(_, known)| *known == facts);
                        assert!(path == sample.segment && is_known, "{case}: {facts:?}");
                    }
                    Err(JournalFault::Damaged { .. }) => {
                        let name = path.file_name().unwrap();
                        fs::write(scratch.0.join(name), &bytes).unwrap();
                        let facts = Facts::of_dir(&scratch.0).unwrap();
                        assert_eq!(
                            facts,
                            *sample.whole(),
                            "{case}: the start changed something"
                        );
                    }
                    Err(other) => panic!("{case}: {other}"),
                }
            }
        }
    }
}

#[test]
fn a_snapshot_that_cannot_be_read_is_not_called_damaged() {
    let sample = Sample::new();
    // A directory can be opened, and no byte of it can be read.
    fs::remove_file(&sample.snapshot).unwrap();
    fs::create_dir(&sample.snapshot).unwrap();
    let fault = sample.read().unwrap_err();
    assert!(matches!(fault, JournalFault::Io { .. }), "{fault}");
    assert!(fault.to_string().contains("os error"), "{fault}");
}
