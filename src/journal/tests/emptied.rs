//! Segments that lost their header or their end. What was in use is refused by name; what a start
//! or a preparation that was cut short may have left starts, and is told where that is rare.

use super::super::fault::Damage;
use super::super::frame::FILE_HEAD_BYTES;
use super::super::operator;
use super::*;

fn segment(scratch: &Scratch, core: u16, index: u32) -> PathBuf {
    scratch
        .0
        .join(format!("00000001-{core:03}-{index:06}.segment"))
}

/// A journal of these cores that took payments, with the next segment of each core prepared.
fn used(cores: u16) -> Scratch {
    let scratch = Scratch::new();
    feed(
        start(&scratch.settings(cores), WALL).unwrap(),
        &stories(0..16),
    );
    for core in 0..cores {
        assert!(segment(&scratch, core, 1).exists());
    }
    scratch
}

/// As a start leaves it that was killed before its cores ran.
fn cut_short(cores: u16) -> Scratch {
    let scratch = used(cores);
    for core in 0..cores {
        fs::remove_file(segment(&scratch, core, 1)).unwrap();
    }
    scratch
}

/// What is left of a segment without its header: nothing, a part of it, zeros of the whole size.
fn headless(whole: &[u8]) -> Vec<Vec<u8>> {
    let part = |length: usize, size: usize| {
        let mut bytes = whole[..length].to_vec();
        bytes.resize(size, 0);
        bytes
    };
    let last = FILE_HEAD_BYTES - 1;
    vec![
        Vec::new(),
        part(1, 1),
        part(last, last),
        part(0, whole.len()),
        part(last, whole.len()),
    ]
}

/// Demands that start and verify refuse the journal, naming the file, and change nothing.
fn demand_refused(scratch: &Scratch, cores: u16, path: &Path) {
    let left = fs::metadata(path).unwrap().len();
    let told = operator::verify(&scratch.0).unwrap_err();
    let fault = start(&scratch.settings(cores), WALL).unwrap_err();
    assert_eq!(told.to_string(), fault.to_string());
    let JournalFault::Damaged {
        path: named,
        offset: 0,
        what: Damage::Emptied { bytes },
    } = &fault
    else {
        panic!("{fault}")
    };
    assert_eq!((named.as_path(), *bytes), (path, left));
    assert!(fault.to_string().contains("no header any more"), "{fault}");
    assert_eq!(fs::metadata(path).unwrap().len(), left);
}

#[test]
fn a_segment_in_use_that_was_emptied_is_refused_by_name() {
    for (cores, core) in [(1, 0), (2, 0), (2, 1)] {
        let scratch = used(cores);
        let path = segment(&scratch, core, 0);
        for bytes in headless(&fs::read(&path).unwrap()) {
            fs::write(&path, bytes).unwrap();
            demand_refused(&scratch, cores, &path);
        }
        // Without the next one of its own core, another core's still says that it was in use.
        if cores == 2 {
            fs::remove_file(segment(&scratch, core, 1)).unwrap();
            demand_refused(&scratch, cores, &path);
            fs::remove_file(&path).unwrap();
            let fault = start(&scratch.settings(cores), WALL).unwrap_err();
            let JournalFault::Missing { path: named } = fault else {
                panic!("{fault}")
            };
            assert_eq!(named, path);
        }
    }
}

#[test]
fn the_first_segment_behind_a_compaction_must_be_there_with_its_header() {
    let scratch = Scratch::new();
    let settings = JournalSettings {
        segment_bytes: 2048,
        compact_bytes_min: 4096,
        ..scratch.settings(1)
    };
    feed(start(&settings, WALL).unwrap(), &stories(0..100));
    let dir = directory::Directory::peek(&scratch.0);
    let first = dir.manifest().unwrap().unwrap().firsts[0];
    assert!(first > 0, "it was not compacted");
    let path = segment(&scratch, 0, first);
    for later in (first + 1..).map(|index| segment(&scratch, 0, index)) {
        if fs::remove_file(later).is_err() {
            break;
        }
    }
    fs::write(&path, "").unwrap();
    demand_refused(&scratch, 1, &path);
    fs::remove_file(&path).unwrap();
    let fault = start(&settings, WALL).unwrap_err();
    assert!(matches!(fault, JournalFault::Missing { .. }), "{fault}");
}

/// Nothing tells the two apart: it starts, and says so.
#[test]
fn a_start_that_was_cut_short_starts_and_an_empty_first_segment_is_told() {
    for (cores, core) in [(1, 0), (2, 1)] {
        let whole = fs::read(segment(&cut_short(cores), core, 0)).unwrap();
        for bytes in headless(&whole) {
            let scratch = cut_short(cores);
            let path = segment(&scratch, core, 0);
            fs::write(&path, &bytes).unwrap();
            let told = operator::verify(&scratch.0).unwrap().doubts;
            assert!(
                told.iter()
                    .any(|doubt| doubt.path == path && !doubt.has_head)
            );
            let started = start(&scratch.settings(cores), WALL).unwrap();
            let [doubt] = &started.report.doubts[..] else {
                panic!("{:?}", started.report.doubts)
            };
            assert_eq!((&doubt.path, doubt.bytes), (&path, bytes.len() as u64));
            assert!(
                doubt.to_string().contains("nothing in it is known"),
                "{doubt}"
            );
        }
    }
    // One core after the other gets its first segment.
    let scratch = cut_short(2);
    fs::write(segment(&scratch, 0, 0), "").unwrap();
    demand_refused(&scratch, 2, &segment(&scratch, 0, 0));
    let scratch = cut_short(2);
    fs::remove_file(segment(&scratch, 1, 0)).unwrap();
    assert_eq!(start(&scratch.settings(2), WALL).unwrap().report.doubts, []);
}

#[test]
fn the_next_segment_may_be_as_its_preparation_left_it() {
    let whole = fs::read(segment(&used(1), 0, 1)).unwrap();
    for bytes in headless(&whole) {
        let scratch = used(1);
        fs::write(segment(&scratch, 0, 1), &bytes).unwrap();
        let doubts = start(&scratch.settings(1), WALL).unwrap().report.doubts;
        // Killed while its zeros are written is usual; killed before it had its size is not.
        assert_eq!(doubts.len(), usize::from(bytes.len() < whole.len()));
    }
}

#[test]
fn a_segment_whose_end_was_cut_off_is_told() {
    let scratch = used(1);
    let path = segment(&scratch, 0, 0);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..FILE_HEAD_BYTES]).unwrap();
    let doubts = start(&scratch.settings(1), WALL).unwrap().report.doubts;
    let [doubt] = &doubts[..] else {
        panic!("{doubts:?}")
    };
    let told = doubt.to_string();
    assert!(
        told.contains("has 32 bytes, where p99 reserves 8192"),
        "{told}"
    );
    assert_eq!(doubt.path, path);
}
