//! Copies of a journal that is being written to, and what becomes of them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::super::backup::{BackupFault, backup, backup_with};
use super::super::operator;
use super::super::restore::Restoring;
use super::*;

const ADDED: u128 = 1 << 100;

fn id_of(story: &[Record]) -> UpstreamId {
    story[0].id().unwrap()
}

/// What is said of one id, in a form that does not depend on when it was asked.
fn facts_of(state: &State, id: UpstreamId) -> (bool, Option<SettledClaim>) {
    (state.find_pending(id).is_some(), state.find_settled(id))
}

fn state_of(path: &Path, cores: u16) -> Vec<State> {
    let dir = directory::Directory::peek(path);
    let manifest = dir.manifest().unwrap().unwrap();
    let settings = JournalSettings::new(path.to_owned(), JournalSync::Os, CoreCount(cores));
    start::read_all(&dir, &manifest, &settings, &mut StartReport::default()).unwrap()
}

/// Writes stories until it is told to stop, and says how many are durable.
fn write_on(started: Started, durable: &AtomicUsize, is_done: &AtomicBool) {
    let cores: Vec<_> = started.cores.into_iter().map(|core| core.writer).collect();
    block_on(async {
        let mut writers = Vec::new();
        for core in cores {
            let (writer, task) = core.open().unwrap();
            monoio::spawn(task.run(|| Mono(0), |_| ()));
            writers.push(writer);
        }
        for number in 0.. {
            let story = story(number);
            let writer = &writers[id_of(&story).owner(CoreCount(2)).index()];
            for record in &story {
                writer.append(record, Haste::Now);
            }
            while writer.durable() < writer.last() {
                monoio::time::sleep(Duration::ZERO).await;
            }
            durable.fetch_add(1, Ordering::Release);
            if is_done.load(Ordering::Acquire) {
                return;
            }
        }
    });
    drop(started.keeper);
}

/// When a segment in use was copied, both cores fill it and the next one.
#[test]
fn a_copy_taken_while_segments_fill_and_compact_has_all_that_was_durable_before() {
    let (scratch, copies) = (Scratch::new(), Scratch::new());
    let settings = JournalSettings {
        segment_bytes: 8 << 10,
        compact_bytes_min: 24 << 10,
        claims_max: 100_000,
        ..scratch.settings(2)
    };
    let (durable, is_done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let wait_for = |count: usize| {
        while durable.load(Ordering::Acquire) < count {
            std::thread::yield_now();
        }
    };
    let started = start(&settings, WALL).unwrap();
    let stats = started.keeper.stats();
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&is_done);
        scope.spawn(|| write_on(started, &durable, &is_done));
        for number in 0..6 {
            wait_for(50);
            let before = durable.load(Ordering::Acquire);
            let copy = copies.0.join(number.to_string());
            let mut fill_on = |bytes: u64| {
                if (100..7_900).contains(&bytes) {
                    wait_for(durable.load(Ordering::Acquire) + 250);
                }
            };
            backup_with((&scratch.0, &copy), WALL, &mut fill_on).unwrap();
            let states = state_of(&copy, 2);
            let known = stories(0..u32::try_from(before).unwrap());
            let mut full = State::new(100_000, Duration::from_secs(24 * 3600));
            known.iter().flatten().for_each(|record| full.apply(record));
            for story in &known {
                let id = id_of(story);
                let state = &states[id.owner(CoreCount(2)).index()];
                assert_eq!(facts_of(state, id), facts_of(&full, id), "{id} of {before}");
            }
        }
    });
    assert!(stats.compactions() > 2, "{stats:?}");
}

