//! A journal that is written to: group commit, rotation, compaction, and disks that fail.

use std::fs::File;
use std::sync::Arc;

use super::super::frame::{Identity, Kind};
use super::super::writer::WriterSeed;
use super::*;
use crate::payment::CoreId;

#[test]
fn records_appended_together_share_one_batch() {
    let scratch = Scratch::new();
    let mut settings = scratch.settings(1);
    settings.sync = JournalSync::Always;
    let mut started = start(&settings, WALL).unwrap();
    let core = started.cores.remove(0);
    let reports: Rc<RefCell<Vec<(u64, bool)>>> = Rc::default();
    block_on(async {
        let (writer, task) = core.writer.open().unwrap();
        let told = Rc::clone(&reports);
        monoio::spawn(task.run(
            || Mono(0),
            move |progress| match progress {
                Progress::Durable { up_to, sync, .. } => {
                    told.borrow_mut().push((up_to, sync.is_some()))
                }
                Progress::Failed(fault) => panic!("{fault}"),
            },
        ));
        let records = stories(0..8).concat();
        let last = records
            .iter()
            .fold(0, |_, record| writer.append(record, Haste::Now));
        assert_eq!(last, records.len() as u64);
        assert_eq!(
            writer.durable(),
            0,
            "nothing is durable before the task ran"
        );
        while writer.durable() < last {
            monoio::time::sleep(Duration::from_micros(50)).await;
        }
        assert_eq!(writer.syncing_since(), None);
    });
    let all = stories(0..8).concat().len() as u64;
    assert_eq!(*reports.borrow(), [(all, true)], "one write, one sync");
}

#[test]
fn rotation_and_compaction_lose_nothing_and_bound_the_files() {
    // In memory and on a disk, which knows direct writes.
    for (cores, sync, scratch) in [
        (1, JournalSync::Os, Scratch::new()),
        (2, JournalSync::Os, Scratch::new()),
        (1, JournalSync::Always, Scratch::new()),
        (2, JournalSync::Always, Scratch::on_disk()),
    ] {
        let settings = JournalSettings {
            sync,
            segment_bytes: 2048,
            compact_bytes_min: 4096,
            ..scratch.settings(cores)
        };
        let mut batches = stories(0..300);
        batches.push(vec![Record::Purge { at: WALL }]);
        batches.extend(stories(300..600));
        let started = start(&settings, WALL).unwrap();
        let stats = started.keeper.stats();
        feed(started, &batches);
        assert!(stats.compactions() > 2, "{stats:?}");
        assert_eq!(stats.compaction_failures(), 0);
        let expected = Facts::of_records(&batches.concat());
        assert_eq!(Facts::of_dir(&scratch.0).unwrap(), expected);
        // All sealed segments but those since the last compaction are gone.
        let files = fs::read_dir(&scratch.0).unwrap().count();
        assert!(files < 40, "{files} files");
        let started = start(&settings, WALL).unwrap();
        assert_eq!(Facts::of_start(&started), expected);
    }
}

#[test]
fn a_record_longer_than_a_segment_still_gets_its_place() {
    for sync in [JournalSync::Os, JournalSync::Always] {
        let scratch = Scratch::new();
        let settings = JournalSettings {
            sync,
            segment_bytes: 64,
            ..scratch.settings(1)
        };
        feed(start(&settings, WALL).unwrap(), &stories(0..16));
        let expected = Facts::of_records(&stories(0..16).concat());
        assert_eq!(Facts::of_dir(&scratch.0).unwrap(), expected);
    }
}

