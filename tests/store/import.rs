//! `p99 store import --journal`: what a journal holds is in the store afterwards, once, whatever
//! becomes of the command, and the journal starts no more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::command::store;
use super::kit::client::wait_until;
use super::kit::postgres::{self, Cluster, at_last};
use super::kit::scratch::Scratch;
use super::kit::start;
use super::place;
use super::stories::{A, Facts, WALL, settings, story, write};
use p99::testing::clock::UnixMillis;
use p99::testing::journal::{self, Record, Verdict};
use p99::testing::payment::{Cents, Configured, Processor};
use p99::testing::reactor::Reactor;
use p99::testing::store::operator;

/// Three batches of them, and some.
const PAYMENTS: u32 = 1_700;

/// A cluster that is being filled.
fn importing(scratch: &Scratch) -> Cluster {
    let cluster = Cluster::new(scratch, "pg", &[]);
    let place = place(&cluster.store_of_superuser());
    let made = at_last(async || operator::migrate(&place, "p99").await);
    Reactor::best().unwrap().run(made).unwrap();
    cluster
}

fn number(cluster: &Cluster, question: &str) -> u64 {
    cluster.sql("p99", question).trim().parse().unwrap()
}

/// Waits until `question` is answered with a number of at least `least`.
fn wait(cluster: &Cluster, question: &str, least: u64) {
    for _ in 0..2_000 {
        if number(cluster, question) >= least {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{question}: {}", number(cluster, question));
}

/// What the store has, by id.
fn rows(cluster: &Cluster) -> BTreeMap<String, Facts> {
    let all = "SELECT id, cents, at, status, processor, first_sent, accepted_at FROM p99.payment";
    let text = cluster.sql("p99", all);
    let row = |line: &str| {
        let fields: Vec<&str> = line.split('|').collect();
        let maybe = |at: usize| fields[at].parse::<i64>().ok();
        let must = |at: usize| maybe(at).unwrap();
        let processor = maybe(4).map(|index| Processor::of_index(usize::try_from(index).unwrap()));
        let facts = (
            must(1).unsigned_abs(),
            must(2),
            i16::try_from(must(3)).unwrap(),
            processor.flatten(),
            maybe(5),
            maybe(6),
        );
        (fields[0].to_owned(), facts)
    };
    text.lines().map(row).collect()
}

/// Sums by second, processor: count and cents.
type Sums = BTreeMap<(i64, i64), (u64, u64)>;

fn sums(cluster: &Cluster) -> Sums {
    let all = "SELECT sec, processor, sum(n), sum(cents) FROM p99.rollup \
               WHERE n > 0 AND sec >= 0 GROUP BY 1, 2";
    let text = cluster.sql("p99", all);
    let sum = |line: &str| {
        let fields: Vec<u64> = line.split('|').map(|one| one.parse().unwrap()).collect();
        let key = (fields[0].cast_signed(), fields[1].cast_signed());
        (key, (fields[2], fields[3]))
    };
    text.lines().map(sum).collect()
}

fn sums_of(all: &BTreeMap<String, Facts>) -> Sums {
    let mut sums = Sums::new();
    for (cents, at, status, processor, ..) in all.values() {
        if [2, 3].contains(status) {
            let index = i64::try_from(processor.unwrap().index()).unwrap();
            let sum = sums.entry((at / 1_000, index)).or_default();
            *sum = (sum.0 + 1, sum.1 + cents);
        }
    }
    sums
}

fn spawn(store: &str, journal: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_p99"))
        .args(["store", "import", "--journal", journal])
        .env_clear()
        .env("STORE", store)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The service does not start on it.
fn demand_refusal(journal: &str) {
    let mut serve = start::command("0", &[("JOURNAL_DIR", journal), ("LISTEN", "127.0.0.1:0")]);
    let output = serve.stderr(Stdio::piped()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && told.contains("moved to the store"),
        "{told}"
    );
}

#[test]
fn a_journal_is_in_the_store_once_though_its_import_is_killed_and_repeated() {
    if !postgres::is_there("import") {
        return;
    }
    let scratch = Scratch::new("store-import").unwrap();
    let cluster = importing(&scratch);
    let (owner, dir) = (cluster.store_of_superuser(), scratch.file("journal"));
    let stories: Vec<_> = (0..PAYMENTS).map(story).collect();
    let records: Vec<Record> = stories.iter().flat_map(|(_, all, _)| all.clone()).collect();
    write(&dir, &records);
    let kept = stories.into_iter();
    let expected: BTreeMap<String, Facts> = kept
        .filter_map(|(id, _, facts)| Some((id.to_string(), facts?)))
        .collect();
    let journal = dir.display().to_string();

    // In the middle of the second batch it stands still, and is killed there.
    let middle = expected.keys().nth(700).unwrap();
    let hold = format!(
        "BEGIN; INSERT INTO p99.payment (id, cents, at, epoch, batch, writer, status) \
         VALUES ('{middle}', 1, 1, 1, 1, 1, 0); SELECT pg_sleep(60); ROLLBACK"
    );
    let mut holder = cluster.begin_sql("p99", &hold);
    let sleeper = "FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    wait(&cluster, &format!("SELECT count(*) {sleeper}"), 1);
    let mut import = spawn(&owner, &journal);
    let count = "SELECT count(*) FROM p99.payment";
    wait_until("two batches are there", || {
        // Its login may have been too slow on a busy machine.
        if import.try_wait().unwrap().is_some() {
            import = spawn(&owner, &journal);
        }
        number(&cluster, count) >= 512
    });
    import.kill().unwrap();
    import.wait().unwrap();
    cluster.sql(
        "p99",
        &format!("SELECT pg_terminate_backend(pid) {sleeper}"),
    );
    holder.wait().unwrap();
    let left = number(&cluster, count);
    assert!(left < expected.len() as u64, "it was killed before its end");

    let (status, _, told) = store(&["import", "--done"], &owner);
    assert!(
        status == Some(1) && told.contains("not wholly imported"),
        "{told}"
    );
    let moved = journal::start(&settings(&dir), WALL)
        .unwrap_err()
        .to_string();
    assert!(moved.contains("moved to the store"), "{moved}");
    for added in ["were added now", " 0 were added now"] {
        let (status, said, told) = store(&["import", "--journal", &journal], &owner);
        assert_eq!(status, Some(0), "{told}");
        assert!(said.contains(added), "{said}");
        assert_eq!(rows(&cluster), expected);
        assert_eq!(sums(&cluster), sums_of(&expected));
    }
    // Whoever adopts it finds what is open.
    let open = "SELECT count(*) FROM p99.payment p JOIN p99.writer w USING (writer) \
                WHERE status < 2 AND w.lease_until <= now() AND (p.at >= w.open_since \
                OR EXISTS (SELECT 1 FROM p99.lingering l WHERE l.id = p.id))";
    let is_open = expected.values().filter(|facts| facts.2 < 2).count();
    assert_eq!(number(&cluster, open), is_open as u64);
    let spelt = "SELECT correlation_id FROM p99.payment WHERE accepted_at IS NOT NULL \
                 AND correlation_id IS NOT NULL ORDER BY cents LIMIT 1";
    assert_eq!(cluster.sql("p99", spelt).trim(), "order-12");

    assert_eq!(store(&["import", "--done"], &owner).0, Some(0));
    let (status, _, told) = store(&["import", "--journal", &journal], &owner);
    assert!(
        status == Some(1) && told.contains("payments already"),
        "{told}"
    );
    demand_refusal(&journal);
}

#[test]
fn an_id_of_two_journals_is_counted_once_or_told_and_nothing_imported() {
    if !postgres::is_there("import of two") {
        return;
    }
    let scratch = Scratch::new("store-import-two").unwrap();
    let cluster = importing(&scratch);
    let owner = cluster.store_of_superuser();
    let journal = |name: &str, numbers: &[u32], more: &[Record]| {
        let dir = scratch.file(name);
        let all = numbers.iter().flat_map(|number| story(*number).1);
        write(&dir, &all.chain(more.iter().copied()).collect::<Vec<_>>());
        dir.display().to_string()
    };
    let expected = |numbers: &[u32]| -> BTreeMap<String, Facts> {
        let stories = numbers.iter().map(|number| story(*number));
        stories
            .filter_map(|(id, _, facts)| Some((id.to_string(), facts?)))
            .collect()
    };
    let one = journal("one", &[0, 8, 9, 18], &[]);
    assert_eq!(store(&["import", "--journal", &one], &owner).0, Some(0));
    // 8 is charged in both, and 0 open in both: one payment each.
    let two = journal("two", &[0, 8, 28], &[]);
    let (status, said, told) = store(&["import", "--journal", &two], &owner);
    assert_eq!(status, Some(0), "{told}");
    assert!(said.contains("2 more came with another journal"), "{said}");
    let both = expected(&[0, 8, 9, 18, 28]);
    assert_eq!(
        (rows(&cluster), sums(&cluster)),
        (both.clone(), sums_of(&both))
    );

    // 0 is open in the store, and charged here.
    let (id, _, facts) = story(0);
    let (cents, at, ..) = facts.unwrap();
    let charged = Record::Verdict {
        id,
        verdict: Verdict::Applied {
            processor: A,
            amount: Cents(cents),
            requested_at: UnixMillis(at),
        },
    };
    let other = journal("other", &[0, 38], &[charged]);
    let (status, said, told) = store(&["import", "--journal", &other], &owner);
    assert_eq!(status, Some(1), "{told}");
    let lines: BTreeSet<&str> = said.lines().collect();
    assert_eq!(lines.len(), 1);
    assert!(
        said.contains(&id.to_string()) && said.contains("processed at default"),
        "{said}"
    );
    assert!(told.contains("nothing of this journal"), "{told}");
    assert_eq!(
        (rows(&cluster), sums(&cluster)),
        (both.clone(), sums_of(&both))
    );
    assert!(
        journal::start(&settings(Path::new(&other)), WALL).is_ok(),
        "it may go on"
    );
    assert_eq!(store(&["import", "--done"], &owner).0, Some(0));
}

#[test]
fn a_journal_that_cannot_be_imported_is_refused_and_goes_on() {
    if !postgres::is_there("refused import") {
        return;
    }
    let scratch = Scratch::new("store-import-refused").unwrap();
    let cluster = importing(&scratch);
    let owner = cluster.store_of_superuser();
    let dir = scratch.file("journal");
    write(&dir, &story(8).1);
    let journal = dir.display().to_string();
    let refused = |word: &str| {
        let (status, _, told) = store(&["import", "--journal", &journal], &owner);
        assert!(status == Some(1) && told.contains(word), "{told}");
        assert_eq!(number(&cluster, "SELECT count(*) FROM p99.payment"), 0);
    };
    // Something is open in another journal, at a processor that is elsewhere by the store.
    let open = scratch.file("open");
    write(&open, &story(0).1);
    let mut elsewhere = settings(&open);
    elsewhere.processors = Configured::try_from_vec(vec!["a:80".to_owned()]);
    drop(journal::start(&elsewhere, WALL).unwrap());
    cluster.sql(
        "p99",
        "UPDATE p99.processor SET authority = 'b:80' WHERE index = 0",
    );
    let (status, _, told) = store(
        &["import", "--journal", &open.display().to_string()],
        &owner,
    );
    let moved = "default was b:80 and is a:80 now, 1 payments are open there";
    assert!(status == Some(1) && told.contains(moved), "{told}");
    let held = journal::start(&settings(&dir), WALL).unwrap();
    refused("in use by another process");
    drop(held);
    let nothing = scratch.file("nothing");
    let (status, _, told) = store(
        &["import", "--journal", &nothing.display().to_string()],
        &owner,
    );
    assert_eq!(status, Some(1));
    assert!(!nothing.exists(), "{told}");
    cluster.sql(
        "p99",
        "INSERT INTO p99.writer VALUES (900, 1, 0, 0, 'journal 77', now() + interval '1 hour')",
    );
    refused("journal 77 is being imported");
    cluster.sql(
        "p99",
        "DELETE FROM p99.writer; UPDATE p99.meta SET importing = false",
    );
    refused("payments already");
    assert!(
        journal::start(&settings(&dir), WALL).is_ok(),
        "it may go on"
    );

    cluster.sql("p99", "UPDATE p99.meta SET importing = true");
    let mut taken = journal::moving::Moving::open(&settings(&dir)).unwrap();
    taken.mark(journal::StoreId(5)).unwrap();
    drop(taken);
    refused("was moved to the store 00000000000000000000000000000005");
}