/// Ends the writing also when the test fails.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn nothing_starts_on_a_backup_and_nothing_is_copied_over() {
    let (scratch, copies) = (Scratch::new(), Scratch::new());
    feed(start(&scratch.settings(2), WALL).unwrap(), &stories(0..40));
    let copy = copies.0.join("copy");
    let report = backup(&scratch.0, &copy, WALL).unwrap();
    assert_eq!(
        report.records,
        operator::verify(&scratch.0).unwrap().records
    );
    assert_eq!(
        Facts::of_dir(&copy).unwrap(),
        Facts::of_dir(&scratch.0).unwrap()
    );
    let settings = JournalSettings {
        dir: copy.clone(),
        ..scratch.settings(2)
    };
    let fault = start(&settings, WALL).unwrap_err();
    assert!(matches!(fault, JournalFault::Backup { .. }), "{fault}");
    let pending = operator::pending(&copy).unwrap();
    let id = pending[0].payment.id;
    let resolved = operator::resolve(
        &settings,
        id,
        operator::Resolution::Refused,
        WALL,
        || Ok(()),
    );
    assert!(matches!(resolved, Err(JournalFault::Backup { .. })));
    let again = backup(&scratch.0, &copy, WALL).unwrap_err();
    assert!(matches!(again, BackupFault::Occupied));
    // A journal is none to restore, and the copy of a copy is a backup of the same moment.
    let restored = Restoring::open(&scratch.settings(2)).unwrap_err();
    assert!(matches!(restored, BackupFault::NoBackup));
    let second = copies.0.join("second");
    backup(&copy, &second, UnixMillis(WALL.0 + 5)).unwrap();
    let manifest = directory::Directory::peek(&second).manifest().unwrap();
    assert_eq!(manifest.unwrap().backup, Some(WALL));
}

fn claim_of(started: &Started, id: UpstreamId) -> Option<SettledClaim> {
    let mut settled = started.cores.iter().flat_map(|core| &core.settled);
    settled.find(|(one, _)| *one == id).map(|(_, claim)| *claim)
}

#[test]
fn a_restored_copy_has_what_the_books_have_and_an_id_of_its_own() {
    let (scratch, copies) = (Scratch::new(), Scratch::new());
    feed(start(&scratch.settings(2), WALL).unwrap(), &stories(0..40));
    let copy = copies.0.join("copy");
    backup(&scratch.0, &copy, WALL).unwrap();
    let settings = JournalSettings {
        dir: copy.clone(),
        ..scratch.settings(3)
    };
    let mut restoring = Restoring::open(&settings).unwrap();
    let before = Facts::of_dir(&scratch.0).unwrap();
    let pending = operator::pending(&copy).unwrap();
    let open = pending.iter().find(|one| one.open.is_some()).unwrap();
    let sent = open.open.unwrap();
    // Its processor kept whole seconds.
    let rounded = UnixMillis(sent.requested_at.0.div_euclid(1_000) * 1_000);
    restoring.take(
        sent.processor,
        open.payment.id,
        open.payment.amount,
        rounded,
    );
    // Promised and not sent in the copy: the original sent it to the other one.
    let held = pending.iter().find(|one| one.open.is_none()).unwrap();
    restoring.take(
        Processor::FALLBACK,
        held.payment.id,
        held.payment.amount,
        WALL,
    );
    // After the backup; twice in the book; long before it and forgotten.
    let added = UpstreamId(ADDED);
    restoring.take(
        Processor::DEFAULT,
        added,
        Cents(70),
        UnixMillis(WALL.0 + 9_000),
    );
    restoring.take(
        Processor::FALLBACK,
        added,
        Cents(70),
        UnixMillis(WALL.0 + 9_000),
    );
    let old = UnixMillis(WALL.0 - 3_600_000);
    restoring.take(Processor::DEFAULT, UpstreamId(ADDED + 1), Cents(70), old);
    let report = restoring.finish().unwrap();
    assert_eq!(report.settled.0.iter().sum::<u64>(), 2);
    assert_eq!(
        (*report.added.get(Processor::DEFAULT), report.elsewhere),
        (1, 1)
    );
    assert_eq!(report.pending, pending.len() as u64 - 2);

    let started = start(&settings, WALL).unwrap();
    assert_ne!(started.id, start(&scratch.settings(2), WALL).unwrap().id);
    let claim = |id| claim_of(&started, id);
    let settled = claim(open.payment.id).unwrap();
    assert_eq!(
        settled.requested_at,
        Some(sent.requested_at),
        "as it was sent"
    );
    assert_eq!(
        claim(held.payment.id).unwrap().processor,
        Some(Processor::FALLBACK)
    );
    assert_eq!(claim(added).unwrap().amount, Cents(70));
    assert_eq!(claim(UpstreamId(ADDED + 1)), None);
    let count =
        |totals: &PerProcessor<Totals>| -> u64 { totals.0.iter().map(|one| one.count).sum() };
    assert_eq!(
        count(&Facts::of_start(&started).totals),
        count(&before.totals) + 3
    );
}