/// A writer whose segment is the device at `path`.
fn fail(path: &str, sync: JournalSync) -> (JournalFault, u64) {
    let (_ring, prepared) = rtrb::RingBuffer::new(1);
    let (orders, _inbox) = std::sync::mpsc::channel();
    let seed = WriterSeed {
        identity: Identity {
            kind: Kind::Segment,
            epoch: 1,
            core: CoreId(0),
            index: 0,
        },
        file: File::options().read(true).write(true).open(path).unwrap(),
        path: PathBuf::from(path),
        prepared,
        orders,
        sync,
        first_bytes: 8192,
        segment_bytes: 8192,
        buffer_bytes_max: 4096,
        disk: Arc::default(),
    };
    let failed: Rc<RefCell<Option<JournalFault>>> = Rc::default();
    let durable = block_on(async {
        let (writer, task) = seed.open().unwrap();
        writer.append(&story(0)[0], Haste::Now);
        let told = Rc::clone(&failed);
        task.run(
            || Mono(0),
            move |progress| match progress {
                Progress::Durable { .. } => panic!("{progress:?}"),
                Progress::Failed(fault) => *told.borrow_mut() = Some(fault),
            },
        )
        .await;
        writer.append(&story(1)[0], Haste::Now);
        writer.durable()
    });
    (failed.take().unwrap(), durable)
}

#[test]
fn a_full_disk_ends_the_journal() {
    // The kernel's own device that is always full. `lab sync-failure` has a disk that fails.
    let path = "/dev/full";
    for sync in [JournalSync::Os, JournalSync::Always] {
        let (fault, durable) = fail(path, sync);
        assert_eq!(durable, 0, "{path}");
        let JournalFault::Io { path: named, error } = fault else {
            panic!("{fault}")
        };
        assert_eq!(named, Path::new(path));
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    }
}

#[test]
fn a_disk_too_full_for_the_next_segment_ends_the_journal_when_it_is_needed() {
    let scratch = Scratch::new();
    let settings = JournalSettings {
        segment_bytes: 512,
        ..scratch.settings(1)
    };
    // The next segment's name is taken by a directory, so it cannot be created.
    fs::create_dir(scratch.0.join("00000001-000-000001.segment")).unwrap();
    let fault = start(&settings, WALL).unwrap_err();
    assert!(
        matches!(fault, JournalFault::Missing { .. }),
        "segments without a manifest: {fault}"
    );
    fs::remove_dir(scratch.0.join("00000001-000-000001.segment")).unwrap();
    let mut started = start(&settings, WALL).unwrap();
    let core = started.cores.remove(0);
    drop(started);
    // The keeper is gone after it prepared one segment: the second rotation finds none.
    let failed: Rc<RefCell<Option<JournalFault>>> = Rc::default();
    let told = Rc::clone(&failed);
    let durable = block_on(async {
        let (writer, task) = core.writer.open().unwrap();
        let task = monoio::spawn(task.run(
            || Mono(0),
            move |progress| match progress {
                Progress::Durable { .. } => {}
                Progress::Failed(fault) => *told.borrow_mut() = Some(fault),
            },
        ));
        for record in stories(0..40).concat() {
            let sequence = writer.append(&record, Haste::Now);
            while failed.borrow().is_none() && writer.durable() < sequence {
                monoio::time::sleep(Duration::from_micros(50)).await;
            }
        }
        task.await;
        writer.durable()
    });
    assert!(matches!(failed.take(), Some(JournalFault::ThreadDied)));
    let records = stories(0..40).concat();
    let kept = Facts::of_records(&records[..usize::try_from(durable).unwrap()]);
    assert_eq!(
        Facts::of_dir(&scratch.0).unwrap(),
        kept,
        "what was durable is there, no more"
    );
}

