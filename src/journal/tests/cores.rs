//! Starts: restarts, other numbers of cores, and the lock.

use super::*;

#[test]
fn totals_claims_and_pending_survive_every_change_of_cores() {
    let scratch = Scratch::new();
    let mut records: Vec<Record> = Vec::new();
    for (epoch, cores) in (0_u32..).zip([1, 2, 3, 1, 4, 2]) {
        let started = start(&scratch.settings(cores), WALL).unwrap();
        assert_eq!(started.report.epoch, epoch + 1);
        assert_eq!(started.report.oddities, 0);
        assert!(started.report.tears.is_empty());
        assert_eq!(
            Facts::of_start(&started),
            Facts::of_records(&records),
            "{cores} cores"
        );
        for (index, core) in started.cores.iter().enumerate() {
            let ids = core.pending.iter().map(|pending| pending.payment.id);
            for id in ids.chain(core.settled.iter().map(|(id, _)| *id)) {
                assert_eq!(id.owner(CoreCount(cores)).index(), index, "I1");
            }
        }
        // Half of what is pending is settled by the next epoch's owner.
        let mut batches = stories(epoch * 40..(epoch + 1) * 40);
        let open = started
            .cores
            .iter()
            .flat_map(|core| &core.pending)
            .step_by(2);
        batches.extend(open.filter_map(|pending| {
            let Sent {
                processor,
                requested_at,
                ..
            } = pending.open?;
            let Payment { id, amount, .. } = pending.payment;
            let verdict = Verdict::Applied {
                processor,
                amount,
                requested_at,
            };
            Some(vec![Record::Verdict { id, verdict }])
        }));
        feed(started, &batches);
        records.extend(batches.concat());
        assert_eq!(
            Facts::of_dir(&scratch.0).unwrap(),
            Facts::of_records(&records)
        );
    }
}

#[test]
fn a_start_leaves_only_the_files_of_its_own_epoch() {
    let scratch = Scratch::new();
    feed(start(&scratch.settings(3), WALL).unwrap(), &stories(0..30));
    drop(start(&scratch.settings(1), WALL).unwrap());
    let names = fs::read_dir(&scratch.0)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let names: BTreeSet<String> = names
        .map(|name| name.to_str().unwrap().to_owned())
        .collect();
    let expected = [
        "00000002-000-000000.segment",
        "00000002-000-000000.snapshot",
        "00000002-000-000001.segment",
        "LOCK",
        "MANIFEST",
    ];
    assert_eq!(names, expected.map(str::to_owned).into());
}

#[test]
fn pending_payments_come_back_in_the_order_in_which_they_began() {
    let scratch = Scratch::new();
    feed(start(&scratch.settings(1), WALL).unwrap(), &stories(0..64));
    for cores in [1, 2, 1] {
        let started = start(&scratch.settings(cores), WALL).unwrap();
        for core in &started.cores {
            let began: Vec<_> = core.pending.iter().map(Pending::began_at).collect();
            assert!(began.is_sorted(), "{began:?}");
        }
    }
}

#[test]
fn a_second_process_is_refused_and_told_by_whom() {
    let scratch = Scratch::new();
    let started = start(&scratch.settings(1), WALL).unwrap();
    let fault = start(&scratch.settings(1), WALL).unwrap_err();
    let own = Some(std::process::id());
    assert!(
        matches!(&fault, JournalFault::Locked { holder, .. } if *holder == own),
        "{fault}"
    );
    assert!(fault.to_string().contains("in use"));
    // Who removes the file to get in does not get in.
    fs::remove_file(scratch.0.join("LOCK")).unwrap();
    let fault = start(&scratch.settings(1), WALL).unwrap_err();
    assert!(
        matches!(&fault, JournalFault::Locked { holder: None, .. }),
        "{fault}"
    );
    drop(started);
    start(&scratch.settings(1), WALL).unwrap();
}

/// A killed process, of which the kernel still takes something apart, is replaced at once.
#[test]
fn a_lock_that_goes_a_moment_later_is_waited_for() {
    let scratch = Scratch::new();
    drop(start(&scratch.settings(1), WALL).unwrap());
    let is_had = || {
        let holder = fs::File::open(scratch.0.join("LOCK")).unwrap();
        holder.lock().unwrap();
        let release = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(60));
            drop(holder);
        });
        let started = start(&scratch.settings(1), WALL);
        release.join().unwrap();
        started.is_ok()
    };
    // A busy machine may keep the holder for longer than a moment.
    assert!((0..20).any(|_| is_had()));
}

#[test]
fn a_purge_reaches_every_core_and_survives_the_restart() {
    let scratch = Scratch::new();
    let mut batches = stories(0..40);
    batches.push(vec![Record::Purge { at: WALL }]);
    batches.extend(stories(40..50));
    feed(start(&scratch.settings(2), WALL).unwrap(), &batches);
    let records: Vec<Record> = batches.concat();
    let started = start(&scratch.settings(3), WALL).unwrap();
    assert_eq!(Facts::of_start(&started), Facts::of_records(&records));
}

/// With CACHE_FULL=refuse, after CACHE_CAPACITY was lowered.
#[test]
fn a_start_that_had_to_forget_what_may_not_be_forgotten_is_refused() {
    let scratch = Scratch::new();
    feed(start(&scratch.settings(2), WALL).unwrap(), &stories(0..200));
    let few = |kept| JournalSettings {
        claims_max: 20,
        claims_kept: kept,
        ..scratch.settings(1)
    };
    let hour = Some(Duration::from_secs(3_600));
    let before = Facts::of_dir(&scratch.0).unwrap();
    let fault = start(&few(hour), WALL).unwrap_err();
    assert!(matches!(fault, JournalFault::TooManyClaims { most: 20 }));
    assert_eq!(
        Facts::of_dir(&scratch.0).unwrap(),
        before,
        "nothing is changed"
    );
    // A long time after they settled they may go.
    let short = Some(Duration::from_millis(10));
    assert!(start(&few(short), WALL).is_ok());
}
