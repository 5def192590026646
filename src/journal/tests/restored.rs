//! What a restored journal has of the set's books, and what it keeps of its original.

use super::super::backup::{BackupFault, backup};
use super::super::restore::Restoring;
use super::super::{directory, pauses};
use super::*;
use crate::payment::{ProcessorSet, Shard};

/// After the backup.
const LATER: UnixMillis = UnixMillis(WALL.0 + 9_000);

fn settings(dir: &Path, shard: &str) -> JournalSettings {
    JournalSettings {
        shard: Some(Shard::parse(shard).unwrap()),
        ..JournalSettings::new(dir.to_owned(), JournalSync::Os, CoreCount(2))
    }
}

fn is_of(shard: &str, text: &str) -> bool {
    Shard::parse(shard)
        .unwrap()
        .owns(&CorrelationId::try_new(text).unwrap())
}

/// Random UUIDs, as clients spell them, of a shard.
fn uuids(shard: &'static str) -> impl Iterator<Item = UpstreamId> {
    let all = (1_u128..).map(|number| UpstreamId(number << 96 | 4 << 76 | 2 << 62));
    all.filter(move |id| is_of(shard, &id.to_string()))
}

/// What other ids of a shard go upstream as.
fn named(shard: &'static str) -> impl Iterator<Item = UpstreamId> {
    let all = (1..).map(|number| format!("order-{number}"));
    let own = all.filter(move |text| is_of(shard, text));
    own.map(|text| CorrelationId::try_new(&text).unwrap().upstream_id())
}

fn charge(id: UpstreamId, at: UnixMillis) -> Vec<Record> {
    let payment = Payment {
        id,
        correlation_id: CorrelationId::try_new(&id.to_string()).unwrap(),
        amount: Cents(70),
    };
    let (processor, amount) = (Processor::DEFAULT, payment.amount);
    let intent = Record::Intent {
        payment,
        processor,
        requested_at: at,
        accepted_at: None,
        address: None,
    };
    let verdict = Verdict::Applied {
        processor,
        amount,
        requested_at: at,
    };
    vec![intent, Record::Verdict { id, verdict }]
}

/// A journal of shard 1/2 with one charge, and its backup.
fn backed_up(scratch: &Scratch) -> JournalSettings {
    let original = settings(&scratch.0.join("one"), "1/2");
    let id = uuids("1/2").next().unwrap();
    feed(start(&original, WALL).unwrap(), &[charge(id, WALL)]);
    let copy = scratch.0.join("copy");
    backup(&original.dir, &copy, WALL).unwrap();
    settings(&copy, "1/2")
}

fn take(restoring: &mut Restoring, ids: impl IntoIterator<Item = UpstreamId>) {
    for id in ids {
        restoring.take(Processor::DEFAULT, id, Cents(70), LATER);
    }
}

fn charges_of(settings: &JournalSettings) -> u64 {
    let started = start(settings, WALL).unwrap();
    let totals = Facts::of_start(&started).totals;
    totals.0.iter().map(|one| one.count).sum()
}

#[test]
fn a_restored_shard_has_no_payment_of_another_in_its_sums() {
    let scratch = Scratch::new();
    let copy = backed_up(&scratch);
    let mut restoring = Restoring::open(&copy).unwrap();
    // The book is that of the whole set.
    take(&mut restoring, uuids("1/2").take(4));
    take(&mut restoring, uuids("2/2").take(5));
    let report = restoring.finish().unwrap();
    assert_eq!(
        (*report.added.get(Processor::DEFAULT), report.others),
        (3, 5)
    );
    assert_eq!(charges_of(&copy), 4);
}

#[test]
fn of_an_id_that_shows_no_shard_nothing_is_guessed() {
    let scratch = Scratch::new();
    let copy = backed_up(&scratch);
    let mut restoring = Restoring::open(&copy).unwrap();
    take(&mut restoring, named("1/2").take(1));
    let fault = restoring.finish().unwrap_err();
    assert!(
        matches!(fault, BackupFault::Unclear { payments: 1, .. }),
        "{fault:?}"
    );
    let manifest = directory::Directory::peek(&copy.dir).manifest().unwrap();
    assert_eq!(manifest.unwrap().backup, Some(WALL), "it is a backup still");
}