/// The disk is full when the next segment is prepared, and has room later.
#[test]
fn a_segment_that_could_not_be_prepared_is_tried_again_until_it_is_there() {
    for sync in [JournalSync::Os, JournalSync::Always] {
        let scratch = Scratch::new();
        let settings = JournalSettings {
            sync,
            segment_bytes: 4096,
            ..scratch.settings(1)
        };
        // A name that is taken stands for a disk that is full: no file can be made either way.
        let taken = scratch.0.join("00000002-000-000001.segment");
        let blocked = || fs::create_dir(taken.join("in the way")).is_ok();
        let mut started = start_while(&settings, || {
            fs::create_dir(&taken).unwrap();
            assert!(blocked());
        });
        let core = started.cores.remove(0);
        let numbers: Vec<u32> = (0..200).collect();
        block_on(async {
            let (writer, task) = core.writer.open().unwrap();
            monoio::spawn(task.run(
                || Mono(0),
                |progress| assert!(matches!(progress, Progress::Durable { .. }), "{progress:?}"),
            ));
            wait_for(&|| writer.disk().is_next_missing()).await;
            assert!(!writer.is_short(), "there is room for now");
            let mut numbers = numbers.iter();
            while !writer.is_short() {
                for record in story(*numbers.next().unwrap()) {
                    let sequence = writer.append(&record, Haste::Now);
                    wait_for(&|| writer.durable() >= sequence).await;
                }
            }
            fs::remove_dir_all(&taken).unwrap();
            wait_for(&|| !writer.disk().is_next_missing()).await;
            assert!(!writer.is_short());
            // The keeper looks at the disk behind what it prepares.
            let disk = writer.disk();
            wait_for(&|| disk.bytes() > 2 * 4096 && disk.free_bytes() > 0).await;
            for number in numbers {
                for record in story(*number) {
                    let sequence = writer.append(&record, Haste::Now);
                    wait_for(&|| writer.durable() >= sequence).await;
                }
            }
        });
        drop(started);
        let expected = Facts::of_records(&stories(0..200).concat());
        assert_eq!(Facts::of_dir(&scratch.0).unwrap(), expected);
    }
}

async fn wait_for(is: &dyn Fn() -> bool) {
    while !is() {
        monoio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Starts, with the keeper's first look at the disk after `meanwhile`.
fn start_while(settings: &JournalSettings, meanwhile: impl FnOnce()) -> Started {
    // The first start makes the manifest, so that the second takes what is in the way for no
    // journal of its own.
    drop(start(settings, WALL).unwrap());
    meanwhile();
    start(settings, WALL).unwrap()
}

#[test]
fn a_record_for_which_nothing_waits_shares_the_next_write() {
    let scratch = Scratch::new();
    let mut started = start(&scratch.settings(1), WALL).unwrap();
    let (writer, task) = started.cores.pop().unwrap().writer.open().unwrap();
    let batches: Rc<RefCell<Vec<u64>>> = Rc::default();
    let seen = Rc::clone(&batches);
    let records = story(4);
    block_on(async {
        monoio::spawn(task.run(
            || Mono(0),
            move |progress| match progress {
                Progress::Durable { up_to, .. } => seen.borrow_mut().push(up_to),
                Progress::Failed(fault) => panic!("{fault}"),
            },
        ));
        let pause = || monoio::time::sleep(Duration::from_millis(5));
        writer.append(&records[0], Haste::Later);
        writer.flush();
        wait_for(&|| !batches.borrow().is_empty()).await;
        assert_eq!(*batches.borrow(), [1]);
        writer.append(&records[1], Haste::Later);
        pause().await;
        assert_eq!((writer.durable(), writer.last()), (1, 2), "nothing asked");
        writer.append(&records[2], Haste::Now);
        wait_for(&|| batches.borrow().last() >= Some(&3)).await;
        assert_eq!(*batches.borrow(), [1, 3], "one write for both");
        writer.flush();
        pause().await;
        assert_eq!(*batches.borrow(), [1, 3], "there is nothing to write");
    });
}

#[test]
fn each_core_says_what_is_free_on_the_disk() {
    let scratch = Scratch::new();
    let started = start(&scratch.settings(2), WALL).unwrap();
    let [first, second] = <[Restored; 2]>::try_from(started.cores).unwrap();
    // The keeper looks each time that it wakes up, and at once.
    for core in [first, second] {
        while core.writer.disk.free_bytes() == 0 {
            std::thread::yield_now();
        }
    }
}