#[test]
fn the_other_shards_journals_say_whose_such_an_id_is() {
    let scratch = Scratch::new();
    let copy = backed_up(&scratch);
    let two = settings(&scratch.0.join("two"), "2/2");
    let theirs: Vec<UpstreamId> = named("2/2").take(3).collect();
    let records: Vec<_> = theirs.iter().map(|id| charge(*id, LATER)).collect();
    feed(start(&two, WALL).unwrap(), &records);
    let with = |journals: &[PathBuf]| {
        let mut restoring = Restoring::open(&copy).unwrap();
        take(&mut restoring, named("1/2").take(2));
        take(&mut restoring, theirs.iter().copied());
        restoring.ask_others(journals)?;
        restoring.finish()
    };
    let backup_of_two = scratch.0.join("copy of two");
    backup(&two.dir, &backup_of_two, WALL).unwrap();
    for wrong in [&backup_of_two, &copy.dir, &scratch.0.join("one")] {
        let fault = with(std::slice::from_ref(wrong)).unwrap_err();
        assert!(matches!(fault, BackupFault::NotAnother(_)), "{fault:?}");
    }
    let report = with(&[two.dir]).unwrap();
    assert_eq!(
        (*report.added.get(Processor::DEFAULT), report.others),
        (2, 3)
    );
    assert_eq!(charges_of(&copy), 3);
}

#[test]
fn who_is_paused_is_paused_in_a_restored_journal_too() {
    let scratch = Scratch::new();
    let original = settings(&scratch.0.join("one"), "1/1");
    drop(start(&original, WALL).unwrap());
    let paused = ProcessorSet::NONE.with(Processor::FALLBACK);
    let places = Configured::try_from_vec(["a:80", "b:80"].map(str::to_owned).to_vec()).unwrap();
    pauses::write(&original.dir, paused, &places).unwrap();
    let copy = scratch.0.join("copy");
    backup(&original.dir, &copy, WALL).unwrap();
    assert_eq!(pauses::read(&copy).unwrap(), paused);
    let restoring = Restoring::open(&settings(&copy, "1/1")).unwrap();
    assert_eq!(restoring.finish().unwrap().paused, paused);
    assert_eq!(pauses::read(&copy).unwrap(), paused);
    let moved = Configured::try_from_vec(["b:80", "a:80"].map(str::to_owned).to_vec()).unwrap();
    let default = ProcessorSet::NONE.with(Processor::DEFAULT);
    assert_eq!(pauses::follow(&copy, &moved).unwrap(), default);
}

/// An id that was refused, forgotten after its time, sent again and charged behind the backup.
#[test]
fn what_was_refused_before_the_backup_and_is_in_a_book_is_charged_and_told() {
    let scratch = Scratch::new();
    let original = settings(&scratch.0.join("one"), "1/2");
    let ids: Vec<_> = uuids("1/2").take(2).collect();
    let refused = |id| {
        let mut records = charge(id, WALL);
        records[1] = Record::Verdict {
            id,
            verdict: Verdict::Refused {
                processor: Processor::DEFAULT,
                fate: Fate::Ended,
            },
        };
        records
    };
    let batches = [refused(ids[0]), refused(ids[1])];
    feed(start(&original, WALL).unwrap(), &batches);
    let copy = scratch.0.join("copy");
    backup(&original.dir, &copy, WALL).unwrap();
    let settings = settings(&copy, "1/2");
    let mut restoring = Restoring::open(&settings).unwrap();
    restoring.take(Processor::FALLBACK, ids[0], Cents(70), LATER);
    // Long before the backup: the ledger may have it, under what this id was then.
    let before = UnixMillis(WALL.0 - 3_600_000);
    restoring.take(Processor::FALLBACK, ids[1], Cents(70), before);
    let report = restoring.finish().unwrap();
    let added = *report.added.get(Processor::FALLBACK);
    assert_eq!((report.refused, added), (2, 1));
    let started = start(&settings, WALL).unwrap();
    assert_eq!(started.report.oddities, 0);
    drop(started);
    assert_eq!(charges_of(&settings), 1);
}
